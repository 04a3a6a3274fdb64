"""A copied project is not the served one, and a project that cannot be written can still be read."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from annotator.cli.main import main
from annotator.learning.model_registry import ModelRegistry
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.project import Project
from annotator.storage.tag_changes import TagChanges

WritePhotos = Callable[..., list[Path]]
NOBODY = 65534


def write_project(folder: Path, photos: Path) -> Project:
    """Write a project with one tagged photo."""
    project = Project.open_or_create(folder, "holiday")
    store = Store(project.database_path)
    root = store.images.root_id(photos)
    entry = ImageEntry("0" * 64, 640, 480, "JPEG")
    store.images.add(IngestedBatch(images=[(1, entry)], paths=[SeenPath(root, "a.jpg", 1, 1, image_id=1)]))
    log = CorrectionLog(store)
    log.save(1, revision=0, tags=["kitten"], dropped=(), user_name="anna", effort=Effort())
    TagChanges(store, log).apply("rename", "kitten", "cat", "anna", lambda annotation: None)
    registry = ModelRegistry(store)
    for name in ("cold_start", "starter/jvsp"):
        registry.note_live(registry.adopt(name, f"{name} 1").model_id, "anna", "chosen")
    store.close()
    return project


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users of this machine may enter; pytest's own may not be."""
    folder = Path(tempfile.mkdtemp(prefix="annotator-test-"))
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up root's right to write everywhere for a while."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def lock(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222 | (0o555 if path.is_dir() else 0o444))


@pytest.mark.integration
@pytest.mark.parametrize("has_log", [False, True])
def test_a_project_that_cannot_be_written_is_exported_reported_checked_and_backed_up(
    open_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, has_log: bool
) -> None:
    (open_folder / "cache").mkdir()
    (open_folder / "cache").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(open_folder / "cache"))  # the tests' own may be root's alone
    project = write_project(open_folder / "project", open_folder / "photos")
    if has_log:
        # As a program that was killed leaves it: the newest save is in the write-ahead log alone.
        code = (
            "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]);"
            "c.execute(\"UPDATE annotations SET user_name = 'ben'\"); os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", code, str(project.database_path)], check=True)
        assert (project.folder / "project.duckdb.wal").exists()
    files = sorted(project.folder.rglob("*"))
    lock(project.folder)
    target = open_folder / "target"
    target.mkdir()
    target.chmod(0o777)
    with unprivileged():
        assert main(["export", str(project.folder)]) == 0
        row = json.loads(capsys.readouterr().out)
        assert (row["tags"], row["user"], row["file"]) == (["cat"], "ben" if has_log else "anna", "not mounted")
        assert main(["report", str(project.folder)]) == 0
        assert capsys.readouterr().out.startswith("1 of 1 photos saved")
        main(["check", str(project.folder), "--photos", "--json"])
        findings = [finding["what"] for finding in json.loads(capsys.readouterr().out)]
        assert f"The folder {open_folder / 'photos'} is missing or empty" in findings[-1]
        assert main(["unreadable", str(project.folder)]) == 0
        assert main(["agreement", str(project.folder)]) == 0
        assert main(["backup", str(project.folder), str(target / "b.tar")]) == 0
        capsys.readouterr()
        assert main(["tags", str(project.folder), "list"]) == 0
        assert capsys.readouterr().out.endswith("rename  kitten -> cat\n")
        assert main(["models", str(project.folder)]) == 0
        assert [line[:5] for line in capsys.readouterr().out.splitlines()] == ["*   2", "    1"]
        assert main(["models", str(project.folder), "--json"]) == 0
        state = json.loads(capsys.readouterr().out)
        assert (state["live_id"], [model["is_live"] for model in state["models"]]) == (2, [True, False])
        assert main(["tags", str(project.folder), "rename", "cat", "dog"]) == 1
        assert main(["check", str(project.folder), "--repair"]) == 1
        assert main(["models", str(project.folder), "rollback"]) == 1
        told = capsys.readouterr().err
        assert told.count("cannot be written") == 3
        assert "Traceback" not in told
    assert sorted(project.folder.rglob("*")) == files
    assert main(["restore", str(target / "b.tar"), str(open_folder / "restored")]) == 0


@pytest.mark.unit
def test_the_identity_of_a_project_is_that_of_its_folder_and_database(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", tmp_path / "photos")
    before = project.identity()
    project.update_settings(name="renamed")
    moved = tmp_path / "moved"
    project.folder.rename(moved)
    assert Project.open(moved).identity() == before
    assert Project.open(Path(shutil.copytree(moved, tmp_path / "copy"))).identity() != before
    linked = tmp_path / "linked"
    shutil.copytree(moved, linked, copy_function=os.link)
    assert Project.open(linked).identity() != before


@pytest.mark.integration
def test_no_command_on_a_copy_reaches_the_server_of_the_original(
    write_photos: WritePhotos, tmp_path: Path, open_folder: Path, backbone: object, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, original, copy = open_folder / "photos", open_folder / "original", open_folder / "copy"
    write_photos(photos, range(2))
    arguments = ["serve", str(photos), "--project", str(original), "--port", "0", "--tagger", "cold_start"]
    with subprocess.Popen([sys.executable, "-m", "annotator.cli", *arguments], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            assert main(["users", str(original), "list"]) == 0  # answered by the server
            shutil.copytree(original, copy)
            # The copy's own database cannot be opened for writing, which is when commands look for a server.
            lock(copy)
            (copy / "server.json").chmod(0o444)
            capsys.readouterr()
            with unprivileged():
                assert main(["tags", str(copy), "rename", "cat", "dog"]) == 1
                assert "cannot be written" in capsys.readouterr().err
                assert main(["check", str(copy)]) == 0
                assert main(["export", str(copy)]) == 0
                assert main(["users", str(copy), "role", "anna", "--role", "viewer"]) == 1
                assert "cannot be written" in capsys.readouterr().err
            # The server's own folder under its new name is still the served one.
            original.rename(open_folder / "renamed")
            assert main(["users", str(open_folder / "renamed"), "list"]) == 0
        finally:
            server.terminate()
