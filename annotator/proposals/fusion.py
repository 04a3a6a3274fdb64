"""Evidence from all sources joined into one ranked list of proposals.

Knows nothing of where the evidence is from.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from annotator.datasets.tags import tag_key
from annotator.datasets.word_forms import form_key
from annotator.proposals.evidence import Evidence

HABITS = "habits"
"""The source of proposals/tag_statistics.py: how often lists go on with a tag. Its score does not depend on the photo,
so it does not count where another source has evidence."""
LIKELIER_THAN_NOT = 0.5
"""Score from which a proposal is expected to be right, see `num_expected`."""


@dataclass(frozen=True)
class Proposal:
    """One tag proposed for one photo."""

    tag: str
    score: float
    source: str
    """The strongest source."""
    evidence: tuple[Evidence, ...]
    rank_score: float

    @property
    def why(self) -> str:
        """The reasons in one sentence."""
        text = "; ".join(item.text for item in self.evidence)
        return text[:1].upper() + text[1:] + "."


def without_settled(
    evidence: Iterable[Evidence], prefix: Collection[str], dropped: Collection[str], is_used: Callable[[str], bool]
) -> list[Evidence]:
    """Return the evidence for tags that are still open.

    Not open are the settled and the dropped ones, and other forms of settled ones ("cars" beside "car"), unless the
    project uses that form too.
    """
    barred = {tag_key(tag) for tag in (*prefix, *dropped)}
    forms = {form_key(tag) for tag in prefix}
    return [
        item
        for item in evidence
        if tag_key(item.tag) not in barred and (form_key(item.tag) not in forms or is_used(item.tag))
    ]


def merge(
    evidence: Iterable[Evidence],
    spelling: Callable[[str], str] = lambda tag: tag,
    is_used: Callable[[str], bool] = lambda tag: False,
) -> list[Proposal]:
    """Join all evidence into one ranked list.

    Sources are taken as independent witnesses: the joint score is 1 - prod(1 - score), so agreement raises a tag and
    no number of weak voices passes one sure one. Tags that differ only in case or form of Unicode are one; so are those
    that differ only in form (car and cars, traffic light and trafficlight), unless the project uses both. Of the forms,
    the one that the project uses is shown, else the trained tagger's, else the one with the best evidence; of a
    source's words for several forms, the strongest counts.

    Args:
        evidence: In any order.
        spelling: How a tag is written in this project.
        is_used: Whether photos of this project carry a tag.

    Returns:
        Proposals, best first; ties go to the tag that came first.
    """
    proposals = []
    for variants in _by_form(evidence, is_used):
        name = min(variants, key=lambda items: (not is_used(items[0].tag), not _is_of_tagger(items)))[0].tag
        items = sorted((item for items in variants for item in items), key=lambda item: -item.score)
        if len(variants) > 1:
            items = list({item.source: item for item in reversed(items)}.values())[::-1]
            items.sort(key=lambda item: -item.score)
        seen = [item for item in items if item.source != HABITS] or items
        proposals.append(
            Proposal(
                tag=spelling(name),
                score=_joint(item.score for item in seen),
                source=seen[0].source,
                evidence=tuple(items),
                rank_score=_joint(item.score if item.rank_score is None else item.rank_score for item in items),
            )
        )
    proposals.sort(key=lambda proposal: -proposal.rank_score)
    return proposals


def _by_form(evidence: Iterable[Evidence], is_used: Callable[[str], bool]) -> list[list[list[Evidence]]]:
    """Return what becomes one proposal each: a list of variants, each the evidence for one spelling, the best first."""
    by_key: dict[str, list[Evidence]] = {}
    for item in evidence:
        by_key.setdefault(tag_key(item.tag), []).append(item)
    forms: dict[str, list[list[Evidence]]] = {}
    for items in by_key.values():
        items.sort(key=lambda item: -item.score)
        forms.setdefault(form_key(items[0].tag), []).append(items)
    groups = []
    for variants in forms.values():
        if sum(is_used(items[0].tag) for items in variants) > 1:
            groups += [[items] for items in variants]
        else:
            groups.append(sorted(variants, key=lambda items: -items[0].score))
    return groups


def _is_of_tagger(items: Iterable[Evidence]) -> bool:
    return any(item.source == "decoder" for item in items)


def num_expected(proposals: Sequence[Proposal]) -> int:
    """Return how many of the first proposals are more likely right than wrong: those above the expected line.

    Taken as independent, these are the likeliest of all lists that can be had by cutting this one.
    """
    return next((n for n, proposal in enumerate(proposals) if not _is_expected(proposal)), len(proposals))


def _is_expected(proposal: Proposal) -> bool:
    return proposal.score >= LIKELIER_THAN_NOT and proposal.source != HABITS


def _joint(scores: Iterable[float]) -> float:
    doubt = 1.0
    for score in scores:
        doubt *= 1 - min(max(score, 0.0), 1.0)
    return 1 - doubt
