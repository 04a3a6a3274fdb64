"""A metric for 2PKNN: weights of the dimensions, learnt so that photos with a common tag come before those without.

Paper: Verma, Jawahar, "Image Annotation Using Metric Learning in Semantic Neighbourhoods", ECCV 2012, section 4, a
multi-label form of Weinberger and Saul's large margin nearest neighbours (JMLR 2009).
Implements: pass 1 of 2PKNN, the nearest photos of each tag, in tag_balanced; the loss over photos i, their targets j
    (photos of i's own tags in its semantic neighbourhood) and impostors k (photos of it that share no tag with i),
        PULL_SHARE mean_ij D_w(i, j) + mean_ijk max(0, margin + D_w(i, j) - D_w(i, k)),
    in metric_loss; its minimum over w >= 0 in learn_metric.
Departs: the paper learns a weight of each of 15 kinds of features and of each of their dimensions; there is one kind
    here, so only the latter. Distances are of unit vectors after weighting, as everywhere in neighbour_baselines.py,
    hence the margin is the votes' temperature instead of 1. Adam on log w instead of projected subgradients. The paper
    itself is not among those this was written from; what is above is all that was taken from it.
Shapes: N photos, E dimensions, T targets and K impostors each.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from annotator.models.taggers.scoring_tagger import Matrix

if TYPE_CHECKING:
    from torch import Tensor

MAX_TARGETS, MAX_IMPOSTORS = 10, 20
"""Nearest targets and impostors of a photo that enter the loss."""
PULL_SHARE = 0.5
"""Weight of the first sum relative to the second; 0 would let distances grow as long as their order is right."""
BATCH_SIZE = 128
LEARNING_RATE = 0.02
BLOCK = 256
"""Photos that are compared with all others at once."""

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Triples:
    """The photos with at least one target and one impostor, and these."""

    photos: Rows
    """(P,)."""
    targets: Rows
    """(P, T), padded with -1."""
    impostors: Rows
    """(P, K), padded with -1."""


def tag_balanced(distances: Matrix, labels: Matrix, num_nearest: int) -> Mask:
    """Return which photos are among the `num_nearest` nearest of any tag, (B, N): pass 1 of 2PKNN.

    Args:
        distances: (B, N).
        labels: (N, V), 0 or 1.
        num_nearest: K1.
    """
    chosen = np.zeros(distances.shape, bool)
    for tag in range(labels.shape[1]):
        photos = np.flatnonzero(labels[:, tag])
        num = min(num_nearest, len(photos))
        if num:
            nearest = np.argpartition(distances[:, photos], num - 1, axis=1)[:, :num]
            chosen[np.arange(len(distances))[:, None], photos[nearest]] = True
    return chosen


def find_triples(keys: Matrix, labels: Matrix, num_nearest: int) -> Triples:
    """Return each photo's nearest targets and impostors in its semantic neighbourhood, without itself.

    Args:
        keys: (N, E) unit rows.
        labels: (N, V), 0 or 1.
        num_nearest: K1.
    """
    targets = np.full((len(keys), MAX_TARGETS), -1, np.int64)
    impostors = np.full((len(keys), MAX_IMPOSTORS), -1, np.int64)
    for start in range(0, len(keys), BLOCK):
        part = keys[start : start + BLOCK]
        distances = np.maximum(2 - 2 * (part @ keys.T), 0)
        own = np.arange(len(part))
        distances[own, start + own] = np.inf
        chosen = tag_balanced(distances, labels, num_nearest) & np.isfinite(distances)
        shares_tag = labels[start : start + BLOCK] @ labels.T > 0
        for rows, wanted in ((targets, chosen & shares_tag), (impostors, chosen & ~shares_tag)):
            ranked = np.where(wanted, distances, np.inf)
            nearest = np.argsort(ranked, axis=1, kind="stable")[:, : rows.shape[1]]
            found = np.isfinite(np.take_along_axis(ranked, nearest, axis=1))
            rows[start : start + len(part), : nearest.shape[1]] = np.where(found, nearest, -1)
    has_both = (targets[:, 0] >= 0) & (impostors[:, 0] >= 0)
    photos = np.flatnonzero(has_both)
    return Triples(photos, targets[photos], impostors[photos])


def metric_loss(
    weights: "Tensor", keys: "Tensor", photos: "Tensor", targets: "Tensor", impostors: "Tensor", margin: float
) -> "Tensor":
    """Return the loss of a batch of triples, a scalar, the mean over its pairs and over its triples.

    Args:
        weights: (E,) w.
        keys: (N, E).
        photos: (P,) rows of `keys`.
        targets: (P, T) rows, padded with -1.
        impostors: (P, K) rows, padded with -1.
        margin: Distance by which impostors should lie farther than targets.
    """
    from torch.nn.functional import normalize

    scaled = normalize(keys[photos] * weights.sqrt(), dim=1)[:, None]  # (P, 1, E)

    def distances(rows: "Tensor") -> "Tensor":
        others = normalize(keys[rows.clamp(min=0)] * weights.sqrt(), dim=2)
        return 2 - 2 * (scaled * others).sum(dim=2)

    near, far = distances(targets), distances(impostors)
    is_pair = targets >= 0  # (P, T)
    is_triple = is_pair[:, :, None] & (impostors >= 0)[:, None]  # (P, T, K)
    pull = (near * is_pair).sum() / is_pair.sum()
    hinges = (margin + near[:, :, None] - far[:, None]).clamp(min=0)
    push = (hinges * is_triple).sum() / is_triple.sum()
    return PULL_SHARE * pull + push


def learn_metric(
    keys: Matrix, labels: Matrix, *, num_nearest: int, margin: float, num_steps: int, seed: int = 0
) -> Matrix:
    """Return the square roots of the learnt weights, (E,), by which vectors are multiplied; mean square 1.

    They are 1 where no photo has both a target and an impostor, so that there is nothing to learn from.

    Args:
        keys: (N, E) unit rows.
        labels: (N, V), 0 or 1.
        num_nearest: K1.
        margin: See `metric_loss`.
        num_steps: Steps of Adam, each on `BATCH_SIZE` photos.
        seed: Of the order of the photos.
    """
    import torch

    triples = find_triples(keys, labels, num_nearest)
    if not len(triples.photos):
        return np.ones(keys.shape[1], np.float32)
    photos, targets, impostors = map(torch.from_numpy, (triples.photos, triples.targets, triples.impostors))
    values = torch.from_numpy(keys)
    log_weights = torch.zeros(keys.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([log_weights], lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(num_steps):
        rows = torch.randint(len(photos), (min(BATCH_SIZE, len(photos)),), generator=generator)
        loss = metric_loss(log_weights.exp(), values, photos[rows], targets[rows], impostors[rows], margin)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    learnt = log_weights.detach().exp()
    roots: Matrix = (learnt / learnt.mean()).sqrt().numpy()
    return roots
