"""The words of a photo's folder and file names. Knows nothing of the content of files."""

import os
import re
import unicodedata

_PROGRAM_WORDS = """
    img imgp imag dsc dscn dscf dcim pxl mvimg pict mg gopr cimg image images photo photos picture
    pictures pic pics foto fotos bild untitled copy edited wa whatsapp burst
"""  # names that cameras and programs give to every photo
_SUFFIX_WORDS = "jpg jpeg jpe png webp gif bmp dib tif tiff heic raw nef dng arw mp"  # as in photo.jpg.png
_FUNCTION_WORDS = "a an and at by for from in my of on or our the to with"
_NOISE_WORDS = frozenset(f"{_PROGRAM_WORDS} {_SUFFIX_WORDS} {_FUNCTION_WORDS}".split())
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_HEX_NOISE = re.compile(r"(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{6,}", re.IGNORECASE)
_CAMERA_FOLDER = re.compile(r"\d{3}[A-Z0-9_]{5}")  # the DCF standard's 100CANON, 101_PANA
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")


def path_words(relative_path: str) -> tuple[str, ...]:
    """Return the words of folder and file names, lower case, in order, each once.

    ``beach/Summer_2026-IMG_2041.jpg`` gives beach, summer. Left out: numbers, single Latin letters, camera
    prefixes and folders, default names of programs, random identifiers, function words.
    """
    words: dict[str, None] = {}
    parts = _unicode(relative_path).replace("\\", "/").split("/")
    parts[-1] = os.path.splitext(parts[-1])[0]
    for part in parts:
        if _CAMERA_FOLDER.fullmatch(part):
            continue
        part = unicodedata.normalize("NFC", _UUID.sub(" ", part))
        for token in _tokens(part):
            if _HEX_NOISE.fullmatch(token):
                continue
            token = token.strip("0123456789")
            if any(character.isdigit() for character in token):
                continue  # digits between letters: a random identifier
            if token.casefold() in _NOISE_WORDS:
                continue  # checked before the split of camel case, as for WhatsApp
            for word in _CAMEL_CASE.split(token):
                word = word.casefold()
                if word not in _NOISE_WORDS and (len(word) > 1 or word > "ɏ"):  # a single Han character is a word
                    words[word] = None
    return tuple(words)


def _tokens(text: str) -> list[str]:
    """Split at all characters but letters, digits and marks; re.split would split at Indic vowel signs (marks)."""
    return "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text).split()


def _unicode(text: str) -> str:
    """Decode a file name that is not UTF-8 as Latin-1."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text).decode("latin-1")
    return text
