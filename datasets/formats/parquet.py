"""Parquet: one row a photo, the ranked tags as a list; loaded by Hugging Face datasets, DuckDB, pandas and others.

Needs pyarrow (the extra `parquet`).
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from annotator.datasets.formats.contract import Format, Place, Report, Survival, check_choice
from annotator.datasets.formats.imagefolder import file_problem
from annotator.datasets.formats.reading import clean_list
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.formats.writing import passing
from annotator.errors import ConfigError, DataError

ROWS, EMBEDDED_ROWS = 5_000, 50
"""Rows of a group, which is what is held in memory: without, and with the photos' bytes."""


@dataclass(frozen=True)
class ParquetOptions:
    """Options of `parquet`."""

    photos: str = "names"
    """Embed the photos' bytes (embed), or only name the files (names)."""

    def __post_init__(self) -> None:
        check_choice("photos", self.photos, ("names", "embed"))


def load_pyarrow() -> Any:
    """Return pyarrow with its Parquet part.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError("Parquet needs the package pyarrow: pip install 'annotator[parquet]'.") from error
    return pyarrow


def write(photos: Iterable[TaggedPhoto], place: Place, options: ParquetOptions, report: Report) -> None:
    """Write groups of rows."""
    pa = load_pyarrow()
    embeds = options.photos == "embed"
    schema = _schema(pa, embeds)
    rest = passing(photos, file_problem if embeds else lambda _: None, report)
    with pa.parquet.ParquetWriter(place.path, schema) as writer:
        while rows := [_row(photo, embeds) for photo in islice(rest, EMBEDDED_ROWS if embeds else ROWS)]:
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _schema(pa: Any, embeds: bool) -> Any:
    text, texts = pa.string(), pa.list_(pa.string())
    fields = [
        ("file_name", text), ("tags", texts), ("scores", pa.list_(pa.float32())), ("dropped", texts), ("user", text),
        ("saved_at", text), ("content_hash", text), ("width", pa.int32()), ("height", pa.int32()),
    ]  # fmt: skip
    kinds: dict[str, Any] = {name: _kind(pa, kind) for name, kind in fields}
    if embeds:
        fields.insert(0, ("image", pa.struct([("bytes", pa.binary()), ("path", text)])))
        kinds = {"image": {"_type": "Image"}, **kinds}
    # Hugging Face datasets decodes the photos because of this note.
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": kinds}})})


def _kind(pa: Any, kind: Any) -> dict[str, Any]:
    if pa.types.is_list(kind):
        return {"feature": _kind(pa, kind.value_type), "_type": "List"}
    return {"dtype": {"float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


def _row(photo: TaggedPhoto, embeds: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "file_name": photo.name,
        "tags": list(photo.tags),
        "scores": [photo.scores.get(tag) for tag in photo.tags],
        "dropped": list(photo.dropped),
        "user": photo.user,
        "saved_at": photo.saved_at,
        "content_hash": photo.content_hash,
        "width": photo.width,
        "height": photo.height,
    }
    if embeds and photo.path is not None:
        row["image"] = {"bytes": photo.path.read_bytes(), "path": photo.name}
    return row


def read(source: Path, options: ParquetOptions, report: Report) -> Iterator[TaggedPhoto]:
    """Yield the photos of a file, or of all .parquet files of a folder."""
    pa = load_pyarrow()
    for path in sorted(source.rglob("*.parquet")) if source.is_dir() else [source]:
        try:
            with pa.parquet.ParquetFile(path) as file:
                names = set(file.schema_arrow.names)
                name_column = next((one for one in ("file_name", "image", "path") if one in names), None)
                if name_column is None or "tags" not in names:
                    raise DataError(f"{path} needs the columns file_name (or image, path) and tags.")
                columns = [name_column, *sorted(names & {"tags", "dropped", "content_hash"})]
                for batch in file.iter_batches(batch_size=1_000, columns=columns):
                    for row in batch.to_pylist():
                        yield _photo(row, name_column, path, report)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is not a Parquet file that can be read: {error}.") from error


def _photo(row: dict[str, Any], name_column: str, path: Path, report: Report) -> TaggedPhoto:
    name, tags = row[name_column], row["tags"] or []
    name = name.get("path") if isinstance(name, dict) else name
    if not isinstance(name, str) or not name or not isinstance(tags, list):
        raise DataError(f"{path} has a row without a file name, or tags that are no list.")
    report.num_photos += 1
    return TaggedPhoto(
        name,
        clean_list(tags, name, report),
        dropped=clean_list(row.get("dropped") or [], name, report),
        content_hash=row.get("content_hash") or "",
    )


FORMAT = Format(
    "parquet",
    "one Parquet file for Hugging Face datasets, DuckDB and pandas",
    Survival(order="yes", scores="yes", who="yes", dropped="yes", hierarchy="no"),
    write=write,
    read=read,
    options=ParquetOptions,
    suffix=".parquet",
    takes_photos=True,
)
