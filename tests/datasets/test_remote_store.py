import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from annotator.datasets import remote_store as module
from annotator.datasets.photo_roots import PhotoUrl
from annotator.datasets.remote_store import RemoteStore, addresses_of, remote_store
from annotator.errors import RemoteError

FILES = {"a.jpg": b"first", "sub/b c.jpg": b"second", "sub/deep/d.txt": b"third", "ümlaut/猫.jpg": b"fourth"}


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No pause is made; they are listed."""
    made: list[float] = []
    monkeypatch.setattr(module.time, "sleep", made.append)
    return made


@pytest.fixture
def memory() -> PhotoUrl:
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    for path, data in FILES.items():
        store.pipe_file(f"/photos/{path}", data)
    return PhotoUrl("memory://photos")


def zipped(folder: Path) -> PhotoUrl:
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for path, data in FILES.items():
            archive.writestr(path, data)
    return PhotoUrl(f"zip://{folder}/photos.zip")


def tarred(folder: Path) -> PhotoUrl:
    with tarfile.open(folder / "photos.tar", "w") as archive:
        for path, data in FILES.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return PhotoUrl(f"tar://{folder}/photos.tar")


def everything(store: RemoteStore, folder: str = "") -> dict[str, bytes]:
    found = {}
    for item in store.list_folder(folder):
        path = f"{folder}/{item.name}" if folder else item.name
        if item.is_folder:
            found |= everything(store, path)
        else:
            found[path] = store.read(path, 100)
            assert item.size == len(found[path])
    return found


@pytest.mark.parametrize("make", [zipped, tarred])
def test_an_archive_is_read_like_a_folder(make: Callable[[Path], PhotoUrl], tmp_path: Path) -> None:
    store = remote_store(make(tmp_path))
    assert everything(store) == FILES
    assert (store.holds("a.jpg"), store.holds("b.jpg")) == (True, False)


def test_a_store_is_listed_and_read(memory: PhotoUrl) -> None:
    store = remote_store(memory)
    assert everything(store) == FILES
    assert store.read("a.jpg", 2) == b"fir"  # one more than asked for tells that there is more


def test_a_changed_file_has_another_version(memory: PhotoUrl) -> None:
    store = remote_store(memory)
    before = {item.name: item.version for item in store.list_folder("")}
    fsspec.filesystem("memory").pipe_file("/photos/a.jpg", b"other")
    after = {item.name: item.version for item in store.list_folder("")}
    assert before["a.jpg"] != after["a.jpg"]


def test_what_is_not_there_is_said_at_once(memory: PhotoUrl, pauses: list[float]) -> None:
    store = remote_store(memory)
    with pytest.raises(RemoteError, match=r"^memory://photos/none.jpg is not there\.$") as caught:
        store.read("none.jpg", 10)
    assert caught.value.is_missing
    assert pauses == []


@pytest.mark.parametrize("num_failures", [1, 3, 4])
def test_a_failure_that_may_pass_is_tried_again(
    memory: PhotoUrl, pauses: list[float], monkeypatch: pytest.MonkeyPatch, num_failures: int
) -> None:
    left = [num_failures]
    listed = type(fsspec.filesystem("memory")).ls

    def throttled(self: Any, *given: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError("503 Slow Down: https://host/x?X-Amz-Signature=secret")
        return listed(self, *given, **named)

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "ls", throttled)
    store = remote_store(memory)
    if num_failures < 4:
        assert {item.name for item in store.list_folder("")} == {"a.jpg", "sub", "ümlaut"}
        assert pauses == list(module.PAUSES[:num_failures])
    else:
        with pytest.raises(RemoteError, match="cannot be read now: 503 Slow Down") as caught:
            store.list_folder("")
        assert "secret" not in str(caught.value)


def test_a_refusal_is_said_at_once(memory: PhotoUrl, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Any, *given: Any, **named: Any) -> Any:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "open", refused)
    with pytest.raises(RemoteError, match=r"^memory://photos/a.jpg cannot be read: Access Denied\.$"):
        remote_store(memory).read("a.jpg", 10)
    assert pauses == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a ZIP file", b"<html>404</html>"])
def test_a_damaged_archive_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "photos.zip").write_bytes(content)
    with pytest.raises(RemoteError, match=r"cannot be read: .*zip"):
        remote_store(PhotoUrl(f"zip://{tmp_path}/photos.zip")).list_folder("")


def test_a_database_of_somebody_else_opens_no_other_kind_of_store() -> None:
    for url in ("file:///etc", "reference://x", "local:///etc"):
        with pytest.raises(RemoteError, match="are not read from"):
            remote_store(PhotoUrl(url)).list_folder("")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(RemoteError, match=r"pip install 'annotator\[gs\]'"):
        remote_store(PhotoUrl("gs://bucket")).list_folder("")


def test_a_list_names_files_of_its_own_host_only() -> None:
    text = """
    # holiday
    2024/a.jpg
    /photos/b%20c.jpg
    https://host:8000/photos/d.jpg
    https://169.254.169.254/latest/meta-data
    https://other/e.jpg
    file:///etc/passwd
    ../../f.jpg
    """
    assert addresses_of("https://host:8000/lists/one.txt", text) == {
        "lists/2024/a.jpg": "https://host:8000/lists/2024/a.jpg",
        "photos/b c.jpg": "https://host:8000/photos/b%20c.jpg",
        "photos/d.jpg": "https://host:8000/photos/d.jpg",
        "f.jpg": "https://host:8000/f.jpg",
    }


def test_what_is_written_to_a_store_is_read_listed_and_deleted(memory: PhotoUrl) -> None:
    store = RemoteStore(memory / "new")
    store.write("a/b", b"first")
    store.write("a/b", b"second")
    assert (store.read("a/b", 100), store.size_of("a/b"), store.size_of("a/c")) == (b"second", 6, None)
    assert [item.name for item in store.list_folder("a")] == ["b"]
    store.delete("a/b")
    store.delete("a/b")
    assert store.size_of("a/b") is None
