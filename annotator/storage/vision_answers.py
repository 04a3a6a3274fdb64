"""Answers of vision-language models about a project's photos. Knows nothing of networks or pages."""

import threading
from dataclasses import dataclass

from annotator.storage.database import Store

NUM_CACHED = 4096
"""Photos whose answers are cached in memory."""


@dataclass(frozen=True)
class VisionAnswer:
    """What one model said about one photo."""

    image_id: int
    told: tuple[str, ...]
    """Tags of the project that the question named."""
    tags: tuple[str, ...]
    """Most important first; empty if there is a problem."""
    problem: str
    """Why the answer is of no use; empty if it is."""
    num_tokens: int
    seconds: float


class VisionAnswers:
    """The answers of one model, in any wording of the question; the newest of a photo counts.

    Args:
        store: The database.
        model: The model's name; empty: the project uses none, and `of` returns nothing.
    """

    def __init__(self, store: Store, model: str) -> None:
        self._store = store
        self.model = model
        self._lock = threading.Lock()
        self._cached: dict[int, tuple[str, ...]] = {}
        self._num_added = 0

    def of(self, image_id: int) -> tuple[str, ...]:
        """Return the tags of a photo, most important first; none if it was not asked about."""
        if not self.model:
            return ()
        with self._lock:
            if image_id in self._cached:
                return self._cached[image_id]
            num_added = self._num_added
        tags = self._read_row(image_id)
        with self._lock:
            if num_added == self._num_added:  # otherwise an answer was added after the row was read
                while len(self._cached) >= NUM_CACHED:
                    del self._cached[next(iter(self._cached))]
                self._cached[image_id] = tags
        return tags

    def _read_row(self, image_id: int) -> tuple[str, ...]:
        rows = self._store.rows(
            "SELECT tags FROM vision_answers WHERE image_id = ? AND model = ? AND problem = '' "
            "ORDER BY asked_at DESC LIMIT 1",
            [image_id, self.model],
        )
        return tuple(rows[0][0]) if rows else ()

    def asked(self, prompt: str) -> set[int]:
        """Return the photos that the model was asked about in a wording, with or without success."""
        rows = self._store.rows(
            "SELECT image_id FROM vision_answers WHERE model = ? AND prompt = ?", [self.model, prompt]
        )
        return {int(row[0]) for row in rows}

    def spent(self) -> tuple[int, int]:
        """Return (questions that the model was asked in this project, their tokens)."""
        (row,) = self._store.rows(
            "SELECT count(*), coalesce(sum(num_tokens), 0) FROM vision_answers WHERE model = ?", [self.model]
        )
        return int(row[0]), int(row[1])

    def add(self, prompt: str, answer: VisionAnswer) -> None:
        """Commit an answer, replacing an earlier one in the same wording.

        Raises:
            StoreError: The commit failed; nothing was written.
        """
        with self._store.transaction() as cursor:
            cursor.execute(
                "INSERT OR REPLACE INTO vision_answers VALUES "
                "(?, ?, ?, ?::VARCHAR[], ?::VARCHAR[], ?, ?, ?, now()::TIMESTAMP)",
                [
                    answer.image_id, self.model, prompt, list(answer.told), list(answer.tags), answer.problem,
                    answer.num_tokens, answer.seconds,
                ],
            )  # fmt: skip
        with self._lock:
            self._num_added += 1
            self._cached.pop(answer.image_id, None)
