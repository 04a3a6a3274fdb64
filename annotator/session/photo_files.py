"""Content hash, version and shown name of each photo, in memory, since every view of photos needs them.

Also its place in the order of folders and names. Knows nothing of the database.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from annotator.active_learning.random_sample import is_in_sample
from annotator.collaboration.responses import in_share
from annotator.storage.images import ImageEntry, PhotoFile, SeenPath

VERSION_LENGTH = 16
"""Characters of the content hash in a picture's URL: changed content gets a new URL."""
_NUMBER = re.compile(r"\d+")

Place = tuple[int, str, str, str]
"""Root, folder, file name and path, in the order in which ingest searches folders (datasets/image_folder.py)."""


class PhotoFiles:
    """The files of one project's photos.

    Args:
        files: Image id -> its first file.
        shown_name: The name that the page shows for a path below its folder.
    """

    def __init__(self, files: Mapping[int, PhotoFile], shown_name: Callable[[str], str]) -> None:
        self.shown_name = shown_name
        self.root_path = ""
        """The prefix under which a reverse proxy offers the page."""
        self._files = dict(files)
        self._names = {image_id: shown_name(file.path) for image_id, file in files.items()}
        self._num_changes = 0
        self._by_name = -1, np.empty(0, np.int32)
        """The number of changes at which the order was computed, and the order."""

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    def add(self, paths: Sequence[SeenPath], hashes: Mapping[int, str]) -> None:
        """Take in paths that ingest has committed.

        Args:
            paths: The paths; those without an image are ignored.
            hashes: Image id -> content hash, of the new images among them.
        """
        for seen in paths:
            if seen.image_id is not None:
                known = self._files.get(seen.image_id)
                digest, version = (known.content_hash, known.version) if known else (hashes[seen.image_id],) * 2
                self._files[seen.image_id] = PhotoFile(digest, version, seen.root_id, seen.path, is_gone=False)
                self._names[seen.image_id] = self.shown_name(seen.path)
        self._num_changes += 1

    def renew(self, image_id: int, entry: ImageEntry) -> None:
        """Take in that an image shows other pixels."""
        known = self._files[image_id]
        self._files[image_id] = PhotoFile(known.content_hash, entry.version, known.root_id, known.path, known.is_gone)

    def content_hash(self, image_id: int) -> str:
        """Return a photo's content hash."""
        return self._files[image_id].content_hash

    def name(self, image_id: int) -> str:
        """Return the name that the page shows for a photo."""
        return self._names[image_id]

    def place(self, image_id: int) -> Place:
        """Return a photo's place in the order of folders and names."""
        file = self._files[image_id]
        folder, _, name = file.path.rpartition("/")
        return file.root_id, _folder_key(folder), natural_key(name), file.path

    def by_name(self) -> npt.NDArray[np.int32]:
        """Return the ids of all photos in the order of their names alone, numbers in them by value.

        Of equal names the photo that was added first is first.
        """
        number, ordered = self._by_name
        if number != self._num_changes:
            number = self._num_changes
            keys = {image_id: natural_key(file.path.rpartition("/")[2]) for image_id, file in dict(self._files).items()}
            ordered = np.array(sorted(keys, key=lambda image_id: (keys[image_id], image_id)), np.int32)
            self._by_name = number, ordered
        return ordered

    def thumbnail_url(self, image_id: int) -> str:
        """Return the URL of a photo's thumbnail."""
        return f"{self.root_path}/thumbnail/{image_id}?v={self._files[image_id].version[:VERSION_LENGTH]}"

    def image_url(self, image_id: int) -> str:
        """Return the URL of a photo."""
        return f"{self.root_path}/image/{image_id}?v={self._files[image_id].version[:VERSION_LENGTH]}"

    def is_in_sample(self, image_id: int, share: float) -> bool:
        """Return whether a photo belongs to the random sample of this share."""
        return is_in_sample(self.content_hash(image_id), share)

    def in_share(self, image_ids: Sequence[int], share: float) -> list[int]:
        """Return the photos that several people are asked about when this share of all photos is."""
        return [image_id for image_id in image_ids if in_share(self.content_hash(image_id), share)]


def natural_key(name: str) -> str:
    """Return a text by which names are sorted as people expect: IMG_2 before IMG_10."""
    return _NUMBER.sub(lambda match: _padded(match[0]), name.casefold())


def _padded(digits: str) -> str:
    """Return a number after its length, so that longer ones come later, and all of them before any letter."""
    number = digits.lstrip("0")
    return f"\1{len(number):04}{number}"


@lru_cache(maxsize=4096)
def _folder_key(folder: str) -> str:
    # A folder's own photos come before those of its subfolders, and these before those of the next folder.
    return "\0".join(natural_key(part) for part in folder.split("/")) if folder else ""
