"""Asking several people about a photo, keeping them blind to each other, and deciding between their answers.

The session's part of collaboration/responses.py: who sees and saves which list, what a reviewer looks at, and where each photo stands.
Knows nothing of proposals, queues, HTTP or SQL.
"""

from collections.abc import Callable
from typing import Any, Literal

from annotator.collaboration.responses import Responses
from annotator.storage.correction_log import Annotation, CorrectionLog
from annotator.storage.queries import utc

State = Literal["new", "draft", "saved", "in_review", "accepted"]
STATES: tuple[State, ...] = ("new", "draft", "saved", "in_review", "accepted")
"""Where a photo stands, as one person sees it. ``saved``: by somebody, or by this person while others' answers are
awaited; ``in_review``: all answers are there, and no list is accepted."""


class ReviewRules:
    """What each person may see of asked photos, and do with them.

    Args:
        answers: The answers of the project.
        log: The standing lists.
        may_review: Tells of a user whether they may decide.
    """

    def __init__(self, answers: Responses, log: CorrectionLog, may_review: Callable[[str], bool]) -> None:
        self.answers = answers
        self._log = log
        self.may_review = may_review

    # What a person sees of a photo

    def list_of(self, user: str, image_id: int) -> Annotation:
        """Return the list that a person sees and changes: their own answer, or the one that stands."""
        return self.answers.own(image_id, user) if self.is_personal(user, image_id) else self._log.annotation(image_id)

    def is_personal(self, user: str, image_id: int) -> bool:
        """Tell whether what this person saves is their answer, and not the list that stands."""
        standing = self.answers.standing(image_id)
        return standing not in (None, "accepted") and not self.decides(user, image_id)

    def decides(self, user: str, image_id: int) -> bool:
        """Tell whether what this person saves is the accepted list."""
        return (
            self.answers.is_complete(image_id)
            and self.may_review(user)
            and (self.answers.standing(image_id) == "accepted" or not self.answers.is_open_to(image_id, user))
        )

    def places(self, user: str, image_id: int) -> int:
        """Return how many people may have a photo open when this person is one of them.

        As many as answers are outstanding, where theirs is one of these: each answer has a revision of its own. 0 for
        who changes an answer that they have given, which is in nobody's way; 1 for the list that all share.
        """
        if not self.is_personal(user, image_id):
            return 1
        if self.answers.is_open_to(image_id, user):
            return self.answers.num_wanted(image_id)
        return 0

    def lock(self, user: str, image_id: int) -> str | None:
        """Return why this person cannot change a photo's list now; None when they can."""
        standing = self.answers.standing(image_id)
        if standing is None or self.decides(user, image_id):
            return None
        if standing == "accepted":
            return "A reviewer has accepted this list: only a reviewer can change it."
        if self.answers.may_revise(image_id, user):
            return None
        if self.answers.is_complete(image_id):
            return "This photo has all its answers: a reviewer decides now."
        return "This photo is asked of other people."

    def may_see_answers(self, user: str, image_id: int) -> bool:
        """Tell whether others' answers to a photo may be shown: only once one's own is saved, or none is wanted."""
        standing = self.answers.standing(image_id)
        if standing in (None, "accepted") or self.answers.has_given(image_id, user):
            return True
        return self.answers.is_complete(image_id) and self.may_review(user)

    def state(self, user: str, image_id: int, *, is_saved: bool, has_draft: bool) -> State:
        """Return where a photo stands, as this person sees it.

        Args:
            user: Who looks.
            image_id: The photo.
            is_saved: Whether a list of it stands.
            has_draft: Whether this person has a half-edited list of it.
        """
        standing = self.answers.standing(image_id)
        if standing in ("accepted", "in_review"):
            return standing
        if has_draft:
            return "draft"
        is_answered = self.answers.has_given(image_id, user) and self.answers.note(image_id, user) is None
        return "saved" if is_saved or is_answered else "new"

    def counts(self, user: str, num_images: int, num_saved: int, is_saved: Callable[[int], bool]) -> dict[State, int]:
        """Return how many photos stand where, as this person sees it.

        Args:
            user: Who looks.
            num_images: All photos.
            num_saved: Photos of which a list stands.
            is_saved: Tells of a photo whether a list of it stands.
        """
        in_review, accepted = self.answers.in_state("in_review"), self.answers.counts()["accepted"]
        standing = num_saved - accepted - sum(map(is_saved, in_review))
        drafts = [
            (image_id, is_saved(image_id))
            for image_id in self._log.drafts_of(user)
            if self.state(user, image_id, is_saved=is_saved(image_id), has_draft=True) == "draft"
        ]
        answered = set(self.answers.given_waiting(user)).difference(image_id for image_id, _ in drafts)
        saved = standing - sum(is_standing for _, is_standing in drafts) + len(answered)
        new = num_images - saved - len(drafts) - len(in_review) - accepted
        return {"new": new, "draft": len(drafts), "saved": saved, "in_review": len(in_review), "accepted": accepted}

    def about(self, user: str, image_id: int) -> dict[str, Any]:
        """Return what the page says of an asked photo, and which operation saves its list."""
        note = self.answers.note(image_id, user)
        return {
            "asked_of": self.answers.num_people(image_id),
            "locked": self.lock(user, image_id),
            "save_as": "accept" if self.decides(user, image_id) else "save",
            "sent_back": None if note is None else {"by": note.user_name, "note": note.text, "at": utc(note.sent_at)},
        }

    def history(self, user: str, image_id: int) -> list[dict[str, Any]]:
        """Return the events of a photo that this person may see, oldest first."""
        events = self._log.history(image_id)
        if self.may_see_answers(user, image_id):
            return events
        return [event for event in events if event["kind"] == "skip" or event["user_name"] == user]
