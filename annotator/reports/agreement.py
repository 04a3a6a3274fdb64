"""Measures of agreement between ranked lists of tags: Kendall's tau-b, rank-biased overlap, NDCG, by tag and by place.

Tags with the same key (datasets/tags.py) are equal. A measure without data is None. Knows nothing of people, photos or
reviews.

Papers: Kendall, "The treatment of ties in ranking problems", Biometrika 1945 (tau-b). Webber, Moffat, Zobel, "A
similarity measure for indefinite rankings", ACM TOIS 2010 (rank-biased overlap, extrapolated, eq. 32).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean

from annotator.datasets.tags import tag_key
from annotator.trainer.evaluation.metrics import ndcg_at

PERSISTENCE = 0.9
"""p of rank-biased overlap: the first ten places carry 86% of the weight (Webber et al., section 5)."""

TagList = Sequence[str]


@dataclass(frozen=True)
class Agreement:
    """The agreement of two lists."""

    tau_b: float | None
    """In [-1, 1]; None if one list ranks no tag above another."""
    rbo: float | None
    """In [0, 1]; None for two empty lists."""
    ndcg: float | None
    """In [0, 1]; None if the reference list is empty."""
    jaccard: float | None
    """Common tags over tags of either, in any order, in [0, 1]; None for two empty lists."""


@dataclass(frozen=True)
class TagAgreement:
    """In how many lists a tag is, and at which places."""

    tag: str
    """In its first spelling."""
    num_people: int
    places: list[int | None]
    """Per list the place of the tag, from 1; None if it is missing."""
    mean_place: float
    """Over the lists with the tag."""


@dataclass(frozen=True)
class PlaceAgreement:
    """The tags at one place of the lists."""

    place: int
    tag: str
    """The most frequent tag at this place; of equally frequent ones, that of the first list."""
    num_people: int
    """Number of lists with this tag at this place."""
    overlap: float
    """Share of common tags among the first ``place``, averaged over all pairs of lists, in [0, 1]."""


def keys(tags: TagList) -> list[str]:
    """Return the keys of a list's tags, without repeats."""
    return list(dict.fromkeys(map(tag_key, tags)))


def tau_b(first: TagList, second: TagList) -> float | None:
    """Return Kendall's tau-b over the tags of both lists; the tags that a list lacks are tied at its last place."""
    one, two = keys(first), keys(second)
    both = list(dict.fromkeys((*one, *two)))
    ranks = [[places.get(tag, len(places)) for tag in both] for places in (_places(one), _places(two))]
    if any(len(set(values)) < 2 for values in ranks):
        return None  # all tied
    from scipy.stats import kendalltau  # type: ignore[import-untyped]  # its import takes a second

    return float(kendalltau(*ranks, variant="b").statistic)


def rank_biased_overlap(first: TagList, second: TagList, persistence: float = PERSISTENCE) -> float | None:
    """Return the extrapolated rank-biased overlap of two lists of any lengths (Webber et al., eq. 32).

    Args:
        first: A list, most important first.
        second: Another.
        persistence: p in (0, 1): probability that a reader continues from one place to the next.
    """
    short, long = sorted((keys(first), keys(second)), key=len)
    if not long:
        return None
    if not short:
        return 0.0
    overlaps = _overlaps(short, long)  # X_1 .. X_l
    s, num = len(short), len(long)
    x_s, x_l = overlaps[s - 1], overlaps[-1]
    total = sum(x / depth * persistence**depth for depth, x in enumerate(overlaps, 1))
    total += sum(x_s * (depth - s) / (s * depth) * persistence**depth for depth in range(s + 1, num + 1))
    return (1 - persistence) / persistence * total + ((x_l - x_s) / num + x_s / s) * persistence**num


def ndcg(tags: TagList, right: TagList) -> float | None:
    """Return the NDCG of a list against a reference list, with the grades that are used for models.

    See trainer/evaluation/metrics.py: the first tag of the reference has the highest grade, each further one a lower.
    """
    found, wanted = keys(tags), keys(right)
    return ndcg_at([found], [wanted], max(len(found), len(wanted)), "graded") if wanted else None


def jaccard(first: TagList, second: TagList) -> float | None:
    """Return common tags over tags of either list."""
    one, two = set(keys(first)), set(keys(second))
    return len(one & two) / len(one | two) if one | two else None


def agreement_with(tags: TagList, right: TagList) -> Agreement:
    """Return the agreement of a list with a reference list."""
    return Agreement(tau_b(tags, right), rank_biased_overlap(tags, right), ndcg(tags, right), jaccard(tags, right))


def agreement_between(first: TagList, second: TagList) -> Agreement:
    """Return the agreement of two lists, neither being the reference: NDCG is the mean of both directions."""
    return Agreement(
        tau_b(first, second),
        rank_biased_overlap(first, second),
        mean([ndcg(first, second), ndcg(second, first)]),
        jaccard(first, second),
    )


def mean_agreement(found: Sequence[Agreement]) -> dict[str, float | None]:
    """Return the mean of each measure over the agreements with a value."""
    rows = [asdict(item) for item in found]
    return {name: mean([row[name] for row in rows]) for name in ("tau_b", "rbo", "ndcg", "jaccard")}


def by_tag(lists: Sequence[TagList]) -> list[TagAgreement]:
    """Return each tag of any list, by descending number of lists, then by mean place."""
    places = [{key: place + 1 for key, place in _places(keys(tags)).items()} for tags in lists]
    spellings: dict[str, str] = {}
    for tags in lists:
        for tag in tags:
            spellings.setdefault(tag_key(tag), tag)
    found = []
    for key, spelling in spellings.items():
        given = [own.get(key) for own in places]
        there = [place for place in given if place is not None]
        found.append(TagAgreement(spelling, len(there), given, fmean(there)))
    return sorted(found, key=lambda item: (-item.num_people, item.mean_place))


def by_place(lists: Sequence[TagList]) -> list[PlaceAgreement]:
    """Return the tags at each place, to the end of the longest list."""
    found = []
    pairs = [_padded_overlaps(keys(one), keys(two), lists) for one, two in combinations(lists, 2)]
    for place in range(1, max(map(len, lists), default=0) + 1):
        there = [tags[place - 1] for tags in lists if len(tags) >= place]
        counted = Counter(map(tag_key, there))
        tag = max(there, key=lambda tag: counted[tag_key(tag)])
        overlap = fmean(overlaps[place - 1] / place for overlaps in pairs) if pairs else 1.0
        found.append(PlaceAgreement(place, tag, counted[tag_key(tag)], overlap))
    return found


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not None."""
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


def _places(tags: Sequence[str]) -> Mapping[str, int]:
    return {tag: place for place, tag in enumerate(tags)}


def _overlaps(short: Sequence[str], long: Sequence[str]) -> list[int]:
    """Return the number of common tags of the first d places, for d from 1 to the length of the longer list."""
    return [len(set(short[:depth]) & set(long[:depth])) for depth in range(1, max(len(short), len(long)) + 1)]


def _padded_overlaps(one: Sequence[str], two: Sequence[str], lists: Sequence[TagList]) -> list[int]:
    """Return `_overlaps`, extended to the length of the longest of all lists."""
    longest = max(map(len, lists))
    overlaps = _overlaps(one, two)
    return overlaps + [overlaps[-1] if overlaps else 0] * (longest - len(overlaps))
