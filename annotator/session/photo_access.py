"""Checks whether a user may open, lease or change a photo, and whether tags can be saved.

Knows nothing of proposals or of the form of answers.
"""

from collections.abc import Callable, Sequence

from annotator.active_learning.queue import PhotoQueue
from annotator.collaboration.assignments import Assignments
from annotator.collaboration.leases import Leases
from annotator.collaboration.responses import Responses
from annotator.collaboration.review_rules import ReviewRules
from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import ForbiddenError, LeaseError, ReviewError, TagError, UnknownImageError
from annotator.json_types import JsonObject
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary

MAX_TAGS = 200
"""Most tags of one photo."""


class PhotoAccess:
    """Checks that every operation on a photo makes first.

    Args:
        queue: The photos.
        leases: Which user has which photo open.
        assignments: Which photo is assigned to whom.
        responses: Photos that several people are asked about.
        review_rules: What each person may see and change of such photos.
        vocabulary: The project's spellings of tags.
    """

    def __init__(
        self,
        queue: PhotoQueue,
        leases: Leases,
        assignments: Assignments,
        responses: Responses,
        review_rules: ReviewRules,
        vocabulary: ProjectVocabulary,
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._assignments = assignments
        self._responses = responses
        self._review_rules = review_rules
        self._vocabulary = vocabulary

    def check(self, image_id: int) -> None:
        """Refuse an unknown photo.

        Raises:
            UnknownImageError: The project has no such image.
        """
        if image_id not in self._queue:
            raise UnknownImageError(f"This project has no image {image_id}.")

    def check_unlocked(self, user: str, image_id: int) -> None:
        """Refuse a change by somebody who cannot change this photo now.

        Raises:
            ForbiddenError: It is assigned to somebody else.
            ReviewError: Others are asked about it, or it is in review or accepted.
        """
        self.check_assigned(user, image_id)
        reason = self._review_rules.lock(user, image_id)
        if reason:
            raise ReviewError(f"{reason} Nothing was changed.")

    def assigned_to_other(self, user: str, image_id: int) -> str | None:
        """Return why a photo is assigned to somebody else; None if it is not. Reviewers may change every photo."""
        owner = self._assignments.of(image_id)
        if owner in (None, user) or self._review_rules.may_review(user):
            return None
        return f"This photo is assigned to {owner}: a reviewer can change it, an admin can assign it to you."

    def check_assigned(self, user: str, image_id: int) -> None:
        """Refuse a change of a photo that is assigned to somebody else.

        Raises:
            ForbiddenError: It is assigned to somebody else.
        """
        reason = self.assigned_to_other(user, image_id)
        if reason:
            raise ForbiddenError(f"{reason} Nothing was changed.")

    def hold(self, user: str, image_id: int) -> None:
        """Take or renew the user's lease of a photo.

        Raises:
            LeaseError: Somebody else has this photo open.
        """
        if not self.take(user, image_id):
            raise LeaseError(self._leases.holders(image_id))

    def take(self, user: str, image_id: int) -> bool:
        """Take or renew the user's lease of a photo; return whether that was possible."""
        places = self._review_rules.places(user, image_id)
        return places == 0 or self._leases.take(image_id, user, places)

    def is_free_for(self, user: str) -> Callable[[int], bool]:
        """Return a function that tells whether a photo can be given to this user."""
        return lambda image_id: (
            self._assignments.is_open_to(image_id, user)
            and self._responses.is_open_to(image_id, user)
            and self._leases.is_free(image_id, user, self._review_rules.places(user, image_id))
        )

    def clean(self, tags: Sequence[str], what: str, own: Sequence[str] = ()) -> list[str]:
        """Return tags without repeats, in the project's spelling.

        Args:
            tags: As they were sent.
            what: ``kept`` or ``dropped``, for the error message.
            own: The saved tags of the photo that gets them.

        Raises:
            TagError: They are too many, or one cannot be a tag.
        """
        if len(tags) > MAX_TAGS:
            raise TagError(f"{len(tags)} tags were {what}; a photo can have at most {MAX_TAGS}.")
        cleaned: dict[str, str] = {}
        for tag in tags:
            spelled = self._vocabulary.spelling(clean_tag(tag), own)
            cleaned.setdefault(tag_key(spelled), spelled)
        return list(cleaned.values())

    def respelled(self, tags: Sequence[str], own: Sequence[str]) -> list[JsonObject]:
        """Return the tags that `clean` gives another spelling or name.

        With the number of photos of that one, and whether it was on the photo before.
        """
        found = []
        for tag in map(clean_tag, tags):
            spelled = self._vocabulary.spelling(tag, own)
            if spelled != tag:
                found.append(
                    {
                        "typed": tag,
                        "saved": spelled,
                        "num_photos": self._vocabulary.num_photos(spelled),
                        "was_saved": tag_key(spelled) in map(tag_key, own),
                    }
                )
        return found
