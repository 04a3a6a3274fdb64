"""Cache of the features of data-set photos: one file for each data set and backbone.

The key is the photo's path, size and modification time, and the backbone's version. An unreadable photo is reported
and left out; the others are still extracted. Knows nothing of tags or taggers.
Shapes: N photos -> (N, D) float32.
"""

import hashlib
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from annotator.datasets.image_folder import decode_image, read_image_file
from annotator.datasets.record import Record
from annotator.errors import DataError, UnreadableImageError
from annotator.models.backbones.backbone import Backbone

logger = logging.getLogger(__name__)

Features = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
"""(photos done, photos in all)."""

BATCH_SIZE = 64
MIN_SIDE = 320
"""Least short side, in pixels, at which a JPEG is decoded; equal to that of a project's photos, so features agree."""
SAVE_EVERY = 2_000
"""Photos between two writes of the cache: the most that an interrupted run loses."""


@dataclass(frozen=True)
class ExtractedFeatures:
    """Features of the records whose photos could be read."""

    features: Features
    """(N, D) float32."""
    records: list[Record]
    """N records, in their original order."""
    unreadable: list[tuple[Path, str]]
    """(photo, reason) for each photo left out."""


def default_cache_folder() -> Path:
    """Return `annotator/features` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "annotator" / "features"


def features_of(
    records: Sequence[Record],
    backbone: Backbone,
    cache_folder: Path | None = None,
    progress: Progress | None = None,
    num_decode_threads: int = 2,
) -> ExtractedFeatures:
    """Return the features of the records' photos, from the cache where possible.

    Args:
        records: Of one data set; the folder of its first photo names the cache file.
        backbone: Extractor of the features.
        cache_folder: None is `default_cache_folder()`.
        progress: Called after each batch.
        num_decode_threads: Threads that decode photos.

    Raises:
        DataError: There is no record or no readable photo.
    """
    if not records:
        raise DataError("The data set is empty: there is no photo to extract features of.")
    path = _cache_path(records, backbone, cache_folder or default_cache_folder())
    cached = _read_cache(path, backbone.feature_size)
    keys = [_key(record.image) for record in records]
    missing = [row for row, key in enumerate(keys) if key is None or key not in cached]
    unreadable: list[tuple[Path, str]] = []
    num_unsaved = 0
    with ThreadPoolExecutor(num_decode_threads) as pool:
        for start in range(0, len(missing), BATCH_SIZE):
            rows = missing[start : start + BATCH_SIZE]
            loaded = list(pool.map(lambda row: _load_crop(records[row].image, backbone), rows))
            crops = {row: crop for row, crop in zip(rows, loaded, strict=True) if not isinstance(crop, str)}
            unreadable += [(records[row].image, why) for row, why in zip(rows, loaded, strict=True)
                           if isinstance(why, str)]  # fmt: skip
            if crops:
                extracted = backbone.extract(np.stack(list(crops.values())))
                for row, values in zip(crops, extracted, strict=True):
                    key = keys[row]
                    if key is not None:
                        cached[key] = values
                num_unsaved += len(crops)
            if num_unsaved >= SAVE_EVERY:
                _write_cache(path, cached)
                num_unsaved = 0
            if progress:
                progress(len(records) - len(missing) + start + len(rows), len(records))
    if num_unsaved:
        _write_cache(path, cached)
    for image, why in unreadable:
        logger.warning("%s was left out: %s", image, why)
    kept = [(record, cached[key]) for record, key in zip(records, keys, strict=True) if key in cached and key]
    if not kept:
        raise DataError(
            f"None of the {len(records):,} photos could be read; the first is {unreadable[0][0]}: {unreadable[0][1]}"
        )
    return ExtractedFeatures(np.stack([values for _, values in kept]), [record for record, _ in kept], unreadable)


def _key(image: Path) -> str | None:
    """Return the cache key of a photo's current content, or None if the file does not exist."""
    try:
        status = image.stat()
    except OSError:
        return None
    return f"{status.st_mtime_ns} {status.st_size} {image}"


def _load_crop(image: Path, backbone: Backbone) -> npt.NDArray[np.uint8] | str:
    """Return the crop, or the reason why the photo cannot be read."""
    try:
        return backbone.preprocess(decode_image(read_image_file(image), min_side=MIN_SIDE).image)
    except UnreadableImageError as error:
        return str(error)


def _cache_path(records: Sequence[Record], backbone: Backbone, folder: Path) -> Path:
    digest = hashlib.sha256(str(records[0].image.parent).encode()).hexdigest()[:12]
    return folder / f"{backbone.name}-{backbone.version}-{digest}.npz"


def _read_cache(path: Path, feature_size: int) -> dict[str, Features]:
    if not path.exists():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            keys, features = stored["keys"], stored["features"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("The feature cache %s is damaged (%s); the features are extracted again.", path, error)
        return {}
    if features.shape != (len(keys), feature_size) or features.dtype != np.float32:
        logger.warning("The feature cache %s has the shape %s; the features are extracted again.", path, features.shape)
        return {}
    return dict(zip(keys.tolist(), features, strict=True))


def _write_cache(path: Path, cached: dict[str, Features]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            np.savez(file, keys=np.array(list(cached)), features=np.stack(list(cached.values())))
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        finally:
            Path(file.name).unlink(missing_ok=True)
