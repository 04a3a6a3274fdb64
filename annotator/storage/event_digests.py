"""The running digest of the correction log: each event's digest covers the event and the digest of the one before.

So an event that was changed, lost or put in is found, however it happened. Knows nothing of what events mean.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from annotator.storage.queries import Cursor, Row

COLUMNS = ("event_id", "kind", "image_id", "user_name", "created_at", "revision", "before_tags", "after_tags",
           "is_saved", "edit_script", "dropped", "undoes", "tagger", "shown", "actions", "seconds", "num_keys",
           "num_clicks")  # fmt: skip
"""What the digest covers, in the order of the table."""
SELECTED = ", ".join(f"CAST({name} AS VARCHAR)" if name in ("edit_script", "shown", "actions") else name
                     for name in COLUMNS)  # fmt: skip
"""The columns as `next_digest` takes them, for a query."""
FIRST = ""
"""The digest before the first event."""
DIGEST_BYTES = 16
_SECONDS = COLUMNS.index("seconds")
ROWS_AT_ONCE = 2_000


def next_digest(before: str, values: Sequence[object]) -> str:
    """Return the digest of an event, in hex.

    Args:
        before: The digest of the event before it, or `FIRST`.
        values: Of the columns; JSON as text.
    """
    plain = list(values)
    if plain[_SECONDS] is not None:
        plain[_SECONDS] = float(plain[_SECONDS])  # type: ignore[arg-type]  # an int is stored as a DOUBLE
    text = json.dumps([before, *plain], separators=(",", ":"), default=_plain)
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is in no column of the log")


def running_digests(rows: Iterable[Row], before: str = FIRST) -> Iterator[str]:
    """Yield the digest of each event in turn."""
    for row in rows:
        before = next_digest(before, row)
        yield before


def fill_digests(cursor: Cursor) -> None:
    """Write the digests of all events of a log that has none; for the migration."""
    rows = cursor.execute(f"SELECT {SELECTED} FROM events ORDER BY event_id").fetchall()
    pairs = list(zip([row[0] for row in rows], running_digests(rows), strict=True))
    cursor.execute("CREATE TEMPORARY TABLE filled (event_id BIGINT, digest VARCHAR)")
    for start in range(0, len(pairs), ROWS_AT_ONCE):
        part = [{"event_id": event_id, "digest": digest} for event_id, digest in pairs[start : start + ROWS_AT_ONCE]]
        cursor.execute(
            'INSERT INTO filled SELECT unnest(from_json(?, \'[{"event_id": "BIGINT", "digest": "VARCHAR"}]\'), '
            "recursive := true)",
            [json.dumps(part)],
        )
    cursor.execute("UPDATE events SET digest = filled.digest FROM filled WHERE filled.event_id = events.event_id")
    cursor.execute("DROP TABLE filled")
