"""Answers the paths that the REST interface had before it got a version: ``/api/NAME`` is ``/api/v1/NAME``.

Around everything else, so that all other layers know one path for each route. Knows nothing of the routes.
"""

from collections.abc import Mapping
from posixpath import dirname, relpath
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotator.session.operations import FORMER_NAMES
from annotator.web.description import VERSION_PATH

FORMER_PATHS: Mapping[str, str] = {
    "/openapi.json": f"{VERSION_PATH}/openapi.json",
    **{f"/api/{former}": f"{VERSION_PATH}/{name}" for former, name in FORMER_NAMES.items()},
}
"""Former path -> path, where more than the version differs."""


class FormerPaths:
    """Passes calls of former paths on; the answer names the present one.

    Args:
        app: The application inside this layer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        path = present_path(scope["path"]) if scope["type"] == "http" else None
        if path is None:
            await self._app(scope, receive, send)
            return

        # Relative, since a proxy may offer this server under a prefix.
        successor = quote(relpath(path, dirname(scope["path"])))

        async def send_with_successor(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                out["deprecation"] = "@1795910400"  # RFC 9745: since 2026-11-29
                out["link"] = f'<{successor}>; rel="successor-version"'
            await send(message)

        await self._app({**scope, "path": path, "raw_path": quote(path).encode()}, receive, send_with_successor)


def present_path(path: str) -> str | None:
    """Return the present path for a former one; None for a path that is no former one."""
    if path in FORMER_PATHS:
        return FORMER_PATHS[path]
    is_former = path.startswith("/api/") and not path.startswith(f"{VERSION_PATH}/")
    return f"{VERSION_PATH}/{path.removeprefix('/api/')}" if is_former else None
