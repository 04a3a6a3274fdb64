from collections.abc import Sequence

import numpy as np
import pytest

from annotator.models.fusion import FEATURES
from annotator.models.project_head import Features, ProjectHead
from annotator.proposals.evidence import Evidence
from annotator.proposals.project_evidence import Candidates, PhotoState, ProjectEvidence
from annotator.proposals.tag_statistics import TagFeatures

SIZE = 12
TRAINED = frozenset({"dog", "cat"})
TAGGER = "tagger 1"
COLUMN = {name: place for place, name in enumerate(FEATURES)}
SEEN = [Evidence("dog", "decoder", 0.8, ""), Evidence("pond", "looks", 0.4, "")]
NEW = 1000
"""Id of a photo that is not tagged."""


def vector(seed: int) -> Features:
    return np.random.default_rng(seed).gamma(1.0, size=SIZE).astype(np.float32)


def empty(max_exemplars: int = 100) -> ProjectEvidence:
    evidence = ProjectEvidence(SIZE, max_exemplars=max_exemplars)
    evidence.use_tagger(TAGGER, TRAINED)
    return evidence


def evidence_of(*lists: Sequence[str], seen: Sequence[Evidence] | None = None) -> ProjectEvidence:
    evidence = empty()
    for number, tags in enumerate(lists):
        evidence.set(number, vector(number), tags)
        if seen is not None:
            evidence.expect(number, TAGGER, seen)
    return evidence


def of_new(evidence: ProjectEvidence, asked: Sequence[Evidence] = (), features: Features | None = None) -> Candidates:
    return evidence.candidates(PhotoState(NEW, vector(50) if features is None else features), asked)


def value(found: Candidates, key: str, name: str) -> float:
    return float(found.features[found.keys.index(key), COLUMN[name]])


def asked(*tags: str) -> list[Evidence]:
    return [Evidence(tag, "words", 0.5, "") for tag in tags]


def test_without_evidence_a_source_is_0_and_a_higher_score_counts_more() -> None:
    scores = [
        Evidence("Dog", "decoder", 0.9, ""),
        Evidence("cat", "decoder", 0.1, ""),
        Evidence("pond", "looks", 0.5, ""),
        Evidence("heron", "decoder", 0.5, ""),
    ]
    found = of_new(empty(), scores)
    assert found.keys == ["dog", "cat", "pond", "heron"]
    assert value(found, "dog", "model") > value(found, "cat", "model") > value(found, "pond", "model") == 0.0
    assert value(found, "dog", "model_first") == 1.0
    assert value(found, "cat", "model_first") == 0.5
    assert value(found, "pond", "looks") > 0.0
    assert (value(found, "dog", "trained"), value(found, "pond", "trained")) == (1.0, 0.0)
    assert value(found, "heron", "model") == 0.0 < value(found, "heron", "guess")
    assert not found.features[:, COLUMN["share"]].any()


def test_neighbours_and_tag_statistics_are_no_features_and_add_only_tags_in_use() -> None:
    scores = [Evidence("dog", "neighbours", 0.9, ""), Evidence("x", "habits", 1.0, "")]
    assert of_new(empty(), scores).features.shape == (0, len(FEATURES))
    with_them, without = of_new(evidence_of(("dog",)), scores), of_new(evidence_of(("dog",)))
    assert with_them.keys == without.keys == ["dog"]
    np.testing.assert_array_equal(with_them.features, without.features)


def test_tags_of_similar_photos_gain() -> None:
    found = of_new(evidence_of(("soup",), ("cake",), ("cake",)), features=vector(0) * np.float32(1.001))
    assert value(found, "soup", "gain") > 0.0 > value(found, "cake", "gain")
    assert value(found, "cake", "share") > value(found, "soup", "share") > 0.0


def test_the_gain_is_the_weighted_sum_over_the_lists() -> None:
    evidence, head = evidence_of(("soup", "bowl"), ("cake",), ("soup",)), ProjectHead(SIZE)
    for number in range(3):
        head.set(number, vector(number))
    prediction = head.predict(vector(60))
    weights = dict(zip(prediction.photo_ids.tolist(), prediction.weights.tolist(), strict=True))
    found = of_new(evidence, asked("soup", "bowl", "cake"), vector(60))
    for tag, photos in {"soup": {0, 2}, "bowl": {0}, "cake": {1}}.items():
        gain = sum(weight * ((number in photos) - len(photos) / 3) for number, weight in weights.items())
        assert value(found, tag, "gain") == pytest.approx(gain)


def test_a_replaced_or_removed_list_leaves_nothing_behind() -> None:
    evidence = evidence_of(("soup",), ("cake", "plate"), ("cake",))
    evidence.set(1, vector(1), ("tea",))
    evidence.set(2, vector(2), ())
    evidence.set(0, vector(0), ("bowl",))
    evidence.set(0, vector(0), ("soup",))
    words = asked("soup", "tea", "cake", "plate", "bowl")
    one, other = of_new(evidence, words), of_new(evidence_of(("soup",), ("tea",)), words)
    assert one.keys == other.keys
    np.testing.assert_allclose(one.features, other.features, atol=1e-9)
    assert one.counts.tolist() == [1, 1, 0, 0, 0]
    evidence.set(77, None, ())
    assert len(evidence) == 2


def test_the_own_list_of_a_photo_is_left_out() -> None:
    evidence = evidence_of(("soup", "dog"), ("cake",), ("dog",), seen=SEEN)
    without = empty()
    for number, tags in ((1, ("cake",)), (2, ("dog",))):
        without.set(number, vector(number), tags)
        without.expect(number, TAGGER, SEEN)
    own = evidence.candidates(PhotoState(0, vector(0)), SEEN)
    other = without.candidates(PhotoState(NEW, vector(0)), SEEN)
    assert set(other.keys) <= set(own.keys)
    # These use the usual similarity between exemplars, to which the photo itself contributes.
    usual = {"subject", "subject_trained", "list_length", "gain_distant", "model_ratio", "looks_ratio", "kind_share"}
    for key in other.keys:
        for name in set(FEATURES) - usual:
            assert value(own, key, name) == pytest.approx(value(other, key, name), abs=1e-9), (key, name)


def test_excluded_photos_keep_only_their_share_of_the_frequencies() -> None:
    evidence = evidence_of(("soup",), ("cake",), ("cake",), seen=SEEN)
    photo = PhotoState(NEW, vector(0) * np.float32(1.001))
    found = evidence.candidates(photo, asked("soup", "cake"), without=[0])
    assert value(found, "soup", "gain") < 0.0 < value(found, "soup", "share")
    none = evidence.candidates(photo, asked("soup", "cake"), uses_photos=False)
    assert value(none, "soup", "gain") == 0.0 < value(none, "soup", "share")
    neither = evidence.candidates(photo, asked("soup", "cake"), uses_photos=False, uses_frequencies=False)
    assert value(neither, "soup", "share") == 0.0


def test_the_form_in_use_takes_the_evidence_of_another_form() -> None:
    found = of_new(evidence_of(("tomatoes",)), [Evidence("tomato", "looks", 0.5, "")])
    assert found.keys == ["tomatoes"]
    assert value(found, "tomatoes", "looks") > 0.0


def test_ratios_fall_where_scores_predict_tags_that_are_not_saved() -> None:
    wrong = of_new(evidence_of(*[("cake",)] * 6, seen=SEEN), SEEN)
    right = of_new(evidence_of(*[("dog", "pond")] * 6, seen=SEEN), SEEN)
    for tag, name in (("dog", "model_ratio"), ("pond", "looks_ratio")):
        assert value(wrong, tag, name) < 0.0 < value(right, tag, name)
        assert value(wrong, tag, "tag_ratio") < 0.0 < value(right, tag, "tag_ratio")


def test_scores_from_before_the_save_are_used_and_another_tagger_makes_them_unknown() -> None:
    early = empty()
    for number in range(6):
        early.expect(number, TAGGER, SEEN)
        early.set(number, vector(number), ("cake",))
    np.testing.assert_allclose(
        of_new(early, SEEN).features, of_new(evidence_of(*[("cake",)] * 6, seen=SEEN), SEEN).features, atol=1e-9
    )
    assert early.without_expectation() == []
    early.use_tagger("tagger 2", TRAINED)
    assert sorted(early.without_expectation()) == list(range(6))
    assert value(of_new(early, SEEN), "dog", "model_ratio") == 0.0
    early.expect(0, TAGGER, SEEN)  # an answer of the former tagger that comes late
    assert 0 in early.without_expectation()


def test_keywords_count_by_how_many_are_saved_here() -> None:
    saved, refused = empty(), empty()
    for number in range(5):
        saved.set(number, vector(number), ("a", "b"), ("a", "b"))
        refused.set(number, vector(number), ("a", "b"), ("c", "d"))
    scores = [Evidence("x", "keywords", 0.9, ""), Evidence("y", "words", 0.9, "")]
    photo = PhotoState(NEW, vector(50), 0, 1)
    one, other = saved.candidates(photo, scores), refused.candidates(photo, scores)
    assert value(one, "x", "keyword_rate") > 0.0 > value(other, "x", "keyword_rate")
    assert (value(one, "y", "not_keyword"), value(one, "x", "not_keyword")) == (1.0, 0.0)


def test_tag_statistics_count_once_a_tag_is_kept() -> None:
    def statistics(keys: Sequence[str]) -> list[TagFeatures]:
        return [TagFeatures(0.0, 0.5, 1.5, -0.2, False) for _ in keys]

    evidence = evidence_of(("soup", "bowl"))
    first = evidence.candidates(PhotoState(NEW, vector(50)), [], (), statistics)
    then = evidence.candidates(PhotoState(NEW, vector(50), 1), [], {"soup"}, statistics)
    assert value(first, "bowl", "together") == 0.0
    assert (value(then, "bowl", "together"), value(then, "bowl", "next")) == (1.5, 0.5)
    assert then.keys == ["bowl"]


def test_without_features_only_frequencies_count() -> None:
    evidence = empty()
    evidence.set(1, None, ("soup",))
    found = evidence.candidates(PhotoState(NEW, None), [])
    assert value(found, "soup", "share") > 0.0 == value(found, "soup", "gain")


def test_features_stay_finite_and_in_step_when_the_head_is_full() -> None:
    evidence, rng = empty(max_exemplars=10), np.random.default_rng(0)
    for number in range(200):
        tags = [f"tag{place}" for place in rng.integers(30, size=4)]
        image_id = int(rng.integers(60))
        evidence.expect(image_id, TAGGER, SEEN)
        evidence.set(image_id, vector(number), tags if rng.random() < 0.8 else [])
        assert np.isfinite(of_new(evidence, SEEN, vector(number + 1)).features).all()
    assert len(evidence) > 30
    assert len(evidence.without_expectation()) <= 10


def test_loading_is_as_setting_one_by_one() -> None:
    lists = {1: ("soup", "bowl"), 2: ("cake",), 3: (), 4: ("soup",)}
    keywords = {1: ("soup", "street")}
    loaded, one_by_one = empty(), empty()
    loaded.set(9, vector(9), ("old",))
    loaded.load(lists, keywords, [1, 2, 3], lambda ids: np.stack([vector(number) for number in ids]))
    for number, tags in lists.items():
        one_by_one.set(number, None if number == 4 else vector(number), tags, keywords.get(number, ()))
        for evidence in (loaded, one_by_one):
            evidence.expect(number, TAGGER, SEEN)
    ours, theirs = of_new(loaded, [*SEEN, *asked("old")]), of_new(one_by_one, [*SEEN, *asked("old")])
    assert ours.keys == theirs.keys
    np.testing.assert_allclose(ours.features, theirs.features, atol=1e-9)
    assert ours.counts[ours.keys.index("old")] == 0


def test_the_residual_is_what_exceeds_the_scores_of_the_tagger() -> None:
    seen, near = SEEN[:1], vector(0) * np.float32(1.01)
    used = of_new(evidence_of(*[("dog",)] * 4, seen=seen), seen, near)
    unused = of_new(evidence_of(*[("cake",)] * 4, seen=seen), seen, near)
    assert value(used, "dog", "residual") > 0.0 > value(unused, "dog", "residual")
    assert value(unused, "cake", "other_tag") > 0.0 == value(unused, "dog", "other_tag")


class OneClass:
    """Classes that speak for "pond" and against "dog"."""

    def class_probabilities(self, features: Features) -> Features:
        return np.ones((len(features), 1), np.float32)

    def word_column(self, key: str) -> int | None:
        return {"pond": 0, "dog": 1}.get(key)

    def class_odds(self, features: Features) -> np.ndarray:
        return np.array([3.0, -4.0])


def test_classes_speak_for_and_against_the_tags_that_they_know() -> None:
    evidence = ProjectEvidence(SIZE, classes=OneClass())
    photo = PhotoState(NEW, vector(50))
    found = evidence.candidates(photo, asked("dog", "pond", "shore"))
    assert [value(found, key, "classes") for key in ("dog", "pond", "shore")] == [-4.0, 3.0, 0.0]
    silent = [
        evidence.candidates(photo, asked("dog"), uses_classes=False),
        evidence.candidates(PhotoState(NEW, None), asked("dog")),
        empty().candidates(photo, asked("dog")),
    ]
    assert [value(one, "dog", "classes") for one in silent] == [0.0] * 3
