"""The fusion model: the probability that this person puts a tag on this photo, from the evidence of all sources.

A logistic model of the features x of a (photo, tag) pair gives a first value

    v = bias + w . x

and gradient-boosted trees, which take v as one more feature, a second one, t = base + sum over trees of leaf(x, v):

    P = sigmoid(SMOOTHING v + (1 - SMOOTHING) t)

(Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001). The trees are monotone: more evidence
for a tag never lowers P. One logistic model has the same weights in all projects; the trees let the weight of the
project's tag frequencies depend on how often the taggers are right in this project.
`tests/benchmarks/growth/fit_fusion.py` fits both on replayed projects; fusion.json holds them.
Knows nothing of where the features come from.
Shapes: C candidate tags, F features, T trees of at most M nodes: x (C, F) -> P (C,) float64.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

FEATURES = (
    "trained", "model", "model_rank", "model_first", "guess", "looks", "looks_rank", "words",
    "share", "share_trained", "unused", "subject", "subject_trained", "head", "head_trained",
    "gain", "gain_confident", "gain_distant", "gain_trained", "residual", "other_tag",
    "gain_single", "tag_ratio", "model_ratio", "looks_ratio", "kind_share", "list_length", "variance",
    "num_photos", "model_best", "looks_best", "head_rank",
    "keyword", "keyword_rate", "not_keyword", "folder", "metadata", "detector",
    "num_kept", "together", "next", "place", "model_prefix",
    "classes",
)  # fmt: skip
"""The columns of x. The value of a source is logit(score) - logit(SILENCE), 0 without evidence from it. "Here" means in
this project; "of the subject" means weighted by `HeadPrediction.nearness`.

Taggers. trained: the first tagger was trained on the tag. model, model_rank, model_first: that tagger's score, its rank
score, and 1 / its rank in that tagger's list, of a tag it was trained on; guess: its score of any other tag. looks,
looks_rank: the same of the cold start. words: the open vocabulary's score. other_tag: of a tag that no tagger proposes,
the highest value of `model` in this photo. classes: how much likelier the photo makes ImageNet's classes of the tag
than chance does (`ColdStartTagger.class_odds`), negative where it speaks against the tag; 0 of a tag without a class.
Frequencies. share: log-odds of the tag's share of the tagged photos, above that of an unused tag without any photos;
unused: log(1 + tagged photos) for an unused tag; subject: as share, of the subject. list_length: log of the number of
tags in lists of the subject, above log 3. kind_share: log of the share of trained tags (of a tag that is not trained,
of the others) in lists of the subject, above its prior.
Head (models/project_head.py). gain: its gain; head: logit(share + gain) - logit(share); gain_confident: times its
confidence; gain_distant: times the distance of the nearest exemplars in standard deviations of what is usual here;
gain_single: the gain of a tag that one photo has; residual: of a trained tag, the gain computed with the differences
between labels and the tagger's earlier scores; variance: 1 - confidence; head_rank: 1 / rank of share + gain among the
candidates in use. share_, subject_, head_ and gain_trained: of a trained tag.
The whole list. num_photos: log(1 + tagged photos); model_best, looks_best: the highest `model` and `looks` in it.
How often the taggers are right here. tag_ratio: of a tag that a tagger proposes, log of how often it was saved over how
often the scores predicted; model_ratio, looks_ratio: the same over all tags of a source, of the subject.
Metadata. keyword, folder, metadata, detector: scores of these sources; keyword_rate: of a keyword, the log-odds of a
photo's keyword being saved here; not_keyword: the photo has keywords and the tag is none of them.
The list so far. num_kept: log(1 + kept tags); together, next, place: `TagFeatures` of
annotator/proposals/tag_statistics.py; model_prefix: `model`, all 0 before the first kept tag.
"""
SILENCE = 0.005
"""Score that counts as no evidence."""
WEIGHTS_PATH = Path(__file__).with_name("fusion.json")
SMOOTHING = 0.15
"""Weight of the logistic model beside the trees, whose values are steps: without it, many tags of a new project are
tied. On held-back projects the log loss is .08897 with it, .08885 without; the first tag is right more often."""
VALUE = "value"
"""Name of v among the columns of the trees."""
COLUMNS = (*FEATURES, VALUE)


@dataclass(frozen=True)
class Trees:
    """Regression trees, each a table of nodes.

    Args:
        base: Log-odds before any tree.
        feature: (T, M) column of `COLUMNS` that a node compares; of a leaf any.
        threshold: (T, M); values up to it go to the left child.
        left: (T, M) number of the left child; of a leaf its own.
        right: (T, M) the same of the right child.
        leaf: (T, M) log-odds that a leaf adds; of any other node 0.

    Raises:
        ValueError: The tables' shapes differ, a number is out of range or not finite, or a child precedes its
            parent.
    """

    base: float
    feature: Places
    threshold: Matrix
    left: Places
    right: Places
    leaf: Matrix

    def __post_init__(self) -> None:
        shape = self.feature.shape
        if len(shape) != 2 or any(t.shape != shape for t in (self.threshold, self.left, self.right, self.leaf)):
            raise ValueError("The tables of the trees must have one shape.")
        numbers = np.arange(shape[1])
        if (self.feature < 0).any() or (self.feature >= len(COLUMNS)).any():
            raise ValueError("A tree compares an unknown feature.")
        if any((t < numbers).any() or (t >= shape[1]).any() for t in (self.left, self.right)):
            raise ValueError("A node of a tree has an unknown child, or one that precedes it.")
        if not (np.isfinite(self.threshold).all() and np.isfinite(self.leaf).all() and np.isfinite(self.base)):
            raise ValueError("A number of the trees is not finite.")

    @cached_property
    def depth(self) -> int:
        """Most steps from a root to a leaf."""
        steps = np.zeros(self.feature.shape, np.int64)
        for node in range(self.feature.shape[1] - 1, -1, -1):
            for child in (self.left[:, node], self.right[:, node]):
                below = steps[np.arange(len(steps)), child] + 1
                steps[:, node] = np.where(child == node, steps[:, node], np.maximum(steps[:, node], below))
        return int(steps[:, 0].max(initial=0))

    def values(self, columns: Matrix) -> Matrix:
        """Return the log-odds of C rows.

        Args:
            columns: (C, F + 1), as `COLUMNS` has them.

        Returns:
            (C,).
        """
        num, num_nodes = len(columns), self.feature.shape[1]
        starts = np.arange(len(self.feature)) * num_nodes  # (T,)
        feature, threshold = self.feature.ravel(), self.threshold.ravel()
        left, right = self.left.ravel(), self.right.ravel()
        at = np.broadcast_to(starts, (num, len(starts)))  # (C, T)
        rows = np.arange(num)[:, None]
        for _ in range(self.depth):
            goes_left = columns[rows, feature[at]] <= threshold[at]
            at = starts + np.where(goes_left, left[at], right[at])
        values: Matrix = self.base + self.leaf.ravel()[at].sum(axis=1)
        return values


@dataclass(frozen=True)
class Fusion:
    """The fitted model.

    Args:
        bias: Log-odds of a tag without evidence.
        weights: Feature -> weight; 0 for a feature that is not named.
        trees: None: the logistic model alone.

    Raises:
        ValueError: An unknown feature, or a weight that is not finite.
    """

    bias: float
    weights: Mapping[str, float]
    trees: Trees | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights).difference(FEATURES))
        if unknown:
            raise ValueError(f"The fusion weighs {unknown[0]!r}, which is no feature.")
        if not np.isfinite([self.bias, *self.weights.values()]).all():
            raise ValueError("A weight of the fusion is not a finite number.")

    @cached_property
    def vector(self) -> Matrix:
        """The weights in the order of `FEATURES`, (F,)."""
        return np.array([self.weights.get(name, 0.0) for name in FEATURES])

    def columns(self, features: Matrix) -> Matrix:
        """Return (C, F + 1), the features the features and v."""
        features = np.asarray(features, np.float64)
        return np.concatenate([features, (self.bias + features @ self.vector)[:, None]], axis=1)

    def probabilities(self, features: Matrix) -> Matrix:
        """Return the probability of each tag.

        Args:
            features: (C, F).

        Returns:
            (C,) in (0, 1).
        """
        columns = self.columns(features)
        values = columns[:, -1]
        if self.trees is not None:
            values = SMOOTHING * values + (1 - SMOOTHING) * self.trees.values(columns)
        probabilities: Matrix = 0.5 * (1 + np.tanh(0.5 * values))
        return probabilities

    @classmethod
    def from_json(cls, values: Any) -> "Fusion":
        """Return the fusion of `to_json`.

        Raises:
            ValueError: The values are no such model.
        """
        weights = values.get("weights") if isinstance(values, dict) else None
        if not isinstance(weights, dict) or not all(_is_number(w) for w in (values.get("bias"), *weights.values())):
            raise ValueError("A fusion is a bias and a table of weights.")
        trees = values.get("trees")
        return cls(
            float(values["bias"]),
            {str(name): float(weight) for name, weight in weights.items()},
            None if trees is None else _trees_from_json(trees),
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        weights = zip(FEATURES, self.vector, strict=True)
        form: dict[str, Any] = {
            "bias": round(self.bias, 5),
            "weights": {name: round(float(weight), 5) for name, weight in weights},
        }
        if self.trees is not None:
            trees = self.trees
            form["trees"] = {
                "base": trees.base,
                "columns": list(COLUMNS),
                "feature": trees.feature.tolist(),
                "threshold": trees.threshold.tolist(),
                "left": trees.left.tolist(),
                "right": trees.right.tolist(),
                "leaf": trees.leaf.tolist(),
            }
        return form


@lru_cache(maxsize=1)
def load_fusion() -> Fusion:
    """Return the model of the package."""
    return Fusion.from_json(json.loads(WEIGHTS_PATH.read_text(encoding="utf-8")))


def _trees_from_json(values: Any) -> Trees:
    names = ("feature", "threshold", "left", "right", "leaf")
    if not isinstance(values, dict) or values.get("columns") != list(COLUMNS):
        raise ValueError("The trees of the fusion were fitted to other features.")
    try:
        tables = [np.array(values[name], np.float64) for name in names]
        base = float(values["base"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"The trees of a fusion are a base and tables of numbers: {error}") from error
    feature, left, right = (tables[place].astype(np.int64) for place in (0, 2, 3))
    return Trees(base, feature, tables[1], left, right, tables[4])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
