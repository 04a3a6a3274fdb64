"""The torch networks of models of timm and open_clip, as modules from crops to features and from tokens to embeddings.

Imports torch, timm and open_clip when a network is built. Knows nothing of ONNX or of files but a model's own folder.
Shapes: crops (B, S, S, 3) uint8 -> features (B, D) float32; tokens (B, L) int64 -> embeddings (B, D) float32.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from annotator.errors import BackboneError
from annotator.models.backbones.hub import HubModel, import_open_clip
from annotator.models.backbones.pretrained import Architecture

if TYPE_CHECKING:
    import torch

Matrix = npt.NDArray[np.float32]

NUM_CLASSES = 1000
MAX_SIDE = 1024
"""Longest side of a crop."""
BROKEN = (RuntimeError, KeyError, ValueError, TypeError, AssertionError, OSError, AttributeError)
"""What timm and open_clip raise for weights or descriptions that do not fit."""
INTERPOLATIONS = ("NEAREST", "BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS")


@dataclass(frozen=True)
class TextModel:
    """The text tower of an image-text model."""

    module: "torch.nn.Module"
    tokenizer: Any
    """open_clip's tokenizer: texts -> (B, L) int64."""
    context_length: int
    """L."""
    clean: str
    """How texts are cleaned: lower, whitespace or canonicalize."""
    logit_scale: float
    """Factor of a cosine."""
    logit_bias: float | None
    """Added to it, before a sigmoid; None: a softmax over the texts."""
    is_hub_tokenizer: bool
    """Whether the tokenizer is a file of the model; otherwise it is CLIP's."""


@dataclass(frozen=True)
class Towers:
    """The networks of one model."""

    architecture: Architecture
    module: "torch.nn.Module"
    """Crops -> features."""
    class_weight: Matrix = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(D, 1000) of ImageNet's classifier; empty without one."""
    class_bias: Matrix = field(default_factory=lambda: np.zeros(0, np.float32))
    text: TextModel | None = None


def build(model: HubModel, folder: Path, *, image_only: bool = False) -> Towers:
    """Build the networks of a model.

    Args:
        model: The model.
        folder: Made by `hub.safe_copy`.
        image_only: Leave out a text tower.

    Raises:
        BackboneError: The weights are those of another network, the model wants a preprocessing that is not supported,
            its text tower has no tokenizer, or a library is missing.
    """
    towers = _build_timm(model, folder) if model.kind == "timm" else _build_open_clip(model, folder, image_only)
    a = towers.architecture
    if not (0 < a.image_size <= a.short_side <= 2 * MAX_SIDE and a.image_size <= MAX_SIDE):
        raise BackboneError(
            f"{model.repo} wants crops of {a.image_size} of {a.short_side} pixels, which is not supported."
        )
    if a.interpolation not in INTERPOLATIONS:
        raise BackboneError(f"{model.repo} wants the resampling filter {a.interpolation}, which is not supported.")
    return towers


def _build_timm(model: HubModel, folder: Path) -> Towers:
    import timm
    from timm.data.config import resolve_model_data_config

    try:
        network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    except BROKEN as error:
        raise BackboneError(
            f"The weights of {model.repo} are not those of its architecture {model.config['architecture']!r}, or this "
            f"version of timm has no such architecture: {_short(error)}"
        ) from error
    data = resolve_model_data_config(network, use_test_size=True)  # type: ignore[no-untyped-call]
    size, mode = data["input_size"], data["crop_mode"]
    _check_preprocessing(model, size, mode, ("center", "squash"))
    module = _photo_module(_Pooled(network), data["mean"], data["std"])
    feature_size = _feature_size(model, module, size[1])
    weight, bias = _classifier(network, module, feature_size, size[1])
    return Towers(timm_architecture(model.name, feature_size, data, weight.size > 0), module, weight, bias)


def timm_architecture(name: str, feature_size: int, data: Mapping[str, Any], has_classes: bool) -> Architecture:
    """Return the preprocessing of `timm.data.create_transform` for a data configuration of timm."""
    size = data["input_size"][1]
    return Architecture(
        name, feature_size, size, math.floor(size / data["crop_pct"]), data["interpolation"].upper(),
        tuple(data["mean"]), tuple(data["std"]), "", "",
        resize_mode="squash" if data["crop_mode"] == "squash" else "shortest", has_classes=has_classes,
    )  # fmt: skip


def _build_open_clip(model: HubModel, folder: Path, image_only: bool) -> Towers:

    open_clip = import_open_clip()
    text_config = _text_config(model)
    if "hf_model_name" in text_config and not image_only:
        raise BackboneError(
            f"The text tower of {model.repo} is one of transformers ({text_config['hf_model_name']}), which is not "
            "supported. Install its image tower alone with --image-only."
        )
    try:
        network = open_clip.create_model(
            f"local-dir:{folder}", pretrained_image=False, pretrained_text=False, require_pretrained=True
        ).eval()
    except (*BROKEN, ImportError) as error:
        raise BackboneError(
            f"The weights of {model.repo} are not those of the network that its open_clip_config.json describes: "
            f"{_short(error)}"
        ) from error
    data = network.visual.preprocess_cfg
    size = data["size"] if isinstance(data["size"], list | tuple) else (data["size"], data["size"])
    mode = data.get("resize_mode", "shortest")
    _check_preprocessing(model, (3, *size), mode, ("shortest", "squash"))
    module = _photo_module(_Encoder(network.encode_image), data["mean"], data["std"])
    feature_size = _feature_size(model, module, size[0])
    text = None if image_only else _build_text(model, folder, network, text_config)
    return Towers(open_clip_architecture(model.name, feature_size, data), module, text=text)


def open_clip_architecture(name: str, feature_size: int, data: Mapping[str, Any]) -> Architecture:
    """Return the preprocessing of `open_clip.image_transform` for a `preprocess_cfg`."""
    size = data["size"][0] if isinstance(data["size"], list | tuple) else data["size"]
    return Architecture(
        name, feature_size, size, size, str(data.get("interpolation", "bicubic")).upper(), tuple(data["mean"]),
        tuple(data["std"]), "", "", resize_mode=data.get("resize_mode", "shortest"), has_classes=False,
    )  # fmt: skip


def _build_text(model: HubModel, folder: Path, network: Any, config: dict[str, Any]) -> TextModel:
    open_clip = import_open_clip()
    is_hub_tokenizer = "hf_tokenizer_name" in config
    options = config.get("tokenizer_kwargs") or {}
    if set(options) - {"clean", "strip_sep_token"} or options.get("strip_sep_token"):
        raise BackboneError(f"The tokenizer of {model.repo} has settings that are not supported: {sorted(options)}.")
    if is_hub_tokenizer and not (folder / "tokenizer.json").is_file():
        raise BackboneError(
            f"{model.repo} has a text tower but no tokenizer.json. Put the file beside its weights, or install its "
            "image tower alone with --image-only."
        )
    try:
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    except ImportError as error:
        raise BackboneError(f"The tokenizer of {model.repo} needs transformers, which is missing.") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BackboneError(f"The tokenizer of {model.repo} cannot be read: {_short(error)}") from error
    clean = str(options.get("clean") or ("whitespace" if is_hub_tokenizer else "lower"))
    if clean not in ("lower", "whitespace", "canonicalize"):
        raise BackboneError(f"The tokenizer of {model.repo} wants texts cleaned by {clean!r}, which is not supported.")
    bias = getattr(network, "logit_bias", None)
    return TextModel(
        _Encoder(network.encode_text).module().eval(),
        tokenizer,
        int(tokenizer.context_length),
        clean,
        float(network.logit_scale.detach().exp()),
        None if bias is None else float(bias.detach()),
        is_hub_tokenizer,
    )


def _text_config(model: HubModel) -> dict[str, Any]:
    config = model.config.get("model_cfg", model.config)
    text = config.get("text_cfg") if isinstance(config, dict) else None
    if not isinstance(text, dict):
        raise BackboneError(f"{model.repo} is no image-text model: its open_clip_config.json has no text_cfg.")
    return text


def _check_preprocessing(model: HubModel, size: tuple[int, ...], mode: str, modes: tuple[str, ...]) -> None:
    if len(size) != 3 or size[0] != 3 or size[1] != size[2]:
        raise BackboneError(f"{model.repo} wants inputs of {size}; only square crops of three colours are supported.")
    if mode not in modes:
        raise BackboneError(f"{model.repo} wants photos resized by {mode!r}; supported are {' and '.join(modes)}.")


@dataclass(frozen=True)
class _Pooled:
    """timm's network without its last layer."""

    network: Any

    def module(self) -> "torch.nn.Module":
        import torch

        network = self.network

        class Pooled(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, pixels: torch.Tensor) -> torch.Tensor:
                out: torch.Tensor = network.forward_head(network.forward_features(pixels), pre_logits=True)
                return out.flatten(1)

        return Pooled()


@dataclass(frozen=True)
class _Encoder:
    """A method of open_clip's network."""

    method: Any

    def module(self) -> "torch.nn.Module":
        import torch

        method = self.method

        class Encoder(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = method.__self__

            def forward(self, values: torch.Tensor) -> torch.Tensor:
                out: torch.Tensor = method(values)
                return out

        return Encoder()


def _photo_module(network: _Pooled | _Encoder, mean: Any, std: Any) -> "torch.nn.Module":
    """Wrap a network so that its input is Pillow's crops."""
    import torch

    inner = network.module()

    class PhotoModule(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.inner = inner
            self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            pixels = crops.permute(0, 3, 1, 2).float() / 255  # as torchvision's ToTensor and Normalize
            out: torch.Tensor = self.inner((pixels - self.mean) / self.std)
            return out

    return PhotoModule().eval()


def _feature_size(model: HubModel, module: "torch.nn.Module", size: int) -> int:
    import torch

    try:
        with torch.inference_mode():
            return int(module(torch.zeros(2, size, size, 3, dtype=torch.uint8)).shape[1])
    except BROKEN as error:
        raise BackboneError(
            f"The network of {model.repo} does not take crops of {size} pixels: {_short(error)}"
        ) from error


def _classifier(network: Any, module: "torch.nn.Module", feature_size: int, size: int) -> tuple[Matrix, Matrix]:
    """Return ImageNet's classifier if the network's last layer is one, otherwise empty arrays."""
    import torch

    head = network.get_classifier()
    none = np.zeros((0, 0), np.float32), np.zeros(0, np.float32)
    if not isinstance(head, torch.nn.Linear) or tuple(head.weight.shape) != (NUM_CLASSES, feature_size):
        return none
    crops = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = module(crops)
        mean, std = module.mean, module.std
        logits = network((crops.permute(0, 3, 1, 2).float() / 255 - mean) / std)  # type: ignore[operator]
        if not torch.allclose(head(features), logits, rtol=1e-3, atol=1e-3):
            return none  # something stands between the features and the last layer
    bias = head.bias if head.bias is not None else torch.zeros(NUM_CLASSES)
    return np.ascontiguousarray(head.weight.detach().numpy().T), bias.detach().numpy().copy()


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return (text[:297] + "...") if len(text) > 300 else text or type(error).__name__
