from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.trainer.evaluation.effort import (
    Action,
    ActionCosts,
    Offer,
    actions_needed,
    apply,
    keys_to_type,
    next_actions,
    settled,
    total,
    without_repeats,
)

EVERYTHING = ActionCosts(
    num_key_rows=3, num_click_rows=4, num_completion_digits=2, can_accept=True, can_take_and_save=True
)
ONE_BY_ONE = ActionCosts(num_key_rows=3, can_take_down_to=False)
Propose = Callable[[list[str], list[str]], Offer]


def always(*tags: str, num_expected: int = 0) -> Propose:
    """Return a `Propose` that always proposes the same tags, without those kept or dropped."""

    def propose(kept: list[str], dropped: list[str]) -> Offer:
        return Offer([tag for tag in tags if tag not in (*kept, *dropped)], num_expected)

    return propose


def completing(*tags: str) -> Callable[[str, list[str]], list[str]]:
    return lambda text, kept: [tag for tag in tags if tag.startswith(text) and tag not in kept]


def script(actions: Sequence[Action]) -> list[tuple[str, int]]:
    return [(action.kind, action.num_actions) for action in actions]


def test_one_key_a_tag_and_one_to_save() -> None:
    actions = actions_needed(["dog", "ball"], always("cat", "ball", "dog"), completing(), ONE_BY_ONE)
    assert script(actions) == [("take", 1), ("take", 1), ("save", 1)]


def test_what_is_not_proposed_costs_its_characters_and_enter() -> None:
    actions = actions_needed(["dog"], always("cat"), completing(), ONE_BY_ONE)
    assert script(actions) == [("type", 4), ("save", 1)]


def test_a_completion_costs_the_characters_until_it_is_first_and_enter() -> None:
    # "d" completes to door first, and to dog by one arrow key: 3 keys; "do" completes to the same: 4.
    assert keys_to_type("dog", completing("door", "dog"), [], ONE_BY_ONE) == 3
    # Third place costs two arrow keys (4 keys), as many as typing it out.
    assert keys_to_type("dog", completing("door", "duck", "dog"), [], ONE_BY_ONE) == 4
    assert keys_to_type("dog", completing("dog"), [], ONE_BY_ONE) == 2


def test_a_digit_takes_a_completion() -> None:
    assert keys_to_type("dog", completing("door", "dog"), [], EVERYTHING) == 2
    # The digits reach two completions, so the third needs two arrow keys.
    assert keys_to_type("donkey", completing("door", "dog", "donkey"), [], EVERYTHING) == 4


def test_enter_takes_the_first_completion_that_continues_the_text() -> None:
    # "traffic light" is found by its second word, but Enter does not take it.
    completions = ["traffic light", "lion"]
    assert keys_to_type("lion", lambda text, kept: completions, [], ONE_BY_ONE) == 2


def test_a_run_is_taken_by_one_key() -> None:
    costs = ActionCosts(num_key_rows=3)
    actions = actions_needed(["a", "b", "c", "d"], always("a", "b", "c", "d"), completing(), costs)
    assert script(actions) == [("take_down_to", 1), ("take", 1), ("save", 1)]


def test_a_wrong_tag_that_came_along_is_dropped() -> None:
    costs = ActionCosts(num_key_rows=4)
    actions = actions_needed(["a", "b", "c"], always("a", "x", "b", "c"), completing(), costs)
    # Down to row 4 and a click are 2 keys for 3 tags, and 3 one by one.
    assert script(actions) == [("take_down_to", 1), ("drop", 1), ("save", 1)]
    assert actions[1].tags == ("x",)


def test_a_run_in_the_wrong_order_is_moved_at_the_end() -> None:
    costs = ActionCosts(num_key_rows=4)
    actions = actions_needed(["a", "b", "c", "d"], always("a", "b", "d", "c"), completing(), costs)
    assert script(actions) == [("take_down_to", 1), ("move", 1), ("save", 1)]


def test_where_a_run_brings_nothing_tags_are_taken_one_by_one() -> None:
    costs = ActionCosts(num_key_rows=3)
    actions = actions_needed(["a", "b"], always("x", "a", "b"), completing(), costs)
    assert script(actions) == [("take", 1), ("take", 1), ("save", 1)]


def test_what_stands_above_the_line_is_accepted_and_saved_by_one_key() -> None:
    actions = actions_needed(["a", "b"], always("a", "b", "c", num_expected=2), completing(), EVERYTHING)
    assert script(actions) == [("accept", 1)]
    assert [action.num_held for action in actions] == [1]


def test_a_line_in_the_wrong_place_or_order_costs_nothing() -> None:
    for tags in (["a", "b", "c"], ["b", "a"]):
        with_line = actions_needed(["a", "b"], always(*tags, num_expected=len(tags)), completing(), EVERYTHING)
        without = actions_needed(["a", "b"], always(*tags), completing(), EVERYTHING)
        assert total(with_line) == total(without)


def test_the_last_tag_is_taken_and_saved_by_one_key() -> None:
    actions = actions_needed(["b", "c"], always("a", "b", "c"), completing(), EVERYTHING)
    assert script(actions) == [("take", 1), ("take_save", 1)]
    typed = actions_needed(["b", "zebra"], always("a", "b"), completing("zebra", "zoo"), EVERYTHING)
    assert script(typed) == [("take", 1), ("type_save", 2)]


def test_a_digit_with_two_modifier_keys_takes_a_completion_and_saves() -> None:
    typed = actions_needed(["b", "zebra"], always("a", "b"), completing("zoo", "zebra"), EVERYTHING)
    assert script(typed) == [("take", 1), ("type_save", 2)]
    assert [action.num_held for action in typed] == [0, 2]
    # Not the last tag: the digit alone, with the key that is held down for it.
    first = actions_needed(["zebra", "b"], always("a", "b"), completing("zoo", "zebra"), EVERYTHING)
    assert first[0] == Action("type", ("zebra",), 2, 1)


def test_a_row_in_sight_without_a_key_is_clicked_and_then_saved() -> None:
    actions = actions_needed(["d"], always("a", "b", "c", "d"), completing(), EVERYTHING)
    assert script(actions) == [("take", 1), ("save", 1)]


def test_no_target_is_saved_at_once() -> None:
    assert script(actions_needed([], always("a"), completing(), EVERYTHING)) == [("save", 2)]  # asked once


def test_a_proposal_keeps_its_number_and_new_ones_come_into_the_free_numbers() -> None:
    before = Offer(["a", "b", "c", "d"], 2)
    # "a" was taken, "b" is no longer proposed; the rest is ranked otherwise, and "x" and "y" are new.
    assert settled(before, Offer(["d", "x", "c", "y"], 1), 3) == Offer(["d", "x", "c", "y"], 1)
    assert settled(before, Offer(["x", "d", "c", "y"], 3), 3) == Offer(["x", "d", "c", "y"], 3)
    assert settled(before, Offer(["x", "y", "z", "C"]), 4).tags == ["x", "y", "C", "z"]
    assert settled(before, Offer(["c"]), 4).tags == ["", "", "c"]
    assert settled(Offer([]), Offer(["x", "y", "z"], 1), 2) == Offer(["x", "y", "z"], 1)


def test_a_number_without_a_proposal_costs_nothing_on_the_way_down() -> None:
    costs = ActionCosts(num_key_rows=4)
    actions = next_actions(["a", "b", "c"], [], Offer(["a", "", "b", "c"]), completing(), costs)
    assert actions == [Action("take_down_to", ("a", "b", "c"), num_held=1)]


def test_what_is_proposed_next_counts() -> None:
    def propose(kept: list[str], dropped: list[str]) -> Offer:
        return Offer(["b"] if kept == ["a"] else ["a"])

    assert total(actions_needed(["a", "b"], propose, completing(), ONE_BY_ONE)) == 3


def test_two_spellings_of_a_tag_are_one() -> None:
    assert without_repeats(["Dog", "dog", "cat"]) == ["Dog", "cat"]
    actions = actions_needed(["Dog", "dog"], always("dog"), completing(), ONE_BY_ONE)
    assert script(actions) == [("take", 1), ("save", 1)]


@pytest.mark.parametrize("costs", [ONE_BY_ONE, ActionCosts(), EVERYTHING])
@given(data=st.data())
def test_the_actions_lead_to_exactly_the_target(costs: ActionCosts, data: st.DataObject) -> None:
    tags = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6)
    target, order, num_expected = data.draw(tags), data.draw(tags), data.draw(st.integers(0, 3))
    propose = always(*order, num_expected=num_expected)
    kept: list[str] = []
    dropped: list[str] = []
    actions: list[Action] = []
    offer = Offer([])
    while not actions or actions[-1].kind not in ("save", "accept", "take_save", "type_save"):
        offer = settled(offer, propose(kept, dropped), costs.num_key_rows)
        for action in next_actions(target, kept, offer, completing(*order), costs):
            kept, dropped = apply(action, target, kept, dropped)
            actions.append(action)
    assert kept == target
    assert actions == actions_needed(target, propose, completing(*order), costs)
    # Never more than typing all tags in full; a list without tags is saved by two keys.
    assert total(actions) <= sum(len(tag) + 1 for tag in target) + (1 if target else 2)


def test_a_word_put_into_the_box_is_typed_on() -> None:
    def complete(text: str, kept: list[str]) -> list[str]:
        return [tag for tag in ("baked", "baked potato", "bar") if tag.startswith(text)]

    # "b", the key for the first completion, "p", Enter; without that key 6 characters and "p" and Enter.
    words = ActionCosts(num_key_rows=3, can_complete_words=True)
    assert keys_to_type("baked pie", complete, [], words) == 1 + 1 + 3 + 1
    assert keys_to_type("baked pie", complete, [], ActionCosts(num_key_rows=3)) == 10
    digits = ActionCosts(num_key_rows=3, num_completion_digits=9)
    assert keys_to_type("baked potato", complete, [], digits) == 2
