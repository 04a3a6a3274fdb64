"""Losses beyond those of the papers: asymmetric for concepts, list-wise for the tag order; and label weights.

Knows nothing of taggers: takes logits and targets; returns a scalar for concepts, one value an image for lists.
Shapes: concept logits (B, V); sequence logits (B, T, W) with targets (B, T), padded with -1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from annotator.errors import ConfigError

PADDING = -1
CONCEPT_LOSSES = ("binary", "asymmetric")
SEQUENCE_LOSSES = ("paper", "list_wise")
LABEL_WEIGHTS = ("equal", "unmentioned")

FOCUS_POSITIVE = 0.0
FOCUS_NEGATIVE = 2.0
MARGIN = 0.05


def asymmetric_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return a binary cross-entropy that down-weights easy negatives, as the mean over images.

    Paper: Ridnik et al., "Asymmetric Loss For Multi-Label Classification", 2021, eq. 7: with p_m = max(p - m, 0),
    positives cost (1 - p)^g+ x -log(p), negatives p_m^g- x -log(1 - p_m). g- is 2 instead of the paper's 4, since one
    tag in a hundred is positive here, not one in thirty.

    Args:
        logits: (B, V).
        labels: (B, V), 0 or 1.
        weights: (B, V), of each label.
    """
    present = torch.sigmoid(logits)
    shifted = (present - MARGIN).clamp(min=0)
    positive = -F.logsigmoid(logits) * (1 - present) ** FOCUS_POSITIVE
    negative = -torch.log((1 - shifted).clamp(min=1e-8)) * shifted**FOCUS_NEGATIVE
    losses = labels * positive + (1 - labels) * negative
    return (losses * weights).sum() / len(logits)


def list_wise_loss(logits: Tensor, targets: Tensor, discount: float) -> Tensor:
    """Return the cross-entropy at each step against all remaining tags, the earlier ones weighted more.

    At step t the target is a distribution: the tag d places later in the person's order has a probability proportional
    to discount^d, and END follows the tags. With discount 0 this is the papers' cross-entropy; with a larger one, a
    step learns the remaining set and its order at once (ListNet with geometric gains).

    Args:
        logits: (B, T, W).
        targets: (B, T): tags, then END = W - 1; PADDING afterwards. Without an END column in W, END is ignored.
        discount: In [0, 1].

    Returns:
        (B,), the sums over steps.
    """
    batch, num_steps, width = logits.shape
    targets = targets.masked_fill(targets >= width, PADDING)
    is_real = targets != PADDING  # (B, T)
    one_hot = F.one_hot(targets.clamp(min=0), width).to(logits.dtype) * is_real[:, :, None]
    log_probs = torch.log_softmax(logits, dim=2)
    following = torch.zeros(batch, width, dtype=logits.dtype, device=logits.device)
    mass = torch.zeros(batch, 1, dtype=logits.dtype, device=logits.device)
    total = torch.zeros(batch, dtype=logits.dtype, device=logits.device)
    for step in range(num_steps - 1, -1, -1):
        following = one_hot[:, step] + discount * following
        mass = is_real[:, step : step + 1] + discount * mass
        share = following / mass.clamp(min=1e-8)
        total = total - (share * log_probs[:, step]).sum(dim=1)
    return total


def label_weights(labels: Tensor, shares: Tensor | None, floor: float) -> Tensor:
    """Return the weight of each label in the loss; a missing tag is an uncertain negative.

    Args:
        labels: (N, V), 0 or 1.
        shares: (N, V), the share of visually similar photos that have the tag, in [0, 1]; None gives all missing
            tags the weight 1.
        floor: Weight of a missing tag that all similar photos have, in [0, 1].

    Returns:
        (N, V): 1 for positives; for the others 1 - (1 - floor) x share.
    """
    share = torch.zeros_like(labels) if shares is None else shares
    return torch.where(labels > 0, 1.0, 1 - (1 - floor) * share)


def look_alike_share(features: Tensor, labels: Tensor, num_neighbours: int) -> Tensor:
    """Return (N, V), the share of each photo's nearest other photos (by cosine) that have the tag.

    Args:
        features: (N, D).
        labels: (N, V), 0 or 1.
        num_neighbours: Number of nearest photos; at most N - 1 are used.
    """
    unit = F.normalize(features, dim=1)
    num = min(num_neighbours, len(features) - 1)
    if num < 1:
        return torch.zeros_like(labels)
    shares = []
    for start in range(0, len(unit), 512):
        likeness = unit[start : start + 512] @ unit.T  # (b, N)
        rows = torch.arange(len(likeness))
        likeness[rows, start + rows] = -2.0  # a photo is not its own neighbour
        nearest = likeness.topk(num, dim=1).indices
        shares.append(labels[nearest].mean(dim=1))
    return torch.cat(shares)


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise ConfigError if the value of a setting is not one of its choices."""
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; choose one of: {', '.join(choices)}.")
