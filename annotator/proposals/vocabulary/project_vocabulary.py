"""Completions for the add box: the project's own tags first, by the model's score, then everyday words.

Knows nothing of images or stores; it is told which tags were saved.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from annotator.datasets.tags import tag_key
from annotator.models.word_vectors.word_vector_files import Vectors
from annotator.proposals.vocabulary.lexicon import Lexicon

MAX_COMPLETIONS = 9
"""As many as there are digits to take them by."""
LEAST_SCORE = 0.02
"""Below it a score says less than how often a tag is used here."""
FAINT_SCORE = 0.002
"""Below it a score says less than what the project's tags are about."""


@dataclass(frozen=True)
class Completion:
    """One tag that continues what was typed."""

    tag: str
    score: float | None
    """The proposal's score, where the tag is proposed."""
    source: str
    """``model``, ``project`` or ``words``; ``meaning`` for a tag of nearly the same meaning (similar_tags.py)."""


class ProjectVocabulary:
    """Completes tags; also decides which of several spellings a tag is kept under.

    Args:
        words: Everyday words, the most common first.
    """

    def __init__(self, words: Iterable[str]) -> None:
        words = list(words)
        self._lock = threading.Lock()
        self._lexicon: Lexicon | None = None
        self._subject: Vectors | None = None
        self._word_rank = {tag_key(word): rank for rank, word in enumerate(dict.fromkeys(words))}
        self._spelling: dict[str, str] = {}
        self._aliases: dict[str, str] = {}
        self._count: dict[str, int] = {}
        self._in_use: tuple[str, ...] | None = ()
        self.num_lists = 0
        """How many images' tags are counted."""
        # Every start of a word inside a tag, so that "li" finds "traffic light": (start, tag's key), sorted.
        self._starts: list[tuple[str, str]] = []
        for key in self._word_rank:
            self._starts.extend(_starts(key))
        self._starts.sort()
        for word in words:
            self._spelling.setdefault(tag_key(word), word)

    def count(self, tags: Collection[str], change: int) -> None:
        """Note that an image gained (+1) or lost (-1) these tags."""
        with self._lock:
            self.num_lists += change
            self._subject = None
            for tag in tags:
                key = tag_key(tag)
                if key not in self._count:
                    self._count[key] = 0
                    if key not in self._word_rank:
                        for start in _starts(key):
                            insort(self._starts, start)
                if not self._count[key]:
                    self._spelling[key] = tag
                before, self._count[key] = self._count[key], max(0, self._count[key] + change)
                if bool(before) != bool(self._count[key]):
                    self._in_use = None

    def set_aliases(self, aliases: Mapping[str, str]) -> None:
        """Take over what old tags are called now.

        Args:
            aliases: The old tag's key -> the tag that it became.
        """
        self._aliases = dict(aliases)

    def renamed(self, tag: str) -> str:
        """Return what a tag became, or the tag as it is."""
        return self._aliases.get(tag_key(tag), tag)

    def spelling(self, tag: str) -> str:
        """Return what the project calls a tag: what it became, in the spelling in use; or the tag as it is."""
        tag = self.renamed(tag)
        key = tag_key(tag)
        return self._spelling.get(key, tag) if self._count.get(key) else tag

    def num_photos(self, tag: str) -> int:
        """Return how many images of the project carry a tag."""
        return self._count.get(tag_key(tag), 0)

    def is_used(self, tag: str) -> bool:
        """Tell whether an image of the project carries a tag."""
        return bool(self._count.get(tag_key(tag)))

    def tags_in_use(self) -> tuple[str, ...]:
        """Return the tags that images of the project carry, as they are spelled here, the most frequent first."""
        with self._lock:
            if self._in_use is None:
                used = sorted((-count, key) for key, count in self._count.items() if count)
                self._in_use = tuple(self._spelling[key] for _, key in used)
            return self._in_use

    def common_tags(self, least: int) -> tuple[str, ...]:
        """Return the tags in use that at least so many images carry, the most frequent first."""
        return tuple(tag for tag in self.tags_in_use() if self.num_photos(tag) >= least)

    def knows(self, word: str) -> bool:
        """Tell whether a word is an everyday word or a tag in use."""
        return tag_key(word) in self._word_rank or self.is_used(word)

    def use_lexicon(self, lexicon: Lexicon) -> None:
        """Complete any word from now on, the nearest to the project's tags first."""
        with self._lock:
            self._lexicon, self._subject = lexicon, None

    def complete(self, text: str, scores: Mapping[str, float], exclude: Collection[str] = ()) -> list[Completion]:
        """Return at most ``MAX_COMPLETIONS`` tags that the text could become, best first.

        A tag that starts with the text goes before one where a later word does; within these, likely tags by
        score, then tags in use by frequency, then words by how near they are to the project's tags (once there are
        any, and a lexicon), then everyday words by how common they are. Of several words the last is completed too.

        Args:
            text: What was typed so far; empty gives nothing.
            scores: Tag -> how likely it is for this photo, by any spelling.
            exclude: Tags already settled.
        """
        typed = tag_key(text)
        if not typed:
            return []
        by_key: dict[str, tuple[str, float]] = {}
        for tag, chance in scores.items():
            by_key.setdefault(tag_key(self.renamed(tag)), (self.spelling(tag), chance))
        barred = {tag_key(tag) for tag in exclude}
        with self._lock:
            found = {key: key.startswith(typed) for key in by_key if any(s.startswith(typed) for s, _ in _starts(key))}
            at = bisect_left(self._starts, (typed, ""))
            while at < len(self._starts) and self._starts[at][0].startswith(typed):
                key = self._starts[at][1]
                found[key] = key.startswith(typed)
                at += 1
            # A tag that no photo carries any more was a slip of the fingers.
            barred |= self._aliases.keys()
            keys = [key for key in found if key not in barred and (key in by_key or self.knows(key))]
            near = {key: place for place, key in enumerate(self._near_words(typed)) if key not in barred}
            keys += [key for key in near if key not in found]
            found |= dict.fromkeys(near, True)
            last = len(self._word_rank)
            keys.sort(
                key=lambda key: (
                    key != typed,
                    not found[key],
                    -score if (score := by_key.get(key, ("", 0.0))[1]) >= LEAST_SCORE else 0.0,
                    -self._count.get(key, 0),
                    -score if score >= FAINT_SCORE else 0.0,
                    near.get(key, MAX_COMPLETIONS),
                    -score,
                    self._word_rank.get(key, last),
                    key,
                )
            )
            completions = []
            for key in keys[:MAX_COMPLETIONS]:
                proposed, score = by_key.get(key, ("", None))
                is_likely = score is not None and score >= LEAST_SCORE
                source = "model" if is_likely else "project" if self._count.get(key) else "words"
                completions.append(Completion(self._spelling.get(key) or proposed or key, score, source))
            return completions

    def _near_words(self, typed: str) -> list[str]:
        """Return what was typed with its last word completed, the nearest to the project's tags first."""
        if self._lexicon is None or not self.num_lists:
            return []
        if self._subject is None:
            self._subject = self._lexicon.subject(self._count)
        before, space, last = typed.rpartition(" ")
        return [f"{before}{space}{word}" for word in self._lexicon.complete(last, self._subject, MAX_COMPLETIONS)]


def _starts(key: str) -> list[tuple[str, str]]:
    words = key.split(" ")
    return [(" ".join(words[first:]), key) for first in range(len(words))]
