"""Learning the fusion: of each candidate of each replayed photo, whether the person put it there.

Minimises the log loss, every project weighing the same, plus PULL times the squared distance of the weights of
standardised features to those of before: convex, by L-BFGS-B. No evidence for a tag may count against it, nor the trust
in a source for much more than it says: without these bounds the cold start's words, which no caption ever used, got a
weight that harmed all other data. A feature that never varies in the projects keeps its weight of before. Also what its
chances are worth: expected calibration error and reliability bins (Naeini et al., "Obtaining Well Calibrated
Probabilities Using Bayesian Binning", 2015).
Knows nothing of where features are from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from fusion import Fusion, Matrix, Trees
from project_memory import FEATURES
from scipy.optimize import minimize  # type: ignore[import-untyped]

from annotator.errors import TrainingError

PULL = 1e-3
"""Of the mean log loss a candidate; 1e-4, 1e-3 and 1e-2 did alike."""
NUM_STEPS = 300
TRUST = ("ratio", "trust_model", "trust_looks")
MOST_TRUST = 1.5
"""Of the log of how far a source's word holds; 1 is what it says."""
FOR = (
    "model", "model_rank", "model_first", "looks", "looks_rank", "words", "share", "subject", "head", "gain",
    "gain_sure", "residual", "kind", "lists", "keyword", "keyword_kept", "folder", "metadata", "detector", "together",
    "next", "place", *TRUST,
)  # fmt: skip
"""Features that never count against a tag."""
CLASS_WIDE = ("kind", "lists", "place")
"""Features that a linear model may only weigh one way, trees both ways."""
NUM_TREES, RATE, NUM_LEAVES, MIN_LEAF, LEAF_RIDGE = 80, 0.12, 12, 300, 5.0
AGAINST = ("unused", "gain_far", "elsewhere", "keyword_given")
"""Features that never count for a tag."""
PRIOR = Fusion(-5.0, {"folder": 0.6, "detector": 0.5, "keyword": 4.0, "metadata": 0.3})
"""Where no project tells: photos with names, detections or keywords are rare among the data sets."""


@dataclass(frozen=True)
class Rows:
    """The candidates of some photos of one project."""

    features: npt.NDArray[np.float32]
    """(M, F)."""
    is_right: npt.NDArray[np.bool_]
    """(M,): the person put it there."""


def fit_fusion(projects: Sequence[Rows], before: Fusion = PRIOR, *, pull: float = PULL) -> Fusion:
    """Return the weights that make these projects the likeliest.

    Args:
        projects: At least one, each with tags that were right and tags that were not.
        before: The weights to stay near.
        pull: How near.

    Raises:
        TrainingError: There is nothing to learn from, or a feature is not a finite number.
    """
    if not projects or not any(rows.is_right.any() for rows in projects):
        raise TrainingError("There is no right tag among the candidates: the fusion has nothing to learn from.")
    features = np.concatenate([rows.features for rows in projects]).astype(np.float64)
    target = np.concatenate([rows.is_right for rows in projects]).astype(np.float64)
    if not np.isfinite(features).all():
        raise TrainingError("A feature of the fusion is not a finite number; nothing was learnt.")
    share = np.concatenate([np.full(len(rows.is_right), 1 / len(rows.is_right)) for rows in projects])
    share /= share.sum()
    scale = features.std(axis=0)
    varies = scale > 1e-9
    kept = np.flatnonzero(varies)
    fixed = features[:, ~varies] @ before.vector[~varies]
    design = np.concatenate([np.ones((len(features), 1)), features[:, kept] / scale[kept]], axis=1)
    centre = np.concatenate([[before.bias], before.vector[kept] * scale[kept]])
    penalty = np.full(len(centre), pull)
    penalty[0] = 0.0
    bounds = [(None, None), *((_low(name) * size, _high(name) * size) for name, size in _sizes(kept, scale))]

    def loss(weights: Matrix) -> tuple[float, Matrix]:
        values = design @ weights + fixed
        away = weights - centre
        # log(1 + exp(value)) - target value, without overflow
        lost = share @ (np.logaddexp(0.0, values) - target * values) + 0.5 * (penalty * away) @ away
        gradient: Matrix = design.T @ (share * (0.5 * (1 + np.tanh(0.5 * values)) - target)) + penalty * away
        return float(lost), gradient

    found = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": NUM_STEPS})
    weights = found.x
    vector = before.vector.copy()
    vector[kept] = weights[1:] / scale[kept]
    return Fusion(float(weights[0]), dict(zip(FEATURES, vector.tolist(), strict=True)))


def fit_trees(projects: Sequence[Rows], fusion: Fusion, *, seed: int = 0) -> Fusion:
    """Return a fusion with gradient-boosted trees on top of its logistic model.

    scikit-learn's histogram trees (after LightGBM: Ke et al., 2017) with monotone constraints: by FOR and AGAINST, and
    the logistic model's value only ever counts for a tag.

    Args:
        projects: As for `fit_fusion`, with at least MIN_LEAF rows.
        fusion: Of `fit_fusion`.
        seed: Of the bins.

    Raises:
        TrainingError: There is nothing to learn from, or the trees as kept do not say what scikit-learn's say.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]

    if not projects or not any(rows.is_right.any() for rows in projects):
        raise TrainingError("There is no right tag among the candidates: the fusion has nothing to learn from.")
    columns = np.concatenate([fusion.columns(rows.features.astype(np.float64)) for rows in projects])
    target = np.concatenate([rows.is_right for rows in projects])
    share = np.concatenate([np.full(len(rows.is_right), 1 / len(rows.is_right)) for rows in projects])
    monotone = [1 if name in FOR else -1 if name in AGAINST else 0 for name in FEATURES]
    monotone = [0 if name in CLASS_WIDE else sign for name, sign in zip(FEATURES, monotone, strict=True)]
    model = HistGradientBoostingClassifier(
        max_iter=NUM_TREES,
        learning_rate=RATE,
        max_leaf_nodes=NUM_LEAVES,
        min_samples_leaf=MIN_LEAF,
        l2_regularization=LEAF_RIDGE,
        monotonic_cst=[*monotone, 1],
        early_stopping=False,
        random_state=seed,
    )
    model.fit(columns, target, sample_weight=share / share.mean())
    learnt = replace(fusion, trees=_kept_trees(model))
    sample = columns[:: max(1, len(columns) // 1000), : len(FEATURES)]
    if np.abs(learnt.chances(sample) - model.predict_proba(fusion.columns(sample))[:, 1]).max() > 1e-6:
        raise TrainingError("The trees as kept do not say what scikit-learn's say; nothing was learnt.")
    return learnt


def _kept_trees(model: Any) -> Trees:
    nodes = [stage[0].nodes for stage in model._predictors]
    most = max(len(tree) for tree in nodes)
    feature, threshold, leaf = np.zeros((len(nodes), most), np.int64), *np.zeros((2, len(nodes), most))
    left = np.tile(np.arange(most), (len(nodes), 1))
    right = left.copy()
    for number, tree in enumerate(nodes):
        for place, node in enumerate(tree):
            if node["is_leaf"]:
                leaf[number, place] = node["value"]
            else:
                feature[number, place], threshold[number, place] = node["feature_idx"], node["num_threshold"]
                left[number, place], right[number, place] = node["left"], node["right"]
    return Trees(float(np.ravel(model._baseline_prediction)[0]), feature, threshold, left, right, leaf)


def _sizes(kept: npt.NDArray[np.int64], scale: Matrix) -> list[tuple[str, float]]:
    return [(FEATURES[place], float(scale[place])) for place in kept.tolist()]


def _low(name: str) -> float:
    return 0.0 if name in FOR else -np.inf


def _high(name: str) -> float:
    return MOST_TRUST if name in TRUST else 0.0 if name in AGAINST else np.inf


@dataclass(frozen=True)
class Bin:
    """Chances of one tenth of the scale."""

    num: int
    chance: float
    """Their mean."""
    right: float
    """How many were right."""


def reliability(chances: Matrix, is_right: npt.NDArray[np.bool_], num_bins: int = 10) -> tuple[float, list[Bin]]:
    """Return the expected calibration error and the bins, those without chances left out.

    Args:
        chances: (M,) in [0, 1].
        is_right: (M,).
        num_bins: Of equal width.

    Raises:
        ValueError: There are no chances.
    """
    if not len(chances):
        raise ValueError("Without chances there is nothing to judge.")
    places = np.minimum((chances * num_bins).astype(int), num_bins - 1)
    bins = [
        Bin(int(inside.sum()), float(chances[inside].mean()), float(is_right[inside].mean()))
        for place in range(num_bins)
        for inside in (places == place,)
        if inside.any()
    ]
    error = sum(item.num * abs(item.chance - item.right) for item in bins) / len(chances)
    return error, bins
