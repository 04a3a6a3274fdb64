"""Photos that are assigned to one person; the others are open to everybody.

Kept in the database and in memory. Knows nothing of accounts: names are not checked.
"""

import threading
from collections.abc import Iterable, Sequence

from annotator.storage.database import Store


class Assignments:
    """The assigned photos of one project.

    Args:
        store: The open database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._user_of = {
            int(image_id): str(user) for image_id, user in store.rows("SELECT image_id, user_name FROM assignments")
        }

    def of(self, image_id: int) -> str | None:
        """Return who a photo is assigned to; None if it is open to everybody."""
        return self._user_of.get(image_id)

    def is_open_to(self, image_id: int, user: str) -> bool:
        """Tell whether a photo may be shown to a person for tagging."""
        return self._user_of.get(image_id, user) == user

    def counts(self) -> dict[str, int]:
        """Return how many photos are assigned to each person."""
        counts: dict[str, int] = {}
        for user in list(self._user_of.values()):
            counts[user] = counts.get(user, 0) + 1
        return counts

    def assign(self, image_ids: Iterable[int], user: str | None) -> int:
        """Assign photos to a person, or open them to everybody; return how many.

        Args:
            image_ids: The photos.
            user: The person; None ends their assignment.

        Raises:
            StoreError: The commit failed; nothing was changed.
        """
        ids = list(dict.fromkeys(image_ids))
        with self._lock:
            with self._store.transaction() as cursor:
                cursor.execute("DELETE FROM assignments WHERE image_id IN (SELECT unnest(?::INTEGER[]))", [ids])
                if user is not None:
                    cursor.execute("INSERT INTO assignments SELECT unnest(?::INTEGER[]), ?", [ids, user])
            for image_id in ids:
                if user is None:
                    self._user_of.pop(image_id, None)
                else:
                    self._user_of[image_id] = user
        return len(ids)

    def share_out(self, image_ids: Sequence[int], users: Sequence[str]) -> dict[str, int]:
        """Assign photos evenly to several people, in turn; return how many each person got.

        Raises:
            StoreError: A commit failed; earlier ones are kept.
        """
        return {user: self.assign(image_ids[index :: len(users)], user) for index, user in enumerate(users)}
