"""The comparison of tests/benchmarks/torture.py after each kill detects every kind of difference."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from annotator.collaboration.responses import Responses
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store


@pytest.fixture
def torture() -> Iterator[ModuleType]:
    path = Path(__file__).parents[2] / "benchmarks" / "torture.py"
    spec = importlib.util.spec_from_file_location("torture", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["torture"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["torture"]


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    """Anna saves twice and undoes the second save; Ben's response is accepted, then sent back."""
    store = make_store()
    log = CorrectionLog(store)
    for revision, tags in enumerate((["first", "cat"], ["second", "first", "cat"])):
        log.save(1, revision=revision, tags=tags, dropped=["dog"], user_name="anna", effort=Effort())
    log.undo("anna")
    answers = Responses(store, log)
    answers.ask([2], 1, [], "rita")
    answers.give(2, "ben", revision=0, tags=["third", "sea"], dropped=[], effort=Effort())
    answers.accept(log.annotation(2), ["fourth", "sea"], ["sky"], "rita", Effort(), None, None)
    answers.send_back(log.annotation(2), [], "fifth", "rita", None)
    return store


@pytest.fixture
def told(torture: ModuleType) -> Any:
    entry = torture.Entry
    return torture.Told(
        "anna",
        answered={
            "first": entry("save", "anna", 1, 1, ("first", "cat"), ("dog",)),
            "second": entry("save", "anna", 1, 2, ("second", "first", "cat"), ("dog",)),
            "third": entry("answer", "ben", 2, 1, ("third", "sea")),
            "fourth": entry("accept", "rita", 2, 1, ("fourth", "sea"), ("sky",)),
            "fifth": entry("send_back", "rita", 2, 0),
        },
        undone=[entry("undo", "anna", 1, 3, ("second", "first", "cat"), ("dog",))],
    )


def test_acknowledged_entries_are_in_the_database(torture: ModuleType, store: Store, told: Any) -> None:
    assert torture.lost_or_wrong(store, [told]) == []
    last = told.answered.pop("fourth")
    lost = replace(told, unknown={"fourth": replace(last, revision=0), "never": last}, undone=[], num_unknown_undos=1)
    assert torture.lost_or_wrong(store, [lost]) == []  # their answers were lost


@pytest.mark.parametrize("key", ["first", "second", "third", "fourth", "fifth"])
def test_any_difference_of_an_entry_is_noticed(torture: ModuleType, store: Store, told: Any, key: str) -> None:
    right = told.answered[key]
    changes: list[dict[str, Any]] = [{"user": "eve"}, {"image_id": 9}, {"revision": 9}, {"kind": "other"}]
    changes += [{"tags": (*right.tags[:1], "other")}, {"dropped": ("other",)}]
    for change in changes:
        wrong = replace(right, **change)
        assert torture.lost_or_wrong(store, [replace(told, answered={**told.answered, key: wrong})]), change
        others = {name: entry for name, entry in told.answered.items() if name != key}
        if "revision" not in change:
            assert torture.lost_or_wrong(store, [replace(told, answered=others, unknown={key: wrong})]), change
    assert torture.lost_or_wrong(store, [replace(told, answered=others)])  # nobody sent it
    assert torture.lost_or_wrong(store, [replace(told, refused={key})])


def test_an_undo_that_is_lost_wrong_or_nobody_s_is_noticed(torture: ModuleType, store: Store, told: Any) -> None:
    (undo,) = told.undone
    for undone in ([], [replace(undo, tags=("second",))], [replace(undo, revision=4)], [undo, undo]):
        assert torture.lost_or_wrong(store, [replace(told, undone=undone)]), undone
