"""A first-in, first-out queue of trainings: one runs at a time over all visitors of the hosted demo.

Knows nothing of models, HTTP or spaces.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

NUM_REMEMBERED = 10
"""Latest trainings whose mean length is the estimate."""


@dataclass(frozen=True)
class QueuePlace:
    """A place in the queue."""

    position: int
    """Number of trainings before it, including the running one."""
    seconds: float
    """Estimated seconds until it begins, from the length of the latest trainings."""


class TrainingQueue:
    """Runs trainings one after another, in a thread of its own.

    Args:
        first_guess: Assumed seconds of a training until one was measured.
        clock: Seconds.
    """

    def __init__(self, first_guess: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._first_guess = first_guess
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[str, Callable[[], None]] = {}
        self._running: str | None = None
        self._began = 0.0
        self._lengths: deque[float] = deque(maxlen=NUM_REMEMBERED)
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="training queue", daemon=True)
        self._thread.start()

    def ask(self, name: str, train: Callable[[], None]) -> bool:
        """Queue a training under a name; a name has at most one place.

        Args:
            name: Id of the space.
            train: Trains, and returns when it is done.

        Returns:
            Whether it was queued; False if the name has a waiting or running training.
        """
        with self._changed:
            if self._is_closed or name in self._waiting or name == self._running:
                return False
            self._waiting[name] = train
            self._changed.notify_all()
            return True

    def leave(self, name: str) -> bool:
        """Remove a name from the queue; return whether it waited. A running training continues."""
        with self._changed:
            return self._waiting.pop(name, None) is not None

    def place(self, name: str) -> QueuePlace | None:
        """Return a name's place in the queue, with position 0 if its training runs; None if it has no training."""
        with self._changed:
            if name == self._running:
                return QueuePlace(0, 0.0)
            if name not in self._waiting:
                return None
            before = list(self._waiting).index(name)
            seconds = before * self.mean_seconds
            if self._running is not None:
                seconds += max(0.0, self.mean_seconds - (self._clock() - self._began))
            return QueuePlace(before + (self._running is not None), seconds)

    @property
    def mean_seconds(self) -> float:
        """Mean length of the latest trainings."""
        return sum(self._lengths) / len(self._lengths) if self._lengths else self._first_guess

    def close(self) -> None:
        """Start no further training, and wait for the running one to end."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._waiting)
                if self._is_closed:
                    return
                name = next(iter(self._waiting))
                train = self._waiting.pop(name)
                self._running, self._began = name, self._clock()
            try:
                train()
            except Exception:
                logger.exception("A training of a visitor failed.")
            finally:
                with self._changed:
                    self._lengths.append(self._clock() - self._began)
                    self._running = None
                    self._changed.notify_all()
