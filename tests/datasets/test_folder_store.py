import os
from pathlib import Path
from typing import Any

import pytest

from annotator.datasets.folder_store import FolderStore, typed_store
from annotator.datasets.remote_store import RemoteStore
from annotator.errors import ConfigError, RemoteError


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "target")


def test_what_is_written_is_read_listed_and_deleted(store: FolderStore) -> None:
    store.write("a/b", b"first")
    store.write("a/b", b"second")
    store.write("c", b"third")
    assert store.read("a/b", 100) == b"second"
    assert store.read("a/b", 2) == b"sec"  # one more than asked for tells that there is more
    assert (store.size_of("a/b"), store.size_of("a/c"), store.size_of("c/d/e")) == (6, None, None)
    assert {(one.name, one.is_folder, one.size) for one in store.list_folder("")} == {("a", True, 0), ("c", False, 5)}
    store.delete("a/b")
    store.delete("a/b")
    assert store.list_folder("a") == []
    assert (store.url / "c").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["none", "c/none"])
def test_what_is_not_there_is_said(store: FolderStore, path: str) -> None:
    store.write("c", b"third")
    for call in (lambda: store.read(path, 10), lambda: store.list_folder(path)):
        with pytest.raises(RemoteError, match=r"none is not there\.$") as caught:
            call()
        assert caught.value.is_missing


def test_a_write_that_fails_leaves_the_file_as_it_was(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("a", b"first")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RemoteError, match=r"a cannot be written: No space left on device\. Free some space\.$"):
        store.write("a", b"second")
    assert [(path.name, path.read_bytes()) for path in store.url.iterdir()] == [("a", b"first")]


def test_a_folder_and_a_url_are_told_apart(tmp_path: Path) -> None:
    folder, url = typed_store(str(tmp_path), writes=True), typed_store("s3://bucket/folder/", writes=True)
    assert isinstance(folder, FolderStore)
    assert isinstance(url, RemoteStore)
    assert (folder.url, str(url.url)) == (tmp_path, "s3://bucket/folder")
    assert isinstance(typed_store("https://host/snapshots", writes=False), RemoteStore)


@pytest.mark.parametrize(
    "text", ["https://host/folder", "hf://datasets/me/mine", "zip:///tmp/a.zip", "s3://bucket/a.zip", "ftp://host/a"]
)
def test_what_cannot_be_written_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        typed_store(text, writes=True)


@pytest.mark.parametrize("text", ["s3://user:secret@bucket/a", "s3://bucket/a?signature=1"])
def test_a_url_with_a_password_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="without user, password"):
        typed_store(text, writes=True)


def test_what_is_there_is_replaced_as_a_whole(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("a", b"first")
    seen: list[bytes] = []
    replace = os.replace

    def watched(source: Any, target: Any) -> None:
        seen.append(Path(target).read_bytes())
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    store.write("a", b"second")
    assert (seen, store.read("a", 10)) == ([b"first"], b"second")
