"""A project that another process writes is shipped while it grows, and restored to the last whole piece."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from annotator.datasets import remote_store
from annotator.datasets.folder_store import FolderStore, ObjectStore
from annotator.datasets.photo_roots import PhotoUrl
from annotator.datasets.remote_store import RemoteStore
from annotator.errors import BackupError, ConfigError, RemoteError, StoreError
from annotator.maintenance import shipping as module
from annotator.maintenance.integrity import check
from annotator.maintenance.shipped import MANIFEST, PIECE_BYTES, PIECES, read_shipped, restore_shipped
from annotator.maintenance.shipping import Shipping
from annotator.storage import live_files
from annotator.storage.commit_note import note_path
from annotator.storage.database import Store
from annotator.storage.images import ImageEntry, IngestedBatch
from annotator.storage.project import Project
from annotator.storage.webhooks import Webhooks
from annotator.storage.write_ahead_log import log_path

pytestmark = pytest.mark.integration  # processes that are killed

WRITER = """
import sys
from pathlib import Path
from annotator.storage.correction_log import CorrectionLog, Draft, Effort
from annotator.storage.database import Store

store = Store(Path(sys.argv[1]))
log = CorrectionLog(store)
print("open", flush=True)
for line in sys.stdin:
    what, number = line.split()
    if what == "save":
        for _ in range(int(number)):
            event_id = store.rows("SELECT count(*) FROM events")[0][0] + 1
            image = event_id % 9 + 1
            revision = log.annotation(image).revision
            log.save(image, revision=revision, tags=[f"t{event_id}"], dropped=[], user_name="ann", effort=Effort())
    elif what == "draft":
        log.save_draft(int(number), "ben", Draft(0, ("half done",), ()))
    elif what == "checkpoint":
        store._connection.execute("CHECKPOINT")
    elif what == "forever":
        for event_id in range(store.rows("SELECT count(*) FROM events")[0][0] + 1, 1_000_000):
            image = event_id % 9 + 1
            revision = log.annotation(image).revision
            tags = [f"t{event_id}", "x" * int(number)]
            log.save(image, revision=revision, tags=tags, dropped=[], user_name="ann", effort=Effort())
            print(event_id, flush=True)
    print(line, end="", flush=True)
store.close()
"""


class Writer:
    """A process that has the project open and saves."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", WRITER, str(folder / "project.duckdb")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "open"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, *lines: str) -> None:
        for line in lines:
            self.begin(line)
            assert self._line() == line

    def begin(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def saved(self) -> int:
        return int(self._line())

    def kill(self) -> list[str]:
        """Kill it and return what it has answered since."""
        self.process.send_signal(signal.SIGKILL)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        lines = self.process.stdout.read().splitlines(keepends=True)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        return [line.strip() for line in lines if line.endswith("\n")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    project = Project.open_or_create(tmp_path / "project", "holiday")
    store = Store(project.database_path)
    store.images.add(IngestedBatch(images=[(n, ImageEntry(f"{n:064x}", 640, 480, "JPEG")) for n in range(1, 10)]))
    store.close()
    project.backbones_path.mkdir()
    (project.backbones_path / "mine.onnx").write_text("a network")
    (project.features_path / "net-1.f32").write_bytes(np.arange(3 * PIECE_BYTES // 4 + 5, dtype="<f4").tobytes())
    (project.thumbnails_path / "thumb.jpg").write_bytes(b"made anew")
    return project.folder


@pytest.fixture
def writer(folder: Path) -> Iterator[Writer]:
    found = Writer(folder)
    yield found
    if found.process.poll() is None:
        found.kill()


@pytest.fixture
def target(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "target")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> RemoteStore:
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    monkeypatch.setattr(remote_store, "PAUSES", ())
    return RemoteStore(PhotoUrl("memory://bucket/holiday"))


def events_of(folder: Path) -> list[str]:
    store = Store(folder / "project.duckdb")
    try:
        rows = store.rows("SELECT event_id, after_tags[1] FROM events ORDER BY event_id")
        assert [int(event_id) for event_id, _ in rows] == list(range(1, len(rows) + 1))
        assert [found.what for found in check(Project.open(folder), store) if found.is_damage] == []
        return [tag for _, tag in rows]
    finally:
        store.close()


def tags_up_to(number: int) -> list[str]:
    return [f"t{event_id}" for event_id in range(1, number + 1)]


def pieces(target: FolderStore) -> list[Path]:
    return sorted((target.url / PIECES).iterdir())


def test_what_was_shipped_is_there_after_the_machine_s_folder_is_gone(
    folder: Path, writer: Writer, target: FolderStore, tmp_path: Path
) -> None:
    shipping = Shipping(folder, target)
    writer.ask("save 3", "draft 9")
    first = shipping.ship()
    assert first is not None
    assert (first.number, first.event_id) == (1, 3)
    num_pieces = len(pieces(target))
    writer.ask("save 4")
    second = shipping.ship()
    assert second is not None
    assert (second.number, second.event_id, second.iteration) == (2, 7, first.iteration)
    assert len(pieces(target)) == num_pieces + 1  # what was added to the log
    assert shipping.ship() is None
    writer.kill()
    features = (folder / "features" / "net-1.f32").read_bytes()
    shutil.rmtree(folder)

    manifest, shipped, until = restore_shipped(target, tmp_path / "again")
    assert (manifest.num_images, manifest.num_events, shipped.number) == (9, 7, 2)
    assert until.startswith("event 7 of 20")
    assert events_of(tmp_path / "again") == tags_up_to(7)
    again = Project.open(tmp_path / "again")
    assert again.settings.name == "holiday"
    assert (again.features_path / "net-1.f32").read_bytes() == features
    assert (again.backbones_path / "mine.onnx").read_text() == "a network"
    assert list(again.thumbnails_path.iterdir()) == []
    store = Store(again.database_path)
    assert store.rows("SELECT kept FROM drafts WHERE user_name = 'ben'") == [(["half done"],)]
    store.close()
    for path in target.url.rglob("*"):
        assert not path.stat().st_mode & 0o077


def test_a_checkpoint_of_the_database_ships_only_what_it_changed(
    folder: Path, writer: Writer, target: FolderStore, tmp_path: Path
) -> None:
    shipping = Shipping(folder, target)
    writer.ask("save 3")
    before = shipping.ship()
    writer.ask("checkpoint 0", "save 2")
    after = shipping.ship()
    assert before is not None
    assert after is not None
    assert after.iteration > before.iteration
    writer.ask("checkpoint 0")
    empty = shipping.ship()
    assert empty is not None
    assert empty.log == ()
    restore_shipped(target, tmp_path / "again")
    assert events_of(tmp_path / "again") == tags_up_to(5)


@pytest.mark.parametrize("num_letters", [10, 90_000])
def test_while_another_process_saves_as_fast_as_it_can_every_ship_is_of_one_moment(
    folder: Path, writer: Writer, target: FolderStore, tmp_path: Path, num_letters: int
) -> None:
    shipping = Shipping(folder, target)
    writer.begin(f"forever {num_letters}")  # of the longer ones, the log is written into the file again and again
    iterations = set()
    for number in range(4):
        answered = 0
        while answered < (number + 1) * 100:
            answered = writer.saved()
        shipped = shipping.ship()
        assert shipped is not None
        assert shipped.event_id >= answered
        iterations.add(shipped.iteration)
        restore_shipped(target, tmp_path / f"again {number}")
        found = events_of(tmp_path / f"again {number}")
        assert found == tags_up_to(len(found))
        assert len(found) >= shipped.event_id
        shutil.rmtree(tmp_path / f"again {number}")
    assert len(iterations) > 1 or num_letters == 10


def test_a_ship_that_is_killed_leaves_the_target_as_it_was_and_the_next_one_goes_on(
    folder: Path, writer: Writer, target: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.ask("save 2")
    written = FolderStore.write
    chance = random.Random(1)
    for number in range(6):
        left = [chance.randrange(0, 7)]

        def dies(self: FolderStore, path: str, data: bytes, left: list[int] = left) -> None:
            if not left[0]:
                part = self.url / PIECES / f".{'0' * 64}.1.part"  # what a kill in the middle of a write leaves
                part.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(data[:10])
                raise KeyboardInterrupt
            left[0] -= 1
            written(self, path, data)

        writer.ask(f"save {number + 1}")
        before = read_shipped(target)
        with monkeypatch.context() as patch:
            patch.setattr(FolderStore, "write", dies)
            try:
                Shipping(folder, target).ship()
            except KeyboardInterrupt:
                assert read_shipped(target) == before
    writer.ask("save 1")
    last = Shipping(folder, target).ship()
    assert last is not None
    assert last.event_id == 24
    restore_shipped(target, tmp_path / "again")
    assert events_of(tmp_path / "again") == tags_up_to(24)
    Shipping(folder, target).ship()
    named = json.loads((target.url / PIECES / last.files).read_text())["files"].values()
    used = {last.files, *(name for name, _ in last.log), *(name for _, names in named for name in names)}
    assert {path.name for path in pieces(target)} == used


def damaged(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if how == "cut" else data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize("how", ["cut", "altered", "deleted"])
def test_a_damaged_piece_is_refused_with_a_sentence(
    folder: Path, writer: Writer, target: FolderStore, tmp_path: Path, how: str
) -> None:
    shipping = Shipping(folder, target)
    for _ in range(3):
        writer.ask("save 2")
        shipped = shipping.ship()
    assert shipped is not None
    for path in pieces(target):
        data = path.read_bytes()
        damaged(path, how)
        with pytest.raises(BackupError, match=f"{path.name} is missing, cut short or altered"):
            restore_shipped(target, tmp_path / "again")
        assert not (tmp_path / "again").exists()
        path.write_bytes(data)
    newest = target.url / PIECES / shipped.log[-1][0]
    damaged(newest, how)
    with pytest.raises(BackupError, match="With --before-damage, all before it is restored"):
        restore_shipped(target, tmp_path / "again")
    manifest, _, until = restore_shipped(target, tmp_path / "again", before_damage=True)
    assert until.startswith("event 4 of")
    assert "after a piece that is damaged" in manifest.left_out[0]
    assert events_of(tmp_path / "again") == tags_up_to(4)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20],
        lambda text: text.replace(b'"event_id": 2', b'"event_id": 1'),
        lambda text: b"{}",
        lambda text: b"[1]",
        lambda text: b"<html>503 Service Unavailable</html>",
    ],
)
def test_a_damaged_manifest_is_refused_with_a_sentence(
    folder: Path, writer: Writer, target: FolderStore, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    writer.ask("save 2")
    Shipping(folder, target).ship()
    path = target.url / MANIFEST
    path.write_bytes(change(path.read_bytes()))
    for call in (lambda: restore_shipped(target, tmp_path / "again"), lambda: Shipping(folder, target)):
        with pytest.raises(BackupError, match="is not a whole manifest of `annotator ship`"):
            call()


def test_a_piece_cannot_lead_out_of_the_project(
    folder: Path, target: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = module.Shipping._list_files

    def also(self: Any, database: Any) -> Any:
        found = listed(self, database)
        return module.FileList({**found.files, "../evil": found.files["settings.json"]}, {}, ())

    monkeypatch.setattr(module.Shipping, "_list_files", also)
    Shipping(folder, target).ship()
    with pytest.raises(BackupError, match=r"names a file that no project has: '\.\./evil'"):
        restore_shipped(target, tmp_path / "again")
    assert not (tmp_path / "evil").exists()


def test_a_target_keeps_what_it_has_of_another_project_or_of_newer_events(
    folder: Path, target: FolderStore, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "older")
    writer = Writer(folder)
    writer.ask("save 5")
    Shipping(folder, target).ship()
    writer.kill()
    kept = (target.url / MANIFEST).read_bytes()
    with pytest.raises(BackupError, match="holds event 5, but the newest of this project is 0: it was set back"):
        Shipping(tmp_path / "older", target).ship()
    other = Project.open_or_create(tmp_path / "other", "other")
    Store(other.database_path).close()
    with pytest.raises(BackupError, match=r"holds another project\. Name another target; nothing was written"):
        Shipping(other.folder, target).ship()
    with pytest.raises(ConfigError, match="lies in the project"):
        Shipping(folder, FolderStore(folder / "ship"))
    assert (target.url / MANIFEST).read_bytes() == kept


def test_a_restored_project_is_shipped_to_the_same_target_and_the_process_before_ends(
    folder: Path, writer: Writer, target: FolderStore, tmp_path: Path
) -> None:
    writer.ask("save 3")
    first = Shipping(folder, target)
    first.ship()
    restore_shipped(target, tmp_path / "again")
    second = Shipping(tmp_path / "again", target).ship()
    assert second is not None
    assert second.number == 2
    writer.ask("save 1")
    with pytest.raises(BackupError, match=r"Another process ships to .* too"):
        first.ship()
    assert read_shipped(target) == second


def test_a_project_that_was_saved_in_beside_its_restored_copy_does_not_take_the_copy_s_place(
    folder: Path, writer: Writer, target: FolderStore, tmp_path: Path
) -> None:
    writer.ask("save 3")
    Shipping(folder, target).ship()
    restore_shipped(target, tmp_path / "again")
    writer.ask("save 2")
    other = Writer(tmp_path / "again")
    other.ask("save 1")
    kept = Shipping(tmp_path / "again", target).ship()
    other.kill()
    with pytest.raises(BackupError, match="holds another event 4 than this project: both are copies of one project"):
        Shipping(folder, target).ship()
    assert read_shipped(target) == kept


def test_a_log_of_many_pieces_is_joined(
    folder: Path, writer: Writer, target: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LOG_PIECES", 4)
    monkeypatch.setattr(module, "KEPT_SECONDS", -math.inf)
    shipping = Shipping(folder, target)
    numbers = []
    for _ in range(7):
        writer.ask("save 1")
        shipped = shipping.ship()
        assert shipped is not None
        numbers.append(len(shipped.log))
    assert numbers == [1, 2, 3, 4, 1, 2, 3]
    restore_shipped(target, tmp_path / "again")
    assert events_of(tmp_path / "again") == tags_up_to(7)


BULK_WRITER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], config={"threads": 1, "wal_autocheckpoint": "100GB"})
connection.execute('''INSERT INTO images BY NAME SELECT CAST(i AS INTEGER) AS image_id, md5(i::VARCHAR) AS content_hash,
    640 AS width, 480 AS height, 'JPEG' AS format, ['k' || i % 100] AS keywords, []::VARCHAR[] AS user_tags,
    []::VARCHAR[] AS path_words, 'caption ' || i AS caption, []::VARCHAR[] AS notes, now()::TIMESTAMP AS added_at
    FROM range(1000, 141000) photos(i)''')
print("added", flush=True)
sys.stdin.read()
"""


def test_a_log_that_refers_to_blocks_of_the_file_is_shipped_with_them(
    folder: Path, target: FolderStore, tmp_path: Path
) -> None:
    shipping = Shipping(folder, target)
    shipping.ship()
    database = folder / "project.duckdb"
    before = database.stat().st_size
    command = [sys.executable, "-c", BULK_WRITER, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "added\n" in process.stdout  # DuckDB may print an empty line before
        assert database.stat().st_size > before + 1_000_000
        assert log_path(database).stat().st_size < 100_000  # the rows themselves are in the file
        shipped = shipping.ship()
        process.kill()
    assert shipped is not None
    assert len(shipped.log) == 1
    restore_shipped(target, tmp_path / "again")
    store = Store(tmp_path / "again" / "project.duckdb")
    assert store.rows("SELECT count(*), count(DISTINCT content_hash), count(DISTINCT caption) FROM images") == [
        (140_009, 140_009, 140_000)
    ]
    store.close()


def test_features_that_grow_are_shipped_by_the_pieces_at_their_end(
    folder: Path, target: FolderStore, tmp_path: Path
) -> None:
    path = folder / "features" / "net-1.f32"
    shipping = Shipping(folder, target)
    shipping.ship()
    before = len(pieces(target))
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)  # a row that was not committed is written again
        file.write(b"\1" * 100)
    shipping.ship()
    assert len(pieces(target)) == before + 2  # the last piece and the list
    restore_shipped(target, tmp_path / "again")
    assert (tmp_path / "again" / "features" / "net-1.f32").read_bytes() == path.read_bytes()


def test_a_log_that_is_damaged_here_does_not_take_the_place_of_what_was_shipped(
    folder: Path, writer: Writer, target: FolderStore, tmp_path: Path
) -> None:
    writer.ask("save 5")
    shipping = Shipping(folder, target)
    shipping.ship()
    writer.kill()
    log = log_path(folder / "project.duckdb")
    data = log.read_bytes()
    log.write_bytes(data[: len(data) // 2])
    with pytest.raises(StoreError, match="is damaged at byte"):
        shipping.ship()
    note_path(folder / "project.duckdb").unlink()
    with pytest.raises(BackupError, match="holds event 5, but"):
        shipping.ship()
    restore_shipped(target, tmp_path / "again")
    assert events_of(tmp_path / "again") == tags_up_to(5)


def test_a_file_that_changes_all_the_time_is_not_shipped_in_part(
    folder: Path, target: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_files, "PAUSES", (0.0, 0.0))
    database, read = folder / "project.duckdb", live_files.whole_log

    def changed_meanwhile(*given: Any) -> Any:
        os.utime(database)
        return read(*given)

    monkeypatch.setattr(module, "whole_log", changed_meanwhile)
    with pytest.raises(StoreError, match="was written all the time"):
        Shipping(folder, target).ship()
    assert read_shipped(target) is None


def test_the_webhooks_of_whoever_can_write_to_the_target_are_not_restored(
    folder: Path, target: FolderStore, tmp_path: Path
) -> None:
    store = Store(folder / "project.duckdb")
    Webhooks(store).add("https://theirs.example/hook", "secret")
    store.close()
    Shipping(folder, target).ship()
    manifest, _, _ = restore_shipped(target, tmp_path / "again")
    assert any("the webhook https://theirs.example/hook" in sentence for sentence in manifest.left_out)


# Stores that are not well


def fail(patch: pytest.MonkeyPatch, name: str, error: Exception, *, after: bool = False, path: str = "") -> None:
    """Let a call of the store in memory fail, before or after it is carried out."""
    kind = type(fsspec.filesystem("memory"))
    call = getattr(kind, name)

    def failing(self: Any, at: str, *given: Any, **named: Any) -> Any:
        if path in at:
            if after:
                call(self, at, *given, **named)
            raise error
        return call(self, at, *given, **named)

    patch.setattr(kind, name, failing)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("503 Slow Down"), "cannot be written now: 503 Slow Down"),
        (PermissionError("Access Denied"), "cannot be written: Access Denied"),
        (TimeoutError("read timed out"), "cannot be written now: read timed out"),
        (OSError("QuotaExceeded: the bucket is full"), "cannot be written now: QuotaExceeded: the bucket is full"),
    ],
)
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("path", [PIECES, MANIFEST])
def test_a_store_that_refuses_or_answers_late_is_tried_again_and_nothing_is_lost(
    folder: Path,
    writer: Writer,
    memory: RemoteStore,
    tmp_path: Path,
    error: Exception,
    said: str,
    after: bool,
    path: str,
) -> None:
    writer.ask("save 2")
    shipping = Shipping(folder, memory)
    shipping.ship()
    writer.ask("save 2")
    with pytest.MonkeyPatch.context() as patch:
        fail(patch, "pipe_file", error, after=after, path=path)
        for _ in range(2):
            with pytest.raises(RemoteError, match=said):
                shipping.ship()
    restore_shipped(memory, tmp_path / "meanwhile")
    assert len(events_of(tmp_path / "meanwhile")) == (4 if after and path == MANIFEST else 2)
    writer.ask("save 1")
    shipping.ship()
    restore_shipped(memory, tmp_path / "again")
    assert events_of(tmp_path / "again") == tags_up_to(5)


def test_a_store_that_keeps_less_than_it_says_is_noticed(
    folder: Path, memory: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(fsspec.filesystem("memory"))
    call = kind.pipe_file
    with monkeypatch.context() as patch:
        patch.setattr(kind, "pipe_file", lambda self, at, data: call(self, at, data[:-1]))
        with pytest.raises(RemoteError, match=r"keeps [\d,]+ bytes of a piece of [\d,]+\."):
            Shipping(folder, memory).ship()
    with monkeypatch.context() as patch:
        patch.setattr(kind, "pipe_file", lambda self, at, data: None if MANIFEST in at else call(self, at, data))
        with pytest.raises(RemoteError, match="does not answer with the manifest that was written"):
            Shipping(folder, memory).ship()


def test_an_answer_that_is_wrong_once_is_asked_for_again(
    folder: Path, memory: RemoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Shipping(folder, memory).ship()
    read, wrong = RemoteStore.read, set[str]()

    def lies_once(self: ObjectStore, path: str, max_bytes: int) -> bytes:
        data = read(memory, path, max_bytes)
        if path.startswith(PIECES) and path not in wrong:
            wrong.add(path)
            return data[: len(data) // 2]
        return data

    monkeypatch.setattr(RemoteStore, "read", lies_once)
    restore_shipped(memory, tmp_path / "again")
    assert events_of(tmp_path / "again") == []
    assert len(wrong) > 3


def test_pieces_that_are_deleted_during_a_restore_make_it_begin_again_with_the_newer_manifest(
    folder: Path, writer: Writer, memory: RemoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_SECONDS", -math.inf)
    writer.ask("save 2")
    shipping = Shipping(folder, memory)
    shipping.ship()
    read, has_shipped = RemoteStore.read, [False]

    def meanwhile(self: ObjectStore, path: str, max_bytes: int) -> bytes:
        if path.startswith(PIECES) and not has_shipped[0]:
            has_shipped[0] = True
            writer.ask("checkpoint 0", "save 3")
            shipping.ship()
        return read(memory, path, max_bytes)

    monkeypatch.setattr(RemoteStore, "read", meanwhile)
    _, shipped, _ = restore_shipped(memory, tmp_path / "again")
    assert shipped.number == 2
    assert events_of(tmp_path / "again") == tags_up_to(5)
