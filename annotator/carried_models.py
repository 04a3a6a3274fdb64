"""Models that a project brings along: a restored backup holds those that its machine had installed.

They are looked up before the models of this machine, so that the project is served with the same networks and word
vectors as before, and no other project sees them. The lookups lie deep in the taggers, and a process serves one
project, so the folder is set once for the process. Knows nothing of what the files are.
"""

from pathlib import Path

BACKBONES, NETWORKS, DETECTORS, WORD_VECTORS = "backbones", "networks", "detectors", "word_vectors"
"""Folders of installed backbones, exported networks, detectors, and tables of word vectors."""

_FOLDER: list[Path] = []


def use(folder: Path) -> None:
    """Look up models in a folder from now on; one that does not exist brings none."""
    _FOLDER[:] = [folder] if folder.is_dir() else []


def folder() -> Path | None:
    """Return the folder in use."""
    return _FOLDER[0] if _FOLDER else None


def find(*parts: str) -> Path | None:
    """Return a file or folder that the project brings along, below one of the folders above; None without it."""
    path = _FOLDER[0].joinpath(*parts) if _FOLDER else None
    return path if path is not None and path.exists() else None
