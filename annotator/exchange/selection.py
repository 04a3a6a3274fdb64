"""Which photos of a project an export or a change is about. Knows nothing of formats."""

from dataclasses import dataclass
from typing import Literal, get_args

from annotator.datasets.tags import clean_tag
from annotator.errors import ConfigError
from annotator.storage.carriers import spellings
from annotator.storage.database import Store

State = Literal["saved", "unsaved", "empty", "all"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Selection:
    """Photos by text, tag and state."""

    query: str = ""
    """Text in the saved tags or paths, case ignored; empty finds every photo."""
    tag: str = ""
    """Only photos with this tag, in any spelling; empty takes all."""
    state: str = "saved"
    """saved, unsaved, empty (saved without tags) or all."""
    image_ids: tuple[int, ...] | None = None
    """Only these photos; None takes all."""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ConfigError(f"The state must be one of {', '.join(STATES)}; got {self.state[:40]!r}.")


SAVED_PHOTOS = Selection()
"""Every saved photo."""


def select(store: Store, selection: Selection) -> list[int]:
    """Return the ids of the selected photos, in ascending order.

    Raises:
        TagError: The tag is not a valid tag.
        StoreError: The database could not be read.
    """
    found = store.images.find(" ".join(selection.query.split()), selection.state)
    if selection.image_ids is not None:
        wanted = set(selection.image_ids)
        found = [image_id for image_id in found if image_id in wanted]
    if selection.tag:
        rows = store.rows(
            "SELECT image_id FROM annotations WHERE is_saved AND list_has_any(tags, ?::VARCHAR[])",
            [spellings(store, clean_tag(selection.tag))],
        )
        carriers = {int(row[0]) for row in rows}
        found = [image_id for image_id in found if image_id in carriers]
    return found
