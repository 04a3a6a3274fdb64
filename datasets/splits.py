"""Seeded splits of records into training and validation photos, and their files.

Knows nothing of features or models.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from annotator.datasets.record import Record
from annotator.errors import ConfigError, DataError

VALIDATION_SHARE = 0.2


def split(
    records: Sequence[Record], seed: int, validation_share: float = VALIDATION_SHARE
) -> tuple[list[Record], list[Record]]:
    """Split records by a hash of the photos' names.

    The photos are sorted by a hash of the seed and of their path below the common folder, and the first ones are for
    validation. The split depends neither on the order of the records nor on the location of the folder.

    Args:
        records: Of one data set.
        seed: Seed of the split.
        validation_share: In (0, 1). Each side has at least one photo.

    Returns:
        (train, validation), each in the order of `records`.

    Raises:
        ConfigError: The share is not in (0, 1).
        DataError: Fewer than two photos.
    """
    if not 0 < validation_share < 1:
        raise ConfigError(f"validation_share must lie between 0 and 1, without them; got {validation_share}.")
    if len(records) < 2:
        raise DataError(f"A split needs at least 2 photos with tags; there are {len(records)}.")
    names = image_names(records)
    num_validation = min(max(round(len(records) * validation_share), 1), len(records) - 1)
    by_hash = sorted(names, key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode()).digest())
    validation = set(by_hash[:num_validation])
    return (
        [record for record, name in zip(records, names, strict=True) if name not in validation],
        [record for record, name in zip(records, names, strict=True) if name in validation],
    )


def image_names(records: Iterable[Record]) -> list[str]:
    """Return each photo's path below the common folder of all, with forward slashes.

    Raises:
        DataError: A photo occurs twice.
    """
    paths = [record.image for record in records]
    if len(set(paths)) < len(paths):
        raise DataError("A photo occurs twice among the records; its two copies could fall on both sides of a split.")
    if not paths:
        return []
    common = Path(os.path.commonpath([path.parent for path in paths]))
    return [path.relative_to(common).as_posix() for path in paths]


def save_split(train: Sequence[Record], validation: Sequence[Record], path: Path) -> None:
    """Write the photo names of both sides as JSON."""
    names = image_names([*train, *validation])
    sides = {"train": names[: len(train)], "validation": names[len(train) :]}
    path.write_text(json.dumps(sides, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def load_split(records: Sequence[Record], path: Path) -> tuple[list[Record], list[Record]]:
    """Split records by a saved file; photos that it does not name are on neither side.

    Args:
        records: Of the same data set.
        path: A file of `save_split`.

    Returns:
        (train, validation), each in the order of the file.

    Raises:
        DataError: The file is missing or damaged, or names a photo that is not among the records.
    """
    try:
        sides = json.loads(path.read_text(encoding="utf-8"))
        train, validation = list(sides["train"]), list(sides["validation"])
        if not all(isinstance(name, str) for name in (*train, *validation)):
            raise TypeError("a photo's name is not a text")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a saved split: {error}.") from error
    by_name = dict(zip(image_names(records), records, strict=True))
    unknown = [name for name in [*train, *validation] if name not in by_name]
    if unknown:
        raise DataError(f"{path} names {len(unknown):,} photos that the data set lacks, the first is {unknown[0]!r}.")
    if set(train) & set(validation):
        raise DataError(f"{path} has photos on both sides; make the split anew.")
    return [by_name[name] for name in train], [by_name[name] for name in validation]
