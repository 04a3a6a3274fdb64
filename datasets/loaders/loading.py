"""Shared parts of the loaders of published data sets: the split, and error messages for missing files.

Knows nothing of any one data set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from annotator.datasets.record import Record
from annotator.datasets.tags import clean_tag
from annotator.errors import DataError, TagError


@dataclass(frozen=True)
class DataSet:
    """A published data set with its official split.

    Attributes:
        train: Training photos.
        test: Test photos of the published protocol.
        vocabulary: The tags of the protocol, in the order of the data set.
    """

    train: list[Record]
    test: list[Record]
    vocabulary: list[str]


def require_path(path: Path, instructions: str) -> Path:
    """Return a path that must exist.

    Args:
        path: A file or folder of the data set.
        instructions: One sentence: what to download and where to put it.

    Raises:
        DataError: It does not exist.
    """
    if not path.exists():
        raise DataError(f"{path} is missing. {instructions}")
    return path


def read_lines(path: Path, instructions: str, encoding: str = "utf-8") -> list[str]:
    """Return the stripped, non-empty lines of a text file.

    Raises:
        DataError: The file does not exist or is no text in this encoding.
    """
    require_path(path, instructions)
    try:
        text = path.read_text(encoding=encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} could not be read: {error}. {instructions}") from error
    if "\0" in text:  # no file name may contain one
        raise DataError(f"{path} is no text: it holds NUL characters. {instructions}")
    return [line.strip() for line in text.split("\n") if line.strip()]


def check_same_length(name: str, counts: Mapping[Path, int]) -> int:
    """Return the common value of all counts.

    Raises:
        DataError: They differ, so the files do not belong together.
    """
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{path.name}: {count:,}" for path, count in counts.items())
        raise DataError(f"The files of {name} do not belong together, their numbers of entries differ ({found}).")
    return next(iter(counts.values()))


def clean_tags(tags: Sequence[str], source: str) -> tuple[str, ...]:
    """Return cleaned tags without duplicates, in the given order.

    Raises:
        DataError: A tag is invalid; the message names the source.
    """
    try:
        return tuple(dict.fromkeys(clean_tag(tag) for tag in tags))
    except TagError as error:
        raise DataError(f"{source} holds a bad tag. {error}") from error


def frequent_tags(records: Sequence[Record], min_count: int) -> list[str]:
    """Return the tags of at least `min_count` records, the most frequent first."""
    counts: dict[str, int] = {}
    for record in records:
        for tag in record.tags:
            counts[tag] = counts.get(tag, 0) + 1
    return sorted((tag for tag, count in counts.items() if count >= min_count), key=lambda tag: (-counts[tag], tag))


def keep_tags(records: Sequence[Record], vocabulary: Sequence[str]) -> list[Record]:
    """Return the records with only the tags of the vocabulary; records without any are left out."""
    known = set(vocabulary)
    kept = []
    for record in records:
        tags = tuple(tag for tag in record.tags if tag in known)
        if tags:
            kept.append(Record(record.image, tags, record.user_tags, record.caption, record.extra))
    return kept


def existing_photos(
    records: Sequence[Record], name: str, instructions: str, warn: Callable[[str], None]
) -> list[Record]:
    """Return the records whose photo exists; data sets that are lists of links lose photos over the years.

    Args:
        records: Of the data set.
        name: Of the data set.
        instructions: What to download and where to put it.
        warn: Called with a sentence that counts the missing photos.

    Raises:
        DataError: All photos are missing.
    """
    found = [record for record in records if record.image.is_file()]
    if not found:
        first = f", such as {records[0].image}" if records else ""
        raise DataError(f"None of the photos of {name} is there{first}. {instructions}")
    if len(found) < len(records):
        warn(f"{name}: {len(records) - len(found):,} of {len(records):,} photos are missing and were left out.")
    return found
