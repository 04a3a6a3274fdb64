import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.errors import StoreError, UnreadableImageError
from annotator.models.backbones.backbone import Backbone
from annotator.storage.features import FeatureStore

Make = Callable[..., Any]
WritePhotos = Callable[..., list[Path]]
PhotoBytes = Callable[..., bytes]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def test_every_photo_becomes_an_image_with_features_thumbnail_and_metadata(
    make_ingesting: Make, demo_photos: Path
) -> None:
    ingesting = make_ingesting()
    progress = ingesting.run(demo_photos)
    assert (progress.num_found, progress.num_done, progress.num_new) == (6, 6, 6)
    assert (progress.running, progress.error) == (False, None)
    assert list(ingesting.paths()) == [
        "astronaut.png",
        "cat.png",
        "china.jpg",
        "coffee.png",
        "flower.jpg",
        "rocket.jpg",
    ]
    assert ingesting.features.image_ids() == [1, 2, 3, 4, 5, 6]
    cat = ingesting.store.images.entry(2)
    assert (cat.width, cat.height, cat.format, cat.path_words) == (451, 300, "PNG", ("cat",))
    with Image.open(ingesting.project.thumbnail_path(cat.content_hash)) as thumbnail:
        assert thumbnail.size == (320, 213)
    crop = ingesting.extractor.preprocess(Image.open(demo_photos / "cat.png"))
    expected = ingesting.extractor.extract(np.stack([crop]))
    np.testing.assert_allclose(ingesting.features.vectors([2]), expected, atol=3)


def test_a_second_run_reads_nothing_again(make_ingesting: Make, write_photos: WritePhotos, photos: Path) -> None:
    write_photos(photos, range(10))
    first = make_ingesting()
    first.run(photos)
    first.store.close()
    again = make_ingesting()
    for opened in (again, again):
        progress = opened.run(photos)
        assert (progress.num_found, progress.num_done, progress.num_new) == (10, 10, 0)
    assert first.extractor.num_extracted == 10
    assert again.extractor.num_extracted == 0
    assert again.commits == []


def test_the_same_photo_under_two_paths_is_one_image(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    (path,) = write_photos(photos, [1])
    (photos / "sub").mkdir()
    shutil.copy(path, photos / "copy.jpg")
    shutil.copy(path, photos / "sub" / "copy.jpg")
    ingesting = make_ingesting()
    assert ingesting.run(photos).num_new == 1
    assert ingesting.paths() == {"copy.jpg": 1, "photo 1.jpg": 1, "sub/copy.jpg": 1}
    assert ingesting.extractor.num_extracted == 1
    shutil.copy(path, photos / "later.jpg")
    assert ingesting.run(photos).num_new == 0
    assert ingesting.paths()["later.jpg"] == 1
    assert ingesting.extractor.num_extracted == 1


def test_a_moved_photo_is_found_by_its_content(make_ingesting: Make, write_photos: WritePhotos, photos: Path) -> None:
    paths = write_photos(photos, range(3))
    ingesting = make_ingesting()
    ingesting.run(photos)
    before = ingesting.paths()
    (photos / "moved").mkdir()
    paths[1].rename(photos / "moved" / "other name.jpg")
    assert ingesting.run(photos).num_new == 0
    after = ingesting.paths()
    assert after.pop("moved/other name.jpg") == before.pop("photo 1.jpg")
    assert after == before
    assert ingesting.extractor.num_extracted == 3


def test_a_vanished_photo_loses_its_path_and_keeps_its_image(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    paths = write_photos(photos, range(2))
    ingesting = make_ingesting()
    ingesting.run(photos)
    paths[0].unlink()
    ingesting.run(photos)
    assert ingesting.paths() == {"photo 1.jpg": 2}
    assert set(ingesting.store.images.file_names()) == {1, 2}
    paths[0].write_bytes(paths[1].read_bytes())
    ingesting.run(photos)
    assert ingesting.paths() == {"photo 0.jpg": 2, "photo 1.jpg": 2}


def test_photos_in_a_folder_that_cannot_be_listed_now_are_not_forgotten(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(photos / "drive", range(2))
    write_photos(photos, [2])
    ingesting = make_ingesting()
    ingesting.run(photos)
    before = ingesting.paths()
    scandir = os.scandir

    def failing(path: Any) -> Any:
        if Path(path).name == "drive":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", failing)
        ingesting.run(photos)
    assert ingesting.reasons() == {"drive": "The folder could not be listed: permission denied."}
    assert {path: image for path, image in ingesting.paths().items() if image} == before
    ingesting.run(photos)
    assert ingesting.paths() == before
    photos.rename(photos.with_name("unplugged"))
    ingesting.run(photos)
    assert {path: image for path, image in ingesting.paths().items() if image} == before


def test_two_folders_share_images_and_each_keeps_its_paths(
    make_ingesting: Make, write_photos: WritePhotos, tmp_path: Path
) -> None:
    write_photos(tmp_path / "a", [1, 2])
    write_photos(tmp_path / "b", [2, 3])
    ingesting = make_ingesting()
    progress = ingesting.run(tmp_path / "a", tmp_path / "b")
    assert (progress.num_found, progress.num_done, progress.num_new) == (4, 4, 3)
    assert len(ingesting.store.images.roots()) == 2
    assert [str(root / path) for root, path in ingesting.store.images.paths(2)] == [
        str(tmp_path / "a" / "photo 2.jpg"),
        str(tmp_path / "b" / "photo 2.jpg"),
    ]
    (tmp_path / "b" / "photo 2.jpg").unlink()
    ingesting.run(tmp_path / "b")
    assert len(ingesting.store.images.paths(2)) == 1


def png_that_claims(width: int, height: int, data: bytes) -> bytes:
    """A PNG with another size in its header and the checksum that fits."""
    import zlib

    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + data[24:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


def test_files_that_are_no_photos_are_listed_with_reasons_and_stop_nothing(
    make_ingesting: Make, photos: Path, photo_bytes: PhotoBytes
) -> None:
    jpeg, png = photo_bytes(1), photo_bytes(2, "PNG")
    files = {
        "empty.jpg": (b"", "empty (0 bytes)"),
        "page.jpg": (b"<!doctype html><script>alert(1)</script>", "web page"),
        "text.png": (b"hello", "text file"),
        "zeros.jpg": (bytes(5000), "zeros"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "truncated.png": (png[: len(png) // 2], "truncated"),
        "bomb.png": (png_that_claims(60_000, 60_000, png), "megapixels"),
        "broken.png": (png[:60] + bytes(400) + png[460:], "damaged"),
        "head.gif": (b"GIF89a", "GIF"),
        "drawing.jpg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        "noise.webp": (b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(range(256)), "WEBP"),
        "noise.tif": (b"II*\0" + bytes(range(200)), "TIFF"),
        "noise.bmp": (b"BM" + bytes(range(200)), "BMP"),
    }
    for name, (data, _) in files.items():
        (photos / name).write_bytes(data)
    (photos / "dangling.jpg").symlink_to(photos / "nowhere.jpg")
    (photos / "outside.jpg").symlink_to("/etc/hostname")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "good.jpg").write_bytes(jpeg)
    (photos / "notes.txt").write_text("not even looked at")
    ingesting = make_ingesting()
    progress = ingesting.run(photos)
    assert (progress.num_new, progress.error) == (1, None)
    assert progress.num_done == progress.num_found == len(files) + 1
    reasons = ingesting.reasons()
    expected = {name: word for name, (_, word) in files.items()}
    expected |= {"dangling.jpg": "not there", "outside.jpg": "outside"}
    assert reasons.keys() == expected.keys()
    for name, word in expected.items():
        assert word in reasons[name], (name, reasons[name])
        assert reasons[name].endswith(".")
        assert str(photos) not in reasons[name]
    (photos / "empty.jpg").write_bytes(photo_bytes(3))
    assert ingesting.run(photos).num_new == 1
    assert "empty.jpg" not in ingesting.reasons()


def test_what_could_not_be_read_is_tried_again(
    make_ingesting: Make, photos: Path, photo_bytes: PhotoBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "a.jpg").write_bytes(photo_bytes(1))
    ingesting = make_ingesting()

    def refuse(data: bytes, **options: Any) -> None:
        raise UnreadableImageError("A package is missing.")

    with monkeypatch.context() as patch:
        patch.setattr("annotator.ingest.photo_source.decode_image", refuse)
        assert ingesting.run(photos).num_new == 0
        assert ingesting.reasons() == {"a.jpg": "A package is missing."}
    assert ingesting.run(photos).num_new == 1
    assert ingesting.reasons() == {}


def test_types_that_are_not_read_are_counted_until_the_files_are_gone(
    make_ingesting: Make, photos: Path, photo_bytes: PhotoBytes
) -> None:
    for name in ("a.mp4", "b.MP4", "c.psd", "empty.jpg", "notes.txt"):
        (photos / name).write_bytes(b"")
    (photos / "good.jpg").write_bytes(photo_bytes(1))
    ingesting = make_ingesting()
    assert ingesting.run(photos).num_new == 1
    assert ingesting.store.images.unread_types() == {"video (.mp4)": 2, "layered picture (.psd)": 1, "JPEG": 1}
    (photos / "a.mp4").unlink()
    (photos / "c.psd").unlink()
    ingesting.run(photos)
    assert ingesting.store.images.unread_types() == {"video (.mp4)": 1, "JPEG": 1}


def test_hierarchical_keywords_are_kept_whole(make_ingesting: Make, photos: Path, photo_bytes: PhotoBytes) -> None:
    (photos / "a.jpg").write_bytes(photo_bytes(1))
    (photos / "a.xmp").write_text(
        "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns:d='http://www.digikam.org/ns/1.0/'>"
        "<rdf:Description><d:TagsList><rdf:Seq><rdf:li>animal/dog</rdf:li></rdf:Seq></d:TagsList></rdf:Description>"
        "</rdf:RDF>"
    )
    ingesting = make_ingesting()
    ingesting.run(photos)
    entry = ingesting.store.images.entry(1)
    assert (entry.keywords, entry.hierarchies) == (("dog",), ("animal|dog",))


def test_a_raw_photo_and_its_jpeg_are_one_photo_with_the_sidecars_of_both(
    make_ingesting: Make, photos: Path, photo_bytes: PhotoBytes
) -> None:
    (photos / "a.jpg").write_bytes(photo_bytes(1))
    (photos / "a.CR2").write_bytes(b"II*\0 sensor values")
    (photos / "a.CR2.xmp").write_text(
        "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns:dc='http://purl.org/dc/elements/1.1/'>"
        "<rdf:Description dc:subject='dog'/></rdf:RDF>"
    )
    ingesting = make_ingesting()
    assert ingesting.run(photos).num_new == 1
    assert ingesting.paths() == {"a.jpg": 1}
    assert ingesting.store.images.entry(1).keywords == ("dog",)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 3000), (3000, 1), (2, 2)], ids=["dot", "upright line", "line", "four pixels"]
)
def test_photos_of_any_shape_pass_through_the_real_backbone(
    make_ingesting: Make, photos: Path, backbone: Backbone, size: tuple[int, int]
) -> None:
    Image.new("RGB", size, (200, 30, 30)).save(photos / "odd.png")
    ingesting = make_ingesting()
    ingesting.extractor.image_size = backbone.image_size
    ingesting.extractor.preprocess = backbone.preprocess
    ingesting.extractor.extract = lambda batch: np.zeros((len(batch), 48), np.float32)
    ingesting.run(photos)
    assert ingesting.reasons() == {}
    assert (ingesting.store.images.entry(1).width, ingesting.store.images.entry(1).height) == size


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_a_name_that_is_not_utf_8_is_listed_and_stops_nothing(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, photo_bytes: PhotoBytes
) -> None:
    write_photos(photos, [1])
    (photos / os.fsdecode(b"caf\xe9.jpg")).write_bytes(photo_bytes(2))
    write_photos(photos / os.fsdecode(b"f\xfcr"), [3])
    ingesting = make_ingesting()
    for _ in range(2):
        ingesting.run(photos)
        assert ingesting.paths() == {"photo 1.jpg": 1, "caf\ufffd.jpg": None, "f\ufffdr/photo 3.jpg": None}
    assert set(ingesting.reasons().values()) == {"Its name is not valid UTF-8. Rename it."}
    (photos / os.fsdecode(b"caf\xe9.jpg")).rename(photos / "café.jpg")
    ingesting.run(photos)
    assert ingesting.paths()["café.jpg"] == 2
    assert "caf\ufffd.jpg" not in ingesting.paths()


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE images; --.jpg", "<img onerror=alert(1)>.jpg", "a\nb.jpg", "🐈 كلب.jpg"]
)
def test_any_file_name_is_kept_as_it_is(make_ingesting: Make, photos: Path, photo_bytes: PhotoBytes, name: str) -> None:
    (photos / name).write_bytes(photo_bytes(1))
    ingesting = make_ingesting()
    ingesting.run(photos)
    assert ingesting.paths() == {name: 1}
    assert ingesting.run(photos).num_new == 0


def test_keywords_and_sidecars_are_kept(make_ingesting: Make, write_photos: WritePhotos, photos: Path) -> None:
    write_photos(photos / "beach", [1])
    (photos / "beach" / "photo 1.txt").write_text("sea, sand")
    ingesting = make_ingesting()
    ingesting.run(photos)
    entry = ingesting.store.images.entry(1)
    assert entry.user_tags == ("sea", "sand")
    assert "beach" in entry.path_words
    assert ingesting.store.images.metadata_words() == [(1, ["sea", "sand"], list(entry.path_words), None)]


def test_commits_are_reported_at_once_small_ones_first(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    write_photos(photos, range(40))
    ingesting = make_ingesting(batch_size=16)
    ingesting.run(photos)
    sizes = [len(images) for images, _ in ingesting.commits]
    assert sizes == [4, 8, 16, 12]
    ids = [image.image_id for images, _ in ingesting.commits for image in images]
    assert ids == list(range(1, 41))
    for images, paths in ingesting.commits:
        assert {image.image_id for image in images} == {seen.image_id for seen in paths}
        for image in images:
            np.testing.assert_array_equal(ingesting.features.vectors([image.image_id])[0], image.vector)


def test_progress_only_grows_and_ends_complete(make_ingesting: Make, write_photos: WritePhotos, photos: Path) -> None:
    write_photos(photos, range(30))
    ingesting = make_ingesting(batch_size=4)
    seen = []
    real_extract = ingesting.extractor.extract

    def slow_extract(batch: np.ndarray) -> np.ndarray:
        time.sleep(0.05)
        seen.append(ingesting.ingest.progress)
        return real_extract(batch)

    ingesting.extractor.extract = slow_extract
    assert asdict(ingesting.ingest.progress)["running"] is False
    last = ingesting.run(photos)
    done = [progress.num_done for progress in seen]
    assert done == sorted(done)
    assert all(progress.running and progress.num_found == 30 for progress in seen)
    assert seen[-1].photos_per_second > 0
    assert seen[-1].seconds_left is not None
    assert (last.num_done, last.num_new, last.running, last.seconds_left) == (30, 30, False, None)


def test_a_stopped_run_says_so_forgets_nothing_and_goes_on_later(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    paths = write_photos(photos, range(20))
    first = make_ingesting(batch_size=4)
    real_extract = first.extractor.extract

    def extract_and_stop(batch: np.ndarray) -> np.ndarray:
        first.ingest.stop()
        return real_extract(batch)

    first.extractor.extract = extract_and_stop
    progress = first.run(photos)
    assert progress.error == "The run was interrupted."
    assert progress.num_new == 4
    first.store.close()
    paths[0].unlink()
    again = make_ingesting()
    assert again.run(photos).error is None
    assert again.extractor.num_extracted == 16
    assert len(again.paths()) == 19


def test_features_missing_for_known_images_are_computed_without_new_images(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path
) -> None:
    write_photos(photos, range(5))
    first = make_ingesting()
    first.run(photos)
    with first.store.transaction() as cursor:
        cursor.execute("DELETE FROM features WHERE image_id IN (2, 4)")
    first.store.close()
    again = make_ingesting()
    assert again.run(photos).num_new == 0
    assert again.extractor.num_extracted == 2
    assert again.features.image_ids() == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(again.features.vectors([1, 2, 3, 4, 5]), first.features.vectors([1, 2, 3, 4, 5]))


def test_a_full_disk_ends_the_run_with_a_sentence_and_the_next_run_goes_on(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(photos, range(12))
    ingesting = make_ingesting(batch_size=4)
    append, calls = FeatureStore.append, []

    def failing(store: FeatureStore, vectors: np.ndarray) -> list[int]:
        calls.append(len(vectors))
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return append(store, vectors)

    monkeypatch.setattr(FeatureStore, "append", failing)
    with pytest.raises(StoreError, match=r"The ingest stopped: No space left on device\. What was done is kept"):
        ingesting.run(photos)
    assert "No space left" in (ingesting.ingest.progress.error or "")
    assert ingesting.ingest.progress.running is False
    assert len(ingesting.paths()) == 4
    progress = ingesting.run(photos)
    assert (progress.num_new, progress.error) == (8, None)
    assert sorted(ingesting.paths().values()) == list(range(1, 13))


KILLED = """
import os, random, signal, sys, threading, time
from pathlib import Path
import numpy as np
from PIL import Image
from annotator.settings import IngestConfig
from annotator.storage.features import FeatureStore
from annotator.ingest.pipeline import Ingest
from annotator.storage.project import Project
from annotator.storage.database import Store

class Grid:
    image_size = 32
    def preprocess(self, image):
        return np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BOX))
    def extract(self, batch):
        time.sleep(0.01)
        return batch.reshape(len(batch), 4, 8, 4, 8, 3).mean(axis=(2, 4)).reshape(len(batch), 48).astype(np.float32)

def kill():
    os.kill(os.getpid(), 9)
    time.sleep(60)

folder, photos, where, count = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
project = Project.open_or_create(folder, "test")
store = Store(project.database_path)
features = FeatureStore(project.features_path, "colour_grid-1", 48, store.images.feature_rows("colour_grid-1"))
grid = Grid()
ingest = Ingest(project, store, features, lambda: grid, "colour_grid-1", IngestConfig(batch_size=4))

def wrap(owner, name, before):
    real, left = getattr(owner, name), [count]
    def call(*arguments):
        left[0] -= 1
        if before and left[0] == 0:
            kill()
        result = real(*arguments)
        if left[0] == 0:
            kill()
        return result
    setattr(owner, name, call)

if where == "time":
    threading.Timer(count / 1000, kill).start()
else:
    owner = {"append": features, "add": store.images, "commit": features, "_write_thumbnail": ingest, "extract": grid}
    name = where.removeprefix("before ")
    wrap(owner[name], name, where.startswith("before "))
ingest.run([photos])
"""

KILLED_AT = [
    ("extract", 2),
    ("before append", 3),
    ("append", 1),
    ("append", 4),
    ("before add", 2),
    ("add", 1),
    ("add", 3),
    ("before _write_thumbnail", 13),
    *(("time", random.Random(seed).randrange(5, 200)) for seed in range(2)),
]


@pytest.mark.integration
@pytest.mark.parametrize(("where", "count"), KILLED_AT)
def test_a_run_killed_anywhere_goes_on_without_redoing_finished_work(
    make_ingesting: Make, write_photos: WritePhotos, photos: Path, tmp_path: Path, where: str, count: int
) -> None:
    paths = write_photos(photos, range(24))
    shutil.copy(paths[3], photos / "a copy.jpg")
    (photos / "broken.jpg").write_bytes(b"not a photo")
    arguments = [str(tmp_path / "project"), str(photos), where, str(count)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL or (where == "time" and killed.returncode == 0), killed.stderr
    ingesting = make_ingesting(batch_size=4)
    num_finished = len(ingesting.features)
    ids_before = ingesting.store.images.ids_by_hash()
    progress = ingesting.run(photos)
    assert (progress.num_found, progress.num_done, progress.error) == (26, 26, None)
    assert ingesting.extractor.num_extracted == 24 - num_finished
    assert progress.num_new == 24 - len(ids_before)
    ids = ingesting.store.images.ids_by_hash()
    assert len(set(ids.values())) == len(ids) == 24
    assert ids_before.items() <= ids.items()
    assert ingesting.store.rows("SELECT count(*), count(DISTINCT path) FROM paths") == [(26, 26)]
    assert ingesting.store.rows("SELECT count(*), count(DISTINCT feature_row) FROM features") == [(24, 24)]
    assert ingesting.reasons().keys() == {"broken.jpg"}
    grid = ingesting.extractor
    for path in paths:
        image_id = ingesting.paths()[path.name]
        with Image.open(path) as image:
            expected = grid.extract(np.stack([grid.preprocess(image)]))
        np.testing.assert_array_equal(ingesting.features.vectors([image_id]), expected)
        with Image.open(
            ingesting.project.thumbnail_path(ingesting.store.images.entry(image_id).content_hash)
        ) as thumbnail:
            thumbnail.load()


def test_a_thumbnail_is_never_seen_half_written(make_ingesting: Make, write_photos: WritePhotos, photos: Path) -> None:
    (path,) = write_photos(photos, [1])
    for number in range(30):
        shutil.copy(path, photos / f"copy {number}.jpg")
    ingesting = make_ingesting(num_decode_threads=4)
    sizes: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            sizes.update(file.stat().st_size for file in ingesting.project.thumbnails_path.glob("??/[!.]*.jpg"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    ingesting.run(photos)
    done.set()
    watcher.join()
    assert len(sizes) <= 1
    assert list(ingesting.project.thumbnails_path.glob("??/.*")) == []
