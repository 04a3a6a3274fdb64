"""JSON files beside photos: tags, prompts, captions, Google Takeout's place and time.

Of image boards, taggers, image generators, ExifTool and Google Takeout. Knows nothing of files on disk.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from annotator.datasets.prompts import prompt_of_json
from annotator.datasets.tag_lists import has_commas, listed_tags
from annotator.datasets.text_encodings import decode_text

_MAX_NESTING = 5
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*%?")
_TAG_KEYS = ("tags", "keywords")
_LABEL_KEYS = ("labels",)
_EXIFTOOL_KEYS = ("keywords", "subject")
_EXIFTOOL_LEVELS = {"tagslist": "/", "hierarchicalsubject": "|", "lastkeywordxmp": "/"}
_GROUPS = frozenset(
    {"artist", "artists", "character", "characters", "copyright", "copyrights", "general", "lore", "meta", "series",
     "species"}
)  # fmt: skip
_BOORU_KEY = re.compile(r"tag_string|tags?_string_\w+|tags_\w+")
_CAPTION_KEYS = ("caption", "description", "captions", "text")
_RATING_GROUPS = frozenset({"rating", "ratings"})
_SCORE_KEYS = frozenset({"score", "confidence", "probability", "prob", "weight"})
_NAME_KEYS = ("tag", "name", "label", "value", "text")
_BOARD_KEYS = frozenset({"file_url", "md5", "preview_url", "sample_url"})  # of an image board's answer
_WRAPPERS = ("post", "posts", "result")


@dataclass(frozen=True)
class TagFile:
    """The content of one file."""

    tags: tuple[str, ...] = ()
    """Not cleaned."""
    caption: str | None = None
    taken_at: str | None = None
    """ISO 8601, UTC without an offset."""
    place: tuple[Any, Any] | None = None
    """Latitude and longitude as found."""
    problems: tuple[str, ...] = ()
    """What was left out, each as the end of a sentence: "is not valid JSON"."""


def read_json_tags(data: bytes) -> TagFile:
    """Read a list of tags, or an object's tags, caption, and Google Takeout's place and time."""
    try:
        value = json.loads(decode_text(data))
    except (ValueError, RecursionError):
        return TagFile(problems=("is not valid JSON",))
    return tags_of_json(value)


def tags_of_json(value: Any) -> TagFile:
    """Return what decoded JSON says, as ``read_json_tags``."""
    problems: dict[str, None] = {}
    value = _of_one_photo(value)
    if not isinstance(value, dict):
        tags = list(_json_tags(value, problems))
        return TagFile(tuple(tags), problems=tuple(problems))
    original, value = value, {key.casefold(): member for key, member in value.items()}
    if "sourcefile" in value:
        tags = list(_exiftool_tags(value, problems))
    else:
        tags = list(_object_tags(original, value, problems))
    return TagFile(
        tags=tuple(tags),
        caption=next((text for text in map(_caption, map(value.get, _CAPTION_KEYS)) if text is not None), None),
        taken_at=_takeout_time(value.get("phototakentime")),
        place=_takeout_place(value),
        problems=tuple(problems),
    )


def _of_one_photo(value: Any) -> Any:
    """Return the object about the photo itself: image boards and ExifTool put it into a list or another object."""
    for _ in range(3):
        if isinstance(value, dict):
            inner = next((value[key] for key in _WRAPPERS if isinstance(value.get(key), dict | list)), None)
            if inner is None or any(key in value for key in _TAG_KEYS):
                return value
            value = inner
        elif isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and not _is_tag(value[0]):
            value = value[0]
        else:
            return value
    return value


def _is_tag(value: Mapping[str, Any]) -> bool:
    """Tell whether an object in a list is one tag."""
    keys = {key.casefold() for key in value}
    return any(key in keys for key in _NAME_KEYS) and not any(key in keys for key in _TAG_KEYS)


def _object_tags(original: dict[str, Any], value: Mapping[str, Any], problems: dict[str, None]) -> Iterator[str]:
    """Yield the tags of an object, whose keys are given as written and in lower case."""
    keys = [key for key in _TAG_KEYS if value.get(key) is not None]
    keys = keys or [key for key in value if _BOORU_KEY.fullmatch(key)]
    if "tag_string" in keys:
        keys = ["tag_string"]  # the others are its parts
    prompt = prompt_of_json(original) if not keys else None
    if prompt is not None:
        yield from listed_tags(prompt)
        return
    keys = keys or [key for key in value if key in _GROUPS and isinstance(value[key], list | dict)]
    keys = keys or [key for key in _LABEL_KEYS if isinstance(value.get(key), list)]
    is_board = not _BOARD_KEYS.isdisjoint(value)
    for key in keys:
        is_spaced = (is_board or key not in _TAG_KEYS) and isinstance(value[key], str) and not has_commas(value[key])
        yield from value[key].split() if is_spaced else _json_tags(value[key], problems)


def _exiftool_tags(value: Mapping[str, Any], problems: dict[str, None]) -> Iterator[str]:
    """Yield the keywords of what `exiftool -json` writes; a group may stand before a field: "IPTC:Keywords"."""
    fields = {key.rpartition(":")[2]: member for key, member in value.items()}
    for key in _EXIFTOOL_KEYS:
        member = fields.get(key)
        yield from _json_tags(member if isinstance(member, list) else [member], problems) if member is not None else ()
    for key, separator in _EXIFTOOL_LEVELS.items():
        member = fields.get(key)
        for path in member if isinstance(member, list) else [member]:
            if isinstance(path, str):
                yield path.rpartition(separator)[2]


def _caption(value: Any) -> str | None:
    text = value[0] if isinstance(value, list) and value else value
    return text if isinstance(text, str) and text.strip() else None


def _takeout_place(value: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """Return the place that a person gave, or else that of the file; Takeout writes 0, 0 for none."""
    places = [value[key] for key in ("geodata", "geodataexif") if isinstance(value.get(key), dict)]
    found = [(place.get("latitude"), place.get("longitude")) for place in places]
    return next((place for place in found if any(place)), found[0] if found else None)


def _json_tags(value: Any, problems: dict[str, None], nesting: int = 0) -> Iterator[str]:
    """Yield tags from a list, a text, {tag: score}, or groups of tags: {"general": [...], "artist": [...]}."""
    if nesting > _MAX_NESTING:
        problems["holds tags that are nested too deep"] = None
    elif isinstance(value, str):
        # Elements of a list are tags as they are; a text alone is a list of tags.
        yield from listed_tags(value) if nesting == 0 else [value]
    elif isinstance(value, list):
        for item in value:
            yield from _json_item(item, problems, nesting + 1)
    elif isinstance(value, dict):
        for key, member in value.items():
            if key.casefold() not in _RATING_GROUPS:
                yield from _json_member(key, member, problems, nesting)
    else:
        problems["holds no list of tags"] = None


def _json_member(key: str, member: Any, problems: dict[str, None], nesting: int) -> Iterator[str]:
    """Yield the tags of a member: those of a group, or the key, where the member is its score."""
    if isinstance(member, dict) and member and {name.casefold() for name in member} <= _SCORE_KEYS:
        yield key
    elif isinstance(member, list | dict):
        yield from _json_tags(member, problems, nesting + 1)
    elif isinstance(member, str) and not _NUMBER.fullmatch(member.strip()):
        yield from listed_tags(member)
    elif member:  # neither false, null, nor a score of 0
        yield key


def _json_item(item: Any, problems: dict[str, None], nesting: int) -> Iterator[str]:
    if isinstance(item, dict):
        members = {key.casefold(): member for key, member in item.items()}
        item = next((members[key] for key in _NAME_KEYS if key in members), None)
        if isinstance(item, dict):  # {"tag": {"en": "dog"}}
            item = next((text for text in item.values() if isinstance(text, str)), None)
    if isinstance(item, str):
        yield item
    elif isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and _is_number(item[1]):
        yield item[0]  # with its score
    elif isinstance(item, list):
        yield from _json_tags(item, problems, nesting)
    elif _is_number(item) and math.isfinite(_as_float(item)):
        yield f"{item:.15g}" if isinstance(item, float) else str(item)
    else:
        problems["holds a tag that is not text"] = None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _takeout_time(value: Any) -> str | None:
    """Return Google Takeout's photoTakenTime as ISO 8601, UTC; None if it is absent or no time."""
    stamp = value.get("timestamp") if isinstance(value, dict) else None
    if isinstance(stamp, bool) or not isinstance(stamp, str | int | float):
        return None
    try:
        return datetime.fromtimestamp(int(float(stamp)), UTC).replace(tzinfo=None).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
