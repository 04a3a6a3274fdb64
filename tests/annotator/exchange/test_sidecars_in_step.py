"""Sidecars beside the photos follow the saved lists; what other programs changed is never overwritten."""

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from annotator.datasets.formats import xmp
from annotator.datasets.formats.xmp import SUBJECT, keywords_of
from annotator.datasets.formats.xmp_packet import EMPTY_PACKET, replace_lists
from annotator.exchange import sidecars_in_step
from annotator.exchange.sidecars_in_step import SidecarsInStep, SidecarWriter
from annotator.settings import SIDECAR_PROFILES
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.images import IngestedBatch, SeenPath

LIMIT_SECONDS = 60


@dataclass
class Stepping:
    """A project with two photos, of which the first has two files."""

    store: Store
    log: CorrectionLog
    sidecars: SidecarsInStep
    photos: Path

    def save(self, image_id: int, *tags: str, dropped: tuple[str, ...] = ()) -> None:
        revision = self.log.annotation(image_id).revision
        self.log.save(image_id, revision=revision, tags=tags, dropped=dropped, user_name="ana", effort=Effort())

    def keywords(self, name: str) -> list[str]:
        return keywords_of((self.photos / name).read_bytes(), name)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.photos.rglob("*") if path.is_file()}


@pytest.fixture
def stepping(make_store: Callable[..., Store], tmp_path: Path) -> Stepping:
    store = make_store(2)
    photos = tmp_path / "photos"
    root = store.images.root_id(photos)
    seen = []
    for image_id, name in ((1, "a.jpg"), (1, "sub/copy.jpg"), (2, "b.jpg")):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(b"photo")
        seen.append(SeenPath(root, name, 5, 1, image_id=image_id))
    store.images.add(IngestedBatch(paths=seen))
    log = CorrectionLog(store)
    return Stepping(store, log, SidecarsInStep(store, log, "immich"), photos)


def test_the_profiles_of_the_settings_are_those_of_the_format() -> None:
    assert {*SIDECAR_PROFILES, "all"} == set(xmp.PROFILES)


def test_every_file_of_a_photo_gets_a_sidecar_and_no_photo_changes(stepping: Stepping) -> None:
    stepping.save(1, "cat", "sofa")
    assert [state.state for state in stepping.sidecars.write(1)] == ["written", "written"]
    assert stepping.keywords("a.jpg.xmp") == stepping.keywords("sub/copy.jpg.xmp") == ["cat", "sofa"]
    assert {name: data for name, data in stepping.files().items() if name.endswith(".jpg")} == dict.fromkeys(
        ["a.jpg", "copy.jpg", "b.jpg"], b"photo"
    )
    assert len(stepping.files()) == 5  # nothing temporary is left


def test_a_photo_without_a_list_gets_no_sidecar_and_an_undone_one_loses_its_tags(stepping: Stepping) -> None:
    assert stepping.sidecars.write(2) == []
    assert "b.jpg.xmp" not in stepping.files()
    stepping.save(2, "cat")
    stepping.sidecars.write(2)
    stepping.log.undo("ana")
    stepping.sidecars.write(2)
    assert stepping.keywords("b.jpg.xmp") == []


def test_what_is_removed_here_goes_and_keywords_that_were_there_before_stay(stepping: Stepping) -> None:
    (stepping.photos / "b.jpg.xmp").write_bytes(replace_lists(EMPTY_PACKET, {SUBJECT: ["holiday"]}, "b"))
    stepping.save(2, "cat", "dog")
    stepping.sidecars.write(2)
    assert stepping.keywords("b.jpg.xmp") == ["cat", "dog", "holiday"]
    stepping.save(2, "dog")
    stepping.sidecars.write(2)
    assert stepping.keywords("b.jpg.xmp") == ["dog", "holiday"]
    stepping.save(2, "dog", dropped=("holiday",))
    stepping.sidecars.write(2)
    assert stepping.keywords("b.jpg.xmp") == ["dog"]


def change_elsewhere(stepping: Stepping, *keywords: str) -> bytes:
    """Another program writes the keywords of b.jpg's sidecar, and knows nothing of our list."""
    path = stepping.photos / "b.jpg.xmp"
    lists = {one: list(keywords) for one in (SUBJECT, xmp.LIGHTROOM, xmp.DIGIKAM)}
    path.write_bytes(replace_lists(path.read_bytes(), lists, "b"))
    return path.read_bytes()


def test_keywords_that_another_program_changed_are_noticed_and_not_overwritten(stepping: Stepping) -> None:
    stepping.save(2, "cat", "dog")
    stepping.sidecars.write(2)
    changed = change_elsewhere(stepping, "cat", "bird")
    stepping.save(2, "cat", "mouse")
    (state,) = stepping.sidecars.write(2)
    assert (state.state, state.found, state.written) == ("changed", ("cat", "bird"), ("cat", "dog"))
    assert (stepping.photos / "b.jpg.xmp").read_bytes() == changed
    assert stepping.sidecars.states.troubled() == [state]
    assert stepping.sidecars.states.behind() == [2]
    (state,) = stepping.sidecars.write(2, overwrites=True)
    assert (state.state, stepping.keywords("b.jpg.xmp")) == ("written", ["cat", "mouse"])
    assert stepping.sidecars.states.troubled() == []
    assert stepping.sidecars.states.behind() == []


def test_a_choice_stays_while_the_background_looks_at_the_same_sidecar(
    stepping: Stepping, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepping.save(2, "cat", "dog")
    stepping.sidecars.write(2)
    change_elsewhere(stepping, "bird")
    stepping.save(2, "cat")
    stepping.sidecars.write(2)
    has_read, goes_on = threading.Event(), threading.Event()
    read_small = sidecars_in_step.read_small

    def slow(path: Path) -> bytes:
        data = read_small(path)
        if threading.current_thread().name == "background" and not has_read.is_set():
            has_read.set()
            assert goes_on.wait(LIMIT_SECONDS)
        return data

    monkeypatch.setattr(sidecars_in_step, "read_small", slow)
    background = threading.Thread(target=stepping.sidecars.write, args=[2], name="background")
    choice = threading.Thread(target=stepping.sidecars.write, args=[2], kwargs={"overwrites": True})
    background.start()
    assert has_read.wait(LIMIT_SECONDS)
    choice.start()
    choice.join(0.5)  # it ends here where nothing makes it wait
    goes_on.set()
    for thread in (background, choice):
        thread.join(LIMIT_SECONDS)
    assert stepping.sidecars.states.troubled() == []
    assert stepping.keywords("b.jpg.xmp") == ["cat"]


def test_a_choice_does_not_overwrite_keywords_that_nobody_has_seen(stepping: Stepping) -> None:
    stepping.save(2, "cat")
    stepping.sidecars.write(2)
    change_elsewhere(stepping, "bird")
    stepping.sidecars.write(2)
    newest = change_elsewhere(stepping, "bird", "tree")
    (state,) = stepping.sidecars.write(2, overwrites=True)
    assert (state.state, state.found) == ("changed", ("bird", "tree"))
    assert (stepping.photos / "b.jpg.xmp").read_bytes() == newest
    assert stepping.sidecars.write(2, overwrites=True)[0].state == "written"
    assert stepping.keywords("b.jpg.xmp") == ["cat"]


def test_changes_of_other_properties_by_other_programs_are_merged(stepping: Stepping) -> None:
    stepping.save(2, "cat")
    stepping.sidecars.write(2)
    path = stepping.photos / "b.jpg.xmp"
    changed = path.read_bytes().replace(b'rdf:about=""', b'rdf:about="" xmlns:xmp="http://x/" xmp:Rating="5"')
    path.write_bytes(changed)
    stepping.save(2, "cat", "dog")
    assert [state.state for state in stepping.sidecars.write(2)] == ["written"]
    assert b'xmp:Rating="5"' in path.read_bytes()
    assert stepping.keywords("b.jpg.xmp") == ["cat", "dog"]


def test_a_sidecar_that_was_deleted_is_written_again(stepping: Stepping) -> None:
    stepping.save(2, "cat")
    stepping.sidecars.write(2)
    (stepping.photos / "b.jpg.xmp").unlink()
    stepping.save(2, "cat", "dog")
    stepping.sidecars.write(2)
    assert stepping.keywords("b.jpg.xmp") == ["cat", "dog"]


def test_a_damaged_sidecar_is_left_alone_with_a_reason(stepping: Stepping) -> None:
    (stepping.photos / "b.jpg.xmp").write_bytes(b"<x")
    stepping.save(2, "cat")
    (state,) = stepping.sidecars.write(2)
    assert state.state == "failed"
    assert "is not XMP that can be read" in state.reason
    assert (stepping.photos / "b.jpg.xmp").read_bytes() == b"<x"


def test_a_link_in_place_of_a_sidecar_is_left_alone(stepping: Stepping, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(EMPTY_PACKET)
    (stepping.photos / "b.jpg.xmp").symlink_to(tmp_path / "elsewhere")
    stepping.save(2, "cat")
    assert "is a link" in stepping.sidecars.write(2)[0].reason
    assert (tmp_path / "elsewhere").read_bytes() == EMPTY_PACKET


def test_a_full_disk_costs_nothing_and_is_caught_up_with(stepping: Stepping, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    stepping.save(2, "cat")
    with monkeypatch.context() as patch:
        patch.setattr(sidecars_in_step, "write_atomically", full)
        (state,) = stepping.sidecars.write(2)
    assert state.reason == f"{stepping.photos / 'b.jpg.xmp'} could not be written: No space left on device."
    assert stepping.log.annotation(2).tags == ("cat",)
    assert stepping.sidecars.states.behind() == [2]
    assert [again.state for again in stepping.sidecars.write(2)] == ["written"]
    assert stepping.sidecars.states.counts() == {"written": 1}


def test_a_sidecar_keeps_its_permissions(stepping: Stepping) -> None:
    path = stepping.photos / "b.jpg.xmp"
    path.write_bytes(EMPTY_PACKET)
    os.chmod(path, 0o640)
    stepping.save(2, "cat")
    stepping.sidecars.write(2)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_sidecar_that_is_written_at_the_same_moment_is_not_overwritten(
    stepping: Stepping, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stepping.photos / "b.jpg.xmp"
    path.write_bytes(EMPTY_PACKET)
    merged = sidecars_in_step.merged

    def meanwhile(*arguments: object) -> object:
        path.write_bytes(b"another program")
        return merged(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sidecars_in_step, "merged", meanwhile)
    stepping.save(2, "cat")
    assert "was written by another program at this moment" in stepping.sidecars.write(2)[0].reason
    assert path.read_bytes() == b"another program"


def test_the_writer_follows_the_saves_and_catches_up_after_a_restart(stepping: Stepping) -> None:
    stepping.save(1, "before the start")
    writer = SidecarWriter(stepping.sidecars)
    try:
        assert writer.wait(LIMIT_SECONDS)
        stepping.save(2, "cat")
        writer.request([2])
        assert writer.wait(LIMIT_SECONDS)
    finally:
        writer.stop()
    assert stepping.keywords("a.jpg.xmp") == ["before the start"]
    assert stepping.keywords("b.jpg.xmp") == ["cat"]
    assert writer.num_waiting == 0
