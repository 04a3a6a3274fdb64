"""A folder of shards: what `annotator embed` has read of a folder of photos, as Parquet files with a manifest.

    manifest.json        what was read with which backbone, and the SHA-256 of every other file
    shard-00000.parquet  rows of readable files (shard_table.py)
    files.parquet        every possible photo in the order of the ingest, and in which row of which shard it is
    unreadable.parquet   what could not be read, and why

A file is written whole or not at all, and belongs to the folder once the manifest names it. `files.parquet` and
`unreadable.parquet` are written at the end of a run, with which the folder is complete.

Shards may come from somebody else, who can make every digest fit. So nothing of them is believed but what a run of
`annotator embed` can have written. Knows nothing of pixels, networks or projects.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from annotator.datasets.formats.parquet import load_pyarrow
from annotator.datasets.photo_roots import is_url
from annotator.errors import ShardError
from annotator.storage.bounded_parquet import read_bounded
from annotator.storage.digested_json import DIGEST, with_digest, without_digest
from annotator.storage.project import write_atomically
from annotator.storage.shard_table import VECTOR, ShardRow, ShardTable, schema, table_of

FORMAT, VERSION = "annotator shards", 1
MANIFEST, FILES, UNREADABLE = "manifest.json", "files.parquet", "unreadable.parquet"
MAX_MANIFEST_BYTES = 50_000_000
MAX_FEATURE_SIZE, MAX_THUMBNAIL_SIZE = 1_000_000, 65_000
_SHARD = re.compile(r"shard-(\d{5,9})\.parquet", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ShardsAbout:
    """What photos were read, and with what."""

    root: str
    """The folder of photos, an absolute path, or their URL."""
    backbone: str
    """The network's name."""
    backbone_label: str
    """Name and version, as a project stores features under it."""
    feature_size: int
    """D, values of a photo's features."""
    digest_scheme: str
    """Of the digests of pixels (datasets/pixel_digest.py)."""
    thumbnail_size: int
    """Longest side of a thumbnail, in pixels."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not field.type:
                raise ValueError(f"{field.name} is {str(value)[:80]!r}")
            if isinstance(value, str) and (not value or "\0" in value):
                raise ValueError(f"{field.name} is no text")
        if not is_url(self.root) and not Path(self.root).is_absolute():
            raise ValueError(f"root is {self.root[:80]!r}, no absolute path")
        if not 1 <= self.feature_size <= MAX_FEATURE_SIZE:
            raise ValueError(f"feature_size is {self.feature_size:,}")
        if not 1 <= self.thumbnail_size <= MAX_THUMBNAIL_SIZE:
            raise ValueError(f"thumbnail_size is {self.thumbnail_size:,}")


@dataclass(frozen=True)
class ListedFile:
    """A possible photo: a line of `files.parquet`."""

    path: str
    file_size: int
    modified_ns: int
    sidecars: str
    content_hash: str | None
    """None: it could not be read; so are the four numbers."""
    shard: int | None
    row: int | None
    """Of the file, from 0."""
    data_shard: int | None
    data_row: int | None
    """Of the photo's data."""


@dataclass(frozen=True)
class UnreadablePath:
    """A line of `unreadable.parquet`."""

    path: str
    reason: str
    is_folder: bool = False


class ShardFolder:
    """One folder of shards; one process writes it at a time.

    Args:
        folder: Where it lies.
        about: What was read, and with what.
        digests: File -> SHA-256 of its bytes, in hexadecimal.
        is_complete: Whether all photos of the root are there.
    """

    def __init__(self, folder: Path, about: ShardsAbout, digests: dict[str, str], is_complete: bool) -> None:
        self.folder, self.about, self.is_complete = folder, about, is_complete
        self._digests = digests

    @classmethod
    def open(cls, folder: Path) -> "ShardFolder":
        """Open a folder.

        Raises:
            ShardError: It has no manifest, or one that is damaged, changed, or of a newer version.
        """
        path = folder / MANIFEST
        try:
            if path.stat().st_size > MAX_MANIFEST_BYTES:
                raise ShardError(f"{path} is larger than any manifest of `annotator embed`.")
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ShardError(
                f"{folder} holds no shards (it has no {MANIFEST}). Make them with: annotator embed ROOT --out SHARDS"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise ShardError(f"{path} cannot be read: it is cut short or damaged.") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ShardError(f"{path} is not a manifest of `annotator embed`.")
        if not isinstance(values.get("version"), int) or values["version"] > VERSION:
            raise ShardError(
                f"{path} has version {str(values.get('version'))[:20]}, newer than the {VERSION} this version of "
                "annotator knows. Update annotator."
            )
        if DIGEST not in values or not without_digest(values)[1]:
            raise ShardError(f"{path} is not as `annotator embed` wrote it: it was changed, or is damaged.")
        try:
            about = ShardsAbout(**{field.name: values["about"][field.name] for field in fields(ShardsAbout)})
            tables = {str(name): str(digest) for name, digest in values["tables"].items()}
            is_complete = values["is_complete"] is True
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise ShardError(f"{path} holds what no run of `annotator embed` writes ({error}).") from error
        strange = [name for name in tables if name not in (FILES, UNREADABLE) and not _SHARD.fullmatch(name)]
        if strange:
            raise ShardError(f"{path} names {strange[0][:80]!r}, which no run of `annotator embed` writes.")
        return cls(folder, about, tables, is_complete)

    @classmethod
    def open_or_create(cls, folder: Path, about: ShardsAbout) -> "ShardFolder":
        """Open a folder in which a run goes on, or make an empty one.

        Raises:
            ShardError: It holds something else, or what was read of other photos or with another backbone.
        """
        if not (folder / MANIFEST).exists():
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise ShardError(f"{folder} is not empty and holds no shards. Name a new or an empty folder.")
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ShardError(f"The folder {folder} cannot be made: {error.strerror}.") from error
            found = cls(folder, about, {}, False)
            found._write_manifest()
            return found
        found = cls.open(folder)
        for name, there in asdict(found.about).items():
            wanted = getattr(about, name)
            if there != wanted:
                raise ShardError(
                    f"{folder} holds shards with {name.replace('_', ' ')} {there}, but this run has {wanted}. Name "
                    "another folder."
                )
        return found

    def numbers(self) -> list[int]:
        """Return the numbers of all shards, ascending."""
        return sorted(int(match[1]) for match in map(_SHARD.fullmatch, self._digests) if match)

    def drop_missing(self) -> int:
        """Forget shards whose files were deleted, so that their photos are read again; return their number."""
        missing = [number for number in self.numbers() if not (self.folder / _name(number)).exists()]
        for number in missing:
            del self._digests[_name(number)]
        return len(missing)

    def check(self) -> None:
        """Check that the folder is complete and every file is as it was written; reads all of them.

        Raises:
            ShardError: It is not; the message names the file.
        """
        if not self.is_complete or FILES not in self._digests or UNREADABLE not in self._digests:
            raise ShardError(
                f"The shards in {self.folder} are not complete. Run `annotator embed` with the same folders again; it "
                "goes on where it ended."
            )
        strays = {path.name for path in self.folder.glob("*.parquet")} - set(self._digests)
        if strays:
            raise ShardError(f"{self.folder / min(strays)} does not belong to these shards. Move it elsewhere.")
        for name in self._digests:
            path = self.folder / name
            try:
                if not path.is_file():  # a pipe has no end
                    raise self._damaged(name)
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise self._damaged(name) from error
            if digest != self._digests[name]:
                raise self._damaged(name)

    def shard(self, number: int) -> ShardTable:
        """Read a shard.

        Raises:
            ShardError: It is missing, or not as it was written.
        """
        name, about = _name(number), self.about
        table = self._read(name, schema(about.feature_size))
        return ShardTable(table, str(self.folder / name), about.feature_size, about.thumbnail_size)

    def files(self) -> list[ListedFile]:
        """Read the list of all possible photos.

        Raises:
            ShardError: It is missing, not as it was written, or names a path outside of the root.
        """
        listed = [ListedFile(**row) for row in self._read(FILES, _schema_of(ListedFile)).to_pylist()]
        for file in listed:
            is_ours = _is_inside(file.path) and _HASH.fullmatch(file.content_hash or "0" * 64)
            if not is_ours or None in (file.file_size, file.modified_ns, file.sidecars) or file.file_size < 0:
                raise self._strange(FILES, file.path)
        return listed

    def unreadable(self) -> list[UnreadablePath]:
        """Read what could not be read.

        Raises:
            ShardError: The table is missing, not as it was written, or names a path outside of the root.
        """
        listed = [UnreadablePath(**row) for row in self._read(UNREADABLE, _schema_of(UnreadablePath)).to_pylist()]
        for one in listed:
            if not (one.path == "." or _is_inside(one.path)) or one.reason is None:
                raise self._strange(UNREADABLE, one.path)
        return listed

    def add_shard(self, rows: Sequence[ShardRow]) -> int:
        """Write a shard and return its number; from then on the folder is not complete until `finish`.

        Raises:
            OSError: The disk is full.
        """
        number = max(self.numbers(), default=-1) + 1
        self._write(_name(number), table_of(rows, self.about.feature_size), [VECTOR, "thumbnail"])
        self.is_complete = False
        self._write_manifest()
        return number

    def finish(self, files: Sequence[ListedFile], unreadable: Sequence[UnreadablePath]) -> None:
        """Write the lists of all files; with that the folder is complete.

        Raises:
            OSError: The disk is full.
        """
        pa = load_pyarrow()
        for name, kind, rows in ((FILES, ListedFile, files), (UNREADABLE, UnreadablePath, unreadable)):
            wanted = _schema_of(kind)
            values = [pa.array([getattr(row, column.name) for row in rows], column.type) for column in wanted]
            self._write(name, pa.Table.from_arrays(values, schema=wanted), [])
        self.is_complete = True
        self._write_manifest()

    def _write(self, name: str, table: Any, incompressible: Sequence[str]) -> None:
        pa = load_pyarrow()
        sink = pa.BufferOutputStream()
        plain = [column for column in table.column_names if column not in incompressible]
        pa.parquet.write_table(table, sink, compression="zstd", use_dictionary=plain)
        data = sink.getvalue().to_pybytes()
        write_atomically(self.folder / name, data)
        self._digests[name] = hashlib.sha256(data).hexdigest()

    def _write_manifest(self) -> None:
        values = {
            "format": FORMAT, "version": VERSION, "about": asdict(self.about), "is_complete": self.is_complete,
            "tables": self._digests,
        }  # fmt: skip
        write_atomically(self.folder / MANIFEST, json.dumps(with_digest(values), indent=1).encode())

    def _read(self, name: str, wanted: Any) -> Any:
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise self._damaged(name) from error
        if hashlib.sha256(data).hexdigest() != self._digests.get(name):
            raise self._damaged(name)
        return read_bounded(data, wanted, str(self.folder / name))

    def _strange(self, name: str, path: str) -> ShardError:
        return ShardError(f"{self.folder / name} names {path!r}, which no run of `annotator embed` writes.")

    def _damaged(self, name: str) -> ShardError:
        return ShardError(
            f"{self.folder / name} is missing, or not as `annotator embed` wrote it: cut short, damaged or changed. "
            "Delete it and run `annotator embed` with the same folders again; only its photos are read again."
        )


def _schema_of(kind: type[ListedFile] | type[UnreadablePath]) -> Any:
    """Return the Arrow schema of a list of files."""
    pa = load_pyarrow()
    types = {str: pa.string(), int: pa.int64(), bool: pa.bool_(), str | None: pa.string(), int | None: pa.int64()}
    return pa.schema([(field.name, types[field.type]) for field in fields(kind)])  # type: ignore[index]


def _is_inside(path: str | None) -> bool:
    """Tell whether a path lies below the root that it is relative to."""
    if not path or "\0" in path:
        return False
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and parts.as_posix() == path != "."


def _name(number: int) -> str:
    return f"shard-{number:05}.parquet"
