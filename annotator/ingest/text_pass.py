"""The text pass: embeds the words of a project with its backbone's text tower, in the background.

Knows nothing of pages or proposals.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from annotator.errors import AnnotatorError, BackboneError
from annotator.models.backbones.text_index import TextIndex

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Interval at which new words are looked for."""


@dataclass(frozen=True)
class TextProgress:
    """Progress of the text pass."""

    running: bool = False
    num_words: int = 0
    """Words that photos are compared with; 0 without an image-text model."""
    num_ready: int = 0
    error: str | None = None


class TextPass:
    """Embeds words until it is stopped.

    Args:
        index: Receives them; None: the backbone has no text tower, and the pass does nothing.
        words: Returns the words, the most wanted first.
    """

    def __init__(self, index: TextIndex | None, words: Callable[[], Sequence[str]]) -> None:
        self._index = index
        self._words = words
        self._stop = threading.Event()
        self.progress = TextProgress()

    @property
    def has_words(self) -> bool:
        """Whether there is an image-text model, so that `run` has something to do."""
        return self._index is not None

    def stop(self) -> None:
        """Request that a run ends after the present few words."""
        self._stop.set()

    def run(self, *, waits: bool = True) -> TextProgress:
        """Embed the words, and later ones as they come.

        Args:
            waits: Whether to wait for new words once all are ready; otherwise the run ends.
        """
        before: tuple[str, ...] | None = None
        while self._index is not None and not self._stop.is_set():
            words = tuple(self._words())
            if words != before:
                self._embed(self._index, words)
                before = words
            if not waits:
                break
            self._stop.wait(LOOK_SECONDS)
        return self.progress

    def _embed(self, index: TextIndex, words: Sequence[str]) -> None:
        def report(done: int, num: int) -> None:
            self.progress = TextProgress(True, num, done)

        error: str | None = None
        try:
            index.set_words(words, self._stop.is_set, report)
        except BackboneError as problem:  # the cache cannot be written
            error = str(problem)
            logger.warning("%s", problem)
        except Exception as failure:
            error = str(failure) if isinstance(failure, AnnotatorError) else f"The text tower failed: {failure}"
            logger.exception("The words could not be embedded.")
        self.progress = TextProgress(False, len(words), len(index), error)
