"""Smaller JPEGs of photos, and the side to which ingest decodes. Knows nothing of files or projects."""

import io

from PIL import Image

from annotator.datasets.image_folder import DecodedImage


def decoded_side(image_size: int, thumbnail_size: int) -> int:
    """Return the side in pixels to which ingest decodes photos.

    Args:
        image_size: Side of the backbone's input, in pixels.
        thumbnail_size: Longest side of a thumbnail, in pixels.
    """
    return max(image_size * 8 // 7, thumbnail_size)


def encode_jpeg(decoded: DecodedImage, longest_side: int | None, quality: int = 82) -> bytes:
    """Return a decoded image as JPEG, shrunk to a longest side, with its colour profile.

    Args:
        decoded: Upright RGB.
        longest_side: In pixels; None: the original size. An image is never enlarged.
        quality: JPEG quality, 1-95.
    """
    image = decoded.image
    if longest_side is not None and max(image.size) > longest_side:
        image = image.copy()
        image.thumbnail((longest_side, longest_side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, icc_profile=decoded.icc_profile)
    return buffer.getvalue()
