"""Damaged projects: flipped bytes, truncated files, full and read-only disks, two servers; all faults are real."""

import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator.errors import ProjectError, StoreError
from annotator.maintenance.integrity import check
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.images import ImageEntry, IngestedBatch
from annotator.storage.project import Project

pytestmark = pytest.mark.integration  # processes that are killed

TABLES = ("images", "events", "annotations", "drafts", "users")


def save(log: CorrectionLog, image_id: int, *tags: str) -> None:
    revision = log.annotation(image_id).revision
    log.save(image_id, revision=revision, tags=tags, dropped=(), user_name="anna", effort=Effort())


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of ten images and twelve saves."""
    path = tmp_path_factory.mktemp("sound") / "project.duckdb"
    store = Store(path)
    store.images.add(IngestedBatch(images=[(n, ImageEntry(f"{n:064x}", 640, 480, "JPEG")) for n in range(1, 11)]))
    log = CorrectionLog(store)
    for number in range(12):
        save(log, number % 10 + 1, f"tag {number}", "cat")
    store.close()
    return path.read_bytes()


@pytest.fixture
def database(sound: bytes, tmp_path: Path) -> Path:
    project = Project.open_or_create(tmp_path / "project", "holiday")
    project.database_path.write_bytes(sound)
    return project.database_path


def everything(path: Path) -> list[Any]:
    """Read all stored rows; damage raises an error."""
    store = Store(path)
    try:
        return [sorted(store.rows(f"SELECT * FROM {table}"), key=str) for table in TABLES]
    finally:
        store.close()


def refusal(path: Path, whole: list[Any]) -> str:
    """Return the message that reports the damage; without one, all rows must be unchanged."""
    try:
        found = everything(path)
    except (ProjectError, StoreError) as error:
        return str(error)
    assert found == whole
    return ""


def test_a_flipped_byte_is_refused_with_a_remedy_or_harmless(database: Path) -> None:
    whole, data = everything(database), database.read_bytes()
    generator = random.Random(0)
    places = [*range(0, 12288, 1024), *generator.sample(range(12288, len(data)), 25)]
    refusals = []
    for place in places:
        database.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        database.with_suffix(".duckdb.wal").unlink(missing_ok=True)
        refusals.append(refusal(database, whole))
    sentences = [text for text in refusals if text]
    assert len(sentences) >= len(places) // 4
    for text in sentences:
        assert f"annotator restore FILE {database.parent}-restored" in text
        assert "\n" not in text
    database.write_bytes(data)
    assert everything(database) == whole


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.999])
def test_a_truncated_database_is_refused_with_a_remedy(database: Path, share: float) -> None:
    data = database.read_bytes()
    cut = data[: int(len(data) * share)] or b"\0"
    database.write_bytes(cut)
    with pytest.raises((ProjectError, StoreError), match=r"annotator restore FILE .*nothing .* is overwritten\.$"):
        everything(database)
    assert database.read_bytes() == cut  # whoever can read more of it than this program still may


SAVE_UNTIL_REFUSED = """
import sys
from pathlib import Path
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.errors import StoreError
from annotator.storage.database import Store

store = Store(Path(sys.argv[1]))
log = CorrectionLog(store)
try:
    for number in range(2000):
        revision = log.annotation(1).revision
        tags = [f"{number} {place}" + "x" * 80 for place in range(40)]
        log.save(1, revision=revision, tags=tags, dropped=(), user_name="ben", effort=Effort())
        print(number, flush=True)
        if len(sys.argv) > 2 and number == int(sys.argv[2]):
            import os
            os.kill(os.getpid(), 9)
except StoreError as error:
    print(error, file=sys.stderr)
    sys.exit(3)
"""


def save_until_refused(database: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SAVE_UNTIL_REFUSED, str(database), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def bens_saves(database: Path) -> list[int]:
    store = Store(database)
    try:
        rows = store.rows("SELECT after_tags FROM events WHERE user_name = 'ben' ORDER BY event_id")
        assert [f.what for f in check(Project.open(database.parent), store)] == []
        return [int(tags[0].split()[0]) for (tags,) in rows]
    finally:
        store.close()


def test_on_a_full_disk_every_answered_save_is_stored_and_the_refused_one_is_not(database: Path) -> None:
    """Needs no root, unlike a small file system (test_store.py)."""
    most = database.stat().st_size + 200_000

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    process = save_until_refused(database, preexec_fn=limit)
    assert process.returncode == 3, process.stderr
    assert "Not saved: a file has reached the size that this process may write. Nothing was lost." in process.stderr
    answered = [int(line) for line in process.stdout.split()]
    assert answered
    assert bens_saves(database) == answered


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_log_beside_the_database_is_refused_or_gives_whole_saves_only(database: Path, damage: str) -> None:
    process = save_until_refused(database, "5")
    assert process.stdout.split() == list("012345")
    log = database.with_name(f"{database.name}.wal")
    data, base = log.read_bytes(), database.read_bytes()
    assert len(data) > 1000
    refusals = []
    for part in range(1, 10):
        place = len(data) * part // 10
        flipped = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        database.write_bytes(base)
        log.write_bytes(data[:place] if damage == "cut" else flipped)
        try:
            found = bens_saves(database)
        except (ProjectError, StoreError) as error:
            refusals.append(str(error))
        else:
            assert found == list(range(len(found)))  # the first ones, without a gap
    assert all("annotator restore" in text for text in refusals), refusals
    database.write_bytes(base)
    log.write_bytes(data)
    assert bens_saves(database) == list(range(6))


@pytest.fixture
def read_only(database: Path) -> Iterator[Path]:
    """The project on a disk that cannot be written; for root, whom permissions do not stop, a read-only mount."""
    folder = database.parent
    if os.geteuid() != 0:
        database.chmod(0o400)
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    for options in (["--bind", str(folder), str(folder)], ["-o", "remount,bind,ro", str(folder)]):
        if subprocess.run(["mount", *options], capture_output=True).returncode:
            pytest.skip("this machine lets nothing be mounted read-only")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_project_is_refused_with_one_sentence_and_unchanged(
    read_only: Path, run_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in read_only.rglob("*")}
    refused = run_command("tags", read_only, "rename", "cat", "dog")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1
    assert "cannot be written. Check the folder's permissions." in refused.stderr
    for command in (["export", read_only], ["tags", read_only, "list"], ["models", read_only]):
        assert run_command(*command).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in read_only.rglob("*")} == before
    shutil.copytree(read_only, tmp_path / "copy")  # the remedy of the message, if permitted
    assert run_command("export", tmp_path / "copy").returncode == 0


def test_a_second_server_is_refused_with_the_first_s_process_named(
    database: Path, run_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    first = Store(database)
    try:
        refused = run_command("serve", database.parent, "--port", "0")
    finally:
        first.close()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"in use by process {os.getpid()}" in refused.stderr.splitlines()[-1]
