"""Tags in use that may be the same as one: other forms, misspellings, tags of similar meaning. Each has its reason.

Knows nothing of photos or of how two tags are merged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz import process
from rapidfuzz.distance import OSA

from annotator.datasets.tags import search_key, tag_key
from annotator.datasets.word_forms import form_key, singular, split_words
from annotator.proposals.vocabulary.similar_tags import SimilarTags

MAX_CANDIDATES = 8
"""Most tags that are offered for one."""
LEAST_LETTERS = 4
"""Letters of the shortest tag that counts as misspelt: shorter words that differ in one letter are other words."""
LETTERS_AN_ERROR = 5
"""Letters for each wrong one: "coffe" may have one, "photografy" two."""
MOST_ERRORS = 2
"""Letters that may be wrong, missing, too many or exchanged with the next one."""

Reason = Literal["form", "accents", "word_order", "spelling", "meaning"]
_ORDER: tuple[Reason, ...] = ("form", "accents", "word_order", "spelling", "meaning")


@dataclass(frozen=True)
class MergeCandidate:
    """A tag that may be the same as another one."""

    tag: str
    reason: Reason
    """form: singular and plural, or only spaces and hyphens differ; accents; word_order; spelling: a letter or two
    differ; meaning: near it by the word vectors, as are many words of related but other meaning ("cat", "dog")."""
    why: str
    """The reason as a sentence."""


def merge_candidates(
    tag: str, counts: Mapping[str, int], similar_tags: SimilarTags, tags_in_use: Sequence[str]
) -> list[MergeCandidate]:
    """Return the tags in use that may be the same as a tag: the surest reasons first, then the most frequent.

    Args:
        tag: Any tag.
        counts: Tag in use -> number of photos.
        similar_tags: The word vectors; where they are not loaded, no tag is found by its meaning.
        tags_in_use: The tags to search. A second search of the same tuple is fast.
    """
    key = tag_key(tag)
    others = [other for other in tags_in_use if tag_key(other) != key]
    found: dict[str, MergeCandidate] = {}
    form, plain, words = form_key(tag), search_key(tag), sorted(split_words(tag))
    for other in others:
        if form_key(other) == form:
            found[other] = MergeCandidate(other, "form", _difference_of_form(tag, other))
        elif search_key(other) == plain:
            found[other] = MergeCandidate(other, "accents", "Only accents differ.")
        elif len(words) > 1 and sorted(split_words(other)) == words:
            found[other] = MergeCandidate(other, "word_order", "The same words in another order.")
    for other, num in _misspelt(plain, others):
        letters = "One letter differs" if num == 1 else f"{num} letters differ"
        found.setdefault(other, MergeCandidate(other, "spelling", f"{letters}: one may be misspelt."))
    for other in similar_tags.near(tag, [tags_in_use], [tag, *found]):
        found.setdefault(other, MergeCandidate(other, "meaning", "Used in similar texts; it may mean something else."))
    ranked = sorted(found.values(), key=lambda one: (_ORDER.index(one.reason), -counts.get(one.tag, 0), one.tag))
    return ranked[:MAX_CANDIDATES]


def _misspelt(plain: str, others: Sequence[str]) -> list[tuple[str, int]]:
    """Return (tag, letters that differ) of the tags that are a misspelling of a search key, or it one of them."""
    most = min(MOST_ERRORS, len(plain) // LETTERS_AN_ERROR if len(plain) >= LETTERS_AN_ERROR else 1)
    if len(plain) < LEAST_LETTERS:
        return []
    keys = [search_key(other) for other in others]
    near = process.extract(plain, keys, scorer=OSA.distance, score_cutoff=most, limit=4 * MAX_CANDIDATES)
    return [
        (others[place], int(distance))
        for other, distance, place in near
        if distance and len(other) >= LEAST_LETTERS and not _differ_in_digits(plain, other)
    ]


def _differ_in_digits(one: str, other: str) -> bool:
    """Tell whether two texts have other digits: "terminal 1" and "terminal 2" are no misspellings of one another."""
    return [letter for letter in one if letter.isdigit()] != [letter for letter in other if letter.isdigit()]


def _difference_of_form(tag: str, other: str) -> str:
    one, two = split_words(tag), split_words(other)
    if "".join(one) == "".join(two):
        return "Only spaces or hyphens differ."
    ends = {singular(words[-1]) != words[-1] for words in (one, two) if words}
    return "Singular and plural." if ends == {True, False} else "Two forms of one word."
