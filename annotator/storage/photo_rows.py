"""What is known of chosen photos, for exports: read in pages, so that memory does not grow with the project.

Knows nothing of formats.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from annotator.datasets.photo_roots import PhotoRoot, known_root
from annotator.storage.field_values import values_of
from annotator.storage.photo_places import PhotoFolders
from annotator.storage.queries import Queries

PAGE = 500
"""Photos of one query."""
PLAIN_KEYS = ("image", "tags", "dropped", "image_id", "content_hash", "root", "user", "saved_at", "revision", "file",
              "changed")  # fmt: skip
"""Keys of the plain export, which `annotator train` reads as a record. `image` is the path below `root`: of a file that
exists, else the last known one; `file` says which (photo_places.py), and `changed` whether ingest found other pixels
in it since the list was saved."""

_QUERY = """
SELECT i.image_id, any_value(i.content_hash), any_value(i.width), any_value(i.height), any_value(i.caption),
       any_value(i.taken_at), list([r.path, p.path] ORDER BY p.is_gone, p.root_id, p.path)
       FILTER (p.path IS NOT NULL), any_value(a.tags), any_value(a.dropped),
       any_value(a.user_name), any_value(a.saved_at), any_value(a.revision),
       any_value(CAST(e.shown AS VARCHAR)), coalesce(any_value(i.changed_at > a.saved_at), false)
FROM images i
LEFT JOIN annotations a ON a.image_id = i.image_id AND a.is_saved
LEFT JOIN events e ON e.event_id = a.event_id
LEFT JOIN paths p ON p.image_id = i.image_id
LEFT JOIN roots r USING (root_id)
WHERE i.image_id IN (SELECT unnest(?::INTEGER[]))
GROUP BY i.image_id ORDER BY i.image_id
"""


def photo_rows(
    store: Queries,
    image_ids: Sequence[int],
    levels_of: Callable[[str], tuple[str, ...]] = lambda tag: (),
) -> Iterator[dict[str, Any]]:
    """Yield what is known of photos, in the given order of pages.

    Args:
        store: The open database.
        image_ids: In ascending order.
        levels_of: Tag -> the tags above it in the project's vocabulary, the highest first.

    Yields:
        `PLAIN_KEYS`, and ``name`` (unique among all photos, see `photo_name`), ``width``, ``height``, ``caption``,
        ``taken_at``, ``scores``: tag -> score of the proposals before the save, ``fields``: field -> value, and
        ``levels``: tag -> the tags above it, of tags that have any.

    Raises:
        StoreError: The database could not be read.
    """
    roots, folders = [known_root(row[0]) for row in store.rows("SELECT path FROM roots")], PhotoFolders()
    for start in range(0, len(image_ids), PAGE):
        page = list(image_ids[start : start + PAGE])
        fields = values_of(store, page)
        for values in store.rows(_QUERY, [page]):
            row = _row(values, roots, folders)
            levels = {tag: list(above) for tag in row["tags"] if (above := levels_of(tag))}
            yield row | {"fields": fields.get(row["image_id"], {}), "levels": levels}


def _row(row: tuple[Any, ...], roots: Sequence[PhotoRoot], folders: PhotoFolders) -> dict[str, Any]:
    (image_id, content_hash, width, height, caption, taken_at, files, tags, dropped, user, saved_at, revision,
     shown, has_changed) = row  # fmt: skip
    place = folders.locate([(root, path) for root, path in files or ()])
    return {
        "image": place.path,
        "tags": list(tags or ()),
        "dropped": list(dropped or ()),
        "image_id": int(image_id),
        "content_hash": content_hash,
        "root": place.root,
        "user": user or "",
        "saved_at": saved_at.isoformat(timespec="seconds") + "Z" if saved_at else "",
        "revision": int(revision or 0),
        "file": place.state,
        "changed": bool(has_changed),
        "name": photo_name(known_root(place.root) if place.root else None, place.path, roots),
        "width": int(width),
        "height": int(height),
        "caption": caption or "",
        "taken_at": taken_at or "",
        "scores": _scores(shown),
    }


def _scores(shown: str | None) -> dict[str, float]:
    proposals = json.loads(shown) if shown else []
    return {
        one["tag"]: float(one["score"])
        for one in proposals
        if isinstance(one, dict) and isinstance(one.get("score"), int | float) and isinstance(one.get("tag"), str)
    }


def photo_name(root: PhotoRoot | None, path: str, roots: Sequence[PhotoRoot]) -> str:
    """Return a photo's name in an export: its path below the folder that all folders of photos have in common.

    With one folder of photos, or one URL, that is the path below it. Roots without a folder in common are numbered.
    Names are unique, since paths are.
    """
    if root is None:
        return ""
    if len(roots) == 1:
        return Path(path).as_posix()
    common = _common_folder(roots)
    if common is None or not isinstance(root, Path):
        return f"{list(roots).index(root)}/{Path(path).as_posix()}"
    return (root.relative_to(common) / path).as_posix()


def _common_folder(roots: Sequence[PhotoRoot]) -> Path | None:
    """Return the folder that all roots lie in; None for several drives, or where one is a URL."""
    folders = [root for root in roots if isinstance(root, Path)]
    if len(folders) < len(roots):
        return None
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:
        return None
