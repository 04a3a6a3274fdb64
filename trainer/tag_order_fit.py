"""Fits the constants of models/tag_order.py: the order of tags, and the probabilities of detections.

Three logistic regressions with scikit-learn. Knows nothing of files.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from annotator.datasets.tags import tag_key
from annotator.errors import DataError
from annotator.models.detectors.coco_classes import COCO_CLASSES, plain_word
from annotator.models.detectors.detector import Detection
from annotator.models.tag_order import TagOrder, area, box_features, centrality

PRECEDENCE_C = 1.0
"""Inverse weight of the L2 penalty on precedence and box weights; chosen by cross-validation on training photos."""
LABEL_C = 0.3
"""Inverse weight of the L2 penalty on each class's log-odds of being named."""

Lists = Sequence[Sequence[str]]
Found = Sequence[Sequence[Detection]]


def fit_tag_order(lists: Lists, detections: Found, objects: Sequence[Sequence[str]], *, boxes: bool = True) -> TagOrder:
    """Fit all constants.

    Args:
        lists: Each photo's tags in a person's order.
        detections: The detections in each photo.
        objects: The annotated classes of each photo; detections of a class that no photo has are ignored.
        boxes: Whether boxes contribute to a tag's strength.

    Raises:
        DataError: No photo has two tags, or all detections have the same outcome.
    """
    precedence, box_weights = _fit_order(lists, detections, boxes)
    named_weights, named_labels = _fit_named(lists, detections)
    return TagOrder(precedence, box_weights, _fit_present(detections, objects), named_weights, named_labels)


def _fit_order(lists: Lists, detections: Found, boxes: bool) -> tuple[dict[str, float], tuple[float, ...]]:
    counts = Counter(tag_key(tag) for tags in lists for tag in tags)
    column = {key: place for place, key in enumerate(sorted(counts))}
    firsts: list[int] = []
    seconds: list[int] = []
    differences: list[npt.NDArray[np.float64]] = []
    for tags, found in zip(lists, detections, strict=True):
        features = [np.array(box_features(tag, found if boxes else ())) for tag in tags]
        for first in range(len(tags)):
            for second in range(first + 1, len(tags)):
                firsts.append(column[tag_key(tags[first])])
                seconds.append(column[tag_key(tags[second])])
                differences.append(features[first] - features[second])
    if not firsts:
        raise DataError("No photo has two tags, so no order can be learnt.")
    rows, ones = np.arange(len(firsts)), np.ones(len(firsts))
    shape = (len(firsts), len(column))
    log_counts = np.log([counts[key] for key in sorted(counts)])
    frequency = (log_counts[firsts] - log_counts[seconds])[:, None]
    design = sparse.hstack(
        [
            sparse.csr_matrix(np.array(differences)),
            # The penalty shrinks a rare tag's strength towards a multiple of its log-frequency.
            sparse.csr_matrix(frequency),
            sparse.csr_matrix((ones, (rows, firsts)), shape) - sparse.csr_matrix((ones, (rows, seconds)), shape),
        ]
    ).tocsr()
    # Each pair occurs once, in alternating direction, so that half of the labels are positive.
    turned = np.where(rows % 2 == 0, 1.0, -1.0)
    model = LogisticRegression(C=PRECEDENCE_C, fit_intercept=False, max_iter=1000)
    model.fit(sparse.diags(turned) @ design, turned > 0)
    weights = model.coef_[0]
    strengths = weights[5:] + weights[4] * log_counts
    strengths -= np.average(strengths, weights=np.exp(log_counts))
    return (
        {key: round(float(strengths[place]), 3) for key, place in column.items()},
        tuple(round(float(weight), 4) for weight in weights[:4]),
    )


def _fit_present(detections: Found, objects: Sequence[Sequence[str]]) -> tuple[float, ...]:
    known = {label for labels in objects for label in labels}
    scores, truth = [], []
    for found, labels in zip(detections, objects, strict=True):
        for label, best in _surest(found).items():
            if label in known:
                scores.append([best.score])
                truth.append(label in labels)
    return _logistic(np.array(scores), np.array(truth), "whether a thing is there")


def _fit_named(lists: Lists, detections: Found) -> tuple[tuple[float, ...], dict[str, float]]:
    rows, labels, truth = [], [], []
    for tags, found in zip(lists, detections, strict=True):
        keys = {tag_key(tag) for tag in tags}
        for label, best in _surest(found).items():
            rows.append([best.score, np.log(max(area(best.box), 1e-4)), centrality(best.box)])
            labels.append(COCO_CLASSES.index(label))
            truth.append(tag_key(plain_word(label)) in keys)
    if len(set(truth)) < 2:
        raise DataError("No detection was named, or all were: nothing can be learnt from them.")
    one_of = sparse.csr_matrix((np.ones(len(labels)), (np.arange(len(labels)), labels)), (len(labels), 80))
    model = LogisticRegression(C=LABEL_C, max_iter=1000).fit(sparse.hstack([np.array(rows), one_of]).tocsr(), truth)
    weights = [model.intercept_[0], *model.coef_[0][:3]]
    offsets = {label: round(float(model.coef_[0][3 + i]), 3) for i, label in enumerate(COCO_CLASSES)}
    return tuple(round(float(weight), 4) for weight in weights), offsets


def _surest(found: Sequence[Detection]) -> dict[str, Detection]:
    """Return each class's detection with the highest score."""
    best: dict[str, Detection] = {}
    for item in sorted(found, key=lambda item: -item.score):
        best.setdefault(item.label, item)
    return best


def _logistic(features: Any, truth: Any, what: str) -> tuple[float, ...]:
    if len(set(truth.tolist())) < 2:
        raise DataError(f"The detections do not show {what}: all answers are the same.")
    model = LogisticRegression(C=1e3).fit(features, truth)
    return tuple(round(float(weight), 4) for weight in (model.intercept_[0], *model.coef_[0]))
