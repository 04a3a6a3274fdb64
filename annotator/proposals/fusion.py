"""Joins the evidence of all sources into one ranked list of proposals.

Knows nothing of how the sources find their evidence.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from annotator.datasets.tags import tag_key
from annotator.datasets.word_forms import form_key
from annotator.proposals.evidence import Evidence

TAG_STATISTICS = "habits"
"""Name of the source tag_statistics.py: how often lists continue with a tag. Its score does not depend on the photo, so
it enters the joint score only of tags that have no other evidence."""
LIKELIER_THAN_NOT = 0.5
"""Least score of an expected proposal, see `num_expected`."""


@dataclass(frozen=True)
class Proposal:
    """One tag proposed for one photo."""

    tag: str
    score: float
    """Joint score of the sources, in [0, 1]; shown to the user."""
    source: str
    """The source with the highest score."""
    evidence: tuple[Evidence, ...]
    """Highest score first."""
    rank_score: float
    """In [0, 1]; decides the rank."""

    @property
    def why(self) -> str:
        """The reasons as one sentence."""
        text = "; ".join(item.text for item in self.evidence)
        return text[:1].upper() + text[1:] + "."


def without_kept(
    evidence: Iterable[Evidence], kept: Collection[str], dropped: Collection[str], is_used: Callable[[str], bool]
) -> list[Evidence]:
    """Return the evidence without that for kept and dropped tags.

    Other forms of kept tags ("cars" beside "car") are removed too, unless the project uses that form.
    """
    excluded = {tag_key(tag) for tag in (*kept, *dropped)}
    forms = {form_key(tag) for tag in kept}
    return [
        item
        for item in evidence
        if tag_key(item.tag) not in excluded and (form_key(item.tag) not in forms or is_used(item.tag))
    ]


def merge(
    evidence: Iterable[Evidence],
    spelling: Callable[[str], str] = lambda tag: tag,
    is_used: Callable[[str], bool] = lambda tag: False,
) -> list[Proposal]:
    """Join all evidence into one ranked list.

    Sources count as independent: the joint score is 1 - prod(1 - score). Tags that differ only in case or Unicode form
    are one proposal; so are those that differ only in word form (car and cars, traffic light and trafficlight), unless
    the project uses both. Shown is the form that the project uses, else that of the sequential tagger, else the one
    with the highest score; of a source's evidence for several forms, the highest score counts.

    Args:
        evidence: In any order.
        spelling: Tag -> its spelling in the project.
        is_used: Tells whether a photo of the project has a tag.

    Returns:
        Proposals, best first; ties in the order of the evidence.
    """
    proposals = []
    for variants in _by_form(evidence, is_used):
        name = min(variants, key=lambda items: (not is_used(items[0].tag), not _is_of_tagger(items)))[0].tag
        items = sorted((item for items in variants for item in items), key=lambda item: -item.score)
        if len(variants) > 1:
            items = list({item.source: item for item in reversed(items)}.values())[::-1]
            items.sort(key=lambda item: -item.score)
        seen = [item for item in items if item.source != TAG_STATISTICS] or items
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
    """Return a list of variants for each proposal; a variant is the evidence for one spelling, the best first."""
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
    """Return how many proposals are above the expected line: the first ones that are more likely right than wrong.

    If tags are independent, no other cut of the list is more likely to be exactly right.
    """
    return next((n for n, proposal in enumerate(proposals) if not _is_expected(proposal)), len(proposals))


def _is_expected(proposal: Proposal) -> bool:
    return proposal.score >= LIKELIER_THAN_NOT and proposal.source != TAG_STATISTICS


def _joint(scores: Iterable[float]) -> float:
    doubt = 1.0
    for score in scores:
        doubt *= 1 - min(max(score, 0.0), 1.0)
    return 1 - doubt
