"""The rows of a shard of embedded photos, and their Parquet form.

A row is one readable file with its metadata. The first file with some bytes has the photo's data too (pixels' digest,
features, thumbnail), so that each photo is there once; its copies have none. Knows nothing of folders or projects.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from annotator.datasets.formats.parquet import load_pyarrow
from annotator.datasets.sidecars import PhotoMetadata, is_cleaned
from annotator.errors import ShardError
from annotator.storage.features import Vectors


@dataclass(frozen=True)
class PhotoData:
    """What is computed from the pixels of one photo."""

    width: int
    """Of the upright photo at full size, in pixels."""
    height: int
    format: str
    pixel_digest: str
    orientation: int
    """EXIF's, 1 to 8."""
    thumbnail: bytes
    """A JPEG."""
    vector: Vectors
    """(D,) float32."""


@dataclass(frozen=True)
class ShardRow:
    """One readable file."""

    path: str
    """Relative to the root, with forward slashes."""
    file_size: int
    """In bytes."""
    modified_ns: int
    sidecars: str
    """Names, sizes and times of its sidecars."""
    content_hash: str
    metadata: PhotoMetadata
    data: PhotoData | None
    """None: another row has the data of the same bytes."""


_FILE = ("path", "file_size", "modified_ns", "sidecars", "content_hash")
_PIXELS = ("width", "height", "format", "pixel_digest", "orientation", "thumbnail")
_METADATA = tuple(field.name for field in fields(PhotoMetadata))
_LISTS = tuple(field.name for field in fields(PhotoMetadata) if field.type == tuple[str, ...])
VECTOR = "features"
_DIGEST = re.compile(r"\d{1,9}-\d{1,9}:[0-9a-f]{16,128}", re.ASCII)
_FORMAT = re.compile(r"[\w -]{1,20}", re.ASCII)
_LAST_ORIENTATION = 8


def schema(feature_size: int) -> Any:
    """Return the Arrow schema of a shard.

    Args:
        feature_size: D, values of a photo's features.
    """
    pa = load_pyarrow()
    text, whole = pa.string(), pa.int64()
    types = {"file_size": whole, "modified_ns": whole, "width": pa.int32(), "height": pa.int32(),
             "orientation": pa.int32(), "thumbnail": pa.binary(), "latitude": pa.float64(), "longitude": pa.float64(),
             **dict.fromkeys(_LISTS, pa.list_(text))}  # fmt: skip
    columns = [(name, types.get(name, text)) for name in (*_FILE, *_METADATA, *_PIXELS)]
    return pa.schema([*columns, (VECTOR, pa.list_(pa.float32(), feature_size))])


def table_of(rows: Sequence[ShardRow], feature_size: int) -> Any:
    """Return rows as an Arrow table.

    Args:
        rows: Any number.
        feature_size: D, values of a photo's features.
    """
    pa = load_pyarrow()
    wanted = schema(feature_size)
    columns: list[Any] = [
        pa.array([_plain(value) for value in values], wanted.field(name).type)
        for name, values in (
            *((name, [getattr(row, name) for row in rows]) for name in _FILE),
            *((name, [getattr(row.metadata, name) for row in rows]) for name in _METADATA),
            *((name, [row.data and getattr(row.data, name) for row in rows]) for name in _PIXELS),
        )
    ]
    vectors = np.zeros((len(rows), feature_size), np.float32)
    for place, row in enumerate(rows):
        if row.data is not None:
            vectors[place] = row.data.vector
    has_none = pa.array([row.data is None for row in rows], pa.bool_())
    columns.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), feature_size, mask=has_none))
    return pa.Table.from_arrays(columns, schema=wanted)


class ShardTable:
    """The rows of one shard, read from its table.

    Args:
        table: An Arrow table.
        name: The shard's file, for messages.
        feature_size: D, values of a photo's features.
        thumbnail_size: Longest side of a thumbnail, in pixels.
    """

    def __init__(self, table: Any, name: str, feature_size: int, thumbnail_size: int) -> None:
        self._table, self._name = table.combine_chunks(), name
        self._vectors: Vectors | None = None
        self._feature_size, self._thumbnail_size = feature_size, thumbnail_size

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def column(self, name: str) -> list[Any]:
        """Return all values of a column."""
        values: list[Any] = self._table.column(name).to_pylist()
        return values

    def has_data(self) -> list[bool]:
        """Return of each row whether it has a photo's data."""
        valid: list[bool] = self._table.column("thumbnail").is_valid().to_pylist()
        return valid

    def metadata(self, row: int) -> PhotoMetadata:
        """Return the metadata of a row's file.

        Raises:
            ShardError: They are not as they are read from a photo.
        """
        values: dict[str, Any] = {name: self._value(name, row) for name in _METADATA}
        values.update((name, tuple(values[name] or ())) for name in _LISTS)
        found = PhotoMetadata(**values)
        if not is_cleaned(found):
            raise self._strange("metadata", row)
        return found

    def content_hash(self, row: int) -> str:
        """Return the content hash of a row's file."""
        return str(self._value("content_hash", row))

    def data(self, row: int) -> PhotoData:
        """Return the photo's data of a row that has it.

        Raises:
            ShardError: It has none, or not as it is computed from a photo.
        """
        values = {name: self._value(name, row) for name in _PIXELS}
        if None in values.values():
            raise ShardError(f"{self._name} lacks the pixels of a photo in row {row + 1:,}.")
        found = PhotoData(**values, vector=self._matrix()[row].copy())
        is_sized = found.width > 0 and found.height > 0 and 1 <= found.orientation <= _LAST_ORIENTATION
        if not (is_sized and _DIGEST.fullmatch(found.pixel_digest) and _FORMAT.fullmatch(found.format)):
            raise self._strange("a size, format or digest", row)
        if not np.isfinite(found.vector).all():
            raise self._strange("features", row)
        if not _is_thumbnail(found.thumbnail, self._thumbnail_size):
            raise self._strange("a thumbnail", row)
        return found

    def _strange(self, what: str, row: int) -> ShardError:
        return ShardError(f"{self._name} holds {what} in row {row + 1:,} that no run of `annotator embed` writes.")

    def _matrix(self) -> Vectors:
        if self._vectors is None:
            flat = self._table.column(VECTOR).chunk(0).values if len(self) else np.empty(0, np.float32)
            self._vectors = np.asarray(flat, np.float32).reshape(len(self), self._feature_size)
        return self._vectors

    def _value(self, name: str, row: int) -> Any:
        return self._table.column(name)[row].as_py()


def _is_thumbnail(data: bytes, longest_side: int) -> bool:
    """Tell whether bytes are a JPEG of at most this longest side, in pixels: browsers decode it for every visitor."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return max(image.size) <= longest_side
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
