"""A photo's list as somebody sends it to be saved."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from annotator.storage.correction_log import Effort


@dataclass(frozen=True)
class EditedList:
    """The tags of one photo, on the revision that was edited."""

    image_id: int
    revision: int
    """Of the list that the person had before them; 0 for a photo without a saved list."""
    kept: Sequence[str]
    """Tags to save, most important first."""
    dropped: Sequence[str] = ()
    """Proposals that were refused."""
    effort: Effort = field(default_factory=Effort)
    """What it cost."""
