"""Re-ranks a photo's proposals: computes a re-ranker's features from evidence and tag statistics, and applies it.

Knows nothing of how evidence and statistics are found.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from annotator.models.reranker import FEATURES, SOURCES, Matrix, Reranker
from annotator.proposals.evidence import Evidence
from annotator.proposals.fusion import TAG_STATISTICS, Proposal
from annotator.proposals.tag_statistics import OtherPhotosStatistics

NUM_RERANKED = 120
"""Proposals that are re-ranked; the others follow in their order, unless tag statistics are evidence for them."""
FLOOR = 0.01
"""Added to a score before its log is taken: the score of no evidence."""
_COLUMN = {name: place for place, name in enumerate(FEATURES)}


def tag_statistics_evidence(statistics: OtherPhotosStatistics, kept: Sequence[str]) -> list[Evidence]:
    """Return evidence for the tags that lists often continue with; its rank score is 0, for the re-ranker to raise."""
    return [Evidence(item.tag, TAG_STATISTICS, item.share, item.text, 0.0) for item in statistics.usual(kept)]


def split_proposals(proposals: Sequence[Proposal]) -> tuple[list[Proposal], list[Proposal]]:
    """Return (proposals to re-rank, the others), both in their order."""
    is_reranked = [
        place < NUM_RERANKED or any(item.source == TAG_STATISTICS for item in proposal.evidence)
        for place, proposal in enumerate(proposals)
    ]
    return (
        [proposal for proposal, is_first in zip(proposals, is_reranked, strict=True) if is_first],
        [proposal for proposal, is_first in zip(proposals, is_reranked, strict=True) if not is_first],
    )


def features_of(proposals: Sequence[Proposal], statistics: OtherPhotosStatistics, kept: Sequence[str]) -> Matrix:
    """Return (N, F) features of N proposals, with the columns `FEATURES` of models/reranker.py.

    Args:
        proposals: N proposals.
        statistics: Of all other photos of the project.
        kept: The kept tags, most important first.
    """
    features = np.zeros((len(proposals), len(FEATURES)))
    no_evidence = math.log(FLOOR)
    for row, proposal in enumerate(proposals):
        features[row, 0] = math.log(proposal.rank_score + FLOOR)
        for item in proposal.evidence:
            column = _COLUMN.get("decoder" if item.source == "context" else item.source)
            if column is not None and item.source in (*SOURCES, "context"):
                score = item.score if item.rank_score is None else item.rank_score
                features[row, column] = max(features[row, column], math.log(score + FLOOR) - no_evidence)
    found = statistics.of([proposal.tag for proposal in proposals], kept)
    features[:, _COLUMN["count"] :] = [
        (item.count, item.next, item.together, item.place, item.is_unused) for item in found
    ]
    return features


def rerank(
    proposals: Sequence[Proposal], statistics: OtherPhotosStatistics, kept: Sequence[str], reranker: Reranker
) -> list[Proposal]:
    """Return proposals in the re-ranker's order, with the probability of being the next tag as rank score."""
    reranked, rest = split_proposals(proposals)
    if not reranked:
        return list(proposals)
    probabilities = reranker.probabilities(features_of(reranked, statistics, kept))
    order = np.argsort(-probabilities, kind="stable").tolist()
    least = float(probabilities.min())
    return [
        *(replace(reranked[place], rank_score=float(probabilities[place])) for place in order),
        *(replace(proposal, rank_score=min(proposal.rank_score, least)) for proposal in rest),
    ]
