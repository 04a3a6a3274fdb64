"""Crops for a network against the transforms of its own library, to the last bit."""

from typing import Any

import numpy as np
import open_clip
import pytest
import timm
from PIL import Image

from annotator.models.backbones.preprocessing import MOST_ELONGATED
from annotator.models.backbones.pretrained import Architecture, center_crop
from annotator.models.backbones.towers import open_clip_architecture, timm_architecture

MEAN, STD = (0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)


def sizes() -> list[tuple[int, int]]:
    """Sizes of photos: some at the limits, others at random."""
    rng = np.random.default_rng(0)
    some = [(64, 64), (63, 64), (65, 64), (1, 1), (3, 2), (64, 8 * 64), (97, 96), (640, 480), (480, 641)]
    widths, ratios = rng.integers(40, 400, 12), rng.uniform(0.3, 3, 12)
    return [*some, *((int(width), int(width * ratio)) for width, ratio in zip(widths, ratios, strict=True))]


def photo(width: int, height: int) -> Image.Image:
    """A photo with smooth and with sharp places, and with the extreme values."""
    rng = np.random.default_rng(width * 1000 + height)
    small = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    smooth = small.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(smooth, np.int16) + rng.integers(-60, 60, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def check(architecture: Architecture, transform: Any) -> None:
    """Compare the crops of all sizes with the library's; its values are exact quotients, so that bytes come back."""
    mean, std = (np.array(values, np.float32) for values in (architecture.mean, architecture.std))
    for width, height in sizes():
        assert max(width, height) <= MOST_ELONGATED * min(width, height)
        image = photo(width, height)
        wanted = transform(image).permute(1, 2, 0).numpy()
        crop = center_crop(architecture, image)
        assert crop.dtype == np.uint8
        # What the network computes from the crop, in the same order of operations, is the library's tensor bit by bit.
        found = (crop.astype(np.float32) / np.float32(255) - mean) / std
        np.testing.assert_array_equal(found, wanted, f"{width}x{height}")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 0.95, 1.0])
@pytest.mark.parametrize(("size", "crop_mode"), [(64, "center"), (63, "center"), (64, "squash")])
def test_crops_are_those_of_timm(interpolation: str, crop_pct: float, size: int, crop_mode: str) -> None:
    data: dict[str, Any] = {
        "input_size": (3, size, size), "interpolation": interpolation, "crop_pct": crop_pct, "crop_mode": crop_mode,
        "mean": MEAN, "std": STD,
    }  # fmt: skip
    transform = timm.data.create_transform(**data, is_training=False)  # type: ignore[no-untyped-call]
    check(timm_architecture("test", 8, data, False), transform)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [64, (63, 63)])
@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
def test_crops_are_those_of_open_clip(interpolation: str, size: Any, resize_mode: str) -> None:
    data = {"size": size, "mean": MEAN, "std": STD, "interpolation": interpolation, "resize_mode": resize_mode}
    transform = open_clip.image_transform(
        size, is_train=False, mean=MEAN, std=STD, resize_mode=resize_mode, interpolation=interpolation
    )
    check(open_clip_architecture("test", 8, data), transform)
