"""Picture bytes for the page: thumbnails and photos, found by image id only.

No path comes from a request. A photo is sent unchanged if browsers can show it and it is not large; otherwise as a
smaller JPEG that is cached next to the thumbnail. Knows nothing of HTTP.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from annotator.datasets.image_folder import DecodedImage, content_hash, decode_image, read_image_file
from annotator.datasets.photo_roots import PhotoUrl
from annotator.errors import UnreadableImageError
from annotator.ingest.decoding_budget import DecodingBudget, MakingLocks, PictureCache
from annotator.ingest.remote_photos import RemoteFiles
from annotator.ingest.renditions import encode_jpeg
from annotator.storage.database import Store
from annotator.storage.images import ImageEntry
from annotator.storage.photo_cache import PhotoCache
from annotator.storage.project import Project, write_atomically

logger = logging.getLogger(__name__)

THUMBNAIL_SIZE = 320
CACHE_BYTES = 2_000_000_000
"""Most bytes of photos behind URLs that a project keeps on its disk."""
DISPLAY_SIZE = 2048
"""Longest side, in pixels, of the photo that the page shows without zoom."""
LARGEST_JPEG = 65_000
"""Longest side of a JPEG, in pixels, rounded down."""
DECODING = DecodingBudget()
"""Held while a requested photo is decoded: the largest ones need hundreds of megabytes, each caller may request many at
once, and all projects of a process share its memory."""
MAKING = MakingLocks()
"""Held while a requested picture is made, so that it is made once."""
FULL_SIZE = PictureCache()
"""Photos in full size that were made anew for the page, by the hash of their file. Zooming asks for one again and
again, and each takes seconds."""
_MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
}


@dataclass(frozen=True)
class Picture:
    """Bytes and their media type."""

    data: bytes
    media_type: str


class Pictures:
    """The pictures of one project.

    Args:
        project: Has the folder of thumbnails.
        store: Has the paths of photos.
    """

    def __init__(self, project: Project, store: Store) -> None:
        self._project = project
        self._store = store
        self._remote = RemoteFiles(PhotoCache(project.photo_cache_path, CACHE_BYTES))

    def thumbnail(self, image_id: int) -> Picture:
        """Return the thumbnail; a missing one is made from the photo.

        Raises:
            UnknownImageError: The project has no such image.
            UnreadableImageError: Neither the thumbnail nor the photo can be read.
        """
        path = self._project.thumbnail_path(self._store.images.entry(image_id).version)
        return self._rendition(image_id, path, THUMBNAIL_SIZE)

    def photo(self, image_id: int, *, full: bool = False) -> Picture:
        """Return the photo for display; with ``full`` for zooming, at its full size.

        Raises:
            UnknownImageError: The project has no such image.
            UnreadableImageError: The file is missing or damaged.
        """
        entry = self._store.images.entry(image_id)
        media_type = _MEDIA_TYPES.get(entry.format)
        if media_type is not None and (full or max(entry.width, entry.height) <= DISPLAY_SIZE):
            data = self.read(image_id)
            if not _has_deep_values(data):
                return Picture(data, media_type)
        if full:
            return Picture(self._full_size(image_id, entry), "image/jpeg")
        path = self._project.thumbnail_path(entry.version).with_suffix(".display.jpg")
        return self._rendition(image_id, path, DISPLAY_SIZE)

    def decoded(self, image_id: int, min_side: int) -> DecodedImage:
        """Return the decoded photo; waits while too many others are being decoded.

        Args:
            image_id: The photo.
            min_side: Least length of the shorter side in pixels; a JPEG may be decoded smaller, down to that.

        Raises:
            UnknownImageError: The project has no such image.
            UnreadableImageError: The file is missing or damaged.
        """
        with DECODING.hold(_num_pixels(self._store.images.entry(image_id))):
            return decode_image(self.read(image_id), min_side=min_side)

    def _full_size(self, image_id: int, entry: ImageEntry) -> bytes:
        data = FULL_SIZE.get(entry.version)
        if data is None:
            with MAKING.hold(entry.version), DECODING.hold(_num_pixels(entry)):
                # The thread before may have made this one.
                data = FULL_SIZE.get(entry.version)
                if data is None:
                    data = encode_jpeg(decode_image(self.read(image_id)), LARGEST_JPEG, quality=92)
                    FULL_SIZE.put(entry.version, data)
        return data

    def _rendition(self, image_id: int, path: Path, longest_side: int) -> Picture:
        data = _read_if_present(path)
        if data is None:
            with MAKING.hold(path), DECODING.hold(_num_pixels(self._store.images.entry(image_id))):
                # The thread before may have made this one.
                data = _read_if_present(path) or self._make_rendition(image_id, path, longest_side)
        return Picture(data, "image/jpeg")

    def _make_rendition(self, image_id: int, path: Path, longest_side: int) -> bytes:
        data = encode_jpeg(decode_image(self.read(image_id), min_side=longest_side), longest_side)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        except OSError as error:
            # A full or read-only disk: the picture can still be shown.
            logger.warning("%s could not be cached: %s", path, error.strerror)
        return data

    def read(self, image_id: int) -> bytes:
        """Return the photo's bytes from the first of its paths whose file is as ingest read it and inside its folder.

        Browsers cache a picture by its address for ever, so only bytes with a known content hash are returned.

        Raises:
            UnreadableImageError: There is no such file, or the store that it lies in does not give it.
        """
        entry = self._store.images.entry(image_id)
        folders: set[Path] = set()
        failure: UnreadableImageError | None = None
        for root, file in self._store.images.seen_files(image_id):
            if isinstance(root, Path):
                folders.add(root)
            if file.is_gone or not entry.is_shown_by(file):
                continue
            digest = file.content_hash or entry.content_hash
            if isinstance(root, PhotoUrl):
                try:
                    found = self._remote.read(root, file.path, digest)
                except UnreadableImageError as error:
                    failure = error
                    continue
                if found is not None:
                    return found
                continue
            path = (root / file.path).resolve()
            # A link that was created after the ingest must not lead out of the folder.
            if path.is_relative_to(root.resolve()) and os.path.isfile(path):  # Path.is_file raises in a locked folder
                data = read_image_file(path)
                if content_hash(data) == digest:
                    return data
        if failure is not None:
            raise failure
        if folders and not any(folder.exists() for folder in folders):
            raise UnreadableImageError(
                f"The folder of image {image_id} is not there. If it is on another disk, connect that; if it was "
                "moved, add it at its new place: annotator add."
            )
        raise UnreadableImageError(
            f"The file of image {image_id} is gone or has changed. Put it back, or look through its folder again: "
            "annotator add."
        )


def _num_pixels(entry: ImageEntry) -> int:
    return entry.width * entry.height


def _has_deep_values(data: bytes) -> bool:
    """Tell whether a PNG holds 16-bit values, of which browsers show the upper byte, unlike ``decode_image``."""
    return data.startswith(b"\x89PNG") and data[24:25] == b"\x10"


def _read_if_present(path: Path) -> bytes | None:
    """Return a cached JPEG; None if there is none, or a power cut has left a part of it."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return data if data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9") else None
