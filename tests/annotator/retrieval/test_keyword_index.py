import threading
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.retrieval import keyword_index
from annotator.retrieval.keyword_index import KeywordIndex, MetadataNeighbour

WORDS = ["beach", "sea", "sand", "dog", "cat", "tree", "2024", "Nikon", "café", "sun"]


def plain_search(stored: dict[int, set[str]], query: set[str], k: int, exclude: set[int]) -> list[MetadataNeighbour]:
    found = []
    for image_id, words in stored.items():
        shared = words & query
        if shared and image_id not in exclude:
            similarity = Fraction(len(shared), len(words | query))
            found.append((-similarity, image_id, tuple(sorted(shared))))
    return [MetadataNeighbour(image, float(-value), shared) for value, image, shared in sorted(found)[:k]]


def make_index(stored: dict[int, Any]) -> KeywordIndex:
    index = KeywordIndex()
    index.set_many(stored.items())
    return index


def test_a_case_worked_by_hand() -> None:
    index = make_index({1: ["sea", "sand", "dog"], 2: ["sea", "sand"], 3: ["cat"], 4: ["sea", "sand", "sun", "2024"]})
    assert index.search(["sand", "sea", "sun"], 9) == [
        MetadataNeighbour(4, 3 / 4, ("sand", "sea", "sun")),
        MetadataNeighbour(2, 2 / 3, ("sand", "sea")),
        MetadataNeighbour(1, 2 / 4, ("sand", "sea")),
    ]


SETS = st.lists(st.sampled_from(WORDS), max_size=6)
OPERATION = st.one_of(
    st.tuples(st.just("set"), st.tuples(st.integers(0, 12), SETS)),
    st.tuples(st.just("set_many"), st.lists(st.tuples(st.integers(0, 30), SETS), max_size=20)),
    st.tuples(st.just("remove"), st.integers(0, 15)),
    st.tuples(st.just("search"), st.tuples(SETS, st.integers(1, 8), st.sets(st.integers(0, 12), max_size=3))),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(OPERATION, max_size=25), st.sampled_from([1, 4, 10_000]), st.sampled_from([3, 5_000]))
def test_any_run_of_changes_agrees_with_a_plain_loop(
    operations: list[tuple[str, Any]], min_dead: int, chunk_size: int
) -> None:
    index = KeywordIndex()
    stored: dict[int, set[str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyword_index, "MIN_DEAD", min_dead)
        patch.setattr(keyword_index, "CHUNK_SIZE", chunk_size)
        for name, argument in operations:
            if name == "set":
                index.set(*argument)
                stored[argument[0]] = set(argument[1])
            elif name == "set_many":
                index.set_many(argument)
                stored.update((image_id, set(words)) for image_id, words in argument)
            elif name == "remove":
                index.remove(argument)
                stored.pop(argument, None)
            else:
                words, k, exclude = argument
                assert index.search(words, k, exclude=exclude) == plain_search(stored, set(words), k, exclude)
            assert len(index) == len(stored)
            assert all(index.words(image) == tuple(sorted(stored.get(image, ()))) for image in range(31))
    for words in stored.values():
        assert index.search(words, 5) == plain_search(stored, words, 5, set())


def test_a_large_index_agrees_with_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    chances = 1 / np.arange(1, 301)
    drawn = rng.choice(300, size=(4_000, 8), p=chances / chances.sum())
    stored = {int(image): {f"w{n}" for n in row} for image, row in zip(rng.permutation(4_000), drawn, strict=True)}
    index = make_index(stored)
    for image in range(0, 4_000, 400):
        for k in (1, 24, 3_000):
            assert index.search(stored[image], k, exclude=[image]) == plain_search(stored, stored[image], k, {image})


def test_neighbours_without_a_shared_word_are_left_out() -> None:
    index = make_index({1: ["sea"], 2: [], 3: ["dog"]})
    assert [found.image_id for found in index.search(["sea", "sand"], 10)] == [1]


@pytest.mark.parametrize("query", [[], ["never seen"]])
def test_an_empty_or_unknown_query_has_no_neighbours(query: list[str]) -> None:
    assert make_index({1: ["sea"], 2: []}).search(query, 5) == []
    assert KeywordIndex().search(query, 5) == []


def test_ties_go_to_the_smallest_image_ids() -> None:
    index = make_index({image: ["sea", "sand"] for image in reversed(range(500))} | {900: ["sea"]})
    assert [found.image_id for found in index.search(["sea"], 4)] == [900, 0, 1, 2]


def test_words_are_compared_letter_by_letter() -> None:
    index = make_index({1: ["Dog"], 2: ["dog"], 3: ["cafe\u0301"], 4: ["café"]})
    assert [found.image_id for found in index.search(["dog"], 5)] == [2]
    assert [found.image_id for found in index.search(["café"], 5)] == [4]


def test_repeated_words_count_once() -> None:
    index = make_index({1: ["sea", "sea", "sea"]})
    assert index.search(["sea", "sea"], 1) == [MetadataNeighbour(1, 1.0, ("sea",))]
    assert index.words(1) == ("sea",)


def test_more_than_255_shared_words_are_counted() -> None:
    words = [f"w{number}" for number in range(600)]
    index = make_index({1: words, 2: words[:300], 3: words[:44]})
    assert [(found.image_id, found.similarity) for found in index.search(words, 3)] == [
        (1, 1.0),
        (2, 0.5),
        (3, 44 / 600),
    ]


def test_similarities_that_single_precision_cannot_tell_apart_are_ordered() -> None:
    assert 4_001 / 8_000 > 4_002 / 8_002
    assert np.float32(4_001 / 8_000) == np.float32(4_002 / 8_002)
    query = [f"q{number}" for number in range(4_100)]
    others = [f"o{number}" for number in range(3_902)]
    index = make_index({1: query[:4_002] + others, 2: query[:4_001] + others[:3_900]})
    found = index.search(query, 1)
    assert [(one.image_id, one.similarity) for one in found] == [(2, 4_001 / 8_000)]


def test_a_string_in_place_of_words_is_refused() -> None:
    with pytest.raises(TypeError, match="collection of strings"):
        KeywordIndex().set(1, "sea")


def test_less_than_one_neighbour_is_refused() -> None:
    with pytest.raises(ValueError, match="k = 0"):
        KeywordIndex().search(["sea"], 0)


def test_dead_slots_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyword_index, "MIN_DEAD", 10)
    index = make_index({image: ["sea", f"own {image}"] for image in range(20)})
    for turn in range(200):
        index.set(turn % 20, ["sea", f"own {turn % 20}", "again"])
    assert len(index._images) <= 2 * 20 + 10
    assert len(index._forward) <= 3 * (2 * 20 + 10)
    assert [found.image_id for found in index.search(["own 7"], 2)] == [7]


def test_searches_are_whole_while_threads_change_the_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyword_index, "MIN_DEAD", 20)
    index = make_index({image: ["sea", "sand"] for image in range(100)})
    failures: list[Any] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            found = index.search(["sea", "dog"], 200)
            allowed = {(1 / 3, ("sea",)), (1.0, ("dog", "sea"))}
            if len(found) != 100 or not {(one.similarity, one.shared) for one in found} <= allowed:
                failures.append(found)

    def change(images: range) -> None:
        for turn in range(200):
            for image in images[turn % 5 :: 5]:
                index.set(image, ["sea", "dog"] if turn % 2 else ["sea", "sand"])

    searching = [threading.Thread(target=search) for _ in range(2)]
    changing = [threading.Thread(target=change, args=(images,)) for images in (range(50), range(50, 100))]
    for thread in searching + changing:
        thread.start()
    for thread in changing:
        thread.join(60)
    stop.set()
    for thread in searching:
        thread.join(60)
    assert failures == []
    assert len(index) == 100
