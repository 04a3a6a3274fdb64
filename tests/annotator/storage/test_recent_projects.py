"""The projects that were opened on this machine."""

import json
import stat
from pathlib import Path

import pytest

from annotator.storage import recent_projects as recent
from annotator.storage.recent_projects import note_opened, recent_path, recent_projects


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def project(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "project.duckdb").touch()
    return folder


def test_the_project_that_was_opened_last_is_first_and_each_is_there_once(tmp_path: Path) -> None:
    assert recent_projects() == []
    one, other = project(tmp_path, "one"), project(tmp_path, "other")
    for folder in (one, other, one):
        note_opened(folder, folder.name, [tmp_path / "photos"])
    assert [(found.folder, found.name) for found in recent_projects()] == [(str(one), "one"), (str(other), "other")]
    assert recent_projects()[0].photos == [str(tmp_path / "photos")]


def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    note_opened(project(tmp_path, "one"), "one", [])
    assert stat.S_IMODE(recent_path().stat().st_mode) == 0o600
    assert stat.S_IMODE(recent_path().parent.stat().st_mode) == 0o700


def test_projects_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    gone, there = project(tmp_path, "gone"), project(tmp_path, "there")
    note_opened(gone, "gone", [])
    (gone / "project.duckdb").unlink()
    assert recent_projects() == []
    note_opened(there, "there", [])
    assert [one["name"] for one in json.loads(recent_path().read_text())["projects"]] == ["there"]


def test_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MOST_PROJECTS", 2)
    for name in ("a", "b", "c"):
        note_opened(project(tmp_path, name), name, [])
    assert [found.name for found in recent_projects()] == ["c", "b"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"projects": [1]}', '{"projects": [{"folder": "/x"}]}'])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, text: str) -> None:
    recent_path().parent.mkdir(parents=True)
    recent_path().write_text(text)
    assert recent_projects() == []
    note_opened(project(tmp_path, "one"), "one", [])
    assert [found.name for found in recent_projects()] == ["one"]
