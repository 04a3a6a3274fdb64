"""The checkpoints that come with the package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from annotator.models import checkpoint
from annotator.models.backbones.backbone import Backbone
from annotator.models.sequence.decoding import feed

RECURRENT = ["starter/jvsp", "starter/scnn_rnn", "starter/ranked_lstm"]
STARTERS = ["starter", *RECURRENT, "starter/zero_shot", "starter/open_vocabulary"]


@pytest.mark.parametrize("name", STARTERS)
def test_starter_was_made_for_the_default_backbone(name: str, backbone: Backbone) -> None:
    tagger = checkpoint.load(name, backbone=backbone)
    assert {"man", "dog", "street", "umbrella"} <= set(tagger.vocabulary.tags)
    assert checkpoint.read_info(name).about.order == "given"


def test_the_recurrent_starters_take_less_than_20_megabytes_and_all_together_less_than_25() -> None:
    folder = Path(checkpoint.__file__).with_name("starter")
    size = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert sum(num for path, num in size.items() if f"starter/{path.parent.name}" in RECURRENT) < 20_000_000
    assert sum(size.values()) < 25_000_000
    assert (folder / "CARD.md").read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("name", STARTERS)
def test_starter_finds_the_cat(name: str, backbone: Backbone, make_photo: Callable[[str], Image.Image]) -> None:
    features = backbone.extract(backbone.preprocess(make_photo("chelsea.png"))[None])
    ranked = checkpoint.load(name).decode(features, [()], k=5)[0]
    assert ranked[0].tag == "cat"
    assert ranked[0].score > (0.1 if name.endswith("open_vocabulary") else 0.5)


@pytest.mark.parametrize("name", RECURRENT)
def test_numpy_and_torch_give_the_same_on_the_starters_weights(name: str) -> None:
    module = checkpoint.load_module(name).eval()
    running: Any = checkpoint.load(name)
    features = np.random.default_rng(0).gamma(0.3, 1.0, (4, module.feature_size)).astype(np.float32)
    prefix = [3, 10, 7]
    from annotator.models.sequence.trained_tagger import make_batch

    batch = make_batch(torch.from_numpy(features), [prefix] * 4, module.num_tags)
    with torch.no_grad():
        expected = torch.log_softmax(module(batch).logits, dim=2).numpy()
    for length in range(len(prefix) + 1):
        state = running.steps.start(running._scale(features), running.concepts(features))
        found, _ = feed(running.steps, state, [prefix[:length]] * 4)
        num = expected.shape[2]  # the ranked LSTM has no END
        np.testing.assert_allclose(found[:, :num], expected[:, length], atol=1e-3)
