"""ASGI layers of the hosted demo: rate limits by visitor and address, and the visitor's space for each call."""

import json

from starlette.types import ASGIApp, Receive, Scope, Send

from annotator.auth.addresses import network_of
from annotator.auth.roles import CALLER
from annotator.hosted.limits import HostedLimits, RateLimiter
from annotator.hosted.open_space import OpenSpace
from annotator.hosted.spaces import HostedSpaces
from annotator.hosted.visit import VISIT, Visit, Visitor
from annotator.web.request_guard import SECURITY_HEADERS


class VisitorRouter:
    """Binds each call to its visitor's space and limits calls; the layer inside the request guard.

    Args:
        app: The application inside this layer.
        spaces: All spaces.
        calls: Counts each visitor's calls.
    """

    def __init__(self, app: ASGIApp, spaces: HostedSpaces[OpenSpace], calls: RateLimiter) -> None:
        self._app = app
        self._spaces = spaces
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        visitor = CALLER.get(None)
        if scope["type"] != "http" or not isinstance(visitor, Visitor):
            await self._app(scope, receive, send)
            return
        wait = self._calls.take(visitor.space.space_id)
        if wait:
            await refuse(send, 429, "These were many calls within a moment. Wait a few seconds.", wait)
            return
        visit = Visit(self._spaces, visitor.space)
        token = VISIT.set(visit)
        try:
            await self._app(scope, receive, send)
        finally:
            VISIT.reset(token)
            visit.end()


class AddressLimit:
    """Refuses more connections at a time, and more calls, than one address may have; the outermost layer.

    Args:
        app: The application inside this layer.
        limits: How many.
    """

    def __init__(self, app: ASGIApp, limits: HostedLimits) -> None:
        self._app = app
        self._num_at_most = limits.connections_an_address
        share = limits.visitors_an_address
        self._calls = RateLimiter(limits.calls_a_second * share, limits.calls_at_once * share)
        self._num_now: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = address_of(scope)
        wait = self._calls.take(address)
        if wait or self._num_now.get(address, 0) >= self._num_at_most:
            await refuse(
                send, 429, "These were many calls from your address within a moment. Wait a few seconds.", wait
            )
            return
        self._num_now[address] = self._num_now.get(address, 0) + 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._num_now[address] -= 1
            if not self._num_now[address]:
                del self._num_now[address]


def address_of(scope: Scope) -> str:
    """Return the caller's IPv4 address, or the network of its IPv6 address."""
    client = scope.get("client")
    return network_of(str(client[0]) if client else "")


async def refuse(send: Send, status: int, message: str, seconds: float) -> None:
    """Refuse a call that exceeds a limit, with the time until the next one is allowed."""
    body = json.dumps({"error": {"kind": "demo", "message": message}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(max(1, round(seconds))).encode()),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
        *((name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
