"""What each tagger declares in `Tagger.capabilities` is what its `decode` does."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from annotator.datasets.tags import tag_key
from annotator.datasets.vocabulary import Vocabulary
from annotator.models import checkpoint, registry
from annotator.models.context import Context, Pool, uses_context
from annotator.models.sequence.trained_tagger import TrainedTagger
from annotator.models.tagger import Capabilities, Features, RankedTag
from annotator.models.taggers.cold_start import ColdStartTagger
from annotator.models.taggers.open_vocabulary import OpenVocabularyConfig
from annotator.models.taggers.scoring_tagger import ScoringTagger
from annotator.models.taggers.zero_shot import ZeroShotConfig

TAGS = ["man", "dog", "frisbee", "park", "tree", "bench", "bird"]
WORDS = ("red", "green", "blue")
SIZE = 12
STARTERS = [f"starter/{name}" for name in checkpoint.starter_names()]
COLD_START = ColdStartTagger.name
NAMES = [*registry.all_names(), *STARTERS, COLD_START]


class Space:
    """Random word vectors, a word's always the same."""

    def matrix(self, tags: Sequence[str]) -> tuple[Any, Any]:
        rows = [np.random.default_rng(sum(tag.encode())).normal(size=4).astype(np.float32) for tag in tags]
        return np.array(rows, np.float32).reshape(len(tags), 4), np.ones(len(tags), np.bool_)


class Probabilities:
    """A classifier whose features are its class probabilities."""

    feature_size = 1000
    class_weights = np.eye(1000, dtype=np.float32)

    def classify(self, features: Features) -> Features:
        return features / features.sum(axis=1, keepdims=True)


def make_features(num: int, size: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).gamma(1.0, 1.0, (num, size)).astype(np.float32)


def fit_baseline(kind: type[Any]) -> Any:
    features = make_features(60, SIZE)
    given = [[TAGS[row % len(TAGS)], TAGS[(row + 3) % len(TAGS)]] for row in range(len(features))]
    if kind.name == "zero_shot":
        config = ZeroShotConfig(hidden_size=8, epochs=3, words=WORDS, cosine_floor=-0.99)
        return kind.fit(Vocabulary(TAGS), features, given, config, vectors=Space())
    if kind.name == "open_vocabulary":
        config = OpenVocabularyConfig(use_classes=False, words=WORDS)
        return kind.fit(Vocabulary(TAGS), features, given, config, vectors=Space())
    return kind.fit(Vocabulary(TAGS), features, given)


@pytest.fixture(scope="module")
def make(make_tagger: Callable[..., Any]) -> Callable[[str], Any]:
    """Small taggers by registry name, the starter's by theirs."""

    @cache
    def make_one(name: str) -> Any:
        if name in STARTERS:
            return checkpoint.load(name)
        if name == COLD_START:
            return ColdStartTagger(Probabilities())
        if name in registry.context_names():
            config = {"known_words": WORDS, "hidden_size": 6, "m": 2, "M": 3}
            return registry.create(name, TAGS, SIZE, **config).eval().for_inference()
        if name in registry.names():
            settings = {"user_tags": WORDS} if registry.find(name).capabilities.uses_user_tags else {}
            return make_tagger(name, **settings).for_inference()
        return fit_baseline(registry.find_scoring(name))

    return make_one


@pytest.fixture(params=NAMES)
def tagger(request: pytest.FixtureRequest, make: Callable[[str], Any]) -> Any:
    return make(request.param)


def features_for(tagger: Any, num: int = 1) -> Any:
    if tagger.name == COLD_START:
        features = np.zeros((num, 1000), np.float32)
        features[np.arange(num), [254, 281, 916][:num]] = 1.0  # pug, tabby, web site
        return features
    return make_features(num, tagger.feature_size, seed=1)


def context_of(features: Any, words: tuple[str, ...]) -> Context:
    pool = Pool(make_features(3, features.shape[1], seed=2), [("red",), (), ("green", "blue")])
    return Context([words] * len(features), pool, np.tile(np.arange(3), (len(features), 1)))


def listed(lists: list[list[RankedTag]]) -> list[list[tuple[str, float]]]:
    return [[(item.tag, pytest.approx(item.score, abs=1e-5)) for item in ranked] for ranked in lists]


def takes(tagger: Any, **extra: Any) -> bool:
    try:
        tagger.decode(features_for(tagger), [()], **extra)
    except TypeError:
        return False
    return True


def test_a_context_is_taken_where_it_is_declared(tagger: Any) -> None:
    assert uses_context(tagger) == tagger.capabilities.uses_context
    assert takes(tagger, context=context_of(features_for(tagger), ("red",))) == tagger.capabilities.uses_context
    if uses_context(tagger):
        assert (tagger.metadata, tagger.neighbourhood) == ("user_tags", None)
        assert tagger.num_candidates == (0 if tagger.name == "visual_only" else 3)


def test_metadata_words_change_the_scores_where_it_is_declared(tagger: Any) -> None:
    changed = False
    if uses_context(tagger):
        features = features_for(tagger)
        few, many = (tagger.scores(features, context_of(features, words)) for words in ((), WORDS))  # type: ignore[attr-defined]
        changed = bool(np.abs(few - many).max() > 0)
    assert changed == tagger.capabilities.uses_metadata


def test_user_tags_change_the_scores_where_it_is_declared(tagger: Any) -> None:
    features, changed = features_for(tagger), False
    if takes(tagger, user_tags=[()]):
        few, many = (tagger.concepts(features, [words]) for words in ((), WORDS))
        changed = few is not None and bool(np.abs(few - many).max() > 0)
    assert changed == tagger.capabilities.uses_user_tags


def test_a_detectors_labels_are_listed_where_it_is_declared(tagger: Any) -> None:
    has_label = False
    if takes(tagger, labels=[()]):
        ranked = tagger.decode(features_for(tagger), [()], labels=[[("zebra", 0.99)]])[0]
        has_label = "zebra" in {item.tag for item in ranked}
    assert has_label == tagger.capabilities.uses_labels


def test_the_evidence_names_the_next_step_where_it_is_declared(tagger: Any) -> None:
    ranked = tagger.decode(features_for(tagger), [()])[0]
    assert ranked
    assert {"next" in item.evidence and "step" in item.evidence for item in ranked} == {
        tagger.capabilities.is_sequential
    }


def test_any_word_is_scored_where_it_is_declared(tagger: Any) -> None:
    score_words = getattr(tagger, "score_words", None)
    assert (score_words is not None) == tagger.capabilities.has_open_vocabulary
    if score_words is not None:
        scores, is_known = score_words(features_for(tagger), ["zebra", "glove"], _vectors_for(tagger))
        assert scores.shape == (1, 2)
        assert is_known.all()
        assert not {"zebra", "glove"} & set(TAGS)


def test_only_the_cold_start_works_without_training(tagger: Any) -> None:
    assert tagger.capabilities.is_trained == (tagger.name in registry.all_names())


def test_a_batch_gives_what_its_photos_give_one_by_one(tagger: Any) -> None:
    assert tagger.capabilities.takes_batches
    features = features_for(tagger, 3)
    whole = tagger.decode(features, [()] * 3, k=5)
    one_by_one = [tagger.decode(features[row : row + 1], [()], k=5)[0] for row in range(3)]
    assert [[(item.tag, item.score) for item in ranked] for ranked in whole] == listed(one_by_one)


def test_probabilities_are_of_the_words_it_may_propose(tagger: Any) -> None:
    features = features_for(tagger, 2)
    assert set(tagger.trained_words()) <= set(tagger.allowed_words())
    found = tagger.probabilities(features)
    if found is not None:
        tags, values = found
        assert {tag_key(tag) for tag in tags} == {tag_key(word) for word in tagger.allowed_words()}
        assert values.shape == (2, len(tags))
        assert 0 <= values.min() <= values.max() <= 1
    assert tagger.reranker.to_json()


@pytest.mark.parametrize("name", [*registry.names(), *registry.context_names()])
def test_a_tagger_in_training_declares_what_the_trained_one_can_do(name: str, make: Callable[[str], Any]) -> None:
    assert registry.find(name).capabilities == make(name).capabilities


def test_the_base_classes_have_default_capabilities() -> None:
    assert ScoringTagger.capabilities == Capabilities()
    assert TrainedTagger.capabilities.is_sequential


def _vectors_for(tagger: Any) -> Space | None:
    return None if tagger.config.word_vectors == "glove" and tagger.feature_size != SIZE else Space()
