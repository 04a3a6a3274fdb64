"""One list for several similar photos: finding them, proposing tags for all of them, saving."""

from collections.abc import Sequence
from dataclasses import asdict

from annotator.errors import ReviewError
from annotator.json_types import JsonObject
from annotator.proposals.fusion import Proposal
from annotator.proposals.proposer import NO_EXCLUSIONS, Exclusions
from annotator.session.edited_list import EditedList
from annotator.session.navigation import Navigation
from annotator.session.photo_groups import PhotoGroups, join_proposals
from annotator.session.serializers import form_of
from annotator.session.tagging import Tagging
from annotator.session.workspace import Workspace
from annotator.storage.correction_log import Annotation


class GroupTagging:
    """Operations on groups of similar photos.

    Args:
        workspace: The open project.
        navigation: Brings the next photo.
        tagging: Tagging of the open photo.
        groups: Which photos belong together.
    """

    def __init__(self, workspace: Workspace, navigation: Navigation, tagging: Tagging, groups: PhotoGroups) -> None:
        self._workspace = workspace
        self._access = workspace.access
        self._navigation = navigation
        self._tagging = tagging
        self._groups = groups

    def look_alikes(self, user: str, image_id: int) -> JsonObject:
        """Return the unsaved photos with which a photo can be saved, the most similar first; see `PhotoGroups`."""
        self._access.check(image_id)
        files = self._workspace.files
        note = self._groups.lead_refusal(image_id)
        found = [] if note else self._groups.find(user, image_id)
        items = [
            {
                "image_id": item.image_id,
                "thumbnail_url": files.thumbnail_url(item.image_id),
                "file_name": files.name(item.image_id),
                "similarity": round(item.similarity, 4),
                "is_near": item.is_near,
                "revision": item.revision,
            }
            for item in found
        ]
        return {"items": items, "num_near": sum(item.is_near for item in found), "note": note}

    def propose_group(
        self,
        user: str,
        image_id: int,
        kept: Sequence[str],
        dropped: Sequence[str],
        members: Sequence[int],
        exclusions: Exclusions = NO_EXCLUSIONS,
    ) -> JsonObject:
        """Propose tags for a photo and others after the kept tags; saves nothing, not even a draft.

        Raises:
            UnknownImageError: The project has no such image.
        """
        workspace = self._workspace
        for one in (image_id, *members):
            self._access.check(one)
        if self._groups.lead_refusal(image_id):
            return _group_proposals([])
        kept, dropped = self._access.clean(kept, "kept"), self._access.clean(dropped, "dropped")
        joined, taggers = self._groups.joined(user, image_id, members), workspace.pinned_taggers.taggers(user, image_id)
        lists = [
            workspace.proposer.propose(one, workspace.words_of(one), kept, dropped, exclusions, taggers).proposals
            for one in joined
        ]
        return _group_proposals(lists)

    def save_group(self, user: str, edited: EditedList, members: Sequence[tuple[int, int]]) -> JsonObject:
        """Save one list for a photo and for others; returns the next photo, as `Tagging.save` does.

        A photo that was changed meanwhile is left out and reported under ``group``.

        Args:
            user: Who saves.
            edited: The list of the open photo.
            members: (image id, revision) of each other photo.

        Raises:
            ReviewError: The open photo cannot be saved with others; nothing was written.
            UnknownImageError: The project has no such image; nothing was written.
            StaleRevisionError: Somebody saved the open photo meanwhile; nothing was written.
            StoreError: A commit failed; photos before it are saved.
            TagError: A tag cannot be kept.
            LeaseError: Somebody else has the open photo's lease.
            ForbiddenError: The open photo is assigned to somebody else; nothing was written.
        """
        workspace, image_id = self._workspace, edited.image_id
        for one in (image_id, *(member for member, _ in members)):
            self._access.check(one)
        self._access.check_assigned(user, image_id)
        self._access.hold(user, image_id)
        selection = self._tagging.selection(image_id)
        with workspace.lock:
            # Under the lock: a tag that is renamed while this call waits gets its new name.
            own = workspace.ranking.tagged_photos.saved_tags(image_id)
            workspace.vocabulary.check(edited.kept, own)
            tags, dropped = self._access.clean(edited.kept, "kept"), self._access.clean(edited.dropped, "dropped")
            tags = list(workspace.order_rules.apply(tags))
            respelled = self._access.respelled(edited.kept, own)
            reason = self._groups.lead_refusal(image_id)
            if reason:
                raise ReviewError(f"{reason} Nothing was saved.")
            before = workspace.after_commit.counts_of(tags)
            lead = Annotation(image_id, edited.revision, tuple(tags), tuple(dropped))
            group = self._groups.save(user, lead, members, edited.effort, selection)
            now_common = workspace.after_commit.now_common(before)
        workspace.pinned_taggers.unpin(user, image_id)
        workspace.models.note_save()
        workspace.prepare_proposals()  # the taggers were not asked about the other photos
        left_out = [{**asdict(item), "file_name": workspace.files.name(item.image_id)} for item in group.refused]
        return {
            "revision": group.lead.revision,
            "now_common": now_common,
            "respelled": respelled,
            "group": {"saved": [item.image_id for item in group.members], "left_out": left_out},
            "next": self._navigation.next(user, image_id),
        }


def _group_proposals(lists: Sequence[Sequence[Proposal]]) -> JsonObject:
    # num_heard is the former name of num_joined; it goes with version 0.3.
    proposals = [form_of(item) for item in join_proposals(lists)]
    return {"proposals": proposals, "num_joined": len(lists), "num_heard": len(lists)}
