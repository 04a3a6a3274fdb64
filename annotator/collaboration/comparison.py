"""Compares the responses to one photo for a reviewer: side by side, with measures of agreement.

Changes nothing. Knows nothing of roles, HTTP, or how a decision is stored (collaboration/responses.py).
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
    """The photos in review, one after another.

    Args:
        log: The correction log.
        responses: The responses of the project.
        review_rules: Who may see what.
        facts: Returns what the page needs to show a photo.
    """

    def __init__(
        self,
        log: CorrectionLog,
        responses: Responses,
        review_rules: ReviewRules,
        facts: Callable[[int], dict[str, Any]],
    ) -> None:
        self._log = log
        self._responses = responses
        self._review_rules = review_rules
        self._facts = facts

    def next_in_review(self, after: int | None) -> int | None:
        """Return the photo in review after one, and after the last the first; None if there is none."""
        waiting = self._responses.in_state("in_review")
        later = [image_id for image_id in waiting if after is not None and image_id > after]
        return next(iter(later or waiting), None)

    def compare(self, user: str, image_id: int) -> dict[str, Any]:
        """Return the responses to a photo and their agreement.

        Returns:
            ``answers``: the responses in the order in which they were first given; ``pairs``, ``mean``, ``tags`` and
            ``places`` as reports/agreement.py measures them; ``revision`` and ``revisions`` for the decision;
            ``decisions``: earlier ones.

        Raises:
            ReviewError: Nobody is asked about the photo, or this person may not see its responses yet.
        """
        state = self._responses.state(image_id)
        if state is None:
            raise ReviewError(
                "This photo is not asked of anybody. To review a saved list: "
                f"annotator assign PROJECT --people 1 --state saved --images {image_id}"
            )
        if not self._review_rules.may_see_responses(user, image_id):
            raise ReviewError("Answers to this photo are still awaited: nobody sees them before all are there.")
        responses = self._responses.all(image_id)
        annotation = self._log.annotation(image_id)
        in_review = self._responses.in_state("in_review")
        return {
            "image_id": image_id,
            **self._facts(image_id),
            "state": state,
            "place": in_review.index(image_id) + 1 if image_id in in_review else 0,
            "num_in_review": len(in_review),
            "asked_of": self._responses.num_people(image_id),
            "revision": annotation.revision,
            "revisions": self._responses.revisions(image_id),
            "accepted": list(annotation.tags) if state == "accepted" else None,
            "answers": [self._row(image_id, response) for response in responses],
            **_measures(responses),
            "decisions": [
                {**row, "created_at": utc(row["created_at"])} for row in self._responses.review_rows(image_id)
            ],
        }

    def _row(self, image_id: int, response: Annotation) -> dict[str, Any]:
        note = self._responses.note(image_id, response.user_name)
        return {
            "user": response.user_name,
            "revision": response.revision,
            "answered_at": utc(response.saved_at) if response.saved_at else "",
            "tags": list(response.tags),
            "dropped": list(response.dropped),
            "is_sent_back": note is not None,
        }


def _measures(responses: list[Annotation]) -> dict[str, Any]:
    lists = [response.tags for response in responses]
    pairs = [
        ([one.user_name, two.user_name], agreement_between(one.tags, two.tags))
        for one, two in combinations(responses, 2)
    ]
    return {
        "pairs": [{"users": users, **asdict(found)} for users, found in pairs],
        "mean": mean_agreement([found for _, found in pairs]),
        "tags": [asdict(item) for item in by_tag(lists)],
        "places": [asdict(item) for item in by_place(lists)],
    }
