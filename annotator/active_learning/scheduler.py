"""Orders the queue by the project's query strategy, in a background thread.

The thread scores a pool of open photos and sets the order of the queue; after some saves it does so again, since the
model and the index have changed. Until the first order is computed, photos are presented in the order of the folder,
and `describe` says so. Knows nothing of HTTP, SQL, or of how a strategy ranks.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotator.active_learning.query_strategies import (
    NUM_TAGGERS,
    Matrix,
    Pool,
    WorkTime,
    fit_work_time,
    mix_in,
    order_pool,
)
from annotator.active_learning.queue import PhotoQueue
from annotator.active_learning.random_sample import sample_key
from annotator.datasets.tags import tag_key
from annotator.errors import AnnotatorError
from annotator.models.tagger import Tagger
from annotator.proposals.tagger_catalog import TaggerCatalog
from annotator.settings import STRATEGIES, ProjectSettings
from annotator.storage.features import FeatureStore
from annotator.storage.project import Project
from annotator.storage.stable_hash import hash_key

logger = logging.getLogger(__name__)

MAX_POOL = 3000
"""Most photos that are scored; of a larger number, a random part."""
MAX_TAGGED = 1000
"""Most tagged photos that the next ones are compared with."""
NUM_OTHERS = 2
"""Taggers besides the chosen one that form the committee."""
REFRESH_SAVES = 20
"""Saves after which the order is computed again."""
BATCH = 128
DECODED_TAGS = 50
"""Tags requested of a tagger that has no probability for each tag; the others get probability 0."""
PAUSE_SECONDS = 0.02
"""Pause between batches, so that requests are not delayed."""


@dataclass(frozen=True)
class _Status:
    strategy: str = ""
    note: str = "The order is being computed. Until it is ready, photos come in the order of the folder."
    is_ready: bool = False


class QueueScheduler:
    """The order of one project's queue.

    Args:
        project: Its settings have the strategy and the shares.
        queue: The photos; gets the order.
        features: Features by image id.
        catalog: The taggers that score photos.
        content_hash: Image id -> content hash.
        work_times: (number of tags, seconds) of past saves.
    """

    def __init__(
        self,
        project: Project,
        queue: PhotoQueue,
        features: FeatureStore,
        catalog: TaggerCatalog,
        content_hash: Callable[[int], str],
        work_times: Callable[[], Sequence[tuple[int, float]]],
    ) -> None:
        self._project = project
        self._queue = queue
        self._features = features
        self._catalog = catalog
        self._content_hash = content_hash
        self._work_times = work_times
        self._status = _Status()
        self._num_saves = 0
        self._num_added = 0
        self._num_ordered = 0
        self._committee: tuple[str, list[Tagger]] = ("", [])
        self._refresh_requested = threading.Event()
        self._is_stopping = threading.Event()
        self._refresh_lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def describe(self) -> dict[str, Any]:
        """Return strategy, shares and choices, and whether the order is computed; if not, why."""
        settings, status = self._project.settings, self._status
        is_ready = settings.strategy == "in_order" or (status.is_ready and status.strategy == settings.strategy)
        note = "" if is_ready else status.note if status.strategy in ("", settings.strategy) else _Status.note
        return {
            "strategy": settings.strategy,
            "random_share": settings.random_share,
            "probe_share": settings.probe_share,
            "is_ready": is_ready,
            "note": note,
            "strategies": [{"name": name, "label": label} for name, label in STRATEGIES.items()],
        }

    # Scheduling

    def start(self) -> None:
        """Compute the order in the background, now and whenever it is outdated."""
        self._thread = threading.Thread(target=self._run, name="queue order", daemon=True)
        self._refresh_requested.set()
        self._thread.start()

    def stop(self) -> None:
        """Stop the background thread; returns when it has ended."""
        self._is_stopping.set()
        self._refresh_requested.set()
        if self._thread is not None:
            self._thread.join()

    def request(self) -> None:
        """Request a new order, computed in the background."""
        if self._project.settings.strategy == "in_order":
            self._queue.set_order(())
        self._refresh_requested.set()

    def saved(self) -> None:
        """Count a save; after `REFRESH_SAVES` of them the order is computed again."""
        self._num_saves += 1
        if self._num_saves >= REFRESH_SAVES:
            self._refresh_requested.set()

    def added(self, num_images: int) -> None:
        """Count new photos; the order is computed again when they are many compared with the ordered ones."""
        self._num_added += num_images
        if self._num_added > max(REFRESH_SAVES, self._num_ordered // 4):
            self._refresh_requested.set()

    def _run(self) -> None:
        while self._refresh_requested.wait() and not self._is_stopping.is_set():
            self._refresh_requested.clear()
            try:
                self.refresh()
            except Exception:
                # The page shows the note; the queue continues in the folder's order.
                logger.exception("The order of the queue could not be computed.")
                self._fail("The order could not be computed (see the server's messages): the folder's order is used.")

    def _fail(self, note: str) -> None:
        self._queue.set_order(())
        self._status = _Status(self._project.settings.strategy, note)

    # The order

    def refresh(self) -> None:
        """Compute the order now, in this thread."""
        with self._refresh_lock:
            settings = self._project.settings
            self._num_saves = self._num_added = 0
            try:
                order = [] if settings.strategy == "in_order" else self._order(settings)
            except AnnotatorError as error:
                self._fail(f"{error} Photos come in the order of the folder.")
                return
            if settings != self._project.settings or self._is_stopping.is_set():
                return  # another order was requested meanwhile
            self._queue.set_order(order)
            self._num_ordered = len(order)
            self._status = _Status(settings.strategy, "", is_ready=True)

    def _order(self, settings: ProjectSettings) -> list[int]:
        in_sample: list[tuple[float, int]] = []
        others: list[tuple[float, int]] = []
        for image_id in self._queue.open_ids():
            content_hash = self._content_hash(image_id)
            key = sample_key(content_hash)
            if key < settings.random_share:
                in_sample.append((key, image_id))
            else:
                others.append((hash_key("order", content_hash), image_id))
        ranked = self._ranked(settings.strategy, others)
        sample = [image_id for _, image_id in sorted(in_sample)]
        if ranked and settings.random_share < 1:
            share = settings.random_share / (1 - settings.random_share)
            sample = sample[: int(share * len(ranked)) + 2]
        return mix_in(ranked, sample, settings.random_share, self._sample_deficit(settings.random_share))

    def _ranked(self, strategy: str, photos: list[tuple[float, int]]) -> list[int]:
        """Return the ids of (random key, image id) pairs as ranked by the strategy."""
        if strategy == "random":
            return [image_id for _, image_id in sorted(photos)]
        scored = sorted(photo for photo in photos if photo[1] in self._features)[:MAX_POOL]
        scored.sort(key=lambda photo: photo[1])
        if not scored:
            return []
        ids = [image_id for _, image_id in scored]
        tagged = [image_id for image_id in self._queue.saved_ids() if image_id in self._features][-MAX_TAGGED:]
        features = self._features.vectors(ids)
        pool = Pool(
            features,
            np.array([key for key, _ in scored]),
            list(self._probabilities(features, NUM_TAGGERS.get(strategy, 0))),
            self._features.vectors(tagged),
            self._work_time() if strategy == "information_per_second" else WorkTime(),
        )
        return [ids[row] for row in order_pool(strategy, pool)]

    def _sample_deficit(self, share: float) -> float:
        """Return by how many photos the sample is behind its share of the saved photos, limited to [-1, 1]."""
        saved = self._queue.saved_ids()
        num_random = sum(sample_key(self._content_hash(image_id)) < share for image_id in saved)
        return min(1.0, max(-1.0, share * len(saved) - num_random))

    def _work_time(self) -> WorkTime:
        times = self._work_times()
        return fit_work_time([num_tags for num_tags, _ in times], [seconds for _, seconds in times])

    def _probabilities(self, features: Matrix, num_taggers: int) -> Iterator[Matrix]:
        if num_taggers == 0:
            return
        taggers = [self._catalog.taggers[0]]
        if num_taggers > 1:
            taggers += self._committee_taggers()
        tags = shared_tags(taggers)
        if not tags:
            return
        for tagger in taggers:
            yield np.concatenate([self._batch(tagger, part, tags) for part in _batches(features)])

    def _batch(self, tagger: Tagger, features: Matrix, tags: Sequence[str]) -> Matrix:
        self._is_stopping.wait(PAUSE_SECONDS)
        return tag_probabilities(tagger, features, tags)

    def _committee_taggers(self) -> list[Tagger]:
        chosen = self._catalog.chosen
        if self._committee[0] != chosen:
            self._committee = (chosen, self._catalog.others(NUM_OTHERS))
        return self._committee[1]


def shared_tags(taggers: Sequence[Tagger]) -> list[str]:
    """Return the keys of the tags that all taggers know, sorted."""
    return sorted(set.intersection(*({tag_key(tag) for tag in tagger.allowed_words()} for tagger in taggers)))


def tag_probabilities(tagger: Tagger, features: Matrix, tags: Sequence[str]) -> Matrix:
    """Return (N, V) the probability of each tag for each photo, independently of the other tags.

    Of a tagger with a probability for every tag, that; otherwise the scores of the tags that it proposes.

    Args:
        tagger: Any tagger.
        features: (N, D) float32.
        tags: V keys of tags (datasets/tags.py) that the tagger knows.
    """
    known = tagger.probabilities(features)
    if known is not None:
        known_tags, values = known
        column_of = {tag_key(tag): column for column, tag in enumerate(known_tags)}
        if column_of.keys() >= set(tags):  # zero-shot taggers also propose words without a score
            return np.asarray(values[:, [column_of[tag] for tag in tags]], np.float32)
    column_by_tag = {tag: column for column, tag in enumerate(tags)}
    probabilities = np.zeros((len(features), len(tags)), np.float32)
    for row, ranked in enumerate(tagger.decode(features, [()] * len(features), k=DECODED_TAGS)):
        for proposed in ranked:
            column = column_by_tag.get(tag_key(proposed.tag))
            if column is not None:
                probabilities[row, column] = proposed.score
    return probabilities


def _batches(features: Matrix) -> Iterator[Matrix]:
    for start in range(0, len(features), BATCH):
        yield features[start : start + BATCH]
