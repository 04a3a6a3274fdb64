"""Tags that may be the same as another one, and the reasons."""

import time
from typing import Any

import pytest

from annotator.proposals.vocabulary.merge_candidates import MAX_CANDIDATES, merge_candidates
from annotator.proposals.vocabulary.similar_tags import SimilarTags


class Near:
    """Word vectors that know one pair."""

    def near(self, text: str, vocabularies: Any, exclude: Any = ()) -> list[str]:
        return [tag for tag in ("automobile",) if text == "car" and tag not in exclude]


NOT_LOADED = SimilarTags("")


def found(tag: str, *others: str, similar_tags: Any = NOT_LOADED) -> list[tuple[str, str]]:
    tags = (tag, *others)
    return [(one.tag, one.reason) for one in merge_candidates(tag, dict.fromkeys(tags, 1), similar_tags, tags)]


@pytest.mark.parametrize(
    ("tag", "other", "reason", "why"),
    [
        ("cat", "cats", "form", "Singular and plural."),
        ("men", "man", "form", "Singular and plural."),
        ("traffic light", "trafficlight", "form", "Only spaces or hyphens differ."),
        ("t-shirt", "T shirt", "form", "Only spaces or hyphens differ."),
        ("café", "cafe", "accents", "Only accents differ."),
        ("red car", "car red", "word_order", "The same words in another order."),
        ("coffee", "cofee", "spelling", "One letter differs: one may be misspelt."),
        ("coffee", "coffee", "", ""),
        ("photography", "fotography", "spelling", "2 letters differ: one may be misspelt."),
        ("tree", "rtee", "spelling", "One letter differs: one may be misspelt."),
        ("cat", "car", "", ""),
        ("terminal 1", "terminal 2", "", ""),
        ("house", "horseshoe", "", ""),
    ],
)
def test_each_reason_is_told(tag: str, other: str, reason: str, why: str) -> None:
    (*_, one) = (*merge_candidates(tag, {tag: 1, other: 1}, NOT_LOADED, (tag, other)), None)[:1]
    assert (one.reason, one.why) == (reason, why) if reason else one is None


def test_meaning_comes_last_and_only_with_word_vectors() -> None:
    assert found("car", "automobile", "cars") == [("cars", "form")]
    assert found("car", "automobile", "cars", similar_tags=Near()) == [("cars", "form"), ("automobile", "meaning")]


def test_the_frequent_ones_come_first_and_only_some() -> None:
    tags = ("coffee", *(f"coffe{letter}" for letter in "abcdfghijk"))
    counts = {tag: place for place, tag in enumerate(tags)}
    one = merge_candidates("coffee", counts, NOT_LOADED, tags)
    assert [item.tag for item in one] == list(reversed(tags))[:MAX_CANDIDATES]


def test_twenty_thousand_tags_are_compared_in_a_moment() -> None:
    tags = tuple(f"place number {number} of {number % 977}" for number in range(20_000))
    counts = dict.fromkeys(tags, 1)
    merge_candidates(tags[7], counts, NOT_LOADED, tags)  # fills the caches of the keys
    begun = time.process_time()
    merge_candidates(tags[8], counts, NOT_LOADED, tags)
    assert time.process_time() - begun < 2
