"""Photos behind URLs: an archive, a store in memory, a web server, and S3 as moto serves it on this machine."""

import functools
import hashlib
import json
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from annotator.datasets import remote_store as module
from annotator.datasets.photo_roots import PhotoUrl
from annotator.errors import UnreadableImageError
from annotator.exchange.exported_photo import exported_photo
from annotator.ingest.pictures import Pictures
from annotator.storage.database import Store
from annotator.storage.photo_cache import PhotoCache
from annotator.storage.photo_rows import photo_rows

Make = Callable[..., Any]
WritePhotos = Callable[..., list[Path]]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))


@pytest.fixture
def photos(tmp_path: Path, write_photos: WritePhotos) -> Path:
    folder = tmp_path / "photos"
    write_photos(folder, range(3))
    write_photos(folder / "2024" / "beach", [11])
    (folder / "photo 1.txt").write_text("boat, sea")
    (folder / "2024" / "beach" / "photo 11.jpg.json").write_text(json.dumps({"tags": ["sand"]}))
    (folder / "note.md").write_text("no photo")
    (folder / "broken.jpg").write_bytes(b"no photo")
    (folder / "RAW.svg").write_text("<svg/>")
    (folder / ".hidden").mkdir()
    shutil.copy(folder / "photo 0.jpg", folder / ".hidden")
    return folder


@pytest.fixture
def archive(photos: Path, tmp_path: Path) -> PhotoUrl:
    """The photos as a ZIP file."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        for path in sorted(photos.rglob("*")):
            file.write(path, path.relative_to(photos))
    return PhotoUrl(f"zip://{tmp_path}/photos.zip")


class Memory:
    """A store in this process, and what its calls do."""

    root = PhotoUrl("memory://photos")

    def __init__(self, folder: Path) -> None:
        self.files = fsspec.filesystem("memory")
        self.files.store.clear()
        self.files.pseudo_dirs[:] = [""]
        self.failure: Exception | None = None
        for path in folder.rglob("*"):
            if path.is_file():
                self.files.pipe_file(f"/photos/{path.relative_to(folder).as_posix()}", path.read_bytes())


@pytest.fixture
def memory(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Memory:
    store = Memory(photos)
    kind = type(store.files)
    for name in ("ls", "open", "isfile"):
        monkeypatch.setattr(kind, name, failing(store, getattr(kind, name)))
    return store


def failing(store: Memory, made: Callable[..., Any]) -> Callable[..., Any]:
    """A method of the store that fails while the store is to."""

    def call(self: Any, *given: Any, **named: Any) -> Any:
        if store.failure is not None:
            raise store.failure
        return made(self, *given, **named)

    return call


def images_of(ingesting: Any) -> dict[str, Any]:
    """What is known of each photo, by its path."""
    entries = {path: image and ingesting.store.images.entry(image) for path, image in ingesting.paths().items()}
    return {path: entry for path, entry in entries.items() if entry is not None}


def test_photos_in_an_archive_become_the_same_images_as_in_a_folder(
    make_ingesting: Make, photos: Path, archive: PhotoUrl, tmp_path: Path
) -> None:
    here, there = make_ingesting(tmp_path / "here"), make_ingesting(tmp_path / "there")
    here.run(photos)
    progress = there.run(archive)
    assert images_of(there) == images_of(here)
    assert (progress.num_new, progress.error, progress.not_mounted) == (4, None, ())
    assert there.reasons() == here.reasons()
    assert set(there.reasons()) == {"broken.jpg", "RAW.svg"}
    assert images_of(there)["photo 1.jpg"].user_tags == ("boat", "sea")
    assert images_of(there)["2024/beach/photo 11.jpg"].user_tags == ("sand",)
    assert images_of(there)["2024/beach/photo 11.jpg"].path_words == ("beach",)


def test_a_second_run_reads_only_what_has_changed(make_ingesting: Make, memory: Memory, photo_bytes: Make) -> None:
    ingesting = make_ingesting()
    ingesting.run(memory.root)
    (name,) = [path for path in ingesting.paths() if path == "photo 2.jpg"]
    image_id = ingesting.paths()[name]
    assert ingesting.run(memory.root).num_new == 0
    assert ingesting.extractor.num_extracted == 4
    memory.files.pipe_file("/photos/photo 2.jpg", photo_bytes(77))
    memory.files.pipe_file("/photos/photo 1.txt", b"harbour")
    memory.files.rm_file("/photos/photo 0.jpg")
    memory.files.pipe_file("/photos/photo 9.jpg", photo_bytes(9))
    progress = ingesting.run(memory.root)
    assert (progress.num_new, progress.num_changed) == (1, 1)
    assert ingesting.paths()["photo 2.jpg"] == image_id  # it has its tags
    assert images_of(ingesting)["photo 1.jpg"].user_tags == ("harbour",)
    assert "photo 0.jpg" not in ingesting.paths()


@pytest.mark.parametrize("failure", [OSError("503 Slow Down"), PermissionError("403 Forbidden"), TimeoutError("late")])
def test_a_store_that_does_not_answer_loses_nothing(make_ingesting: Make, memory: Memory, failure: Exception) -> None:
    ingesting = make_ingesting()
    ingesting.run(memory.root)
    before = ingesting.paths()
    memory.failure = failure
    progress = ingesting.run(memory.root)
    assert ingesting.paths().items() >= before.items()
    assert [(one.folder, one.num_photos) for one in progress.not_mounted] == [("memory://photos", 4)]
    assert str(failure) in ingesting.reasons()["photos"]  # of the root itself
    memory.failure = None
    assert ingesting.run(memory.root).not_mounted == ()
    assert ingesting.paths() == before
    assert ingesting.extractor.num_extracted == 4


def test_a_photo_is_shown_from_the_store_once_and_then_from_the_disk(
    make_ingesting: Make, memory: Memory, photos: Path
) -> None:
    ingesting = make_ingesting()
    ingesting.run(memory.root)
    image_id = ingesting.paths()["photo 1.jpg"]
    pictures = Pictures(ingesting.project, ingesting.store)
    wanted = (photos / "photo 1.jpg").read_bytes()
    assert pictures.photo(image_id).data == wanted
    memory.failure = OSError("503 Slow Down")
    assert Pictures(ingesting.project, ingesting.store).photo(image_id).data == wanted
    assert pictures.thumbnail(ingesting.paths()["photo 2.jpg"]).data.startswith(b"\xff\xd8")
    with pytest.raises(UnreadableImageError, match=r"memory://photos/photo 2.jpg cannot be read now: 503 Slow Down"):
        pictures.photo(ingesting.paths()["photo 2.jpg"])


def test_a_photo_that_changed_in_the_store_is_not_shown_as_the_old_one(
    make_ingesting: Make, memory: Memory, photo_bytes: Make
) -> None:
    ingesting = make_ingesting()
    ingesting.run(memory.root)
    memory.files.pipe_file("/photos/photo 1.jpg", photo_bytes(77))
    with pytest.raises(UnreadableImageError, match="gone or has changed"):
        Pictures(ingesting.project, ingesting.store).photo(ingesting.paths()["photo 1.jpg"])


def test_an_export_names_photos_below_their_url(make_ingesting: Make, memory: Memory, photos: Path) -> None:
    ingesting = make_ingesting()
    ingesting.run(memory.root)
    rows = list(photo_rows(ingesting.store, sorted(ingesting.features.image_ids())))
    assert [row["name"] for row in rows] == ["photo 0.jpg", "photo 1.jpg", "photo 2.jpg", "2024/beach/photo 11.jpg"]
    assert {row["root"] for row in rows} == {"memory://photos"}
    assert {row["file"] for row in rows} == {"present"}
    assert exported_photo(rows[0]).path is None  # nothing on this disk to copy
    ingesting.run(photos)
    both = [row["name"] for row in photo_rows(ingesting.store, sorted(ingesting.features.image_ids()))]
    assert len(set(both)) == len(both)
    assert both[0] == "0/photo 0.jpg"


def test_a_server_that_lists_folders_without_end_is_left(
    make_ingesting: Make, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotator.ingest.remote_photos.MAX_DEPTH", 5)
    memory.files.pipe_file(f"/photos/{'x/' * 9}far.jpg", b"never read")
    ingesting = make_ingesting()
    assert ingesting.run(memory.root).num_new == 4
    assert "more than 5 folders deep" in ingesting.reasons()["x"]


def test_the_cache_keeps_what_was_read_last(tmp_path: Path) -> None:
    cache = PhotoCache(tmp_path / "cache", 1_000)
    parts = {hashlib.sha256(data).hexdigest(): data for data in (bytes([n]) * 300 for n in range(4))}
    for age, (digest, data) in enumerate(parts.items()):
        cache.put(digest, data)
        if age < 3:
            os.utime(tmp_path / "cache" / digest, (age, age))
    kept = [cache.get(digest) is not None for digest in parts]
    assert kept == [False, True, True, True]
    cache.put("0" * 64, b"x" * 1_001)
    assert cache.get("0" * 64) is None
    digest = list(parts)[3]
    (tmp_path / "cache" / digest).write_bytes(b"cut short")
    assert cache.get(digest) is None


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *given: Any) -> None:
        pass


@pytest.fixture
def web(photos: Path) -> Iterator[str]:
    """The address of a web server that lists and gives the photos."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(photos)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.integration
def test_a_web_server_is_read_by_its_list_and_by_its_pages(
    make_ingesting: Make, web: str, photos: Path, tmp_path: Path
) -> None:
    (photos / "list.txt").write_text("photo%200.jpg\n2024/beach/photo%2011.jpg\nmissing.jpg\n")
    ingesting = make_ingesting()
    progress = ingesting.run(PhotoUrl(f"{web}/list.txt"))
    assert (progress.num_found, progress.num_new) == (3, 2)
    assert ingesting.reasons() == {"missing.jpg": f"{web}/list.txt/missing.jpg is not there."}
    pictures = Pictures(ingesting.project, ingesting.store)
    wanted = (photos / "photo 0.jpg").read_bytes()
    assert pictures.photo(ingesting.paths()["photo 0.jpg"]).data == wanted
    pages = make_ingesting(tmp_path / "pages")
    assert pages.run(PhotoUrl(web)).num_new == 4


@pytest.fixture
def s3(photos: Path, s3_client: Any) -> PhotoUrl:
    """A bucket with the photos on a server of S3's protocol."""
    s3_client.create_bucket(Bucket="photos")
    for path in sorted(photos.rglob("*")):
        if path.is_file():
            s3_client.upload_file(str(path), "photos", f"archive/{path.relative_to(photos).as_posix()}")
    return PhotoUrl("s3://photos/archive")


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_photos_in_s3_become_the_same_images_as_in_a_folder(
    make_ingesting: Make, s3: PhotoUrl, photos: Path, tmp_path: Path
) -> None:
    here, there = make_ingesting(tmp_path / "here"), make_ingesting(tmp_path / "there")
    here.run(photos)
    assert there.run(s3).num_new == 4
    assert images_of(there) == images_of(here)
    assert there.reasons() == here.reasons()
    assert there.run(s3).num_new == 0
    assert there.extractor.num_extracted == 4
    image_id = there.paths()["photo 1.jpg"]
    assert Pictures(there.project, there.store).photo(image_id).data == (photos / "photo 1.jpg").read_bytes()
    there.store.close()
    for path in there.project.folder.rglob("*"):  # credentials are nowhere kept
        assert not path.is_file() or b"a-secret-of-the-test" not in path.read_bytes()


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_bucket_that_is_not_there_is_a_sentence(run_command: Make, s3: PhotoUrl, tmp_path: Path) -> None:
    answer = run_command("add", tmp_path / "project", "s3://none/photos")
    assert answer.returncode == 1
    assert "s3://none/photos is not there." in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "project").exists()


@pytest.mark.integration
def test_shards_of_an_archive_give_the_project_that_the_archive_gives(
    run_command: Make, archive: PhotoUrl, tmp_path: Path
) -> None:
    url = str(archive)
    for command in (
        ("add", tmp_path / "direct", url),
        ("embed", url, "--out", tmp_path / "shards"),
        ("add", tmp_path / "by shards", "--from", tmp_path / "shards"),
    ):
        answer = run_command(*command)
        assert answer.returncode == 0, answer.stderr
    assert url in answer.stderr  # the project will read it
    rows = []
    for name in ("direct", "by shards"):
        store = Store(tmp_path / name / "project.duckdb")
        query = (
            "SELECT r.path, p.path, i.content_hash, i.user_tags FROM paths p JOIN roots r USING (root_id) "
            "LEFT JOIN images i USING (image_id) ORDER BY ALL"
        )
        rows.append(store.rows(query))
        store.close()
    assert rows[0] == rows[1]
    assert {row[0] for row in rows[0]} == {url}
