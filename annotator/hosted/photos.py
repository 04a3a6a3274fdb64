"""Accepts a visitor's photos, and maps their names on disk to the visitor's names.

The type of a file is read from its content. Photos are decoded within limits (hosted/decoder.py), one after another,
and encoded anew as JPEG, so that nothing but the pixels and a small colour profile remains: no metadata, no location,
no second file hidden in it. The visitor's name of a file is shown as text and never used as a path. Knows nothing of
HTTP.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from annotator.datasets.demo_photos import demo_photos
from annotator.datasets.image_folder import find_images
from annotator.errors import DemoError, UnreadableImageError
from annotator.hosted.decoder import renewed
from annotator.hosted.limits import HostedLimits
from annotator.hosted.space import Space
from annotator.storage.project import write_atomically

NAMES_FILE = "names.json"
MAX_NAME = 80
NUM_SAMPLES = 8


class PhotoIntake:
    """Adds photos to spaces.

    Args:
        limits: Sizes and numbers.
        samples: A folder whose first photos are offered as samples; None offers those of `annotator demo`.
    """

    def __init__(self, limits: HostedLimits, samples: Path | None = None) -> None:
        self._limits = limits
        self._samples_folder = samples
        self._samples: list[tuple[str, bytes]] | None = None
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._decoding = ThreadPoolExecutor(1, "renew photos")

    @contextmanager
    def arriving(self, space: Space[Any]) -> Iterator[None]:
        """Reserve a place for a photo before it is read; released at the end, whether the photo was added or not.

        Raises:
            DemoError: The space is full, or too many uploads are under way.
        """
        with self._counting:
            self._check_room(space, space.num_arriving + 1)
            if space.num_arriving >= self._limits.uploads_at_once:
                raise DemoError(f"{space.num_arriving} photos of yours are arriving. Send this one after them.")
            space.num_arriving += 1
        try:
            yield
        finally:
            with self._counting:
                space.num_arriving -= 1

    def renew(self, file: IO[bytes], num_bytes: int) -> Future[bytes]:
        """Queue a photo to be decoded and encoded anew; the result is the JPEG to store.

        Args:
            file: A real file; it must stay open until then.
            num_bytes: Its size.

        Raises:
            UnreadableImageError: The file is too large. The result raises it if the file is damaged or no picture.
        """
        if num_bytes > self._limits.max_photo_bytes:
            raise UnreadableImageError(
                f"The file has {num_bytes / 1e6:,.1f} MB; here a photo may have at most "
                f"{self._limits.max_photo_bytes / 1e6:,.0f} MB."
            )
        return self._decoding.submit(renewed, file, self._limits)

    def keep(self, space: Space[Any], data: bytes, name: str) -> str:
        """Store one photo that was encoded anew; return its file name.

        Args:
            space: The visitor's space.
            data: The JPEG.
            name: The visitor's name of the file.

        Raises:
            DemoError: The space is full.
        """
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

    def close(self) -> None:
        """Decode nothing more."""
        self._decoding.shutdown(cancel_futures=True)

    def add_samples(self, space: Space[Any]) -> int:
        """Add the sample photos, as many as there is room for; return how many.

        Raises:
            DemoError: The space is full, or there are no samples.
        """
        with self._lock:
            if self._samples is None:
                self._samples = list(self._read_samples())
        self._check_room(space, space.num_arriving + 1)
        known = set(read_names(space).values())
        room = self._limits.num_photos - num_photos(space) - space.num_arriving
        missing = [(name, data) for name, data in self._samples if name not in known][:room]
        for name, data in missing:
            self.keep(space, data, name)
        return len(missing)

    def _read_samples(self) -> Sequence[tuple[str, bytes]]:
        paths = find_images(self._samples_folder) if self._samples_folder else (path for _, path in demo_photos())
        found: list[tuple[str, bytes]] = []
        for path in paths:
            if len(found) == NUM_SAMPLES:
                break
            try:
                with path.open("rb") as file:
                    found.append((path.name, self._decoding.submit(renewed, file, self._limits).result()))
            except (OSError, UnreadableImageError):
                continue
        if not found:
            raise DemoError("This server has no sample photos. Add photos of your own.")
        return found

    def _check_room(self, space: Space[Any], num: int) -> None:
        if num_photos(space) + num > self._limits.num_photos:
            raise DemoError(f"This space holds {self._limits.num_photos} photos, which is the most here.")
        if space.is_full:
            raise DemoError(full_sentence(self._limits))


def full_sentence(limits: HostedLimits) -> str:
    """Return the message for a full space."""
    return (
        f"This space holds {limits.max_space_bytes / 1e6:,.0f} MB, which is the most here. Take your result away, "
        "then begin anew."
    )


def num_photos(space: Space[Any]) -> int:
    """Return how many photos a space has."""
    return len(read_names(space))


def read_names(space: Space[Any]) -> dict[str, str]:
    """Return the visitor's name of each photo, by its file name."""
    path = space.folder / NAMES_FILE
    if not path.exists():
        return {}
    names: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return names


def shown_name(name: str) -> str:
    """Return a file name without folders and control characters, of at most MAX_NAME characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    text = "".join(letter for letter in last if letter.isprintable()).strip(" .")
    return text[:MAX_NAME] or "photo"


def unused(name: str, taken: Any) -> str:
    """Return a name that is not among those taken, numbered if necessary."""
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
