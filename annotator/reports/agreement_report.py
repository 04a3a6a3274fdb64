"""The agreement report: of each person with the accepted lists over time, and between people; read from the log.

The first response of a person to a photo counts, since it was given blind; photos with outstanding responses are left
out. The gold list is the one that a reviewer accepted. Knows nothing of pages or commands.
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
"""Responses per point of a person's agreement over time."""
NUM_TAGS = 20
"""Most tags in the report."""

_COMPLETE = """
    SELECT image_id FROM asked JOIN (
        SELECT image_id, count(*) AS num_given FROM (
            SELECT image_id FROM answers GROUP BY image_id, user_name HAVING arg_max(is_given, revision)
        ) GROUP BY image_id
    ) USING (image_id) WHERE num_given >= num_people
"""
"""Photos with all responses: readers of the report may still be asked about the others."""


@dataclass(frozen=True)
class _FirstResponse:
    """The first response of a person to a photo."""

    image_id: int
    user: str
    at: datetime
    tags: tuple[str, ...]


def agreement_report(rows: Rows) -> dict[str, Any]:
    """Return agreement with gold by person and over time, between people, and by tag.

    Args:
        rows: Runs a reading query.

    Returns:
        ``num_answers`` (first responses), ``num_accepted``; ``people``, each with means and ``over_time`` in blocks
        of ``BLOCK`` responses; ``pairs`` of people; ``tags`` with the share of people who gave them on photos where
        anybody did. Means without data are null.
    """
    firsts = [
        _FirstResponse(int(image_id), user, at, tuple(tags))
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


def _people(firsts: Sequence[_FirstResponse], gold: dict[int, tuple[str, ...]]) -> list[dict[str, Any]]:
    judged: dict[str, list[tuple[_FirstResponse, Agreement]]] = defaultdict(list)
    for first in firsts:
        if first.image_id in gold:
            judged[first.user].append((first, agreement_with(first.tags, gold[first.image_id])))
    return [{"user": user, **_summary(own), "over_time": _over_time(own)} for user, own in sorted(judged.items())]


def _over_time(own: Sequence[tuple[_FirstResponse, Agreement]]) -> list[dict[str, Any]]:
    blocks = [own[start : start + BLOCK] for start in range(0, len(own), BLOCK)]
    return [{"from": utc(block[0][0].at), "to": utc(block[-1][0].at), **_summary(block)} for block in blocks]


def _summary(own: Sequence[tuple[_FirstResponse, Agreement]]) -> dict[str, Any]:
    return {"num_photos": len(own), **_rounded(mean_agreement([found for _, found in own]))}


def _by_photo(firsts: Sequence[_FirstResponse]) -> dict[int, list[_FirstResponse]]:
    grouped: dict[int, list[_FirstResponse]] = defaultdict(list)
    for first in firsts:
        grouped[first.image_id].append(first)
    return grouped


def _pairs(firsts: Sequence[_FirstResponse]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[Agreement]] = defaultdict(list)
    for responses in _by_photo(firsts).values():
        for one, two in combinations(sorted(responses, key=lambda first: first.user), 2):
            found[one.user, two.user].append(agreement_between(one.tags, two.tags))
    return [
        {"users": list(users), "num_photos": len(own), **_rounded(mean_agreement(own))}
        for users, own in sorted(found.items())
    ]


def _tags(firsts: Sequence[_FirstResponse]) -> list[dict[str, Any]]:
    """Return the most frequent tags on photos with several responses, with the share of people who gave them."""
    shares: dict[str, list[float]] = defaultdict(list)
    spellings: dict[str, str] = {}
    for responses in _by_photo(firsts).values():
        if len(responses) < 2:
            continue
        for item in by_tag([first.tags for first in responses]):
            key = keys([item.tag])[0]
            spellings.setdefault(key, item.tag)
            shares[key].append(item.num_people / len(responses))
    order = sorted(shares, key=lambda key: (-len(shares[key]), key))[:NUM_TAGS]
    return [
        {"tag": spellings[key], "num_photos": len(shares[key]), **_rounded({"share_of_people": mean(shares[key])})}
        for key in order
    ]


def _rounded(values: dict[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 4) for name, value in values.items()}
