"""A backbone as a torch module that can be trained, and its weights after training.

Batch normalisation: with "frozen" (the default) its statistics stay those of ImageNet, as in inference, and only its
scale and shift are learnt; with "batch" each batch is normalised by its own statistics, and inference uses their
running means, which requires batches of at least 32. Knows nothing of tags, files of photos or ONNX.
Shapes: crops (B, H, W, 3) uint8 -> features (B, D) float32.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from annotator.errors import ConfigError
from annotator.models.backbones import pretrained
from annotator.models.backbones.pretrained import Architecture

NORMS = ("frozen", "batch")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class TrainableBackbone(nn.Module):
    """A network without its last layer, in training.

    Attributes:
        architecture: Which network.
        precision: Type of its computations; weights and features are always float32. "auto" is float32 on the CPU and
            bfloat16 on a GPU, or float16 if the GPU does not support bfloat16.
        norm: frozen or batch, see above.
    """

    def __init__(self, architecture: Architecture, network: nn.Module, precision: str, norm: str) -> None:
        super().__init__()
        self.architecture, self.precision, self.norm = architecture, precision, norm
        self.photo_module, self.head_weight, self.head_bias = pretrained.split_head(architecture, network)
        # Inception's auxiliary branch does not contribute to the features.
        for name, parameter in self.photo_module.named_parameters():
            parameter.requires_grad_("AuxLogits" not in name)
        self.photo_module.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> "TrainableBackbone":
        """Enable dropout, and batch statistics if `norm` is "batch"; all else is as in inference."""
        super().train(mode)
        self.photo_module.eval()
        for module in self.photo_module.modules():
            is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            if isinstance(module, nn.Dropout) or (is_norm and self.norm == "batch"):
                module.train(mode)
        return self

    def forward(self, crops: Tensor) -> Tensor:
        """Return features, (B, D) float32, of (B, H, W, 3) uint8 crops."""
        # Crops are (B, H, W, 3) in memory, so that the permuted tensor is channels_last.
        dtype = self.dtype(crops.device.type)
        with torch.autocast(crops.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            out = self.photo_module(crops)
        features: Tensor = (out[0] if isinstance(out, tuple) else out).float()
        return features

    def dtype(self, device: str) -> torch.dtype | None:
        """Return the type of autocast on a device; None means no autocast."""
        if self.precision != "auto":
            return _DTYPES.get(self.precision)
        if device != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return every weight under the plain classifier's names, including its unchanged last layer."""
        prefix = "network."
        state = self.photo_module.state_dict()
        weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        weights[f"{self.architecture.head}.weight"] = self.head_weight
        weights[f"{self.architecture.head}.bias"] = self.head_bias
        return {name: np.array(value.detach().cpu().numpy(), order="C") for name, value in weights.items()}


def load_trainable(
    name: str,
    *,
    weights: Mapping[str, npt.NDArray[np.float32]] | None = None,
    precision: str = "auto",
    norm: str = "frozen",
) -> TrainableBackbone:
    """Build a backbone for training.

    Args:
        name: One of `pretrained.ARCHITECTURES`.
        weights: From `TrainableBackbone.arrays`; None is the published weights.
        precision: One of `PRECISIONS`.
        norm: One of `NORMS`.

    Raises:
        BackboneError: The name is unknown, or the weights are missing or those of another network.
        ConfigError: The precision or norm is unknown.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision is {precision!r}; choose one of: {', '.join(PRECISIONS)}.")
    if norm not in NORMS:
        raise ConfigError(f"norm is {norm!r}; choose one of: {', '.join(NORMS)}.")
    architecture = pretrained.find_architecture(name)
    if weights is None:
        path = pretrained.fetch_weights(architecture)
        network = pretrained.build_network(architecture, pretrained.load_state(path))
    else:
        network = pretrained.build_tuned_network(architecture, weights)
    return TrainableBackbone(architecture, network, precision, norm)
