"""Answers on a server's port while the project is being opened or migrated: alive, and not ready.

Without it, callers could not tell a server that opens a large project from one that has ended. Knows nothing of the
application that answers afterwards, on the same socket: connections that arrive between the two wait for it.
"""

import asyncio
import json
import socket
import threading
from contextlib import suppress

from annotator.web.readiness import HEALTH_PATH, OPENING, READY_PATH

HEAD_SECONDS = 5.0
"""For a caller to send its headers and take the answer."""
LAST_SECONDS = 0.2
"""For callers that are being answered when the project is open."""
MOST_HEAD_BYTES = 65_536
MOST_BODY_BYTES = 1_000_000
MOST_CONNECTIONS = 100
RELOAD_SECONDS = 2
"""After which a browser asks again by itself."""


class StartingAnswers:
    """Answers from a thread of its own while the block runs.

    Args:
        listener: The bound socket; it stays open.
        root_path: The prefix under which a reverse proxy offers the page.
    """

    def __init__(self, listener: socket.socket, root_path: str = "") -> None:
        self._listener = listener
        self._root_path = root_path
        self._is_up = threading.Event()
        self._callers: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="starting", daemon=True)

    def __enter__(self) -> None:
        """Start to answer."""
        self._thread.start()
        self._is_up.wait()

    def __exit__(self, *exception: object) -> None:
        """Stop to answer; the socket goes on to take connections."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._listener.listen()
        self._listener.setblocking(False)
        # Not asyncio's server: when it closes, it drops connections that it has accepted a moment before.
        self._loop.add_reader(self._listener, self._accept)
        self._is_up.set()
        await self._end.wait()
        self._loop.remove_reader(self._listener)
        if self._callers:
            await asyncio.wait(self._callers, timeout=LAST_SECONDS)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # the caller has gone, or there are no more file descriptors; the next one is tried again
        if len(self._callers) >= MOST_CONNECTIONS:
            connection.close()
            return
        caller = self._loop.create_task(self._answer(connection))
        self._callers.add(caller)
        caller.add_done_callback(self._callers.discard)

    async def _answer(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connection, limit=MOST_HEAD_BYTES)
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                target = b"".join(head.split(b"\r\n", 1)[0].split(b" ")[1:2])
                path = target.partition(b"?")[0].decode("ascii", "replace")
                writer.write(answer_to(path.removeprefix(self._root_path)))
                writer.write_eof()
                # A body that is left unread would reset the connection, and the answer with it.
                await reader.read(MOST_BODY_BYTES)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # a caller that sends no request gets no answer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def answer_to(path: str) -> bytes:
    """Return the whole HTTP answer to a request for a path."""
    status, values = "503 Service Unavailable", {"status": "not ready", "missing": [OPENING]}
    if path == HEALTH_PATH:
        status, values = "200 OK", {"status": "ok"}
    kind, body = "application/json", json.dumps(values).encode()
    if path not in (HEALTH_PATH, READY_PATH):
        kind, body = "text/plain; charset=utf-8", f"annotator: {OPENING}. Try again in a moment.\n".encode()
    lines = [
        f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", "cache-control: no-store",
        "x-content-type-options: nosniff", f"retry-after: {RELOAD_SECONDS}", f"refresh: {RELOAD_SECONDS}",
        "connection: close",
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode() + body
