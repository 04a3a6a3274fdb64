"""Serves an app under a path prefix, behind a reverse proxy that takes the prefix off or passes it on.

Knows nothing of the app.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """Takes the prefix off every path that has it; the prefix alone is redirected to the page.

    Args:
        app: The application, whose paths have no prefix.
        root_path: The prefix, without a slash at its end.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one connection."""
        root = self._root_path
        if scope["type"] == "http" and scope["path"] == root:
            # Relative addresses of the page count from its folder.
            headers = [(b"location", f"{root}/".encode()), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 308, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["type"] == "http" and scope["path"].startswith(f"{root}/"):
            scope = {**scope, "path": scope["path"][len(root) :]}
            raw = scope.get("raw_path")
            if raw is not None and raw.startswith(f"{root}/".encode()):
                scope["raw_path"] = raw[len(root) :]
        await self._app(scope, receive, send)
