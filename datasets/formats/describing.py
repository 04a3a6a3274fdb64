"""What a format is and what its options mean, for lists of formats. Knows nothing of any one format."""

import ast
import dataclasses
import inspect
from typing import Any

from annotator.datasets.formats.contract import Format


def described(format: Format) -> dict[str, Any]:
    """Return a format as JSON values: name, summary, what survives, and its options with their sentences."""
    return {
        "name": format.name,
        "summary": format.summary,
        "reads": format.read is not None,
        "writes": format.write is not None,
        "layout": format.layout,
        "survives": dataclasses.asdict(format.survival),
        "options": [
            {"name": field.name, "default": field.default, "what": sentence}
            for field, sentence in zip(
                dataclasses.fields(format.options), option_sentences(format.options), strict=True
            )
        ],
    }


def option_sentences(options: type) -> list[str]:
    """Return the sentence below each field of a class of options, those of its bases first, as fields are."""
    found: dict[str, str] = {}
    for base in reversed([one for one in options.__mro__ if dataclasses.is_dataclass(one)]):
        body = ast.parse(inspect.cleandoc(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)  # the source of a class
        for field, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                found[ast.unparse(field.target)] = " ".join(str(ast.literal_eval(after.value)).split())
    return list(found.values())
