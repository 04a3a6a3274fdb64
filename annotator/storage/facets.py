"""How many photos there are of each tag, folder, year and person. Knows nothing of searches or pages."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from annotator.storage.queries import Queries


@dataclass(frozen=True)
class Facets:
    """Value -> number of photos."""

    tags: Counter[str]
    """Of saved lists, by spelling."""
    folders: Counter[str]
    """The folder of each photo and every one above it, relative to the root, with "/"; photos directly in a root have
    none."""
    years: Counter[str]
    people: Counter[str]
    """Who saved the newest list."""


def facets_of(queries: Queries, image_ids: Sequence[int] | None) -> Facets:
    """Return the facets of some photos.

    Args:
        queries: The open database.
        image_ids: Of which photos; None: of all.

    Raises:
        StoreError: The database could not be read.
    """
    among, parameters = "", list[object]()
    if image_ids is not None:
        # Ten times as fast as a list of ids, and no slower than all photos.
        among = "AND CASE WHEN image_id < ? THEN get_bit(?::BIT, image_id) = 1 ELSE false END"
        parameters = list(_bits(image_ids))

    def counts(query: str) -> Counter[str]:
        return Counter({str(value): int(number) for value, number in queries.rows(query, parameters)})

    of_folder = counts(
        "SELECT regexp_replace(replace(path, '\\', '/'), '/?[^/]*$', '') AS folder, count(DISTINCT image_id) "
        f"FROM paths WHERE image_id IS NOT NULL {among} GROUP BY folder"
    )
    folders: Counter[str] = Counter()
    for folder, number in of_folder.items():
        parts = folder.split("/") if folder else []
        for depth in range(1, len(parts) + 1):
            folders["/".join(parts[:depth])] += number
    return Facets(
        counts(
            "SELECT tag, count(*) FROM (SELECT unnest(tags) AS tag FROM annotations "
            f"WHERE is_saved {among}) GROUP BY tag"
        ),
        folders,
        counts(
            f"SELECT left(taken_at, 4) AS year, count(*) FROM images WHERE taken_at IS NOT NULL {among} GROUP BY year"
        ),
        counts(f"SELECT user_name, count(*) FROM annotations WHERE is_saved {among} GROUP BY user_name"),
    )


def _bits(image_ids: Sequence[int]) -> tuple[int, str]:
    """Return a number of bits and their text, in which bit i says whether i is among the ids."""
    bits = bytearray(b"0") * (max(image_ids, default=0) + 1)
    for image_id in image_ids:
        bits[image_id] = ord("1")
    return len(bits), bits.decode()
