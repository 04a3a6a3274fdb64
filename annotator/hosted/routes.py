"""Routes of the hosted demo alone: entering, adding photos, leaving.

Knows nothing of how a space is stored.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.datastructures import UploadFile

from annotator.auth.roles import CALLER
from annotator.errors import AnnotatorError, DemoError, UnreadableImageError
from annotator.hosted.limits import HostedLimits
from annotator.hosted.middleware import address_of
from annotator.hosted.open_space import OpenSpace
from annotator.hosted.photos import PhotoIntake, num_photos
from annotator.hosted.space import Space
from annotator.hosted.spaces import HostedSpaces
from annotator.hosted.visit import VISIT, Visitor
from annotator.web.request_guard import Tokens, cookie_names, session_id_of

ENTRANCE = "/demo"
UPLOAD_PATH = "/api/v1/demo/photos"
UPLOAD_EXTRA_BYTES = 20_000
"""Most bytes that multipart adds to a photo."""
PUBLIC_PATHS = frozenset(
    {
        ENTRANCE, "/api/v1/demo/about", "/api/v1/demo/enter", "/api/v1/health", "/api/v1/ready",
        "/ui/entrance.js", "/ui/entrance.css", "/ui/token.js", "/ui/address.js", "/ui/language.js", "/ui/texts.js",
        "/ui/static_texts.js", "/ui/problems.js", "/ui/formats.js", "/ui/elements.js",
    }
)  # fmt: skip


def build_hosted_router(
    spaces: HostedSpaces[OpenSpace],
    intake: PhotoIntake,
    read_photos: Callable[[Space[OpenSpace]], None],
    tokens: Tokens,
    assets_path: Path,
) -> APIRouter:
    """Build the routes.

    Args:
        spaces: All spaces.
        intake: Adds photos to spaces.
        read_photos: Lets a space's project read its new photos, in the background.
        tokens: The tokens of the request guard.
        assets_path: Folder of the entrance page.
    """
    router = APIRouter()
    _add_entrance(router, spaces, tokens, assets_path)
    _add_uploads(router, spaces, intake, read_photos)
    return router


def _add_entrance(router: APIRouter, spaces: HostedSpaces[OpenSpace], tokens: Tokens, assets_path: Path) -> None:
    @router.get(ENTRANCE, include_in_schema=False)
    def entrance() -> Response:
        if isinstance(CALLER.get(None), Visitor):
            return RedirectResponse(tokens.path.rstrip("/") + "/", 303)
        return FileResponse(assets_path / "entrance.html", headers={"cache-control": "no-store"})

    @router.get("/api/v1/demo/about", summary="Return the limits of the demo, without a session")
    def about() -> dict[str, Any]:
        return about_limits(spaces.limits)

    @router.post("/api/v1/demo/enter", summary="Get a space, or a place in the queue; ask again to keep it")
    def enter(request: Request) -> Response:
        if isinstance(CALLER.get(None), Visitor):
            return JSONResponse({"state": "open"})
        try:
            admission = spaces.enter(session_id_of(request.scope), address_of(request.scope))
        except DemoError as error:
            return _error(429, "demo", error)
        if not admission.session_id:
            return JSONResponse(
                {
                    "state": "waiting",
                    "position": admission.position,
                    "seconds_at_most": round(admission.seconds_at_most),
                }
            )
        # Always a new session id, against session fixation.
        response = JSONResponse({"state": "open"})
        for value in tokens.cookies(request.scope, admission.session_id, is_new=True):
            response.headers.append("set-cookie", value)
        return response

    @router.post("/api/v1/demo/leave", summary="End this space now, and delete what is in it")
    def leave(request: Request) -> Response:
        spaces.leave(VISIT.get().space)
        response = JSONResponse({})
        for name in cookie_names(request.scope):
            response.headers.append("set-cookie", f"{name}=; Path={tokens.path}; Max-Age=0; SameSite=Strict")
        return response


def _add_uploads(
    router: APIRouter,
    spaces: HostedSpaces[OpenSpace],
    intake: PhotoIntake,
    read_photos: Callable[[Space[OpenSpace]], None],
) -> None:
    @router.post(UPLOAD_PATH, summary="Add a photo: multipart, one file in the field `photo`")
    async def upload(request: Request) -> Response:
        space = VISIT.get().space
        try:
            with intake.arriving(space):
                return await _upload(request, space)
        except DemoError as error:
            return _error(409, "demo", error)

    async def _upload(request: Request, space: Space[OpenSpace]) -> Response:
        async with request.form(max_files=1, max_fields=0) as form:
            photo = form.get("photo")
            if not isinstance(photo, UploadFile):
                return _error(400, "request", DemoError("Send one file in the field 'photo', as multipart/form-data."))
            try:
                data = await asyncio.wrap_future(intake.renew(photo.file, photo.size or 0))
            except UnreadableImageError as error:
                return _error(415, "unreadable", error)
        return await run_in_threadpool(_taken, space, lambda: intake.keep(space, data, photo.filename or ""))

    @router.post("/api/v1/demo/samples", summary="Add the sample photos")
    def samples() -> Response:
        space = VISIT.get().space
        return _taken(space, lambda: intake.add_samples(space))

    def _taken(space: Space[OpenSpace], take: Callable[[], object]) -> Response:
        try:
            take()
        except AnnotatorError as error:
            return _error(409, "demo", error)
        read_photos(space)
        return JSONResponse({"num_photos": num_photos(space), "max_photos": spaces.limits.num_photos}, 201)


def about_limits(limits: HostedLimits) -> dict[str, Any]:
    """Return the limits that the entrance page shows."""
    return {
        "minutes": limits.minutes,
        "idle_minutes": limits.idle_minutes,
        "max_photos": limits.num_photos,
        "max_photo_bytes": limits.max_photo_bytes,
        "num_visitors": limits.num_visitors,
    }


def _error(status: int, kind: str, error: Exception) -> JSONResponse:
    return JSONResponse({"error": {"kind": kind, "message": str(error)}}, status)
