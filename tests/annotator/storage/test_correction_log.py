import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from annotator.errors import StaleRevisionError, StoreError
from annotator.storage import correction_log as log_module
from annotator.storage.correction_log import Annotation, CorrectionLog, Draft, Effort, NothingToUndoError
from annotator.storage.database import Store
from annotator.storage.edit_script import apply
from annotator.storage.event_digests import SELECTED, running_digests
from annotator.storage.images import ImageEntry, IngestedBatch

MakeStore = Callable[..., Store]


@pytest.fixture
def log(make_store: MakeStore) -> CorrectionLog:
    return CorrectionLog(make_store(3))


def save(log: CorrectionLog, image_id: int, *tags: str, user: str = "ann", **values: Any) -> Annotation:
    values = {"revision": log.annotation(image_id).revision, "dropped": (), "effort": Effort(), **values}
    return log.save(image_id, tags=tags, user_name=user, **values)


def test_a_save_becomes_the_annotation(log: CorrectionLog) -> None:
    saved = save(log, 1, "cat", "sofa", dropped=["dog"])
    assert (saved.revision, saved.tags, saved.dropped, saved.is_saved) == (1, ("cat", "sofa"), ("dog",), True)
    assert log.annotation(1) == saved
    assert log.annotation(2) == Annotation(2)
    assert dict(log.saved()) == {1: ("cat", "sofa")}


def test_the_log_keeps_who_when_what_and_at_which_cost(log: CorrectionLog) -> None:
    shown = [{"tag": "dog", "score": 0.7, "source": "looks"}]
    effort = Effort("cold_start 1", shown, [["take", "cat", 1], ["move", "cat", 1, 0]], 3.5, 4, 1)
    save(log, 1, "sofa", "dog")
    save(log, 1, "cat", "sofa", effort=effort, user="ben")
    first, event = log.history(1)
    assert (first["before_tags"], first["after_tags"], first["user_name"]) == ([], ["sofa", "dog"], "ann")
    assert (event["before_tags"], event["after_tags"], event["user_name"]) == (["sofa", "dog"], ["cat", "sofa"], "ben")
    assert (event["tagger"], event["shown"], event["seconds"]) == ("cold_start 1", shown, 3.5)
    assert (event["num_keys"], event["num_clicks"]) == (4, 1)
    assert event["actions"] == [["take", "cat", 1], ["move", "cat", 1, 0]]
    assert apply([tuple(step) for step in event["edit_script"]], ["sofa", "dog"]) == ["cat", "sofa"]
    assert first["created_at"] <= event["created_at"]


def test_a_stale_save_is_refused_with_the_current_list_and_overwrites_nothing(log: CorrectionLog) -> None:
    save(log, 1, "cat", user="ben")
    with pytest.raises(StaleRevisionError, match="saved by ben since you opened it") as caught:
        save(log, 1, "dog", revision=0)
    error = caught.value
    assert (error.revision, error.tags, error.user) == (1, ["cat"], "ben")
    assert error.saved_at.endswith("Z")
    assert log.annotation(1).tags == ("cat",)
    assert len(log.history(1)) == 1
    assert save(log, 1, "dog", revision=error.revision).revision == 2  # knowingly


def test_a_revision_of_the_future_is_refused_too(log: CorrectionLog) -> None:
    with pytest.raises(StaleRevisionError):
        save(log, 1, "dog", revision=5)
    assert log.history(1) == []


def test_undo_is_a_new_event_that_restores_the_earlier_list(log: CorrectionLog) -> None:
    save(log, 1, "cat", dropped=["dog"])
    save(log, 1, "cat", "sofa", dropped=["bed"])
    annotation, draft = log.undo("ann")
    assert (annotation.tags, annotation.dropped, annotation.revision, annotation.is_saved) == (
        ("cat",),
        ("dog",),
        3,
        True,
    )
    assert log.annotation(1) == annotation
    assert draft == Draft(3, ("cat", "sofa"), ("bed",))
    assert log.draft(1, "ann") == draft
    assert [event["kind"] for event in log.history(1)] == ["save", "save", "undo"]


def test_undo_of_the_only_save_leaves_the_photo_unsaved(log: CorrectionLog) -> None:
    save(log, 1, "cat")
    annotation, _ = log.undo("ann")
    assert (annotation.is_saved, annotation.tags) == (False, ())
    assert dict(log.saved()) == {}


def test_undo_goes_back_across_photos_and_stops_at_the_first_save(log: CorrectionLog) -> None:
    save(log, 1, "cat")
    save(log, 2, "dog")
    save(log, 1, "cat", "sofa")
    assert [log.undo("ann")[0].image_id for _ in range(3)] == [1, 2, 1]
    assert [log.annotation(image).is_saved for image in (1, 2)] == [False, False]
    with pytest.raises(NothingToUndoError, match=r"Nothing to undo\."):
        log.undo("ann")


def test_a_save_after_an_undo_can_be_undone(log: CorrectionLog) -> None:
    save(log, 1, "cat")
    log.undo("ann")
    save(log, 1, "dog")
    annotation, draft = log.undo("ann")
    assert (annotation.is_saved, annotation.tags, draft.kept) == (False, (), ("dog",))
    with pytest.raises(NothingToUndoError):
        log.undo("ann")


def test_undo_takes_back_only_ones_own_saves(log: CorrectionLog) -> None:
    save(log, 1, "cat", user="ann")
    save(log, 2, "dog", user="ben")
    assert log.undo("ann")[0].image_id == 1
    assert log.annotation(2).tags == ("dog",)
    with pytest.raises(NothingToUndoError):
        log.undo("cleo")


def test_undo_is_refused_after_another_users_save_until_that_is_undone(log: CorrectionLog) -> None:
    save(log, 1, "cat", user="ann")
    save(log, 1, "cat", "sofa", user="ben")
    with pytest.raises(StaleRevisionError, match=r"ben has saved this photo .* Nothing was undone") as caught:
        log.undo("ann")
    assert caught.value.tags == ["cat", "sofa"]
    assert log.annotation(1).tags == ("cat", "sofa")
    log.undo("ben")
    assert log.annotation(1).tags == ("cat",)
    assert log.undo("ann")[0].is_saved is False


def test_a_draft_belongs_to_a_user_and_is_deleted_by_their_save(log: CorrectionLog) -> None:
    log.save_draft(1, "ann", Draft(0, ("cat",), ("dog",)))
    log.save_draft(1, "ben", Draft(0, ("bed",)))
    log.save_draft(1, "ann", Draft(0, ("cat", "sofa")))
    assert log.draft(1, "ann") == Draft(0, ("cat", "sofa"))
    assert log.draft(2, "ann") is None
    save(log, 1, "cat", user="ann")
    assert log.draft(1, "ann") is None
    assert log.draft(1, "ben") == Draft(0, ("bed",))
    log.discard_draft(1, "ben")
    assert log.draft(1, "ben") is None


def test_a_refused_save_keeps_the_draft(log: CorrectionLog) -> None:
    save(log, 1, "cat", user="ben")
    log.save_draft(1, "ann", Draft(0, ("dog",)))
    with pytest.raises(StaleRevisionError):
        save(log, 1, "dog", revision=0)
    assert log.draft(1, "ann") == Draft(0, ("dog",))


def test_skipped_photos_come_longest_ago_first_until_saved(log: CorrectionLog) -> None:
    for image in (2, 1, 3, 2):
        log.skip(image, "ann")
    assert log.skipped() == [1, 3, 2]
    save(log, 3, "cat")
    assert log.skipped() == [1, 2]
    assert log.newest_image("ann") == 3
    assert log.newest_image("ben") is None
    assert log.annotation(1).revision == 0


def test_many_photos_are_skipped_and_taken_up_with_a_statement_for_many_events(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "ROWS_A_STATEMENT", 4)
    store = make_store(9)
    log = CorrectionLog(store)
    save(log, 1, "cat")
    statements: list[str] = []
    transaction = store.transaction

    @contextmanager
    def counted() -> Iterator[Any]:
        with transaction() as cursor:

            class Counting:
                def execute(self, statement: str, *values: Any) -> Any:
                    statements.append(statement)
                    return cursor.execute(statement, *values)

            yield Counting()

    monkeypatch.setattr(store, "transaction", counted)
    log.skip_all(list(range(1, 10)), "ann")
    assert len(statements) == 3
    log.skip_all([9, 2, 3], "ann", back=True)
    assert log.skipped() == [1, 4, 5, 6, 7, 8]
    (event,) = (event for event in log.history(9) if event["undoes"])
    assert (event["undoes"], event["kind"], event["shown"], event["seconds"]) == (10, "skip", [], None)
    save(log, 1, "dog")
    rows = store.rows(f"SELECT {SELECTED} FROM events ORDER BY event_id")
    stored = [row[0] for row in store.rows("SELECT digest FROM events ORDER BY event_id")]
    assert list(running_digests(rows)) == stored
    assert [row[0] for row in rows] == list(range(1, 15))


def test_of_photos_that_cannot_all_be_skipped_none_is(log: CorrectionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "ROWS_A_STATEMENT", 1)
    insert = log_module._insert_skips

    def fail_late(cursor: Any, skips: Any, first_id: int, *values: Any) -> str:
        if first_id == 2:
            raise StoreError("The disk failed.")
        return insert(cursor, skips, first_id, *values)

    monkeypatch.setattr(log_module, "_insert_skips", fail_late)
    with pytest.raises(StoreError):
        log.skip_all([1, 2], "ann")
    assert log.skipped() == []
    monkeypatch.setattr(log_module, "_insert_skips", insert)
    log.skip_all([1, 2], "ann")
    assert log.skipped() == [1, 2]


def test_a_skip_between_two_saves_disturbs_neither_revisions_nor_undo(log: CorrectionLog) -> None:
    save(log, 1, "cat")
    log.skip(1, "ann")
    save(log, 1, "dog")
    assert log.undo("ann")[0].tags == ("cat",)


def test_ids_have_no_gaps_though_saves_fail(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(1)
    log = CorrectionLog(store)
    save(log, 1, "a")
    with monkeypatch.context() as patch:
        patch.setattr(log_module, "write_draft", lambda *_: store.rows("SELECT no_such_column FROM images"))
        with pytest.raises(StoreError):
            log.undo("ann")
    with pytest.raises(StaleRevisionError):
        save(log, 1, "b", revision=0)
    save(log, 1, "c")
    assert [event["event_id"] for event in log.history(1)] == [1, 2]
    assert log.annotation(1).tags == ("c",)


def test_of_two_saves_on_one_revision_exactly_one_succeeds(log: CorrectionLog) -> None:
    outcomes: list[str] = []

    def try_to_save(tag: str) -> None:
        try:
            outcomes.append(save(log, 1, tag, revision=0, user=tag).tags[0])
        except StaleRevisionError:
            outcomes.append("refused")

    threads = [threading.Thread(target=try_to_save, args=(f"t{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes)[:5] == ["refused"] * 5
    assert log.annotation(1).tags[0] in outcomes
    assert len(log.history(1)) == 1


SAVE_FOR_EVER = """
import sys
from pathlib import Path
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
log = CorrectionLog(Store(Path(sys.argv[1])))
number = int(sys.argv[2])
while True:
    image = number % 3 + 1
    revision = log.annotation(image).revision
    log.save(image, revision=revision, tags=[f"t{number}"], dropped=[], user_name="ann", effort=Effort())
    print(number, image, revision + 1, flush=True)
    number += 1
"""


@pytest.mark.integration
def test_every_acknowledged_save_survives_kill_9(make_store: MakeStore, tmp_path: Path) -> None:
    make_store(3).close()
    path, chance = tmp_path / "project.duckdb", random.Random(0)
    acknowledged: list[tuple[int, int, int]] = []
    for _ in range(4):
        start = acknowledged[-1][0] + 1 if acknowledged else 0
        command = [sys.executable, "-c", SAVE_FOR_EVER, str(path), str(start)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        time.sleep(chance.uniform(0.01, 0.4))
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines(keepends=True)
        process.wait()
        process.stdout.close()
        for line in lines:
            if line.endswith("\n"):  # the last one may have been cut off
                number, image, revision = map(int, line.split())
                acknowledged.append((number, image, revision))
        # A save that was committed but not acknowledged may be there as well: the next number comes after it.
        store = make_store(3)
        rows = store.rows("SELECT event_id, image_id, revision, after_tags[1] FROM events ORDER BY event_id")
        stored = [(int(tag[1:]), image, revision) for _, image, revision, tag in rows]
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
        assert stored[: len(acknowledged)] == acknowledged
        assert len(stored) - len(acknowledged) <= 1
        newest = {image: f"t{number}" for number, image, _ in stored}
        assert dict(store.rows("SELECT image_id, tags[1] FROM annotations")) == newest
        acknowledged = stored
        store.close()
    assert len(acknowledged) > 20


TAGS = st.lists(st.sampled_from("abcdef"), unique=True, max_size=4)
IMAGES = st.integers(1, 3)
USERS = st.sampled_from(["ann", "ben"])


class LogAgainstDicts(RuleBasedStateMachine):
    """The log compared with a model of plain lists and dicts."""

    @initialize()
    def open(self) -> None:
        self.store = Store(Path(":memory:"))
        images = [(image, ImageEntry(str(image), 1, 1, "JPEG")) for image in (1, 2, 3)]
        self.store.images.add(IngestedBatch(images=images))
        self.log = CorrectionLog(self.store)
        # image -> its states so far, as (tags, dropped, is saved)
        self.states: dict[int, list[tuple[tuple[str, ...], tuple[str, ...], bool]]] = {
            i: [((), (), False)] for i in (1, 2, 3)
        }
        # Saves that were not undone, oldest first: (user, image, state before, state after)
        self.saves: list[tuple[str, int, Any, Any]] = []
        self.drafts: dict[tuple[int, str], tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def revision(self, image: int) -> int:
        return len(self.states[image]) - 1

    @rule(image=IMAGES, user=USERS, tags=TAGS, dropped=TAGS)
    def save(self, image: int, user: str, tags: list[str], dropped: list[str]) -> None:
        revision = self.revision(image)
        self.log.save(image, revision=revision, tags=tags, dropped=dropped, user_name=user, effort=Effort())
        state = (tuple(tags), tuple(dropped), True)
        self.saves.append((user, image, self.states[image][-1], state))
        self.states[image].append(state)
        self.drafts.pop((image, user), None)

    @rule(image=IMAGES, user=USERS, tags=TAGS, behind=st.integers(1, 3))
    def save_stale(self, image: int, user: str, tags: list[str], behind: int) -> None:
        with pytest.raises(StaleRevisionError) as caught:
            self.log.save(
                image,
                revision=self.revision(image) - behind,
                tags=tags,
                dropped=[],
                user_name=user,
                effort=Effort(),
            )
        assert caught.value.revision == self.revision(image)
        assert tuple(caught.value.tags) == self.states[image][-1][0]

    @rule(user=USERS)
    def undo(self, user: str) -> None:
        own = [save for save in self.saves if save[0] == user]
        if not own:
            with pytest.raises(NothingToUndoError):
                self.log.undo(user)
            return
        newest = own[-1]
        place = max(at for at, save in enumerate(self.saves) if save is newest)
        _, image, before, after = newest
        if any(save[1] == image for save in self.saves[place + 1 :]):
            with pytest.raises(StaleRevisionError):
                self.log.undo(user)
            return
        self.log.undo(user)
        del self.saves[place]
        self.states[image].append(before)
        self.drafts[image, user] = (after[0], after[1])

    @rule(image=IMAGES, user=USERS, kept=TAGS, dropped=TAGS)
    def draft(self, image: int, user: str, kept: list[str], dropped: list[str]) -> None:
        self.log.save_draft(image, user, Draft(self.revision(image), tuple(kept), tuple(dropped)))
        self.drafts[image, user] = (tuple(kept), tuple(dropped))

    @rule(image=IMAGES, user=USERS)
    def skip(self, image: int, user: str) -> None:
        self.log.skip(image, user)

    @rule()
    def reopen(self) -> None:
        self.log = CorrectionLog(self.store)

    @invariant()
    def annotations_and_drafts_agree(self) -> None:
        for image, states in self.states.items():
            annotation = self.log.annotation(image)
            assert (annotation.tags, annotation.dropped, annotation.is_saved) == states[-1]
            assert annotation.revision == self.revision(image)
            for user in ("ann", "ben"):
                draft = self.log.draft(image, user)
                assert (draft and (draft.kept, draft.dropped)) == self.drafts.get((image, user))

    @invariant()
    def the_log_alone_tells_the_annotations(self) -> None:
        ids = []
        for image in self.states:
            tags: list[str] = []
            for event in self.log.history(image):
                ids.append(event["event_id"])
                if event["kind"] != "skip":
                    assert event["before_tags"] == tags
                    tags = apply([tuple(step) for step in event["edit_script"]], tags)
                    assert event["after_tags"] == tags
            assert tuple(tags) == self.states[image][-1][0]
        assert sorted(ids) == list(range(1, len(ids) + 1))

    def teardown(self) -> None:
        self.store.close()


TestLogAgainstDicts = LogAgainstDicts.TestCase
TestLogAgainstDicts.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
