"""The words of a photo's metadata: the uploader's tags, or the words of the caption.

Knows nothing of models; models/context.py encodes the words.
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
    """Return the English function words that `caption_words` leaves out."""
    text = (files("annotator.datasets") / "stop_words.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def caption_words(caption: str | None) -> tuple[str, ...]:
    """Return a caption's words as tag keys, in order, each once, without stop words and single letters.

    A word is a run of letters of any script; hyphens and apostrophes inside it belong to it.
    """
    if not caption:
        return ()
    words = dict.fromkeys(_WORD.findall(tag_key(caption)))
    return tuple(word for word in words if word not in stop_words() and (len(word) > 1 or not word.isascii()))


def tag_words(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the keys of tags, each once: "Paris" and "paris" are one; tags of several words are not split."""
    return tuple(dict.fromkeys(map(tag_key, tags)))


def metadata_words(records: Sequence[Record], field: str) -> list[tuple[str, ...]]:
    """Return the metadata words of each record; empty for a record without metadata.

    Raises:
        ConfigError: The field does not exist.
    """
    if field not in FIELDS:
        raise ConfigError(f"Metadata are taken from one of {', '.join(FIELDS)}; got {field!r}.")
    if field == "caption":
        return [caption_words(record.caption) for record in records]
    return [tag_words(record.user_tags) for record in records]
