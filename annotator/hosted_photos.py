"""A visitor's photos: what is taken in, and under which names it lies on the disk.

The content of a file decides what it is; pixels are decoded within limits and written anew as JPEG, so that nothing
else of the file stays but a small colour profile: no metadata, no place, no second file hidden in it. The visitor's own
name of it is only ever text. Knows nothing of HTTP.
"""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from annotator.datasets.demo_photos import demo_photos
from annotator.datasets.image_folder import decode_image, find_images, read_image_file
from annotator.errors import DemoError, UnreadableImageError
from annotator.hosted_limits import HostedLimits
from annotator.hosted_spaces import Space
from annotator.ingest import encode_jpeg
from annotator.project import write_atomically

NAMES_FILE = "names.json"
MAX_NAME = 80
MAX_PROFILE_BYTES = 4096
"""Cameras' and screens' colour profiles are smaller."""
NUM_SAMPLES = 8
_DECODING = threading.Semaphore(1)
"""One decoding at a time: the pixels of a large photo take some 160 MB."""


class PhotoIntake:
    """Takes photos into spaces.

    Args:
        limits: Sizes and numbers.
        samples: A folder whose first photos are offered as samples; None offers those of `annotator demo`.
    """

    def __init__(self, limits: HostedLimits, samples: Path | None = None) -> None:
        self._limits = limits
        self._samples_folder = samples
        self._samples: list[tuple[str, bytes]] | None = None
        self._lock = threading.Lock()

    def add(self, space: Space[Any], data: bytes, name: str) -> str:
        """Take one photo in; return the name under which it lies.

        Args:
            space: Whose.
            data: The file.
            name: What the visitor calls it.

        Raises:
            UnreadableImageError: It is no picture, damaged, or too large.
            DemoError: The space is full.
        """
        self._check_room(space, 1)
        if len(data) > self._limits.max_photo_bytes:
            raise UnreadableImageError(
                f"The file has {len(data) / 1e6:,.1f} MB; here a photo may have at most "
                f"{self._limits.max_photo_bytes / 1e6:,.0f} MB."
            )
        return self._write(space, self._renewed(data), name)

    def add_samples(self, space: Space[Any]) -> int:
        """Take the sample photos in, as many as there is room for; return how many.

        Raises:
            DemoError: The space is full, or there are no samples.
        """
        with self._lock:
            if self._samples is None:
                self._samples = list(self._read_samples())
        self._check_room(space, 1)
        known = set(read_names(space).values())
        room = self._limits.num_photos - num_photos(space)
        missing = [(name, data) for name, data in self._samples if name not in known][:room]
        for name, data in missing:
            self._write(space, data, name)
        return len(missing)

    def _read_samples(self) -> Sequence[tuple[str, bytes]]:
        paths = find_images(self._samples_folder) if self._samples_folder else (path for _, path in demo_photos())
        found: list[tuple[str, bytes]] = []
        for path in paths:
            if len(found) == NUM_SAMPLES:
                break
            try:
                found.append((path.name, self._renewed(read_image_file(path))))
            except UnreadableImageError:
                continue
        if not found:
            raise DemoError("This server has no sample photos. Add photos of your own.")
        return found

    def _renewed(self, data: bytes) -> bytes:
        with _DECODING:
            decoded = decode_image(data, min_side=self._limits.longest_side, max_pixels=self._limits.max_photo_pixels)
            decoded.image.info.clear()  # Pillow would write a comment again
            profile = decoded.icc_profile
            if profile is not None and len(profile) > MAX_PROFILE_BYTES:
                decoded = replace(decoded, icc_profile=None)
            return encode_jpeg(decoded, self._limits.longest_side, quality=90)

    def _check_room(self, space: Space[Any], num: int) -> None:
        if num_photos(space) + num > self._limits.num_photos:
            raise DemoError(f"This space holds {self._limits.num_photos} photos, which is the most here.")
        if space.is_full:
            raise DemoError(full_sentence(self._limits))

    def _write(self, space: Space[Any], data: bytes, name: str) -> str:
        with space.lock:
            self._check_room(space, 1)
            names = read_names(space)
            own = f"photo-{len(names) + 1:03}.jpg"
            try:
                write_atomically(space.photos_path / own, data, mode=0o600)
                names[own] = unused(shown_name(name), names.values())
                write_atomically(space.folder / NAMES_FILE, json.dumps(names).encode(), mode=0o600)
            except OSError as error:
                raise DemoError(f"The photo could not be kept: {error.strerror}.") from error
        return own


def full_sentence(limits: HostedLimits) -> str:
    """Say that a space may hold no more."""
    return (
        f"This space holds {limits.max_space_bytes / 1e6:,.0f} MB, which is the most here. Take your result away, "
        "then begin anew."
    )


def num_photos(space: Space[Any]) -> int:
    """Return how many photos a space has."""
    return len(read_names(space))


def read_names(space: Space[Any]) -> dict[str, str]:
    """Return what the visitor calls each photo."""
    path = space.folder / NAMES_FILE
    if not path.exists():
        return {}
    names: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return names


def shown_name(name: str) -> str:
    """Return a file name as text that can be shown: without folders and control characters, not too long."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    text = "".join(letter for letter in last if letter.isprintable()).strip(" .")
    return text[:MAX_NAME] or "photo"


def unused(name: str, taken: Any) -> str:
    """Return a name that is not among those taken, with a number if need be."""
    taken = set(taken)
    if name not in taken:
        return name
    stem, dot, suffix = name.rpartition(".")
    make: Callable[[int], str] = partial(_numbered, stem or name, f"{dot}{suffix}" if stem else "")
    number = 2
    while make(number) in taken:
        number += 1
    return make(number)


def _numbered(stem: str, suffix: str, number: int) -> str:
    return f"{stem} ({number}){suffix}"
