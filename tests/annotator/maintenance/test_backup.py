"""Backups: complete, consistent during saves, restored as they were; damaged ones are refused."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pytest
from argon2 import PasswordHasher

from annotator.auth.accounts import Accounts
from annotator.cli.main import main
from annotator.errors import BackupError
from annotator.maintenance import archive_bounds
from annotator.maintenance import backup as backup_module
from annotator.maintenance.backup import MANIFEST, back_up, restore
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.images import IngestedBatch
from annotator.storage.project import Project
from annotator.storage.webhooks import Webhooks


def save(log: CorrectionLog, image_id: int, *tags: str) -> None:
    revision = log.annotation(image_id).revision
    log.save(image_id, revision=revision, tags=tags, dropped=(), user_name="anna", effort=Effort())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.open_or_create(tmp_path / "project", "holiday")
    (project.checkpoints_path / "mine").mkdir()
    (project.checkpoints_path / "mine" / "tagger.json").write_text("{}")
    (project.features_path / "net-1.f32").write_bytes(np.arange(8, dtype="<f4").tobytes())
    (project.thumbnails_path / "thumb.jpg").write_bytes(b"made anew")
    return project


@pytest.fixture
def store(project: Project, make_store: Callable[..., Store]) -> Store:
    store = make_store(path=project.database_path)
    store.images.add(IngestedBatch(backbone="net-1", feature_rows=[(1, 0), (2, 1)]))
    log = CorrectionLog(store)
    save(log, 1, "cat", "sofa")
    save(log, 1, "sofa", "cat")
    return store


def make_backup(project: Project, store: Store, target: Path, **options: Any) -> Path:
    snapshot = target.with_suffix(".duckdb")
    store.copy_to(snapshot)
    back_up(project, snapshot, target, **options)
    return target


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Change the members of a backup."""
    with tarfile.open(path) as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
    change(members)
    changed = path.with_name("changed.tar")
    with tarfile.open(changed, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return changed


def with_member(members: dict[str, bytes], name: str, data: bytes) -> None:
    """Add a file, with a correct entry in the manifest."""
    manifest = json.loads(members[MANIFEST])
    manifest["members"].append({"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    members[MANIFEST] = json.dumps(manifest).encode()
    members[name] = data


def test_what_is_restored_is_what_was_backed_up(project: Project, store: Store, tmp_path: Path) -> None:
    path = make_backup(project, store, tmp_path / "b.tar")
    manifest = restore(path, tmp_path / "again")
    assert (manifest.num_images, manifest.num_saved, manifest.num_events) == (3, 1, 2)
    again = Project.open(tmp_path / "again")
    assert again.settings.name == "holiday"
    assert (again.features_path / "net-1.f32").read_bytes() == (project.features_path / "net-1.f32").read_bytes()
    assert (again.checkpoints_path / "mine" / "tagger.json").read_text() == "{}"
    assert list(again.thumbnails_path.iterdir()) == []
    restored = Store(again.database_path)
    try:
        log = CorrectionLog(restored)
        assert log.annotation(1).tags == ("sofa", "cat")
        assert [event["after_tags"] for event in log.history(1)] == [["cat", "sofa"], ["sofa", "cat"]]
        save(log, 1, "dog")  # keys and constraints came along
        assert restored.images.feature_rows("net-1") == [(1, 0), (2, 1)]
    finally:
        restored.close()


def test_the_webhooks_of_whoever_made_the_backup_are_not_told_of_the_restored_lists(
    project: Project, store: Store, tmp_path: Path
) -> None:
    Webhooks(store).add("https://theirs.example/hook", "secret")
    manifest = restore(make_backup(project, store, tmp_path / "b.tar"), tmp_path / "again")
    assert [sentence for sentence in manifest.left_out if sentence.startswith("the webhook")] == [
        "the webhook https://theirs.example/hook; add it again with `annotator webhooks` if it is yours."
    ]
    again = Store(tmp_path / "again" / "project.duckdb")
    assert Webhooks(again).all() == []
    again.close()
    assert len(Webhooks(store).all()) == 1


def test_features_can_be_left_out(project: Project, store: Store, tmp_path: Path) -> None:
    path = make_backup(project, store, tmp_path / "b.tar", with_features=False)
    restore(path, tmp_path / "again")
    assert list((tmp_path / "again" / "features").iterdir()) == []


def test_a_backup_made_while_people_save_is_of_one_moment(project: Project, store: Store, tmp_path: Path) -> None:
    log, is_over = CorrectionLog(store), threading.Event()

    def work() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            save(log, 1 + number % 3, f"tag {number}")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        paths = [make_backup(project, store, tmp_path / f"{number}.tar") for number in range(4)]
    finally:
        is_over.set()
        worker.join()
    assert len(log.history(1)) > 4
    for path in paths:
        folder = tmp_path / f"restored {path.stem}"
        manifest = restore(path, folder)
        restored = Store(folder / "project.duckdb")
        try:
            events = restored.rows("SELECT event_id, image_id, after_tags FROM events ORDER BY event_id")
            assert [event[0] for event in events] == list(range(1, manifest.num_events + 1))
            newest = {image_id: tags for _, image_id, tags in events}
            assert dict(restored.rows("SELECT image_id, tags FROM annotations")) == newest
        finally:
            restored.close()


def test_nothing_is_overwritten(project: Project, store: Store, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    target.write_bytes(b"somebody's")
    with pytest.raises(BackupError, match="exists already"):
        make_backup(project, store, target)
    assert target.read_bytes() == b"somebody's"
    path = make_backup(project, store, tmp_path / "c.tar")
    with pytest.raises(BackupError, match="not empty"):
        restore(path, project.folder)
    assert project.settings_path.exists()


def test_a_full_disk_leaves_no_half_backup(
    project: Project, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_module.os, "fsync", full)
    with pytest.raises(BackupError, match="No space left"):
        make_backup(project, store, tmp_path / "b.tar")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith((".tar", ".part"))]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "features/../../evil", "server.json", "checkpoints/a\\..\\b"])
def test_a_path_that_leads_out_is_refused(project: Project, store: Store, tmp_path: Path, name: str) -> None:
    path = make_backup(project, store, tmp_path / "b.tar")
    changed = rewrite(path, lambda members: with_member(members, name, b"x"))
    with pytest.raises(BackupError, match="no project has"):
        restore(changed, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert not (tmp_path / "evil").exists()


def test_without_the_check_the_path_would_lead_out(
    project: Project, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import re

    path = make_backup(project, store, tmp_path / "b.tar")
    changed = rewrite(path, lambda members: with_member(members, "server.json", b"x"))
    monkeypatch.setattr(backup_module, "ALLOWED", re.compile(".*"))
    restore(changed, tmp_path / "again")
    assert (tmp_path / "again" / "server.json").exists()


def test_links_are_refused(project: Project, store: Store, tmp_path: Path) -> None:
    path = make_backup(project, store, tmp_path / "b.tar")
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("checkpoints/link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(BackupError, match="is no plain file"):
        restore(path, tmp_path / "again")


DAMAGES: dict[str, Callable[[dict[str, bytes]], None]] = {
    "a flipped byte": lambda m: m.update({"settings.json": b"X" + m["settings.json"][1:]}),
    "a file more": lambda m: m.update({"checkpoints/more": b"x"}),
    "a file less": lambda m: m.pop("settings.json") and None,
    "no list": lambda m: m.pop(MANIFEST) and None,
    "a list that is no JSON": lambda m: m.update({MANIFEST: b"{"}),
    "a list of another kind": lambda m: m.update({MANIFEST: b"[]"}),
    "a newer format": lambda m: m.update(
        {MANIFEST: m[MANIFEST].replace(b'"format_version": 2', b'"format_version": 3')}
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_backup_is_refused_and_leaves_nothing(
    project: Project, store: Store, tmp_path: Path, damage: str
) -> None:
    path = make_backup(project, store, tmp_path / "b.tar")
    changed = rewrite(path, DAMAGES[damage])
    with pytest.raises(BackupError):
        restore(changed, tmp_path / "again")
    assert not [found for found in tmp_path.iterdir() if "again" in found.name]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_a_cut_off_backup_is_refused(project: Project, store: Store, tmp_path: Path, share: float) -> None:
    path = make_backup(project, store, tmp_path / "b.tar")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(BackupError, match="whole backup"):
        restore(path, tmp_path / "again")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="No such file"):
        restore(tmp_path / "nothing.tar", tmp_path / "again")


def bomb(path: Path, *infos: tuple[tarfile.TarInfo, bytes], **options: Any) -> Path:
    """Write an archive with these members, whatever they say of themselves."""
    with tarfile.open(path, "w", **options) as archive:
        for info, data in infos:
            archive.fileobj.write(info.tobuf())  # type: ignore[union-attr]
            archive.fileobj.write(data.ljust(-(-len(data) // 512) * 512, b"\0"))  # type: ignore[union-attr]
            archive.offset = archive.fileobj.tell()  # type: ignore[union-attr]
    return path


def info_of(name: str, size: int, kind: bytes = tarfile.REGTYPE, **values: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for key, value in values.items():
        setattr(info, key, value)
    return info


def refused(path: Path, target: Path, match: str) -> None:
    with pytest.raises(BackupError, match=match):
        restore(path, target)
    assert not target.exists()
    assert not list(target.parent.glob(f".{target.name}*"))


@pytest.mark.integration  # it starts GNU tar
def test_a_sparse_member_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "features" / "net.f32"
    file.parent.mkdir()
    with file.open("wb") as out:
        out.truncate(1 << 40)
    tool = shutil.which("tar")
    assert tool is not None
    command = [tool, "--sparse", "-C", str(tmp_path)]
    for form in ("gnu", "pax"):
        path = tmp_path / f"{form}.tar"
        subprocess.run([*command, f"--format={form}", "-cf", str(path), "features/net.f32"], check=True)
        assert path.stat().st_size < 1_000_000
        refused(path, tmp_path / "never", "which is no plain file")


def test_a_member_larger_than_its_archive_is_refused_before_anything_is_written(
    project: Project, store: Store, tmp_path: Path
) -> None:
    path = bomb(tmp_path / "b.tar", (info_of("project.duckdb", 1 << 40), b"short"))
    refused(path, tmp_path / "never", "is not a whole backup")
    path = make_backup(project, store, tmp_path / "whole.tar")
    with path.open("r+b") as file:  # the disk may hold an archive of any length that has no content
        file.truncate(path.stat().st_size + (1 << 40))
    assert restore(path, tmp_path / "again").num_images == 3


def test_more_than_fits_on_the_disk_is_refused_before_anything_is_written(
    project: Project, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_backup(project, store, tmp_path / "b.tar")
    written: list[Any] = []
    monkeypatch.setattr(backup_module, "_extract", lambda *arguments: written.append(arguments))
    monkeypatch.setattr(archive_bounds.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    refused(path, tmp_path / "never", r"needs 3 MB and 16 MB to spare, but .* has 1 MB\. Nothing was written")
    assert not written


def test_a_member_that_its_list_does_not_name_is_found_before_anything_is_written(
    project: Project, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_backup(project, store, tmp_path / "b.tar")
    changed = rewrite(path, lambda members: members.update({"zzz": b"not named"}))
    written: list[Any] = []
    monkeypatch.setattr(backup_module, "_extract", lambda *arguments: written.append(arguments))
    refused(changed, tmp_path / "never", "holds 'zzz'")
    assert not written


def test_headers_that_are_huge_or_nested_are_refused(tmp_path: Path) -> None:
    huge = bomb(tmp_path / "huge.tar", (info_of("x", 1 << 32, tarfile.XHDTYPE), b""))
    with huge.open("r+b") as file:
        file.truncate((1 << 32) + 4096)
    refused(huge, tmp_path / "never", "has a header of 4,294,967,296 bytes")
    record = b"11 path=ab\n"
    nested = bomb(tmp_path / "nested.tar", *[(info_of("x", len(record), tarfile.XHDTYPE), record)] * 3000)
    refused(nested, tmp_path / "never", "nested without end|is not a whole backup")


def test_too_many_and_too_deep_members_are_refused(
    project: Project, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_backup(project, store, tmp_path / "b.tar")
    deep = rewrite(path, lambda members: with_member(members, "features/" + "d/" * 300 + "x", b"deep"))
    refused(deep, tmp_path / "never", "names a file that no project has")
    monkeypatch.setattr(archive_bounds, "MAX_MEMBERS", 3)
    refused(path, tmp_path / "never", "holds more than 3 files")


@pytest.mark.parametrize(
    "values",
    [{"num_images": "many"}, {"num_saved": -1}, {"num_events": True}, {"created_at": "\x1b[2J"}, {"created_at": 7}],
)
def test_a_list_with_other_values_is_refused(
    project: Project, store: Store, tmp_path: Path, values: dict[str, Any]
) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[MANIFEST] = json.dumps(json.loads(members[MANIFEST]) | values).encode()

    path = rewrite(make_backup(project, store, tmp_path / "b.tar"), change)
    refused(path, tmp_path / "never", "is not a whole backup of a project")


def test_a_list_that_is_nested_without_end_is_refused(project: Project, store: Store, tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[MANIFEST] = b"[" * 200_000

    path = rewrite(make_backup(project, store, tmp_path / "b.tar"), change)
    refused(path, tmp_path / "never", "is not a whole backup of a project")


def test_backups_and_what_is_restored_are_their_owner_s_alone(project: Project, store: Store, tmp_path: Path) -> None:
    path = make_backup(project, store, tmp_path / "b.tar")
    restore(path, tmp_path / "again")
    folder = tmp_path / "again"
    assert [oct(each.stat().st_mode & 0o777) for each in (path, folder)] == ["0o600", "0o700"]
    files = [each for each in folder.rglob("*") if each.is_file()]
    assert {each.name for each in files} >= {"project.duckdb", "settings.json", "net-1.f32"}
    assert {each.stat().st_mode & 0o077 for each in files} == {0}


def test_a_database_with_a_view_in_place_of_a_table_is_refused(project: Project, store: Store, tmp_path: Path) -> None:
    path = make_backup(project, store, tmp_path / "b.tar")
    secret = tmp_path / "secret.txt"
    secret.write_text("the password")
    hostile = tmp_path / "hostile.duckdb"
    store.copy_to(hostile)
    with duckdb.connect(str(hostile)) as connection:
        connection.execute("ALTER TABLE images RENAME TO photos")
        connection.execute(
            f"CREATE VIEW images AS SELECT p.* REPLACE (r.content AS caption) FROM photos p, read_text('{secret}') r"
        )

    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members[MANIFEST])
        members["project.duckdb"] = data = hostile.read_bytes()
        entry = next(each for each in manifest["members"] if each["path"] == "project.duckdb")
        entry |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        members[MANIFEST] = json.dumps(manifest).encode()

    refused(rewrite(path, change), tmp_path / "never", "holds the view 'images', which no project has")


def test_a_restore_says_who_gets_in_and_which_folders_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever made the backup may know the passwords in it, and may have listed any folder of this machine."""
    project = Project.open_or_create(tmp_path / "project", "of somebody")
    store = Store(project.database_path)
    store.images.root_id(Path("/home/you/private"))
    accounts = Accounts(store, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    for name, role in (("mallory", "admin"), ("bob", "viewer"), ("eve", "admin")):
        accounts.add(name, role, "correct horse battery")
    accounts.set_disabled("eve", True)
    accounts.add_token("mallory", "admin", 90)
    store.copy_to(tmp_path / "copy.duckdb")
    store.close()
    back_up(project, tmp_path / "copy.duckdb", tmp_path / "b.tar")
    assert main(["restore", str(tmp_path / "b.tar"), str(tmp_path / "restored")]) == 0
    said = capsys.readouterr().err
    assert "these people and 1 tokens of programs get in as in the project that was backed up" in said
    assert "mallory (admin), bob (viewer)." in said
    assert "eve" not in said
    assert "reads the photos in these folders, new ones too: /home/you/private." in said
