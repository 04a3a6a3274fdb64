"""All tags of a project, what is known of one, and what a change of one would do. Changes nothing."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache

from annotator.datasets.tags import clean_tag, search_key, tag_key
from annotator.json_types import JsonObject
from annotator.proposals.vocabulary.merge_candidates import merge_candidates
from annotator.session.photo_files import natural_key
from annotator.session.workspace import Workspace
from annotator.storage.carriers import newest_carriers
from annotator.storage.tag_changes import PlannedTagChange

NUM_EXAMPLES = 6
"""Photos shown of a tag."""
PREVIEW_ROWS = 3
"""Lists shown before and after a change."""
MOST_NAMED = 20
"""Aliases and tags below a tag that are named in a list of tags; a single tag names all."""


_name_key = lru_cache(maxsize=65_536)(natural_key)
"""Sorts tags by name; every page of a list sorts all of them."""


class TagOverview:
    """Answers about the tags of a project.

    Args:
        workspace: The open project.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def list_tags(self, offset: int, limit: int, query: str, order: str) -> JsonObject:
        """Return a page of the project's tags: those in use, never proposed, or above another by a person's word.

        Args:
            offset: Tags to leave out at the beginning.
            limit: Most tags.
            query: Text in the tag or in one of its aliases, case and accents ignored; empty finds all.
            order: ``count`` (most photos first) or ``name``.
        """
        term = search_key(" ".join(query.split()))
        known = self._all_tags()
        aliases = self._aliases_by_tag()
        if term:
            known = {
                key: tag
                for key, tag in known.items()
                if term in search_key(tag) or any(term in search_key(alias) for alias in aliases.get(key, ()))
            }
        num_photos = self._workspace.ranking.vocabulary.num_photos
        in_order = sorted(known.items(), key=lambda item: _name_key(item[1]))
        if order == "count":
            in_order.sort(key=lambda item: -num_photos(item[1]))
        never = {tag_key(tag) for tag in self._workspace.project.settings.never_proposed}
        items = [
            {
                "tag": tag,
                "num_photos": num_photos(tag),
                "aliases": aliases.get(key, [])[:MOST_NAMED],
                "parent": self._parent_of(tag),
                "is_never_proposed": key in never,
            }
            for key, tag in in_order[offset : offset + limit]
        ]
        return {"total": len(in_order), "num_in_use": len(self._workspace.ranking.vocabulary.tags_in_use()),
                "items": items}  # fmt: skip

    def tag_details(self, tag: str) -> JsonObject:
        """Return what is known of one tag: examples, tags that may be the same, aliases, the tags above and below.

        Raises:
            TagError: The text is not a valid tag.
            StoreError: The database could not be read.
        """
        workspace = self._workspace
        vocabulary = workspace.ranking.vocabulary
        tag = self._spelled(tag)
        key, in_use = tag_key(tag), vocabulary.tags_in_use()
        counts = {other: vocabulary.num_photos(other) for other in in_use}
        similar = merge_candidates(tag, counts, workspace.similar_tags, in_use)
        return {
            "tag": tag,
            "num_photos": vocabulary.num_photos(tag),
            "aliases": self._aliases_by_tag().get(key, []),
            "parent": self._parent_of(tag),
            "above": list(workspace.vocabulary.levels_of(tag)),
            "below": sorted(self._below(tag), key=_name_key)[:MOST_NAMED],
            "is_never_proposed": key in {tag_key(one) for one in workspace.project.settings.never_proposed},
            "examples": [
                {
                    "image_id": image_id,
                    "thumbnail_url": workspace.files.thumbnail_url(image_id),
                    "file_name": workspace.files.name(image_id),
                }
                for image_id in newest_carriers(workspace.store, tag, NUM_EXAMPLES)
            ],
            "similar": [{**asdict(one), "num_photos": counts[one.tag]} for one in similar],
            "has_word_vectors": workspace.similar_tags.vectors is not None,
        }

    def preview_tag_change(self, kind: str, old: str, new: str) -> JsonObject:
        """Return what a change of a tag would do to the lists; `TagEditing.change_tag` carries it out.

        Args:
            kind: rename, merge, alias, delete or parent.
            old: The present tag.
            new: The new tag.

        Raises:
            TagError: A tag cannot be kept, or the kind does not fit the tags in use.
            StoreError: The database could not be read.
        """
        workspace = self._workspace
        with workspace.lock:
            seen_event = workspace.tag_changes.newest_event()
            planned = workspace.tag_changes.plan(kind, old, new)
        return {
            "old": planned.old,
            "new": planned.new,
            "num_photos": planned.num_kept,
            "num_refusals": len(planned.changes) - planned.num_kept,
            "num_emptied": planned.num_emptied,
            "rows": self._rows(planned),
            "notes": self._notes(planned),
            "seen_event": seen_event,
        }

    def _rows(self, planned: PlannedTagChange) -> list[JsonObject]:
        """Return the first lists before and after; those of photos that several people are asked about stay secret."""
        shown = [
            change
            for carrier, change in zip(planned.carriers, planned.changes, strict=True)
            if carrier.annotation.is_saved and not carrier.is_asked and change.tags != carrier.annotation.tags
        ]
        return [
            {
                "name": self._workspace.files.name(change.annotation.image_id),
                "before": list(change.annotation.tags),
                "after": list(change.tags),
            }
            for change in shown[:PREVIEW_ROWS]
        ]

    def _notes(self, planned: PlannedTagChange) -> list[str]:
        kind, old, new = planned.kind, planned.old, planned.new
        vocabulary = self._workspace.ranking.vocabulary
        num_old = vocabulary.num_photos(old)
        notes: list[str] = []
        if kind in ("rename", "merge") and tag_key(old) != tag_key(new):
            notes.append(f"From then on \u201c{old}\u201d means \u201c{new}\u201d wherever it is typed or imported.")
        if kind == "merge":
            notes.append("Where a photo has both, the better rank stays.")
        if kind == "alias":
            notes.append(f"From then on \u201c{old}\u201d means \u201c{new}\u201d wherever it is typed or imported.")
            if num_old:
                notes.append(f"{_photos(num_old)} with \u201c{old}\u201d keep it; a merge changes them too.")
        if kind == "delete":
            notes.append("The tag can still be proposed, unless it is never proposed.")
        if kind == "parent":
            above = (*self._workspace.vocabulary.levels_of(new), new) if new else ()
            place = " \u203a ".join((*above, old))
            notes.append(f"Formats with levels write {place}; completions show its place." if new
                         else f"\u201c{old}\u201d then stands at the top.")  # fmt: skip
        if self._workspace.vocabulary.is_forbidden(new) and kind != "delete":
            notes.append(f"The vocabulary of this project forbids \u201c{new}\u201d.")
        return notes

    def _spelled(self, tag: str) -> str:
        """Return the project's spelling of a tag; a former name stays, since it may be asked about too."""
        tag = clean_tag(tag)
        return self._all_tags().get(tag_key(tag), tag)

    def _all_tags(self) -> dict[str, str]:
        """Return key -> spelling of the tags in use, never proposed, and above or below another."""
        workspace = self._workspace
        found = {tag_key(tag): tag for tag in workspace.ranking.vocabulary.tags_in_use()}
        parents = [parent for _, parent in workspace.vocabulary.parents]
        for tag in (*workspace.project.settings.never_proposed, *parents):
            if tag:
                found.setdefault(tag_key(tag), tag)
        return found

    def _aliases_by_tag(self) -> dict[str, list[str]]:
        """Return key of a tag -> its aliases and former names."""
        found: dict[str, list[str]] = {}
        for alias, tag in self._workspace.ranking.vocabulary.aliases().items():
            found.setdefault(tag_key(tag), []).append(alias)
        return {key: sorted(aliases) for key, aliases in found.items()}

    def _parent_of(self, tag: str) -> str:
        above: Sequence[str] = self._workspace.vocabulary.levels_of(tag)
        return above[-1] if above else ""

    def _below(self, tag: str) -> list[str]:
        """Return the tags whose parent a tag is, by the project or by its vocabulary."""
        workspace, key = self._workspace, tag_key(tag)
        candidates = {below for below, _ in workspace.vocabulary.parents} | set(workspace.vocabulary.levels)
        return [
            self._name_of(below)
            for below in candidates
            if (parent := self._parent_of(below)) and tag_key(parent) == key
        ]

    def _name_of(self, key: str) -> str:
        """Return the spelling of a tag by its key."""
        workspace = self._workspace
        return workspace.ranking.vocabulary.spelling(workspace.vocabulary.spelling.get(key, key))


def _photos(number: int) -> str:
    return f"{number:,} photo" if number == 1 else f"{number:,} photos"
