"""A backup is what a fresh machine needs to serve: one of every kind of project is restored where nothing is installed.

And a project whose tagger or backbone is missing opens with what is there, and says what is not.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pytest

from annotator import carried_models
from annotator.auth.accounts import Accounts
from annotator.cli.main import main
from annotator.cli.serve import choose_vocabulary
from annotator.collaboration.responses import Responses
from annotator.errors import BackboneError, CheckpointError, TrainingError
from annotator.ingest.project_backbone import choose_backbone, choose_tagger
from annotator.maintenance.integrity import check
from annotator.models import checkpoint, registry
from annotator.models.backbones import installed
from annotator.models.backbones.backbone import Backbone, load_backbone
from annotator.models.backbones.hub_install import install
from annotator.models.backbones.trainable_backbone import load_trainable
from annotator.models.checkpoint import About
from annotator.models.detectors.detector_install import default_cache_path as detectors_path
from annotator.models.detectors.detector_install import installed_version, read_installed
from annotator.proposals import tagger_catalog
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.project import Project
from annotator.storage.vision_answers import VisionAnswer, VisionAnswers

pytestmark = pytest.mark.integration

TAGS = ["cat", "coffee", "rocket", "flower"]
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _no_carried_models() -> Iterator[None]:
    yield
    carried_models.use(Path("/nowhere"))


@pytest.fixture
def clip(tiny_models: Any, tmp_path: Path, backbone_cache: Path) -> Iterator[str]:
    """A small image-text model, installed on this machine."""
    tiny_models.write_clip(tmp_path / "hub" / "tiny-restored-clip")
    install(str(tmp_path / "hub" / "tiny-restored-clip"))
    yield "tiny-restored-clip"
    installed.remove_installed("tiny-restored-clip")


@pytest.fixture
def detector() -> Iterator[None]:
    """An installed detector whose network is none; taken away again, as the other tests have none."""
    folder = detectors_path() / f"nanodet-{installed_version()}"
    folder.mkdir(parents=True)
    (folder / "nanodet.onnx").write_bytes(b"a network")
    (folder / "about.json").write_text(json.dumps({"onnx_sha256": hashlib.sha256(b"a network").hexdigest()}))
    yield
    shutil.rmtree(folder)


@pytest.fixture
def opened() -> Iterator[Callable[[Project], Session]]:
    """Open a project; the one opened before is closed."""
    before: list[Session] = []

    def close() -> None:
        while before:
            before.pop().close()

    def make(project: Project) -> Session:
        close()
        before.append(Session.over(Workspace(Project(project.folder))))
        return before[-1]

    yield make
    close()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Go to a machine where nothing is installed, and where no other folder of this test is."""

    def go() -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty cache"))
        for path in (tmp_path / "outside", tmp_path / "project", tmp_path / "hub"):
            if path.exists():
                path.rename(path.with_name(f"{path.name} of the other machine"))

    return go


def write_tagger(folder: Path, of: Backbone, **more: Any) -> Path:
    """A checkpoint outside every project, with random weights."""
    tagger = registry.create("ranked_lstm", TAGS, of.feature_size)
    checkpoint.save(tagger, folder, About(of.name, of.version, "given"), **more)
    return folder


def proposals(session: Session, image_id: int = 1) -> list[tuple[str, float]]:
    found = session.navigation.open("local", image_id)["proposals"]
    assert found
    return [(item["tag"], round(item["score"], 3)) for item in found]


def restored(project: Project, tmp_path: Path, elsewhere: Callable[[], None]) -> Project:
    assert main(["backup", str(project.folder), str(tmp_path / "b.tar")]) == 0
    elsewhere()
    assert main(["restore", str(tmp_path / "b.tar"), str(tmp_path / "restored")]) == 0
    return Project.open(tmp_path / "restored")


@pytest.mark.usefixtures("detector")
def test_installed_backbone_foreign_tagger_word_vectors_detector_and_people(
    clip: str,
    opened: Callable[[Project], Session],
    elsewhere: Callable[[], None],
    demo_photos: Path,
    write_vectors: Callable[[Path], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    serve: Callable[..., Any],
) -> None:
    project = Project.open_or_create(tmp_path / "project", "everything")
    choose_backbone(project, clip)
    (tmp_path / "outside").mkdir()
    vectors = write_vectors(tmp_path / "outside" / "own vectors.txt")
    tagger = write_tagger(tmp_path / "outside" / "mine", load_backbone(clip, num_threads=1))
    project.update_settings(
        word_vectors=str(vectors), detector="nanodet", vision_language_model="eyes", tagger=str(tagger)
    )
    session = opened(project)
    session.workspace.ingest.run([demo_photos])
    session.tagging.save("local", EditedList(1, 0, ["cat", "kitty"], [], Effort()))
    session.workspace.similar_tags.load()
    before = proposals(session, 2)
    session.close()
    (tmp_path / "words.txt").write_text("teapot\nkettle\n")
    choose_vocabulary(project, tmp_path / "words.txt", None)
    store = Store(project.database_path)
    Accounts(store).add("anna", "admin", PASSWORD)
    responses = Responses(store, CorrectionLog(store))
    responses.ask([3], 1, ["anna"], "anna")
    responses.give(3, "anna", revision=0, tags=["espresso"], dropped=[], effort=Effort())
    VisionAnswers(store, "eyes").add("what?", VisionAnswer(4, (), ("lens",), "", 7, 0.1))
    store.close()

    again = restored(Project.open(project.folder), tmp_path, elsewhere)
    assert "left out" not in capsys.readouterr().err
    assert again.settings.tagger == "checkpoints/mine"
    assert read_installed().onnx == b"a network"
    session = opened(again)
    assert session.workspace.notices("local") == []
    assert session.workspace.catalog.chosen == "checkpoints/mine"
    session.workspace.similar_tags.load()
    assert session.workspace.similar_tags.describe().startswith("own vectors ")
    assert session.workspace.text_pass.progress.error is None
    assert [name for name, _ in proposals(session, 2)] == [name for name, _ in before]
    assert session.workspace.vision_answers.of(4) == ("lens",)
    assert session.workspace.vocabulary.tags == ("teapot", "kettle")
    assert session.workspace.accounts.log_in("anna", PASSWORD, "127.0.0.1")
    assert session.workspace.responses.state(3) is not None
    session.workspace.ingest.run([demo_photos])  # the backbone reads photos
    assert session.workspace.ingest.progress.error is None
    session.close()
    store = Store(again.database_path)
    assert [finding for finding in check(again, store) if finding.is_damage] == []
    (word_vectors,) = (again.models_path / "word_vectors").glob("file-*/*.npy")
    whole = word_vectors.read_bytes()
    word_vectors.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert [finding.what for finding in check(again, store) if finding.is_damage] == [
        f"The model {word_vectors} that came with the backup has changed or is missing."
    ]
    word_vectors.write_bytes(whole)
    store.close()
    # A further backup of the restored project holds the same models.
    assert main(["backup", str(again.folder), str(tmp_path / "second.tar")]) == 0
    assert main(["restore", str(tmp_path / "second.tar"), str(tmp_path / "twice")]) == 0
    files = [
        sorted(str(p.relative_to(f)) for p in (f / "models").rglob("*")) for f in (again.folder, tmp_path / "twice")
    ]
    assert files[0] == files[1] != []
    again.update_settings(detector="none")  # the file that stands for it is no network
    server = serve(demo_photos, project=again.folder, as_command=True)
    assert server.client.get("/api/health").json() == {"status": "ok"}


def test_a_tuned_backbone(
    backbone: Backbone,
    opened: Callable[[Project], Session],
    elsewhere: Callable[[], None],
    demo_photos: Path,
    tmp_path: Path,
) -> None:
    arrays = load_trainable(backbone.name).arrays()
    arrays["classifier.bias"] = arrays["classifier.bias"] + np.float32(0.01)
    tagger = write_tagger(tmp_path / "outside" / "tuned", backbone, backbone=arrays)
    project = Project.open_or_create(tmp_path / "project", "tuned")
    assert choose_tagger(project, str(tagger)) is not None
    session = opened(project)
    session.workspace.ingest.run([demo_photos])
    before, version = proposals(session), session.workspace.backbone.version
    session.close()
    again = restored(project, tmp_path, elsewhere)
    session = opened(again)
    assert session.workspace.notices("local") == []
    assert (session.workspace.backbone.version, proposals(session)) == (version, before)
    session.close()
    # Without the network: what was read before is tagged.
    shutil.rmtree(again.backbones_path)
    session = opened(again)
    (notice,) = session.workspace.notices("local")
    assert "is missing" in notice
    assert session.workspace.backbone.version == version
    # The words of the network's own classifier are away with it, and what its classes say about others.
    known = [sorted(tag for tag, _ in found if tag in TAGS) for found in (proposals(session), before)]
    assert known[0] == known[1] != []
    session.close()
    store = Store(again.database_path)
    assert any("fine-tuned backbone" in finding.what for finding in check(again, store) if finding.is_damage)
    store.close()


def test_a_project_without_its_backbone_opens_and_says_what_it_can_do(
    clip: str, opened: Callable[[Project], Session], demo_photos: Path, tmp_path: Path, write_photos: Callable[..., Any]
) -> None:
    project = Project.open_or_create(tmp_path / "project", "test")
    choose_backbone(project, clip)
    installed.remove_installed(clip)
    with pytest.raises(BackboneError, match="annotator backbone install"):
        opened(project)  # no photo was read with it
    install(str(tmp_path / "hub" / clip))
    write_tagger(project.checkpoints_path / "mine", load_backbone(clip, num_threads=1))
    project.update_settings(tagger="checkpoints/mine")
    session = opened(project)
    session.workspace.ingest.run([demo_photos])
    before, num = proposals(session), len(session.workspace.features)
    installed.remove_installed(clip)
    session = opened(project)
    (notice,) = session.navigation.state("local")["notices"]
    assert notice.startswith("The backbone of this project cannot be loaded: There is no backbone")
    assert "new photos are not read" in notice
    assert {tag for tag, _ in proposals(session)} & {tag for tag, _ in before}
    session.tagging.save("local", EditedList(1, 0, ["cat"], [], Effort()))
    with pytest.raises(TrainingError, match="cannot be loaded"):
        session.workspace.models.train("local")
    write_photos(tmp_path / "new", range(2))
    with pytest.raises(BackboneError, match="There is no backbone"):
        session.workspace.ingest.run([tmp_path / "new"])
    assert len(session.workspace.features) == num


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_project_without_its_tagger_opens_with_another_and_says_so(
    backbone: Backbone,
    opened: Callable[[Project], Session],
    demo_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    project = Project.open_or_create(tmp_path / "project", "test")
    folder = write_tagger(project.checkpoints_path / "mine", backbone)
    project.update_settings(tagger="checkpoints/mine")
    session = opened(project)
    session.workspace.ingest.run([demo_photos])
    session.close()
    if damage == "gone":
        shutil.rmtree(folder)
    else:
        (weights,) = folder.glob("weights-*")
        weights.write_bytes(weights.read_bytes()[:-100])
        with pytest.raises(CheckpointError):
            checkpoint.load(folder)
    monkeypatch.setattr(tagger_catalog, "_LOADED", WeakValueDictionary())  # a new process has no tagger in memory
    session = opened(project)
    (notice,) = session.navigation.state("local")["notices"]
    assert notice.startswith("The tagger of this project cannot be loaded:")
    assert "JVSP, starter instead" in notice
    assert str(project.folder) not in " ".join(session.workspace.notices("visitor"))
    assert proposals(session)
    assert session.workspace.project.settings.tagger == "checkpoints/mine"  # nothing was decided for the user
    session.administration.set_tagger("local", "cold_start")
    assert session.navigation.state("local")["notices"] == []
