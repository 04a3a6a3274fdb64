"""Every error a user may meet.

A message says what was wrong, the value found, and what to do next. This module is a leaf: it imports nothing of
ours, and every folder may import it. Only cli/main.py, ui/ and web/routes.py turn these errors into words for a person.
"""

from collections.abc import Sequence


class AnnotatorError(Exception):
    """Base of every foreseeable error; its text is one sentence a user can act on."""


class ConfigError(AnnotatorError):
    """A setting has a value it cannot have."""


class ProjectError(AnnotatorError):
    """A project folder is missing, damaged, of a newer version, or in use by another process."""


class StoreError(AnnotatorError):
    """The project's database could not be read or written; nothing was saved."""


class UnreadableImageError(AnnotatorError):
    """A file is not a picture this project can read: broken, truncated, too large, or of another kind."""


class UnknownImageError(AnnotatorError):
    """No image of this project has that id."""


class TagError(AnnotatorError):
    """A tag is empty, too long, or holds characters no tag may hold."""


class StaleRevisionError(AnnotatorError):
    """The photo was saved by somebody else since it was opened; nothing was overwritten.

    Args:
        message: The sentence for the user.
        revision: The revision now in the store.
        tags: The tags now in the store, most important first.
        user: Who saved them.
        saved_at: When, ISO 8601 in UTC.
    """

    def __init__(self, message: str, *, revision: int, tags: list[str], user: str, saved_at: str) -> None:
        super().__init__(message)
        self.revision = revision
        self.tags = tags
        self.user = user
        self.saved_at = saved_at


class BackboneError(AnnotatorError):
    """A backbone is unknown, or its weights are neither cached nor downloadable."""


class FeatureMismatchError(AnnotatorError):
    """Stored features come from another backbone or version than the one that is loaded."""


class RetrievalError(AnnotatorError):
    """A search was asked with vectors of another size, or no FAISS package is installed."""


class DataError(AnnotatorError):
    """A data set is missing, incomplete or damaged."""


class CheckpointError(AnnotatorError):
    """A tagger's checkpoint is missing, damaged, of another version, or made for other features."""


class TrainingError(AnnotatorError):
    """A training cannot start or go on."""


class WordVectorError(AnnotatorError):
    """Word vectors are missing, damaged, of another size, or know none of the tags."""


class AccountError(AnnotatorError):
    """An account cannot be made or changed that way."""


class LoginError(AnnotatorError):
    """A login was refused."""


class ForbiddenError(AnnotatorError):
    """The caller's role does not allow that."""


class LeaseError(AnnotatorError):
    """Somebody else has this photo open.

    Args:
        holders: Who.
    """

    def __init__(self, holders: Sequence[str]) -> None:
        who = f"{' and '.join(holders) or 'Somebody'} {'have' if len(holders) > 1 else 'has'}"
        super().__init__(f"{who} this photo open. Nothing was changed; try again when they are done.")


class ReviewError(AnnotatorError):
    """A photo is not where that could be done with it: it waits for answers, is in review, or is accepted."""


class DetectorError(AnnotatorError):
    """A detector is unknown, not installed, damaged, or could not be fetched."""


class BackupError(AnnotatorError):
    """A backup cannot be made, or cannot be restored."""


class DemoError(AnnotatorError):
    """A limit of the hosted demo is reached, or a visitor's space is over."""
