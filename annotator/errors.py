"""Every error a user may meet.

A message says what was wrong, the value found, and what to do next. This module is a leaf: it imports nothing of
ours, and every folder may import it. Only cli/main.py, ui/ and web/routes.py show these errors to a person.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class AnnotatorError(Exception):
    """Base of every foreseeable error; its text is one sentence a user can act on."""

    kind: ClassVar[str] = "request"
    """Names the error in JSON; the page decides by it what to do."""
    status: ClassVar[int] = 400
    """HTTP status of the response."""

    def details(self) -> dict[str, Any]:
        """Return what the JSON error holds beside kind and message."""
        return {}


class ConfigError(AnnotatorError):
    """A setting has a value it cannot have."""

    kind = "config"
    status = 422


class ProjectError(AnnotatorError):
    """A project folder is missing, damaged, of a newer version, or in use by another process."""

    kind = "store"
    status = 507


class StoreError(AnnotatorError):
    """The project's database could not be read or written; nothing was saved.

    Args:
        message: The sentence for the user.
        is_full: Whether the disk has no room.
    """

    kind = "store"
    status = 507

    def __init__(self, message: str, *, is_full: bool = False) -> None:
        super().__init__(message)
        self.is_full = is_full

    def details(self) -> dict[str, Any]:
        """Return whether the disk is full, if it is."""
        return {"is_full": True} if self.is_full else {}


class UnreadableImageError(AnnotatorError):
    """A file is not a picture this project can read: broken, truncated, too large, or of another kind."""


class RemoteError(AnnotatorError):
    """A store of photos does not answer, refuses, or lacks what was asked for.

    Args:
        message: One sentence that names the address.
        is_missing: The store says that it is not there.
    """

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


class UnknownImageError(AnnotatorError):
    """No image of this project has that id."""

    kind = "unknown_image"
    status = 404


class TagError(AnnotatorError):
    """A tag is empty, too long, or holds characters no tag may hold."""

    kind = "tag"
    status = 422


class StaleRevisionError(AnnotatorError):
    """The photo was saved by somebody else since it was opened; nothing was overwritten.

    Args:
        message: The sentence for the user.
        revision: The revision now in the store.
        tags: The tags now in the store, most important first.
        user: Who saved them.
        saved_at: When, ISO 8601 in UTC.
    """

    kind = "stale"
    status = 409

    def __init__(self, message: str, *, revision: int, tags: list[str], user: str, saved_at: str) -> None:
        super().__init__(message)
        self.revision = revision
        self.tags = tags
        self.user = user
        self.saved_at = saved_at

    def details(self) -> dict[str, Any]:
        """Return the list that is saved now, by whom and when."""
        return {"revision": self.revision, "tags": self.tags, "user": self.user, "saved_at": self.saved_at}


class BackboneError(AnnotatorError):
    """A backbone is unknown, or its weights are neither cached nor downloadable."""


class EndpointError(AnnotatorError):
    """A vision-language model cannot be reached, is late, or its endpoint does not answer as one.

    Args:
        message: The sentence for the user.
        is_lasting: Whether the next request would fail in the same way.
        wait_seconds: How long the endpoint asks to wait.
    """

    def __init__(self, message: str, *, is_lasting: bool = False, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.is_lasting = is_lasting
        self.wait_seconds = wait_seconds


class AnswerError(AnnotatorError):
    """A vision-language model's answer about one photo is of no use.

    Args:
        message: The sentence for the user.
        num_tokens: What it cost.
    """

    def __init__(self, message: str, num_tokens: int = 0) -> None:
        super().__init__(message)
        self.num_tokens = num_tokens


class FeatureMismatchError(AnnotatorError):
    """Stored features come from another backbone or version than the one that is loaded."""


class RetrievalError(AnnotatorError):
    """A search was asked with vectors of another size, or no FAISS package is installed."""


class DataError(AnnotatorError):
    """A data set is missing, incomplete or damaged."""


class ShardError(AnnotatorError):
    """Shards of embedded photos are incomplete, damaged, foreign, or do not fit the project."""


class CheckpointError(AnnotatorError):
    """A tagger's checkpoint is missing, damaged, of another version, or made for other features."""

    kind = "config"
    status = 422


class TrainingError(AnnotatorError):
    """A training cannot start or go on."""

    kind = "training"
    status = 409


class WordVectorError(AnnotatorError):
    """Word vectors are missing, damaged, of another size, or know none of the tags."""


class AccountError(AnnotatorError):
    """An account cannot be made or changed that way."""

    kind = "account"
    status = 422


class LoginError(AnnotatorError):
    """A login was refused."""

    kind = "login"
    status = 401


class ForbiddenError(AnnotatorError):
    """The caller's role does not allow that."""

    kind = "forbidden"
    status = 403


class LeaseError(AnnotatorError):
    """Somebody else has this photo open.

    Args:
        holders: Who.
    """

    kind = "leased"
    status = 423

    def __init__(self, holders: Sequence[str]) -> None:
        who = f"{' and '.join(holders) or 'Somebody'} {'have' if len(holders) > 1 else 'has'}"
        super().__init__(f"{who} this photo open. Nothing was changed; try again when they are done.")


class ReviewError(AnnotatorError):
    """The state of a photo does not allow that: responses are outstanding, it is in review, or it is accepted."""

    kind = "review"
    status = 409


class DetectorError(AnnotatorError):
    """A detector is unknown, not installed, damaged, or could not be fetched."""


class BackupError(AnnotatorError):
    """A backup cannot be made, or cannot be restored."""


class DemoError(AnnotatorError):
    """A limit of the hosted demo is reached, or a visitor's space is over."""

    kind = "demo"
    status = 429


def status_of(kind: str) -> int:
    """Return the HTTP status of an error answer, by its kind.

    Raises:
        KeyError: No error is of that kind.
    """
    errors: list[type[AnnotatorError]] = [AnnotatorError, *AnnotatorError.__subclasses__()]
    return {error.kind: error.status for error in errors}[kind]
