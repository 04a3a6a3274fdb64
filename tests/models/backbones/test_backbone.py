import logging
import os
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torchvision import models

from annotator.errors import BackboneError, ConfigError
from annotator.models.backbones import backbone as module
from annotator.models.backbones import pretrained
from annotator.models.backbones.backbone import Backbone, OnnxEngine, list_backbones, load_backbone
from annotator.models.backbones.pretrained import ARCHITECTURES

PhotoFactory = Callable[[str], Image.Image]
PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png", "china.jpg", "flower.jpg")
CATS, ESPRESSO, ROCKETS = {281, 282, 285}, 967, {657, 744, 812}


def plain_crop(image: Image.Image) -> np.ndarray:
    """Resize everything, then crop: the preprocessing as it is published."""
    width, height = image.size
    scale = 256 / min(width, height)
    size = (256, int(scale * height)) if width <= height else (int(scale * width), 256)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


@pytest.fixture(scope="module")
def crops(backbone: Backbone, make_photo: PhotoFactory) -> np.ndarray:
    return np.stack([backbone.preprocess(make_photo(name)) for name in PHOTOS])


@pytest.fixture(scope="module")
def plain_network() -> torch.nn.Module:
    """The whole classifier as timm builds it."""
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    state = torch.load(
        pretrained.weights_path(ARCHITECTURES["efficientnet_lite0"]), map_location="cpu", weights_only=True
    )
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    return network.eval()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch hub cache on a machine without a network."""

    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def put_random_weights(hub: Path, name: str) -> None:
    torch.manual_seed(0)
    extra = {"init_weights": False} if name == "inception_v3" else {}
    network = models.get_model(name, weights=None, **extra)
    torch.save(network.state_dict(), hub / ARCHITECTURES[name].weights_file)


def test_features_and_probabilities_equal_plain_torch_with_half_half_normalisation(
    backbone: Backbone, crops: np.ndarray, plain_network: torch.nn.Module
) -> None:
    pixels = torch.from_numpy(crops.copy()).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        before_head = plain_network.forward_head(plain_network.forward_features((pixels - 0.5) / 0.5), pre_logits=True)
        expected = torch.softmax(plain_network.get_classifier()(before_head), dim=1).numpy()
    features = backbone.extract(crops)
    assert np.abs(features - before_head.numpy()).max() < 1e-4
    assert np.abs(backbone.classify(features) - expected).max() < 1e-4


def test_a_batch_gives_what_its_photos_give_alone(backbone: Backbone, crops: np.ndarray) -> None:
    many = np.concatenate([crops, crops])  # more than go through the network at once
    alone = np.concatenate([backbone.extract(crop[None]) for crop in many])
    assert np.abs(backbone.extract(many) - alone).max() < 1e-4


def test_the_best_class_of_known_photos_is_right(backbone: Backbone, crops: np.ndarray) -> None:
    best = backbone.classify(backbone.extract(crops)).argmax(axis=1)
    assert best[0] in CATS
    assert best[1] == ESPRESSO
    assert best[2] in ROCKETS


def test_probabilities_sum_to_one_even_for_huge_features(backbone: Backbone) -> None:
    probabilities = backbone.classify(np.full((2, backbone.feature_size), 1e4, np.float32))
    assert probabilities.shape == (2, 1000)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (40, 900), (900, 40), (224, 224), (255, 257), (1300, 1000)])
def test_the_crop_equals_resizing_everything_within_one_level(
    backbone: Backbone, make_photo: PhotoFactory, size: tuple[int, int]
) -> None:
    image = make_photo("astronaut.png").resize(size)
    difference = backbone.preprocess(image).astype(int) - plain_crop(image)
    assert np.abs(difference).max() <= 1


def test_other_modes_are_converted(backbone: Backbone, make_photo: PhotoFactory) -> None:
    image = make_photo("chelsea.png").convert("L")
    assert np.array_equal(backbone.preprocess(image), backbone.preprocess(image.convert("RGB")))


def test_a_jpeg_drafted_to_the_draft_size_gives_nearly_the_same_features(
    backbone: Backbone, make_photo: PhotoFactory, tmp_path: Path
) -> None:
    path = tmp_path / "large.jpg"
    make_photo("china.jpg").resize((2560, 1708), Image.Resampling.LANCZOS).save(path, quality=92)
    with Image.open(path) as image:
        image.draft("RGB", backbone.draft_size)
        assert image.size == (1280, 854)
        drafted = backbone.extract(backbone.preprocess(image)[None])[0]
    with Image.open(path) as image:
        full = backbone.extract(backbone.preprocess(image)[None])[0]
    assert drafted @ full / np.linalg.norm(drafted) / np.linalg.norm(full) > 0.99


def test_an_empty_batch_has_no_features(backbone: Backbone) -> None:
    features = backbone.extract(np.empty((0, 224, 224, 3), np.uint8))
    assert features.shape == (0, 1280)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((1, 3, 224, 224), np.uint8),
        np.zeros((1, 224, 224, 3), np.float32),
    ],
)
def test_a_wrong_batch_is_refused(backbone: Backbone, batch: np.ndarray) -> None:
    with pytest.raises(ValueError, match="needs crops of"):
        backbone.extract(batch)


def test_features_of_another_size_are_refused(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="1280"):
        backbone.classify(np.zeros((1, 2048), np.float32))


def test_a_warm_start_imports_no_torch_and_reports_nothing(
    backbone: Backbone, backbone_cache: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, pathlib\n"
        "from annotator.models.backbones.backbone import load_backbone\n"
        f"loaded = load_backbone(device='auto', cache_path=pathlib.Path({str(backbone_cache)!r}))\n"
        "print(loaded.version, *sorted({'torch', 'timm', 'torchvision', 'onnx'} & sys.modules.keys()))\n"
    )
    environment = {
        **os.environ, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": "", "PATH": ""
    }  # fmt: skip
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("with an NVIDIA driver torch is imported to look for a GPU")
    assert answer.stdout.split() == [backbone.version]
    assert list(tmp_path.iterdir()) == []  # ONNX Runtime's usage reports would leave a folder here


def test_a_network_is_in_memory_once_for_each_number_of_threads(backbone_cache: Path) -> None:
    first, second, other = (
        load_backbone(device="cpu", num_threads=num, cache_path=backbone_cache)._engine for num in (1, 1, 2)
    )
    assert first is second
    assert other is not first


@pytest.fixture
def exported(backbone: Backbone, backbone_cache: Path) -> Path:
    """The session's exported graph, which is not written to."""
    (path,) = backbone_cache.glob("efficientnet_lite0*.npz")
    return path


@pytest.fixture
def quick_export(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the session's exported graph instead of exporting once more."""
    graph = module._read_graph(exported).onnx
    monkeypatch.setattr(module, "_export", lambda *_: graph)


@pytest.mark.usefixtures("quick_export")
def test_a_damaged_cache_file_is_exported_again(
    backbone: Backbone, exported: Path, crops: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = bytearray(exported.read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged = tmp_path / exported.name
    damaged.write_bytes(data)
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        mended = load_backbone(device="cpu", num_threads=1, cache_path=tmp_path)
    assert "is damaged" in caplog.text
    assert np.abs(mended.extract(crops) - backbone.extract(crops)).max() < 1e-4
    caplog.clear()
    load_backbone(device="cpu", num_threads=1, cache_path=tmp_path)
    assert caplog.text == ""
    assert [path.name for path in tmp_path.iterdir()] == [exported.name]


@pytest.mark.usefixtures("quick_export")
def test_an_export_that_disagrees_with_torch_is_refused_and_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = OnnxEngine.run
    monkeypatch.setattr(OnnxEngine, "run", lambda self, crops: run(self, crops) * 1.01)
    with pytest.raises(BackboneError, match="disagree on efficientnet_lite0"):
        load_backbone(device="cpu", cache_path=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick_export")
def test_a_cache_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BackboneError, match="cannot be written"):
        load_backbone(device="cpu", cache_path=tmp_path / "file" / "backbones")


@pytest.mark.integration
@pytest.mark.slow
def test_two_processes_may_export_at_once(tmp_path: Path) -> None:
    code = (
        "import pathlib; from annotator.models.backbones.backbone import load_backbone\n"
        f"load_backbone(device='cpu', num_threads=1, cache_path=pathlib.Path({str(tmp_path)!r}))\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(300) for process in processes] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 1


def test_an_unknown_backbone_is_refused_with_a_list_of_all() -> None:
    with pytest.raises(BackboneError, match=r"'vgg19'.*efficientnet_lite0, vgg16, alexnet, resnet50"):
        load_backbone("vgg19")


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="'tpu'"):
        load_backbone(device="tpu")
    with pytest.raises(ConfigError, match="num_threads is 0"):
        load_backbone(num_threads=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="torch sees no GPU"):
        load_backbone(device="cuda", cache_path=tmp_path)


def test_missing_weights_say_where_to_put_which_file(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(BackboneError) as error:
        load_backbone("resnet50", device="cpu", cache_path=tmp_path / "cache")
    assert "resnet50-11ad3fa6.pth" in str(error.value)
    assert str(hub) in str(error.value)


def test_damaged_weights_are_reported(hub: Path, tmp_path: Path) -> None:
    (hub / "alexnet-owt-7be5be79.pth").write_bytes(b"half a download")
    with pytest.raises(BackboneError, match="cannot be read"):
        load_backbone("alexnet", device="cpu", cache_path=tmp_path / "cache")


def test_weights_of_another_network_are_refused(hub: Path, tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(3)}, hub / "resnet50-11ad3fa6.pth")
    with pytest.raises(BackboneError, match="lack"):
        load_backbone("resnet50", device="cpu", cache_path=tmp_path / "cache")


@pytest.mark.integration
@pytest.mark.parametrize(
    "name",
    [
        "resnet50",
        pytest.param("alexnet", marks=pytest.mark.slow),
        pytest.param("inception_v3", marks=pytest.mark.slow),
        pytest.param("vgg16", marks=pytest.mark.slow),
    ],
)
def test_a_torchvision_network_runs_from_its_weights_file(hub: Path, tmp_path: Path, name: str) -> None:
    put_random_weights(hub, name)
    loaded = load_backbone(name, device="cpu", num_threads=1, cache_path=tmp_path / "cache")
    size = ARCHITECTURES[name].image_size
    crops = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    extra = {"transform_input": True, "init_weights": False} if name == "inception_v3" else {}
    network = models.get_model(name, weights=None, **extra)
    network.load_state_dict(torch.load(hub / ARCHITECTURES[name].weights_file, weights_only=True))
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        logits = network.eval()((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    features = loaded.extract(crops)
    assert features.shape == (2, ARCHITECTURES[name].feature_size)
    assert np.allclose(loaded.classify(features), torch.softmax(logits, 1).numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "resnet50", "inception_v3"])
def test_the_preprocessing_of_torchvision_networks_is_torchvisions(name: str) -> None:
    architecture = ARCHITECTURES[name]
    weights = models.get_weight(architecture.weights_enum)
    published = weights.transforms()
    assert published.resize_size == [architecture.short_side]
    assert published.crop_size == [architecture.image_size]
    assert tuple(published.mean) == architecture.mean
    assert tuple(published.std) == architecture.std
    assert published.interpolation.name == architecture.interpolation
    assert weights.url.endswith("/" + architecture.weights_file)


def test_the_list_has_what_is_available_and_how_to_get_the_rest(hub: Path) -> None:
    infos = {info.name: info for info in list_backbones()}
    assert list(infos) == list(ARCHITECTURES)
    assert infos["efficientnet_lite0"].is_available
    assert infos["efficientnet_lite0"].advice == ""
    assert not infos["vgg16"].is_available
    assert "vgg16-397923af.pth" in infos["vgg16"].advice
    (hub / "vgg16-397923af.pth").touch()
    assert {info.name: info.is_available for info in list_backbones()}["vgg16"]
