"""The report of ``annotator doctor``: versions, devices, sources of weights, what is missing and how to install it."""

import os
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from annotator import __version__
from annotator.datasets.file_types import OPTIONAL_PACKAGES, is_installed, not_installed
from annotator.errors import WordVectorError
from annotator.models.backbones.backbone import default_cache_path, list_backbones
from annotator.models.backbones.installed import list_damaged, list_installed
from annotator.models.detectors import detector_install
from annotator.models.detectors.detector_catalog import list_detectors
from annotator.models.vision_language.address import KEY_VARIABLE
from annotator.models.word_vectors import glove_package
from annotator.models.word_vectors.word_vector_files import cache_path, cached_tables
from annotator.models.word_vectors.word_vectors import DEFAULT_VECTORS, WORDNET, find_wordnet_table
from annotator.retrieval.faiss_backend import describe_faiss

IMAGE_TEXT_PACKAGES = ("open_clip", "tokenizers", "transformers")
PACKAGES = ("torch", "torchvision", "timm", "onnxruntime", "gradio", "fastapi", "duckdb", "gensim", "numpy", "pillow")


def examine() -> dict[str, Any]:
    """Return the report as JSON values; ``problems`` is empty if photos can be tagged."""
    problems: list[str] = []
    versions: dict[str, str] = {"annotator": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "missing"
            problems.append(f"The package {name} is missing. Run: pip install {name}")
    faiss = describe_faiss()
    if faiss["problem"]:
        problems.append(str(faiss["problem"]))
    backbones = [asdict(info) for info in list_backbones()]
    default = backbones[0]
    if not default["is_available"]:
        problems.append(f"The default backbone {default['name']} has no weights. {default['advice']}")
    speeds = {
        model.architecture.name: "".join(
            f", {speed:g} photos/s with {kind}" for kind, speed in model.photos_per_second.items()
        )
        + (", image and text" if model.text else "")
        for model in list_installed()
    }
    problems += list_damaged()
    has_gpu = shutil.which("nvidia-smi") is not None
    if has_gpu and faiss["num_gpus"] == 0:
        problems.append('This machine has an NVIDIA GPU that FAISS cannot use. Run: pip install "annotator[gpu]"')
    return {
        "versions": versions,
        "device": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpus": os.cpu_count(),
            "gpu": "an NVIDIA GPU" if has_gpu else "none found",
            "index": f"{faiss['num_gpus']} GPU(s)" if faiss["num_gpus"] else "CPU",
        },
        "faiss": faiss,
        "backbones": {
            info["name"]: ("available" if info["is_available"] else f"missing. {info['advice']}")
            + f" ({info['feature_size']} values, weights from {info['source']}{speeds.get(info['name'], '')})"
            for info in backbones
        },
        "photos (optional)": {
            format: "read" if is_installed(format) else f"not read. {not_installed(format)}"
            for format in OPTIONAL_PACKAGES
        },
        "further backbones (optional)": describe_further_backbones(),
        "vision-language model (optional)": {
            "asked": "only while `annotator serve` is given --vlm URL and --vlm-model NAME; of a served project: "
            "annotator doctor --project DIR",
            KEY_VARIABLE: "set" if os.environ.get(KEY_VARIABLE) else "not set",
        },
        "detectors (optional)": {
            info.name: "available" if info.is_available else f"not there. {info.advice}" for info in list_detectors()
        },
        "cache": {
            "backbones": str(default_cache_path()),
            "detectors": str(detector_install.default_cache_path()),
            "word vectors": str(cache_path()),
        },
        "word vectors": describe_word_vectors(problems),
        "problems": problems,
    }


def describe_further_backbones() -> dict[str, str]:
    """Return which of the packages for image-text models are there, and what they bring."""
    missing = [name for name in IMAGE_TEXT_PACKAGES if find_spec(name) is None]
    state = f'missing {", ".join(missing)}. Run: pip install "annotator[backbones]"' if missing else "ready"
    return {
        "models of timm": "ready; with a network: annotator backbone install NAME",
        "image-text models of open_clip": f"{state}; they propose words without training",
    }


def describe_word_vectors(problems: list[str]) -> dict[str, str]:
    """Return the state of the named word vectors; a missing default is added to the problems."""
    try:
        glove_package.vectors_path()
        is_cached = bool(cached_tables(DEFAULT_VECTORS))
        glove = "available, 50 values" + ("" if is_cached else "; the first use converts it, which takes seconds")
    except WordVectorError as error:
        glove = f"missing. {error}"
        problems.append(str(error))
    folder = find_wordnet_table()
    wordnet = f"available: {folder.name}" if folder else "not made yet. Make them with: annotator wordnet build"
    return {DEFAULT_VECTORS: glove, WORDNET: wordnet}
