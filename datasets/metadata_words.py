"""The words that a photo's metadata hold: the uploader's tags, or what its caption says.

Knows nothing of models: how words become numbers is models/context.py's.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.resources import files

from annotator.datasets.record import Record
from annotator.datasets.tags import tag_key
from annotator.errors import ConfigError

FIELDS = ("user_tags", "caption")
"""Fields of a record that can serve as metadata."""

# Apostrophes, straight and curved, and hyphens belong to a word when they stand inside it.
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")


@lru_cache(maxsize=1)
def stop_words() -> frozenset[str]:
    """Return the English function words that a caption's words leave out."""
    text = (files("annotator.datasets") / "stop_words.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def caption_words(caption: str | None) -> tuple[str, ...]:
    """Return a caption's words as keys, in their order, each once, without stop words and single letters.

    A word is a run of letters of any script; hyphens and apostrophes inside it belong to it.
    """
    if not caption:
        return ()
    words = dict.fromkeys(_WORD.findall(tag_key(caption)))
    return tuple(word for word in words if word not in stop_words() and (len(word) > 1 or not word.isascii()))


def tag_words(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags as keys, each once: "Paris" and "paris" are one, words of several parts stay whole."""
    return tuple(dict.fromkeys(map(tag_key, tags)))


def metadata_words(records: Sequence[Record], field: str) -> list[tuple[str, ...]]:
    """Return the metadata words of each record; none where it has no metadata.

    Raises:
        ConfigError: There is no such field.
    """
    if field not in FIELDS:
        raise ConfigError(f"Metadata are taken from one of {', '.join(FIELDS)}; got {field!r}.")
    if field == "caption":
        return [caption_words(record.caption) for record in records]
    return [tag_words(record.user_tags) for record in records]
