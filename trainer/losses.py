"""Losses beside the papers' own: asymmetric for concepts, list-wise for a person's order; and label weights.

Knows nothing of taggers: logits and targets in; a scalar out for concepts, a value for each image for lists.
Shapes: concept logits (B, V); sequence logits (B, T, W) with targets (B, T), -1 where a list is over.
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
    """Return a binary cross-entropy that plays down easy absent tags, the mean over images.

    Paper: Ridnik et al., "Asymmetric Loss For Multi-Label Classification", 2021, eq. 7: with p_m = max(p - m, 0),
    present tags cost (1 - p)^g+ x -log(p), absent ones p_m^g- x -log(1 - p_m). Milder than the paper's g- = 4, since
    the present tags here are one in a hundred, not one in thirty.

    Args:
        logits: (B, V).
        labels: (B, V), 0 or 1.
        weights: (B, V), how much each label counts.
    """
    present = torch.sigmoid(logits)
    shifted = (present - MARGIN).clamp(min=0)
    positive = -F.logsigmoid(logits) * (1 - present) ** FOCUS_POSITIVE
    negative = -torch.log((1 - shifted).clamp(min=1e-8)) * shifted**FOCUS_NEGATIVE
    losses = labels * positive + (1 - labels) * negative
    return (losses * weights).sum() / len(logits)


def list_wise_loss(logits: Tensor, targets: Tensor, discount: float) -> Tensor:
    """Return the cross-entropy at each step against all tags still to come, sooner ones weighing more.

    At step t the target is a distribution: the tag d places later in the person's order has a share in proportion to
    discount^d, and END after them. With discount 0 this is the papers' cross-entropy; with more, a step learns the set
    that remains and its order at once (ListNet with gains that halve, say, from place to place).

    Args:
        logits: (B, T, W).
        targets: (B, T): tags, then END = W - 1; PADDING afterwards. END is left out where W has no room for it.
        discount: In [0, 1].

    Returns:
        (B,), summed over steps.
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


def label_weights(labels: Tensor, features_like: Tensor | None, floor: float) -> Tensor:
    """Return how much each label counts, since a tag that was not mentioned is not absent for sure.

    Args:
        labels: (N, V), 0 or 1.
        features_like: (N, V), for each photo and tag the share of look-alikes that carry the tag, in [0, 1]; None
            counts all unmentioned tags alike.
        floor: Weight of an unmentioned tag that all look-alikes carry, in [0, 1].

    Returns:
        (N, V): 1 for mentioned tags; for the others 1 less (1 - floor) x share.
    """
    share = torch.zeros_like(labels) if features_like is None else features_like
    return torch.where(labels > 0, 1.0, 1 - (1 - floor) * share)


def look_alike_share(features: Tensor, labels: Tensor, num_neighbours: int) -> Tensor:
    """Return, for each photo and tag, the share of the nearest other photos (by cosine) that carry the tag.

    Args:
        features: (N, D).
        labels: (N, V), 0 or 1.
        num_neighbours: At most N - 1 are used.
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
    """Raise ConfigError if a setting's value is not among its choices."""
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; choose one of: {', '.join(choices)}.")
