"""Groups of similar photos: finding them, joining their proposals, saving one list for each.

A group is the open photo and unsaved photos whose features are near its own. Every photo of a group is saved as its own
event, on its own revision; only a photo that was changed meanwhile is refused. Knows nothing of pages or HTTP.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from annotator.datasets.tags import tag_key
from annotator.errors import StaleRevisionError
from annotator.proposals.evidence import Evidence
from annotator.proposals.fusion import Proposal
from annotator.proposals.sources.taggers import NUM_PROPOSALS
from annotator.session.workspace import Workspace
from annotator.storage.correction_log import (
    GROUP_LEAD,
    GROUP_MEMBER,
    Annotation,
    Effort,
    SavedEvent,
    Selection,
)
from annotator.trainer.finetuning.corrections import NEAR_DUPLICATE

LOOK_ALIKE = 0.7
"""Least cosine of a photo that is shown as similar: a quarter of its tags are shared, against 4% by chance."""
MOST_PHOTOS = 60
"""Most photos of a group beside the open one."""
NUM_SEARCHED = 4 * MOST_PHOTOS
"""Similar photos among which the unsaved ones are found."""
NUM_JOINED = 8
"""Photos of a group whose proposals are joined: all are similar, and each costs a full ranking."""


@dataclass(frozen=True)
class SimilarPhoto:
    """An unsaved photo that is similar to the open one."""

    image_id: int
    similarity: float
    """Cosine of the features."""
    revision: int

    @property
    def is_near(self) -> bool:
        """Whether it counts as a near duplicate."""
        return self.similarity >= NEAR_DUPLICATE


@dataclass(frozen=True)
class Refusal:
    """A photo of a group that was not saved."""

    image_id: int
    reason: str


@dataclass(frozen=True)
class GroupSave:
    """The result of saving a group."""

    lead: Annotation
    members: list[Annotation]
    refused: list[Refusal]


@dataclass(frozen=True)
class TakenBack:
    """The saves that an undo reverted."""

    image_id: int
    """The open photo."""
    num_tags: int
    num_members: int = 0
    num_left: int = 0
    """Members that somebody else has saved since; they stay as they are."""


class PhotoGroups:
    """Finds groups of similar photos, saves them, and reverts their saves.

    Args:
        workspace: The open project.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._log = workspace.log
        self._queue = workspace.queue
        self._leases = workspace.leases
        self._assignments = workspace.assignments
        self._responses = workspace.responses

    def refusal(self, user: str, image_id: int) -> str | None:
        """Return why a photo cannot be saved in a group of this user; None when it can."""
        if not self._queue.is_open(image_id):
            return "it was saved or put off meanwhile."
        if self._responses.state(image_id) is not None:
            return "it is asked of several people."
        if not self._assignments.is_open_to(image_id, user):
            return f"it is {self._assignments.of(image_id)}'s."
        if not self._leases.is_free(image_id, user):
            return f"{' and '.join(self._leases.holders(image_id))} opened it."
        if self._log.has_any_draft(image_id):
            return "a list of it was begun and not saved."
        if self._workspace.probe(image_id):
            return "it is an anchoring probe, which is saved by itself first."
        return None

    def lead_refusal(self, image_id: int) -> str | None:
        """Return why an open photo cannot be saved with others; None when it can."""
        if self._responses.state(image_id) is not None:
            return "This photo is asked of several people: it is saved by itself."
        if self._workspace.probe(image_id):
            return "This photo's proposals are withheld to measure how far they sway people: it is saved by itself."
        return None

    def find(self, user: str, image_id: int) -> list[SimilarPhoto]:
        """Return the unsaved photos that are similar to one, the most similar first."""
        if image_id not in self._workspace.features:
            return []
        ids, similarities = self._workspace.vectors.search(self._workspace.features.vectors([image_id]), NUM_SEARCHED)
        found: list[SimilarPhoto] = []
        for other, similarity in zip(ids[0].tolist(), similarities[0].tolist(), strict=True):
            if similarity < LOOK_ALIKE or other < 0 or len(found) == MOST_PHOTOS:
                break
            if other != image_id and other in self._queue and self.refusal(user, other) is None:
                found.append(SimilarPhoto(other, similarity, self._log.annotation(other).revision))
        return found

    def joined(self, user: str, image_id: int, members: Sequence[int]) -> list[int]:
        """Return the photos of a group whose proposals are joined: the open one, and others at even intervals."""
        others = [other for other in dict.fromkeys(members) if other != image_id and self.refusal(user, other) is None]
        step = max(1.0, len(others) / (NUM_JOINED - 1))
        return [image_id, *(others[int(place * step)] for place in range(min(NUM_JOINED - 1, len(others))))]

    def save(
        self,
        user: str,
        lead: Annotation,
        members: Sequence[tuple[int, int]],
        effort: Effort,
        selection: Selection,
    ) -> GroupSave:
        """Save one list for a photo and those chosen with it; the caller holds `Workspace.lock`.

        The open photo is saved last, since undo and the next photo start from it.

        Args:
            user: Who saves.
            lead: The open photo: its kept and dropped tags, and the revision that was edited.
            members: (image id, revision) of each other photo.
            effort: Actions and time spent on the whole group.
            selection: Why the queue chose the open photo.

        Raises:
            StaleRevisionError: The open photo was saved meanwhile; nothing was written.
            StoreError: A commit failed; photos before it are saved.
        """
        saved: list[Annotation] = []
        refused: list[Refusal] = []
        wanted = {image_id: revision for image_id, revision in members if image_id != lead.image_id}
        if self._log.annotation(lead.image_id).revision == lead.revision:
            own = Effort(actions=[[GROUP_MEMBER, lead.image_id, len(wanted)]])
            for image_id, revision in wanted.items():
                reason = self.refusal(user, image_id)
                if reason is None:
                    try:
                        saved.append(self._save(user, Annotation(image_id, revision, lead.tags), own,
                                                Selection("group", self._workspace.is_random(image_id))))  # fmt: skip
                        continue
                    except StaleRevisionError:
                        reason = "it was changed meanwhile."
                refused.append(Refusal(image_id, reason))
        if saved:
            effort = replace(effort, actions=[*effort.actions, [GROUP_LEAD, len(saved)]])
        return GroupSave(self._save(user, lead, effort, selection), saved, refused)

    def _save(self, user: str, new: Annotation, effort: Effort, selection: Selection) -> Annotation:
        annotation = self._log.save(
            new.image_id, revision=new.revision, tags=new.tags, dropped=new.dropped, user_name=user,
            effort=effort, selection=selection,
        )  # fmt: skip
        self._workspace.after_commit.saved(annotation)
        return annotation

    def take_back(self, user: str) -> TakenBack:
        """Revert the user's newest save and those of its group.

        Members that somebody else has saved since stay as they are.

        Raises:
            NothingToUndoError: There is none.
            StaleRevisionError: Somebody else has saved the open photo since; nothing was reverted.
        """
        newest = self._log.newest_saves(user, MOST_PHOTOS + 1)
        members = group_members(newest)
        num_left = 0
        if members and self._log.overtaken_by(newest[0].image_id, newest[0].event_id) is None:
            for member in members:
                if self._log.overtaken_by(member.image_id, member.event_id) is None:
                    annotation, _ = self._log.undo(user, member.event_id, into_draft=False)
                    self._workspace.after_commit.saved(annotation)
                else:
                    num_left += 1
        annotation, draft = self._log.undo(user, newest[0].event_id if newest else None)
        self._workspace.after_commit.saved(annotation)
        return TakenBack(annotation.image_id, len(draft.kept), len(members) - num_left, num_left)


def group_members(newest: Sequence[SavedEvent]) -> list[SavedEvent]:
    """Return the saves of the group to which the first one belongs.

    Args:
        newest: Saves of one person that were not undone, the newest first.
    """
    if not newest or not any(action and action[0] == GROUP_LEAD for action in newest[0].actions):
        return []
    members = []
    for event in newest[1:]:
        if not (event.actions and list(event.actions[0])[:2] == [GROUP_MEMBER, newest[0].image_id]):
            break
        members.append(event)
    return members


def join_proposals(lists: Sequence[Sequence[Proposal]], barred: Collection[str] = ()) -> list[Proposal]:
    """Return one list for several photos, ordered by the mean of each tag's rank scores.

    A photo for which a tag is not proposed counts 0, so tags that fit one photo alone rank below those that fit all.

    Args:
        lists: The proposals of each photo, best first.
        barred: Tags that are left out.
    """
    out = {tag_key(tag) for tag in barred}
    found: dict[str, list[Proposal]] = {}
    for proposals in lists:
        for proposal in proposals:
            if tag_key(proposal.tag) not in out:
                found.setdefault(tag_key(proposal.tag), []).append(proposal)
    joined = []
    for items in found.values():
        best = max(items, key=lambda item: item.rank_score)
        score = sum(item.score for item in items) / len(lists)
        text = f"proposed for {len(items)} of {len(lists)} photos"
        evidence = (Evidence(best.tag, best.source, score, text),)
        rank_score = sum(item.rank_score for item in items) / len(lists)
        joined.append(Proposal(best.tag, score, best.source, evidence, rank_score))
    joined.sort(key=lambda proposal: -proposal.rank_score)
    return joined[:NUM_PROPOSALS]
