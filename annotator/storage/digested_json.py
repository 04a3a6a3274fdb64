"""JSON objects with a digest of their other values, by which a file that was changed since it was written is known.

Files without a digest were written by an earlier version, or by hand. Knows nothing of what the values mean.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DIGEST = "digest"


def with_digest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values and their digest."""
    return {**values, DIGEST: _digest(values)}


def without_digest(values: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the values, and whether they are as they were written; without a digest they count as that."""
    others = {name: value for name, value in values.items() if name != DIGEST}
    return others, DIGEST not in values or values[DIGEST] == _digest(others)


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
