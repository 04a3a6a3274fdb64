"""The replay of the promotion test against the session: both give the same proposals before a save."""

from collections.abc import Callable
from pathlib import Path

import pytest

from annotator.learning.replay import ReplayedEvidence, ReplaySources
from annotator.learning.snapshot import read_snapshot, write_snapshot
from annotator.models import checkpoint
from annotator.models.detectors.detector import Detection
from annotator.models.reranker import FEATURES, Reranker
from annotator.models.taggers.cold_start import ColdStartTagger
from annotator.proposals.proposer import Exclusions
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort
from annotator.storage.detections import DetectionStore

PHOTO = 3
SAVED = {1: ["cat", "whisker"], 2: ["whisker", "coffee"], 4: ["coffee", "cat"], 5: ["heron", "cat", "pet"]}


@pytest.fixture
def opened(open_project: Callable[..., Session], demo_photos: Path) -> Session:
    first = open_project(demo_photos, tagger="starter/scnn_rnn")
    first.workspace.project.update_settings(detector="nanodet", least_probability=0.0)
    first.close()
    opened = open_project(folder=first.workspace.project.folder, tagger="starter/scnn_rnn")
    DetectionStore(opened.workspace.store).add("nanodet-1", [(PHOTO, [Detection("cat", 0.9, (0.1, 0.1, 0.8, 0.8))])])
    for image_id, tags in SAVED.items():
        opened.tagging.save("local", EditedList(image_id, 0, tags, [], Effort()))
    opened.tag_editing.change_tag("local", "rename", "pet", "animal companion")
    opened.workspace.proposer.prepare()
    return opened


def evidence_of(opened: Session, folder: Path) -> ReplayedEvidence:
    path = folder / "snapshot.parquet"
    write_snapshot(opened.workspace.store, opened.workspace.features.path.stem, path)
    snapshot = read_snapshot(path, opened.workspace.features.path, opened.workspace.features.feature_size)
    sources = ReplaySources(
        ColdStartTagger(opened.workspace.backbone),
        opened.workspace.catalog.open_vocabulary,
        opened.workspace.similar_tags.vectors,
        opened.workspace.tag_changes.aliases(),
        least_probability=0.0,
        log_losses=opened.workspace.proposer.log_losses(),
    )
    return ReplayedEvidence(snapshot, opened.workspace.features, sources)


def test_the_replay_gives_the_proposals_of_the_session(opened: Session, tmp_path: Path) -> None:
    opened.workspace.similar_tags.load()
    session = opened
    shown = {}
    for kept in ([], ["heron"]):
        said = (
            session.navigation.open("local", PHOTO)
            if not kept
            else session.tagging.propose("local", PHOTO, kept, [], 0)
        )
        completed = {
            text: [item["tag"] for item in session.tagging.complete("local", PHOTO, text, kept)["completions"]]
            for text in ("w", "ca", "automobile", "zebra")
        }
        shown[tuple(kept)] = ([proposal["tag"] for proposal in said["proposals"]], said["num_expected"], completed)
    first = session.navigation.open("local", PHOTO)["proposals"]
    assert "detector" in {item["source"] for proposal in first for item in proposal["evidence"]}
    session.tagging.save("local", EditedList(PHOTO, 0, ["heron", "only here"], [], Effort()))
    evidence = evidence_of(opened, tmp_path)
    proposer = evidence.proposer_of(checkpoint.load("starter/scnn_rnn", backbone=opened.workspace.backbone))
    proposer.propose(1, (), ())  # another photo was excluded before
    for kept_tags, (tags, num_expected, completed) in shown.items():
        offer = proposer.propose(PHOTO, kept_tags, ())
        # The session also has a row for a tag of one photo (heron); nothing else may differ.
        assert [tag for tag in offer.tags if tag != "heron"] == [tag for tag in tags if tag != "heron"][
            : len(offer.tags)
        ]
        assert offer.num_expected == num_expected
        for text, expected in completed.items():
            assert proposer.complete(PHOTO, text, kept_tags) == expected, text


def test_the_replay_does_not_propose_what_the_project_never_proposes(opened: Session, tmp_path: Path) -> None:
    opened.administration.set_never_proposed("Cat", never=True)
    assert "cat" not in [item["tag"] for item in opened.navigation.open("local", PHOTO)["proposals"]]
    opened.tagging.save("local", EditedList(PHOTO, 0, ["heron"], [], Effort()))
    path = tmp_path / "snapshot.parquet"
    write_snapshot(opened.workspace.store, opened.workspace.features.path.stem, path)
    snapshot = read_snapshot(path, opened.workspace.features.path, opened.workspace.features.feature_size)
    never = opened.workspace.project.settings.never_proposed
    sources = ReplaySources(ColdStartTagger(opened.workspace.backbone), least_probability=0.0, never_proposed=never)
    evidence = ReplayedEvidence(snapshot, opened.workspace.features, sources)
    proposer = evidence.proposer_of(checkpoint.load("starter/scnn_rnn", backbone=opened.workspace.backbone))
    tags = proposer.propose(PHOTO, (), ()).tags
    assert tags
    assert "cat" not in tags
    assert "cat" not in proposer.complete(PHOTO, "ca", ())
    assert "cat" in proposer.complete(PHOTO, "cat", ())


def test_a_replayed_photo_is_excluded_from_its_own_evidence(opened: Session, tmp_path: Path) -> None:
    opened.tagging.save("local", EditedList(PHOTO, 0, ["qzx"], [], Effort()))
    proposer = evidence_of(opened, tmp_path).proposer_of(
        checkpoint.load("starter/scnn_rnn", backbone=opened.workspace.backbone)
    )
    assert "qzx" not in proposer.complete(PHOTO, "qz", ())
    # For another photo it counts like all other corrections.
    assert "qzx" in proposer.complete(1, "qz", ())
    assert "qzx" not in proposer.complete(PHOTO, "qz", ())


def test_session_and_replay_re_rank_until_tag_statistics_are_excluded(opened: Session, tmp_path: Path) -> None:
    session, source = opened, "starter/scnn_rnn"
    off = Exclusions(sources=frozenset(("habits",)))
    answer = session.tagging.propose("local", PHOTO, ["cat"], [], 0, exclusions=off)
    plain = answer["proposals"]
    assert not answer["neighbours"]["has_learnt_order"]
    folder = opened.workspace.project.checkpoints_path / "learnt"
    checkpoint.save(
        checkpoint.load(source),
        folder,
        checkpoint.read_info(source).about,
        reranker=Reranker({"probability": 0.1, "next": 9.0}),
    )
    session.administration.set_tagger("local", "checkpoints/learnt")
    session.workspace.proposer.prepare()
    first = session.tagging.propose("local", PHOTO, ["cat"], [], 0)["proposals"][0]
    # After "cat": "whisker" (1), "animal companion" (5), as "pet" is called now.
    assert first["tag"] in ("whisker", "animal companion")
    item = next(entry for entry in first["evidence"] if entry["source"] == "habits")
    assert item["text"] == "after “cat” it came next in 1 of 3 lists"
    assert item["score"] > 0
    without = session.tagging.propose("local", PHOTO, ["cat"], [], 0, exclusions=off)
    assert [item["tag"] for item in without["proposals"]] == [item["tag"] for item in plain]
    assert without["neighbours"]["has_learnt_order"]  # it can be switched on again

    # Only the list of photo 1 itself goes on with "whisker" after "cat": it is left out for photo 1.
    again = session.tagging.propose("local", 1, ["cat"], [], 1)["proposals"]
    texts = [item["text"] for proposal in again if proposal["tag"] == "whisker" for item in proposal["evidence"]]
    assert not any("came next" in text for text in texts)

    shown = [item["tag"] for item in session.tagging.propose("local", PHOTO, ["cat"], [], 0)["proposals"]]
    session.tagging.save("local", EditedList(PHOTO, 0, ["only here"], [], Effort()))
    proposer = evidence_of(opened, tmp_path).proposer_of(checkpoint.load(folder, backbone=opened.workspace.backbone))
    assert [tag for tag in proposer.propose(PHOTO, ["cat"], ()).tags if tag != "heron"][:5] == [
        tag for tag in shown if tag != "heron"
    ][:5]


def test_the_tag_statistics_of_a_replayed_photo_leave_out_its_own_list(opened: Session, tmp_path: Path) -> None:
    opened.tagging.save("local", EditedList(PHOTO, 0, ["cat", "qzx"], [], Effort()))
    proposer = evidence_of(opened, tmp_path).proposer_of(
        checkpoint.load("starter/scnn_rnn", backbone=opened.workspace.backbone)
    )
    assert "qzx" not in proposer.reranker_features(PHOTO, ["cat"])[0]
    tags, features = proposer.reranker_features(1, ["cat"])
    assert "qzx" in tags
    assert features.shape == (len(tags), len(FEATURES))
    assert features[tags.index("qzx"), FEATURES.index("next")] > 0
