"""A photo's proposals in the order that a re-ranker gives them: its features, from evidence and habits.

Knows nothing of where either is from.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from annotator.models.reranker import FEATURES, SOURCES, Matrix, Reranker
from annotator.proposals.evidence import Evidence
from annotator.proposals.fusion import HABITS, Proposal
from annotator.proposals.tag_statistics import OthersTagStatistics

NUM_OPEN = 120
"""Proposals that are weighed; what the sources put behind stays behind, unless habits speak for it."""
FLOOR = 0.01
"""Added to a score before its log is taken: what silence counts as."""
_COLUMN = {name: place for place, name in enumerate(FEATURES)}


def habit_evidence(habits: OthersTagStatistics, settled: Sequence[str]) -> list[Evidence]:
    """Return tags that lists often go on with; alone they have no rank, only a re-ranker gives them one."""
    return [Evidence(item.tag, HABITS, item.share, item.text, 0.0) for item in habits.usual(settled)]


def open_proposals(proposals: Sequence[Proposal]) -> tuple[list[Proposal], list[Proposal]]:
    """Return (those that are weighed, the others), both in their order."""
    is_open = [
        place < NUM_OPEN or any(item.source == HABITS for item in proposal.evidence)
        for place, proposal in enumerate(proposals)
    ]
    return (
        [proposal for proposal, is_weighed in zip(proposals, is_open, strict=True) if is_weighed],
        [proposal for proposal, is_weighed in zip(proposals, is_open, strict=True) if not is_weighed],
    )


def features_of(proposals: Sequence[Proposal], habits: OthersTagStatistics, settled: Sequence[str]) -> Matrix:
    """Return (N, F) features of N proposals, as `models/reranker.py` names them.

    Args:
        proposals: The open ones.
        habits: Of the project, without the photo in hand.
        settled: The tags so far, most important first.
    """
    features = np.zeros((len(proposals), len(FEATURES)))
    silence = math.log(FLOOR)
    for row, proposal in enumerate(proposals):
        features[row, 0] = math.log(proposal.rank_score + FLOOR)
        for item in proposal.evidence:
            column = _COLUMN.get("decoder" if item.source == "context" else item.source)
            if column is not None and item.source in (*SOURCES, "context"):
                score = item.score if item.rank_score is None else item.rank_score
                features[row, column] = max(features[row, column], math.log(score + FLOOR) - silence)
    found = habits.of([proposal.tag for proposal in proposals], settled)
    features[:, _COLUMN["count"] :] = [
        (habit.count, habit.next, habit.together, habit.place, habit.is_unused) for habit in found
    ]
    return features


def rerank(
    proposals: Sequence[Proposal], habits: OthersTagStatistics, settled: Sequence[str], reranker: Reranker
) -> list[Proposal]:
    """Return proposals in the re-ranker's order; their rank score then is the chance to be the next."""
    weighed, rest = open_proposals(proposals)
    if not weighed:
        return list(proposals)
    chances = reranker.probabilities(features_of(weighed, habits, settled))
    order = np.argsort(-chances, kind="stable").tolist()
    least = float(chances.min())
    return [
        *(replace(weighed[place], rank_score=float(chances[place])) for place in order),
        *(replace(proposal, rank_score=min(proposal.rank_score, least)) for proposal in rest),
    ]
