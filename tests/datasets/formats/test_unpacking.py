"""ZIP archives of other people: nothing leaves the folder, and damage is one sentence."""

import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from annotator.datasets.formats import unpacking
from annotator.datasets.formats.unpacking import is_archive, unpack
from annotator.errors import DataError


def pack(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_an_archive_is_unpacked_with_its_folders_and_without_those_of_macos(tmp_path: Path, out: Path) -> None:
    path = pack(tmp_path / "a.zip", ("sub/a.txt", b"cat"), ("b.txt", b"dog"), ("__MACOSX/b.txt", b"x"))
    assert is_archive(path)
    assert unpack(path, out) == 2
    assert {one.relative_to(out).as_posix(): one.read_bytes() for one in out.rglob("*.txt")} == {
        "sub/a.txt": b"cat",
        "b.txt": b"dog",
    }


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "sub/../../evil.txt", "..\\evil.txt"])
def test_a_name_that_leaves_the_folder_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, out: Path
) -> None:
    path = pack(tmp_path / "a.zip", ("first.txt", b"x"), (name, b"evil"))
    with pytest.raises(DataError, match="does not lie inside of the folder"):
        unpack(path, out)
    assert list(out.iterdir()) == []
    assert not (tmp_path / "evil.txt").exists()


def test_a_link_is_refused(tmp_path: Path, out: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(DataError, match=r"a\.zip holds the link 'link'"):
        unpack(pack(tmp_path / "a.zip", (link, b"/etc/passwd")), out)


def test_sizes_are_counted_while_they_are_written(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "a.zip", ("a", b"\0" * 3_000_000), ("b", b"\0" * 3_000_000))
    monkeypatch.setattr(unpacking, "MAX_UNPACKED_BYTES", 4_000_000)
    with pytest.raises(DataError, match="more than 4,000,000 bytes once it is unpacked"):
        unpack(path, out)
    assert list(out.iterdir()) == []
    monkeypatch.setattr(unpacking, "MAX_ENTRIES", 1)
    with pytest.raises(DataError, match="holds 2 files; at most 1 are unpacked"):
        unpack(path, out)


def test_what_does_not_fit_on_the_disk_is_refused_before_anything_is_written(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "a.zip", ("a", b"\0" * 3_000_000))
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda folder: SimpleNamespace(free=5_000_000))
    with pytest.raises(DataError, match=r"a\.zip needs 3 MB once it is unpacked, and 2 MB are kept free; .* 5 MB left"):
        unpack(path, out, 2_000_001)
    assert list(out.iterdir()) == []
    assert unpack(path, out, 2_000_000) == 1


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damage_and_names_that_come_twice_are_one_sentence(tmp_path: Path, out: Path) -> None:
    with pytest.raises(DataError, match=r"a\.zip holds 'x' twice"):
        unpack(pack(tmp_path / "a.zip", ("x", b"1"), ("x", b"2")), out)
    whole = pack(tmp_path / "b.zip", ("y", bytes(range(256)) * 100)).read_bytes()
    (tmp_path / "c.zip").write_bytes(whole[:40] + b"\xff" * 40 + whole[80:])
    with pytest.raises(DataError, match="is not a ZIP archive that can be read"):
        unpack(tmp_path / "c.zip", out)
    (tmp_path / "d.zip").write_bytes(b"no archive")
    assert not is_archive(tmp_path / "d.zip")
