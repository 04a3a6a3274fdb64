"""Measures a backbone on this machine: photos a second, and what weights of 8 bits change.

Knows nothing of projects.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotator.datasets.demo_photos import demo_photos
from annotator.datasets.image_folder import decode_image, find_images, read_image_file
from annotator.datasets.vocabulary import everyday_words
from annotator.errors import BackboneError, UnreadableImageError
from annotator.models.backbones.backbone import Backbone, load_backbone, load_text_tower
from annotator.models.backbones.installed import IMAGE_INT8, INT8, find_installed
from annotator.models.backbones.text_tower import unit

FIRST = 9
LEAST_GAIN = 1.1
"""How many times as fast weights of 8 bits must be to be advised."""
LEAST_SAME = 0.98
"""Share of the first nine words that must stay the same for that."""
TEMPLATE = "a photo of {}."

Matrix = npt.NDArray[np.float32]


def measure(name: str, folder: Path | None, num: int, num_threads: int) -> dict[str, Any]:
    """Return the measures as JSON values.

    Args:
        name: Of a backbone.
        folder: Of photos; None: the demo's.
        num: Most photos.
        num_threads: CPU threads.

    Raises:
        BackboneError: There is no such backbone, or no photo that can be read.
    """
    plain = load_backbone(name.removesuffix(INT8), device="cpu", num_threads=num_threads)
    model = find_installed(plain.name)
    crops = _crops(plain, folder, num)
    backbones = {"fp32": plain}
    if model is not None and IMAGE_INT8 in model.files:
        backbones["int8"] = load_backbone(plain.name + INT8, device="cpu", num_threads=num_threads)
    features, kinds = {}, {}
    for kind, backbone in backbones.items():
        backbone.extract(crops[:1])
        began = time.monotonic()
        features[kind] = backbone.extract(crops)
        seconds = (time.monotonic() - began) / len(crops)
        kinds[kind] = {"photos_per_second": round(1 / max(seconds, 1e-9), 1), "seconds_each": round(seconds, 5)}
    report: dict[str, Any] = {
        "name": plain.name, "num_photos": len(crops), "num_threads": num_threads, "kinds": kinds, "cosine": None,
        "same_first_nine": None, "same_lists": None,
    }  # fmt: skip
    if "int8" not in backbones:
        return report | {"advice": "This backbone has no weights of 8 bits."}
    report["cosine"] = round(float((unit(features["fp32"]) * unit(features["int8"])).sum(axis=1).min()), 5)
    words = _word_scores(plain)
    if words is not None:
        firsts = {kind: np.argsort(-(unit(values) @ words.T), axis=1)[:, :FIRST] for kind, values in features.items()}
        pairs = list(zip(firsts["fp32"].tolist(), firsts["int8"].tolist(), strict=True))
        report["same_first_nine"] = round(sum(len({*one} & {*two}) for one, two in pairs) / (FIRST * len(pairs)), 4)
        report["same_lists"] = round(sum(one == two for one, two in pairs) / len(pairs), 4)
    gain = kinds["int8"]["photos_per_second"] / kinds["fp32"]["photos_per_second"]
    is_same = report["same_first_nine"] is not None and report["same_first_nine"] >= LEAST_SAME
    if gain >= LEAST_GAIN and is_same:
        advice = f"Weights of 8 bits are {gain:.1f} times as fast and the words stay: --backbone {plain.name}{INT8}"
    else:
        reason = "are not faster here" if gain < LEAST_GAIN else "change the words, or what they change is not known"
        advice = f"Weights of 8 bits {reason}; stay with {plain.name}."
    return report | {"advice": advice}


def _crops(backbone: Backbone, folder: Path | None, num: int) -> npt.NDArray[np.uint8]:
    paths = list(find_images(folder))[:num] if folder is not None else [path for _, path in demo_photos()][:num]
    crops = []
    for path in paths:
        try:
            decoded = decode_image(read_image_file(path), min_side=backbone.draft_size[0])
        except UnreadableImageError:
            continue
        crops.append(backbone.preprocess(decoded.image))
    if not crops:
        raise BackboneError(f"No photo in {folder} can be read.")
    return np.stack(crops)


def _word_scores(backbone: Backbone) -> Matrix | None:
    """Return (N, D) directions of words or classes; None for a network that knows neither."""
    tower = load_text_tower(backbone.name)
    if tower is not None:
        return tower.embed([TEMPLATE.format(word) for word in everyday_words()])
    weights = backbone.class_weights.T
    return weights if np.any(weights) else None
