"""The training queue with a fake clock and trainings that the test ends."""

import threading
from collections.abc import Iterator

import pytest

from annotator.hosted.training_queue import QueuePlace, TrainingQueue

LIMIT_SECONDS = 30


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Training:
    """Runs until it is told to end."""

    def __init__(self, clock: Clock, seconds: float = 0.0, fails: bool = False) -> None:
        self.began, self._end, self.ended = threading.Event(), threading.Event(), threading.Event()
        self._clock, self._seconds, self._fails = clock, seconds, fails

    def __call__(self) -> None:
        self.began.set()
        assert self._end.wait(LIMIT_SECONDS)
        self._clock.now += self._seconds
        self.ended.set()
        if self._fails:
            raise RuntimeError("out of memory")

    def finish(self) -> None:
        self._end.set()
        assert self.ended.wait(LIMIT_SECONDS)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Iterator[TrainingQueue]:
    queue = TrainingQueue(first_guess=30.0, clock=clock)
    yield queue
    queue.close()


def test_trainings_run_one_at_a_time_in_the_order_of_requests(queue: TrainingQueue, clock: Clock) -> None:
    a, b, c = Training(clock), Training(clock), Training(clock)
    for name, training in zip("abc", (a, b, c), strict=True):
        assert queue.ask(name, training)
    for now, after in ((a, b), (b, c)):
        assert now.began.wait(LIMIT_SECONDS)
        assert not after.began.is_set()
        now.finish()
    assert c.began.wait(LIMIT_SECONDS)
    c.finish()


def test_the_estimate_is_the_mean_length_of_the_latest_trainings(queue: TrainingQueue, clock: Clock) -> None:
    a, b, c = Training(clock, seconds=50), Training(clock), Training(clock)
    queue.ask("a", a)
    assert a.began.wait(LIMIT_SECONDS)
    assert queue.place("a") == QueuePlace(0, 0.0)
    assert queue.place("b") is None
    queue.ask("b", b)
    queue.ask("c", c)
    clock.now += 10
    first, second = queue.place("b"), queue.place("c")
    assert first is not None
    assert second is not None
    assert (first.position, first.seconds) == (1, 20.0)  # 30 guessed, 10 have passed
    assert (second.position, second.seconds) == (2, 50.0)
    a.finish()
    assert b.began.wait(LIMIT_SECONDS)
    second = queue.place("c")
    assert second is not None
    assert (second.position, second.seconds) == (1, 60.0)  # a took 60
    b.finish()
    assert c.began.wait(LIMIT_SECONDS)
    c.finish()


def test_a_space_has_one_place_in_the_queue(queue: TrainingQueue, clock: Clock) -> None:
    a = Training(clock)
    assert queue.ask("a", a)
    assert a.began.wait(LIMIT_SECONDS)
    assert not queue.ask("a", Training(clock))
    assert queue.ask("b", Training(clock))
    assert not queue.ask("b", Training(clock))
    assert queue.leave("b")
    assert not queue.leave("b")
    a.finish()


def test_a_failed_training_does_not_stop_the_next(
    queue: TrainingQueue, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = Training(clock, fails=True), Training(clock)
    queue.ask("a", a)
    queue.ask("b", b)
    a.finish()
    assert b.began.wait(LIMIT_SECONDS)
    assert "failed" in caplog.text
    b.finish()


def test_no_training_starts_after_closing(clock: Clock) -> None:
    queue = TrainingQueue(first_guess=1.0, clock=clock)
    queue.close()
    assert not queue.ask("a", Training(clock))
