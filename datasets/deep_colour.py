"""16-bit colour pictures that use few of their bits, such as 12 bits of a scanner in 16.

Pillow has no mode for 16-bit colour: it keeps the upper byte of each value, in which such a picture is nearly black.
The lower bytes are those that it keeps when told the other order of bytes. Knows nothing of files on disk.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from annotator.datasets.pixel_values import to_8_bit

_OTHER_ORDER = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
_COLOUR = frozenset({"RGB", "RGBA", "RGBX"})
_GREY_AND_ALPHA = "LA;16B"  # in a PNG
_FEW = 64
"""Upper byte from which on a value needs more than 14 bits."""
_OUTLIERS = 0.001
"""Share of the values that may need more: dead and hot pixels."""

Tiles = Sequence[Any]
"""What Pillow will load of an opened picture: ``ImageFile.tile``."""


def stretched(picture: Image.Image, tiles: Tiles, reopen: Callable[[], ImageFile.ImageFile]) -> Image.Image:
    """Return a picture of 16-bit values that need 14 bits or fewer in 8 bits, stretched from the lowest to the highest.

    Any other picture is returned as it is.

    Args:
        picture: Loaded.
        tiles: ``picture.tile`` as it was before loading, which empties it.
        reopen: Opens the same picture again, not loaded.
    """
    if not tiles or any(_raw_mode(tile) != _raw_mode(tiles[0]) for tile in tiles):
        return picture
    raw_mode = _raw_mode(tiles[0])
    base, _, order = raw_mode.partition(";")
    is_grey = raw_mode == _GREY_AND_ALPHA
    if not is_grey and (base not in _COLOUR or order not in _OTHER_ORDER):
        return picture
    colours = picture.getbands()[: 1 if is_grey else 3]
    if not all(_uses_few_bits(picture.getchannel(band)) for band in colours):
        return picture
    again = reopen()
    if is_grey:
        # Four bytes a pixel: upper and lower byte of grey, and of alpha.
        again._mode = "RGBA"
    again.tile = [_with_raw_mode(tile, "RGBA" if is_grey else f"{base};{_OTHER_ORDER[order]}") for tile in tiles]
    again.load()
    read = np.asarray(again).astype(np.uint16)
    values = read[..., ::2] << 8 | read[..., 1::2] if is_grey else np.asarray(picture).astype(np.uint16) << 8 | read
    bands = to_8_bit(values[..., : len(colours)])
    if values.shape[-1] > len(colours):
        bands = np.dstack([bands, _alpha(values[..., -1])])
    wide = Image.fromarray(bands, "LA" if is_grey else picture.mode)
    wide.info = dict(picture.info)
    return wide


def _raw_mode(tile: Any) -> str:
    arguments = tile[3]
    raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw_mode if isinstance(raw_mode, str) else ""


def _with_raw_mode(tile: Any, raw_mode: str) -> Any:
    arguments = tile[3]
    return tile._replace(args=(raw_mode, *arguments[1:]) if isinstance(arguments, tuple) else raw_mode)


def _uses_few_bits(band: Image.Image) -> bool:
    counts = band.histogram()
    return sum(counts[_FEW:]) <= _OUTLIERS * sum(counts)


def _alpha(values: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Return the opacity in 8 bits; its highest value is opaque if it needs few bits, as the colours do."""
    highest = int(values.max(initial=0))
    full = highest if 0 < highest < _FEW << 8 else 65_535
    return np.rint(values * (255.0 / full)).astype(np.uint8)
