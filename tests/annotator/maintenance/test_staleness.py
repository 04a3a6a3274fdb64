from datetime import datetime

import pytest

from annotator.maintenance.staleness import age_of

NOW = datetime(2026, 11, 30, 12, 0, 0)


@pytest.mark.parametrize(
    ("written_at", "age"),
    [
        ("2026-11-30T11:59:50Z", "10 seconds ago"),
        ("2026-11-30T12:00:03Z", "0 seconds ago"),  # clocks that differ a little
        ("2026-11-30T11:55:00Z", "5 minutes ago"),
        ("2026-11-30T07:00:00.5Z", "5 hours ago"),
        ("2026-11-20T12:00:00Z", "10 days ago"),
        ("2026-11-30T12:10:00Z", "by a clock that is 10 minutes ahead of this machine's"),
        ("yesterday", "at a time that cannot be read"),
    ],
)
def test_the_age_is_told_also_where_a_clock_is_behind(written_at: str, age: str) -> None:
    assert age_of(written_at, NOW) == age
