import numpy as np
import pytest

from annotator.errors import DataError
from annotator.models.detectors.detector import Detection
from annotator.models.tag_order import TagOrder
from annotator.trainer.tag_order_fit import fit_tag_order


def photos(num: int, seed: int = 0) -> tuple[list[list[str]], list[list[Detection]], list[list[str]]]:
    """Photos whose larger animal is named first, and "sky" always last; unsure detections are often wrong."""
    rng = np.random.default_rng(seed)
    lists, found, objects = [], [], []
    for _ in range(num):
        sizes = dict(zip(("cat", "dog", "bird"), rng.uniform(0.1, 0.9, 3), strict=True))
        lists.append([*sorted(sizes, key=lambda tag: -sizes[tag])[:2], "sky"])
        boxes = [Detection(label, float(rng.uniform(0.7, 1)), (0, 0, side, side)) for label, side in sizes.items()]
        found.append([*boxes, Detection("horse", float(rng.uniform(0.3, 0.6)), (0, 0, 1, 1))])
        objects.append([*sizes, *(["horse"] if rng.random() < 0.2 else [])])
    return lists, found, objects


def share_in_order(order: TagOrder, lists: list[list[str]], found: list[list[Detection]]) -> float:
    right = [
        order.strength(first, boxes) > order.strength(second, boxes)
        for tags, boxes in zip(lists, found, strict=True)
        for place, first in enumerate(tags)
        for second in tags[place + 1 :]
    ]
    return float(np.mean(right))


def test_size_and_precedence_are_learnt() -> None:
    order = fit_tag_order(*photos(200))
    lists, found, _ = photos(100, seed=1)
    assert share_in_order(order, lists, found) > 0.95
    assert order.strength("sky") < min(order.strength(tag) for tag in ("cat", "dog", "bird"))
    assert order.present(Detection("cat", 0.9, (0, 0, 1, 1))) > 0.9 > order.present(Detection("cat", 0.3, (0, 0, 1, 1)))
    assert order.named(Detection("horse", 0.5, (0, 0, 1, 1))) < order.named(Detection("cat", 0.9, (0, 0, 0.8, 0.8)))


def test_without_boxes_only_precedence_is_learnt() -> None:
    lists, found, objects = photos(200)
    order = fit_tag_order(lists, found, objects, boxes=False)
    assert order.box_weights == (0, 0, 0, 0)
    assert 0.6 < share_in_order(order, *photos(100, seed=1)[:2]) < 0.9


def test_the_same_photos_give_the_same_constants() -> None:
    assert fit_tag_order(*photos(50)) == fit_tag_order(*photos(50))


def test_data_that_teaches_nothing_is_refused() -> None:
    lists, found, objects = photos(20)
    with pytest.raises(DataError, match="No photo has two tags"):
        fit_tag_order([tags[:1] for tags in lists], found, objects)
    with pytest.raises(DataError, match="No detection was named"):
        fit_tag_order(lists, [[] for _ in lists], objects)
    with pytest.raises(DataError, match="whether a thing is there"):
        fit_tag_order(lists, found, [["cat", "dog", "bird"] for _ in lists])
