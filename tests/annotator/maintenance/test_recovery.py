"""A lost, cut or damaged write-ahead log is noticed before DuckDB reads it, and recovered to its last whole event."""

import gzip
import os
import random
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from annotator.cli.main import main
from annotator.errors import ProjectError
from annotator.maintenance.integrity import check
from annotator.maintenance.recovery import recover
from annotator.storage.commit_note import find_loss, note_path, packed, read_note
from annotator.storage.correction_log import CorrectionLog, Effort, ListChange
from annotator.storage.database import Store
from annotator.storage.event_digests import SELECTED, running_digests
from annotator.storage.images import ImageEntry, IngestedBatch
from annotator.storage.project import Project
from annotator.storage.write_ahead_log import log_path, mended_places, parse_log, read_log

pytestmark = pytest.mark.integration  # processes that are killed

NUM_IN_FILE, NUM_IN_LOG = 6, 14
OLD_PROJECTS = Path(__file__).parents[1] / "storage" / "old_projects"


@contextmanager
def in_child(folder: Path, first: int, num: int) -> Iterator[None]:
    """Let another process save, and kill it at the end."""
    ready, done = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            save_some(folder, first, num)
            os.write(done, b"x")
            signal.pause()
        finally:
            os._exit(1)
    try:
        assert os.read(ready, 1) == b"x"
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(done)


def save_some(folder: Path, first: int, num: int) -> Store:
    """Write that many events: saves, a skip, and an import of two photos."""
    store = Store(folder / "project.duckdb")
    log = CorrectionLog(store)
    for image_id in range(first, first + num - 3):
        effort = Effort(tagger="t", shown=[{"tag": "Katze ü", "score": 0.25}], seconds=2, num_keys=3)
        log.save(image_id, revision=0, tags=[f"tag {image_id}", "cat"], dropped=["no"], user_name="anna", effort=effort)
    log.skip(first, "anna")
    log.record_many("import", [ListChange(log.annotation(i), (f"import {i}",), ()) for i in (98, 99)], f"ben {first}")
    return store


@pytest.fixture(scope="module")
def killed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``killed``; to be copied."""
    project = Project.open_or_create(tmp_path_factory.mktemp("killed") / "project", "test")
    store = Store(project.database_path)
    store.images.add(IngestedBatch(images=[(n, ImageEntry(f"{n:064x}", 640, 480, "JPEG")) for n in range(1, 100)]))
    store.close()
    save_some(project.folder, 1, NUM_IN_FILE).close()
    with in_child(project.folder, 20, NUM_IN_LOG):
        pass
    assert log_path(project.database_path).stat().st_size > 0
    return project.folder


@pytest.fixture
def killed(killed_folder: Path, tmp_path: Path) -> Project:
    """A project with six events in its database file and 14 in its write-ahead log, whose process was killed."""
    shutil.copytree(killed_folder, tmp_path / "project")
    return Project.open(tmp_path / "project")


def event_ids(project: Project) -> list[int]:
    store = Store(project.database_path)
    try:
        found = check(project, store)
        assert [finding.what for finding in found if finding.is_damage] == []
        return [int(row[0]) for row in store.rows("SELECT event_id FROM events ORDER BY event_id")]
    finally:
        store.close()


def test_what_a_killed_process_leaves_is_whole(killed: Project) -> None:
    assert find_loss(killed.database_path) is None
    assert recover(killed) == []
    assert event_ids(killed) == list(range(1, NUM_IN_FILE + NUM_IN_LOG + 1))


def test_a_lost_log_is_noticed_and_accepted_by_a_command(killed: Project, capsys: pytest.CaptureFixture[str]) -> None:
    log_path(killed.database_path).unlink()
    for arguments in (["check"], ["export"]):
        assert main([*arguments, str(killed.folder)]) == 1
        said = capsys.readouterr().err
        assert "The write-ahead log with the newest saves is gone. The newest save was event 20, at " in said
        assert f"annotator check {killed.folder} --repair" in said
    assert main(["check", str(killed.folder), "--repair"]) == 0
    said = capsys.readouterr().err
    assert "The project was recovered up to event 6, of " in said
    assert "14 missing: events 7 to 20; the newest was written at " in said
    assert event_ids(killed) == list(range(1, NUM_IN_FILE + 1))
    (aside,) = killed.folder.glob("damaged-*")
    assert {path.name for path in aside.iterdir()} == {"project.duckdb", "project.duckdb.note"}
    assert recover(killed) == []


def test_a_log_that_is_cut_is_recovered_up_to_the_last_whole_event(killed: Project) -> None:
    path = log_path(killed.database_path)
    data, ends = path.read_bytes(), read_log(path).commits
    for cut, num_kept in ((10, 0), (ends[0] - 1, 0), (ends[0], 1), (ends[4] + 20, 5), (len(data) - 1, NUM_IN_LOG - 2)):
        with put_back(killed):
            path.write_bytes(data[:cut])
            with pytest.raises(ProjectError, match=r"is not whole\. The "):
                Store(killed.database_path)
            assert path.stat().st_size == cut  # nothing was changed
            sentences = recover(killed)
            assert event_ids(killed) == list(range(1, NUM_IN_FILE + num_kept + 1))
            assert f"{NUM_IN_LOG - num_kept:,} missing" in sentences[2]


@contextmanager
def put_back(project: Project) -> Iterator[None]:
    """Put the project back as it is now, at the end."""
    kept = project.folder.with_name("kept")
    shutil.copytree(project.folder, kept)
    try:
        yield
    finally:
        shutil.rmtree(project.folder)
        kept.rename(project.folder)


def test_a_flipped_bit_of_the_log_is_never_passed_over(killed: Project) -> None:
    path = log_path(killed.database_path)
    data, start = path.read_bytes(), read_log(path).start
    generator = random.Random(0)
    version = 5  # another version is one that only DuckDB can read; it refuses it
    for place in [
        *(n for n in range(start + 24) if n != version),
        *(generator.randrange(len(data)) for _ in range(200)),
    ]:
        flipped = data[:place] + bytes([data[place] ^ 1 << generator.randrange(8)]) + data[place + 1 :]
        path.write_bytes(flipped)
        assert find_loss(killed.database_path) is not None, place
    num_whole = 0
    for place in (0, 8, 15, start, start + 9, *(generator.randrange(start, len(data)) for _ in range(6))):
        with put_back(killed):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << generator.randrange(8)]) + data[place + 1 :])
            whole = parse_log(path.read_bytes(), start).commits
            recover(killed)
            ids = event_ids(killed)
            assert ids == list(range(1, len(ids) + 1))
            assert len(ids) >= NUM_IN_FILE + len(whole)
            num_whole += len(ids) == NUM_IN_FILE + NUM_IN_LOG
    assert num_whole >= 4  # where the flipped bit is known, it is flipped back


def test_what_was_never_acknowledged_is_dropped_without_a_word_to_the_user(killed: Project) -> None:
    path = log_path(killed.database_path)
    torn = path.read_bytes()[read_log(path).start :][:100]
    with path.open("ab") as file:
        file.write(torn[:-30] + bytes(30) + torn)
    assert find_loss(killed.database_path) is None
    assert event_ids(killed) == list(range(1, NUM_IN_FILE + NUM_IN_LOG + 1))


def test_an_older_database_file_in_its_place_is_noticed(killed: Project) -> None:
    old = killed.database_path.read_bytes()
    event_ids(killed)  # opened and closed: the log is now in the database file
    killed.database_path.write_bytes(old)
    with pytest.raises(ProjectError, match="older than the last save"):
        Store(killed.database_path)
    assert "14 missing: events 7 to 20" in recover(killed)[2]


def test_a_note_of_another_database_or_a_damaged_note_says_nothing(killed: Project) -> None:
    path = note_path(killed.database_path)
    whole, note = path.read_bytes(), read_note(killed.database_path)
    assert note is not None
    assert packed(note) == whole
    for content in (b"", whole[:50], whole.replace(b"annotator", b"annotatos"), whole[:100] + b"x" + whole[101:]):
        path.write_bytes(content)
        assert read_note(killed.database_path) is None
    assert event_ids(killed) == list(range(1, NUM_IN_FILE + NUM_IN_LOG + 1))
    assert read_note(killed.database_path) is not None


def test_a_project_in_use_is_in_use_and_not_damaged(killed: Project) -> None:
    with in_child(killed.folder, 60, 5):
        with pytest.raises(ProjectError, match="in use by process"):
            Store(killed.database_path)
        log = log_path(killed.database_path)
        log.write_bytes(log.read_bytes()[:-1])  # as if it were being written
        with pytest.raises(ProjectError, match="in use by process"):
            Store(killed.database_path)
        assert recover(killed) == []


def test_a_project_that_was_just_migrated_is_locked(tmp_path: Path) -> None:
    """Closing any descriptor of a file releases all locks of a process on it, and the copy is such a file."""
    project = Project.open_or_create(tmp_path / "project", "test")
    project.database_path.write_bytes(gzip.decompress((OLD_PROJECTS / "schema_11.duckdb.gz").read_bytes()))
    store = Store(project.database_path)
    assert store.migrated
    pid = os.fork()
    if not pid:
        try:
            duckdb.connect(str(project.database_path))
            os._exit(0)
        except duckdb.Error:
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    store.close()


def test_a_migrated_log_has_its_digests_and_each_event_continues_them(tmp_path: Path) -> None:
    project = Project.open_or_create(tmp_path / "project", "test")
    project.database_path.write_bytes(gzip.decompress((OLD_PROJECTS / "schema_11.duckdb.gz").read_bytes()))
    store = Store(project.database_path)
    before = len(store.rows("SELECT 1 FROM events"))
    assert before
    log = CorrectionLog(store)
    log.save(1, revision=log.annotation(1).revision, tags=["new"], dropped=(), user_name="anna", effort=Effort())
    log.undo("anna")
    rows = store.rows(f"SELECT {SELECTED}, digest FROM events ORDER BY event_id")
    assert len(rows) == before + 2
    assert [row[-1] for row in rows] == list(running_digests(row[:-1] for row in rows))
    assert not any("Event" in finding.what for finding in check(project, store))
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET after_tags = ['other'] WHERE event_id = 20",
        "UPDATE events SET shown = '[]' WHERE event_id = 3",
        "UPDATE events SET seconds = 3 WHERE event_id = 3",
        "UPDATE events SET digest = NULL WHERE event_id = 3",
        "DELETE FROM events WHERE event_id = 7",
    ],
)
def test_a_changed_or_missing_event_is_found(killed: Project, change: str) -> None:
    event_ids(killed)
    with duckdb.connect(str(killed.database_path)) as connection:
        connection.execute(change)
    store = Store(killed.database_path)
    found = [finding.what for finding in check(killed, store)]
    store.close()
    assert any("is not as it was written" in what or "The log goes from event" in what for what in found), found


def test_a_missing_newest_event_is_found_by_the_note(killed: Project) -> None:
    event_ids(killed)
    with duckdb.connect(str(killed.database_path)) as connection:
        connection.execute("DELETE FROM events WHERE event_id = 20")
    with pytest.raises(ProjectError, match="Its log ends with event 19"):
        Store(killed.database_path)
    assert "1 missing: event 20;" in recover(killed)[2]
    Store(killed.database_path).close()


def test_a_flipped_bit_of_the_database_file_is_flipped_back_where_its_place_is_known(killed: Project) -> None:
    event_ids(killed)
    whole = killed.database_path.read_bytes()
    assert mended_places(killed.database_path) == []
    generator, num_mended = random.Random(1), 0
    for _ in range(100):
        place = generator.choice([n for n in range(12288, len(whole), 97) if whole[n]])
        flipped = whole[:place] + bytes([whole[place] ^ 1 << generator.randrange(8)]) + whole[place + 1 :]
        killed.database_path.write_bytes(flipped)
        places = mended_places(killed.database_path)
        for at, byte in places:
            assert (at, byte) == (place, whole[place])  # never anything else
        num_mended += len(places)
    assert num_mended
    killed.database_path.write_bytes(whole)
    for place in (4096 + 9, 8192 + 9):
        killed.database_path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ProjectError, match="head of the database file is damaged"):
            Store(killed.database_path)
