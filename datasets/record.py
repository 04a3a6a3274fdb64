"""A record: one photo and the tags that a person gave it. Reads `records.jsonl`.

Knows nothing of features, models or projects.

Format: a folder with `records.jsonl`, one JSON object a line. `image` is the photo's path relative to the folder,
`tags` its tags in the person's order. Optional: `user_tags` (noisy metadata), `caption`; any other key is kept in
`extra`.
"""

import codecs
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import DataError, TagError

logger = logging.getLogger(__name__)

RECORDS_FILE = "records.jsonl"


@dataclass(frozen=True)
class Record:
    """One photo with its tags."""

    image: Path
    """The photo's file, absolute."""
    tags: tuple[str, ...]
    """In the given order, without duplicates."""
    user_tags: tuple[str, ...] = ()
    """The uploader's tags: noisy metadata, not ground truth."""
    caption: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """All other fields of the data set."""


def read_records(folder: Path, *, keep_untagged: bool = False) -> list[Record]:
    """Read a folder's `records.jsonl`.

    Duplicate tags of a photo, photos without tags, and photos of an export whose files it did not find are left out; a
    warning counts each.

    Args:
        folder: Folder of `records.jsonl` and its photos.
        keep_untagged: Keep the photos without tags too.

    Returns:
        The records, in the file's order.

    Raises:
        DataError: The file is missing, a line is not a record, a photo is missing or listed twice, or no photo has a
            tag.
    """
    path = folder.resolve() / RECORDS_FILE
    try:
        # Not splitlines(): JSON strings may contain U+2028, which is no line end here.
        data = path.read_bytes()
        is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        lines = data.decode("utf-16" if is_wide else "utf-8-sig").split("\n")  # with or without a byte-order mark
    except FileNotFoundError:
        raise DataError(
            f"There is no {path}. Name a folder with a {RECORDS_FILE}: one "
            '{"image": "photo.jpg", "tags": ["first", "second"]} a line.'
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} could not be read: {error}.") from error
    records = []
    num_duplicates = num_without_file = 0
    for number, line in enumerate(lines, start=1):
        if line.strip():
            values = _parse_object(line, f"Line {number} of {path}")
            if _lacks_its_file(values, path.parent):
                num_without_file += 1
                continue
            record, num_dropped = _parse_record(values, path.parent, f"Line {number} of {path}")
            num_duplicates += num_dropped
            records.append(record)
    if num_without_file:
        logger.warning(
            "%s: %d photos were left out, since the export did not find their files.", path, num_without_file
        )
    if num_duplicates:
        logger.warning("%s: %d duplicate tags were dropped.", path, num_duplicates)
    return check_records(one_spelling(records), str(path), keep_untagged=keep_untagged)


def one_spelling(records: Sequence[Record]) -> list[Record]:
    """Return records in which every tag has one spelling: of "Dog" and "dog", that of the most photos.

    Args:
        records: Their own lists hold no tag in two spellings.
    """
    chosen = frequent_spellings(record.tags for record in records)
    return [replace(record, tags=tuple(chosen[tag_key(tag)] for tag in record.tags)) for record in records]


def frequent_spellings(lists: Iterable[Iterable[str]]) -> dict[str, str]:
    """Return the most frequent spelling of each tag by its key, in the order of first occurrence; ties: the first."""
    counts: dict[str, Counter[str]] = {}
    for tags in lists:
        for tag in tags:
            counts.setdefault(tag_key(tag), Counter())[tag] += 1
    return {key: spellings.most_common(1)[0][0] for key, spellings in counts.items()}


def check_records(records: list[Record], source: str, *, keep_untagged: bool = False) -> list[Record]:
    """Return the usable records of a data set.

    Args:
        records: All records.
        source: Their file or folder, for messages.
        keep_untagged: Keep the photos without tags too.

    Raises:
        DataError: A photo is missing or listed twice, or no photo has a tag.
    """
    missing = [record.image for record in records if not record.image.is_file()]
    if missing:
        raise DataError(
            f"{len(missing):,} of the {len(records):,} photos that {source} names are missing, "
            f"the first is {missing[0]}. Put them there, or take their entries out."
        )
    seen: set[Path] = set()
    for record in records:
        if record.image in seen:
            raise DataError(f"{source} names the photo {record.image} twice. Keep one of the two.")
        seen.add(record.image)
    tagged = [record for record in records if record.tags]
    if not tagged:
        raise DataError(f"{source} holds no photo with a tag, so there is nothing to learn or measure.")
    if keep_untagged:
        return records
    if len(tagged) < len(records):
        logger.warning("%s: %d photos without tags were left out.", source, len(records) - len(tagged))
    return tagged


def tags_in_field(record: Record, field: str) -> tuple[str, ...]:
    """Return the tags in one of a record's fields, cleaned, without duplicates; empty if it lacks the field.

    Args:
        record: Of any data set.
        field: `user_tags`, or a key of `extra` that holds a list of strings.

    Raises:
        DataError: The field holds another type, or is `tags`.
    """
    if field == "user_tags":
        return record.user_tags
    if field == "tags":
        raise DataError("The tags to be learnt cannot be side information to themselves; name another field.")
    return _parse_tags(record.extra.get(field) or [], field, f"The record of {record.image}")[0]


def _lacks_its_file(values: dict[str, Any], folder: Path) -> bool:
    """Tell whether a line of `annotator export` says that there is no file, and there still is none."""
    image = values.get("image")
    is_marked = "content_hash" in values and (image == "" or values.get("file") in ("missing", "not mounted"))
    return is_marked and not (isinstance(image, str) and image and "\0" not in image and (folder / image).is_file())


def _parse_object(line: str, place: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not JSON ({error}). Each line must be one JSON object.") from error
    if not isinstance(values, dict):
        raise DataError(f"{place} is not a JSON object, but {type(values).__name__}.")
    return values


def _parse_record(values: dict[str, Any], folder: Path, place: str) -> tuple[Record, int]:
    """Return the record and the number of duplicate tags left out."""
    image = values.pop("image", None)
    # With a NUL, later file operations would raise ValueError.
    if not isinstance(image, str) or not image or "\0" in image:
        raise DataError(f'{place} has no "image": the path of the photo as a string; found {image!r}.')
    tags, num_duplicates = _parse_tags(values.pop("tags", []), "tags", place)
    user_tags, _ = _parse_tags(values.pop("user_tags", None) or [], "user_tags", place)
    caption = values.pop("caption", None)
    if caption is not None and not isinstance(caption, str):
        raise DataError(f'{place} has a "caption" that is not a string: {caption!r}.')
    path = folder / image
    if "\\" in image and not path.exists():  # written on Windows
        path = folder / image.replace("\\", "/")
    return Record(path, tags, user_tags, caption, values), num_duplicates


def _parse_tags(values: Any, key: str, place: str) -> tuple[tuple[str, ...], int]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise DataError(f'{place}: "{key}" must be a list of strings; found {str(values)[:60]!r}.')
    try:
        cleaned = [clean_tag(value) for value in values]
    except TagError as error:
        raise DataError(f'{place}: "{key}" holds a bad tag. {error}') from error
    unique: dict[str, str] = {}
    for tag in cleaned:
        unique.setdefault(tag_key(tag), tag)
    return tuple(unique.values()), len(cleaned) - len(unique)
