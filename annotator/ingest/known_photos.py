"""Which image of the project shows which bytes and which pixels, in memory. Knows nothing of files or decoding."""

import threading
from collections.abc import Iterable

from annotator.storage.images import ImageEntry, Images, SeenPath


class KnownPhotos:
    """The images of one project by content hash and by digest of their pixels. Thread-safe.

    Args:
        images: The tables.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._by_content = images.ids_by_hash()
        self._by_former_content = images.ids_by_former_hash()
        self._by_pixels: dict[str, int] | None = None
        """Read when the first file with unknown bytes is met: most runs meet none."""
        self._lock = threading.Lock()

    def by_content(self, content_hash: str) -> int | None:
        """Return the image that shows the pixels of a file with this content hash."""
        with self._lock:
            return self._by_content.get(content_hash)

    def by_former_content(self, content_hash: str) -> int | None:
        """Return the image that was added with this content hash and has shown other pixels since."""
        with self._lock:
            return self._by_former_content.get(content_hash)

    def by_pixels(self, digest: str) -> int | None:
        """Return the image whose pixels have this digest; the first of several that an older version added."""
        with self._lock:
            return self._pixels().get(digest)

    def add(self, image_id: int, content_hash: str, digest: str | None = None) -> None:
        """Add what an image shows from now on."""
        with self._lock:
            self._by_content[content_hash] = image_id
            self._by_former_content.pop(content_hash, None)
            if digest is not None:
                self._pixels().setdefault(digest, image_id)

    def renew(self, image_id: int, was: ImageEntry, now: ImageEntry, files: Iterable[SeenPath]) -> None:
        """Replace what an image shows.

        Args:
            image_id: The image.
            was: What it showed.
            now: What it shows.
            files: Its files until now: none of their bytes is what it shows.
        """
        with self._lock:
            for content_hash in (was.version, *(file.content_hash for file in files)):
                if content_hash is not None and self._by_content.get(content_hash) == image_id:
                    del self._by_content[content_hash]
            if was.pixel_digest is not None and self._pixels().get(was.pixel_digest) == image_id:
                del self._pixels()[was.pixel_digest]
            if now.version != now.content_hash:
                self._by_former_content[now.content_hash] = image_id
        self.add(image_id, now.version, now.pixel_digest)

    def _pixels(self) -> dict[str, int]:
        if self._by_pixels is None:
            self._by_pixels = self._images.ids_by_pixels()
        return self._by_pixels
