"""A photo's list as a client sends it to be saved."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from annotator.storage.correction_log import Effort


@dataclass(frozen=True)
class EditedList:
    """The tags of one photo, and the revision that was edited."""

    image_id: int
    revision: int
    """Revision of the list that was edited; 0 for a photo without a saved list."""
    kept: Sequence[str]
    """Tags to save, most important first."""
    dropped: Sequence[str] = ()
    """Proposals that were refused."""
    effort: Effort = field(default_factory=Effort)
    """Actions and time spent on it."""
