"""`annotator open`: the last project, one that is served already, and the end of one that another program started."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from annotator.cli import open as open_module
from annotator.cli.main import main
from annotator.storage.database import Store
from annotator.storage.project import Project
from annotator.storage.recent_projects import note_opened

pytestmark = pytest.mark.integration  # it starts processes and listens on sockets


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Project, list[Path] | None]]:
    """The projects and folders of photos that would have been served."""
    found: list[tuple[Project, list[Path] | None]] = []
    monkeypatch.setattr(open_module, "run_server", lambda project, folders, *rest: found.append((project, folders)))
    return found


def test_a_path_or_the_last_project_is_opened(
    served: list[Any], demo_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["open"]) == 1
    assert capsys.readouterr().err == (
        "annotator: No project was opened yet. Name a folder of photos: annotator open PHOTOS\n"
    )
    assert main(["open", str(demo_photos)]) == 0
    project, folders = served[-1]
    assert folders == [demo_photos]
    Store(project.database_path).close()  # as serving does
    note_opened(project.folder, "holiday", [demo_photos])
    assert main(["open"]) == 0
    assert (served[-1][0].folder, served[-1][1]) == (project.folder, None)
    capsys.readouterr()
    assert main(["open", "--list"]) == 0
    assert capsys.readouterr().out == f"holiday\t{project.folder}\t{demo_photos}\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [(["/no such/folder"], "There is no folder"), (["."], "there are no photos in it"), (["x", "--demo"], "not both")],
)
def test_what_cannot_be_opened_is_said_in_a_sentence(
    served: list[Any], arguments: list[str], problem: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["open", *arguments]) == 1
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
    assert served == []


def test_a_served_project_is_not_served_again_and_one_ends_with_its_input(read_project: Path, tmp_path: Path) -> None:
    project = shutil.copytree(read_project, tmp_path / "project")
    command = [sys.executable, "-m", "annotator.cli", "open", str(project), "--no-browser", "--until-input-ends"]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdin is not None
    assert first.stdout is not None
    try:
        line = first.stdout.readline()
        assert re.match(r"Tagging page: http://127\.0\.0\.1:\d+$", line)
        second = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        assert (second.returncode, second.stdout.splitlines()[0]) == (0, line.strip())
        first.stdin.close()
        first.wait(120)
    finally:
        first.kill()
        first.stdout.close()
    assert not (project / "server.json").exists()  # it ended in good order
