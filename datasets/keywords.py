"""Keywords of photos as paths: ("animal", "dog") for a hierarchical one, ("dog",) for a plain one.

Knows nothing of the fields that they come from.
"""

import re
from collections.abc import Iterable, Sequence

from annotator.datasets.tags import tag_key

KeywordPath = tuple[str, ...]
LEVELS = "|"
"""Between the levels of a hierarchical keyword, where it is written as one text."""

_BOOKKEEPING_ROOTS = frozenset({"darktable", "_digikam_internal_tags_"})
# Roots under which programs keep notes for themselves: darktable|format|jpg.
_DIGIKAM_ROOT = "_digikam_root_tag_"  # above all keywords, in files of older versions
_LABEL = re.compile(r"(?:color|pick) label \w+", re.IGNORECASE)  # digiKam's marks, in files of older versions
_LIST_SEPARATORS = re.compile("[;\uff1b]"), re.compile("[,\uff0c\u3001\u060c]")


def plain_keywords(values: Sequence[str]) -> list[KeywordPath]:
    """Return the values of a field of plain keywords.

    A single value with separators is a list ("dog, beach"); where there are several, a comma belongs to its keyword
    ("Paris, Texas"). Levels that a program wrote into a plain field make a path.
    """
    values = [value for value in values if value.strip("\0 \t\r\n")]
    return [path_of(part, LEVELS) for value in values for part in (split_list(value) if len(values) == 1 else [value])]


def hierarchical_keywords(values: Sequence[str], separator: str) -> list[KeywordPath]:
    """Return the values of a field of hierarchical keywords.

    A value with bars and without the field's own separator has its levels between the bars. A single value is a list
    if semicolons, or, without levels, commas stand in it.

    Args:
        values: As found.
        separator: What the field has between levels.
    """
    paths = []
    for value in values:
        own = separator if separator in value or LEVELS not in value else LEVELS
        is_list = len(values) == 1 and (own not in value or any(mark in value for mark in ";\uff1b"))
        paths += [path_of(part, own) for part in (split_list(value) if is_list else [value])]
    return paths


def split_list(text: str) -> list[str]:
    """Split a text that holds a list: at semicolons, or, without any, at commas and line ends."""
    semicolon, comma = _LIST_SEPARATORS
    parts = semicolon.split(text) if semicolon.search(text) else comma.split(text)
    return [_unquoted(line) for part in parts for line in part.splitlines()]


def _unquoted(text: str) -> str:
    stripped = text.strip()
    return stripped[1:-1] if len(stripped) > 2 and stripped[0] == stripped[-1] == '"' else text


def path_of(text: str, separator: str) -> KeywordPath:
    """Return a hierarchical keyword's levels, without empty ones."""
    return tuple(level for level in (part.strip("\0 \t\r\n") for part in text.split(separator)) if level)


def own_keywords(paths: Iterable[KeywordPath]) -> list[KeywordPath]:
    """Return the keywords that people gave: without those that programs write for themselves.

    Programs repeat each level of such a keyword as a plain one; those are left out too, unless a person's keyword has
    the same level.
    """
    every = [path for path in paths if path]
    of_programs = {tag_key(level) for path in every if _is_bookkeeping(path) for level in path}
    of_people = {tag_key(level) for path in every if len(path) > 1 and not _is_bookkeeping(path) for level in path}
    # Programs also repeat a hierarchical keyword as a plain one with its separators.
    repeated = {tag_key("/".join(path)) for path in every if len(path) > 1}
    dropped = (of_programs - of_people) | repeated
    every = [path[1:] if len(path) > 1 and path[0].casefold() == _DIGIKAM_ROOT else path for path in every]
    return [
        path for path in every if not _is_bookkeeping(path) and not (len(path) == 1 and tag_key(path[0]) in dropped)
    ]


def _is_bookkeeping(path: KeywordPath) -> bool:
    return (len(path) > 1 and path[0].casefold() in _BOOKKEEPING_ROOTS) or bool(_LABEL.fullmatch(path[-1]))
