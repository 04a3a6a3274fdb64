"""The habits of the people who tag here: which tags are usual, which follow which, which go together, and where.

Counts over the saved lists of a project. They say nothing of a photo's content, only of how its list goes on.
Knows nothing of photos or models.
"""

import heapq
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from annotator.datasets.tags import tag_key

NUM_COMMON, NUM_NEXT = 60, 20
"""Most tags that are brought up because they are usual, or because they follow the last settled one."""
DOUBT = 3.0
"""Imagined photos in which something else followed."""
PRIOR_PHOTOS = 2.0
"""Imagined photos in which two tags go together as by chance."""
LEAST_SHARE = 1e-3
START = ""
"""What the first tag of a list follows."""


@dataclass(frozen=True)
class Habit:
    """What is usual about one open tag."""

    count: float
    """Log of the share of tagged photos that carry it."""
    next: float
    """Of the lists that go on after the last settled tag, how many do so with it: -log(1 - share)."""
    together: float
    """Log of how much more often it stands behind the settled tags than anywhere."""
    place: float
    """How far it usually stands from the place that is to be filled, as a negative number."""
    is_unused: bool


@dataclass(frozen=True)
class UsualTag:
    """A tag that is usual at this point of a list."""

    tag: str
    share: float
    """Of the lists that `text` counts."""
    text: str
    """The reason, as a clause a person reads."""


@dataclass(frozen=True)
class OthersTagStatistics:
    """The habits that count for one photo: those of all others."""

    habits: "TagStatistics"
    own: tuple[str, ...] = ()
    """The photo's saved list."""

    def usual(self, settled: Sequence[str]) -> list[UsualTag]:
        """Return `Habits.usual` of the other photos."""
        return self.habits.usual(settled, self.own)

    def of(self, tags: Collection[str], settled: Sequence[str]) -> list[Habit]:
        """Return `Habits.of` of the other photos."""
        return self.habits.of(tags, settled, self.own)


class TagStatistics:
    """Keeps the counts; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_lists = 0
        self._count: Counter[str] = Counter()
        self._spelling: dict[str, str] = {}
        self._places: Counter[str] = Counter()
        """Sum of the places, from 0, at which a tag stands."""
        self._next: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._behind: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Tag -> the tags that stand anywhere behind it."""
        self._common: list[str] | None = None

    def note(self, tags: Sequence[str], change: int) -> None:
        """Note that a photo's list was saved (+1), or is no longer (-1).

        Args:
            tags: The whole list, most important first.
            change: +1 or -1.
        """
        with self._lock:
            self._note(tags, change)

    def _note(self, tags: Sequence[str], change: int) -> None:
        spelling = {tag_key(tag): tag for tag in tags}
        keys = list(spelling)
        if not keys:
            return
        self._num_lists += change
        self._common = None
        self._spelling |= spelling
        for place, key in enumerate(keys):
            _change(self._count, key, change)
            self._places[key] += place * change
            _change(self._next[keys[place - 1] if place else START], key, change)
            for before in keys[:place]:
                _change(self._behind[before], key, change)

    @contextmanager
    def _beside(self, own: Sequence[str]) -> Iterator[None]:
        """Hold the lock; meanwhile a photo's own list does not count."""
        with self._lock:
            self._note(own, -1)
            try:
                yield
            finally:
                self._note(own, +1)

    def usual(self, settled: Sequence[str], own: Sequence[str] = ()) -> list[UsualTag]:
        """Return tags that a list often goes on with, none of them settled.

        Args:
            settled: The tags so far, most important first.
            own: The saved list of the photo in hand, which does not count.
        """
        keys = list(map(tag_key, settled))
        last = keys[-1] if keys else START
        with self._beside(own):
            if self._common is None:
                self._common = _most(self._count, NUM_COMMON)
            followers = self._next[last] if last in self._next else Counter[str]()
            total = self._count.get(last, 0) if keys else self._num_lists
            found = {
                key: UsualTag(
                    self._spelling[key],
                    num / (total + DOUBT),
                    f"after “{settled[-1]}” it came next in {num} of {total} list{'s' * (total != 1)}"
                    if settled
                    else f"{num} of {total} lists begin{'s' * (num == 1)} with it",
                )
                for key in _most(followers, NUM_NEXT)
                for num in (followers[key],)
            }
            for key in self._common:
                if key not in found:
                    num, lists = self._count[key], self._num_lists
                    text = f"usual here: {num} of {lists} tagged photos carr{'ies' if num == 1 else 'y'} it"
                    found[key] = UsualTag(self._spelling[key], num / (lists + DOUBT), text)
        return [usual for key, usual in found.items() if key not in keys]

    def of(self, tags: Collection[str], settled: Sequence[str], own: Sequence[str] = ()) -> list[Habit]:
        """Return what is usual of open tags.

        Args:
            tags: The open tags.
            settled: The tags so far, most important first.
            own: The saved list of the photo in hand, which does not count.
        """
        keys = list(map(tag_key, settled))
        with self._beside(own):
            followers = self._next.get(keys[-1] if keys else START, Counter())
            total = followers.total()
            return [self._habit(tag_key(tag), keys, followers, total) for tag in tags]

    def _habit(self, key: str, settled: Sequence[str], followers: Counter[str], total: int) -> Habit:
        num, lists = self._count.get(key, 0), self._num_lists
        share = num / (lists + 1)
        together = 0.0
        for before in settled:
            behind = self._behind[before].get(key, 0) if before in self._behind else 0
            shared = (behind + PRIOR_PHOTOS * share) / (self._count.get(before, 0) + PRIOR_PHOTOS)
            together += math.log((shared + LEAST_SHARE) / (share + LEAST_SHARE))
        place = 0.0
        if num:
            place = -abs(self._places[key] / num - len(settled)) / 3 * num / (num + 2)
        return Habit(
            count=math.log((num + 0.5) / (lists + 1)),
            next=-math.log(1 - min(followers.get(key, 0) / (total + DOUBT), 0.995)),
            together=together / math.sqrt(max(1, len(settled))),
            place=place,
            is_unused=not num,
        )


def _change(counter: Counter[str], key: str, change: int) -> None:
    counter[key] += change
    if counter[key] <= 0:
        del counter[key]


def _most(counter: Counter[str], num: int) -> list[str]:
    """Return the keys with the highest counts; of equals the first of the alphabet."""
    return heapq.nsmallest(num, counter, key=lambda key: (-counter[key], key))
