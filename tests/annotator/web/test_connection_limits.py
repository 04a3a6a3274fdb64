"""Raw sockets that send nothing, half a request, or data without end are closed, and others are answered meanwhile."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from annotator.auth.accounts import Accounts
from annotator.auth.addresses import network_of
from annotator.hosted.limits import HostedLimits
from annotator.hosted.server import HostedDemo, HostedOptions, serve_hosted
from annotator.settings import IngestConfig, ServerConfig
from annotator.storage.database import Store
from annotator.storage.project import Project
from annotator.web import server as app_module
from annotator.web.connection_limits import ConnectionLimits, LimitedProtocol, limited_protocol
from annotator.web.server import serve

pytestmark = pytest.mark.integration  # sockets of real servers

REQUEST = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"
Connect = Callable[..., socket.socket]


LARGE = 20_000_000
"""Bytes; more than the socket buffers hold."""


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without reading the body; /wait answers when the test says so, /large with a large body."""
    if scope["path"] == "/large":
        length = str(LARGE).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        for _ in range(LARGE // 100_000):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["path"] == "/wait":
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


@contextmanager
def served(**limits: Any) -> Iterator[Connect]:
    """Serve `hello` with small limits; yield a function that connects to it and sends data."""
    values: dict[str, Any] = {"trusted_proxies": (), **limits}
    http = limited_protocol(ConnectionLimits(**values))
    config = uvicorn.Config(hello, http=http, ws="none", lifespan="off", log_level="error", timeout_keep_alive=3600)
    server = uvicorn.Server(config)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        address = listener.getsockname()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()

        def connect(data: bytes = b"") -> socket.socket:
            made = stack.enter_context(socket.create_connection(address, timeout=60))
            made.sendall(data)
            return made

        try:
            yield connect
        finally:
            stack.close()  # does not wait for open connections
            server.should_exit = True
            thread.join()


def answer(connection: socket.socket) -> bytes:
    """Return the next data; empty if the connection was closed."""
    try:
        return connection.recv(1000)
    except ConnectionResetError:
        return b""


def until(is_so: Callable[[], object]) -> None:
    """Wait until a condition holds; fail after minutes."""
    for _ in range(2400):
        if is_so():
            return
        threading.Event().wait(0.05)
    raise AssertionError("It did not become so.")


def num_taken(connection: socket.socket) -> int:
    """Read a large answer until it ends or the connection does; return the number of bytes."""
    num = 0
    while num < LARGE:
        try:
            piece = connection.recv(1_000_000)
        except ConnectionResetError:
            return num
        if not piece:
            return num
        num += len(piece)
    return num


def is_served(connection: socket.socket) -> bool:
    """Return whether `hello` answers; its answer may arrive in pieces."""
    heard = b""
    while not heard.endswith(b"\r\n\r\nhi"):
        piece = answer(connection)
        if not piece:
            return False
        heard += piece
    return b" 200 " in heard


def test_the_connections_of_an_address_are_limited() -> None:
    with served(an_address=3) as connect:
        held = [connect(REQUEST) for _ in range(3)]
        assert all(is_served(connection) for connection in held)
        assert b" 429 " in answer(refused := connect())
        assert answer(refused) == b""
        held[0].close()
        assert any(is_served(connect(REQUEST)) for _ in range(1000))  # as soon as the server has seen that it is gone


def test_a_trusted_proxy_has_no_limit_of_connections() -> None:
    with served(an_address=1, trusted_proxies=("127.0.0.0/8",)) as connect:
        held = [connect(REQUEST) for _ in range(5)]
        assert all(is_served(connection) for connection in held)


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nhost: he", b"GET / HTTP/1.1\r\n", REQUEST])
def test_a_connection_without_complete_headers_is_closed(start: bytes) -> None:
    with served(head_seconds=0.3) as connect:
        waiting = connect(start)
        if start == REQUEST:
            assert is_served(waiting)
            waiting.sendall(b"GET / HT")  # ends uvicorn's own timer
        assert answer(waiting) == b""


def sends_until_closed(connection: socket.socket, part: bytes, num: int, pause: float = 0.0) -> bool:
    """Send a part again and again; return whether the other side closed meanwhile."""
    try:
        for _ in range(num):
            connection.sendall(part)
            threading.Event().wait(pause)
    except OSError:
        return True
    return False


def test_a_connection_with_slow_headers_is_closed() -> None:
    with served(head_seconds=0.3) as connect:
        assert sends_until_closed(connect(b"GET / HTTP/1.1\r\n"), b"x: y\r\n", 1000, pause=0.02)


def test_the_length_of_headers_is_limited() -> None:
    with served(head_bytes=10_000) as connect:
        assert sends_until_closed(connect(b"GET / HTTP/1.1\r\n"), b"x: " + b"y" * 1000 + b"\r\n", 10_000)
        assert is_served(connect(REQUEST.replace(b"here", b"here\r\nx: " + b"y" * 5000)))


def test_a_connection_is_not_closed_during_an_answer() -> None:
    with served(head_seconds=0.1) as connect:
        asking = connect(REQUEST.replace(b"/ ", b"/wait "))
        asking.settimeout(0.6)
        with pytest.raises(TimeoutError):
            asking.recv(1)


def test_a_connection_whose_answer_is_not_read_is_closed() -> None:
    with served(in_all=1, answer_seconds=0.2) as connect:
        asking = connect(REQUEST.replace(b"/ ", b"/large "))
        until(lambda: is_served(connect(REQUEST)))  # its place is free
        assert num_taken(asking) < LARGE


def test_an_answer_that_is_read_late_is_complete_and_the_connection_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[LimitedProtocol] = []
    begin = LimitedProtocol.connection_made

    def remember(protocol: LimitedProtocol, transport: Any) -> None:
        made.append(protocol)
        begin(protocol, transport)

    monkeypatch.setattr(LimitedProtocol, "connection_made", remember)
    with served(answer_seconds=3600.0) as connect:
        asking = connect(REQUEST.replace(b"/ ", b"/large "))
        until(lambda: made and made[0]._unread_timer is not None)
        assert num_taken(asking) >= LARGE
        asking.sendall(REQUEST)
        assert is_served(asking)
        assert made[0]._unread_timer is None  # no timer is left after the answer was read


def test_the_rest_of_a_refused_body_is_accepted_for_a_while() -> None:
    with served(head_seconds=0.1, head_bytes=1000, drain_seconds=60) as connect:
        sending = connect(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 50000\r\n\r\n")
        assert is_served(sending)
        for _ in range(50):
            threading.Event().wait(0.01)
            sending.sendall(b"x" * 1000)
        sending.sendall(REQUEST)
        assert is_served(sending)
    with served(drain_seconds=0.1) as connect:
        sending = connect(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 50000\r\n\r\n")
        assert is_served(sending)
        assert answer(sending) == b""


def test_at_the_limit_the_connection_that_was_idle_longest_is_closed() -> None:
    with served(in_all=3) as connect:
        busy = connect(REQUEST.replace(b"/ ", b"/wait "))
        half = connect(b"GET / HT")
        held = connect(REQUEST)
        assert is_served(held)
        assert is_served(connect(REQUEST))
        assert answer(half) == b""
        held.sendall(REQUEST)
        assert is_served(held)
        busy.settimeout(0.05)
        with pytest.raises(TimeoutError):
            busy.recv(1)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::2:0:0:0:2", "2001:db8:0:2::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_network_counts_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


class _StoppedError(Exception):
    """Raised in place of running the server."""


@pytest.mark.parametrize("is_demo", [False, True])
def test_every_server_closes_idle_connections(is_demo: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.9.0.0/16")  # is uvicorn's variable, and is not heard
    made: list[uvicorn.Config] = []

    def stop(config: uvicorn.Config, *rest: object) -> None:
        made.append(config)
        raise _StoppedError

    monkeypatch.setattr(app_module, "Server", stop)
    monkeypatch.setattr(app_module, "build_app", lambda opened, config, observation: hello)
    monkeypatch.setattr(HostedDemo, "build_app", lambda self, config, observation: hello)
    options = HostedOptions(tmp_path, HostedLimits(connections_an_address=7))
    config = ServerConfig(port=0, trusted_proxies=("10.0.0.0/8",))
    with pytest.raises(_StoppedError):  # noqa: PT012 - either of both
        if is_demo:
            serve_hosted(options, config, print)
        project = Project.open_or_create(tmp_path / "p", "p")
        with closing(Store(project.database_path)) as store:
            Accounts(store).add("root", "admin", "a good password")
        serve(project, [], config, IngestConfig(), print)
    protocol: Any = made[0].http
    assert issubclass(protocol, LimitedProtocol)
    limits = protocol.among.limits
    wanted = (7, ("10.0.0.0/8",)) if is_demo else (100, ("127.0.0.1", "::1", "10.0.0.0/8"))
    assert (limits.an_address, limits.trusted_proxies) == wanted
    assert made[0].limit_concurrency is None  # would keep out everybody, with those who hold connections
