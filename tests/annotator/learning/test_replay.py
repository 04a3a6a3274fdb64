"""The gate's page against the real one: what a person was shown before a save is what the replay of that save shows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from annotator.learning.replay import PageSources, ReplayedEvidence
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

IN_HAND = 3
SAVED = {1: ["cat", "whisker"], 2: ["whisker", "coffee"], 4: ["coffee", "cat"], 5: ["heron", "cat", "pet"]}


@pytest.fixture
def opened(open_project: Callable[..., Session], demo_photos: Path) -> Session:
    first = open_project(demo_photos, tagger="starter/scnn_rnn")
    first.workspace.project.update_settings(detector="nanodet")
    first.close()
    opened = open_project(folder=first.workspace.project.folder, tagger="starter/scnn_rnn")
    DetectionStore(opened.workspace.store).add(
        "nanodet-1", [(IN_HAND, [Detection("zebra", 0.9, (0.1, 0.1, 0.8, 0.8))])]
    )
    for image_id, tags in SAVED.items():
        opened.tagging.save("local", EditedList(image_id, 0, tags, [], Effort()))
    opened.tag_editing.change_tag("local", "rename", "pet", "animal companion")
    return opened


def evidence_of(opened: Session, folder: Path) -> ReplayedEvidence:
    path = folder / "snapshot.parquet"
    write_snapshot(opened.workspace.store, opened.workspace.features.path.stem, path)
    snapshot = read_snapshot(path, opened.workspace.features.path, opened.workspace.features.feature_size)
    sources = PageSources(
        ColdStartTagger(opened.workspace.backbone),
        opened.workspace.catalog.open_vocabulary,
        opened.workspace.similar_tags.vectors,
        opened.workspace.tag_changes.aliases(),
    )
    return ReplayedEvidence(snapshot, opened.workspace.features, sources)


def test_the_replay_shows_what_the_page_showed(opened: Session, tmp_path: Path) -> None:
    opened.workspace.similar_tags.load()
    session = opened
    shown = {}
    for kept in ([], ["heron"]):
        said = (
            session.navigation.open("local", IN_HAND)
            if not kept
            else session.tagging.propose("local", IN_HAND, kept, [], 0)
        )
        completed = {
            text: [item["tag"] for item in session.tagging.complete("local", IN_HAND, text, kept)["completions"]]
            for text in ("w", "ca", "automobile", "zebra")
        }
        shown[tuple(kept)] = ([proposal["tag"] for proposal in said["proposals"]], said["num_expected"], completed)
    assert "zebra" in shown[()][0]
    session.tagging.save("local", EditedList(IN_HAND, 0, ["heron", "only here"], [], Effort()))
    evidence = evidence_of(opened, tmp_path)
    page = evidence.page(checkpoint.load("starter/scnn_rnn", backbone=opened.workspace.backbone))
    page.propose(1, (), ())  # another was in hand before
    for kept_tags, (tags, num_expected, completed) in shown.items():
        offer = page.propose(IN_HAND, kept_tags, ())
        # The page also has a row for a tag of one photo (heron); nothing else may differ.
        assert [tag for tag in offer.tags if tag != "heron"] == [tag for tag in tags if tag != "heron"][
            : len(offer.tags)
        ]
        assert offer.num_expected == num_expected
        for text, expected in completed.items():
            assert page.complete(IN_HAND, text, kept_tags) == expected, text


def test_a_photo_in_hand_does_not_know_its_own_tags(opened: Session, tmp_path: Path) -> None:
    opened.tagging.save("local", EditedList(IN_HAND, 0, ["qzx"], [], Effort()))
    page = evidence_of(opened, tmp_path).page(checkpoint.load("starter/scnn_rnn", backbone=opened.workspace.backbone))
    assert "qzx" not in page.complete(IN_HAND, "qz", ())
    # Beside another photo it is a correction like all others.
    assert "qzx" in page.complete(1, "qz", ())
    assert "qzx" not in page.complete(IN_HAND, "qz", ())


def test_a_reranker_is_heard_by_the_page_and_by_its_replay_until_habits_are_switched_off(
    opened: Session, tmp_path: Path
) -> None:
    session, source = opened, "starter/scnn_rnn"
    answer = session.tagging.propose("local", IN_HAND, ["cat"], [], 0)
    plain = answer["proposals"]
    assert not answer["neighbours"]["has_learnt_order"]
    folder = opened.workspace.project.checkpoints_path / "learnt"
    checkpoint.save(
        checkpoint.load(source),
        folder,
        checkpoint.read_info(source).about,
        reranker=Reranker({"joint": 0.1, "next": 9.0}),
    )
    session.administration.set_tagger("local", "checkpoints/learnt")
    first = session.tagging.propose("local", IN_HAND, ["cat"], [], 0)["proposals"][0]
    # After "cat": "whisker" (1), "animal companion" (5), as "pet" is called now.
    assert first["tag"] in ("whisker", "animal companion")
    habit = next(item for item in first["evidence"] if item["source"] == "habits")
    assert habit["text"] == "after “cat” it came next in 1 of 3 lists"
    assert habit["weight"] == habit["score"] > 0
    without = session.tagging.propose(
        "local", IN_HAND, ["cat"], [], 0, without=Exclusions(sources=frozenset(("habits",)))
    )
    assert [item["tag"] for item in without["proposals"]] == [item["tag"] for item in plain]
    assert without["neighbours"]["has_learnt_order"]  # it can be switched on again

    # Only the list of photo 1 itself goes on with "whisker" after "cat": opened again, it does not hear of it.
    again = session.tagging.propose("local", 1, ["cat"], [], 1)["proposals"]
    texts = [item["text"] for proposal in again if proposal["tag"] == "whisker" for item in proposal["evidence"]]
    assert not any("came next" in text for text in texts)

    shown = [item["tag"] for item in session.tagging.propose("local", IN_HAND, ["cat"], [], 0)["proposals"]]
    session.tagging.save("local", EditedList(IN_HAND, 0, ["only here"], [], Effort()))
    page = evidence_of(opened, tmp_path).page(checkpoint.load(folder, backbone=opened.workspace.backbone))
    assert [tag for tag in page.propose(IN_HAND, ["cat"], ()).tags if tag != "heron"][:5] == [
        tag for tag in shown if tag != "heron"
    ][:5]


def test_the_habits_of_a_photo_in_hand_are_not_weighed(opened: Session, tmp_path: Path) -> None:
    opened.tagging.save("local", EditedList(IN_HAND, 0, ["cat", "qzx"], [], Effort()))
    page = evidence_of(opened, tmp_path).page(checkpoint.load("starter/scnn_rnn", backbone=opened.workspace.backbone))
    assert "qzx" not in page.open_tags(IN_HAND, ["cat"])[0]
    tags, features = page.open_tags(1, ["cat"])
    assert "qzx" in tags
    assert features.shape == (len(tags), len(FEATURES))
    assert features[tags.index("qzx"), FEATURES.index("next")] > 0
