import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotator.errors import ConfigError, DetectorError, StoreError, UnreadableImageError
from annotator.ingest import detection_pass as detections_module
from annotator.ingest.detection_pass import DetectionPass, wanted_detector
from annotator.models.detectors import detector_install
from annotator.models.detectors.detector import Detection
from annotator.session.session import Session
from annotator.storage.database import Store
from annotator.storage.detections import DetectionStore
from annotator.storage.project import Project

CAT = Detection("cat", 0.75, (0.25, 0.125, 0.75, 1.0))
DOG = Detection("dog", 0.5, (0.0, 0.0, 0.25, 0.5))
INSTALLED = detector_install.default_cache_path()
"""The user's, looked up before the tests get a cache of their own."""


class Colours:
    """A detector that finds a cat in every photo, and records its inputs."""

    name = "colours"
    version = "1"
    image_size = 32

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def detect(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        self.seen += [image.size for image in images]
        return [[CAT] for _ in images]


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    return make_store(num_images=3)


@pytest.fixture
def make_pass(photo_bytes: Callable[..., bytes]) -> Callable[..., DetectionPass]:
    def make(
        book: DetectionStore, detector: Colours, read: Callable[[int], bytes] | None = None, name: str = "nanodet"
    ) -> DetectionPass:
        return DetectionPass(book, name, read or photo_bytes, 1, lambda name, num_threads: detector)

    return make


def test_what_was_found_is_there_after_reopening(make_store: Callable[..., Store], tmp_path: Path) -> None:
    store = make_store(path=tmp_path / "a.duckdb")
    DetectionStore(store).add("nanodet-1", [(1, [CAT, DOG]), (2, [])])
    store.close()
    book = DetectionStore(make_store(path=tmp_path / "a.duckdb"))
    assert book.of(1) == (CAT, DOG)
    assert book.of(2) == book.of(3) == ()
    assert book.missing("nanodet-1") == [3]


def test_another_version_runs_again_and_replaces_the_detections(store: Store) -> None:
    book = DetectionStore(store)
    book.add("nanodet-1", [(1, [CAT]), (2, [CAT]), (3, [])])
    assert book.of(1) == (CAT,)
    assert book.missing("nanodet-1") == []
    assert book.missing("torchvision-1") == [1, 2, 3]
    book.add("torchvision-1", [(1, [DOG])])
    assert book.of(1) == (DOG,)
    assert book.missing("torchvision-1") == [2, 3]


def test_a_project_without_a_detector_reads_no_detections(store: Store) -> None:
    DetectionStore(store).add("nanodet-1", [(1, [CAT])])
    assert DetectionStore(store, is_read=False).of(1) == ()


def test_a_pass_runs_the_detector_once_on_every_photo(store: Store, make_pass: Callable[..., DetectionPass]) -> None:
    book, detector = DetectionStore(store), Colours()
    progress = make_pass(book, detector).run()
    assert (progress.num_found, progress.num_done, progress.num_unreadable) == (3, 3, 0)
    assert (progress.running, progress.error) == (False, None)
    assert [book.of(image_id) for image_id in (1, 2, 3)] == [(CAT,)] * 3
    assert make_pass(book, detector).run().num_found == 0
    assert len(detector.seen) == 3


def test_photos_that_cannot_be_read_are_counted_and_tried_again(
    store: Store, make_pass: Callable[..., DetectionPass], photo_bytes: Callable[..., bytes]
) -> None:
    def read(image_id: int) -> bytes:
        if image_id == 1:
            raise UnreadableImageError("The file is gone.")
        return b"no picture" if image_id == 2 else photo_bytes(image_id)

    book = DetectionStore(store)
    progress = make_pass(book, Colours(), read).run()
    assert (progress.num_done, progress.num_unreadable, progress.error) == (3, 2, None)
    assert book.missing("colours-1") == [1, 2]
    assert book.of(3) == (CAT,)


def test_a_photo_of_200_megapixels_is_decoded_small(
    store: Store, make_pass: Callable[..., DetectionPass], tmp_path: Path
) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (20_000, 10_000), (200, 100, 50)).save(path, quality=30)
    detector = Colours()
    progress = make_pass(DetectionStore(store), detector, lambda image_id: path.read_bytes()).run()
    assert progress.num_unreadable == 0
    assert detector.seen == [(2500, 1250)] * 3


def test_a_stopped_pass_keeps_what_it_found(
    store: Store, make_pass: Callable[..., DetectionPass], photo_bytes: Callable[..., bytes]
) -> None:
    def read(image_id: int) -> bytes:
        if image_id == 2:
            running.stop()
        return photo_bytes(image_id)

    book = DetectionStore(store)
    running = make_pass(book, Colours(), read)
    assert running.run().num_done == 2
    assert book.missing("colours-1") == [3]


def test_without_a_detector_nothing_runs(store: Store, make_pass: Callable[..., DetectionPass]) -> None:
    detector = Colours()
    progress = make_pass(DetectionStore(store), detector, name="none").run()
    assert (progress.detector, progress.num_found, detector.seen) == ("none", 0, [])


def test_a_detector_that_cannot_be_loaded_is_said_in_the_progress(store: Store, tmp_path: Path) -> None:
    def load(name: str, num_threads: int) -> Any:
        raise DetectorError("The detector nanodet is not installed.")

    failing = DetectionPass(DetectionStore(store), "nanodet", lambda image_id: b"", 1, load)
    with pytest.raises(DetectorError):
        failing.run()
    assert failing.progress.error == "The detector nanodet is not installed."
    assert not failing.progress.running


def test_a_failed_commit_loses_only_its_own_batch(
    store: Store, make_pass: Callable[..., DetectionPass], monkeypatch: pytest.MonkeyPatch
) -> None:
    book = DetectionStore(store)
    book.add("colours-1", [(1, [DOG])])

    def fail(version: str, found: Any) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(book, "add", fail)
    running = make_pass(book, Colours())
    with pytest.raises(StoreError):
        running.run()
    assert running.progress.error == "The disk is full."
    assert book.of(1) == (DOG,)


def test_a_person_can_read_while_the_pass_writes(store: Store, make_pass: Callable[..., DetectionPass]) -> None:
    book, read = DetectionStore(store), []
    thread = threading.Thread(target=lambda: read.extend(book.of(i % 3 + 1) for i in range(200)))
    thread.start()
    make_pass(book, Colours()).run()
    thread.join()
    assert set(read) <= {(), (CAT,)}
    assert book.of(2) == (CAT,)


@pytest.mark.parametrize(("setting", "wanted"), [("none", "none"), ("torchvision", "torchvision"), ("", "none")])
def test_a_setting_names_the_detector(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, wanted: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert wanted_detector(setting) == wanted


def test_nanodet_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(detections_module, "is_installed", lambda: True)
    assert wanted_detector("") == "nanodet"
    assert wanted_detector("none") == "none"


def test_a_setting_of_another_detector_is_refused(tmp_path: Path) -> None:
    project = Project.open_or_create(tmp_path / "project", "test")
    with pytest.raises(ConfigError, match=r"nanodet, torchvision, none, got 'yolo'"):
        project.update_settings(detector="yolo")


@pytest.fixture
def opened(open_project: Callable[..., Session], demo_photos: Path, tmp_path: Path) -> Session:
    Project.open_or_create(tmp_path / "project", "test").update_settings(detector="nanodet")
    return open_project(demo_photos, tmp_path / "project")


def test_a_tag_with_a_box_shows_it_and_one_without_shows_the_glow(opened: Session) -> None:
    (image_id,) = [i for i, (_, path) in opened.workspace.store.images.file_names().items() if path == "cat.png"]
    DetectionStore(opened.workspace.store).add("nanodet-1", [(image_id, [DOG, CAT])])
    answer = opened.tagging.heat_map("local", image_id, "Kitten")
    assert answer == {
        "grid": None,
        "box": None,
        "found": [{"label": "cat", "score": 0.75, "box": (0.25, 0.125, 0.75, 1.0)}],
    }
    glow = opened.tagging.heat_map("local", image_id, "tabby")
    assert glow["found"] == []
    assert glow["grid"]


def test_a_proposal_says_what_the_detector_found_and_where(opened: Session) -> None:
    (image_id,) = [i for i, (_, path) in opened.workspace.store.images.file_names().items() if path == "rocket.jpg"]
    before = {item["tag"] for item in opened.navigation.open("local", image_id)["proposals"]}
    assert "frisbee" not in before
    frisbees = [
        Detection("frisbee", 0.9375, (0.0, 0.0, 0.25, 0.25)),
        Detection("frisbee", 0.5, (0.5, 0.5, 1.0, 1.0)),
    ]
    opened.workspace.detections.add("nanodet-1", [(image_id, frisbees)])
    proposals = opened.navigation.open("local", image_id)["proposals"]
    (found,) = [item for item in proposals if item["tag"] == "frisbee"]
    assert found["source"] == "detector"
    assert "the detector finds it with 94%, 2 times, the largest on 25% of the photo, at the bottom right" in (
        found["why"].lower()
    )
    assert found["evidence"][0]["score"] > 0.9
    assert 0.03 <= found["score"] < 0.5  # the model knows the word and does not see it: few people would name it


def test_the_state_tells_how_far_the_detector_is(opened: Session) -> None:
    with pytest.raises(DetectorError, match="not installed"):
        opened.workspace.detection_pass.run()
    state = opened.navigation.state("local")["detections"]
    assert state["detector"] == "nanodet"
    assert "annotator detector install" in state["error"]


@pytest.mark.skipif(
    not detector_install.is_installed(INSTALLED),
    reason="NanoDet is not installed: annotator detector install",
)
def test_the_installed_detector_fills_a_project(opened: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(INSTALLED.parents[1]))
    opened.workspace.detection_pass.run()
    (image_id,) = [i for i, (_, path) in opened.workspace.store.images.file_names().items() if path == "cat.png"]
    assert DetectionStore(opened.workspace.store).of(image_id)[0].label == "cat"
