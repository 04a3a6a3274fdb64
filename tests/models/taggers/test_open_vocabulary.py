"""The open vocabulary on small data whose hidden truth is a map between features and words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import ConfigError
from annotator.models import checkpoint
from annotator.models.checkpoint import About
from annotator.models.taggers.cold_start import load_table
from annotator.models.taggers.open_vocabulary import (
    SHARPNESS,
    AddedWords,
    OpenVocabulary,
    OpenVocabularyConfig,
    _learn_map,
    fit_fusion,
)

SIZE, WORD_SIZE = 10, 4
TAGS = [f"tag {number}" for number in range(24)]
SEEN, UNSEEN = TAGS[:16], TAGS[16:]
CLASSES = load_table().class_names


class Space:
    """Random word vectors, a tag's always the same; "nonsense" has none."""

    def matrix(self, tags: Sequence[str]) -> tuple[Any, Any]:
        rows = [np.random.default_rng(sum(tag.lower().encode()) * 7 + len(tag)).normal(size=WORD_SIZE) for tag in tags]
        is_known = np.array([tag != "nonsense" for tag in tags])
        return np.array(rows, np.float32).reshape(len(tags), WORD_SIZE) * is_known[:, None], is_known


class Classifier:
    """Ten features, of which the first three are the logits of the first three classes."""

    def __init__(self) -> None:
        self.class_weights = np.zeros((SIZE, 1000), np.float32)
        self.class_weights[[0, 1, 2], [0, 1, 2]] = 8.0
        self.class_bias = np.full(1000, -20.0, np.float32)
        self.class_bias[:3] = 0.0


def make_data(num: int, seed: int = 0) -> tuple[Any, list[list[str]]]:
    """Photos whose features are a fixed map of the sum of their tags' vectors, plus noise."""
    rng = np.random.default_rng(seed)
    words, _ = Space().matrix(TAGS)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    hidden = np.random.default_rng(5).normal(size=(WORD_SIZE, SIZE))
    directions = rng.normal(size=(num, WORD_SIZE))
    best = np.argsort(-directions @ words.T, axis=1)[:, :3]
    values = directions @ hidden + 0.1 * rng.normal(size=(num, SIZE))
    features = np.sign(values) * values**2  # the tagger takes roots
    return features.astype(np.float32), [[TAGS[tag] for tag in row] for row in best]


def seen_only(given: list[list[str]]) -> list[list[str]]:
    return [[tag for tag in tags if tag in SEEN] for tags in given]


@pytest.fixture(scope="module", params=["bilinear", "direction"])
def opened(request: pytest.FixtureRequest) -> OpenVocabulary:
    features, given = make_data(400)
    config = OpenVocabularyConfig(
        map=request.param, use_classes=False, feature_ridge=0.01, word_ridge=0.1, words=tuple(UNSEEN[:4])
    )
    return OpenVocabulary.fit(Vocabulary(SEEN), features, seen_only(given), config, vectors=Space())


def test_unseen_words_are_found(opened: OpenVocabulary) -> None:
    features, given = make_data(200, seed=1)
    truth = Vocabulary(UNSEEN).matrix(given) > 0
    scores, is_known = opened.score_words(features, UNSEEN, Space())
    assert is_known.all()
    assert (scores[truth][:, None] > scores[~truth][None, :]).mean() > 0.85


def test_the_score_of_an_unseen_word_is_a_calibrated_probability(opened: OpenVocabulary) -> None:
    features, given = make_data(400, seed=2)
    scores, _ = opened.score_words(features, UNSEEN, Space())
    assert scores.mean() == pytest.approx(Vocabulary(UNSEEN).matrix(given).mean(), abs=0.06)


def test_a_list_holds_the_training_tags_and_the_allowed_words(opened: OpenVocabulary) -> None:
    features, _ = make_data(3, seed=1)
    assert opened.allowed_words() == [*SEEN, *UNSEEN[:4]]
    assert opened.num_trained == len(SEEN)
    ranked = opened.decode(features, [["TAG 3"], [], []], dropped=[["tag 17"], [], []], k=100)
    assert len(ranked[0]) == 18
    assert {"tag 3", "tag 17"}.isdisjoint(item.tag for item in ranked[0])
    by_name = {item.tag: item.score for item in ranked[1]}
    scores, _ = opened.score_words(features, list(by_name), Space())
    assert scores[1].tolist() == pytest.approx(list(by_name.values()), abs=1e-5)


def test_the_score_of_a_word_without_a_vector_is_zero(opened: OpenVocabulary) -> None:
    scores, is_known = opened.score_words(make_data(2)[0], ["nonsense", "tag 1"], Space())
    assert scores[:, 0].tolist() == [0, 0]
    assert (scores[:, 1] > 0).all()
    assert is_known.tolist() == [False, True]
    assert opened.score_words(make_data(2)[0], [], Space())[0].shape == (2, 0)


@pytest.mark.parametrize("use_classes", [False, True])
def test_added_words_score_as_any_word_and_each_is_looked_up_once(use_classes: bool) -> None:
    features, given = make_data(60)
    config = OpenVocabularyConfig(use_classes=use_classes, words=tuple(UNSEEN[:4]))
    opened = OpenVocabulary.fit(
        Vocabulary(SEEN), features, seen_only(given), config, vectors=Space(), classifier=Classifier()
    )
    asked: list[str] = []

    class Noting(Space):
        def matrix(self, tags: Sequence[str]) -> tuple[Any, Any]:
            asked.extend(tags)
            return super().matrix(tags)

    added = AddedWords(opened)
    assert not added.is_loaded
    assert added.scores(features[:2], ("tag 20",))[0] == []
    added.load(Noting())
    assert added.is_loaded
    assert added.scores(features[:2], ("nonsense",))[1].shape == (2, 0)
    for words in (("tag 20",), ("nonsense", "tag 20", "tag 21"), ("tag 22", "tag 21", "tag 20")):
        known, scores = added.scores(features[:3], words)
        assert known == [word for word in words if word != "nonsense"]
        np.testing.assert_allclose(scores, opened.score_words(features[:3], known, Space())[0], atol=1e-6)
    assert asked == ["nonsense", "tag 20", "tag 21", "tag 22"]


def test_a_checkpoint_gives_the_same_scores(opened: OpenVocabulary, tmp_path: Path) -> None:
    checkpoint.save(opened, tmp_path, About("test", "1", "given"))
    loaded = checkpoint.load(tmp_path)
    assert isinstance(loaded, OpenVocabulary)
    features, _ = make_data(5, seed=3)
    np.testing.assert_array_equal(loaded.scores(features), opened.scores(features))
    assert (loaded.version, loaded.num_trained, loaded.config) == (opened.version, opened.num_trained, opened.config)


def test_the_bilinear_map_solves_its_equation_and_the_direction_its_regression() -> None:
    rng = np.random.default_rng(0)
    inputs = np.concatenate([rng.normal(size=(30, 3)), np.ones((30, 1))], axis=1).astype(np.float32)
    labels = (rng.random((30, 5)) < 0.4).astype(np.float32)
    words = rng.normal(size=(5, 2)).astype(np.float32)
    penalty = np.diag([0.5 * 30] * 3 + [0.5 * 30 * 1e-3])
    config = OpenVocabularyConfig(feature_ridge=0.5, word_ridge=2.0)
    extended = np.concatenate([words, np.ones((5, 1))], axis=1)
    found = _learn_map(inputs, labels, words, config)
    left = (inputs.T @ inputs + penalty) @ found @ (extended.T @ extended + 2.0 * np.eye(3))
    np.testing.assert_allclose(left, inputs.T @ labels @ extended, atol=1e-3)
    found = _learn_map(inputs, labels, words, OpenVocabularyConfig(map="direction", feature_ridge=0.5))
    targets = np.zeros((30, 2))
    for row, tags in enumerate(labels):
        chosen = [words[tag] for tag in range(5) if tags[tag]]
        if chosen:
            targets[row] = np.mean(chosen, axis=0) - words.mean(axis=0)
    np.testing.assert_allclose((inputs.T @ inputs + penalty) @ found[:, :2], inputs.T @ targets, atol=1e-3)
    assert not found[:, 2].any()


def test_imagenets_classes_are_weighted_by_their_similarity_to_the_word() -> None:
    features, given = make_data(120)
    config = OpenVocabularyConfig(words=("nonsense", *(name.lower() for name in CLASSES[:3])))
    opened = OpenVocabulary.fit(
        Vocabulary(SEEN), features, seen_only(given), config, vectors=Space(), classifier=Classifier()
    )
    assert opened.allowed_words() == [*SEEN, *(name.lower() for name in CLASSES[:3])]
    opened.fusion = (0.0, 0.0, 1.0)
    photo = np.zeros((1, SIZE), np.float32)
    photo[0, 1] = 2.0  # class 1 all but surely
    scores, _ = opened.score_words(photo, [name.lower() for name in CLASSES[:3]], Space())
    vectors, _ = Space().matrix([name.lower() for name in CLASSES[:3]])
    for word in range(3):
        cosine = vectors[word] @ vectors[1] / np.linalg.norm(vectors[word]) / np.linalg.norm(vectors[1])
        evidence = np.log(np.exp(SHARPNESS * (cosine - 1)) + 1e-6)
        assert np.log(scores[0, word] / (1 - scores[0, word])) == pytest.approx(evidence, abs=0.05)


def test_the_fusion_recovers_the_weights_and_none_is_negative() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20_000, 2)) * [3.0, 0.5] + [1.0, -2.0]
    chances = 1 / (1 + np.exp(-(-1.0 + 0.5 * values[:, 0] + 2.0 * values[:, 1])))
    truth = (rng.random(20_000) < chances).astype(np.float32)
    assert fit_fusion(values.astype(np.float32), truth) == pytest.approx((-1.0, 0.5, 2.0), abs=0.2)
    backwards = fit_fusion(-values.astype(np.float32), truth)
    assert backwards[1] > 0
    assert backwards[2] > 0
    values[:, 1] = 4.0
    assert fit_fusion(values.astype(np.float32), truth)[2] == 0.0


def test_training_data_without_vectors_are_refused() -> None:
    features, given = make_data(10)
    config = OpenVocabularyConfig(use_classes=False)
    with pytest.raises(ConfigError, match="know 0 of the 1 tags"):
        OpenVocabulary.fit(Vocabulary(["nonsense"]), features, given, config, vectors=Space())
    with pytest.raises(ValueError, match="at least 2 photos"):
        OpenVocabulary.fit(Vocabulary(SEEN), features[:1], given[:1], config, vectors=Space())
    with pytest.raises(ValueError, match="bilinear or direction"):
        OpenVocabularyConfig(map="magic")
    with pytest.raises(ValueError, match="above 0"):
        OpenVocabularyConfig(word_ridge=0)
