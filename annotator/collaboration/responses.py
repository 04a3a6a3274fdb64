"""Responses of several people to one photo, each blind to the others, and the decisions of reviewers.

Responses are kept apart from the correction log (storage/correction_log.py): until a reviewer accepts a list, no part
of a response is used for neighbours, completions, the model or an export. Responses and decisions are appended, never
changed. The tables are named `asked`, `answers` and `reviews`. Knows nothing of roles, pages or proposals.
"""

import json
import threading
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from annotator.collaboration.asked_photo import AskedPhoto, AskedState, Note
from annotator.errors import ReviewError, StaleRevisionError
from annotator.storage.correction_log import Annotation, CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.queries import Cursor, utc_now
from annotator.storage.stable_hash import hash_key

MOST_PEOPLE = 20
"""Most people who can be asked about one photo."""


class Responses:
    """The photos of one project that several people are asked about, the responses, and the decisions on them.

    Args:
        store: The open database.
        log: The correction log on it.
    """

    def __init__(self, store: Store, log: CorrectionLog) -> None:
        self._store = store
        self._log = log
        self._lock = threading.RLock()
        self._asked: dict[int, AskedPhoto] = {}
        # By state, so that no call searches all photos.
        self._by_state: dict[AskedState, set[int]] = {"waiting": set(), "in_review": set(), "accepted": set()}
        self._sent_back: set[int] = set()
        self._responded: dict[str, set[int]] = {}
        """Per person: photos with a response of theirs, and with outstanding responses of others."""
        self._load()

    def _load(self) -> None:
        for image_id, num_people, people in self._store.rows("SELECT image_id, num_people, people FROM asked"):
            self._asked[int(image_id)] = AskedPhoto(int(num_people), tuple(people))
        responses = self._store.rows(
            "SELECT answer_id, 0, image_id, user_name, revision, is_given FROM answers ORDER BY answer_id"
        )
        reviews = self._store.rows(
            "SELECT answer_id, review_id, image_id, user_name, created_at, verdict, note, people FROM reviews "
            "ORDER BY review_id"
        )
        # A decision follows the responses it was made on; later responses follow the decision.
        for _, review_id, image_id, user, *rest in sorted([*responses, *reviews], key=lambda row: row[:2]):
            if review_id == 0:
                self._apply_response(int(image_id), user, *rest)
            else:
                created_at, verdict, note, people = rest
                self._apply_review(int(image_id), verdict, people, Note(user, note, created_at))
        for image_id in self._asked:
            self._update_state(image_id)

    def _apply_response(self, image_id: int, user: str, revision: int, is_given: bool) -> None:
        asked = self._asked[image_id]
        asked.revisions[user] = revision
        asked.sent_back.pop(user, None)
        if is_given:
            asked.responded.add(user)
        else:
            asked.responded.discard(user)

    def _apply_review(self, image_id: int, verdict: str, people: Iterable[str], note: Note) -> None:
        asked = self._asked[image_id]
        asked.is_accepted = verdict == "accepted"
        asked.sent_back = {} if asked.is_accepted else {**asked.sent_back, **dict.fromkeys(people, note)}

    def _update_state(self, image_id: int) -> None:
        """Update the sets of photos by state."""
        asked = self._asked[image_id]
        state = asked.state
        for name, image_ids in self._by_state.items():
            _put(image_ids, image_id, is_in=name == state)
        _put(self._sent_back, image_id, is_in=bool(asked.sent_back))
        for user in asked.revisions:
            is_waiting = state == "waiting" and user in asked.responded and user not in asked.sent_back
            _put(self._responded.setdefault(user, set()), image_id, is_in=is_waiting)

    # States

    def state(self, image_id: int) -> AskedState | None:
        """Return the state of a photo that several people are asked about; None for any other photo."""
        asked = self._asked.get(image_id)
        return asked.state if asked else None

    def is_complete(self, image_id: int) -> bool:
        """Tell whether there are as many responses to a photo as were asked for."""
        asked = self._asked.get(image_id)
        return asked is not None and asked.is_complete

    def num_people(self, image_id: int) -> int:
        """Return how many people are asked about a photo; 0 if it is saved by one, as usual."""
        asked = self._asked.get(image_id)
        return asked.num_people if asked else 0

    def num_wanted(self, image_id: int) -> int:
        """Return how many responses to a photo are outstanding; 0 if nobody is asked."""
        asked = self._asked.get(image_id)
        return asked.num_wanted if asked else 0

    def is_open_to(self, image_id: int, user: str) -> bool:
        """Tell whether a photo may be shown to a person for tagging; True if it is saved by one, as usual."""
        asked = self._asked.get(image_id)
        return asked is None or asked.is_open_to(user)

    def has_responded(self, image_id: int, user: str) -> bool:
        """Tell whether there is a response of a person that was not taken back."""
        asked = self._asked.get(image_id)
        return asked is not None and user in asked.responded

    def may_revise(self, image_id: int, user: str) -> bool:
        """Tell whether a person may still give or change their own response."""
        asked = self._asked[image_id]
        return asked.is_open_to(user) or (user in asked.responded and asked.state == "waiting")

    def in_state(self, state: AskedState) -> list[int]:
        """Return the photos in a state, ascending."""
        with self._lock:
            return sorted(self._by_state[state])

    def counts(self) -> dict[AskedState, int]:
        """Return the number of photos in each state."""
        return {state: len(image_ids) for state, image_ids in self._by_state.items()}

    def waiting_for_others(self, user: str) -> list[int]:
        """Return the photos with a response of this person and with outstanding responses of others."""
        with self._lock:
            return list(self._responded.get(user, ()))

    def sent_back_to(self, user: str) -> list[int]:
        """Return the photos that a reviewer sent back to this person, ascending."""
        with self._lock:
            return sorted(i for i in self._sent_back if user in self._asked[i].sent_back)

    def note(self, image_id: int, user: str) -> Note | None:
        """Return why a photo was sent back to a person, until their next response."""
        asked = self._asked.get(image_id)
        return asked.sent_back.get(user) if asked else None

    # Asking

    def ask(
        self, image_ids: Iterable[int], num_people: int, people: Sequence[str], asked_by: str, first: int = 0
    ) -> list[Annotation]:
        """Ask several people about photos, or change the number of people.

        A saved list counts as the response of the person who saved it. If more responses are wanted, the photo is
        opened again, so that nobody sees that list before saving their own.

        Args:
            image_ids: The photos; accepted ones do not change.
            num_people: How many responses are wanted; 0 withdraws the question where there is no response.
            people: Who may respond; ``num_people`` of them are asked about each photo, in turn. Empty: anybody.
            asked_by: Who asks.
            first: With a call in parts: how many photos the earlier calls asked about.

        Returns:
            The annotations that changed.

        Raises:
            ReviewError: The number cannot be asked for.
            StoreError: A commit failed; earlier photos are done, and the call can be repeated.
        """
        if not 0 <= num_people <= MOST_PEOPLE:
            raise ReviewError(f"A photo can be asked of 1 to {MOST_PEOPLE} people (0 withdraws), not {num_people:,}.")
        people = list(dict.fromkeys(people))  # who is named twice can answer once
        if people and len(people) < num_people:
            raise ReviewError(f"{num_people} answers are wanted of {len(people)} people: name more, or want fewer.")
        with self._lock:
            open_ids = [i for i in dict.fromkeys(image_ids) if self.state(i) != "accepted"]
            if num_people == 0:
                self._withdraw([i for i in open_ids if i in self._asked and not self._asked[i].revisions])
                return []
            rows = [(i, num_people, _in_turn(people, index, num_people)) for index, i in enumerate(open_ids, first)]
            saved = {i for i in open_ids if self._log.annotation(i).is_saved}
            self._write_asked([row for row in rows if row[0] not in saved], asked_by)
            changed = [self._ask_saved(row, asked_by) for row in rows if row[0] in saved]
        return [annotation for annotation in changed if annotation is not None]

    def _withdraw(self, image_ids: list[int]) -> None:
        with self._store.transaction() as cursor:
            cursor.execute("DELETE FROM asked WHERE image_id IN (SELECT unnest(?::INTEGER[]))", [image_ids])
        for image_id in image_ids:
            self._by_state[self._asked.pop(image_id).state].discard(image_id)

    def _write_asked(self, rows: Sequence[tuple[int, int, list[str]]], asked_by: str) -> None:
        with self._store.transaction() as cursor:
            _insert_asked(cursor, rows, asked_by)
        for row in rows:
            self._apply_asked(row)

    def _apply_asked(self, row: tuple[int, int, list[str]]) -> None:
        image_id, num_people, people = row
        asked = self._asked.setdefault(image_id, AskedPhoto(num_people, tuple(people)))
        asked.num_people, asked.people = num_people, tuple(people)
        self._update_state(image_id)

    def _ask_saved(self, row: tuple[int, int, list[str]], asked_by: str) -> Annotation | None:
        """Ask about a photo with a saved list; return its annotation if that opens the photo again."""
        image_id, num_people, _ = row
        saved = self._log.annotation(image_id)
        is_new = image_id not in self._asked
        num_responses = 1 if is_new else len(self._asked[image_id].responded)
        rows = self._store.rows("SELECT event_id FROM annotations WHERE image_id = ?", [image_id])
        saved_by_event = int(rows[0][0])

        def write(cursor: Cursor, event_id: int | None) -> None:
            _insert_asked(cursor, [row], asked_by)
            if is_new:
                moment = saved.saved_at or utc_now()
                _insert_response(cursor, self._next("answers"), saved, Effort(), moment, saved_by_event)

        reopened = None
        if num_people > num_responses:
            reopened = self._log.record("reopen", saved, (), (), False, asked_by, also=write)
        else:
            with self._store.transaction() as cursor:
                write(cursor, None)
        self._apply_asked(row)
        if is_new:
            self._apply_response(image_id, saved.user_name, saved.revision, True)
            self._update_state(image_id)
        return reopened

    # Responding

    def own(self, image_id: int, user: str) -> Annotation:
        """Return a person's own response; revision 0 if there is none."""
        revision = self._asked[image_id].revisions.get(user, 0)
        if not revision:
            return Annotation(image_id)
        rows = self._store.rows(
            "SELECT tags, dropped, is_given, created_at FROM answers WHERE image_id = ? AND user_name = ? AND "
            "revision = ?",
            [image_id, user, revision],
        )
        tags, dropped, is_given, created_at = rows[0]
        return Annotation(image_id, revision, tuple(tags), tuple(dropped), is_given, user, created_at)

    def own_tags(self, image_ids: Sequence[int], user: str) -> dict[int, list[str]]:
        """Return a person's own responses to some photos, without those that were taken back."""
        wanted = [i for i in image_ids if i in self._asked and user in self._asked[i].responded]
        if not wanted:
            return {}
        rows = self._store.rows(
            "SELECT image_id, arg_max(tags, revision) FROM answers WHERE user_name = ? AND image_id IN "
            "(SELECT unnest(?::INTEGER[])) GROUP BY image_id",
            [user, wanted],
        )
        return {int(image_id): list(tags) for image_id, tags in rows}

    def all(self, image_id: int) -> list[Annotation]:
        """Return the responses to a photo that were not taken back, in the order in which they were first given."""
        rows = self._store.rows(
            "SELECT user_name FROM answers WHERE image_id = ? GROUP BY user_name ORDER BY min(answer_id)", [image_id]
        )
        return [self.own(image_id, user) for (user,) in rows if self.has_responded(image_id, user)]

    def give(
        self, image_id: int, user: str, *, revision: int, tags: Sequence[str], dropped: Sequence[str], effort: Effort
    ) -> Annotation:
        """Append a person's response; on disk when this returns. Responses of others do not change.

        Raises:
            StaleRevisionError: They responded in another window meanwhile; nothing was written.
            ReviewError: Their response is not wanted any more.
            StoreError: The commit failed; nothing was written.
        """
        with self._lock:
            if not self.may_revise(image_id, user):
                raise ReviewError("This photo has all its answers, or is not asked of you. Nothing was saved.")
            return self._append(
                Annotation(image_id, revision, tuple(tags), tuple(dropped), True, user), effort, keeps_draft=False
            )

    def _append(self, new: Annotation, effort: Effort, *, keeps_draft: bool) -> Annotation:
        """Append a response made on the revision that ``new`` names."""
        current = self.own(new.image_id, new.user_name)
        if current.revision != new.revision:
            saved_at = current.saved_at.isoformat(timespec="seconds") + "Z" if current.saved_at else ""
            raise StaleRevisionError(
                "You have answered this photo in another window since you opened it. Nothing was overwritten.",
                revision=current.revision, tags=list(current.tags), user=new.user_name, saved_at=saved_at,
            )  # fmt: skip
        now = utc_now()
        response = Annotation(new.image_id, new.revision + 1, new.tags, new.dropped, new.is_saved, new.user_name, now)
        with self._log.writing_draft(new.image_id, new.user_name, keeps_draft=keeps_draft) as cursor:
            newest = cursor.execute("SELECT coalesce(max(event_id), 0) FROM events").fetchone()
            assert newest is not None  # an aggregate has one row
            _insert_response(cursor, self._next("answers"), response, effort, now, int(newest[0]))
        self._apply_response(new.image_id, new.user_name, response.revision, response.is_saved)
        self._update_state(new.image_id)
        return response

    def newest(self, user: str) -> tuple[int, int] | None:
        """Return the photo of a person's newest response that can be taken back, and the last event before it."""
        rows = self._store.rows(
            "SELECT image_id, after_event, is_given FROM answers WHERE user_name = ? "
            "QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY revision DESC) = 1 ORDER BY answer_id DESC",
            [user],
        )
        for image_id, after_event, is_given in rows:
            if is_given and self.state(int(image_id)) != "accepted":
                return int(image_id), int(after_event)
        return None

    def taken_back(self, user: str) -> int | None:
        """Return the photo of the response that this person took back last, if nothing came after that."""
        rows = self._store.rows(
            "SELECT image_id, is_given FROM answers WHERE user_name = ? ORDER BY answer_id DESC LIMIT 1", [user]
        )
        return int(rows[0][0]) if rows and not rows[0][1] else None

    def take_back(self, image_id: int, user: str) -> tuple[Annotation, Annotation]:
        """Take back a person's response, by another entry; return the response and what replaces it.

        Raises:
            StoreError: The commit failed; nothing was written.
        """
        with self._lock:
            was = self.own(image_id, user)
            now = Annotation(image_id, was.revision, (), (), False, user)
            return was, self._append(now, Effort(), keeps_draft=True)

    # Deciding

    def accept(
        self, current: Annotation, tags: Sequence[str], dropped: Sequence[str], reviewer: str, effort: Effort,
        seen: dict[str, int] | None, taken_from: str | None,
    ) -> Annotation:  # fmt: skip
        """Make a list the accepted one; on disk, with the decision, when this returns.

        Args:
            current: The photo's annotation on which the reviewer decided.
            tags: The accepted list, most important first.
            dropped: Proposals refused.
            reviewer: Who decides.
            effort: What it cost.
            seen: The revision of each response that the reviewer saw; None if they saw none.
            taken_from: Whose response was accepted unchanged, if one was.

        Raises:
            ReviewError: Responses are outstanding.
            StaleRevisionError: The list or a response changed meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
        """
        image_id = current.image_id
        with self._lock:
            self._check_decidable(image_id, seen)
            annotation = self._log.record(
                "accept", current, tags, dropped, True, reviewer, effort,
                also=lambda cursor, event_id: self._insert_review(
                    cursor, image_id, reviewer, "accepted", "", [taken_from] if taken_from else [], event_id
                ),
            )  # fmt: skip
            self._apply_review(image_id, "accepted", [], Note(reviewer, "", utc_now()))
            self._update_state(image_id)
        return annotation

    def send_back(
        self, decided_on: Annotation, people: Sequence[str], note: str, reviewer: str, seen: dict[str, int] | None
    ) -> Annotation | None:
        """Ask people to respond again, with a note; a saved list does not count until then.

        Args:
            decided_on: The photo's annotation on which the reviewer decided; its revision counts.
            people: Whose responses; empty: everybody's.
            note: What they read when they get the photo again.
            reviewer: Who decides.
            seen: The revision of each response that the reviewer saw.

        Returns:
            The annotation, if that changed.

        Raises:
            ReviewError: Responses are outstanding, or one of these people has given none.
            StaleRevisionError: The list or a response changed meanwhile; nothing was written.
            StoreError: The commit failed; nothing was written.
        """
        image_id = decided_on.image_id
        with self._lock:
            self._check_decidable(image_id, seen)
            asked = self._asked[image_id]
            without_response = set(people) - asked.responded
            if without_response:
                raise ReviewError(f"{min(without_response)[:80]!r} has not answered this photo.")
            wanted = list(people) or sorted(asked.responded)
            current = self._log.annotation(image_id)
            if current.revision != decided_on.revision:
                raise _stale(current, "This photo's list changed while you looked at it. Nothing was decided.")

            def write(cursor: Cursor, event_id: int | None) -> None:
                self._insert_review(cursor, image_id, reviewer, "sent_back", note, wanted, event_id)

            changed = None
            if current.is_saved:
                changed = self._log.record("reopen", current, (), (), False, reviewer, also=write)
            else:
                with self._store.transaction() as cursor:
                    write(cursor, None)
            self._apply_review(image_id, "sent_back", wanted, Note(reviewer, note, utc_now()))
            self._update_state(image_id)
        return changed

    def revisions(self, image_id: int) -> dict[str, int]:
        """Return the revision of each response that was not taken back."""
        asked = self._asked[image_id]
        return {user: asked.revisions[user] for user in sorted(asked.responded)}

    def _check_decidable(self, image_id: int, seen: dict[str, int] | None) -> None:
        if image_id not in self._asked or not self._asked[image_id].is_complete:
            raise ReviewError("This photo is not in review: it is not asked of anybody, or answers are still awaited.")
        if seen is not None and seen != self.revisions(image_id):
            current = self._log.annotation(image_id)
            raise _stale(current, "An answer to this photo changed while you looked at it. Nothing was decided.")

    def _insert_review(
        self, cursor: Cursor, image_id: int, reviewer: str, verdict: str, note: str, people: Sequence[str],
        event_id: int | None,
    ) -> None:  # fmt: skip
        newest_response = self._next("answers") - 1
        cursor.execute(
            "INSERT INTO reviews VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                self._next("reviews"),
                image_id,
                reviewer,
                utc_now(),
                verdict,
                note,
                list(people),
                newest_response,
                event_id,
            ],
        )

    def _next(self, table: Literal["answers", "reviews"]) -> int:
        column = {"answers": "answer_id", "reviews": "review_id"}[table]
        return int(self._store.rows(f"SELECT coalesce(max({column}), 0) + 1 FROM {table}")[0][0])

    # History

    def response_rows(self, image_id: int) -> list[dict[str, Any]]:
        """Return every response to a photo, also those taken back, oldest first."""
        columns = ("answer_id", "user_name", "revision", "created_at", "is_given", "tags", "dropped", "tagger",
                   "shown", "seconds")  # fmt: skip
        rows = self._store.rows(
            f"SELECT {', '.join(columns)} FROM answers WHERE image_id = ? ORDER BY answer_id", [image_id]
        )
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        for row in found:
            row["shown"] = json.loads(row["shown"])
        return found

    def review_rows(self, image_id: int) -> list[dict[str, Any]]:
        """Return every decision on a photo, oldest first."""
        columns = ("review_id", "user_name", "created_at", "verdict", "note", "people", "event_id")
        rows = self._store.rows(
            f"SELECT {', '.join(columns)} FROM reviews WHERE image_id = ? ORDER BY review_id", [image_id]
        )
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def question(self, image_id: int) -> tuple[str, datetime] | None:
        """Return who last asked people about a photo, and when."""
        rows = self._store.rows("SELECT asked_by, asked_at FROM asked WHERE image_id = ?", [image_id])
        return (str(rows[0][0]), rows[0][1]) if rows else None


def _stale(current: Annotation, message: str) -> StaleRevisionError:
    return StaleRevisionError(
        message, revision=current.revision, tags=list(current.tags), user=current.user_name, saved_at=""
    )


def _put(image_ids: set[int], image_id: int, *, is_in: bool) -> None:
    if is_in:
        image_ids.add(image_id)
    else:
        image_ids.discard(image_id)


def in_share(content_hash: str, share: float) -> bool:
    """Tell whether a photo belongs to a share of all photos; depends on its content only, so a draw can be repeated."""
    return hash_key("asked", content_hash) < share


def _in_turn(people: Sequence[str], index: int, num_people: int) -> list[str]:
    """Return who is asked about the photo at an index, so that all people get equally many."""
    start = index * num_people
    return [people[(start + step) % len(people)] for step in range(num_people)] if people else []


def _insert_asked(cursor: Cursor, rows: Sequence[tuple[int, int, list[str]]], asked_by: str) -> None:
    """Write (image id, number of people, people) rows, one statement for each group of the same people."""
    groups: dict[tuple[int, tuple[str, ...]], list[int]] = {}
    for image_id, num_people, people in rows:
        groups.setdefault((num_people, tuple(people)), []).append(image_id)
    for (num_people, names), image_ids in groups.items():
        cursor.execute(
            "INSERT OR REPLACE INTO asked SELECT unnest(?::INTEGER[]), ?, ?::VARCHAR[], ?, ?",
            [image_ids, num_people, list(names), asked_by, utc_now()],
        )


def _insert_response(
    cursor: Cursor, response_id: int, response: Annotation, effort: Effort, created_at: datetime, after_event: int
) -> None:
    cursor.execute(
        "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            response_id, response.image_id, response.user_name, response.revision, created_at, response.is_saved,
            list(response.tags), list(response.dropped), effort.tagger, json.dumps(list(effort.shown)),
            json.dumps(list(effort.actions)), effort.seconds, effort.num_keys, effort.num_clicks,
            after_event,
        ],
    )  # fmt: skip
