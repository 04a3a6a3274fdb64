"""The tags in a line of text, as people and programs write them.

Commas, semicolons, bars or tabs between tags; lines of image boards with spaces; weights and brackets of prompts,
scores, bullets, numbers, quotation marks and hashes, which are no part of a tag. Knows nothing of files.
"""

import re
from collections.abc import Sequence

from annotator.datasets.metadata_words import stop_words

MAX_TAG_WORDS = 8
"""Most words of a tag; a longer piece of text between two commas is a sentence."""

_COMMAS = re.compile("[,\uff0c\u3001\uff64\u060c]")
_SEMICOLON = re.compile(r"(?<=\w)\s*[;\uff1b]\s*(?=\w|$)")
_OTHER_SEPARATORS = re.compile(r"(?<=\S)\s+\|\s+(?=\S)|(?<=\S)\t+(?=\S)")
_PARAMETERS = re.compile(
    r"\s(?:--|[\u2013\u2014])(?:ar|aspect|c|chaos|cref|h|iw|niji|no|p|profile|q|quality|raw|s|seed|sref|stop|style"
    r"|stylize|tile|v|version|w|weird)\b.*"
)  # of Midjourney, after the prompt
_NETWORK = re.compile(
    r"<(?:lora|lyco|hypernet|embedding|ti)\s*:[^<>]*>|\(\s*embedding:[^,()]*\)|\bembedding:[^\s,()]+", re.IGNORECASE
)
_NUMBERED_GROUP = re.compile(r"-?\d*\.?\d+::(.*?)(?:::|$)")  # 1.3::dog, beach:: of NovelAI
_WIDE_WEIGHT = re.compile("[\uff08(][^\uff09)]*\uff1a\\s*\\d")
_NARROW = str.maketrans({"\uff08": "(", "\uff09": ")", "\uff1a": ":"})
_WEIGHT_IN_BRACKETS = re.compile(r"\s*:\s*-?\d*\.?\d+\s*(?=[)\]])")  # (tag:1.2)
_WEIGHT_BEHIND_BRACKET = re.compile(r"(?<=\))(?:\++|-+|\d*\.\d+)$")  # (tag)1.2, (tag)++
_SCORE = r"(?:0?\.\d+|1\.0*|0\.|\d{1,3}(?:\.\d+)?\s*%)"
_WEIGHT = re.compile(
    rf"(?<=\S)\s*(?::\s*(?:-?\d*\.\d+|\d+(?:\.\d+)?\s*%)|\({_SCORE}\))\s*$"
)  # tag:0.95, tag: 95%, tag (0.95)
_SCORED_LINE = re.compile(rf"(?P<tag>[^,;\t]*[^,;\s])(?P<separator>\s*[,;\t=]\s*|\s+){_SCORE}\s*")
_LINE_WITH_SCORE_FIRST = re.compile(rf"\s*(?P<bracket>\()?{_SCORE}(?(bracket)\))[\s:]+(?P<tag>[^,;]*[^,;\s])\s*")
_BULLET = re.compile(r"\s*(?:[-*\u2013]\s+|[\u2022\u2023\u25aa\u25cf\u00b7]\s*)(?=\S)")
_NUMBER_BEFORE = re.compile(r"\s*\d+[.)]\s+(?=\S)")
_HEAD = re.compile(r"\s*(?:tags|keywords)\s*:\s*(?=\S)", re.IGNORECASE)
_HASHED = re.compile(r"(?<!\S)#(\w[\w-]*)")
_QUOTES = {'"': '"', "'": "'", "\u2018": "\u2019", "\u201c": "\u201d", "\u201e": "\u201c", "\u00ab": "\u00bb"}
_KEEP_SEPARATOR = "|||"  # before it, trainers do not change the order
_PROMPT_WORDS = frozenset({"BREAK", "AND", "ADDCOMM", "ADDBASE", "ADDCOL", "ADDROW"})
_NAMED = re.compile(r"[a-z]+:\w\S+", re.IGNORECASE)
_BOORU_TOKEN = re.compile(r"\w[^\s]*_[^\s]*\w\S*|\d\+?(?:girl|boy|other)s?|[a-z]+:\w\S+", re.IGNORECASE)
_BOORU_RATING = re.compile(r"(?:rating|score):\S+", re.IGNORECASE)
_RATING = re.compile(r"rating\s*:\s*(?:safe|general|sensitive|questionable|explicit|[gsqe])", re.IGNORECASE)
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_ESCAPED = {"\\(": "\ue000", "\\)": "\ue001", "\\[": "\ue002", "\\]": "\ue003", "\\{": "\ue004", "\\}": "\ue005"}


def listed_tags(text: str) -> list[str]:
    """Return the tags of a text that is known to hold tags only: split at separators, lines, or as a booru line."""
    return [
        piece for line in text.splitlines() for piece in (spaced_tags(line) or map(_plain_tag, _pieces(line))) if piece
    ]


def plain_lines(lines: Sequence[str]) -> list[str]:
    """Return the lines of a list without what stands in each of them: numbers, hashes, and scores (dog 0.98)."""
    written = [line for line in lines if line.strip()]
    if len(written) > 1 and all(map(_NUMBER_BEFORE.match, written)):
        written = [_NUMBER_BEFORE.sub("", line, count=1) for line in written]
    if len(written) > 1 and all(_HASHED.fullmatch(line.strip()) for line in written):
        return [line.strip()[1:] for line in written]
    for pattern in (_SCORED_LINE, _LINE_WITH_SCORE_FIRST):
        found = [pattern.fullmatch(line) for line in written]
        matches = [match for match in found if match is not None]
        if len(matches) == len(written) and (len(written) > 1 or any(map(_marks_score, matches))):
            return [match["tag"] for match in matches]
    return written


def _marks_score(match: re.Match[str]) -> bool:
    """Tell whether something beside a space says that the number of a single line is a score."""
    groups = match.groupdict()
    return bool((groups.get("separator") or "").strip(" ") or groups.get("bracket"))


def spaced_tags(line: str, *, may_be_named: bool = True) -> list[str]:
    """Return the tags of a line that spaces separate, of an image board or #dog #beach; empty for other lines.

    Args:
        line: Without its end.
        may_be_named: ``artist:someone`` shows that spaces separate; not where each line holds one tag.
    """
    tokens = line.split()
    if len(tokens) > 1 and all(len(token) > 1 and token.startswith("#") for token in tokens):
        return [token.strip("#,;") for token in tokens]
    if not is_booru_line(line, may_be_named=may_be_named):
        return []
    return [token for token in tokens if not _BOORU_RATING.fullmatch(token)]


def is_booru_line(line: str, *, may_be_named: bool = True) -> bool:
    """Tell whether spaces separate the tags of a line: no commas, no words of sentences, and a tag of image boards."""
    tokens = line.split()
    if len(tokens) < 2 or _COMMAS.search(line) or _SEMICOLON.search(line):
        return False
    if any(token.casefold() in stop_words() for token in tokens):
        return False
    return any(_BOORU_TOKEN.fullmatch(token) and (may_be_named or not _NAMED.fullmatch(token)) for token in tokens)


def has_commas(line: str) -> bool:
    """Tell whether a line has commas of any script."""
    return _COMMAS.search(line) is not None


def hashed_tags(line: str) -> list[str]:
    """Return the words after # in a sentence."""
    return _HASHED.findall(line)


def tags_of_line(line: str, *, may_be_named: bool = True) -> list[str] | None:
    """Return a line's tags; None if it is a sentence.

    Args:
        line: Without its end.
        may_be_named: As for ``spaced_tags``.
    """
    spaced = spaced_tags(line, may_be_named=may_be_named)
    if spaced:
        return spaced
    pieces = _pieces(line)
    if any(len(piece.split(None, MAX_TAG_WORDS)) > MAX_TAG_WORDS for piece in pieces):
        return None
    return [tag for tag in map(_plain_tag, pieces) if tag]


def _pieces(line: str) -> list[str]:
    """Split a line at commas, or else at other separators; the marks of prompts are taken out."""
    line = _HEAD.sub("", _BULLET.sub("", line, count=1), count=1)
    line = _PARAMETERS.sub("", line).replace(_KEEP_SEPARATOR, ",")
    for escaped, stand_in in _ESCAPED.items():
        line = line.replace(escaped, stand_in)
    if _WIDE_WEIGHT.search(line):
        line = line.translate(_NARROW)
    line = _NUMBERED_GROUP.sub(r"\1", _WEIGHT_IN_BRACKETS.sub("", _NETWORK.sub(",", line)))
    separator = next((one for one in (_COMMAS, _SEMICOLON) if one.search(line)), _OTHER_SEPARATORS)
    pieces = [piece for piece in separator.split(line) if piece.strip()]
    if len(pieces) > 1 and all(map(_NUMBER_BEFORE.match, pieces)):
        pieces = [_NUMBER_BEFORE.sub("", piece, count=1) for piece in pieces]
    return pieces


def _plain_tag(piece: str) -> str:
    """Return a piece of a prompt without its weight: ((dog:1.2)) gives dog, saber_(fate) stays."""
    tag, former = _WEIGHT.sub("", _WEIGHT_BEHIND_BRACKET.sub("", piece.strip())), ""
    while tag != former and any(map(str.isalnum, tag)):  # without letters it is a face: ":)"
        former = tag
        for opening, closing in _BRACKETS.items():
            num_open, num_close = tag.count(opening), tag.count(closing)
            # A group may hold several tags: (dog, beach:1.2).
            if tag.startswith(opening) and (num_open > num_close or _closes_at_end(tag, opening, closing)):
                tag = tag.removeprefix(opening)
                num_open -= 1
            if tag.endswith(closing) and num_close > num_open:
                tag = tag.removesuffix(closing)
        tag = _WEIGHT.sub("", tag.strip())
    if len(tag) > 2 and _QUOTES.get(tag[0]) == tag[-1]:
        tag = tag[1:-1].strip()
    for escaped, stand_in in _ESCAPED.items():
        tag = tag.replace(stand_in, escaped[1])
    return "" if tag in _PROMPT_WORDS or _RATING.fullmatch(tag) else tag


def _closes_at_end(tag: str, opening: str, closing: str) -> bool:
    """Tell whether the first bracket of a tag is closed by its last character."""
    depth = 0
    for position, character in enumerate(tag):
        depth += (character == opening) - (character == closing)
        if depth == 0:
            return position == len(tag) - 1
    return False
