import math

import pytest

from annotator.models.detectors.detector import Detection
from annotator.models.tag_order import (
    TagOrder,
    area,
    box_features,
    boxes_for,
    centrality,
    load_tag_order,
    place_text,
)

SMALL = Detection("person", 0.9, (0.0, 0.0, 0.1, 0.2))
LARGE = Detection("person", 0.4, (0.25, 0.25, 0.75, 0.75))
ORDER = TagOrder(
    precedence={"man": 2.0, "person": 1.5, "motorcycle": -0.5, "bicycle": 0.5},
    box_weights=(1.0, 0.5, 2.0, 3.0),
    present_weights=(-1.0, 4.0),
    named_weights=(-1.0, 2.0, 0.5, 1.0),
    named_labels={"person": -2.0},
)


def test_the_features_of_a_tag_are_those_of_its_largest_box_and_its_best_score_by_hand() -> None:
    assert boxes_for("Man", [SMALL, LARGE]) == [LARGE, SMALL]
    assert box_features("man", [SMALL, LARGE]) == pytest.approx((1.0, math.log(0.25), 1.0, 0.9))
    expected = 2.0 + 1.0 * 1 + 0.5 * math.log(0.25) + 2.0 * 1.0 + 3.0 * 0.9
    assert ORDER.strength("Man", [SMALL, LARGE]) == pytest.approx(expected)


def test_a_tag_without_a_box_has_its_precedence_only() -> None:
    assert ORDER.strength("man", [Detection("dog", 0.9, (0, 0, 1, 1))]) == 2.0


def test_an_unknown_tag_has_the_strength_of_its_classes_or_the_mean() -> None:
    assert ORDER.strength("lady") == 1.5
    assert ORDER.strength("bike") == 0.0  # a bicycle's and a motorcycle's
    assert ORDER.strength("serendipity") == 0.0


def test_the_probabilities_that_a_detection_is_right_and_named_by_hand() -> None:
    assert ORDER.present(LARGE) == pytest.approx(1 / (1 + math.exp(1 - 1.6)))
    log_odds = -1.0 + 2 * 0.4 + 0.5 * math.log(0.25) + 1.0 - 2.0
    assert ORDER.named(LARGE) == pytest.approx(1 / (1 + math.exp(-log_odds)))


def test_geometry_by_hand() -> None:
    assert area((0.25, 0.25, 0.75, 1.0)) == pytest.approx(0.375)
    assert centrality((0.25, 0.25, 0.75, 0.75)) == 1
    assert centrality((0.0, 0.0, 0.0, 0.0)) == pytest.approx(0)


@pytest.mark.parametrize(
    ("box", "text"),
    [
        ((0.25, 0.25, 0.75, 0.75), "25% of the photo, in the middle"),
        ((0.0, 0.0, 0.01, 0.01), "1% of the photo, at the top left"),
        ((0.5, 0.0, 1.0, 1.0), "50% of the photo, on the right"),
        ((0.0, 0.75, 1.0, 1.0), "25% of the photo, at the bottom"),
    ],
)
def test_the_place_of_a_box_in_words(box: tuple[float, float, float, float], text: str) -> None:
    assert place_text(box) == text


def test_the_constants_of_the_package_are_plausible() -> None:
    order = load_tag_order()
    assert order.strength("man") > order.strength("tree")
    assert order.present(LARGE) < order.present(SMALL)  # the surer one
    small, large = (Detection("dog", 0.6, box) for box in ((0.0, 0.0, 0.1, 0.1), (0.2, 0.2, 0.8, 0.8)))
    assert order.named(small) < order.named(large)
    assert order.strength("dog", [small]) < order.strength("dog", [large])


def test_a_tag_that_people_name_first_moves_up_among_likely_tags_by_hand() -> None:
    tags = [("motorcycle", 0.5, 0.8), ("man", 0.45, 0.8)]
    # man's strength is 2.5 above motorcycle's: P(man first) = sigmoid(2.5) = 0.924
    values = [
        math.log(0.5) + 0.3 * math.log(1 - 0.8 * 0.924142),
        math.log(0.45) + 0.3 * math.log(1 - 0.8 * (1 - 0.924142)),
    ]
    assert values[1] > values[0]
    assert ORDER.reorder(tags, []) == [1, 0]
    assert ORDER.reorder(tags, [], weight=0) == [0, 1]
    assert ORDER.reorder([("motorcycle", 0.5, 0.05), ("man", 0.3, 0.05)], []) == [0, 1]


def test_only_the_best_are_reordered_and_none_is_lost() -> None:
    tags = [(f"thing {place}", 0.5 - 0.01 * place, 0.5) for place in range(14)] + [("man", 0.3, 1.0)]
    places = ORDER.reorder(tags, [])
    assert sorted(places) == list(range(15))
    assert sorted(places[:10]) == list(range(10))
    assert places[10:] == [10, 11, 12, 13, 14]
    assert ORDER.reorder([], []) == []
