"""A context as torch tensors, from which training draws batches. Knows nothing of encodings or of models.

Shapes: see context.py; R photos of a batch, m neighbours each.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ContextBatch:
    """The context of the photos of a batch."""

    codes: Tensor
    """(R, S) float32: their metadata words, encoded."""
    neighbours: Tensor
    """(R, m, D) float32: features of their neighbours, nearest first."""
    neighbour_codes: Tensor
    """(R, m, S) float32."""

    def take(self, rows: Tensor) -> "ContextBatch":
        """Return the context of some of the photos."""
        return ContextBatch(self.codes[rows], self.neighbours[rows], self.neighbour_codes[rows])

    def to(self, device: torch.device | str) -> "ContextBatch":
        """Return the context on a device."""
        return ContextBatch(self.codes.to(device), self.neighbours.to(device), self.neighbour_codes.to(device))


@dataclass(frozen=True)
class ContextTensors:
    """A `Context` with its words encoded."""

    codes: Tensor
    """(B, S), float32 or bytes."""
    pool_features: Tensor
    """(N, D)."""
    pool_codes: Tensor
    """(N, S), as `codes`."""
    neighbours: Tensor
    """(B, M) rows of the pool, nearest first."""
    m: int
    """How many of them a model takes at once."""

    def draw(self, rows: Tensor, *, is_random: bool) -> ContextBatch:
        """Return the context of some photos, each with one m-subset of its M nearest, nearest first.

        Args:
            rows: (R,) photos.
            is_random: Draw another subset at each call, from torch's generator. Otherwise take evenly spaced places.
        """
        nearest = self.neighbours[rows]  # (R, M)
        num = nearest.shape[1]
        size = min(self.m, num)
        if is_random:
            places = torch.rand(nearest.shape).topk(size, dim=1).indices.sort(dim=1).values
        else:
            places = torch.linspace(0, max(num - 1, 0), size).round().long().expand(len(rows), -1)
        chosen = nearest.gather(1, places)  # (R, m)
        return ContextBatch(self.codes[rows].float(), self.pool_features[chosen], self.pool_codes[chosen].float())
