"""Several views of a photo, by one or more networks, as one backbone: the features are the views one after the other.

Views: `whole` (the whole photo in its own aspect, by each network), `mirror` (averaged with its mirror image), `crop`
(each network's centre crop), `colour` (three histograms); see views.py. All are square roots of non-negative values.
Photos differ in aspect, so that their views are not computed from a batch of crops: `preprocess` runs the networks and
`extract` returns what it is given. For taggers that `annotator train --views` trains, and for measuring them: a project
embeds each photo once, in one crop, and cannot use it. Knows nothing of tags. Shapes: photo -> (D,) float32.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotator.errors import BackboneError, ConfigError
from annotator.models.backbones import pretrained, views
from annotator.models.backbones.backbone import Backbone, Crops, Features, load_backbone

PREFIX, OF, AND = pretrained.VIEWS, "_of_", "+"
"""A name is PREFIX, the views, OF and the networks, each joined by AND: it can be part of a file's name."""
VIEWS = ("whole", "mirror", "crop", "colour")
SHORT_SIDES = {"efficientnet_lite0": 256, "efficientnet_lite2": 260}
"""Shorter side of a whole photo, in pixels; docs/experiments/corel5k.md."""
COLOUR_SIZES = (512, 375, 512)
COLOUR_WEIGHT = 0.4
"""Weight of each histogram's distance beside 1 of a network's; chosen on an inner split of Corel5k."""
REVISION = 1
"""Increase it when the same photo gives other features."""


@dataclass(frozen=True)
class Part:
    """One view in the features."""

    name: str
    size: int
    weight: float
    """Of its distance beside the others', for `kernel_ridge`."""


@dataclass(frozen=True)
class ViewSpec:
    """Which views of which networks."""

    views: tuple[str, ...]
    networks: tuple[str, ...]

    def __post_init__(self) -> None:
        for chosen, known, what in (
            (self.views, VIEWS, "view"),
            (self.networks, tuple(SHORT_SIDES), "network of views"),
        ):
            for name in chosen:
                if name not in known:
                    raise ConfigError(f"There is no {what} {name[:100]!r}. Choose among: {', '.join(known)}.")
            if len(set(chosen)) < len(chosen):
                raise ConfigError(f"A {what} is named twice: {', '.join(chosen)}.")
        if not self.views or not self.networks:
            raise ConfigError("Name at least one view and one network.")
        if "mirror" in self.views and "whole" not in self.views:
            raise ConfigError("The view mirror is averaged with the view whole; name both.")

    @classmethod
    def from_name(cls, name: str) -> "ViewSpec":
        """Return what a backbone's name says.

        Raises:
            ConfigError: A view or a network does not exist.
        """
        chosen, _, networks = name.removeprefix(PREFIX).partition(OF)
        return cls(tuple(chosen.split(AND)), tuple(networks.split(AND)))

    @property
    def name(self) -> str:
        """The backbone's name."""
        return f"{PREFIX}{AND.join(self.views)}{OF}{AND.join(self.networks)}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The views in the order of the features."""
        found = []
        for network in self.networks:
            size = views.NETWORKS[network][2]
            found += [Part(f"{network} {view}", size, 1.0) for view in ("whole", "crop") if view in self.views]
        if "colour" in self.views:
            kinds = ("hsv", "hsv rows", "lab")
            found += [Part(kind, size, COLOUR_WEIGHT) for kind, size in zip(kinds, COLOUR_SIZES, strict=True)]
        return tuple(found)


class ViewBackbone(Backbone):
    """See the module. It has no feature map, and no classes: its ImageNet probabilities are 0.

    Args:
        spec: Which views.
        num_threads: CPU threads of the networks that run in ONNX Runtime; None leaves it to that.

    Raises:
        BackboneError: The weights of a network are missing.
    """

    def __init__(self, spec: ViewSpec, num_threads: int | None = None) -> None:
        self.spec, self.parts = spec, spec.parts
        self._maps = {
            network: views.PhotoMap(network, SHORT_SIDES[network]) for network in spec.networks if "whole" in spec.views
        }
        self._crops = {
            network: load_backbone(network, device="cpu", num_threads=num_threads)
            for network in spec.networks
            if "crop" in spec.views
        }
        self.name, self.device = spec.name, "cpu"
        self.feature_size = sum(part.size for part in self.parts)
        self.image_size = max(SHORT_SIDES[network] for network in spec.networks)
        self.draft_size = (2 * self.image_size, 2 * self.image_size)
        weights = [views.weights_hash(network) for network in self._maps]
        weights += [backbone.version for backbone in self._crops.values()]
        digest = hashlib.sha256(repr((spec.name, weights, sorted(SHORT_SIDES.items()), REVISION)).encode()).hexdigest()
        self.version = pretrained.version_of(digest)

    def preprocess(self, image: Image.Image) -> Any:
        """Return all views of an upright photo, (D,) float32."""
        found: list[npt.NDArray[np.float32]] = []
        for network in self.spec.networks:
            if network in self._maps:
                found.append(self._maps[network].view(image, is_mirrored="mirror" in self.spec.views))
            if network in self._crops:
                backbone = self._crops[network]
                values = backbone.extract(backbone.preprocess(image)[None])[0]
                found.append(np.sqrt(np.maximum(values, 0)))
        if "colour" in self.spec.views:
            found += views.colour_histograms(image)
        return np.concatenate(found).astype(np.float32)

    def extract(self, batch: Any) -> Features:
        """Return a batch of what `preprocess` returns, (B, D) float32.

        Raises:
            ValueError: The shape or type is wrong.
        """
        if batch.ndim != 2 or batch.shape[1] != self.feature_size or batch.dtype != np.float32:
            raise ValueError(
                f"{self.name} needs views of (B, {self.feature_size}) float32; got {batch.shape} {batch.dtype}."
            )
        features: Features = batch
        return features

    @property
    def has_map(self) -> bool:
        """False: the views have no common map."""
        return False

    def feature_map(self, crop: Crops) -> Features:
        """Refuse.

        Raises:
            BackboneError: Always.
        """
        raise BackboneError(f"The backbone {self.name} has no feature map, so it cannot show where a tag is.")

    def crop_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return the whole photo."""
        return 0.0, 0.0, 1.0, 1.0

    @property
    def class_weights(self) -> Features:
        """(D, 1000) zeros."""
        return np.zeros((self.feature_size, 1000), np.float32)

    @property
    def class_bias(self) -> Features:
        """(1000,) zeros."""
        return np.zeros(1000, np.float32)

    def classify(self, features: Features) -> Features:
        """Return (B, 1000) zeros."""
        return np.zeros((len(features), 1000), np.float32)


def load_view_backbone(chosen: Sequence[str], networks: Sequence[str], num_threads: int | None = None) -> ViewBackbone:
    """Load views of networks.

    Raises:
        ConfigError: A view or a network does not exist, or is named twice.
        BackboneError: The weights of a network are missing.
    """
    return ViewBackbone(ViewSpec(tuple(chosen), tuple(networks)), num_threads)
