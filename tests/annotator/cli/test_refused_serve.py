"""A `serve` that is refused changes nothing; what a killed process left is deleted; a project's files are private."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from annotator.cli import serve as serve_module
from annotator.cli.main import main
from annotator.errors import ProjectError
from annotator.storage.database import Store
from annotator.storage.private_files import hold_alone, make_private, private_files, shared_mode
from annotator.storage.project import Project, write_atomically
from annotator.storage.temporary_folders import delete_left_over, held_folder

pytestmark = pytest.mark.integration  # it starts processes and listens on sockets

CHANGES = ["--strategy", "entropy", "--sidecars", "digikam", "--prompt", "a painting of {}."]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "photos").mkdir()
    project = Project.open_or_create(tmp_path / "project", "served")
    Store(project.database_path).close()
    return project


@pytest.fixture
def never_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "run_server", lambda *arguments: pytest.fail("it was served"))


def serve(project: Project, port: int = 0) -> int:
    photos = project.folder.parent / "photos"
    return main(["serve", str(photos), "--project", str(project.folder), "--port", str(port), *CHANGES])


@pytest.mark.usefixtures("never_served")
def test_serving_a_project_that_another_process_has_open_changes_no_setting(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    before = project.settings_path.read_bytes()
    program = (
        "import sys; from pathlib import Path; from annotator.storage.database import Store; "
        "store = Store(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(project.database_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert serve(project) == 1
        assert f"in use by process {holder.pid}" in capsys.readouterr().err
        holder.communicate(b"")
    assert project.settings_path.read_bytes() == before


@pytest.mark.usefixtures("never_served")
def test_two_that_begin_to_serve_at_once_do_not_both_change_settings(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    before = project.settings_path.read_bytes()
    with hold_alone(project.folder):
        assert serve(project) == 1
    assert "is in use: another process serves it" in capsys.readouterr().err
    assert project.settings_path.read_bytes() == before


@pytest.mark.usefixtures("never_served")
def test_a_taken_port_changes_no_setting(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    before = project.settings_path.read_bytes()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        assert serve(project, listener.getsockname()[1]) == 1
    assert "is taken" in capsys.readouterr().err
    assert project.settings_path.read_bytes() == before


def test_a_project_that_is_free_is_served_with_the_settings(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr(serve_module, "run_server", lambda *arguments: served.append(arguments[0].settings))
    assert serve(project) == 0
    assert (served[0].strategy, served[0].sidecars) == ("entropy", "digikam")


def test_a_project_is_held_until_the_block_ends(tmp_path: Path) -> None:
    for _ in range(2):
        with hold_alone(tmp_path), pytest.raises(ProjectError, match="is in use"), hold_alone(tmp_path):
            pytest.fail("it was held twice")


# Permissions


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.usefixtures("usual_umask")
def test_a_project_and_its_files_are_their_owner_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    project = Project.open_or_create(folder, "private")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with private_files():
        store = Store(project.database_path)
        store.images.root_id(Path("/photos"))  # makes a write-ahead log
        assert modes(folder)["project.duckdb.wal"] & 0o077 == 0
        (folder / "indexes" / "any").write_text("made by any part of the program")
        store.close()
    files = {name: mode for name, mode in modes(folder).items() if (folder / name).is_file()}
    assert files.keys() >= {"project.duckdb", "settings.json", "indexes/any"}
    assert {name for name, mode in files.items() if mode & 0o077} == set()


@pytest.mark.usefixtures("usual_umask")
def test_the_database_of_an_older_version_becomes_private_when_it_is_opened(project: Project) -> None:
    project.database_path.chmod(0o644)
    Store(project.database_path).close()
    assert stat.S_IMODE(project.database_path.stat().st_mode) == 0o600


@pytest.mark.usefixtures("usual_umask")
def test_an_empty_folder_that_becomes_a_project_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir(mode=0o755)
    Project.open_or_create(tmp_path / "project", "private")
    assert stat.S_IMODE((tmp_path / "project").stat().st_mode) == 0o700


@pytest.mark.usefixtures("usual_umask")
def test_what_is_for_others_keeps_the_user_s_own_permissions(tmp_path: Path) -> None:
    with private_files():
        with private_files():
            write_atomically(tmp_path / "photo.xmp", b"x", mode=shared_mode(), exact=True)
        write_atomically(tmp_path / "private", b"x")
        assert shared_mode() == 0o644
    write_atomically(tmp_path / "after", b"x")
    assert shared_mode() == 0o644
    assert modes(tmp_path) == {"photo.xmp": 0o644, "private": 0o600, "after": 0o644}


def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "theirs"
    path.write_text("x")
    path.chmod(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    make_private(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


# Left-overs

KILLED = """
import os, signal, sys
from pathlib import Path
from annotator.storage.temporary_folders import held_folder
with held_folder(Path(sys.argv[1]), ".backup-") as folder:
    (folder / "half").write_bytes(b"x" * 1000)
    print(folder.name, flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_folder_of_a_killed_process_is_deleted_and_that_of_one_at_work_is_not(tmp_path: Path) -> None:
    (tmp_path / ".backup-file").write_text("no folder")
    (tmp_path / "outside").mkdir()
    (tmp_path / ".backup-link").symlink_to(tmp_path / "outside")
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert delete_left_over(tmp_path, ".backup-") == []
        assert (tmp_path / name / "half").exists()
        process.communicate("")
    assert (tmp_path / name / "half").exists()
    with held_folder(tmp_path, ".backup-") as folder:
        assert sorted(path.name for path in tmp_path.glob(".backup-*")) == sorted(
            [".backup-file", ".backup-link", folder.name]
        )
    assert (tmp_path / "outside").is_dir()
    assert not folder.exists()


def test_a_killed_backup_leaves_nothing_beside_the_next_one(
    project: Project, run_command: Callable[..., Any], tmp_path: Path
) -> None:
    left_over = tmp_path / ".annotator-backup-killed"
    left_over.mkdir()
    (left_over / "project.duckdb").write_bytes(b"half")
    done = run_command("backup", project.folder, tmp_path / "b.tar")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / "b.tar").stat().st_mode) == 0o600
    assert list(tmp_path.glob(".annotator-backup-*")) == []
    assert list(project.folder.glob(".snapshot-*")) == []
