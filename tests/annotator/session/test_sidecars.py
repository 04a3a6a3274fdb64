"""Sidecars of an open project: written after a save, and settled by a person."""

from collections.abc import Callable
from pathlib import Path

import pytest

from annotator.datasets.formats.xmp import DIGIKAM, LIGHTROOM, SUBJECT, keywords_of
from annotator.datasets.formats.xmp_packet import replace_lists
from annotator.errors import ConfigError
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort
from annotator.storage.project import Project

LIMIT_SECONDS = 60


@pytest.fixture
def photos(write_photos: Callable[..., list[Path]], tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", [1, 2])
    return tmp_path / "photos"


@pytest.fixture
def session(open_project: Callable[..., Session], photos: Path, tmp_path: Path) -> Session:
    Project.open_or_create(tmp_path / "project", "test").update_settings(sidecars="digikam")
    return open_project(photos, tmp_path / "project")


def save(session: Session, image_id: int, *tags: str) -> None:
    revision = session.workspace.log.annotation(image_id).revision
    session.tagging.save("local", EditedList(image_id, revision, tags, [], Effort()))
    assert session.workspace.sidecars is not None
    assert session.workspace.sidecars.wait(LIMIT_SECONDS)


def change_elsewhere(path: Path, *keywords: str) -> None:
    lists = {one: list(keywords) for one in (SUBJECT, LIGHTROOM, DIGIKAM)}
    path.write_bytes(replace_lists(path.read_bytes(), lists, "x"))


def sidecar_of(session: Session, photos: Path, image_id: int) -> Path:
    return photos / f"{session.workspace.files.name(image_id)}.xmp"


def test_a_save_writes_the_sidecar_and_the_state_says_what_is_not_in_step(session: Session, photos: Path) -> None:
    save(session, 1, "cat", "sofa")
    path = sidecar_of(session, photos, 1)
    assert keywords_of(path.read_bytes(), "x") == ["cat", "sofa"]
    assert session.navigation.state("local")["sidecars"] == {"num_changed": 0, "num_failed": 0}
    change_elsewhere(path, "bird")
    save(session, 1, "cat")
    assert session.navigation.state("local")["sidecars"] == {"num_changed": 1, "num_failed": 0}
    answer = session.sidecars.sidecars("local")
    assert answer["items"] == [
        {"image_id": 1, "file_name": "photo 1.jpg", "state": "changed", "saved": ["cat"], "found": ["bird"],
         "reason": ""}
    ]  # fmt: skip
    assert (answer["profile"], answer["num_written"], answer["num_changed"]) == ("digikam", 0, 1)


@pytest.mark.parametrize(("take", "expected"), [("ours", ["cat"]), ("theirs", ["bird", "tree"])])
def test_a_person_chooses_whose_list_counts(take: str, expected: list[str], session: Session, photos: Path) -> None:
    save(session, 1, "cat", "dog")
    path = sidecar_of(session, photos, 1)
    change_elsewhere(path, "bird", "tree")
    save(session, 1, "cat")
    answer = session.sidecars.settle("local", 1, take)  # type: ignore[arg-type]
    assert (answer["num_changed"], answer["num_written"], answer["items"]) == (0, 1, [])
    assert list(session.workspace.log.annotation(1).tags) == expected
    assert keywords_of(path.read_bytes(), "x") == expected
    assert session.navigation.open("local", 1)["kept"] == expected


def test_what_was_not_changed_cannot_be_settled(session: Session) -> None:
    save(session, 1, "cat")
    for image_id in (1, 2):
        with pytest.raises(ConfigError, match="No sidecar of this photo was changed"):
            session.sidecars.settle("local", image_id, "ours")


def test_a_project_without_sidecars_writes_none(
    open_project: Callable[..., Session], photos: Path, tmp_path: Path
) -> None:
    session = open_project(photos, tmp_path / "project")
    session.tagging.save("local", EditedList(1, 0, ["cat"], [], Effort()))
    assert session.workspace.sidecars is None
    assert session.navigation.state("local")["sidecars"] is None
    assert sorted(path.suffix for path in photos.iterdir()) == [".jpg", ".jpg"]
