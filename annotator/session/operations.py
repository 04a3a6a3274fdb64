"""What may be asked of a session, by name, with the shape and limits of every question.

The page's server functions and the REST routes are both made from this table, so neither can do more than the
other. Knows nothing of HTTP or Gradio.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from annotator.auth.roles import Caller, Role
from annotator.collaboration.responses import MOST_PEOPLE
from annotator.errors import AnnotatorError, ForbiddenError
from annotator.json_types import JsonObject
from annotator.proposals.proposer import Exclusions
from annotator.session.group_tagging import MOST_PHOTOS
from annotator.session.serializers import error_answer
from annotator.session.session import Session
from annotator.storage.correction_log import Effort

Text = Annotated[str, StringConstraints(max_length=20_000)]
Tags = Annotated[list[Text], Field(max_length=1000)]
ImageId = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Payload(BaseModel):
    """Base of all questions: unknown fields and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class EmptyRequest(Payload):
    """A question without parameters."""


class ImageRequest(Payload):
    """A question about one image."""

    image_id: ImageId


class OpenRequest(Payload):
    """Open an image; null opens the one to work on now."""

    image_id: ImageId | None = None


class StepRequest(ImageRequest):
    """The image before or after one."""

    by: Literal[-1, 1]


class StripRequest(ImageRequest):
    """The images around one."""

    num_before: Annotated[int, Field(ge=0, le=100)] = 3
    num_after: Annotated[int, Field(ge=0, le=100)] = 12


class ListRequest(ImageRequest):
    """The list as it stands."""

    kept: Tags
    dropped: Tags = []
    revision: Annotated[int, Field(ge=0, le=2**31 - 2)] = 0


class ExclusionsRequest(Payload):
    """What must not speak this time."""

    without_neighbours: Annotated[list[ImageId], Field(max_length=1000)] = []
    without_sources: Annotated[list[Annotated[str, StringConstraints(max_length=40)]], Field(max_length=40)] = []


class ProposeRequest(ListRequest, ExclusionsRequest):
    """The list as it stands, and what must not speak this time."""


class TagRequest(ImageRequest):
    """A question about one tag of one image."""

    tag: Text


class ExplainRequest(TagRequest, ExclusionsRequest):
    """Why a tag is proposed, with what does not speak."""


class MissingTagsRequest(Payload):
    """A tag to look through the saved photos for."""

    tag: Text
    limit: Annotated[int, Field(ge=1, le=200)] = 200


class ChooseTaggerRequest(Payload):
    """A tagger to choose."""

    tagger: Annotated[str, StringConstraints(max_length=4000)]


Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, StringConstraints(max_length=80)]


class QueueRequest(Payload):
    """Which photo comes next; null leaves a share as it is."""

    strategy: Annotated[str, StringConstraints(max_length=100)]
    random_share: Share | None = None
    probe_share: Share | None = None


class AssignRequest(Payload):
    """Photos, named or found, and whose they are to be."""

    users: Annotated[list[Annotated[str, StringConstraints(max_length=80)]], Field(max_length=1000)]
    image_ids: Annotated[list[ImageId], Field(max_length=1_000_000)] = []
    query: Annotated[str, StringConstraints(max_length=500)] = ""
    state: Literal["all", "saved", "unsaved"] = "unsaved"


class AskRequest(AssignRequest):
    """Photos, named or found, and of how many people they are asked; users restricts who."""

    people: Annotated[int, Field(ge=0, le=MOST_PEOPLE)]
    users: Annotated[list[Annotated[str, StringConstraints(max_length=80)]], Field(max_length=1000)] = []
    share: Share = 1.0
    added_too: bool = False


class CompleteRequest(ImageRequest):
    """What is being typed."""

    text: Text
    kept: Tags = []


class ShownTag(Payload):
    """One line of the list first shown."""

    tag: Text
    score: float
    source: Annotated[str, StringConstraints(max_length=40)]


class SaveRequest(ListRequest):
    """A list to save, and what it cost."""

    shown: Annotated[list[ShownTag], Field(max_length=200)] = []
    tagger: Annotated[str, StringConstraints(max_length=200)] = ""
    seconds: Annotated[float, Field(ge=0, le=1e7)] = 0.0
    num_keys: Annotated[int, Field(ge=0, le=10**6)] = 0
    num_clicks: Annotated[int, Field(ge=0, le=10**6)] = 0
    actions: Annotated[list[list[Text | int | float | None]], Field(max_length=5000)] = []


class SaveOneRequest(SaveRequest):
    """A list to save, what it cost, and whether the next photo comes with the answer."""

    brings_next: bool = True


class ProposeGroupRequest(ProposeRequest):
    """The list as it stands, and the other photos that it is to fit."""

    members: Annotated[list[ImageId], Field(max_length=MOST_PHOTOS)] = []


class GroupMember(ImageRequest):
    """A photo to save along, and the revision that was seen of it."""

    revision: Annotated[int, Field(ge=0, le=2**31 - 2)]


class SaveGroupRequest(SaveRequest):
    """A list to save to several photos, and what it cost."""

    members: Annotated[list[GroupMember], Field(max_length=MOST_PHOTOS)] = []


Revisions = Annotated[dict[Name, Annotated[int, Field(ge=1, le=2**31 - 2)]], Field(max_length=1000)]


class ReviewRequest(Payload):
    """A photo to review; null takes the next one in review after another."""

    image_id: ImageId | None = None
    after: ImageId | None = None


class AcceptRequest(SaveRequest):
    """A list to accept, what it cost, and the revisions of the answers that were looked at."""

    seen: Revisions | None = None


class SendBackRequest(ImageRequest):
    """A photo that people are to answer again, and why; nobody named means everybody."""

    people: Annotated[list[Name], Field(max_length=1000)] = []
    note: Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]
    revision: Annotated[int, Field(ge=0, le=2**31 - 2)] = 0
    seen: Revisions | None = None


class RestoreRequest(ImageRequest):
    """An entry of a photo's time line whose list is to be current again."""

    entry_id: Annotated[str, StringConstraints(max_length=40)]
    revision: Annotated[int, Field(ge=0, le=2**31 - 2)]


class PageRequest(Payload):
    """A window on a list."""

    offset: Annotated[int, Field(ge=0, le=2**31)] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class BrowseRequest(PageRequest):
    """A window on the photos that match."""

    query: Annotated[str, StringConstraints(max_length=500)] = ""
    state: Literal["all", "saved", "unsaved", "new", "draft", "in_review", "accepted"] = "all"


class KeysRequest(Payload):
    """Actions and their keys."""

    keys: Annotated[
        dict[str, Annotated[list[Annotated[str, StringConstraints(max_length=60)]], Field(max_length=8)]],
        Field(max_length=100),
    ]


class RunRequest(Payload):
    """A training."""

    run_id: Annotated[int, Field(ge=1, le=2**31 - 1)]


class ModelRequest(Payload):
    """A model to let propose."""

    model_id: Annotated[int, Field(ge=1, le=2**31 - 1)]


class RollBackRequest(Payload):
    """A model to go back to; null is the one before."""

    model_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class LoopSettingsRequest(Payload):
    """Settings of the loop to change; null leaves one as it is."""

    train_after: int | None = None
    train_every_minutes: float | None = None
    promotes: bool | None = None
    gold_share: float | None = None
    newest_share: float | None = None
    least_photos: int | None = None
    gold_margin: float | None = None


class ChangeTagRequest(Payload):
    """A tag to rename, merge, split or alias."""

    kind: Literal["rename", "merge", "split", "alias"]
    old: Text
    new: Text
    where: Text = ""


class ShowExpectedRequest(Payload):
    """Whether the expected line is drawn."""

    shown: bool


Handler = Callable[[Session, str, Any], JsonObject]

OPERATIONS: dict[str, tuple[type[Payload], Handler]] = {
    "state": (EmptyRequest, lambda session, user, p: session.state(user)),
    "open": (OpenRequest, lambda session, user, p: session.open(user, p.image_id)),
    "step": (StepRequest, lambda session, user, p: session.step(user, p.image_id, p.by)),
    "skip": (ImageRequest, lambda session, user, p: session.skip(user, p.image_id)),
    "strip": (StripRequest, lambda session, user, p: session.strip(p.image_id, p.num_before, p.num_after, user)),
    "propose": (
        ProposeRequest,
        lambda session, user, p: session.propose(
            user,
            p.image_id,
            p.kept,
            p.dropped,
            p.revision,
            _without(p),
        ),
    ),
    "complete": (CompleteRequest, lambda session, user, p: session.complete(p.image_id, p.text, p.kept, user)),
    "explain": (ExplainRequest, lambda session, user, p: session.explain(user, p.image_id, p.tag, _without(p))),
    "heat_map": (TagRequest, lambda session, user, p: session.heat_map(p.image_id, p.tag, user)),
    "set_tagger": (ChooseTaggerRequest, lambda session, user, p: session.set_tagger(p.tagger, user)),
    "set_strategy": (
        QueueRequest,
        lambda session, user, p: session.set_strategy(p.strategy, p.random_share, p.probe_share),
    ),
    "effort_report": (EmptyRequest, lambda session, user, p: session.effort_report()),
    "save": (
        SaveOneRequest,
        lambda session, user, p: session.save(
            user, p.image_id, p.revision, p.kept, p.dropped, _effort(p), brings_next=p.brings_next
        ),
    ),
    "look_alikes": (ImageRequest, lambda session, user, p: session.look_alikes(user, p.image_id)),
    "propose_group": (
        ProposeGroupRequest,
        lambda session, user, p: session.propose_group(user, p.image_id, p.kept, p.dropped, p.members, _without(p)),
    ),
    "save_group": (
        SaveGroupRequest,
        lambda session, user, p: session.save_group(
            user,
            p.image_id,
            p.revision,
            p.kept,
            p.dropped,
            _effort(p),
            [(member.image_id, member.revision) for member in p.members],
        ),
    ),
    "undo": (EmptyRequest, lambda session, user, p: session.undo(user)),
    "hold": (ImageRequest, lambda session, user, p: session.hold(user, p.image_id)),
    "leave": (ImageRequest, lambda session, user, p: session.leave(user, p.image_id)),
    "assign": (AssignRequest, lambda session, user, p: session.assign(p.users, p.image_ids, p.query, p.state)),
    "ask": (
        AskRequest,
        lambda session, user, p: session.ask(
            user, p.people, p.users, p.image_ids, p.query, p.state, p.share, p.added_too
        ),
    ),
    "end_lease": (ImageRequest, lambda session, user, p: session.end_lease(p.image_id)),
    "retro_tag": (MissingTagsRequest, lambda session, user, p: session.retro_tag(p.tag, p.limit, user)),
    "review": (ReviewRequest, lambda session, user, p: session.review(user, p.image_id, p.after)),
    "accept": (
        AcceptRequest,
        lambda session, user, p: session.accept(user, p.image_id, p.revision, p.kept, p.dropped, _effort(p), p.seen),
    ),
    "send_back": (
        SendBackRequest,
        lambda session, user, p: session.send_back(user, p.image_id, p.revision, p.people, p.note, p.seen),
    ),
    "agreement": (EmptyRequest, lambda session, user, p: session.agreement()),
    "timeline": (ImageRequest, lambda session, user, p: session.timeline(user, p.image_id)),
    "restore": (RestoreRequest, lambda session, user, p: session.restore(user, p.image_id, p.entry_id, p.revision)),
    "history": (ImageRequest, lambda session, user, p: session.history(p.image_id, user)),
    "browse": (BrowseRequest, lambda session, user, p: session.browse(p.offset, p.limit, p.query, p.state, user)),
    "check": (EmptyRequest, lambda session, user, p: session.check()),
    "unreadable": (PageRequest, lambda session, user, p: session.unreadable(user, p.offset, p.limit)),
    "set_show_expected": (ShowExpectedRequest, lambda session, user, p: session.set_show_expected(p.shown)),
    "set_keys": (KeysRequest, lambda session, user, p: session.set_keys(p.keys)),
    "change_tag": (ChangeTagRequest, lambda session, user, p: session.change_tag(p.kind, p.old, p.new, user, p.where)),
    "tag_changes": (EmptyRequest, lambda session, user, p: session.tag_changes()),
    "models": (EmptyRequest, lambda session, user, p: session.models.state()),
    "training_run": (RunRequest, lambda session, user, p: session.models.run(p.run_id)),
    "train_now": (EmptyRequest, lambda session, user, p: {"run_id": session.models.train(user)}),
    "cancel_training": (EmptyRequest, lambda session, user, p: session.models.cancel()),
    "promote_model": (ModelRequest, lambda session, user, p: session.models.promote(p.model_id, user)),
    "roll_back": (RollBackRequest, lambda session, user, p: session.models.roll_back(user, p.model_id)),
    "set_loop": (LoopSettingsRequest, lambda session, user, p: session.models.set(p.model_dump(exclude_none=True))),
}

LEAST_ROLE: dict[str, Role] = {
    "state": Role.VIEWER,
    "open": Role.VIEWER,
    "step": Role.VIEWER,
    "strip": Role.VIEWER,
    "explain": Role.VIEWER,
    "heat_map": Role.VIEWER,
    "history": Role.VIEWER,
    "browse": Role.VIEWER,
    "unreadable": Role.VIEWER,
    "models": Role.VIEWER,
    "tag_changes": Role.VIEWER,
    "training_run": Role.VIEWER,
    "effort_report": Role.VIEWER,
    "skip": Role.ANNOTATOR,
    "propose": Role.ANNOTATOR,
    "complete": Role.ANNOTATOR,
    "save": Role.ANNOTATOR,
    "look_alikes": Role.ANNOTATOR,
    "propose_group": Role.ANNOTATOR,
    "save_group": Role.ANNOTATOR,
    "undo": Role.ANNOTATOR,
    "retro_tag": Role.ANNOTATOR,
    "hold": Role.ANNOTATOR,
    "leave": Role.ANNOTATOR,
    "timeline": Role.VIEWER,
    "restore": Role.ANNOTATOR,
    "ask": Role.REVIEWER,
    "review": Role.REVIEWER,
    "accept": Role.REVIEWER,
    "send_back": Role.REVIEWER,
    "agreement": Role.REVIEWER,
    "assign": Role.ADMIN,
    "end_lease": Role.ADMIN,
    "check": Role.ADMIN,
    "set_tagger": Role.ADMIN,
    "set_strategy": Role.ADMIN,
    "set_show_expected": Role.ADMIN,
    "set_keys": Role.ADMIN,
    "change_tag": Role.ADMIN,
    "train_now": Role.ADMIN,
    "cancel_training": Role.ADMIN,
    "promote_model": Role.ADMIN,
    "roll_back": Role.ADMIN,
    "set_loop": Role.ADMIN,
}
"""Who may ask what. An operation that is not named here is for admins."""


def answer_caller(session: Session, caller: Caller, name: str, payload: object) -> JsonObject:
    """Answer one question of somebody, if their role allows it; else like `answer`."""
    least = LEAST_ROLE.get(name, Role.ADMIN)
    if caller.role < least:
        return error_answer(
            ForbiddenError(f"{name!r} needs the role {least.label}; {caller.user} is {caller.role.label}.")
        )
    return answer(session, caller.user, name, payload)


def _without(payload: ExclusionsRequest) -> Exclusions:
    return Exclusions(frozenset(payload.without_neighbours), frozenset(payload.without_sources))


def _effort(payload: SaveRequest) -> Effort:
    return Effort(
        tagger=payload.tagger,
        shown=[shown.model_dump() for shown in payload.shown],
        actions=payload.actions,
        seconds=payload.seconds,
        num_keys=payload.num_keys,
        num_clicks=payload.num_clicks,
    )


def answer(session: Session, user: str, name: str, payload: object) -> JsonObject:
    """Answer one question; a foreseeable error is an answer too, under the key ``error``.

    Args:
        session: The open project.
        user: Who asks.
        name: A key of ``OPERATIONS``.
        payload: The question, as JSON gives it or already checked.

    Raises:
        KeyError: There is no such operation.
    """
    model, handler = OPERATIONS[name]
    try:
        checked = payload if isinstance(payload, model) else model.model_validate(payload)
        return handler(session, user, checked)
    except ValidationError as error:
        return {"error": {"kind": "request", "message": _sentence(name, error)}}
    except AnnotatorError as error:
        return error_answer(error)


def _sentence(name: str, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the payload"
    return f"The call {name!r} was refused: {where}: {first['msg']}."
