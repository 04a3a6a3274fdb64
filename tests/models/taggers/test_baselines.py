"""The losses of the linear baselines against plain loops and cases worked by hand."""

import math

import numpy as np
import pytest
import torch

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.taggers import baselines
from annotator.models.taggers.baselines import LINEAR_TAGGERS, LinearConfig, grade_tags

LOGITS = [[0.5, -1.0, 2.0, 0.0], [1.0, 0.9, -3.0, 0.2], [0.1, 0.2, 0.3, 0.4]]
GRADES = [[2.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]


def _p(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def _binary_cross_entropy(f: list[float], grades: list[float]) -> float:
    return -sum(math.log(_p(x) if g > 0 else 1 - _p(x)) for x, g in zip(f, grades, strict=True))


def _asymmetric(f: list[float], grades: list[float]) -> float:
    total = 0.0
    for x, g in zip(f, grades, strict=True):
        shifted = max(_p(x) - 0.05, 0)
        total -= math.log(_p(x)) if g > 0 else shifted**4 * math.log(1 - shifted)
    return total


def _softmax(f: list[float], grades: list[float]) -> float:
    right = [index for index, g in enumerate(grades) if g > 0]
    total = sum(math.exp(x) for x in f)
    return -sum(math.log(math.exp(f[index]) / total) / len(right) for index in right)


def _warp(f: list[float], grades: list[float]) -> float:
    total = 0.0
    wrong = [index for index, g in enumerate(grades) if g == 0]
    for right in (index for index, g in enumerate(grades) if g > 0):
        within = [index for index in wrong if 1 - f[right] + f[index] > 0]
        weight = sum(1 / i for i in range(1, len(within) + 1))
        total += sum(weight / len(within) * (1 - f[right] + f[index]) for index in within)
    return total


def _squared_hinge(f: list[float], grades: list[float]) -> float:
    return sum(max(0, 1 - (1 if g > 0 else -1) * x) ** 2 for x, g in zip(f, grades, strict=True))


def _pairwise_hinge(f: list[float], grades: list[float]) -> float:
    pairs = [(a, b) for a in range(len(f)) for b in range(len(f)) if grades[a] > grades[b]]
    return sum(max(0, 1 - f[a] + f[b]) for a, b in pairs) / max(len(pairs), 1)


@pytest.mark.parametrize(
    ("loss", "loop"),
    [
        (baselines.binary_cross_entropy, _binary_cross_entropy),
        (baselines.asymmetric, _asymmetric),
        (baselines.softmax, _softmax),
        (baselines.warp, _warp),
        (baselines.squared_hinge, _squared_hinge),
        (baselines.pairwise_hinge, _pairwise_hinge),
    ],
)
def test_a_loss_equals_the_plain_loop(loss: object, loop: object) -> None:
    assert callable(loss)
    assert callable(loop)
    found = loss(torch.tensor(LOGITS), torch.tensor(GRADES))
    assert found.shape == (3,)
    assert found.tolist() == pytest.approx([loop(f, g) for f, g in zip(LOGITS, GRADES, strict=True)], rel=1e-5)


def test_warp_worked_by_hand() -> None:
    # The right tag has 1, wrong ones 0.5, 0 and -1: hinges 0.5 and 0 (0 is not within), rank 1, L(1) = 1.
    assert baselines.warp(torch.tensor([[1.0, 0.5, 0.0, -1.0]]), torch.tensor([[1.0, 0, 0, 0]])).item() == 0.5
    # Wrong ones at 1 and 0.5: hinges 1 and 0.5, rank 2, L(2) / 2 = 3 / 4.
    assert baselines.warp(torch.tensor([[1.0, 1.0, 0.5, -1.0]]), torch.tensor([[1.0, 0, 0, 0]])).item() == 1.125


def test_the_asymmetric_loss_ignores_easy_negatives() -> None:
    easy = baselines.asymmetric(torch.tensor([[-4.0]]), torch.tensor([[0.0]]))
    assert easy.item() == 0
    assert baselines.binary_cross_entropy(torch.tensor([[-4.0]]), torch.tensor([[0.0]])).item() > 0.01


def test_grades_fall_along_the_persons_list() -> None:
    grades = grade_tags(Vocabulary(["sky", "sea", "boat"]), [["boat", "unknown", "sky"], []])
    assert grades.tolist() == [[1, 0, 2], [0, 0, 0]]


@pytest.mark.integration
@pytest.mark.parametrize("kind", LINEAR_TAGGERS)
def test_eight_photos_can_be_overfitted(kind: type[baselines.LinearTagger]) -> None:
    rng = np.random.default_rng(0)
    tags = [f"tag {number}" for number in range(6)]
    features = rng.normal(size=(8, 20)).astype(np.float32)
    given = [[tags[row % 6], tags[(row + 2) % 6]] for row in range(8)]
    tagger = kind.fit(Vocabulary(tags), features, given, LinearConfig(l2=0, epochs=300, learning_rate=0.02))
    lists = tagger.decode(features, [[]] * 8, k=2)
    assert [{ranked.tag for ranked in some} for some in lists] == [set(some) for some in given]


def test_the_ranking_svm_learns_the_persons_order_and_the_others_ignore_it() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 5)).astype(np.float32)
    given = [["big", "small"]] * 60
    vocabulary = Vocabulary(["small", "big", "none"])
    ranked = baselines.SvmRankTagger.fit(vocabulary, features, given).decode(features, [[]] * 60, k=2)
    assert all([tag.tag for tag in tags] == ["big", "small"] for tags in ranked)
    logistic = [
        baselines.LogisticTagger.fit(vocabulary, features, order).version for order in (given, [["small", "big"]] * 60)
    ]
    assert logistic[0] == logistic[1]


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"l2": -1.0}])
def test_invalid_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        LinearConfig(**bad)  # type: ignore[arg-type]
