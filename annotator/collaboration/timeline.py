"""The time line of one photo: who did what when, what it changed, and which model had proposed it.

Joins the correction log with responses and the decisions of reviewers; shows each person only what they may see.
Knows nothing of SQL, roles or pages.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from annotator.collaboration.responses import Responses
from annotator.collaboration.review_rules import ReviewRules
from annotator.datasets.tags import tag_key
from annotator.errors import ReviewError
from annotator.storage.correction_log import Annotation, CorrectionLog
from annotator.storage.queries import utc

Entry = dict[str, Any]

LISTS = (
    "added",
    "save",
    "undo",
    "rename",
    "reopen",
    "accept",
    "restore",
    "import",
    "suggest",
    "reorder",
    "edit",
    "answer",
    "take_back",
)
"""Kinds of entry that hold a list, which can be restored."""


class Timeline:
    """What happened to each photo.

    Args:
        log: The correction log.
        responses: Responses, and the decisions of reviewers.
        review_rules: Who may see what.
    """

    def __init__(self, log: CorrectionLog, responses: Responses, review_rules: ReviewRules) -> None:
        self._log = log
        self._responses = responses
        self._review_rules = review_rules

    def entries(self, user: str, image_id: int, added_at: datetime) -> list[Entry]:
        """Return what this person may see of a photo's history, oldest first.

        Args:
            user: For whom.
            image_id: The photo.
            added_at: When it was added to the project.

        Returns:
            For each entry ``id``, ``kind``, ``user``, ``at``, ``revision``, ``tags`` (null where it holds no list),
            ``dropped``, ``changes`` (``added`` with the proposal each tag was, ``removed``, ``moved``), ``tagger``,
            ``seconds``, ``note``, ``people``, ``is_current`` and ``can_restore``.
        """
        found = [_added(added_at), *self._events(user, image_id), *self._asked(image_id)]
        found += self._given_responses(user, image_id)
        found += self._decisions(user, image_id)
        found.sort(key=lambda entry: entry["at"])  # stable: entries of the same time keep this order
        current = self._current(user, image_id)
        for entry in found:
            entry["is_current"] = entry["id"] == current
            entry["can_restore"] = not entry["is_current"] and self._can_restore(user, image_id, entry)
            entry["at"] = utc(entry["at"])
        return found

    def state_of(self, user: str, image_id: int, entry_id: str, added_at: datetime) -> Annotation:
        """Return the list that an entry holds, to be restored.

        Raises:
            ReviewError: There is no such entry, or this person cannot restore it.
        """
        for entry in self.entries(user, image_id, added_at):
            if entry["id"] == entry_id and entry["can_restore"]:
                return Annotation(image_id, 0, tuple(entry["tags"]), tuple(entry["dropped"]), entry["is_saved"])
        raise ReviewError(f"{entry_id[:40]!r} is no earlier state of this photo that you can restore.")

    def _current(self, user: str, image_id: int) -> str | None:
        if self._review_rules.is_personal(user, image_id):
            own = [row["answer_id"] for row in self._responses.response_rows(image_id) if row["user_name"] == user]
            return f"answer:{own[-1]}" if own else None
        events = [event["event_id"] for event in self._log.history(image_id) if event["kind"] != "skip"]
        return f"event:{events[-1] if events else 0}"

    def _can_restore(self, user: str, image_id: int, entry: Entry) -> bool:
        if entry["kind"] not in LISTS or self._review_rules.lock(user, image_id):
            return False
        if self._review_rules.is_personal(user, image_id):
            return bool(entry["kind"] == "answer" and entry["user"] == user)
        if self._responses.state(image_id) == "accepted":
            return bool(entry["is_saved"])
        return self._responses.state(image_id) is None and entry["kind"] not in ("answer", "take_back")

    def _events(self, user: str, image_id: int) -> Iterator[Entry]:
        notes = {row["event_id"]: row for row in self._responses.review_rows(image_id)}
        for event in self._review_rules.history(user, image_id):
            is_list = event["kind"] != "skip"
            review = notes.get(event["event_id"], {"note": "", "people": []})
            yield {
                "id": f"event:{event['event_id']}",
                "kind": "taken_up" if not is_list and event["undoes"] else event["kind"],
                "user": event["user_name"],
                "at": event["created_at"],
                "revision": event["revision"],
                "tags": event["after_tags"] if is_list else None,
                "dropped": event["dropped"],
                "is_saved": event["is_saved"],
                "changes": changes(event["before_tags"], event["after_tags"], event["shown"]) if is_list else None,
                "tagger": event["tagger"] or "",
                "seconds": event["seconds"] or 0.0,
                "note": review["note"],
                "people": review["people"],
            }

    def _given_responses(self, user: str, image_id: int) -> Iterator[Entry]:
        sees_all = self._review_rules.may_see_responses(user, image_id)
        before: dict[str, list[str]] = {}
        for row in self._responses.response_rows(image_id):
            who = row["user_name"]
            if sees_all or who == user:
                yield {
                    "id": f"answer:{row['answer_id']}",
                    "kind": "answer" if row["is_given"] else "take_back",
                    "user": who,
                    "at": row["created_at"],
                    "revision": row["revision"],
                    "tags": row["tags"],
                    "dropped": row["dropped"],
                    "is_saved": row["is_given"],
                    "changes": changes(before.get(who, []), row["tags"], row["shown"]),
                    "tagger": row["tagger"],
                    "seconds": row["seconds"],
                    "note": "",
                    "people": [],
                }
            before[who] = row["tags"]

    def _asked(self, image_id: int) -> Iterator[Entry]:
        question = self._responses.question(image_id)
        if question is not None:
            yield _plain("asked:1", "asked", question[0], question[1])

    def _decisions(self, user: str, image_id: int) -> Iterator[Entry]:
        """Yield the decisions that changed no saved list; the others are part of their event."""
        if not self._review_rules.may_see_responses(user, image_id):
            return  # a note describes the responses
        for row in self._responses.review_rows(image_id):
            if row["verdict"] == "sent_back" and row["event_id"] is None:
                entry = _plain(f"review:{row['review_id']}", "sent_back", row["user_name"], row["created_at"])
                yield {**entry, "note": row["note"], "people": row["people"]}


def changes(before: Sequence[str], after: Sequence[str], shown: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how a list changed, tag by tag; places count from 1.

    Args:
        before: The list before the change.
        after: The list after it.
        shown: The proposals first shown, best first: ``{"tag", "score", "source"}`` each.

    Returns:
        ``added``: tag, place and its proposal (rank, source, score), if it was proposed; ``removed``: tags; ``moved``:
        tag, from and to, of tags whose order among the remaining ones changed.
    """
    proposed = {
        tag_key(item["tag"]): {"rank": rank, "source": item["source"], "score": item["score"]}
        for rank, item in reversed(list(enumerate(shown, start=1)))
    }
    remaining_before = [tag for tag in before if tag in set(after)]
    remaining_after = [tag for tag in after if tag in set(before)]
    return {
        "added": [
            {"tag": tag, "place": place, "proposal": proposed.get(tag_key(tag))}
            for place, tag in enumerate(after, start=1)
            if tag not in set(before)
        ],
        "removed": [tag for tag in before if tag not in set(after)],
        "moved": [
            {"tag": tag, "from": before.index(tag) + 1, "to": after.index(tag) + 1}
            for place, tag in enumerate(remaining_after)
            if remaining_before[place] != tag
        ],
    }


def _added(at: datetime) -> Entry:
    return {**_plain("event:0", "added", "", at), "tags": [], "dropped": []}


def _plain(entry_id: str, kind: str, user: str, at: datetime) -> Entry:
    return {
        "id": entry_id, "kind": kind, "user": user, "at": at, "revision": 0, "tags": None, "dropped": [],
        "is_saved": False, "changes": None, "tagger": "", "seconds": 0.0, "note": "", "people": [],
    }  # fmt: skip
