"""Tags of other programs into a project: which list goes to which photo, what is left out and why.

Everything is read and matched before the first write; the write is one transaction. Knows nothing of any one format.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.photo_fields import CATEGORY, DESCRIPTION, TITLE, FieldSpec
from annotator.datasets.tags import tag_key
from annotator.errors import DataError
from annotator.exchange.matching import PhotoFinder
from annotator.storage.bulk_changes import BulkChanges, Kind
from annotator.storage.correction_log import Annotation, CorrectionLog, ListChange
from annotator.storage.database import Store


@dataclass
class ImportPlan:
    """What an import will do."""

    kind: Kind
    lists: dict[int, TaggedPhoto] = field(default_factory=dict)
    """Image id -> the photo with its list, as the source has it."""
    report: Report = field(default_factory=Report)
    """The photos that are left out (as problems), each with the reason."""
    replaces: bool = False
    """Whether saved lists, or drafts, are replaced."""
    fields: dict[int, dict[str, str]] = field(default_factory=dict)
    """Image id -> field -> value, of the project's fields that the source has."""
    revisions: dict[int, int] = field(default_factory=dict)
    """Image id -> revision of the saved list when it was planned, of photos that had one."""
    shown: dict[int, "Suggested"] = field(default_factory=dict)
    """Image id -> the suggestions that became its list, of suggested lists."""

    def part(self, image_ids: Sequence[int]) -> "ImportPlan":
        """Return the plan of some of its photos, with a report of its own."""
        return replace(self, lists={one: self.lists[one] for one in image_ids}, report=Report(len(image_ids)))


@dataclass(frozen=True)
class Suggested:
    """The suggestions for one photo that are certain enough."""

    photo: TaggedPhoto
    """With them as its list."""
    tagger: str = ""
    """Name and version of the tagger that proposed them."""
    proposals: tuple[tuple[str, float, str], ...] = ()
    """(tag, probability, source) of each, best first."""
    reason: str = ""
    """Why the photo is left out, whatever is suggested; empty: it is not."""

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The suggestions as `Effort.shown` has them."""
        return [{"tag": tag, "score": score, "source": source} for tag, score, source in self.proposals]


SuggestedKind = Literal["draft", "suggested"]
"""What suggestions become: drafts of the person, or saved lists."""


def plan_import(
    store: Store,
    photos: Iterable[TaggedPhoto],
    kind: Kind,
    user: str,
    *,
    replace: bool,
    specs: Sequence[FieldSpec] = (),
) -> ImportPlan:
    """Match the photos of a source with those of the project.

    Args:
        store: The open database.
        photos: From a format's reader.
        kind: What the lists become.
        user: Who imports; drafts will be theirs.
        replace: Whether saved lists (of drafts: existing drafts) are replaced.
        specs: The project's fields; a value that one does not take is left out and noted.

    Raises:
        DataError: The source is not of its format, or names one photo twice with different lists.
    """
    plan = ImportPlan(kind, replaces=replace, revisions=_revisions(store))
    finder = PhotoFinder.of(store)
    taken = _taken(store, kind, user, replace)
    for photo in photos:
        match = finder.find(photo)
        reason = match.reason
        if match.image_id is not None:
            earlier = plan.lists.get(match.image_id)
            if earlier is not None:
                if earlier.tags != photo.tags:
                    raise DataError(
                        f"{earlier.name} and {photo.name} are one photo of the project, with different tags. "
                        "Nothing was imported; keep one of the two."
                    )
                continue
            reason = taken.get(match.image_id, "") if photo.tags else "it has no tags there"
        if reason or match.image_id is None:
            plan.report.refuse(photo.name, reason)
        else:
            plan.lists[match.image_id] = photo
            plan.report.num_photos += 1
            values = _field_values(photo, specs, plan.report)
            if values:
                plan.fields[match.image_id] = values
    return plan


def plan_suggestions(
    store: Store, photos: Iterable[tuple[int, Suggested]], kind: SuggestedKind, user: str
) -> ImportPlan:
    """Plan lists of suggestions for photos that are known by their ids.

    Photos that are saved, started or asked about are left out.

    Args:
        store: The open database.
        photos: (image id, what is suggested for it).
        kind: What the lists become.
        user: Who; drafts will be theirs.

    Raises:
        StoreError: The database could not be read.
    """
    plan = ImportPlan(kind, revisions=_revisions(store))
    taken = _taken(store, kind, user, replaces=False)
    for image_id, suggested in photos:
        photo = suggested.photo
        reason = taken.get(image_id) or suggested.reason or ("" if photo.tags else "no suggestion is that certain")
        if reason:
            plan.report.refuse(photo.name, reason)
            continue
        plan.lists[image_id] = photo
        plan.report.num_photos += 1
        if kind == "suggested":
            plan.shown[image_id] = suggested
    return plan


def _field_values(photo: TaggedPhoto, specs: Sequence[FieldSpec], report: Report) -> dict[str, str]:
    given = {**photo.fields, TITLE: photo.title, DESCRIPTION: photo.description, CATEGORY: photo.category}
    values = {}
    for spec in specs:
        try:
            value = spec.clean(given.get(spec.name, ""))
        except DataError as error:
            report.note(photo.name, f"A field was left out: {error}")
            continue
        if value:
            values[spec.name] = value
    return values


def _rows(store: Store, query: str, among: Sequence[int] | None) -> list[tuple[Any, ...]]:
    """Return the rows of a query with a WHERE, of some images or (None) of all."""
    if among is None:
        return store.rows(query)
    return store.rows(f"{query} AND image_id IN (SELECT unnest(?::INTEGER[]))", [list(among)])


def _revisions(store: Store, among: Sequence[int] | None = None) -> dict[int, int]:
    rows = _rows(store, "SELECT image_id, revision FROM annotations WHERE true", among)
    return {int(image_id): int(revision) for image_id, revision in rows}


def _taken(store: Store, kind: Kind, user: str, replaces: bool, among: Sequence[int] | None = None) -> dict[int, str]:
    """Return image id -> why its list is not replaced."""
    if kind == "proposal":
        return {}
    rows = _rows(store, "SELECT image_id FROM asked WHERE true", among)
    asked = {int(row[0]): "several people are asked about it" for row in rows}
    if replaces:
        return asked
    saved = {
        int(image_id): f"{who} has saved it already"
        for image_id, who in _rows(store, "SELECT image_id, user_name FROM annotations WHERE is_saved", among)
    }
    drafts = _rows(store, "SELECT image_id, user_name FROM drafts WHERE true", among)
    drafted = {int(i): f"{who} has a draft of it" for i, who in drafts if kind != "draft" or who == user}
    return drafted | saved | asked


OF_OTHERS = "somebody else has it open, or is to tag it"
"""Why a photo is left out that another person works on."""


def leave_out_changed(
    store: Store, plan: ImportPlan, user: str, is_closed: Callable[[int], bool] = lambda image_id: False
) -> None:
    """Leave out the photos whose list has been saved, or asked for, since the import was planned.

    Between this call and `carry_out`, nothing may be saved.

    Args:
        store: The open database.
        plan: What is left of it will be carried out.
        user: Who.
        is_closed: Tells whether somebody else works on a photo now.

    Raises:
        StoreError: The database could not be read.
    """
    if plan.kind == "proposal":
        return
    among = list(plan.lists)
    taken, revisions = _taken(store, plan.kind, user, plan.replaces, among), _revisions(store, among)
    for image_id, photo in list(plan.lists.items()):
        reason = taken.get(image_id, "")
        if not reason and revisions.get(image_id) != plan.revisions.get(image_id):
            reason = "it was saved meanwhile"
        if not reason and is_closed(image_id):
            reason = OF_OTHERS
        if reason:
            del plan.lists[image_id]
            plan.report.num_photos -= 1
            plan.report.refuse(photo.name, reason)


def carry_out(store: Store, log: CorrectionLog, plan: ImportPlan, source: str, user: str) -> list[Annotation]:
    """Write what an import has planned, in one transaction.

    Args:
        store: The open database.
        log: The correction log on it.
        plan: From `plan_import` or `plan_suggestions`.
        source: Format and file, for the history.
        user: Who.

    Returns:
        The new lists, of accepted and suggested ones.

    Raises:
        DataError: No photo is left.
        StaleRevisionError: A photo was saved meanwhile; nothing was written.
        StoreError: The commit failed; nothing was written.
    """
    if not plan.lists:
        first = plan.report.problems[:1]
        why = f"; the first is {first[0].photo}: {first[0].reason}" if first else ""
        raise DataError(f"There is nothing to import: no photo of {plan.report.num_problems:,} is left{why}.")
    changes = BulkChanges(store, log)
    fields = {image_id: values for image_id, values in plan.fields.items() if image_id in plan.lists}
    if plan.kind == "accepted":
        lists = [_list_change(log.annotation(image_id), photo) for image_id, photo in sorted(plan.lists.items())]
        return changes.save_lists("accepted", lists, source, user, fields)
    if plan.kind == "suggested":
        lists = [_suggested_change(log.annotation(i), photo, plan.shown[i]) for i, photo in sorted(plan.lists.items())]
        return changes.save_lists("suggested", lists, source, user)
    if plan.kind == "draft":
        drafts = {i: (log.annotation(i).revision, photo.tags) for i, photo in sorted(plan.lists.items())}
        changes.save_drafts(drafts, source, user, fields)
    else:
        known = {int(i): tuple(tags) for i, tags in store.rows("SELECT image_id, user_tags FROM images")}
        words = {i: _joined(photo.tags, known[i]) for i, photo in sorted(plan.lists.items())}
        changes.save_words(words, source, user, fields)
    return []


def _list_change(annotation: Annotation, photo: TaggedPhoto) -> ListChange:
    keys = {tag_key(tag) for tag in photo.tags}
    dropped = [tag for tag in (*annotation.dropped, *photo.dropped) if tag_key(tag) not in keys]
    return ListChange(annotation, photo.tags, tuple(dict.fromkeys(dropped)))


def _suggested_change(annotation: Annotation, photo: TaggedPhoto, suggested: Suggested) -> ListChange:
    """Return the change that makes suggestions a list, with what was suggested and by which tagger."""
    return replace(_list_change(annotation, photo), tagger=suggested.tagger, shown=suggested.shown)


def _joined(first: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    keys = {tag_key(tag) for tag in first}
    return (*first, *(tag for tag in others if tag_key(tag) not in keys))
