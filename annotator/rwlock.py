"""A lock that many readers hold at the same time, or one writer alone.

Knows nothing of what it protects. Python's standard library has no such lock.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadWriteLock:
    """Readers share it, a writer excludes all others; a waiting writer has priority over later readers.

    Not re-entrant: a thread that holds the lock and acquires it again waits for ever.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._num_readers = 0
        self._num_waiting_writers = 0
        self._is_written = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with other readers."""
        with self._condition:
            # Waiting writers have priority: otherwise a continuous stream of readers would block them for ever.
            self._condition.wait_for(lambda: not self._is_written and not self._num_waiting_writers)
            self._num_readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._num_readers -= 1
                self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone."""
        with self._condition:
            self._num_waiting_writers += 1
            try:
                self._condition.wait_for(lambda: not self._is_written and not self._num_readers)
                self._is_written = True
            finally:
                self._num_waiting_writers -= 1
                self._condition.notify_all()
        try:
            yield
        finally:
            with self._condition:
                self._is_written = False
                self._condition.notify_all()
