"""Any model of timm or open_clip as a backbone, proven with small random ones that are saved as the hub has them."""

import errno
import hashlib
import json
import os
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image

from annotator.cli.main import main
from annotator.datasets.vocabulary import everyday_words
from annotator.errors import BackboneError
from annotator.models.backbones import hub, hub_install, installed, towers
from annotator.models.backbones.backbone import list_backbones, load_backbone, load_text_tower
from annotator.models.backbones.hub_install import install
from annotator.models.backbones.installed import find_installed, list_damaged, list_installed
from annotator.models.backbones.pretrained import center_crop, find_architecture
from annotator.models.backbones.text_index import TextIndex
from annotator.models.backbones.text_tower import unit

pytestmark = pytest.mark.integration
SIZES = [(640, 480), (480, 640), (64, 64), (65, 64), (333, 77), (50, 90), (1000, 130), (31, 31)]
TEXTS = ["a photo of a cat.", "Golden Retriever", "\u72ac", "it's 3D", "word " * 60, ""]
SCRIPTS = {
    "Cyrillic": "\u0441\u043e\u0431\u0430\u043a\u0430",
    "Greek": "\u03c3\u03ba\u03cd\u03bb\u03bf\u03c2",
    "Arabic": "\u0643\u0644\u0628",
    "Hebrew": "\u05db\u05dc\u05d1",
    "Devanagari": "\u0915\u0941\u0924\u094d\u0924\u093e",
    "Thai": "\u0e2b\u0e21\u0e32",
    "Han": "\u72ac",
    "Hangul": "\uac1c",
    "fullwidth": "\uff24\uff2f\uff27",
    "decomposed": "Zu\u0308rich",
    "ligature": "\ufb01sh",
    "typographic": "rock \u2019n\u2019 roll",
    "emoji": "\U0001f415\u200d\U0001f9ba",
}


@pytest.fixture(scope="module", autouse=True)
def _quick_installations() -> Iterator[None]:
    """Export each of the few networks once, and measure its speed for a moment; all else is as in every installation.

    That an export gives what torch gives is still checked in each of them.
    """
    made: dict[str, bytes] = {}
    plain = hub_install.export

    def export(module: torch.nn.Module, example: Any, name: str, output: str, path: Path) -> None:
        digest = hashlib.sha256(f"{module} {example.shape} {name} {output}".encode())
        for key, values in module.state_dict().items():
            digest.update(key.encode() + values.numpy().tobytes())
        if digest.hexdigest() not in made:
            plain(module, example, name, output, path)
            made[digest.hexdigest()] = path.read_bytes()
        path.write_bytes(made[digest.hexdigest()])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_install, "export", export)
        patch.setattr(hub_install, "_speed", partial(hub_install._speed, seconds=0.02))
        yield


@pytest.fixture(scope="module")
def tiny(tiny_models: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, torch.nn.Module]]:
    folder = tmp_path_factory.mktemp("hub")
    made = {"timm": tiny_models.write_timm, "clip": tiny_models.write_clip, "siglip": tiny_models.write_siglip}
    return {kind: (folder / f"tiny-{kind}", write(folder / f"tiny-{kind}")) for kind, write in made.items()}


@pytest.fixture(scope="module")
def installed_tiny(tiny: dict[str, tuple[Path, torch.nn.Module]], _own_folders: None) -> Iterator[None]:
    for folder, _ in tiny.values():
        install(str(folder))
    yield
    for name in tiny:
        installed.remove_installed(f"tiny-{name}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def own_transform(kind: str, network: Any) -> Callable[[Image.Image], torch.Tensor]:
    """The library's own preprocessing."""
    if kind == "timm":
        data = {**timm.data.resolve_model_data_config(network), "input_size": (3, 64, 64)}  # type: ignore[no-untyped-call]
        return timm.data.create_transform(**data, is_training=False)  # type: ignore[no-any-return]
    size = network.visual.image_size
    mode = "squash" if kind == "siglip" else "shortest"
    return open_clip.transform.image_transform(  # type: ignore[no-any-return]
        size, is_train=False, mean=MEAN, std=STD, resize_mode=mode, interpolation="bicubic"
    )


MEAN, STD = (0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)


@pytest.mark.parametrize("kind", ["timm", "clip", "siglip"])
@pytest.mark.usefixtures("installed_tiny")
def test_crops_are_those_of_the_librarys_own_transform_to_the_last_bit(kind: str, tiny: Any) -> None:
    network = tiny[kind][1]
    architecture, transform = find_architecture(f"tiny-{kind}"), own_transform(kind, network)
    mean, std = (np.array(values, np.float32) for values in (architecture.mean, architecture.std))
    for width, height in SIZES:
        if max(width, height) > 8 * min(width, height):
            continue
        image = photo(width, height)
        crop = center_crop(architecture, image)
        wanted = transform(image).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(np.round((wanted * std + mean) * 255).astype(np.uint8), crop)


def test_a_very_elongated_photo_takes_little_memory(installed_tiny: None) -> None:
    crop = center_crop(find_architecture("tiny-clip"), photo(20_000, 3))
    assert crop.shape == (64, 64, 3)


@pytest.mark.parametrize("kind", ["timm", "clip", "siglip"])
@pytest.mark.usefixtures("installed_tiny")
def test_features_are_those_of_the_library(kind: str, tiny: Any) -> None:
    network = tiny[kind][1]
    backbone, transform = load_backbone(f"tiny-{kind}", num_threads=1), own_transform(kind, network)
    photos = [photo(*size, seed=place) for place, size in enumerate(SIZES[:5])]
    found = backbone.extract(np.stack([backbone.preprocess(image) for image in photos]))
    with torch.inference_mode():
        batch = torch.stack([transform(image) for image in photos])
        if kind == "timm":
            wanted = network.forward_head(network.forward_features(batch), pre_logits=True)
            classes = network(batch).softmax(1).numpy()
            np.testing.assert_allclose(backbone.classify(found), classes, atol=1e-5)
        else:
            wanted = network.encode_image(batch)
            assert not backbone.classify(found).any()
    np.testing.assert_allclose(found, wanted.numpy(), atol=2e-5 * float(wanted.abs().max()))
    assert found.shape == (5, backbone.feature_size)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.usefixtures("installed_tiny")
def test_embeddings_of_words_are_those_of_the_library(kind: str, tiny: Any) -> None:
    folder, network = tiny[kind]
    tower = load_text_tower(f"tiny-{kind}")
    assert tower is not None
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    with torch.inference_mode():
        wanted = network.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(tower.embed(TEXTS), wanted, atol=1e-5)
    assert tower.embed([]).shape == (0, 0)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.usefixtures("installed_tiny")
def test_a_tag_in_any_script_is_read_as_the_library_reads_it(kind: str, script: str, tiny: Any) -> None:
    folder, network = tiny[kind]
    tower = load_text_tower(f"tiny-{kind}")
    assert tower is not None
    texts = [f"a photo of {SCRIPTS[script]}."]
    wanted = open_clip.get_tokenizer(f"local-dir:{folder}")(texts)
    np.testing.assert_array_equal(tower._tokenizer.tokens(texts), wanted.numpy())
    with torch.inference_mode():
        embedding = network.encode_text(wanted, normalize=True).numpy()
    np.testing.assert_allclose(tower.embed(texts), embedding, atol=1e-5)


@pytest.mark.usefixtures("installed_tiny")
def test_a_photo_like_a_tag_in_another_script_is_proposed_that_tag() -> None:
    tower = load_text_tower("tiny-clip")
    assert tower is not None
    index = TextIndex(tower)
    index.set_words([*SCRIPTS.values(), *everyday_words()[:200]])
    photos = tower.embed([f"a photo of {word}." for word in SCRIPTS.values()])
    assert [index.nearest(photo, 1)[0].word for photo in photos] == list(SCRIPTS.values())


@pytest.mark.usefixtures("installed_tiny")
def test_scores_are_read_as_the_model_was_trained(tiny: Any) -> None:
    clip, siglip = load_text_tower("tiny-clip"), load_text_tower("tiny-siglip")
    assert clip is not None
    assert siglip is not None
    cosines = np.array([0.3, 0.1, -0.2], np.float32)
    scale = float(tiny["clip"][1].logit_scale.detach().exp())
    powers = np.exp(scale * cosines)
    np.testing.assert_allclose(clip.probabilities(cosines), powers / powers.sum(), rtol=1e-5)
    scale, bias = float(tiny["siglip"][1].logit_scale.detach().exp()), float(tiny["siglip"][1].logit_bias.detach())
    assert bias == -10
    np.testing.assert_allclose(siglip.probabilities(cosines), 1 / (1 + np.exp(-(scale * cosines + bias))), rtol=1e-4)


@pytest.mark.usefixtures("installed_tiny")
def test_weights_of_8_bits_are_a_backbone_of_their_own_near_the_other() -> None:
    plain, small = load_backbone("tiny-clip", num_threads=1), load_backbone("tiny-clip@int8", num_threads=1)
    assert (small.name, small.version == plain.version) == ("tiny-clip@int8", False)
    crops = hub_install.example_crops(64, 4)
    cosines = (unit(plain.extract(crops)) * unit(small.extract(crops))).sum(axis=1)
    assert 0.98 < cosines.min() < 1


@pytest.mark.usefixtures("installed_tiny", "backbone_cache")
def test_installed_backbones_are_listed_and_measured(capsys: pytest.CaptureFixture[str], demo_photos: Path) -> None:
    assert {"tiny-clip", "tiny-siglip", "tiny-timm"} <= {info.name for info in list_backbones() if info.is_available}
    assert main(["backbone", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["tiny-clip"]["has_text"] is True
    assert rows["tiny-timm"]["licence"] == "apache-2.0"
    assert rows["tiny-timm"]["photos_per_second"]["fp32"] > 0
    assert main(["backbone", "list"]) == 0
    assert "tiny-clip: 32 values, 64 pixels" in capsys.readouterr().out
    assert main(["backbone", "bench", "tiny-clip", "--photos", str(demo_photos), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["num_photos"], set(report["kinds"])) == (6, {"fp32", "int8"})
    assert 0 <= report["same_first_nine"] <= 1
    assert report["advice"].startswith("Weights of 8 bits")
    assert main(["backbone", "bench", "efficientnet_lite0", "--num", "2"]) == 0
    assert "no weights of 8 bits" in capsys.readouterr().out


def test_a_repository_in_the_layout_of_the_hubs_cache_is_taken(
    tiny: Any, tiny_models: Any, cache: Path, tmp_path: Path
) -> None:
    folder = tiny_models.as_hub_cache(tiny["timm"][0], tmp_path / "hub", "timm/tiny.test")
    lines: list[str] = []
    model = install(str(folder), lines.append)
    assert (model.architecture.name, model.repo, model.commit) == (
        "timm__tiny.test",
        "timm/tiny.test",
        tiny_models.COMMIT,
    )
    assert find_installed("timm/tiny.test") == find_installed("timm__tiny.test") == model
    assert find_architecture("timm/tiny.test").name == "timm__tiny.test"
    assert any("differ by at most" in line for line in lines)
    assert main(["backbone", "remove", "timm/tiny.test"]) == 0
    assert list_installed() == []
    blob = next(path for path in (folder / "blobs").iterdir() if len(path.name) == 64)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\0")
    with pytest.raises(BackboneError, match="SHA-256 is not the one in its name"):
        install(str(folder))


# What is refused


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["BOMB"],)


@pytest.fixture
def bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    return tmp_path / "exploded"


@pytest.mark.parametrize("kind", ["timm", "clip"])
def test_a_pickled_checkpoint_is_refused_and_not_run(
    kind: str, tiny: Any, cache: Path, tmp_path: Path, bomb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of(tiny[kind][0], tmp_path)
    weights = next(folder.glob("*.safetensors"))
    weights.unlink()
    evil = folder / ("pytorch_model.bin" if kind == "timm" else "open_clip_pytorch_model.bin")
    for content in (pickle.dumps(Bomb()), b"no pickle at all", b""):
        evil.write_bytes(content)
        with pytest.raises(BackboneError, match=r"pickle that holds more than tensors, or is damaged"):
            install(str(folder))
    torch.save({"weights": Bomb()}, evil)
    with pytest.raises(BackboneError, match="refused"):
        install(str(folder))
    assert not bomb.exists()
    assert list_installed() == []


def test_a_torch_file_of_tensors_alone_is_read(tiny: Any, cache: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = copy_of(tiny["timm"][0], tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    install(str(folder))
    crops = hub_install.example_crops(64, 2)
    with torch.inference_mode():
        pixels = (torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        wanted = tiny["timm"][1].forward_head(tiny["timm"][1].forward_features(pixels), pre_logits=True).numpy()
    np.testing.assert_allclose(load_backbone(folder.name).extract(crops), wanted, atol=1e-4)


def copy_of(folder: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copied"
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def timm_edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return lambda folder: edit(folder / "config.json", change)


def clip_edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return lambda folder: edit(folder / "open_clip_config.json", change)


@pytest.mark.parametrize(
    ("kind", "spoil", "said"),
    [
        ("timm", timm_edit(lambda c: c.update(architecture="resnet18")), "not those of"),
        ("timm", timm_edit(lambda c: c.update(architecture="no_such_net")), "no such architecture"),
        ("timm", timm_edit(lambda c: c.pop("architecture")), "names no architecture of timm"),
        ("timm", timm_edit(lambda c: c["pretrained_cfg"].update(crop_mode="border")), "'border'"),
        ("timm", timm_edit(lambda c: c["pretrained_cfg"].update(test_input_size=[3, 50, 50])), "not take crops of 50"),
        ("timm", timm_edit(lambda c: c["pretrained_cfg"].update(test_input_size=[3, 64, 48])), "only square crops"),
        ("timm", lambda f: (f / "config.json").write_text("<html>"), "not JSON"),
        ("timm", lambda f: (f / "config.json").write_text("[1]"), "no JSON object"),
        ("timm", lambda f: (f / "config.json").write_text(" " * 2_000_000), "2,000,000 bytes"),
        ("timm", lambda f: (f / "config.json").unlink(), "is no model of timm or open_clip"),
        ("timm", lambda f: (f / "model.safetensors").unlink(), "has no weights file"),
        ("timm", lambda f: cut(f / "model.safetensors"), "is damaged, or no safetensors file"),
        ("clip", clip_edit(lambda c: c["model_cfg"].update(embed_dim=31)), "not those of"),
        ("clip", clip_edit(lambda c: c["model_cfg"].pop("text_cfg")), "no text_cfg"),
        ("clip", clip_edit(lambda c: c["model_cfg"]["text_cfg"].update(hf_model_name="roberta")), "--image-only"),
        ("clip", clip_edit(lambda c: c["preprocess_cfg"].update(resize_mode="longest")), "'longest'"),
        ("siglip", lambda f: (f / "tokenizer.json").unlink(), "text tower but no tokenizer.json"),
        ("siglip", lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer"),
    ],
)
def test_a_model_that_cannot_be_right_is_refused_with_a_sentence(
    kind: str, spoil: Callable[[Path], object], said: str, tiny: Any, cache: Path, tmp_path: Path
) -> None:
    folder = copy_of(tiny[kind][0], tmp_path)
    spoil(folder)
    with pytest.raises(BackboneError, match=said):
        install(str(folder))
    assert not (cache / "annotator" / "backbones" / "installed").exists() or list_installed() == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def test_an_image_tower_goes_without_the_text_tower_that_has_no_tokenizer(
    tiny: Any, cache: Path, tmp_path: Path
) -> None:
    folder = copy_of(tiny["siglip"][0], tmp_path)
    (folder / "tokenizer.json").unlink()
    model = install(str(folder), image_only=True)
    assert (model.text, load_text_tower("copied")) == (None, None)


def test_an_export_that_disagrees_with_torch_is_refused(
    tiny: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_install, "MAX_DISAGREEMENT", 1e-12)
    with pytest.raises(BackboneError, match="disagree on"):
        install(str(tiny["timm"][0]))
    assert list_installed() == []


@pytest.mark.parametrize(("size", "mode"), [((3, 64, 32), "center"), ((1, 64, 64), "center"), ((3, 64, 64), "border")])
def test_a_preprocessing_that_is_not_supported_is_refused(tiny: Any, size: tuple[int, int, int], mode: str) -> None:
    model = hub.fetch(str(tiny["timm"][0]))
    with pytest.raises(BackboneError, match="supported"):
        towers._check_preprocessing(model, size, mode, ("center", "squash"))


@pytest.mark.parametrize("spoil", [lambda p: p.write_bytes(b"{"), lambda p: p.write_text('{"format": 99}')])
def test_a_damaged_installation_is_said_and_does_not_hide_the_others(
    spoil: Callable[[Path], object], tiny: Any, cache: Path
) -> None:
    model = install(str(tiny["timm"][0]))
    spoil(model.folder / "about.json")
    with pytest.raises(BackboneError, match=r"is damaged .* annotator backbone install"):
        find_architecture("tiny-timm")
    assert list_installed() == []
    assert len(list_damaged()) == 1


def test_changed_files_of_an_installation_are_found(tiny: Any, cache: Path) -> None:
    model = install(str(tiny["timm"][0]))
    (model.folder / "image.onnx").write_bytes(b"changed")
    with pytest.raises(BackboneError, match="is damaged: its SHA-256"):
        load_backbone("tiny-timm")
    (model.folder / "image.onnx").unlink()
    with pytest.raises(BackboneError, match="cannot be read"):
        load_backbone("tiny-timm")


def test_an_installation_that_was_killed_is_no_backbone_and_is_removed_a_day_later(tiny: Any, cache: Path) -> None:
    model = install(str(tiny["timm"][0]))
    killed, running = (installed.installed_path() / f".tiny-timm-{name}" for name in ("killed", "running"))
    for folder in (killed, running):
        shutil.copytree(model.folder, folder)
    (killed / "about.json").write_text("{")
    os.utime(killed, (0, 0))
    assert [other.architecture.name for other in list_installed()] == ["tiny-timm"]
    assert list_damaged() == []
    install(str(tiny["timm"][0]))
    assert {path.name for path in installed.installed_path().iterdir()} == {"tiny-timm", ".tiny-timm-running"}


def test_an_installation_that_fails_leaves_the_former_one(
    tiny: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = install(str(tiny["timm"][0]))
    monkeypatch.setattr(hub_install, "_move", lambda source, target: no_space())
    with pytest.raises(BackboneError, match="cannot be written to"):
        install(str(tiny["timm"][0]))
    assert list_installed() == [model]
    assert [path.name for path in installed.installed_path().iterdir()] == ["tiny-timm"]


def no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_another_tokenizer_of_the_same_network_embeds_the_words_anew(tiny: Any, cache: Path) -> None:
    model = install(str(tiny["siglip"][0]))
    before = load_text_tower("tiny-siglip")
    content = (model.folder / "tokenizer.json").read_text().replace('"</s>"', '"</t>"').encode()
    (model.folder / "tokenizer.json").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit(model.folder / "about.json", lambda about: about["files"].update({"tokenizer.json": digest}))
    after = load_text_tower("tiny-siglip")
    assert before is not None
    assert after is not None
    assert before.version != after.version


@pytest.mark.parametrize("name", ["", "..", "../x", "no-such", "@int8", ".hidden"])
def test_names_that_are_no_backbone_are_refused(name: str, cache: Path) -> None:
    with pytest.raises(BackboneError, match="There is no backbone"):
        find_architecture(name)
    assert not installed.remove_installed(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet18.no_such_tag", "There is no model"),
        ("resnet81", r"There is no model 'resnet81' in timm.* Did you mean resnet"),
        ("ViT-B-32:no_such_weights", "There is no model 'ViT-B-32:no_such_weights' in open_clip"),
        ("x" * 500, "There is no model"),
    ],
)
def test_a_name_that_does_not_exist_is_said_with_those_that_are_like_it(name: str, said: str) -> None:
    with pytest.raises(BackboneError, match=said):
        hub.find_repo(name)


def test_names_of_timm_and_open_clip_lead_to_their_repositories() -> None:
    assert hub.find_repo("resnet18.a1_in1k") == "timm/resnet18.a1_in1k"
    assert hub.find_repo("ViT-B-32:laion2b_s34b_b79k") == "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    assert hub.find_repo("hf-hub:org/name") == hub.find_repo("org/name") == "org/name"


# The hub


@contextmanager
def serving(files: dict[str, bytes], sha256: dict[str, str] | None = None, html: bool = False) -> Iterator[str]:
    """A local hub with one repository, org/tiny."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} | (sha256 or {})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(with_body=True)

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def answer(self, with_body: bool) -> None:
            path = self.path.split("?")[0]
            if html:
                return self.send(b"<html>Log in to the network</html>", {"Content-Type": "text/html"}, with_body)
            if path.startswith("/api/models/org/tiny"):
                about = {"id": "org/tiny", "sha": "f" * 40, "siblings": [], "cardData": {"license": "mit"}}
                about |= {"private": False, "tags": [], "downloads": 0}
                for name, content in files.items():
                    sibling: dict[str, Any] = {"rfilename": name, "size": len(content)}
                    if name.endswith(".safetensors"):
                        sibling["lfs"] = {"sha256": digests[name], "size": len(content), "pointerSize": 1}
                    about["siblings"].append(sibling)  # type: ignore[attr-defined]
                return self.send(json.dumps(about).encode(), {"Content-Type": "application/json"}, with_body)
            name = path.rpartition("/")[2]
            if path.startswith("/org/tiny/resolve/") and name in files:
                headers = {"ETag": f'"{digests[name]}"', "X-Repo-Commit": "f" * 40}
                return self.send(files[name], headers, with_body)
            self.send(
                b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, with_body, 404
            )

        def send(self, body: bytes, headers: dict[str, str], with_body: bool, status: int = 200) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    folder = tmp_path / "hf"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    return folder


def test_a_model_is_fetched_from_a_hub_with_its_size_and_licence_said(tiny: Any, cache: Path, hub_cache: Path) -> None:
    files = {path.name: path.read_bytes() for path in tiny["clip"][0].iterdir()}
    lines: list[str] = []
    with serving(files) as address:
        model = install("org/tiny", lines.append, endpoint=address)
    assert (model.architecture.name, model.licence, model.commit) == ("org__tiny", "mit", "f" * 40)
    assert lines[0].startswith("org/tiny: ")
    assert "licence mit" in lines[0]
    crops = hub_install.example_crops(64, 2)
    load_backbone("org/tiny").extract(crops)


def test_a_file_that_is_not_what_the_hub_describes_is_refused_and_deleted(
    tiny: Any, cache: Path, hub_cache: Path
) -> None:
    files = {path.name: path.read_bytes() for path in tiny["timm"][0].iterdir()}
    with (
        serving(files, {"model.safetensors": "0" * 64}) as address,
        pytest.raises(BackboneError, match="not the file that the hub describes: its SHA-256 differs"),
    ):
        install("org/tiny", endpoint=address)
    assert list_installed() == []
    assert not list(hub_cache.rglob("*.safetensors"))


def test_no_network_no_such_model_and_a_page_instead_of_a_hub_are_said(cache: Path, hub_cache: Path, tiny: Any) -> None:
    with pytest.raises(BackboneError, match=r"org/tiny cannot be fetched .* annotator backbone install FOLDER"):
        install("org/tiny", endpoint="http://127.0.0.1:9")
    with serving({}) as address, pytest.raises(BackboneError, match="The hub has no public model org/other"):
        install("org/other", endpoint=address)
    with serving({}, html=True) as address, pytest.raises(BackboneError, match="org/tiny cannot be fetched"):
        install("org/tiny", endpoint=address)
