"""Joins the evidence of all sources into one ranked list of proposals, by the probabilities of the fusion model.

Knows nothing of how the sources find their evidence.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from annotator.datasets.tags import tag_key
from annotator.datasets.word_forms import form_key
from annotator.proposals.evidence import Evidence

TAG_STATISTICS = "habits"
"""Name of the source tag_statistics.py: how often lists continue with a tag."""
NUM_REASONS = 2
"""Most reasons in `Proposal.why`."""
LIKELIER_THAN_NOT = 0.5
"""Least score of an expected proposal, see `num_expected`."""


@dataclass(frozen=True)
class Proposal:
    """One tag proposed for one photo."""

    tag: str
    score: float
    """Probability that this person puts the tag on this photo; shown to the user."""
    source: str
    """The source with the highest score of its own."""
    evidence: tuple[Evidence, ...]
    """Highest score first."""
    rank_score: float
    """In [0, 1]; decides the rank: the probability, or that of being the next tag where a re-ranker is in use."""

    @property
    def why(self) -> str:
        """The strongest reasons as one sentence; the page lists all of them on request."""
        text = "; ".join(item.text for item in self.evidence[:NUM_REASONS])
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
    probabilities: Mapping[str, float],
    spelling: Callable[[str], str] = lambda tag: tag,
    is_used: Callable[[str], bool] = lambda tag: False,
    least: float = 0.0,
) -> list[Proposal]:
    """Join all evidence into one ranked list.

    Tags that differ only in case or Unicode form are one proposal; so are those that differ only in word form (car and
    cars, traffic light and trafficlight), unless the project uses both. Shown is the form that the project uses, else
    that of the sequential tagger, else the one with the highest score; of a source's evidence for several forms, the
    highest score counts, and of the probabilities of several forms the highest one.

    Args:
        evidence: In any order; a tag without evidence is not proposed.
        probabilities: Key of a tag -> its probability.
        spelling: Tag -> its spelling in the project.
        is_used: Tells whether a photo of the project has a tag.
        least: Least probability of a proposal.

    Returns:
        Proposals, best first; ties in alphabetical order.
    """
    proposals = []
    for variants in _by_form(evidence, is_used):
        probability = max(probabilities.get(tag_key(items[0].tag), 0.0) for items in variants)
        if probability < least or not probability:
            continue
        name = min(variants, key=lambda items: (not is_used(items[0].tag), not _is_of_tagger(items)))[0].tag
        items = sorted((item for items in variants for item in items), key=lambda item: -item.score)
        if len(variants) > 1:
            items = list({item.source: item for item in reversed(items)}.values())[::-1]
            items.sort(key=lambda item: -item.score)
        seen = [item for item in items if item.source != TAG_STATISTICS] or items
        proposals.append(Proposal(spelling(name), probability, seen[0].source, tuple(items), probability))
    proposals.sort(key=lambda proposal: (-proposal.rank_score, tag_key(proposal.tag)))
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
    return next((n for n, proposal in enumerate(proposals) if proposal.score < LIKELIER_THAN_NOT), len(proposals))
