"""An installed image-text model as a project's vision: its words are proposed, and switching loses nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator.cli.serve import choose_vocabulary
from annotator.datasets.tags import tag_key
from annotator.errors import BackboneError, ConfigError
from annotator.ingest.project_backbone import choose_backbone
from annotator.models.backbones import hub_install, installed
from annotator.models.backbones.hub_install import install
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.correction_log import Effort
from annotator.storage.project import Project

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def clip(tiny_models: Any, tmp_path_factory: pytest.TempPathFactory, backbone_cache: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("hub") / "tiny-session-clip"
    tiny_models.write_clip(folder)
    install(str(folder))
    yield "tiny-session-clip"
    installed.remove_installed("tiny-session-clip")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open_or_create(tmp_path / "project", "test")


@pytest.fixture
def opened(project: Project, demo_photos: Path) -> Iterator[Callable[[], Session]]:
    """Open the project with its photos read and its words embedded; closes the one opened before."""
    before: list[Session] = []

    def make() -> Session:
        close()
        session = Session.over(Workspace(project))
        before.append(session)
        session.workspace.ingest.run([demo_photos])
        session.workspace.text_pass.run(waits=False)
        return session

    def close() -> None:
        while before:
            before.pop().close()

    yield make
    close()


def proposals(session: Session, image_id: int = 1) -> dict[str, dict[str, Any]]:
    return {item["tag"]: item for item in session.navigation.open("local", image_id)["proposals"]}


def test_words_of_the_text_tower_are_proposed_and_switching_loses_no_tag(
    clip: str, project: Project, opened: Callable[[], Session]
) -> None:
    first = opened()
    first.tagging.save("local", EditedList(2, 0, ["my Tibbles", "sofa"], [], Effort()))
    plain = set(proposals(first))
    label = first.workspace.backbone_label
    assert first.workspace.text_pass.progress.num_words == 0
    assert first.navigation.open("local", 1)["neighbours"]["late_sources"] == []

    choose_backbone(project, clip)
    second = opened()
    progress = second.workspace.text_pass.progress
    assert (progress.num_ready == progress.num_words > 1_000, progress.error) == (True, None)
    assert second.workspace.features.image_ids() == [1, 2, 3, 4, 5, 6]
    assert second.workspace.log.annotation(2).tags == ("my Tibbles", "sofa")
    found = proposals(second)
    named = [item for item in found.values() if item["source"] == "text"]
    assert named
    assert "the image-text model finds it alike" in named[0]["why"].lower()
    assert second.navigation.open("local", 1)["neighbours"]["late_sources"] == ["text"]
    second.tagging.save("local", EditedList(3, 0, ["rocket"], [], Effort()))

    choose_backbone(project, "efficientnet_lite0")
    third = opened()
    assert third.workspace.backbone_label == label
    assert third.workspace.ingest.progress.num_new == 0
    assert {i: third.workspace.log.annotation(i).tags for i in (2, 3)} == {2: ("my Tibbles", "sofa"), 3: ("rocket",)}
    assert "my Tibbles" in third.workspace.ranking.vocabulary.tags_in_use()
    assert set(proposals(third)) & plain


def test_a_tag_that_is_new_to_the_project_is_embedded_too(
    clip: str, project: Project, opened: Callable[[], Session]
) -> None:
    choose_backbone(project, clip)
    session = opened()
    num = session.workspace.text_pass.progress.num_words
    session.tagging.save("local", EditedList(2, 0, ["zzqxw"], [], Effort()))
    assert session.workspace.text_pass.run(waits=False).num_ready == num + 1


def test_a_vocabulary_restricts_or_extends_what_is_proposed_from_the_first_photo(
    clip: str, project: Project, opened: Callable[[], Session], tmp_path: Path
) -> None:
    path = tmp_path / "food.csv"
    path.write_text("tag,alias\nflat white,coffee\nzzqxw saucer,\nplate,\ncup,\n")
    choose_backbone(project, clip)
    before = opened().workspace
    assert before.project is project
    before.close()
    assert choose_vocabulary(project, path, "restrict") == "The 4 tags of the vocabulary are all that may be proposed."
    session = opened()
    assert session.workspace.text_pass.progress.num_words == 4
    allowed = {"flat white", "zzqxw saucer", "plate", "cup"}
    for image_id in range(1, 7):
        assert {tag_key(tag) for tag in proposals(session, image_id)} <= allowed
    assert session.workspace.ranking.vocabulary.renamed("Coffee") == "flat white"
    assert session.workspace.ranking.vocabulary.complete("zzqxw", {})[0].tag == "zzqxw saucer"
    session.close()
    assert "may be proposed too" in choose_vocabulary(project, None, "extend")
    session = opened()
    assert session.workspace.text_pass.progress.num_words > 1_000
    session.close()
    choose_vocabulary(project, None, "none")
    assert opened().workspace.vocabulary.tags == ()


def test_without_an_image_text_model_a_vocabulary_restricts_the_cold_start(
    project: Project, opened: Callable[[], Session], tmp_path: Path
) -> None:
    everything = set(proposals(opened(), 2))
    assert len(everything) > 1
    wanted = sorted(everything)[0]
    (tmp_path / "one.txt").write_text(f"{wanted}\nlighthouse\n")
    opened().workspace.close()
    choose_vocabulary(project, tmp_path / "one.txt", "restrict")
    assert set(proposals(opened(), 2)) == {wanted}


def test_a_use_without_a_vocabulary_is_refused(project: Project) -> None:
    with pytest.raises(ConfigError, match="has no vocabulary"):
        choose_vocabulary(project, None, "restrict")


def test_a_backbone_that_is_gone_is_said_with_how_to_get_it(project: Project) -> None:
    with pytest.raises(BackboneError, match="annotator backbone install NAME"):
        choose_backbone(project, "org/never-installed")


def test_a_full_disk_is_said_before_and_while_a_backbone_is_written(
    tiny_models: Any, mount_disk: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny-timm"
    tiny_models.write_timm(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(mount_disk("64k")))
    with pytest.raises(BackboneError, match="MB are needed in"):
        install(str(folder))
    monkeypatch.setattr(hub_install, "check_space", lambda folder, num_bytes: None)
    with pytest.raises(BackboneError, match=r"cannot be written to .* \(No space left on device\)"):
        install(str(folder))
    assert installed.list_installed() == []
    assert [path.name for path in installed.installed_path().iterdir()] == []
