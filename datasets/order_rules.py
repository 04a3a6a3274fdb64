"""Rules for the order of a list: tags pinned first, classes in order, "A before B", at most N tags.

Training sets prescribe an order of classes (subject, character, series ...), stock sites the first ten. Knows nothing
of photos or projects.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import ConfigError, TagError

OTHERS = "*"
"""Among the classes: the place of the tags that belong to none; without it they come after all classes."""
GROUP = "@"
"""Among the classes: `@character` stands for all tags of the class "character" of the project's vocabulary."""
NAMES = ("pinned", "classes", "before", "most")


@dataclass(frozen=True)
class OrderRules:
    """Rules, applied in this order; between them, a list keeps its order."""

    pinned: tuple[str, ...] = ()
    """These tags come first, in this order, where a list has them."""
    classes: tuple[tuple[str, ...], ...] = ()
    """Tags of the first class come before those of the second, and so on; `("*",)` stands for all others."""
    before: tuple[tuple[str, str], ...] = ()
    """(first, second): where a list has both, the first comes before the second."""
    most: int = 0
    """A list keeps so many tags, the first ones; 0 keeps all."""
    group_of: Callable[[str], str] | None = field(default=None, repr=False, compare=False)
    """Tag -> its class in a vocabulary, empty if it has none; None: there is no vocabulary."""
    _place: Mapping[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.most < 0:
            raise ConfigError(f"most must be 0 or more; got {self.most}.")
        place: dict[str, int] = {}
        for number, tags in enumerate(self.classes):
            for tag in tags:
                key = OTHERS if tag == OTHERS else _key(tag)
                if key in place:
                    raise ConfigError(f"{tag!r} stands in two classes, or twice in one.")
                place[key] = number
        place.setdefault(OTHERS, len(self.classes))
        pinned = [_key(tag) for tag in self.pinned]
        if len(set(pinned)) < len(pinned):
            raise ConfigError("A tag is pinned twice.")
        place |= {key: number - len(pinned) for number, key in enumerate(pinned)}
        object.__setattr__(self, "_place", place)
        circle = _circle([(_key(first), _key(second)) for first, second in self.before])
        if circle:
            raise ConfigError(f"The rules contradict each other: {' before '.join(circle)}.")

    def apply(self, tags: Sequence[str]) -> tuple[str, ...]:
        """Return a list in the order of the rules; a second call changes nothing."""
        ordered = sorted(tags, key=self._place_of)
        ordered = _moved(ordered, [(_key(first), _key(second)) for first, second in self.before])
        return tuple(ordered[: self.most or None])

    def _place_of(self, tag: str) -> int:
        place = self._place.get(tag_key(tag))
        if place is None and self.group_of is not None:
            place = self._place.get(GROUP + tag_key(self.group_of(tag)))
        return self._place[OTHERS] if place is None else place

    def values(self) -> dict[str, Any]:
        """Return the rules as JSON values, from which `rules_from` makes the same."""
        return {
            "pinned": list(self.pinned),
            "classes": [list(one) for one in self.classes],
            "before": [list(one) for one in self.before],
            "most": self.most,
        }

    def reason(self, tag: str) -> str:
        """Return which rule decides about a tag's place; empty if none does."""
        key = tag_key(tag)
        if key in map(_key, self.pinned):
            return "pinned"
        place = self._place_of(tag)
        if key in self._place or place != self._place[OTHERS]:
            return f"class {place + 1}"
        pairs = [f"{first} before {second}" for first, second in self.before if key in (_key(first), _key(second))]
        return "; ".join(pairs)


def read_rules(path: Path) -> OrderRules:
    """Read rules from a JSON object with `pinned`, `classes`, `before` and `most`, each optional.

    Raises:
        ConfigError: The file is missing or damaged, or its rules contradict each other.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"The rules {path} could not be read: {error}.") from error
    return rules_from(values, f"The rules {path}")


def rules_from(values: Any, place: str = "The rules", group_of: Callable[[str], str] | None = None) -> OrderRules:
    """Return rules from JSON values.

    Args:
        values: An object with `pinned`, `classes`, `before` and `most`, each optional.
        place: What holds them, for messages.
        group_of: See `OrderRules.group_of`.

    Raises:
        ConfigError: They are of another form, or contradict each other.
    """
    try:
        unknown = set(values) - set(NAMES)
        if unknown:
            raise ConfigError(f"{place} hold {sorted(unknown)[0]!r}, which is no rule.")
        return OrderRules(
            _texts(values.get("pinned", [])),
            tuple(_texts(one) for one in values.get("classes", [])),
            tuple(_pair(one) for one in values.get("before", [])),
            int(values.get("most", 0)),
            group_of,
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{place} are of another form: {error}.") from error


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{str(values)[:60]} is no list of tags")
    return tuple(values)


def _pair(values: Any) -> tuple[str, str]:
    pair = _texts(values)
    if len(pair) != 2:
        raise TypeError(f"{list(pair)} is no pair of tags")
    return pair[0], pair[1]


def _key(tag: str) -> str:
    try:
        return tag_key(clean_tag(tag))
    except TagError as error:
        raise ConfigError(f"A rule has a bad tag. {error}") from error


def _moved(tags: list[str], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return the list with each pair in its order: always the earliest tag that no remaining one must precede."""
    rest = list(tags)
    keys = {tag_key(tag) for tag in tags}
    wanted = [(first, second) for first, second in pairs if first in keys and second in keys]
    if not wanted:
        return rest
    ordered: list[str] = []
    while rest:
        waiting = {second for first, second in wanted if first in {tag_key(tag) for tag in rest}}
        following = next(tag for tag in rest if tag_key(tag) not in waiting)
        rest.remove(following)
        ordered.append(following)
    return ordered


def _circle(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return tags that must each come before the next, the last before the first; empty if there are none."""
    after: dict[str, list[str]] = {}
    for first, second in pairs:
        after.setdefault(first, []).append(second)
    done: set[str] = set()
    for start in after:
        path: list[str] = []
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            tag, depth = stack.pop()
            del path[depth:]
            if tag in path:
                return [*path[path.index(tag) :], tag]
            if tag not in done:
                path.append(tag)
                stack += [(other, len(path)) for other in after.get(tag, [])]
        done.add(start)
    return []
