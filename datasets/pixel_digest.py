"""The digest of a photo's decoded pixels: equal for files that differ in metadata, compression or orientation alone.

It is computed from what ingest decodes anyway, a large JPEG at a fraction of its size, so digests are comparable only
under one scheme: the version of the decoding and the side to which it reduces. Knows nothing of projects.
"""

import hashlib

from PIL import Image

from annotator.datasets.embedded_metadata import ORIENTATION
from annotator.datasets.image_folder import DecodedImage, decode_image

DECODING = 1
"""To be increased with the first release in which ``decode_image`` returns other pixels for the same bytes: digests are
then computed anew."""

_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation -> operation that turns upright pixels back to the stored ones."""


def digest_scheme(min_side: int) -> str:
    """Return the scheme, which is the start of a digest.

    Args:
        min_side: As given to ``decode_image``, in pixels.
    """
    return f"{DECODING}-{min_side}:"


def side_of_digest(digest: str) -> int:
    """Return the ``min_side`` with which the photo of a digest was decoded."""
    return int(digest.partition(":")[0].partition("-")[2])


def has_pixels(data: bytes, digest: str) -> bool:
    """Tell whether a file has the pixels of a digest, to whatever side it was decoded.

    Raises:
        UnreadableImageError: The file cannot be decoded.
    """
    min_side = side_of_digest(digest)
    return pixel_digest(decode_image(data, min_side=min_side), min_side) == digest


def orientation_of(decoded: DecodedImage) -> int:
    """Return the EXIF orientation of a photo, 1 to 8; 1 if it has none."""
    orientation = decoded.embedded.exif.get(ORIENTATION)
    return orientation if isinstance(orientation, int) and orientation in _STORED else 1


def pixel_digest(decoded: DecodedImage, min_side: int) -> str:
    """Return the digest of a photo's pixels as they are stored, before the orientation is applied.

    Args:
        decoded: The photo, decoded with ``min_side``.
        min_side: As given to ``decode_image``, in pixels.
    """
    orientation, image, size = orientation_of(decoded), decoded.image, (decoded.width, decoded.height)
    if orientation in _STORED:
        image = image.transpose(_STORED[orientation])
        size = size if orientation < 5 else size[::-1]
    digest = hashlib.sha256(repr((size, image.size)).encode())
    digest.update(image.tobytes())
    return digest_scheme(min_side) + digest.hexdigest()[:32]
