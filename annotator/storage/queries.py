"""What the module of a table needs of the database: rows, a transaction with its cursor, and the time.

`Store` (storage/database.py) provides it; a module that depends on this one only can be part of the store.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy.typing as npt

Row = tuple[Any, ...]


class Cursor(Protocol):
    """One statement at a time, and its rows."""

    def execute(self, query: str, parameters: object = ..., /) -> "Cursor":
        """Run a statement."""

    def fetchone(self) -> Row | None:
        """Return the next row of the last statement."""

    def fetchall(self) -> list[Row]:
        """Return the remaining rows of the last statement."""


class Queries(Protocol):
    """Reads and writes of an open database."""

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return every row of a reading query, as of the last commit."""

    def arrays(self, query: str, parameters: Sequence[object] = ()) -> dict[str, npt.NDArray[Any]]:
        """Return each column of a reading query as an array, as of the last commit; no value may be missing."""

    def transaction(self) -> AbstractContextManager[Cursor]:
        """Yield a cursor whose writes are on disk when the block ends, or undone when it raises."""


def utc_now() -> datetime:
    """Return the current time as stored in the database: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def utc(moment: datetime) -> str:
    """Return a time of the database in ISO 8601, as in JSON."""
    return f"{moment.isoformat(timespec='seconds')}Z"
