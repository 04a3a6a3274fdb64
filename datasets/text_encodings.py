"""Text of unknown encoding: UTF-8 and UTF-16 where the bytes say so, else the likeliest of the older encodings.

Knows nothing of the source of the bytes.
"""

import codecs
import re
import unicodedata

_LEGACY = ("cp1252", "mac_roman", "cp1250", "cp1251", "cp932", "gb18030")
"""Tried in this order; of equally likely ones, the first is taken."""
_LATIN = frozenset({"cp1252", "mac_roman", "cp1250"})
_ALPHABETS = tuple(
    frozenset(letters)
    for letters in (
        "àâæçèéêëîïôùûüÿœ", "àèéìíîòóùú", "áéíñóúü", "àáâãçéêíóôõúü", "äéöüß", "äåéö", "åæéóôø", "ðáæéíóöúýþ",
        "áäèéëíïóöü", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöúüőű", "ćčđšž", "âîășţțş",
    )
)  # fmt: skip
"""Letters beyond a to z of one language each: French, Italian, Spanish, Portuguese, German, Swedish, Danish, Icelandic,
Dutch; Czech, Slovak, Polish, Hungarian, Croatian, Romanian."""
_IPTC_FIELD_BYTES = range(61, 65)  # length of a keyword that a program may have cut at IPTC's limit of 64 bytes
_ALWAYS_USUAL = "\u2019\u3001\u3002\u30fb\u30fc\uff01\uff1f\uff0c"
_USUAL_SIGNS = "\u2026\u20ac\u2122\u00a9\u00ae\u00b0"
_SAMPLE_BYTES = 10_000  # that the encoding is guessed from
_ISO_2022 = re.compile(rb"\x1b(?:%G|%/[GHI]|[,\-./]([A-Z]))")
_ISO_8859 = {  # final character of the escape sequence that names an upper half, by ISO 2022
    b"A": "iso8859_1", b"B": "iso8859_2", b"C": "iso8859_3", b"D": "iso8859_4", b"F": "iso8859_7", b"G": "iso8859_6",
    b"H": "iso8859_8", b"L": "iso8859_5", b"M": "iso8859_9", b"V": "iso8859_10", b"Y": "iso8859_13", b"_": "iso8859_14",
}  # fmt: skip


def decode_text(data: bytes) -> str:
    """Decode the bytes of a text file or field.

    UTF-16 with a mark, or with the zero bytes of Latin text; UTF-8; else the likeliest of the Windows and Macintosh
    encodings for Western, Central European and Cyrillic text, and of the usual ones for Japanese and Chinese.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if len(data) >= 4 and b"\0" in data:
        even, odd = data[0::2].count(0), data[1::2].count(0)
        if max(even, odd) > len(data) // 4 > 2 * min(even, odd):
            return data.decode("utf-16-be" if even > odd else "utf-16-le", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode(_likeliest(data), "replace")


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
        likeliest = _likeliest(b", ".join(value for value, text in zip(values, decoded, strict=True) if text is None))
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


def _likeliest(data: bytes) -> str:
    penalties = {}
    for encoding in _LEGACY:
        try:
            # The sample may end inside a character.
            text = codecs.getincrementaldecoder(encoding)().decode(data[:_SAMPLE_BYTES])
            penalties[encoding] = _penalty(text, encoding)
        except UnicodeDecodeError:
            continue
    return min(penalties, key=penalties.__getitem__, default="latin-1")


def _is_in(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _penalty(text: str, encoding: str) -> float:
    """Return how unlikely a text is as the decoding of people's words: a count of odd characters."""
    letters = {letter.lower() for letter in text if not letter.isascii() and letter.isalpha()}
    is_of_one_language = not letters or any(letters <= alphabet for alphabet in _ALPHABETS)
    penalty = 1.5 if encoding in _LATIN and not is_of_one_language else 0.0
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
        elif encoding in {"cp1251", "cp932", "gb18030"}:
            # Their letters do not stand inside Latin words.
            penalty += 1.5 if (before.isascii() and before.isalpha()) or (after.isascii() and after.isalpha()) else 0
            penalty += 0.5 if encoding == "gb18030" and not _is_in(character, "gb2312") else 0
        elif not before.isascii() and before.isalpha():
            penalty += 1  # letters with accents side by side: rare in Latin words
    return penalty
