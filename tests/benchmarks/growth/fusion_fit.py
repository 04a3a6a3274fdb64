"""Fits the fusion model to the candidates of replayed photos: whether the person put each on the photo.

Minimises the log loss, with equal weight for each project, plus PULL times the squared distance of the weights of the
standardised features to the prior's: convex, by L-BFGS-B. Bounds: evidence for a tag never lowers its probability, and
a ratio (how often a source is right here) never counts much more than it measures; without these bounds the cold
start's words, which captions never use, got a weight that harmed all other data. A feature that is constant in all
projects keeps its prior weight. Also measures calibration: expected calibration error and reliability bins (Naeini et
al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015).
Knows nothing of where the features come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize  # type: ignore[import-untyped]

from annotator.errors import TrainingError
from annotator.models.fusion import FEATURES, Fusion, Matrix, Trees

PULL = 1e-3
"""Beside the mean log loss of a candidate; 1e-4, 1e-3 and 1e-2 give similar results."""
NUM_STEPS = 300
RATIOS = ("tag_ratio", "model_ratio", "looks_ratio")
MOST_RATIO = 1.5
"""Greatest weight of a ratio; 1 is what it measures."""
FOR = (
    "model", "model_rank", "model_first", "guess", "looks", "looks_rank", "words", "share", "subject", "head", "gain",
    "gain_confident", "residual", "kind_share", "list_length", "keyword", "keyword_rate", "folder", "metadata",
    "detector", "together", "next", "place", "head_rank", "classes", *RATIOS,
)  # fmt: skip
"""Features that never lower a probability."""
PER_LIST = ("kind_share", "list_length", "place")
"""Features whose sign is bounded in the logistic model, not in the trees."""
AGAINST = ("unused", "gain_distant", "other_tag", "not_keyword")
"""Features that never raise a probability."""
NUM_TREES, RATE, NUM_LEAVES, MIN_LEAF, LEAF_RIDGE = 100, 0.12, 8, 800, 5.0
PRIOR = Fusion(-5.0, {"folder": 0.6, "detector": 0.5, "keyword": 4.0, "metadata": 0.3})
"""Weights where the projects do not vary: few photos of the data sets have names or keywords."""


@dataclass(frozen=True)
class Rows:
    """The candidates of some photos of one project."""

    features: npt.NDArray[np.float32]
    """(M, F)."""
    is_right: npt.NDArray[np.bool_]
    """(M,): whether the person put the tag on the photo."""


def fit_fusion(projects: Sequence[Rows], before: Fusion = PRIOR, *, pull: float = PULL) -> Fusion:
    """Return the most probable logistic model, given these projects and the prior.

    Args:
        projects: At least one, each with tags that were right and tags that were not.
        before: Centre of the prior.
        pull: Weight of the prior.

    Raises:
        TrainingError: No candidate is right, or a feature is not finite.
    """
    if not projects or not any(rows.is_right.any() for rows in projects):
        raise TrainingError("No candidate tag is right: the fusion model cannot be fitted.")
    features = np.concatenate([rows.features for rows in projects]).astype(np.float64)
    target = np.concatenate([rows.is_right for rows in projects]).astype(np.float64)
    if not np.isfinite(features).all():
        raise TrainingError("A feature of the fusion model is not finite; nothing was fitted.")
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

    scikit-learn's histogram trees (after LightGBM: Ke et al., 2017) with monotone constraints by FOR and AGAINST;
    v never lowers a probability.

    Args:
        projects: As for `fit_fusion`, with at least MIN_LEAF rows.
        fusion: Of `fit_fusion`.
        seed: Of the bins.

    Raises:
        TrainingError: No candidate is right, or the stored trees differ from scikit-learn's.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]

    if not projects or not any(rows.is_right.any() for rows in projects):
        raise TrainingError("No candidate tag is right: the fusion model cannot be fitted.")
    columns = np.concatenate([fusion.columns(rows.features.astype(np.float64)) for rows in projects])
    target = np.concatenate([rows.is_right for rows in projects])
    share = np.concatenate([np.full(len(rows.is_right), 1 / len(rows.is_right)) for rows in projects])
    monotone = [1 if name in FOR else -1 if name in AGAINST else 0 for name in FEATURES]
    monotone = [0 if name in PER_LIST else sign for name, sign in zip(FEATURES, monotone, strict=True)]
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
    trees = _stored_trees(model)
    sample = columns[:: max(1, len(columns) // 1000), : len(FEATURES)]
    columns = fusion.columns(sample)
    if np.abs(trees.values(columns) - model.decision_function(columns)).max() > 1e-6:
        raise TrainingError("The stored trees differ from scikit-learn's; nothing was fitted.")
    return replace(fusion, trees=trees)


def _stored_trees(model: Any) -> Trees:
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
    return MOST_RATIO if name in RATIOS else 0.0 if name in AGAINST else np.inf


@dataclass(frozen=True)
class Bin:
    """The probabilities in one interval."""

    num: int
    probability: float
    """Their mean."""
    right: float
    """Share that was right."""


def reliability(probabilities: Matrix, is_right: npt.NDArray[np.bool_], num_bins: int = 10) -> tuple[float, list[Bin]]:
    """Return the expected calibration error and the bins that are not empty.

    Args:
        probabilities: (M,) in [0, 1].
        is_right: (M,).
        num_bins: Of equal width.

    Raises:
        ValueError: There are no probabilities.
    """
    if not len(probabilities):
        raise ValueError("There are no probabilities to measure.")
    places = np.minimum((probabilities * num_bins).astype(int), num_bins - 1)
    bins = [
        Bin(int(inside.sum()), float(probabilities[inside].mean()), float(is_right[inside].mean()))
        for place in range(num_bins)
        for inside in (places == place,)
        if inside.any()
    ]
    error = sum(item.num * abs(item.probability - item.right) for item in bins) / len(probabilities)
    return error, bins
