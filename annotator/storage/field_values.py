"""What people have written of photos beside their tags: field -> value. Knows nothing of which fields there are."""

from collections.abc import Mapping, Sequence

from annotator.errors import DataError
from annotator.storage.database import Store
from annotator.storage.queries import Cursor, Queries, utc_now


class FieldValues:
    """The values of one project's fields.

    Args:
        store: The open database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, image_id: int) -> dict[str, str]:
        """Return field -> value of a photo; fields without a value are left out."""
        return values_of(self._store, [image_id]).get(image_id, {})

    def put(self, image_id: int, field: str, value: str, was: str, user: str) -> None:
        """Store the value of a photo's field; on disk when this returns.

        Args:
            image_id: The photo.
            field: Its name.
            value: The value; empty removes it.
            was: The value that the person saw.
            user: Who.

        Raises:
            DataError: Somebody has written another value meanwhile; nothing was overwritten.
            StoreError: The commit failed; nothing was written.
        """
        with self._store.transaction() as cursor:
            row = cursor.execute(
                "SELECT value, user_name FROM field_values WHERE image_id = ? AND field = ?", [image_id, field]
            ).fetchone()
            present, who = (str(row[0]), str(row[1])) if row else ("", "")
            if present not in (was, value):
                raise DataError(
                    f"{who} has written this {field} meanwhile: {present[:200]!r}. Nothing was overwritten."
                )
            write_value(cursor, image_id, field, value, user)


def write_value(cursor: Cursor, image_id: int, field: str, value: str, user: str) -> None:
    """Write or, if it is empty, remove the value of a field, within a transaction."""
    if value:
        cursor.execute(
            "INSERT OR REPLACE INTO field_values VALUES (?, ?, ?, ?, ?)", [image_id, field, value, user, utc_now()]
        )
    else:
        cursor.execute("DELETE FROM field_values WHERE image_id = ? AND field = ?", [image_id, field])


def values_of(store: Queries, image_ids: Sequence[int]) -> Mapping[int, dict[str, str]]:
    """Return image id -> field -> value of photos."""
    found: dict[int, dict[str, str]] = {}
    for image_id, field, value in store.rows(
        "SELECT image_id, field, value FROM field_values WHERE image_id IN (SELECT unnest(?::INTEGER[]))",
        [list(image_ids)],
    ):
        found.setdefault(int(image_id), {})[str(field)] = str(value)
    return found
