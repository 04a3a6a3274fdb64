"""Changes of tags on many photos: rename, merge, split, delete, alias, parent; the search for missing tags."""

from annotator.datasets.order_rules import OrderRules, rules_from
from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import ConfigError, TagError
from annotator.exchange.reordering import plan_reordering, reorder
from annotator.json_types import JsonObject
from annotator.proposals.missing_tags import UNKNOWN_NOTE, rank_candidates
from annotator.session.exporting import PREVIEW_ROWS, Chosen, Exporting
from annotator.session.photo_view import PhotoView
from annotator.session.workspace import Workspace
from annotator.storage.bulk_changes import BulkChanges
from annotator.storage.correction_log import Annotation


class TagEditing:
    """Changes of tags across the photos of a project.

    Args:
        workspace: The open project.
        view: Answers about photos.
        exporting: Knows which photos are chosen.
    """

    def __init__(self, workspace: Workspace, view: PhotoView, exporting: Exporting) -> None:
        self._workspace = workspace
        self._exporting = exporting
        self._access = workspace.access
        self._view = view

    def missing_tags(self, user: str, tag: str, limit: int) -> JsonObject:
        """Return the saved photos that probably lack a tag, the likeliest first; changes nothing.

        Photos on which the tag was dropped, or which this user may not change, are left out. `num_likely` is how many
        score like those that carry it. `note` is empty unless nothing is known of the tag and the order is arbitrary.

        Raises:
            TagError: The text is not a valid tag.
            WordVectorError: The word vectors of the open vocabulary are damaged.
        """
        workspace, features = self._workspace, self._workspace.features
        tag = workspace.ranking.vocabulary.spelling(clean_tag(tag))
        carriers, others = (
            [image_id for image_id in ids if image_id in features]
            for ids in workspace.ranking.tagged_photos.saved_with(tag)
        )
        found = rank_candidates(
            tag, features.vectors(carriers), features.vectors(others), workspace.catalog.open_vocabulary
        )
        items: list[JsonObject] = []
        num_left_out = 0
        for place, candidate in enumerate(found.order[: max(limit, found.num_likely)].tolist()):
            image_id = others[candidate]
            annotation = workspace.log.annotation(image_id)
            is_dropped = tag_key(tag) in map(tag_key, annotation.dropped)
            if is_dropped or self._access.assigned_to_other(user, image_id):
                num_left_out += place < found.num_likely
            elif len(items) < limit:
                items.append(self._candidate(image_id, annotation))
        return {
            "tag": tag,
            "num_examples": len(carriers),
            "num_likely": found.num_likely - num_left_out,
            "note": "" if found.is_informed else UNKNOWN_NOTE,
            "items": items,
        }

    def _candidate(self, image_id: int, annotation: Annotation) -> JsonObject:
        return {
            "image_id": image_id,
            **self._view.shown(image_id),
            "kept": list(annotation.tags),
            "dropped": list(annotation.dropped),
            "revision": annotation.revision,
        }

    def change_tag(
        self, user: str, kind: str, old: str, new: str, where: str = "", seen_event: int | None = None
    ) -> JsonObject:
        """Rename, merge, split, delete or alias a tag, or put it below another; the log is extended, not edited.

        All photos change in one transaction, which `Importing.undo_change` undoes.

        Args:
            user: Who changes it.
            kind: One of storage.tag_changes.KINDS.
            old: The present tag.
            new: The new tag, or the parent.
            where: Text to find in the tags or paths of the photos that a split changes.
            seen_event: The newest event when the change was previewed: if a photo that it concerns was saved since,
                nothing is changed. None: there was no preview.

        Raises:
            TagError: A tag cannot be kept, the kind does not fit the tags in use, or a split concerns no photo.
            StaleRevisionError: A photo was saved since the preview; nothing was written.
            StoreError: The commit failed; nothing was written.
        """
        workspace = self._workspace
        words = " ".join(where.split())
        if (kind == "split") != bool(words):
            raise TagError("A split needs a text that tells which photos it concerns; the other changes take none.")
        with workspace.lock:
            names = workspace.ranking.vocabulary.aliases_with
            among = set(workspace.store.images.find(words, "saved", names)) if words else None
            # A renamed tag keeps its number of photos.
            before = workspace.after_commit.counts_of([new] if kind in ("merge", "split") else [])
            num_photos, change_id = workspace.tag_changes.apply(
                kind, old, new, user, workspace.after_commit.saved, among, seen_event
            )
            workspace.use_tag_changes()
            if kind == "rename" and tag_key(old) == tag_key(new):
                workspace.ranking.vocabulary.use_spelling(clean_tag(new))
            now_common = workspace.after_commit.now_common(before)
        return {"num_photos": num_photos, "now_common": now_common, "change_id": change_id}

    def order_rules(self) -> JsonObject:
        """Return the rules that a list gets when it is saved; empty: none."""
        return {"order_rules": self._workspace.project.settings.order_rules}

    def set_order_rules(self, values: JsonObject) -> JsonObject:
        """Store the rules that a list gets when it is saved; without any, lists stay as they are.

        Raises:
            ConfigError: The rules contradict each other, or hold a bad tag.
        """
        rules = rules_from(values)
        stored = rules.values() if rules != OrderRules() else {}
        return {"order_rules": self._workspace.project.update_settings(order_rules=stored).order_rules}

    def reorder(self, user: str, values: JsonObject, chosen: Chosen, *, is_dry_run: bool) -> JsonObject:
        """Apply order rules to the saved lists of chosen photos, in one transaction and with one undo.

        Args:
            user: Who.
            values: The rules; none at all means those of the project.
            chosen: Which photos.
            is_dry_run: Only return what would change.

        Raises:
            ConfigError: There is no rule, or they contradict each other.
            StaleRevisionError: A photo was saved meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
        """
        workspace = self._workspace
        rules = rules_from(values, group_of=workspace.vocabulary.group_of)
        if rules == OrderRules():
            rules = workspace.order_rules
        if rules == OrderRules():
            raise ConfigError("Name a rule: pinned, classes, before or most.")
        change_id = None
        with workspace.lock:
            image_ids = self._exporting.image_ids(user, chosen)
            planned = list(plan_reordering(workspace.store, workspace.log, image_ids, rules))
            if planned and not is_dry_run:
                for annotation in reorder(workspace.store, workspace.log, planned, rules, user):
                    workspace.after_commit.saved(annotation)
                change_id = BulkChanges(workspace.store, workspace.log).newest_id()
        return {
            "num_photos": len(image_ids),
            "num_changed": len(planned),
            "is_dry_run": is_dry_run,
            "change_id": change_id,
            "rows": [
                {
                    "name": workspace.files.name(one.annotation.image_id),
                    "before": list(one.annotation.tags),
                    "after": list(one.tags),
                }
                for one in planned[:PREVIEW_ROWS]
            ],
        }

    def tag_changes(self) -> JsonObject:
        """Return all changes of tags, oldest first."""
        return {"changes": [change.to_json() for change in self._workspace.tag_changes.all()]}
