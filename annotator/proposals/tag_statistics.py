"""Tag statistics: counts over the saved lists of a project of tags, their successors, their pairs and their places.

They depend on a photo's list, not on its content. Knows nothing of photos or models.
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
"""Most frequent tags, and most successors of the last kept tag, that are proposed."""
PRIOR_LISTS = 3.0
"""Pseudo-count of lists that continue with another tag."""
PRIOR_PHOTOS = 2.0
"""Pseudo-count of photos in which two tags are independent."""
LEAST_SHARE = 1e-3
START = ""
"""Predecessor of the first tag of a list."""


@dataclass(frozen=True)
class TagFeatures:
    """The features of one tag for a re-ranker, see models/reranker.py."""

    count: float
    """Log of the share of saved photos that have it."""
    next: float
    """-log(1 - share), with its share among the successors of the last kept tag."""
    together: float
    """Sum over the kept tags of log(its share after that tag / its share anywhere), over sqrt(kept tags)."""
    place: float
    """Minus the distance of its mean place from the next place, over 3, shrunk towards 0 for rare tags."""
    is_unused: bool


@dataclass(frozen=True)
class UsualTag:
    """A tag with which lists often continue."""

    tag: str
    share: float
    """Its share of the lists that `text` names, smoothed."""
    text: str
    """The reason, as a clause for the user."""


@dataclass(frozen=True)
class OtherPhotosStatistics:
    """The statistics of all photos but one."""

    statistics: "TagStatistics"
    own: tuple[str, ...] = ()
    """Saved list of that photo."""

    def usual(self, kept: Sequence[str]) -> list[UsualTag]:
        """Return `TagStatistics.usual` of the other photos."""
        return self.statistics.usual(kept, self.own)

    def of(self, tags: Collection[str], kept: Sequence[str]) -> list[TagFeatures]:
        """Return `TagStatistics.of` of the other photos."""
        return self.statistics.of(tags, kept, self.own)


class TagStatistics:
    """The counts; any method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_lists = 0
        self._count: Counter[str] = Counter()
        self._spelling: dict[str, str] = {}
        self._places: Counter[str] = Counter()
        """Tag -> sum of its places in lists, from 0."""
        self._next: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._after: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Tag -> counts of the tags anywhere after it."""
        self._common: list[str] | None = None

    def note(self, tags: Sequence[str], change: int) -> None:
        """Count a saved list.

        Args:
            tags: The whole list, most important first.
            change: +1 adds the list, -1 removes it.
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
                _change(self._after[before], key, change)

    @contextmanager
    def _without(self, own: Sequence[str]) -> Iterator[None]:
        """Hold the lock and leave out a photo's own list."""
        with self._lock:
            self._note(own, -1)
            try:
                yield
            finally:
                self._note(own, +1)

    def usual(self, kept: Sequence[str], own: Sequence[str] = ()) -> list[UsualTag]:
        """Return the tags with which lists often continue, without the kept ones.

        Args:
            kept: The kept tags, most important first.
            own: Saved list of the photo, which is left out.
        """
        keys = list(map(tag_key, kept))
        last = keys[-1] if keys else START
        with self._without(own):
            if self._common is None:
                self._common = _most(self._count, NUM_COMMON)
            successors = self._next[last] if last in self._next else Counter[str]()
            total = self._count.get(last, 0) if keys else self._num_lists
            found = {
                key: UsualTag(
                    self._spelling[key],
                    num / (total + PRIOR_LISTS),
                    f"after “{kept[-1]}” it came next in {num} of {total} list{'s' * (total != 1)}"
                    if kept
                    else f"{num} of {total} lists begin{'s' * (num == 1)} with it",
                )
                for key in _most(successors, NUM_NEXT)
                for num in (successors[key],)
            }
            for key in self._common:
                if key not in found:
                    num, lists = self._count[key], self._num_lists
                    found[key] = UsualTag(self._spelling[key], num / (lists + PRIOR_LISTS), usual_text(num, lists))
        return [usual for key, usual in found.items() if key not in keys]

    def of(self, tags: Collection[str], kept: Sequence[str], own: Sequence[str] = ()) -> list[TagFeatures]:
        """Return the features of each tag.

        Args:
            tags: Proposed tags.
            kept: The kept tags, most important first.
            own: Saved list of the photo, which is left out.
        """
        keys = list(map(tag_key, kept))
        with self._without(own):
            successors = self._next.get(keys[-1] if keys else START, Counter())
            total = successors.total()
            return [self._features(tag_key(tag), keys, successors, total) for tag in tags]

    def _features(self, key: str, kept: Sequence[str], successors: Counter[str], total: int) -> TagFeatures:
        num, lists = self._count.get(key, 0), self._num_lists
        share = num / (lists + 1)
        together = 0.0
        for before in kept:
            after = self._after[before].get(key, 0) if before in self._after else 0
            shared = (after + PRIOR_PHOTOS * share) / (self._count.get(before, 0) + PRIOR_PHOTOS)
            together += math.log((shared + LEAST_SHARE) / (share + LEAST_SHARE))
        place = 0.0
        if num:
            place = -abs(self._places[key] / num - len(kept)) / 3 * num / (num + 2)
        return TagFeatures(
            count=math.log((num + 0.5) / (lists + 1)),
            next=-math.log(1 - min(successors.get(key, 0) / (total + PRIOR_LISTS), 0.995)),
            together=together / math.sqrt(max(1, len(kept))),
            place=place,
            is_unused=not num,
        )


def usual_text(num: int, num_lists: int) -> str:
    """Return the reason for a frequent tag, as a clause for the user.

    Args:
        num: Tagged photos with the tag.
        num_lists: Tagged photos.
    """
    return f"usual here: {num} of {num_lists} tagged photos carr{'ies' if num == 1 else 'y'} it"


def _change(counter: Counter[str], key: str, change: int) -> None:
    counter[key] += change
    if counter[key] <= 0:
        del counter[key]


def _most(counter: Counter[str], num: int) -> list[str]:
    """Return the keys with the highest counts, ties in alphabetical order."""
    return heapq.nsmallest(num, counter, key=lambda key: (-counter[key], key))
