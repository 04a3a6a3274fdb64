"""The vision pass: asks a vision-language model about a project's photos in the background and stores its answers.

It runs beside the ingest in a thread of its own, one question at a time, and follows the order in which photos are
presented; proposals only read stored answers. Knows nothing of pages.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from PIL import Image

from annotator.errors import AnnotatorError, AnswerError, ConfigError, EndpointError, UnreadableImageError
from annotator.ingest.vision_config import VisionConfig
from annotator.models.vision_language.endpoint import PROMPT, Answer, VisionLanguageModel
from annotator.storage.vision_answers import VisionAnswer, VisionAnswers

logger = logging.getLogger(__name__)

MAX_FAILURES = 5
"""Requests in a row that may fail before the pass stops; between them it waits ever longer."""
MAX_USELESS = 8
"""Answers in a row that may be of no use before the pass stops: the model cannot do it."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
IDLE_SECONDS = 2.0
"""Interval at which a pass that has asked about all photos looks for new ones."""


@dataclass(frozen=True)
class VisionProgress:
    """Progress of the vision pass, and whom it asks."""

    model: str = ""
    """The model whose answers are proposed; empty: none."""
    host: str = ""
    """Host and port to which photos are sent; empty: none is asked."""
    is_local: bool = False
    """Whether that host is this machine."""
    running: bool = False
    num_asked: int = 0
    """Photos that the model was asked about, in this pass."""
    num_useless: int = 0
    """Of these, photos whose answer was of no use."""
    num_unreadable: int = 0
    num_tokens: int = 0
    """Of all questions in this project."""
    seconds_each: float | None = None
    """Mean time of a question in this pass."""
    error: str | None = None
    """Why the pass stopped, or what it waits for."""


class AsksAboutPhotos(Protocol):
    """A model; `VisionLanguageModel` is one."""

    def ask(self, image: Image.Image, told: Sequence[str] = ()) -> Answer:
        """Return the model's tags for a photo."""
        ...


class VisionPass:
    """Asks the model about every photo without an answer of it.

    Args:
        answers: Where answers are stored.
        config: Whom to ask; None: nobody, and the pass does nothing.
        photos: Returns the photos to ask about, the most urgent first; called before each question.
        read_photo: Image id -> the decoded photo.
        told: Returns the project's frequent tags, which the question names.
        on_answer: Called with the image id after a new answer.
        model: Whom to ask in place of the endpoint.
    """

    def __init__(
        self,
        answers: VisionAnswers,
        config: VisionConfig | None,
        photos: Callable[[], Iterable[int]],
        read_photo: Callable[[int], Image.Image],
        told: Callable[[], Sequence[str]] = tuple,
        on_answer: Callable[[int], None] = lambda image_id: None,
        model: AsksAboutPhotos | None = None,
    ) -> None:
        if config is not None and config.model != answers.model:
            raise ConfigError(f"The answers are those of {answers.model!r}, but {config.model!r} is asked.")
        self._answers = answers
        self._config = config
        self._photos = photos
        self._read_photo = read_photo
        self._told = told
        self._on_answer = on_answer
        self._stop = threading.Event()
        self._model = model
        self._known: set[int] = set()
        self._seconds = 0.0
        self.progress = VisionProgress(model=answers.model)
        if config is not None:
            endpoint = config.endpoint()
            self.progress = VisionProgress(answers.model, endpoint.host, endpoint.is_local)
            if model is None:
                self._model = VisionLanguageModel(endpoint, self._stop.is_set)

    @property
    def is_asking(self) -> bool:
        """Whether a model is named, so that `run` has something to do."""
        return self._config is not None

    def stop(self) -> None:
        """Request that a run ends; a running question is given up."""
        self._stop.set()

    def run(self, *, waits: bool = True) -> VisionProgress:
        """Ask until the pass is stopped or a limit is reached; each answer is committed at once.

        Args:
            waits: Whether to wait for new photos once all are asked about; otherwise the run ends.

        Raises:
            StoreError: The project cannot be written.
        """
        if self._config is None or self._model is None:
            return self.progress
        try:
            error = self._run(self._config, self._model, waits=waits)
        except Exception as failure:
            error = str(failure) if isinstance(failure, AnnotatorError) else f"The questions stopped: {failure}"
            raise
        finally:
            self._report(running=False)
            self._report(error=error)
        return self.progress

    def _run(self, config: VisionConfig, model: AsksAboutPhotos, *, waits: bool) -> str | None:
        """Return why no more is asked."""
        self._known = self._answers.asked(PROMPT)
        num_requests, num_tokens = self._answers.spent()
        self._report(num_tokens=num_tokens)
        began, num_failures, num_useless = time.monotonic(), 0, 0
        while not self._stop.is_set():
            if num_requests >= config.max_requests:
                return f"The limit of {config.max_requests:,} questions is reached (--vlm-requests)."
            if config.max_tokens and num_tokens >= config.max_tokens:
                return f"The limit of {config.max_tokens:,} tokens is reached (--vlm-tokens)."
            if config.max_minutes and time.monotonic() - began > 60 * config.max_minutes:
                return f"The limit of {config.max_minutes:g} minutes is reached (--vlm-minutes)."
            image_id = next((photo for photo in self._photos() if photo not in self._known), None)
            if image_id is None:
                self._report(running=False)
                if not waits:
                    return None
                self._stop.wait(IDLE_SECONDS)
                continue
            self._report(running=True)
            try:
                answer = self._ask(model, image_id)
            except UnreadableImageError as error:
                self._known.add(image_id)
                self._report(num_unreadable=self.progress.num_unreadable + 1)
                logger.info("The vision-language model cannot be shown photo %d: %s", image_id, error)
                continue
            except EndpointError as error:
                num_failures, num_requests = num_failures + 1, num_requests + 1
                if self._stop.is_set():
                    return None
                if error.is_lasting or num_failures >= MAX_FAILURES:
                    return str(error)
                self._report(error=str(error))
                wait = min(FIRST_WAIT_SECONDS * 2 ** (num_failures - 1), LONGEST_WAIT_SECONDS)
                self._stop.wait(max(wait, error.wait_seconds))
                continue
            num_failures, num_useless = 0, num_useless + 1 if answer.problem else 0
            num_requests, num_tokens = num_requests + 1, num_tokens + answer.num_tokens
            self._store(answer, num_tokens)
            if num_useless >= MAX_USELESS:
                return f"{num_useless} answers in a row are of no use. The last one: {answer.problem}"
        return None

    def _ask(self, model: AsksAboutPhotos, image_id: int) -> VisionAnswer:
        image, told = self._read_photo(image_id), tuple(self._told())
        began = time.monotonic()
        try:
            found = model.ask(image, told)
        except AnswerError as error:
            return VisionAnswer(image_id, told, (), str(error), error.num_tokens, time.monotonic() - began)
        return VisionAnswer(image_id, told, found.tags, "", found.num_tokens, found.seconds)

    def _store(self, answer: VisionAnswer, num_tokens: int) -> None:
        self._answers.add(PROMPT, answer)
        self._known.add(answer.image_id)
        self._seconds += answer.seconds
        num_asked = self.progress.num_asked + 1
        self._report(
            num_asked=num_asked,
            num_useless=self.progress.num_useless + bool(answer.problem),
            num_tokens=num_tokens,
            seconds_each=round(self._seconds / num_asked, 2),
            error=None,
        )
        if not answer.problem:
            self._on_answer(answer.image_id)

    def _report(self, **changes: object) -> None:
        self.progress = replace(self.progress, **changes)  # type: ignore[arg-type]
