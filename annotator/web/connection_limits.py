"""Limits the number and the idle time of connections, below HTTP.

A client that opens hundreds of sockets and sends nothing, or half a request, would use up the server's connections.
Uvicorn counts such sockets but closes none. Knows nothing of the application.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from annotator.auth.addresses import Networks, network_of

_REFUSAL = (
    b'HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: 77\r\nretry-after: 10\r\n'
    b'connection: close\r\n\r\n'
    b'{"error": {"kind": "refused", "message": "Too many connections are open."}}\r\n'
)  # fmt: skip
THIS_MACHINE = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of connections."""

    an_address: int = 100
    """Connections from one address; a browser opens several. Trusted proxies are exempt."""
    in_all: int = 500
    """Connections in all; for a further one, the one that is idle the longest is closed."""
    head_seconds: float = 15.0
    """From the start of a connection, or its last answer, until all headers of the next request."""
    drain_seconds: float = 60.0
    """For the rest of a body whose request was refused early; browsers read the refusal only after it."""
    answer_seconds: float = 60.0
    """For a caller to read an answer that is larger than the buffers."""
    head_bytes: int = 65_536
    """Of one request's headers."""
    trusted_proxies: Sequence[str] = THIS_MACHINE
    """Addresses or networks."""


class Connections:
    """Counts a server's connections and closes those above the limits.

    Args:
        limits: Numbers and seconds.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._num_by_address: Counter[str] = Counter()
        self._open: dict[LimitedProtocol, None] = {}
        """The oldest first, which is closed first among those that are idle for the same time of a coarse clock."""
        self._trusted = Networks(limits.trusted_proxies)

    def admit(self, connection: "LimitedProtocol") -> bool:
        """Count a new connection; return False if its address has too many."""
        address = connection.address
        is_counted = bool(address) and address not in self._trusted
        if is_counted and self._num_by_address[network_of(address)] >= self.limits.an_address:
            return False
        if len(self._open) >= self.limits.in_all:
            idle = min(
                (other for other in self._open if other.is_idle), key=lambda other: other.idle_since, default=None
            )
            if idle is None:
                return False
            idle.end()
        if is_counted:
            self._num_by_address[network_of(address)] += 1
        self._open[connection] = None
        return True

    def forget(self, connection: "LimitedProtocol") -> None:
        """Stop counting a connection."""
        if connection not in self._open:
            return
        del self._open[connection]
        name = network_of(connection.address)
        if self._num_by_address[name] > 1:
            self._num_by_address[name] -= 1
        else:
            self._num_by_address.pop(name, None)


class LimitedProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with the limits of `ConnectionLimits`.

    `limited_protocol` derives one class for each server.
    """

    among: Connections

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, or refuse it."""
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self.idle_since = self.loop.time()
        self._num_head_bytes = 0
        self._is_in_head = False
        self._is_read = True
        self._timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._raw_transport = transport
        self.is_admitted = self.among.admit(self)
        if not self.is_admitted:
            transport.write(_REFUSAL)
            transport.close()
            return
        super().connection_made(transport)
        self._wait(self.among.limits.head_seconds)

    def data_received(self, data: bytes) -> None:
        """Take in data, and close the connection if its headers are too long."""
        if not self.is_admitted:
            return
        super().data_received(data)
        self._num_head_bytes = self._num_head_bytes + len(data) if self._is_in_head else 0
        if self._num_head_bytes > self.among.limits.head_bytes:
            self.end()

    def on_message_begin(self) -> None:
        """Note that headers are being read."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the headers are complete."""
        self._is_in_head = self._is_read = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the request is complete."""
        self._is_read = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note the time from which the connection is idle."""
        self.idle_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Pause until the caller reads what was sent, for a limited time."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(self.among.limits.answer_seconds, self.end)

    def resume_writing(self) -> None:
        """Continue to send."""
        self._stop_unread()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers and the counting."""
        self.among.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        self._stop_unread()
        if self.is_admitted:
            super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def end(self) -> None:
        """Close at once, without sending the rest."""
        self.among.forget(self)
        self._raw_transport.abort()

    def _stop_unread(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """End the connection if it was idle for too long, else check again when it will have been."""
        limits = self.among.limits
        seconds = limits.head_seconds if self._is_read else limits.drain_seconds
        left = self.idle_since + seconds - self.loop.time() if self.is_idle else seconds
        if left <= 0:
            self.end()
        else:
            self._wait(left)


def limited_protocol(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """Return the protocol class for one server (uvicorn.Config's `http`)."""
    made: type[asyncio.Protocol] = type("LimitedProtocol", (LimitedProtocol,), {"among": Connections(limits)})
    return made
