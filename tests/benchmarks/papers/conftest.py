"""The benchmark scripts beside this folder, imported as they import one another: by their bare names."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

importlib.import_module("torch")
"""Before any test: importing it starts a process, which a unit test may not."""

SCRIPTS = Path(__file__).parent.parent
NAMES = (
    *("corel5k", "held_out", "metadata", "ordered", "sentences", "small_objects", "tag_order", "taggers", "unary"),
    "zero_shot",
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a script by its bare name; afterwards neither its name nor its folder is left for other tests."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module
    for name in NAMES:
        sys.modules.pop(name, None)
