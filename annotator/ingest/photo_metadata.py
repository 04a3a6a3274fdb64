"""The metadata of a photo with several files: which sidecars were read, and what all its files say together.

Knows nothing of pixels or of the database.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import TypeVar

from annotator.datasets.sidecars import PhotoMetadata, SidecarFinder
from annotator.datasets.tags import tag_key

NOT_READ = "?"
"""Signature of a file whose metadata is still to be read."""

Value = TypeVar("Value")


def sidecar_signature(path: Path, finder: SidecarFinder) -> str:
    """Return names, sizes and times of a photo's sidecars; it changes when one is added, changed or removed."""
    try:
        sidecars = finder.find(path)
    except OSError:
        return ""
    return "|".join(map(_signature, sidecars))


def _signature(sidecar: PurePath) -> str:
    try:
        status = Path(sidecar).stat()
    except OSError:
        return sidecar.name
    return f"{sidecar.name}:{status.st_size}:{status.st_mtime_ns}"


def merge_metadata(files: Sequence[PhotoMetadata]) -> PhotoMetadata:
    """Return what the files of one photo say: all words of all of them, and of single values the first.

    Args:
        files: At least one.
    """
    if len(files) == 1:
        return files[0]
    place = next((file for file in files if file.latitude is not None), files[0])
    return PhotoMetadata(
        keywords=_distinct((file.keywords for file in files), tag_key),
        hierarchies=_distinct(file.hierarchies for file in files),
        user_tags=_distinct((file.user_tags for file in files), tag_key),
        caption=_first(file.caption for file in files),
        taken_at=_first(file.taken_at for file in files),
        camera=_first(file.camera for file in files),
        latitude=place.latitude,
        longitude=place.longitude,
        path_words=_distinct(file.path_words for file in files),
        notes=_distinct(file.notes for file in files),
    )


def _distinct(lists: Iterable[tuple[str, ...]], key: Callable[[str], str] = lambda text: text) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for text in chain.from_iterable(lists):
        found.setdefault(key(text), text)
    return tuple(found.values())


def _first(values: Iterable[Value | None]) -> Value | None:
    return next((value for value in values if value is not None), None)
