"""Whose photo is whose: photos that one person is to do; the others are everybody's.

Kept in the database and in memory. Knows nothing of accounts: a name is a name.
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
        """Return whose photo this is; None for everybody's."""
        return self._user_of.get(image_id)

    def is_open_to(self, image_id: int, user: str) -> bool:
        """Tell whether a photo may be given to a person."""
        return self._user_of.get(image_id, user) == user

    def counts(self) -> dict[str, int]:
        """Return how many photos each person has been assigned."""
        counts: dict[str, int] = {}
        for user in list(self._user_of.values()):
            counts[user] = counts.get(user, 0) + 1
        return counts

    def assign(self, image_ids: Iterable[int], user: str | None) -> int:
        """Give photos to a person, or back to everybody; return how many.

        Args:
            image_ids: The photos.
            user: Their person; None takes them from whoever has them.

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
        """Share photos out evenly, one after another in turn; return how many each person got.

        Raises:
            StoreError: A commit failed; those before it stand.
        """
        return {user: self.assign(image_ids[place :: len(users)], user) for place, user in enumerate(users)}
