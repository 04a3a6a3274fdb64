"""How far each person agrees with the accepted lists over time, and people with one another: read from the log.

The first answer that a person gave to a photo counts, which was given blind; photos whose answers are awaited do not.
The gold is the list that a reviewer accepted. Knows nothing of pages or commands.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Any

from annotator.reports.agreement import Agreement, agreement_between, agreement_with, by_tag, keys, mean, mean_agreement
from annotator.storage.queries import utc

Rows = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""Runs a reading query: Store.rows."""

BLOCK = 20
"""Answers of a point of a person's course over time."""
NUM_TAGS = 20
"""Longest list of tags."""


_COMPLETE = """
    SELECT image_id FROM asked JOIN (
        SELECT image_id, count(*) AS num_given FROM (
            SELECT image_id FROM answers GROUP BY image_id, user_name HAVING arg_max(is_given, revision)
        ) GROUP BY image_id
    ) USING (image_id) WHERE num_given >= num_people
"""
"""Photos with all their answers: of the others, who reads the report may still be asked."""


@dataclass(frozen=True)
class _First:
    """A person's first answer to a photo."""

    image_id: int
    user: str
    at: datetime
    tags: tuple[str, ...]


def agreement_report(rows: Rows) -> dict[str, Any]:
    """Return agreement with gold by person and over time, between people, and the tags on which they differ most.

    Args:
        rows: Runs a reading query.

    Returns:
        ``num_answers``, ``num_accepted``; ``people``, each with means and an ``over_time`` of blocks of ``BLOCK``
        answers; ``pairs`` of people; ``tags`` with the share of people who gave them where anybody did. Means over
        nothing are null.
    """
    firsts = [
        _First(int(image_id), user, at, tuple(tags))
        for image_id, user, at, tags in rows(
            "SELECT image_id, user_name, arg_min(created_at, revision), arg_min(tags, revision) FROM answers "
            f"WHERE is_given AND image_id IN ({_COMPLETE}) GROUP BY image_id, user_name ORDER BY min(answer_id)",
            [],
        )
    ]
    gold = {
        int(image_id): tuple(tags)
        for image_id, tags in rows(
            "SELECT image_id, tags FROM annotations WHERE is_saved AND image_id IN (SELECT image_id FROM reviews "
            "GROUP BY image_id HAVING arg_max(verdict, review_id) = 'accepted')",
            [],
        )
    }
    return {
        "num_answers": len(firsts),
        "num_accepted": len(gold),
        "people": _people(firsts, gold),
        "pairs": _pairs(firsts),
        "tags": _tags(firsts),
    }


def _people(firsts: Sequence[_First], gold: dict[int, tuple[str, ...]]) -> list[dict[str, Any]]:
    judged: dict[str, list[tuple[_First, Agreement]]] = defaultdict(list)
    for first in firsts:
        if first.image_id in gold:
            judged[first.user].append((first, agreement_with(first.tags, gold[first.image_id])))
    return [{"user": user, **_summary(own), "over_time": _course(own)} for user, own in sorted(judged.items())]


def _course(own: Sequence[tuple[_First, Agreement]]) -> list[dict[str, Any]]:
    blocks = [own[start : start + BLOCK] for start in range(0, len(own), BLOCK)]
    return [{"from": utc(block[0][0].at), "to": utc(block[-1][0].at), **_summary(block)} for block in blocks]


def _summary(own: Sequence[tuple[_First, Agreement]]) -> dict[str, Any]:
    return {"num_photos": len(own), **_rounded(mean_agreement([found for _, found in own]))}


def _by_photo(firsts: Sequence[_First]) -> dict[int, list[_First]]:
    grouped: dict[int, list[_First]] = defaultdict(list)
    for first in firsts:
        grouped[first.image_id].append(first)
    return grouped


def _pairs(firsts: Sequence[_First]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[Agreement]] = defaultdict(list)
    for given in _by_photo(firsts).values():
        for one, two in combinations(sorted(given, key=lambda first: first.user), 2):
            found[one.user, two.user].append(agreement_between(one.tags, two.tags))
    return [
        {"users": list(users), "num_photos": len(own), **_rounded(mean_agreement(own))}
        for users, own in sorted(found.items())
    ]


def _tags(firsts: Sequence[_First]) -> list[dict[str, Any]]:
    """Return the tags given most often where several people answered, with the share of those people who gave them."""
    shares: dict[str, list[float]] = defaultdict(list)
    spellings: dict[str, str] = {}
    for given in _by_photo(firsts).values():
        if len(given) < 2:
            continue
        for item in by_tag([first.tags for first in given]):
            key = keys([item.tag])[0]
            spellings.setdefault(key, item.tag)
            shares[key].append(item.num_people / len(given))
    order = sorted(shares, key=lambda key: (-len(shares[key]), key))[:NUM_TAGS]
    return [
        {"tag": spellings[key], "num_photos": len(shares[key]), **_rounded({"share_of_people": mean(shares[key])})}
        for key in order
    ]


def _rounded(values: dict[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 4) for name, value in values.items()}
