"""The effort report: the cost of tagging and the use of the proposals, by SQL on the logged events.

An action is a key or a click. Undone saves do not count. For effort, only the first save of a photo counts, which
began with an empty list; photos that were saved together with another one (session/group_tagging.py) had no actions of
their own and are left out. Knows nothing of pages, plots or the model.
"""

from collections.abc import Callable, Sequence
from typing import Any

from annotator.storage.correction_log import GROUP_MEMBER, IS_SKIPPED

Rows = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
"""Runs a reading query: Store.rows."""

NUM_POINTS = 40
"""Most points of a curve over time."""
NUM_TAGS = 20
"""Most tags in the report."""
NUM_RANKS = 9
"""Proposals with a digit key; agreement is measured on these."""

_STANDING = """
    SELECT e.*, coalesce(s.strategy, '') AS strategy, s.is_random, s.probe, s.proposals,
           coalesce(json_extract_string(e.shown, '$[*].tag'), []) AS shown_tags,
           coalesce(json_extract_string(e.actions, '$[*][0]'), []) AS action_names
    FROM events e LEFT JOIN selections s USING (event_id)
    WHERE e.kind = 'save' AND NOT EXISTS (SELECT 1 FROM events u WHERE u.undoes = e.event_id)
"""
_FIRST = f"""
    SELECT *, row_number() OVER (ORDER BY event_id) AS number, num_keys + num_clicks AS num_actions
    FROM (SELECT * FROM ({_STANDING}) QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY event_id) = 1)
    WHERE NOT list_contains(action_names, '{GROUP_MEMBER}')
"""
"""First saves, without those of photos that were saved together with another one."""


def effort_report(rows: Rows) -> dict[str, Any]:
    """Return every measure as JSON values.

    Args:
        rows: Runs a reading query.

    Returns:
        ``num_saves``, ``num_photos``, ``mean_actions``, ``median_seconds``; ``over_time``, ``by_model``,
        ``acceptance_by_rank``, ``tags_added``, ``tags_dropped``, ``order``, ``queue``, ``repeats``, ``probes``.
        Means without data are null.
    """
    num_saves = int(rows(f"SELECT count(*) FROM ({_STANDING})", [])[0][0])
    num_photos, actions, seconds = rows(
        f"SELECT count(*), avg(num_actions), median(seconds) FROM ({_FIRST}) WHERE num_actions > 0", []
    )[0]
    return {
        "num_saves": num_saves,
        "num_photos": int(num_photos),
        "mean_actions": _rounded(actions),
        "median_seconds": _rounded(seconds),
        "over_time": _over_time(rows, int(num_photos)),
        "by_model": _by_model(rows),
        "acceptance_by_rank": _acceptance(rows),
        "tags_added": _tags(rows, "list_filter(after_tags, lambda t: NOT list_contains(shown_tags, t))"),
        "tags_dropped": _tags(rows, "dropped"),
        "order": _order(rows),
        "queue": _queue(rows),
        "repeats": _repeats(rows),
        "probes": _probes(rows),
    }


def _over_time(rows: Rows, num_photos: int) -> list[dict[str, Any]]:
    """Consecutive photos in groups of equal size, each group once for each model that proposed in it."""
    size = max(1, -(-num_photos // NUM_POINTS))
    return _dicts(
        rows(
            "SELECT min(counted), max(counted), strftime(min(created_at), '%Y-%m-%dT%H:%M:%SZ'), "
            "strftime(max(created_at), '%Y-%m-%dT%H:%M:%SZ'), tagger, count(*), avg(num_actions), median(seconds) "
            f"FROM (SELECT *, row_number() OVER (ORDER BY event_id) AS counted FROM ({_FIRST}) WHERE num_actions > 0) "
            "GROUP BY (counted - 1) // ?, tagger ORDER BY 1",
            [size],
        ),
        ("first_photo", "last_photo", "from", "to", "model", "num_photos", "actions_per_photo", "seconds_per_photo"),
    )


def _by_model(rows: Rows) -> list[dict[str, Any]]:
    return _dicts(
        rows(
            f"SELECT tagger, count(*), avg(num_actions), median(seconds) FROM ({_FIRST}) WHERE num_actions > 0 "
            "GROUP BY tagger ORDER BY min(event_id)",
            [],
        ),
        ("model", "num_photos", "actions_per_photo", "seconds_per_photo"),
    )


def _acceptance(rows: Rows) -> list[dict[str, Any]]:
    """How often the proposal at each rank was kept, on photos without a probe."""
    return _dicts(
        rows(
            "SELECT rank, count(*), count(*) FILTER (list_contains(after_tags, tag)), "
            "avg(list_contains(after_tags, tag)::INTEGER) FROM "
            "(SELECT after_tags, unnest(shown_tags) AS tag, unnest(range(1, len(shown_tags) + 1)) AS rank "
            f"FROM ({_FIRST}) WHERE probe IS NULL) WHERE rank <= 20 GROUP BY rank ORDER BY rank",
            [],
        ),
        ("rank", "num_shown", "num_kept", "share_kept"),
    )


def _tags(rows: Rows, which: str) -> list[dict[str, Any]]:
    """Count tags of photos with a saved annotation: lists that do not count while others are asked are left out."""
    saved = "SELECT image_id FROM annotations WHERE is_saved"
    return _dicts(
        rows(
            f"SELECT tag, count(*) FROM (SELECT unnest({which}) AS tag FROM ({_FIRST}) WHERE image_id IN ({saved})) "
            "GROUP BY tag ORDER BY count(*) DESC, tag LIMIT ?",
            [NUM_TAGS],
        ),
        ("tag", "num_photos"),
    )


def _order(rows: Rows) -> dict[str, Any]:
    """How often kept proposals are in another order than proposed, and tags are moved."""
    both = "list_filter(shown_tags, lambda t: list_contains(after_tags, t))"
    kept = "list_filter(after_tags, lambda t: list_contains(shown_tags, t))"
    num_photos, share_changed, moves = rows(
        f"SELECT count(*), avg((kept <> proposed)::INTEGER), avg(num_moves) FROM (SELECT {both} AS proposed, "
        f"{kept} AS kept, len(list_filter(action_names, lambda a: a = 'move')) AS num_moves FROM ({_FIRST}) "
        "WHERE probe IS NULL) WHERE len(kept) > 1",
        [],
    )[0]
    return {
        "num_photos": int(num_photos),
        "share_in_another_order": _rounded(share_changed),
        "moves_per_photo": _rounded(moves),
    }


def _queue(rows: Rows) -> dict[str, Any]:
    """How many photos are saved, skipped and open, and by which strategy the saved ones were selected."""
    num_images = int(rows("SELECT count(*) FROM images", [])[0][0])
    num_saved = int(rows("SELECT count(*) FROM annotations WHERE is_saved", [])[0][0])
    skipped = rows(
        f"SELECT count(*) FROM (SELECT image_id FROM events GROUP BY image_id HAVING {IS_SKIPPED})",
        [],
    )
    return {
        "num_images": num_images,
        "num_saved": num_saved,
        "num_put_off": int(skipped[0][0]),
        "num_open": num_images - num_saved - int(skipped[0][0]),
        "by_strategy": _dicts(
            rows(
                "SELECT strategy, count(*), count(*) FILTER (is_random), avg(num_actions), median(seconds) "
                f"FROM ({_FIRST}) WHERE strategy <> '' GROUP BY strategy ORDER BY min(event_id)",
                [],
            ),
            ("strategy", "num_photos", "num_random", "actions_per_photo", "seconds_per_photo"),
        ),
    }


def _repeats(rows: Rows) -> list[dict[str, Any]]:
    """Similarity of two successive saves of a photo: common tags over tags of either.

    The second person sees the list of the first, so this is an upper bound of the agreement.
    """
    both = "len(list_intersect(after_tags, earlier))"
    return _dicts(
        rows(
            "SELECT same_user, count(*), avg(jaccard), avg((after_tags = earlier)::INTEGER) FROM "
            f"(SELECT *, CASE WHEN len(after_tags) + len(earlier) = 0 THEN 1 ELSE "
            f"{both} / (len(after_tags) + len(earlier) - {both}) END AS jaccard FROM "
            "(SELECT after_tags, lag(after_tags) OVER w AS earlier, user_name = lag(user_name) OVER w AS same_user "
            f"FROM ({_STANDING}) WINDOW w AS (PARTITION BY image_id ORDER BY event_id)) "
            "WHERE earlier IS NOT NULL) GROUP BY same_user ORDER BY same_user DESC",
            [],
        ),
        ("same_user", "num_pairs", "mean_overlap", "share_identical"),
    )


def _probes(rows: Rows) -> list[dict[str, Any]]:
    """Agreement with the model's first proposals on the random sample, by probe: shown, hidden or shuffled.

    ``share_proposed``: share of the kept tags that are among the first proposals; ``share_kept``: share of the first
    proposals that were kept. The increase with visible proposals measures how much they influence people, or remind
    them of tags.
    """
    return _dicts(
        rows(
            "SELECT coalesce(probe, 'shown'), count(*), avg(num_both / nullif(num_kept, 0)), "
            "avg(num_both / nullif(len(first), 0)), avg(num_kept), avg(num_actions), median(seconds) FROM "
            "(SELECT *, len(list_intersect(first, after_tags)) AS num_both, len(after_tags) AS num_kept FROM "
            f"(SELECT *, list_slice(coalesce(proposals, shown_tags), 1, ?) AS first FROM ({_FIRST}) WHERE is_random)) "
            "WHERE len(first) > 0 GROUP BY probe ORDER BY probe NULLS FIRST",
            [NUM_RANKS],
        ),
        ("proposals", "num_photos", "share_proposed", "share_kept", "tags_per_photo", "actions_per_photo",
         "seconds_per_photo"),
    )  # fmt: skip


def _dicts(rows: list[tuple[Any, ...]], names: Sequence[str]) -> list[dict[str, Any]]:
    return [dict(zip(names, map(_rounded, row), strict=True)) for row in rows]


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
