"""What is known of each sidecar that is kept in step: the keywords it was last written with, and trouble.

Knows nothing of XMP.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from annotator.storage.queries import Queries

WRITTEN, CHANGED, FAILED = "written", "changed", "failed"
"""In step; changed by another program, so not overwritten; could not be read or written."""


@dataclass(frozen=True)
class SidecarState:
    """One sidecar."""

    path: str
    image_id: int
    state: str
    revision: int
    """Of the list that was written last."""
    written: tuple[str, ...] = ()
    """All its keywords after it was last written; empty: never."""
    found: tuple[str, ...] = ()
    """With `CHANGED`: its keywords now."""
    reason: str = ""
    """With `FAILED`: a sentence."""


class SidecarStates:
    """The sidecars of one project.

    Args:
        store: The open database.
    """

    def __init__(self, store: Queries) -> None:
        self._store = store

    def get(self, path: str) -> SidecarState | None:
        """Return what is known of a sidecar; None if it was never written."""
        rows = self._store.rows(f"{_SELECT} WHERE path = ?", [path])
        return _state(rows[0]) if rows else None

    def put(self, state: SidecarState) -> None:
        """Store what is known of a sidecar.

        Raises:
            StoreError: The commit failed.
        """
        row = [state.path, state.image_id, state.state, state.revision, list(state.written), list(state.found),
               state.reason]  # fmt: skip
        with self._store.transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO sidecars VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def troubled(self, limit: int = 100) -> list[SidecarState]:
        """Return the sidecars that are not in step, those changed by other programs first."""
        rows = self._store.rows(f"{_SELECT} WHERE state <> 'written' ORDER BY state, path LIMIT ?", [limit])
        return [_state(row) for row in rows]

    def of(self, image_id: int) -> list[SidecarState]:
        """Return the sidecars of an image."""
        return [_state(row) for row in self._store.rows(f"{_SELECT} WHERE image_id = ? ORDER BY path", [image_id])]

    def counts(self) -> dict[str, int]:
        """Return state -> number of sidecars."""
        return {state: int(n) for state, n in self._store.rows("SELECT state, count(*) FROM sidecars GROUP BY state")}

    def behind(self) -> list[int]:
        """Return the images whose list was saved, or taken back, after their sidecar was written."""
        rows = self._store.rows(
            "SELECT a.image_id FROM annotations a LEFT JOIN (SELECT image_id, min(revision) AS revision FROM sidecars "
            "GROUP BY image_id) s USING (image_id) WHERE s.revision IS NULL AND a.is_saved OR s.revision < a.revision "
            "ORDER BY a.image_id"
        )
        return [int(row[0]) for row in rows]


_SELECT = "SELECT path, image_id, state, revision, written, found, reason FROM sidecars"


def _state(row: Sequence[object]) -> SidecarState:
    path, image_id, state, revision, written, found, reason = row
    return SidecarState(str(path), int(image_id), str(state), int(revision), tuple(written), tuple(found), str(reason))  # type: ignore[arg-type, call-overload]
