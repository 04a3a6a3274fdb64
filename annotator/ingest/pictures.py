"""Picture bytes for the page: thumbnails and photos, found by image id only.

No path ever comes from a request. A photo is sent as it is where browsers can show it and it is not large; else as a
smaller JPEG that is kept beside the thumbnail. Knows nothing of HTTP.
"""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from annotator.datasets.image_folder import DecodedImage, content_hash, decode_image, read_image_file
from annotator.errors import UnreadableImageError
from annotator.ingest.pipeline import encode_jpeg
from annotator.storage.database import Store
from annotator.storage.project import Project, write_atomically

logger = logging.getLogger(__name__)

THUMBNAIL_SIZE = 320
DISPLAY_SIZE = 2048
"""Longest side, in pixels, of the photo the page shows before anybody zooms."""
LARGEST_JPEG = 65_000
"""Longest side, in pixels, that a JPEG can have, rounded down."""
DECODING = threading.BoundedSemaphore(2)
"""For whoever decodes a photo because somebody asked for it: the largest take hundreds of megabytes, each caller may
ask for many at once, and all projects of a process share its memory."""
_MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}


@dataclass(frozen=True)
class Picture:
    """Bytes and what they are."""

    data: bytes
    media_type: str


class Pictures:
    """The pictures of one project.

    Args:
        project: Where thumbnails lie.
        store: Knows the photos' paths.
    """

    def __init__(self, project: Project, store: Store) -> None:
        self._project = project
        self._store = store

    def thumbnail(self, image_id: int) -> Picture:
        """Return the thumbnail, made anew from the photo when it is missing.

        Raises:
            UnknownImageError: The project has no such image.
            UnreadableImageError: Neither the thumbnail nor the photo can be read.
        """
        path = self._project.thumbnail_path(self._store.images.entry(image_id).content_hash)
        return self._rendition(image_id, path, THUMBNAIL_SIZE)

    def photo(self, image_id: int, *, full: bool = False) -> Picture:
        """Return the photo for showing; ``full`` for zooming, in all its pixels.

        Raises:
            UnknownImageError: The project has no such image.
            UnreadableImageError: The file is gone or damaged.
        """
        entry = self._store.images.entry(image_id)
        media_type = _MEDIA_TYPES.get(entry.format)
        if media_type is not None and (full or max(entry.width, entry.height) <= DISPLAY_SIZE):
            return Picture(self.read(image_id), media_type)
        if full:
            with DECODING:
                return Picture(encode_jpeg(decode_image(self.read(image_id)), LARGEST_JPEG, quality=92), "image/jpeg")
        path = self._project.thumbnail_path(entry.content_hash).with_suffix(".display.jpg")
        return self._rendition(image_id, path, DISPLAY_SIZE)

    def decoded(self, image_id: int, min_side: int) -> DecodedImage:
        """Return the decoded photo, after the others that are being decoded.

        Args:
            image_id: The photo.
            min_side: Least length of the shorter side in pixels; a JPEG may be decoded at a smaller scale.

        Raises:
            UnknownImageError: The project has no such image.
            UnreadableImageError: The file is gone or damaged.
        """
        with DECODING:
            return decode_image(self.read(image_id), min_side=min_side)

    def _rendition(self, image_id: int, path: Path, longest_side: int) -> Picture:
        data = _kept(path)
        if data is None:
            with DECODING:
                # Whoever decoded before may have made just this one.
                data = _kept(path) or self._make_rendition(image_id, path, longest_side)
        return Picture(data, "image/jpeg")

    def _make_rendition(self, image_id: int, path: Path, longest_side: int) -> bytes:
        data = encode_jpeg(decode_image(self.read(image_id), min_side=longest_side), longest_side)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        except OSError as error:
            # A full or read-only disk: the picture can be shown all the same.
            logger.warning("%s could not be kept: %s", path, error.strerror)
        return data

    def read(self, image_id: int) -> bytes:
        """Return the photo's bytes from the first of its paths that still holds them, inside its folder.

        Its address promises that the picture never changes, and whatever else a path may lead to is not for showing.
        """
        wanted = self._store.images.entry(image_id).content_hash
        for root, relative in self._store.images.paths(image_id):
            path = (root / relative).resolve()
            # A link that was put there after the ingest must not lead the server out of the folder.
            if path.is_relative_to(root.resolve()) and path.is_file():
                data = read_image_file(path)
                if content_hash(data) == wanted:
                    return data
        raise UnreadableImageError(
            f"The file of image {image_id} is gone or has changed. Put it back, or look through its folder again: "
            "annotator add."
        )


def _kept(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
