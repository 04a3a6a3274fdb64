"""Checks host, origin, token, login, size and time of every request: one ASGI layer around all, Gradio included.

A page of another origin can make a browser send a request here, with its cookies. So every request that may change
something must come from this origin and carry a token that only a page of this origin can read (CSRF); and a request
for another host name (DNS rebinding) is refused. A program sends an access token instead, in a header that no page of
another origin can set. Knows nothing of projects or passwords.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotator.auth.roles import CALLER, Authenticator, Caller
from annotator.request_record import REQUEST

logger = logging.getLogger(__name__)

TOKEN_HEADER = "x-annotator-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

BODY_SECONDS = 30.0
"""A body that takes longer, from its first byte to its last, is refused."""
SLOWEST_BODY = 100_000.0
"""Bytes a second; larger bodies get more time at this rate."""

PUBLIC_PATHS = frozenset(
    {
        "/login",
        "/api/v1/login",
        "/api/v1/health",
        "/api/v1/ready",
        "/api/v1/proof",
        "/ui/login.js",
        "/ui/login.css",
        "/ui/token.js",
        "/ui/address.js",
        "/ui/language.js",
        "/ui/texts.js",
        "/ui/problems.js",
        "/ui/static_texts.js",
    }
)
"""Paths that need no login."""

LANGUAGE_PATHS = re.compile(r"/ui/languages/[A-Za-z-]+\.js")
"""The page's texts in a language, which the pages before the login need too."""

COSTLY_PATHS = re.compile(r"/api/v1/(backup|export)|/(image|thumbnail)/.*")
"""Paths that change nothing but are too expensive for pages of other origins to request."""

NO_LIMITS: Mapping[str, int] = {}

FAILED = "failed"
"""Kind of the answer to a call at which the program failed."""

GRADIO_PATHS = re.compile(r"/gradio_api/(component_server|info|theme\.css)/?")
"""Paths below Gradio's that the page needs; web/page_routes.py answers the first. All others (uploads, files, proxies,
its queue, endless heartbeats) are refused."""

BELIEVED_HEADERS = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-server",
     b"x-forwarded-port", b"x-forwarded-prefix", b"x-gradio-server"}
)  # fmt: skip
"""Headers that Gradio believes from everybody. Uvicorn has read those that it takes, of trusted proxies, by then."""
BASIC_PATHS = re.compile(r"/api/v\d+/label_studio/.*")
"""Where the password of Basic authentication is an access token."""
DEVICE_TOKEN = re.compile(r"[0-9a-f.]{1,128}")
DEVICE_SECONDS = 365 * 86_400
SESSION_ID = re.compile(r"[\w-]{1,128}", re.ASCII)

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
}


def content_security_policy(frame_ancestors: Iterable[str] = ()) -> str:
    """Return the Content-Security-Policy of every answer.

    Gradio's page uses inline scripts and builds functions from text, so both are allowed; nothing may come from or go
    to another host.

    Args:
        frame_ancestors: Further origins that may show the page in a frame.
    """
    framing = " ".join(["'self'", *frame_ancestors])
    return (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        f"object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {framing}"
    )


class Tokens:
    """CSRF tokens: one for each browser session, the proof that a call comes from this server's page.

    The secret is new at each start, so tokens of an earlier run are invalid.

    Args:
        in_frames: Whether pages of other sites may show this one in a frame. Behind TLS the cookies are then sent
            there too, partitioned by site; the token still prevents calls by that site.
        root_path: The prefix under which a reverse proxy offers the page: other servers of its host get no cookie.
    """

    def __init__(self, *, in_frames: bool = False, root_path: str = "") -> None:
        self._secret = secrets.token_bytes(32)
        self._in_frames = in_frames
        self.path = root_path or "/"
        """Path of the cookies."""

    def of(self, session_id: str) -> str:
        """Return the token of a session id."""
        return hmac.new(self._secret, session_id.encode(), hashlib.sha256).hexdigest()

    def cookies(self, scope: Scope, session_id: str, *, is_new: bool) -> list[str]:
        """Return the Set-Cookie values that give a browser its token and, if new, its session."""
        session_name, token_name = cookie_names(scope)
        rest = self._attributes(scope)
        values = [f"{token_name}={self.of(session_id)}{rest}"]
        if is_new:
            values.append(f"{session_name}={session_id}; HttpOnly{rest}")
        return values

    def device_cookie(self, scope: Scope, device_token: str) -> str:
        """Return the Set-Cookie value that lets a browser be known at its next login."""
        name = device_cookie_name(scope)
        return f"{name}={device_token}; HttpOnly; Max-Age={DEVICE_SECONDS}{self._attributes(scope)}"

    def _attributes(self, scope: Scope) -> str:
        is_tls = scope["scheme"] == "https"
        same_site = "None; Partitioned" if self._in_frames and is_tls else "Strict"
        return f"; Path={self.path}; SameSite={same_site}" + ("; Secure" if is_tls else "")


def device_cookie_name(scope: Scope) -> str:
    """Return the name of the cookie by which a browser is known in which somebody has logged in."""
    return cookie_names(scope)[0].replace("session", "device", 1)


def device_token_of(scope: Scope) -> str:
    """Return the device token that a browser sent, or an empty text."""
    token = _cookie(Headers(scope=scope), device_cookie_name(scope))
    return token if DEVICE_TOKEN.fullmatch(token) else ""


def cookie_names(scope: Scope) -> tuple[str, str]:
    """Return the names of the session's and the token's cookies.

    The names contain the port: browsers share cookies between all ports of a host, and two servers must not overwrite
    each other's.
    """
    host = Headers(scope=scope).get("host", "")
    try:
        port = urlsplit(f"//{host}").port
    except ValueError:
        port = None
    end = f"_{port}" if port else ""
    return f"annotator_session{end}", f"annotator_token{end}"


def session_id_of(scope: Scope) -> str:
    """Return the session id that a browser sent, or an empty text for one that this server never gave."""
    session_id = _cookie(Headers(scope=scope), cookie_names(scope)[0])
    return session_id if SESSION_ID.fullmatch(session_id) else ""


class RequestGuard:
    """Refuses calls from other origins and unknown callers; sets the caller (`auth.roles.CALLER`).

    Args:
        app: The application inside this layer.
        hosts: Host names, without port, that this server accepts.
        max_body_bytes: Largest accepted request body.
        authenticator: Finds the caller of a session or access token.
        tokens: The CSRF tokens of this server.
        frame_ancestors: Further origins that may show the page in a frame.
        entrance: Path to which unknown browsers are redirected.
        public_paths: Paths open to unknown callers.
        body_limits: Path -> largest request body, where that differs.
        root_path: The prefix under which a reverse proxy offers the page.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str],
        max_body_bytes: int,
        authenticator: Authenticator,
        tokens: Tokens,
        frame_ancestors: Iterable[str] = (),
        *,
        entrance: str = "/login",
        public_paths: Collection[str] = PUBLIC_PATHS,
        body_limits: Mapping[str, int] = NO_LIMITS,
        root_path: str = "",
    ) -> None:
        self._app = app
        self._hosts = LOOPBACK_HOSTS | {host.lower() for host in hosts}
        self._max_body_bytes = max_body_bytes
        self._authenticator = authenticator
        self._tokens = tokens
        self._entrance = root_path + entrance
        self._public_paths = public_paths
        self._body_limits = body_limits
        self._headers = dict(SECURITY_HEADERS)
        frame_ancestors = tuple(frame_ancestors)
        self._headers["content-security-policy"] = content_security_policy(frame_ancestors)
        if not frame_ancestors:
            self._headers["x-frame-options"] = "SAMEORIGIN"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one connection, then pass it on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _WithHeaders(send, self._headers)
        scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0].lower() not in BELIEVED_HEADERS]}
        try:
            await self._answer(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception:
            # Starlette's own answer would come from outside this layer, without the headers.
            logger.exception("The call of %s failed.", scope["path"][:200].encode("ascii", "backslashreplace").decode())
            if not send.is_started:
                await _refuse(send, 500, failure_sentence(), kind=FAILED)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        session_id = session_id_of(scope)
        bearer = _bearer(headers, scope["path"])
        by_session, by_bearer = self._authenticator.by_session, self._authenticator.by_bearer
        caller = by_session(session_id) if bearer is None else by_bearer(bearer)
        max_bytes = self._body_limits.get(scope["path"], self._max_body_bytes)
        refusal = self._refusal(
            scope["method"], headers, session_id, is_program=bearer is not None and caller is not None
        )
        refusal = refusal or _length_refusal(scope["method"], headers, max_bytes)
        if COSTLY_PATHS.fullmatch(scope["path"]):
            refusal = refusal or _foreign_refusal(headers)
        if refusal:
            await _refuse(send, *refusal)
        elif caller is None and not self._is_public(scope["path"]):
            await _ask_to_log_in(scope, send, self._entrance, is_program=bearer is not None)
        elif scope["path"].startswith("/gradio_api/") and not GRADIO_PATHS.fullmatch(scope["path"]):
            await _refuse(send, 404, "This server does not offer that.")
        else:
            await self._pass(scope, _LimitedBody(receive, max_bytes), send, session_id, caller)

    def _is_public(self, path: str) -> bool:
        return path in self._public_paths or LANGUAGE_PATHS.fullmatch(path) is not None

    async def _pass(
        self, scope: Scope, body: "_LimitedBody", send: Send, session_id: str, caller: Caller | None
    ) -> None:

        async def send_if_whole(message: Message) -> None:
            if body.is_too_large:
                raise _BodyTooLargeError  # discards an answer to an incomplete body
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name in [name for name in out if name.lower().startswith("access-control-")]:
                    del out[name]  # Gradio allows reads from every origin of this machine
                self._set_cookies(out, scope, session_id)
            await send(message)

        was = CALLER.set(caller) if caller is not None else None
        try:
            await self._app(scope, body.receive, send_if_whole)
        except _BodyTooLargeError:
            await _refuse(send, 413, _too_large(body.max_bytes))
        except _BodyTooSlowError:
            await _refuse(send, 408, f"The request took longer than {body.seconds:.0f} s to arrive and was refused.")
        finally:
            if was is not None:
                CALLER.reset(was)

    def _refusal(
        self, method: str, headers: Headers, session_id: str, is_program: bool = False
    ) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if _host_name(host) not in self._hosts:
            return (
                421,
                f"This server does not answer for the host {host[:100]!r}. Use the address it printed.",
            )
        if method in SAFE_METHODS:
            return None
        foreign = _foreign_refusal(headers)
        if foreign:
            return foreign
        token = headers.get(TOKEN_HEADER, "")
        is_ours = bool(session_id) and hmac.compare_digest(token.encode(), self._tokens.of(session_id).encode())
        if not is_ours and not is_program:
            return 403, "The token is missing or old. Reload the page (programs: GET /api/v1/session first)."
        return None

    def _set_cookies(self, out: MutableHeaders, scope: Scope, session_id: str) -> None:
        """Set a browser's session cookie on the first answer, and its token cookie again after a restart."""
        if "set-cookie" in out:
            return  # login and logout set their own cookies
        token = _cookie(Headers(scope=scope), cookie_names(scope)[1])
        if session_id and hmac.compare_digest(token.encode(), self._tokens.of(session_id).encode()):
            return
        is_new = not session_id
        for value in self._tokens.cookies(scope, session_id or secrets.token_urlsafe(32), is_new=is_new):
            out.append("set-cookie", value)


class _WithHeaders:
    """A `send` that adds the security headers to every answer, refusals included."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send, self._headers = send, headers
        self.is_started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started = True
            out = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                out.setdefault(name, value)
        await self._send(message)


class _BodyTooLargeError(Exception):
    """The body has more bytes than allowed."""


class _BodyTooSlowError(Exception):
    """The body did not arrive in time."""


class _LimitedBody:
    """Limits size and time of a body while it arrives: a chunked request states no length."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self.max_bytes = max_bytes
        self.seconds = max(BODY_SECONDS, max_bytes / SLOWEST_BODY)
        """From the first call of `receive` to the last byte; a limit for each piece would not end a slow sender."""
        self._num_left = max_bytes
        self._is_complete = False
        self._deadline: float | None = None

    @property
    def is_too_large(self) -> bool:
        return self._num_left < 0

    async def receive(self) -> Message:
        if self._is_complete:
            return await self._receive()  # the next message is the disconnect, for which there is no limit
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self.seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise _BodyTooSlowError from None
        self._is_complete = not message.get("more_body", False)
        self._num_left -= len(message.get("body", b""))
        if self.is_too_large:
            raise _BodyTooLargeError
        return message


def failure_sentence() -> str:
    """Return the sentence for a caller at whose request the program failed, with the id that its log names."""
    record = REQUEST.get(None)
    found = f" under the request id {record.request_id}" if record is not None else ""
    return f"The server failed at this call; its log says why{found}."


def _foreign_refusal(headers: Headers) -> tuple[int, str] | None:
    origin = headers.get("origin")
    # Browsers send Origin with every changing request; other programs may omit it, but need the token.
    if origin is not None and _authority(origin) != headers.get("host", "").lower():
        return 403, "This call came from a page of another origin and was refused."
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return 403, "This call came from a page of another site and was refused."
    return None


def _length_refusal(method: str, headers: Headers, max_bytes: int) -> tuple[int, str] | None:
    length = headers.get("content-length", "0")
    is_fine = method in SAFE_METHODS or (length.isdecimal() and length.isascii() and int(length) <= max_bytes)
    return None if is_fine else (413, _too_large(max_bytes))


def _too_large(max_bytes: int) -> str:
    return f"The request is larger than {max_bytes:,} bytes and was refused."


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower() if host.isprintable() else ""
    except ValueError:  # malformed IPv6 address
        return ""


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _bearer(headers: Headers, path: str) -> str | None:
    """Return the access token that a program sent: as a bearer token, or as the password of Basic authentication.

    None: it sent none of the two. Empty: what it sent cannot be a token, and is refused as a wrong one is.
    """
    kind, _, secret = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return secret.strip()
    # Label Studio can send nothing else. At other paths it is a reverse proxy's password, which browsers send along.
    if kind.lower() != "basic" or not BASIC_PATHS.fullmatch(path):
        return None
    try:
        return base64.b64decode(secret.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _cookie(headers: Headers, name: str) -> str:
    # Not http.cookies: it drops all cookies when one is malformed, and other programs on this host may set such.
    return cookie_parser(headers.get("cookie", "")).get(name, "")


async def _ask_to_log_in(scope: Scope, send: Send, entrance: str, *, is_program: bool) -> None:
    wants_page = "text/html" in Headers(scope=scope).get("accept", "")
    if scope["method"] not in SAFE_METHODS or not wants_page:
        text = "This token is wrong, over or taken back." if is_program else "Log in first."
        await _refuse(send, 401, text, kind="login")
        return
    target = entrance if scope["path"] == "/" else f"{entrance}?next={quote(scope['path'])}"
    await send({"type": "http.response.start", "status": 303, "headers": [(b"location", target.encode())]})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(send: Send, status: int, message: str, kind: str = "refused") -> None:
    body = json.dumps({"error": {"kind": kind, "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
