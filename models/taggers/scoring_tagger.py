"""The base of taggers that score every tag by itself, so that a prefix only removes tags from the list.

A subclass implements `scores`. Knows nothing of how they are computed, of files or of data sets.
Shapes: features (B, D) float32 -> scores (B, V) float32 in [0, 1].
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from annotator.datasets.tags import tag_key
from annotator.datasets.vocabulary import Vocabulary
from annotator.models.reranker import IDENTITY
from annotator.models.tagger import Capabilities, Features, RankedTag

Matrix = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[Any]]

MIN_SCALE = 1e-3
"""Lower bound of a feature's standard deviation when it is standardised."""


class ScoringTagger(ABC):
    """Ranks tags by one score each.

    Attributes:
        vocabulary: Its V tags.
        feature_size: D.
        threshold: With a free length, only tags with at least this score are proposed, and one tag at least.
        capabilities: See `tagger.Capabilities`.
        reranker: The re-ranker trained with it.
        made_of: For each tag added without training, the known tags its rows are derived from (new_tags.py).
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities] = Capabilities()
    reranker = IDENTITY
    made_of: Mapping[str, Sequence[str]] = MappingProxyType({})

    def __init__(self, vocabulary: Vocabulary, feature_size: int, threshold: float = 0.5) -> None:
        self.vocabulary = vocabulary
        self.feature_size = feature_size
        self.threshold = threshold
        self._ids = {tag_key(tag): index for index, tag in enumerate(vocabulary.tags)}

    @property
    def version(self) -> str:
        """Changes with the vocabulary, any setting and any learnt value."""
        digest = hashlib.sha256(repr((self.vocabulary.tags, sorted(self.settings().items()))).encode())
        for key, values in sorted(self.arrays().items()):
            digest.update(f"{key}{values.shape}{values.dtype}".encode() + np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:12]

    @abstractmethod
    def scores(self, features: Features) -> Matrix:
        """Return the probability that each tag is right: (B, V) in [0, 1]."""

    def probabilities(self, features: Features) -> tuple[Sequence[str], Matrix]:
        """Return the vocabulary and `scores`, (B, V)."""
        return self.vocabulary.tags, self.scores(features)

    def utilities(self, scores: Matrix, *, free_length: bool = False) -> Matrix:
        """Return the values that the tags are ranked by, (B, V): the scores, unless a subclass overrides it."""
        return scores

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """Return the settings as JSON values, enough for `from_arrays`."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return everything learnt, for a checkpoint."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, vocabulary: Vocabulary, settings: Mapping[str, Any], arrays: Arrays) -> Self:
        """Return the tagger whose `settings` and `arrays` these are."""

    def allowed_words(self) -> list[str]:
        """Return every tag it can propose."""
        return list(self.vocabulary.tags)

    def trained_words(self) -> list[str]:
        """Return every tag whose rows are not derived from those of other tags."""
        return [tag for tag in self.vocabulary.tags if tag not in self.made_of]

    def channel_weights(self, tag: str, features: Features) -> Features | None:
        """Return None: no heat-map by default."""
        return None

    def decode(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        *,
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
        free_length: bool = False,
    ) -> list[list[RankedTag]]:
        """List the best tags that are neither kept nor dropped; see `Tagger.decode`.

        Raises:
            ValueError: The batch sizes or the feature size do not fit.
        """
        self._check(features)
        return self.rank(self.scores(features), prefixes, dropped, k, free_length=free_length)

    def rank(
        self,
        scores: Matrix,
        prefixes: Sequence[Sequence[str]],
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
        *,
        free_length: bool = False,
    ) -> list[list[RankedTag]]:
        """List the best tags of (B, V) scores; see `decode`.

        Raises:
            ValueError: The batch sizes do not fit.
        """
        dropped = dropped or [()] * len(scores)
        if not len(scores) == len(prefixes) == len(dropped):
            raise ValueError(
                f"There are {len(scores)} features, {len(prefixes)} prefixes and {len(dropped)} dropped sets."
            )
        utilities = self.utilities(scores, free_length=free_length)
        lists = []
        for row, order in enumerate(np.argsort(-utilities, axis=1, kind="stable").tolist()):
            excluded = {self._ids.get(tag_key(tag)) for tag in (*prefixes[row], *dropped[row])}
            best = [tag for tag in order if tag not in excluded][: max(k, 0)]
            if free_length:
                best = [tag for tag in best if scores[row, tag] >= self.threshold] or best[:1]
            lists.append([self._named(self.vocabulary.tags[tag], float(scores[row, tag])) for tag in best])
        return lists

    def _named(self, tag: str, score: float, **evidence: Any) -> RankedTag:
        """Return a tag of a list; the evidence of a tag added without training lists its known tags."""
        made_of = {"made_of": list(self.made_of[tag])} if tag in self.made_of else {}
        return RankedTag(tag, score, {**evidence, **made_of})

    def _check(self, features: Features) -> None:
        if features.ndim != 2 or features.shape[1] != self.feature_size:
            raise ValueError(f"{self.name} needs features of (B, {self.feature_size}); got {features.shape}.")


def check_training(features: Features, labels: Matrix, vocabulary: Vocabulary) -> None:
    """Refuse training data that do not fit.

    Raises:
        ValueError: There are no photos, the shapes differ, or values are not finite.
    """
    if not len(features) or labels.shape != (len(features), len(vocabulary)):
        raise ValueError(f"Labels must be ({len(features)}, {len(vocabulary)}), not empty; got {labels.shape}.")
    if not np.isfinite(features).all():
        raise ValueError("The training features hold values that are not finite. Extract them again.")


def unit_rows(values: Matrix) -> Matrix:
    """Return rows scaled to length 1; a row of zeros stays zero."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    rows: Matrix = (values / np.maximum(lengths, 1e-9)).astype(np.float32)
    return rows


def sigmoid(logits: Matrix) -> Matrix:
    """Return 1 / (1 + exp(-x)) without overflow."""
    values: Matrix = (0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32)
    return values


def fit_sigmoid(values: Matrix, labels: Matrix, num_steps: int = 50) -> tuple[float, float]:
    """Fit p = sigmoid(a x + b) to all (image, tag) pairs at once: Platt's scaling by Newton's method.

    One a and b for all tags, with a > 0, keep their ranking.

    Args:
        values: (N, V) scores of any scale.
        labels: (N, V), 0 or 1.
        num_steps: Most steps of Newton's method.

    Returns:
        (a, b).
    """
    x, y = values.astype(np.float64).ravel(), labels.astype(np.float64).ravel()
    mean, scale = float(x.mean()), float(x.std()) + 1e-12
    x = (x - mean) / scale
    share = np.clip(y.mean(), 1e-6, 1 - 1e-6)
    a, b = 0.0, float(np.log(share / (1 - share)))
    for _ in range(num_steps):
        p = 0.5 * (1 + np.tanh(0.5 * (a * x + b)))
        weight, error = p * (1 - p), p - y
        # The small ridge keeps a finite for separable data.
        gradient = np.array([error @ x + 1e-3 * a, error.sum()])
        hessian = np.array([[weight @ (x * x) + 1e-3, weight @ x], [weight @ x, weight.sum() + 1e-9]])
        step = np.linalg.solve(hessian, gradient)
        step /= max(1.0, float(np.abs(step).max()) / 2)
        a, b = a - step[0], b - step[1]
        if np.abs(step).max() < 1e-6:
            break
    a = max(a, 1e-3)
    return float(a / scale), float(b - a * mean / scale)


def best_threshold(scores: Matrix, labels: Matrix) -> float:
    """Return the score threshold with the highest F1 over all (image, tag) pairs."""
    order = np.argsort(-scores, axis=None)
    right = np.cumsum(labels.ravel()[order])
    f1 = 2 * right / (np.arange(1, len(order) + 1) + max(float(labels.sum()), 1.0))
    return float(scores.ravel()[order[int(np.argmax(f1))]])
