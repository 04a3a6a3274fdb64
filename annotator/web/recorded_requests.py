"""Gives each request an id and tells observers how it was answered; refuses new ones while the server ends.

The outermost layer of a server, so that refusals of all others are seen too. Knows nothing of metrics and traces.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotator.auth.addresses import Networks
from annotator.request_record import REQUEST, WELL_FORMED_ID, RequestRecord, new_request_id
from annotator.session.operations import OPERATIONS
from annotator.web.description import VERSION_PATH
from annotator.web.former_paths import present_path
from annotator.web.readiness import HEALTH_PATH, READY_PATH, Readiness

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "x-request-id"
RETRY_SECONDS = 5
"""After which a caller that was refused may try again."""
PROBE_PATHS = frozenset({HEALTH_PATH, READY_PATH})

Observer = Callable[[RequestRecord], AbstractContextManager[None]]
"""Called with each request; the context lasts until it is answered, and its record is complete when it is left."""

_OTHER_OPERATIONS = frozenset(
    {
        "session", "health", "ready", "export", "exported", "uploads", "backup", "proof", "login", "logout", "users",
        "openapi.json", "label_studio/health", "label_studio/setup", "label_studio/predict",
        "demo/about", "demo/enter", "demo/leave", "demo/photos", "demo/samples",
    }
)  # fmt: skip
"""Paths below the version's that belong to no operation of the table."""
_FOLDERS = {"image": "get_image", "thumbnail": "get_thumbnail", "ui": "page_file", "api": "other"}
"""First part of a path -> the name under which all paths below it are counted."""
PAGE = "page"


def operation_of(path: str) -> str:
    """Return the name under which a request is counted, by its path without the server's prefix.

    It is one of a fixed set: what is no operation, picture or file of ours is the page's, or, below /api, "other".
    """
    name = (present_path(path) or path).removeprefix(f"{VERSION_PATH}/")
    if name in OPERATIONS or name in _OTHER_OPERATIONS:
        return name.replace("/", "_").removesuffix(".json")
    return _FOLDERS.get(path.strip("/").partition("/")[0], PAGE)


class RecordedRequests:
    """Records every request.

    Args:
        app: The application inside this layer.
        readiness: Whether the server takes new requests.
        trusted_proxies: Addresses or networks whose request ids and trace contexts are taken over.
        root_path: The prefix under which a reverse proxy offers the page.
        observers: Called with each request.
    """

    def __init__(
        self,
        app: ASGIApp,
        readiness: Readiness,
        trusted_proxies: Sequence[str] = (),
        root_path: str = "",
        observers: Sequence[Observer] = (),
    ) -> None:
        self._app = app
        self._readiness = readiness
        self._trusted = Networks(trusted_proxies)
        self._root_path = root_path
        self._observers = tuple(observers)
        self.num_in_progress = 0
        """Requests that are being answered, probes not counted."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if self._root_path and path.startswith(f"{self._root_path}/"):
            path = path[len(self._root_path) :]
        is_probe = (present_path(path) or path) in PROBE_PATHS
        record = self._new_record(scope, path)

        is_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                record.status = record.error_status or message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = record.request_id
            await send(message)

        was = REQUEST.set(record)
        self.num_in_progress += not is_probe
        began = time.perf_counter()
        try:
            with ExitStack() as stack:
                for observer in self._observers:
                    stack.enter_context(observer(record))
                try:
                    if self._readiness.is_draining and not is_probe:
                        await _refuse(send_with_id)
                    else:
                        await self._app(scope, receive, send_with_id)
                except asyncio.CancelledError:
                    if not self._readiness.is_draining:
                        raise
                    # Its time is over (Server.shutdown); Uvicorn would log a traceback.
                    if not is_started:
                        await _refuse(send_with_id)
                except Exception:
                    record.status = 500
                    raise
                finally:
                    record.seconds = time.perf_counter() - began
                    _log(record, logging.DEBUG if is_probe else logging.INFO)
        finally:
            self.num_in_progress -= not is_probe
            REQUEST.reset(was)

    def _new_record(self, scope: Scope, path: str) -> RequestRecord:
        record = RequestRecord(operation_of(path), _METHODS.get(scope["method"], "OTHER"), new_request_id())
        client = scope.get("client")
        if client and str(client[0]) in self._trusted:
            headers = Headers(scope=scope)
            given = headers.get(REQUEST_ID_HEADER, "")
            if WELL_FORMED_ID.fullmatch(given):
                record.request_id = given
            record.trace_parent = headers.get("traceparent", "")
        return record


_METHODS = {name: name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}


def _log(record: RequestRecord, level: int) -> None:
    milliseconds = 1000 * record.seconds
    logger.log(level, "%s %s: %d in %.0f ms", record.method, record.operation, record.status, milliseconds)


async def _refuse(send: Send) -> None:
    message = "The server is being ended, and takes no new requests. Try again in a moment."
    body = json.dumps({"error": {"kind": "refused", "message": message}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(RETRY_SECONDS).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
