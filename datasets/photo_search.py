"""The language in which photos are searched: words, phrases, fields, NOT and OR. Knows nothing of a database.

A text is a conjunction. ``cat garden`` finds photos that have both words in their tags or paths; ``"red car"`` is a
phrase; ``NOT cat`` and ``-cat`` exclude; ``cat OR dog`` takes either. A field narrows where the word is looked for:

- ``tag:cat``: a tag that is this one as a whole, in any spelling; ``-tag:cat``: photos without it;
- ``first:cat``: the tag that ranks first;
- ``folder:holiday/2019``: photos in this folder or below it;
- ``date:2019``, ``date:2019-05``, ``date:2019-05-04``: the date of the photo;
- ``by:anna``: who saved the list.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from annotator.datasets.tags import search_key

Field = Literal["", "tag", "first", "folder", "date", "by"]
FIELDS: tuple[Field, ...] = get_args(Field)
_NAMES = "|".join(filter(None, FIELDS))
_TOKEN = re.compile(rf'(?P<minus>-(?=[^\s-]))?(?:(?P<field>{_NAMES}):)?(?:"(?P<phrase>[^"]+)"|(?P<word>[^\s"]+))')


@dataclass(frozen=True)
class Term:
    """One word, phrase or field of a search."""

    text: str
    """As typed, without quotation marks; white space is single."""
    field: Field = ""
    is_excluded: bool = False

    @property
    def key(self) -> str:
        """The form in which it is looked for (`search_key`)."""
        return search_key(self.text)


Clause = tuple[Term, ...]
"""Alternatives: a photo fits if one of them does."""


def parse_search(text: str) -> list[Clause]:
    """Return the clauses of a search, each once; a photo must fit all of them. An empty text has none.

    Args:
        text: As typed.
    """
    clauses: list[list[Term]] = []
    is_alternative = is_excluded = False
    for match in _TOKEN.finditer(text):
        if match["word"] in ("AND", "OR", "NOT") and not match["field"] and not match["minus"]:
            is_alternative |= match["word"] == "OR" and bool(clauses)
            is_excluded ^= match["word"] == "NOT"
            continue
        field: Field = match["field"] or ""  # type: ignore[assignment]
        words = " ".join((match["phrase"] or match["word"]).split())
        term = Term(words, field, is_excluded ^ bool(match["minus"]))
        if term.key:
            if is_alternative:
                clauses[-1].append(term)
            else:
                clauses.append([term])
        is_alternative = is_excluded = False
    return list(dict.fromkeys(tuple(clause) for clause in clauses))
