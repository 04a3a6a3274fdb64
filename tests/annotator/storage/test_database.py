import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from annotator.errors import ProjectError, StoreError
from annotator.storage import database
from annotator.storage.database import Store

MakeStore = Callable[..., Store]


def open_elsewhere(path: Path) -> subprocess.CompletedProcess[str]:
    """Open a database in another process."""
    program = (
        "import sys; from pathlib import Path; from annotator.storage.database import Store; "
        "Store(Path(sys.argv[1])).close()"
    )
    return subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)


@pytest.fixture
def small_disk(mount_disk: Callable[[str], Path]) -> Path:
    """A file system of 6 MB."""
    return mount_disk("6m")


def write(store: Store, *statements: str) -> None:
    with store.transaction() as cursor:
        for statement in statements:
            cursor.execute(statement)


def width_of(store: Store) -> int:
    """The first image's width by SQL: `Store.images.entry` caches rows, which the program never changes."""
    return int(store.rows("SELECT width FROM images WHERE image_id = 1")[0][0])


def test_a_failure_inside_a_transaction_undoes_it_and_the_next_works(make_store: MakeStore) -> None:
    store = make_store(1)
    with pytest.raises(TypeError):
        write(store, "DELETE FROM images", None)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="Not saved"):
        write(store, "DELETE FROM images", "INSERT INTO no_such_table VALUES (1)")
    assert width_of(store) == 640
    with store.transaction() as cursor:
        cursor.execute("UPDATE images SET width = 1")
    assert width_of(store) == 1


def test_other_threads_read_the_last_commit_while_one_writes(make_store: MakeStore) -> None:
    store = make_store(1)
    seen: list[int] = []
    with store.transaction() as cursor:
        cursor.execute("UPDATE images SET width = 1")
        reader = threading.Thread(target=lambda: seen.append(width_of(store)))
        reader.start()
        reader.join(10)
    assert seen == [640]


def test_writers_in_many_threads_take_turns(make_store: MakeStore) -> None:
    store = make_store(1)
    with store.transaction() as cursor:
        cursor.execute("UPDATE images SET width = 0")

    def count_up() -> None:
        for _ in range(20):
            with store.transaction() as cursor:
                width = width_of(store)
                cursor.execute("UPDATE images SET width = ?", [width + 1])

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert width_of(store) == 80


@pytest.mark.integration
def test_a_second_process_is_refused_with_the_number_of_the_first(make_store: MakeStore) -> None:
    store = make_store(1)
    refused = open_elsewhere(store.path)
    assert refused.returncode == 1
    assert f"in use by process {os.getpid()}" in refused.stderr


@pytest.mark.integration
def test_a_closed_store_lets_other_processes_open_it_though_threads_have_read(make_store: MakeStore) -> None:
    store = make_store(1)
    go_on, has_read = threading.Event(), threading.Event()

    def read() -> None:
        width_of(store)
        has_read.set()
        go_on.wait(60)

    reader = threading.Thread(target=read)
    reader.start()
    has_read.wait(10)
    store.close()
    try:
        assert open_elsewhere(store.path).returncode == 0
    finally:
        go_on.set()
        reader.join()
    with pytest.raises(StoreError, match="could not be read"):
        width_of(store)
    with pytest.raises(StoreError, match="Not saved"):
        store.images.root_id(Path("/late"))


def damaged_page(data: bytes) -> bytes:
    return data[:4096] + bytes(byte ^ 0x5A for byte in data[4096:12288]) + data[12288:]


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"this is no database" * 100, lambda data: data[: len(data) // 3], damaged_page],
    ids=["another file", "truncated", "flipped bytes"],
)
def test_a_damaged_database_is_refused_with_one_sentence(
    make_store: MakeStore, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    store = make_store(50)
    store.close()
    path = tmp_path / "damaged.duckdb"
    path.write_bytes(damage(store.path.read_bytes()))
    with pytest.raises(
        (ProjectError, StoreError), match=r"is damaged .*--repair\. Or restore a backup .*nothing .* overwritten\.$"
    ) as caught:
        make_store(0, path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"cannot be opened|cannot be written"):
        Store(tmp_path / "missing" / "project.duckdb")


def test_on_a_full_disk_nothing_is_lost_and_saving_goes_on_when_there_is_space(
    make_store: MakeStore, small_disk: Path, fill_disk: Callable[[Path], Path]
) -> None:
    store = make_store(1, small_disk / "project.duckdb")
    filler = fill_disk(small_disk)
    for _ in range(2):
        with pytest.raises(
            StoreError, match=r"^Not saved: the disk is full\. Free some space and save again; nothing"
        ) as raised:
            write(store, *(f"INSERT INTO roots VALUES ({number}, '{os.urandom(500).hex()}')" for number in range(500)))
        assert raised.value.details() == {"is_full": True}
    assert width_of(store) == 640
    filler.unlink()
    assert store.images.root_id(Path("/new")) == 1
    store.close()
    assert make_store(1, small_disk / "project.duckdb").images.roots() == [(1, Path("/new"))]


def test_a_disk_that_fills_up_at_a_checkpoint_does_not_end_the_work(
    make_store: MakeStore, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database._SANDBOX, "checkpoint_threshold", "200KB")
    store = make_store(1, small_disk / "project.duckdb")
    acknowledged = []

    def save_for_ever() -> None:
        for _ in range(5000):
            acknowledged.append(store.images.root_id(Path("/") / os.urandom(1500).hex()))

    with pytest.raises(StoreError, match="the disk is full"):
        save_for_ever()
    assert len(store.images.roots()) >= len(acknowledged) > 100
    assert width_of(store) == 640
    subprocess.run(["mount", "-o", "remount,size=40m", small_disk], check=True)
    store.images.root_id(Path("/afterwards"))
    roots = store.images.roots()
    assert [root_id for root_id, _ in roots] == list(range(1, len(roots) + 1))
    assert roots[-1][1] == Path("/afterwards")
    store.close()
    assert make_store(1, small_disk / "project.duckdb").images.roots() == roots


class FailingCursor:
    """A cursor whose COMMIT fails."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, failure: Exception) -> None:
        self._cursor, self._failure = cursor, failure

    def execute(self, query: str, *parameters: object) -> object:
        if query == "COMMIT":
            self._cursor.execute("ROLLBACK")
            raise self._failure
        self._cursor.execute(query, *parameters)
        return self

    def fetchone(self) -> object:
        return self._cursor.fetchone()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            duckdb.TransactionException('Failed to commit: Could not write file "x.wal": No space left on device'),
            "Not saved: the disk is full. Free some space and save again; nothing was lost.",
        ),
        (
            duckdb.IOException('Cannot open file "x.wal": Permission denied'),
            "Not saved: the project's folder cannot be written. Nothing was lost.",
        ),
    ],
)
def test_a_failed_commit_is_reported_and_undone(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, error: duckdb.Error, sentence: str
) -> None:
    store = make_store(1)
    with monkeypatch.context() as patch:
        real = store._cursor()
        patch.setattr(store, "_cursor", lambda: FailingCursor(real, error))
        with pytest.raises(StoreError) as caught:
            store.images.root_id(Path("/photos"))
    assert str(caught.value) == sentence
    assert store.images.roots() == []
    assert store.images.root_id(Path("/photos")) == 1
