"""Snapshots: what readers without the project see is what the project has, of one moment, and nothing else of it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pytest

from annotator.auth.accounts import Accounts
from annotator.cli.main import main
from annotator.datasets import remote_store
from annotator.datasets.folder_store import FolderStore
from annotator.datasets.photo_roots import PhotoUrl
from annotator.datasets.remote_store import RemoteStore
from annotator.errors import BackupError, RemoteError
from annotator.maintenance import snapshots as module
from annotator.maintenance.snapshots import Publisher, find_snapshot, open_snapshot
from annotator.storage.correction_log import CorrectionLog, Draft, Effort
from annotator.storage.database import Store
from annotator.storage.field_values import FieldValues
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.project import Project
from annotator.storage.snapshot_tables import TABLES, file_of
from annotator.storage.tag_changes import TagChanges

DOCUMENT = Path(__file__).parents[3] / "docs" / "replicas.md"
SHOWN = [{"tag": "cat", "score": 0.5}, {"tag": "dog", "score": 0.25}]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.open_or_create(tmp_path / "project", "holiday")
    change(project, fill)
    return project


def change(project: Project, work: Callable[[Store, CorrectionLog], None]) -> None:
    store = Store(project.database_path)
    try:
        work(store, CorrectionLog(store))
    finally:
        store.close()


def fill(store: Store, log: CorrectionLog) -> None:
    roots = [store.images.root_id(Path(f"/secret place/{name}")) for name in ("a", "b")]
    images = [
        (n, ImageEntry(f"{n:064x}", 640, 480, "JPEG", caption=f"caption {n}", latitude=47.1, taken_at="2024-05-01"))
        for n in range(1, 7)
    ]
    paths = [SeenPath(roots[n % 2], f"beach/p {n}.jpg", 1, 1, n) for n in range(1, 7)]
    store.images.add(IngestedBatch(images=images, paths=paths))
    effort = Effort(tagger="net 1", shown=SHOWN, actions=[("keep", "cat")], seconds=2.0, num_keys=3)
    log.save(1, revision=0, tags=["cat", "sofa"], dropped=["dog"], user_name="anna", effort=effort)
    log.save(2, revision=0, tags=["dog"], dropped=(), user_name="ben", effort=effort)
    log.save(1, revision=1, tags=["sofa", "cat", "Käfer 猫"], dropped=["dog"], user_name="anna", effort=effort)
    log.save(3, revision=0, tags=(), dropped=(), user_name="anna", effort=Effort())
    log.save_draft(4, "ben", Draft(0, ("unfinished thought",), ()))
    FieldValues(store).put(1, "title", "At home", "", "anna")
    TagChanges(store, log).apply("parent", "cat", "animal", "anna", lambda annotation: None)


def publisher(project: Project, target: Path | str, **options: Any) -> Publisher:
    store = FolderStore(target) if isinstance(target, Path) else RemoteStore(PhotoUrl(target))
    return Publisher(project, store, lambda copy: {"num_events": copy.rows("SELECT count(*) FROM events")[0][0]},
                     **{"num_kept": 3, **options})  # fmt: skip


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> str:
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    monkeypatch.setattr(remote_store, "PAUSES", ())
    return "memory://bucket/lists"


def printed(capsys: pytest.CaptureFixture[str], *command: object) -> tuple[str, str]:
    capsys.readouterr()
    assert main(list(map(str, command))) == 0
    return capsys.readouterr()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--tag", "CAT"],
        ["--query", "tag:dog OR first:sofa"],
        ["--query", "folder:beach"],
        ["--state", "all"],
        ["--state", "empty"],
        ["--photo", "p 2.jpg"],
    ],
)
@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_an_export_of_a_snapshot_is_that_of_the_project(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str, options: list[str]
) -> None:
    publisher(project, tmp_path / "lists", with_folders=True).publish()
    arguments = ["--format", format, *options]
    wanted, _ = printed(capsys, "export", project.folder, *arguments)
    found, said = printed(capsys, "export", tmp_path / "lists", *arguments)
    assert wanted
    assert found == wanted
    pattern = r"is a snapshot of holiday: 6 photos, 3 saved, up to event 4, as of 20\S+Z, \d seconds ago\.\n$"
    assert re.search(pattern, said)


def test_a_file_of_another_format_is_written_of_a_snapshot(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher(project, tmp_path / "lists", with_folders=True).publish()
    for source, out in ((project.folder, tmp_path / "a.csv"), (tmp_path / "lists", tmp_path / "b.csv")):
        printed(capsys, "export", source, "--format", "kohya-jsonl", out, "--leave-out")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    out = tmp_path / "sidecars"
    printed(capsys, "export", tmp_path / "lists", "--format", "xmp", out)
    assert sorted(path.name for path in out.rglob("*.xmp")) == ["p 1.jpg.xmp", "p 2.jpg.xmp", "p 3.jpg.xmp"]


def test_folders_of_the_machine_are_numbered_unless_they_are_asked_for(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher(project, tmp_path / "lists").publish()
    found, _ = printed(capsys, "export", tmp_path / "lists")
    rows = list(map(json.loads, found.splitlines()))
    assert {row["root"] for row in rows} == {""}
    assert [row["image"] for row in rows] == ["beach/p 1.jpg", "beach/p 2.jpg", "beach/p 3.jpg"]
    with duckdb.connect() as connection:
        for table in TABLES:
            assert "secret place" not in str(connection.sql(f"FROM '{tmp_path}/lists/000001/{file_of(table)}'"))


def test_the_report_of_a_snapshot_is_that_of_the_project(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, "snapshot", project.folder, tmp_path / "lists")
    wanted, _ = printed(capsys, "report", project.folder, "--json")
    found, said = printed(capsys, "report", tmp_path / "lists", "--json")
    assert json.loads(found) == json.loads(wanted)
    assert json.loads(found)["num_saves"] == 4
    assert "is a snapshot of holiday" in said


def test_what_a_viewer_may_not_see_is_in_no_table(project: Project, tmp_path: Path) -> None:
    def add(store: Store, log: CorrectionLog) -> None:
        Accounts(store).add("carla", "admin", "a long pass phrase")
        store.images.add(IngestedBatch())
        with store.transaction() as cursor:
            cursor.execute("INSERT INTO asked VALUES (5, 2, ['anna', 'ben'], 'anna', now()::TIMESTAMP)")
            cursor.execute(
                "INSERT INTO answers BY NAME SELECT 1 AS answer_id, 5 AS image_id, 'ben' AS user_name, 1 AS revision, "
                "now()::TIMESTAMP AS created_at, true AS is_given, ['blind answer'] AS tags, []::VARCHAR[] AS dropped, "
                "'' AS tagger, '[]' AS shown, '[]' AS actions, 0 AS seconds, 0 AS num_keys, 0 AS num_clicks"
            )

    change(project, add)
    publisher(project, tmp_path / "lists").publish()
    folder = tmp_path / "lists" / "000001"
    assert {path.name for path in folder.iterdir()} == {*map(file_of, TABLES), "report.json", "snapshot.json"}
    text = ""
    with duckdb.connect() as connection:
        for table in TABLES:
            text += str(connection.sql(f"FROM '{folder / file_of(table)}'").fetchall())
    text += "".join(path.read_text() for path in folder.glob("*.json"))
    for secret in ("unfinished thought", "blind answer", "carla", "argon2", "47.1"):
        assert secret not in text
    assert "Käfer 猫" in text


def example() -> str:
    """The query of the document."""
    (found,) = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def run_example(connection: duckdb.DuckDBPyConnection, target: str) -> list[Any]:
    rows: list[Any] = []
    for statement in connection.extract_statements(example().replace("s3://BUCKET/FOLDER", target)):
        rows = connection.execute(statement).fetchall()
    return rows


def test_plain_duckdb_reads_the_example_of_the_document(project: Project, tmp_path: Path) -> None:
    publishing = publisher(project, tmp_path / "lists")
    publishing.publish()
    save_another(project, 6)
    publishing.publish()
    with duckdb.connect() as connection:
        assert run_example(connection, str(tmp_path / "lists")) == [
            ("dog", 1, 1), ("sofa", 1, 1), ("t0", 1, 1), ("Käfer 猫", 1, 0), ("cat", 1, 0),
        ]  # fmt: skip


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_snapshot_in_s3_is_read_by_duckdb_and_by_the_commands(
    project: Project, s3_client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    s3_client.create_bucket(Bucket="lists")
    printed(capsys, "snapshot", project.folder, "s3://lists/holiday")
    found, said = printed(capsys, "export", "s3://lists/holiday")
    assert json.loads(found.splitlines()[0])["tags"] == ["sofa", "cat", "Käfer 猫"]
    assert "s3://lists/holiday is a snapshot of holiday" in said
    with duckdb.connect() as connection:
        connection.register_filesystem(fsspec.filesystem("s3"))
        assert run_example(connection, "s3://lists/holiday")[:2] == [("dog", 1, 1), ("sofa", 1, 1)]


def save_another(project: Project, image_id: int) -> None:
    def save(store: Store, log: CorrectionLog) -> None:
        revision = log.annotation(image_id).revision
        log.save(image_id, revision=revision, tags=[f"t{revision}"], dropped=(), user_name="ben", effort=Effort())

    change(project, save)


def test_so_many_stay_and_one_without_changes_only_says_when_it_was_looked_at(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "lists"
    first = publisher(project, target, num_kept=2).publish()
    again = publisher(project, target, num_kept=2).publish()
    assert (first.number, again.number) == (1, 1)
    assert again.made_at == first.made_at
    for _ in range(3):
        save_another(project, 6)
        last = publisher(project, target, num_kept=2).publish()
    assert (last.number, last.kept) == (4, (4, 3))
    assert sorted(path.name for path in target.iterdir() if any(path.glob("*"))) == ["000003", "000004"]
    assert (target / "manifest.json").exists()
    older, said = printed(capsys, "export", target / "000003")
    assert '"t1"' in older
    assert "up to event 6" in said
    newer, _ = printed(capsys, "export", target)
    assert '"t2"' in newer


@pytest.mark.integration
def test_a_project_that_another_process_has_open_is_published(project: Project, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from annotator.storage.database import Store; "
        "from annotator.storage.correction_log import CorrectionLog, Effort; store = Store(Path(sys.argv[1])); "
        "CorrectionLog(store).save(6, revision=0, tags=['in the log'], dropped=(), user_name='x', effort=Effort()); "
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(project.database_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        about = publisher(project, tmp_path / "lists").publish()
        process.kill()
    assert about.event_id == 5
    with open_snapshot(FolderStore(tmp_path / "lists")) as (_, store):
        assert store.rows("SELECT tags FROM annotations WHERE image_id = 6") == [(["in the log"],)]


def test_a_publication_that_is_killed_leaves_the_last_one_and_the_next_cleans_up(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "lists"
    publisher(project, target).publish()
    written = FolderStore.write
    for number in range(len(TABLES) + 3):
        save_another(project, 6)
        left = [number]

        def dies(self: FolderStore, path: str, data: bytes, left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            written(self, path, data)

        before = find_snapshot(FolderStore(target))
        with monkeypatch.context() as patch:
            patch.setattr(FolderStore, "write", dies)
            with pytest.raises(KeyboardInterrupt):
                publisher(project, target).publish()
        assert find_snapshot(FolderStore(target)) == before
        with open_snapshot(FolderStore(target)) as (about, store):
            assert about == before
            assert len(store.rows("FROM annotations WHERE is_saved")) == 3
    shutil.copytree(target / "000001", target / "000099")
    about = publisher(project, target).publish()
    assert about.number == 2
    assert sorted(path.name for path in target.iterdir() if path.is_dir() and any(path.iterdir())) == [
        "000001", "000002",
    ]  # fmt: skip


def test_a_snapshot_that_is_deleted_while_it_is_read_is_replaced_by_the_newest(
    project: Project, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishing = publisher(project, memory, num_kept=2)
    publishing.publish()
    store = RemoteStore(PhotoUrl(memory))
    read, has_published = RemoteStore.read, [False]

    def meanwhile(self: RemoteStore, path: str, max_bytes: int) -> bytes:
        if path.endswith("tags.parquet") and not has_published[0]:
            has_published[0] = True
            for _ in range(3):
                save_another(project, 6)
                publishing.publish()
        return read(self, path, max_bytes)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteStore, "read", meanwhile)
        with open_snapshot(store) as (about, _):
            assert about.number == 4
    fsspec.filesystem("memory").rm_file("/bucket/lists/000004/files.parquet")
    with (
        pytest.raises(BackupError, match=r"000004/files\.parquet is missing, cut short or altered: the snapshot"),
        open_snapshot(store),
    ):
        pass


@pytest.mark.parametrize("name", [*map(file_of, TABLES), "report.json"])
def test_an_altered_table_is_refused(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    publisher(project, tmp_path / "lists").publish()
    path = tmp_path / "lists" / "000001" / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    command = "report" if name == "report.json" else "export"
    assert main([command, str(tmp_path / "lists")]) == 1
    assert f"{name} is missing, cut short or altered" in capsys.readouterr().err


@pytest.mark.parametrize("text", [b"", b"{}", b"<html>", b'{"format": "annotator-ship"}'])
def test_a_manifest_of_something_else_is_refused(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "manifest.json").write_bytes(text)
    for command in (["export", tmp_path / "lists"], ["snapshot", project.folder, tmp_path / "lists"]):
        assert main(list(map(str, command))) == 1
        assert "is not a whole manifest of `annotator snapshot`" in capsys.readouterr().err


def test_tables_that_no_snapshot_has_are_refused(project: Project, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "lists")
    about = publisher(project, tmp_path / "lists").publish()
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS image_id) TO '{tmp_path}/other.parquet'")
    data = (tmp_path / "other.parquet").read_bytes()
    digest = module.hashlib.sha256(data).hexdigest()
    files = {**about.files, "photos.parquet": (len(data), digest)}
    store.write("000001/photos.parquet", data)
    store.write("manifest.json", module.about_text(module.replace(about, files=files)))
    with pytest.raises(BackupError, match="holds other tables than `annotator snapshot` writes"), open_snapshot(store):
        pass


def test_another_project_and_another_process_are_refused(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "lists"
    first = publisher(project, target)
    first.publish()
    other = Project.open_or_create(tmp_path / "other", "other")
    Store(other.database_path).close()
    with pytest.raises(BackupError, match="holds snapshots of another project"):
        publisher(other, target).publish()
    save_another(project, 6)
    publisher(project, target).publish()
    with pytest.raises(BackupError, match="Another process publishes in"):
        first.publish()


@pytest.mark.parametrize("error", [OSError("503 Slow Down"), PermissionError("Access Denied"), TimeoutError("late")])
@pytest.mark.parametrize("after", [False, True])
def test_a_store_that_refuses_or_answers_late_keeps_the_last_snapshot(
    project: Project, memory: str, monkeypatch: pytest.MonkeyPatch, error: Exception, after: bool
) -> None:
    publishing = publisher(project, memory)
    publishing.publish()
    save_another(project, 6)
    kind = type(fsspec.filesystem("memory"))
    call = kind.pipe_file

    def failing(self: Any, at: str, data: bytes) -> None:
        if after:
            call(self, at, data)
        if "manifest" in at:
            raise error
        call(self, at, data)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "pipe_file", failing)
        with pytest.raises(RemoteError):
            publishing.publish()
    store = RemoteStore(PhotoUrl(memory))
    with open_snapshot(store) as (about, _):
        assert about.number == (2 if after else 1)
    assert publishing.publish().number == 2
    with open_snapshot(store) as (about, database):
        assert database.rows("SELECT count(*) FROM annotations WHERE is_saved") == [(4,)]


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotator.storage.live_files.SETTLED_SECONDS", 0.0)


def test_the_age_is_of_the_last_look_and_a_clock_that_is_ahead_is_said(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FolderStore(tmp_path / "lists")
    about = publisher(project, tmp_path / "lists").publish()
    for checked_at, said in (("2020-01-01T00:00:00Z", r"[\d,]+ days ago"), ("2099-01-01T00:00:00Z", "by a clock that")):
        store.write("manifest.json", module.about_text(module.replace(about, checked_at=checked_at)))
        _, err = printed(capsys, "export", tmp_path / "lists")
        assert re.search(f"as of {checked_at}, {said}", err)


def test_a_folder_that_is_neither_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["export", tmp_path], ["report", tmp_path]):
        assert main(list(map(str, command))) == 1
        assert "is not a project" in capsys.readouterr().err
    assert main(["export", f"memory://nothing/{tmp_path.name}"]) == 1
    assert "holds no snapshot" in capsys.readouterr().err
