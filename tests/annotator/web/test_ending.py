"""How a server begins and ends, in processes of their own: readiness, drain, logs."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from annotator.auth.accounts import Accounts
from annotator.storage.database import Store
from annotator.storage.project import Project
from annotator.web.readiness import OPENING
from annotator.web.starting import MOST_CONNECTIONS, StartingAnswers, answer_to

pytestmark = pytest.mark.integration

SECONDS = 120.0
PASSWORD = "a good password"
MANIFEST = Path(__file__).parents[3] / "docs" / "deployment" / "kubernetes.yaml"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Started:
    """``annotator serve`` from the moment when its process starts."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str, payload: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
        """Return status, headers and JSON; status 0 while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            body = None if payload is None else json.dumps(payload)
            own = {"content-type": "application/json"} if payload is not None else {}
            try:
                connection.request("POST" if body else "GET", path, body, self.headers | own | (headers or {}))
            except ConnectionRefusedError:
                return 0, {}, None
            answer = connection.getresponse()
            text = answer.read()
            is_json = answer.getheader("content-type", "").startswith("application/json")
            return answer.status, answer.headers, json.loads(text) if is_json else text
        finally:
            connection.close()

    def wait_for(self, path: str, status: int) -> Any:
        ends = time.monotonic() + SECONDS
        while (found := self.ask(path))[0] != status:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < ends
            time.sleep(0.01)
        return found[2]

    def greet(self) -> None:
        """Get the cookies and the token of a page."""
        cookies = [value.partition(";")[0] for value in self.ask("/api/v1/session")[1].get_all("set-cookie")]
        token = next(value.partition("=")[2] for value in cookies if value.startswith("annotator_token"))
        self.headers = {"cookie": "; ".join(cookies), "x-annotator-token": token}

    def half_save(self, kept: list[str]) -> tuple[socket.socket, bytes]:
        """Send all of a save but its last byte; return the connection and that byte."""
        body = json.dumps({"image_id": 1, "revision": 0, "kept": kept}).encode()
        lines = [
            "POST /api/v1/save HTTP/1.1", f"host: 127.0.0.1:{self.port}", "content-type: application/json",
            f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in self.headers.items()),
        ]  # fmt: skip
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body[:-1])
        return connection, body[-1:]

    def entries(self) -> list[dict[str, Any]]:
        """The lines of a log in JSON; every line is one."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def start(backbone_cache: Path, tmp_path: Path) -> Iterator[Callable[..., Started]]:
    with ExitStack() as stack:

        def begin(*arguments: object, **environment: str) -> Started:
            port = free_port()
            command = [sys.executable, "-m", "annotator.cli", "serve", *map(str, arguments), "--port", str(port)]
            log = tmp_path / f"log-{port}"
            with log.open("wb") as file:
                process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | environment)
            stack.callback(process.wait)
            stack.callback(lambda: process.poll() is None and process.kill())
            return Started(process, port, log)

        yield begin


def wait_for_photo(served: Started) -> None:
    ends = time.monotonic() + SECONDS
    while not served.ask("/api/v1/state", {})[2]["num_images"]:
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_save_that_is_in_flight_when_the_server_is_told_to_end_is_answered_and_kept(
    start: Callable[..., Started],
    write_photos: Callable[..., list[Path]],
    tmp_path: Path,
    run_command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    photos, project, metrics = tmp_path / "photos", tmp_path / "project", free_port()
    write_photos(photos, range(3))
    served = start(photos, "--project", project, "--log-format", "json", "--drain-seconds", 60,
                   "--metrics", f"127.0.0.1:{metrics}")  # fmt: skip
    assert served.wait_for("/api/v1/ready", 503) == {"status": "not ready", "missing": [OPENING]}
    assert served.ask("/api/v1/health")[::2] == (200, {"status": "ok"})
    status, headers, text = served.ask("/")
    assert (status, OPENING in text.decode(), headers["refresh"]) == (503, True, "2")
    assert served.wait_for("/api/v1/ready", 200) == {"status": "ready", "missing": []}
    served.greet()
    wait_for_photo(served)
    connection, last = served.half_save(["cat"])
    with connection:
        time.sleep(0.3)  # its head has arrived
        served.process.send_signal(signal.SIGTERM)
        missing = served.wait_for("/api/v1/ready", 503)["missing"]
        assert missing == ["the server is being ended"]
        assert served.ask("/api/v1/health")[0] == 200
        status, headers, refused = served.ask("/api/v1/save", {"image_id": 2, "revision": 0, "kept": ["dog"]})
        assert (status, refused["error"]["kind"], headers["retry-after"]) == (503, "refused", "5")
        assert served.process.poll() is None
        connection.sendall(last)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body)["revision"] == 1
    assert served.process.wait(SECONDS) == 0
    assert not (project / "server.json").exists()
    exported = run_command("export", project, check=True).stdout.splitlines()
    assert [json.loads(line)["tags"] for line in exported] == [["cat"]]
    assert run_command("check", project, check=True).stderr == "All is well.\n"
    # The log: JSON only, the save under the id that its answer had.
    found = re.search(rb"x-request-id: (\w+)", head)
    assert found
    lines = served.entries()
    (line,) = [entry for entry in lines if entry.get("request_id") == found[1].decode()]
    assert (line["operation"], line["level"]) == ("save", "info")
    assert re.fullmatch(r"POST save: 200 in \d+ ms", line["message"])
    assert any(entry["message"].startswith("Tagging page: http://127.0.0.1:") for entry in lines)
    assert not [entry for entry in lines if entry.get("operation") in ("ready", "health")]


def test_a_request_that_never_ends_holds_up_the_end_only_so_long(
    start: Callable[..., Started], write_photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    write_photos(tmp_path / "photos", range(1))
    # Nobody listens where the spans would go: that holds up the end as little.
    served = start(tmp_path / "photos", "--project", tmp_path / "project", "--drain-seconds", 0.5, "--traces",
                   OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")  # fmt: skip
    served.wait_for("/api/v1/ready", 200)
    served.greet()
    wait_for_photo(served)
    ends = time.monotonic() + SECONDS
    while served.ask("/api/v1/state", {})[2]["ingest"]["running"]:
        assert time.monotonic() < ends
        time.sleep(0.05)
    connection, _ = served.half_save(["cat"])
    with connection:
        time.sleep(0.3)
        began = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(SECONDS) == 0
    assert time.monotonic() - began < 40
    log = served.log.read_text()
    assert "1 requests were not answered in 0.5 s when the server ended." in log
    assert "A span of each request is sent to http://127.0.0.1:" in log
    assert "Traceback" not in log, log


def test_a_server_that_is_told_to_end_while_it_opens_the_project_ends_in_good_order(
    start: Callable[..., Started],
    write_photos: Callable[..., list[Path]],
    tmp_path: Path,
    run_command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    write_photos(tmp_path / "photos", range(1))
    served = start(tmp_path / "photos", "--project", tmp_path / "project")
    served.wait_for("/api/v1/health", 200)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(SECONDS) == 0
    assert "Traceback" not in served.log.read_text()
    assert run_command("check", tmp_path / "project", check=True).stderr == "All is well.\n"


def test_the_first_account_is_made_of_a_file_and_changed_by_none(
    start: Callable[..., Started], write_photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    photos, project, secret = tmp_path / "photos", tmp_path / "project", tmp_path / "password"
    write_photos(photos, range(1))
    for written in (PASSWORD, "another password"):
        secret.write_text(f"{written}\n")
        served = start(photos, "--project", project, "--host", "0.0.0.0", "--admin-password-file", secret)
        served.wait_for("/api/v1/ready", 200)
        assert served.ask("/api/v1/session")[0] == 401
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(SECONDS) == 0
    with closing(Store(Project.open(project).database_path)) as store:
        accounts = Accounts(store)
        assert [(user.name, user.role.label) for user in accounts.users()] == [("admin", "admin")]
        assert accounts.log_in("admin", PASSWORD, "127.0.0.1")


def test_the_command_and_the_probes_of_the_manifest_run_a_server(
    start: Callable[..., Started],
    write_photos: Callable[..., list[Path]],
    tmp_path: Path,
    run_command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """What a pod would run, with other paths and ports."""
    write_photos(tmp_path / "photos", range(2))
    (tmp_path / "password").write_text(PASSWORD)
    documents = yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))
    container = next(
        document["spec"]["template"]["spec"]["containers"][0]
        for document in documents
        if document["kind"] == "StatefulSet"
    )
    metrics, project = free_port(), tmp_path / "project"
    words = (
        " ".join(container["args"][2:])
        .replace("/run/secrets/annotator", str(tmp_path))
        .replace("/data/", f"{tmp_path}/")
    )
    words = words.replace("0.0.0.0:9464", f"127.0.0.1:{metrics}").replace("/photos ", f"{tmp_path}/photos ")
    served = start(*words.split())
    for name in ("startup", "liveness", "readiness"):
        probe = container[f"{name}Probe"]["httpGet"]
        served.headers = {header["name"]: header["value"] for header in probe["httpHeaders"]}
        served.wait_for(probe["path"], 200)
    served.headers = {"host": "10.244.0.7:7860"}  # as a probe without the header
    assert served.ask("/api/v1/ready")[0] == 421
    with socket.create_connection(("127.0.0.1", metrics)) as scraper:
        scraper.sendall(b"GET /metrics HTTP/1.0\r\nhost: 10.244.0.7:9464\r\n\r\n")
        assert scraper.recv(20).startswith(b"HTTP/1.0 200 OK")
    report = json.loads(run_command("doctor", "--json", "--project", project).stdout)
    assert report["project"]["server"].endswith("alive: yes; ready: yes")
    assert not [problem for problem in report["problems"] if "server" in problem]
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(SECONDS) == 0
    assert served.entries()


@pytest.mark.parametrize(("text", "problem"), [("", "is empty"), ("short\n", "password"), (None, "cannot be read")])
def test_a_file_without_a_password_is_refused(
    text: str | None,
    problem: str,
    write_photos: Callable[..., list[Path]],
    tmp_path: Path,
    run_command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    write_photos(tmp_path / "photos", range(1))
    if text is not None:
        (tmp_path / "secret").write_text(text)
    done = run_command("serve", tmp_path / "photos", "--project", tmp_path / "project", "--port", 0, "--host",
                       "0.0.0.0", "--admin-password-file", tmp_path / "secret")  # fmt: skip
    assert done.returncode == 1
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


# The answers while a project is being opened


def asked(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
        return answer


def test_nobody_who_asks_while_the_project_comes_to_be_open_is_left_without_an_answer() -> None:
    """One listener, answered by one after another, as at the start of a server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port, answers, is_over = listener.getsockname()[1], [], threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                answers.append(asked(port, b"GET /api/v1/health HTTP/1.1\r\n\r\n"))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        with StartingAnswers(listener):
            for thread in threads:
                thread.start()
            time.sleep(0.1)
        for _ in range(20):
            with StartingAnswers(listener):
                time.sleep(0.02)
        with StartingAnswers(listener):
            is_over.set()
            for thread in threads:
                thread.join()
        assert len(answers) > 20
        assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}


def test_while_a_project_opens_every_path_has_an_answer_and_later_callers_wait() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with StartingAnswers(listener, "/photos"):
            for path, status in (("/api/v1/health", 200), ("/photos/api/v1/health", 200), ("/api/v1/ready?x=1", 503)):
                answer = asked(port, f"GET {path} HTTP/1.1\r\nhost: evil\r\n\r\n".encode())
                assert answer.startswith(f"HTTP/1.1 {status} ".encode())
            assert asked(port, b"POST /api/v1/save HTTP/1.1\r\n\r\n{}").startswith(b"HTTP/1.1 503 ")
            assert asked(port, b"\r\n\r\n").startswith(b"HTTP/1.1 503 ")
            assert asked(port, b"GET \xff\x00 HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503 ")
            with suppress(ConnectionResetError):
                assert asked(port, b"x" * 200_000 + b"\r\n\r\n") == b""
            assert asked(port, b"POST / HTTP/1.1\r\n\r\n" + b"x" * 50_000).startswith(b"HTTP/1.1 503 ")
        with socket.create_connection(("127.0.0.1", port), timeout=20):
            listener.accept()[0].close()  # the socket goes on to take connections


def test_silent_callers_do_not_keep_others_from_an_answer() -> None:
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        stack.enter_context(StartingAnswers(listener))
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST_CONNECTIONS - 1)]
        try:
            assert asked(port, b"GET /api/v1/health HTTP/1.1\r\n\r\n").endswith(b'{"status": "ok"}')
        finally:
            for connection in silent:
                connection.close()


def test_the_answer_is_whole() -> None:
    head, _, body = answer_to("/api/v1/ready").partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}\r\n".encode() in head
    assert json.loads(body) == {"status": "not ready", "missing": [OPENING]}
