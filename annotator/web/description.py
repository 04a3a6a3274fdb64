"""The OpenAPI description of the REST interface: answers, errors by status, examples, operation ids, logins.

Knows nothing of the handlers.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.json_schema import models_json_schema

from annotator.json_types import JsonObject
from annotator.session.answers import ANSWERS, ERRORS, Revision, TagList, Time, User
from annotator.session.operations import Operation

VERSION_PATH = "/api/v1"
"""Before every path of the interface but those of pictures."""
DESCRIPTION = """
Every operation of the page is a route: `POST /api/v1/NAME` with a JSON object. Unknown fields and wrong types are
refused. An error is `{"error": {"kind", "message"}}` with a fitting status; a program decides by the kind.

A program sends an API token as a bearer token. A browser's session is a cookie, and every call that may change
something carries the token of the page in the header `X-Annotator-Token`.

Lists of tags are ranked: the most important tag comes first. A save names the revision that was edited; if somebody
saved the photo meanwhile, the answer is an error of kind `stale` with the list that is saved now.
"""


class ErrorBase(BaseModel):
    """What every error has."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    message: Annotated[str, Field(examples=["The call was refused."])]
    """A sentence for a person: what was wrong, and what to do next."""


class RequestError(ErrorBase):
    """The request is malformed, or cannot be done now."""

    kind: Literal["request"]


class LoginNeededError(ErrorBase):
    """Nobody is logged in, or the token is wrong, over or taken back."""

    kind: Literal["login"]


class ForbiddenCallError(ErrorBase):
    """The caller's role does not allow that, or the call came from a foreign page."""

    kind: Literal["forbidden", "refused", "demo"]


class UnknownPhotoError(ErrorBase):
    """The project has no such photo."""

    kind: Literal["unknown_image"]


class RefusedError(ErrorBase):
    """The request is too large or too slow, or is for another host."""

    kind: Literal["refused"]


class StaleError(ErrorBase):
    """Somebody saved the photo since it was opened; nothing was overwritten."""

    kind: Literal["stale"]
    revision: Revision
    """The revision that is saved now."""
    tags: TagList
    """The list that is saved now."""
    user: User
    """Who saved it."""
    saved_at: Time


class NotNowError(ErrorBase):
    """The state of the photo or of the training does not allow that."""

    kind: Literal["review", "training"]


class InvalidValueError(ErrorBase):
    """A tag, a setting or an account cannot be as asked."""

    kind: Literal["tag", "config", "account"]


class LeasedError(ErrorBase):
    """Somebody else has this photo open."""

    kind: Literal["leased"]


class LimitError(ErrorBase):
    """A limit of the hosted demo is reached."""

    kind: Literal["demo"]


class StorageError(ErrorBase):
    """The database cannot be read or written; nothing was saved."""

    kind: Literal["store"]
    is_full: bool = False
    """Whether the disk has no room."""


class _ErrorAnswer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RequestErrorAnswer(_ErrorAnswer):
    """Status 400."""

    error: RequestError


class LoginErrorAnswer(_ErrorAnswer):
    """Status 401."""

    error: LoginNeededError


class ForbiddenErrorAnswer(_ErrorAnswer):
    """Status 403."""

    error: ForbiddenCallError


class UnknownImageErrorAnswer(_ErrorAnswer):
    """Status 404."""

    error: UnknownPhotoError


class RefusedErrorAnswer(_ErrorAnswer):
    """Status 408, 413 or 421."""

    error: RefusedError


class StaleErrorAnswer(_ErrorAnswer):
    """Status 409, kind `stale`."""

    error: StaleError


class NotNowErrorAnswer(_ErrorAnswer):
    """Status 409, another kind."""

    error: NotNowError


class InvalidErrorAnswer(_ErrorAnswer):
    """Status 422."""

    error: InvalidValueError


class LeasedErrorAnswer(_ErrorAnswer):
    """Status 423."""

    error: LeasedError


class LimitErrorAnswer(_ErrorAnswer):
    """Status 429."""

    error: LimitError


class StorageErrorAnswer(_ErrorAnswer):
    """Status 507."""

    error: StorageError


class SessionAnswer(BaseModel):
    """Who calls, and the name of the cookie that holds the page's token."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    user: User
    role: Annotated[str, Field(examples=["annotator"])]
    project: str
    identity: str
    """For the owner of the project alone: which folder is served."""
    token_cookie: str


class UploadAnswer(BaseModel):
    """A file has arrived."""

    name: Annotated[str, Field(examples=["keywords.csv"])]


class HealthAnswer(BaseModel):
    """The server is up."""

    status: Literal["ok"]


class ReadyAnswer(BaseModel):
    """Whether the server takes requests, and what is missing until it does."""

    status: Literal["ready", "not ready"]
    missing: list[str]


EVERYWHERE: Mapping[int, tuple[Any, str]] = {
    400: (RequestErrorAnswer, "The request is malformed, or cannot be done now"),
    401: (LoginErrorAnswer, "Nobody is logged in, or the token does not count"),
    403: (ForbiddenErrorAnswer, "The caller's role does not allow that"),
    408: (RefusedErrorAnswer, "The request took too long to arrive"),
    413: (RefusedErrorAnswer, "The request is too large"),
    421: (RefusedErrorAnswer, "The request is for another host"),
    429: (LimitErrorAnswer, "A limit of the hosted demo is reached"),
    507: (StorageErrorAnswer, "The database cannot be read or written"),
}
"""Status -> answer and its description, for every operation."""
BY_KIND: Mapping[str, tuple[Any, str]] = {
    "unknown_image": (UnknownImageErrorAnswer, "The project has no such photo"),
    "stale": (StaleErrorAnswer, "The photo was saved meanwhile"),
    "review": (NotNowErrorAnswer, "The state of the photo does not allow that"),
    "training": (NotNowErrorAnswer, "The state of the training does not allow that"),
    "tag": (InvalidErrorAnswer, "A tag cannot be kept"),
    "config": (InvalidErrorAnswer, "A setting cannot have that value"),
    "account": (InvalidErrorAnswer, "There is no such account, or it cannot do that"),
    "leased": (LeasedErrorAnswer, "Somebody else has this photo open"),
}
"""Kind of error -> answer and its description."""
EXAMPLES: Mapping[str, JsonObject] = {
    "save": {"image_id": 7, "revision": 0, "kept": ["cat", "sofa"], "dropped": ["dog"]},
    "propose": {"image_id": 7, "revision": 0, "kept": ["cat"]},
    "browse": {"query": "cat", "state": "saved", "limit": 100},
    "facets": {"query": "-tag:blurred date:2019", "tag": "ca"},
    "found_ids": {"query": "folder:holiday", "sort": "date"},
    "save_search": {"name": "Cats to check", "query": "tag:cat", "state": "saved"},
    "edit_tags": {"photos": {"tag": "kitty", "state": "all"}, "add": ["cat"], "remove": ["kitty"], "is_dry_run": True},
    "put_off": {"photos": {"image_ids": [7, 8], "state": "unsaved"}},
    "change_tag": {"kind": "rename", "old": "kitty", "new": "cat", "seen_event": 42},
    "preview_tag_change": {"kind": "rename", "old": "kitty", "new": "cat"},
    "list_tags": {"query": "cat", "order": "count", "limit": 100},
    "save_group": {
        "image_id": 7, "revision": 0, "kept": ["cat", "sofa"], "members": [{"image_id": 8, "revision": 0}],
    },
    "predict_tasks": {
        "label_config": '<View><Image name="image" value="$image"/><TextArea name="tags" toName="image"/></View>',
        "tasks": [{"data": {"image": "/data/local-files/?d=holiday/beach.jpg"}}],
    },
    "preview_export": {"format": "csv", "tag": "cat"},
    "start_export": {"format": "captions", "options": {"keep": 1}},
    "find_photos": {"names": ["holiday/beach.jpg"]},
    "plan_import": {"transfer_id": "0123456789abcdef", "format": "csv", "kind": "draft"},
    "plan_suggestions": {"transfer_id": "0123456789abcdef", "photos": {"state": "unsaved"}, "least": 0.9},
    "set_field": {"image_id": 7, "field": "title", "value": "A cat on a sofa"},
    "set_order_rules": {"pinned": ["ohwx"], "classes": [["1girl"], ["*"]], "before": [["cat", "sofa"]], "most": 30},
    "reorder": {"pinned": ["ohwx"], "photos": {"tag": "cat"}, "is_dry_run": True},
    "list_folder": {"path": "~/Pictures"},
    "open_project": {"path": "~/Pictures/holiday"},
    "close_project": {"path": "/home/anna/.local/share/annotator/holiday-1a2b3c4d"},
    "set_keys": {"keys": {"save": ["Enter"]}},
    "set_strategy": {"strategy": "in_order"},
    "ask": {"people": 2, "image_ids": [7, 8]},
    "assign": {"users": ["anna"], "image_ids": [7, 8]},
    "send_back": {"image_id": 7, "note": "The main subject is missing."},
    "set_tagger": {"tagger": "cold_start"},
}  # fmt: skip
"""Operation -> a request; those of the others are made from their fields."""
FIELD_EXAMPLES: Mapping[str, Any] = {
    "image_id": 7, "revision": 0, "tag": "cat", "kept": ["cat", "sofa"], "text": "ca", "by": 1, "take": "ours",
    "entry_id": "event:3", "transfer_id": "0123456789abcdef", "run_id": 1, "model_id": 2, "shown": True,
    "submission": "0123456789abcdef",
}  # fmt: skip
"""Field of a request -> an example."""


_SCHEMAS = "#/components/schemas/"


def error_response(description: str, *models: type[BaseModel]) -> dict[str, Any]:
    """Return the description of an error for a route.

    It names the models, whose schemas `describe` adds. Given the models themselves, FastAPI would make a validator of
    each for every route, twice at every start: two thirds of the time for building the routes, and never used.
    """
    schemas = [{"$ref": f"{_SCHEMAS}{model.__name__}"} for model in models]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


INVALID = error_response("A value cannot be as asked", InvalidErrorAnswer)
UNKNOWN_IMAGE = error_response("The project has no such photo", UnknownImageErrorAnswer)


def errors_at(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the described errors of a route."""
    return {status: error_response(EVERYWHERE[status][1], EVERYWHERE[status][0]) for status in statuses}


def errors_of(name: str) -> dict[int, tuple[list[type[BaseModel]], str]]:
    """Return the models of an operation's errors and their description, by status."""
    found: dict[int, list[tuple[Any, str]]] = {status: [answer] for status, answer in EVERYWHERE.items()}
    for error in ERRORS.get(name, ()):
        found.setdefault(error.status, [])
        if BY_KIND[error.kind] not in found[error.status]:
            found[error.status].append(BY_KIND[error.kind])
    return {
        status: (list(dict.fromkeys(model for model, _ in answers)), "; or ".join(text for _, text in answers))
        for status, answers in sorted(found.items())
    }


def responses_of(name: str) -> dict[int | str, dict[str, Any]]:
    """Return the described answers of an operation, by status; the example is `describe`'s."""
    described: dict[int | str, dict[str, Any]] = {200: {"description": "Done"}}
    return described | {status: error_response(text, *models) for status, (models, text) in errors_of(name).items()}


def request_example(operation: Operation) -> JsonObject:
    """Return an example of an operation's request."""
    if operation.name in EXAMPLES:
        return dict(EXAMPLES[operation.name])
    fields = operation.request.model_fields
    return {name: FIELD_EXAMPLES[name] for name, field in fields.items() if field.is_required()}


def example_of(model: Any) -> Any:
    """Return an example of an answer, made from the examples of its fields; of several forms, the first."""
    return _example_of_schema(TypeAdapter(model).json_schema())


def _example_of_schema(whole: JsonObject) -> Any:
    def of(schema: JsonObject) -> Any:
        if "$ref" in schema:
            return of(whole["$defs"][schema["$ref"].rsplit("/", 1)[1]])
        for key in ("examples", "enum"):
            if key in schema:
                return schema[key][0]
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        if "anyOf" in schema:
            return of(schema["anyOf"][0])
        kind = schema.get("type")
        if kind == "object":
            return {name: of(part) for name, part in schema.get("properties", {}).items()}
        if kind == "array":
            return [of(schema["items"])] if "$ref" in schema.get("items", {}) else []
        plain: dict[Any, Any] = {"string": "", "integer": 1, "number": 0.5, "boolean": False, "null": None}
        return plain.get(kind)

    return of(whole)


def describe(app: FastAPI) -> None:
    """Let an app describe itself with the logins, and with one id for every operation."""

    def description() -> JsonObject:
        if not app.openapi_schema:
            found = get_openapi(
                title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes, tags=TAGS
            )
            _drop_unused_errors(found)
            _add_error_schemas(found)
            _add_examples(found)
            schemes = found.setdefault("components", {}).setdefault("securitySchemes", {})
            schemes["token"] = {"type": "http", "scheme": "bearer", "description": "An API token"}
            schemes["session"] = {
                "type": "apiKey", "in": "header", "name": "X-Annotator-Token",
                "description": "A browser's session: a cookie, and this header for calls that may change something",
            }  # fmt: skip
            found["security"] = [{"token": []}, {"session": []}]
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]


def _add_examples(description: JsonObject) -> None:
    """Add an example to the answer of every operation: here, since making them all would slow down every start."""
    for methods in description["paths"].values():
        for operation in methods.values():
            if operation.get("operationId") in ANSWERS:
                answered = operation["responses"]["200"]["content"]["application/json"]
                answered["example"] = example_of(ANSWERS[operation["operationId"]])


def _add_error_schemas(description: JsonObject) -> None:
    """Add the schemas that `error_response` names."""
    models = dict.fromkeys(model for model, _ in [*EVERYWHERE.values(), *BY_KIND.values()])
    _, whole = models_json_schema([(model, "serialization") for model in models], ref_template=f"{_SCHEMAS}{{model}}")
    description["components"]["schemas"].update(whole["$defs"])


def _drop_unused_errors(description: JsonObject) -> None:
    """Drop FastAPI's own form of an error, which it names for every route and this program never answers."""
    unused = {"$ref": "#/components/schemas/HTTPValidationError"}
    for methods in description["paths"].values():
        for operation in methods.values():
            described = operation["responses"].get("422", {})
            if described.get("content", {}).get("application/json", {}).get("schema") == unused:
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        description["components"]["schemas"].pop(name, None)


TAGS = [
    {"name": "operations", "description": "What the page can do"},
    {"name": "accounts", "description": "Login and accounts"},
    {"name": "files", "description": "Pictures, exports and backups"},
    {"name": "label studio", "description": "Label Studio's ML-backend protocol"},
    {"name": "server", "description": "Whether the server is up, and who calls"},
]
