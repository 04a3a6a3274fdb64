"""The contract of every baseline, on small random data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import CheckpointError
from annotator.models import checkpoint
from annotator.models.checkpoint import About
from annotator.models.taggers.baselines import LINEAR_TAGGERS
from annotator.models.taggers.kernel_tagger import KernelConfig, KernelTagger, View
from annotator.models.taggers.neighbour_baselines import KnnTagger, NeighbourConfig, TagPropTagger, TwoPassKnnTagger
from annotator.models.taggers.scoring_tagger import ScoringTagger, best_threshold, fit_sigmoid, sigmoid, unit_rows
from annotator.models.taggers.zero_shot import ZeroShotConfig, ZeroShotTagger

pytestmark = pytest.mark.integration  # trains every tagger

TAGS = ["man", "dog", "frisbee", "park", "tree", "bench", "bird"]
SIZE = 12
ABOUT = About("test", "1", "given")


def _kernel_balanced(vocabulary: Vocabulary, features: Any, given: Any) -> KernelTagger:
    config = KernelConfig(views=(View(8), View(4, 0.5)), decide="balanced", list_length=2)
    return KernelTagger.fit(vocabulary, features, given, config)


def _embedded(vocabulary: Vocabulary, features: Any, given: Any) -> TwoPassKnnTagger:
    return TwoPassKnnTagger.fit(vocabulary, features, given, NeighbourConfig(3, embedding_size=5))


class _Space:
    """Random word vectors."""

    def matrix(self, tags: Sequence[str]) -> tuple[Any, Any]:
        rows = [np.random.default_rng(sum(tag.encode())).random(4).astype(np.float32) for tag in tags]
        return np.array(rows).reshape(len(tags), 4), np.ones(len(tags), np.bool_)


def _zero_shot(vocabulary: Vocabulary, features: Any, given: Any) -> ZeroShotTagger:
    config = ZeroShotConfig(hidden_size=32, dropout=0.2, learning_rate=0.01, batch_size=16, words=tuple(TAGS))
    return ZeroShotTagger.fit(vocabulary, features, given, config, vectors=_Space())


KINDS: dict[str, Callable[[Vocabulary, Any, Any], ScoringTagger]] = {
    **{kind.name: kind.fit for kind in LINEAR_TAGGERS},
    "knn": KnnTagger.fit,
    "two_pass_knn": TwoPassKnnTagger.fit,
    "two_pass_knn, embedded": _embedded,
    "tagprop": TagPropTagger.fit,
    "kernel_ridge": KernelTagger.fit,
    "kernel_ridge, balanced": _kernel_balanced,
    "zero_shot": _zero_shot,
}


def make_data(num: int, seed: int = 0) -> tuple[Any, list[list[str]]]:
    """Photos of 1 to 3 tags whose features depend on the tags, most on the first."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(9).normal(size=(len(TAGS), SIZE))
    features = 0.05 * rng.normal(size=(num, SIZE))
    given = []
    for row in range(num):
        tags = rng.permutation(len(TAGS))[: 1 + row % 3]
        features[row] += sum((1 - 0.25 * place) * directions[tag] for place, tag in enumerate(tags))
        given.append([TAGS[tag] for tag in tags])
    return features.astype(np.float32), given


@pytest.fixture(scope="module")
def fitted() -> Callable[[str], ScoringTagger]:
    made: dict[str, ScoringTagger] = {}

    def fit(name: str) -> ScoringTagger:
        if name not in made:
            made[name] = KINDS[name](Vocabulary(TAGS), *make_data(120))
        return made[name]

    return fit


@pytest.fixture(params=KINDS)
def tagger(request: pytest.FixtureRequest, fitted: Callable[[str], ScoringTagger]) -> ScoringTagger:
    return fitted(request.param)


def test_scores_lie_in_zero_to_one_for_every_photo_and_tag(tagger: ScoringTagger) -> None:
    features, _ = make_data(30, seed=1)
    scores = tagger.scores(features)
    assert scores.shape == (30, len(TAGS))
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()


def test_right_tags_of_new_photos_score_above_wrong_ones(tagger: ScoringTagger) -> None:
    features, given = make_data(60, seed=1)
    scores, truth = tagger.scores(features), Vocabulary(TAGS).matrix(given) > 0
    better = scores[truth][:, None] > scores[~truth][None, :]
    assert better.mean() > 0.85


def test_scores_are_calibrated_probabilities(tagger: ScoringTagger) -> None:
    features, given = make_data(200, seed=1)
    scores, truth = tagger.scores(features), Vocabulary(TAGS).matrix(given) > 0
    assert scores.mean() == pytest.approx(truth.mean(), abs=0.12)


def test_a_score_does_not_depend_on_the_other_photos(tagger: ScoringTagger) -> None:
    features, _ = make_data(10, seed=1)
    one_by_one = np.concatenate([tagger.scores(features[row : row + 1]) for row in range(10)])
    np.testing.assert_allclose(tagger.scores(features), one_by_one, atol=1e-5)


def test_a_list_holds_no_tag_twice_and_none_of_prefix_or_dropped(tagger: ScoringTagger) -> None:
    features, _ = make_data(3, seed=1)
    lists = tagger.decode(features, [["Dog"], [], TAGS], dropped=[["tree", "unknown"], [], []], k=20)
    names = [[ranked.tag for ranked in tags] for tags in lists]
    assert sorted(names[0]) == sorted(set(TAGS) - {"dog", "tree"})
    assert sorted(names[1]) == sorted(TAGS)
    assert names[2] == []
    assert [len(tags) for tags in tagger.decode(features, [[]] * 3, k=2)] == [2, 2, 2]


def test_a_prefix_removes_tags_and_keeps_the_order(tagger: ScoringTagger) -> None:
    features, _ = make_data(5, seed=1)
    free = tagger.decode(features, [[]] * 5, k=20)
    after = tagger.decode(features, [["dog"]] * 5, k=20)
    assert after == [[ranked for ranked in tags if ranked.tag != "dog"] for tags in free]


def test_a_list_of_free_length_holds_at_least_one_tag_and_is_a_part(tagger: ScoringTagger) -> None:
    features, given = make_data(60, seed=1)
    lists = tagger.decode(features, [[]] * 60, k=20, free_length=True)
    assert all(1 <= len(tags) <= len(TAGS) for tags in lists)
    assert 1 <= np.mean([len(tags) for tags in lists]) <= 4.5
    assert np.mean([len(tags) for tags in given]) == 2


def test_a_checkpoint_gives_the_same_lists(tagger: ScoringTagger, tmp_path: Path) -> None:
    features, _ = make_data(6, seed=2)
    checkpoint.save(tagger, tmp_path, ABOUT)
    loaded = checkpoint.load(tmp_path)
    assert isinstance(loaded, type(tagger))
    assert loaded.version == tagger.version
    for free_length in (False, True):
        lists = [some.decode(features, [[]] * 6, k=3, free_length=free_length) for some in (tagger, loaded)]
        assert lists[0] == lists[1]


def test_a_checkpoint_of_another_vocabulary_size_is_refused(tagger: ScoringTagger, tmp_path: Path) -> None:
    tagger_vocabulary, tagger.vocabulary = tagger.vocabulary, Vocabulary(TAGS[:-1])
    try:
        checkpoint.save(tagger, tmp_path, ABOUT)
    finally:
        tagger.vocabulary = tagger_vocabulary
    with pytest.raises(CheckpointError, match="does not fit together"):
        checkpoint.load(tmp_path)


def test_the_version_changes_with_what_was_learnt(fitted: Callable[[str], ScoringTagger]) -> None:
    versions = {fitted(name).version for name in KINDS}
    assert len(versions) == len(KINDS)


def test_training_twice_gives_the_same_tagger(tagger: ScoringTagger) -> None:
    name = next(name for name in KINDS if name.split(",")[0] == tagger.name)
    first, second = (KINDS[name](Vocabulary(TAGS), *make_data(40)) for _ in range(2))
    assert first.version == second.version


def test_arguments_that_do_not_fit_are_refused(tagger: ScoringTagger) -> None:
    features, _ = make_data(2)
    with pytest.raises(ValueError, match="features of"):
        tagger.decode(features[:, :-1], [[], []])
    with pytest.raises(ValueError, match="prefixes"):
        tagger.decode(features, [[]])
    with pytest.raises(ValueError, match="dropped"):
        tagger.decode(features, [[], []], dropped=[[]])


@pytest.mark.parametrize("name", KINDS)
def test_training_data_that_do_not_fit_are_refused(name: str) -> None:
    features, given_tags = make_data(8)
    fit = KINDS[name]
    with pytest.raises(ValueError, match="must be"):
        fit(Vocabulary(TAGS), features[:-1], given_tags)
    with pytest.raises(ValueError, match="at least 2 photos"):
        fit(Vocabulary(TAGS), features[:1], given_tags[:1])
    features[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        fit(Vocabulary(TAGS), features, given_tags)


@pytest.mark.parametrize("name", KINDS)
def test_tags_without_a_photo_do_no_harm(name: str) -> None:
    features, given_tags = make_data(40)
    tagger = KINDS[name](Vocabulary([*TAGS, "never seen"]), features, given_tags)
    scores = tagger.scores(features)
    assert np.isfinite(scores).all()
    assert scores[:, -1].mean() < scores[:, :-1].mean()


def test_the_sigmoid_recovers_its_true_parameters() -> None:
    values = np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32) * 7 + 2
    labels = (np.random.default_rng(1).random(values.shape) < sigmoid(0.4 * values - 1.5)).astype(np.float32)
    slope, offset = fit_sigmoid(values, labels)
    assert slope == pytest.approx(0.4, abs=0.03)
    assert offset == pytest.approx(-1.5, abs=0.1)


def test_the_sigmoid_stays_finite_for_separable_and_for_constant_scores() -> None:
    values = np.array([[0.0], [1.0]], np.float32)
    for labels in (np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]]), np.zeros((2, 1)), np.ones((2, 1))):
        slope, offset = fit_sigmoid(values, labels.astype(np.float32))
        assert slope > 0
        assert np.isfinite([slope, offset]).all()
    assert fit_sigmoid(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32))[0] > 0


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_the_best_threshold_equals_the_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.permutation(12).reshape(4, 3) / 12).astype(np.float32)
    labels = (rng.random((4, 3)) < 0.4).astype(np.float32)

    def f1(threshold: float) -> float:
        chosen = scores >= np.float32(threshold)
        return float(2 * (chosen * labels).sum() / (chosen.sum() + max(labels.sum(), 1)))

    assert f1(best_threshold(scores, labels)) == pytest.approx(max(f1(value) for value in scores.ravel().tolist()))


def test_unit_rows_have_length_one_and_zeros_stay() -> None:
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert rows.tolist() == [pytest.approx([0.6, 0.8]), [0.0, 0.0]]
