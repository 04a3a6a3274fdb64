"""The untouched test side, and what the rows of the papers' tables are measured by."""

import argparse
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from annotator.datasets.record import Record, read_records
from annotator.datasets.vocabulary import Vocabulary
from annotator.models.detectors.detector import Detection
from annotator.models.taggers.kernel_tagger import KernelConfig, KernelTagger, find_utility

Script = Callable[[str], ModuleType]


def make_records(num: int) -> list[Record]:
    return [Record(Path(f"/photos/{row}.jpg"), (("cat", "dog", "car")[row % 3],)) for row in range(num)]


def options(**values: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"quick": False, "test_side": False, **values})


def test_no_split_of_any_seed_has_a_photo_of_the_test_side(script: Script) -> None:
    held_out = script("held_out")
    records = make_records(100)
    rest, test = held_out.chosen(records, options(test_side=True))
    assert (len(rest), len(test)) == (80, 20)
    images = {record.image for record in test}
    for seed in range(5):
        train, shown = held_out.sides(rest, test, seed)
        assert {record.image for record in shown} == images
        assert not images & {record.image for record in train}
        assert len(train) == 64  # the seed's validation side is used by neither


def test_without_a_test_side_the_validation_side_is_reported_on(script: Script) -> None:
    held_out = script("held_out")
    rest, test = held_out.chosen(make_records(50), options())
    train, shown = held_out.sides(rest, test, 0)
    assert (len(rest), test, len(train), len(shown)) == (50, [], 40, 10)


def test_the_quick_form_takes_the_same_few_photos_each_time_in_their_order(script: Script) -> None:
    held_out = script("held_out")
    records = make_records(600)
    once, again = (held_out.few(records) for _ in range(2))
    assert once == again
    assert len(once) == held_out.NUM_QUICK
    assert once == [record for record in records if record in once]
    assert held_out.few(records[:5]) == records[:5]


def test_written_records_are_read_again(
    script: Script, write_photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    photos = write_photos(tmp_path / "photos", range(3))
    records = [Record(path, ("cat", "sofa"), ("canon",), "A cat.", {"objects": ["cat"]}) for path in photos]
    folder = script("held_out").write_records(records, tmp_path / "out")
    read = read_records(folder)
    assert read == records
    assert [dict(record.extra) for record in read] == [{"objects": ["cat"]}] * 3


def test_every_recurrent_tagger_stands_in_the_table_with_and_without_the_logistic_layer(script: Script) -> None:
    taggers = script("taggers")
    from annotator.models import registry

    for name in registry.names():
        if name == "scnn_rnn":  # it is never without its layer
            continue
        with_it, without = (taggers.BOTH_WAYS[f"{name}: {way}"] for way in ("logistic layer", "bare"))
        assert taggers.LAYER in with_it
        assert taggers.BARE in without
        assert with_it.replace(taggers.LAYER, taggers.BARE) == without


def test_the_quick_form_of_a_row_has_one_epoch(script: Script) -> None:
    taggers = script("taggers")
    for table in taggers.ROWS.values():
        for row in table.values():
            assert "--epochs 8" not in taggers.in_short(row)
            assert "--epochs 40" not in taggers.in_short(row)


def test_every_rows_options_are_those_of_the_command(script: Script, tmp_path: Path) -> None:
    from annotator.cli.main import build_parser
    from annotator.cli.train import _request

    for table in script("taggers").ROWS.values():
        for row in table.values():
            parsed = build_parser().parse_args(["train", *row.split(), "--data", str(tmp_path), "--out", "x"])
            _request(parsed)


def test_convergence_counts_the_epochs_of_all_stages(script: Script) -> None:
    convergence = script("taggers").convergence
    assert convergence([]) is None
    epochs = [{"is_best": value} for value in (True, True, False, True, False)]
    assert convergence(epochs) == {"epochs": 5, "epochs_to_best": 4}


def test_a_perfect_score_has_the_upper_bound(script: Script) -> None:
    measures = script("metadata").measures
    truth = np.array([[1, 1, 1, 1, 0], [1, 0, 0, 0, 0]], bool)
    found = measures(truth, truth.astype(np.float32))
    assert (found["map_lab"], found["map_img"]) == (1, 1)
    # Three of four tags fit into a list of three; the other list is filled with two wrong ones.
    assert found["o_r"] == pytest.approx(4 / 5)
    assert found["o_p"] == pytest.approx(4 / 6)
    assert found["paper_o_r"] == pytest.approx((3 / 4 + 1) / 2)
    assert found["paper_o_p"] == pytest.approx((1 + 1 / 3) / 2)
    # The fourth tag is never proposed: precision 0 here, left out by the paper.
    assert found["c_p"] == pytest.approx((1 + 1 / 2 + 1 / 2 + 0) / 4)
    assert found["paper_c_p"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)


def test_a_joint_decision_takes_its_counts_from_the_batch_and_not_from_its_tags(script: Script) -> None:
    decide_jointly = script("corel5k").decide_jointly
    rng = np.random.default_rng(0)
    tags = [f"t{number}" for number in range(8)]
    given = [[tags[number] for number in rng.permutation(8)[:2]] for _ in range(40)]
    features = np.abs(rng.normal(size=(60, 12))).astype(np.float32)
    config = KernelConfig(decide="balanced", list_length=2)
    tagger = KernelTagger.fit(Vocabulary(tags), features[:40], given, config)
    joint = decide_jointly(tagger, features[40:], 40)
    scores = tagger.scores(features[40:])
    np.testing.assert_allclose(joint.scores(features[40:]), scores, atol=1e-6)
    scaled = KernelConfig(decide="balanced", list_length=2, more_photos=10.0, more_proposals=1.5)
    expected = find_utility(scores, scaled).of(scores)
    np.testing.assert_allclose(joint.utilities(scores), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(joint.utilities(scores) - tagger.utilities(scores)).max() > 1e-3


def test_small_classes_are_those_of_small_boxes_and_are_measured_over_all_photos(script: Script) -> None:
    small_objects = script("small_objects")
    photos = [Record(Path(f"/{row}.jpg"), ("cup",) if row % 2 else ("dog", "cup")) for row in range(6)]
    large, small = (0.0, 0.0, 0.9, 0.9), (0.4, 0.4, 0.5, 0.5)
    boxes = {
        record.image.name: [
            Detection("dog", 0.9, large),
            Detection("cup", 0.8, small),
            Detection("cup", 0.8, (0, 0, 0.1, 0.1)),
        ]
        for record in photos
    }
    sizes = small_objects.median_areas(photos, boxes, 3)
    assert sizes == {"dog": pytest.approx(0.81), "cup": pytest.approx(0.01)}
    assert small_objects.median_areas(photos, boxes, 4) == {"cup": pytest.approx(0.01)}
    lists = [["cup"], ["cup"], ["dog"], ["dog"], [], []]
    assert small_objects.measure("cup", lists, photos) == small_objects.Measured(1.0, 2 / 6)
    assert small_objects.measure("dog", lists, photos) == small_objects.Measured(1 / 2, 1 / 3)


def test_the_detectors_labels_are_given_once_with_their_best_score(script: Script) -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    found = [Detection("dog", 0.4, box), Detection("cat", 0.6, box), Detection("dog", 0.9, box)]
    assert script("zero_shot").labels_of(found) == [("dog", 0.9), ("cat", 0.6)]


def test_a_top_place_counts_for_the_ranking_by_gain_with_precedence(script: Script) -> None:
    """The row with precedence differs from the one without in the order of a list's best tags only."""
    unary = script("unary")
    rng = np.random.default_rng(1)
    tags = [f"t{number}" for number in range(12)]
    records = [Record(Path(f"/{row}.jpg"), tuple(sorted(rng.permutation(tags)[:3]))) for row in range(80)]
    views = [np.abs(rng.normal(size=(80, 20))).astype(np.float32)]
    sides = [np.arange(60), np.arange(60, 80)]
    plain, ordered = (
        unary.measure(views, [1.0], unary.Row("x", {"x": 1.0}, precedence=weight), records, sides)
        for weight in (0.0, 0.8)
    )
    shown = list(unary.SHOWN)
    assert ordered[shown.index("recall@5")] == plain[shown.index("recall@5")]
    assert ordered[shown.index("recall@10")] == plain[shown.index("recall@10")]
    assert ordered[shown.index("order")] > plain[shown.index("order")]  # the lists are alphabetical
