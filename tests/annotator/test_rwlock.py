import threading
import time

import pytest

from annotator.rwlock import ReadWriteLock


def start(target: object) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_readers_hold_the_lock_at_the_same_time() -> None:
    lock, meeting = ReadWriteLock(), threading.Barrier(3, timeout=60)

    def read() -> None:
        with lock.shared():
            meeting.wait()

    threads = [start(read) for _ in range(2)]
    with lock.shared():
        meeting.wait()
    for thread in threads:
        thread.join(10)
    assert not meeting.broken


def test_writers_exclude_each_other_and_readers() -> None:
    lock, total, seen = ReadWriteLock(), [0, 0], set()

    def write() -> None:
        for _ in range(300):
            with lock.exclusive():
                total[0] += 1
                time.sleep(0)
                total[1] += 1

    def read() -> None:
        for _ in range(300):
            with lock.shared():
                seen.add(total[0] - total[1])

    threads = [start(target) for target in (write, read, write, read)]
    for thread in threads:
        thread.join(30)
    assert total == [600, 600]
    assert seen == {0}


def test_a_waiting_writer_goes_before_later_readers() -> None:
    lock, order = ReadWriteLock(), []

    def write() -> None:
        with lock.exclusive():
            order.append("writer")

    def read() -> None:
        with lock.shared():
            order.append("reader")

    with lock.shared():
        writer = start(write)
        while not lock._num_waiting_writers:
            time.sleep(0.001)
        reader = start(read)
        time.sleep(0.05)
        assert order == []
    writer.join(10)
    reader.join(10)
    assert order == ["writer", "reader"]


def test_an_error_inside_releases_the_lock() -> None:
    lock = ReadWriteLock()
    for hold in (lock.shared, lock.exclusive):
        with pytest.raises(KeyError), hold():
            raise KeyError
    with lock.exclusive():
        pass
