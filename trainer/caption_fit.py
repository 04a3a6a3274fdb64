"""Trains a captioner on features and sentences: both parts in parallel, then jointly; early stopping on held-out ones.

Section 3.3 and 5 of "Semantic Regularisation for Recurrent Image Annotation" (Liu et al., 2017). The forms that do not
start from concepts have the joint stage only. Knows nothing of files or commands.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from annotator.errors import TrainingError
from annotator.models.taggers.captioner import Captioner

PADDING = -1
CLIP_NORM = 5.0
Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CaptionSide:
    """Photos of one side of a split."""

    features: Features
    """(N, D)."""
    sentences: Sequence[Sequence[str]]
    """Words of each photo's sentence, at least one."""


@dataclass(frozen=True)
class CaptionFitSettings:
    """How a captioner is trained."""

    epochs: int = 20
    """Most epochs of each stage."""
    patience: int = 2
    """Epochs without a lower validation loss before a stage ends."""
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0


def fit_captioner(
    captioner: Captioner, train: CaptionSide, validation: CaptionSide, settings: CaptionFitSettings
) -> list[float]:
    """Train a captioner; it ends with its best weights, in evaluation mode. Returns the validation losses in order.

    Raises:
        TrainingError: A side is empty, or the loss is not finite.
    """
    if not len(train.sentences) or not len(validation.sentences):
        raise TrainingError("A captioner needs sentences to learn from and sentences to stop by.")
    torch.manual_seed(settings.seed)
    sequences = [[captioner.encode(words) for words in side.sentences] for side in (train, validation)]
    features = [torch.from_numpy(side.features) for side in (train, validation)]
    captioner.prepare(features[0], captioner.concepts_of(sequences[0]))
    history: list[float] = []
    for is_parallel in (True, False) if captioner.config.form == "concepts" else (False,):
        optimizer = torch.optim.Adam(captioner.parameters(), lr=settings.learning_rate)
        best, best_loss, num_worse = copy.deepcopy(captioner.state_dict()), math.inf, 0
        for _ in range(settings.epochs):
            captioner.train()
            for rows in torch.split(torch.randperm(len(sequences[0])), settings.batch_size):
                chosen = [sequences[0][row] for row in rows.tolist()]
                loss = caption_loss(captioner, features[0][rows], chosen, is_parallel=is_parallel)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(captioner.parameters(), CLIP_NORM)
                optimizer.step()
            captioner.eval()
            with torch.no_grad():
                parts = [
                    float(caption_loss(captioner, features[1][rows], [sequences[1][row] for row in rows.tolist()],
                                       is_parallel=is_parallel)) * len(rows)
                    for rows in torch.split(torch.arange(len(sequences[1])), settings.batch_size)
                ]  # fmt: skip
            history.append(sum(parts) / len(sequences[1]))
            if not math.isfinite(history[-1]):
                raise TrainingError("The loss was not a finite number. Lower the learning rate.")
            if history[-1] < best_loss:
                best, best_loss, num_worse = copy.deepcopy(captioner.state_dict()), history[-1], 0
            else:
                num_worse += 1
                if num_worse >= settings.patience:
                    break
        captioner.load_state_dict(best)
    captioner.eval()
    return history


def caption_loss(
    captioner: Captioner, features: Tensor, sequences: Sequence[Sequence[int]], *, is_parallel: bool
) -> Tensor:
    """Return L_u + L_r of eq. 4, the mean over photos; L_r alone in the form without concepts.

    Args:
        captioner: In training or evaluation mode.
        features: (B, D).
        sequences: B lists of word ids, at least one each.
        is_parallel: Start the sentences from the true concepts (stage 1).
    """
    order = sorted(range(len(sequences)), key=lambda row: -len(sequences[row]))
    ordered = [sequences[row] for row in order]
    end, longest = len(captioner.words), len(ordered[0])
    inputs = torch.full((len(order), longest + 1), end)
    targets = torch.full((len(order), longest + 1), PADDING)
    for row, ids in enumerate(ordered):
        inputs[row, 1 : len(ids) + 1] = torch.tensor(ids)
        targets[row, : len(ids)] = torch.tensor(ids)
        targets[row, len(ids)] = end
    concepts = captioner.concepts_of(ordered)
    lengths = torch.tensor([len(ids) + 1 for ids in ordered])
    logits, concept_logits = captioner(
        features[torch.tensor(order)], inputs, lengths, concepts if is_parallel else None
    )
    total = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=PADDING, reduction="sum") / len(order)
    if concept_logits is not None:
        total = total + F.binary_cross_entropy_with_logits(concept_logits, concepts, reduction="sum") / len(order)
    return total
