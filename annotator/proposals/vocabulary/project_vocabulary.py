"""The vocabulary of a project: its tags with their counts, spellings and aliases, and completions of typed text.

Knows nothing of images or databases; each save updates the counts.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from annotator.datasets.tags import tag_key
from annotator.models.word_vectors.word_vector_files import Vectors
from annotator.proposals.vocabulary.lexicon import Lexicon

MAX_COMPLETIONS = 9
"""One for each digit key."""
LEAST_SCORE = 0.02
"""Lower scores rank after the frequency of a tag in the project."""
FAINT_SCORE = 0.002
"""Lower scores rank after the similarity to the project's tags."""


@dataclass(frozen=True)
class Completion:
    """One completion of typed text."""

    tag: str
    score: float | None
    """The tag's score for the photo, if it has one."""
    source: str
    """``model``, ``project``, ``words`` or, for a tag of similar meaning, ``meaning`` (similar_tags.py)."""


class ProjectVocabulary:
    """Tags of a project and everyday words; completes text and gives each tag its spelling.

    Args:
        words: Everyday words, the most frequent first.
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
        """Number of images whose tags are counted."""
        # The rest of each tag from each of its words on, so that "li" finds "traffic light": (rest, tag's key), sorted.
        self._starts: list[tuple[str, str]] = []
        for key in self._word_rank:
            self._starts.extend(_starts(key))
        self._starts.sort()
        for word in words:
            self._spelling.setdefault(tag_key(word), word)

    def count(self, tags: Collection[str], change: int) -> None:
        """Count the tags of one image.

        Args:
            tags: All tags of the image.
            change: +1 adds them, -1 removes them.
        """
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
        """Set the present names of renamed and merged tags.

        Args:
            aliases: Key of the old tag -> the present tag.
        """
        self._aliases = dict(aliases)

    def renamed(self, tag: str) -> str:
        """Return the present name of a tag that was renamed or merged, else the tag itself."""
        return self._aliases.get(tag_key(tag), tag)

    def spelling(self, tag: str) -> str:
        """Return the present name of a tag in the project's spelling."""
        tag = self.renamed(tag)
        key = tag_key(tag)
        return self._spelling.get(key, tag) if self._count.get(key) else tag

    def num_photos(self, tag: str) -> int:
        """Return the number of images of the project that have a tag."""
        return self._count.get(tag_key(tag), 0)

    def is_used(self, tag: str) -> bool:
        """Tell whether an image of the project has a tag."""
        return bool(self._count.get(tag_key(tag)))

    def tags_in_use(self) -> tuple[str, ...]:
        """Return the tags of the project in its spelling, the most frequent first."""
        with self._lock:
            if self._in_use is None:
                used = sorted((-count, key) for key, count in self._count.items() if count)
                self._in_use = tuple(self._spelling[key] for _, key in used)
            return self._in_use

    def common_tags(self, least: int) -> tuple[str, ...]:
        """Return the tags in use that at least `least` images have, the most frequent first."""
        return tuple(tag for tag in self.tags_in_use() if self.num_photos(tag) >= least)

    def knows(self, word: str) -> bool:
        """Tell whether a word is an everyday word or a tag in use."""
        return tag_key(word) in self._word_rank or self.is_used(word)

    def use_lexicon(self, lexicon: Lexicon) -> None:
        """Complete also words that are new to the project, with this lexicon."""
        with self._lock:
            self._lexicon, self._subject = lexicon, None

    def complete(self, text: str, scores: Mapping[str, float], exclude: Collection[str] = ()) -> list[Completion]:
        """Return at most ``MAX_COMPLETIONS`` completions of a text, best first.

        Tags that start with the text are before tags in which a later word does. Within both groups the order is: tags
        with a score by score, tags in use by frequency, words of the lexicon by their similarity to the project's tags,
        everyday words by frequency. The lexicon completes the last word of the text.

        Args:
            text: Typed text; empty gives no completions.
            scores: Tag in any spelling -> score for this photo.
            exclude: Tags that are left out: the kept ones.
        """
        typed = tag_key(text)
        if not typed:
            return []
        by_key: dict[str, tuple[str, float]] = {}
        for tag, value in scores.items():
            by_key.setdefault(tag_key(self.renamed(tag)), (self.spelling(tag), value))
        excluded = {tag_key(tag) for tag in exclude}
        with self._lock:
            found = {key: key.startswith(typed) for key in by_key if any(s.startswith(typed) for s, _ in _starts(key))}
            at = bisect_left(self._starts, (typed, ""))
            while at < len(self._starts) and self._starts[at][0].startswith(typed):
                key = self._starts[at][1]
                found[key] = key.startswith(typed)
                at += 1
            # A tag that no photo has any more was probably a typing error: it is not offered.
            excluded |= self._aliases.keys()
            keys = [key for key in found if key not in excluded and (key in by_key or self.knows(key))]
            near = {key: place for place, key in enumerate(self._near_words(typed)) if key not in excluded}
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
        """Return the typed text with its last word completed by the lexicon, best first."""
        if self._lexicon is None or not self.num_lists:
            return []
        if self._subject is None:
            self._subject = self._lexicon.subject(self._count)
        before, space, last = typed.rpartition(" ")
        return [f"{before}{space}{word}" for word in self._lexicon.complete(last, self._subject, MAX_COMPLETIONS)]


def _starts(key: str) -> list[tuple[str, str]]:
    words = key.split(" ")
    return [(" ".join(words[first:]), key) for first in range(len(words))]
