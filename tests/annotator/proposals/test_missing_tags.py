"""Missing tags: which saved photos are ranked as likely, and that only a save changes one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.taggers.open_vocabulary import OpenVocabulary, OpenVocabularyConfig
from annotator.proposals.missing_tags import MAX_LIKELY, UNKNOWN_NOTE, _by_examples, rank_candidates
from annotator.session.after_commit import NUM_FOR_SWEEP
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort

SIZE = 8
WORDS = {"dog": (1.0, 0.0), "puppy": (0.9, 0.1), "car": (0.0, 1.0), "truck": (0.1, 0.9)}


class Space:
    def matrix(self, tags: Sequence[str]) -> tuple[Any, Any]:
        rows = np.array([WORDS.get(tag, (0.0, 0.0)) for tag in tags], np.float32).reshape(len(tags), 2)
        return rows, rows.any(axis=1)


def photos(num: int, channel: int, seed: int) -> Any:
    """Photos that are loud in one channel."""
    features = np.random.default_rng(seed).random((num, SIZE)).astype(np.float32)
    features[:, channel] += 3
    return features


@pytest.fixture(scope="module")
def opened() -> OpenVocabulary:
    features = np.concatenate([photos(60, 0, 1), photos(60, 1, 2)])
    config = OpenVocabularyConfig(use_classes=False, words=("puppy", "truck"), feature_ridge=0.01, word_ridge=0.1)
    given = [["dog"]] * 60 + [["car"]] * 60
    return OpenVocabulary.fit(Vocabulary(["dog", "car"]), features, given, config, vectors=Space())


def test_photos_like_the_examples_come_first_and_are_counted() -> None:
    candidates = np.concatenate([photos(80, 1, 3), photos(20, 0, 4), photos(80, 2, 5)])
    found = rank_candidates("anything", photos(10, 0, 6), candidates, None)
    assert set(found.order[:20].tolist()) == set(range(80, 100))
    assert 5 <= found.num_likely <= 20
    assert sorted(found.order.tolist()) == list(range(180))


def test_without_examples_the_word_alone_ranks_and_nothing_counts_as_likely(opened: OpenVocabulary) -> None:
    opened.join = (0.0, 1.0, 0.0)
    candidates = np.concatenate([photos(30, 1, 3), photos(10, 0, 4)])
    found = rank_candidates("puppy", candidates[:0], candidates, opened, vectors=Space())
    assert set(found.order[:10].tolist()) == set(range(30, 40))
    assert found.num_likely == 0
    assert found.is_informed


def test_a_word_without_vector_and_without_examples_is_not_informed(opened: OpenVocabulary) -> None:
    candidates = photos(30, 1, 3)
    assert not rank_candidates("sdfgh", candidates[:0], candidates, opened, vectors=Space()).is_informed
    assert not rank_candidates("sdfgh", candidates[:0], candidates, None).is_informed
    assert rank_candidates("sdfgh", candidates[:1], candidates, opened, vectors=Space()).is_informed


def test_word_and_examples_are_joined_and_an_unknown_word_changes_nothing(opened: OpenVocabulary) -> None:
    opened.join = (0.0, 1.0, 0.0)
    candidates = np.concatenate([photos(50, 1, 3), photos(10, 0, 4), photos(50, 2, 5)])
    examples = photos(1, 0, 6)
    by_examples = rank_candidates("nonsense", examples, candidates, opened, vectors=Space())
    assert by_examples.order.tolist() == rank_candidates("nonsense", examples, candidates, None).order.tolist()
    joined = rank_candidates("truck", examples, candidates, opened, vectors=Space())
    place = {row: at for at, row in enumerate(joined.order.tolist())}
    before = {row: at for at, row in enumerate(by_examples.order.tolist())}
    assert np.mean([place[row] for row in range(50)]) < np.mean([before[row] for row in range(50)])


def test_an_examples_own_score_is_that_of_the_regression_without_it() -> None:
    examples, candidates = photos(3, 0, 6), photos(40, 1, 3)
    ours, theirs = _by_examples(examples, candidates, seed=0)
    assert theirs.mean() == pytest.approx(0, abs=1e-5)
    assert theirs.std() == pytest.approx(1, abs=1e-5)
    # Left out one by one, with the weights that all three have.
    from annotator.models.taggers.scoring_tagger import unit_rows
    from annotator.models.taggers.zero_shot import root

    others = candidates[np.random.default_rng(0).permutation(40)]
    rooted = root(others)

    def inputs(features: Any) -> Any:
        return unit_rows((root(features) - rooted.mean(axis=0)) / rooted.std(axis=0))

    rows = np.concatenate([inputs(examples), inputs(others)])
    importance = np.array([40 / 3] * 3 + [1.0] * 40)
    targets = np.array([1.0] * 3 + [-1.0] * 40)

    def predict(kept: list[int], features: Any) -> Any:
        design = np.concatenate([rows[kept], np.ones((len(kept), 1))], axis=1)
        left = design.T @ (importance[kept, None] * design) + np.eye(design.shape[1])
        weights = np.linalg.solve(left, design.T @ (importance[kept] * targets[kept]))
        return np.concatenate([features, np.ones((len(features), 1))], axis=1) @ weights

    everything = list(range(43))
    scores = predict(everything, inputs(candidates))
    for row in range(3):
        alone = predict([other for other in everything if other != row], rows[row : row + 1])[0]
        assert ours[row] == pytest.approx((alone - scores.mean()) / scores.std(), abs=1e-3)


def test_a_ranking_of_nothing_is_empty_and_a_large_one_is_cut() -> None:
    assert rank_candidates("dog", photos(2, 0, 1), np.zeros((0, SIZE), np.float32), None).order.tolist() == []
    assert rank_candidates("dog", photos(10, 0, 1), photos(500, 0, 2), None).num_likely <= MAX_LIKELY


@pytest.fixture
def session(open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", range(1, NUM_FOR_SWEEP + 4))
    session = open_project(tmp_path / "photos")
    session.workspace.catalog.open_vocabulary = None  # its word vectors are read from a file that takes seconds to make
    return session


def save(session: Session, image_id: int, *tags: str, dropped: Sequence[str] = ()) -> dict[str, Any]:
    revision = session.navigation.open("local", image_id)["revision"]
    return session.tagging.save("local", EditedList(image_id, revision, tags, dropped, Effort()))


def test_the_save_that_brings_a_tag_to_ten_photos_says_so_once(session: Session) -> None:
    for image_id in range(1, NUM_FOR_SWEEP):
        assert save(session, image_id, "wildlife")["now_common"] == []
    assert save(session, NUM_FOR_SWEEP, "Wildlife", "lake")["now_common"] == ["wildlife"]
    assert save(session, NUM_FOR_SWEEP, "lake", "wildlife")["now_common"] == []  # the same photo again
    assert save(session, NUM_FOR_SWEEP + 1, "wildlife")["now_common"] == []  # the eleventh


def test_every_save_that_takes_a_tag_over_the_line_says_so(session: Session) -> None:
    for image_id in range(1, NUM_FOR_SWEEP - 1):
        save(session, image_id, "wildlife")
    revision = session.navigation.open("local", NUM_FOR_SWEEP - 1)["revision"]
    members = [(image_id, 0) for image_id in range(NUM_FOR_SWEEP, NUM_FOR_SWEEP + 3)]
    saved = session.group_tagging.save_group(
        "local", EditedList(NUM_FOR_SWEEP - 1, revision, ["wildlife", "lake"], [], Effort()), members
    )
    assert saved["now_common"] == ["wildlife"]  # from 8 to 12
    assert save(session, 1, "lake")["now_common"] == []


def test_a_save_says_so_of_the_count_that_it_changed_itself(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for image_id in range(1, NUM_FOR_SWEEP):
        save(session, image_id, "wildlife")
    # Somebody else's save of the eleventh comes between this one's commit and its answer.
    monkeypatch.setattr(
        session.workspace.models, "note_save", lambda: session.workspace.ranking.vocabulary.count(["wildlife"], 1)
    )
    assert save(session, NUM_FOR_SWEEP, "wildlife")["now_common"] == ["wildlife"]


def test_a_merge_that_takes_a_tag_over_the_line_says_so_and_a_rename_does_not(session: Session) -> None:
    for image_id in range(1, NUM_FOR_SWEEP + 1):
        save(session, image_id, "wildlife" if image_id % 2 else "animals")
    assert session.tag_editing.change_tag("local", "merge", "animals", "wildlife") == {
        "num_photos": NUM_FOR_SWEEP // 2, "now_common": ["wildlife"], "change_id": 1
    }  # fmt: skip
    assert session.tag_editing.change_tag("local", "rename", "wildlife", "fauna") == {
        "num_photos": NUM_FOR_SWEEP,
        "now_common": [],
        "change_id": 2,
    }


def test_the_answer_says_where_the_order_of_the_photos_means_nothing(session: Session) -> None:
    save(session, 1, "wildlife")
    save(session, 2, "lake")
    assert session.tag_editing.missing_tags("local", "wildlife", 10)["note"] == ""
    answer = session.tag_editing.missing_tags("local", "sdfgh", 10)
    assert (answer["note"], answer["num_likely"], len(answer["items"])) == (UNKNOWN_NOTE, 0, 2)


def test_missing_tags_lists_saved_photos_without_the_tag_and_changes_none(session: Session) -> None:
    save(session, 1, "wildlife")
    save(session, 2, "lake")
    save(session, 3, "lake", dropped=["WILDLIFE"])
    save(session, 4)
    before = {image_id: session.review.history("local", image_id)["events"] for image_id in range(1, 6)}
    answer = session.tag_editing.missing_tags("local", "Wildlife", 200)
    assert (answer["tag"], answer["num_examples"]) == ("wildlife", 1)
    assert {item["image_id"] for item in answer["items"]} == {2, 4}  # not refused, not unsaved
    assert 0 <= answer["num_likely"] <= 2
    lake = next(item for item in answer["items"] if item["image_id"] == 2)
    assert (lake["kept"], lake["dropped"], lake["revision"]) == (["lake"], [], 1)
    assert lake["image_url"].startswith("/image/2?v=")
    assert {image_id: session.review.history("local", image_id)["events"] for image_id in range(1, 6)} == before
    assert len(session.tag_editing.missing_tags("local", "wildlife", 1)["items"]) == 1


def test_missing_tags_leaves_out_what_is_assigned_to_others(session: Session) -> None:
    save(session, 1, "wildlife")
    save(session, 2, "lake")
    save(session, 4)
    session.workspace.assignments.assign([2], "anna")
    for user, expected in (("ben", {4}), ("anna", {2, 4}), ("local", {2, 4})):
        answer = session.tag_editing.missing_tags(user, "wildlife", 200)
        assert {item["image_id"] for item in answer["items"]} == expected
        assert answer["num_likely"] <= len(expected)


def test_a_yes_is_a_save_with_a_revision_that_undo_takes_back(session: Session) -> None:
    save(session, 1, "wildlife")
    save(session, 2, "lake")
    (item,) = session.tag_editing.missing_tags("local", "wildlife", 200)["items"]
    session.tagging.save(
        "local", EditedList(2, item["revision"], [*item["kept"], "wildlife"], item["dropped"], Effort())
    )
    assert session.navigation.open("local", 2)["saved"] == ["lake", "wildlife"]
    assert session.tag_editing.missing_tags("local", "wildlife", 200)["items"] == []
    assert session.tagging.undo("local")["image_id"] == 2
    assert session.navigation.open("local", 2)["saved"] == ["lake"]
