"""Preprocessing as timm and open_clip do it: resize the whole photo with Pillow, then crop the centre.

Knows nothing of networks. Shapes: photo -> (S, S, 3) uint8.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

MOST_ELONGATED = 8
"""Ratio of the sides up to which the whole photo is resized, bit by bit as the libraries do it. Of a more elongated
one, whose resized sides would take gigabytes, only the crop is: a value differs by at most 1 of 255, by rounding."""


def squash(image: Image.Image, scale: int, size: int, interpolation: str) -> npt.NDArray[np.uint8]:
    """Resize both sides to one length, whatever their ratio, and crop the centre.

    Args:
        image: RGB.
        scale: The length, in pixels.
        size: S, at most `scale`.
        interpolation: Pillow's name of the resampling filter.
    """
    return _centre(image.resize((scale, scale), Image.Resampling[interpolation]), size)


def shortest(image: Image.Image, scale: int, size: int, interpolation: str) -> npt.NDArray[np.uint8] | None:
    """Resize the shorter side to a length and crop the centre; None for a very elongated photo.

    Args:
        image: RGB.
        scale: The length, in pixels.
        size: S, at most `scale`.
        interpolation: Pillow's name of the resampling filter.
    """
    width, height = image.size
    if max(width, height) > MOST_ELONGATED * min(width, height):
        return None
    sides = (scale, int(scale * height / width)) if width <= height else (int(scale * width / height), scale)
    if sides != image.size:
        image = image.resize(sides, Image.Resampling[interpolation])
    return _centre(image, size)


def _centre(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    left, top = (round((side - size) / 2) for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))
