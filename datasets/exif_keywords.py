"""What EXIF's UserComment and XPKeywords say: keywords, the prompt of an image generator, or a comment.

Knows nothing of the files that hold the values.
"""

import re
from dataclasses import dataclass
from typing import Any

from annotator.datasets.keywords import split_list
from annotator.datasets.tag_files import prompt_tags
from annotator.datasets.tag_lists import spaced_tags
from annotator.datasets.text_encodings import decode_text

_MAX_WORDS = 4  # of a keyword in a list that may be a sentence
_CHARACTER_SET = re.compile(r"charset=\S+\s+")  # as Exiv2 shows it
_SETTING = re.compile(r"[^\W\d][\w .-]{0,40}[:=]\s*-?[\w.]*")  # captureOrientation: 0
_NUMBER = re.compile(r"-?(?:\d{1,3}|\d{5,}|\d*\.\d+)")  # four digits may be a year
_CAMERA_COMMENT = re.compile(r"oppo_\d+|\{.*|[-\d.\s]*", re.DOTALL)


@dataclass(frozen=True)
class Comment:
    """What a UserComment holds."""

    keywords: tuple[str, ...] = ()
    prompt: tuple[str, ...] = ()
    caption: str | None = None


def read_comment(value: Any) -> Comment:
    """Read a UserComment: a prompt of an image generator, a list of short words, or a comment.

    What cameras write for themselves (settings, numbers, binary data) is nothing.

    Args:
        value: As Pillow returns it, or None.
    """
    text = _CHARACTER_SET.sub("", _comment_text(value), count=1)
    prompt = prompt_tags(text)
    if prompt is not None:
        return Comment(prompt=tuple(prompt))
    if _CAMERA_COMMENT.fullmatch(text.strip()):
        return Comment()
    words = spaced_tags(text) or [word.strip() for word in split_list(text) if word.strip()]
    if len(words) > 1 and all(len(word.split()) <= _MAX_WORDS for word in words):
        num_settings = sum(bool(_SETTING.fullmatch(word) or _NUMBER.fullmatch(word)) for word in words)
        return Comment(keywords=tuple(words) if 2 * num_settings <= len(words) else ())
    return Comment(caption=text.strip() or None)


def windows_keywords(value: Any) -> list[str]:
    """Return the keywords of XPKeywords, a field of Windows Explorer.

    Args:
        value: As Pillow returns it, or None: UTF-16, low byte first; some programs write 8 bits a character.
    """
    if isinstance(value, bytes):
        text = value.rstrip(b"\0")
        value = decode_text(text) if 0 not in text and text.isascii() else _as_utf16(value)
    return split_list(value.strip("\0\ufeff").split("\0")[0]) if isinstance(value, str) else []


def _as_utf16(data: bytes) -> str:
    return data[: len(data) // 2 * 2].decode("utf-16-le", "replace").rstrip("\0")


def _comment_text(value: Any) -> str:
    """Decode a UserComment: eight bytes name its character set."""
    if not isinstance(value, bytes):
        return value if isinstance(value, str) else ""
    kind, text = value[:8].upper(), value[8:]
    if kind.startswith(b"UNICODE") and not (text.rstrip(b"\0").isascii() and 0 not in text.rstrip(b"\0")):
        # Programs write either order of bytes, whatever the order of the EXIF data.
        order = "utf-16-le" if text[1::2].count(0) > text[0::2].count(0) else "utf-16-be"
        decoded = text.decode("utf-16" if text.startswith((b"\xff\xfe", b"\xfe\xff")) else order, "replace")
    elif kind.startswith(b"JIS"):
        decoded = text.decode("iso2022_jp", "replace")
    else:
        is_named = kind.strip(b"\0") in {b"", b"ASCII", b"UNICODE"}
        decoded = decode_text((text if is_named else value).rstrip(b"\0 "))
    decoded = decoded.split("\0")[0]
    # Some cameras fill it with binary data.
    return decoded if sum(not c.isprintable() and not c.isspace() for c in decoded) == 0 else ""
