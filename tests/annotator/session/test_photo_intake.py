"""A project that is open for reading photos only leaves what a served one would leave."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator.errors import BackboneError
from annotator.models.backbones.backbone import Backbone
from annotator.retrieval.vector_index import VectorIndexSettings
from annotator.session import photo_intake as intake_module
from annotator.session import photo_parts
from annotator.session.photo_intake import PhotoIntake
from annotator.session.session import Session
from annotator.settings import IngestConfig
from annotator.storage.project import Project

OpenProject = Callable[..., Session]


@pytest.fixture
def open_intake(backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    monkeypatch.setattr(intake_module, "load_backbone", lambda name, num_threads: backbone)
    opened: list[PhotoIntake] = []

    def make() -> PhotoIntake:
        opened.append(PhotoIntake(Project.open_or_create(tmp_path / "project", "test"), IngestConfig(1, 1)))
        return opened[-1]

    yield make
    for intake in opened:
        intake.close()


def test_photos_that_were_read_are_there_in_the_served_project(
    open_intake: Callable[[], PhotoIntake],
    open_project: OpenProject,
    write_photos: Callable[..., list[Path]],
    tmp_path: Path,
) -> None:
    write_photos(tmp_path / "photos", range(3))
    intake = open_intake()
    assert intake.ingest.run([tmp_path / "photos"]).num_new == 3
    intake.keep_index()
    intake.close()
    assert not list((tmp_path / "project").rglob("*.faiss"))  # a small project is searched without
    workspace = open_project().workspace
    assert workspace.vectors.image_ids().tolist() == list(workspace.queue.upcoming()) == [1, 2, 3]


def test_people_are_asked_about_new_photos_as_in_the_served_project(
    open_intake: Callable[[], PhotoIntake],
    open_project: OpenProject,
    write_photos: Callable[..., list[Path]],
    tmp_path: Path,
) -> None:
    write_photos(tmp_path / "photos", range(6))
    project = Project.open_or_create(tmp_path / "project", "test")
    project.update_settings(asked_people=2, asked_share=1.0)
    intake = open_intake()
    intake.ingest.run([tmp_path / "photos"])
    intake.close()
    workspace = open_project().workspace
    assert [workspace.responses.state(image_id) for image_id in range(1, 7)] == ["waiting"] * 6


def test_the_index_of_a_large_project_is_brought_up_to_date(
    open_intake: Callable[[], PhotoIntake],
    open_project: OpenProject,
    write_photos: Callable[..., list[Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photo_parts, "VectorIndexSettings", lambda: VectorIndexSettings(exact_below=20))
    write_photos(tmp_path / "photos", range(30))
    for num_photos in (30, 36):
        write_photos(tmp_path / "photos", range(num_photos))
        intake = open_intake()
        intake.ingest.run([tmp_path / "photos"])
        intake.keep_index()
        (kept,) = intake.project.indexes_path.glob("*.faiss")
        index, version = photo_parts.read_index(kept, intake.backbone_label, intake.features)
        assert version is not None
        assert index.image_ids().tolist() == list(range(1, num_photos + 1))
        written = kept.stat().st_mtime_ns
        intake.keep_index()
        assert kept.stat().st_mtime_ns == written  # nothing has changed
        intake.close()
    assert open_project().workspace.vectors.image_ids().tolist() == list(range(1, 37))


def test_a_project_without_its_backbone_says_so_and_a_new_one_is_refused(
    open_intake: Callable[[], PhotoIntake],
    write_photos: Callable[..., list[Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_photos(tmp_path / "photos", range(2))
    intake = open_intake()
    intake.ingest.run([tmp_path / "photos"])
    intake.close()

    def no_weights(name: str, num_threads: int) -> Backbone:
        raise BackboneError("The weights are missing.")

    monkeypatch.setattr(intake_module, "load_backbone", no_weights)
    intake = open_intake()
    assert len(intake.features) == 2
    assert "The weights are missing." in caplog.text
    with pytest.raises(BackboneError):
        PhotoIntake(Project.open_or_create(tmp_path / "other", "test"), IngestConfig(1, 1))
