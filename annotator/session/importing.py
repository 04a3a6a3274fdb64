"""Imports of other programs' tags into an open project: read and planned, shown to a person, then carried out.

One import of a person at a time; nothing is written before it is carried out. Suggestions for photos that are not
tagged are planned and carried out in the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from annotator.datasets.formats import registry
from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.tagged_photo import TaggedPhoto, safe_name
from annotator.datasets.tags import tag_key
from annotator.errors import ConfigError, DataError, ForbiddenError
from annotator.exchange.importing import (
    OF_OTHERS,
    ImportPlan,
    Suggested,
    SuggestedKind,
    carry_out,
    leave_out_changed,
    plan_import,
    plan_suggestions,
)
from annotator.exchange.sources import opened_source
from annotator.exchange.transfers import Transfer, check_free
from annotator.json_types import JsonObject
from annotator.session.exporting import MOST_SHOWN, PREVIEW_ROWS
from annotator.session.workspace import Workspace
from annotator.storage.bulk_changes import BulkChanges, Kind

UPLOADED = "files"
"""Folder of the files that a person has sent, within the folder of the transfer."""
MOST_FILES = 100_000
"""Files that one import may be sent; more come as a ZIP archive."""
PART = 1_000
"""Photos of one transaction, where suggestions become lists."""


class Importing:
    """Imports of one project.

    Args:
        workspace: The open project.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._plans: dict[str, tuple[ImportPlan, str]] = {}
        """Transfer id -> (plan, what it was read from)."""

    def begin(self, user: str) -> JsonObject:
        """Begin an import; the one before of this person ends. Files can be sent to it (`target`).

        Raises:
            DataError: The disk is nearly full.
        """
        transfer = self._workspace.transfers.begin(user, "import")
        self._plans = {key: plan for key, plan in self._plans.items() if self._is_known(user, key)}
        return transfer.describe()

    def _is_known(self, user: str, transfer_id: str) -> bool:
        with suppress(ConfigError):
            self._workspace.transfers.get(user, transfer_id)
            return True
        return False

    def target(self, user: str, transfer_id: str, name: str) -> Path:
        """Return where a file that a person sends is written.

        Args:
            user: Who sends it.
            transfer_id: Of an import that was begun.
            name: Its name, or its path within a folder that is sent.

        Raises:
            ConfigError: There is no such import, or it is being read.
            DataError: The name leaves the folder or comes twice, there are too many files, or the disk is nearly full.
        """
        transfer = self._workspace.transfers.get(user, transfer_id)
        if transfer.kind != "import" or transfer.state != "open":
            raise ConfigError("This import takes no more files. Begin it anew.")
        path = transfer.folder / UPLOADED / safe_name(name, "The upload")
        if transfer.num_done >= MOST_FILES:
            raise DataError(f"At most {MOST_FILES:,} files can be sent. Send a ZIP archive of them.")
        check_free(transfer.folder)
        try:
            if path.exists():
                raise DataError(f"Two files are called {name[:80]!r}.")
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{name[:80]!r} could not be kept: {error.strerror}.") from error
        transfer.num_done += 1
        return path

    def plan(
        self,
        user: str,
        transfer_id: str,
        path: str,
        format: str,
        values: Mapping[str, Any],
        kind: Kind,
        *,
        replaces: bool,
        leaves_out: bool,
    ) -> JsonObject:
        """Begin to read the files of an import and to match their photos with the project's.

        Args:
            user: Who imports.
            transfer_id: Of an import that was begun.
            path: A file or folder of this machine, for a person at this machine; empty: the files that were sent.
            format: A name of the registry.
            values: Options of the format.
            kind: What the lists become.
            replaces: Whether saved lists and drafts are replaced.
            leaves_out: Leave out what cannot be read; otherwise it refuses all.

        Returns:
            The state of the import, see `Exporting.state`.

        Raises:
            ConfigError: There is no such format or import, it is written only, or an option is wrong.
            DataError: No file was sent.
            ForbiddenError: This person may not read files of this machine.
        """
        found = registry.find(format)
        if found.read is None:
            raise ConfigError(f"The format {found.name} is written only.")
        read, options = found.read, found.configure(values)
        transfer = self._workspace.transfers.get(user, transfer_id)
        if transfer.kind != "import":
            raise ConfigError("This is no import.")
        source = self._source(user, transfer, path)
        store, specs = self._workspace.store, self._workspace.project.settings.fields

        def work() -> JsonObject:
            report = Report()
            with opened_source(source, found, transfer.folder) as opened:
                photos = transfer.watch(read(opened, options, report))
                plan = plan_import(store, photos, kind, user, replace=replaces, specs=specs)
            if report.num_problems and not leaves_out:
                first = report.problems[0]
                raise DataError(
                    f"{report.num_problems:,} of the photos could not be read, the first is {first.photo}: "
                    f"{first.reason} Nothing was imported; the others can be imported without them."
                )
            plan.report.num_notes += report.num_notes
            plan.report.notes[:0] = report.notes
            plan.report.num_problems += report.num_problems
            plan.report.problems[:0] = report.problems
            self._plans[transfer.transfer_id] = plan, f"{found.name}: {source if path else source.name}"
            return _described(plan)

        transfer.num_photos = None
        transfer.start(work, "ready")
        return transfer.describe()

    def plan_suggestions(
        self, user: str, transfer_id: str, image_ids: Sequence[int], least: float, kind: SuggestedKind = "draft"
    ) -> JsonObject:
        """Begin to rank photos that are not tagged, to give each the suggestions that are certain enough.

        `carry_out` then stores them as this person's drafts, or as saved lists. Photos that are saved, started or asked
        about are left out, and so are those on which proposals are hidden or shuffled on purpose. Lists are not saved
        for photos that somebody else works on, nor for those of the random sample: people tag these, or nothing would
        tell how good the suggestions are.

        Args:
            user: Who.
            transfer_id: Of an import that was begun.
            image_ids: Which photos.
            least: Least probability of a suggestion.
            kind: What the suggestions become.

        Returns:
            The state of the import, see `Exporting.state`.

        Raises:
            ConfigError: There is no such import.
        """
        workspace, transfer = self._workspace, self._workspace.transfers.get(user, transfer_id)
        if transfer.kind != "import":
            raise ConfigError("This is no import.")
        is_saving = kind == "suggested"
        is_closed = self._is_closed(user)

        def suggested(image_id: int) -> tuple[int, Suggested]:
            photo = TaggedPhoto(workspace.files.name(image_id), ())
            if workspace.queue.is_saved(image_id):
                return image_id, Suggested(photo)
            if workspace.probe(image_id) or (is_saving and workspace.is_random(image_id)):
                return image_id, Suggested(photo, reason="it is in the random sample, which people tag")
            if is_saving and is_closed(image_id):
                return image_id, Suggested(photo, reason=OF_OTHERS)
            found = workspace.proposer.propose(image_id, workspace.words_of(image_id))
            taken = [proposal for proposal in found.proposals if proposal.score >= least]
            tags = [proposal.tag for proposal in taken]
            return image_id, Suggested(
                replace(photo, tags=self._as_saved(tags) if is_saving else tuple(tags)),
                found.tagger,
                tuple((proposal.tag, round(proposal.score, 4), proposal.source) for proposal in taken),
            )

        def work() -> JsonObject:
            plan = plan_suggestions(workspace.store, map(suggested, transfer.watch(image_ids)), kind, user)
            self._plans[transfer.transfer_id] = plan, f"suggestions of at least {least:.0%}"
            return {**_described(plan), "rows": self._samples(plan)}

        transfer.num_photos = len(image_ids)
        transfer.start(work, "ready")
        return transfer.describe()

    def _is_closed(self, user: str) -> Callable[[int], bool]:
        """Return a function that tells whether somebody else works on a photo."""
        is_free = self._workspace.access.is_free_for(user)
        return lambda image_id: not is_free(image_id)

    def _samples(self, plan: ImportPlan) -> list[JsonObject]:
        """Return some of the planned photos, evenly spread over all, with their thumbnails."""
        planned, num = list(plan.lists.items()), min(PREVIEW_ROWS, len(plan.lists))
        return [
            {
                "name": photo.name,
                "tags": list(photo.tags),
                "thumbnail_url": self._workspace.files.thumbnail_url(image_id),
            }
            for image_id, photo in (planned[place * len(planned) // num] for place in range(num))
        ]

    def _as_saved(self, tags: Sequence[str]) -> tuple[str, ...]:
        """Return a list in the spelling and the order that it gets when it is saved."""
        workspace = self._workspace
        return workspace.order_rules.apply(workspace.access.clean(tags, "kept"))

    def _source(self, user: str, transfer: Transfer, path: str) -> Path:
        if path:
            if not self._workspace.shows_folders(user):
                raise ForbiddenError("Files of the server's machine can be read by its own user only. Send the files.")
            return Path(path).expanduser().absolute()
        folder = transfer.folder / UPLOADED
        files = list(islice((one for one in folder.rglob("*") if one.is_file()), 2))
        if not files:
            raise DataError("No file was sent. Choose what to import.")
        return files[0] if len(files) == 1 else folder

    def carry_out(self, user: str, transfer_id: str) -> JsonObject:
        """Begin to write what an import has planned; photos that were saved since are left out.

        It is one transaction and one change. Suggestions that become lists are written in parts of `PART` photos, so
        that other saves need not wait and the person can cancel; each part is a change of its own.

        Returns:
            The state of the import, see `Exporting.state`.

        Raises:
            ConfigError: There is no such import, or it has not been read.
        """
        transfer, workspace = self._workspace.transfers.get(user, transfer_id), self._workspace
        planned = self._plans.get(transfer_id)
        if planned is None or transfer.state != "ready":
            raise ConfigError("This import has not been read yet.")
        plan, source = planned

        def in_parts() -> JsonObject:
            del self._plans[transfer_id]
            report, saved, change_ids = plan.report, 0, list[int]()
            for image_ids in transfer.watch_parts(sorted(plan.lists), PART):
                part = plan.part(image_ids)
                with workspace.lock:
                    part.lists = {i: replace(one, tags=self._as_saved(one.tags)) for i, one in part.lists.items()}
                    leave_out_changed(workspace.store, part, user, self._is_closed(user))
                    if part.lists:
                        for annotation in carry_out(workspace.store, workspace.log, part, source, user):
                            workspace.after_commit.saved(annotation)
                        change_id = BulkChanges(workspace.store, workspace.log).newest_id()
                        assert change_id is not None  # it was just made
                        change_ids.append(change_id)
                saved += len(part.lists)
                report.num_problems += part.report.num_problems
                report.problems += part.report.problems
                # Told part by part: what a cancelled or failed one has written is known too.
                transfer.result = {
                    **transfer.result, "num_written": saved, "change_ids": list(change_ids), **_left_out(report)
                }  # fmt: skip
            return {}

        def work() -> JsonObject:
            with workspace.lock:
                leave_out_changed(workspace.store, plan, user)
                annotations = carry_out(workspace.store, workspace.log, plan, source, user)
                for annotation in annotations:
                    workspace.after_commit.saved(annotation)
                newest = BulkChanges(workspace.store, workspace.log).all()[-1]
            if plan.kind == "proposal":
                workspace.after_commit.imported_words({one: workspace.words_of(one) for one in plan.lists})
            del self._plans[transfer_id]
            return {**_described(plan), "change_id": newest.change_id, "change_ids": [newest.change_id]}

        if plan.kind == "suggested":
            transfer.num_photos = len(plan.lists)
        transfer.start(in_parts if plan.kind == "suggested" else work, "done")
        return transfer.describe()

    def changes(self) -> JsonObject:
        """Return the changes of many photos at once, oldest first."""
        return {"changes": BulkChanges(self._workspace.store, self._workspace.log).described()}

    def undo_change(self, user: str, change_id: int | None) -> JsonObject:
        """Undo an import, a change of a tag or another change of many photos.

        Photos that were changed since keep their list.

        Args:
            user: Who.
            change_id: Which; None takes the newest that was not undone.

        Raises:
            NoSuchChangeError: There is none.
            StoreError: The commit failed; nothing was undone.
        """
        workspace = self._workspace
        with workspace.lock:
            undone = BulkChanges(workspace.store, workspace.log).undo(user, change_id)
            for annotation in undone.annotations:
                workspace.after_commit.saved(annotation)
            changed = workspace.tag_changes.of_bulk_change(undone.change.change_id)
            if changed is not None:
                workspace.use_tag_changes()
                if tag_key(changed.old_tag) == tag_key(changed.new_tag):
                    workspace.ranking.vocabulary.use_spelling(changed.old_tag)
        if undone.change.kind == "proposal":
            workspace.after_commit.imported_words({one: workspace.words_of(one) for one in undone.image_ids})
        return {
            "change_id": undone.change.change_id,
            "num_undone": undone.num_undone,
            "num_kept": len(undone.later),
        }


def _described(plan: ImportPlan) -> JsonObject:
    return {
        "num_planned": len(plan.lists),
        "rows": [{"name": photo.name, "tags": list(photo.tags)} for photo in islice(plan.lists.values(), PREVIEW_ROWS)],
        **_left_out(plan.report),
        "num_notes": plan.report.num_notes,
        "notes": [asdict(one) for one in plan.report.notes[:MOST_SHOWN]],
    }


def _left_out(report: Report) -> JsonObject:
    return {
        "num_left_out": report.num_problems,
        "left_out": [asdict(one) for one in report.problems[:MOST_SHOWN]],
    }
