"""Checkpoints: a tagger's weights, vocabulary and settings in a folder; checked when loaded, never unpickled.

A folder holds `tagger.json` and the file of weights that it names, `weights-HASH.safetensors`. If the backbone was
fine-tuned with the tagger, its weights are there too, `backbone-HASH.safetensors`, and its version differs from that
of the published weights. A new checkpoint in the same folder writes its weights first and replaces `tagger.json` last,
so that the folder holds a complete checkpoint at any moment.
Knows nothing of training. Loading for inference imports no torch.
"""

import glob
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as pack_tensors

from annotator.datasets.vocabulary import ORDERS, Vocabulary
from annotator.errors import AnnotatorError, CheckpointError, DataError
from annotator.models import registry
from annotator.models.backbones.pretrained import version_of
from annotator.models.reranker import IDENTITY, Reranker
from annotator.models.sequence.inference import InferenceTagger, Ranking
from annotator.models.taggers.scoring_tagger import ScoringTagger

if TYPE_CHECKING:
    from annotator.models.backbones.backbone import Backbone
    from annotator.models.sequence.trained_tagger import TrainedTagger

FORMAT = "annotator tagger"
FORMAT_VERSION = 1
SETTINGS_FILE = "tagger.json"
STARTER = "starter"
"""The default checkpoint of the package; "starter/NAME" is another one, "starter/BACKBONE/NAME" one that was built."""
STARTER_TAGGER = "jvsp"
LARGEST_HALF = 65504.0
"""Largest value of 16-bit floats."""

Arrays = Mapping[str, npt.NDArray[Any]]
LoadedTagger = InferenceTagger | ScoringTagger


class BackboneLike(Protocol):
    """The backbone's identity; features of another one do not fit."""

    name: str
    version: str
    feature_size: int


@dataclass(frozen=True)
class About:
    """The provenance of a tagger."""

    backbone: str
    """Name of the backbone whose features it takes."""
    backbone_version: str
    order: str
    """Label order of its training: given, rare_first or frequent_first."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """The exact settings and the results of its training, JSON values."""


@dataclass(frozen=True)
class CheckpointInfo:
    """The contents of `tagger.json`."""

    name: str
    version: str
    """First 12 hex digits of a hash of weights, vocabulary, settings and ranking."""
    feature_size: int
    vocabulary: Vocabulary
    settings: Mapping[str, Any]
    ranking: Mapping[str, Any]
    about: About
    weights_file: str
    weights_sha256: str
    backbone_file: str = ""
    """The fine-tuned backbone's weights; empty where the published ones were used."""
    backbone_sha256: str = ""
    reranker: Reranker = IDENTITY
    """Trained with the tagger; `IDENTITY` if none was."""


def save(
    tagger: "TrainedTagger | LoadedTagger",
    folder: Path,
    about: About,
    *,
    half: bool = False,
    backbone: Arrays | None = None,
    reranker: Reranker = IDENTITY,
) -> str:
    """Write a checkpoint, replacing an existing one.

    Args:
        tagger: The tagger to save.
        folder: Created if missing.
        about: The provenance of the tagger.
        half: Save the tagger's matrices in 16 bits; vectors and the backbone stay in 32.
        backbone: Weights of the backbone that was fine-tuned with it, from `TrainableBackbone.arrays`; their version
            replaces the one in `about`.
        reranker: The re-ranker trained with it.

    Returns:
        The checkpoint's version.

    Raises:
        CheckpointError: A weight is not finite or does not fit 16 bits, or the folder cannot be written.
    """
    arrays, settings, ranking = _take_apart(tagger)
    packed = pack_tensors({name: _narrow(name, values, half) for name, values in arrays.items()})
    digest = hashlib.sha256(packed).hexdigest()
    files = {f"weights-{digest[:12]}.safetensors": packed}
    source: dict[str, Any] = {"name": about.backbone, "version": about.backbone_version}
    if backbone is not None:
        network = pack_tensors({name: _narrow(name, values, False) for name, values in backbone.items()})
        sha256 = hashlib.sha256(network).hexdigest()
        name = f"backbone-{sha256[:12]}.safetensors"
        files[name] = network
        source = {"name": about.backbone, "version": version_of(sha256), "weights": {"file": name, "sha256": sha256}}
    values: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": tagger.name,
        "feature_size": tagger.feature_size,
        "backbone": source,
        "order": about.order,
        "settings": dict(settings),
        "ranking": dict(ranking),
        "weights": {"file": f"weights-{digest[:12]}.safetensors", "sha256": digest},
        "training": dict(about.training),
        "vocabulary": json.loads(tagger.vocabulary.to_json()),
    }
    if reranker != IDENTITY:
        values["reranker"] = reranker.to_json()
    values["version"] = _version(values)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomically(folder / name, content)
        text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / SETTINGS_FILE, text.encode())
        for old in (*folder.glob("weights-*.safetensors"), *folder.glob("backbone-*.safetensors")):
            if old.name not in files:
                old.unlink()
    except OSError as error:
        raise CheckpointError(f"The checkpoint {folder} could not be written: {error}.") from error
    version: str = values["version"]
    return version


def load(source: Path | str, *, backbone: BackboneLike | None = None) -> LoadedTagger:
    """Load a tagger for inference.

    Args:
        source: A folder that `save` wrote, or "starter".
        backbone: The backbone of the features; refused if the tagger was trained on another one's.

    Raises:
        CheckpointError: There is no checkpoint, it is damaged or in another format version, or the backbone does not
            fit.
    """
    folder = find(source)
    info = read_info(folder)
    if backbone is not None:
        check_backbone(info, backbone)
    arrays = _read_weights(folder, info)
    try:
        kind = registry.find_scoring(info.name)
        if kind is not None:
            scoring = kind.from_arrays(info.vocabulary, info.settings, dict(arrays))
            scoring.reranker = info.reranker
            return scoring
        ranking = Ranking(**{**info.ranking, "calibration": tuple(info.ranking["calibration"])})
        weights = {name: values.astype(np.float32) for name, values in arrays.items()}
        _check_shapes(info, weights)
        tagger = InferenceTagger(info.name, info.version, info.vocabulary, weights, info.settings, ranking)
        tagger.reranker = info.reranker
        return tagger
    except CheckpointError:
        raise
    except (AnnotatorError, KeyError, ValueError, TypeError, IndexError) as error:
        raise CheckpointError(f"The checkpoint {folder} does not fit together: {error}") from error


def load_module(source: Path | str) -> "TrainedTagger":
    """Load a `TrainedTagger` as a torch module, to train it further.

    Raises:
        CheckpointError: There is no checkpoint, it is damaged or in another format version, or it holds a baseline.
    """
    import torch

    folder = find(source)
    info = read_info(folder)
    if info.name not in (*registry.names(), *registry.context_names()):
        raise CheckpointError(f"The checkpoint {folder} holds the tagger {info.name}, which is not trained by steps.")
    arrays = _read_weights(folder, info)
    try:
        module = registry.create(info.name, info.vocabulary, info.feature_size, **info.settings)
        state = {name: torch.from_numpy(values.astype(np.float32)) for name, values in arrays.items()}
        state.setdefault("precedence", module.precedence)  # missing in older checkpoints
        module.load_state_dict(state)
        module.ranking = Ranking(**{**info.ranking, "calibration": tuple(info.ranking["calibration"])})
    except (AnnotatorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"The checkpoint {folder} does not fit together: {error}") from error
    module.version = info.version
    return module


def load_backbone_of(source: Path | str, *, device: str = "auto", num_threads: int | None = None) -> "Backbone":
    """Load the backbone of a tagger's features: the published one, or the one that was fine-tuned with it.

    Args:
        source: A folder that `save` wrote, or "starter".
        device: "cpu", "cuda" or "auto".
        num_threads: CPU threads of one `extract`.

    Raises:
        CheckpointError: There is no such checkpoint, or its description is damaged.
        BackboneError: The backbone's weights are missing, damaged or those of another network.
    """
    from annotator.models.backbones.backbone import load_backbone

    folder = find(source)
    info = read_info(folder)
    weights_path = folder / info.backbone_file if info.backbone_file else None
    return load_backbone(info.about.backbone, device=device, num_threads=num_threads, weights_path=weights_path)


def find(source: Path | str) -> Path:
    """Return the folder of a checkpoint; "starter" is the default one of the package.

    Raises:
        CheckpointError: There is no checkpoint.
    """
    word = str(source)
    folder = Path(source)
    if word == STARTER or word.startswith(f"{STARTER}/"):
        name = word.removeprefix(STARTER).strip("/") or STARTER_TAGGER
        folder = (built_starters_path() if "/" in name else Path(__file__).with_name(STARTER)) / name
    if not (folder / SETTINGS_FILE).is_file():
        raise CheckpointError(f"There is no checkpoint {word}: {folder / SETTINGS_FILE} is missing.")
    return folder


def starter_names() -> list[str]:
    """Return the names of the checkpoints in the package."""
    return sorted(path.parent.name for path in Path(__file__).with_name(STARTER).glob(f"*/{SETTINGS_FILE}"))


def built_starters_path() -> Path:
    """Return the folder of starters that were built here: `annotator/starters` in the user's cache folder.

    It holds a folder for each backbone, with a checkpoint for each tagger.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "annotator" / "starters"


def built_starters(backbone: str) -> list[str]:
    """Return the names of the starters that were built for a backbone, "starter/BACKBONE/NAME"."""
    found = (built_starters_path() / backbone).glob(f"*/{SETTINGS_FILE}")
    return sorted(f"{STARTER}/{backbone}/{path.parent.name}" for path in found if path.parent.name[0] != ".")


def starter_for(name: str, backbone: str) -> str:
    """Return the built starter of a backbone in place of the package's of that name, where there is one.

    Args:
        name: Of any tagger; only "starter/NAME" is changed.
        backbone: Name of the backbone.
    """
    built = name.replace(f"{STARTER}/", f"{STARTER}/{backbone}/", 1)
    is_of_package = name.startswith(f"{STARTER}/") and name.count("/") == 1
    return built if is_of_package and built in built_starters(backbone) else name


def read_info(source: Path | str) -> CheckpointInfo:
    """Read the description of a checkpoint, without its weights.

    Raises:
        CheckpointError: There is no checkpoint, or it is damaged or in another format version.
    """
    path = find(source) / SETTINGS_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} could not be read as JSON: {error}.") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not the description of a tagger. Name a folder that `annotator train` wrote.")
    if values.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has the format version {values.get('format_version')!r}; this program reads {FORMAT_VERSION}. "
            "Train the tagger again, or use the program that wrote it."
        )
    try:
        tuned = dict(values["backbone"].get("weights") or {"file": "", "sha256": ""})
        info = CheckpointInfo(
            name=_text(values["name"]),
            version=_text(values["version"]),
            feature_size=int(values["feature_size"]),
            vocabulary=Vocabulary.from_json(json.dumps(values["vocabulary"])),
            settings=dict(values["settings"]),
            ranking=dict(values["ranking"]),
            about=About(
                _text(values["backbone"]["name"]),
                _text(values["backbone"]["version"]),
                _text(values["order"]),
                dict(values["training"]),
            ),
            weights_file=_text(values["weights"]["file"]),
            weights_sha256=_text(values["weights"]["sha256"]),
            backbone_file=_text(tuned["file"]),
            backbone_sha256=_text(tuned["sha256"]),
            reranker=Reranker.from_json(values["reranker"]) if "reranker" in values else IDENTITY,
        )
    except (KeyError, TypeError, ValueError, AttributeError, DataError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if info.about.order not in ORDERS:
        raise CheckpointError(f"{path} is damaged: there is no label order {info.about.order!r}.")
    if info.version != _version(values):
        raise CheckpointError(f"{path} was changed after it was written: its version does not fit its contents.")
    for file in (info.weights_file, info.backbone_file):
        if Path(file).name != file:
            raise CheckpointError(f"{path} is damaged: {file!r} is not the name of a file beside it.")
    if info.name not in registry.all_names():
        raise CheckpointError(f"{path} holds the tagger {info.name!r}, which this program does not know.")
    return info


def check_backbone(info: CheckpointInfo, backbone: BackboneLike) -> None:
    """Refuse a backbone whose features a tagger was not trained on.

    Raises:
        CheckpointError: The backbone, its version or its feature size differs.
    """
    wanted = (info.about.backbone, info.about.backbone_version, info.feature_size)
    found = (backbone.name, backbone.version, backbone.feature_size)
    if wanted != found:
        advice = (
            "It brings its own backbone: name its folder with --tagger, and the features are computed by that one."
            if info.backbone_file
            else "Choose that backbone, or train the tagger again."
        )
        raise CheckpointError(
            f"The tagger {info.name} was trained on features of {wanted[0]} {wanted[1]} ({wanted[2]} values); these "
            f"come from {found[0]} {found[1]} ({found[2]} values). {advice}"
        )


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file in one step: it is either complete or absent."""
    for left_over in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if not _is_running(left_over.suffix[1:]):
            left_over.unlink(missing_ok=True)  # left by a process that was killed
    temporary = path.with_name(f".{path.name}.{threading.get_ident()}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_running(process_id: str) -> bool:
    if not process_id.isdigit():
        return True  # not a file of this program
    try:
        os.kill(int(process_id), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _take_apart(tagger: "TrainedTagger | LoadedTagger") -> tuple[Arrays, Mapping[str, Any], Mapping[str, Any]]:
    """Return (arrays, settings, ranking)."""
    if isinstance(tagger, ScoringTagger):
        return tagger.arrays(), tagger.settings(), {}
    settings = tagger.settings if isinstance(tagger, InferenceTagger) else tagger.settings()
    weights = tagger.weights if isinstance(tagger, InferenceTagger) else tagger.weights()
    return cast("Arrays", weights), settings, asdict(tagger.ranking)


def _narrow(name: str, values: npt.NDArray[Any], half: bool) -> npt.NDArray[Any]:
    if np.issubdtype(values.dtype, np.floating):
        if not np.isfinite(values).all():
            raise CheckpointError(f"The weights {name} hold values that are not finite; such a tagger is not saved.")
        if half and values.ndim > 1:
            largest = float(np.abs(values).max(initial=0))
            if largest > LARGEST_HALF:
                raise CheckpointError(f"The weights {name} reach {largest:.3g}, which 16 bits do not hold.")
            return np.ascontiguousarray(values.astype(np.float16))
    return np.ascontiguousarray(values).reshape(values.shape)  # ascontiguousarray makes a scalar (1,)


def _version(values: Mapping[str, Any]) -> str:
    hashed = {key: value for key, value in values.items() if key != "version"}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:12]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text.")
    return value


def _read_weights(folder: Path, info: CheckpointInfo) -> Arrays:
    path = folder / info.weights_file
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"The weights {path} could not be read: {error}.") from error
    if hashlib.sha256(packed).hexdigest() != info.weights_sha256:
        raise CheckpointError(f"The weights {path} are damaged: their SHA-256 is not the one in {SETTINGS_FILE}.")
    try:
        arrays: Arrays = parse_tensors(packed)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}.") from error
    return arrays


def _check_shapes(info: CheckpointInfo, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
    if weights["feature_mean"].shape != (info.feature_size,):
        raise CheckpointError(
            f"The weights take features of {weights['feature_mean'].shape} values, not {info.feature_size}."
        )
    output = next(name for name in ("decoder.output.bias", "output.bias") if name in weights)
    num_outputs = len(weights[output])
    if num_outputs - len(info.vocabulary) not in (0, 1):
        raise CheckpointError(
            f"The weights have {num_outputs} outputs, but the vocabulary {len(info.vocabulary)} tags."
        )
