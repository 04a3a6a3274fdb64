"""The vocabulary of a project: its tags with their counts, spellings and aliases, and completions of typed text.

Knows nothing of images or databases; each save updates the counts.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annotator.datasets.tags import search_key, tag_key
from annotator.datasets.word_forms import form_key
from annotator.models.word_vectors.word_vector_files import Vectors
from annotator.proposals.vocabulary.lexicon import Lexicon
from annotator.proposals.vocabulary.odds import (
    EVERYDAY,
    EXACT,
    FROM_LEXICON,
    LATER_WORD,
    LEAST_LOG_ODDS,
    LOG_COUNT,
    LOG_FORM,
    LOG_LISTS,
    LOG_SCORE,
    LOWEST_SCORE,
    NUM_FEATURES,
    OTHER_FORM,
    SCORED,
    USED,
    describe_seen,
    log_odds,
)
from annotator.proposals.vocabulary.phrases import WordUse, phrases

MAX_COMPLETIONS = 9
"""One for each digit key."""
LEAST_SCORE = 0.02
"""Least score of a completion that is shown as the model's."""
NUM_LOOKED_AT = 40
"""Words of the lexicon that are looked for in the photo: the most likely ones by what is known without it."""
NEARLY_IN_FULL = 0.8
"""Share of a word's letters after which it is offered however unlikely it is: names and inflected verbs."""


WordScores = Callable[[tuple[str, ...]], Mapping[str, float]]
"""Words -> the score of each for the open photo; words without one are left out."""


def no_word_scores(words: tuple[str, ...]) -> Mapping[str, float]:
    """Return no scores, where there is no open vocabulary."""
    return {}


@dataclass(frozen=True)
class CompletionCandidates:
    """The candidates for a typed text."""

    keys: Sequence[str]
    """N tag keys."""
    features: Vectors
    """(N, F) float32, as odds.py names them."""
    scored: Mapping[str, tuple[str, float]]
    """Tag key -> (tag, score for the photo)."""


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
        aliases: Key of an imported alias -> its tag; a tag that was renamed here comes before it.
        spellings: Key of an imported tag -> its spelling, which counts until the project uses the tag.
    """

    def __init__(
        self,
        words: Iterable[str],
        aliases: Mapping[str, str] | None = None,
        spellings: Mapping[str, str] | None = None,
    ) -> None:
        words = list(words)
        self._imported_spellings = dict(spellings or {})
        self._imported_aliases = dict(aliases or {})
        self._lock = threading.Lock()
        self._lexicon: Lexicon | None = None
        self._subject: Vectors | None = None
        self._word_rank = {tag_key(word): rank for rank, word in enumerate(dict.fromkeys(words))}
        self._spelling: dict[str, str] = {}
        self._aliases: dict[str, str] = dict(self._imported_aliases)
        self._count: dict[str, int] = {}
        self._in_use: tuple[str, ...] | None = ()
        self._word_use: WordUse | None = None
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
            self._subject = self._word_use = None
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
        self._aliases = {**self._imported_aliases, **aliases}

    def aliases(self) -> dict[str, str]:
        """Return the present tag of every alias and former name, by its key."""
        return dict(self._aliases)

    def renamed(self, tag: str) -> str:
        """Return the present name of a tag that was renamed or merged, else the tag itself."""
        return self._aliases.get(tag_key(tag), tag)

    def spelling(self, tag: str, own: Collection[str] = ()) -> str:
        """Return the present name of a tag in the project's spelling.

        Args:
            tag: The tag in any spelling.
            own: The saved tags of the photo that gets it: if it is the only one with this tag, the given spelling is
                the project's from now on.
        """
        tag = self.renamed(tag)
        key = tag_key(tag)
        count = self._count.get(key)
        if not count or (count == 1 and any(tag_key(other) == key for other in own)):
            return tag if count else self._imported_spellings.get(key, tag)
        return self._spelling.get(key, tag)

    def use_spelling(self, tag: str) -> None:
        """Use this spelling of a tag from now on: it was changed on all photos."""
        with self._lock:
            self._spelling[tag_key(tag)] = tag
            self._in_use = None

    def aliases_with(self, term: str) -> list[str]:
        """Return the present names of renamed, merged and aliased tags whose former name contains a search key."""
        return [tag for former, tag in self._aliases.items() if term in search_key(former)]

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

    def complete(
        self,
        text: str,
        scores: Mapping[str, float],
        exclude: Collection[str] = (),
        word_scores: WordScores = no_word_scores,
        kept: Collection[str] = (),
    ) -> list[Completion]:
        """Return at most ``MAX_COMPLETIONS`` completions of a text, best first.

        They are ranked by the probability that the person means them, given the photo's scores, the project's tags and
        the typed text (odds.py). Before all others comes the text itself if the project or the everyday words have it.
        The lexicon completes the last word of the text.

        Args:
            text: Typed text; empty gives no completions.
            scores: Tag in any spelling -> score for this photo.
            exclude: Tags that are left out: the kept ones.
            word_scores: Words -> score for this photo, asked for words that have none.
            kept: Tags on the photo, whose words continue a tag of several words.
        """
        candidates = self.candidates(text, scores, exclude, word_scores, kept)
        if candidates is None:
            return []
        typed = typed_key(text)
        order = np.argsort(-log_odds(candidates.features), kind="stable").tolist()
        order.sort(key=lambda place: candidates.keys[place] != typed or not self.knows(typed))
        completions = []
        for place in order[:MAX_COMPLETIONS]:
            key = candidates.keys[place]
            proposed, score = candidates.scored.get(key, ("", None))
            is_likely = score is not None and score >= LEAST_SCORE
            source = "model" if is_likely else "project" if self._count.get(key) else "words"
            completions.append(Completion(self._spelling.get(key) or proposed or key, score, source))
        return completions

    def candidates(
        self,
        text: str,
        scores: Mapping[str, float],
        exclude: Collection[str] = (),
        word_scores: WordScores = no_word_scores,
        kept: Collection[str] = (),
    ) -> CompletionCandidates | None:
        """Return the candidates for a text with the features by which `complete` ranks them; None without any."""
        typed = typed_key(text)
        if not typed.strip():
            return None
        scored: dict[str, tuple[str, float]] = {}
        by_form: dict[str, float] = {}
        for tag, value in scores.items():
            scored.setdefault(tag_key(self.renamed(tag)), (self.spelling(tag), value))
            by_form[form_key(tag)] = max(value, by_form.get(form_key(tag), 0.0))
        excluded = {tag_key(tag) for tag in exclude}
        with self._lock:
            found = {key: key.startswith(typed) for key in scored if any(s.startswith(typed) for s, _ in _starts(key))}
            at = bisect_left(self._starts, (typed, ""))
            while at < len(self._starts) and self._starts[at][0].startswith(typed):
                key = self._starts[at][1]
                found[key] = key.startswith(typed)
                at += 1
            # A tag that no photo has any more was probably a typing error: it is not offered.
            excluded |= self._aliases.keys()
            keys = [key for key in found if key not in excluded and (key in scored or self.knows(key))]
            last_rank = len(self._word_rank)
            keys.sort(key=lambda key: (-self._count.get(key, 0), self._word_rank.get(key, last_rank), key))  # for ties
            features = np.zeros((len(keys), NUM_FEATURES), np.float32)
            for row, key in zip(features, keys, strict=True):
                self._describe(row, key, typed, found[key], scored, by_form)
            if self._word_use is None:
                self._word_use = WordUse(self._count)
            score_of = {key: score for key, (_, score) in scored.items()}
            put_together, of_phrases = phrases(typed, kept, score_of, self._word_use, {*found, *excluded})
            keys += put_together
            features = np.concatenate([features, of_phrases])
            lexicon, subject = self._lexicon, self._subject_of_tags()
        if lexicon is None or subject is None:
            return CompletionCandidates(keys, features, scored) if keys else None
        features[:, FROM_LEXICON] = lexicon.describe([key.rpartition(" ")[2] for key in keys], subject)
        before, space, last = typed.rpartition(" ")
        others = {*found, *put_together}
        words = [word for word in lexicon.start_with(last) if f"{before}{space}{word}" not in others]
        new = [f"{before}{space}{word}" for word in words]
        of_words = np.zeros((len(new), NUM_FEATURES), np.float32)
        of_words[:, FROM_LEXICON] = lexicon.describe(words, subject)
        of_words[:, EXACT] = [word == typed for word in new]
        is_short = np.array([len(last) < NEARLY_IN_FULL * len(word) for word in words], np.bool_)
        best = np.argsort(-log_odds(of_words), kind="stable")[:NUM_LOOKED_AT].tolist()
        best = [place for place in best if new[place] not in excluded]
        seen = word_scores(tuple(words[place] for place in best))
        for place in best:
            describe_seen(of_words[place], seen.get(words[place]), by_form.get(form_key(words[place])))
        chosen = [place for place in best if not is_short[place] or log_odds(of_words[place]) >= LEAST_LOG_ODDS]
        keys += [new[place] for place in chosen]
        features = np.concatenate([features, of_words[chosen]])
        return CompletionCandidates(keys, features, scored) if keys else None

    def _describe(
        self,
        row: Vectors,
        key: str,
        typed: str,
        is_start: bool,
        scored: Mapping[str, tuple[str, float]],
        by_form: Mapping[str, float],
    ) -> None:
        """Fill the (F,) features of a known tag, but those of the lexicon."""
        count = self._count.get(key, 0)
        if count:
            row[USED], row[LOG_COUNT], row[LOG_LISTS] = 1, np.log(count), np.log1p(self.num_lists)
        if key in scored:
            row[SCORED], row[LOG_SCORE] = 1, np.log(max(scored[key][1], LOWEST_SCORE))
        elif (of_form := by_form.get(form_key(key))) is not None:
            row[OTHER_FORM], row[LOG_FORM] = 1, np.log(max(of_form, LOWEST_SCORE))
        if key in self._word_rank:
            row[EVERYDAY] = 1
        row[LATER_WORD], row[EXACT] = not is_start, key == typed

    def _subject_of_tags(self) -> Vectors | None:
        if self._subject is None and self._lexicon is not None:
            self._subject = self._lexicon.subject(self._count)
        return self._subject


def typed_key(text: str) -> str:
    """Return the key of a typed text; a space at its end stays, since it says that the last word is complete."""
    return f"{tag_key(text)} " if text != text.rstrip() else tag_key(text)


def _starts(key: str) -> list[tuple[str, str]]:
    words = key.split(" ")
    return [(" ".join(words[first:]), key) for first in range(len(words))]
