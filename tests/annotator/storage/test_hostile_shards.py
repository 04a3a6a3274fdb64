"""Shards of somebody who can make every digest fit: refused in a sentence, before anything of a project is changed."""

import dataclasses
import io
import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.datasets.sidecars import PhotoMetadata, is_cleaned
from annotator.errors import ShardError
from annotator.ingest.shard_photos import ShardPhotos
from annotator.storage import bounded_parquet
from annotator.storage.digested_json import with_digest, without_digest
from annotator.storage.shard_table import PhotoData, ShardRow
from annotator.storage.shards import ListedFile, ShardFolder, ShardsAbout, UnreadablePath

pa = pytest.importorskip("pyarrow", reason="shards need pyarrow: the extra parquet")
pq = pytest.importorskip("pyarrow.parquet")

SIZE, SIDE = 4, 32
HASH = "ab" * 32
Change = Callable[[dict[str, Any]], None]


def jpeg(side: int = SIDE) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (side, side)).save(data, "JPEG")
    return data.getvalue()


def photo(**values: Any) -> PhotoData:
    made = PhotoData(640, 480, "JPEG", "1-447:" + "0f" * 16, 1, jpeg(), np.ones(SIZE, np.float32))
    return dataclasses.replace(made, **values)


def make(
    folder: Path,
    data: PhotoData | None = None,
    metadata: PhotoMetadata | None = None,
    num: int = 1,
    unreadable: tuple[UnreadablePath, ...] = (UnreadablePath("broken.jpg", "It is damaged."),),
    **listed: Any,
) -> Path:
    """Write shards as a run does."""
    shards = ShardFolder.open_or_create(folder, ShardsAbout(str(folder), "net", "net-1", SIZE, "1-447:", SIDE))
    row = ShardRow("a.jpg", 9, 9, "", HASH, metadata or PhotoMetadata(), data or photo())
    number = shards.add_shard([row] * num)
    values: dict[str, Any] = {"path": "a.jpg", "file_size": 9, "modified_ns": 9, "sidecars": "", "content_hash": HASH}
    values |= {"shard": number, "row": 0, "data_shard": number, "data_row": 0, **listed}
    shards.finish([ListedFile(**values)], unreadable)
    return folder


def read(folder: Path) -> tuple[PhotoMetadata, np.ndarray[Any, Any]]:
    """Read all of it, as `annotator add --from` does."""
    shards = ShardFolder.open(folder)
    shards.check()
    photos = ShardPhotos(shards)
    opened = photos.open("a.jpg")
    decoded = opened.decode(0)
    decoded.thumbnail(SIDE)
    vector = decoded.network_input(lambda: pytest.fail("no network is needed")).vector
    assert vector is not None
    return opened.metadata(), vector


def refused(folder: Path) -> str:
    with pytest.raises(ShardError) as error:
        read(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def rewrite(folder: Path, name: str, table: Any) -> None:
    """Put another table in place of one, with a digest that fits."""
    pq.write_table(table, folder / name, compression="zstd")
    digest = sha256((folder / name).read_bytes()).hexdigest()
    change_manifest(folder, lambda values: values["tables"].update({name: digest}))


def change_manifest(folder: Path, change: Change) -> None:
    path = folder / "manifest.json"
    values, _ = without_digest(json.loads(path.read_text()))
    change(values)
    path.write_text(json.dumps(with_digest(values)))


def test_what_a_run_writes_is_read(tmp_path: Path) -> None:
    said = PhotoMetadata(
        ("Dog", "sea"), ("animal|Dog",), ("cat",), "Two\u00a0dogs", "2026-07-01T12:30:05", "NIKON D90", 1.5, -2.25,
        ("holiday",), ("A keyword was left out.",),
    )  # fmt: skip
    said = dataclasses.replace(said, caption="Two dogs")
    metadata, vector = read(make(tmp_path / "shards", metadata=said, num=700))
    assert metadata == said
    assert vector.tolist() == [1.0] * SIZE


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("about"),
        lambda values: values.update(about=[]),
        lambda values: values["about"].pop("root"),
        lambda values: values["about"].update(root=7),
        lambda values: values["about"].update(root="photos"),
        lambda values: values["about"].update(root="/photos\0"),
        lambda values: values["about"].update(feature_size=0),
        lambda values: values["about"].update(feature_size=True),
        lambda values: values["about"].update(feature_size=10**12),
        lambda values: values["about"].update(thumbnail_size=10**9),
        lambda values: values.update(tables=[]),
        lambda values: values.update(tables=None),
        lambda values: values["tables"].update({"../outside.parquet": "0"}),
        lambda values: values["tables"].update({"/etc/passwd": "0"}),
        lambda values: values["tables"].update({"shard-0000\u0661.parquet": "0"}),
        lambda values: values.update(is_complete="yes"),
    ],
)
def test_a_manifest_that_no_run_writes_is_refused(tmp_path: Path, change: Change) -> None:
    folder = make(tmp_path / "shards")
    change_manifest(folder, change)
    refused(folder)


def test_a_manifest_that_is_huge_or_nested_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "shards")
    (folder / "manifest.json").write_text("[" * 100_000)
    assert "damaged" in refused(folder)
    monkeypatch.setattr("annotator.storage.shards.MAX_MANIFEST_BYTES", 1_000)
    assert "larger than any manifest" in refused(folder)


def test_a_pipe_in_place_of_a_table_is_not_waited_for(tmp_path: Path) -> None:
    folder = make(tmp_path / "shards")
    (folder / "files.parquet").unlink()
    os.mkfifo(folder / "files.parquet")
    assert "missing, or not as" in refused(folder)


@pytest.mark.parametrize("path", ["../a.jpg", "/a.jpg", "sub/../../a.jpg", "", ".", "a.jpg\0", "sub//a.jpg", "./a.jpg"])
def test_a_path_that_leads_out_of_the_root_is_refused(tmp_path: Path, path: str) -> None:
    assert "which no run of" in refused(make(tmp_path / "shards", path=path))


@pytest.mark.parametrize("path", ["../a.jpg", "/a.jpg", "a\0"])
def test_an_unreadable_path_that_leads_out_of_the_root_is_refused(tmp_path: Path, path: str) -> None:
    folder = make(tmp_path / "shards", unreadable=(UnreadablePath(path, "It is damaged."),))
    assert "which no run of" in refused(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"path": None}, {"file_size": None}, {"file_size": -1}, {"modified_ns": None}, {"sidecars": None},
        {"content_hash": "no hash"}, {"content_hash": "../" + "a" * 61}, {"row": 1}, {"row": -1}, {"data_row": 9},
        {"shard": 7}, {"shard": -1}, {"data_shard": None},
    ],
)  # fmt: skip
def test_a_list_of_files_with_other_values_is_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    refused(make(tmp_path / "shards", **values))


@pytest.mark.parametrize("name", ["shard-00000.parquet", "files.parquet", "unreadable.parquet"])
def test_a_table_of_another_form_is_refused(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "shards")
    table = pq.read_table(folder / name)
    rewrite(folder, name, table.append_column("more", pa.array(["x"] * len(table))))
    assert "columns" in refused(folder)
    rewrite(folder, name, table)
    read(folder)
    (folder / name).write_bytes(b"PAR1" + b"\xff" * 40 + b"PAR1")
    digest = sha256((folder / name).read_bytes()).hexdigest()
    change_manifest(folder, lambda values: values["tables"].update({name: digest}))
    assert "is no Parquet file" in refused(folder)


def test_text_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "shards")
    table = pq.read_table(folder / "files.parquet")
    bad = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    rewrite(folder, "files.parquet", table.set_column(table.schema.get_field_index("sidecars"), "sidecars", bad))
    assert "is no Parquet file" in refused(folder)


def test_a_table_that_unpacks_to_gigabytes_is_refused_before_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_parquet, "MAX_BYTES", 4_000_000)
    folder = make(tmp_path / "shards")
    table = pq.read_table(folder / "files.parquet")
    # One long text, stored once for all rows, and packed.
    many = pa.concat_tables([table] * 2_000)
    texts = pa.array(["x" * 100_000] * len(many))
    rewrite(folder, "files.parquet", many.set_column(many.schema.get_field_index("sidecars"), "sidecars", texts))
    assert (folder / "files.parquet").stat().st_size < 100_000
    taken: list[int] = []
    batches = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda file, *rest: (taken.append(batch.nbytes) or batch for batch in batches(file, *rest)),  # type: ignore[func-returns-value]
    )
    assert "once it is unpacked" in refused(folder)
    assert sum(taken) < 60_000_000


@pytest.mark.parametrize(
    "values",
    [
        {"width": 0}, {"height": -5}, {"orientation": 0}, {"orientation": 9}, {"format": "JPEG\x1b[2J"}, {"format": ""},
        {"pixel_digest": "x"}, {"pixel_digest": ":"}, {"pixel_digest": "1-447:<script>"},
        {"vector": np.array([1, np.nan, 1, 1], np.float32)}, {"vector": np.array([1, np.inf, 1, 1], np.float32)},
        {"thumbnail": b"<svg onload=alert(1)>"}, {"thumbnail": b""}, {"thumbnail": jpeg(SIDE + 1)},
        {"thumbnail": jpeg()[:20]},
    ],
)  # fmt: skip
def test_pixels_that_no_run_computes_are_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    assert "no run of `annotator embed` writes" in refused(make(tmp_path / "shards", photo(**values)))


BAD = [
    {"keywords": ("dog", "DOG")}, {"keywords": ("a\x1b[2Jb",)}, {"keywords": ("x" * 5_000,)}, {"keywords": ("",)},
    {"keywords": tuple(map(str, range(2_000)))}, {"user_tags": ("a\x00",)}, {"caption": "x" * 50_000},
    {"caption": "\x1b[2J"}, {"taken_at": "yesterday"}, {"taken_at": "2026-13-45"}, {"camera": "x" * 500},
    {"latitude": float("nan"), "longitude": 0.0}, {"latitude": 91.0, "longitude": 1.0}, {"latitude": 5.0},
    {"path_words": ("x" * 11_000_000,)}, {"notes": (None,)},
]  # fmt: skip


@pytest.mark.parametrize("values", BAD, ids=lambda values: next(iter(values)))
def test_metadata_that_no_photo_gives_are_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    metadata = PhotoMetadata(**values)
    assert not is_cleaned(metadata)
    assert "metadata in row 1 that no run of" in refused(make(tmp_path / "shards", metadata=metadata))
