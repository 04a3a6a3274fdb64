import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from annotator.errors import ConfigError
from annotator.models.sequence.trained_tagger import make_batch, mean_step_cross_entropy
from annotator.models.taggers.jvsp import diversity_loss


def sigma(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def times(matrix: Any, vector: list[float]) -> list[float]:
    return [sum(float(m) * v for m, v in zip(row, vector, strict=True)) for row in matrix]


def soft(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def loop_logits(tagger: Any, features: np.ndarray, previous: list[int]) -> list[list[float]]:
    """Eq. 1-9 by plain loops, for one image."""
    w = {name: value.tolist() for name, value in tagger.weights().items()}
    paper, size = tagger.config.phi == "paper", tagger.config.size
    scaled = [
        (math.sqrt(f + 1e-6) - mean) * scale
        for f, mean, scale in zip(features.tolist(), w["feature_mean"], w["feature_scale"], strict=True)
    ]
    image = [a + b for a, b in zip(times(w["image.weight"], scaled), w["image.bias"], strict=True)]
    mean = sum(image) / size
    deviation = math.sqrt(sum((value - mean) ** 2 for value in image) / size + 1e-5)
    image = [(v - mean) / deviation * a + b for v, a, b in zip(image, w["norm.weight"], w["norm.bias"], strict=True)]
    hidden, cell = [0.0] * size, [0.0] * size
    earlier: list[tuple[float, list[float]]] = []
    logits = []
    for tag in previous:
        w_k, w_f = w["semantic.weight"][tag], w["refined.weight"][tag]  # eq. 1
        total = [sum(lam * h[i] for lam, h in earlier) for i in range(size)]
        knowledge = [value / max(len(earlier), 1) for value in times(w["guidance.weight"], total)]  # eq. 2
        g = [a + b for a, b in zip(w_k, knowledge, strict=True)]  # eq. 3
        visual = (
            soft([c * v for c, v in zip(image, g, strict=True)])
            if paper
            else [c * sigma(v) for c, v in zip(image, g, strict=True)]
        )  # eq. 4
        inner = times(w["inner.weight"], visual)
        weight = times(w["outer.weight"], [math.tanh(a + b) for a, b in zip(w_f, inner, strict=True)])  # eq. 5
        product = [a * b for a, b in zip(w_f, weight, strict=True)]
        refined = soft(product) if paper else [math.tanh(value) for value in product]  # eq. 6
        joined = visual + refined  # eq. 7
        gates = [
            a + b + c + d
            for a, b, c, d in zip(
                times(w["cell.weight_ih"], joined),
                times(w["cell.weight_hh"], hidden),
                w["cell.bias_ih"],
                w["cell.bias_hh"],
                strict=True,
            )
        ]
        i, f, g_, o = (gates[part * size : (part + 1) * size] for part in range(4))
        cell = [sigma(f[n]) * cell[n] + sigma(i[n]) * math.tanh(g_[n]) for n in range(size)]  # eq. 8
        hidden = [sigma(o[n]) * math.tanh(cell[n]) for n in range(size)]
        summed = [h + v for h, v in zip(hidden, visual, strict=True)]
        y = [a + b for a, b in zip(times(w["output.weight"], summed), w["output.bias"], strict=True)]  # eq. 9
        earlier.append((max(soft(y)), hidden))
        logits.append(y)
    return logits


@pytest.mark.parametrize("phi", ["gate", "paper"])
def test_equations_1_to_9_agree_with_plain_loops(
    phi: str, make_tagger: Callable[..., Any], make_tagged_features: Callable[..., Any]
) -> None:
    tagger = make_tagger("jvsp", phi=phi)
    features, sequences = make_tagged_features(5, 4)
    batch = make_batch(torch.from_numpy(features), sequences, tagger.num_tags)
    with torch.no_grad():
        logits = tagger(batch).logits.numpy()
    for row in range(5):
        num_steps = int(batch.lengths[row]) + 1
        expected = loop_logits(tagger, batch.features[row].numpy(), batch.inputs[row, :num_steps].tolist())
        np.testing.assert_allclose(logits[row, :num_steps], expected, atol=1e-4)


def test_diversity_loss_agrees_with_plain_loops() -> None:
    rng = np.random.default_rng(0)
    visual = rng.normal(0, 1, (3, 4, 5)).astype(np.float32)
    lengths, beta = [4, 2, 1], 0.3
    total = 0.0
    for image, length in enumerate(lengths):
        alike = 0.0
        for step in range(1, length):
            for i in range(5):
                before, now = float(visual[image, step - 1, i]), float(visual[image, step, i])
                if before >= beta and now >= beta:
                    alike += before * now
        total += alike / (length - 1) if length > 1 else 0.0
    found = diversity_loss(torch.from_numpy(visual), torch.tensor(lengths), beta)
    assert float(found) == pytest.approx(total / 3, rel=1e-5)


def test_diversity_loss_worked_by_hand() -> None:
    # Two steps; only the first value is at least 0.5 at both: 1.0 x 0.5.
    visual = torch.tensor([[[1.0, 0.4, 0.9], [0.5, 2.0, 0.1]]])
    assert float(diversity_loss(visual, torch.tensor([2]), 0.5)) == pytest.approx(0.5)


def test_the_cosine_form_of_the_diversity_loss_agrees_with_plain_loops_and_ignores_the_scale() -> None:
    rng = np.random.default_rng(1)
    visual = rng.uniform(0, 1, (2, 3, 4)).astype(np.float32)
    lengths = [3, 2]
    total = 0.0
    for image, length in enumerate(lengths):
        alike = 0.0
        for step in range(1, length):
            before, now = visual[image, step - 1].tolist(), visual[image, step].tolist()
            product = sum(a * b for a, b in zip(before, now, strict=True))
            alike += product / math.sqrt(sum(a * a for a in before)) / math.sqrt(sum(b * b for b in now))
        total += alike / (length - 1)
    for scale in (1.0, 1 / 512):
        found = diversity_loss(torch.from_numpy(visual) * scale, torch.tensor(lengths), 0.0, is_cosine=True)
        assert float(found) == pytest.approx(total / 2, rel=1e-4)


def test_the_cosine_form_has_one_scale_with_both_phi_and_the_printed_form_has_not(
    make_tagger: Callable[..., Any], make_small_batch: Callable[..., Any]
) -> None:
    batch = make_small_batch()

    def penalty(phi: str, diversity: str) -> float:
        tagger = make_tagger("jvsp", size=64, phi=phi, diversity=diversity, alpha=1.0, beta=0.0)
        return float(tagger(batch).penalty.item())

    assert penalty("gate", "sum") > 100 * penalty("paper", "sum")
    assert 0.1 < penalty("gate", "cosine") / penalty("paper", "cosine") < 10


def test_loss_is_the_mean_over_each_list_worked_by_hand() -> None:
    # Even logits over 4 outputs cost log 4 a step, however long the list.
    logits = torch.zeros(2, 3, 4)
    targets = torch.tensor([[0, 1, 3], [2, -1, -1]])
    assert float(mean_step_cross_entropy(logits, targets).mean()) == pytest.approx(math.log(4))


def test_alpha_adds_the_diversity_loss(make_tagger: Callable[..., Any], make_small_batch: Callable[..., Any]) -> None:
    batch = make_small_batch()
    without, with_it = make_tagger("jvsp", alpha=0.0), make_tagger("jvsp", alpha=0.5)
    difference = with_it.loss(batch).item() - without.loss(batch).item()
    assert difference == pytest.approx(with_it(batch).penalty.item(), rel=1e-4)
    assert difference > 0


def test_confidence_of_earlier_steps_carries_no_gradient(
    make_tagger: Callable[..., Any], make_small_batch: Callable[..., Any]
) -> None:
    # With W_h = 0 the guidance is cut off; the output layer then gets no gradient through lambda.
    tagger, batch = make_tagger("jvsp"), make_small_batch()
    outputs = tagger(batch)
    bias_grad = torch.autograd.grad(outputs.logits[:, 1:].sum(), tagger.output.bias)[0]
    num_later = float((batch.lengths > 0).sum() + (batch.lengths > 1).sum() + (batch.lengths > 2).sum()
                      + (batch.lengths > 3).sum())  # fmt: skip
    # Each later step's logits depend on the bias by 1 alone; through lambda they would depend on it further.
    torch.testing.assert_close(bias_grad, torch.full_like(bias_grad, num_later))


def test_phi_and_alpha_are_checked(make_tagger: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="phi must be gate or paper"):
        make_tagger("jvsp", phi="relu")
    with pytest.raises(ConfigError, match="alpha must not be negative"):
        make_tagger("jvsp", alpha=-1)
    with pytest.raises(ConfigError, match="diversity must be sum or cosine"):
        make_tagger("jvsp", diversity="mean")
