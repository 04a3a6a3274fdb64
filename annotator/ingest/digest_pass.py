"""The digest pass: computes the digests of pixels that photos of older versions lack, in the background.

It follows the ingest in the same thread of low priority. What is committed remains if it is stopped or killed. Knows
nothing of pages.
"""

import logging
import threading
import time
from collections.abc import Callable

from annotator.datasets.image_folder import decode_image
from annotator.datasets.pixel_digest import digest_scheme, orientation_of, pixel_digest
from annotator.errors import UnknownImageError, UnreadableImageError
from annotator.storage.images import Images

logger = logging.getLogger(__name__)

COMMIT_SECONDS = 2.0
"""Interval of commits: a killed run loses no more than that."""


class DigestPass:
    """Computes the missing digests of one project's photos.

    Args:
        images: The tables.
        read_photo: Image id -> the bytes whose pixels the image shows.
        min_side: The side to which ingest decodes (`renditions.decoded_side`), in pixels.
    """

    def __init__(self, images: Images, read_photo: Callable[[int], bytes], min_side: int) -> None:
        self._images = images
        self._read_photo = read_photo
        self._min_side = min_side
        self._stop = threading.Event()

    def stop(self) -> None:
        """Request that a run ends after the current photo."""
        self._stop.set()

    def num_missing(self) -> int:
        """Return the number of photos without a digest of the present scheme."""
        return len(self._images.without_pixel_digest(digest_scheme(self._min_side)))

    def run(self) -> int:
        """Compute the missing digests; return how many were stored.

        Photos that cannot be read now are tried again at the next start.

        Raises:
            StoreError: The project cannot be written.
        """
        batch: list[tuple[int, str, int]] = []
        num_stored, committed = 0, time.monotonic()
        try:
            for image_id in self._images.without_pixel_digest(digest_scheme(self._min_side)):
                if self._stop.is_set():
                    break
                try:
                    decoded = decode_image(self._read_photo(image_id), min_side=self._min_side)
                except (UnreadableImageError, UnknownImageError) as reason:
                    logger.info("The pixels of photo %d cannot be read: %s", image_id, reason)
                    continue
                batch.append((image_id, pixel_digest(decoded, self._min_side), orientation_of(decoded)))
                if time.monotonic() - committed > COMMIT_SECONDS:
                    self._images.set_pixel_digests(batch)
                    num_stored, batch, committed = num_stored + len(batch), [], time.monotonic()
        finally:
            if batch:
                self._images.set_pixel_digests(batch)
        return num_stored + len(batch)
