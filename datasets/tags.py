"""Tags: their stored spelling, and the key that two spellings of one tag share.

Knows nothing of the source or the storage of tags.
"""

import re
import unicodedata
from functools import lru_cache

from annotator.errors import TagError

MAX_TAG_LENGTH = 100
"""Most characters of a tag; longer text is a caption."""


_IGNORED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e001f\U000e0080-\U000e0fff]"
)
"""Characters without a glyph of their own (Unicode's Default_Ignorable_Code_Point, but for the letters of flags): two
tags that differ in them alone look the same, or nearly so."""
_MEANINGLESS = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0"
    "\ufff9-\ufffb]"
    "|(?:^|(?<=[\\0-\x7f]))[\u200c\u200d]+|[\u200c\u200d]+(?=$|[\\0-\x7f])"
    "|(?:^|(?<=[A-Za-z ]))[\ufe00-\ufe0f]+"
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0020-\U000e007f]+"
)
"""Of these, those that change no character beside them. Joiners within emoji and within Persian and Indian words,
variation selectors after a symbol, and the letters of a flag do."""
_ENCLOSED = re.compile("[\u2460-\u24ff\u3200-\u32bf\U0001f100-\U0001f2ff]")
"""Digits, letters and words in circles, squares or brackets, which are signs of their own: a circled 1 is not the tag
1. Normalisation would make them plain text, so tag_key leaves them; search_key does not."""
_MARKS = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc]"
)
"""Accents of Latin, Greek and Cyrillic letters, and the vowel points of Hebrew and Arabic, which people leave out when
they search; marks of other scripts are letters."""
_PLAIN = str.maketrans(
    {"\u00f8": "o", "\u0142": "l", "\u0111": "d", "\u00f0": "d", "\u0127": "h", "\u0131": "i", "\u0167": "t",
     "\u014b": "n", "\u00e6": "ae", "\u0153": "oe", "\u00fe": "th", "\u0640": None,
     "\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"', "\u2010": "-", "\u2011": "-"}
)  # fmt: skip
"""Letters with a stroke and ligatures, which Unicode does not decompose; the sign that stretches Arabic words; and the
quotation marks and hyphens that programs write for those of the keyboard."""


def clean_tag(text: str) -> str:
    """Return the stored spelling of a tag.

    Unicode NFC, without invisible characters that change no other, white space replaced by single spaces, no leading or
    trailing space. Case does not change.

    Args:
        text: From a person or a file.

    Raises:
        TagError: The tag is empty, longer than ``MAX_TAG_LENGTH``, or contains a control character.
    """
    tag = text
    if not tag.isascii():
        tag = unicodedata.normalize("NFC", _MEANINGLESS.sub("", tag))
    tag = " ".join(tag.split())
    if not tag or not _IGNORED.sub("", tag).strip():
        raise TagError("A tag cannot be empty. Type at least one letter.")
    if len(tag) > MAX_TAG_LENGTH:
        raise TagError(
            f"The tag {tag[:30]!r}... has {len(tag):,} characters; at most {MAX_TAG_LENGTH} fit. Shorten it."
        )
    # Cc: control characters; Cs: lone surrogates, which UTF-8 cannot encode.
    bad = next((character for character in tag if unicodedata.category(character) in {"Cc", "Cs"}), None)
    if bad is not None:
        raise TagError(f"The tag {tag[:30]!r} holds the control character U+{ord(bad):04X}. Remove it.")
    return tag


@lru_cache(maxsize=65_536)
def tag_key(tag: str) -> str:
    """Return the key that all spellings of a tag share: NFKC, case folded ("Dog" and "dog" are one tag).

    Invisible characters and variation selectors do not count; enclosed digits and letters stay as they are.
    """
    if tag.isascii():
        return " ".join(tag.casefold().split())
    parts = _ENCLOSED.split(tag := _IGNORED.sub("", tag))
    # Twice, since case folding can undo normalisation; split, since normalisation can produce white space.
    keys = [unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", part).casefold()) for part in parts]
    signs = [*(sign.casefold() for sign in _ENCLOSED.findall(tag)), ""]
    return " ".join("".join(key + sign for key, sign in zip(keys, signs, strict=True)).split())


@lru_cache(maxsize=65_536)
def search_key(text: str) -> str:
    """Return the form in which a searched text is looked for in tags and paths.

    Case, accents, invisible characters and compatibility forms do not count: "Stra\u00dfe" and "STRASSE" are equal, and
    so are "\u0160\u00e1rka" and "sarka".
    """
    if text.isascii():
        return text.casefold()
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", _IGNORED.sub("", text)))
    plain = unicodedata.normalize("NFKD", plain.casefold()).translate(_PLAIN)
    return unicodedata.normalize("NFC", _MARKS.sub("", plain))
