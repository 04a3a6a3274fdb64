"""What a tag is: its stored spelling, and the key under which two spellings are one tag.

Knows nothing of where tags come from or are kept.
"""

import unicodedata
from functools import lru_cache

from annotator.errors import TagError

MAX_TAG_LENGTH = 100
"""Longest tag, in characters. Longer text is a caption, not a tag."""


def clean_tag(text: str) -> str:
    """Return the spelling under which a typed tag is kept.

    Unicode NFC, white space folded to single spaces, no leading or trailing space. Case is kept: "Paris" stays.

    Args:
        text: What a person typed or a file held.

    Raises:
        TagError: The tag is empty, longer than ``MAX_TAG_LENGTH``, or holds a control character.
    """
    tag = " ".join(unicodedata.normalize("NFC", text).split())
    if not tag:
        raise TagError("A tag cannot be empty. Type at least one letter.")
    if len(tag) > MAX_TAG_LENGTH:
        raise TagError(
            f"The tag {tag[:30]!r}... has {len(tag):,} characters; at most {MAX_TAG_LENGTH} fit. Shorten it."
        )
    # Cc: control characters; Cs: lone surrogates, which UTF-8 cannot hold. Cf, the joiners that emoji and some
    # scripts need, may stay.
    bad = next((character for character in tag if unicodedata.category(character) in {"Cc", "Cs"}), None)
    if bad is not None:
        raise TagError(f"The tag {tag[:30]!r} holds the control character U+{ord(bad):04X}. Remove it.")
    return tag


@lru_cache(maxsize=65_536)
def tag_key(tag: str) -> str:
    """Return the key under which spellings are the same tag: NFKC, case folded ("Dog" and "dog" are one)."""
    # Twice: folding case can give a form that is not normal, and normalising can give white space.
    key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", tag).casefold())
    return " ".join(key.split())
