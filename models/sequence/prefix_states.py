"""A cache of a recurrent tagger's states after a photo's prefix: after an edit only the new tags are fed.

Knows nothing of photos but a key. Safe to use from several threads.
Shapes: states of one row; log-probabilities (1, V + 1).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from annotator.models.sequence.decoding import Array, State, Steps

MAX_STATES = 128
"""Most states in the cache, of all photos together; about 12 KB each."""


class PrefixStates:
    """Feeds prefixes to a tagger, one photo at a time.

    Args:
        steps: The tagger.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._lock = threading.Lock()
        self._states: OrderedDict[Hashable, tuple[Array, State]] = OrderedDict()

    def feed(self, photo: Hashable, start: Callable[[], State], prefix: Sequence[int]) -> tuple[Array, State]:
        """Return the result of `decoding.feed` for one prefix of one photo.

        Args:
            photo: Key of everything that `start` depends on.
            start: Returns the state before the first step; called only for a photo that is not in the cache.
            prefix: Tag ids.
        """
        inputs = (self._steps.num_tags, *prefix)  # START first
        place, found = self._longest(photo, inputs)
        log_probs, state = found if found is not None else (np.empty((1, 0), np.float32), start())
        for end in range(place + 1, len(inputs) + 1):
            log_probs, state = self._steps.step(state, np.array([inputs[end - 1]]))
            self._store((photo, inputs[:end]), (log_probs, state))
        return log_probs, state

    def _longest(self, photo: Hashable, inputs: tuple[int, ...]) -> tuple[int, tuple[Array, State] | None]:
        with self._lock:
            for end in range(len(inputs), 0, -1):
                key = (photo, inputs[:end])
                if key in self._states:
                    self._states.move_to_end(key)
                    return end, self._states[key]
        return 0, None

    def _store(self, key: Hashable, values: tuple[Array, State]) -> None:
        with self._lock:
            self._states[key] = values
            while len(self._states) > MAX_STATES:
                self._states.popitem(last=False)
