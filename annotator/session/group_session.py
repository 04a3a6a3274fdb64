"""One list for several photos that look alike: who belongs to it, what is proposed to all, saving it.

Answers are JSON-ready. Knows nothing of Gradio, HTTP or SQL.
"""

from collections.abc import Sequence
from dataclasses import asdict

from annotator.errors import ReviewError
from annotator.json_types import JsonObject
from annotator.proposals.proposer import NO_EXCLUSIONS, Exclusions
from annotator.session.group_tagging import join_proposals
from annotator.session.review import PeopleSession
from annotator.session.serializers import form_of
from annotator.session.session_core import words_of
from annotator.storage.correction_log import Annotation, Effort


class GroupSession(PeopleSession):
    """Look-alikes tagged together."""

    def look_alikes(self, user: str, image_id: int) -> JsonObject:
        """Return the open photos that look like one, the most alike first, with which it can be saved; see `GroupTagging`."""
        self._check(image_id)
        note = self._groups.lead_refusal(image_id)
        found = [] if note else self._groups.find(user, image_id)
        items = [
            {
                "image_id": item.image_id,
                "thumbnail_url": self._thumbnail_url(item.image_id),
                "file_name": self._files[item.image_id][1],
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
        without: Exclusions = NO_EXCLUSIONS,
    ) -> JsonObject:
        """Propose to a photo and others how the settled tags go on; nothing is kept or saved.

        Raises:
            UnknownImageError: The project has no such image.
        """
        for one in (image_id, *members):
            self._check(one)
        if self._groups.lead_refusal(image_id):
            return {"proposals": [], "num_heard": 0}
        kept, dropped = self._clean(kept, "kept"), self._clean(dropped, "dropped")
        heard, taggers = self._groups.heard(user, image_id, members), self._pins.taggers(user, image_id)
        lists = [
            self._suggester.propose(
                one, words_of(self._store.images.entry(one)), kept, dropped, without, taggers
            ).proposals
            for one in heard
        ]
        return {"proposals": [form_of(item) for item in join_proposals(lists)], "num_heard": len(heard)}

    def save_group(
        self,
        user: str,
        image_id: int,
        revision: int,
        kept: Sequence[str],
        dropped: Sequence[str],
        effort: Effort,
        members: Sequence[tuple[int, int]],
    ) -> JsonObject:
        """Save one list to a photo and to others, (image id, revision) each; returns the next photo, as `save` does.

        A photo that was changed meanwhile is left out and reported under ``group``.

        Raises:
            ReviewError: The photo in hand cannot be saved with others; nothing was written.
            UnknownImageError: The project has no such image; nothing was written.
            StaleRevisionError: Somebody saved the photo in hand meanwhile; nothing was written.
            StoreError: A commit failed; photos before it are saved.
            TagError: A tag cannot be kept.
            LeaseError: Somebody else has the photo in hand open.
            ForbiddenError: The photo in hand is assigned to somebody else; nothing was written.
        """
        for one in (image_id, *(member for member, _ in members)):
            self._check(one)
        self._check_theirs(user, image_id)
        self._hold(user, image_id)
        tags, refused = self._clean(kept, "kept"), self._clean(dropped, "dropped")
        selection = self._selection(image_id)
        with self._lock:
            reason = self._groups.lead_refusal(image_id)
            if reason:
                raise ReviewError(f"{reason} Nothing was saved.")
            before = self._counts_of(tags)
            lead = Annotation(image_id, revision, tuple(tags), tuple(refused))
            group = self._groups.save(user, lead, members, effort, selection, self._is_random)
            now_common = self._now_common(before)
        self._pins.let_go(user, image_id)
        self.models.note_save()
        left_out = [{**asdict(item), "file_name": self._files[item.image_id][1]} for item in group.refused]
        return {
            "revision": group.lead.revision,
            "now_common": now_common,
            "group": {"saved": [item.image_id for item in group.members], "left_out": left_out},
            "next": self._next(user, image_id),
        }
