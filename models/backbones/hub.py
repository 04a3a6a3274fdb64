"""Models of the Hugging Face hub that become backbones: finds, fetches and checks their files.

A model is a repository with `open_clip_config.json` (open_clip: an image and a text tower) or `config.json` with an
architecture of timm, and weights as safetensors; a torch file is taken only if torch's weights-only loading reads it.
No code of a repository is run. Knows nothing of networks, ONNX or projects.
"""

import difflib
import errno
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator.errors import BackboneError
from annotator.models.backbones.pretrained import hash_file, load_state

EXTRA = 'pip install "annotator[backbones]"'
OPEN_CLIP_CONFIG = "open_clip_config.json"
TIMM_CONFIG = "config.json"
WEIGHTS = {
    "open_clip": ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin"),
    "timm": ("model.safetensors", "pytorch_model.bin"),
}
"""Files that may hold the weights, the best first."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")
MAX_CONFIG_BYTES = 1_000_000
SPACE_FACTOR = 4
"""Free disk space that an installation needs, as a multiple of the weights."""
TIMEOUT_SECONDS = 30
MOST_ALIKE = 3
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class HubModel:
    """The checked files of a model, in one folder."""

    name: str
    """Name of the backbone that it becomes: the repository with __ for /."""
    repo: str
    """Repository, or the folder that was given."""
    kind: str
    """timm or open_clip."""
    folder: Path
    config: dict[str, Any]
    weights: Path
    weights_sha256: str
    commit: str
    """Commit of the repository; empty for a folder without one."""
    licence: str
    """As the repository says; empty if unknown."""

    @property
    def num_bytes(self) -> int:
        """Size of the weights."""
        return self.weights.stat().st_size


def backbone_name(repo: str) -> str:
    """Return the name of the backbone that a repository becomes; it is part of file names."""
    return repo.replace("/", "__")


def fetch(name: str, progress: Progress = lambda text: None, endpoint: str | None = None) -> HubModel:
    """Return a model's files, fetching those that are not in the hub's cache on this machine.

    Args:
        name: A repository (`timm/resnet18.a1_in1k`), a name of timm (`resnet18.a1_in1k`), one of open_clip
            (`ViT-B-32:laion2b_s34b_b79k`), or a folder: the files, or a repository as the hub's cache has it.
        progress: Called with a line of text for each step.
        endpoint: Address of the hub; None is the environment's.

    Raises:
        BackboneError: There is no such model, it cannot be fetched, a checksum differs, or a file is damaged.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _read_folder(folder.resolve())
    repo = find_repo(name)
    with _hub_errors(repo):
        return _fetch_repo(repo, progress, endpoint)


def find_repo(name: str) -> str:
    """Return the repository of a name; see `fetch`.

    Raises:
        BackboneError: Neither timm nor open_clip knows the name, or open_clip is not installed.
    """
    name = name.removeprefix("hf-hub:").removeprefix("hf_hub:")
    if _REPO.fullmatch(name) and ":" not in name:
        return name
    arch, colon, tag = name.partition(":")
    if colon:
        open_clip = import_open_clip()
        about = open_clip.get_pretrained_cfg(arch, tag)
        repo = str((about or {}).get("hf_hub", "")).rstrip("/")
        known = [f"{a}:{t}" for a, t in open_clip.list_pretrained()]
    else:
        import timm

        repo = ""
        if timm.is_model(arch.partition(".")[0]):
            with suppress(RuntimeError, KeyError):  # there are no such weights of this network
                cfg = timm.get_pretrained_cfg(name, allow_unregistered=False)
                repo = str(cfg.hf_hub_id or "") if cfg is not None else ""
        known = timm.list_models(pretrained=True)
    if not _REPO.fullmatch(repo):
        alike = difflib.get_close_matches(name, known, MOST_ALIKE, 0.5)
        meant = f" Did you mean {' or '.join(alike)}?" if alike else ""
        library = "open_clip" if colon else "timm"
        raise BackboneError(
            f"There is no model {name[:100]!r} in {library}, or none with weights on the hub.{meant} A repository of "
            "the hub is named like timm/resnet18.a1_in1k."
        )
    return repo


def import_open_clip() -> Any:
    """Return the module open_clip.

    Raises:
        BackboneError: It is not installed.
    """
    try:
        import open_clip  # type: ignore[import-untyped]
    except ImportError as error:
        raise BackboneError(f"Image-text models need open_clip, which is missing ({error}). Run: {EXTRA}") from error
    return open_clip


def _fetch_repo(repo: str, progress: Progress, endpoint: str | None) -> HubModel:
    from huggingface_hub import HfApi, hf_hub_download

    info = HfApi(endpoint=endpoint).model_info(repo, files_metadata=True, timeout=TIMEOUT_SECONDS)
    files = {item.rfilename: item for item in info.siblings or []}
    kind = _kind_of(files, repo)
    weights = next((name for name in WEIGHTS[kind] if name in files), None)
    if weights is None:
        raise BackboneError(f"The repository {repo} has no weights file; looked for: {', '.join(WEIGHTS[kind])}.")
    licence = str(getattr(info.card_data, "license", "") or "") if info.card_data else ""
    size = files[weights].size or 0
    progress(f"{repo}: {size / 1e6:,.0f} MB, licence {licence or 'not named'}.")
    cache = _hub_cache()
    check_space(cache, SPACE_FACTOR * size)
    config_name = OPEN_CLIP_CONFIG if kind == "open_clip" else TIMM_CONFIG
    found: dict[str, Path] = {}
    for name in (config_name, *(name for name in TOKENIZER_FILES if name in files), weights):
        if name == weights:
            progress(f"Fetching {name} into {cache}.")
        found[name] = Path(
            hf_hub_download(repo, name, revision=info.sha, endpoint=endpoint, etag_timeout=TIMEOUT_SECONDS)
        )
        large = files[name].lfs
        expected = large.sha256 if large is not None else None
        if expected and hash_file(found[name]) != expected:
            broken = found[name].resolve()
            found[name].unlink(missing_ok=True)
            broken.unlink(missing_ok=True)
            raise BackboneError(
                f"{name} of {repo} is not the file that the hub describes: its SHA-256 differs. The damaged file was "
                "deleted; try again."
            )
    return _checked(repo, kind, found[config_name].parent, found[weights], info.sha or "", licence)


def _read_folder(folder: Path) -> HubModel:
    """Return the model of a folder: its files, or a repository in the layout of the hub's cache."""
    snapshots, commit, repo = folder / "snapshots", "", str(folder)
    if snapshots.is_dir():
        commit = _newest_commit(folder)
        repo = folder.name.removeprefix("models--").replace("--", "/")
        folder = snapshots / commit
    elif folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name):
        commit, repo = folder.name, folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    kind = _kind_of({path.name for path in folder.iterdir()}, repo)
    weights = next((folder / name for name in WEIGHTS[kind] if (folder / name).is_file()), None)
    if weights is None:
        raise BackboneError(f"{folder} has no weights file; looked for: {', '.join(WEIGHTS[kind])}.")
    # In the cache a large file is a link to a blob that is named by its SHA-256.
    blob = weights.resolve().name
    if weights.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob) and hash_file(weights) != blob:
        raise BackboneError(
            f"{weights} is damaged: its SHA-256 is not the one in its name. Delete it and fetch it again."
        )
    return _checked(repo, kind, folder, weights, commit, "")


def _newest_commit(folder: Path) -> str:
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        commit = ""
    if not (folder / "snapshots" / commit).is_dir() or not commit:
        names = sorted(path.name for path in (folder / "snapshots").iterdir() if path.is_dir())
        if not names:
            raise BackboneError(f"{folder} has the layout of the hub's cache, but no snapshot.")
        commit = names[-1]
    return commit


def _kind_of(files: Any, repo: str) -> str:
    if OPEN_CLIP_CONFIG in files:
        return "open_clip"
    if TIMM_CONFIG in files:
        return "timm"
    raise BackboneError(
        f"{repo} is no model of timm or open_clip: it has neither {OPEN_CLIP_CONFIG} nor {TIMM_CONFIG}."
    )


def _checked(repo: str, kind: str, folder: Path, weights: Path, commit: str, licence: str) -> HubModel:
    config = _read_config(folder / (OPEN_CLIP_CONFIG if kind == "open_clip" else TIMM_CONFIG))
    if kind == "timm" and not isinstance(config.get("architecture"), str):
        raise BackboneError(f"{repo} is no model of timm: its {TIMM_CONFIG} names no architecture of timm.")
    pretrained = config.get("pretrained_cfg")
    if not licence and isinstance(pretrained, dict):
        licence = str(pretrained.get("license") or "")
    name = backbone_name(repo if _REPO.fullmatch(repo) else Path(repo).name)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise BackboneError(f"{name[:100]!r} cannot be the name of a backbone: use letters, digits, '.', '-' and '_'.")
    return HubModel(name, repo, kind, folder, config, weights, hash_file(weights), commit, licence)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise BackboneError(f"{path} is no description of a model: it has {path.stat().st_size:,} bytes.")
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BackboneError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BackboneError(f"{path} is no description of a model: it is not JSON.") from error
    if not isinstance(values, dict):
        raise BackboneError(f"{path} is no description of a model: it is no JSON object.")
    return values


@contextmanager
def safe_copy(model: HubModel, folder: Path) -> Iterator[Path]:
    """Yield a folder with nothing but description, tokenizer and safetensors weights, for the libraries to read.

    Raises:
        BackboneError: The weights are a pickle with other objects than tensors, or a damaged file.
    """
    from safetensors import SafetensorError, safe_open

    target = folder / "model"
    target.mkdir()
    for name in (OPEN_CLIP_CONFIG, TIMM_CONFIG, *TOKENIZER_FILES):
        if (model.folder / name).is_file():
            shutil.copyfile(model.folder / name, target / name)
    weights = target / WEIGHTS[model.kind][0]
    if model.weights.suffix == ".safetensors":
        try:
            with safe_open(model.weights, "np") as file:
                file.keys()
        except (SafetensorError, OSError) as error:
            raise BackboneError(f"{model.weights} is damaged, or no safetensors file ({error}).") from error
        weights.symlink_to(model.weights.resolve())
    else:
        from safetensors.torch import save_file

        try:
            state = load_state(model.weights)
            state = state.get("state_dict", state)  # type: ignore[assignment]
            save_file({name: value.contiguous().clone() for name, value in state.items()}, weights)
        except (BackboneError, AttributeError, ValueError, TypeError) as error:
            raise BackboneError(
                f"{model.weights.name} of {model.repo} is a pickle that holds more than tensors, or is damaged; such "
                "files can run code and are refused. Take a model with safetensors weights."
            ) from error
    try:
        yield target
    finally:
        shutil.rmtree(target, ignore_errors=True)


def check_space(folder: Path, num_bytes: int) -> None:
    """Refuse to begin where the disk is too full.

    Raises:
        BackboneError: There is less free space than that.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < num_bytes:
        raise BackboneError(
            f"{num_bytes / 1e6:,.0f} MB are needed in {folder}, but {free / 1e6:,.0f} MB are free. Free some space, or "
            "set XDG_CACHE_HOME and HF_HOME to another disk."
        )


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Turn the errors of the hub's client into sentences."""
    from huggingface_hub import errors as hub

    offline = (
        "Without a network, fetch the repository elsewhere (hf download NAME --local-dir FOLDER) and name the folder: "
        "annotator backbone install FOLDER"
    )
    try:
        yield
    except BackboneError:
        raise
    except hub.GatedRepoError as error:
        raise BackboneError(
            f"{repo} is given only to people who accepted its terms: do so on the hub, then `hf auth login`."
        ) from error
    except hub.RepositoryNotFoundError as error:
        raise BackboneError(f"The hub has no public model {repo}. Check the name.") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise BackboneError(
                f"The disk became full while {repo} was fetched. What is complete is kept; free some space."
            ) from error
        raise BackboneError(f"{repo} cannot be fetched ({_short(error)}). {offline}") from error
    except Exception as error:  # the client raises the types of its own HTTP library
        raise BackboneError(f"{repo} cannot be fetched ({_short(error)}). {offline}") from error


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0][:200] if lines else type(error).__name__).rstrip(".")
