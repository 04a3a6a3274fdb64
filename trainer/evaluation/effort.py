"""User effort: the keys and clicks that a person needs from a photo's proposals to the list that they want.

A deterministic user model: given the proposals and completions after each edit, it returns the next actions of a person
who knows their target list. Used by the simulated annotator and by the promotion test. Knows nothing of sessions, user
interfaces or models.

An action is one key press, with or without modifier keys, or one click or drag. Kinds of action:
- take: a key adds one of the first `num_key_rows` proposals as the last kept tag; a click adds any of the first
  `num_click_rows`.
- take_down_to: a key adds every proposal from the first to one of the first `num_key_rows`.
- type: characters, then a key for the completion: Enter for the first that continues the text, a digit with a
  modifier key for one of the first `num_completion_digits`, or arrow keys and Enter; a tag without a completion is
  typed in full. With `can_complete_words` a key puts the first completion and a space into the text box, and typing
  continues.
- drop: a click removes a wrong tag that take_down_to has added. move: a drag moves a kept tag to its place.
- save: a key saves the kept tags; a list without tags takes two. take_save, type_save: the key that adds the last tag
  also saves. accept: a key adds every proposal above the expected line, and saves.

After an edit the proposals change as on the page (`settled`): a proposal keeps its number, new ones come into the
numbers that became free, and the others below. A number without a proposal is an empty tag.

Policy (`next_actions`), the first rule that applies: if the kept tags are the target, save; if the kept tags and those
above the line are the target, accept; if take_down_to costs less in total than tag by tag, take down to the best row,
drop the wrong tags, and move at the end; if the next tag is reached by a key or a click, take it; else type it with the
fewest keys. The policy looks one step ahead: each remaining tag is assumed to cost one action.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from annotator.datasets.tags import tag_key


@dataclass(frozen=True)
class Offer:
    """The proposals after an edit."""

    tags: Sequence[str]
    """In the order of their numbers, without the kept and dropped tags; empty for a number without a proposal."""
    num_expected: int = 0
    """Proposals above the expected line, which one key accepts. 0: no line."""


SAVING = frozenset(("save", "take_save", "type_save", "accept"))
"""Kinds of action that end a photo."""

Propose = Callable[[list[str], list[str]], Offer]
"""(kept, dropped) -> proposals."""
Complete = Callable[[str, list[str]], Sequence[str]]
"""(text typed so far, kept) -> completions, best first."""


@dataclass(frozen=True)
class ActionCosts:
    """What one key of the user interface reaches. Each key, click or drag counts as one action."""

    num_key_rows: int = 9
    """Proposals with their own key."""
    num_click_rows: int = 0
    """Visible proposals, which a click takes."""
    can_take_down_to: bool = True
    """A key takes all proposals down to a row."""
    num_completion_digits: int = 0
    """Completions that a digit with a modifier key takes while the text box is not empty."""
    can_complete_words: bool = False
    """A key puts the first completion into the text box, and typing continues."""
    can_accept: bool = False
    """A key takes all proposals above the expected line, and saves."""
    can_take_and_save: bool = False
    """A key takes one proposal or completion, and saves."""


@dataclass(frozen=True)
class Action:
    """One step of the user."""

    kind: str
    """take, take_down_to, type, drop, move, save, take_save, type_save or accept."""
    tags: tuple[str, ...] = ()
    """The tags taken, typed, dropped or moved."""
    num_actions: int = 1
    """Keys and clicks; more than one for typing."""
    num_held: int = 0
    """Modifier keys: Shift, Alt or Ctrl. They are counted apart from actions."""


def actions_needed(
    target: Sequence[str], propose: Propose, complete: Complete, costs: ActionCosts | None = None
) -> list[Action]:
    """Return the actions of a person until exactly the target list is saved.

    Args:
        target: The wanted tags, most important first.
        propose: Called once after each edit.
        complete: Called for each length of typed text that may save keys.
        costs: What one key reaches.
    """
    costs = costs or ActionCosts()
    target = without_repeats(target)
    actions: list[Action] = []
    kept: list[str] = []
    dropped: list[str] = []
    offer = Offer([])
    while not actions or actions[-1].kind not in SAVING:
        offer = settled(offer, propose(list(kept), list(dropped)), costs.num_key_rows)
        for action in next_actions(target, kept, offer, complete, costs):
            kept, dropped = apply(action, target, kept, dropped)
            actions.append(action)
    return actions


def settled(before: Offer, newest: Offer, num_numbered: int) -> Offer:
    """Return the proposals that the page shows after an edit, once no key was pressed for a while.

    Args:
        before: What it showed before the edit; without tags, when the photo was opened.
        newest: The server's proposals after the edit, best first.
        num_numbered: Proposals with a number.
    """
    keys = [tag_key(tag) for tag in newest.tags]
    left = dict(zip(keys, newest.tags, strict=True))
    rows = [left.pop(tag_key(tag), "") for tag in before.tags[:num_numbered]]
    rows += [""] * (num_numbered - len(rows))
    others = iter(left.values())
    rows = [tag or next(others, "") for tag in rows]
    while rows and not rows[-1]:
        rows.pop()
    expected = set(keys[: newest.num_expected])
    shown = [*rows, *others]
    num_expected = next((place for place, tag in enumerate(shown) if tag_key(tag) not in expected), len(shown))
    return Offer(shown, num_expected)


def without_repeats(tags: Iterable[str]) -> list[str]:
    """Return the tags without later spellings of the same tag."""
    first: dict[str, str] = {}
    for tag in tags:
        first.setdefault(tag_key(tag), tag)
    return list(first.values())


def next_actions(
    target: Sequence[str], kept: Sequence[str], offer: Offer, complete: Complete, costs: ActionCosts
) -> list[Action]:
    """Return the actions up to the next edit of the proposals; see the policy in the module's docstring.

    Args:
        target: The wanted tags, without repeats.
        kept: Some of them, in any order.
        offer: The current proposals.
        complete: Completions of typed text.
        costs: What one key reaches.
    """
    places = {tag_key(tag): place for place, tag in enumerate(target)}
    have = [places[tag_key(tag)] for tag in kept]
    if len(have) == len(target):
        return [*_moves(target, have), Action("save", num_actions=1 if kept else 2)]
    proposed = [places.get(tag_key(tag), -1) for tag in offer.tags]
    above = proposed[: offer.num_expected]
    missing = sorted(set(range(len(target))).difference(have))
    if costs.can_accept and above == missing and not _out_of_order([*have, *above]):
        return [Action("accept", tuple(target[place] for place in above), num_held=1)]
    num_down_to = _best_down_to(have, offer.tags, proposed, missing, costs)
    if num_down_to:
        taken = tuple(tag for tag in offer.tags[:num_down_to] if tag)
        wrong = [Action("drop", (tag,)) for tag in taken if tag_key(tag) not in places]
        return [Action("take_down_to", taken, num_held=1), *wrong]
    ends = costs.can_take_and_save and len(missing) == 1 and not _out_of_order([*have, *missing])
    row = proposed.index(missing[0]) if missing[0] in proposed else len(proposed)
    tag = target[missing[0]]
    if row < min(costs.num_key_rows, len(proposed)):
        return [Action("take_save", (tag,), num_held=1) if ends else Action("take", (tag,))]
    if row < min(costs.num_click_rows, len(proposed)):
        return [Action("take", (tag,))]
    typed = fewest_keys(tag, complete, kept, costs, saves=ends)
    return [Action("type_save" if ends else "type", (tag,), typed.num_keys, typed.num_held)]


def apply(
    action: Action, target: Sequence[str], kept: Sequence[str], dropped: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return (kept, dropped) after an action."""
    gone = {tag_key(tag) for tag in action.tags}
    if action.kind == "drop":
        return [tag for tag in kept if tag_key(tag) not in gone], [*dropped, *action.tags]
    if action.kind == "move":
        # After its predecessor in the target. Moves come in the target's order, so the predecessor is in place.
        places = {tag_key(tag): place for place, tag in enumerate(target)}
        rest = [tag for tag in kept if tag_key(tag) not in gone]
        before = [tag for tag in rest if places[tag_key(tag)] < places[tag_key(action.tags[0])]]
        index = 1 + rest.index(max(before, key=lambda tag: places[tag_key(tag)])) if before else 0
        return [*rest[:index], *action.tags, *rest[index:]], list(dropped)
    return [*kept, *action.tags], list(dropped)


@dataclass(frozen=True, order=True)
class Typed:
    """What it takes to enter a tag by typing."""

    num_keys: int
    """Characters, and the key that takes it and, where that is wanted, saves."""
    num_held: int = 0
    """Modifier keys."""


def keys_to_type(tag: str, complete: Complete, kept: Sequence[str], costs: ActionCosts) -> int:
    """Return the fewest keys that add a tag by typing: characters, and the key that takes it; see `fewest_keys`."""
    return fewest_keys(tag, complete, kept, costs).num_keys


def fewest_keys(tag: str, complete: Complete, kept: Sequence[str], costs: ActionCosts, *, saves: bool = False) -> Typed:
    """Return the fewest keys that add a tag by typing.

    Args:
        tag: The wanted tag.
        complete: Completions of typed text.
        kept: The kept tags.
        costs: What one key reaches.
        saves: Whether the list is saved with it: by the same key, with one more modifier key.
    """
    key = tag_key(tag)
    held = int(saves)
    fewest = Typed(len(tag) + 1, held)
    keys = list(range(len(tag) + 1))  # keys[n]: fewest keys that enter the first n characters
    for num_typed in range(1, len(tag)):
        keys[num_typed] = min(keys[num_typed], keys[num_typed - 1] + 1)
        if keys[num_typed] + 1 >= fewest.num_keys:
            continue
        text = tag_key(tag[:num_typed])
        completions = [tag_key(other) for other in complete(tag[:num_typed], list(kept))]
        # Enter and Tab take the first that continues the text, but not after a space; the others need Alt and a digit,
        # or the arrow keys.
        continuing = (place for place, other in enumerate(completions) if other.startswith(text))
        first = -1 if tag[:num_typed].endswith(" ") else next(continuing, -1)
        if key in completions:
            row = completions.index(key)
            fewest = min(fewest, Typed(keys[num_typed] + 1 + abs(row - first), held))
            if row < costs.num_completion_digits:
                fewest = min(fewest, Typed(keys[num_typed] + 1, 1 + held))
        if costs.can_complete_words and first >= 0 and key.startswith(f"{completions[first]} "):
            after = len(completions[first]) + 1
            keys[after] = min(keys[after], keys[num_typed] + 1)
    return min(fewest, Typed(keys[-2] + 2, held))


def _best_down_to(
    have: list[int], tags: Sequence[str], proposed: list[int], missing: list[int], costs: ActionCosts
) -> int:
    """Return how many proposals to take at once for the least total cost, or 0 to take one by one."""
    if not costs.can_take_down_to:
        return 0
    best, least = 0, len(missing) + _num_moves([*have, *missing])
    for num in range(2, min(costs.num_key_rows, len(proposed)) + 1):
        right = [place for place in proposed[:num] if place >= 0]
        num_wrong = num - len(right) - sum(not tag for tag in tags[:num])
        rest = [place for place in missing if place not in right]
        cost = 1 + num_wrong + len(rest) + _num_moves([*have, *right, *rest])
        if cost < least:
            best, least = num, cost
    return best


def _moves(target: Sequence[str], places: Sequence[int]) -> list[Action]:
    """Return the drags that sort tags, given by their places in the target."""
    return [Action("move", (target[place],)) for place in _out_of_order(places)]


def _num_moves(places: Sequence[int]) -> int:
    return len(_out_of_order(places))


def _out_of_order(places: Sequence[int]) -> list[int]:
    """Return the places outside a longest increasing subsequence, in ascending order."""
    ends: list[int] = []  # ends[n]: least last place of an increasing subsequence of length n + 1
    length: list[int] = []
    for place in places:
        at = bisect_left(ends, place)
        ends[at : at + 1] = [place]
        length.append(at + 1)
    wanted = len(ends)
    ordered: set[int] = set()
    for place, size in zip(reversed(places), reversed(length), strict=True):
        if size == wanted and (not ordered or place < min(ordered)):
            ordered.add(place)
            wanted -= 1
    return sorted(set(places) - ordered)


def total(actions: Iterable[Action]) -> int:
    """Return the number of keys and clicks of some actions."""
    return sum(action.num_actions for action in actions)
