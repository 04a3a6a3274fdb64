"""Order rules on many saved lists at once: what would change, and the change. Knows nothing of any one rule."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from annotator.datasets.order_rules import OrderRules
from annotator.storage.bulk_changes import BulkChanges, list_changes
from annotator.storage.correction_log import Annotation, CorrectionLog
from annotator.storage.database import Store


@dataclass(frozen=True)
class Reordered:
    """One photo whose list the rules change."""

    annotation: Annotation
    tags: tuple[str, ...]
    """After the rules."""


def plan_reordering(
    store: Store, log: CorrectionLog, image_ids: Sequence[int], rules: OrderRules
) -> Iterator[Reordered]:
    """Yield the photos whose saved lists the rules change; photos that several people are asked about stay.

    Args:
        store: The open database.
        log: The correction log on it.
        image_ids: The selected photos.
        rules: To apply.

    Raises:
        StoreError: The database could not be read.
    """
    asked = {int(row[0]) for row in store.rows("SELECT image_id FROM asked")}
    for annotation in log.annotations(image_ids):
        if annotation.is_saved and annotation.image_id not in asked:
            tags = rules.apply(annotation.tags)
            if tags != annotation.tags:
                yield Reordered(annotation, tags)


def reorder(
    store: Store, log: CorrectionLog, planned: Sequence[Reordered], rules: OrderRules, user: str
) -> list[Annotation]:
    """Save the lists, in one transaction and with one undo (`BulkChanges.undo`).

    What was shown, and by which tagger, is kept for the training on corrections.

    Raises:
        StaleRevisionError: A photo was saved meanwhile; nothing was written.
        StoreError: The commit failed; nothing was written.
    """
    lists = [(one.annotation, one.tags, one.annotation.dropped) for one in planned]
    changes = list_changes(store, lists)
    return BulkChanges(store, log).save_lists("reorder", changes, f"rules: {describe(rules)}", user)


def describe(rules: OrderRules) -> str:
    """Return the rules in a few words, for the history."""
    parts = [
        f"{len(rules.pinned)} pinned" if rules.pinned else "",
        f"{len(rules.classes)} classes" if rules.classes else "",
        ", ".join(f"{first} before {second}" for first, second in rules.before[:3]),
        f"at most {rules.most}" if rules.most else "",
    ]
    return "; ".join(part for part in parts if part) or "none"
