"""Changes of tags on many photos: rename, merge, split, and the search for missing tags."""

from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import TagError
from annotator.json_types import JsonObject
from annotator.proposals.missing_tags import UNKNOWN_NOTE, rank_candidates
from annotator.session.photo_view import PhotoView
from annotator.session.workspace import Workspace
from annotator.storage.correction_log import Annotation


class TagEditing:
    """Changes of tags across the photos of a project.

    Args:
        workspace: The open project.
        view: Answers about photos.
    """

    def __init__(self, workspace: Workspace, view: PhotoView) -> None:
        self._workspace = workspace
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

    def change_tag(self, user: str, kind: str, old: str, new: str, where: str = "") -> JsonObject:
        """Rename, merge, split or alias a tag; the log is extended, not edited.

        Args:
            user: Who changes it.
            kind: One of storage.tag_changes.KINDS.
            old: The present tag.
            new: The new tag.
            where: Text to find in the tags or paths of the photos that a split changes.

        Raises:
            TagError: A tag cannot be kept, the kind does not fit the tags in use, or a split concerns no photo.
            StoreError: A commit failed; photos before it are done, and the change can be repeated.
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
            num_photos = workspace.tag_changes.apply(kind, old, new, user, workspace.after_commit.saved, among)
            workspace.ranking.vocabulary.set_aliases(workspace.tag_changes.aliases())
            if tag_key(old) == tag_key(new):
                workspace.ranking.vocabulary.use_spelling(clean_tag(new))
            now_common = workspace.after_commit.now_common(before)
        return {"num_photos": num_photos, "now_common": now_common}

    def tag_changes(self) -> JsonObject:
        """Return all changes of tags, oldest first."""
        return {"changes": [change.to_json() for change in self._workspace.tag_changes.all()]}
