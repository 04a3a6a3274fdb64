"""Webhooks against a local server that fails, is slow, is down, and redirects."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from annotator.cli.main import main
from annotator.errors import ConfigError
from annotator.exchange.webhooks import WebhookSender, check_url, new_secret, post, signature
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.project import Project
from annotator.storage.webhooks import Webhook, Webhooks

pytestmark = pytest.mark.integration  # listens on a socket

LIMIT_SECONDS = 120
LOCATION = "/elsewhere"


@dataclass
class Receiver:
    """A local server that answers as told, and keeps what it was sent."""

    answers: list[int] = field(default_factory=list)
    """Statuses of the next requests; then 204. 0: no answer at all, -1: an answer that never comes."""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0
    release: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status = receiver.answers.pop(0) if receiver.answers else 204
                if status == -1:
                    receiver.release.wait(LIMIT_SECONDS)
                if status > 0:
                    self.send_response(status)
                    self.send_header("location", LOCATION)
                    self.send_header("content-length", "0")
                    self.end_headers()
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.release.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def told(self) -> list[tuple[int, list[str]]]:
        """(image id, tags) of each request that was answered or not."""
        found = [json.loads(body)["data"] for _, _, body in self.requests]
        return [(data["image_id"], data["tags"]) for data in found]

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in self.requests]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    return make_store(3)


@pytest.fixture
def log(store: Store) -> CorrectionLog:
    return CorrectionLog(store)


@pytest.fixture
def send(store: Store) -> Iterator[Callable[..., WebhookSender]]:
    with ExitStack() as stack:

        def make(webhook: Webhook, **options: Any) -> WebhookSender:
            sender = WebhookSender(
                Webhooks(store), Webhooks(store).get(webhook.webhook_id), "holiday", lambda image_id: f"{image_id}.jpg",
                first_wait_seconds=0.01, **options,
            )  # fmt: skip
            stack.callback(sender.stop)
            sender.start()
            return sender

        yield make


def save(log: CorrectionLog, image_id: int, *tags: str) -> None:
    revision = log.annotation(image_id).revision
    log.save(image_id, revision=revision, tags=tags, dropped=[], user_name="anna", effort=Effort())


def test_a_changed_list_is_told_signed_and_in_full(
    store: Store, log: CorrectionLog, receiver: Receiver, send: Callable[..., WebhookSender]
) -> None:
    webhook = Webhooks(store).add(receiver.url, new_secret())
    save(log, 1, "cat", "\u732b")
    assert send(webhook).wait(LIMIT_SECONDS)
    ((path, headers, body),) = receiver.requests
    assert path == "/hook"
    about = json.loads(body)
    assert about["type"] == "list.changed"
    assert about["data"] == {
        "project": "holiday", "event_id": 1, "kind": "save", "image_id": 1, "file_name": "1.jpg", "revision": 1,
        "tags": ["cat", "\u732b"], "dropped": [], "is_saved": True, "user": "anna",
    }  # fmt: skip
    # The receiver's side, written again.
    key = base64.b64decode(webhook.secret.removeprefix("whsec_"))
    signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_is_that_of_the_standard() -> None:
    """The example in Svix's documentation, who wrote Standard Webhooks."""
    body = b'{"event_type":"ping","data":{"success":true}}'
    signed = signature("whsec_plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf", 1731705121, body)
    assert signed == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


def test_what_was_refused_is_told_again_in_order_and_then_never_more(
    store: Store, log: CorrectionLog, receiver: Receiver, send: Callable[..., WebhookSender]
) -> None:
    webhook = Webhooks(store).add(receiver.url, new_secret())
    for image_id, tag in ((1, "cat"), (2, "dog"), (1, "sofa")):
        save(log, image_id, tag)
    receiver.answers = [500, 503, 204, 404, 204, 0, 204]
    assert send(webhook).wait(LIMIT_SECONDS)
    first, second, third = (1, ["cat"]), (2, ["dog"]), (1, ["sofa"])
    assert receiver.told() == [first, first, first, second, second, third, third]
    ids = receiver.ids()
    assert len(set(ids)) == 3, "a repeated request has the id of the first one"
    assert (ids[0], ids[3], ids[5]) == (ids[2], ids[4], ids[6])
    known = Webhooks(store).all()[0]
    assert (known.position, known.num_delivered, known.problem) == (3, 3, "")


def test_an_outage_on_either_side_skips_nothing_and_repeats_nothing(
    store: Store, log: CorrectionLog, receiver: Receiver, send: Callable[..., WebhookSender]
) -> None:
    webhook = Webhooks(store).add(receiver.url, new_secret())
    save(log, 1, "cat")
    first = send(webhook)
    assert first.wait(LIMIT_SECONDS)
    first.stop()
    save(log, 2, "dog")  # while this program does not run
    receiver.stop()
    second = send(webhook)  # while the receiver is down
    save(log, 3, "bird")
    second.notify()
    until(lambda: "does not answer" in Webhooks(store).all()[0].problem)
    assert Webhooks(store).num_waiting(Webhooks(store).all()[0].position) == 2
    second.stop()
    third = send(webhook)
    receiver.start()
    assert third.wait(LIMIT_SECONDS)
    assert receiver.told() == [(1, ["cat"]), (2, ["dog"]), (3, ["bird"])]
    assert Webhooks(store).all()[0].problem == ""


def test_a_receiver_that_is_too_slow_is_told_again_with_the_same_id(
    store: Store, log: CorrectionLog, receiver: Receiver, send: Callable[..., WebhookSender],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("annotator.exchange.webhooks.TIMEOUT_SECONDS", 0.5)
    receiver.answers = [-1]
    webhook = Webhooks(store).add(receiver.url, new_secret())
    save(log, 1, "cat")
    sender = send(webhook)
    until(lambda: Webhooks(store).all()[0].num_delivered == 1)
    receiver.release.set()
    assert sender.wait(LIMIT_SECONDS)
    assert len(receiver.requests) >= 2
    assert len(set(receiver.ids())) == 1


def test_a_redirect_is_not_followed(
    store: Store, log: CorrectionLog, receiver: Receiver, send: Callable[..., WebhookSender]
) -> None:
    """A receiver could otherwise let this machine call addresses that only this machine reaches."""
    receiver.answers = [302, 307, 308]
    webhook = Webhooks(store).add(receiver.url, new_secret())
    save(log, 1, "cat")
    problems = []
    original = Webhooks.note_problem

    def note(self: Webhooks, webhook_id: int, problem: str) -> None:
        problems.append(problem)
        original(self, webhook_id, problem)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Webhooks, "note_problem", note)
        assert send(webhook).wait(LIMIT_SECONDS)
    assert {path for path, _, _ in receiver.requests} == {"/hook"}
    assert all("redirect" in problem for problem in problems)
    assert len(problems) == 3


def test_a_request_ignores_proxies_of_the_environment(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert post(receiver.url, b"{}", {}) == 204
    with pytest.raises(httpx.ConnectError):
        httpx.post(receiver.url, content=b"{}")


def test_a_new_webhook_is_told_of_what_happens_from_now_on_or_of_everything(
    store: Store, log: CorrectionLog, receiver: Receiver, send: Callable[..., WebhookSender]
) -> None:
    save(log, 1, "cat")
    log.skip(2, "anna")
    now, everything = (Webhooks(store).add(receiver.url, new_secret(), from_start=start) for start in (False, True))
    assert send(now).wait(LIMIT_SECONDS)
    assert receiver.told() == []
    assert send(everything).wait(LIMIT_SECONDS)
    assert receiver.told() == [(1, ["cat"])]


@pytest.mark.parametrize(
    "url",
    ["", "example.org", "ftp://example.org/x", "file:///etc/passwd", "http://", "https://user:pass@example.org/",
     "http://[::1", "http://exa mple.org/", "http://example.org/#x", "http://example.org/\r\nx: y",
     "https://example.org/" + "x" * 2000, "http://example.org:99999/"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        check_url(url)
    assert check_url("https://example.org/hook?x=1") == "https://example.org/hook?x=1"


def test_webhooks_are_added_listed_and_removed_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "project"
    project = Project.open_or_create(folder, "test")
    Store(project.database_path).close()
    assert main(["webhooks", str(folder), "--add", "https://example.org/hook"]) == 0
    assert "whsec_" in capsys.readouterr().out
    assert main(["webhooks", str(folder), "--json"]) == 0
    out = capsys.readouterr().out
    assert "whsec_" not in out, "the key is shown once"
    (row,) = json.loads(out)["webhooks"]
    assert (row["url"], row["num_delivered"], row["num_waiting"]) == ("https://example.org/hook", 0, 0)
    assert main(["webhooks", str(folder), "--add", "ftp://example.org"]) == 1
    assert main(["webhooks", str(folder), "--remove", "7"]) == 1
    assert main(["webhooks", str(folder), "--remove", "1"]) == 0
    assert "no webhooks" in capsys.readouterr().out


def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, within a generous limit."""
    waiting = threading.Event()
    for _ in range(LIMIT_SECONDS * 50):
        if is_so():
            return
        waiting.wait(0.02)
    raise AssertionError("it never became so")
