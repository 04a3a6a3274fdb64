import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from annotator.models import registry
from annotator.models.sequence.trained_tagger import binary_cross_entropy, make_batch, sequence_cross_entropy


def sigma(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def times(weights: dict[str, Any], name: str, vector: list[float]) -> list[float]:
    bias = weights.get(f"{name}.bias", [0.0] * len(weights[f"{name}.weight"]))
    rows = zip(weights[f"{name}.weight"], bias, strict=True)
    return [sum(m * v for m, v in zip(row, vector, strict=True)) + b for row, b in rows]


def scaled_features(weights: dict[str, Any], features: np.ndarray) -> list[float]:
    rows = zip(features.tolist(), weights["feature_mean"], weights["feature_scale"], strict=True)
    return [(math.sqrt(value + 1e-6) - mean) * scale for value, mean, scale in rows]


def lstm_step(
    weights: dict[str, Any], prefix: str, inputs: list[float], hidden: list[float], cell: list[float]
) -> tuple[list[float], list[float]]:
    """Eq. 2 without peepholes, by plain loops."""
    size = len(hidden)
    sums = []
    for row in range(4 * size):
        total = weights[f"{prefix}.bias_ih_l0"][row] + weights[f"{prefix}.bias_hh_l0"][row]
        total += sum(m * v for m, v in zip(weights[f"{prefix}.weight_ih_l0"][row], inputs, strict=True))
        total += sum(m * v for m, v in zip(weights[f"{prefix}.weight_hh_l0"][row], hidden, strict=True))
        sums.append(total)
    i, f, g, o = (sums[part * size : (part + 1) * size] for part in range(4))
    cell = [sigma(f[n]) * cell[n] + sigma(i[n]) * math.tanh(g[n]) for n in range(size)]
    return [sigma(o[n]) * math.tanh(cell[n]) for n in range(size)], cell


def loop_logits(name: str, tagger: Any, features: np.ndarray, previous: list[int]) -> list[list[float]]:
    """Each tagger that feeds the previous tag, or the image, by plain loops, for one image."""
    w = {key: value.tolist() for key, value in tagger.weights().items()}
    image = scaled_features(w, features)
    prefix, output = ("lstm", "output") if name == "ranked_lstm" else ("decoder.lstm", "decoder.output")
    hidden = cell = [0.0] * tagger.config.hidden_size
    if name == "scnn_rnn":
        concepts = [sigma(value) for value in times(w, "concept", image)]
        hidden = times(w, "initial", concepts)
    elif name == "ria":
        hidden = times(w, "initial", image)
    elif name == "naive_rnn":
        hidden, cell = lstm_step(w, prefix, times(w, "initial", image), hidden, cell)
    logits = []
    for tag in previous:
        inputs = times(w, "image", image) if name == "ranked_lstm" else w["decoder.embedding.weight"][tag]
        hidden, cell = lstm_step(w, prefix, inputs, hidden, cell)
        seen = hidden
        if name == "cnn_rnn":
            pairs = zip(times(w, "recurrent", hidden), times(w, "image", image), strict=True)
            seen = [max(a + b, 0.0) for a, b in pairs]
        logits.append(times(w, output, seen))
    return logits


@pytest.mark.parametrize("name", ["scnn_rnn", "ria", "naive_rnn", "cnn_rnn", "ranked_lstm"])
def test_equations_agree_with_plain_loops(
    name: str, make_tagger: Callable[..., Any], make_tagged_features: Callable[..., Any]
) -> None:
    tagger = make_tagger(name)
    features, sequences = make_tagged_features(5, 4)
    batch = make_batch(torch.from_numpy(features), sequences, tagger.num_tags)
    with torch.no_grad():
        logits = tagger(batch).logits.numpy()
    for row in range(5):
        num_steps = int(batch.lengths[row]) + 1
        expected = loop_logits(name, tagger, batch.features[row].numpy(), batch.inputs[row, :num_steps].tolist())
        np.testing.assert_allclose(logits[row, :num_steps], expected, atol=1e-4)


def test_concept_loss_worked_by_hand() -> None:
    # s^ = (1/2, 3/4), s = (1, 0): -log(1/2) - log(1/4) = 3 log 2.
    logits = torch.tensor([[0.0, math.log(3)]])
    found = binary_cross_entropy(logits, torch.tensor([[1.0, 0.0]]), torch.ones(1, 2))
    assert float(found) == pytest.approx(3 * math.log(2))


def test_sequence_loss_is_summed_over_the_list_worked_by_hand() -> None:
    # Even logits over 4 outputs cost log 4 a step: 3 steps and 1 step, the mean over two images.
    targets = torch.tensor([[0, 1, 3], [2, -1, -1]])
    found = sequence_cross_entropy(torch.zeros(2, 3, 4), targets)
    assert found.tolist() == pytest.approx([3 * math.log(4), math.log(4)])


def test_total_loss_is_the_sum_of_both(make_tagger: Callable[..., Any], make_small_batch: Callable[..., Any]) -> None:
    tagger, batch = make_tagger("scnn_rnn"), make_small_batch()
    outputs = tagger(batch)
    expected = sequence_cross_entropy(outputs.logits, batch.targets).mean()
    expected = expected + binary_cross_entropy(outputs.concept_logits, batch.labels, batch.weights)
    torch.testing.assert_close(tagger.loss(batch), expected)


def test_concept_layer_starts_at_the_prior_of_each_tag() -> None:
    tagger = registry.create("scnn_rnn", ["dog", "cat"], 3)
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    features = torch.rand(4, 3)
    tagger.prepare(features, labels)
    concepts: Any = tagger.for_inference().concepts(features.numpy())
    np.testing.assert_allclose(concepts, np.tile([3.5 / 5, 1.5 / 5], (4, 1)), atol=1e-6)


def test_parallel_stage_trains_both_parts_independently(
    make_tagger: Callable[..., Any], make_small_batch: Callable[..., Any]
) -> None:
    tagger, batch = make_tagger("scnn_rnn"), make_small_batch()
    sequence = sequence_cross_entropy(tagger(batch, "parallel").logits, batch.targets).sum()
    assert torch.autograd.grad(sequence, tagger.concept.weight, allow_unused=True)[0] is None
    joint = sequence_cross_entropy(tagger(batch, "joint").logits, batch.targets).sum()
    assert torch.autograd.grad(joint, tagger.concept.weight)[0].abs().sum() > 0


def test_ranked_lstm_does_not_depend_on_the_previous_tags(
    make_tagger: Callable[..., Any], make_tagged_features: Callable[..., Any]
) -> None:
    tagger = make_tagger("ranked_lstm")
    features = torch.from_numpy(make_tagged_features(1)[0])
    with torch.no_grad():
        one = tagger(make_batch(features, [[0, 1]], tagger.num_tags)).logits
        other = tagger(make_batch(features, [[4, 5]], tagger.num_tags)).logits
    torch.testing.assert_close(one, other)
