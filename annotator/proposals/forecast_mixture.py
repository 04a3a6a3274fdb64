"""Mixes the fusion model's probabilities with those that it gives without the project's tagged photos.

There are K = 3 forecasts of each candidate tag: the fusion model's probability p with all evidence; p0, that of the
same model without what the tagged photos say; and the forecast half-way between both in log-odds. With L_k the log loss
of forecast k over the candidates of the photos that were saved here, each forecast made without that photo's list,

    P = sum over k of w_k p_k,      w_k proportional to exp(-RATE L_k)

(the exponentially weighted average forecaster: Vovk, "Aggregating Strategies", 1990; Cesa-Bianchi and Lugosi,
"Prediction, Learning, and Games", 2006). So where the tagged photos say nothing that the taggers do not know, they soon
count for nothing; on a subject that the taggers do not know, p0 does.

Knows nothing of databases, taggers or the user interface. Any method may be called from any thread.
Shapes: C candidates.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annotator.datasets.tags import tag_key
from annotator.models.fusion import FEATURES, Fusion
from annotator.models.project_head import Matrix
from annotator.proposals.evidence import Words

RATE = 0.1
"""Below 1, as the candidates of a photo are not independent. .1, .3 and 1 differ little on replayed projects."""
SOURCE_FEATURES = (
    "trained", "model", "model_rank", "model_first", "guess", "looks", "looks_rank", "words", "other_tag",
    "model_best", "looks_best", "keyword", "not_keyword", "folder", "detector", "num_kept", "model_prefix", "classes",
)  # fmt: skip
"""Features that do not depend on tagged photos; p0 has 0 for all others."""
NUM_FORECASTS = 3
MAX_NOTED = 500
"""Photos whose forecasts are kept until they are saved, or saved again."""
MAX_COUNTED = 200
"""Photos whose losses count, those that were saved last: the losses of a model that was replaced are soon forgotten."""
LEAST_PROBABILITY = 1e-6
"""Bound of p and 1 - p in the log loss."""
_IS_SOURCE = np.isin(FEATURES, SOURCE_FEATURES)


def forecasts_of(fusion: Fusion, features: Matrix) -> Matrix:
    """Return the three forecasts of C candidates, (3, C): all evidence, half-way, without the tagged photos.

    Args:
        fusion: Any.
        features: (C, F) of models/fusion.py.
    """
    with_project = fusion.probabilities(features)
    without = fusion.probabilities(np.where(_IS_SOURCE, features, 0.0))
    log_odds = [np.log(p / (1 - p)) for p in (with_project, without)]
    halfway = 0.5 * (1 + np.tanh(0.25 * (log_odds[0] + log_odds[1])))
    return np.stack([with_project, halfway, without])


@dataclass(frozen=True)
class _Noted:
    """The forecasts of one photo before anything was kept, without its own list."""

    keys: tuple[str, ...]
    """C candidates."""
    forecasts: Matrix
    """(3, C)."""

    def losses(self, tags: Sequence[str]) -> Matrix:
        """Return the log loss of each forecast, (3,), if these tags are saved."""
        wanted = {tag_key(tag) for tag in tags}
        is_right = np.array([key in wanted for key in self.keys], bool)
        bounded = np.clip(self.forecasts, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        losses: Matrix = -np.log(np.where(is_right, bounded, 1 - bounded)).sum(axis=1)
        return losses


class ForecastMixture:
    """The weights of the three forecasts in one project.

    Args:
        saved_tags: Image id -> the photo's saved tags; empty if it is not saved.
        losses: As `losses` returned them; then no save changes the weights. None: they are learnt.
    """

    def __init__(
        self,
        saved_tags: Callable[[int], Sequence[str]] = lambda image_id: (),
        losses: Mapping[int, Sequence[float]] | None = None,
    ) -> None:
        self._saved_tags = saved_tags
        self.learns = losses is None
        """Whether saves change the weights."""
        self._lock = threading.Lock()
        self._noted: OrderedDict[int, _Noted] = OrderedDict()
        self._losses = {image_id: np.array(values, np.float64) for image_id, values in (losses or {}).items()}

    def weights(self, image_id: int = 0) -> Matrix:
        """Return the weight of each forecast, (3,), for a photo whose own list does not count."""
        with self._lock:
            counted = [values for other, values in self._losses.items() if other != image_id]
        losses = np.sum(counted[-MAX_COUNTED:], axis=0) if counted else np.zeros(NUM_FORECASTS)
        weights = np.exp(-RATE * (losses - losses.min()))
        normalised: Matrix = weights / weights.sum()
        return normalised

    def losses(self) -> dict[int, list[float]]:
        """Return the log losses of each forecast by image id, those that were saved last at the end."""
        with self._lock:
            return {image_id: values.tolist() for image_id, values in self._losses.items()}

    def note(self, image_id: int, keys: Sequence[str], forecasts: Matrix) -> None:
        """Store the forecasts of a photo before anything is kept, made without its own list.

        Args:
            image_id: The photo.
            keys: C candidates, as `tag_key` returns them.
            forecasts: (3, C).
        """
        if not self.learns:
            return
        with self._lock:
            self._noted.pop(image_id, None)
            self._noted[image_id] = _Noted(tuple(keys), forecasts)
            if image_id not in self._losses:  # those of an opened photo were computed when less was known
                self._compare(image_id)
            while len(self._noted) > MAX_NOTED:
                self._noted.popitem(last=False)

    def is_noted(self, image_id: int) -> bool:
        """Tell whether the losses for a saved photo are known."""
        return image_id in self._losses

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Take in saves: as a listener of the tagged photos."""
        with self._lock:
            for image_id, _ in photos:
                self._compare(image_id)

    def remove(self, image_id: int) -> None:
        """Take in that a photo has no tags any more: as a listener of the tagged photos."""
        self.set_many([(image_id, Words())])

    def _compare(self, image_id: int) -> None:
        """Replace a photo's losses."""
        self._losses.pop(image_id, None)
        noted, tags = self._noted.get(image_id), self._saved_tags(image_id)
        if noted is not None and tags:
            self._losses[image_id] = noted.losses(tags)
            while len(self._losses) > MAX_COUNTED + 1:  # one more, as a photo's own list does not count
                del self._losses[next(iter(self._losses))]
