"""What the loaders of published data sets share: splits, and sentences for files that are not there.

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
        train: Photos to learn from.
        test: Photos to report on, by the published protocol.
        vocabulary: The tags that the protocol counts, in the data set's own order.
    """

    train: list[Record]
    test: list[Record]
    vocabulary: list[str]


def need(path: Path, how: str) -> Path:
    """Return a path that must be there.

    Args:
        path: A file or folder of the data set.
        how: One sentence: what to download and where to put it.

    Raises:
        DataError: It is not there.
    """
    if not path.exists():
        raise DataError(f"{path} is missing. {how}")
    return path


def read_lines(path: Path, how: str, encoding: str = "utf-8") -> list[str]:
    """Return a text file's lines that are not empty, without white space around them.

    Raises:
        DataError: It is not there, or is no such text.
    """
    need(path, how)
    try:
        text = path.read_text(encoding=encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} could not be read: {error}. {how}") from error
    if "\0" in text:  # no file name may hold one
        raise DataError(f"{path} is no text: it holds NUL characters. {how}")
    return [line.strip() for line in text.split("\n") if line.strip()]


def same_length(name: str, counts: Mapping[Path, int]) -> int:
    """Return the one number that all counts are.

    Raises:
        DataError: They differ, so the files do not belong together.
    """
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{path.name}: {count:,}" for path, count in counts.items())
        raise DataError(f"The files of {name} do not belong together, their numbers of entries differ ({found}).")
    return next(iter(counts.values()))


def tidy(tags: Sequence[str], source: str) -> tuple[str, ...]:
    """Return cleaned tags without duplicates, in the order given.

    Raises:
        DataError: A tag is not one; the message names the source.
    """
    try:
        return tuple(dict.fromkeys(clean_tag(tag) for tag in tags))
    except TagError as error:
        raise DataError(f"{source} holds a bad tag. {error}") from error


def frequent_tags(records: Sequence[Record], min_count: int) -> list[str]:
    """Return the tags that at least so many records carry, the most frequent first."""
    counts: dict[str, int] = {}
    for record in records:
        for tag in record.tags:
            counts[tag] = counts.get(tag, 0) + 1
    return sorted((tag for tag, count in counts.items() if count >= min_count), key=lambda tag: (-counts[tag], tag))


def keep_tags(records: Sequence[Record], vocabulary: Sequence[str]) -> list[Record]:
    """Return the records with only the vocabulary's tags; those left without a tag are left out."""
    known = set(vocabulary)
    kept = []
    for record in records:
        tags = tuple(tag for tag in record.tags if tag in known)
        if tags:
            kept.append(Record(record.image, tags, record.user_tags, record.caption, record.extra))
    return kept


def existing(records: Sequence[Record], name: str, how: str, warn: Callable[[str], None]) -> list[Record]:
    """Return the records whose photo is there; data sets that are lists of links lose photos over the years.

    Args:
        records: Of the data set.
        name: Of the data set.
        how: What to download and where to put it.
        warn: Told how many photos are missing.

    Raises:
        DataError: None is there.
    """
    found = [record for record in records if record.image.is_file()]
    if not found:
        first = f", such as {records[0].image}" if records else ""
        raise DataError(f"None of the photos of {name} is there{first}. {how}")
    if len(found) < len(records):
        warn(f"{name}: {len(records) - len(found):,} of {len(records):,} photos are missing and were left out.")
    return found
