"""A tagged photo as formats of other programs see it: a name, ranked tags, and what is known besides.

Knows nothing of projects or of any one format.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from annotator.datasets.file_types import IMAGE_SUFFIXES
from annotator.errors import DataError


@dataclass(frozen=True)
class TaggedPhoto:
    """One photo with its ranked tags."""

    name: str
    """Path below the folder of photos, with forward slashes. From a reader it may lack the suffix (`dog` for
    `dog.jpg`) or be an absolute path, as its file has it."""
    tags: tuple[str, ...] = ()
    """Most important first, no repeats."""
    path: Path | None = None
    """The photo's file; None if it is unknown or gone."""
    dropped: tuple[str, ...] = ()
    """Proposals that were refused."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Tag -> score in [0, 1], of the tags that a model proposed."""
    user: str = ""
    """Who saved the list."""
    saved_at: str = ""
    """When, ISO 8601 in UTC."""
    image_id: int = 0
    """Id within the project; 0 outside of one."""
    content_hash: str = ""
    """SHA-256 of the photo's bytes, in hexadecimal; empty if unknown."""
    width: int = 0
    """Of the upright photo in pixels; 0 if unknown."""
    height: int = 0
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tag -> the tags above it in a vocabulary, the highest first; tags without any are left out."""
    title: str = ""
    description: str = ""
    category: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Field -> what a person has written there; title, description and category stand above too."""
    row: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What else the source knows, for the formats that hold everything (jsonl, csv)."""

    @property
    def file_name(self) -> str:
        """Return the last part of the name."""
        return PurePosixPath(self.name).name

    @property
    def stem(self) -> str:
        """Return the name without the suffix of a photo: `a/dog` for `a/dog.jpg`; otherwise the name itself."""
        path = PurePosixPath(self.name)
        return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else self.name


def safe_name(name: str, source: str) -> str:
    """Return a relative name without `.` parts, for writing below a folder.

    Args:
        name: With forward slashes.
        source: What holds the name, for the message.

    Raises:
        DataError: It is empty, absolute, or leaves the folder by `..`.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise DataError(f"{source} names the photo {name[:80]!r}, which does not lie inside of the folder of photos.")
    return str(path)
