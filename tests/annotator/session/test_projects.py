"""Other projects, opened from the page of one: who may, and the processes that serve them."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator.errors import ConfigError
from annotator.session import project_servers
from annotator.session.project_servers import ProjectServers
from annotator.session.session import Session
from annotator.storage.recent_projects import note_opened

pytestmark = pytest.mark.integration  # it starts processes

SERVER = (
    "import sys; print('Starting ...', file=sys.stderr); "
    "print('Tagging page: http://127.0.0.1:1/' + sys.argv[1], flush=True); sys.stdin.read()"
)
STAYS = "import sys, time; print('Tagging page: http://127.0.0.1:1/', flush=True); sys.stdin.read(); time.sleep(600)"
REFUSES = "import sys; print('annotator: The disk is read-only.', file=sys.stderr); sys.exit(1)"
OPEN_ALREADY = "print('Tagging page: http://127.0.0.1:2')"
SAYS_NOTHING = "raise SystemExit(3)"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[[str], ProjectServers]]:
    """Servers whose processes run a program in place of `annotator open`."""
    made: list[ProjectServers] = []

    def make(program: str) -> ProjectServers:
        made.append(ProjectServers(tmp_path / "own", (sys.executable, "-c", program)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def settled(servers: ProjectServers, folder: Path, what: str) -> dict[str, Any]:
    ends = time.monotonic() + 60
    while (answer := servers.open(folder, what))["state"] == "starting":
        assert time.monotonic() < ends
        time.sleep(0.02)
    return answer


def ended(servers: ProjectServers, folder: Path) -> None:
    ends = time.monotonic() + 60
    while servers.end(folder)["state"] == "ending":
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_project_has_one_server_until_this_one_ends(servers: Callable[[str], ProjectServers], tmp_path: Path) -> None:
    some = servers(SERVER)
    assert settled(some, tmp_path, "x") == {"state": "ready", "address": "http://127.0.0.1:1/x", "problem": ""}
    assert settled(some, tmp_path, "y")["address"] == "http://127.0.0.1:1/x"  # the same process
    process = some._servers[tmp_path]._process
    assert process.poll() is None
    some.close()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("program", "state", "text"),
    [
        (REFUSES, "failed", "The disk is read-only."),
        (SAYS_NOTHING, "failed", "The server of the project ended at once (exit code 3)."),
        (OPEN_ALREADY, "ready", "http://127.0.0.1:2"),
    ],
)
def test_a_server_that_ends_says_why_or_where_the_project_is_open(
    servers: Callable[[str], ProjectServers], tmp_path: Path, program: str, state: str, text: str
) -> None:
    some = servers(program)
    for _ in range(2):  # the second time from the beginning
        answer = settled(some, tmp_path, "x")
        assert (answer["state"], answer["problem"] or answer["address"]) == (state, text)


def test_the_own_project_is_here_and_servers_are_few(
    servers: Callable[[str], ProjectServers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = servers(SERVER)
    assert some.open(some.own, "x")["state"] == "here"
    monkeypatch.setattr(project_servers, "MOST_SERVERS", 1)
    settled(some, tmp_path / "a", "a")
    with pytest.raises(ConfigError, match="1 projects are open from here"):
        some.open(tmp_path / "b", "b")


def test_the_server_of_a_project_is_ended_and_starts_anew(
    servers: Callable[[str], ProjectServers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = servers(SERVER)
    monkeypatch.setattr(project_servers, "MOST_SERVERS", 1)
    settled(some, tmp_path / "a", "a")
    process = some._servers[tmp_path / "a"]._process
    assert some.running() == {tmp_path / "a"}
    ended(some, tmp_path / "a")
    assert (process.returncode, some.running()) == (0, set())
    assert settled(some, tmp_path / "b", "b")["address"].endswith("/b")  # there is room again
    ended(some, tmp_path / "b")
    assert settled(some, tmp_path / "a", "again")["address"].endswith("/again")


def test_only_a_server_that_runs_and_was_started_here_is_ended(
    servers: Callable[[str], ProjectServers], tmp_path: Path
) -> None:
    some = servers(OPEN_ALREADY)
    settled(some, tmp_path, "x")
    some._servers[tmp_path]._process.wait()
    for folder in (tmp_path, tmp_path / "another", some.own):
        with pytest.raises(ConfigError, match="was not started from here"):
            some.end(folder)


def test_a_server_that_does_not_end_is_killed_and_nobody_is_sent_there(
    servers: Callable[[str], ProjectServers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = servers(STAYS)
    settled(some, tmp_path, "x")
    process = some._servers[tmp_path]._process
    assert some.end(tmp_path) == {"state": "ending"}
    assert some.open(tmp_path, "x")["state"] == "starting"
    assert process.poll() is None
    monkeypatch.setattr(project_servers, "SECONDS_TO_END", 0.0)
    assert some.end(tmp_path) == {"state": "ended"}
    assert process.returncode < 0


@pytest.fixture
def session(
    open_project: Callable[..., Session], demo_photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Session:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return open_project(demo_photos)


def test_only_the_person_at_the_machine_may_open_projects(session: Session, tmp_path: Path) -> None:
    workspace = session.workspace
    calls: list[Callable[[str], Any]] = [
        session.projects.recent,
        lambda user: session.projects.folder(user, str(tmp_path)),
        lambda user: session.projects.open(user, str(tmp_path), demo=False),
        lambda user: session.projects.close(user, str(tmp_path)),
    ]

    def are_refused(user: str) -> bool:
        for call in calls:
            with pytest.raises(ConfigError, match="the person at the server's machine"):
                call(user)
        return not session.navigation.state(user)["may_open_projects"]

    assert are_refused("local")  # a server that other machines reach
    workspace.project_servers = ProjectServers(workspace.project.folder)
    workspace.accounts.add("root", "admin", "a long password")
    assert are_refused("root")  # an account, of whatever role
    assert session.navigation.state("local")["may_open_projects"]
    assert session.projects.folder("local", str(tmp_path))["path"] == str(tmp_path)


def test_recent_projects_and_folders_are_told(session: Session, demo_photos: Path, tmp_path: Path) -> None:
    workspace = session.workspace
    workspace.project_servers = ProjectServers(workspace.project.folder)
    note_opened(workspace.project.folder, "here", [demo_photos])
    told = session.projects.recent("local")
    assert [(one["name"], one["is_here"], one["is_running"], one["photos"]) for one in told["recent"]] == [
        ("here", True, False, [str(demo_photos)])
    ]
    assert Path(told["start"]).is_dir()
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "project.duckdb").touch()
    listed = session.projects.folder("local", str(tmp_path))
    assert {"name": "inner", "path": str(tmp_path / "inner"), "is_project": True} in listed["folders"]
    assert session.projects.folder("local", "/")["parent"] is None
    assert session.projects.open("local", str(workspace.project.folder), demo=False)["state"] == "here"
