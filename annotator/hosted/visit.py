"""One visitor's call on the hosted demo: the call's own session and pictures, whoever's it is.

The routes and the page are built once, on stand-ins that look up the visitor's own project for the length of a call.
No call names a space: it follows from the session cookie alone, so there is no id by which a visitor could ask for
another one's. Knows nothing of how spaces come and go.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from annotator.auth.roles import LOCAL_USER, Caller, Role
from annotator.errors import AnnotatorError, ConfigError, DemoError, TrainingError
from annotator.hosted.limits import HostedLimits
from annotator.hosted.photos import full_sentence, num_photos, read_names
from annotator.hosted.spaces import HostedSpaces, Space
from annotator.hosted.training_queue import TrainingQueue
from annotator.ingest.pictures import Picture, Pictures
from annotator.json_types import JsonObject
from annotator.learning.loop import ModelLoop
from annotator.session.session import Session

READS = frozenset(
    {
        "browse", "check", "complete", "effort_report", "explain", "export", "heat_map", "history", "hold", "leave",
        "models", "look_alikes", "open", "project", "propose_group", "retro_tag", "state", "step", "strip",
        "tag_changes", "unreadable",
    }
)  # fmt: skip
"""What a session still does for a space that is full; whatever is not named here may write."""


class VisitorsProject(Protocol):
    """The parts of an open project that a visitor's calls reach."""

    session: Session
    pictures: Pictures
    models: ModelLoop

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True)
class Visitor(Caller):
    """Somebody with a space."""

    space: Space[VisitorsProject]


class VisitorAuthenticator:
    """Lets in whoever has a space; everybody may do everything in their own.

    Args:
        spaces: Knows whose session is whose.
    """

    has_login = True

    def __init__(self, spaces: HostedSpaces[VisitorsProject]) -> None:
        self._spaces = spaces

    def by_session(self, session_id: str) -> Caller | None:
        """Return who has this browser session; None for nobody."""
        space = self._spaces.find(session_id)
        return None if space is None else Visitor(LOCAL_USER, Role.ADMIN, space)

    def by_bearer(self, secret: str) -> Caller | None:
        """Return None: there are no tokens here."""
        return None


class Visit:
    """A visitor's space for the length of one call; opened when it is first needed."""

    def __init__(self, spaces: HostedSpaces[VisitorsProject], space: Space[VisitorsProject]) -> None:
        self.spaces = spaces
        self.space = space
        self._uses = ExitStack()
        self._lock = threading.Lock()
        self._opened: VisitorsProject | None = None

    def opened(self) -> VisitorsProject:
        """Return the visitor's project.

        Raises:
            DemoError: The space is over, or too many are in use.
        """
        with self._lock:
            if self._opened is None:
                self._opened = self._uses.enter_context(self.spaces.use(self.space))
            return self._opened

    def end(self) -> None:
        """Let the space be closed again."""
        self._uses.close()


VISIT: ContextVar[Visit] = ContextVar("visit")
"""Set for each call of a visitor; threads that serve the call see it, too."""


class VisitorPictures:
    """Stands in for `Pictures`: those of the visitor's own project."""

    def thumbnail(self, image_id: int) -> Picture:
        """Return a thumbnail of the visitor's own."""
        return VISIT.get().opened().pictures.thumbnail(image_id)

    def photo(self, image_id: int, *, full: bool = False) -> Picture:
        """Return a photo of the visitor's own."""
        return VISIT.get().opened().pictures.photo(image_id, full=full)


class VisitorSession:
    """Stands in for `Session`: whatever is asked of it, the visitor's own session answers.

    Args:
        limits: What a visitor may use up.
        turns: Whose turn it is to train.
    """

    def __init__(self, limits: HostedLimits, turns: TrainingQueue) -> None:
        self._limits = limits
        self._turns = turns

    def __getattr__(self, name: str) -> Any:
        visit = VISIT.get()
        if name not in READS and visit.space.is_full:
            raise DemoError(full_sentence(self._limits))
        return getattr(visit.opened().session, name)

    @property
    def models(self) -> "QueuedModels":
        """The models of the visitor's own project."""
        return QueuedModels(VISIT.get(), self._limits, self._turns)

    def state(self, user: str) -> JsonObject:
        """Return the state, and what the page tells of the space.

        The page asks for it every second as long as there are no photos; that opens no space.
        """
        visit = VISIT.get()
        with visit.spaces.use_if_open(visit.space) as opened:
            answer = opened.session.state(user) if opened else visit.space.remembered.get("state")
        if answer is None:
            answer = visit.opened().session.state(user)
        return {**answer, "demo": describe(visit.spaces, visit.space)}

    def export(self, user: str) -> Iterator[dict[str, Any]]:
        """Yield a record for every saved photo, under the visitor's own name of it."""
        visit = VISIT.get()
        names = read_names(visit.space)
        for row in visit.opened().session.export(user):
            yield {**row, "image": names.get(row["image"], row["image"]), "root": ""}

    def back_up(self, *, with_features: bool) -> Path:
        """Refuse: a backup would hold this server's paths.

        Raises:
            DemoError: Always.
        """
        raise DemoError("The hosted demo makes no backups. Export the tags instead.")


class QueuedModels:
    """Stands in for `ModelLoop`: trainings wait for their turn.

    Args:
        visit: Whose.
        limits: How many trainings, and how long.
        turns: The queue.
    """

    def __init__(self, visit: Visit, limits: HostedLimits, turns: TrainingQueue) -> None:
        self._visit = visit
        self._limits = limits
        self._turns = turns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._visit.opened().models, name)

    def state(self) -> JsonObject:
        """Return what the page shows of models; the page asks often, and that opens no space."""
        space = self._visit.space
        with self._visit.spaces.use_if_open(space) as opened:
            answer = opened.models.state() if opened else space.remembered.get("models")
        if answer is None:
            answer = self._visit.opened().models.state()
        turn = self._turns.turn(space.space_id)
        if "has_begun" in space.remembered:
            turn = None
        return {
            **answer,
            "waiting": asdict(turn) if turn else None,
            "problem": space.remembered.get("problem", ""),
            "by_hand_only": True,
        }

    def set(self, changes: JsonObject) -> JsonObject:
        """Change settings of the loop.

        Raises:
            ConfigError: A value is not allowed, or trainings would start by themselves.
        """
        if any(changes.get(name) for name in ("train_after", "train_every_minutes")):
            raise ConfigError("In the hosted demo a training starts by hand only.")
        answer: JsonObject = self._visit.opened().models.set(changes)
        return answer

    def train(self, user: str) -> None:
        """Queue a training.

        Raises:
            DemoError: This space has had all its trainings, or is full.
            TrainingError: There is nothing to learn from, or one waits or runs already.
        """
        space, models = self._visit.space, self._visit.opened().models
        if space.is_full:
            raise DemoError(full_sentence(self._limits))
        if len(models.log.runs(self._limits.num_trainings)) >= self._limits.num_trainings:
            raise DemoError(f"This space has had its {self._limits.num_trainings} trainings, which is the most here.")
        if models.log.newest_event_id() == 0:
            raise TrainingError("There is no correction yet to learn from. Tag and save some photos first.")
        space.remembered.pop("problem", None)
        spaces, limits = self._visit.spaces, self._limits
        if not self._turns.ask(space.space_id, lambda: train_in_turn(spaces, space, limits)):
            raise TrainingError("Your training waits or runs already.")

    def cancel(self) -> JsonObject:
        """Cancel the training that waits or runs.

        Raises:
            TrainingError: None does.
        """
        if self._turns.leave(self._visit.space.space_id):
            return {"run_id": None}
        return self._visit.opened().models.cancel()


def train_in_turn(spaces: HostedSpaces[VisitorsProject], space: Space[VisitorsProject], limits: HostedLimits) -> None:
    """Train in a space until it is done, takes too long, or the space is over."""
    began = time.monotonic()
    try:
        with spaces.use(space) as opened:
            opened.models.train(LOCAL_USER)
            space.remembered["has_begun"] = True

            def watch(progress: JsonObject) -> None:
                if space.is_over:
                    opened.models.close()  # kills the process: nobody waits for it
                elif time.monotonic() - began > limits.training_seconds and not progress["is_cancelled"]:
                    opened.models.cancel()

            opened.models.wait(watch)
    except AnnotatorError as error:
        space.remembered["problem"] = str(error)
    finally:
        space.remembered.pop("has_begun", None)


def describe(spaces: HostedSpaces[VisitorsProject], space: Space[VisitorsProject]) -> JsonObject:
    """Return what the page tells a visitor of their space."""
    limits = spaces.limits
    return {
        "ends_at": spaces.latest_end(space),
        "idle_minutes": limits.idle_minutes,
        "num_photos": num_photos(space),
        "max_photos": limits.num_photos,
        "max_photo_bytes": limits.max_photo_bytes,
        "is_full": space.is_full,
    }
