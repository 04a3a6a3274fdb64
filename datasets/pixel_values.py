"""From a decoded picture of any mode to 8-bit RGB: transparency, deep and floating-point values, colour profiles.

Knows nothing of files.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 4096
"""Longest colour profile that is kept beside the pixels; a longer one is applied to them. Those of cameras, phones and
screens are shorter; tables of printers and scanners have megabytes."""

_PROFILE_SPACES = {"RGB": b"RGB ", "CMYK": b"CMYK", "L": b"GRAY", "LAB": b"Lab "}  # mode -> the profile's colour space
_SAMPLE_SIZE = 1_000_000  # values that the used range is estimated from
_OUTLIERS = 0.1  # per cent of the values at each end that do not count: dead and hot pixels
_FAR = 3  # times the range of all other values
_SMALLEST_RANGE = 1e-35  # so that 255 divided by it does not overflow
_WELL_USED = 0.5  # part of a number range that a picture covers if it is made for that range


def to_rgb(image: Image.Image, profile: bytes | None = None) -> tuple[Image.Image, bytes | None]:
    """Return 8-bit RGB over white, and the colour profile that its values still need.

    Args:
        image: Loaded.
        profile: The ICC profile that came with it. Short RGB profiles are returned; others are applied.

    Returns:
        The pixels, and the profile, or None for sRGB and unknown.
    """
    space = profile[16:20] if profile and len(profile) >= 128 and profile[36:40] == b"acsp" else None
    if image.mode == "LAB" or (space is not None and space == _PROFILE_SPACES.get(image.mode) != b"RGB "):
        converted = _to_srgb(image, profile if space is not None else None)
        if converted is not None:
            return converted, None
    if space == b"GRAY" and (image.mode == "LA" or image.mode.startswith("I")):
        return _grey_to_rgb(image, profile), None
    rgb = _without_profile(image)
    if profile is None or space != b"RGB " or image.mode in {"CMYK", "LAB", "L", "LA", "1"}:
        return rgb, None
    if len(profile) <= MAX_PROFILE_BYTES:
        return rgb, profile
    converted = _to_srgb(rgb, profile)
    return (rgb if converted is None else converted), None


def to_8_bit(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Scale whole numbers of more than 8 bits, or floating-point numbers, to 0 .. 255.

    Values that use at least half of the usual range that holds them (1, 255, 65535) are scaled by that range; others
    are stretched from their lowest to their highest: scans of 12 bits in 16, thermal pictures, heights.

    Args:
        values: Any shape; NaN and infinity become 0.
    """
    if values.dtype == np.uint8:
        return values
    is_finite = np.isfinite(values) if values.dtype.kind == "f" else None
    if is_finite is not None:
        # So that high - low cannot overflow.
        values = np.where(is_finite, values, 0).clip(*((-1e30, 1e30) if values.dtype.itemsize > 2 else (None, None)))
    numbers = values.astype(np.float32)
    valid = _without_marker(numbers if is_finite is None else numbers[is_finite])
    low, high = _used_range(valid, is_whole=is_finite is None)
    scale = 255.0 / (high - low) if high - low > _SMALLEST_RANGE else 0.0
    scaled: npt.NDArray[np.uint8] = np.rint((numbers.clip(low, high) - low) * scale).astype(np.uint8)
    return scaled


def _without_marker(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Leave one value out that lies far below zero and all others: maps of heights have it where nothing is known."""
    if values.size == 0 or (low := float(values.min())) >= 0:
        return values
    others = values[values > low]
    if others.size == 0:
        return values
    lowest, highest = float(others.min()), float(others.max())
    is_marker = highest > lowest and lowest - low > _FAR * (highest - lowest)
    return others if is_marker else values


def _used_range(values: npt.NDArray[np.float32], *, is_whole: bool) -> tuple[float, float]:
    if values.size == 0:
        return 0.0, 0.0
    low, high = float(values.min()), float(values.max())
    sample = values.ravel()[:: max(1, values.size // _SAMPLE_SIZE)]
    inner_low, inner_high = (float(value) for value in np.percentile(sample, [_OUTLIERS, 100 - _OUTLIERS]))
    if low >= 0:
        ranges = (255.0, 65535.0) if is_whole else (1.0, 255.0, 65535.0)
        full = next((full for full in ranges if high <= full), None)
        # A picture of one value has no range to be stretched.
        if full is not None and (inner_high - inner_low >= _WELL_USED * full or high == low):
            return 0.0, full
    # Where only a few values differ from the others (a star), those few are the picture.
    return (inner_low, inner_high) if inner_high > inner_low else (low, high)


def _grey_to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Apply the profile of a grey picture of 16 bits, or with transparency, which lies on white."""
    if image.mode != "LA":
        grey = Image.fromarray(to_8_bit(np.asarray(image)))
        return _to_srgb(grey, profile) or grey.convert("RGB")
    rgb = _to_srgb(image.getchannel("L"), profile)
    if rgb is None:
        return _without_profile(image)
    white = Image.new("RGB", rgb.size, (255, 255, 255))
    white.paste(rgb, mask=image.getchannel("A"))
    return white


def _without_profile(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(to_8_bit(np.asarray(image))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return rgba.convert("RGB")
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=alpha)
    return white


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    """Apply a profile; None if it is damaged or does not fit the picture."""
    try:
        source = ImageCms.createProfile("LAB") if profile is None else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
