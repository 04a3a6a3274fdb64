"""Lists the detectors, and loads one by its name. Knows nothing of photos or projects."""

from dataclasses import dataclass
from pathlib import Path

from annotator.errors import DetectorError
from annotator.models.backbones.pretrained import torch_weights_path
from annotator.models.detectors.detector import DETECTORS, NANODET, TORCHVISION, Detector

TORCHVISION_FILE = "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth"
"""File name of torchvision's weights, known without importing torchvision."""


@dataclass(frozen=True)
class DetectorInfo:
    """A detector as `annotator doctor` lists it."""

    name: str
    is_available: bool
    advice: str
    """How to install it, one sentence; empty if it is available."""


def load_detector(name: str, *, num_threads: int | None = None, cache_path: Path | None = None) -> Detector:
    """Load a detector.

    Args:
        name: One of `DETECTORS`.
        num_threads: CPU threads of NanoDet; None leaves it to ONNX Runtime.
        cache_path: Folder of installed detectors; None is the default.

    Raises:
        DetectorError: It is unknown, not installed or damaged, or its weights cannot be downloaded.
    """
    # Imported here: torchvision takes seconds.
    if name == NANODET:
        from annotator.models.detectors.detector_install import read_installed
        from annotator.models.detectors.nanodet import NanoDet

        installed = read_installed(cache_path)
        return NanoDet(installed.onnx, installed.version, num_threads)
    if name == TORCHVISION:
        from annotator.models.detectors.torchvision_detector import load_torchvision

        return load_torchvision()
    raise DetectorError(f"There is no detector {name!r}. Detectors: {', '.join(DETECTORS)}.")


def list_detectors(cache_path: Path | None = None) -> list[DetectorInfo]:
    """Return every detector, whether its weights are on this machine, and how to get them."""
    from annotator.models.detectors.detector_install import is_installed

    has_nanodet, has_torchvision = is_installed(cache_path), torchvision_weights_path().exists()
    return [
        DetectorInfo(NANODET, has_nanodet, "" if has_nanodet else "Install it with: annotator detector install"),
        DetectorInfo(
            TORCHVISION,
            has_torchvision,
            "" if has_torchvision else "It is downloaded when first chosen: annotator serve --detector torchvision",
        ),
    ]


def torchvision_weights_path() -> Path:
    """Return the path of torchvision's weights in torch's cache, present or not."""
    return torch_weights_path() / TORCHVISION_FILE
