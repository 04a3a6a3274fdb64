"""A snapshot of the corrections: the server writes it in one consistent read, the training process reads it.

The features stay in the project's feature file; the snapshot has the row of each photo. Knows nothing of models.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from annotator.datasets.tags import tag_key
from annotator.errors import FeatureMismatchError
from annotator.models.detectors.detector import Detection
from annotator.models.tagger import Features
from annotator.proposals.evidence import Words, words_from
from annotator.storage.correction_log import NOT_LOOKED_AT
from annotator.storage.database import Store, read_parquet
from annotator.trainer.finetuning.corrections import Correction

MOST_UNTAGGED = 2000
"""Most photos without tags whose rows are written too, for rehearsal."""

_QUERY = """
SELECT i.image_id, i.content_hash, f.feature_row, i.keywords || i.user_tags AS keywords, i.path_words,
       i.caption,
       coalesce(a.is_saved, false) AND n.image_id IS NULL AS is_saved, coalesce(a.event_id, 0) AS event_id,
       coalesce(a.tags, []) AS tags,
       coalesce(a.dropped, []) AS dropped, coalesce(a.user_name, '') AS user_name, a.saved_at,
       coalesce(e.tagger, '') AS tagger, coalesce(CAST(e.shown AS VARCHAR), '[]') AS shown,
       coalesce(d.labels, []) AS labels, coalesce(d.scores, []) AS scores, coalesce(d.boxes, '[]') AS boxes,
       coalesce(v.tags, []) AS answer
FROM images i
JOIN features f ON f.image_id = i.image_id AND f.backbone = ?
LEFT JOIN annotations a ON a.image_id = i.image_id
LEFT JOIN events e ON e.event_id = a.event_id
LEFT JOIN ({detections}) d ON d.image_id = i.image_id
LEFT JOIN ({answers}) v ON v.image_id = i.image_id
LEFT JOIN ({not_looked_at}) n ON n.image_id = i.image_id
WHERE coalesce(a.is_saved, false) AND n.image_id IS NULL
   OR i.image_id IN (SELECT image_id FROM images ORDER BY hash(image_id) LIMIT {limit})
ORDER BY i.image_id
"""

# As text before the join: an outer join of DuckDB 2.0 loses lists of arrays of a fixed length.
_DETECTIONS = "SELECT image_id, labels, scores, CAST(to_json(boxes) AS VARCHAR) AS boxes FROM detections"

_ANSWERS = """
SELECT image_id, arg_max(tags, asked_at) AS tags FROM vision_answers WHERE model = ? AND problem = '' GROUP BY image_id
"""
"""As `VisionAnswers.of` reads them."""


@dataclass(frozen=True)
class Snapshot:
    """The corrections of a project at one moment."""

    corrections: list[Correction]
    untagged: Features
    """(M, D) features of a sample of the photos without a saved list."""
    words: dict[int, Words]
    """Words of the metadata of each corrected photo, by image id."""
    detections: dict[int, tuple[Detection, ...]] = field(default_factory=dict)
    """Objects found in each corrected photo, by image id; missing where no detector has run."""
    answers: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Tags that the project's vision-language model names for each corrected photo, by image id; missing where it has
    not answered."""


def write_snapshot(store: Store, backbone: str, path: Path, vision_language_model: str = "") -> None:
    """Write the present correction of every photo that has features of this backbone.

    A list that was taken from suggestions is none until a person has decided on it; such a photo counts as untagged.

    Args:
        store: The open database.
        backbone: Label of the feature file.
        path: The Parquet file.
        vision_language_model: Whose answers are written too; empty: none are.

    Raises:
        StoreError: The snapshot could not be written.
    """
    query = _QUERY.format(limit=MOST_UNTAGGED, detections=_DETECTIONS, answers=_ANSWERS, not_looked_at=NOT_LOOKED_AT)
    store.write_parquet(query, [backbone, vision_language_model], path)


def read_snapshot(path: Path, features_path: Path, feature_size: int) -> Snapshot:
    """Read a snapshot with its features, which are read from the memory-mapped feature file.

    Args:
        path: Written by `write_snapshot`.
        features_path: The project's feature file of that backbone; only read.
        feature_size: D.

    Raises:
        StoreError: The snapshot is missing or damaged.
        FeatureMismatchError: The feature file is shorter than the snapshot says.
    """
    rows = read_parquet(path)
    num_rows = max((row["feature_row"] for row in rows), default=-1) + 1
    have = features_path.stat().st_size // (4 * feature_size) if features_path.exists() else 0
    if have < num_rows:
        raise FeatureMismatchError(
            f"{features_path} holds {have:,} features of {feature_size} values, but the corrections count on "
            f"{num_rows:,}. Run `annotator add` to compute them again."
        )
    vectors: Features = np.zeros((0, feature_size), np.float32)
    if num_rows:
        vectors = np.memmap(features_path, dtype="<f4", mode="r", shape=(num_rows, feature_size))
    saved = [row for row in rows if row["is_saved"]]
    corrections = [
        Correction(
            image_id=int(row["image_id"]),
            content_hash=row["content_hash"],
            event_id=int(row["event_id"]),
            tags=_distinct(row["tags"]),
            dropped=_distinct(row["dropped"]),
            shown=_distinct([item["tag"] for item in json.loads(row["shown"])]),
            tagger=row["tagger"],
            user=row["user_name"],
            saved_at=f"{row['saved_at'].isoformat(timespec='seconds')}Z",
            features=np.array(vectors[row["feature_row"]], np.float32),
        )
        for row in saved
    ]
    untagged = [row["feature_row"] for row in rows if not row["is_saved"]]
    words = {int(row["image_id"]): words_from(row["keywords"], row["path_words"], row["caption"]) for row in saved}
    detections = {int(row["image_id"]): _detections(row) for row in saved if row["labels"]}
    answers = {int(row["image_id"]): tuple(row["answer"]) for row in saved if row["answer"]}
    return Snapshot(corrections, np.array(vectors[untagged], np.float32), words, detections, answers)


def read_feature_rows(path: Path) -> list[tuple[int, int]]:
    """Return (image id, row in the feature file) of every photo of a snapshot."""
    return [(int(row["image_id"]), int(row["feature_row"])) for row in read_parquet(path)]


def _detections(row: dict[str, Any]) -> tuple[Detection, ...]:
    found = zip(row["labels"], row["scores"], json.loads(row["boxes"]), strict=True)
    return tuple(
        Detection(label, score, (left, top, right, bottom)) for label, score, (left, top, right, bottom) in found
    )


def _distinct(tags: list[str]) -> tuple[str, ...]:
    return tuple({tag_key(tag): tag for tag in reversed(tags)}.values())[::-1]
