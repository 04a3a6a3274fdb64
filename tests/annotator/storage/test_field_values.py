"""Values of fields: stored, emptied, and never overwritten unseen."""

from collections.abc import Callable

import pytest

from annotator.errors import DataError
from annotator.storage.database import Store
from annotator.storage.field_values import FieldValues, values_of


def test_values_are_stored_replaced_and_removed(make_store: Callable[..., Store]) -> None:
    store = make_store(2)
    values = FieldValues(store)
    values.put(1, "title", "A cat", "", "ana")
    values.put(1, "category", "Animals", "", "ana")
    values.put(2, "title", "A dog", "", "ana")
    values.put(1, "title", "The cat", "A cat", "ben")
    assert values.of(1) == {"title": "The cat", "category": "Animals"}
    values.put(1, "category", "", "Animals", "ana")
    assert values_of(store, [1, 2, 3]) == {1: {"title": "The cat"}, 2: {"title": "A dog"}}


def test_a_value_that_somebody_else_has_written_stays(make_store: Callable[..., Store]) -> None:
    values = FieldValues(make_store(1))
    values.put(1, "title", "A cat", "", "ana")
    with pytest.raises(DataError, match=r"ana has written this title meanwhile: 'A cat'\. Nothing was overwritten"):
        values.put(1, "title", "A dog", "", "ben")
    values.put(1, "title", "A cat", "", "ben")  # both agree
    assert values.of(1) == {"title": "A cat"}
