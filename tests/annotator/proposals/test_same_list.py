"""The same photo in the same project gets the same list by every way that uses proposals/builder.py."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from annotator.learning.replay import ReplayedEvidence, ReplaySources
from annotator.learning.snapshot import read_snapshot, write_snapshot
from annotator.models import checkpoint
from annotator.models.detectors.detector import Detection
from annotator.models.reranker import Reranker
from annotator.models.taggers.cold_start import ColdStartTagger
from annotator.proposals.fusion import Proposal
from annotator.proposals.without_project import suggest_files
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.simulation.simulated_annotator import PREFIX, SimulatedAnnotator
from annotator.storage.correction_log import Effort
from annotator.storage.detections import DetectionStore

STARTER = "starter/scnn_rnn"
PHOTO = 3
SAVED = {
    1: ["cat", "whisker", "zirconium"],
    2: ["whisker", "coffee"],
    4: ["coffee", "cat", "polymorphism"],
    5: ["heron", "cat", "zirconium"],
    6: ["heron", "polymorphism"],
}
"""Every tag is on two photos, from which on the replay has a row for it, too. No tagger knows the rare words."""
SOURCES = {"decoder", "looks", "neighbours", "metadata", "detector", "words", "keywords", "habits"}

Ranked = list[tuple[str, float, list[str]]]
"""(tag, score, sources of the evidence)."""


def of_answer(answer: Any) -> Ranked:
    return [
        (proposal["tag"], proposal["score"], [item["source"] for item in proposal["evidence"]])
        for proposal in answer["proposals"]
    ]


def of_proposals(proposals: Iterable[Proposal]) -> Ranked:
    return [(item.tag, round(item.score, 4), [evidence.source for evidence in item.evidence]) for item in proposals]


@pytest.fixture
def tagger(tmp_path: Path) -> Path:
    """The starter with a re-ranker, so that tag statistics are a source, too."""
    folder = tmp_path / "with re-ranker"
    reranker = Reranker({"probability": 1.0, "next": 0.3, "words": 0.5})
    checkpoint.save(checkpoint.load(STARTER), folder, checkpoint.read_info(STARTER).about, reranker=reranker)
    return folder


@pytest.fixture
def opened(open_project: Callable[..., Session], demo_photos: Path, tmp_path: Path, tagger: Path) -> Session:
    """A project with evidence of every source; all photos but one are saved."""
    photos = tmp_path / "photos"
    shutil.copytree(demo_photos, photos)
    for path in sorted(photos.iterdir()):
        path.with_suffix(".txt").write_text("garden")
    first = open_project(photos, tagger=str(tagger))
    first.workspace.project.update_settings(detector="nanodet", least_probability=0.0)
    first.close()
    opened = open_project(folder=first.workspace.project.folder, tagger=str(tagger))
    DetectionStore(opened.workspace.store).add("nanodet-1", [(PHOTO, [Detection("cup", 0.9, (0.1, 0.1, 0.8, 0.8))])])
    opened.workspace.similar_tags.load()
    for image_id, tags in SAVED.items():
        opened.tagging.save("local", EditedList(image_id, 0, tags, [], Effort()))
    return opened


def replayed(opened: Session, tagger: Path, folder: Path, kept: list[str]) -> Ranked:
    """The list that the promotion test replays; its tags are also those of its public answer."""
    workspace = opened.workspace
    path = folder / "snapshot.parquet"
    write_snapshot(workspace.store, workspace.features.path.stem, path)
    snapshot = read_snapshot(path, workspace.features.path, workspace.features.feature_size)
    sources = ReplaySources(
        ColdStartTagger(workspace.backbone),
        workspace.catalog.open_vocabulary,
        workspace.similar_tags.vectors,
        workspace.tag_changes.aliases(),
        least_probability=0.0,
        log_losses=workspace.proposer.log_losses(),
    )
    evidence = ReplayedEvidence(snapshot, workspace.features, sources)
    model = evidence.proposer_of(checkpoint.load(tagger, backbone=workspace.backbone))
    offer = model.propose(PHOTO, kept, ())
    found = of_proposals(model._proposer.propose(PHOTO, evidence.exclude(PHOTO), kept).proposals)
    assert list(offer.tags) == [tag for tag, *_ in found]
    return found


def test_the_session_rest_the_simulation_and_the_promotion_test_rank_alike(
    opened: Session, tagger: Path, make_client: Callable[..., Any], tmp_path: Path
) -> None:
    client, person = make_client(opened), SimulatedAnnotator(opened, PREFIX)
    before = of_answer(opened.navigation.open("local", PHOTO))
    assert of_answer(client.post("/api/open", json={"image_id": PHOTO}).json()) == before
    opened.workspace.leases.end(PHOTO)
    assert of_answer(person.ask("open", image_id=PHOTO)) == before

    opened.workspace.leases.end(PHOTO)
    kept = ["cat"]
    edited = {"image_id": PHOTO, "kept": kept, "dropped": []}
    after = of_answer(opened.tagging.propose("local", PHOTO, kept, [], 0))
    assert of_answer(client.post("/api/propose", json=edited).json()) == after != before
    opened.workspace.leases.end(PHOTO)
    assert of_answer(person.ask("propose", **edited)) == after
    opened.workspace.leases.end(PHOTO)
    assert {source for *_, sources in (*before, *after) for source in sources} >= SOURCES

    opened.tagging.save("local", EditedList(PHOTO, 0, ["cat", "coffee"], [], Effort()))
    assert replayed(opened, tagger, tmp_path, []) == before
    assert replayed(opened, tagger, tmp_path, kept) == after


@pytest.mark.parametrize("name", ["cat.png", "coffee.png"])
def test_suggest_ranks_as_a_project_without_saves(
    open_project: Callable[..., Session], demo_photos: Path, tmp_path: Path, name: str
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    photo = photos / "1.png"
    shutil.copy(demo_photos / name, photo)
    opened = open_project(photos, tagger=STARTER)
    proposals = opened.navigation.open("local", 1)["proposals"]
    ((_, suggested),) = suggest_files([photo], len(proposals), STARTER)
    assert isinstance(suggested, list)
    assert {item["source"] for item in suggested} >= {"decoder", "looks"}
    assert suggested == [{key: proposal[key] for key in ("tag", "score", "source")} for proposal in proposals]
