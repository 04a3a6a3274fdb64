"""The content of text files beside photos: tags and captions.

People and programs write such files in many ways: lists with commas, lines, booru lines with spaces, prompts of image
generators, captions, and label files of numbers, which are no tags. Knows nothing of files on disk.
"""

import json
import re

from annotator.datasets.json_tags import TagFile, tags_of_json
from annotator.datasets.label_files import without_labels
from annotator.datasets.metadata_words import stop_words
from annotator.datasets.prompts import prompt_in_text, prompt_lines
from annotator.datasets.tag_lists import (
    has_commas,
    hashed_tags,
    is_booru_line,
    listed_tags,
    plain_lines,
    spaced_tags,
    tags_of_line,
)
from annotator.datasets.text_encodings import decode_text

_ENDS_OF_SENTENCES = (".", "!", "?")
_MIN_SENTENCE_WORDS = 4
_STARTS_OF_CAPTIONS = frozenset({"a", "an", "the", "this", "these", "there"})
_JSON_START = re.compile(r"\s*[\[{]\s*[\"{]")


def read_text_tags(data: bytes, *, is_caption: bool = False) -> TagFile:
    """Read a text file: tags separated by commas or lines, and captions.

    Args:
        data: In any encoding that ``decode_text`` knows.
        is_caption: The file is named as a caption (photo.caption): a text without commas is one, and a text that
            begins with an article.
    """
    text = decode_text(data).rstrip("\0")
    if "\0" in text:
        return TagFile(problems=("is not text",))
    as_json = _json_in(text)
    if as_json is not None:
        return as_json
    tags: list[str] = []
    captions: list[str] = []
    rest, has_labels = without_labels(prompt_lines(text))
    lines = plain_lines(rest)
    # Of several lines each may hold one tag with a name before it: "series:two words".
    may_be_named = len(lines) == 1
    for line in lines:
        is_sentence = _is_prose(line) or (is_caption and _is_caption(line))
        pieces = None if is_sentence else tags_of_line(line, may_be_named=may_be_named)
        if pieces is None:
            captions.append(line.strip())
            tags += hashed_tags(line)
        else:
            tags += pieces
    problems = ("holds lines of numbers, such as the boxes of a detector, which are no tags",) if has_labels else ()
    return TagFile(tuple(tags), " ".join(captions) or None, problems=problems)


def prompt_tags(text: str) -> list[str] | None:
    """Return the tags of the prompt in a generator's text or JSON; None if it is no such text."""
    prompt = prompt_in_text(text)
    if prompt is not None:
        return listed_tags(prompt)
    lines = prompt_lines(text)
    return None if lines == text.splitlines() else listed_tags("\n".join(lines))


def _json_in(text: str) -> TagFile | None:
    """Read a text file that holds JSON; None if it holds something else."""
    if not _JSON_START.match(text):
        return None
    try:
        return tags_of_json(json.loads(text))
    except (ValueError, RecursionError):
        return None


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


def _is_caption(line: str) -> bool:
    """Tell whether a line of a caption file has several words, and begins as a sentence or has no separators."""
    words = line.split()
    if len(words) < 2 or is_booru_line(line) or spaced_tags(line):
        return False
    return not has_commas(line) or (words[0].casefold() in _STARTS_OF_CAPTIONS and len(words) >= _MIN_SENTENCE_WORDS)
