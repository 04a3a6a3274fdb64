import math

import numpy as np
import pytest

from annotator.active_learning.query_strategies import (
    Pool,
    WorkTime,
    binary_entropy,
    fit_work_time,
    k_centre,
    k_means,
    mix_in,
    order_pool,
)
from annotator.errors import ConfigError
from annotator.settings import STRATEGIES


def floats(values: object) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def pool_of(probabilities: list[object], **values: object) -> Pool:
    matrices = [floats(matrix) for matrix in probabilities]
    num = len(matrices[0]) if matrices else len(values["features"])  # type: ignore[arg-type]
    defaults = {"features": np.eye(num, dtype=np.float32), "random_keys": np.arange(num) / num}
    return Pool(**{**defaults, **values}, probabilities=matrices)  # type: ignore[arg-type]


def test_binary_entropy_is_that_of_a_coin() -> None:
    assert binary_entropy(floats([0.5, 0.25, 0.0]))[:2] == pytest.approx(
        [math.log(2), -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))], rel=1e-5
    )
    assert binary_entropy(floats([0.0, 1.0])) == pytest.approx([0, 0], abs=1e-5)


def test_the_least_certain_photo_comes_first_and_one_without_any_tag_last() -> None:
    # Softmaxed, the photo without any likely tag (row 0) would be the least certain of all.
    assert order_pool("entropy", pool_of([[[0.01, 0.01], [0.5, 0.01], [0.5, 0.4], [0.9, 0.9]]])).tolist() == [
        2,
        1,
        3,
        0,
    ]


def test_disagreement_is_certainty_of_different_things_not_doubt_in_common() -> None:
    first, second = [[0.5, 0.5], [0.95, 0.1], [0.9, 0.1]], [[0.5, 0.5], [0.05, 0.1], [0.9, 0.2]]
    assert order_pool("disagreement", pool_of([first, second])).tolist() == [1, 2, 0]


@pytest.mark.parametrize(("strategy", "num"), [("disagreement", 1), ("entropy", 0), ("information_per_second", 0)])
def test_too_few_taggers_are_an_error(strategy: str, num: int) -> None:
    with pytest.raises(ConfigError, match=f"; {num} can be used here"):
        order_pool(strategy, pool_of([[[0.5]]] * num, features=floats([[1.0]]), random_keys=np.zeros(1)))


def test_information_is_weighed_against_the_seconds_of_the_expected_tags() -> None:
    # Both photos: entropy; (0.5, 0.5) has 2 log 2 and 1 expected tag, (0.5, 0.99, 0.99) log 2 and more tags.
    pool = pool_of([[[0.5, 0.99, 0.99], [0.5, 0.5, 0.0], [0.5, 0.0, 0.0]]], work_time=WorkTime(1.0, 10.0))
    # per second: .80/25.8, 1.39/11, .69/6
    assert order_pool("information_per_second", pool).tolist() == [1, 2, 0]
    flat = pool_of([[[0.5, 0.99, 0.99], [0.5, 0.5, 0.0], [0.5, 0.0, 0.0]]], work_time=WorkTime(10.0, 0.0))
    assert order_pool("information_per_second", flat).tolist() == [1, 0, 2]


def test_work_time_is_the_line_through_the_logged_times_without_the_breaks() -> None:
    tags = list(range(1, 13))
    fitted = fit_work_time([*tags, 3], [4 + 2 * num for num in tags] + [5000])
    assert (fitted.base_seconds, fitted.seconds_per_tag) == pytest.approx((4, 2))
    assert fit_work_time([1, 2], [3, 4]) == WorkTime()
    assert fit_work_time([], []) == WorkTime()
    assert fit_work_time([2] * 12, [7] * 12) == WorkTime(7.0, 0.0)
    assert fit_work_time(tags, [20 - num for num in tags]).seconds_per_tag == 0


def test_k_centre_takes_the_farthest_from_all_before() -> None:
    angles = np.radians([0, 10, 90, 170, 80])
    points = floats(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert k_centre(points, points[:0], 3).tolist() == [0, 3, 2]
    assert k_centre(points, points[[3]], 2).tolist() == [0, 2]
    assert sorted(k_centre(points, points[:0], 9).tolist()) == [0, 1, 2, 3, 4]


def test_entropy_then_k_centre_leaves_out_the_twin_of_a_tagged_photo() -> None:
    features = floats([[1, 0], [0, 1], [1, 0.01], [0.6, 0.8]])
    pool = pool_of(
        [[[0.5], [0.49], [0.1], [0.1]]], features=features, tagged_features=floats([[1, 0.02]]), random_keys=np.zeros(4)
    )
    assert order_pool("entropy_k_centre", pool).tolist() == [1, 0, 2, 3]
    assert order_pool("entropy", pool).tolist() == [0, 1, 2, 3]


def test_clusters_take_turns_the_largest_first_each_by_its_most_typical() -> None:
    rng = np.random.default_rng(0)
    around = lambda axis, num: np.eye(3)[axis] + rng.normal(0, 0.02, (num, 3))  # noqa: E731
    features = floats(np.concatenate([around(0, 3), around(1, 6), around(2, 4)]))
    centres = k_means(features / np.linalg.norm(features, axis=1, keepdims=True), 3)
    assert sorted(centres.argmax(axis=1)) == [0, 1, 2]
    pool = Pool(features, np.arange(13) / 13)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("annotator.active_learning.query_strategies.NUM_CLUSTERS", 3)
        cluster = [0] * 3 + [1] * 6 + [2] * 4
        order = order_pool("largest_cluster", pool).tolist()
        assert [cluster[row] for row in order[:6]] == [1, 2, 0, 1, 2, 0]
        tagged = Pool(features, np.arange(13) / 13, tagged_features=floats([[0, 1, 0]]))
        assert [cluster[row] for row in order_pool("largest_cluster", tagged)[:3]] == [2, 0, 1]
    assert sorted(order) == list(range(13))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_ranks_every_photo_once_and_the_same_again(strategy: str) -> None:
    rng = np.random.default_rng(1)
    probabilities = [rng.random((300, 5), np.float32) for _ in range(2)]
    pool = Pool(rng.random((300, 8), np.float32), rng.random(300), probabilities)
    order = order_pool(strategy, pool)
    assert sorted(order) == list(range(300))
    assert order.tolist() == order_pool(strategy, pool).tolist()
    assert len(order_pool(strategy, Pool(np.empty((0, 8), np.float32), np.empty(0)))) == 0


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ConfigError, match="no strategy 'best'"):
        order_pool("best", pool_of([[[0.5]]]))


def test_the_sample_has_its_share_of_every_beginning() -> None:
    mixed = mix_in(range(1000, 1080), range(40), 0.2)
    for length in range(1, 101):
        assert abs(sum(image < 1000 for image in mixed[:length]) - 0.2 * length) < 1
    assert sorted(mixed) == [*range(40), *range(1000, 1080)]
    assert [image for image in mixed if image < 1000] == list(range(40))
    assert mix_in([5, 6], [1], 0.2, deficit=1.0)[0] == 1
    assert mix_in([5, 6], [1], 0.0) == [5, 6, 1]
    assert mix_in([5], [1, 2], 1.0) == [1, 2, 5]
