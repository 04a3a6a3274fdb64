"""The promotion test ranks with the late sources of the page: stored answers, embedded words, the vocabulary."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator.cli.main import main
from annotator.cli.serve import choose_vocabulary
from annotator.ingest.project_backbone import choose_backbone
from annotator.learning import loop as loop_module
from annotator.learning.job import Job
from annotator.learning.replay import ReplayedProposer
from annotator.learning.snapshot import read_snapshot
from annotator.learning.worker import _evidence
from annotator.models import checkpoint
from annotator.models.backbones import installed
from annotator.models.backbones.hub_install import install
from annotator.models.vision_language.endpoint import PROMPT
from annotator.proposals.fusion import Proposal
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.correction_log import Effort
from annotator.storage.project import Project
from annotator.storage.vision_answers import VisionAnswer
from annotator.trainer.starter import remove_starter

pytestmark = pytest.mark.integration
NAME = "tiny-replay-clip"
PHOTO = 3
SAVED = {1: ["cat", "whisker"], 2: ["coffee"], 4: ["coffee", "cat"], 5: ["heron", "cat"], 6: ["heron"]}


@pytest.fixture(scope="module")
def clip(
    tiny_models: Any, tmp_path_factory: pytest.TempPathFactory, backbone_cache: Path, demo_photos: Path
) -> Iterator[str]:
    """An image-text model with a starter of its own."""
    folder = tmp_path_factory.mktemp("hub") / NAME
    tiny_models.write_clip(folder)
    install(str(folder))
    data = tmp_path_factory.mktemp("data")
    lines = []
    for number, path in enumerate(sorted(demo_photos.iterdir())):
        (data / path.name).write_bytes(path.read_bytes())
        lines.append(json.dumps({"image": path.name, "tags": ["cat", "coffee"] if number % 2 else ["rocket", "cat"]}))
    (data / "records.jsonl").write_text("\n".join(lines))
    command = ["starter", "build", "--backbone", NAME, "--data", str(data), "--only", "jvsp", "--epochs", "1"]
    assert main([*command, "--threads", "1"]) == 0
    yield NAME
    remove_starter(NAME)
    installed.remove_installed(NAME)


@pytest.fixture
def project(clip: str, tmp_path: Path) -> Project:
    project = Project.open_or_create(tmp_path / "project", "test")
    choose_backbone(project, clip)
    project.update_settings(vision_language_model="tiny", least_probability=0.0, detector="none")
    return project


@pytest.fixture
def opened(project: Project, demo_photos: Path) -> Iterator[Callable[[], Session]]:
    """Open the project with its photos read, its words embedded and an answer to each photo."""
    sessions: list[Session] = []

    def make() -> Session:
        session = Session.over(Workspace(project))
        sessions.append(session)
        workspace = session.workspace
        workspace.ingest.run([demo_photos])
        for image_id in range(1, 7):
            tags = ("zarf", "cat") if image_id % 2 else ("zarf", "coffee")
            workspace.vision_answers.add(PROMPT, VisionAnswer(image_id, (), tags, "", 5, 1.0))
        for image_id, tags_saved in SAVED.items():
            session.tagging.save("local", EditedList(image_id, 0, tags_saved, [], Effort()))
        workspace.text_pass.run(waits=False)
        workspace.proposer.prepare()
        return session

    yield make
    for session in sessions:
        session.close()


def job_of(session: Session, monkeypatch: pytest.MonkeyPatch) -> Job:
    """The job that a training would get."""
    jobs: list[Job] = []
    monkeypatch.setattr(loop_module.TrainingProcess, "start", lambda run_id, folder, job: jobs.append(job))
    models = session.workspace.models
    models._start(1, models._live, None)
    monkeypatch.undo()
    return Job(**json.loads(json.dumps(vars(jobs[0]))))


def replayed(session: Session, job: Job) -> ReplayedProposer:
    workspace = session.workspace
    snapshot = read_snapshot(Path(job.snapshot_path), Path(job.features_path), workspace.features.feature_size)
    evidence = _evidence(job, snapshot, workspace.backbone, workspace.similar_tags.vectors)
    return evidence.proposer_of(checkpoint.load(job.live, backbone=workspace.backbone))


def sources(proposals: list[Proposal]) -> dict[str, set[str]]:
    return {proposal.tag: {item.source for item in proposal.evidence} for proposal in proposals}


def test_the_replay_ranks_with_answers_and_embedded_words_as_the_page_does(
    opened: Callable[[], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened()
    shown = session.navigation.open("local", PHOTO)["proposals"]
    session.tagging.save("local", EditedList(PHOTO, 0, ["rocket"], [], Effort()))
    model = replayed(session, job_of(session, monkeypatch))
    found = model._proposer.propose(PHOTO, model._evidence.exclude(PHOTO)).proposals
    by_page = {item["tag"]: {part["source"] for part in item["evidence"]} for item in shown}
    by_replay = sources(found)
    assert {tag for tag, named in by_replay.items() if "vlm" in named} == {"zarf", "cat"}
    late = {"vlm", "text"}
    assert {tag: named & late for tag, named in by_page.items() if named & late} == {
        tag: named & late for tag, named in by_replay.items() if named & late
    }
    assert any("text" in named for named in by_page.values())
    # The weights of the late sources are fitted on lists that are proposed for at another moment.
    scores = {item["tag"]: item["score"] for item in shown}
    for proposal in found:
        if proposal.tag in scores:
            assert proposal.score == pytest.approx(scores[proposal.tag], abs=0.03)
    assert set(model.propose(PHOTO, (), ()).tags) == set(by_replay)


def test_a_vocabulary_restricts_the_replay_too(
    project: Project, opened: Callable[[], Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Workspace(project).close()
    (tmp_path / "few.csv").write_text("tag,alias\ncat,kitty\nzarf,\n")
    choose_vocabulary(project, tmp_path / "few.csv", "restrict")
    session = opened()
    job = job_of(session, monkeypatch)
    assert (job.vocabulary, job.vocabulary_tags) == ("restrict", ["cat", "zarf"])
    model = replayed(session, job)
    assert set(model.propose(1, (), ()).tags) <= {"cat", "zarf"}
    assert model._evidence.vocabulary.renamed("Kitty") == "cat"
    assert "zarf" in model.complete(1, "zar", ())


def test_a_project_without_them_is_replayed_without_them(
    project: Project, opened: Callable[[], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.update_settings(vision_language_model="")
    session = opened()
    model = replayed(session, job_of(session, monkeypatch))
    named = sources(model._proposer.propose(1, model._evidence.exclude(1)).proposals)
    assert not any("vlm" in kinds for kinds in named.values())
    assert any("text" in kinds for kinds in named.values())


def test_a_training_runs_to_its_verdict_in_such_a_project(opened: Callable[[], Session]) -> None:
    session = opened()
    session.workspace.models.set({"least_photos": 1, "gold_margin": 50.0, "newest_share": 0.5})
    run_id = session.workspace.models.train("local")
    session.workspace.models.wait()
    run = session.workspace.models.run(run_id)
    assert run["state"] in ("promoted", "refused"), run
