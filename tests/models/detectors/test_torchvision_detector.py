"""Torchvision's detector with random weights: its own need a download of 74 MB, which tests do not make."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from annotator.errors import DetectorError
from annotator.models.detectors import torchvision_detector
from annotator.models.detectors.coco_classes import COCO_CLASSES
from annotator.models.detectors.detector_catalog import (
    TORCHVISION_FILE,
    list_detectors,
    load_detector,
    torchvision_weights_path,
)
from annotator.models.detectors.torchvision_detector import WEIGHTS, TorchvisionDetector, build_network


def categories() -> list[str]:
    from torchvision import models  # type: ignore[import-untyped]

    return list(models.get_weight(WEIGHTS).meta["categories"])


def test_its_classes_are_those_of_coco() -> None:
    assert set(COCO_CLASSES) == set(categories()) - {"__background__", "N/A"}


def test_a_real_network_takes_photos_of_different_sizes(make_photo: Callable[[str], Image.Image]) -> None:
    torch.manual_seed(0)
    network = build_network()
    photos = [make_photo("chelsea.png").resize((64, 48)), make_photo("coffee.png").resize((40, 60))]
    network.transform.min_size = (64,)  # type: ignore[union-attr]
    found = TorchvisionDetector(network, categories(), "random").detect(photos)
    assert len(found) == 2
    assert all(item.label in COCO_CLASSES and 0 < item.score <= 1 for items in found for item in items)


class Fixed(torch.nn.Module):
    """Returns given outputs, and stores its inputs."""

    def __init__(self, output: dict[str, Any]) -> None:
        super().__init__()
        self.output = output
        self.seen: list[torch.Tensor] = []

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, Any]]:
        self.seen = images
        return [self.output for _ in images]


def test_boxes_become_shares_by_score_and_low_scores_are_left_out() -> None:
    names = categories()
    output = {
        "boxes": torch.tensor([[0.0, 0.0, 50.0, 20.0], [25.0, 10.0, 100.0, 30.0], [0.0, 0.0, 9.0, 9.0]]),
        "labels": torch.tensor([names.index("cat"), names.index("tv"), names.index("dog")]),
        "scores": torch.tensor([0.5, 0.9, 0.1]),
    }
    network = Fixed(output)
    photo = Image.new("RGB", (100, 40), (255, 0, 51))
    (found,) = TorchvisionDetector(network, names, "fixed").detect([photo])
    assert [(item.label, item.box) for item in found] == [
        ("tv", (0.25, 0.25, 1.0, 0.75)),
        ("cat", (0.0, 0.0, 0.5, 0.5)),
    ]
    np.testing.assert_allclose(network.seen[0][:, 0, 0].cpu(), [1.0, 0.0, 0.2], atol=1e-6)
    assert network.seen[0].shape == (3, 40, 100)


def test_no_photos_no_detections() -> None:
    assert TorchvisionDetector(Fixed({}), categories(), "fixed").detect([]) == []


def test_without_a_network_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(DetectorError, match=r"neither cached nor downloadable.*choose the detector nanodet or none"):
        load_detector("torchvision")
    (info,) = [info for info in list_detectors(tmp_path) if info.name == "torchvision"]
    assert not info.is_available
    assert "--detector torchvision" in info.advice


@pytest.mark.parametrize(
    "settings", [{}, {"TORCH_HOME": "~/somewhere"}, {"XDG_CACHE_HOME": "/cache"}, {"TORCH_HOME": ""}]
)
def test_the_weights_file_is_in_torchs_cache(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert torchvision_weights_path() == Path(torch.hub.get_dir()) / "checkpoints" / TORCHVISION_FILE
    assert models.get_weight(torchvision_detector.WEIGHTS).url.endswith(f"/{TORCHVISION_FILE}")
