"""What a reviewer looks at: the answers to one photo side by side, and how far they agree.

Changes nothing. Knows nothing of roles, HTTP, or how a decision is kept (collaboration/responses.py).
"""

from collections.abc import Callable
from dataclasses import asdict
from itertools import combinations
from typing import Any

from annotator.collaboration.responses import Responses
from annotator.collaboration.review_rules import ReviewRules
from annotator.errors import ReviewError
from annotator.reports.agreement import agreement_between, by_place, by_tag, mean_agreement
from annotator.storage.correction_log import Annotation, CorrectionLog
from annotator.storage.queries import utc


class ResponseComparison:
    """Photos in review, one after another.

    Args:
        log: The standing lists.
        answers: People's answers.
        reviewing: Who may see what.
        facts: Returns what the page needs to show a photo.
    """

    def __init__(
        self, log: CorrectionLog, answers: Responses, reviewing: ReviewRules, facts: Callable[[int], dict[str, Any]]
    ) -> None:
        self._log = log
        self._answers = answers
        self._reviewing = reviewing
        self._facts = facts

    def following(self, after: int | None) -> int | None:
        """Return the photo in review after one, from the first again at the end; None when there is none."""
        waiting = self._answers.in_state("in_review")
        later = [image_id for image_id in waiting if after is not None and image_id > after]
        return next(iter(later or waiting), None)

    def look(self, user: str, image_id: int) -> dict[str, Any]:
        """Return a photo's answers and how far they agree.

        Returns:
            ``answers`` in the order in which they were first given; ``pairs``, ``mean``, ``tags`` and ``places`` as
            reports/agreement.py measures them; ``revision`` and ``revisions`` for the decision; ``decisions`` made before.

        Raises:
            ReviewError: The photo is not asked of anybody, or this person may not see its answers yet.
        """
        standing = self._answers.standing(image_id)
        if standing is None:
            raise ReviewError(
                "This photo is not asked of anybody. To review a saved list: "
                f"annotator assign PROJECT --people 1 --state saved --images {image_id}"
            )
        if not self._reviewing.may_see_answers(user, image_id):
            raise ReviewError("Answers to this photo are still awaited: nobody sees them before all are there.")
        given = self._answers.all(image_id)
        annotation = self._log.annotation(image_id)
        in_review = self._answers.in_state("in_review")
        return {
            "image_id": image_id,
            **self._facts(image_id),
            "state": standing,
            "place": in_review.index(image_id) + 1 if image_id in in_review else 0,
            "num_in_review": len(in_review),
            "asked_of": self._answers.num_people(image_id),
            "revision": annotation.revision,
            "revisions": self._answers.revisions(image_id),
            "accepted": list(annotation.tags) if standing == "accepted" else None,
            "answers": [self._answer(image_id, one) for one in given],
            **_measures(given),
            "decisions": [{**row, "created_at": utc(row["created_at"])} for row in self._answers.review_rows(image_id)],
        }

    def _answer(self, image_id: int, given: Annotation) -> dict[str, Any]:
        note = self._answers.note(image_id, given.user_name)
        return {
            "user": given.user_name,
            "revision": given.revision,
            "answered_at": utc(given.saved_at) if given.saved_at else "",
            "tags": list(given.tags),
            "dropped": list(given.dropped),
            "is_sent_back": note is not None,
        }


def _measures(given: list[Annotation]) -> dict[str, Any]:
    lists = [one.tags for one in given]
    pairs = [
        ([one.user_name, two.user_name], agreement_between(one.tags, two.tags)) for one, two in combinations(given, 2)
    ]
    return {
        "pairs": [{"users": users, **asdict(found)} for users, found in pairs],
        "mean": mean_agreement([found for _, found in pairs]),
        "tags": [asdict(item) for item in by_tag(lists)],
        "places": [asdict(item) for item in by_place(lists)],
    }
