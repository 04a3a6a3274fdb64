import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def real_photo() -> Callable[[], Image.Image]:
    """Make copies of a real photograph, 451 x 300 pixels, RGB."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    with Image.open(Path(spec.origin).parent / "data" / "chelsea.png") as photo:
        pixels = photo.convert("RGB")
    pixels.info.clear()
    return pixels.copy


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """Encode an image as a file's bytes."""

    def encode_image(image: Image.Image, format: str, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, format, **options)
        return file.getvalue()

    return encode_image
