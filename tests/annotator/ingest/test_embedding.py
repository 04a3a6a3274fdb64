import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.datasets.pixel_digest import digest_scheme
from annotator.errors import ShardError
from annotator.ingest.embedding import Embedding, EmbedSummary, FileRead, LocalEngine
from annotator.ingest.photo_source import FolderPhotos, FoundFile
from annotator.ingest.renditions import decoded_side
from annotator.ingest.shard_photos import ShardPhotos
from annotator.settings import IngestConfig
from annotator.storage.digested_json import with_digest, without_digest
from annotator.storage.shards import ShardFolder, ShardsAbout

pytest.importorskip("pyarrow", reason="shards need pyarrow: the extra parquet")

Make = Callable[..., Any]
CONFIG = IngestConfig(batch_size=4)
XMP = (
    "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns:dc='http://purl.org/dc/elements/1.1/' "
    "xmlns:d='http://www.digikam.org/ns/1.0/'><rdf:Description>"
    "<dc:subject><rdf:Bag><rdf:li>{tag}</rdf:li></rdf:Bag></dc:subject>"
    "<d:TagsList><rdf:Seq><rdf:li>animal/{tag}</rdf:li></rdf:Seq></d:TagsList></rdf:Description></rdf:RDF>"
)


@pytest.fixture
def photos(tmp_path: Path, write_photos: Make, photo_bytes: Make) -> Path:
    """Eleven photos: copies, sidecars, a folder within a folder, files that cannot be read."""
    folder = tmp_path / "photos"
    write_photos(folder, range(6))
    write_photos(folder / "sub" / "deep", range(6, 11))
    shutil.copy(folder / "photo 1.jpg", folder / "sub" / "a copy.jpg")
    (folder / "photo 2.xmp").write_text(XMP.format(tag="dog"))
    (folder / "sub" / "a copy.txt").write_text("cat, sofa")
    (folder / "sub" / "deep" / "photo 7.json").write_text(json.dumps({"tags": ["tree"]}))
    (folder / "broken.jpg").write_bytes(b"not a photo")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "film.mp4").write_bytes(b"x")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    return folder


def about_of(photos: Path, extractor: Any) -> ShardsAbout:
    scheme = digest_scheme(decoded_side(extractor.image_size, CONFIG.thumbnail_size))
    return ShardsAbout(
        str(photos), "colour_grid", extractor.version, extractor.feature_size, scheme, CONFIG.thumbnail_size
    )


@pytest.fixture
def embed(tmp_path: Path, make_ingesting: Make) -> Callable[..., EmbedSummary]:
    extractor = make_ingesting(tmp_path / "only for its extractor").extractor

    def run(photos: Path, out: Path | None = None, shard_size: int = 4, engine: Any = None) -> EmbedSummary:
        source = FolderPhotos(photos)
        shards = ShardFolder.open_or_create(out or tmp_path / "shards", about_of(photos, extractor))
        return Embedding(source, shards, engine or LocalEngine(source, lambda: extractor, CONFIG), shard_size).run()

    run.extractor = extractor  # type: ignore[attr-defined]
    return run


def checked(folder: Path) -> ShardPhotos:
    shards = ShardFolder.open(folder)
    shards.check()
    return ShardPhotos(shards)


def content(ingesting: Any) -> dict[str, Any]:
    """Everything that an ingest stores, without the times at which it was stored."""
    store, folder = ingesting.store, ingesting.project.folder
    return {
        "images": store.rows(
            "SELECT * EXCLUDE (added_at) REPLACE (changed_at IS NOT NULL AS changed_at) FROM images ORDER BY image_id"
        ),
        "roots": store.rows("SELECT * FROM roots ORDER BY root_id"),
        "paths": store.rows("SELECT * FROM paths ORDER BY root_id, path, image_id"),
        "features": store.rows("SELECT * FROM features ORDER BY image_id"),
        "vectors": ingesting.features.vectors(ingesting.features.image_ids()).tobytes(),
        "digests": (folder / "features" / "colour_grid-1.digests").read_bytes(),
        "thumbnails": {
            path.relative_to(folder): path.read_bytes() for path in (folder / "thumbnails").rglob("*") if path.is_file()
        },
    }


def data_rows(folder: Path) -> list[str]:
    """The content hash of every row with a photo's data, of all shards."""
    shards = ShardFolder.open(folder)
    tables = [shards.shard(number) for number in shards.numbers()]
    return [
        hash
        for table in tables
        for hash, has in zip(table.column("content_hash"), table.has_data(), strict=True)
        if has
    ]


def test_photos_from_shards_are_what_an_ingest_of_their_folder_gives(
    make_ingesting: Make, embed: Make, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, taken = make_ingesting(tmp_path / "plain"), make_ingesting(tmp_path / "taken")
    progress = plain.run(photos)
    summary = embed(photos)
    assert (summary.num_found, summary.num_read, summary.num_photos) == (14, 14, 11)
    assert (summary.num_unreadable, summary.num_shards) == (4, 3)
    source = checked(tmp_path / "shards")
    with monkeypatch.context() as patch:
        for name in ("read_image_file", "decode_image"):
            patch.setattr(f"annotator.ingest.photo_source.{name}", lambda *_, **__: pytest.fail("a file was read"))
        from_shards = taken.run(source)
    assert (from_shards.num_found, from_shards.num_new) == (progress.num_found, progress.num_new) == (14, 11)
    assert content(taken) == content(plain)
    assert taken.reasons() == plain.reasons()
    assert taken.extractor.num_extracted == 0
    assert taken.run(source).num_new == 0  # nothing is added twice
    assert taken.run(photos).num_new == 0  # and the folder holds nothing new
    assert taken.extractor.num_extracted == 0
    assert content(taken) == content(plain)


def rewrite(photos: Path, photo_bytes: Make) -> None:
    """What happens to a folder: moved, deleted, changed, copied, turned, mended and tagged files."""
    (photos / "photo 0.jpg").rename(photos / "sub" / "moved.jpg")
    (photos / "photo 1.jpg").unlink()
    (photos / "photo 3.jpg").write_bytes(photo_bytes(40))
    (photos / "photo 4.jpg").write_bytes(photo_bytes(4) + b"more bytes, the same pixels")
    shutil.copy(photos / "photo 5.jpg", photos / "another copy.jpg")
    (photos / "photo 5.jpg").write_bytes(photo_bytes(41))
    (photos / "broken.jpg").write_bytes(photo_bytes(42))
    (photos / "film.mp4").unlink()
    (photos / "photo 2.xmp").write_text(XMP.format(tag="hound"))
    (photos / "sub" / "deep" / "photo 8.txt").write_text("river")


@pytest.mark.parametrize("again", ["a new folder of shards", "the same folder of shards"])
def test_a_project_that_knows_the_photos_takes_changes_as_an_ingest_does(
    make_ingesting: Make, embed: Make, photos: Path, photo_bytes: Make, tmp_path: Path, again: str
) -> None:
    plain, taken = make_ingesting(tmp_path / "plain"), make_ingesting(tmp_path / "taken")
    plain.run(photos)
    embed(photos)
    taken.run(checked(tmp_path / "shards"))
    rewrite(photos, photo_bytes)
    folder = tmp_path / ("shards" if again.startswith("the same") else "new shards")
    embed(photos, folder)
    plain_progress, progress = plain.run(photos), taken.run(checked(folder))
    assert (progress.num_new, progress.num_changed) == (plain_progress.num_new, plain_progress.num_changed)
    assert plain_progress.num_changed
    assert content(taken) == content(plain)


def test_photos_that_another_folder_has_too_are_known_by_bytes_and_by_pixels(
    make_ingesting: Make, embed: Make, photos: Path, photo_bytes: Make, write_photos: Make, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    write_photos(other, [1, 3, 50])
    (other / "rewritten.jpg").write_bytes(photo_bytes(2) + b"the same pixels")
    (other / "photo 3.txt").write_text("lake")
    plain, taken = make_ingesting(tmp_path / "plain"), make_ingesting(tmp_path / "taken")
    embed(photos)
    for ingesting in (plain, taken):
        ingesting.run(other)
    plain.run(photos)
    assert taken.run(checked(tmp_path / "shards")).num_new == 8
    assert content(taken) == content(plain)


def test_a_project_inside_of_the_folder_is_left_out(make_ingesting: Make, embed: Make, photos: Path) -> None:
    taken = make_ingesting(photos / "project")
    shutil.copy(photos / "photo 1.jpg", photos / "project" / "page.jpg")
    embed(photos)
    taken.run(checked(photos.parent / "shards"))
    assert "project/page.jpg" not in taken.paths()


def test_each_photo_is_once_in_the_shards_and_unreadable_files_have_a_table(
    embed: Make, photos: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet

    embed(photos)
    rows = data_rows(tmp_path / "shards")
    assert len(rows) == len(set(rows)) == 11
    listed = pyarrow.parquet.read_table(tmp_path / "shards" / "unreadable.parquet").to_pylist()
    reasons = {row["path"]: row["reason"] for row in listed}
    assert reasons.keys() == {"broken.jpg", "empty.jpg", "film.mp4", "gone.jpg"}
    assert "0 bytes" in reasons["empty.jpg"]
    assert not [name for name in os.listdir(tmp_path / "shards") if name.startswith(".")]  # no part of a file


class InterruptedRunError(Exception):
    """Ends a run in the middle."""


class Fragile(LocalEngine):
    """An engine that ends after so many files."""

    left = 0

    def run(self, files: Sequence[FoundFile], is_known: Callable[[str], bool]) -> Iterator[FileRead]:
        for file in super().run(files, is_known):
            if not self.left:
                raise InterruptedRunError
            self.left -= 1
            yield file


@pytest.mark.parametrize("num_files", [0, 3, 4, 9, 13])
def test_a_run_that_was_ended_goes_on_after_the_last_whole_shard(
    make_ingesting: Make, embed: Make, photos: Path, tmp_path: Path, num_files: int
) -> None:
    extractor = embed.extractor  # type: ignore[attr-defined]
    engine = Fragile(FolderPhotos(photos), lambda: extractor, CONFIG)
    engine.left = num_files
    with pytest.raises(InterruptedRunError):
        embed(photos, engine=engine)
    with pytest.raises(ShardError, match="not complete"):
        checked(tmp_path / "shards")
    num_readable = len(data_rows(tmp_path / "shards"))
    before = extractor.num_extracted
    summary = embed(photos)
    assert extractor.num_extracted - before == 11 - num_readable
    rows = data_rows(tmp_path / "shards")
    assert len(rows) == len(set(rows)) == summary.num_photos == 11
    plain, taken = make_ingesting(tmp_path / "plain"), make_ingesting(tmp_path / "taken")
    plain.run(photos)
    taken.run(checked(tmp_path / "shards"))
    assert content(taken) == content(plain)


def test_a_second_run_reads_only_what_could_not_be_read(embed: Make, photos: Path, tmp_path: Path) -> None:
    embed(photos)
    shards = {path.name: path.read_bytes() for path in (tmp_path / "shards").iterdir()}
    before = embed.extractor.num_extracted  # type: ignore[attr-defined]
    assert embed(photos).num_read == 2
    assert embed.extractor.num_extracted == before  # type: ignore[attr-defined]
    assert {path.name: path.read_bytes() for path in (tmp_path / "shards").iterdir()} == shards


def test_only_the_photos_of_a_deleted_shard_are_read_again(
    make_ingesting: Make, embed: Make, photos: Path, tmp_path: Path
) -> None:
    embed(photos)
    # It holds the data of photo 1, whose copy is in a later shard.
    (tmp_path / "shards" / "shard-00000.parquet").unlink()
    with pytest.raises(ShardError, match=r"shard-00000\.parquet is missing"):
        checked(tmp_path / "shards")
    before = embed.extractor.num_extracted  # type: ignore[attr-defined]
    embed(photos)
    assert embed.extractor.num_extracted - before == 4  # type: ignore[attr-defined]
    rows = data_rows(tmp_path / "shards")
    assert len(rows) == len(set(rows)) == 11
    plain, taken = make_ingesting(tmp_path / "plain"), make_ingesting(tmp_path / "taken")
    plain.run(photos)
    taken.run(checked(tmp_path / "shards"))
    assert content(taken) == content(plain)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def foreign(path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.jpg"]}), path)


@pytest.mark.parametrize("name", ["shard-00001.parquet", "files.parquet", "unreadable.parquet"])
@pytest.mark.parametrize("damage", [cut, flip, foreign, Path.unlink])
def test_a_table_that_is_cut_changed_foreign_or_missing_is_refused(
    embed: Make, photos: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    embed(photos)
    damage(tmp_path / "shards" / name)
    with pytest.raises(ShardError, match=f"{name} is missing, or not as `annotator embed` wrote it"):
        checked(tmp_path / "shards")


def test_a_table_that_is_not_of_the_shards_is_refused(embed: Make, photos: Path, tmp_path: Path) -> None:
    embed(photos)
    foreign(tmp_path / "shards" / "shard-00007.parquet")
    with pytest.raises(ShardError, match=r"shard-00007\.parquet does not belong to these shards"):
        checked(tmp_path / "shards")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-30], "cut short or damaged"),
        (lambda text: "[1, 2]", "not a manifest"),
        (lambda text: '{"format": "another"}', "not a manifest"),
        (lambda text: text.replace('"is_complete": true', '"is_complete": false'), "was changed"),
        (lambda text: text.replace("colour_grid-1", "colour_grid-2"), "was changed"),
        (
            lambda text: json.dumps(with_digest({**without_digest(json.loads(text))[0], "version": 9})),
            "version 9, newer",
        ),
        (lambda text: json.dumps(without_digest(json.loads(text))[0]), "was changed"),
    ],
)
def test_a_manifest_that_is_cut_changed_or_foreign_is_refused(
    embed: Make, photos: Path, tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    embed(photos)
    path = tmp_path / "shards" / "manifest.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ShardError, match=message):
        checked(tmp_path / "shards")


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(photos: Path, embed: Make) -> None:
    with pytest.raises(ShardError, match="holds no shards"):
        checked(photos)
    names = sorted(os.listdir(photos))
    with pytest.raises(ShardError, match="not empty and holds no shards"):
        embed(photos, photos)
    assert sorted(os.listdir(photos)) == names


@pytest.mark.parametrize(
    "values", [{"root": "/elsewhere"}, {"backbone_label": "colour_grid-2"}, {"thumbnail_size": 99}]
)
def test_a_run_with_other_photos_or_another_network_does_not_go_on(
    embed: Make, photos: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    embed(photos)
    about = replace(about_of(photos, embed.extractor), **values)  # type: ignore[attr-defined]
    with pytest.raises(ShardError, match="Name another folder"):
        ShardFolder.open_or_create(tmp_path / "shards", about)


def test_a_path_out_of_the_root_is_refused_even_with_right_digests(embed: Make, photos: Path, tmp_path: Path) -> None:
    embed(photos)
    shards = ShardFolder.open(tmp_path / "shards")
    files = shards.files()
    for bad in (
        replace(files[0], path="../x.jpg"),
        replace(files[0], path="/x.jpg"),
        replace(files[0], content_hash="../x"),
    ):
        shards.finish([bad, *files[1:]], shards.unreadable())
        with pytest.raises(ShardError, match="which no run of `annotator embed` writes"):
            checked(tmp_path / "shards")


def test_the_list_of_files_must_fit_the_shards(make_ingesting: Make, embed: Make, photos: Path, tmp_path: Path) -> None:
    embed(photos)
    shards = ShardFolder.open(tmp_path / "shards")
    first, second, *rest = [file for file in shards.files() if file.content_hash]
    shards.finish([replace(first, data_shard=second.data_shard, data_row=second.data_row), second, *rest], [])
    with pytest.raises(ShardError, match="differ about"):
        make_ingesting().run(checked(tmp_path / "shards"))


def test_features_in_shards_are_those_of_the_network(embed: Make, photos: Path, tmp_path: Path) -> None:
    from PIL import Image

    embed(photos)
    source = checked(tmp_path / "shards")
    given = source.open("photo 2.jpg").decode(0).network_input(lambda: pytest.fail("no network is needed"))
    extractor = embed.extractor  # type: ignore[attr-defined]
    with Image.open(photos / "photo 2.jpg") as image:
        expected = extractor.extract(np.stack([extractor.preprocess(image)]))[0]
    np.testing.assert_array_equal(given.vector, expected)
