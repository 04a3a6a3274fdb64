"""Spaces with a fake clock: admission, waiting, limits, the end of a space and its deletion."""

import errno
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from annotator.errors import ConfigError, DemoError
from annotator.hosted.limits import HostedLimits
from annotator.hosted.space import Space
from annotator.hosted.space_root import MARK_FILE
from annotator.hosted.spaces import HostedSpaces

Factory = Callable[..., Any]


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_minutes(self, minutes: float) -> None:
        self.now += 60 * minutes


class Held:
    """The content of an open space."""

    def __init__(self, space: Space[Any]) -> None:
        self.space = space
        self.is_open = True
        (space.folder / "held").write_text("something")

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_spaces(tmp_path: Path, clock: Clock) -> Iterator[Factory]:
    with ExitStack() as stack:

        def make(root: Path | None = None, ended: list[str] | None = None, **limits: Any) -> HostedSpaces[Held]:
            values = {"num_visitors": 2, "num_open": 1, "visitors_an_address": 100, "entries_an_hour": 1000} | limits
            note = (lambda space: ended.append(space.space_id)) if ended is not None else (lambda space: None)
            spaces = HostedSpaces[Held](root or tmp_path / "spaces", HostedLimits(**values), Held, note, clock)
            stack.callback(spaces.close)
            return spaces

        yield make


def come(spaces: HostedSpaces[Held], browser: str, address: str = "1.2.3.4") -> Space[Held]:
    session_id = spaces.enter(browser, address).session_id
    assert session_id, f"{browser} has to wait"
    space = spaces.find(session_id)
    assert space is not None
    return space


def folders(spaces: HostedSpaces[Held]) -> set[str]:
    return {path.name for path in spaces.root.iterdir() if path.is_dir()}


def test_each_visitor_gets_a_space_of_their_own(make_spaces: Factory) -> None:
    spaces = make_spaces()
    a, b = spaces.enter("a", "1.1.1.1").session_id, spaces.enter("b", "2.2.2.2").session_id
    assert spaces.find(a).folder != spaces.find(b).folder
    assert spaces.find(a).photos_path.is_dir()
    assert spaces.find("") is None
    assert spaces.find("a") is None  # the browser id of the queue gives no access
    assert spaces.find(a[:-1]) is None
    # The session id itself is nowhere on the disk.
    assert a not in "".join(path.read_text() for path in spaces.root.rglob("*.json"))


def test_visitors_wait_in_order_and_get_the_longest_wait(make_spaces: Factory, clock: Clock) -> None:
    spaces = make_spaces(minutes=60, idle_minutes=1000)
    come(spaces, "a")
    clock.pass_minutes(10)
    come(spaces, "b")
    places = [spaces.enter(name, name) for name in ("c", "d", "e")]
    assert [place.position for place in places] == [1, 2, 3]
    # a's space ends in 50 minutes, b's in 60; the fifth waits for the one after a's.
    assert [place.seconds_at_most / 60 for place in places] == pytest.approx([50, 60, 110])
    for _ in range(50 * 4 + 1):  # they ask regularly
        clock.pass_minutes(0.25)
        for name in ("c", "d", "e"):
            spaces.enter(name, name) if clock.now < 1_000_000 + 60 * 60 else None
    spaces.sweep()
    assert spaces.enter("d", "d").position == 2  # d comes after c
    assert spaces.enter("c", "c").session_id
    assert spaces.enter("d", "d").position == 1


def test_a_browser_that_stops_asking_loses_its_place_in_the_queue(make_spaces: Factory, clock: Clock) -> None:
    spaces = make_spaces(num_visitors=1, waiting_seconds=45)
    come(spaces, "a")
    assert spaces.enter("b", "b").position == 1
    assert spaces.enter("c", "c").position == 2
    clock.now += 30
    assert spaces.enter("c", "c").position == 2
    clock.now += 30
    assert spaces.enter("c", "c").position == 1
    assert spaces.enter("b", "b").position == 2


def test_a_new_visitor_comes_after_those_who_wait(make_spaces: Factory) -> None:
    spaces = make_spaces(num_visitors=1)
    a = come(spaces, "a")
    assert spaces.enter("b", "b").position == 1
    spaces.leave(a)
    spaces.sweep()
    assert spaces.enter("newcomer", "x").position == 2
    assert spaces.enter("b", "b").session_id


def test_a_space_ends_at_its_time_despite_calls_and_is_deleted(make_spaces: Factory, clock: Clock) -> None:
    ended: list[str] = []
    spaces = make_spaces(ended=ended, minutes=60, idle_minutes=20)
    session_id = spaces.enter("a", "a").session_id
    space = spaces.find(session_id)
    with spaces.use(space) as held:
        pass
    for _ in range(11):
        clock.pass_minutes(5)
        assert spaces.find(session_id) is space
        spaces.sweep()
    clock.pass_minutes(5)
    assert spaces.find(session_id) is None  # over at once, before the next sweep
    spaces.sweep()
    assert (held.is_open, ended, folders(spaces), spaces.num_visitors) == (False, [space.space_id], set(), 0)
    with pytest.raises(DemoError, match="over"), spaces.use(space):
        pass


def test_an_idle_space_ends_earlier(make_spaces: Factory, clock: Clock) -> None:
    spaces = make_spaces(minutes=60, idle_minutes=20)
    session_id = spaces.enter("a", "a").session_id
    clock.pass_minutes(19)
    assert spaces.find(session_id) is not None
    clock.pass_minutes(19)
    spaces.sweep()
    assert folders(spaces) != set()
    clock.pass_minutes(2)
    spaces.sweep()
    assert folders(spaces) == set()
    assert spaces.find(session_id) is None


def test_a_space_in_use_is_deleted_after_its_last_use(make_spaces: Factory, clock: Clock) -> None:
    spaces = make_spaces(minutes=60)
    space = come(spaces, "a")
    with spaces.use(space) as held:
        clock.pass_minutes(61)
        spaces.sweep()
        assert held.is_open
        assert folders(spaces) == {space.space_id}
    spaces.sweep()
    assert not held.is_open
    assert folders(spaces) == set()


def test_after_a_restart_a_visitor_finds_the_space_again_until_its_time_is_over(
    make_spaces: Factory, clock: Clock
) -> None:
    first = make_spaces(minutes=60, idle_minutes=60)
    early = first.enter("a", "a").session_id
    clock.pass_minutes(30)
    late = first.enter("b", "b").session_id
    folder = first.find(late).folder
    first.close()
    clock.pass_minutes(40)
    second = make_spaces(minutes=60, idle_minutes=60)
    assert second.find(early) is None
    assert second.find(late).folder == folder
    assert folders(second) == {folder.name}


def test_the_limit_of_an_address_survives_a_restart_and_only_hashes_are_stored(
    make_spaces: Factory, tmp_path: Path
) -> None:
    first = make_spaces(num_visitors=10, visitors_an_address=2)
    come(first, "a", "6.6.6.6")
    come(first, "b", "6.6.6.6")
    kept = "".join(path.read_text() for path in first.root.rglob("*.json"))
    assert "6.6.6.6" not in kept
    first.close()
    second = make_spaces(num_visitors=10, visitors_an_address=2)
    with pytest.raises(DemoError, match="from your address"):
        second.enter("c", "6.6.6.6")
    come(second, "d", "7.7.7.7")
    other = make_spaces(tmp_path / "other")
    hashes = [space.address for space in (*second.present(), come(other, "a", "6.6.6.6"))]
    assert len(set(hashes)) == 3  # another folder has another salt
    assert (second.root / "annotator-spaces.json").stat().st_mode & 0o077 == 0


def test_a_restart_deletes_ended_half_deleted_and_broken_spaces(make_spaces: Factory) -> None:
    first = make_spaces()
    ended = first.enter("a", "a").session_id
    first.leave(first.find(ended))  # the server is killed before it has deleted it
    first._root.close()
    (first.root / "deleted-12").mkdir()
    (first.root / "deleted-12" / "photo.jpg").write_text("x")
    (first.root / "space-0123456789abcdef").mkdir()
    broken = first.root / "space-0123456789abcde0"
    broken.mkdir()
    (broken / "space.json").write_text('{"digest": 1')
    second = make_spaces()
    assert folders(second) == set()
    assert second.find(ended) is None


def test_a_clock_that_was_set_back_does_not_extend_a_space(make_spaces: Factory, clock: Clock) -> None:
    first = make_spaces(minutes=60, idle_minutes=60)
    session_id = first.enter("a", "a").session_id
    first.close()
    clock.pass_minutes(-100_000)
    second = make_spaces(minutes=60, idle_minutes=60)
    assert second.find(session_id) is not None
    clock.pass_minutes(60)
    assert second.find(session_id) is None


def test_the_spaces_in_memory_are_limited_and_the_least_recently_used_is_closed(
    make_spaces: Factory, clock: Clock
) -> None:
    spaces = make_spaces(num_visitors=3, num_open=2)
    a, b, c = (come(spaces, name) for name in "abc")
    for space in (a, b, a, c):
        clock.now += 1
        with spaces.use(space):
            assert spaces.num_open <= 2
    assert [space.opened is not None for space in (a, b, c)] == [True, False, True]
    with spaces.use(b) as held:  # it is opened again for the next call
        assert held.is_open
    assert a.opened is None


def test_a_space_in_use_is_not_closed(make_spaces: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotator.hosted.spaces.OPEN_SECONDS", 0.05)
    spaces = make_spaces(num_open=1)
    a, b = come(spaces, "a"), come(spaces, "b")
    with spaces.use(a) as held:
        with pytest.raises(DemoError, match="Try again"), spaces.use(b):
            pass
        assert held.is_open
    with spaces.use(b):
        assert not held.is_open


def test_a_call_waits_for_a_place_in_memory(make_spaces: Factory) -> None:
    spaces = make_spaces(num_open=1)
    a, b = come(spaces, "a"), come(spaces, "b")
    seen: list[bool] = []

    def work() -> None:
        with spaces.use(b) as held:
            seen.append(held.is_open)

    with spaces.use(a):
        thread = threading.Thread(target=work)
        thread.start()
    thread.join(timeout=30)
    assert seen == [True]


def test_use_if_open_opens_no_space(make_spaces: Factory) -> None:
    spaces = make_spaces()
    a = come(spaces, "a")
    with spaces.use_if_open(a) as held:
        assert held is None
    with spaces.use(a), spaces.use_if_open(a) as held:
        assert held is not None


def test_a_space_that_cannot_be_opened_can_be_tried_again(make_spaces: Factory) -> None:
    spaces = make_spaces()
    a = come(spaces, "a")
    a.folder.rename(a.folder.with_name("away"))
    with pytest.raises(FileNotFoundError), spaces.use(a):
        pass
    a.folder.with_name("away").rename(a.folder)
    with spaces.use(a) as held:
        assert held.is_open


def test_the_spaces_of_an_address_at_a_time_are_limited(make_spaces: Factory) -> None:
    spaces = make_spaces(num_visitors=10, visitors_an_address=2)
    a = come(spaces, "a", "6.6.6.6")
    come(spaces, "b", "6.6.6.6")
    with pytest.raises(DemoError, match="from your address"):
        spaces.enter("c", "6.6.6.6")
    come(spaces, "d", "7.7.7.7")
    spaces.leave(a)
    come(spaces, "c", "6.6.6.6")


def test_one_address_cannot_fill_the_queue(make_spaces: Factory) -> None:
    spaces = make_spaces(num_visitors=1, visitors_an_address=2)
    come(spaces, "a", "1.1.1.1")
    spaces.enter("b", "6.6.6.6")
    spaces.enter("c", "6.6.6.6")
    with pytest.raises(DemoError, match="from your address"):
        spaces.enter("d", "6.6.6.6")
    assert spaces.enter("b", "6.6.6.6").position == 1  # a waiting browser may ask again


def test_the_spaces_of_an_address_in_an_hour_are_limited(make_spaces: Factory, clock: Clock) -> None:
    spaces = make_spaces(num_visitors=10, entries_an_hour=3)
    for name in "abc":
        spaces.leave(come(spaces, name))
    with pytest.raises(DemoError, match="within an hour"):
        spaces.enter("d", "1.2.3.4")
    clock.pass_minutes(20)
    come(spaces, "d")


def test_the_queue_is_limited(make_spaces: Factory) -> None:
    spaces = make_spaces(num_visitors=1, num_waiting=2)
    come(spaces, "a")
    spaces.enter("b", "b")
    spaces.enter("c", "c")
    with pytest.raises(DemoError, match="queue is full"):
        spaces.enter("d", "d")


def test_a_space_with_too_many_bytes_is_noted_as_full(make_spaces: Factory) -> None:
    spaces = make_spaces(max_space_bytes=1000)
    space = come(spaces, "a")
    spaces.sweep()
    assert not space.is_full
    (space.folder / "large").write_bytes(bytes(1001))
    spaces.sweep()
    assert space.is_full
    (space.folder / "large").unlink()
    spaces.sweep()
    assert not space.is_full


def test_a_folder_with_other_content_is_refused_and_unchanged(make_spaces: Factory, tmp_path: Path) -> None:
    (tmp_path / "Pictures").mkdir()
    (tmp_path / "Pictures" / "dear.jpg").write_text("x")
    with pytest.raises(ConfigError, match="not empty"):
        make_spaces(tmp_path / "Pictures")
    assert (tmp_path / "Pictures" / "dear.jpg").exists()


def test_two_servers_do_not_share_a_folder(make_spaces: Factory, tmp_path: Path) -> None:
    make_spaces(tmp_path / "same")
    with pytest.raises(ConfigError, match="Another server"):
        make_spaces(tmp_path / "same")


def test_a_link_in_the_folder_is_deleted_and_its_target_is_not(make_spaces: Factory, tmp_path: Path) -> None:
    spaces = make_spaces()
    spaces.close()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "space.json").write_text(json.dumps({"digest": "x", "created_at": 0}))
    (spaces.root / "space-0123456789abcdef").symlink_to(precious)
    make_spaces()
    assert (precious / "space.json").exists()
    assert not (spaces.root / "space-0123456789abcdef").is_symlink()


def test_the_health_check_tells_that_no_space_can_be_made(
    make_spaces: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces = make_spaces()
    assert spaces.problem() == ""

    def no_room(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    looks: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: len(looks) * 100.0)
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", no_room)
        looks.append(1)
        assert spaces.problem() == "no space can be made"
    assert spaces.problem() == "no space can be made"  # it is not looked for at every call
    looks.append(1)
    assert spaces.problem() == ""
    assert [path.name for path in spaces.root.iterdir()] == [MARK_FILE]
