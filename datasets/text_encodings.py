"""Text of unknown encoding: UTF-8 and UTF-16 where the bytes say so, else the likeliest of the older encodings.

Knows nothing of the source of the bytes.
"""

import codecs
import re
import unicodedata
from itertools import pairwise

_LEGACY = ("cp1252", "mac_roman", "cp1250", "iso8859_2", "cp1254", "cp1251", "koi8_r", "cp1253", "cp932", "gb18030",
           "euc_jp", "big5")  # fmt: skip
"""Tried in this order; of equally likely ones, the first is taken."""
_LATIN = frozenset({"cp1252", "mac_roman", "cp1250", "iso8859_2", "cp1254"})
_FREQUENT_LETTERS = {
    "cp1251": frozenset("оеаинтсрвлкмдпу"),
    "koi8_r": frozenset("оеаинтсрвлкмдпу"),
    "cp1253": frozenset("αοιετσνηυρπκμλςάόίέ"),
}
"""Of languages with another alphabet: about four fifths of the letters of a text."""
_FIRST_RARE = {"cp932": 0x98, "gb18030": 0xD8, "euc_jp": 0xD0, "big5": 0xC9}
"""First byte from which on the standard lists rare characters."""
_ALPHABETS = tuple(
    frozenset(letters)
    for letters in (
        "àâæçèéêëîïôùûüÿœ", "àèéìíîòóùú", "áéíñóúü", "àáâãçéêíóôõúü", "äéöüß", "äåéö", "åæéóôø", "ðáæéíóöúýþ",
        "áäèéëíïóöü", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöúüőű", "ćčđšž", "âîășţțş",
        "çğıöşüâîû",
    )
)  # fmt: skip
"""Letters beyond a to z of one language each: French, Italian, Spanish, Portuguese, German, Swedish, Danish, Icelandic,
Dutch; Czech, Slovak, Polish, Hungarian, Croatian, Romanian, Turkish."""
_IPTC_FIELD_BYTES = range(61, 65)  # length of a keyword that a program may have cut at IPTC's limit of 64 bytes
_ALWAYS_USUAL = "\u2019\u3001\u3002\u30fb\u30fc\uff01\uff1f\uff0c"
_USUAL_SIGNS = "\u2026\u20ac\u2122\u00a9\u00ae\u00b0\u00a1\u00bf"
_SAMPLE_BYTES = 10_000  # that the encoding is guessed from
_ISO_2022 = re.compile(rb"\x1b(?:%G|%/[GHI]|[,\-./]([A-Z_bf]))")
_ISO_8859 = {  # final character of the escape sequence that names an upper half, by ISO 2022
    b"A": "iso8859_1", b"B": "iso8859_2", b"C": "iso8859_3", b"D": "iso8859_4", b"F": "iso8859_7", b"G": "iso8859_6",
    b"H": "iso8859_8", b"L": "iso8859_5", b"M": "iso8859_9", b"V": "iso8859_10", b"Y": "iso8859_13", b"_": "iso8859_14",
    b"b": "iso8859_15", b"f": "iso8859_16",
}  # fmt: skip


def decode_text(data: bytes) -> str:
    """Decode the bytes of a text file or field.

    UTF-16 and UTF-32 with a mark, UTF-16 with the zero bytes of Latin text; UTF-8, also with a few damaged bytes; else
    the likeliest of the Windows and Macintosh encodings for Western, Central European, Turkish, Cyrillic and Greek
    text, and of the usual ones for Japanese and Chinese.
    """
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return data.decode("utf-32", "replace")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if len(data) >= 4 and b"\0" in data:
        even, odd = data[0::2].count(0), data[1::2].count(0)
        if max(even, odd) > len(data) // 4 > 2 * min(even, odd):
            return data.decode("utf-16-be" if even > odd else "utf-16-le", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    text = data.decode("utf-8-sig", "replace")
    # Two bytes of another encoding seldom look like one character; of damaged UTF-8, most characters are whole.
    if sum(not character.isascii() for character in text) >= 2 * text.count("\ufffd"):
        return text.replace("\ufffd", "")
    return data.decode(likeliest_encoding(data), "replace")


def decode_values(values: list[bytes], declared: bytes = b"") -> list[str]:
    """Decode the fields of one IPTC block, which have one encoding.

    Args:
        values: The fields' bytes; one cut inside a UTF-8 character loses that character.
        declared: The block's CodedCharacterSet: an escape sequence of ISO 2022, or empty.
    """
    encoding = _declared(declared)
    if encoding is None:
        encoding = next((found for found in (_declared(value[:3]) for value in values) if found), None)
    values = [_ISO_2022.sub(b"", value) for value in values]
    if encoding is not None and encoding != "utf-8":
        return [value.decode(encoding, "replace") for value in values]
    decoded = [_as_utf8(value) for value in values]
    if None in decoded:
        likeliest = likeliest_encoding(
            b", ".join(value for value, text in zip(values, decoded, strict=True) if text is None)
        )
        decoded = [
            value.decode(likeliest, "replace") if text is None else text
            for value, text in zip(values, decoded, strict=True)
        ]
    return [text for text in decoded if text is not None]


def _declared(escape: bytes) -> str | None:
    match = _ISO_2022.match(escape)
    if match is None:
        return None
    return "utf-8" if match[1] is None else _ISO_8859.get(match[1])


def _as_utf8(value: bytes) -> str | None:
    """Decode UTF-8 whose last character may be cut; None if it is in another encoding."""
    try:
        return value.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(value)  # leaves an incomplete last character out
    except UnicodeDecodeError:
        return None
    # One byte of Latin-1 at the end looks like the start of a character too, also where UTF-8 is wrongly declared.
    return text if not text.isascii() or len(value) in _IPTC_FIELD_BYTES else None


def likeliest_encoding(data: bytes) -> str:
    """Return the likeliest encoding of a text that is not UTF-8.

    Args:
        data: The text, or its beginning.
    """
    penalties = {}
    for encoding in _LEGACY:
        try:
            # The sample may end inside a character.
            text = codecs.getincrementaldecoder(encoding)().decode(data[:_SAMPLE_BYTES], len(data) <= _SAMPLE_BYTES)
            penalties[encoding] = _penalty(text, encoding)
        except UnicodeDecodeError:
            continue
    return min(penalties, key=penalties.__getitem__, default="latin-1")


def _is_rare(character: str, encoding: str) -> bool:
    """Tell whether a character of Japanese or Chinese stands among the rare ones of its encoding."""
    try:
        return character.encode("gb2312" if encoding == "gb18030" else encoding)[0] >= _FIRST_RARE[encoding]
    except UnicodeEncodeError:
        return True


def _penalty(text: str, encoding: str) -> float:
    """Return how unlikely a text is as the decoding of people's words: a count of odd characters."""
    letters = {letter.lower() for letter in text if not letter.isascii() and letter.isalpha()}
    is_of_one_language = not letters or any(letters <= alphabet for alphabet in _ALPHABETS)
    penalty = 1.5 if encoding in _LATIN and not is_of_one_language else _penalty_of_alphabet(text, encoding)
    for before, character, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if character.isascii():
            continue
        category = unicodedata.category(character)
        is_inside = before.isalpha() or after.isalpha()
        if category in {"Cc", "Co", "Cn"}:
            penalty += 3
        elif category[0] != "L":
            # An apostrophe inside a word, and quotes, dashes and signs outside of words, are usual.
            stands_between = before.isalpha() and after.isalpha()
            usual = character in _ALWAYS_USUAL or (
                not stands_between and (category in {"Pi", "Pf", "Pd"} or character in _USUAL_SIGNS)
            )
            penalty += 0 if usual else 1 + is_inside
        elif category == "Lu" and before.islower():
            penalty += 1.5
        elif 0xFF61 <= ord(character) <= 0xFF9F:
            penalty += 1  # half-width Katakana
        elif encoding not in _LATIN:
            # Their letters do not stand inside Latin words.
            penalty += 1.5 if (before.isascii() and before.isalpha()) or (after.isascii() and after.isalpha()) else 0
            if encoding in _FIRST_RARE:
                penalty += 0.5 * _is_rare(character, encoding)
                penalty += encoding == "gb18030" and "\u3040" <= character <= "\u30ff"  # kana
        elif not before.isascii() and before.isalpha():
            penalty += 1  # letters with accents side by side: rare in Latin words
    return penalty


def _penalty_of_alphabet(text: str, encoding: str) -> float:
    """Return how unlikely the letters are as a whole, at most 0.7: rare ones, and words in capitals.

    Every pair of bytes is a character of Japanese or Chinese, so these encodings come last of equally likely ones.
    """
    if encoding in _FIRST_RARE:
        return 0.7
    letters = [letter for letter in text if letter.isalpha() and not letter.isascii()]
    if encoding not in _FREQUENT_LETTERS or not letters:
        return 0.0
    num_rare = sum(letter.lower() not in _FREQUENT_LETTERS[encoding] for letter in letters)
    num_capitals = sum(before.isupper() and letter.isupper() for before, letter in pairwise(text))
    return (0.5 * num_rare + 0.2 * num_capitals) / len(letters)
