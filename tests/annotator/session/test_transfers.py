"""Exports and imports of an open project: previewed, in the background, cancelled, carried out once, undone as one."""

import csv
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from annotator.datasets.formats import registry
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.errors import AnnotatorError, ConfigError, DataError, ForbiddenError
from annotator.exchange import transfers
from annotator.exchange.selection import Selection
from annotator.exchange.sources import opened_source
from annotator.session import exporting as exporting_module
from annotator.session.edited_list import EditedList
from annotator.session.exporting import Chosen
from annotator.session.session import Session
from annotator.storage.correction_log import Draft, Effort

LIMIT_SECONDS = 120
SAVED = Chosen(Selection())


@pytest.fixture
def session(open_project: Callable[..., Session], write_photos: Callable[..., list[Path]], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", [1, 2, 3, 4])
    opened = open_project(tmp_path / "photos", tmp_path / "project")
    save(opened, 1, "cat", "sofa")
    save(opened, 2, "dog")
    return opened


def save(session: Session, image_id: int, *tags: str) -> None:
    revision = session.workspace.log.annotation(image_id).revision
    session.tagging.save("local", EditedList(image_id, revision, tags, [], Effort()))


def ended(session: Session, answer: dict[str, Any], user: str = "local") -> dict[str, Any]:
    session.workspace.transfers.get(user, answer["transfer_id"]).wait()
    return session.exporting.state(user, answer["transfer_id"])


def imported(session: Session, text: str, user: str = "local", **options: Any) -> dict[str, Any]:
    """Send a table and plan its import."""
    transfer_id = session.importing.begin(user)["transfer_id"]
    session.importing.target(user, transfer_id, "tags.csv").write_text(text)
    asked: dict[str, Any] = {"kind": "accepted", "replaces": False, "leaves_out": False, **options}
    return ended(session, session.importing.plan(user, transfer_id, "", "csv", {}, **asked), user)


def name(session: Session, image_id: int) -> str:
    return session.workspace.files.name(image_id)


def test_an_export_is_previewed_written_and_fetched(session: Session, tmp_path: Path) -> None:
    answer = session.exporting.preview("local", "csv", {}, SAVED)
    assert (answer["num_photos"], answer["num_left_out"]) == (2, 0)
    assert answer["rows"] == [
        {"name": name(session, 1), "tags": ["cat", "sofa"]},
        {"name": name(session, 2), "tags": ["dog"]},
    ]
    assert "cat; sofa" in answer["files"][0]["text"]
    answer = ended(session, session.exporting.start("local", "csv", {}, SAVED))
    assert (answer["state"], answer["num_done"], answer["num_written"]) == ("ready", 2, 2)
    path, file_name = session.exporting.result("local", answer["transfer_id"])
    assert file_name.endswith(" csv.csv")
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    assert [row["tags"] for row in rows] == ["cat; sofa", "dog"]
    folder = path.parent
    session.exporting.start("local", "jsonl", {}, SAVED)
    assert not folder.exists()  # a new export removes the one before
    with pytest.raises(ConfigError, match="is over"):
        session.exporting.result("local", answer["transfer_id"])


def test_a_folder_is_fetched_as_an_archive(session: Session) -> None:
    answer = ended(session, session.exporting.start("local", "captions", {}, SAVED))
    path, file_name = session.exporting.result("local", answer["transfer_id"])
    assert file_name.endswith(" captions.zip")
    with zipfile.ZipFile(path) as archive:
        found = {entry: archive.read(entry).decode() for entry in archive.namelist()}
    stems = [Path(name(session, image_id)).stem for image_id in (1, 2)]
    assert found == {f"{stems[0]}.txt": "cat, sofa", f"{stems[1]}.txt": "dog"}
    answer = ended(session, session.exporting.start("local", "imagefolder", {"photos": "symlink"}, SAVED))
    assert (answer["state"], answer["problem"]) == ("failed", "An archive holds no links; choose photos=copy.")


def test_photos_that_break_a_rule_are_named_and_left_out(session: Session) -> None:
    save(session, 3, "weight, heavy")
    answer = session.exporting.preview("local", "captions", {}, SAVED)
    assert [one["photo"] for one in answer["left_out"]] == [name(session, 3)]
    answer = ended(session, session.exporting.start("local", "captions", {}, SAVED))
    assert (answer["num_written"], answer["num_left_out"]) == (2, 1)
    only = Chosen(Selection(image_ids=(3,)))
    answer = session.exporting.preview("local", "captions", {}, only)
    assert (answer["num_photos"], answer["num_left_out"], answer["files"]) == (1, 1, [])
    assert "comma" in answer["left_out"][0]["reason"]


def test_what_is_chosen_is_what_the_browse_view_shows(session: Session) -> None:
    def chosen(**values: Any) -> list[str]:
        answer = session.exporting.preview("local", "jsonl", {}, Chosen(**values))
        return [row["name"] for row in answer["rows"]]

    every = Selection(state="all")
    assert chosen(selection=every, found=("sofa", "all")) == [name(session, 1)]
    assert chosen(selection=every, found=("", "unsaved")) == [name(session, 3), name(session, 4)]
    assert chosen(selection=every, found=("nothing of this kind", "all")) == []
    session.workspace.log.save_draft(4, "local", Draft(0, ("owl",)))
    assert chosen(selection=every, found=("", "draft")) == [name(session, 4)]
    assert chosen(selection=Selection(image_ids=())) == []
    with pytest.raises(DataError, match="No photo is selected"):
        session.exporting.start("local", "jsonl", {}, Chosen(Selection(tag="owl")))


def test_photos_are_found_by_name(session: Session) -> None:
    answer = session.exporting.find_photos([name(session, 2), Path(name(session, 1)).stem, "nowhere.jpg"])
    assert answer["image_ids"] == [1, 2]
    assert [one["photo"] for one in answer["missing"]] == ["nowhere.jpg"]


def test_a_cancelled_export_leaves_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    has_begun, goes_on = threading.Event(), threading.Event()
    plain = exporting_module.exported_photo

    def slow(row: dict[str, Any]) -> TaggedPhoto:
        has_begun.set()
        assert goes_on.wait(LIMIT_SECONDS)
        return plain(row)

    monkeypatch.setattr(exporting_module, "exported_photo", slow)
    answer = session.exporting.start("local", "csv", {}, SAVED)
    assert has_begun.wait(LIMIT_SECONDS)
    assert session.exporting.cancel("local", answer["transfer_id"])["state"] == "running"
    goes_on.set()
    assert ended(session, answer)["state"] == "cancelled"
    assert list(session.workspace.transfers.get("local", answer["transfer_id"]).folder.iterdir()) == []


def test_nothing_is_written_where_saves_would_no_longer_fit(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "LEAST_FREE_BYTES", 10**18)
    with pytest.raises(DataError, match="kept free for saves"):
        session.exporting.start("local", "csv", {}, SAVED)


def test_people_see_no_folder_of_this_machine_and_no_transfer_of_others(session: Session, tmp_path: Path) -> None:
    for format in ("jsonl", "fiftyone", "kohya-jsonl", "csv"):
        answer = ended(session, session.exporting.start("ana", format, {}, SAVED), "ana")
        path, _ = session.exporting.result("ana", answer["transfer_id"])
        data = path.read_bytes()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                data = b"".join(archive.read(entry) for entry in archive.namelist())
        assert str(tmp_path).encode() not in data, format
    answer = ended(session, session.exporting.start("ana", "imagefolder", {}, SAVED), "ana")
    assert answer["num_written"] == 2  # the photos themselves are theirs to see
    with pytest.raises(ConfigError, match="is over"):
        session.exporting.state("local", answer["transfer_id"])
    transfer_id = session.importing.begin("ana")["transfer_id"]
    with pytest.raises(ForbiddenError, match="its own user only"):
        session.importing.plan("ana", transfer_id, str(tmp_path), "csv", {}, "accepted", replaces=False,
                               leaves_out=False)  # fmt: skip


def table(session: Session, lists: dict[int, str]) -> str:
    return "image,tags\n" + "".join(f"{name(session, one)},{tags}\n" for one, tags in lists.items())


def test_an_import_is_planned_carried_out_and_undone(session: Session) -> None:
    answer = imported(session, table(session, {1: "bird", 3: "owl; tree", 4: "fish"}) + "nowhere.jpg,x\n")
    assert (answer["state"], answer["num_planned"], answer["num_left_out"]) == ("ready", 2, 2)
    assert answer["rows"][0] == {"name": name(session, 3), "tags": ["owl", "tree"]}
    reasons = {one["photo"]: one["reason"] for one in answer["left_out"]}
    assert reasons[name(session, 1)] == "local has saved it already"
    assert "no such photo" in reasons["nowhere.jpg"]
    assert not session.workspace.log.annotation(3).is_saved
    answer = ended(session, session.importing.carry_out("local", answer["transfer_id"]))
    assert (answer["state"], answer["num_planned"]) == ("done", 2)
    assert session.navigation.open("local", 3)["kept"] == ["owl", "tree"]
    assert session.navigation.state("local")["num_saved"] == 4
    assert session.importing.changes()["changes"][-1]["num_photos"] == 2
    with pytest.raises(ConfigError, match="has not been read yet"):
        session.importing.carry_out("local", answer["transfer_id"])
    assert session.importing.undo_change("local", answer["change_id"])["num_undone"] == 2
    assert session.navigation.state("local")["num_saved"] == 2
    assert session.navigation.open("local", 3)["kept"] == []


def test_a_photo_that_is_saved_after_the_plan_keeps_its_list(session: Session) -> None:
    answer = imported(session, table(session, {2: "bird", 3: "owl", 4: "fish"}), replaces=True)
    save(session, 2, "wolf")
    save(session, 3, "mouse")
    answer = ended(session, session.importing.carry_out("local", answer["transfer_id"]))
    assert (answer["state"], answer["num_planned"]) == ("done", 1)
    assert {one["reason"] for one in answer["left_out"]} == {"it was saved meanwhile"}
    lists = [session.workspace.log.annotation(image_id).tags for image_id in (2, 3, 4)]
    assert lists == [("wolf",), ("mouse",), ("fish",)]


def test_drafts_and_proposals_come_to_the_open_project_and_go_again(session: Session) -> None:
    answer = imported(session, table(session, {3: "owl; tree"}), kind="draft")
    ended(session, session.importing.carry_out("local", answer["transfer_id"]))
    assert session.navigation.open("local", 3)["kept"] == ["owl", "tree"]
    session.importing.undo_change("local", None)
    assert session.navigation.open("local", 3)["kept"] == []
    answer = imported(session, table(session, {4: "zeppelin"}), kind="proposal")
    ended(session, session.importing.carry_out("local", answer["transfer_id"]))
    proposed = [one["tag"] for one in session.navigation.open("local", 4)["proposals"]]
    assert "zeppelin" in proposed
    session.importing.undo_change("local", None)
    photo = session.navigation.open("local", 4)
    assert "zeppelin" not in photo["keywords"]
    assert "zeppelin" not in [one["tag"] for one in photo["proposals"]], photo["proposals"]


HOSTILE = {
    "a table of one endless line": ("csv", "t.csv", b"image,tags\n" + b"x" * 5_000_000, "longer than 4,000,000 bytes"),
    "hostile XML": ("cvat", "t.xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares entities"),
    "an id twice": ("coco", "t.json", b'{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], '
                    b'"categories": [], "annotations": []}', "two images with the id 1"),
    "an archive that leaves its folder": ("captions", "t.zip", None, "does not lie inside of the folder"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_bad_input_is_one_sentence_and_imports_nothing(case: str, session: Session) -> None:
    format, file_name, data, sentence = HOSTILE[case]
    if data is None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(f"{Path(name(session, 3)).stem}.txt", "owl")
            archive.writestr("../outside.txt", "evil")
        data = buffer.getvalue()
    transfer_id = session.importing.begin("local")["transfer_id"]
    session.importing.target("local", transfer_id, file_name).write_bytes(data)
    answer = ended(
        session,
        session.importing.plan("local", transfer_id, "", format, {}, "accepted", replaces=True, leaves_out=False),
    )
    assert answer["state"] == "failed"
    assert sentence in answer["problem"]
    assert "\n" not in answer["problem"]
    with pytest.raises(ConfigError):
        session.importing.carry_out("local", transfer_id)
    assert session.importing.changes() == {"changes": []}


def test_names_of_uploads_stay_in_their_folder(session: Session) -> None:
    transfer_id = session.importing.begin("local")["transfer_id"]
    for bad in ("../x.csv", "/etc/x.csv", "a/../../x", "", "x" * 5000):
        with pytest.raises(AnnotatorError):
            session.importing.target("local", transfer_id, bad)
    session.importing.target("local", transfer_id, "a/x.csv").write_text("")
    with pytest.raises(DataError, match="Two files are called"):
        session.importing.target("local", transfer_id, "a/x.csv")


def test_an_upload_that_breaks_off_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with transfers.Upload(tmp_path / "a") as upload:
        upload.write(b"x" * 10)
        upload.write(b"y")
    assert (tmp_path / "a").read_bytes() == b"x" * 10 + b"y"
    with pytest.raises(ConnectionError), transfers.Upload(tmp_path / "b") as upload:  # noqa: PT012
        upload.write(b"x")
        raise ConnectionError
    monkeypatch.setattr(transfers, "LEAST_FREE_BYTES", 10**18)
    monkeypatch.setattr(transfers, "CHECKED_BYTES", 5)
    with pytest.raises(DataError, match="kept free"), transfers.Upload(tmp_path / "c") as upload:
        upload.write(b"x" * 10)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_server_that_was_killed_leaves_no_files(tmp_path: Path) -> None:
    left_over = tmp_path / ".transfer-x"
    left_over.mkdir()
    (left_over / "file").write_text("x")
    transfers.Transfers(tmp_path)
    assert not left_over.exists()


def test_items_are_counted_until_the_person_cancels(tmp_path: Path) -> None:
    transfer = transfers.Transfers(tmp_path).begin("local", "export")

    def numbers() -> Iterator[int]:
        yield from range(10)

    watched = transfer.watch(numbers())
    assert [next(watched), next(watched), next(watched)] == [0, 1, 2]
    transfer.cancel()
    with pytest.raises(transfers.TransferCancelledError):
        next(watched)
    assert transfer.num_done == 3


def test_two_calls_at_once_begin_one_piece_of_work(tmp_path: Path) -> None:
    class Slow(transfers.Transfer):
        """Its state takes a moment to read, so that both calls read it before one writes it."""

        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if name == "state":
                threading.Event().wait(0.05)
            return value

    transfer, done = Slow("anna", "import", tmp_path), []
    refused: list[ConfigError] = []

    def begin() -> None:
        try:
            transfer.start(lambda: {"num": done.append(1) or threading.Event().wait(0.5)}, "done")
        except ConfigError as error:
            refused.append(error)

    callers = [threading.Thread(target=begin) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    transfer.wait()
    assert (len(done), len(refused)) == (1, 3)


def test_an_archive_that_would_leave_no_room_for_saves_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tags.csv", b"file_name,tags\n" * 100_000)
    free = transfers.LEAST_FREE_BYTES + 1_000_000
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    working = tmp_path / "working"
    working.mkdir()
    with (
        pytest.raises(DataError, match="200 MB are kept free"),
        opened_source(tmp_path / "a.zip", registry.find("csv"), working),
    ):
        pass
    assert list(working.iterdir()) == []
    with opened_source(tmp_path / "a.zip", registry.find("csv")) as opened:  # not on the disk of a project
        assert opened.name == "tags.csv"
