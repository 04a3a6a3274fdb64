from hypothesis import given
from hypothesis import strategies as st

from annotator.active_learning.queue import PhotoQueue


def queue_of(num: int) -> PhotoQueue:
    queue = PhotoQueue()
    queue.add(range(1, num + 1))
    return queue


def test_an_empty_queue_has_no_next() -> None:
    assert PhotoQueue().next_open(None) is None


def test_images_come_in_order_and_the_search_wraps_round() -> None:
    queue = queue_of(4)
    assert [queue.next_open(after) for after in (None, 1, 3, 4)] == [1, 2, 4, 1]


def test_saved_images_do_not_come_up_until_opened_again() -> None:
    queue = queue_of(3)
    queue.mark(2, saved=True)
    assert queue.next_open(1) == 3
    assert (queue.num_saved, queue.is_saved(2), queue.is_open(2)) == (1, True, False)
    queue.mark(2, saved=True)
    assert queue.num_saved == 1
    queue.mark(2, saved=False)
    assert (queue.num_saved, queue.next_open(1)) == (0, 2)


def test_skipped_images_come_after_all_others_longest_ago_first() -> None:
    queue = queue_of(4)
    queue.skip(1)
    queue.skip(2)
    assert queue.next_open(2) == 3
    queue.mark(3, saved=True)
    queue.mark(4, saved=True)
    assert queue.next_open(4) == 1
    queue.skip(1)
    assert queue.next_open(1) == 2


def test_the_last_open_image_comes_again_when_it_is_skipped() -> None:
    queue = queue_of(2)
    queue.mark(1, saved=True)
    queue.skip(2)
    assert queue.next_open(2) == 2
    queue.mark(2, saved=True)
    assert queue.next_open(2) is None


def test_a_saved_image_cannot_be_skipped() -> None:
    queue = queue_of(2)
    queue.mark(1, saved=True)
    queue.skip(1)
    assert queue.is_saved(1)


def test_images_added_again_keep_their_place_and_state() -> None:
    queue = queue_of(2)
    queue.mark(1, saved=True)
    queue.add([2, 1, 5])
    assert queue.window(0, 10) == [1, 2, 5]
    assert [queue.position(image) for image in (1, 2, 5)] == [0, 1, 2]
    assert queue.is_saved(1)
    assert (5 in queue, 4 in queue, len(queue)) == (True, False, 3)
    assert queue.next_open(2) == 5


def test_a_window_is_cut_to_what_exists() -> None:
    queue = queue_of(3)
    assert (queue.window(-2, 2), queue.window(2, 9), queue.window(5, 9)) == ([1, 2], [3], [])


@given(steps=st.lists(st.tuples(st.sampled_from(["save", "reopen", "skip"]), st.integers(1, 4)), max_size=20))
def test_next_is_never_a_saved_image_and_none_is_missed(steps: list[tuple[str, int]]) -> None:
    queue, states = queue_of(4), dict.fromkeys(range(1, 5), "open")
    for step, image in steps:
        if step == "skip":
            queue.skip(image)
            states[image] = "skipped" if states[image] != "saved" else "saved"
        else:
            queue.mark(image, saved=step == "save")
            states[image] = "saved" if step == "save" else "open"
    assert queue.num_saved == list(states.values()).count("saved")
    for after in (None, 1, 2, 3, 4):
        found = queue.next_open(after)
        unsaved = {image for image, state in states.items() if state != "saved"}
        assert found in unsaved if unsaved else found is None
        if {image for image in unsaved if states[image] == "open"} - {after}:
            assert states[found] == "open"  # type: ignore[index]
