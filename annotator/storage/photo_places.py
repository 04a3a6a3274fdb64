"""Where the photos of a project are now: which folders are there, and which of an image's files.

Knows nothing of the content of files.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotator.datasets.file_types import IMAGE_SUFFIXES, SKIPPED_FOLDERS, suffix_of
from annotator.datasets.photo_roots import is_url

PRESENT, MISSING, NOT_MOUNTED = "present", "missing", "not mounted"


@dataclass(frozen=True)
class PhotoPlace:
    """The file of an image that exists, or the last one that is known."""

    root: str
    path: str
    """Relative to the root; both are empty if no file was ever known."""
    state: str
    """`PRESENT`, `MISSING` or `NOT_MOUNTED`: the whole folder is missing or empty."""


class PhotoFolders:
    """The photo folders of a project, each looked at once."""

    def __init__(self) -> None:
        self._is_there: dict[str, bool] = {}

    def is_there(self, root: str) -> bool:
        """Tell whether a folder is there and holds a photo, by name; a mount point without its disk does not.

        What systems leave in an empty folder, or a note in it, is no photo. A URL is taken for one that is there, since
        asking costs a transfer.
        """
        if is_url(root):
            return True
        known = self._is_there.get(root)
        if known is None:
            known = self._is_there[root] = _holds_photos(Path(root))
        return known

    def locate(self, files: Sequence[tuple[str, str]]) -> PhotoPlace:
        """Return the first file that exists, else the first one as it was last known.

        Args:
            files: (root, relative path) of each file of an image, those that are gone last.
        """
        for root, path in files:
            if is_url(root) or (self.is_there(root) and os.path.isfile(os.path.join(root, path))):
                return PhotoPlace(root, path, PRESENT)
        if not files:
            return PhotoPlace("", "", MISSING)
        root, path = files[0]
        return PhotoPlace(root, path, MISSING if self.is_there(root) else NOT_MOUNTED)


def _holds_photos(root: Path) -> bool:
    if root.is_file():
        return True
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                for entry in listing:
                    if entry.name.startswith(".") or entry.name in SKIPPED_FOLDERS:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(folder / entry.name)
                    elif suffix_of(entry.name) in IMAGE_SUFFIXES:
                        return True
        except OSError:
            continue
    return False
