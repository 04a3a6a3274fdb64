"""Batches of photos for training a backbone, decoded by worker processes: random crops with flips, or centre crops.

A photo's crop in an epoch depends only on (seed, row), not on the worker, so a resumed training gets the same crops.
Knows nothing of tags.
Shapes: B photos -> crops (B, H, W, 3) uint8.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from annotator.datasets.image_folder import decode_image, read_image_file
from annotator.errors import TrainingError, UnreadableImageError
from annotator.models.backbones.pretrained import Architecture, center_crop

Crop = npt.NDArray[np.uint8]

MIN_SIDE = 320
"""See feature_cache.py."""
ASPECTS = (3 / 4, 4 / 3)
"""Range of width / height of a random crop: Szegedy et al., "Going Deeper with Convolutions", 2015, section 6."""
NUM_TRIES = 10

CENTRE = -1
"""Value of a seed that asks for the centre crop."""


def random_crop(image: Image.Image, architecture: Architecture, least_area: float, rng: np.random.Generator) -> Crop:
    """Return a random crop of a photo, resized to the network's input, flipped with probability 1/2.

    Args:
        image: Upright RGB.
        architecture: Defines input size and resampling filter.
        least_area: Least share of the photo's area, in (0, 1].
        rng: Random generator.

    Returns:
        (H, W, 3) uint8.
    """
    width, height = image.size
    side = architecture.image_size
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    for _ in range(NUM_TRIES):
        area = width * height * rng.uniform(least_area, 1.0)
        aspect = math.exp(rng.uniform(math.log(ASPECTS[0]), math.log(ASPECTS[1])))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
            right, bottom = left + w, top + h
            break
    box = (left, top, right, bottom)
    crop = image.resize((side, side), Image.Resampling[architecture.interpolation], box=box)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.array(crop)


class _Photos(Dataset["Tensor | str"]):
    """Maps (row, seed) to a crop, or to the reason why there is none: exceptions lose their type between processes."""

    def __init__(self, images: Sequence[Path], architecture: Architecture, least_area: float) -> None:
        self.images, self.architecture, self.least_area = list(images), architecture, least_area

    def __getitem__(self, place: tuple[int, int]) -> "Tensor | str":
        row, seed = place
        path = self.images[row]
        try:
            image = decode_image(read_image_file(path), min_side=MIN_SIDE).image.convert("RGB")
        except UnreadableImageError as error:
            return f"{path} could be read before the training, but not now: {error}"
        if seed == CENTRE:
            return torch.from_numpy(np.array(center_crop(self.architecture, image)))
        digest = hashlib.sha256(f"{seed} {row}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        return torch.from_numpy(random_crop(image, self.architecture, self.least_area, rng))


def _stack(items: "list[Tensor | str]") -> "Tensor | str":
    problem = next((item for item in items if isinstance(item, str)), None)
    return problem or torch.stack([item for item in items if not isinstance(item, str)])


class _Plan:
    """Batch sampler: the (row, seed) pairs of the current epoch's batches."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class PhotoBatches:
    """Loads batches of crops; its worker processes persist between epochs.

    Args:
        images: N files.
        architecture: Of the backbone.
        least_area: See `random_crop`.
        num_workers: Processes that decode; 0 decodes in this process.
    """

    def __init__(self, images: Sequence[Path], architecture: Architecture, least_area: float, num_workers: int) -> None:
        self._plan = _Plan()
        self._loader: DataLoader[Any] = DataLoader(
            _Photos(images, architecture, least_area),
            batch_sampler=self._plan,
            num_workers=num_workers,
            collate_fn=_stack,
            persistent_workers=num_workers > 0,
            # Forking a process that runs OpenMP or CUDA is not safe.
            multiprocessing_context="spawn" if num_workers else None,
            pin_memory=torch.cuda.is_available(),
        )

    def __call__(self, batches: Sequence[Sequence[int]], seed: int = CENTRE) -> Iterator[Tensor]:
        """Yield crops, (B, H, W, 3) uint8, for each list of rows.

        Args:
            batches: Rows of `images`.
            seed: Of this epoch's crops; CENTRE gives centre crops.

        Raises:
            TrainingError: A photo can no longer be read.
        """
        self._plan.batches = [[(int(row), seed) for row in rows] for rows in batches]
        for crops in self._loader:
            if isinstance(crops, str):
                raise TrainingError(crops)
            yield crops
