"""The content of text and JSON files beside photos: tags, captions, Google Takeout's place and time.

People and programs write such files in many ways: lists with commas, lines, booru lines with spaces, prompts of image
generators, captions, and label files of numbers, which are no tags. Knows nothing of files on disk.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from annotator.datasets.metadata_words import stop_words
from annotator.datasets.text_encodings import decode_text

MAX_TAG_WORDS = 8
"""Most words of a tag; a longer piece of text between two commas is a sentence."""

_MAX_NESTING = 5
_COMMAS = re.compile("[,\uff0c\u3001]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_MIN_LABEL_NUMBERS = 4  # a box has four
# What generators write after the prompt.
_AFTER_PROMPT = re.compile(
    r"\s*(?:negative[ _]prompt\s*:|steps\s*:\s*\d+\s*,|sampler\s*:|cfg scale\s*:|seed\s*:)", re.I
)
_NETWORK = re.compile(r"<(?:lora|lyco|hypernet|embedding|ti)\s*:[^<>]*>", re.IGNORECASE)
_WEIGHT_IN_BRACKETS = re.compile(r"\s*:\s*-?\d*\.?\d+\s*(?=[)\]])")  # (tag:1.2)
_WEIGHT = re.compile(r"(?<=\S)\s*:\s*-?\d*\.\d+\s*$")  # tag:0.95
_PROMPT_WORDS = frozenset({"BREAK", "AND", "ADDCOMM", "ADDBASE", "ADDCOL", "ADDROW"})
_BOORU_TOKEN = re.compile(r"\w[^\s]*_[^\s]*\w\S*|\d\+?(?:girl|boy|other)s?|[a-z]+:\w\S+", re.IGNORECASE)
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_ESCAPED = {"\\(": "\ue000", "\\)": "\ue001", "\\[": "\ue002", "\\]": "\ue003", "\\{": "\ue004", "\\}": "\ue005"}

_TAG_KEYS = ("tags", "keywords")
_BOORU_KEY = re.compile(r"tag_string|tags?_string_\w+|tags_\w+")
_CAPTION_KEYS = ("caption", "description")
_RATING_GROUPS = frozenset({"rating", "ratings"})


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


def read_text_tags(data: bytes, *, is_caption: bool = False) -> TagFile:
    """Read a text file: tags separated by commas or lines, and captions.

    Args:
        data: In any encoding that ``decode_text`` knows.
        is_caption: The file is named as a caption (photo.caption): a text without commas is one.
    """
    text = decode_text(data)
    if "\0" in text:
        return TagFile(problems=("is not text",))
    tags: list[str] = []
    captions: list[str] = []
    has_numbers = False
    for line in text.splitlines():
        if _AFTER_PROMPT.match(line):
            break
        if _is_label_line(line):
            has_numbers = True
            continue
        pieces = None if is_caption and _is_sentence(line) else _tags_of_line(line)
        if pieces is None:
            captions.append(line.strip())
        else:
            tags += pieces
    problems = ("holds lines of numbers, such as the boxes of a detector, which are no tags",) if has_numbers else ()
    return TagFile(tuple(tags), " ".join(captions) or None, problems=problems)


def read_json_tags(data: bytes) -> TagFile:
    """Read a list of tags, or an object's tags, caption, and Google Takeout's place and time."""
    try:
        value = json.loads(decode_text(data))
    except (ValueError, RecursionError):
        return TagFile(problems=("is not valid JSON",))
    problems: dict[str, None] = {}
    if isinstance(value, dict) and isinstance(value.get("post"), dict):
        value = value["post"]  # as an image board's interface answers
    if not isinstance(value, dict):
        tags = list(_json_tags(value, problems))
        return TagFile(tuple(tags), problems=tuple(problems))
    keys = [key for key in _TAG_KEYS if value.get(key) is not None]
    keys = keys or [key for key in value if _BOORU_KEY.fullmatch(key)]
    if "tag_string" in keys:
        keys = ["tag_string"]  # the others are its parts
    tags = []
    for key in keys:
        is_spaced = key not in _TAG_KEYS and isinstance(value[key], str) and not _COMMAS.search(value[key])
        tags += value[key].split() if is_spaced else _json_tags(value[key], problems)
    captions = (value.get(key) for key in _CAPTION_KEYS)
    place = value.get("geoData")
    return TagFile(
        tags=tuple(tags),
        caption=next((text for text in captions if isinstance(text, str) and text.strip()), None),
        taken_at=_takeout_time(value.get("photoTakenTime")),
        place=(place.get("latitude"), place.get("longitude")) if isinstance(place, dict) else None,
        problems=tuple(problems),
    )


def listed_tags(text: str) -> list[str]:
    """Return the tags of a text that is known to hold tags only: split at commas, lines, or as a booru line."""
    return [
        piece
        for line in text.splitlines()
        for piece in (line.split() if _is_booru_line(line) else map(_plain_tag, _pieces(line)))
        if piece
    ]


def prompt_tags(text: str) -> list[str] | None:
    """Return the tags of the prompt in a generator's text; None if it is no such text."""
    lines = text.splitlines()
    end = next((number for number, line in enumerate(lines) if _AFTER_PROMPT.match(line)), None)
    return None if end is None else listed_tags("\n".join(lines[:end]))


def _is_sentence(line: str) -> bool:
    """Tell whether a line of a caption file has several words and nothing that separates tags."""
    return len(line.split()) > 1 and not _COMMAS.search(line) and not _is_booru_line(line)


def _tags_of_line(line: str) -> list[str] | None:
    """Return a line's tags; None if it is a sentence."""
    if _is_booru_line(line):
        return line.split()
    pieces = _pieces(line)
    if any(len(piece.split(None, MAX_TAG_WORDS)) > MAX_TAG_WORDS for piece in pieces):
        return None
    return [tag for tag in map(_plain_tag, pieces) if tag]


def _pieces(line: str) -> list[str]:
    """Split a line at commas; the marks of weights and networks of a prompt are taken out."""
    for escaped, stand_in in _ESCAPED.items():
        line = line.replace(escaped, stand_in)
    line = _WEIGHT_IN_BRACKETS.sub("", _NETWORK.sub(",", line))
    return [piece for piece in _COMMAS.split(line) if piece.strip()]


def _plain_tag(piece: str) -> str:
    """Return a piece of a prompt without its weight: ((dog:1.2)) gives dog, saber_(fate) stays."""
    tag, former = _WEIGHT.sub("", piece.strip()), ""
    while tag != former and any(map(str.isalnum, tag)):  # without letters it is a face: ":)"
        former = tag
        for opening, closing in _BRACKETS.items():
            num_open, num_close = tag.count(opening), tag.count(closing)
            # A group may hold several tags: (dog, beach:1.2).
            if tag.startswith(opening) and (num_open > num_close or _closes_at_end(tag, opening, closing)):
                tag = tag.removeprefix(opening)
                num_open -= 1
            if tag.endswith(closing) and num_close > num_open:
                tag = tag.removesuffix(closing)
        tag = _WEIGHT.sub("", tag.strip())
    for escaped, stand_in in _ESCAPED.items():
        tag = tag.replace(stand_in, escaped[1])
    return "" if tag in _PROMPT_WORDS else tag


def _closes_at_end(tag: str, opening: str, closing: str) -> bool:
    """Tell whether the first bracket of a tag is closed by its last character."""
    depth = 0
    for position, character in enumerate(tag):
        depth += (character == opening) - (character == closing)
        if depth == 0:
            return position == len(tag) - 1
    return False


def _is_booru_line(line: str) -> bool:
    """Tell whether spaces separate the tags of a line: no commas, no words of sentences, and a tag of image boards."""
    tokens = line.split()
    if len(tokens) < 2 or _COMMAS.search(line) or ";" in line:
        return False
    if any(token.casefold() in stop_words() for token in tokens):
        return False
    return any(_BOORU_TOKEN.fullmatch(token) for token in tokens)


def _is_label_line(line: str) -> bool:
    """Tell whether a line holds the numbers of a label file: at most one word, and at least a box."""
    tokens = re.split(r"[\s,;]+", line.strip(" \t,;"))
    num_numbers = sum(_NUMBER.fullmatch(token) is not None for token in tokens)
    is_spaced = not _COMMAS.search(line)
    has_fraction = any("." in token for token in tokens if _NUMBER.fullmatch(token))
    return num_numbers >= _MIN_LABEL_NUMBERS and len(tokens) - num_numbers <= 1 and (is_spaced or has_fraction)


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
            if isinstance(member, list | dict):
                if key.casefold() not in _RATING_GROUPS:
                    yield from _json_tags(member, problems, nesting + 1)
            elif isinstance(member, str) and not _NUMBER.fullmatch(member.strip()):
                yield from listed_tags(member)
            elif member is not False and member is not None:
                yield key  # {tag: score}
    else:
        problems["holds no list of tags"] = None


def _json_item(item: Any, problems: dict[str, None], nesting: int) -> Iterator[str]:
    if isinstance(item, dict):
        item = next((item[key] for key in ("tag", "name", "label") if key in item), None)
    if isinstance(item, str):
        yield item
    elif isinstance(item, list):
        yield from _json_tags(item, problems, nesting)
    elif isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(_as_float(item)):
        yield f"{item:g}" if isinstance(item, float) else str(item)
    else:
        problems["holds a tag that is not text"] = None


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
        return datetime.fromtimestamp(int(stamp), UTC).replace(tzinfo=None).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
