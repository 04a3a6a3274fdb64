"""The REST routes: every operation, pictures by id, the page's files, exports and backups.

Knows nothing of the database or of models. Security is a layer around the whole app (web/request_guard.py).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, Body, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

from annotator.auth.roles import CALLER, LOCAL_USER, Role
from annotator.errors import (
    AnnotatorError,
    ConfigError,
    DemoError,
    StoreError,
    TagError,
    UnknownImageError,
    UnreadableImageError,
    status_of,
)
from annotator.exchange.export import FORMATS, export_lines
from annotator.exchange.selection import Selection
from annotator.ingest.pictures import Picture
from annotator.session.answers import ANSWERS
from annotator.session.operations import OPERATIONS, Dispatcher, ExportLinesRequest, Operation
from annotator.web.counted_stream import CountedRows, counted_stream
from annotator.web.description import (
    INVALID,
    UNKNOWN_IMAGE,
    VERSION_PATH,
    HealthAnswer,
    ReadyAnswer,
    SessionAnswer,
    UploadAnswer,
    errors_at,
    request_example,
    responses_of,
)
from annotator.web.picture_pool import (
    BytesSent,
    PicturePool,
    PicturePools,
    PictureResponse,
    TooManyPicturesError,
    too_many,
)
from annotator.web.readiness import HEALTH_PATH, READY_PATH, Readiness
from annotator.web.request_guard import cookie_names

UPLOAD_PATH = f"{VERSION_PATH}/uploads"
IMMUTABLE = "private, max-age=31536000, immutable"
"""A picture's URL contains its content hash, so its content never changes."""


class PictureSource(Protocol):
    """Provides thumbnails and photos."""

    def thumbnail(self, image_id: int) -> Picture:
        """Return a photo's thumbnail."""
        ...

    def photo(self, image_id: int, *, full: bool = False) -> Picture:
        """Return a photo for showing; ``full`` for zooming."""
        ...


def build_router(
    dispatcher: Dispatcher,
    pictures: PictureSource,
    assets_path: Path,
    readiness: Readiness,
    pools: PicturePools | None = None,
) -> APIRouter:
    """Build the routes.

    Args:
        dispatcher: Answers the operations.
        pictures: Provides thumbnails and photos.
        assets_path: Folder of the page's files.
        readiness: Whether the server takes requests.
        pools: The threads that make pictures; None: new ones.
    """
    router = APIRouter()
    for operation in OPERATIONS.values():
        _add_operation(router, dispatcher, operation)
    _add_server_routes(router, dispatcher, readiness)
    _add_project_routes(router, dispatcher)
    _add_file_routes(router, pictures, assets_path, pools or PicturePools())
    return router


def _add_server_routes(router: APIRouter, dispatcher: Dispatcher, readiness: Readiness) -> None:
    @router.get(
        f"{VERSION_PATH}/session",
        summary="Get who calls, and the cookies that a browser's other calls need",
        operation_id="get_session",
        response_model=SessionAnswer,
        responses=errors_at(401, 421),
        tags=["server"],
    )
    def get_session(request: Request) -> dict[str, str]:
        caller = CALLER.get()
        return {
            "user": caller.user,
            "role": caller.role.label,
            "project": dispatcher.project_name(),
            "identity": dispatcher.project_identity() if caller.user == LOCAL_USER else "",
            "token_cookie": cookie_names(request.scope)[1],
        }

    @router.get(
        HEALTH_PATH,
        summary="Return that the server is up, without a session",
        operation_id="get_health",
        response_model=HealthAnswer,
        responses=errors_at(421),
        tags=["server"],
    )
    async def get_health() -> dict[str, str]:  # needs no thread: it answers while all of them are busy
        return {"status": "ok"}

    @router.get(
        READY_PATH,
        summary="Return whether the server takes requests, without a session; 503 with what is missing if it does not",
        operation_id="get_ready",
        response_model=ReadyAnswer,
        responses=errors_at(421) | {503: {"model": ReadyAnswer, "description": "The server takes no requests now"}},
        tags=["server"],
    )
    async def get_ready() -> Response:
        missing = await run_in_threadpool(readiness.missing)
        values = {"status": "not ready" if missing else "ready", "missing": missing}
        return JSONResponse(values, 503 if missing else 200, headers={"cache-control": "no-store"})


def _add_project_routes(router: APIRouter, dispatcher: Dispatcher) -> None:
    @router.get(
        f"{VERSION_PATH}/export",
        summary="Download the tags of every saved photo, or of those that are selected",
        operation_id="export",
        response_class=Response,
        responses=errors_at(400, 401, 421, 507) | {200: _LINES},
        tags=["files"],
    )
    def export(
        format: str = "jsonl", query: str = "", tag: str = "", state: str = "saved", detailed: bool = False
    ) -> Response:
        return _export(dispatcher, format, lambda: Selection(query, tag, state), detailed=detailed)

    @router.post(
        f"{VERSION_PATH}/export",
        summary="Download the tags of the photos that are selected, by their ids too",
        operation_id="export_selected",
        response_class=Response,
        responses=errors_at(400, 401, 403, 413, 421, 507) | {200: _LINES},
        tags=["files"],
    )
    def export_selected(asked: ExportLinesRequest) -> Response:
        selection = asked.chosen().selection
        return _export(dispatcher, asked.format, lambda: selection, detailed=asked.detailed)

    @router.get(
        f"{VERSION_PATH}/exported",
        summary="Download an export that is ready (start_export)",
        operation_id="exported",
        response_class=Response,
        responses=errors_at(400, 401, 421, 429)
        | {200: _binary("application/octet-stream", "The file, or a ZIP archive of a folder"), 422: INVALID},
        tags=["files"],
    )
    def exported(transfer_id: str) -> Response:
        try:
            path, name = dispatcher.exported(CALLER.get().user, transfer_id)
        except AnnotatorError as error:
            return _error(error.status, error.kind, str(error))
        return FileResponse(path, filename=name, media_type="application/octet-stream")

    @router.post(
        UPLOAD_PATH,
        summary="Send a file to an import (begin_import); for admins",
        operation_id="upload",
        response_model=UploadAnswer,
        responses=errors_at(400, 401, 403, 408, 413, 421, 429) | {422: INVALID},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
        tags=["files"],
    )
    async def receive_upload(request: Request, transfer_id: str, name: str) -> Response:
        caller = CALLER.get()
        if caller.role < Role.ADMIN:
            return _error(403, "forbidden", "Imports are for admins.")
        try:
            with await run_in_threadpool(dispatcher.upload, caller.user, transfer_id, name) as upload:
                async for chunk in request.stream():
                    await run_in_threadpool(upload.write, chunk)
        except AnnotatorError as error:
            return _error(error.status, error.kind, str(error))
        return JSONResponse({"name": name})

    @router.get(
        f"{VERSION_PATH}/backup",
        summary="Download a backup of the project; for admins",
        operation_id="backup",
        response_class=Response,
        responses=errors_at(401, 403, 421, 507) | {200: _binary("application/x-tar", "A tar file")},
        tags=["files"],
    )
    def backup(features: bool = True) -> Response:
        if CALLER.get().role < Role.ADMIN:
            return _error(403, "forbidden", "Backups are for admins.")
        try:
            path = dispatcher.back_up(with_features=features)
        except DemoError as error:
            return _error(403, "demo", str(error))
        except AnnotatorError as error:
            return _error(507, "store", str(error))
        name = "project.tar"
        return FileResponse(path, media_type="application/x-tar", filename=name, background=BackgroundTask(path.unlink))


def _export(dispatcher: Dispatcher, format: str, select: Callable[[], Selection], *, detailed: bool) -> Response:
    if format not in FORMATS:
        return _error(400, "request", f"The format {format[:40]!r} is unknown. Formats: {', '.join(FORMATS)}.")
    media_type, suffix = FORMATS[format]
    try:
        rows = CountedRows(dispatcher.export(CALLER.get().user, select(), detailed=detailed))
        name = f'attachment; filename="tags.{suffix}"'
        return counted_stream(rows, export_lines(rows, format), media_type, {"content-disposition": name})
    except (ConfigError, TagError, StoreError, DemoError) as error:
        return _error(error.status, error.kind, str(error))


def _add_file_routes(router: APIRouter, pictures: PictureSource, assets_path: Path, pools: PicturePools) -> None:
    for_thumbnails, for_photos, sent = pools.thumbnails, pools.photos, pools.sent

    @router.get(
        "/thumbnail/{image_id}",
        summary="A photo's thumbnail",
        operation_id="get_thumbnail",
        response_class=Response,
        responses=_PICTURE,
        tags=["files"],
    )
    async def thumbnail(image_id: int) -> Response:
        return await _picture(for_thumbnails, sent, lambda: pictures.thumbnail(image_id))

    @router.get(
        "/image/{image_id}",
        summary="A photo, for showing or (full=1) for zooming",
        operation_id="get_image",
        response_class=Response,
        responses=_PICTURE,
        tags=["files"],
    )
    async def image(image_id: int, full: bool = False) -> Response:
        return await _picture(for_photos, sent, lambda: pictures.photo(image_id, full=full))

    found = (path for path in assets_path.rglob("*") if path.suffix in {".js", ".css", ".svg"})
    files = {path.relative_to(assets_path).as_posix(): path for path in found}

    @router.get("/ui/{name:path}", include_in_schema=False)
    def asset(name: str) -> Response:
        if name not in files:
            return _error(404, "request", "There is no such file.")
        return FileResponse(files[name], headers={"cache-control": "no-cache"})


def _add_operation(router: APIRouter, dispatcher: Dispatcher, operation: Operation) -> None:
    example = Body(..., openapi_examples={"example": {"value": request_example(operation)}})

    def call(payload: Any = example) -> Response:
        result = dispatcher.call(CALLER.get(), operation.name, payload)
        error = result.get("error")
        return JSONResponse(result, status_of(error["kind"]) if error else 200)

    call.__annotations__["payload"] = operation.request
    router.add_api_route(
        f"{VERSION_PATH}/{operation.name}",
        call,
        methods=["POST"],
        summary=operation.request.__doc__,
        description=f"Least role: {operation.least_role.label}.",
        operation_id=operation.name,
        response_model=ANSWERS[operation.name],
        responses=responses_of(operation.name),
        tags=["operations"],
    )


def _binary(media_type: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}


_LINES: dict[str, Any] = {
    "description": "One JSON object a line (jsonl), or a table (csv)",
    "content": {media_type: {"schema": {"type": "string"}} for media_type, _ in FORMATS.values()},
}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: _binary("image/jpeg", "The picture"),
    404: UNKNOWN_IMAGE,
    **errors_at(400, 401, 421, 429, 507),
}


async def _picture(pool: PicturePool[Picture], sent: BytesSent, make: Callable[[], Picture]) -> Response:
    try:
        picture = await pool.run(make)
    except TooManyPicturesError:
        return too_many()
    except (UnknownImageError, UnreadableImageError) as error:
        return _error(404, "unknown_image", str(error))
    except DemoError as error:
        return _error(429, "demo", str(error))
    except StoreError as error:
        return _error(507, "store", str(error))
    # The sandbox keeps a file that was replaced since the ingest from running scripts in this origin.
    headers = {"cache-control": IMMUTABLE, "content-security-policy": "sandbox; default-src 'none'"}
    return PictureResponse(picture.data, picture.media_type, headers, sent)


def _error(status: int, kind: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"kind": kind, "message": message}}, status)


async def refuse_malformed(request: Request, error: Exception) -> JSONResponse:
    """Answer a malformed body in the same form as every other error; for ``app.add_exception_handler``."""
    if isinstance(error, HTTPException):
        return _error(error.status_code, "request", f"The call was refused: {error.detail}.")
    assert isinstance(error, RequestValidationError)  # registered for these two only
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    return _error(400, "request", f"The call was refused: {where}: {first['msg']}.")
