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
_SETTINGS_IN_LINE = re.compile(r"\bnegative[ _]prompt\s*:|\bsteps\s*:\s*\d+\s*,\s*sampler\s*:", re.I)
_PARAMETERS = re.compile(
    r"\s--(?:ar|aspect|c|chaos|cref|h|iw|niji|no|p|profile|q|quality|raw|s|seed|sref|stop|style|stylize|tile|v|version|w"
    r"|weird)\b.*"
)  # of Midjourney, after the prompt
_NETWORK = re.compile(r"<(?:lora|lyco|hypernet|embedding|ti)\s*:[^<>]*>", re.IGNORECASE)
_WEIGHT_IN_BRACKETS = re.compile(r"\s*:\s*-?\d*\.?\d+\s*(?=[)\]])")  # (tag:1.2)
_WEIGHT = re.compile(r"(?<=\S)\s*:\s*(?:-?\d*\.\d+|\d+(?:\.\d+)?\s*%)\s*$")  # tag:0.95, tag: 95%
_SCORED_LINE = re.compile(r"(?P<tag>[^,;\t]*[^,;\s])(?P<separator>\s*[,;\t]\s*|\s+)(?:0?\.\d+|1\.0*|0\.)\s*")
_SEMICOLON = re.compile(r"(?<=\w)\s*[;\uff1b]\s*(?=\w|$)")
_BULLET = re.compile(r"\s*[-*\u2022\u2013]\s+(?=\S)")
_LINE_NUMBER = re.compile(r"\s*\d+[.)]\s+(?=\S)")
_QUOTES = {'"': '"', "\u201c": "\u201d", "\u00ab": "\u00bb"}
_ENDS_OF_SENTENCES = (".", "!", "?")
_MIN_SENTENCE_WORDS = 4
_PROMPT_WORDS = frozenset({"BREAK", "AND", "ADDCOMM", "ADDBASE", "ADDCOL", "ADDROW"})
_BOORU_TOKEN = re.compile(r"\w[^\s]*_[^\s]*\w\S*|\d\+?(?:girl|boy|other)s?|[a-z]+:\w\S+", re.IGNORECASE)
_BOORU_RATING = re.compile(r"(?:rating|score):\S+", re.IGNORECASE)
_NAMED_BOX = re.compile(r"[^\W\d][^\d,;]{0,60}?(?:\s+[+-]?\d*\.\d+){4,}\s*")  # traffic light 0.5 0.5 0.2 0.3
_BOX_OF_TEXT = re.compile(r"((?:[+-]?\d+,){4,})[^,\d\s][^,]*")  # 38,43,920,215,exit
_BOX_HEADER = re.compile(r"(?:imagesource|gsd)\s*:.*", re.IGNORECASE)  # of DOTA
_YEARS = range(1800, 2101)
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_ESCAPED = {"\\(": "\ue000", "\\)": "\ue001", "\\[": "\ue002", "\\]": "\ue003", "\\{": "\ue004", "\\}": "\ue005"}

_TAG_KEYS = ("tags", "keywords")
_GROUPS = frozenset(
    {"artist", "artists", "character", "characters", "copyright", "copyrights", "general", "lore", "meta", "series",
     "species"}
)  # fmt: skip
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
    text = decode_text(data).rstrip("\0")
    if "\0" in text:
        return TagFile(problems=("is not text",))
    tags: list[str] = []
    captions: list[str] = []
    lines = _prompt_lines(text)
    has_numbers = any(map(_is_label_line, lines))
    for line in _plain_lines(lines):
        if has_numbers and (_is_label_line(line) or _BOX_HEADER.fullmatch(line)):
            continue
        pieces = None if _is_prose(line) or (is_caption and _is_sentence(line)) else _tags_of_line(line)
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
    value = {key.casefold(): member for key, member in value.items()}
    keys = [key for key in _TAG_KEYS if value.get(key) is not None]
    keys = keys or [key for key in value if _BOORU_KEY.fullmatch(key)]
    if "tag_string" in keys:
        keys = ["tag_string"]  # the others are its parts
    keys = keys or [key for key in value if key in _GROUPS and isinstance(value[key], list | dict)]
    tags = []
    if not keys and isinstance(value.get("prompt"), str):
        tags += listed_tags("\n".join(_prompt_lines(value["prompt"])))
    for key in keys:
        is_spaced = key not in _TAG_KEYS and isinstance(value[key], str) and not _COMMAS.search(value[key])
        tags += value[key].split() if is_spaced else _json_tags(value[key], problems)
    captions = (value.get(key) for key in _CAPTION_KEYS)
    place = value.get("geodata")
    return TagFile(
        tags=tuple(tags),
        caption=next((text for text in captions if isinstance(text, str) and text.strip()), None),
        taken_at=_takeout_time(value.get("phototakentime")),
        place=(place.get("latitude"), place.get("longitude")) if isinstance(place, dict) else None,
        problems=tuple(problems),
    )


def listed_tags(text: str) -> list[str]:
    """Return the tags of a text that is known to hold tags only: split at commas, lines, or as a booru line."""
    return [
        piece for line in text.splitlines() for piece in (_spaced_tags(line) or map(_plain_tag, _pieces(line))) if piece
    ]


def prompt_tags(text: str) -> list[str] | None:
    """Return the tags of the prompt in a generator's text; None if it is no such text."""
    lines = _prompt_lines(text)
    return None if lines == text.splitlines() else listed_tags("\n".join(lines))


def _prompt_lines(text: str) -> list[str]:
    """Return the lines before the negative prompt and the settings of a generator."""
    lines: list[str] = []
    for line in text.splitlines():
        if _AFTER_PROMPT.match(line):
            break
        settings = _SETTINGS_IN_LINE.search(line)
        lines.append(line[: settings.start()].rstrip() if settings else line)
        if settings:
            break
    return lines


def _plain_lines(lines: list[str]) -> list[str]:
    """Return the lines of a list without numbers before each line, and without scores after each: dog 0.98."""
    written = [line for line in lines if line.strip()]
    if len(written) > 1 and all(map(_LINE_NUMBER.match, written)):
        written = [_LINE_NUMBER.sub("", line, count=1) for line in written]
    scored = [_SCORED_LINE.fullmatch(line) for line in written]
    matches = [match for match in scored if match is not None]
    if len(matches) == len(written) and (len(written) > 1 or any(match["separator"].strip(" ") for match in matches)):
        return [match["tag"] for match in matches]
    return written


def _is_prose(line: str) -> bool:
    """Tell whether a line is written as a sentence: a capital, a stop at its end, and words that are no tags."""
    text = line.strip()
    words = text.split()
    return (
        len(words) >= _MIN_SENTENCE_WORDS
        and text.endswith(_ENDS_OF_SENTENCES)
        and text[0].isupper()
        and any(word.casefold() in stop_words() for word in words)
    )


def _spaced_tags(line: str) -> list[str]:
    """Return the tags of a line that spaces separate, of an image board or #dog #beach; empty for other lines."""
    tokens = line.split()
    if len(tokens) > 1 and all(len(token) > 1 and token.startswith("#") for token in tokens):
        return [token.strip("#,;") for token in tokens]
    return [token for token in tokens if not _BOORU_RATING.fullmatch(token)] if _is_booru_line(line) else []


def _is_sentence(line: str) -> bool:
    """Tell whether a line of a caption file has several words and nothing that separates tags."""
    return len(line.split()) > 1 and not _COMMAS.search(line) and not _is_booru_line(line)


def _tags_of_line(line: str) -> list[str] | None:
    """Return a line's tags; None if it is a sentence."""
    spaced = _spaced_tags(line)
    if spaced:
        return spaced
    pieces = _pieces(line)
    if any(len(piece.split(None, MAX_TAG_WORDS)) > MAX_TAG_WORDS for piece in pieces):
        return None
    return [tag for tag in map(_plain_tag, pieces) if tag]


def _pieces(line: str) -> list[str]:
    """Split a line at commas, or else at semicolons; the marks of weights and networks of a prompt are taken out."""
    line = _PARAMETERS.sub("", _BULLET.sub("", line, count=1) if _BULLET.match(line) else line)
    for escaped, stand_in in _ESCAPED.items():
        line = line.replace(escaped, stand_in)
    line = _WEIGHT_IN_BRACKETS.sub("", _NETWORK.sub(",", line))
    separator = _COMMAS if _COMMAS.search(line) else _SEMICOLON
    return [piece for piece in separator.split(line) if piece.strip()]


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
    if len(tag) > 2 and _QUOTES.get(tag[0]) == tag[-1]:
        tag = tag[1:-1].strip()
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
    """Tell whether a line holds the numbers of a label file: a box at least, and few words."""
    if _NAMED_BOX.fullmatch(line):
        return True
    of_text = _BOX_OF_TEXT.fullmatch(line)
    if of_text is not None and not all(int(number) in _YEARS for number in of_text[1].split(",") if number):
        return True
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
    elif isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and _is_number(item[1]):
        yield item[0]  # with its score
    elif isinstance(item, list):
        yield from _json_tags(item, problems, nesting)
    elif _is_number(item) and math.isfinite(_as_float(item)):
        yield f"{item:g}" if isinstance(item, float) else str(item)
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
        return datetime.fromtimestamp(int(stamp), UTC).replace(tzinfo=None).isoformat()
    except (ValueError, OverflowError, OSError):
        return None
