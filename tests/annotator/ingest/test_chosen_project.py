"""What a path means: a project, a folder of photos, or neither."""

import os
from pathlib import Path

import pytest

from annotator.errors import ConfigError
from annotator.ingest.chosen_project import demo_project, full_path, list_folder, project_of
from annotator.storage.project import default_folder


def test_a_folder_of_photos_has_a_project_in_the_user_s_data(tmp_path: Path, demo_photos: Path) -> None:
    chosen = project_of(demo_photos)
    assert (chosen.folder, chosen.photos) == (default_folder(demo_photos), demo_photos)
    (tmp_path / "project.duckdb").touch()
    assert (project_of(tmp_path).folder, project_of(tmp_path).photos) == (tmp_path, None)


def test_a_folder_without_photos_is_refused_and_photos_may_be_below(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"no project, and there are no photos in it or below it\.$"):
        project_of(tmp_path)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.JPG").touch()
    assert project_of(tmp_path).photos == tmp_path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Type the whole path"), ("Pictures", "Type the whole path"), ("/no such/folder", "There is no folder"),
        ("/\0", "no path of a folder"), ("/" + "x" * 5000, "no path of a folder"), ("~nobody-here/x", "path"),
    ],
)  # fmt: skip
def test_a_path_that_is_no_folder_is_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        full_path(text)


def test_a_file_is_no_folder_and_home_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is not a folder"):
        full_path(str(tmp_path / "file"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert full_path(" ~ ") == tmp_path


def test_a_folder_is_listed_by_name_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b", "A", ".hidden", "@eaDir"):
        (tmp_path / name).mkdir()
    for name in ("1.jpg", "2.PNG", "3.txt"):
        (tmp_path / name).touch()
    listed = list_folder(tmp_path)
    assert ([folder.name for folder in listed.folders], listed.num_photos) == (["A", "b"], 2)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        list_folder(tmp_path)


def test_the_demo_has_its_photos_and_a_project_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    chosen = demo_project()
    assert chosen.photos is not None
    assert list_folder(chosen.photos).num_photos == 8
    assert chosen.name == "demo"
