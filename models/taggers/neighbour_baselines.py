"""Neighbour baselines: the tags of the most similar training photos.

- `knn`: the k nearest photos, weighted by exp(-distance / temperature), similar to JEC: Makadia, Pavlovic, Kumar,
  "A New Baseline for Image Annotation", ECCV 2008.
- `two_pass_knn` (2PKNN): Verma, Jawahar, "Image Annotation Using Metric Learning in Semantic Neighbourhoods", ECCV
  2012. Pass 1 (their section 3): from each tag's photos the K1 nearest, so that a rare tag has as many neighbours as a
  frequent one. Pass 2 (their eq. 4-5): each tag's sum of exp(-distance / temperature) over those photos that have it.
  `metric_steps` above 0 learns weights of the dimensions first (2PKNN+ML, neighbour_metric.py); `embedding_size` gives
  the size of a projection learnt from the tags (canonical correlation), as in Murthy, Maji, Manmatha, "Automatic Image
  Annotation using Deep Learning Representations", ICMR 2015 (CCA-KNN).
- `tagprop` (sigma-ML): Guillaumin, Mensink, Verbeek, Schmid, "TagProp", ICCV 2009. Eq. 2: p(tag) = sum_j pi_ij
  p(tag | j), the latter 1 - epsilon if neighbour j has it, else epsilon. Eq. 5: pi_ij is proportional to exp(-w d_ij),
  w >= 0 over several distances. Eq. 7: a sigmoid for each tag, which raises rare ones. Trained on each photo's
  neighbours without itself, positives and negatives of equal total weight (below their eq. 1). The distances here are
  of one feature vector: Euclidean, cosine, and Manhattan of its signed square roots.

Shapes: features (B, D) float32, stored features (N, D) -> scores (B, V) in [0, 1].
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.tagger import Features
from annotator.models.taggers.neighbour_metric import learn_metric, tag_balanced
from annotator.models.taggers.scoring_tagger import (
    Arrays,
    Matrix,
    ScoringTagger,
    best_threshold,
    check_training,
    fit_sigmoid,
    sigmoid,
    unit_rows,
)

MAX_ROWS = 256
"""Photos that are compared with the stored ones at once."""


@dataclass(frozen=True)
class NeighbourConfig:
    """How neighbours are chosen and weighted."""

    num_neighbours: int = 20
    """k; K1 of 2PKNN, the neighbours of each tag; K of TagProp."""
    temperature: float = 0.1
    """Temperature of squared distances between unit vectors, in [0, 4]. Not used by TagProp, which learns it."""
    embedding_size: int = 0
    """E, dimensions of a projection learnt from the tags; 0 compares the features themselves."""
    embedding_ridge: float = 0.1
    """Added to the features' covariance, as a share of its mean variance, before it is inverted."""
    metric_steps: int = 0
    """Steps in which weights of the dimensions are learnt, see neighbour_metric.py; 0: none."""

    def __post_init__(self) -> None:
        if self.metric_steps < 0:
            raise ValueError(f"metric_steps must not be below 0, got {self.metric_steps!r}.")
        if self.num_neighbours < 1 or self.temperature <= 0 or self.embedding_size < 0 or self.embedding_ridge <= 0:
            raise ValueError(
                f"Neighbours, temperature and ridge must be above 0, the embedding size not below; got {self}."
            )


class NeighbourTagger(ScoringTagger):
    """Stores the training photos; a subclass computes their votes.

    Args:
        vocabulary: Its V tags.
        config: How neighbours are chosen.
        arrays: mean (D,), keys (N, D or E) unit rows, labels (N, V); with an embedding projection (D, E), with a learnt
            metric its roots (D or E,).
        sigmoid_line: Slope and offset of the sigmoid from votes to scores.
        threshold: The score threshold for free lengths.
    """

    default_config: ClassVar[NeighbourConfig] = NeighbourConfig()

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: NeighbourConfig,
        arrays: Arrays,
        sigmoid_line: tuple[float, float] = (1.0, 0.0),
        threshold: float = 0.5,
    ) -> None:
        super().__init__(vocabulary, len(arrays["mean"]), threshold)
        self.config = config
        self.sigmoid_line = sigmoid_line
        self._arrays: dict[str, Matrix] = {key: np.asarray(value, np.float32) for key, value in arrays.items()}
        self.mean, self.keys, self.labels = (self._arrays[key] for key in ("mean", "keys", "labels"))
        self.projection = self._arrays.get("projection")
        if self.labels.shape != (len(self.keys), len(vocabulary)):
            raise ValueError(f"Labels must be ({len(self.keys)}, {len(vocabulary)}); got {self.labels.shape}.")

    @classmethod
    def fit(
        cls,
        vocabulary: Vocabulary,
        features: Features,
        given: Sequence[Sequence[str]],
        config: NeighbourConfig | None = None,
    ) -> Self:
        """Store the training photos and fit the sigmoid on each one's neighbours without itself.

        Args:
            vocabulary: The tags to learn.
            features: (N, D) float32.
            given: The tags of each photo; their order does not matter.
            config: None is the class's default.

        Raises:
            ValueError: The shapes do not fit, or there are fewer than 2 photos.
        """
        config = config or cls.default_config
        labels = vocabulary.matrix(given)
        check_training(features, labels, vocabulary)
        if len(features) < 2:
            raise ValueError("Neighbours need at least 2 photos; got 1.")
        mean: Matrix = features.mean(axis=0)
        arrays: Arrays = {"mean": mean, "labels": labels}
        centred = np.asarray(features - mean, np.float32)
        if config.embedding_size:
            arrays["projection"] = correlated_directions(centred, labels, config.embedding_size, config.embedding_ridge)
            centred = np.asarray(centred @ arrays["projection"], np.float32)
        arrays["keys"] = unit_rows(centred)
        if config.metric_steps:
            arrays["metric"] = learn_metric(
                arrays["keys"],
                labels,
                num_nearest=config.num_neighbours,
                margin=config.temperature,
                num_steps=config.metric_steps,
            )
            arrays["keys"] = unit_rows(arrays["keys"] * arrays["metric"])
        arrays.update(cls._learn(arrays["keys"], labels, config))
        tagger = cls(vocabulary, config, arrays)
        votes = tagger._all_votes(tagger.keys, leave_out=True)
        tagger.sigmoid_line = fit_sigmoid(votes, labels)
        tagger.threshold = best_threshold(tagger._to_scores(votes), labels)
        return tagger

    def scores(self, features: Features) -> Matrix:
        """Return the probability that each tag is right: (B, V) in [0, 1]."""
        self._check(features)
        centred = np.asarray(features - self.mean, np.float32)
        if self.projection is not None:
            centred = np.asarray(centred @ self.projection, np.float32)
        keys = unit_rows(centred)
        if "metric" in self._arrays:
            keys = unit_rows(keys * self._arrays["metric"])
        return self._to_scores(self._all_votes(keys))

    @abstractmethod
    def votes(self, keys: Matrix, distances: Matrix) -> Matrix:
        """Return (B, V) votes of any scale; a sigmoid calibrates square roots of shares best.

        Args:
            keys: (B, E) unit rows of the photos to tag.
            distances: (B, N) squared distances to the stored photos; infinite for those that must not vote.
        """

    def settings(self) -> Mapping[str, Any]:
        """Return the settings as JSON values."""
        return {"config": asdict(self.config), "sigmoid_line": list(self.sigmoid_line), "threshold": self.threshold}

    def arrays(self) -> Arrays:
        """Return the stored photos and all learnt arrays."""
        return dict(self._arrays)

    @classmethod
    def from_arrays(cls, vocabulary: Vocabulary, settings: Mapping[str, Any], arrays: Arrays) -> Self:
        """Return the tagger whose `settings` and `arrays` these are."""
        slope, offset = settings["sigmoid_line"]
        config = NeighbourConfig(**settings["config"])
        return cls(vocabulary, config, arrays, (float(slope), float(offset)), float(settings["threshold"]))

    @classmethod
    def _learn(cls, keys: Matrix, labels: Matrix, config: NeighbourConfig) -> Arrays:
        """Return further learnt arrays."""
        return {}

    def _to_scores(self, votes: Matrix) -> Matrix:
        slope, offset = self.sigmoid_line
        return sigmoid(slope * votes + offset)

    def _all_votes(self, keys: Matrix, *, leave_out: bool = False) -> Matrix:
        """Return votes, computed in blocks; with `leave_out`, of the stored photos, each without its own vote."""
        blocks = []
        for start in range(0, len(keys), MAX_ROWS):
            part = keys[start : start + MAX_ROWS]
            distances = squared_distances(part, self.keys)
            if leave_out:
                rows = np.arange(len(part))
                distances[rows, start + rows] = np.inf
            blocks.append(self.votes(part, distances))
        return np.concatenate(blocks) if blocks else np.zeros((0, len(self.vocabulary)), np.float32)


class KnnTagger(NeighbourTagger):
    """Votes of the k nearest photos."""

    name = "knn"

    def votes(self, keys: Matrix, distances: Matrix) -> Matrix:
        """Return the square root of the weighted share of neighbours with each tag."""
        nearest, weights = soft_nearest(distances, self.config.num_neighbours, self.config.temperature)
        shares: Matrix = np.einsum("bk,bkv->bv", weights, self.labels[nearest])
        return np.sqrt(shares)


class TwoPassKnnTagger(NeighbourTagger):
    """Votes of the K1 nearest photos of every tag."""

    name = "two_pass_knn"
    default_config = NeighbourConfig(num_neighbours=5, temperature=0.1)

    def votes(self, keys: Matrix, distances: Matrix) -> Matrix:
        """Return the square root of each tag's share of the votes of the tag-balanced neighbours (their eq. 4-5)."""
        chosen = tag_balanced(distances, self.labels, self.config.num_neighbours)
        shifted = distances - distances.min(axis=1, keepdims=True)
        weights = np.where(chosen, np.exp(-shifted / self.config.temperature), 0)
        shares: Matrix = weights @ self.labels / weights.sum(axis=1, keepdims=True)
        return np.sqrt(shares)


class TagPropTagger(NeighbourTagger):
    """TagProp sigma-ML."""

    name = "tagprop"
    default_config = NeighbourConfig(num_neighbours=100)

    epsilon: ClassVar[float] = 1e-5
    """Probability of a tag that a neighbour lacks (their section 2.1)."""

    def votes(self, keys: Matrix, distances: Matrix) -> Matrix:
        """Return the logits of eq. 7: slope_w x + offset_w of the neighbours' weighted prediction x (eq. 2)."""
        nearest, apart = self._distances(keys, distances, self.keys, self.config.num_neighbours)
        raw = -apart @ self._arrays["distance_weights"]  # (B, K)
        weights = np.exp(raw - raw.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        present = np.einsum("bk,bkv->bv", weights, self.labels[nearest])
        predicted = self.epsilon + (1 - 2 * self.epsilon) * present  # eq. 2
        slope, offset = self._arrays["slopes"], self._arrays["offsets"]
        logits: Matrix = (slope * predicted + offset).astype(np.float32)
        return logits

    @classmethod
    def _learn(cls, keys: Matrix, labels: Matrix, config: NeighbourConfig) -> Arrays:
        """Return distance weights, slopes and offsets that maximise the weighted log-likelihood (eq. 1), by Adam."""
        import torch

        near, apart = [], []
        for start in range(0, len(keys), MAX_ROWS):
            part = keys[start : start + MAX_ROWS]
            distances = squared_distances(part, keys)
            rows = np.arange(len(part))
            distances[rows, start + rows] = np.inf
            block = cls._distances(part, distances, keys, min(config.num_neighbours, len(keys) - 1))
            near.append(block[0])
            apart.append(block[1])
        nearest, inputs = torch.from_numpy(np.concatenate(near)), torch.from_numpy(np.concatenate(apart))
        target = torch.from_numpy(labels)
        num_positive = target.sum(dim=0).clamp(min=1)
        num_negative = (len(target) - target.sum(dim=0)).clamp(min=1)
        balance = target / num_positive + (1 - target) / num_negative  # c_iw
        raw = torch.full((inputs.shape[2],), 2.0, requires_grad=True)  # softplus keeps the weights >= 0
        slopes = torch.full((labels.shape[1],), 5.0, requires_grad=True)
        offsets = torch.full((labels.shape[1],), -1.0, requires_grad=True)
        optimizer = torch.optim.Adam([raw, slopes, offsets], lr=0.1)
        generator = torch.Generator().manual_seed(0)
        num_steps = 300
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
        for _ in range(num_steps):
            rows_ = torch.randint(len(inputs), (min(MAX_ROWS, len(inputs)),), generator=generator)
            weights = (-inputs[rows_] @ torch.nn.functional.softplus(raw)).softmax(dim=1)
            present = torch.einsum("bk,bkv->bv", weights, target[nearest[rows_]])
            predicted = cls.epsilon + (1 - 2 * cls.epsilon) * present
            losses = torch.nn.functional.binary_cross_entropy_with_logits(
                slopes * predicted + offsets, target[rows_], reduction="none"
            )
            value = (losses * balance[rows_]).sum() * len(inputs) / len(rows_) / labels.shape[1]
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
        return {
            "distance_weights": torch.nn.functional.softplus(raw).detach().numpy(),
            "slopes": slopes.detach().numpy(),
            "offsets": offsets.detach().numpy(),
        }

    @staticmethod
    def _distances(
        keys: Matrix, squared: Matrix, stored: Matrix, num_neighbours: int
    ) -> tuple[npt.NDArray[np.int64], Matrix]:
        """Return the nearest photos (B, K) and the (B, K, 3) Euclidean, cosine and square-root Manhattan distances."""
        nearest, _ = soft_nearest(squared, num_neighbours, 1.0)
        chosen = np.take_along_axis(squared, nearest, axis=1)
        roots, stored_roots = signed_roots(keys), signed_roots(stored)
        manhattan = np.stack(
            [np.abs(stored_roots[ids] - root).mean(axis=1) for ids, root in zip(nearest, roots, strict=True)]
        )
        apart = np.stack([np.sqrt(chosen), chosen / 2, manhattan * np.sqrt(keys.shape[1])], axis=2)
        return nearest, apart.astype(np.float32)


def squared_distances(keys: Matrix, stored: Matrix) -> Matrix:
    """Return (B, N) squared distances between unit rows, not below 0."""
    distances: Matrix = np.maximum(2 - 2 * (keys @ stored.T), 0).astype(np.float32)
    return distances


def soft_nearest(distances: Matrix, k: int, temperature: float) -> tuple[npt.NDArray[np.int64], Matrix]:
    """Return the k nearest of each row, (B, k), and weights that decrease with distance and sum to 1.

    Photos at an infinite distance have weight 0.
    """
    k = min(k, distances.shape[1])
    nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1, kind="stable")
    nearest = np.take_along_axis(nearest, order, axis=1)
    chosen = np.take_along_axis(distances, nearest, axis=1)
    weights = np.exp(-(chosen - chosen[:, :1]) / temperature)
    return nearest, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def signed_roots(values: Matrix) -> Matrix:
    """Return sign(x) sqrt(|x|), which reduces large values."""
    roots: Matrix = (np.sign(values) * np.sqrt(np.abs(values))).astype(np.float32)
    return roots


def correlated_directions(centred: Matrix, labels: Matrix, size: int, ridge: float) -> Matrix:
    """Return the (D, E) directions of features that correlate most with tags: regularised canonical correlation.

    Args:
        centred: (N, D) features of mean 0.
        labels: (N, V), 0 or 1.
        size: E; at most D and V.
        ridge: Added to both covariances, as a share of the mean variance.

    Returns:
        (D, E) directions, each scaled by its correlation, so that those unrelated to tags have a low weight.
    """
    x, y = centred.astype(np.float64), labels.astype(np.float64) - labels.mean(axis=0)
    inverse_root_x, inverse_root_y = _inverse_root(x.T @ x / len(x), ridge), _inverse_root(y.T @ y / len(y), ridge)
    left, correlations, _ = np.linalg.svd(inverse_root_x @ (x.T @ y / len(x)) @ inverse_root_y, full_matrices=False)
    size = min(size, len(correlations))
    directions: Matrix = (inverse_root_x @ left[:, :size] * correlations[:size]).astype(np.float32)
    return directions


def _inverse_root(covariance: npt.NDArray[np.float64], ridge: float) -> npt.NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    floor = ridge * float(values.mean()) + 1e-12
    root: npt.NDArray[np.float64] = (vectors / np.sqrt(np.maximum(values, 0) + floor)) @ vectors.T
    return root
