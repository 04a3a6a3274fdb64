"""How old a copy of a project is, in words: a time of the machine that made it is compared with that of this one.

Two machines' clocks may differ.
"""

from datetime import datetime

from annotator.storage.queries import utc_now

SAME_SECONDS = 5.0
"""Clocks that differ by less count as equal."""


def age_of(written_at: str, now: datetime | None = None) -> str:
    """Return how long ago something was written.

    Args:
        written_at: ISO 8601, UTC, by the clock of the machine that wrote it.
        now: UTC; None: the time of this machine.
    """
    try:
        written = datetime.fromisoformat(written_at.removesuffix("Z")).replace(tzinfo=None)
    except ValueError:
        return "at a time that cannot be read"
    seconds = ((now or utc_now()) - written).total_seconds()
    if seconds < -SAME_SECONDS:
        return f"by a clock that is {_span(-seconds)} ahead of this machine's"
    return f"{_span(max(0.0, seconds))} ago"


def _span(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {name}"
    return f"{seconds:.0f} seconds"
