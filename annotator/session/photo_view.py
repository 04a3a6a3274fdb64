"""The answer about one photo: its list, its proposals, its neighbours and its state."""

from collections.abc import Sequence

from annotator.active_learning.random_sample import shuffle_key
from annotator.collaboration.review_rules import State
from annotator.datasets.order_rules import OrderRules
from annotator.json_types import JsonObject
from annotator.proposals.evidence import Neighbour, words_of
from annotator.proposals.fusion import num_expected
from annotator.proposals.proposer import NO_EXCLUSIONS, Exclusions
from annotator.session.serializers import form_of, place_of
from annotator.session.workspace import Workspace
from annotator.storage.correction_log import Annotation
from annotator.storage.images import ImageEntry
from annotator.storage.queries import utc

NUM_SHOWN_NEIGHBOURS = 12


class PhotoView:
    """Builds the answers about photos, as JSON values.

    Args:
        workspace: The open project.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def photo(self, user: str, image_id: int) -> JsonObject:
        """Return one photo with its list and proposals, and take a lease of it if this user may change it.

        Raises:
            UnknownImageError: The project has no such image.
        """
        workspace, access = self._workspace, self._workspace.access
        access.check(image_id)
        about = workspace.review_rules.about(user, image_id)
        if workspace.may_annotate(user):
            about["locked"] = about["locked"] or access.assigned_to_other(user, image_id)
        may_annotate = workspace.may_annotate(user) and not about["locked"]
        is_held = may_annotate and not access.take(user, image_id)
        entry = workspace.store.images.entry(image_id)
        workspace.pinned_taggers.pin(user, image_id, workspace.catalog.taggers)
        annotation = workspace.review_rules.list_of(user, image_id)
        draft = None if about["locked"] else workspace.log.draft(image_id, user)
        kept = list(draft.kept if draft else annotation.tags)
        dropped = list(draft.dropped if draft else annotation.dropped)
        return {
            "image_id": image_id,
            **self._file(user, image_id, entry),
            "width": entry.width,
            "height": entry.height,
            "format": entry.format,
            "taken_at": entry.taken_at,
            "camera": entry.camera,
            "place": place_of(entry),
            "caption": entry.caption,
            "keywords": list(words_of(entry).keywords),
            "hierarchies": list(entry.hierarchies),
            "position": workspace.queue.position(image_id) + 1,
            "revision": draft.revision if draft else annotation.revision,
            "state": self.state_of(user, image_id),
            "kept": kept,
            "saved": list(annotation.tags) if annotation.is_saved else [],
            "dropped": dropped,
            "notes": list(entry.notes),
            "changed_at": self._changed_at(entry, annotation),
            "read_only": not may_annotate,
            **about,
            "held_by": workspace.leases.holders(image_id) if is_held else [],
            "assigned_to": workspace.assignments.of(image_id),
            "is_random_sample": workspace.is_random(image_id),
            "probe": workspace.probe(image_id),
            **self.proposals(user, image_id, entry, kept, dropped),
        }

    def _file(self, user: str, image_id: int, entry: ImageEntry) -> JsonObject:
        workspace, files = self._workspace, self._workspace.files
        paths, in_full = workspace.store.images.paths(image_id), workspace.shows_folders(user)
        gone = f"{files.name(image_id) or entry.content_hash[:16]} (file is gone)"
        return {
            "image_url": files.image_url(image_id),
            "full_url": f"{files.image_url(image_id)}&full=1",
            "thumbnail_url": files.thumbnail_url(image_id),
            "file_name": files.shown_name(paths[0][1]) if paths else gone,
            "paths": [str(root / path) if in_full else files.shown_name(path) for root, path in paths],
        }

    @staticmethod
    def _changed_at(entry: ImageEntry, annotation: Annotation) -> str | None:
        """Return when the photo's pixels changed, if that was after its list was saved."""
        saved_at, changed_at = annotation.saved_at, entry.changed_at
        return utc(changed_at) if changed_at and saved_at and annotation.is_saved and saved_at < changed_at else None

    def proposals(
        self,
        user: str,
        image_id: int,
        entry: ImageEntry,
        kept: Sequence[str],
        dropped: Sequence[str],
        exclusions: Exclusions = NO_EXCLUSIONS,
    ) -> JsonObject:
        """Return the proposals after the kept tags, and the neighbours shown beside them."""
        workspace = self._workspace
        taggers = workspace.pinned_taggers.taggers(user, image_id)
        found = workspace.proposer.propose(image_id, words_of(entry), kept, dropped, exclusions, taggers)
        similar = found.similar[:NUM_SHOWN_NEIGHBOURS]
        if len(similar) < NUM_SHOWN_NEIGHBOURS and image_id in workspace.features:
            similar += self._untagged_neighbours(image_id, {item.image_id for item in similar})
        similar = similar[:NUM_SHOWN_NEIGHBOURS]
        metadata, model = found.metadata[:NUM_SHOWN_NEIGHBOURS], found.model
        proposals = list(found.proposals)
        probe = workspace.probe(image_id)
        if probe == "shuffled":
            proposals.sort(key=lambda proposal: shuffle_key(entry.content_hash, proposal.tag))
        elif probe == "hidden":
            # Neighbours are hidden too: their tags would act as proposals.
            proposals, similar, metadata, model = [], [], [], None if model is None else []
        shows_expected = workspace.project.settings.show_expected and not probe
        return {
            "proposals": [form_of(proposal) for proposal in proposals],
            "num_expected": num_expected(proposals) if shows_expected else 0,
            "neighbours": {
                "looks": self._neighbours(similar, exclusions),
                "metadata": self._neighbours(metadata, exclusions),
                "model": None if model is None else self._neighbours(model, exclusions),
                "note": found.note,
                "has_learnt_order": found.has_learnt_order,
                "has_tag_statistics": found.has_tag_statistics,
                "has_detections": found.has_detections,
                "late_sources": list(found.late_sources),
            },
            "tagger": found.tagger,
            "fields": self._fields(image_id, kept, entry.caption or ""),
            "order": self._order(kept, [proposal.tag for proposal in proposals]),
        }

    def _order(self, kept: Sequence[str], proposed: Sequence[str]) -> JsonObject | None:
        """Return the kept tags as the order rules will save them, and which rule decides about each tag.

        None: the project has no such rules.
        """
        rules = self._workspace.order_rules
        if rules == OrderRules():
            return None
        reasons = {tag: rules.reason(tag) for tag in (*kept, *proposed)}
        return {
            "kept": list(kept),
            "tags": list(rules.apply(kept)),
            "reasons": {tag: reason for tag, reason in reasons.items() if reason},
        }

    def _fields(self, image_id: int, kept: Sequence[str], caption: str) -> list[JsonObject]:
        """Return the fields of a photo beside its tags, each with its value and what is proposed for it."""
        workspace = self._workspace
        specs = workspace.project.settings.fields
        values = workspace.field_values.of(image_id) if specs else {}
        return [
            {
                "name": spec.name,
                "kind": spec.kind,
                "choices": list(spec.choices),
                "value": values.get(spec.name, ""),
                "proposed": spec.proposed(kept, caption, workspace.vocabulary.levels),
            }
            for spec in specs
        ]

    def _untagged_neighbours(self, image_id: int, known: set[int]) -> list[Neighbour]:
        """Return similar photos without tags: shown, though they are no evidence."""
        vectors = self._workspace.features.vectors([image_id])
        ids, similarities = self._workspace.vectors.search(vectors, NUM_SHOWN_NEIGHBOURS + 1)
        return [
            Neighbour(int(other), float(similarity), ())
            for other, similarity in zip(ids[0], similarities[0], strict=True)
            if other >= 0 and other != image_id and int(other) not in known
        ]

    def _neighbours(self, items: Sequence[Neighbour], exclusions: Exclusions) -> list[JsonObject]:
        files = self._workspace.files
        return [
            {
                "image_id": item.image_id,
                "thumbnail_url": files.thumbnail_url(item.image_id),
                "similarity": round(min(max(item.similarity, 0.0), 1.0), 4),
                "tags": list(item.tags),
                "shared": list(item.shared),
                "by": item.by,
                "off": item.image_id in exclusions.neighbours,
                "file_name": files.name(item.image_id),
            }
            for item in items
        ]

    def state_of(self, user: str, image_id: int) -> State:
        """Return the state of a photo, as this user sees it."""
        return self._workspace.review_rules.state(
            user,
            image_id,
            is_saved=self._workspace.queue.is_saved(image_id),
            has_draft=self._workspace.log.has_draft(image_id, user),
        )

    def shown(self, image_id: int) -> JsonObject:
        """Return the URL and the shown name of a photo."""
        files = self._workspace.files
        return {"image_url": files.image_url(image_id), "file_name": files.name(image_id)}
