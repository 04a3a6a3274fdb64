"""Training examples of a tagger: features, tags in training order, and optional side information."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from annotator.errors import TrainingError
from annotator.models.context import Context


@dataclass(frozen=True)
class Examples:
    """Training examples of N photos."""

    features: npt.NDArray[np.float32]
    """(N, D)."""
    sequences: list[list[int]]
    """Tag ids of each photo in training order; at least one each."""
    user_tags: npt.NDArray[np.float32] | None = None
    """(N, U) side information."""
    importance: npt.NDArray[np.float32] | None = None
    """(N,) weight of each photo in the loss, 0 or more; None: 1 each."""
    images: Sequence[Path] = ()
    """Files of the N photos; needed only to train a backbone."""
    context: Context | None = None
    """Metadata and neighbours of the same photos, for the taggers that use them."""

    def __post_init__(self) -> None:
        if len(self.features) != len(self.sequences) or not self.sequences:
            raise TrainingError(f"There are {len(self.features)} photos and {len(self.sequences)} lists to learn from.")
        if not all(self.sequences):
            raise TrainingError("A photo without any tag of the vocabulary cannot be learnt from; leave it out.")
        if not np.isfinite(self.features).all():
            raise TrainingError("Some features are not finite numbers; extract them again.")
        for name in ("user_tags", "importance", "images"):
            values = getattr(self, name)
            if values is not None and len(values) not in (
                {0, len(self.sequences)} if name == "images" else {len(self.sequences)}
            ):
                raise TrainingError(f"There are {len(self.sequences)} photos, but {len(values)} of their {name}.")
        if self.importance is not None and not (self.importance >= 0).all():
            raise TrainingError("The importance of a photo must be 0 or more.")

    def labels(self, num_tags: int) -> npt.NDArray[np.float32]:
        """Return (N, V), 0 or 1."""
        rows = np.zeros((len(self.sequences), num_tags), np.float32)
        for row, tags in zip(rows, self.sequences, strict=True):
            row[tags] = 1.0
        return rows
