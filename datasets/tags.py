"""Tags: their stored spelling, and the key that two spellings of one tag share.

Knows nothing of the source or the storage of tags.
"""

import unicodedata
from functools import lru_cache

from annotator.errors import TagError

MAX_TAG_LENGTH = 100
"""Most characters of a tag; longer text is a caption."""


def clean_tag(text: str) -> str:
    """Return the stored spelling of a tag.

    Unicode NFC, white space replaced by single spaces, no leading or trailing space. Case does not change.

    Args:
        text: From a person or a file.

    Raises:
        TagError: The tag is empty, longer than ``MAX_TAG_LENGTH``, or contains a control character.
    """
    tag = " ".join(unicodedata.normalize("NFC", text).split())
    if not tag:
        raise TagError("A tag cannot be empty. Type at least one letter.")
    if len(tag) > MAX_TAG_LENGTH:
        raise TagError(
            f"The tag {tag[:30]!r}... has {len(tag):,} characters; at most {MAX_TAG_LENGTH} fit. Shorten it."
        )
    # Cc: control characters; Cs: lone surrogates, which UTF-8 cannot encode. Cf, the joiners of emoji and some scripts,
    # is allowed.
    bad = next((character for character in tag if unicodedata.category(character) in {"Cc", "Cs"}), None)
    if bad is not None:
        raise TagError(f"The tag {tag[:30]!r} holds the control character U+{ord(bad):04X}. Remove it.")
    return tag


@lru_cache(maxsize=65_536)
def tag_key(tag: str) -> str:
    """Return the key that all spellings of a tag share: NFKC, case folded ("Dog" and "dog" are one tag)."""
    # Twice, since case folding can undo normalisation; split, since normalisation can produce white space.
    key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", tag).casefold())
    return " ".join(key.split())
