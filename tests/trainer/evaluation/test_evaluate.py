from collections.abc import Collection, Sequence

import numpy as np
import pytest

from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import ConfigError, DataError
from annotator.models.tagger import Features, RankedTag
from annotator.trainer.evaluation.evaluate import EvaluationConfig, evaluate, table

KEYS = {
    *("c_p", "c_r", "c_f1", "o_p", "o_r", "o_f1", "o_f1_per_image", "n_plus", "map_lab", "map_img", "ndcg_binary"),
    *("ndcg_graded", "precision_at", "recall_at", "f1_at", "first_tag_accuracy", "order_accuracy"),
    *("top_k_accuracy", "o_p_per_image", "o_r_per_image"),
}


class ScriptedTagger:
    """Ranks tags by the first feature values; the followers of given tags come first."""

    name = "scripted"

    def __init__(self, tags: Sequence[str], followers: dict[str, str] | None = None) -> None:
        self.vocabulary = Vocabulary(tags)
        self.followers = followers or {}

    def decode(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        *,
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
        free_length: bool = False,
    ) -> list[list[RankedTag]]:
        lists = []
        for row, prefix in zip(features, prefixes, strict=True):
            order = sorted(range(len(self.vocabulary)), key=lambda tag: -row[tag])
            tags = [self.vocabulary.tags[tag] for tag in order]
            after = [self.followers[tag] for tag in prefix if tag in self.followers]
            tags = [tag for tag in [*after, *(tag for tag in tags if tag not in after)] if tag not in prefix]
            scores = {tag: float(row[self.vocabulary.index(tag)]) for tag in tags}
            kept = [tag for tag in tags if scores[tag] >= 0.5] if free_length else tags
            lists.append([RankedTag(tag, scores[tag]) for tag in kept[:k]])
        return lists


def _scripted(*rows: dict[str, float], tags: Sequence[str]) -> Features:
    return np.array([[row.get(tag, 0.0) for tag in tags] for row in rows], np.float32)


TAGS = ["man", "dog", "sky", "sea"]
FEATURES = _scripted({"man": 0.9, "dog": 0.8, "sky": 0.1}, {"sea": 0.9, "sky": 0.6, "man": 0.2}, tags=TAGS)


def test_a_report_has_every_key_and_ks_from_1_to_10_with_their_mean() -> None:
    report = evaluate(ScriptedTagger(TAGS), FEATURES, [["man", "dog"], ["sky", "sea"]])
    assert report.keys() >= KEYS
    for key in ("ndcg_binary", "ndcg_graded", "precision_at", "recall_at", "f1_at", "top_k_accuracy"):
        assert list(report[key]) == [*map(str, range(1, 11)), "mean"]
        assert report[key]["mean"] == pytest.approx(np.mean([report[key][str(k)] for k in range(1, 11)]))


def test_a_report_of_a_small_case_worked_by_hand() -> None:
    report = evaluate(ScriptedTagger(TAGS), FEATURES, [["man", "dog"], ["sky", "sea"]], EvaluationConfig(k=2))
    assert (report["c_p"], report["c_r"], report["o_f1"], report["n_plus"]) == (1, 1, 1, 4)
    assert report["map_lab"] == report["map_img"] == 1
    assert report["first_tag_accuracy"] == 0.5
    assert report["order_accuracy"] == 0.5
    assert report["precision_at"]["1"] == 1
    assert report["precision_at"]["4"] == 0.5
    assert report["recall_at"]["1"] == 0.5
    assert report["mean_list_length"] == 2


def test_a_tag_the_tagger_does_not_know_counts_as_missed() -> None:
    report = evaluate(ScriptedTagger(TAGS), FEATURES, [["man", "dog"], ["gull"]], EvaluationConfig(k=2))
    assert report["num_unknown_tags"] == 1
    assert report["c_r"] == pytest.approx(2 / 3)
    assert report["o_r"] == pytest.approx(2 / 3)
    assert report["map_lab"] == pytest.approx((1 + 1 + 0.5) / 3)


def test_means_over_photos_stand_beside_those_over_all_pairs() -> None:
    report = evaluate(ScriptedTagger(TAGS), FEATURES, [["man", "dog", "sky"], ["sky"]], EvaluationConfig(k=2))
    # Right: 2 of 2 proposed and 3 true, then 1 of 2 proposed and 1 true.
    assert (report["o_p"], report["o_r"]) == (pytest.approx(3 / 4), pytest.approx(3 / 4))
    assert (report["o_p_per_image"], report["o_r_per_image"]) == (pytest.approx(3 / 4), pytest.approx((2 / 3 + 1) / 2))
    line = next(line for line in table(report).splitlines() if line.startswith("means over photos"))
    assert line.split()[-3:] == ["75.0", "83.3", "78.9"]


def test_top_k_accuracy_needs_one_right_tag_among_the_first_k() -> None:
    report = evaluate(ScriptedTagger(TAGS), FEATURES, [["dog", "sea"], ["sky"]])
    assert (report["top_k_accuracy"]["1"], report["top_k_accuracy"]["2"]) == (0, 1)
    assert "top_k_accuracy" in table(report)


def test_a_free_length_takes_the_list_that_the_tagger_ends() -> None:
    report = evaluate(ScriptedTagger(TAGS), FEATURES, [["man", "dog"], ["sea"]], EvaluationConfig(free_length=True))
    assert report["k"] is None
    assert report["mean_list_length"] == 2
    assert report["o_p"] == pytest.approx(3 / 4)
    assert report["o_r"] == 1


def test_the_rest_is_measured_with_and_without_the_first_tag() -> None:
    tags = [*TAGS, *(f"filler {number}" for number in range(6))]
    row = {tag: 1 - number / 20 for number, tag in enumerate(["man", *tags[4:], "sea"])}
    features = _scripted(row, row, tags=tags)
    report = evaluate(ScriptedTagger(tags, {"man": "sea"}), features, [["man", "sea"], ["sea"]])
    assert report["num_prefix_images"] == 1
    assert report["prefix_recall_at_5"] == 1
    assert report["no_prefix_recall_at_5"] == 0


def test_the_first_tag_takes_no_place_in_the_list_without_it() -> None:
    tags = [*TAGS, "a", "b", "c"]
    row = {tag: 1 - number / 20 for number, tag in enumerate(["man", "a", "b", "c", "dog", "sky"])}
    report = evaluate(ScriptedTagger(tags), _scripted(row, tags=tags), [["man", "sky"]])
    assert report["no_prefix_recall_at_5"] == 1


def test_without_photos_of_two_tags_the_rest_is_not_measured() -> None:
    report = evaluate(ScriptedTagger(TAGS), FEATURES, [["man"], ["gull", "sea"]])
    assert (report["prefix_recall_at_5"], report["no_prefix_recall_at_5"], report["num_prefix_images"]) == (
        None,
        None,
        0,
    )
    assert report["order_accuracy"] is None
    assert "pairs in given order" in table(report)


def test_the_order_is_measured_beside_that_of_the_tags_frequency() -> None:
    tagger = ScriptedTagger(TAGS)
    given = [["man", "dog"], ["sky", "sea"]]
    assert evaluate(tagger, FEATURES, given)["order_accuracy_by_frequency"] is None
    # By their counts: dog, sky, sea, man. Of the two pairs only "sky" before "sea" is the person's.
    tagger.vocabulary = Vocabulary(TAGS, [1, 9, 5, 3])
    report = evaluate(tagger, FEATURES, given)
    assert report["order_accuracy_by_frequency"] == 0.5
    tagger.vocabulary = Vocabulary(TAGS, [9, 5, 3, 1])
    assert evaluate(tagger, FEATURES, given)["order_accuracy_by_frequency"] == 1
    assert "sorted by frequency: 50.0" in table(report)


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    features = generator.random((9, 4), np.float32)
    given = [[TAGS[index] for index in generator.permutation(4)[:2]] for _ in range(9)]
    whole = evaluate(ScriptedTagger(TAGS), features, given)
    monkeypatch.setattr("annotator.trainer.evaluation.evaluate.BATCH_SIZE", 2)
    assert evaluate(ScriptedTagger(TAGS), features, given) == whole


def test_a_table_shows_the_measures_in_percent() -> None:
    text = table(evaluate(ScriptedTagger(TAGS), FEATURES, [["man", "dog"], ["sky", "sea"]], EvaluationConfig(k=2)))
    assert "scripted: 2 photos, 4 tags with photos, 2 tags a photo" in text
    assert "100.0   N+ 4" in text
    assert "first tag right             50.0" in text
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("given", [[[], []], [["man"]], []])
def test_photos_without_tags_or_features_are_refused(given: list[list[str]]) -> None:
    with pytest.raises(DataError, match="tag lists"):
        evaluate(ScriptedTagger(TAGS), FEATURES, given)


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="k must be at least 1"):
        EvaluationConfig(k=0)
