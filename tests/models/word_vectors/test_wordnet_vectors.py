import math

import numpy as np
import pytest
from scipy import sparse

from annotator.datasets.wordnet import Synset
from annotator.errors import WordVectorError
from annotator.models.word_vectors.wordnet_vectors import (
    ALPHA,
    NUM_HOPS,
    choose_lemmas,
    hop_matrix,
    make_vectors,
    positive_pmi,
    start_matrix,
    walk,
)


def synset(key: str, lemmas: str, related: str = "") -> Synset:
    words = tuple(lemmas.split())
    return Synset(key, words, tuple((word, "n", "3", key) for word in words), tuple(related.split()))


GRAPH = [
    synset("vehicle", "vehicle"),
    synset("car", "car automobile", "vehicle"),
    synset("truck", "truck lorry", "vehicle"),
    synset("wagon", "car carriage", "vehicle train"),
    synset("train", "train", "vehicle"),
    synset("animal", "animal creature"),
    synset("dog", "dog hound", "animal"),
    synset("cat", "cat feline", "animal"),
    synset("puppy", "puppy", "dog"),
    synset("kitten", "kitten", "cat"),
]
COUNTS = {("car", "n", "3", "car"): 70, ("car", "n", "3", "wagon"): 5, ("dog", "n", "3", "dog"): 42}
LEMMAS = choose_lemmas(GRAPH, COUNTS, 100, ())


def test_the_most_frequent_lemmas_are_chosen_and_the_required_ones() -> None:
    assert LEMMAS[:2] == ["car", "dog"]
    assert len(LEMMAS) == 15
    assert choose_lemmas(GRAPH, COUNTS, 3, {"puppy", "unheard"}) == ["car", "dog", "puppy"]
    assert choose_lemmas(GRAPH, COUNTS, 1, {"puppy", "cat"}) == ["cat", "puppy"]


def test_the_walk_is_that_of_plain_loops() -> None:
    starts = start_matrix(GRAPH, COUNTS, LEMMAS)
    hops = hop_matrix(GRAPH, {item.key: place for place, item in enumerate(GRAPH)})
    names = [item.key for item in GRAPH]
    links = {name: set[str]() for name in names}
    for item in GRAPH:
        for other in item.related:
            links[item.key].add(other)
            links[other].add(item.key)
    found = walk(starts, hops).toarray()
    for row, lemma in enumerate(LEMMAS):
        senses = {item.key: COUNTS.get((lemma, "n", "3", item.key), 0) + 0.5 for item in GRAPH if lemma in item.lemmas}
        here = {name: senses.get(name, 0) / sum(senses.values()) for name in names}
        total = dict(here)
        for _ in range(NUM_HOPS):
            here = {name: ALPHA * sum(here[other] / len(links[other]) for other in links[name]) for name in names}
            total = {name: total[name] + here[name] for name in names}
        assert found[row] == pytest.approx([total[name] for name in names], rel=1e-5)


def test_positive_pmi_by_hand() -> None:
    visits = sparse.csr_matrix(np.array([[3.0, 1.0], [1.0, 3.0]], np.float32))
    expected = math.log(3 * 8 / (4 * 4))
    np.testing.assert_allclose(positive_pmi(visits).toarray(), [[expected, 0], [0, expected]], rtol=1e-6)


def test_words_of_one_meaning_have_similar_vectors() -> None:
    vectors = dict(zip(LEMMAS, make_vectors(GRAPH, COUNTS, LEMMAS, 6), strict=True))
    lengths = [float(np.linalg.norm(vector)) for vector in vectors.values()]
    assert lengths == pytest.approx([1.0] * len(LEMMAS), abs=1e-5)
    assert vectors["truck"] @ vectors["lorry"] == pytest.approx(1, abs=1e-4)
    assert vectors["car"] @ vectors["automobile"] > 0.9
    assert vectors["car"] @ vectors["automobile"] > vectors["car"] @ vectors["carriage"]
    assert vectors["car"] @ vectors["dog"] < 0.3
    again = make_vectors(GRAPH, COUNTS, LEMMAS, 6)
    np.testing.assert_allclose(again, np.stack(list(vectors.values())), atol=1e-5)


def test_more_values_than_words_are_refused() -> None:
    with pytest.raises(WordVectorError, match="need more than 650 words"):
        make_vectors(GRAPH, COUNTS, LEMMAS, 650)
