"""The route through which Gradio's page calls the operations, in place of Gradio's own.

Gradio keeps a state for every `session_hash` that a caller makes up, and looks up whatever component it names. The page
needs neither. Knows nothing of what the operations do.
"""

import json
import logging
from collections.abc import Collection

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from annotator.auth.roles import CALLER
from annotator.errors import status_of
from annotator.json_types import JsonObject
from annotator.request_record import REQUEST
from annotator.session.operations import OPERATIONS, Dispatcher
from annotator.web.request_guard import FAILED, failure_sentence

logger = logging.getLogger(__name__)

PATH = "/gradio_api/component_server"


def build_page_router(dispatcher: Dispatcher, component_ids: Collection[int]) -> APIRouter:
    """Build the route.

    Args:
        dispatcher: Answers the operations.
        component_ids: The page's components.
    """
    router = APIRouter()

    @router.post(PATH, include_in_schema=False)
    @router.post(f"{PATH}/", include_in_schema=False)
    async def call(request: Request) -> Response:
        try:
            body = json.loads(await request.body())
            name, payload, component_id = body["fn_name"], body["data"], body["component_id"]
            is_ours = name in OPERATIONS and type(component_id) is int and component_id in component_ids
        except (ValueError, KeyError, TypeError, RecursionError):
            return _refusal(400, "The call was refused: its body is not the JSON of the page.")
        if not is_ours:
            return _refusal(404, "This server does not offer that.")
        return JSONResponse(await to_thread.run_sync(_answer, dispatcher, name, payload))

    return router


def _answer(dispatcher: Dispatcher, name: str, payload: object) -> JsonObject:
    """Answer an operation; an error is in the answer, since Gradio's client hides every other status from the page."""
    record = REQUEST.get(None)
    if record is not None:
        record.operation = name
    try:
        answer = dispatcher.call(CALLER.get(), name, payload)
    except Exception:
        logger.exception("The page's call of %s failed.", name)
        answer = {"error": {"kind": FAILED, "message": failure_sentence()}}
    error = answer.get("error")
    if record is not None and error:
        record.error_status = 500 if error["kind"] == FAILED else status_of(error["kind"])
    return answer


def _refusal(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"kind": "request", "message": message}}, status)
