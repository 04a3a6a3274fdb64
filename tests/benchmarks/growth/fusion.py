"""The chance that this person puts a tag on this photo, of everything that is said of the two.

A logistic model of the features x of models/project_memory.py gives a first value

    v(tag) = bias + w . x(tag)

(Platt scaling of many scores at once), and gradient-boosted trees, to which v is one more feature, the chance:

    P(tag) = sigmoid(base + sum over trees of leaf(x, v))

(Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001). Their splits are monotone: no evidence
for a tag lowers its chance. The logistic model alone serves all kinds of projects with one set of weights and so none
well: what the project's frequencies are worth hangs on how far the taggers' word holds there, which trees can tell.
Both are learnt from projects replayed from nothing (fusion_fit.py) and kept in fusion.json. A list is
its tags by falling P, down to a floor: a tag less likely than that is not worth reading.
Knows nothing of where features are from.
Shapes: C candidates, F features, T trees of at most M nodes: x (C, F) -> P (C,) float64.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from project_memory import FEATURES

Matrix = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

WEIGHTS_PATH = Path(__file__).with_name("fusion.json")
FLOOR = 0.03
"""Least chance of a proposal: nine proposals of captions hold .007 right tags less than without, at .06 .13 less."""
VALUE = "value"
"""The trees' name of v."""
COLUMNS = (*FEATURES, VALUE)


@dataclass(frozen=True)
class Trees:
    """Regression trees, each a table of nodes.

    Args:
        base: Log-odds before any tree.
        feature: (T, M) column of `COLUMNS` that a node asks for; of a leaf any.
        threshold: (T, M); up to it, the left child is next.
        left: (T, M) number of the left child; of a leaf its own.
        right: (T, M) the same of the right child.
        leaf: (T, M) what a leaf adds; of any other node 0.

    Raises:
        ValueError: The tables' shapes differ, a number is out of range or not finite, or a child stands before its
            parent, so that a walk might not end.
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
            raise ValueError("A tree asks for a feature that there is not.")
        if any((t < numbers).any() or (t >= shape[1]).any() for t in (self.left, self.right)):
            raise ValueError("A node of a tree has a child that there is not, or that stands before it.")
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
    """What is learnt.

    Args:
        bias: Log-odds of a tag of which nothing is said.
        weights: Feature -> weight; a feature that is not named weighs nothing.
        trees: None: the logistic model speaks alone.

    Raises:
        ValueError: An unknown feature, or a weight that is no finite number.
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
        """Return (C, F + 1), the features with the logistic model's value."""
        features = np.asarray(features, np.float64)
        return np.concatenate([features, (self.bias + features @ self.vector)[:, None]], axis=1)

    def chances(self, features: Matrix) -> Matrix:
        """Return how likely each tag is right.

        Args:
            features: (C, F).

        Returns:
            (C,) in (0, 1).
        """
        columns = self.columns(features)
        values = columns[:, -1] if self.trees is None else self.trees.values(columns)
        chances: Matrix = 0.5 * (1 + np.tanh(0.5 * values))
        return chances

    @classmethod
    def from_json(cls, values: Any) -> "Fusion":
        """Return the fusion of `to_json`.

        Raises:
            ValueError: It is none.
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


def best_first(keys: Sequence[str], chances: Matrix, floor: float = FLOOR) -> list[int]:
    """Return the places of the tags to propose, best first; ties go to the alphabet.

    Args:
        keys: C tags.
        chances: (C,).
        floor: Least chance.
    """
    order = sorted(range(len(keys)), key=lambda place: (-chances[place], keys[place]))
    return [place for place in order if chances[place] >= floor]


@lru_cache(maxsize=1)
def load_fusion() -> Fusion:
    """Return the weights that come along."""
    return Fusion.from_json(json.loads(WEIGHTS_PATH.read_text(encoding="utf-8")))


def _trees_from_json(values: Any) -> Trees:
    names = ("feature", "threshold", "left", "right", "leaf")
    if not isinstance(values, dict) or values.get("columns") != list(COLUMNS):
        raise ValueError("The trees of the fusion were learnt on other features than there are now.")
    try:
        tables = [np.array(values[name], np.float64) for name in names]
        base = float(values["base"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"The trees of a fusion are a base and tables of numbers: {error}") from error
    feature, left, right = (tables[place].astype(np.int64) for place in (0, 2, 3))
    return Trees(base, feature, tables[1], left, right, tables[4])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
