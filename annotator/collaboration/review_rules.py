"""Rules for photos that several people are asked about: who sees and saves which list, and who decides when.

On top of collaboration/responses.py. Knows nothing of proposals, queues, HTTP or SQL.
"""

from collections.abc import Callable
from typing import Any, Literal

from annotator.collaboration.responses import Responses
from annotator.storage.correction_log import Annotation, CorrectionLog
from annotator.storage.queries import utc

State = Literal["new", "draft", "saved", "in_review", "accepted"]
STATES: tuple[State, ...] = ("new", "draft", "saved", "in_review", "accepted")
"""State of a photo, as one person sees it. ``saved``: by somebody, or by this person while responses of others are
outstanding; ``in_review``: all responses are there, and no list is accepted."""


class ReviewRules:
    """What each person may see of photos that several people are asked about, and do with them.

    Args:
        responses: The responses of the project.
        log: The correction log.
        may_review: Returns whether a user may decide.
    """

    def __init__(self, responses: Responses, log: CorrectionLog, may_review: Callable[[str], bool]) -> None:
        self.responses = responses
        self._log = log
        self.may_review = may_review

    # What a person sees of a photo

    def list_of(self, user: str, image_id: int) -> Annotation:
        """Return the list that a person sees and changes: their own response, or the saved list."""
        if self.is_personal(user, image_id):
            return self.responses.own(image_id, user)
        return self._log.annotation(image_id)

    def is_personal(self, user: str, image_id: int) -> bool:
        """Tell whether this person saves their own response, and not the list that all share."""
        state = self.responses.state(image_id)
        return state not in (None, "accepted") and not self.decides(user, image_id)

    def decides(self, user: str, image_id: int) -> bool:
        """Tell whether this person saves the accepted list."""
        return (
            self.responses.is_complete(image_id)
            and self.may_review(user)
            and (self.responses.state(image_id) == "accepted" or not self.responses.is_open_to(image_id, user))
        )

    def places(self, user: str, image_id: int) -> int:
        """Return how many people may have a photo open at once when this person is one of them.

        For a person whose response is outstanding: the number of outstanding responses, since each has its own
        revision. 0 for a person who changes a response they gave: that needs no lease. 1 for the list that all share.
        """
        if not self.is_personal(user, image_id):
            return 1
        if self.responses.is_open_to(image_id, user):
            return self.responses.num_wanted(image_id)
        return 0

    def lock(self, user: str, image_id: int) -> str | None:
        """Return why this person cannot change a photo's list now; None when they can."""
        state = self.responses.state(image_id)
        if state is None or self.decides(user, image_id):
            return None
        if state == "accepted":
            return "A reviewer has accepted this list: only a reviewer can change it."
        if self.responses.may_revise(image_id, user):
            return None
        if self.responses.is_complete(image_id):
            return "This photo has all its answers: a reviewer decides now."
        return "This photo is asked of other people."

    def may_see_responses(self, user: str, image_id: int) -> bool:
        """Tell whether a person may see the responses of others: after saving their own, or if none is wanted."""
        state = self.responses.state(image_id)
        if state in (None, "accepted") or self.responses.has_responded(image_id, user):
            return True
        return self.responses.is_complete(image_id) and self.may_review(user)

    def state(self, user: str, image_id: int, *, is_saved: bool, has_draft: bool) -> State:
        """Return the state of a photo, as this person sees it.

        Args:
            user: For whom.
            image_id: The photo.
            is_saved: Whether its annotation is saved.
            has_draft: Whether this person has a draft of it.
        """
        state = self.responses.state(image_id)
        if state in ("accepted", "in_review"):
            return state
        if has_draft:
            return "draft"
        has_responded = self.responses.has_responded(image_id, user) and self.responses.note(image_id, user) is None
        return "saved" if is_saved or has_responded else "new"

    def counts(self, user: str, num_images: int, num_saved: int, is_saved: Callable[[int], bool]) -> dict[State, int]:
        """Return the number of photos in each state, as this person sees it.

        Args:
            user: For whom.
            num_images: All photos.
            num_saved: Photos with a saved annotation.
            is_saved: Returns whether the annotation of a photo is saved.
        """
        in_review, accepted = self.responses.in_state("in_review"), self.responses.counts()["accepted"]
        saved_by_one = num_saved - accepted - sum(map(is_saved, in_review))
        drafts = [
            (image_id, is_saved(image_id))
            for image_id in self._log.drafts_of(user)
            if self.state(user, image_id, is_saved=is_saved(image_id), has_draft=True) == "draft"
        ]
        responded = set(self.responses.waiting_for_others(user)).difference(image_id for image_id, _ in drafts)
        saved = saved_by_one - sum(is_draft_saved for _, is_draft_saved in drafts) + len(responded)
        new = num_images - saved - len(drafts) - len(in_review) - accepted
        return {"new": new, "draft": len(drafts), "saved": saved, "in_review": len(in_review), "accepted": accepted}

    def about(self, user: str, image_id: int) -> dict[str, Any]:
        """Return what the page shows of the responses to a photo, and which operation saves its list."""
        note = self.responses.note(image_id, user)
        return {
            "asked_of": self.responses.num_people(image_id),
            "locked": self.lock(user, image_id),
            "save_as": "accept" if self.decides(user, image_id) else "save",
            "sent_back": None if note is None else {"by": note.user_name, "note": note.text, "at": utc(note.sent_at)},
        }

    def history(self, user: str, image_id: int) -> list[dict[str, Any]]:
        """Return the events of a photo that this person may see, oldest first."""
        events = self._log.history(image_id)
        if self.may_see_responses(user, image_id):
            return events
        return [event for event in events if event["kind"] == "skip" or event["user_name"] == user]
