"""Installed backbones: models of timm and open_clip as ONNX files in the user's cache folder.

Each has a folder with `about.json`, which names the SHA-256 of every other file. Reading one imports neither torch nor
timm nor open_clip. Knows nothing of the hub.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotator import carried_models
from annotator.errors import BackboneError
from annotator.models.backbones.pretrained import HALF, Architecture
from annotator.models.backbones.text_tower import TextSettings

ABOUT = "about.json"
IMAGE, IMAGE_INT8, TEXT = "image.onnx", "image-int8.onnx", "text.onnx"
HEAD, TOKENIZER = "classifier.npz", "tokenizer.json"
INT8 = "@int8"
"""End of the name of a backbone with weights of 8 bits."""
FORMAT = 1
"""Increase it when an installed folder changes so that the features could be others."""
LEFT_OVER_SECONDS = 86_400
"""Age from which the folder of an unfinished installation is taken for one that was killed."""
MAX_ABOUT_BYTES = 1_000_000

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class InstalledModel:
    """An installed backbone."""

    folder: Path
    architecture: Architecture
    repo: str
    licence: str
    commit: str
    weights_sha256: str
    num_bytes: int
    """Size of the weights that it was made from."""
    disagreement: float
    """Largest difference between ONNX Runtime and torch, relative to the largest value."""
    text: TextSettings | None
    files: dict[str, str]
    """File -> SHA-256."""
    photos_per_second: dict[str, float]
    """fp32 and int8 -> photos a second of the network alone, on this machine when it was installed."""

    @property
    def version(self) -> str:
        """Changes whenever the same photo could give other features."""
        a = self.architecture
        name = IMAGE_INT8 if a.name.endswith(INT8) else IMAGE
        parts = (self.files[name], a.image_size, a.short_side, a.resize_mode, a.interpolation, a.mean, a.std, FORMAT)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]

    def read(self, name: str) -> bytes:
        """Return the content of one of its files.

        Raises:
            BackboneError: It is missing or damaged.
        """
        path = self.folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BackboneError(f"{path} cannot be read ({error.strerror}). {self._again}") from error
        if hashlib.sha256(content).hexdigest() != self.files.get(name):
            raise BackboneError(f"{path} is damaged: its SHA-256 is not the one that was written. {self._again}")
        return content

    def classifier(self) -> tuple[Matrix, Matrix]:
        """Return ImageNet's classifier, (D, 1000) and (1000,); zeros for a model without one."""
        if HEAD not in self.files:
            return np.zeros((self.architecture.feature_size, 1000), np.float32), np.zeros(1000, np.float32)
        self.read(HEAD)
        with np.load(self.folder / HEAD, allow_pickle=False) as file:
            return file["weight"], file["bias"]

    @property
    def _again(self) -> str:
        return f"Install it again with: annotator backbone install {self.repo}"


def installed_path() -> Path:
    """Return the folder of installed backbones: `annotator/backbones/installed` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "annotator" / "backbones" / "installed"


def find_installed(name: str) -> InstalledModel | None:
    """Return the installed backbone of a name, with / or __ in it, and @int8 after it for weights of 8 bits.

    One that the project brings along comes first.

    Raises:
        BackboneError: It is installed but damaged, or has no weights of 8 bits.
    """
    is_int8 = name.endswith(INT8)
    plain = name.removesuffix(INT8).replace("/", "__")
    if not plain or plain.startswith(".") or "\\" in plain:
        return None
    folder = carried_models.find(carried_models.BACKBONES, plain) or installed_path() / plain
    if not (folder / ABOUT).is_file():
        return None
    model = _read(folder)
    if is_int8 and IMAGE_INT8 not in model.files:
        raise BackboneError(f"The backbone {plain} has no weights of 8 bits: it has no layers that gain by them.")
    if not is_int8:
        return model
    values = asdict(model.architecture) | {"name": plain + INT8}
    return InstalledModel(**{**model.__dict__, "architecture": _architecture(values)})


def list_installed() -> list[InstalledModel]:
    """Return every installed backbone that can be read, by name."""
    found = []
    for path in _about_files():
        try:
            found.append(_read(path.parent))
        except BackboneError:
            continue  # `doctor` and `find_installed` say what is wrong with it
    return found


def list_damaged() -> list[str]:
    """Return a sentence for each installed backbone that cannot be read."""
    found = []
    for path in _about_files():
        try:
            _read(path.parent)
        except BackboneError as error:
            found.append(str(error))
    return found


def _about_files() -> list[Path]:
    """Return the description of every installed backbone; one whose name begins with a dot was not finished."""
    return sorted(path for path in installed_path().glob(f"*/{ABOUT}") if not path.parent.name.startswith("."))


def remove_installed(name: str) -> bool:
    """Remove an installed backbone; return whether there was one.

    Raises:
        BackboneError: The folder cannot be removed.
    """
    plain = name.removesuffix(INT8).replace("/", "__")
    folder = installed_path() / plain
    if not plain or plain.startswith(".") or not (folder / ABOUT).is_file():
        return False
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise BackboneError(f"The backbone {folder} cannot be removed: {error.strerror}.") from error
    return True


def write_installed(name: str, about: dict[str, Any], write_files: Callable[[Path], None]) -> InstalledModel:
    """Write a backbone's folder in one step, in place of an earlier one.

    Args:
        name: Of the backbone.
        about: Content of about.json, without the files.
        write_files: Writes the files into a folder.

    Raises:
        BackboneError: The folder cannot be written; an earlier one stays.
    """
    folder = installed_path() / name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_overs(folder.parent)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}-"))
        former = temporary.with_name(f"{temporary.name}-former")
        try:
            write_files(temporary)
            files = {}
            for path in sorted(temporary.iterdir()):
                with path.open("rb") as file:
                    files[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
                    os.fsync(file.fileno())
            (temporary / ABOUT).write_text(json.dumps({**about, "format": FORMAT, "files": files}, indent=2))
            model = _read(temporary)
            with suppress(FileNotFoundError):
                folder.rename(former)
            temporary.rename(folder)
        finally:
            for path in (temporary, former):
                shutil.rmtree(path, ignore_errors=True)
    except OSError as error:
        raise BackboneError(
            f"The backbone {name} cannot be written to {folder.parent} ({error.strerror or error}). Free some space, "
            "or set XDG_CACHE_HOME to another folder."
        ) from error
    return InstalledModel(**{**model.__dict__, "folder": folder})


def _remove_left_overs(folder: Path) -> None:
    """Remove what installations that were killed left."""
    for path in folder.glob(".*"):
        if path.stat().st_mtime < time.time() - LEFT_OVER_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _read(folder: Path) -> InstalledModel:
    path = folder / ABOUT
    try:
        if path.stat().st_size > MAX_ABOUT_BYTES:
            raise ValueError("it is too large")
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"it has format {values['format']}, not {FORMAT}")
        text = values["text"]
        return InstalledModel(
            folder,
            _architecture(values["architecture"]),
            str(values["repo"]),
            str(values["licence"]),
            str(values["commit"]),
            str(values["weights_sha256"]),
            int(values["num_bytes"]),
            float(values["disagreement"]),
            None if text is None else TextSettings(**text),
            {str(name): str(digest) for name, digest in values["files"].items()},
            {str(name): float(speed) for name, speed in values["photos_per_second"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackboneError(
            f"The installed backbone {folder.name} is damaged ({error}). Install it again with: annotator backbone "
            f"install {folder.name.replace('__', '/')}"
        ) from error


def _architecture(values: dict[str, Any]) -> Architecture:
    made = Architecture(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    if len(made.mean) != len(HALF) or len(made.std) != len(HALF) or made.image_size < 1 or made.feature_size < 1:
        raise ValueError("its sizes or colours are wrong")
    return made
