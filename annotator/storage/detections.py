"""Detections of a project's photos in the database. Knows nothing of networks or pages."""

from collections.abc import Sequence
from functools import lru_cache

from annotator.models.detectors.detector import Detection
from annotator.storage.database import Store

NUM_CACHED = 4096
"""Photos whose detections are cached in memory."""


class DetectionStore:
    """The detections of a project's photos.

    Args:
        store: The database.
        is_read: Whether the project uses detections; if not, `of` returns none.
    """

    def __init__(self, store: Store, *, is_read: bool = True) -> None:
        self._store = store
        self._is_read = is_read
        self._read = lru_cache(maxsize=NUM_CACHED)(self._read_row)

    def of(self, image_id: int) -> tuple[Detection, ...]:
        """Return the detections of a photo, the highest score first; none if no detector was run on it."""
        return self._read(image_id) if self._is_read else ()

    def _read_row(self, image_id: int) -> tuple[Detection, ...]:
        rows = self._store.rows("SELECT labels, scores, boxes FROM detections WHERE image_id = ?", [image_id])
        if not rows:
            return ()
        labels, scores, boxes = rows[0]
        return tuple(
            Detection(label, score, (left, top, right, bottom))
            for label, score, (left, top, right, bottom) in zip(labels, scores, boxes, strict=True)
        )

    def missing(self, detector_version: str) -> list[int]:
        """Return the photos that this version of a detector was not run on, in the order of ids."""
        rows = self._store.rows(
            "SELECT i.image_id FROM images i LEFT JOIN detections d USING (image_id) "
            "WHERE d.detector IS DISTINCT FROM ? ORDER BY i.image_id",
            [detector_version],
        )
        return [int(row[0]) for row in rows]

    def add(self, detector_version: str, found: Sequence[tuple[int, Sequence[Detection]]]) -> None:
        """Commit the detections of photos, replacing earlier ones.

        Raises:
            StoreError: The commit failed; nothing was written.
        """
        with self._store.transaction() as cursor:
            for image_id, detections in found:
                values = (
                    [item.label for item in detections],
                    [item.score for item in detections],
                    [list(item.box) for item in detections],
                )
                cursor.execute(
                    "INSERT OR REPLACE INTO detections VALUES (?, ?, ?::VARCHAR[], ?::DOUBLE[], ?::DOUBLE[4][])",
                    [image_id, detector_version, *values],
                )
        self._read.cache_clear()
