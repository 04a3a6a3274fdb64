"""The library: facets of the photos that a search finds, and edits of the tags of many photos."""

from collections import Counter
from collections.abc import Callable, Sequence

from annotator.datasets.tags import clean_tag, search_key, tag_key
from annotator.errors import ConfigError
from annotator.exchange.tag_edits import PlannedEdit, TagEdit, carry_out_edit, plan_edit
from annotator.json_types import JsonObject
from annotator.session.exporting import PREVIEW_ROWS, Chosen, Exporting
from annotator.session.navigation import Navigation
from annotator.session.workspace import Workspace
from annotator.storage.bulk_changes import BulkChanges

MOST_SEARCHES = 200
"""Saved searches of a project."""
MOST_VALUES = 100
"""Values of one facet in one answer."""


class Library:
    """What is in a project, and changes of many photos at once.

    Args:
        workspace: The open project.
        navigation: Finds photos.
        exporting: Knows which photos are chosen.
    """

    def __init__(self, workspace: Workspace, navigation: Navigation, exporting: Exporting) -> None:
        self._workspace = workspace
        self._navigation = navigation
        self._exporting = exporting

    def facets(self, user: str, query: str, state: str, tag: str) -> JsonObject:
        """Return the tags, folders, dates and people of the photos that a search finds, each with its number of photos.

        Args:
            user: Who asks.
            query: The search, in the language of datasets/photo_search.py.
            state: As in `Navigation.browse`.
            tag: Only tags that contain this text; empty takes all.

        Raises:
            StoreError: The database could not be read.
        """
        is_all = not query.strip() and state == "all"
        image_ids = None if is_all else self._navigation.found(user, query, state)[0]
        counts = self._workspace.store.images.search.facets(image_ids)
        wanted, vocabulary = search_key(tag), self._workspace.ranking.vocabulary
        # A tag in several spellings is one.
        by_key: Counter[str] = Counter()
        for name, number in counts.tags.items():
            by_key[tag_key(name)] += number
        spelling = {tag_key(name): vocabulary.spelling(name) for name in counts.tags}
        tags = Counter({spelling[key]: number for key, number in by_key.items() if wanted in search_key(key)})
        return {
            "num_tags": len(tags),
            "tags": _values(tags),
            "folders": _values(counts.folders),
            "dates": [{"value": value, "num_photos": number} for value, number in sorted(counts.years.items())],
            "people": _values(counts.people),
        }

    def found_ids(self, user: str, query: str, state: str, sort: str, alike_to: int | None) -> JsonObject:
        """Return the ids of all photos that a search finds, in the order in which the library shows them.

        Raises:
            StoreError: The database could not be read.
            UnknownImageError: There is no photo `alike_to`.
        """
        return {"image_ids": self._navigation.found(user, query, state, sort, alike_to)[0].tolist()}

    def save_search(self, name: str, search: dict[str, str] | None) -> JsonObject:
        """Keep a search under a name, for everybody in this project; None forgets it.

        Raises:
            ConfigError: The name is empty or cannot be shown, or there are too many searches.
        """
        name = " ".join(name.split())
        if not name:
            raise ConfigError("Give the search a name.")
        if not name.isprintable():
            raise ConfigError(f"The name {name[:80]!r} holds a character that cannot be shown.")
        project = self._workspace.project
        with project.settings_lock:
            searches = {key: one for key, one in project.settings.saved_searches.items() if key != name}
            if search is not None:
                if len(searches) >= MOST_SEARCHES:
                    raise ConfigError(f"{MOST_SEARCHES} searches are kept already. Forget one first.")
                searches[name] = search
            return {"saved_searches": project.update_settings(saved_searches=searches).saved_searches}

    def edit_tags(self, user: str, chosen: Chosen, edit: TagEdit, *, is_dry_run: bool) -> JsonObject:
        """Add, remove, replace tags of many photos or put them first, in one transaction and with one undo.

        Tags get the spelling that the project has for them. Lists that are not saved yet are changed as this person's
        drafts; photos that this person may not change, or that several people are asked about, stay.

        Args:
            user: Who.
            chosen: Which photos.
            edit: What to do.
            is_dry_run: Only return what would change.

        Raises:
            ConfigError: The edit names no tag.
            TagError: A text is not a valid tag.
            StaleRevisionError: A photo was saved meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
        """
        workspace = self._workspace
        edit = TagEdit(
            self._spelled(edit.add),
            self._spelled(edit.remove),
            dict(zip(edit.replace, self._spelled(list(edit.replace.values())), strict=True)),
            self._spelled(edit.first),
        )
        change_id = None
        with workspace.lock:
            image_ids = self._exporting.image_ids(user, chosen)
            planned = plan_edit(workspace.store, workspace.log, image_ids, edit, user, self._is_closed(user))
            if planned.image_ids and not is_dry_run:
                for annotation in carry_out_edit(workspace.store, workspace.log, planned, edit, user):
                    workspace.after_commit.saved(annotation)
                change_id = BulkChanges(workspace.store, workspace.log).newest_id()
        return {
            "num_photos": len(image_ids),
            "num_lists": len(planned.lists),
            "num_drafts": len(planned.drafts),
            "num_closed": planned.num_closed,
            "is_dry_run": is_dry_run,
            "change_id": change_id,
            "rows": self._rows(planned),
        }

    def put_off(self, user: str, chosen: Chosen, *, back: bool) -> JsonObject:
        """Put many photos off until no other is left, or take them up again, in one transaction.

        Saved photos, those that are as wanted already, and those that this person cannot be given now are left out.

        Args:
            user: Who.
            chosen: Which photos.
            back: Take them up again: they come when it is their turn.

        Returns:
            The ``image_ids`` that were changed, and how many were left out.

        Raises:
            StoreError: The commit failed; nothing was written.
        """
        workspace = self._workspace
        queue, is_closed, is_free = workspace.queue, self._is_closed(user), workspace.access.is_free_for(user)
        fits = queue.is_skipped if back else queue.is_open
        with workspace.lock:
            image_ids = self._exporting.image_ids(user, chosen)
            changed = [one for one in image_ids if fits(one) and not is_closed(one) and is_free(one)]
            workspace.log.skip_all(changed, user, back=back)
            for image_id in changed:
                if back:
                    queue.mark(image_id, saved=False)
                else:
                    queue.skip(image_id)
        return {"image_ids": changed, "num_left_out": len(image_ids) - len(changed)}

    def _spelled(self, tags: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._workspace.ranking.vocabulary.spelling(clean_tag(tag)) for tag in tags)

    def _is_closed(self, user: str) -> Callable[[int], bool]:
        access, rules = self._workspace.access, self._workspace.review_rules
        return lambda image_id: bool(rules.lock(user, image_id) or access.assigned_to_other(user, image_id))

    def _rows(self, planned: PlannedEdit) -> list[JsonObject]:
        """Return the first photos that change, before and after."""
        rows = [(annotation.image_id, annotation.tags, tags) for annotation, tags in planned.lists[:PREVIEW_ROWS]]
        for image_id, (before, after) in planned.drafts.items():
            if len(rows) == PREVIEW_ROWS:
                break
            rows.append((image_id, before.kept if before else (), after.kept))
        name = self._workspace.files.name
        return [{"name": name(i), "before": list(before), "after": list(after)} for i, before, after in rows]


def _values(counts: Counter[str]) -> list[JsonObject]:
    """Return the most frequent values, those that are equally frequent by name."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0].casefold()))
    return [{"value": value, "num_photos": number} for value, number in ranked[:MOST_VALUES]]
