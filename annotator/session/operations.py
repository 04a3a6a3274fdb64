"""The operations on a project, by name: one table for the page, the REST routes and the commands.

Knows nothing of HTTP or Gradio.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from annotator.auth.roles import Caller, Role
from annotator.errors import AnnotatorError, ForbiddenError
from annotator.exchange.selection import Selection
from annotator.exchange.transfers import Upload
from annotator.json_types import JsonObject
from annotator.session import requests as r
from annotator.session.serializers import error_answer
from annotator.session.session import Session

ExportLinesRequest = r.ExportLinesRequest
"""Of the route that downloads tags line by line."""
Handler = Callable[[Session, str, Any], JsonObject]
"""(session, user, checked request) -> answer."""


@dataclass(frozen=True)
class Operation:
    """One operation on a project."""

    name: str
    request: type[r.Payload]
    handler: Handler
    least_role: Role
    writes: bool
    """Whether it may add to the stored data; a full space of the hosted demo refuses it."""


def _reads(name: str, request: type[r.Payload], handler: Handler, least_role: Role = Role.VIEWER) -> Operation:
    return Operation(name, request, handler, least_role, writes=False)


def _writes(name: str, request: type[r.Payload], handler: Handler, least_role: Role = Role.ANNOTATOR) -> Operation:
    return Operation(name, request, handler, least_role, writes=True)


_TABLE = (
    # Navigation
    _reads("state", r.EmptyRequest, lambda session, user, p: session.navigation.state(user)),
    _reads("open", r.OpenRequest, lambda session, user, p: session.navigation.open(user, p.image_id)),
    _reads("step", r.StepRequest, lambda session, user, p: session.navigation.step(user, p.image_id, p.by)),
    _reads(
        "strip",
        r.StripRequest,
        lambda session, user, p: session.navigation.strip(user, p.image_id, p.num_before, p.num_after),
    ),
    _reads(
        "browse",
        r.BrowseRequest,
        lambda session, user, p: session.navigation.browse(
            user, p.offset, p.limit, p.query, p.state, p.sort, p.alike_to
        ),
    ),
    _reads(
        "facets",
        r.FacetsRequest,
        lambda session, user, p: session.library.facets(user, p.query, p.state, p.tag),
    ),
    _reads(
        "found_ids",
        r.SortedRequest,
        lambda session, user, p: session.library.found_ids(user, p.query, p.state, p.sort, p.alike_to),
    ),
    _writes(
        "save_search",
        r.SaveSearchRequest,
        lambda session, user, p: session.library.save_search(
            p.name, {"query": p.query, "state": p.state, "sort": p.sort} if p.kept else None
        ),
    ),
    _writes(
        "edit_tags",
        r.EditTagsRequest,
        lambda session, user, p: session.library.edit_tags(user, p.photos.chosen(), p.edit(), is_dry_run=p.is_dry_run),
        Role.ADMIN,
    ),
    _writes(
        "put_off",
        r.PutOffRequest,
        lambda session, user, p: session.library.put_off(user, p.photos.chosen(), back=p.back),
    ),
    _reads("hold", r.ImageRequest, lambda session, user, p: session.navigation.hold(user, p.image_id), Role.ANNOTATOR),
    _reads(
        "leave", r.ImageRequest, lambda session, user, p: session.navigation.leave(user, p.image_id), Role.ANNOTATOR
    ),
    _writes("skip", r.ImageRequest, lambda session, user, p: session.navigation.skip(user, p.image_id)),
    # One photo's list
    _writes(
        "propose",
        r.ProposeRequest,
        lambda session, user, p: session.tagging.propose(
            user, p.image_id, p.kept, p.dropped, p.revision, p.exclusions()
        ),
    ),
    _reads(
        "complete",
        r.CompleteRequest,
        lambda session, user, p: session.tagging.complete(user, p.image_id, p.text, p.kept),
        Role.ANNOTATOR,
    ),
    _reads(
        "explain",
        r.ExplainRequest,
        lambda session, user, p: session.tagging.explain(user, p.image_id, p.tag, p.exclusions()),
    ),
    _reads("heat_map", r.TagRequest, lambda session, user, p: session.tagging.heat_map(user, p.image_id, p.tag)),
    _writes(
        "save",
        r.SaveOneRequest,
        lambda session, user, p: session.tagging.save(user, p.edited_list(), brings_next=p.brings_next),
    ),
    _writes("undo", r.EmptyRequest, lambda session, user, p: session.tagging.undo(user)),
    # Groups of similar photos
    _reads(
        "look_alikes",
        r.ImageRequest,
        lambda session, user, p: session.group_tagging.look_alikes(user, p.image_id),
        Role.ANNOTATOR,
    ),
    _reads(
        "propose_group",
        r.ProposeGroupRequest,
        lambda session, user, p: session.group_tagging.propose_group(
            user, p.image_id, p.kept, p.dropped, p.members, p.exclusions()
        ),
        Role.ANNOTATOR,
    ),
    _writes(
        "save_group",
        r.SaveGroupRequest,
        lambda session, user, p: session.group_tagging.save_group(
            user, p.edited_list(), [(member.image_id, member.revision) for member in p.members]
        ),
    ),
    # Assignments, review and a photo's history
    _reads("timeline", r.ImageRequest, lambda session, user, p: session.review.timeline(user, p.image_id)),
    _reads("history", r.ImageRequest, lambda session, user, p: session.review.history(user, p.image_id)),
    _writes(
        "restore",
        r.RestoreRequest,
        lambda session, user, p: session.review.restore(user, p.image_id, p.entry_id, p.revision),
    ),
    _writes(
        "ask",
        r.AskRequest,
        lambda session, user, p: session.review.ask(
            user, p.people, p.users, p.image_ids, p.query, p.state, p.share, p.added_too
        ),
        Role.REVIEWER,
    ),
    _reads(
        "review",
        r.ReviewRequest,
        lambda session, user, p: session.review.review(user, p.image_id, p.after),
        Role.REVIEWER,
    ),
    _writes(
        "accept",
        r.AcceptRequest,
        lambda session, user, p: session.review.accept(user, p.edited_list(), p.seen),
        Role.REVIEWER,
    ),
    _writes(
        "send_back",
        r.SendBackRequest,
        lambda session, user, p: session.review.send_back(user, p.image_id, p.revision, p.people, p.note, p.seen),
        Role.REVIEWER,
    ),
    _reads("agreement", r.EmptyRequest, lambda session, user, p: session.review.agreement(), Role.REVIEWER),
    _writes(
        "assign",
        r.AssignToRequest,
        lambda session, user, p: session.review.assign(
            p.users, p.image_ids, p.query, p.state, tells_before=p.tells_before
        ),
        Role.ADMIN,
    ),
    _reads("end_lease", r.ImageRequest, lambda session, user, p: session.review.end_lease(p.image_id), Role.ADMIN),
    # Tags on many photos
    _reads(
        "missing_tags",
        r.MissingTagsRequest,
        lambda session, user, p: session.tag_editing.missing_tags(user, p.tag, p.limit),
        Role.ANNOTATOR,
    ),
    _reads("tag_changes", r.EmptyRequest, lambda session, user, p: session.tag_editing.tag_changes()),
    _writes(
        "change_tag",
        r.ChangeTagRequest,
        lambda session, user, p: session.tag_editing.change_tag(user, p.kind, p.old, p.new, p.where, p.seen_event),
        Role.ADMIN,
    ),
    _reads(
        "list_tags",
        r.ListTagsRequest,
        lambda session, user, p: session.tag_overview.list_tags(p.offset, p.limit, p.query, p.order),
    ),
    _reads("tag_details", r.TagDetailsRequest, lambda session, user, p: session.tag_overview.tag_details(p.tag)),
    _reads(
        "preview_tag_change",
        r.PreviewTagChangeRequest,
        lambda session, user, p: session.tag_overview.preview_tag_change(p.kind, p.old, p.new),
        Role.ADMIN,
    ),
    # Other programs
    _reads(
        "predict_tasks",
        r.PredictTasksRequest,
        lambda session, user, p: session.label_studio.predict(
            user, p.label_config, [task.model_dump() for task in p.tasks]
        ),
    ),
    # Sidecars
    _reads("sidecars", r.EmptyRequest, lambda session, user, p: session.sidecars.sidecars(user)),
    _writes(
        "settle_sidecar",
        r.SettleSidecarRequest,
        lambda session, user, p: session.sidecars.settle(user, p.image_id, p.take),
    ),
    # Formats of other programs
    _reads("formats", r.EmptyRequest, lambda session, user, p: session.exporting.formats()),
    _reads("find_photos", r.FindPhotosRequest, lambda session, user, p: session.exporting.find_photos(p.names)),
    _reads(
        "preview_export",
        r.ExportRequest,
        lambda session, user, p: session.exporting.preview(user, p.format, p.options, p.chosen()),
    ),
    _reads(
        "start_export",
        r.ExportRequest,
        lambda session, user, p: session.exporting.start(user, p.format, p.options, p.chosen()),
    ),
    _reads("transfer", r.TransferRequest, lambda session, user, p: session.exporting.state(user, p.transfer_id)),
    _reads(
        "cancel_transfer", r.TransferRequest, lambda session, user, p: session.exporting.cancel(user, p.transfer_id)
    ),
    _writes("begin_import", r.EmptyRequest, lambda session, user, p: session.importing.begin(user), Role.ADMIN),
    _writes(
        "plan_import",
        r.PlanImportRequest,
        lambda session, user, p: session.importing.plan(
            user,
            p.transfer_id,
            p.path,
            p.format,
            p.options,
            p.kind,
            replaces=p.replaces,
            leaves_out=p.leaves_out,
        ),
        Role.ADMIN,
    ),
    _writes(
        "plan_suggestions",
        r.PlanSuggestionsRequest,
        lambda session, user, p: session.importing.plan_suggestions(
            user, p.transfer_id, session.exporting.image_ids(user, p.photos.chosen()), p.least, p.kind
        ),
        Role.ADMIN,
    ),
    _writes(
        "carry_out_import",
        r.TransferRequest,
        lambda session, user, p: session.importing.carry_out(user, p.transfer_id),
        Role.ADMIN,
    ),
    _reads("changes", r.EmptyRequest, lambda session, user, p: session.importing.changes(), Role.ADMIN),
    _writes(
        "undo_change",
        r.UndoChangeRequest,
        lambda session, user, p: session.importing.undo_change(user, p.change_id),
        Role.ADMIN,
    ),
    # Fields beside the tags, and order rules
    _writes(
        "set_field",
        r.FieldRequest,
        lambda session, user, p: session.tagging.set_field(user, p.image_id, p.field, p.value, p.was),
    ),
    _reads("order_rules", r.EmptyRequest, lambda session, user, p: session.tag_editing.order_rules()),
    _writes(
        "set_order_rules",
        r.OrderRulesRequest,
        lambda session, user, p: session.tag_editing.set_order_rules(p.model_dump()),
        Role.ADMIN,
    ),
    _writes(
        "reorder",
        r.ReorderRequest,
        lambda session, user, p: session.tag_editing.reorder(
            user,
            p.model_dump(include={"pinned", "classes", "before", "most"}),
            p.photos.chosen(),
            is_dry_run=p.is_dry_run,
        ),
        Role.ADMIN,
    ),
    # The project
    _reads(
        "unreadable",
        r.PageRequest,
        lambda session, user, p: session.administration.unreadable(user, p.offset, p.limit),
    ),
    _reads("webhooks", r.EmptyRequest, lambda session, user, p: session.administration.webhooks(), Role.ADMIN),
    _reads("effort_report", r.EmptyRequest, lambda session, user, p: session.administration.effort_report()),
    _reads("check", r.EmptyRequest, lambda session, user, p: session.administration.check(), Role.ADMIN),
    _writes(
        "set_tagger",
        r.ChooseTaggerRequest,
        lambda session, user, p: session.administration.set_tagger(user, p.tagger),
        Role.ADMIN,
    ),
    _writes(
        "set_strategy",
        r.QueueRequest,
        lambda session, user, p: session.administration.set_strategy(p.strategy, p.random_share, p.probe_share),
        Role.ADMIN,
    ),
    _writes(
        "set_show_expected",
        r.ShowExpectedRequest,
        lambda session, user, p: session.administration.set_show_expected(p.shown),
        Role.ADMIN,
    ),
    _writes(
        "set_never_proposed",
        r.NeverProposedRequest,
        lambda session, user, p: session.administration.set_never_proposed(p.tag, never=p.never),
        Role.ADMIN,
    ),
    _reads("projects", r.EmptyRequest, lambda session, user, p: session.projects.recent(user), Role.ADMIN),
    _reads("list_folder", r.FolderRequest, lambda session, user, p: session.projects.folder(user, p.path), Role.ADMIN),
    _reads(
        "open_project",
        r.OpenProjectRequest,
        lambda session, user, p: session.projects.open(user, p.path, demo=p.demo),
        Role.ADMIN,
    ),
    _reads("close_project", r.FolderRequest, lambda session, user, p: session.projects.close(user, p.path), Role.ADMIN),
    _writes("set_keys", r.KeysRequest, lambda session, user, p: session.administration.set_keys(p.keys), Role.ADMIN),
    # Learning
    _reads("models", r.EmptyRequest, lambda session, user, p: session.workspace.models.state()),
    _reads("training_run", r.RunRequest, lambda session, user, p: session.workspace.models.run(p.run_id)),
    _writes(
        "train_now",
        r.EmptyRequest,
        lambda session, user, p: {"run_id": session.workspace.models.train(user)},
        Role.ADMIN,
    ),
    _writes(
        "submit_model",
        r.SubmitRequest,
        lambda session, user, p: {"run_id": session.workspace.models.submit(p.submission, user, is_unseen=p.unseen)},
        Role.ADMIN,
    ),
    _reads("cancel_training", r.EmptyRequest, lambda session, user, p: session.workspace.models.cancel(), Role.ADMIN),
    _writes(
        "promote_model",
        r.ModelRequest,
        lambda session, user, p: session.workspace.models.promote(p.model_id, user),
        Role.ADMIN,
    ),
    _writes(
        "roll_back",
        r.RollBackRequest,
        lambda session, user, p: session.workspace.models.roll_back(user, p.model_id),
        Role.ADMIN,
    ),
    _writes(
        "set_loop",
        r.LoopSettingsRequest,
        lambda session, user, p: session.workspace.models.set(p.model_dump(exclude_none=True)),
        Role.ADMIN,
    ),
)

OPERATIONS: Mapping[str, Operation] = {operation.name: operation for operation in _TABLE}
FORMER_NAMES: Mapping[str, str] = {"retro_tag": "missing_tags"}
"""Former name of an operation -> its name; the REST routes answer both until version 0.3."""


class Dispatcher(Protocol):
    """Answers the operations: for one project, or for the hosted demo, where each visitor has a project."""

    def project_name(self) -> str:
        """Return the name of the project that the caller has open."""
        ...

    def project_identity(self) -> str:
        """Return what tells the served project folder from its copies (`Project.identity`); empty if there is none."""
        ...

    def call(self, caller: Caller, name: str, payload: object) -> JsonObject:
        """Answer one request if the caller's role allows it; a known error is answered under ``error``.

        Args:
            caller: The user and their role.
            name: A key of `OPERATIONS`.
            payload: The request, as JSON values or already checked.

        Raises:
            KeyError: There is no such operation.
        """
        ...

    def export(self, user: str, selection: Selection, *, detailed: bool) -> Iterator[JsonObject]:
        """Yield a record for every selected photo; see `Administration.export`.

        Raises:
            TagError: The selection's tag is not a valid tag.
            StoreError: The database cannot be read.
            DemoError: The visitor's space is over.
        """
        ...

    def back_up(self, *, with_features: bool) -> Path:
        """Write a backup and return its path; the caller deletes it.

        Raises:
            AnnotatorError: It cannot be made.
        """
        ...

    def exported(self, user: str, transfer_id: str) -> tuple[Path, str]:
        """Return the file of an export that is ready, and the name to offer; see `Exporting.result`.

        Raises:
            ConfigError: There is none.
        """
        ...

    def upload(self, user: str, transfer_id: str, name: str) -> Upload:
        """Return what takes the bytes of a file for an import; see `Importing.target`.

        Raises:
            AnnotatorError: It is refused.
        """
        ...


class ProjectDispatcher:
    """Answers the operations of one project.

    Args:
        session: The open project.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        # Now, while the database is open: whatever is at this path later, this folder is served.
        self._identity = session.workspace.project.identity()

    def project_name(self) -> str:
        """Return the project's name."""
        return self._session.workspace.project.settings.name

    def project_identity(self) -> str:
        """Return what tells the served project folder from its copies."""
        return self._identity

    def call(self, caller: Caller, name: str, payload: object) -> JsonObject:
        """Answer one request if the caller's role allows it; see `Dispatcher`."""
        return refusal(caller, name) or answer(self._session, caller.user, name, payload)

    def export(self, user: str, selection: Selection, *, detailed: bool) -> Iterator[JsonObject]:
        """Yield a record for every selected photo; see `Administration.export`."""
        return self._session.administration.export(user, selection, detailed=detailed)

    def back_up(self, *, with_features: bool) -> Path:
        """Write a backup and return its path; the caller deletes it."""
        return self._session.administration.back_up(with_features=with_features)

    def exported(self, user: str, transfer_id: str) -> tuple[Path, str]:
        """Return the file of an export that is ready, and the name to offer."""
        return self._session.exporting.result(user, transfer_id)

    def upload(self, user: str, transfer_id: str, name: str) -> Upload:
        """Return what takes the bytes of a file for an import."""
        return Upload(self._session.importing.target(user, transfer_id, name))


def refusal(caller: Caller, name: str) -> JsonObject | None:
    """Return the error answer for a caller whose role does not allow an operation; None when it does."""
    least = OPERATIONS[name].least_role
    if caller.role >= least:
        return None
    return error_answer(ForbiddenError(f"{name!r} needs the role {least.label}; {caller.user} is {caller.role.label}."))


def answer(session: Session, user: str, name: str, payload: object) -> JsonObject:
    """Answer one request without checking the user's role; a known error is answered under ``error``.

    Raises:
        KeyError: There is no such operation.
    """
    operation = OPERATIONS[name]
    try:
        return operation.handler(session, user, checked(operation, payload))
    except ValidationError as error:
        return malformed(name, error)
    except AnnotatorError as error:
        return error_answer(error)


def checked(operation: Operation, payload: object) -> r.Payload:
    """Return the payload as the operation's request.

    Raises:
        ValidationError: It does not have the request's fields.
    """
    return payload if isinstance(payload, operation.request) else operation.request.model_validate(payload)


def malformed(name: str, error: ValidationError) -> JsonObject:
    """Return the error answer for a malformed request."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the payload"
    return {"error": {"kind": "request", "message": f"The call {name!r} was refused: {where}: {first['msg']}."}}
