"""A row of an export as the photo that formats write. Knows nothing of any one format."""

from pathlib import Path
from typing import Any

from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.photo_fields import CATEGORY, DESCRIPTION, TITLE
from annotator.datasets.photo_roots import is_url

_PLAIN = ("image_id", "content_hash", "root", "user", "saved_at", "revision", "file", "changed", "taken_at")


def exported_photo(row: dict[str, Any]) -> TaggedPhoto:
    """Return the photo of a row of `storage.photo_rows.photo_rows`."""
    return TaggedPhoto(
        name=row["name"] or row["content_hash"],
        tags=tuple(row["tags"]),
        path=Path(row["root"], row["image"]) if row["root"] and row["image"] and not is_url(row["root"]) else None,
        dropped=tuple(row["dropped"]),
        scores=row["scores"],
        user=row["user"],
        saved_at=row["saved_at"],
        image_id=row["image_id"],
        content_hash=row["content_hash"],
        width=row["width"],
        height=row["height"],
        levels={tag: tuple(levels) for tag, levels in row["levels"].items()},
        title=row["fields"].get(TITLE, ""),
        description=row["fields"].get(DESCRIPTION) or row["caption"],
        category=row["fields"].get(CATEGORY, ""),
        fields=row["fields"],
        row={key: row[key] for key in _PLAIN},
    )
