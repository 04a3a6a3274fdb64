"""Where a project lies, and who writes it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from annotator.cli.main import main
from annotator.maintenance.placement import examine_placement, file_system_of, is_held, writer_problems
from annotator.session.session import Session
from annotator.storage.private_files import hold_alone

LINE = "36 35 98:0 / {point} rw,noatime shared:1 - {kind} source rw\n"
MOUNTS = "".join(
    LINE.format(point=point, kind=kind)
    for point, kind in (
        ("/", "overlay"), ("/data", "nfs4"), ("/data/local", "ext4"), (r"/with\040space", "fuse.sshfs"),
    )
) + "a line that is damaged\n"  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/data/project", "nfs4"), ("/data", "nfs4"), ("/data/local/project", "ext4"), ("/database", "overlay"),
        ("/with space/project", "fuse.sshfs"), ("/", "overlay"),
    ],
)  # fmt: skip
def test_the_innermost_mount_tells_the_file_system(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), MOUNTS) == kind
    assert file_system_of(Path(folder), "") == ""


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("nfs4", "network file system (nfs4)"), ("fuse.sshfs", "network file system (fuse.sshfs)"), ("cifs", "network"),
        ("overlay", "container's own layer"), ("tmpfs", "lies in memory"), ("ext4", ""), ("xfs", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_project_where_it_should_not_lie_is_told(kind: str, problem: str, tmp_path: Path) -> None:
    mounts = LINE.format(point=tmp_path, kind=kind) if kind else ""
    found = examine_placement(tmp_path, mounts)
    assert found.file_system == kind
    assert [problem in text for text in found.problems] == ([True] if problem else [])
    assert found.free_bytes > 0


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=12_000_000))
    assert "has 0.01 GB left" in examine_placement(tmp_path, "").problems[0]


def test_this_machine_s_own_mounts_can_be_read(tmp_path: Path) -> None:
    assert examine_placement(tmp_path).file_system


def test_a_served_project_is_held_and_another_is_not(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with hold_alone(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    with hold_alone(tmp_path):  # the question leaves no lock behind
        pass


@pytest.mark.parametrize(
    ("noted", "is_served", "held", "problem"),
    [
        (None, False, False, ""),
        ({}, True, True, ""),
        ({}, False, False, ""),  # left by a server that was killed
        ({}, True, False, "another machine or in another container"),
        (None, False, True, "just starting or ending"),
        ({}, False, True, "does not answer"),
    ],
)
def test_who_writes_a_project_is_told(
    noted: dict[str, object] | None, is_served: bool, held: bool, problem: str, tmp_path: Path
) -> None:
    found = writer_problems(tmp_path, noted, is_served=is_served, held=held)
    assert [problem in text for text in found] == ([True] if problem else [])


def test_the_doctor_tells_of_a_project_that_is_not_served(
    open_project: Callable[..., Session], capsys: pytest.CaptureFixture[str]
) -> None:
    session = open_project()
    session.close()
    main(["doctor", "--json", "--project", str(session.workspace.project.folder)])
    project: dict[str, Any] = json.loads(capsys.readouterr().out)["project"]
    assert set(project) == {"file system", "free space", "server"}
    assert project["server"].startswith("none. No server of ")
