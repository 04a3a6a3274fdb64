"""A stale server.json sends no secret and no password to whoever listens on its port."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from annotator.cli import proven_connection as connection_module
from annotator.cli.proven_connection import WrongServerError
from annotator.cli.server_client import ServerClient
from annotator.client import Client, ServerError
from annotator.errors import AnnotatorError
from annotator.server_proof import is_proof, proof_of
from annotator.session.session import Session
from annotator.settings import ServerConfig
from annotator.storage.database import Store
from annotator.storage.project import Project

pytestmark = pytest.mark.integration  # it listens on sockets

SECRET, PASSWORD = "the secret of a server that was killed", "correct horse battery"


class Impostor:
    """Listens on a port, answers every request with the same bytes, and keeps what it got."""

    def __init__(self, answer: bytes) -> None:
        self.heard = b""
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(0.5)
                try:
                    while data := connection.recv(65_536):
                        self.heard += data
                        connection.sendall(self._answer)
                except OSError:
                    continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


ANSWERS = {
    "the identity of any project": http(b'{"identity": "1:2 3:4", "token": "x"}'),
    "a proof for another challenge": http(proof_of(SECRET, "0" * 64).encode()),
    "an empty answer": http(b""),
    "a long answer": http(b"0" * 50_000),
    "a redirect": b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n",
    "no HTTP": b"220 mail.example ESMTP\r\n",
    "bytes": b"\xff\xfe" * 40,
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.open_or_create(tmp_path / "project", "killed")
    Store(project.database_path).close()
    return project


def leave_note(project: Project, address: str) -> None:
    about = {"pid": 1, "address": address, "secret": SECRET, "started": 0.0}
    project.server_path.write_text(json.dumps(about))


@pytest.mark.parametrize("answer", ANSWERS)
def test_whoever_listens_on_the_port_of_a_killed_server_gets_nothing_secret(project: Project, answer: str) -> None:
    with closing(Impostor(ANSWERS[answer])) as impostor:
        leave_note(project, impostor.address)
        with pytest.raises(WrongServerError, match="is not the server of this project"):
            ServerClient(project)
    assert impostor.heard.startswith(b"GET /api/v1/proof?challenge=")
    assert SECRET.encode() not in impostor.heard
    assert b"authorization" not in impostor.heard.lower()
    assert impostor.heard.count(b"GET ") == 1


def test_a_server_that_is_late_is_not_called_another_one(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PROOF_SECONDS", 0.1)
    with closing(Impostor(b"")) as busy:
        leave_note(project, busy.address)
        with pytest.raises(WrongServerError, match=r"has not proved within 0\.1 s .* try again\.$"):
            ServerClient(project)
    assert SECRET.encode() not in busy.heard


def test_a_password_is_not_sent_there_either(project: Project, run_command: Callable[..., Any]) -> None:
    with closing(Impostor(ANSWERS["the identity of any project"])) as impostor:
        leave_note(project, impostor.address)
        project.database_path.write_bytes(b"in no way a database")  # so that the command asks the server
        done = run_command("users", project.folder, "add", "anna", "--role", "admin", input=f"{PASSWORD}\n")
    assert done.returncode == 1
    assert impostor.heard
    assert PASSWORD.encode() not in impostor.heard
    assert SECRET.encode() not in impostor.heard


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_client_of_a_project_sends_nothing_secret_there_either(project: Project, answer: str) -> None:
    with closing(Impostor(ANSWERS[answer])) as impostor:
        leave_note(project, impostor.address)
        with pytest.raises(ServerError, match=r"is not the server of this project|does not answer"):
            Client.of_project(project.folder)
    assert SECRET.encode() not in impostor.heard
    assert b"authorization" not in impostor.heard.lower()


@pytest.fixture
def served(open_project: Callable[..., Session], build_app: Callable[..., Any], until: Any) -> Iterator[Session]:
    opened = open_project()
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(build_app(opened, ServerConfig(port=listener.getsockname()[1])), log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until(lambda: server.started)
    about = {"pid": 1, "address": f"http://127.0.0.1:{listener.getsockname()[1]}"}
    about["secret"] = opened.workspace.authenticator.local_secret
    opened.workspace.project.server_path.write_text(json.dumps(about))
    yield opened
    server.should_exit = True
    thread.join()
    listener.close()


def test_the_server_itself_is_believed_and_called(served: Session) -> None:
    client = ServerClient(served.workspace.project)
    assert client.call("state")["num_images"] == 0
    assert client.call("users", {"do": "list"}) == {"users": []}
    with Client.of_project(served.workspace.project.folder) as other:
        assert other.session()["user"] == "local"


def test_a_server_of_another_secret_is_not_called(served: Session) -> None:
    project = served.workspace.project
    about = json.loads(project.server_path.read_text()) | {"secret": "another"}
    project.server_path.write_text(json.dumps(about))
    with pytest.raises(AnnotatorError, match="is not the server of this project"):
        ServerClient(project)


def test_the_proof_tells_nothing_but_that_the_secret_is_known() -> None:
    challenge = "ab" * 32
    proof = proof_of(SECRET, challenge)
    assert is_proof(proof, SECRET, challenge)
    assert SECRET not in proof
    for text in ("", proof[:-1], proof.upper(), "\xff" * 64, proof_of("another", challenge)):
        assert not is_proof(text, SECRET, challenge)
    assert not is_proof(proof, SECRET, "cd" * 32)
