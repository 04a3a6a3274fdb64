"""The routes of Label Studio's ML-backend protocol: health, setup, predict.

Label Studio sends more fields than are used here. Knows nothing of the handlers.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from annotator.auth.roles import CALLER
from annotator.errors import status_of
from annotator.session.answers import Predictions
from annotator.session.operations import Dispatcher
from annotator.web.description import INVALID, VERSION_PATH, errors_at

ROOT = f"{VERSION_PATH}/label_studio"


class StudioTask(BaseModel):
    """A task of Label Studio."""

    data: Annotated[dict[str, Any], Field(examples=[{"image": "/data/local-files/?d=holiday/beach.jpg"}])]


class PredictCall(BaseModel):
    """Tasks to predict for, as Label Studio sends them."""

    tasks: Annotated[list[StudioTask], Field(max_length=1000)]
    label_config: Annotated[str, Field(max_length=1_000_000)]


class SetupCall(BaseModel):
    """A project of Label Studio that is connected."""

    label_config: Annotated[str, Field(alias="schema", max_length=1_000_000)] = ""


class SetupAnswer(BaseModel):
    """The model that predicts."""

    model_version: str


class UpAnswer(BaseModel):
    """The backend is up."""

    status: Literal["UP"]
    model_class: str


def build_label_studio_router(dispatcher: Dispatcher) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["label studio"])

    @router.get(
        f"{ROOT}/health",
        summary="Say that the backend is up",
        operation_id="label_studio_health",
        response_model=UpAnswer,
        responses=errors_at(401, 421),
    )
    def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "annotator"}

    @router.post(
        f"{ROOT}/setup",
        summary="Connect a project of Label Studio",
        operation_id="label_studio_setup",
        response_model=SetupAnswer,
        responses=errors_at(400, 401, 403, 413, 421, 507) | {422: INVALID},
    )
    def setup(payload: SetupCall) -> Response:
        # An interface that cannot take tags is refused now, not at the first task.
        checked = {"label_config": payload.label_config, "tasks": []}
        answer = dispatcher.call(CALLER.get(), "predict_tasks", checked)
        if "error" not in answer:
            answer = dispatcher.call(CALLER.get(), "state", {})
        return _answered(answer if "error" in answer else {"model_version": answer["tagger"]})

    @router.post(
        f"{ROOT}/predict",
        summary="Return predictions for tasks",
        operation_id="label_studio_predict",
        response_model=Predictions,
        responses=errors_at(400, 401, 403, 413, 421, 507) | {422: INVALID},
    )
    def predict(payload: PredictCall) -> Response:
        return _answered(dispatcher.call(CALLER.get(), "predict_tasks", payload.model_dump()))

    return router


def _answered(answer: dict[str, Any]) -> Response:
    error = answer.get("error")
    return JSONResponse(answer, status_of(error["kind"]) if error else 200)
