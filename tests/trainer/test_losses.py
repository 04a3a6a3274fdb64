import math

import numpy as np
import pytest
import torch

from annotator.errors import ConfigError
from annotator.models.sequence.trained_tagger import sequence_cross_entropy
from annotator.trainer import losses


def test_asymmetric_loss_agrees_with_plain_loops() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3, 5)).astype(np.float32)
    labels = (rng.random((3, 5)) < 0.4).astype(np.float32)
    weights = rng.random((3, 5)).astype(np.float32)
    total = 0.0
    for row in range(3):
        for tag in range(5):
            p = 1 / (1 + math.exp(-float(logits[row, tag])))
            shifted = max(p - losses.MARGIN, 0)
            if labels[row, tag]:
                loss = -((1 - p) ** losses.FOCUS_POSITIVE) * math.log(p)
            else:
                loss = -(shifted**losses.FOCUS_NEGATIVE) * math.log(1 - shifted)
            total += float(weights[row, tag]) * loss
    found = losses.asymmetric_loss(torch.from_numpy(logits), torch.from_numpy(labels), torch.from_numpy(weights))
    assert found.item() == pytest.approx(total / 3, rel=1e-5)


def test_asymmetric_loss_of_an_easy_absent_tag_is_nothing() -> None:
    logits = torch.logit(torch.tensor([[losses.MARGIN / 2]]))
    assert losses.asymmetric_loss(logits, torch.zeros(1, 1), torch.ones(1, 1)).item() == 0


def test_list_wise_loss_agrees_with_plain_loops() -> None:
    rng = np.random.default_rng(1)
    logits = torch.from_numpy(rng.normal(0, 1, (2, 4, 6)).astype(np.float32))
    targets, discount = [[3, 0, 1, 5], [2, 5, -1, -1]], 0.4
    total = 0.0
    for image, tags in enumerate(targets):
        length = sum(tag >= 0 for tag in tags)
        for step in range(length):
            gains = {tags[later]: discount ** (later - step) for later in range(step, length)}
            for tag, gain in gains.items():
                log_prob = float(torch.log_softmax(logits[image, step], 0)[tag])
                total -= gain / sum(gains.values()) * log_prob
    found = losses.list_wise_loss(logits, torch.tensor(targets), discount)
    assert found.mean().item() == pytest.approx(total / 2, rel=1e-5)


def test_list_wise_loss_worked_by_hand() -> None:
    # One tag, then END; discount 1: the first step's target is half the tag, half END. Logits favour neither.
    logits = torch.zeros(1, 2, 2)
    assert losses.list_wise_loss(logits, torch.tensor([[0, 1]]), 1.0).item() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("width", [6, 5])
def test_list_wise_loss_without_a_discount_is_the_papers(width: int) -> None:
    logits = torch.randn(2, 4, width, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[3, 0, 1, 5], [2, 5, -1, -1]])
    torch.testing.assert_close(losses.list_wise_loss(logits, targets, 0.0), sequence_cross_entropy(logits, targets))


def test_list_wise_loss_is_lowest_at_the_persons_order() -> None:
    logits = torch.zeros(1, 3, 4, requires_grad=True)
    losses.list_wise_loss(logits, torch.tensor([[2, 0, 3]]), 0.5).sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0, 0].argsort().tolist()[:2] == [2, 0]


def test_label_weights_spare_unmentioned_tags_that_look_alikes_carry() -> None:
    labels = torch.tensor([[1.0, 0.0, 0.0]])
    share = torch.tensor([[0.9, 0.5, 0.0]])
    torch.testing.assert_close(losses.label_weights(labels, share, 0.2), torch.tensor([[1.0, 0.6, 1.0]]))
    torch.testing.assert_close(losses.label_weights(labels, None, 0.2), torch.ones(1, 3))


def test_look_alike_share_agrees_with_plain_loops() -> None:
    rng = np.random.default_rng(2)
    features, labels = rng.normal(0, 1, (7, 4)), (rng.random((7, 3)) < 0.5).astype(np.float32)
    found = losses.look_alike_share(torch.from_numpy(features), torch.from_numpy(labels), 2)
    for row in range(7):
        cosines = {
            other: float(features[row] @ features[other])
            / math.sqrt(float(features[row] @ features[row]) * float(features[other] @ features[other]))
            for other in range(7)
            if other != row
        }
        nearest = sorted(cosines, key=cosines.__getitem__, reverse=True)[:2]
        np.testing.assert_allclose(found[row].numpy(), labels[nearest].mean(axis=0))


def test_a_lone_photo_has_no_look_alikes() -> None:
    assert losses.look_alike_share(torch.ones(1, 3), torch.ones(1, 2), 5).tolist() == [[0.0, 0.0]]


def test_unknown_choice_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="concept_loss is 'hinge'; choose one of: binary, asymmetric"):
        losses.check_choice("concept_loss", "hinge", losses.CONCEPT_LOSSES)
