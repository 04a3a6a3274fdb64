"""Cached prefix states equal those of feeding the prefix from the start, with fewer steps."""

import numpy as np
import pytest

from annotator.models.sequence import prefix_states
from annotator.models.sequence.decoding import Array, Ids, State, feed
from annotator.models.sequence.prefix_states import PrefixStates

NUM_TAGS = 5


class Summing:
    """Its next step depends on all previous tags and their order; counts its steps."""

    num_tags = NUM_TAGS

    def __init__(self) -> None:
        self.num_steps = 0

    def start(self, features: Array, concepts: Array | None) -> State:
        return {"sum": features.copy()}

    def step(self, state: State, previous: Ids) -> tuple[Array, State]:
        self.num_steps += 1
        total = 0.5 * state["sum"] + previous[:, None]
        return np.sin(total + np.arange(NUM_TAGS + 1, dtype=np.float32)), {"sum": total}


@pytest.mark.parametrize("prefixes", [[(), (1,), (1, 3), (1, 3, 0), (1, 0), (1,), (3, 1), ()]])
def test_the_states_equal_those_of_feeding_from_the_start_with_fewer_steps(prefixes: list[tuple[int, ...]]) -> None:
    steps, other = Summing(), Summing()
    states = PrefixStates(steps)
    for photo in (0.0, 7.0):
        features = np.array([[photo]], np.float32)
        for prefix in prefixes:
            found = states.feed(photo, lambda value=features: steps.start(value, None), prefix)
            expected = feed(other, other.start(features, None), [list(prefix)])
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1]["sum"], expected[1]["sum"])
    # START, 1, 1 3, 1 3 0, 1 0, 3, 3 1: each place once for each photo.
    assert steps.num_steps == 2 * 7


def test_the_number_of_cached_states_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_states, "MAX_STATES", 2)
    steps = Summing()
    states = PrefixStates(steps)
    for photo in range(5):
        states.feed(photo, lambda: steps.start(np.zeros((1, 1), np.float32), None), ())
    assert steps.num_steps == 5
    states.feed(4, lambda: pytest.fail("it is remembered"), ())
    states.feed(0, lambda: steps.start(np.zeros((1, 1), np.float32), None), ())
    assert steps.num_steps == 6
