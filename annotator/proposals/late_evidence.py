"""Sources that join after the fusion model: their weight is not fitted on many projects but learnt in this one.

The fusion model (models/fusion.py) gives a tag the probability p from all sources that it was fitted with. A late
source names some tags of a photo, each with a strength z in [0, 1], and

    logit P = logit p + a + b z      for a tag that it names;      P = p for any other tag.

a and b >= 0 are the same for all tags of a source. They start at the source's prior and are refined by what was saved
here: they maximise the likelihood of the saved photos' named tags under a Gaussian prior (a logistic regression with
logit p as offset; Platt, "Probabilistic Outputs for Support Vector Machines", 1999, has no offset and no prior). p is
that of the photo before anything was kept, without its own list. So a source whose tags are refused here soon counts
for nothing or against them, and one whose tags are kept leads the list.

Without late sources nothing is computed and every probability is returned as it is. Knows nothing of how a source finds
its tags, of databases or the user interface. Any method may be called from any thread.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from annotator.datasets.tags import tag_key
from annotator.datasets.word_forms import form_key
from annotator.proposals.evidence import Evidence, Words

Matrix = npt.NDArray[np.float64]

LONE_PROBABILITY = 0.02
"""Probability of a tag for which only a late source speaks, before that source counts."""
LEAST_PROBABILITY = 1e-4
"""Bound of p and 1 - p."""
SMALLEST_CHANGE, LARGEST_CHANGE = -4.0, 5.0
"""Bounds of a + b z."""
MAX_PHOTOS = 500
"""Photos that parameters are fitted on, those that were proposed for last."""
NUM_STEPS = 25


@dataclass(frozen=True)
class Prior:
    """Gaussian prior of a late source's parameters."""

    shift: float
    """Mean of a."""
    slope: float
    """Mean of b."""
    spread: float = 1.5
    """Standard deviation of both."""


@dataclass(frozen=True)
class NamedTag:
    """A tag that a late source names for one photo."""

    tag: str
    strength: float
    """z, in [0, 1]."""
    text: str
    """The reason, as a clause for the user."""


class LateSource(Protocol):
    """A source of named tags."""

    name: str
    """Source of its evidence."""
    prior: Prior

    def named(self, image_id: int) -> Sequence[NamedTag]:
        """Return the tags that it names for a photo, the strongest first."""
        ...


@dataclass(frozen=True)
class _Noted:
    """The named tags of one photo before anything was kept: form key, logit p and strength of each, by source."""

    tags: Mapping[str, tuple[tuple[str, float, float], ...]]


class LateEvidence:
    """The late sources of a project and their parameters.

    Args:
        sources: May be empty.
        saved_tags: Image id -> the photo's saved tags; empty if it is not saved.
    """

    def __init__(
        self,
        sources: Sequence[LateSource] = (),
        saved_tags: Callable[[int], Sequence[str]] = lambda image_id: (),
    ) -> None:
        self._sources = {source.name: source for source in sources}
        self._saved_tags = saved_tags
        self._lock = threading.Lock()
        self._noted: OrderedDict[int, _Noted] = OrderedDict()
        self._fits: dict[str, tuple[float, float]] | None = None
        self._hits: dict[str, tuple[int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._sources)

    def evidence(self, image_id: int) -> list[Evidence]:
        """Return the evidence of all late sources for a photo.

        The score is the probability that the tag would have if nothing else spoke for it; the rank score is the
        strength.
        """
        found = []
        for source in self._sources.values():
            for item in source.named(image_id):
                score = _sigmoid(_logit(LONE_PROBABILITY) + self._change(source.name, item.strength))
                text = item.text + self._hit_rate(source.name)
                found.append(Evidence(item.tag, source.name, score, text, item.strength))
        return found

    def adjust(self, probabilities: Mapping[str, float], evidence: Iterable[Evidence]) -> Mapping[str, float]:
        """Return the probabilities with the late sources.

        Args:
            probabilities: Key of a tag -> p.
            evidence: Of all sources; only that of late ones is used.
        """
        if not self._sources:
            return probabilities
        adjusted = dict(probabilities)
        for source, tags in self._by_source(probabilities, evidence).items():
            for key, strength in tags:
                adjusted[key] = _sigmoid(_logit(adjusted[key]) + self._change(source, strength))
        return adjusted

    def note(self, image_id: int, probabilities: Mapping[str, float], evidence: Iterable[Evidence]) -> None:
        """Store what the late sources name for a photo before anything is kept, until it is saved.

        Args:
            image_id: The photo.
            probabilities: Key of a tag -> p, without the photo's own list.
            evidence: Of all sources.
        """
        if not self._sources:
            return
        tags = {
            source: tuple((form_key(key), _logit(probabilities[key]), strength) for key, strength in named)
            for source, named in self._by_source(probabilities, evidence).items()
        }
        with self._lock:
            self._noted.pop(image_id, None)
            if tags:
                self._noted[image_id] = _Noted(tags)
            while len(self._noted) > MAX_PHOTOS:
                self._noted.popitem(last=False)
            if self._saved_tags(image_id):  # an open photo does not count yet
                self._fits = None

    def is_noted(self, image_id: int) -> bool:
        """Tell whether `note` stored something for a photo."""
        return image_id in self._noted

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Take in saves: as a listener of the tagged photos."""
        with self._lock:
            if any(image_id in self._noted for image_id, _ in photos):
                self._fits = None

    def remove(self, image_id: int) -> None:
        """Take in that a photo has no tags any more: as a listener of the tagged photos."""
        self.set_many([(image_id, Words())])

    def parameters(self, source: str) -> tuple[float, float]:
        """Return (a, b) of a source as it counts now."""
        with self._lock:
            if self._fits is None:
                self._fits = self._fit()
            return self._fits[source]

    def _change(self, source: str, strength: float) -> float:
        shift, slope = self.parameters(source)
        return min(max(shift + slope * strength, SMALLEST_CHANGE), LARGEST_CHANGE)

    def _hit_rate(self, source: str) -> str:
        saved, named = self._hits.get(source, (0, 0))
        return f"; {saved} of {named} tags that it named were saved here" if named else ""

    def _by_source(
        self, probabilities: Mapping[str, float], evidence: Iterable[Evidence]
    ) -> dict[str, list[tuple[str, float]]]:
        """Return source -> (key among the probabilities, strength) of each tag that it names.

        A named form of a word that is no candidate counts for the forms that are.
        """
        forms: dict[str, list[str]] = {}
        for key in probabilities:
            forms.setdefault(form_key(key), []).append(key)
        found: dict[str, dict[str, float]] = {}
        for item in evidence:
            if item.source not in self._sources:
                continue
            key = tag_key(item.tag)
            strengths = found.setdefault(item.source, {})
            for candidate in [key] if key in probabilities else forms.get(form_key(key), []):
                strengths[candidate] = max(strengths.get(candidate, 0.0), item.rank_score or 0.0)
        return {source: list(strengths.items()) for source, strengths in found.items()}

    def _fit(self) -> dict[str, tuple[float, float]]:
        rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in self._sources}
        for image_id, noted in self._noted.items():
            saved = {form_key(tag) for tag in self._saved_tags(image_id)}
            if saved:
                for source, tags in noted.tags.items():
                    rows[source] += [(offset, strength, float(form in saved)) for form, offset, strength in tags]
        self._hits = {name: (sum(int(row[2]) for row in found), len(found)) for name, found in rows.items()}
        return {name: fit(np.array(found).reshape(-1, 3), self._sources[name].prior) for name, found in rows.items()}


def fit(rows: Matrix, prior: Prior) -> tuple[float, float]:
    """Return the most probable (a, b), by Newton's method; b is not negative.

    Args:
        rows: (N, 3): logit p, strength, and 1 if the tag was saved, else 0.
        prior: Of the parameters.
    """
    mean = np.array([prior.shift, prior.slope])
    found = _newton(rows, mean, prior.spread, np.array([True, True]))
    if found[1] < 0:
        found = _newton(rows, np.array([prior.shift, 0.0]), prior.spread, np.array([True, False]))
    return float(found[0]), float(found[1])


def _newton(rows: Matrix, mean: Matrix, spread: float, is_free: npt.NDArray[np.bool_]) -> Matrix:
    offsets, labels = rows[:, 0], rows[:, 2]
    design = np.stack([np.ones(len(rows)), rows[:, 1]], axis=1) * is_free  # (N, 2)
    found = mean.astype(np.float64)
    for _ in range(NUM_STEPS):
        predicted = 0.5 * (1 + np.tanh(0.5 * (offsets + design @ found)))
        gradient = design.T @ (predicted - labels) + (found - mean) / spread**2
        curvature = (design * (predicted * (1 - predicted))[:, None]).T @ design + np.eye(2) / spread**2
        step = np.linalg.solve(curvature, gradient)
        step /= max(1.0, float(np.abs(step).max()))  # far from the solution a full step can be too long
        found = found - step
        if np.abs(step).max() < 1e-9:
            break
    return found


def _logit(probability: float) -> float:
    bounded = min(max(probability, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY)
    return math.log(bounded / (1 - bounded))


def _sigmoid(value: float) -> float:
    return 0.5 * (1 + math.tanh(0.5 * value))
