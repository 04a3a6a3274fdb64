"""Computes the features of the fusion model (models/fusion.py) from the evidence and the counts of one photo.

Knows nothing of how evidence and counts are found. Shapes: C candidate tags, F features.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annotator.models.fusion import FEATURES, SILENCE
from annotator.models.project_head import HeadPrediction, Matrix
from annotator.proposals.tag_statistics import TagFeatures

WITH, WITHOUT = 0.3, 5.7
"""Pseudo-counts of photos with and without a tag."""
PRIOR_ONE_TAG = 1.0
"""Pseudo-count of photos with a tag that was saved as often as the scores predicted."""
PRIOR_KEYWORDS = 3.0
"""Pseudo-count of keywords, of which four of five were saved."""
MOST_COUNTED = 500
"""Tagged photos from which a share is as certain as it gets."""
FREQUENCY_FEATURES = ("share", "share_trained", "unused", "together", "next", "place")
"""Features that are 0 when tag statistics are excluded."""
_COLUMN = {name: place for place, name in enumerate(FEATURES)}

SourceScores = Mapping[str, tuple[float, float, int]]
"""Source -> (score, rank score, rank from 0 among the tags of that source)."""


@dataclass(frozen=True)
class TagCounts:
    """What the other tagged photos say about C candidate tags."""

    count: Matrix
    """(C,) photos with the tag."""
    gain: Matrix
    """(C,) of the head."""
    residual: Matrix
    """(C,) gain computed with the differences between labels and the taggers' scores."""
    near: Matrix
    """(C,) summed nearness of the exemplars with the tag."""
    saved: Matrix
    expected: Matrix
    """(C,) each, over the exemplars whose scores are known: photos with the tag, and the sum of its scores."""


@dataclass(frozen=True)
class Surroundings:
    """What the exemplars say about one photo as a whole; all 0 without exemplars."""

    nearness: float = 0.0
    """Summed nearness of the exemplars."""
    model_ratio: float = 0.0
    looks_ratio: float = 0.0
    trained_share: float = 0.0
    other_share: float = 0.0
    list_length: float = 0.0
    """These five as the features of like names; the two shares as ``kind_share`` of a trained tag and of another."""


def fill_sources(
    features: Matrix, keys: Sequence[str], scores: Mapping[str, SourceScores], trained: frozenset[str]
) -> None:
    """Fill the features of the sources.

    Args:
        features: (C, F), changed in place.
        keys: C tags.
        scores: Tag -> its scores.
        trained: Tags that the first tagger was trained on.
    """
    for row, key in zip(features, keys, strict=True):
        row[_COLUMN["trained"]] = key in trained
        for source, (score, rank_score, rank) in scores.get(key, {}).items():
            if source == "decoder":
                row[_COLUMN["model"]] = _above_silence(score)
                row[_COLUMN["model_rank"]] = _above_silence(rank_score)
                row[_COLUMN["model_first"]] = 1 / (1 + rank)
            elif source == "looks":
                row[_COLUMN["looks"]] = _above_silence(score)
                row[_COLUMN["looks_rank"]] = _above_silence(rank_score)
            elif source in ("guess", "words", "folder", "metadata", "detector"):
                row[_COLUMN[source]] = _above_silence(score)
            elif source == "keywords":
                row[_COLUMN["keyword"]] = score


def fill_classes(features: Matrix, keys: Sequence[str], odds: Matrix, column_of: Callable[[str], int | None]) -> None:
    """Fill the feature of ImageNet's classes.

    Args:
        features: (C, F), changed in place.
        keys: C tags.
        odds: (W,), of `ColdStartTagger.class_odds`.
        column_of: Returns the place of a tag among the W words; None: it is none of them.
    """
    columns = [column_of(key) for key in keys]
    features[:, _COLUMN["classes"]] = [0.0 if column is None else odds[column] for column in columns]


def fill_project(
    features: Matrix, tags: TagCounts, around: Surroundings, num_photos: int, prediction: HeadPrediction | None
) -> None:
    """Fill the features of frequencies, head and ratios, after those of the sources.

    Args:
        features: (C, F), changed in place.
        tags: Of C tags.
        around: Of the photo.
        num_photos: Other tagged photos.
        prediction: Of the head; None without exemplars.
    """
    scale = min(1.0, MOST_COUNTED / max(num_photos, 1))
    count, size = tags.count, num_photos * scale
    base = math.log(WITH / WITHOUT)
    share = np.log((count * scale + WITH) / (size - count * scale + WITHOUT)) - base
    near = tags.near
    subject = np.log((near + WITH) / (np.maximum(around.nearness - near, 0.0) + WITHOUT)) - base
    gain = tags.gain * (count > 0)
    mean = (count + WITH) / (num_photos + WITH + WITHOUT)
    head = _logits(mean + gain) - _logits(mean)
    confidence = prediction.confidence if prediction is not None else 0.0
    distance = 0.0
    if prediction is not None and prediction.usual > -1.0:
        distance = min(max((prediction.usual - prediction.nearest) / max(prediction.spread, 0.02), -3.0), 5.0)
    trained = features[:, _COLUMN["trained"]]
    has_model, has_looks = features[:, _COLUMN["model"]] > 0, features[:, _COLUMN["looks"]] > 0
    is_proposed = has_model | has_looks
    ratio = np.log((tags.saved + PRIOR_ONE_TAG) / (tags.expected + PRIOR_ONE_TAG))
    for name, values in {
        "share": share,
        "share_trained": share * trained,
        "unused": (count == 0) * math.log1p(size),
        "subject": subject,
        "subject_trained": subject * trained,
        "head": head,
        "head_trained": head * trained,
        "gain": gain,
        "gain_confident": gain * confidence,
        "gain_distant": gain * distance,
        "gain_trained": gain * trained,
        "residual": tags.residual * trained,
        "other_tag": ~is_proposed * features[:, _COLUMN["model"]].max(initial=0.0),
        "gain_single": gain * (count == 1),
        "tag_ratio": ratio * is_proposed,
        "model_ratio": around.model_ratio * has_model,
        "looks_ratio": around.looks_ratio * has_looks,
        "kind_share": around.trained_share * trained + around.other_share * (1 - trained),
        "list_length": around.list_length,
        "variance": (1 - confidence) * (num_photos > 0),
        "num_photos": math.log1p(num_photos),
        "model_best": features[:, _COLUMN["model"]].max(initial=0.0),
        "looks_best": features[:, _COLUMN["looks"]].max(initial=0.0),
        "head_rank": 1 / (1 + _ranks(mean + gain)) * (count > 0),
    }.items():
        features[:, _COLUMN[name]] = values


def fill_keywords(features: Matrix, num_keywords: int, num_saved: int, num_given: int) -> None:
    """Fill the features of the photo's own keywords, after those of the sources.

    Args:
        features: (C, F), changed in place.
        num_keywords: Keywords of the photo.
        num_saved: Keywords of other photos that were saved as tags.
        num_given: Keywords of other photos.
    """
    saved, dropped = num_saved + 0.8 * PRIOR_KEYWORDS, num_given - num_saved + 0.2 * PRIOR_KEYWORDS
    is_keyword = features[:, _COLUMN["keyword"]] > 0
    features[:, _COLUMN["keyword_rate"]] = (math.log(saved / dropped) - math.log(4.0)) * is_keyword
    features[:, _COLUMN["not_keyword"]] = ~is_keyword * (num_keywords > 0)


def fill_list_so_far(
    features: Matrix,
    keys: Sequence[str],
    num_kept: int,
    statistics: Callable[[Sequence[str]], Sequence[TagFeatures]] | None,
) -> None:
    """Fill the features of the kept tags, after those of the sources.

    Args:
        features: (C, F), changed in place.
        keys: C tags.
        num_kept: Kept tags; without any, these features are 0.
        statistics: Returns the tag statistics of tags after the kept ones; None: they are 0.
    """
    if not num_kept:
        return
    features[:, _COLUMN["num_kept"]] = math.log1p(num_kept)
    features[:, _COLUMN["model_prefix"]] = features[:, _COLUMN["model"]]
    if statistics is not None and keys:
        found = statistics(keys)
        for name in ("together", "next", "place"):
            features[:, _COLUMN[name]] = [getattr(item, name) for item in found]


def clear_frequencies(features: Matrix) -> None:
    """Set the features of tag statistics to 0."""
    features[:, [_COLUMN[name] for name in FREQUENCY_FEATURES]] = 0.0


def _ranks(values: Matrix) -> Matrix:
    """Return the place of each value among all, from 0 for the highest."""
    ranks = np.empty(len(values))
    ranks[np.argsort(-values, kind="stable")] = np.arange(len(values))
    return ranks


def _above_silence(score: float) -> float:
    """Return logit(score) - logit(SILENCE), at least 0."""
    low = math.log(SILENCE / (1 - SILENCE))
    bounded = min(max(score, SILENCE), 1 - SILENCE)
    return math.log(bounded / (1 - bounded)) - low


def _logits(values: Matrix) -> Matrix:
    bounded = np.clip(values, SILENCE, 1 - SILENCE)
    logits: Matrix = np.log(bounded / (1 - bounded))
    return logits
