import threading
from collections.abc import Callable
from typing import Any

import pytest

from annotator.ingest.decoding_budget import DecodingBudget, PictureCache


@pytest.mark.parametrize(
    ("sizes", "together"), [([60, 60], True), ([60, 41], False), ([500, 1], False), ([500, 500], False), ([1, 1], True)]
)
def test_photos_are_decoded_together_only_within_the_bound_of_pixels(
    until: Callable[..., Any], sizes: list[int], together: bool
) -> None:
    budget = DecodingBudget(at_once=2, max_pixels=100 if not together else 120)
    inside: list[int] = []
    may_end = [threading.Event(), threading.Event()]

    def decode(number: int) -> None:
        with budget.hold(sizes[number]):
            inside.append(number)
            may_end[number].wait(60)

    workers = [threading.Thread(target=decode, args=(number,)) for number in range(2)]
    workers[0].start()
    until(lambda: inside == [0])
    workers[1].start()
    if together:
        until(lambda: inside == [0, 1])
    else:
        until(lambda: len(budget._waiting) == 1)
        assert inside == [0]
    may_end[0].set()
    until(lambda: inside == [0, 1])
    may_end[1].set()
    for worker in workers:
        worker.join()
    assert (budget._num_now, budget._pixels_now) == (0, 0)


def test_a_large_photo_is_not_overtaken_for_ever(until: Callable[..., Any]) -> None:
    budget, order = DecodingBudget(at_once=2, max_pixels=100), []
    may_end = threading.Event()

    def decode(name: str, num_pixels: int) -> None:
        with budget.hold(num_pixels):
            order.append(name)
            may_end.wait(60)

    workers: list[threading.Thread] = []
    for name, num_pixels in (("first", 60), ("large", 100), ("small", 10)):
        workers.append(threading.Thread(target=decode, args=(name, num_pixels)))
        workers[-1].start()
        until(lambda: len(budget._waiting) + len(order) == len(workers))
    assert order == ["first"]
    may_end.set()
    for worker in workers:
        worker.join()
    assert order == ["first", "large", "small"]


def test_a_failing_photo_is_not_counted_any_more() -> None:
    budget = DecodingBudget(at_once=1, max_pixels=100)
    for _ in range(3):
        with pytest.raises(ValueError, match="damaged"), budget.hold(1000):
            raise ValueError("damaged")
    with budget.hold(100):
        pass


def test_the_cache_keeps_the_pictures_that_were_used_last_within_its_bytes() -> None:
    cache = PictureCache(max_bytes=100)
    cache.put("a", b"x" * 40)
    cache.put("b", b"x" * 40)
    assert cache.get("a") == b"x" * 40
    cache.put("c", b"x" * 40)
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]
    cache.put("a", b"x" * 10)
    assert cache.num_bytes == 50
    cache.put("huge", b"x" * 101)
    assert cache.get("huge") is None
    assert cache.num_bytes == 0
