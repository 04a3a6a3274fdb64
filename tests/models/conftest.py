from collections.abc import Callable
from pathlib import Path

import pytest
import skimage
import sklearn
from PIL import Image

from annotator.models.backbone import Backbone, load_backbone

SKIMAGE = Path(skimage.__file__).parent / "data"
SKLEARN = Path(sklearn.__file__).parent / "datasets" / "images"


@pytest.fixture(scope="session")
def backbone_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the session, as an export takes seconds."""
    return tmp_path_factory.mktemp("backbones")


@pytest.fixture(scope="session")
def backbone(backbone_cache: Path) -> Backbone:
    return load_backbone(device="cpu", num_threads=1, cache_path=backbone_cache)


@pytest.fixture(scope="session")
def make_photo() -> Callable[[str], Image.Image]:
    """Real photos by file name, from the packages scikit-image and scikit-learn."""

    def make(name: str) -> Image.Image:
        folder = SKIMAGE if (SKIMAGE / name).exists() else SKLEARN
        with Image.open(folder / name) as image:
            return image.convert("RGB")

    return make
