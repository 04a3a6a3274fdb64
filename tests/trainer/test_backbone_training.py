"""Training of a backbone together with its tagger: a network of 3 x 8 weights that learns in milliseconds."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from annotator.errors import ConfigError, TrainingError
from annotator.models import registry
from annotator.models.backbones.pretrained import Architecture
from annotator.models.backbones.trainable_backbone import TrainableBackbone
from annotator.trainer.examples import Examples
from annotator.trainer.fit import EpochReport, FitReport, fit
from annotator.trainer.fit_settings import BackboneSettings, FitSettings
from annotator.trainer.photo_batches import PhotoBatches, random_crop

pytestmark = pytest.mark.integration  # trains, and in several processes

TINY = Architecture("tiny", 8, 16, 18, "BILINEAR", (0.5,) * 3, (0.5,) * 3, "classifier", "", map_size=4)
TAGS = ["red", "green", "blue"]
COLOURS = [(220, 30, 30), (30, 220, 30), (30, 30, 220)]


class TinyNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.BatchNorm2d(8)
        self.classifier = nn.Linear(8, 5)

    def forward_features(self, pixels: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(pixels)))


def make_backbone(**options: Any) -> TrainableBackbone:
    torch.manual_seed(0)
    return TrainableBackbone(TINY, TinyNetwork(), **{"precision": "float32", "norm": "frozen", **options})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photos of one colour each, noisy; the colour is the tag."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    paths = []
    for number in range(30):
        pixels = np.clip(rng.normal(COLOURS[number % 3], 25, (24, 32, 3)), 0, 255).astype(np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.fixture
def examples(photos: list[Path]) -> tuple[Examples, Examples]:
    """(train, validation), with the features that the untrained network gives."""
    backbone = make_backbone().eval()
    crops = torch.cat(list(PhotoBatches(photos, TINY, 0.5, 0)([range(30)])))
    with torch.no_grad():
        features = backbone(crops).numpy()
    sequences = [[number % 3] for number in range(30)]
    rows = (slice(0, 24), slice(24, 30))
    train, validation = (Examples(features[part], sequences[part], images=photos[part]) for part in rows)
    return train, validation


def run(
    examples: tuple[Examples, Examples], backbone: TrainableBackbone, seed: int = 0, **options: Any
) -> tuple[Any, FitReport]:
    torch.manual_seed(seed)
    tagger = registry.create("ranked_lstm", TAGS, 8, image_size=4, hidden_size=6, dropout=0.0)
    tuning = {"learning_rate": 1e-3, "epochs": 3, "batch_size": 8, **options.pop("tuning", {})}
    settings = FitSettings(epochs=2, batch_size=8, learning_rate=0.01, backbone=BackboneSettings(**tuning))
    return tagger, fit(tagger, *examples, settings, backbone=backbone, **options)


def weights(backbone: TrainableBackbone) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in backbone.state_dict().items()}


def test_the_backbone_learns_after_the_taggers_own_stage(examples: tuple[Examples, Examples]) -> None:
    backbone = make_backbone()
    before = weights(backbone)
    _, report = run(examples, backbone)
    assert [(epoch.stage, epoch.epoch) for epoch in report.epochs] == [
        ("joint", 1), ("joint", 2), ("backbone", 1), ("backbone", 2), ("backbone", 3)
    ]  # fmt: skip
    assert report.is_backbone_tuned
    assert report.epochs[-1].validation_loss < report.epochs[1].validation_loss
    assert not torch.equal(backbone.state_dict()["photo_module.network.conv.weight"],
                           before["photo_module.network.conv.weight"])  # fmt: skip


@pytest.mark.parametrize(("norm", "stay"), [("frozen", True), ("batch", False)])
def test_the_statistics_of_batch_normalisation_are_frozen_unless_told(
    norm: str, stay: bool, examples: tuple[Examples, Examples]
) -> None:
    backbone = make_backbone(norm=norm)
    before = weights(backbone)
    run(examples, backbone, tuning={"norm": norm})
    names = [f"photo_module.network.norm.{name}" for name in ("running_mean", "running_var")]
    assert all(torch.equal(backbone.state_dict()[name], before[name]) for name in names) is stay
    assert not torch.equal(backbone.state_dict()["photo_module.network.norm.weight"],
                           before["photo_module.network.norm.weight"])  # fmt: skip


class KilledError(Exception):
    """Simulates kill -9 after an epoch."""


def kill_after(num_epochs: int) -> Callable[[EpochReport], None]:
    seen: list[EpochReport] = []

    def progress(report: EpochReport) -> None:
        seen.append(report)
        if len(seen) == num_epochs:
            raise KilledError

    return progress


@pytest.mark.parametrize("num_epochs", [2, 3, 4])
def test_a_killed_training_of_a_backbone_ends_with_the_same_weights(
    num_epochs: int, examples: tuple[Examples, Examples], tmp_path: Path
) -> None:
    whole = make_backbone()
    tagger, _ = run(examples, whole)
    with pytest.raises(KilledError):
        run(examples, make_backbone(), state_folder=tmp_path, progress=kill_after(num_epochs))
    resumed = make_backbone()
    other, report = run(examples, resumed, seed=9, state_folder=tmp_path)
    assert len(report.epochs) == 5
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(other.state_dict(), tagger.state_dict(), rtol=0, atol=0)


def test_worker_processes_change_nothing(photos: list[Path]) -> None:
    alone, helped = (PhotoBatches(photos, TINY, 0.5, num_workers) for num_workers in (0, 1))
    for seed in (3, 4):  # the workers persist between epochs
        plans = [list(loader([[0, 5, 2], [7]], seed)) for loader in (alone, helped)]
        for one, other in zip(*plans, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not torch.equal(next(iter(alone([[0, 5]], 3))), next(iter(alone([[0, 5]], 4))))


@pytest.mark.parametrize("after", [0, 4])
def test_the_backbone_starts_after_so_many_steps_at_the_end_of_that_epoch(
    after: int, examples: tuple[Examples, Examples]
) -> None:
    _, report = run(examples, make_backbone(), tuning={"after": after, "epochs": 1})  # 3 steps an epoch
    stages = [epoch.stage for epoch in report.epochs]
    assert stages == ["joint"] * math.ceil(after / 3) + ["backbone"]


def test_a_backbone_that_breaks_is_left_as_it_was(
    examples: tuple[Examples, Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = make_backbone()
    before = weights(backbone)
    calls = []
    forward = TrainableBackbone.forward

    def broken(self: TrainableBackbone, crops: Tensor) -> Tensor:
        calls.append(self.training)
        return forward(self, crops) * (math.nan if sum(calls) == 2 else 1.0)

    monkeypatch.setattr(TrainableBackbone, "forward", broken)
    tagger, report = run(examples, backbone)
    assert report.problem is not None
    assert "step 8 (stage backbone, epoch 1)" in report.problem  # 6 of the tagger alone
    assert not report.is_backbone_tuned
    torch.testing.assert_close(backbone.state_dict(), before, rtol=0, atol=0)
    assert all(torch.isfinite(value).all() for value in tagger.state_dict().values())


def test_a_backbone_that_does_not_get_better_is_left_as_it_was(examples: tuple[Examples, Examples]) -> None:
    train, validation = examples
    wrong = Examples(validation.features, [[(tags[0] + 1) % 3] for tags in validation.sequences],
                     images=validation.images)  # fmt: skip
    backbone = make_backbone()
    before = weights(backbone)
    _, report = run((train, wrong), backbone)
    assert not report.is_backbone_tuned
    torch.testing.assert_close(backbone.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_16_bits_learn_too(precision: str, examples: tuple[Examples, Examples]) -> None:
    backbone = make_backbone(precision=precision)
    _, report = run(examples, backbone)
    assert report.problem is None
    assert all(value.dtype == torch.float32 for value in backbone.parameters())
    exact = run(examples, make_backbone())[1].epochs[-1].validation_loss
    assert report.epochs[-1].validation_loss == pytest.approx(exact, abs=0.1)
    assert report.epochs[-1].validation_loss != exact


def test_a_photo_that_is_gone_is_one_sentence(examples: tuple[Examples, Examples]) -> None:
    train, validation = examples
    gone = Examples(train.features, train.sequences, images=[Path("/gone.png"), *train.images[1:]])
    with pytest.raises(TrainingError, match=r"^/gone\.png could be read before the training, but not now"):
        run((gone, validation), make_backbone())


def test_a_backbone_needs_settings_and_settings_a_backbone(examples: tuple[Examples, Examples]) -> None:
    tagger = registry.create("ranked_lstm", TAGS, 8)
    with pytest.raises(TrainingError, match="go together"):
        fit(tagger, *examples, FitSettings(), backbone=make_backbone())
    with pytest.raises(TrainingError, match="go together"):
        fit(tagger, *examples, FitSettings(backbone=BackboneSettings()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, "backbone's learning_rate must lie"),
        ({"after": -1}, "cannot be below 0"),
        ({"least_area": 0.0}, "backbone's least_area must lie"),
        ({"norm": "group"}, "norm is 'group'"),
        ({"precision": "int8"}, "precision is 'int8'"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BackboneSettings(**settings)


def test_random_crops_keep_their_share_and_are_flipped_half_of_the_time() -> None:
    ramp = np.zeros((40, 60, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, 60)  # left to right
    image = Image.fromarray(ramp)
    rng = np.random.default_rng(0)
    widths, flips = [], []
    for _ in range(60):
        crop = random_crop(image, TINY, 0.5, rng).astype(int)
        assert crop.shape == (16, 16, 3)
        widths.append(abs(crop[:, -1, 0].mean() - crop[:, 0, 0].mean()) / 255)
        flips.append(crop[:, 0, 0].mean() > crop[:, -1, 0].mean())
    # Half the area at an aspect of 4/3 or less: at least sqrt(0.5 x 40 x 60 x 3/4) = 30 of 60 columns.
    assert min(widths) > 0.42
    assert 15 < sum(flips) < 45
