"""Answers operations on the hosted demo, each with the session of the visitor's own project.

A full space refuses operations that write. One training runs at a time over all visitors. No call names a space: the
session cookie alone determines it, so there is no id with which a visitor could reach the space of another.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from annotator.auth.roles import LOCAL_USER, Caller
from annotator.errors import AnnotatorError, ConfigError, DemoError, TrainingError
from annotator.exchange.selection import Selection
from annotator.exchange.transfers import Upload
from annotator.hosted.limits import HostedLimits
from annotator.hosted.open_space import OpenSpace
from annotator.hosted.photos import full_sentence, num_photos, read_names
from annotator.hosted.space import Space
from annotator.hosted.spaces import HostedSpaces
from annotator.hosted.training_queue import TrainingQueue
from annotator.hosted.visit import VISIT, Visit
from annotator.ingest.pictures import Picture
from annotator.json_types import JsonObject
from annotator.session.operations import OPERATIONS, answer, checked, malformed, refusal
from annotator.session.serializers import error_answer

Override = Callable[[Visit, str, Any], JsonObject]
"""(visit, user, checked request) -> answer."""


TRANSFER_OPERATIONS = (
    "find_photos", "preview_export", "start_export", "transfer", "cancel_transfer", "begin_import", "plan_import",
    "carry_out_import", "changes",
)  # fmt: skip
PROJECT_OPERATIONS = ("projects", "list_folder", "open_project", "close_project")
NO_TRANSFERS = "The hosted demo exports JSON Lines and CSV, and imports nothing."


class HostedDispatcher:
    """Answers every operation for whichever visitor calls.

    Args:
        limits: Limits of a visitor's space.
        trainings: Runs one training after another.
    """

    def __init__(self, limits: HostedLimits, trainings: TrainingQueue) -> None:
        self._limits = limits
        self._trainings = trainings
        self._overrides: Mapping[str, Override] = {
            "state": self._state,
            "models": self._models,
            "set_loop": self._set_loop,
            "train_now": self._train,
            "cancel_training": self._cancel,
            "submit_model": _refuse_submissions,
            **dict.fromkeys(TRANSFER_OPERATIONS, _refuse_transfer),
            **dict.fromkeys(PROJECT_OPERATIONS, _refuse_projects),
        }

    def project_name(self) -> str:
        """Return the name of the visitor's project."""
        return VISIT.get().opened().session.workspace.project.settings.name

    def project_identity(self) -> str:
        """Return nothing: no command works on a visitor's project."""
        return ""

    def call(self, caller: Caller, name: str, payload: object) -> JsonObject:
        """Answer one request of a visitor; see `annotator.session.operations.Dispatcher`."""
        operation, visit = OPERATIONS[name], VISIT.get()
        refused = refusal(caller, name)
        if refused is not None:
            return refused
        try:
            if operation.writes and visit.space.is_full:
                raise DemoError(full_sentence(self._limits))
            override = self._overrides.get(name)
            if override is not None:
                return override(visit, caller.user, checked(operation, payload))
            session = visit.opened().session
        except ValidationError as error:
            return malformed(name, error)
        except AnnotatorError as error:
            return error_answer(error)
        return answer(session, caller.user, name, payload)

    def export(self, user: str, selection: Selection, *, detailed: bool) -> Iterator[JsonObject]:
        """Yield a record for every selected photo, under the visitor's own name of it."""
        visit = VISIT.get()
        names = read_names(visit.space)
        for row in visit.opened().session.administration.export(user, selection, detailed=detailed):
            image = names.get(row["image"], row["image"])
            yield {**row, "image": image, "root": ""} | ({"name": image} if detailed else {})

    def back_up(self, *, with_features: bool) -> Path:
        """Refuse: a backup would hold this server's paths.

        Raises:
            DemoError: Always.
        """
        raise DemoError("The hosted demo makes no backups. Export the tags instead.")

    def exported(self, user: str, transfer_id: str) -> tuple[Path, str]:
        """Refuse.

        Raises:
            DemoError: Always.
        """
        raise DemoError(NO_TRANSFERS)

    def upload(self, user: str, transfer_id: str, name: str) -> Upload:
        """Refuse.

        Raises:
            DemoError: Always.
        """
        raise DemoError(NO_TRANSFERS)

    def _state(self, visit: Visit, user: str, request: object) -> JsonObject:
        """Return the state, with that of the space.

        The page calls this every second while there are no photos; it opens no space.
        """
        with visit.spaces.use_if_open(visit.space) as opened:
            state = opened.session.navigation.state(user) if opened else visit.space.remembered.get("state")
        if state is None:
            state = visit.opened().session.navigation.state(user)
        return {**state, "demo": describe(visit.spaces, visit.space)}

    def _models(self, visit: Visit, user: str, request: object) -> JsonObject:
        """Return the models and trainings; the page calls this often, and it opens no space."""
        space = visit.space
        with visit.spaces.use_if_open(space) as opened:
            state = opened.session.workspace.models.state() if opened else space.remembered.get("models")
        if state is None:
            state = visit.opened().session.workspace.models.state()
        place = None if "has_begun" in space.remembered else self._trainings.place(space.space_id)
        return {
            **state,
            "waiting": asdict(place) if place else None,
            "problem": space.remembered.get("problem", ""),
            "by_hand_only": True,
        }

    def _set_loop(self, visit: Visit, user: str, request: Any) -> JsonObject:
        """Change settings of the training loop; trainings that start by themselves are refused."""
        changes: JsonObject = request.model_dump(exclude_none=True)
        if any(changes.get(name) for name in ("train_after", "train_every_minutes")):
            raise ConfigError("In the hosted demo a training starts by hand only.")
        return visit.opened().session.workspace.models.set(changes)

    def _train(self, visit: Visit, user: str, request: object) -> JsonObject:
        """Queue a training."""
        space, models = visit.space, visit.opened().session.workspace.models
        if len(models.registry.runs(self._limits.num_trainings)) >= self._limits.num_trainings:
            raise DemoError(f"This space has had its {self._limits.num_trainings} trainings, which is the most here.")
        if models.registry.newest_event_id() == 0:
            raise TrainingError("There is no correction yet to learn from. Tag and save some photos first.")
        space.remembered.pop("problem", None)
        spaces, limits = visit.spaces, self._limits
        if not self._trainings.ask(space.space_id, lambda: train_in_space(spaces, space, limits)):
            raise TrainingError("Your training waits or runs already.")
        return {"run_id": None}

    def _cancel(self, visit: Visit, user: str, request: object) -> JsonObject:
        """Cancel the waiting or running training."""
        if self._trainings.leave(visit.space.space_id):
            return {"run_id": None}
        return visit.opened().session.workspace.models.cancel()


def _refuse_transfer(visit: Visit, user: str, request: object) -> JsonObject:
    """Refuse: the copies would need room, and the photos have other names on disk."""
    raise DemoError(NO_TRANSFERS)


def _refuse_submissions(visit: Visit, user: str, request: object) -> JsonObject:
    """Refuse: checkpoints come from a folder of the server."""
    raise DemoError("The hosted demo takes no models that were trained elsewhere.")


def _refuse_projects(visit: Visit, user: str, request: object) -> JsonObject:
    """Refuse: a visitor has one project, and sees no folder of the server."""
    raise DemoError("The hosted demo has no other projects.")


class HostedPictures:
    """The pictures of the visitor's own project."""

    def thumbnail(self, image_id: int) -> Picture:
        """Return a thumbnail from the visitor's project."""
        return VISIT.get().opened().session.workspace.pictures.thumbnail(image_id)

    def photo(self, image_id: int, *, full: bool = False) -> Picture:
        """Return a photo from the visitor's project."""
        return VISIT.get().opened().session.workspace.pictures.photo(image_id, full=full)


def train_in_space(spaces: HostedSpaces[OpenSpace], space: Space[OpenSpace], limits: HostedLimits) -> None:
    """Train in a space until it is done, takes too long, or the space is over."""
    began = time.monotonic()
    try:
        with spaces.use(space) as opened:
            models = opened.session.workspace.models
            models.train(LOCAL_USER)
            space.remembered["has_begun"] = True

            def watch(progress: JsonObject) -> None:
                if space.is_over:
                    models.close()  # ends the training process at once
                elif time.monotonic() - began > limits.training_seconds and not progress["is_cancelled"]:
                    models.cancel()

            models.wait(watch)
    except AnnotatorError as error:
        space.remembered["problem"] = str(error)
    finally:
        space.remembered.pop("has_begun", None)


def describe(spaces: HostedSpaces[OpenSpace], space: Space[OpenSpace]) -> JsonObject:
    """Return the state of a space, as the page shows it to its visitor."""
    limits = spaces.limits
    return {
        "ends_at": spaces.latest_end(space),
        "idle_minutes": limits.idle_minutes,
        "num_photos": num_photos(space),
        "max_photos": limits.num_photos,
        "max_photo_bytes": limits.max_photo_bytes,
        "is_full": space.is_full,
    }
