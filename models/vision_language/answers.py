"""The text that a vision-language model answers, as tags: parsed, cleaned and capped.

An answer is data. It may hold anything: sentences, markup, instructions that stood in the photo. What is no tag is left
out, nothing in it is carried out. Knows nothing of HTTP, projects or photos.
"""

import json
import re
import unicodedata
from typing import Any

from annotator.datasets.tags import clean_tag
from annotator.datasets.word_forms import form_key
from annotator.errors import AnswerError, TagError

MAX_TAGS = 15
"""Most tags of an answer; later ones are left out."""
MAX_WORDS = 4
"""Most words of a tag; longer text is a sentence."""
MAX_CHARACTERS = 40
MAX_LOOKED_AT = 200
"""Most items of an answer that are looked at."""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "tags": {
            "type": "array",
            "items": {"type": "string", "maxLength": MAX_CHARACTERS},
            "maxItems": MAX_TAGS,
        }
    },
    "required": ["tags"],
    "additionalProperties": False,
}
"""JSON schema of an answer: tags, the most important first."""
QUOTES = " \t\"'\u201c\u201d\u201e\u2018\u2019.,;:"
"""Stripped from both ends of a tag."""
_MARKUP = re.compile(r"[<>{}\[\]|\\`^=]|://|\*\*|\bhttps?\b|\bwww\.", re.IGNORECASE)
_NUMBERING = re.compile(r"^(?:[#*\u2022\u2013\u2014-]+\s*|\d{1,3}[.):]\s+)")


def read_tags(text: str) -> list[str]:
    """Return the tags of an answer, most important first.

    Args:
        text: Should be JSON, `SCHEMA` or a plain list of strings; text or a code fence around it is skipped.

    Raises:
        AnswerError: There is no such JSON in it, it is cut off, or none of its many items is a tag.
    """
    items = _items(text)
    tags: dict[str, str] = {}
    for item in items[:MAX_LOOKED_AT]:
        tag = as_tag(item)
        if tag is not None:
            tags.setdefault(form_key(tag), tag)
    if items and not tags:
        raise AnswerError("The model's answer holds no tag: its items are sentences or no text.")
    return list(tags.values())[:MAX_TAGS]


def as_tag(item: object) -> str | None:
    """Return the cleaned tag; None for what is none, such as a sentence, an address or markup."""
    if not isinstance(item, str) or len(item) > 4 * MAX_CHARACTERS:
        return None
    text = _NUMBERING.sub("", item.strip()).strip(QUOTES)
    if any(unicodedata.category(character) == "Cf" and character != "\u200d" for character in text):
        return None  # invisible characters, such as those that turn the direction of writing
    try:
        tag = clean_tag(text)
    except TagError:
        return None
    is_sentence = len(tag.split()) > MAX_WORDS or len(tag) > MAX_CHARACTERS or any(mark in tag for mark in '!?;"')
    is_word = any(character.isalnum() for character in tag)
    return None if is_sentence or not is_word or _MARKUP.search(tag) or ". " in tag else tag


def _items(text: str) -> list[Any]:
    text = text.rpartition("</think>")[2]  # what a reasoning model writes before its answer
    starts = [place for place in (text.find("{"), text.find("[")) if place >= 0]
    if not starts:
        raise AnswerError("The model answered with text instead of a JSON list of tags.")
    try:
        found, _ = json.JSONDecoder().raw_decode(text, min(starts))
    except (ValueError, RecursionError) as error:
        raise AnswerError("The model's answer is cut off or is no JSON.") from error
    items = found.get("tags") if isinstance(found, dict) else found
    if not isinstance(items, list):
        raise AnswerError('The model\'s answer has no list "tags".')
    return items
