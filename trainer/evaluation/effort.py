"""Effort: how many keys and clicks a person needs to get from a photo's proposals to the list that they want.

A pure policy over the page's keys: it is told what the page proposes and completes after each edit, and says what a
person who knows their list does next. Used by the simulated annotator and by whatever compares two taggers by it.
Knows nothing of sessions, pages or models.

An action is one key press, whatever is held down with it, or one click or drag. What can be done:
- take: a key takes one of the first `num_key_rows` proposals, which becomes the last kept tag; a click takes any of the
  first `num_click_rows`.
- take_down_to: a key takes every proposal from the first to one of the first `num_key_rows`.
- type: characters, then a key for the completion: Enter for the first that continues the text, a digit for one of the
  first `num_completion_digits`, or arrow keys and Enter; a tag that is not offered is typed out.
  With `can_complete_words` a key puts the first completion and a space into the box, and typing goes on.
- drop: a click removes a tag that was taken along. move: a drag brings a kept tag to its place.
- save: a key saves what is kept. take_save, type_save: the key that takes the last tag saves as well. accept: a key
  takes every proposal above the expected line, and saves.

Policy (`next_actions`), the first that applies: what is kept is the target, so save; together with what stands above
the line it is the target, so accept; taking down to a row costs less in the end than tag by tag, so take down to the
best such row, drop what was wrong in it, and move at the end; the next tag is in reach of a key or a click, so take it;
else type it with the fewest keys. It looks one step ahead: tags that are not settled count one action each.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from annotator.datasets.tags import tag_key


@dataclass(frozen=True)
class Offer:
    """What the page shows after an edit."""

    tags: Sequence[str]
    """Proposals, best first, without what is kept or dropped."""
    num_expected: int = 0
    """Proposals above the expected line: those that one key accepts. 0: there is no line."""


SAVING = frozenset(("save", "take_save", "type_save", "accept"))
"""Kinds of action that end a photo."""

Propose = Callable[[list[str], list[str]], Offer]
"""(kept, dropped) -> what the page shows then."""
Complete = Callable[[str, list[str]], Sequence[str]]
"""(text typed so far, kept) -> completions, best first."""


@dataclass(frozen=True)
class ActionCosts:
    """What one key of the page reaches. Each key, click or drag counts one."""

    num_key_rows: int = 9
    """Proposals that have a key of their own."""
    num_click_rows: int = 0
    """Proposals that are in sight, where clicks count as well."""
    can_take_down_to: bool = True
    """A key takes the list down to a proposal."""
    num_completion_digits: int = 0
    """Completions that a digit takes while there is text in the box."""
    can_complete_words: bool = False
    """A key puts the first completion into the box, to be typed on."""
    can_accept: bool = False
    """A key takes what stands above the expected line, and saves."""
    can_take_and_save: bool = False
    """A key takes one proposal or completion, and saves."""


@dataclass(frozen=True)
class Action:
    """One step of a person."""

    kind: str
    """take, take_down_to, type, drop, move, save, take_save, type_save or accept."""
    tags: tuple[str, ...] = ()
    """What was taken, typed, dropped or moved."""
    num_actions: int = 1
    """Keys and clicks; more than one for typing."""
    num_held: int = 0
    """Keys held down meanwhile: Shift, Alt or Ctrl. They are no actions of their own, but fingers move for them."""


def actions_needed(
    target: Sequence[str], propose: Propose, complete: Complete, costs: ActionCosts | None = None
) -> list[Action]:
    """Return everything a person does until exactly the target list is saved.

    Args:
        target: The tags that the person wants, most important first.
        propose: What the page shows; called once after each edit.
        complete: What the page completes; called for each number of characters that may be worth typing.
        costs: What one key reaches.
    """
    costs = costs or ActionCosts()
    target = without_repeats(target)
    actions: list[Action] = []
    kept: list[str] = []
    dropped: list[str] = []
    while not actions or actions[-1].kind not in SAVING:
        offer = propose(list(kept), list(dropped))
        for action in next_actions(target, kept, offer, complete, costs):
            kept, dropped = apply(action, target, kept, dropped)
            actions.append(action)
    return actions


def without_repeats(tags: Iterable[str]) -> list[str]:
    """Return a list in which no tag stands twice, by any spelling: a list that the page can hold."""
    first: dict[str, str] = {}
    for tag in tags:
        first.setdefault(tag_key(tag), tag)
    return list(first.values())


def next_actions(
    target: Sequence[str], kept: Sequence[str], offer: Offer, complete: Complete, costs: ActionCosts
) -> list[Action]:
    """Return what a person does before they look at the proposals again; see the module's docstring.

    Args:
        target: The tags that the person wants, none of them twice.
        kept: Some of them, in any order.
        offer: What the page shows.
        complete: What the page completes.
        costs: What one key reaches.
    """
    places = {tag_key(tag): place for place, tag in enumerate(target)}
    have = [places[tag_key(tag)] for tag in kept]
    if len(have) == len(target):
        return [*_moves(target, have), Action("save")]
    proposed = [places.get(tag_key(tag), -1) for tag in offer.tags]
    above = proposed[: offer.num_expected]
    missing = sorted(set(range(len(target))).difference(have))
    if costs.can_accept and above == missing and not _out_of_order([*have, *above]):
        return [Action("accept", tuple(target[place] for place in above), num_held=1)]
    num_down_to = _best_down_to(have, proposed, missing, costs)
    if num_down_to:
        wrong = [Action("drop", (offer.tags[row],)) for row in range(num_down_to) if proposed[row] < 0]
        return [Action("take_down_to", tuple(offer.tags[:num_down_to]), num_held=1), *wrong]
    ends = costs.can_take_and_save and len(missing) == 1 and not _out_of_order([*have, *missing])
    row = proposed.index(missing[0]) if missing[0] in proposed else len(proposed)
    tag = target[missing[0]]
    if row < min(costs.num_key_rows, len(proposed)):
        return [Action("take_save", (tag,), num_held=1) if ends else Action("take", (tag,))]
    if row < min(costs.num_click_rows, len(proposed)):
        return [Action("take", (tag,))]
    num_keys = keys_to_type(tag, complete, kept, costs)
    return [Action("type_save", (tag,), num_keys, 1) if ends else Action("type", (tag,), num_keys)]


def apply(
    action: Action, target: Sequence[str], kept: Sequence[str], dropped: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return (kept, dropped) after an action, as the page has them."""
    gone = {tag_key(tag) for tag in action.tags}
    if action.kind == "drop":
        return [tag for tag in kept if tag_key(tag) not in gone], [*dropped, *action.tags]
    if action.kind == "move":
        # Behind its predecessor in the target. Moves come in the target's order, so that one is in its place.
        places = {tag_key(tag): place for place, tag in enumerate(target)}
        rest = [tag for tag in kept if tag_key(tag) not in gone]
        before = [tag for tag in rest if places[tag_key(tag)] < places[tag_key(action.tags[0])]]
        index = 1 + rest.index(max(before, key=lambda tag: places[tag_key(tag)])) if before else 0
        return [*rest[:index], *action.tags, *rest[index:]], list(dropped)
    return [*kept, *action.tags], list(dropped)


def keys_to_type(tag: str, complete: Complete, kept: Sequence[str], costs: ActionCosts) -> int:
    """Return the fewest keys that bring a tag by typing: its characters and the one that takes it.

    Args:
        tag: The wanted tag.
        complete: What the page completes.
        kept: What is kept meanwhile.
        costs: What one key reaches.
    """
    key = tag_key(tag)
    fewest = len(tag) + 1
    keys = list(range(len(tag) + 1))  # keys[n]: the fewest that bring the first n characters into the box
    for num_typed in range(1, len(tag)):
        keys[num_typed] = min(keys[num_typed], keys[num_typed - 1] + 1)
        if keys[num_typed] + 1 >= fewest:
            continue
        text = tag_key(tag[:num_typed])
        completions = [tag_key(other) for other in complete(tag[:num_typed], list(kept))]
        # Enter and Tab take the first that continues the text; the others wait for a digit or for the arrow keys.
        first = next((place for place, other in enumerate(completions) if other.startswith(text)), -1)
        if key in completions:
            row = completions.index(key)
            has_digit = row < costs.num_completion_digits and tag[:num_typed].split(" ")[-1].isalpha()
            fewest = min(fewest, keys[num_typed] + (1 if has_digit else 1 + abs(row - first)))
        if costs.can_complete_words and first >= 0 and key.startswith(f"{completions[first]} "):
            after = len(completions[first]) + 1
            keys[after] = min(keys[after], keys[num_typed] + 1)
    return min(fewest, keys[-2] + 2)


def _best_down_to(have: list[int], proposed: list[int], missing: list[int], costs: ActionCosts) -> int:
    """Return the row down to which taking all costs the least in the end, or 0 where taking one by one does."""
    if not costs.can_take_down_to:
        return 0
    best, least = 0, len(missing) + _num_moves([*have, *missing])
    for num in range(2, min(costs.num_key_rows, len(proposed)) + 1):
        right = [place for place in proposed[:num] if place >= 0]
        rest = [place for place in missing if place not in right]
        cost = 1 + (num - len(right)) + len(rest) + _num_moves([*have, *right, *rest])
        if cost < least:
            best, least = num, cost
    return best


def _moves(target: Sequence[str], places: Sequence[int]) -> list[Action]:
    """Return the drags that put tags, given by their places in the target, in the target's order."""
    return [Action("move", (target[place],)) for place in _out_of_order(places)]


def _num_moves(places: Sequence[int]) -> int:
    return len(_out_of_order(places))


def _out_of_order(places: Sequence[int]) -> list[int]:
    """Return what does not belong to a longest increasing subsequence, in ascending order."""
    ends: list[int] = []  # ends[n]: least end of an increasing subsequence of n + 1
    length: list[int] = []
    for place in places:
        at = bisect_left(ends, place)
        ends[at : at + 1] = [place]
        length.append(at + 1)
    wanted = len(ends)
    kept: set[int] = set()
    for place, size in zip(reversed(places), reversed(length), strict=True):
        if size == wanted and (not kept or place < min(kept)):
            kept.add(place)
            wanted -= 1
    return sorted(set(places) - kept)


def total(actions: Iterable[Action]) -> int:
    """Return the keys and clicks of some actions."""
    return sum(action.num_actions for action in actions)
