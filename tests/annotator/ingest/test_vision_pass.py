"""The pass over a project's photos, with models in place of an endpoint."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from PIL import Image

from annotator.errors import AnswerError, ConfigError, EndpointError, StoreError, UnreadableImageError
from annotator.ingest import vision_pass as pass_module
from annotator.ingest.vision_config import VisionConfig
from annotator.ingest.vision_pass import MAX_FAILURES, MAX_USELESS, VisionPass
from annotator.models.vision_language.endpoint import PROMPT, Answer
from annotator.storage import vision_answers as answers_module
from annotator.storage.database import Store
from annotator.storage.vision_answers import VisionAnswer, VisionAnswers

URL = "http://127.0.0.1:9/v1"


class Scripted:
    """A model that answers or fails as told, and records what it was asked."""

    def __init__(self, *script: object, then: object = ("dog",)) -> None:
        self.script = list(script)
        self.then = then
        self.told: list[Sequence[str]] = []

    def ask(self, image: Image.Image, told: Sequence[str] = ()) -> Answer:
        self.told.append(told)
        step = self.script.pop(0) if self.script else self.then
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, tuple)
        return Answer(step, 10, 0.5)


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    return make_store(num_images=20)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_module, "FIRST_WAIT_SECONDS", 0.0)


def read(image_id: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (image_id, 0, 0))


def make(
    store: Store,
    model: Scripted,
    photos: Iterable[int] = range(1, 21),
    read_photo: Callable[[int], Image.Image] = read,
    **options: Any,
) -> VisionPass:
    limits = {name: options.pop(name) for name in ("max_requests", "max_tokens", "max_minutes") if name in options}
    config = VisionConfig(URL, "tiny", **limits)
    order = list(photos)
    return VisionPass(VisionAnswers(store, "tiny"), config, lambda: iter(order), read_photo, model=model, **options)


def test_every_photo_is_asked_about_once_in_the_given_order(store: Store) -> None:
    model, done = Scripted(("cat", "sofa")), list[int]()
    progress = make(store, model, [7, 3], told=lambda: ["Tibbles"], on_answer=done.append).run(waits=False)
    assert (done, model.told) == ([7, 3], [("Tibbles",), ("Tibbles",)])
    assert (progress.num_asked, progress.num_tokens, progress.seconds_each) == (2, 20, 0.5)
    assert (progress.running, progress.error, progress.host, progress.is_local) == (False, None, "127.0.0.1:9", True)
    answers = VisionAnswers(store, "tiny")
    assert (answers.of(7), answers.of(3), answers.of(1)) == (("cat", "sofa"), ("dog",), ())
    again = Scripted()
    assert make(store, again, [7, 3]).run(waits=False).num_asked == 0
    assert again.told == []


def test_another_model_or_wording_is_asked_anew_and_the_newest_answer_counts(store: Store) -> None:
    answers = VisionAnswers(store, "tiny")
    answers.add("other wording", VisionAnswer(1, (), ("old",), "", 5, 1.0))
    assert answers.of(1) == ("old",)
    make(store, Scripted(("new",)), [1]).run(waits=False)
    assert answers.of(1) == ("old",)  # of another object, which caches
    assert VisionAnswers(store, "tiny").of(1) == ("new",)
    assert VisionAnswers(store, "large").of(1) == ()
    assert VisionAnswers(store, "").of(1) == ()
    assert VisionAnswers(store, "tiny").spent() == (2, 15)
    assert VisionAnswers(store, "tiny").asked(PROMPT) == {1}


def test_an_answer_that_comes_while_its_row_is_read_is_proposed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, plain = VisionAnswers(store, "tiny"), Store.rows

    def rows_then_an_answer(*arguments: Any) -> list[tuple[Any, ...]]:
        found = plain(store, *arguments)
        monkeypatch.undo()
        answers.add(PROMPT, VisionAnswer(1, (), ("cat",), "", 5, 1.0))
        return found

    monkeypatch.setattr(store, "rows", rows_then_an_answer)
    assert answers.of(1) == ()
    assert answers.of(1) == ("cat",)


def test_a_row_is_read_once_and_the_memory_of_them_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "NUM_CACHED", 3)
    make(store, Scripted(), range(1, 9)).run(waits=False)
    answers, plain, num = VisionAnswers(store, "tiny"), store.rows, list[int]()
    monkeypatch.setattr(store, "rows", lambda *arguments: num.append(1) or plain(*arguments))
    for image_id in (1, 1, 2, 3, 3, 1, 4, 5, 6, 7, 1):
        assert answers.of(image_id) == ("dog",)
    assert (len(num), len(answers._cached)) == (8, 3)


def test_answers_are_there_after_reopening(make_store: Callable[..., Store], tmp_path: Any) -> None:
    store = make_store(path=tmp_path / "a.duckdb")
    make(store, Scripted(("犬", "it's")), [1]).run(waits=False)
    store.close()
    assert VisionAnswers(make_store(path=tmp_path / "a.duckdb"), "tiny").of(1) == ("犬", "it's")


def test_a_useless_answer_is_stored_and_paid_for_and_proposes_nothing(store: Store) -> None:
    progress = make(store, Scripted(AnswerError("no tag", 70)), [1, 2]).run(waits=False)
    assert (progress.num_asked, progress.num_useless, progress.num_tokens, progress.error) == (2, 1, 80, None)
    answers = VisionAnswers(store, "tiny")
    assert (answers.of(1), answers.of(2)) == ((), ("dog",))
    assert answers.asked(PROMPT) == {1, 2}
    assert store.rows("SELECT problem FROM vision_answers ORDER BY image_id") == [("no tag",), ("",)]


def test_a_model_that_only_gives_useless_answers_is_not_asked_for_ever(store: Store) -> None:
    model = Scripted(then=AnswerError("A sentence.", 1))
    progress = make(store, model).run(waits=False)
    assert len(model.told) == MAX_USELESS
    assert progress.error == f"{MAX_USELESS} answers in a row are of no use. The last one: A sentence."


def test_a_failure_that_passes_is_tried_again_and_said_meanwhile(store: Store) -> None:
    seen: list[str | None] = []
    model = Scripted(EndpointError("busy"), EndpointError("busy"), ("cat",))
    running = make(store, model, [1], told=lambda: seen.append(running.progress.error) or ())
    assert running.run(waits=False).error is None
    assert seen == [None, "busy", "busy"]
    assert VisionAnswers(store, "tiny").of(1) == ("cat",)


def test_a_lasting_failure_stops_at_once_and_many_passing_ones_too(store: Store) -> None:
    model = Scripted(EndpointError("no such model", is_lasting=True))
    assert make(store, model).run(waits=False).error == "no such model"
    assert len(model.told) == 1
    model = Scripted(then=EndpointError("busy"))
    assert make(store, model).run(waits=False).error == "busy"
    assert len(model.told) == MAX_FAILURES
    assert VisionAnswers(store, "tiny").spent() == (0, 0)


def test_the_wait_between_failures_grows_and_follows_the_server(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_module, "FIRST_WAIT_SECONDS", 1.0)
    waits: list[float] = []
    model = Scripted(EndpointError("a"), EndpointError("b"), EndpointError("c", wait_seconds=30), EndpointError("d"))
    running = make(store, model, [1])
    monkeypatch.setattr(running._stop, "wait", lambda seconds: waits.append(seconds))
    running.run(waits=False)
    assert waits == [1.0, 2.0, 30, 8.0]


def test_a_failed_question_counts_for_the_limit_of_this_run(store: Store) -> None:
    model = Scripted(EndpointError("late"), ("cat",), EndpointError("late"), ("dog",))
    progress = make(store, model, max_requests=3).run(waits=False)
    assert (len(model.told), progress.num_asked) == (3, 1)
    assert progress.error == "The limit of 3 questions is reached (--vlm-requests)."


def test_limits_count_what_earlier_runs_cost(store: Store) -> None:
    first = make(store, Scripted(), max_requests=3).run(waits=False)
    assert (first.num_asked, first.error) == (3, "The limit of 3 questions is reached (--vlm-requests).")
    second = make(store, Scripted(), max_requests=5).run(waits=False)
    assert (second.num_asked, second.num_tokens) == (2, 50)
    third = make(store, Scripted(), max_tokens=75).run(waits=False)
    assert (third.num_asked, third.num_tokens) == (3, 80)
    assert third.error == "The limit of 75 tokens is reached (--vlm-tokens)."
    fourth = make(store, Scripted(), max_minutes=1e-9).run(waits=False)
    assert (fourth.num_asked, fourth.error) == (0, "The limit of 1e-09 minutes is reached (--vlm-minutes).")


def test_photos_that_cannot_be_read_are_passed_over(store: Store) -> None:
    def broken(image_id: int) -> Image.Image:
        if image_id == 1:
            raise UnreadableImageError("gone")
        return read(image_id)

    progress = make(store, Scripted(), [1, 2], broken).run(waits=False)
    assert (progress.num_asked, progress.num_unreadable, progress.error) == (1, 1, None)
    assert VisionAnswers(store, "tiny").asked(PROMPT) == {2}


def test_photos_that_come_later_are_asked_about_until_the_pass_is_stopped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pass_module, "IDLE_SECONDS", 0.01)
    photos, done = [1], threading.Event()
    config = VisionConfig(URL, "tiny")
    running = VisionPass(
        VisionAnswers(store, "tiny"), config, lambda: list(photos), read, on_answer=lambda i: i == 2 and done.set(),
        model=Scripted(),
    )  # fmt: skip
    thread = threading.Thread(target=running.run)
    thread.start()
    while running.progress.num_asked == 0 or running.progress.running:
        time.sleep(0.01)
    photos.append(2)
    assert done.wait(20)
    running.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert (running.progress.running, running.progress.error) == (False, None)


def test_a_full_disk_stops_the_pass_and_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, *_: object) -> None:
        raise StoreError("No space left on device")

    running = make(store, Scripted())
    monkeypatch.setattr(VisionAnswers, "add", full)
    with pytest.raises(StoreError):
        running.run(waits=False)
    assert (running.progress.running, running.progress.error) == (False, "No space left on device")


def test_without_an_address_nothing_is_asked(store: Store) -> None:
    def fail() -> Iterable[int]:
        raise AssertionError("no photo may be looked at")

    progress = VisionPass(VisionAnswers(store, "tiny"), None, fail, read).run()
    assert (progress.model, progress.host, progress.num_asked) == ("tiny", "", 0)


def test_a_model_whose_answers_are_not_used_is_not_asked(store: Store) -> None:
    with pytest.raises(ConfigError, match="'large' is asked"):
        VisionPass(VisionAnswers(store, "tiny"), VisionConfig(URL, "large"), tuple, read)


@pytest.mark.parametrize("limit", [{"max_requests": 0}, {"max_tokens": -1}, {"max_minutes": float("nan")}])
def test_limits_out_of_range_are_refused(limit: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(limit))):
        VisionConfig(URL, "tiny", **limit)  # type: ignore[arg-type]
