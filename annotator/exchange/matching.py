"""Finds the photo of a project that a file of another program means.

A file names photos by a hash, a path, a file name, or a name without suffix; a name that fits several photos fits none.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from annotator.datasets.file_types import IMAGE_SUFFIXES
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.storage.queries import Queries


@dataclass(frozen=True)
class Match:
    """The photo that was found."""

    image_id: int | None
    reason: str = ""
    """Why none was."""


class PhotoFinder:
    """Finds photos by what other programs call them.

    Args:
        files: (image id, content hash, folder of photos, path below it) of each file of the project.
    """

    def __init__(self, files: Iterable[tuple[int, str, str, str]]) -> None:
        self._by_hash: dict[str, int] = {}
        self._by_last: dict[str, list[tuple[int, str]]] = {}  # key of the last part -> (image id, key of the full path)
        self._by_stem: dict[str, list[tuple[int, str]]] = {}
        for image_id, content_hash, root, path in files:
            self._by_hash[content_hash] = image_id
            full = _key(f"{root}/{path}")
            stem = full[: -len(PurePosixPath(full).suffix)] if PurePosixPath(full).suffix else full
            self._by_last.setdefault(_last(full), []).append((image_id, full))
            self._by_stem.setdefault(_last(stem), []).append((image_id, stem))

    @classmethod
    def of(cls, store: Queries) -> "PhotoFinder":
        """Return the finder of a project's photos."""
        return cls(
            (int(image_id), content_hash, root, path)
            for image_id, content_hash, root, path in store.rows(
                "SELECT i.image_id, i.content_hash, r.path, p.path FROM images i JOIN paths p USING (image_id) "
                "JOIN roots r USING (root_id)"
            )
        )

    def find(self, photo: TaggedPhoto) -> Match:
        """Return the photo of the project, or why there is none."""
        if photo.content_hash in self._by_hash:
            return Match(self._by_hash[photo.content_hash])
        name = _key(photo.name.replace("\\", "/"))
        has_suffix = PurePosixPath(name).suffix in IMAGE_SUFFIXES
        known = (self._by_last if has_suffix else self._by_stem).get(_last(name), [])
        found = {image_id for image_id, full in known if _ends(full, name) or _ends(name, full)}
        if not found:
            return Match(None, "the project has no such photo")
        if len(found) > 1:
            return Match(None, f"{len(found)} photos of the project are called so")
        return Match(found.pop())


def find_all(store: Queries, names: Iterable[str]) -> tuple[list[int], list[tuple[str, str]]]:
    """Return the ids of photos by their names, in ascending order; and (name, reason) of those that fit none."""
    finder, found, missing = PhotoFinder.of(store), set(), []
    for name in names:
        match = finder.find(TaggedPhoto(name))
        if match.image_id is None:
            missing.append((name, match.reason))
        else:
            found.add(match.image_id)
    return sorted(found), missing


def _key(path: str) -> str:
    text = unicodedata.normalize("NFC", path).casefold()
    return "/".join(part for part in text.split("/") if part not in ("", "."))


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _ends(path: str, end: str) -> bool:
    return path == end or path.endswith("/" + end)
