"""Training of the captioner: the loss against plain loops, stages, and sentences that can be learnt by heart."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from annotator.errors import TrainingError
from annotator.models.taggers.captioner import FORMS, Captioner, CaptionerConfig, vocabulary_of
from annotator.trainer.caption_fit import CaptionFitSettings, CaptionSide, caption_loss, fit_captioner

SENTENCES = [["a", "dog", "sits"], ["the", "sea"], ["a", "cat", "on", "a", "sofa"], ["snow"]]
SMALL: dict[str, Any] = {"hidden_size": 32, "embedding_size": 12, "num_concepts": 5, "dropout": 0.0,
                         "input_dropout": 0.0}  # fmt: skip


def make_side(seed: int = 0) -> CaptionSide:
    features = np.random.default_rng(seed).normal(size=(4, 10)).astype(np.float32)
    return CaptionSide(features, SENTENCES)


def make(form: str) -> Captioner:
    torch.manual_seed(0)
    return Captioner(vocabulary_of(SENTENCES, 1), 10, CaptionerConfig(form, **SMALL))


@pytest.mark.parametrize("is_parallel", [True, False])
def test_the_loss_agrees_with_plain_loops(is_parallel: bool) -> None:
    captioner, side = make("concepts").eval(), make_side()
    features = torch.from_numpy(side.features)
    sequences = [captioner.encode(words) for words in SENTENCES]
    end, total = len(captioner.words), 0.0
    for row, ids in enumerate(sequences):
        concepts = captioner.concepts_of([ids])
        with torch.no_grad():
            logits, concept_logits = captioner(
                features[row : row + 1],
                torch.tensor([[end, *ids]]),
                torch.tensor([len(ids) + 1]),
                concepts if is_parallel else None,
            )
        for step, word in enumerate([*ids, end]):
            powers = [math.exp(float(value)) for value in logits[0, step]]
            total -= math.log(powers[word] / sum(powers))
        for value, is_there in zip(concept_logits[0].tolist(), concepts[0].tolist(), strict=True):
            chance = 1 / (1 + math.exp(-value))
            total -= math.log(chance if is_there else 1 - chance)
    with torch.no_grad():
        found = caption_loss(captioner, features, sequences, is_parallel=is_parallel)
    assert float(found) == pytest.approx(total / 4, rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_few_sentences_can_be_learnt_by_heart(form: str) -> None:
    captioner, side = make(form), make_side()
    settings = CaptionFitSettings(epochs=150, patience=150, batch_size=4, learning_rate=0.01)
    history = fit_captioner(captioner, side, side, settings)
    assert len(history) == (300 if form == "concepts" else 150)
    assert captioner.propose(torch.from_numpy(side.features)) == SENTENCES


def test_a_training_ends_early_with_its_best_weights() -> None:
    captioner, side = make("features"), make_side()
    other = CaptionSide(make_side(9).features, SENTENCES[::-1])  # what is learnt makes it worse
    history = fit_captioner(captioner, side, other, CaptionFitSettings(epochs=100, patience=2, learning_rate=0.02))
    assert len(history) < 100
    sequences = [captioner.encode(words) for words in other.sentences]
    with torch.no_grad():
        loss = caption_loss(captioner, torch.from_numpy(other.features), sequences, is_parallel=False)
    assert float(loss) == pytest.approx(min(history), rel=1e-4)


def test_the_same_seed_gives_the_same_weights() -> None:
    weights = []
    for _ in range(2):
        captioner = make("deep")
        fit_captioner(captioner, make_side(), make_side(), CaptionFitSettings(epochs=2, seed=5))
        weights.append(torch.cat([values.flatten() for values in captioner.state_dict().values()]))
    assert torch.equal(*weights)


def test_a_side_without_sentences_is_refused() -> None:
    empty = CaptionSide(np.zeros((0, 10), np.float32), [])
    with pytest.raises(TrainingError, match="sentences to learn from"):
        fit_captioner(make("deep"), make_side(), empty, CaptionFitSettings())
