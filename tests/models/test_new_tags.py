from typing import Any

import numpy as np
import pytest

from annotator.datasets.vocabulary import Vocabulary
from annotator.models import checkpoint, registry
from annotator.models.new_tags import NUM_NEAREST, TEMPERATURE, Mixture, extend, find_mixture, initial_rows
from annotator.models.reranker import Reranker
from annotator.models.sequence.inference import InferenceTagger
from annotator.models.taggers.zero_shot import ZeroShotConfig, ZeroShotTagger
from annotator.models.word_vectors.word_vector_files import Table
from annotator.models.word_vectors.word_vectors import WordVectors

KNOWN = ["horse", "cow", "car", "man", "dog"]


@pytest.fixture
def vectors() -> WordVectors:
    rows = {"zebroid": [1, 0, 0], "horse": [1, 0.1, 0], "cow": [0.8, 0.4, 0], "dog": [0.5, 0.6, 0], "car": [0, 0, 1],
            "far": [-1, 0, -1]}  # fmt: skip
    table = Table({word: at for at, word in enumerate(rows)}, list(rows), np.array(list(rows.values()), np.float32))
    return WordVectors("tiny", "1", table, only_latin=True)


def load(name: str) -> InferenceTagger:
    tagger = checkpoint.load(f"starter/{name}")
    assert isinstance(tagger, InferenceTagger)
    return tagger


def test_a_row_is_the_softmax_weighted_mean_of_the_nearest(vectors: WordVectors) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    cosines = {tag: vectors.similarity("zebroid", tag) for tag in KNOWN if tag != "man"}
    best = sorted(cosines, key=lambda tag: -(cosines[tag] or 0))[:NUM_NEAREST]
    weights = [np.exp((cosines[tag] or 0) / TEMPERATURE) for tag in best]
    expected = sum(w * rows[KNOWN.index(tag)] for w, tag in zip(weights, best, strict=True)) / sum(weights)
    np.testing.assert_allclose(initial_rows(vectors, KNOWN, rows, "zebroid"), expected, rtol=1e-4)


@pytest.mark.parametrize("tag", ["far", "unheard", "犬"])
def test_a_tag_that_is_near_no_known_tag_has_no_row(vectors: WordVectors, tag: str) -> None:
    assert find_mixture(vectors, KNOWN, tag) is None
    assert initial_rows(vectors, KNOWN, np.ones((5, 4), np.float32), tag) is None


@pytest.mark.parametrize("name", ["jvsp", "scnn_rnn"])
def test_an_extended_tagger_ranks_the_new_tag_beside_similar_ones_and_the_old_ones_as_before(
    vectors: WordVectors, name: str
) -> None:
    tagger = load(name)
    grown = extend(tagger, vectors, ["zebroid", "far", "horse", "zebroid"])
    assert set(grown.allowed_words()) - set(tagger.allowed_words()) == {"zebroid"}
    assert grown.trained_words() == list(tagger.vocabulary.tags)
    assert grown.made_of["zebroid"][0] == "horse"
    features = np.random.default_rng(0).gamma(1, 1, (4, tagger.feature_size)).astype(np.float32)
    before, after = tagger.concepts(features), grown.concepts(features)
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(after[:, :-1], before, rtol=1e-5)
    places = [tagger.vocabulary.tags.index(tag) for tag in grown.made_of["zebroid"]]
    assert (after[:, -1] <= before[:, places].max(axis=1) + 1e-6).all()
    assert (after[:, -1] >= before[:, places].min(axis=1) - 1e-6).all()
    lists = grown.decode(features, [["zebroid"], ["man"], [], []], k=338)
    assert all(item.tag != "zebroid" for item in lists[0])
    (found,) = [item for item in lists[2] if item.tag == "zebroid"]
    assert found.evidence["made_of"][0] == "horse"
    assert all("made_of" not in item.evidence for item in lists[2] if item.tag != "zebroid")


@pytest.mark.parametrize("name", registry.context_names())
def test_a_network_with_neighbours_ranks_a_new_tag_beside_similar_ones_and_the_old_ones_as_before(
    vectors: WordVectors, name: str
) -> None:
    module = registry.create(name, Vocabulary(KNOWN, [9] * 5), 12, hidden_size=7, known_words=["red"])
    tagger = module.for_inference()
    tagger.reranker = Reranker({"probability": 2.0})
    grown = extend(tagger, vectors, ["zebroid", "far", "horse", "zebroid"])
    assert grown.trained_words() == KNOWN
    assert grown.allowed_words() == [*KNOWN, "zebroid"]
    assert grown.version == f"{tagger.version}+1"
    assert grown.reranker is tagger.reranker
    assert tagger.allowed_words() == KNOWN
    check_between_its_kin(tagger.scores, grown, 12)


def test_a_zero_shot_tagger_ranks_a_new_tag_beside_similar_ones_and_keeps_its_words(vectors: WordVectors) -> None:
    rng = np.random.default_rng(2)
    given = [[KNOWN[row % 5], KNOWN[row % 3]] for row in range(30)]
    config = ZeroShotConfig(hidden_size=6, epochs=2, words=("colt", "kitten"), num_words=1, cosine_floor=0.5)
    near = Table({"horse": 0, "colt": 1}, ["horse", "colt"], np.eye(2, 3, dtype=np.float32) + 0.9)
    tagger = ZeroShotTagger.fit(
        Vocabulary(KNOWN), rng.gamma(1, 1, (30, 12)).astype(np.float32), given, config,
        vectors=WordVectors("near", "1", near, only_latin=True),
    )  # fmt: skip
    assert tagger.allowed_words() == [*KNOWN, "colt"]
    grown = extend(tagger, vectors, ["zebroid", "far", "colt"])
    assert grown.allowed_words() == [*KNOWN, "zebroid", "colt"]
    assert set(grown.trained_words()) == {*KNOWN, "colt"}
    assert grown.version != tagger.version
    check_between_its_kin(tagger.scores, grown, 12)


def check_between_its_kin(before: Any, grown: Any, feature_size: int) -> None:
    features = np.random.default_rng(0).gamma(1, 1, (4, feature_size)).astype(np.float32)
    tags = list(grown.vocabulary.tags)
    old, scores = before(features), grown.scores(features)
    new = tags.index("zebroid")
    np.testing.assert_allclose(np.delete(scores, new, axis=1), old, rtol=1e-4)
    similar = scores[:, [tags.index(tag) for tag in grown.made_of["zebroid"]]]
    assert (scores[:, new] <= similar.max(axis=1) + 1e-5).all()
    assert (scores[:, new] >= similar.min(axis=1) - 1e-5).all()
    lists = grown.decode(features, [["zebroid"], [], [], []], k=10)
    assert all(item.tag != "zebroid" for item in lists[0])
    (found,) = [item for item in lists[2] if item.tag == "zebroid"]
    assert found.evidence["made_of"][0] == "horse"
    assert all("made_of" not in item.evidence for item in lists[2] if item.tag != "zebroid")


def test_without_anything_new_the_tagger_stays(vectors: WordVectors) -> None:
    tagger = load("jvsp")
    assert extend(tagger, vectors, ["horse", "far", "unheard"]) is tagger


def test_the_mixture_of_a_new_tag_is_computed_once(vectors: WordVectors, monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = load("jvsp")
    mixtures: dict[str, Mixture | None] = {}
    first = extend(tagger, vectors, ["zebroid", "far"], mixtures)
    assert {tag: mixture is not None for tag, mixture in mixtures.items()} == {"zebroid": True, "far": False}
    monkeypatch.setattr(vectors, "nearest", pytest.fail)
    again = extend(tagger, vectors, ["far", "zebroid"], mixtures)
    assert again.made_of == first.made_of
    np.testing.assert_array_equal(again.weights["concept.weight"], first.weights["concept.weight"])
