"""Where ingest reads photos from: the contract of a source, and the source that is a folder of files.

A source lists its files and opens them. What is done with them (identity, commits) is the ingest's; remote_photos.py is
the source for URLs, shard_photos.py that for photos that `annotator embed` read before. Knows nothing of projects or
databases.
"""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotator.datasets.image_folder import (
    DecodedImage,
    content_hash,
    decode_image,
    display_name,
    find_images,
    read_image_file,
)
from annotator.datasets.photo_roots import PhotoRoot
from annotator.datasets.pixel_digest import has_pixels, orientation_of, pixel_digest
from annotator.datasets.sidecars import PhotoMetadata, SidecarFinder, Sidecars, read_metadata
from annotator.ingest.photo_metadata import sidecar_signature
from annotator.ingest.renditions import encode_jpeg
from annotator.storage.features import Vectors

Item = TypeVar("Item")
Result = TypeVar("Result")


class Preprocessor(Protocol):
    """The part of a backbone that needs no weights."""

    image_size: int

    def preprocess(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Return the (H, W, 3) input of the network."""
        ...


class FeatureExtractor(Preprocessor, Protocol):
    """The part of a backbone that the ingest uses."""

    def extract(self, batch: npt.NDArray[np.uint8]) -> Vectors:
        """Return (B, D) features of (B, H, W, 3) crops."""
        ...


LoadPreprocessor = Callable[[], Preprocessor]
LoadNetwork = Callable[[], FeatureExtractor]
"""Returns the network; the first call may load it."""


@dataclass(frozen=True)
class FoundFile:
    """A possible photo of a source."""

    path: str
    """Relative to the source's root, with forward slashes."""
    file_size: int
    """In bytes."""
    modified_ns: int


@dataclass(frozen=True)
class RefusedPath:
    """A file or folder of a source that is not read."""

    path: str
    """Relative to the source's root; "." for the root itself."""
    reason: str
    is_folder: bool = False
    """Whether it is a folder that cannot be listed or entered now: what it holds is unknown, not gone."""


@dataclass(frozen=True)
class NetworkInput:
    """What a photo's features come from; one of the two is given."""

    crop: npt.NDArray[np.uint8] | None = None
    """(H, W, 3), from the network's `preprocess`."""
    vector: Vectors | None = None
    """(D,) float32, computed before."""


class DecodedPhoto(Protocol):
    """A photo whose pixels are known."""

    width: int
    """Of the upright photo at full size, in pixels."""
    height: int
    format: str
    pixel_digest: str
    orientation: int
    """EXIF's, 1 to 8."""

    def network_input(self, network: LoadPreprocessor) -> NetworkInput:
        """Return what the features come from.

        Raises:
            UnreadableImageError: The photo cannot be brought to the network's size.
        """
        ...

    def thumbnail(self, longest_side: int) -> bytes:
        """Return a JPEG with at most this longest side, in pixels."""
        ...

    def metadata(self) -> PhotoMetadata:
        """Return what the photo, its sidecars and its path say."""
        ...


class OpenedPhoto(Protocol):
    """A photo's file with its bytes, not yet decoded."""

    content_hash: str

    def decode(self, min_side: int) -> DecodedPhoto:
        """Return the photo with its pixels.

        Args:
            min_side: As of `decode_image`, in pixels.

        Raises:
            UnreadableImageError: It is damaged, or no photo.
        """
        ...

    def has_pixels(self, digest: str) -> bool:
        """Tell whether the photo has the pixels of a digest.

        Raises:
            UnreadableImageError: It is damaged, or no photo.
        """
        ...

    def metadata(self) -> PhotoMetadata:
        """Return what the photo, its sidecars and its path say.

        Raises:
            UnreadableImageError: It is damaged, or no photo.
        """
        ...


class PhotoSource(Protocol):
    """A root of photos."""

    needs_network: bool
    """Whether features are computed from crops."""

    @property
    def root(self) -> PhotoRoot:
        """Where the photos lie."""
        ...

    def is_there(self) -> bool:
        """Tell whether the root can be listed at all."""
        ...

    def find(self, skip_folders: Collection[Path] = ()) -> Iterator[FoundFile | RefusedPath]:
        """Yield every possible photo in the order of the ingest, and every path that is not read."""
        ...

    def signature(self, path: str) -> str:
        """Return names, sizes and times of a photo's sidecars."""
        ...

    def holds(self, path: str) -> bool:
        """Tell whether a file is there."""
        ...

    def open(self, path: str, opened: Sequence[OpenedPhoto] = ()) -> OpenedPhoto:
        """Return a file.

        Args:
            path: Relative to the root.
            opened: Files that were opened before; their metadata is not decoded again for the same bytes.

        Raises:
            UnreadableImageError: It cannot be read.
        """
        ...


class FolderPhotos:
    """The photos of a folder on a disk. Thread-safe.

    Args:
        root: The folder, or a single file.
    """

    needs_network = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sidecars = SidecarFinder()

    def is_there(self) -> bool:
        """Tell whether the folder exists."""
        return os.path.exists(self.root)

    def find(self, skip_folders: Collection[Path] = ()) -> Iterator[FoundFile | RefusedPath]:
        """Yield every possible photo, each folder's own before those of its subfolders, and what is not read."""
        refused: deque[RefusedPath] = deque()

        def refuse(path: Path, reason: str) -> None:
            is_folder = path == self.root or os.path.isdir(path)  # Path.is_dir raises if the folder cannot be entered
            refused.append(RefusedPath(display_name(_relative(path, self.root)), reason, is_folder))

        for path in find_images(self.root, refuse, skip_folders=skip_folders):
            yield from _taken(refused)
            relative = _relative(path, self.root)
            if display_name(relative) != relative:
                refuse(path, "Its name is not valid UTF-8. Rename it.")
                continue
            try:
                status = path.stat()
            except OSError as error:
                refuse(path, f"Its size and time cannot be read: {error.strerror}.")
                continue
            yield FoundFile(relative, status.st_size, status.st_mtime_ns)
        yield from _taken(refused)

    def signature(self, path: str) -> str:
        """Return names, sizes and times of a photo's sidecars."""
        return sidecar_signature(self.root / path, self._sidecars)

    def holds(self, path: str) -> bool:
        """Tell whether a file is there."""
        return os.path.isfile(self.root / path)

    def open(self, path: str, opened: Sequence[OpenedPhoto] = ()) -> OpenedPhoto:
        """Read a file; see `PhotoSource.open`."""
        file = PhotoFile(self.root, path, read_image_file(self.root / path), self._sidecars)
        for other in opened:
            if isinstance(other, PhotoFile) and other.content_hash == file.content_hash:
                file.take_metadata_of(other)
        return file


class PhotoFile:
    """A photo's file that was read into memory.

    Args:
        root: The photo folder, as `sidecars` takes it.
        path: Relative to it.
        data: The file's bytes.
        sidecars: Finds its sidecars.
    """

    def __init__(self, root: PurePath, path: str, data: bytes, sidecars: Sidecars) -> None:
        self.content_hash = content_hash(data)
        self._root, self._path, self._data, self._sidecars = root, path, data, sidecars
        self._without_pixels: DecodedImage | None = None

    def decode(self, min_side: int) -> DecodedPhoto:
        """Decode the photo; see `OpenedPhoto.decode`."""
        return _DecodedFile(self, decode_image(self._data, min_side=min_side), min_side)

    def has_pixels(self, digest: str) -> bool:
        """Tell whether the photo has the pixels of a digest, to whatever side these were decoded."""
        return has_pixels(self._data, digest)

    def metadata(self) -> PhotoMetadata:
        """Return what the photo, its sidecars and its path say; see `OpenedPhoto.metadata`."""
        if self._without_pixels is None:  # kept without the pixels: a photo may have many files
            self._without_pixels = replace(decode_image(self._data, min_side=1), image=Image.new("RGB", (1, 1)))
        return self.metadata_from(self._without_pixels)

    def metadata_from(self, decoded: DecodedImage) -> PhotoMetadata:
        """Return what the photo says, from its decoded form."""
        return read_metadata(self._root / self._path, decoded, root=self._root, sidecars=self._sidecars)

    def take_metadata_of(self, other: "PhotoFile") -> None:
        """Use what was decoded of another file with the same bytes."""
        self._without_pixels = other._without_pixels


class _DecodedFile:
    """A file's photo with its pixels."""

    def __init__(self, file: PhotoFile, decoded: DecodedImage, min_side: int) -> None:
        self._file, self._decoded = file, decoded
        self.width, self.height, self.format = decoded.width, decoded.height, decoded.format
        self.pixel_digest, self.orientation = pixel_digest(decoded, min_side), orientation_of(decoded)

    def network_input(self, network: LoadPreprocessor) -> NetworkInput:
        return NetworkInput(crop=network().preprocess(self._decoded.image))

    def thumbnail(self, longest_side: int) -> bytes:
        return encode_jpeg(self._decoded, longest_side)

    def metadata(self) -> PhotoMetadata:
        return self._file.metadata_from(self._decoded)


def features_of(inputs: Sequence[NetworkInput], network: LoadNetwork) -> Vectors:
    """Return the features of photos; the network is loaded only if there is a crop.

    Args:
        inputs: B of them, at least one.
        network: Computes features from crops.

    Returns:
        (B, D) float32, in the order of the inputs.
    """
    crops = [item.crop for item in inputs if item.crop is not None]
    computed = iter(network().extract(np.stack(crops)) if crops else ())
    return np.stack([next(computed) if item.vector is None else item.vector for item in inputs])


def work_ahead(
    pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], num_ahead: int
) -> Iterator[Result]:
    """Yield the results of work in the order of the items, with a bounded number of them worked on ahead.

    Args:
        pool: Runs the work.
        work: Item -> result.
        items: May be endless.
        num_ahead: Items whose work may be begun before their result is taken.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= num_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _taken(refused: deque[RefusedPath]) -> Iterator[RefusedPath]:
    while refused:
        yield refused.popleft()


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root if os.path.isdir(root) else root.parent).as_posix() if path != root else "."
