"""Calibration: a linear function of a few logits that turns a recurrent tagger's score into a probability.

Platt scaling with several inputs, fitted by Newton's method on validation photos. Knows nothing of torch or files.
Shapes: places (B, J, V), concepts (B, V), labels (B, V).
"""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from annotator.models.sequence.inference import InferenceTagger, score_inputs

BATCH_SIZE = 256
NUM_ITERATIONS = 30
RIDGE = 1e-2
"""Weight of the L2 penalty on the coefficients; it matters only with very few photos."""


def calibrate(
    tagger: InferenceTagger,
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    user_tags: Sequence[Collection[str]] = (),
) -> tuple[float, ...]:
    """Return the bias and the weights for `Ranking.calibration`; the weight of an input that is missing is 0.

    Args:
        tagger: The tagger to calibrate.
        features: (N, D) of photos that it is not trained on.
        labels: (N, V), 0 or 1.
        user_tags: Of each photo; empty for a tagger without this side information.
    """
    batches: list[list[npt.NDArray[np.float64] | None]] = []
    for start in range(0, len(features), BATCH_SIZE):
        rows = features[start : start + BATCH_SIZE]
        prediction = tagger.predict(rows, [()] * len(rows), user_tags=user_tags[start : start + BATCH_SIZE])
        batches.append(
            [None if values is None else values.astype(np.float64).ravel() for values in score_inputs(prediction)]
        )
    columns = [np.concatenate(parts) for parts in zip(*batches, strict=True) if parts[0] is not None]
    bias, *weights = fit_logistic(np.stack(columns, axis=1), labels.astype(np.float64).ravel()).tolist()
    given = iter(weights)
    return (bias, *(0.0 if values is None else next(given) for values in batches[0]))


def fit_logistic(inputs: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (bias, weights) of a logistic regression with non-negative weights.

    Args:
        inputs: (N, C).
        labels: (N,), 0 or 1.
    """
    design = np.concatenate([np.ones((len(inputs), 1)), inputs], axis=1)
    kept = list(range(design.shape[1]))
    while True:
        coefficients = np.zeros(design.shape[1])
        coefficients[kept] = _newton(design[:, kept], labels)
        negative = [column for column in kept[1:] if coefficients[column] < 0]
        if not negative:
            return coefficients
        kept = [column for column in kept if column not in negative]


def _newton(design: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    coefficients = np.zeros(design.shape[1])
    share = np.clip(labels.mean(), 1e-6, 1 - 1e-6)
    coefficients[0] = np.log(share / (1 - share))
    for _ in range(NUM_ITERATIONS):
        chances = 0.5 * (1 + np.tanh(0.5 * design @ coefficients))
        gradient = design.T @ (chances - labels) + RIDGE * coefficients
        curvature = (design * (chances * (1 - chances))[:, None]).T @ design + RIDGE * np.eye(design.shape[1])
        step = np.linalg.solve(curvature, gradient)
        step /= max(1.0, float(np.abs(step).max()))  # a full Newton step may overshoot at the start
        coefficients = coefficients - step
        if np.abs(step).max() < 1e-7:
            break
    return coefficients
