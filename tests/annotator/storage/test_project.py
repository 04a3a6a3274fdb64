import json
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from annotator.errors import ConfigError, ProjectError
from annotator.keymap import DEFAULT_KEYS
from annotator.storage.project import Project, default_folder, is_project, write_atomically


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.open_or_create(tmp_path / "project", "holiday")
    project.database_path.touch()
    return project


def test_a_new_project_has_its_folders_and_settings(project: Project) -> None:
    assert {path.name for path in project.folder.iterdir()} >= {"features", "indexes", "thumbnails", "checkpoints"}
    assert project.settings.name == "holiday"
    assert is_project(project.folder)
    assert Project.open(project.folder).settings == project.settings


def test_opening_twice_keeps_the_first_name(project: Project) -> None:
    assert Project.open_or_create(project.folder, "another").settings.name == "holiday"


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ProjectError, match="not empty and not a project"):
        Project.open_or_create(tmp_path, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_the_error_of_a_missing_project_names_the_command_that_creates_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"is not a project .* annotator serve PHOTOS"):
        Project.open(tmp_path / "none")


def test_a_file_where_the_folder_should_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(ProjectError, match="cannot be made"):
            Project.open_or_create(folder, "x")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"name": "x"}',
        b'{"version": "1", "name": "x"}',
        b'{"version": 1}',
        b'{"version": 1, "name": ""}',
        b'{"version": 1, "name": 5}',
        b'{"version": 1, "name": "x", "backbone": []}',
        b'{"version": 1, "name": "x", "keys": []}',
        b'{"version": 1, "name": "x", "keys": {"save": 5}}',
        b'{"version": 1, "name": "x", "keys": {"save": ["a"]}}',
        b'{"version": 1, "name": "x", "surprise": 1}',
    ],
)
def test_damaged_settings_are_one_sentence_that_names_the_file(project: Project, content: bytes) -> None:
    project.settings_path.write_bytes(content)
    with pytest.raises(ProjectError, match=r"settings\.json cannot be read .* Mend or delete the file\.$"):
        Project.open(project.folder)


def test_settings_of_a_newer_version_are_refused(project: Project) -> None:
    project.settings_path.write_text(json.dumps({"version": 2, "name": "x"}))
    with pytest.raises(ProjectError, match=r"version 2, newer than the 1 .* Update annotator"):
        Project.open(project.folder)


def test_missing_settings_are_the_defaults(project: Project) -> None:
    project.settings_path.unlink()
    settings = Project.open(project.folder).settings
    assert (settings.name, settings.keys) == ("project", DEFAULT_KEYS)


def test_changed_settings_are_on_disk_and_a_refused_change_is_not(project: Project) -> None:
    project.update_settings(keys={"help": ("F1",)})
    with pytest.raises(ConfigError, match="is taken"):
        project.update_settings(keys={"help": ("Enter",)})
    assert project.settings.keys["help"] == ("F1",)
    assert Project.open(project.folder).settings.keys["help"] == ("F1",)


def test_keys_that_a_person_chose_stay_theirs_when_an_action_comes_to_want_one(project: Project) -> None:
    project.update_settings(keys={"help": ("F7",), "timeline": ("F1",)})
    values = json.loads(project.settings_path.read_bytes())
    for action in ("timeline", "review"):  # as if stored before these were there
        del values["keys"][action]
    project.settings_path.write_text(json.dumps(values))
    keys = Project.open(project.folder).settings.keys
    assert {action: keys[action] for action in ("help", "timeline", "review")} == {
        "help": ("F7",), "timeline": ("Shift+F7",), "review": ("F6",),
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_settings_that_cannot_be_written_are_a_sentence(project: Project) -> None:
    project.folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ProjectError, match="cannot be written"):
        project.update_settings(name="y")
    project.folder.chmod(stat.S_IRWXU)
    assert project.settings.name == "holiday"


def test_a_failing_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.json"
    write_atomically(path, b"old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_settings_that_are_changed_at_once_by_many_threads_are_all_kept(project: Project) -> None:
    def keep_search(number: int) -> None:
        with project.settings_lock:
            project.update_settings(
                saved_searches={
                    **project.settings.saved_searches,
                    f"search {number}": {"query": str(number), "state": "", "sort": ""},
                }
            )

    def change(number: int) -> None:
        project.update_settings(show_expected=bool(number % 2))

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(work, number) for number in range(30) for work in (keep_search, change)]:
            done.result()
    assert set(Project(project.folder).settings.saved_searches) == {f"search {number}" for number in range(30)}


def test_a_file_that_many_threads_write_at_once_is_always_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(write_atomically, path, bytes([number]) * 10_000) for number in range(60)]:
            done.result()
    assert len(set(path.read_bytes())) == 1
    assert len(path.read_bytes()) == 10_000
    assert list(tmp_path.iterdir()) == [path]


def test_a_copied_project_opens_elsewhere(project: Project, tmp_path: Path) -> None:
    project.update_settings(name="copied")
    copy = Path(shutil.copytree(project.folder, tmp_path / "elsewhere" / "copy"))
    opened = Project.open(copy)
    assert opened.settings.name == "copied"
    assert opened.database_path.parent == copy


def test_each_photo_folder_has_its_own_default_project_outside_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    first, second = default_folder(tmp_path / "a" / "photos"), default_folder(tmp_path / "b" / "photos")
    assert first != second
    assert first == default_folder(tmp_path / "a" / "x" / ".." / "photos")
    assert first.parent == tmp_path / "data" / "annotator"


def test_a_project_can_lie_inside_its_photo_folder(
    make_ingesting: Callable[..., object], write_photos: Callable[..., object], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    write_photos(photos, range(3))
    ingesting = make_ingesting(photos / "tags")
    for _ in range(2):
        ingesting.run(photos)  # type: ignore[attr-defined]
    assert set(ingesting.paths()) == {f"photo {number}.jpg" for number in range(3)}  # type: ignore[attr-defined]
