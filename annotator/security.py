"""Who may call the server: host, origin, token, size. One ASGI layer around everything, Gradio's own routes included.

A page elsewhere can make a browser send a request here, with the cookies it has. So every request that may change
something must come from this very origin and carry a token that only a page of this origin can read; and a request
whose Host is not ours (a name re-bound to 127.0.0.1) is refused. Knows nothing of projects.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SESSION_COOKIE = "annotator_session"
TOKEN_COOKIE = "annotator_token"
TOKEN_HEADER = "x-annotator-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

_SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "SAMEORIGIN",
    "cross-origin-resource-policy": "same-origin",
}


class RequestGuard:
    """Refuses what does not come from our own page, and hands out the cookies that prove it.

    Args:
        app: What is guarded.
        hosts: Host names, without port, under which this server may be asked.
        max_body_bytes: Largest accepted request body.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], max_body_bytes: int) -> None:
        self._app = app
        self._hosts = LOOPBACK_HOSTS | {host.lower() for host in hosts}
        self._max_body_bytes = max_body_bytes
        # A new secret each start: tokens of an earlier run are worth nothing.
        self._secret = secrets.token_bytes(32)

    def token(self, session_id: str) -> str:
        """Return the token that belongs to a session id."""
        return hmac.new(self._secret, session_id.encode(), hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one connection, then pass it on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session_id = _cookie(headers, SESSION_COOKIE)
        refusal = self._refusal(scope["method"], headers, session_id)
        if refusal:
            await _refuse(send, *refusal)
            return
        body = _LimitedBody(receive, self._max_body_bytes)

        async def send_with_headers(message: Message) -> None:
            if body.is_too_large:
                raise _BodyTooLargeError  # whatever answer the app made of half a body
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name in [name for name in out if name.lower().startswith("access-control-")]:
                    del out[name]  # Gradio lets every page of this machine read; nobody else shall
                for name, value in _SECURITY_HEADERS.items():
                    out.setdefault(name, value)
                self._set_cookies(out, headers, session_id)
            await send(message)

        try:
            await self._app(scope, body.receive, send_with_headers)
        except _BodyTooLargeError:
            await _refuse(send, 413, self._too_large())

    def _refusal(self, method: str, headers: Headers, session_id: str) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if _host_name(host) not in self._hosts:
            return (
                421,
                f"This server does not answer for the host {host[:100]!r}. Use the address it printed.",
            )
        if method in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        # Browsers send Origin with every such request; other programs need not, but need the token all the same.
        if origin is not None and _authority(origin) != host.lower():
            return 403, "This call came from a page of another origin and was refused."
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return 403, "This call came from a page of another site and was refused."
        token = headers.get(TOKEN_HEADER, "")
        if not session_id or not hmac.compare_digest(token.encode(), self.token(session_id).encode()):
            return 403, "The token is missing or old. Reload the page (programs: GET /api/session first)."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or not length.isascii() or int(length) > self._max_body_bytes:
            return 413, self._too_large()
        return None

    def _too_large(self) -> str:
        return f"The request is larger than {self._max_body_bytes:,} bytes and was refused."

    def _set_cookies(self, out: MutableHeaders, headers: Headers, session_id: str) -> None:
        """Give a browser its session on the first answer, and its token again after a restart."""
        if session_id and hmac.compare_digest(_cookie(headers, TOKEN_COOKIE), self.token(session_id)):
            return
        if not session_id:
            session_id = secrets.token_urlsafe(32)
            out.append("set-cookie", f"{SESSION_COOKIE}={session_id}; Path=/; HttpOnly; SameSite=Strict")
        out.append("set-cookie", f"{TOKEN_COOKIE}={self.token(session_id)}; Path=/; SameSite=Strict")


class _BodyTooLargeError(Exception):
    """More bytes came than are allowed."""


class _LimitedBody:
    """Counts a body as it comes: a chunked request names no length."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._num_left = max_bytes

    @property
    def is_too_large(self) -> bool:
        return self._num_left < 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._num_left -= len(message.get("body", b""))
        if self.is_too_large:
            raise _BodyTooLargeError
        return message


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower() if host.isprintable() else ""
    except ValueError:  # half an IPv6 address
        return ""


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _cookie(headers: Headers, name: str) -> str:
    # Not http.cookies: that drops all cookies when one is malformed, and other programs' pages on this host may have
    # set such.
    return cookie_parser(headers.get("cookie", "")).get(name, "")


async def _refuse(send: Send, status: int, message: str) -> None:
    body = json.dumps({"error": {"kind": "refused", "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
