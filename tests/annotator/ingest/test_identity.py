"""Which image a file belongs to, after other programs have written, moved, copied, turned and edited photos."""

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from annotator.datasets.image_folder import content_hash
from annotator.ingest.digest_pass import DigestPass
from annotator.ingest.pictures import Pictures
from annotator.ingest.renditions import decoded_side
from annotator.settings import IngestConfig
from annotator.storage.photo_places import NOT_MOUNTED, PhotoFolders

Make = Callable[..., Any]
WritePhotos = Callable[..., list[Path]]
PhotoBytes = Callable[..., bytes]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def with_comment(data: bytes, text: str) -> bytes:
    """Return a JPEG with a comment: other bytes, the same pixels."""
    comment = text.encode()
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


def with_exif(data: bytes, tag: int, value: object) -> bytes:
    """Return a JPEG with one EXIF tag, its compressed pixels untouched."""
    exif = Image.Exif()
    exif[tag] = value
    block = exif.tobytes()
    return data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]


def repaint(path: Path) -> None:
    """Paint over a photo's corner, as an editor does."""
    with Image.open(path) as image:
        edited = image.convert("RGB")
    edited.paste((255, 0, 0), (0, 0, 50, 40))
    edited.save(path, quality=92)


def later(path: Path) -> None:
    """Let a file be newer than it is, also where the clock of the disk is coarse."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def test_another_program_writing_metadata_leaves_a_photo_the_same(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    path, other = write_photos(photos, range(2))
    ingesting = make_ingesting()
    ingesting.run(photos)
    path.write_bytes(with_comment(path.read_bytes(), "written by another program"))
    progress = ingesting.run(photos)
    assert (progress.num_new, progress.num_changed) == (0, 0)
    assert ingesting.paths() == {"photo 0.jpg": 1, "photo 1.jpg": 2}
    assert ingesting.extractor.num_extracted == 2
    assert ingesting.store.images.entry(1).changed_at is None
    # Its bytes can be shown, and a run later nothing is read again.
    assert Pictures(ingesting.project, ingesting.store).read(1) == path.read_bytes()
    assert ingesting.run(photos).num_new == 0
    shutil.move(path, photos / "moved.jpg")
    assert ingesting.run(photos).num_new == 0
    assert ingesting.paths() == {"moved.jpg": 1, "photo 1.jpg": 2}
    del other


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_pixels_written_again_in_another_way_are_the_same_photo(
    make_ingesting: Make, photos: Path, photo_bytes: PhotoBytes, format: str
) -> None:
    path = photos / f"photo.{format.lower()}"
    path.write_bytes(photo_bytes(3, format, lossless=True))
    ingesting = make_ingesting()
    ingesting.run(photos)
    with Image.open(path) as image:
        pixels = image.convert("RGB")
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "hello")
    options: dict[str, dict[str, Any]] = {
        "PNG": {"pnginfo": text, "compress_level": 1}, "TIFF": {"compression": "tiff_lzw"},
        "WEBP": {"lossless": True, "method": 0, "quality": 0},
    }  # fmt: skip
    pixels.save(photos / f"elsewhere.{format.lower()}", format, **options[format])
    path.unlink()
    assert ingesting.run(photos).num_new == 0
    assert ingesting.paths() == {f"elsewhere.{format.lower()}": 1}


def test_written_and_moved_at_once_is_the_same_photo(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    paths = write_photos(photos, range(3))
    ingesting = make_ingesting()
    ingesting.run(photos)
    (photos / "sorted").mkdir()
    (photos / "sorted" / "best.jpg").write_bytes(with_comment(paths[1].read_bytes(), "5 stars"))
    paths[1].unlink()
    assert ingesting.run(photos).num_new == 0
    assert ingesting.paths() == {"photo 0.jpg": 1, "photo 2.jpg": 3, "sorted/best.jpg": 2}
    assert ingesting.store.images.entry(2).path_words == ("sorted", "best")


def test_a_photo_whose_pixels_changed_keeps_its_id_and_is_said_to_have_changed(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    path, _ = write_photos(photos, range(2))
    ingesting = make_ingesting()
    ingesting.run(photos)
    before, vector = ingesting.store.images.entry(1), ingesting.features.vectors([1])
    repaint(path)
    progress = ingesting.run(photos)
    assert (progress.num_new, progress.num_changed, progress.num_found, progress.num_done) == (0, 1, 2, 2)
    after = ingesting.store.images.entry(1)
    assert after.changed_at is not None
    assert (after.content_hash, after.shown_hash) == (before.content_hash, content_hash(path.read_bytes()))
    assert not np.array_equal(ingesting.features.vectors([1]), vector)
    assert ingesting.store.rows("SELECT count(*) FROM features WHERE image_id = 1") == [(1,)]
    assert ingesting.project.thumbnail_path(after.version).is_file()
    assert Pictures(ingesting.project, ingesting.store).read(1) == path.read_bytes()
    ingesting.store.close()
    again = make_ingesting()
    assert (again.run(photos).num_changed, again.extractor.num_extracted) == (0, 0)
    # The features of the edited photo are those that the next start reads.
    assert np.array_equal(again.features.vectors([1]), ingesting.features.vectors([1]))


def test_a_photo_that_is_put_back_as_it_was_has_not_changed(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    (path,) = write_photos(photos, [0])
    first = path.read_bytes()
    ingesting = make_ingesting()
    ingesting.run(photos)
    repaint(path)
    ingesting.run(photos)
    path.write_bytes(first)
    later(path)
    ingesting.run(photos)
    entry = ingesting.store.images.entry(1)
    assert (entry.changed_at, entry.shown_hash) == (None, None)
    assert ingesting.paths() == {"photo 0.jpg": 1}
    assert Pictures(ingesting.project, ingesting.store).read(1) == first


def test_a_new_photo_under_an_old_name_is_new_if_the_old_one_was_moved(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, photo_bytes: PhotoBytes
) -> None:
    """A camera that counts from 1 again: IMG_1 was put away under a name that is read after it."""
    (path,) = write_photos(photos, [0])
    ingesting = make_ingesting()
    ingesting.run(photos)
    (photos / "put away").mkdir()
    path.rename(photos / "put away" / "z.jpg")
    path.write_bytes(photo_bytes(4))
    assert ingesting.run(photos).num_new == 1
    assert ingesting.paths() == {"photo 0.jpg": 2, "put away/z.jpg": 1}
    assert ingesting.store.images.entry(1).changed_at is None


def test_a_photo_that_replaces_a_removed_one_leaves_it_its_last_known_name(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, photo_bytes: PhotoBytes
) -> None:
    path, _ = write_photos(photos, range(2))
    ingesting = make_ingesting()
    ingesting.run(photos)
    path.unlink()
    ingesting.run(photos)
    path.write_bytes(photo_bytes(4))
    assert ingesting.run(photos).num_new == 1
    assert ingesting.paths() == {"photo 0.jpg": 3, "photo 1.jpg": 2}
    assert ingesting.store.images.paths(1) == []
    assert ingesting.store.images.file_names()[1][1] == "photo 0.jpg"


def test_two_photos_that_exchange_their_names_keep_their_tags(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    one, two = write_photos(photos, range(2))
    ingesting = make_ingesting()
    ingesting.run(photos)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(with_comment(second, "x"))
    two.write_bytes(with_comment(first, "y"))
    assert ingesting.run(photos).num_new == 0
    assert ingesting.paths() == {"photo 0.jpg": 2, "photo 1.jpg": 1}


def test_an_edited_copy_is_a_photo_of_its_own_while_the_other_copy_is_there(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    (path,) = write_photos(photos, [0])
    copy = photos / "copy.jpg"
    shutil.copy(path, copy)
    ingesting = make_ingesting()
    ingesting.run(photos)
    repaint(copy)
    assert ingesting.run(photos).num_new == 1
    assert ingesting.paths() == {"copy.jpg": 2, "photo 0.jpg": 1}
    assert ingesting.store.images.entry(1).changed_at is None


def test_a_photo_turned_by_its_metadata_is_shown_upright_and_has_not_changed(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    (path,) = write_photos(photos, [0])
    ingesting = make_ingesting()
    ingesting.run(photos)
    was = ingesting.store.images.entry(1)
    path.write_bytes(with_exif(path.read_bytes(), 0x0112, 6))
    progress = ingesting.run(photos)
    assert (progress.num_new, progress.num_changed) == (0, 0)
    now = ingesting.store.images.entry(1)
    assert (now.width, now.height, now.orientation) == (was.height, was.width, 6)
    assert (now.pixel_digest, now.changed_at) == (was.pixel_digest, None)
    with Image.open(ingesting.project.thumbnail_path(now.version)) as thumbnail:
        assert thumbnail.size == (80, 96)
    assert Pictures(ingesting.project, ingesting.store).read(1) == path.read_bytes()


def test_a_run_that_is_stopped_before_it_decides_decides_the_next_time(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    path, _ = write_photos(photos, range(2))
    ingesting = make_ingesting()
    ingesting.run(photos)
    repaint(path)
    settle = ingesting.ingest._settle
    ingesting.ingest._settle = lambda todo: (_ for _ in ()).throw(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        ingesting.run(photos)
    assert ingesting.paths() == {"photo 0.jpg": 1, "photo 1.jpg": 2}
    ingesting.ingest._settle = settle
    assert ingesting.run(photos).num_changed == 1


def test_a_photo_that_was_read_while_it_was_being_written_has_changed(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    path, _ = write_photos(photos, range(2))
    path.with_suffix(".txt").write_text("zebra")
    whole = path.read_bytes()
    ingesting = make_ingesting()
    ingesting.run(photos)
    path.write_bytes(whole[:200])
    ingesting.run(photos)
    assert ingesting.reasons().keys() == {"photo 0.jpg"}
    path.write_bytes(whole)
    repaint(path)
    path.with_suffix(".txt").write_text("zebra, lion")
    progress = ingesting.run(photos)
    assert (progress.num_new, progress.num_changed) == (0, 1)
    assert ingesting.paths() == {"photo 0.jpg": 1, "photo 1.jpg": 2}
    assert ingesting.reasons() == {}
    assert ingesting.store.images.entry(1).user_tags == ("zebra", "lion")


def test_a_sidecar_that_changed_while_its_photo_could_not_be_read_is_read_with_it(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    (path,) = write_photos(photos, [0])
    whole = path.read_bytes()
    ingesting = make_ingesting()
    ingesting.run(photos)
    path.write_bytes(whole[:200])
    path.with_suffix(".txt").write_text("zebra")
    ingesting.run(photos)
    path.write_bytes(whole)
    assert ingesting.run(photos).num_new == 0
    assert ingesting.store.images.entry(1).user_tags == ("zebra",)


def test_of_two_old_photos_with_equal_pixels_each_keeps_its_path(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions without digests added a photo again whose metadata differed; people tagged both."""
    (one,) = write_photos(photos, [0])
    other = photos / "photo 1.jpg"
    ingesting = make_ingesting()
    ingesting.run(photos)
    with monkeypatch.context() as older:
        older.setattr(ingesting.ingest._known, "by_pixels", lambda digest: None)
        other.write_bytes(with_comment(one.read_bytes(), "first"))
        ingesting.run(photos)
    assert ingesting.paths() == {"photo 0.jpg": 1, "photo 1.jpg": 2}
    other.write_bytes(with_comment(one.read_bytes(), "second"))
    assert ingesting.run(photos).num_new == 0
    assert ingesting.paths() == {"photo 0.jpg": 1, "photo 1.jpg": 2}
    other.write_bytes(with_exif(one.read_bytes(), 0x0112, 6))
    ingesting.run(photos)
    assert ingesting.paths() == {"photo 0.jpg": 1, "photo 1.jpg": 2}
    assert [ingesting.store.images.entry(i).orientation for i in (1, 2)] == [1, 6]
    repaint(other)
    assert ingesting.run(photos).num_changed == 1
    # The first photo is still known by the pixels that both had.
    (photos / "moved.jpg").write_bytes(with_comment(one.read_bytes(), "third"))
    one.unlink()
    assert ingesting.run(photos).num_new == 0
    assert ingesting.paths() == {"moved.jpg": 1, "photo 1.jpg": 2}


def test_a_changed_photo_is_shown_as_it_was_when_only_that_file_is_left(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    (path,) = write_photos(photos, [0])
    first = path.read_bytes()
    ingesting = make_ingesting()
    ingesting.run(photos)
    repaint(path)
    ingesting.run(photos)
    (photos / "as it was.jpg").write_bytes(first)
    assert ingesting.run(photos).num_new == 0
    pictures = Pictures(ingesting.project, ingesting.store)
    assert pictures.read(1) == path.read_bytes()
    path.unlink()
    progress = ingesting.run(photos)
    assert (progress.num_found, progress.num_done) == (1, 1)
    assert pictures.read(1) == first
    assert ingesting.store.images.entry(1).shown_hash is None
    ingesting.run(photos)
    assert ingesting.extractor.num_extracted == 3


def test_what_a_photo_no_longer_shows_is_another_photo_when_it_comes_back(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    path, copy = write_photos(photos, range(2))
    written = with_comment(path.read_bytes(), "other bytes, the same pixels")
    copy.write_bytes(written)
    ingesting = make_ingesting()
    ingesting.run(photos)
    assert ingesting.paths() == {"photo 0.jpg": 1, "photo 1.jpg": 1}
    path.unlink()
    repaint(copy)
    assert ingesting.run(photos).num_changed == 1
    path.write_bytes(written)
    assert ingesting.run(photos).num_new == 1
    assert ingesting.paths() == {"photo 0.jpg": 2, "photo 1.jpg": 1}


@pytest.mark.parametrize("is_edited", [False, True])
def test_a_photo_that_was_written_before_another_backbone_has_seen_it(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, monkeypatch: pytest.MonkeyPatch, is_edited: bool
) -> None:
    """Neither features nor digests of the two backbones can be compared: the second decodes to another side."""
    path, _ = write_photos(photos, range(2))
    first = make_ingesting()
    first.run(photos)
    was = first.store.images.entry(1).pixel_digest
    first.store.close()
    monkeypatch.setattr(type(first.extractor), "version", "other-1")
    monkeypatch.setattr(type(first.extractor), "image_size", 400)
    if is_edited:
        repaint(path)
    else:
        path.write_bytes(with_comment(path.read_bytes(), "x"))
    again = make_ingesting()
    progress = again.run(photos)
    assert (progress.num_new, progress.num_changed) == (0, int(is_edited))
    assert again.paths() == {"photo 0.jpg": 1, "photo 1.jpg": 2}
    now = again.store.images.entry(1)
    assert (now.changed_at is not None) == is_edited
    assert now.pixel_digest not in (None, was)
    assert again.features.image_ids() == [1, 2]
    assert Pictures(again.project, again.store).read(1) == path.read_bytes()
    assert again.run(photos).num_changed == 0


def test_a_photo_that_is_put_back_by_a_run_that_reads_nothing_else_has_a_digest_of_the_present_scheme(
    make_ingesting: Make, photos: Path, photo_bytes: PhotoBytes
) -> None:
    (photos / "a.jpg").write_bytes(photo_bytes(1))
    first = make_ingesting()
    first.run(photos)
    before = first.store.images.entry(1).pixel_digest
    repaint(photos / "a.jpg")
    first.run(photos)
    (photos / "as it was.jpg").write_bytes(photo_bytes(1))
    first.run(photos)
    first.store.close()
    (photos / "a.jpg").unlink()
    again = make_ingesting()  # its network is not loaded yet
    again.run(photos)
    assert again.paths() == {"as it was.jpg": 1}
    assert again.store.images.entry(1).pixel_digest == before


def without_digests(ingesting: Any) -> None:
    """Leave a project as a version before the digests did."""
    with ingesting.store.transaction() as cursor:
        cursor.execute("UPDATE images SET pixel_digest = NULL, orientation = NULL")
        cursor.execute("UPDATE paths SET sidecars = NULL")


def digest_pass(ingesting: Any) -> DigestPass:
    side = decoded_side(ingesting.extractor.image_size, IngestConfig().thumbnail_size)
    return DigestPass(ingesting.store.images, Pictures(ingesting.project, ingesting.store).read, side)


def test_an_old_project_gets_its_digests_afterwards_and_goes_on_where_it_was_stopped(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_photos(photos, range(4))
    ingesting = make_ingesting()
    ingesting.run(photos)
    wanted = {i: ingesting.store.images.entry(i).pixel_digest for i in range(1, 5)}
    without_digests(ingesting)
    monkeypatch.setattr("annotator.ingest.digest_pass.COMMIT_SECONDS", 0)
    stopped = digest_pass(ingesting)
    read = stopped._read_photo

    def read_and_stop(image_id: int) -> bytes:
        if image_id == 2:
            stopped.stop()
        return read(image_id)

    stopped._read_photo = read_and_stop
    assert stopped.run() == 2
    paths[3].write_bytes(b"damaged")
    assert digest_pass(ingesting).run() == 1
    found = {i: ingesting.store.images.entry(i).pixel_digest for i in range(1, 5)}
    assert found == wanted | {4: None}


@pytest.mark.parametrize("is_edited", [False, True])
def test_a_photo_of_an_old_project_that_was_written_before_it_had_a_digest(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, is_edited: bool
) -> None:
    (path,) = write_photos(photos, [0])
    ingesting = make_ingesting()
    ingesting.run(photos)
    without_digests(ingesting)
    if is_edited:
        repaint(path)
    else:
        path.write_bytes(with_comment(path.read_bytes(), "x"))
    assert ingesting.run(photos).num_new == 0
    entry = ingesting.store.images.entry(1)
    assert (entry.changed_at is not None) == is_edited
    assert entry.pixel_digest is not None
    assert Pictures(ingesting.project, ingesting.store).read(1) == path.read_bytes()


# Sidecars


def tags_of(ingesting: Any, image_id: int) -> tuple[str, ...]:
    tags: tuple[str, ...] = ingesting.store.images.entry(image_id).user_tags
    return tags


def test_a_sidecar_that_is_added_changed_or_removed_is_read_at_the_next_ingest(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    (path,) = write_photos(photos, [0])
    ingesting = make_ingesting()
    ingesting.run(photos)
    assert tags_of(ingesting, 1) == ()
    sidecar = path.with_suffix(".txt")
    for text in ("zebra", "lion, zebra"):
        sidecar.write_text(text)
        later(sidecar)
        ingesting.run(photos)
        assert tags_of(ingesting, 1) == tuple(text.split(", "))
    ingesting.store.close()
    again = make_ingesting()
    again.run(photos)
    assert again.store.images._version == 0  # nothing was written
    sidecar.unlink()
    again.run(photos)
    assert tags_of(again, 1) == ()
    assert again.extractor.num_extracted == 0


def test_the_same_bytes_at_two_paths_have_the_tags_of_both_sidecars(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    (first,) = write_photos(photos / "A first", [0])
    (second,) = write_photos(photos / "B second", [0])
    second.with_suffix(".txt").write_text("giraffe")
    ingesting = make_ingesting()
    assert ingesting.run(photos).num_new == 1
    assert tags_of(ingesting, 1) == ("giraffe",)
    assert ingesting.store.images.entry(1).path_words == ("first", "second")
    first.with_suffix(".json").write_text(json.dumps(["zoo"]))
    ingesting.run(photos)
    assert tags_of(ingesting, 1) == ("zoo", "giraffe")
    # A third copy later, and a kill before its sidecar is read: the next run reads it.
    (third,) = write_photos(photos / "C third", [0])
    third.with_suffix(".txt").write_text("spots")
    read_again = ingesting.ingest._read_again
    ingesting.ingest._read_again = lambda image_id: (_ for _ in ()).throw(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        ingesting.run(photos)
    ingesting.ingest._read_again = read_again
    ingesting.run(photos)
    assert tags_of(ingesting, 1) == ("zoo", "giraffe", "spots")


def test_keywords_written_into_a_known_photo_are_read(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    (path,) = write_photos(photos, [0])
    ingesting = make_ingesting()
    ingesting.run(photos)
    path.write_bytes(with_exif(path.read_bytes(), 0x010E, "A picnic by the lake"))
    ingesting.run(photos)
    assert ingesting.store.images.entry(1).caption == "A picnic by the lake"


def test_photos_moved_with_their_sidecars_are_not_decoded_again(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in write_photos(photos / "old", range(3)):
        path.with_suffix(".txt").write_text("zebra")
    ingesting = make_ingesting()
    ingesting.run(photos)
    (photos / "old").rename(photos / "new")
    monkeypatch.setattr("annotator.ingest.photo_source.decode_image", lambda *args, **options: pytest.fail("decoded"))
    ingesting.run(photos)
    assert ingesting.store.images.entry(1).path_words == ("new",)
    assert tags_of(ingesting, 3) == ("zebra",)


# Folders that are not there


def test_an_empty_or_missing_folder_is_not_mounted_and_nothing_of_it_is_forgotten(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    write_photos(photos, range(3))
    ingesting = make_ingesting()
    ingesting.run(photos)
    before = ingesting.paths()
    away = photos.with_name("away")
    photos.rename(away)
    for is_empty in (False, True):
        if is_empty:
            photos.mkdir()
        progress = ingesting.run(photos)
        assert [(item.folder, item.num_photos) for item in progress.not_mounted] == [(str(photos), 3)]
        assert ingesting.paths() == before
        assert progress.error is None
    photos.rmdir()
    # The folder was renamed: its photos are found at the new place, and the old one is not waited for.
    progress = ingesting.run(photos, away)
    assert progress.num_new == 0
    assert [root for root, _ in ingesting.store.images.paths(1)] == [photos, away]
    assert ingesting.run(photos).not_mounted == ()
    away.rename(photos)
    assert ingesting.run(photos).not_mounted == ()


def test_a_folder_of_the_project_that_was_not_asked_for_is_named_if_it_is_away(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, tmp_path: Path
) -> None:
    write_photos(photos, range(2))
    write_photos(tmp_path / "other", [1, 5, 6])
    ingesting = make_ingesting()
    ingesting.run(photos, tmp_path / "other")
    assert ingesting.run(photos).not_mounted == ()
    shutil.rmtree(tmp_path / "other")
    # One of its three photos is in the first folder too.
    assert [(item.folder, item.num_photos) for item in ingesting.run(photos).not_mounted] == [
        (str(tmp_path / "other"), 2)
    ]


def test_photos_of_two_folders_that_are_both_away_are_named_for_both(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    inner = photos / "2024"
    write_photos(inner, range(3))
    ingesting = make_ingesting()
    ingesting.run(photos, inner)
    inner.rename(photos.with_name("away"))
    for run in ([photos, inner], [photos]):
        found = [(item.folder, item.num_photos) for item in ingesting.run(*run).not_mounted]
        assert sorted(found) == [(str(photos), 3), (str(inner), 3)]
    assert ingesting.run(photos.with_name("away")).not_mounted == ()


def test_what_systems_leave_in_a_mount_point_is_no_photo(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    (path,) = write_photos(photos, [0])
    ingesting = make_ingesting()
    ingesting.run(photos)
    path.unlink()
    (photos / "lost+found").mkdir()
    (photos / "empty").mkdir()
    for name in (".DS_Store", "Thumbs.db", "not mounted.txt"):
        (photos / name).write_text("x")
    assert [item.folder for item in ingesting.run(photos).not_mounted] == [str(photos)]
    place = PhotoFolders().locate([(str(root), file.path) for root, file in ingesting.store.images.seen_files(1)])
    assert place.state == NOT_MOUNTED
    write_photos(photos / "empty", [1])
    assert PhotoFolders().is_there(str(photos))


def test_a_folder_with_only_other_photos_is_mounted(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    (path,) = write_photos(photos, [0])
    ingesting = make_ingesting()
    ingesting.run(photos)
    path.unlink()
    write_photos(photos, [7])
    assert ingesting.run(photos).not_mounted == ()
    assert ingesting.store.images.paths(1) == []
    assert ingesting.store.images.file_names()[1][1] == "photo 0.jpg"


def test_the_digest_is_of_the_stored_pixels(photo_bytes: PhotoBytes) -> None:
    from annotator.datasets.image_folder import decode_image
    from annotator.datasets.pixel_digest import orientation_of, pixel_digest

    data = photo_bytes(0)
    digests = set()
    for orientation in range(1, 9):
        decoded = decode_image(with_exif(data, 0x0112, orientation), min_side=8)
        assert orientation_of(decoded) == orientation
        digests.add(pixel_digest(decoded, 8))
    assert len(digests) == 1
    assert pixel_digest(decode_image(data, min_side=9), 9) not in digests
    with Image.open(io.BytesIO(data)) as image:
        pixels = image.convert("RGB")
    pixels.putpixel((3, 3), (1, 2, 3))
    file = io.BytesIO()
    pixels.save(file, "PNG")
    assert pixel_digest(decode_image(file.getvalue(), min_side=8), 8) not in digests
