import itertools
from typing import Any

import numpy as np
import pytest

from annotator.models.sequence.decoding import Array, Ids, State, feed, look_ahead, mask_tags, search

NUM_TAGS = 4
END = NUM_TAGS


class Chain:
    """A tagger whose next tag depends on the previous one alone."""

    num_tags = NUM_TAGS

    def __init__(self, table: Any) -> None:
        self.table = np.log(np.asarray(table, np.float32))

    def start(self, features: Array, concepts: Array | None) -> State:
        return {"steps": np.zeros((len(features), 1), np.float32)}

    def step(self, state: State, previous: Ids) -> tuple[Array, State]:
        return self.table[previous], {"steps": state["steps"] + 1}


def make_chain(seed: int = 0) -> Chain:
    """Rows: the distribution after tag 0 .. 3, and after START."""
    return Chain(np.random.default_rng(seed).dirichlet(np.ones(NUM_TAGS + 1), NUM_TAGS + 1))


def start(chain: Chain, num: int) -> State:
    return chain.start(np.zeros((num, 1), np.float32), None)


def all_paths(chain: Chain, prefix: list[int], masked: set[int], k: int) -> dict[tuple[int, ...], float]:
    """Every list of k further tags with its log-probability, by plain loops."""
    paths = {}
    for path in itertools.permutations([tag for tag in range(NUM_TAGS) if tag not in {*prefix, *masked}], k):
        previous, total = (prefix[-1] if prefix else NUM_TAGS), 0.0
        for tag in path:
            total += float(chain.table[previous, tag])
            previous = tag
        paths[path] = total
    return paths


def test_feed_ends_where_each_prefix_ends() -> None:
    chain = make_chain()
    log_probs, state = feed(chain, start(chain, 3), [[], [2], [1, 3, 0]])
    np.testing.assert_array_equal(log_probs, chain.table[[NUM_TAGS, 2, 0]])
    np.testing.assert_array_equal(state["steps"][:, 0], [1, 2, 4])


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_the_likeliest_path(seed: int) -> None:
    chain = make_chain(seed)
    prefixes, dropped = [[], [2]], [[1], []]
    found = search(chain, start(chain, 2), prefixes, mask_tags(NUM_TAGS, prefixes, dropped), k=2, beam_width=20)
    for path, prefix, refused in zip(found, prefixes, dropped, strict=True):
        paths = all_paths(chain, prefix, set(refused), 2)
        assert tuple(path.tags) == max(paths, key=paths.__getitem__)
        assert sum(path.log_probs) == pytest.approx(max(paths.values()), abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_takes_the_best_tag_at_each_step(seed: int) -> None:
    chain = make_chain(seed)
    path = search(chain, start(chain, 1), [[3]], mask_tags(NUM_TAGS, [[3]], [[]]), k=3)[0]
    expected: list[int] = []
    previous = 3
    for _ in range(3):
        allowed = [tag for tag in range(NUM_TAGS) if tag not in {3, *expected}]
        previous = max(allowed, key=lambda tag: chain.table[previous, tag])
        expected.append(previous)
    assert path.tags == expected


def test_greedy_and_beam_search_differ_if_the_best_first_tag_has_unlikely_successors() -> None:
    # START: 0 with .5, 1 with .4; after 0 everything is as likely; after 1 comes 2 with .9.
    table = [[0.2] * 5, [0.02, 0.02, 0.9, 0.04, 0.02], [0.2] * 5, [0.2] * 5, [0.5, 0.4, 0.04, 0.04, 0.02]]
    chain = Chain(table)
    masked = mask_tags(NUM_TAGS, [[]], [[]])
    assert search(chain, start(chain, 1), [[]], masked, k=2)[0].tags[0] == 0
    assert search(chain, start(chain, 1), [[]], masked, k=2, beam_width=2)[0].tags == [1, 2]


def test_end_is_masked_until_k_tags_are_emitted_and_ends_a_free_list() -> None:
    likely_end = [0.01, 0.02, 0.03, 0.04, 0.9]
    chain = Chain([likely_end] * 4 + [[0.1, 0.6, 0.1, 0.1, 0.1]])
    masked = mask_tags(NUM_TAGS, [[]], [[]])
    fixed = search(chain, start(chain, 1), [[]], masked, k=3)[0]
    free = search(chain, start(chain, 1), [[]], masked, k=3, free_length=True)[0]
    assert (fixed.tags, fixed.ended) == ([1, 3, 2], False)
    assert (free.tags, free.ended) == ([1], True)


def test_a_list_ends_when_no_tag_is_left() -> None:
    chain = make_chain()
    path = search(chain, start(chain, 1), [[0]], mask_tags(NUM_TAGS, [[0]], [[1, 2]]), k=10, beam_width=3)[0]
    assert path.tags == [3]
    assert search(chain, start(chain, 1), [[0]], mask_tags(NUM_TAGS, [[0]], [[1, 2, 3]]), k=10)[0].tags == []


def test_lookahead_that_continues_every_opening_is_the_sum_over_all_paths() -> None:
    chain = make_chain(3)
    prefixes, dropped = [[], [1]], [[2], []]
    masked = mask_tags(NUM_TAGS, prefixes, dropped)
    log_probs, state = feed(chain, start(chain, 2), prefixes)
    places = look_ahead(chain, log_probs, state, masked, depth=3, width=NUM_TAGS**2)
    for row, (prefix, refused) in enumerate(zip(prefixes, dropped, strict=True)):
        expected = np.zeros((3, NUM_TAGS))
        add_openings(chain, expected, 0, prefix[-1] if prefix else NUM_TAGS, {*prefix, *refused}, 1.0)
        np.testing.assert_allclose(places[row], expected, atol=1e-5)


def add_openings(chain: Chain, expected: Any, place: int, previous: int, taken: set[int], chance: float) -> None:
    """Add every list's probability to the places of its tags: one list after the other."""
    allowed = {tag: float(np.exp(chain.table[previous, tag])) for tag in range(NUM_TAGS + 1) if tag not in taken}
    for tag, power in allowed.items():
        if tag != END and place < len(expected):
            here = chance * power / sum(allowed.values())
            expected[place, tag] += here
            add_openings(chain, expected, place + 1, tag, {*taken, tag}, here)


def test_lookahead_worked_by_hand() -> None:
    # START -> 0 (.6), 1 (.3), END (.1); 0 -> 1 (.5), END (.5); 1 -> 0 (.25), END (.75).
    tiny = 1e-9
    chain = Chain(
        [
            [tiny, 0.5, tiny, tiny, 0.5],
            [0.25, tiny, tiny, tiny, 0.75],
            [0.2] * 5,
            [0.2] * 5,
            [0.6, 0.3, tiny, tiny, 0.1],
        ]
    )
    log_probs, state = feed(chain, start(chain, 1), [[]])
    places = look_ahead(chain, log_probs, state, mask_tags(NUM_TAGS, [[]], [[]]), depth=2, width=2)
    np.testing.assert_allclose(places[0, 0], [0.6, 0.3, 0, 0], atol=1e-6)
    np.testing.assert_allclose(places[0, 1], [0.3 * 0.25, 0.6 * 0.5, 0, 0], atol=1e-6)


def test_openings_that_are_not_continued_count_like_those_that_are() -> None:
    chain = make_chain(1)
    log_probs, state = feed(chain, start(chain, 1), [[]])
    masked = mask_tags(NUM_TAGS, [[]], [[]])
    one = look_ahead(chain, log_probs, state, masked, depth=2, width=1)[0]
    best = int(one[0].argmax())
    following = np.exp(chain.table[best])
    following[best] = 0
    expected = one[0].sum() * following[:NUM_TAGS] / following.sum()
    np.testing.assert_allclose(one[1], expected, rtol=1e-5)
