"""The saved lists of a snapshot with the features of shards: training data on a machine that has no project.

The shards are read one after the other, and only the features of photos with a saved list are kept. Photos of the gold
share are left out, since they judge every model of the project. Knows nothing of how a tagger is trained.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from annotator.datasets.folder_store import ObjectStore
from annotator.datasets.record import Record, one_spelling
from annotator.errors import DataError, FeatureMismatchError
from annotator.maintenance.snapshots import About, open_snapshot
from annotator.models.checkpoint import BackboneLike
from annotator.models.tagger import Features
from annotator.storage.correction_log import NOT_LOOKED_AT
from annotator.storage.shard_stream import stream_shards
from annotator.storage.shard_table import ShardTable
from annotator.trainer.finetuning.corrections import is_gold

_QUERY = f"""
SELECT i.content_hash, coalesce(i.shown_hash, i.content_hash), a.tags, i.keywords || i.user_tags, i.caption, a.event_id
FROM annotations a JOIN images i USING (image_id) WHERE a.is_saved AND len(a.tags) > 0
AND i.image_id NOT IN ({NOT_LOOKED_AT}) ORDER BY i.image_id
"""
_ROOT = Path("/")
"""Records name a photo by its content hash below this folder; no file of it is read."""


@dataclass(frozen=True)
class SharedCorrections:
    """Training data of N photos."""

    about: About
    """The snapshot."""
    records: list[Record]
    features: Features = field(repr=False)
    """(N, D) float32."""
    trained: dict[str, int]
    """Content hash -> event id of each, for `trained_on.json`."""
    num_gold: int
    """Photos that were left out because they judge."""
    num_without_features: int
    """Photos with a saved list that no shard has."""


def read_corrections(snapshots: ObjectStore, shards: ObjectStore, backbone: BackboneLike) -> SharedCorrections:
    """Return the saved lists of a snapshot that shards have features of.

    Args:
        snapshots: The target of `annotator snapshot`, or one snapshot.
        shards: What `annotator embed` wrote.
        backbone: Must be that of the shards.

    Raises:
        BackupError: The snapshot is missing or damaged.
        DataError: No photo with a saved list is in the shards.
        FeatureMismatchError: The features are of another backbone.
        ShardError: The shards are missing or damaged.
        RemoteError: A store does not answer, or refuses.
    """
    with open_snapshot(snapshots) as (about, store):
        rows = store.rows(_QUERY)
    kept = [row for row in rows if not is_gold(row[0], about.gold_share)]
    places: dict[str, list[int]] = {}
    for place, row in enumerate(kept):
        places.setdefault(row[1], []).append(place)
    with stream_shards(shards) as (of_shards, tables):
        label = f"{backbone.name}-{backbone.version}"
        if of_shards.backbone_label != label:
            raise FeatureMismatchError(
                f"The shards in {shards.url} have features of {of_shards.backbone_label}, but the training takes those "
                f"of {label}. Name their network with --backbone, or run `annotator embed` with this one."
            )
        features, is_there = _features_of(places, len(kept), of_shards.feature_size, tables)
    found = [row for row, has_features in zip(kept, is_there, strict=True) if has_features]
    if not found:
        raise DataError(f"None of the {len(rows):,} photos with tags in {snapshots.url} is in the shards {shards.url}.")
    return SharedCorrections(
        about,
        one_spelling([_record(row) for row in found]),
        features[is_there],
        {str(row[0]): int(row[5]) for row in found},
        len(rows) - len(kept),
        len(kept) - len(found),
    )


def _features_of(
    places: dict[str, list[int]], num: int, feature_size: int, tables: Iterable[ShardTable]
) -> tuple[Features, Any]:
    """Return (num, D) features and which of them were found.

    Args:
        places: Content hash -> rows of the result.
        num: Rows of the result.
        feature_size: D.
        tables: Each is read once.
    """
    features, is_there = np.zeros((num, feature_size), np.float32), np.zeros(num, bool)
    for table in tables:
        for row, (content_hash, has_data) in enumerate(
            zip(table.column("content_hash"), table.has_data(), strict=True)
        ):
            wanted = places.get(content_hash, []) if has_data else []
            if wanted:
                features[wanted], is_there[wanted] = table.data(row).vector, True
    return features, is_there


def _record(row: tuple[Any, ...]) -> Record:
    content_hash, _, tags, words, caption, _ = row
    return Record(_ROOT / content_hash, tuple(tags), tuple(dict.fromkeys(words)), caption)
