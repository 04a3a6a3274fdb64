"""The addresses that are told of every changed list, and how far each of them was told.

Knows nothing of HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from annotator.storage.queries import Queries, utc_now


@dataclass(frozen=True)
class Webhook:
    """One address."""

    webhook_id: int
    url: str
    secret: str
    """Key of the signatures, as text."""
    added_at: datetime
    position: int
    """The newest event that was delivered; 0: none."""
    num_delivered: int = 0
    problem: str = ""
    """Why the next event could not be delivered yet; empty: nothing is wrong."""


@dataclass(frozen=True)
class ListEvent:
    """An event that changed the list of a photo."""

    event_id: int
    kind: str
    image_id: int
    user_name: str
    created_at: datetime
    revision: int
    tags: tuple[str, ...]
    """After it, the most important first."""
    dropped: tuple[str, ...]
    is_saved: bool


class Webhooks:
    """The webhooks of one project.

    Args:
        store: The open database.
    """

    def __init__(self, store: Queries) -> None:
        self._store = store

    def all(self) -> list[Webhook]:
        """Return every webhook, the oldest first."""
        rows = self._store.rows(
            "SELECT webhook_id, url, secret, added_at, position, num_delivered, problem FROM webhooks "
            "ORDER BY webhook_id"
        )
        return [Webhook(*row) for row in rows]

    def get(self, webhook_id: int) -> Webhook:
        """Return one webhook as it is now.

        Raises:
            KeyError: There is none.
        """
        found = {webhook.webhook_id: webhook for webhook in self.all()}
        return found[webhook_id]

    def add(self, url: str, secret: str, *, from_start: bool = False) -> Webhook:
        """Add a webhook, which is told of what happens from now on, or of everything.

        Raises:
            StoreError: The commit failed.
        """
        newest = 0 if from_start else self.newest_event_id()
        webhook_id = int(self._store.rows("SELECT coalesce(max(webhook_id), 0) + 1 FROM webhooks")[0][0])
        with self._store.transaction() as cursor:
            row = [webhook_id, url, secret, utc_now(), newest]
            cursor.execute("INSERT INTO webhooks VALUES (?, ?, ?, ?, ?, 0, '')", row)
        return self.get(webhook_id)

    def remove(self, webhook_id: int) -> None:
        """Remove a webhook.

        Raises:
            StoreError: The commit failed.
        """
        with self._store.transaction() as cursor:
            cursor.execute("DELETE FROM webhooks WHERE webhook_id = ?", [webhook_id])

    def note_delivered(self, webhook_id: int, event_id: int) -> None:
        """Store that an event was delivered, and all before it.

        Raises:
            StoreError: The commit failed.
        """
        with self._store.transaction() as cursor:
            cursor.execute(
                "UPDATE webhooks SET position = ?, num_delivered = num_delivered + 1, problem = '' "
                "WHERE webhook_id = ?",
                [event_id, webhook_id],
            )

    def note_problem(self, webhook_id: int, problem: str) -> None:
        """Store why an event could not be delivered yet.

        Raises:
            StoreError: The commit failed.
        """
        with self._store.transaction() as cursor:
            cursor.execute("UPDATE webhooks SET problem = ? WHERE webhook_id = ?", [problem, webhook_id])

    def newest_event_id(self) -> int:
        """Return the id of the newest event; 0 without any."""
        return int(self._store.rows("SELECT coalesce(max(event_id), 0) FROM events")[0][0])

    def num_waiting(self, position: int) -> int:
        """Return how many events after a position changed a list."""
        return int(self._store.rows(f"SELECT count(*) FROM events WHERE {_AFTER}", [position])[0][0])

    def events_after(self, position: int, limit: int) -> list[ListEvent]:
        """Return the events after a position that changed a list, in the order in which they were committed."""
        rows = self._store.rows(
            "SELECT event_id, kind, image_id, user_name, created_at, revision, after_tags, dropped, is_saved "
            f"FROM events WHERE {_AFTER} ORDER BY event_id LIMIT ?",
            [position, limit],
        )
        return [_event(row) for row in rows]


_AFTER = "event_id > ? AND kind <> 'skip'"


def _event(row: Sequence[object]) -> ListEvent:
    event_id, kind, image_id, user_name, created_at, revision, tags, dropped, is_saved = row
    return ListEvent(
        int(event_id), str(kind), int(image_id), str(user_name), created_at, int(revision), tuple(tags),  # type: ignore[arg-type, call-overload]
        tuple(dropped), bool(is_saved),  # type: ignore[arg-type]
    )  # fmt: skip
