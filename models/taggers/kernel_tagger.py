"""Kernel ridge regression over several views of a photo, calibrated, with lists optimised for a chosen measure.

`kernel_ridge` combines parts of several papers:
- the kernel exp(-gamma sum_m w_m d_m), d_m a squared distance of view m over its median: a sum of distances as in
  TagProp (Guillaumin et al., ICCV 2009, eq. 5), with weights that are set, not learnt;
- least squares on 0 and 1: Rifkin, Yeo, Poggio, "Regularized Least-Squares Classification", 2003; its closed-form
  leave-one-out predictions y_i - c_i / (G^-1)_ii give unbiased scores of all training photos;
- a logistic calibration of those scores in [score, sqrt(score), score x log prior, log prior, 1], one for all tags;
- with `decide="balanced"` the list is sorted by the gain of the expected F1 of the mean precision and mean recall over
  tags, not by probability. If tag j is right for N_j photos, proposed for M_j and T_j of these are right, one more
  proposal that is right with probability p adds p / N_j to its recall and (p - T_j / M_j) / M_j to its precision, and
  F1 = 2PR / (P + R) changes by these over R^2 and P^2. N, M and T are expectations over the training photos, found by
  repeating propose-and-count. A false proposal costs little for a tag that is proposed often, so that a list of fixed
  length is filled with frequent tags, and rare tags are proposed at a lower probability. Measured: docs/experiments.

Shapes: features (B, D), the views one after the other -> kernel (B, N) -> scores (B, V) in [0, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.tagger import Features
from annotator.models.taggers.scoring_tagger import (
    Arrays,
    Matrix,
    ScoringTagger,
    best_threshold,
    check_training,
    sigmoid,
    unit_rows,
)

MAX_ROWS = 256
"""Photos that are compared with the training photos at once."""
NUM_ROUNDS = 20
"""Rounds of propose-and-count; it converges in about ten."""
NUM_TERMS = 5
"""Terms of the calibration."""


@dataclass(frozen=True)
class View:
    """One part of the features."""

    size: int
    """Number of values of the feature vector."""
    weight: float = 1.0
    """Weight of its distance in the sum."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.weight <= 0:
            raise ValueError(f"A view needs a size and a weight above 0; got {self}.")


@dataclass(frozen=True)
class KernelConfig:
    """How the kernel is computed and the list sorted."""

    views: tuple[View, ...] = ()
    """Their sizes sum to D; empty is one view of all values."""
    gamma: float = 2.0
    """Decay of the kernel with distance, in medians of the distance between training photos."""
    ridge: float = 0.1
    """Added to the kernel's diagonal, which is 1."""
    decide: str = "score"
    """Sort by "score", or "balanced" for the F1 of the means over tags."""
    list_length: int = 5
    """The k of "balanced"."""
    more_photos: float = 20.0
    """Added to N_j to reduce the weight of a rare tag's recall. 0 gains most at the expense of the frequent tags."""
    more_proposals: float = 3.0
    """Added to M_j, so that the precision of a rarely proposed tag is not overestimated."""

    def __post_init__(self) -> None:
        # From a command line or a checkpoint they come as JSON objects.
        views = tuple(View(**view) if isinstance(view, dict) else view for view in self.views)
        object.__setattr__(self, "views", views)
        if self.decide not in ("score", "balanced"):
            raise ValueError(f"A list is decided by score or balanced, not by {self.decide!r}.")
        if min(self.gamma, self.ridge, self.list_length, self.more_proposals) <= 0 or self.more_photos < 0:
            raise ValueError(f"gamma, ridge, list_length and more_proposals must be above 0; got {self}.")


@dataclass(frozen=True)
class Utility:
    """The utility of proposing a tag of probability p: gain x p - cost."""

    gain: Matrix
    """(V,)."""
    cost: Matrix
    """(V,)."""

    def of(self, scores: Matrix) -> Matrix:
        """Return the (B, V) utilities of (B, V) probabilities."""
        values: Matrix = scores * self.gain - self.cost
        return values


class KernelTagger(ScoringTagger):
    """Stores the training photos and their dual weights for each tag.

    Args:
        vocabulary: Its V tags.
        config: How the kernel is computed.
        arrays: mean (D,), scale (M,), keys (N, D), duals (N, V), prior (V,), calibration (5,), and the gain and
            cost (V,) of proposing each tag.
        threshold: The score threshold for free lengths.
    """

    name = "kernel_ridge"
    default_config: ClassVar[KernelConfig] = KernelConfig()

    def __init__(self, vocabulary: Vocabulary, config: KernelConfig, arrays: Arrays, threshold: float) -> None:
        super().__init__(vocabulary, len(arrays["mean"]), threshold)
        self.config = config
        self._arrays: dict[str, Matrix] = {key: np.asarray(values, np.float32) for key, values in arrays.items()}
        if self._arrays["duals"].shape != (len(self._arrays["keys"]), len(vocabulary)):
            raise ValueError(f"There must be {len(vocabulary)} duals a photo; got {self._arrays['duals'].shape}.")

    @classmethod
    def fit(
        cls,
        vocabulary: Vocabulary,
        features: Features,
        given: Sequence[Sequence[str]],
        config: KernelConfig | None = None,
    ) -> Self:
        """Solve for the duals, calibrate on leave-one-out scores, and find each tag's utility.

        Args:
            vocabulary: The tags to learn.
            features: (N, D) float32.
            given: The tags of each photo; their order does not matter.
            config: None is one view, sorted by score.

        Raises:
            ValueError: The shapes or the views do not fit, or there are fewer than 2 photos.
        """
        config = config or cls.default_config
        labels = vocabulary.matrix(given)
        check_training(features, labels, vocabulary)
        if len(features) < 2:
            raise ValueError("Kernel ridge regression needs at least 2 photos; got 1.")
        mean = features.mean(axis=0)
        keys = cls._to_keys(features - mean, config)
        parts = [squared_distances(part, part) for part in cls._parts(keys, config)]
        scale = np.array([max(float(np.median(part)), 1e-9) for part in parts], np.float32)
        kernel = combine(parts, scale, config)
        duals, left_out = ridge_regression(kernel, labels, config.ridge)
        prior = (labels.sum(axis=0) + 0.5) / (len(labels) + 1)
        calibration = calibrate(left_out, labels, prior)
        scores = calibrated(left_out, prior, calibration)
        utility = find_utility(scores, config)
        arrays: Arrays = {
            "mean": mean,
            "scale": scale,
            "keys": keys,
            "duals": duals,
            "prior": prior,
            "calibration": calibration,
            "gain": utility.gain,
            "cost": utility.cost,
        }
        return cls(vocabulary, config, arrays, best_threshold(scores, labels))

    def scores(self, features: Features) -> Matrix:
        """Return the probability that each tag is right: (B, V) in [0, 1]."""
        self._check(features)
        stored = self._parts(self._arrays["keys"], self.config)
        values = np.empty((len(features), len(self.vocabulary)), np.float32)
        for start in range(0, len(features), MAX_ROWS):
            rows = slice(start, start + MAX_ROWS)
            keys = self._to_keys(features[rows] - self._arrays["mean"], self.config)
            parts = [squared_distances(a, b) for a, b in zip(self._parts(keys, self.config), stored, strict=True)]
            values[rows] = combine(parts, self._arrays["scale"], self.config) @ self._arrays["duals"]
        return calibrated(values, self._arrays["prior"], self._arrays["calibration"])

    def utilities(self, scores: Matrix, *, free_length: bool = False) -> Matrix:
        """Return the values that the tags are ranked by, (B, V): the scores, or the gains of the balanced F1."""
        # Without a fixed length, the balanced F1 is highest for lists of 20 and more (measured, docs/experiments).
        if self.config.decide == "score" or free_length:
            return scores
        return Utility(self._arrays["gain"], self._arrays["cost"]).of(scores)

    def settings(self) -> Mapping[str, Any]:
        """Return the settings as JSON values."""
        return {"config": {**asdict(self.config), "views": [asdict(view) for view in self.config.views]},
                "threshold": self.threshold}  # fmt: skip

    def arrays(self) -> Arrays:
        """Return the stored training photos and all learnt arrays."""
        return dict(self._arrays)

    @classmethod
    def from_arrays(cls, vocabulary: Vocabulary, settings: Mapping[str, Any], arrays: Arrays) -> Self:
        """Return the tagger whose `settings` and `arrays` these are."""
        views = tuple(View(**view) for view in settings["config"]["views"])
        config = KernelConfig(**{**settings["config"], "views": views})
        return cls(vocabulary, config, arrays, float(settings["threshold"]))

    @classmethod
    def _to_keys(cls, centred: Matrix, config: KernelConfig) -> Matrix:
        """Return every view's part scaled to length 1, (B, D)."""
        return np.concatenate([unit_rows(part) for part in cls._parts(centred, config)], axis=1)

    @staticmethod
    def _parts(values: Matrix, config: KernelConfig) -> list[Matrix]:
        sizes = [view.size for view in config.views] or [values.shape[1]]
        if sum(sizes) != values.shape[1]:
            raise ValueError(f"The views have {sum(sizes)} values, the features {values.shape[1]}.")
        return np.split(values, np.cumsum(sizes)[:-1], axis=1)


def squared_distances(left: Matrix, right: Matrix) -> Matrix:
    """Return half the squared distances between unit rows, (B, N), in [0, 2]."""
    distances: Matrix = np.maximum(1 - left @ right.T, 0)
    return distances


def combine(distances: Sequence[Matrix], scale: Matrix, config: KernelConfig) -> Matrix:
    """Return exp(-gamma sum_m w_m d_m / scale_m), with the weights w_m normalised to sum 1."""
    weights = [view.weight for view in config.views] or [1.0]
    total = sum(weights)
    summed = sum(weight / total / unit * part for weight, unit, part in zip(weights, scale, distances, strict=True))
    kernel: Matrix = np.exp(-config.gamma * np.asarray(summed, np.float32))
    return kernel


def ridge_regression(kernel: Matrix, labels: Matrix, ridge: float) -> tuple[Matrix, Matrix]:
    """Solve (K + ridge I) C = Y, and predict each photo from all others.

    Returns:
        C, (N, V), and the leave-one-out predictions y_i - c_i / (G^-1)_ii with G = K + ridge I (Rifkin et al.).
    """
    regularised = kernel + np.float32(ridge) * np.eye(len(kernel), dtype=np.float32)
    inverse = np.asarray(np.linalg.inv(regularised), np.float32)
    duals = inverse @ labels
    diagonal: Matrix = np.diagonal(inverse)[:, None]
    left_out: Matrix = labels - duals / diagonal
    return duals, left_out


def calibrate(values: Matrix, labels: Matrix, prior: Matrix, num_steps: int = 50) -> Matrix:
    """Fit the calibration to all (photo, tag) pairs by Newton's method.

    Args:
        values: (N, V) leave-one-out predictions.
        labels: (N, V), 0 or 1.
        prior: (V,) share of the photos with each tag.
        num_steps: Most steps of Newton's method.

    Returns:
        (5,) coefficients.
    """
    terms = _terms(values.astype(np.float64), prior.astype(np.float64)).reshape(-1, NUM_TERMS)
    target = labels.astype(np.float64).ravel()
    share = float(np.clip(target.mean(), 1e-6, 1 - 1e-6))
    weights = np.zeros(NUM_TERMS)
    weights[-1] = np.log(share / (1 - share))
    for _ in range(num_steps):
        predicted = 0.5 * (1 + np.tanh(0.5 * (terms @ weights)))
        gradient = terms.T @ (predicted - target) + 1e-2 * weights
        curvature = (terms * (predicted * (1 - predicted))[:, None]).T @ terms + 1e-2 * np.eye(NUM_TERMS)
        step = np.linalg.solve(curvature, gradient)
        weights -= step / max(1.0, float(np.abs(step).max()) / 3)
        if np.abs(step).max() < 1e-6:
            break
    return weights.astype(np.float32)


def calibrated(values: Matrix, prior: Matrix, calibration: Matrix) -> Matrix:
    """Return probabilities, (B, V), of raw predictions."""
    # Not `@`: OpenBLAS's product of small float32 arrays may warn of an invalid value where there is none.
    return sigmoid(np.einsum("bvt,t->bv", _terms(values, prior), calibration).astype(np.float32))


def find_utility(scores: Matrix, config: KernelConfig) -> Utility:
    """Compute the utility of proposing each tag for the F1 of the means over tags.

    Args:
        scores: (N, V) leave-one-out probabilities of the training photos.
        config: The length of the lists and the two smoothing counts.
    """
    num_photos = scores.sum(axis=0) + config.more_photos  # N_j
    utility = Utility(1 / num_photos, np.zeros_like(num_photos))
    for round_ in range(NUM_ROUNDS):
        chosen = _best(utility.of(scores), config.list_length)
        num_proposed = chosen.sum(axis=0) + config.more_proposals  # M_j
        num_right = (scores * chosen).sum(axis=0)  # T_j
        precision = num_right / num_proposed
        mean_precision, mean_recall = (
            max(float(precision.mean()), 1e-6),
            max(float((num_right / num_photos).mean()), 1e-6),
        )
        gain = 1 / (num_photos * mean_recall**2) + 1 / (num_proposed * mean_precision**2)
        cost = precision / (num_proposed * mean_precision**2)
        # Half a step: whole steps oscillate.
        utility = Utility((utility.gain + gain) / 2, (utility.cost + cost) / 2) if round_ else Utility(gain, cost)
    return Utility(utility.gain.astype(np.float32), utility.cost.astype(np.float32))


def _best(values: Matrix, k: int) -> npt.NDArray[np.bool_]:
    k = min(k, values.shape[1])
    chosen = np.zeros(values.shape, bool)
    np.put_along_axis(chosen, np.argpartition(-values, k - 1, axis=1)[:, :k], True, axis=1)
    return chosen


def _terms(values: npt.NDArray[Any], prior: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return (B, V, 5)."""
    positive = np.maximum(values, 0)
    log_prior = np.broadcast_to(np.log(prior), values.shape)
    return np.stack([values, np.sqrt(positive), positive * log_prior, log_prior, np.ones_like(values)], axis=-1)
