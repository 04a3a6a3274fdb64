"""Faster R-CNN with a MobileNet, from torchvision, run by torch: more accurate than NanoDet, and slower without a GPU.

Ren et al., "Faster R-CNN", NeurIPS 2015; Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017.
Its weights (74 MB) are downloaded when it is loaded for the first time.
"""

import pickle
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torchvision import models  # type: ignore[import-untyped]

from annotator import carried_models
from annotator.errors import DetectorError
from annotator.models.detectors.coco_classes import COCO_CLASSES
from annotator.models.detectors.detector import LEAST_SCORE, MAX_DETECTIONS, TORCHVISION, Detection, clipped_detections
from annotator.models.detectors.detector_catalog import torchvision_weights_path

NETWORK = "fasterrcnn_mobilenet_v3_large_fpn"
WEIGHTS = "FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1"


class TorchvisionDetector:
    """Faster R-CNN with a MobileNet in torch, on the GPU if there is one.

    Args:
        network: One of torchvision's detection networks, with its weights.
        categories: Its class names by number.
        version: Version of its weights.
    """

    name = TORCHVISION
    image_size = 1333

    def __init__(self, network: torch.nn.Module, categories: Sequence[str], version: str) -> None:
        self.version = version
        self._categories = categories
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = network.eval().to(self._device)

    def detect(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        """Return each photo's detections, highest score first."""
        batch = [
            torch.from_numpy(np.array(image.convert("RGB"))).to(self._device).permute(2, 0, 1).float() / 255
            for image in images
        ]
        with torch.inference_mode():
            outputs = self._network(batch) if batch else []
        return [self._read(output, image) for output, image in zip(outputs, images, strict=True)]

    def _read(self, output: dict[str, torch.Tensor], image: Image.Image) -> list[Detection]:
        scores, numbers = output["scores"].cpu().numpy(), output["labels"].cpu().numpy()
        boxes = output["boxes"].cpu().numpy() / np.array([*image.size, *image.size], np.float32)
        labels = [self._categories[number] for number in numbers]
        kept = [i for i, label in enumerate(labels) if scores[i] >= LEAST_SCORE and label in COCO_CLASSES]
        kept = sorted(kept, key=lambda i: -scores[i])[:MAX_DETECTIONS]
        return clipped_detections(boxes[kept], scores[kept], [labels[i] for i in kept])


def build_network() -> torch.nn.Module:
    """Build the network with random weights."""
    network: torch.nn.Module = models.get_model(NETWORK, weights=None, weights_backbone=None)
    return network


def load_torchvision() -> TorchvisionDetector:
    """Load the detector, downloading its weights if they are not in the cache.

    Raises:
        DetectorError: They are neither cached nor downloadable.
    """
    weights, path = models.get_weight(WEIGHTS), torchvision_weights_path()
    carried = carried_models.find(carried_models.DETECTORS, path.name)
    try:
        if carried is not None:
            state = torch.load(carried, map_location="cpu", weights_only=True)
        else:
            state = weights.get_state_dict(progress=False, check_hash=True)
    except pickle.UnpicklingError as error:
        raise DetectorError(f"The weights {carried} are damaged: they hold other objects than tensors.") from error
    except (OSError, RuntimeError) as error:
        raise DetectorError(
            f"The weights of torchvision's detector are neither cached nor downloadable ({error}). "
            f"Put the file {path.name} into {path.parent}, or choose the detector nanodet or none."
        ) from error
    network = build_network()
    network.load_state_dict(state)
    return TorchvisionDetector(network, weights.meta["categories"], path.stem.rsplit("-", 1)[1])
