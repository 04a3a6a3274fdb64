"""Evidence of neighbours: tags of similar photos and of photos with the same words."""

from collections.abc import Callable, Sequence

from annotator.datasets.tags import tag_key
from annotator.proposals.evidence import Evidence, Neighbour

METADATA_TRUST = 0.6
"""Photos with the same words share tags less often than similar photos."""
UNRELATED_COSINE = 0.2
"""Cosine of the features up to which a photo is no evidence."""
PRIOR_WEIGHT = 0.3
"""Weight of a pseudo-neighbour without tags, so that a single neighbour does not give a score of 1."""


def neighbour_evidence(neighbours: Sequence[Neighbour]) -> list[Evidence]:
    """Return the tags of similar photos, weighted by the similarity."""
    return _vote(
        neighbours,
        [max(0.0, (item.similarity - UNRELATED_COSINE) / (1 - UNRELATED_COSINE)) ** 2 for item in neighbours],
        "neighbours",
        lambda count, total: f"{count} of {total} similar photo{'s' * (total != 1)} carr{_ies(count)} it",
        trust=1.0,
    )


def metadata_evidence(neighbours: Sequence[Neighbour]) -> list[Evidence]:
    """Return the tags of photos with the same words, weighted by the Jaccard index of the word sets."""
    return _vote(
        neighbours,
        [item.similarity for item in neighbours],
        "metadata",
        lambda count, total: f"{count} of {total} photo{'s' * (total != 1)} with the same words carr{_ies(count)} it",
        trust=METADATA_TRUST,
    )


def _vote(
    neighbours: Sequence[Neighbour],
    weights: Sequence[float],
    source: str,
    text: Callable[[int, int], str],
    trust: float,
) -> list[Evidence]:
    total = sum(weights) + PRIOR_WEIGHT
    weight_of: dict[str, float] = {}
    count_of: dict[str, int] = {}
    spelling: dict[str, str] = {}
    for neighbour, weight in zip(neighbours, weights, strict=True):
        for tag in neighbour.tags:
            key = tag_key(tag)
            spelling.setdefault(key, tag)
            weight_of[key] = weight_of.get(key, 0.0) + weight
            count_of[key] = count_of.get(key, 0) + 1
    return [
        Evidence(spelling[key], source, trust * weight / total, text(count_of[key], len(neighbours)))
        for key, weight in weight_of.items()
        if weight > 0
    ]


def _ies(count: int) -> str:
    return "ies" if count == 1 else "y"
