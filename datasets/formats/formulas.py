"""Text that a spreadsheet would run as a formula."""

import re

_FORMULA = re.compile(
    r"""((?:^|[;,|\t\r\n])[ ]*)(?=[\s"'\x00-\x1f\u200b-\u200f\u2060\ufeff]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])"""
)
"""Positions where a spreadsheet may interpret the following text as a formula: after a possible separator, also with
quotes, spaces and invisible characters in between. The last four characters are full-width forms of the first four."""


def without_formulas(text: str) -> str:
    """Return a text with an apostrophe before whatever a spreadsheet would run."""
    return _FORMULA.sub(r"\1'", text)


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet would run a text, or a part of it after a separator, as a formula."""
    return _FORMULA.search(text) is not None
