from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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


TAGS = ["man", "dog", "frisbee", "park", "tree", "bench", "bird"]
TAGGER_FEATURE_SIZE = 12
SMALL: dict[str, dict[str, Any]] = {
    "scnn_rnn": {"embedding_size": 6, "hidden_size": 16},
    "jvsp": {"size": 16},
    "ranked_lstm": {"image_size": 8, "hidden_size": 16},
    "ria": {"embedding_size": 6, "hidden_size": 16},
    "cnn_rnn": {"embedding_size": 6, "hidden_size": 16},
    "naive_rnn": {"embedding_size": 6, "hidden_size": 16},
}
"""Sizes of the recurrent taggers in tests."""


@pytest.fixture(scope="session")
def make_tagged_features() -> Callable[..., tuple[Any, list[list[int]]]]:
    """Random features like a backbone's, and lists of 1 to 4 of the 7 tags."""

    def make(num: int, seed: int = 0) -> tuple[Any, list[list[int]]]:
        rng = np.random.default_rng(seed)
        features = rng.gamma(1.0, 1.0, (num, TAGGER_FEATURE_SIZE)).astype(np.float32)
        return features, [rng.permutation(len(TAGS))[: 1 + row % 4].tolist() for row in range(num)]

    return make


@pytest.fixture(scope="session")
def make_tagger(make_tagged_features: Callable[..., Any]) -> Callable[..., Any]:
    """Small recurrent taggers by registry name, with random weights far from their start."""
    import torch

    from annotator.datasets.vocabulary import Vocabulary
    from annotator.models import registry

    def make(name: str, seed: int = 0, **settings: Any) -> Any:
        torch.manual_seed(seed)
        tagger = registry.create(name, Vocabulary(TAGS), TAGGER_FEATURE_SIZE, **{**SMALL[name], **settings})
        features, sequences = make_tagged_features(20, seed)
        labels = torch.zeros(len(sequences), len(TAGS))
        for row, tags in enumerate(sequences):
            labels[row, tags] = 1
        tagger.prepare(torch.from_numpy(features), labels)
        with torch.no_grad():
            for parameter in tagger.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
        return tagger.eval()

    return make


@pytest.fixture(scope="session")
def make_small_batch(make_tagged_features: Callable[..., Any]) -> Callable[..., Any]:
    """Batches of random photos with lists of 1 to 4 tags."""
    import torch

    from annotator.models.trained_tagger import make_batch

    def make(num: int = 6, seed: int = 0) -> Any:
        features, sequences = make_tagged_features(num, seed)
        return make_batch(torch.from_numpy(features), sequences, len(TAGS))

    return make
