"""Cold start: tags before any training, from ImageNet's 1,000 classes and WordNet's hypernyms.

The table imagenet_tags.tsv maps each class to everyday words: its own ("tabby"), those of its WordNet hypernyms (cat,
pet, animal) and some that often occur with it ("ski" -> snow), each with the share of the class's photos in which the
word is right. Nouns that nobody would type ("placental", "artifact") have no word.

Score: the sum over the classes of max(probability - NOISE, 0) x share; it lies in [0, 1] and is the confidence in a
word. Without the subtraction, "animal" would score 0.4 in a photo of none of the classes, as 398 of the 1,000 classes
are animals. Since P(animal) >= P(cat) >= P(tabby), the score alone would rank the broadest word first, so the order
is by

    utility = score x UTILITY[level],   level = basic (cat) | specific (tabby) | general (animal)

after Rosch's basic level: people say "cat" first. If no basic word has a high score, the general one ranks first. A
word with a score below FLOORS[level] is not proposed, so that a photo of no class gets few words or none.

Chains: of two basic or two general words of which one includes the other (computer and laptop, animal and pet), the
second goes to the end of the list; the narrower one is first if it has at least NEAR_SHARE of the other's score. Of
specific words on one chain, or under one basic word (tabby and Siamese cat exclude each other), only the best is
proposed.

Prefix: a kept word is right, so the classes without it have their probability multiplied by UNSUPPORTED_SHARE before
all are normalised to sum 1. Thus "cat" raises "tabby" and lowers "dog", and "animal" raises the likeliest animal; a
word that is not in the table changes nothing. A dropped word lowers its classes in the same way, unless it is a
general one: "animal" may be dropped as too broad, which is no evidence against "cat".

Shapes: features (B, D) float32 -> probabilities (B, 1000) -> scores (B, W) float32 over the table's W words.
Knows nothing of projects, photos or how features are made.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from typing import Protocol

import numpy as np
import numpy.typing as npt

from annotator.datasets.tags import tag_key
from annotator.datasets.word_forms import form_key
from annotator.models.reranker import IDENTITY
from annotator.models.tagger import Capabilities, Features, RankedTag

NUM_CLASSES = 1000
UTILITY = {"basic": 1.0, "specific": 0.7, "general": 0.6}
"""Weight of a word's score by level."""
FLOORS = {"basic": 0.25, "specific": 0.4, "general": 0.25}
"""Lowest score of a proposed word by level."""
NOISE = 0.01
"""Subtracted from each class probability. Among 8,000 everyday photos, of those with a score of 0.4 to 0.5 for
"animal", 42% showed one without the subtraction and 88% with it."""
UNSUPPORTED_SHARE = 0.3
"""Factor of a class's probability if a kept word does not belong to it, or a dropped one does."""
NEAR_SHARE = 0.8
"""Of two words on one chain, the narrower ranks first if it has this share of the broader one's score."""
MAX_EVIDENCE = 3
"""Most classes in the evidence of a word."""
LEAST_CLASS = 1e-4
"""Probability below which classes do not differ in `ColdStartTagger.class_odds`."""


class Classifier(Protocol):
    """The part of a backbone that the tagger needs."""

    feature_size: int

    @property
    def class_weights(self) -> Features:
        """The classifier's weights, (D, 1000)."""
        ...

    def classify(self, features: Features) -> Features:
        """Return (B, 1000) ImageNet probabilities of (B, D) features."""
        ...


@dataclass(frozen=True)
class TableRow:
    """One line of imagenet_tags.tsv."""

    synset: str
    """WordNet 3.0 noun offset; "-" for a word without a synset."""
    class_index: int | None
    parents: tuple[str, ...]
    level: str
    tag: str
    also: dict[str, float] = field(hash=False)
    """Further words -> the share of photos in which they are right."""
    excluded: tuple[str, ...]
    """Words of the hypernyms that do not apply here."""
    name: str


@dataclass(frozen=True)
class TagTable:
    """The W words, and their weights for each class."""

    words: list[str]
    levels: list[str]
    weights: npt.NDArray[np.float32]
    """(1000, W): share of the class's photos in which the word is right; 1 for its own and its hypernyms' words."""
    class_names: list[str]
    narrower: list[frozenset[int]]
    """For each word, the words of its level that it includes."""
    excluding: list[frozenset[int]]
    """For each specific word, the specific words beside which it is not proposed."""
    ids: dict[str, int]
    """From a word's key to its column."""

    @cached_property
    def forms(self) -> dict[str, int]:
        """From a word's form key to its column."""
        return {form_key(word): column for word, column in self.ids.items()}

    @cached_property
    def by_chance(self) -> npt.NDArray[np.float64]:
        """(W,): the mean weight of each word over the classes."""
        means: npt.NDArray[np.float64] = self.weights.mean(axis=0, dtype=np.float64)
        return means

    @cached_property
    def floors(self) -> npt.NDArray[np.float64]:
        """(W,): the lowest score at which each word is proposed."""
        return np.array([FLOORS[level] for level in self.levels])

    @cached_property
    def utilities(self) -> npt.NDArray[np.float64]:
        """(W,): the weight of each word's level."""
        return np.array([UTILITY[level] for level in self.levels])


def read_rows(text: str) -> list[TableRow]:
    """Parse the table; lines that start with # are comments, the first other line is the header."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [_read_row(line) for line in lines[1:]]


def build_table(rows: Iterable[TableRow]) -> TagTable:
    """Compute the weights from rows, following the hypernyms.

    Raises:
        ValueError: A class or synset is missing or repeated, or a word does not have exactly one level.
    """
    rows = list(rows)
    levels = _levels(rows)
    words = list(levels)
    ids = {word: column for column, word in enumerate(words)}
    by_synset = {row.synset: row for row in rows if row.synset != "-"}
    leaves = {row.class_index: row for row in rows if row.class_index is not None}
    if sorted(leaves) != list(range(NUM_CLASSES)) or len(by_synset) != sum(row.synset != "-" for row in rows):
        raise ValueError(f"The table must hold every class of {NUM_CLASSES} and every synset once.")
    inherited: dict[str, dict[str, float]] = {}
    weights = np.zeros((NUM_CLASSES, len(words)), np.float32)
    for class_index, leaf in leaves.items():
        for word, weight in _inherit(leaf, by_synset, inherited).items():
            weights[class_index, ids[word]] = weight
    members = [frozenset(np.flatnonzero(column == 1).tolist()) for column in weights.T]
    return TagTable(
        words=words,
        levels=list(levels.values()),
        weights=weights,
        class_names=[leaves[index].name for index in range(NUM_CLASSES)],
        narrower=_find_narrower(list(levels.values()), members),
        excluding=_find_excluding(list(levels.values()), members),
        ids={tag_key(word): column for word, column in ids.items()},
    )


@cache
def load_table() -> TagTable:
    """Return the table of the package."""
    source = resources.files("annotator.models") / "imagenet_tags.tsv"
    return build_table(read_rows(source.read_text(encoding="utf-8")))


class ColdStartTagger:
    """Ranks everyday words by ImageNet class probabilities.

    Args:
        backbone: The backbone of the features, with its classifier.
        table: Another table, for tests; None is that of the package.
    """

    name = "cold_start"
    version = "1"
    capabilities = Capabilities(is_trained=False)
    reranker = IDENTITY

    def __init__(self, backbone: Classifier, *, table: TagTable | None = None) -> None:
        self._backbone = backbone
        self._table = table if table is not None else load_table()

    def allowed_words(self) -> list[str]:
        """Return every word this tagger can propose, in alphabetical order."""
        return sorted(self._table.words, key=tag_key)

    def trained_words(self) -> list[str]:
        """Return `allowed_words`: none is derived from other tags."""
        return self.allowed_words()

    @cached_property
    def has_classes(self) -> bool:
        """Whether the backbone has ImageNet's classifier; without it, this tagger proposes nothing."""
        return bool(np.any(self._backbone.class_weights))

    def class_probabilities(self, features: Features) -> Features:
        """Return (B, 1000) ImageNet probabilities of (B, D) features."""
        return self._backbone.classify(features)

    def word_column(self, key: str) -> int | None:
        """Return the place of a word among the W of `class_odds`; None: the table does not have it.

        Args:
            key: As `tag_key` returns it; another form of the word is found too.
        """
        column = self._table.ids.get(key)
        return self._table.forms.get(form_key(key)) if column is None else column

    def class_odds(self, features: Features) -> npt.NDArray[np.float64]:
        """Return how much likelier one photo makes the classes of each word than chance does.

        Args:
            features: (D,) float32.

        Returns:
            (W,) log((s + e) / (b + e)): s the probability of the word's classes, each times the word's share in it, b
            the same of a photo in which all classes are equally likely, e = LEAST_CLASS.

        Raises:
            ValueError: The feature size does not fit.
        """
        probabilities = (self._backbone.classify(features[None])[0] @ self._table.weights).astype(np.float64)  # (W,)
        odds: npt.NDArray[np.float64] = np.log((probabilities + LEAST_CLASS) / (self._table.by_chance + LEAST_CLASS))
        return odds

    def probabilities(self, features: Features) -> None:
        """Return None: a score depends on the prefix."""

    def decode(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        *,
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
    ) -> list[list[RankedTag]]:
        """Continue each image's prefix; see `Tagger.decode`.

        Evidence: `{"classes": [[name, probability], ...]}`, the classes that contribute most to the word's score, and
        `"utility"`, by which the list is sorted.

        Raises:
            ValueError: The batch sizes or the feature size do not fit.
        """
        if features.ndim != 2 or features.shape[1] != self._backbone.feature_size:
            raise ValueError(f"Features must be (B, {self._backbone.feature_size}); their shape is {features.shape}.")
        dropped = dropped or [()] * len(features)
        if len(prefixes) != len(features) or len(dropped) != len(features):
            raise ValueError(
                f"{len(features)} features, {len(prefixes)} prefixes and {len(dropped)} dropped sets do not fit."
            )
        if len(features) == 0:
            return []
        probabilities = np.maximum(self._backbone.classify(features) - NOISE, 0)  # (B, 1000)
        return [
            self._rank(row, prefix, row_dropped, k)
            for row, prefix, row_dropped in zip(probabilities, prefixes, dropped, strict=True)
        ]

    def _rank(
        self, probabilities: Features, prefix: Sequence[str], dropped: Collection[str], k: int
    ) -> list[RankedTag]:
        kept_columns, dropped_columns = self._find_columns(prefix), self._find_columns(dropped)
        probabilities = _revise(probabilities, self._table, kept_columns, dropped_columns)
        scores = np.clip(probabilities @ self._table.weights, 0, 1)  # (W,)
        ordered = _order(scores, self._table, kept_columns, set(kept_columns) | set(dropped_columns))
        return [
            self._describe(column, float(scores[column]), utility, probabilities) for column, utility in ordered[:k]
        ]

    def _find_columns(self, tags: Collection[str]) -> list[int]:
        keys = (tag_key(tag) for tag in tags)
        return [self._table.ids[key] for key in keys if key in self._table.ids]

    def _describe(self, column: int, score: float, utility: float, probabilities: Features) -> RankedTag:
        parts = probabilities * self._table.weights[:, column]
        best = [index for index in np.argsort(-parts)[:MAX_EVIDENCE].tolist() if parts[index] >= 0.01]
        classes = [[self._table.class_names[index], round(float(probabilities[index]), 4)] for index in best]
        return RankedTag(self._table.words[column], score, {"classes": classes, "utility": utility})

    def channel_weights(self, tag: str, features: Features) -> Features | None:
        """Return how much each feature channel contributes to a tag's score in one photo, for a heat-map.

        The mean of the classifier's weights over the tag's classes, weighted by their probabilities in this photo.

        Args:
            tag: Any tag.
            features: (1, D) float32.

        Returns:
            (D,) float32, or None for a tag that is not in the table.
        """
        columns = self._find_columns([tag])
        if not columns:
            return None
        parts = self._backbone.classify(features)[0] * self._table.weights[:, columns[0]]  # (1000,)
        weights: Features = self._backbone.class_weights @ (parts / max(float(parts.sum()), 1e-6))
        return weights


def _read_row(line: str) -> TableRow:
    synset, class_index, parents, level, tag, also, name = line.split("\t")
    entries = [entry for entry in also.split(",") if entry]
    shares = [entry.rsplit(":", 1) for entry in entries if not entry.startswith("-")]
    return TableRow(
        synset=synset,
        class_index=int(class_index) if class_index else None,
        parents=tuple(parents.split(",")) if parents else (),
        level=level,
        tag=tag,
        also={word: float(share) for word, share in shares},
        excluded=tuple(entry[1:] for entry in entries if entry.startswith("-")),
        name=name,
    )


def _levels(rows: Iterable[TableRow]) -> dict[str, str]:
    levels: dict[str, str] = {}
    for row in rows:
        if row.tag and (row.level not in UTILITY or levels.setdefault(row.tag, row.level) != row.level):
            raise ValueError(f"The word {row.tag!r} must have one level of {', '.join(UTILITY)}.")
    unknown = {word for row in rows for word in (*row.also, *row.excluded)} - levels.keys()
    if unknown:
        raise ValueError(f"The words {sorted(unknown)} have no line that gives their level.")
    return levels


def _inherit(row: TableRow, by_synset: dict[str, TableRow], done: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the words of a synset with their shares: those of its parents without its exclusions, and its own."""
    if row.synset not in done:
        words: dict[str, float] = {}
        for parent in row.parents:
            for word, share in _inherit(by_synset[parent], by_synset, done).items():
                words[word] = max(share, words.get(word, 0.0))
        for word in row.excluded:
            words.pop(word, None)
        for word, share in [*row.also.items(), *([(row.tag, 1.0)] if row.tag else [])]:
            words[word] = max(share, words.get(word, 0.0))
        done[row.synset] = words
    return done[row.synset]


def _find_narrower(levels: Sequence[str], members: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Return, for each word, the words of its level whose classes are a proper subset of its classes."""
    return [
        frozenset(
            other
            for other, classes in enumerate(members)
            if classes and classes < members[word] and levels[other] == levels[word]
        )
        for word in range(len(levels))
    ]


def _find_excluding(levels: Sequence[str], members: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Return, for each specific word, those that share a class with it or lie under the same basic word."""
    specific = [word for word, level in enumerate(levels) if level == "specific" and members[word]]
    basic = [classes for classes, level in zip(members, levels, strict=True) if level == "basic" and classes]
    families = [classes for classes in basic if any(members[word] <= classes for word in specific)]
    found: list[set[int]] = [set() for _ in levels]
    for family in [*families, *(members[word] for word in specific)]:
        inside = {word for word in specific if members[word] <= family}
        for word in inside:
            found[word] |= inside - {word}
    return [frozenset(words) for words in found]


def _order(
    scores: Features, table: TagTable, kept: Sequence[int], excluded: Collection[int]
) -> list[tuple[int, float]]:
    """Return the columns to propose with their utilities, best first."""
    utilities = scores * table.utilities
    candidates = [column for column in np.flatnonzero(scores >= table.floors).tolist() if column not in excluded]
    for column in candidates:
        near = [word for word in table.narrower[column] if scores[word] >= NEAR_SHARE * scores[column]]
        if near:
            utilities[column] = min(utilities[column], 0.999 * max(utilities[word] for word in near))
    taken = set(kept)
    first: list[int] = []
    last: list[int] = []
    for column in sorted(candidates, key=lambda column: -utilities[column]):
        if table.excluding[column] & taken:
            continue
        on_chain = table.narrower[column] & taken or any(column in table.narrower[word] for word in taken)
        (last if on_chain else first).append(column)
        taken.add(column)
    ordered: list[tuple[int, float]] = []
    lowest = 1.0
    for column in first + last:
        lowest = min(lowest, float(utilities[column]))
        ordered.append((column, lowest))
    return ordered


def _revise(probabilities: Features, table: TagTable, kept: Sequence[int], dropped: Sequence[int]) -> Features:
    """Return the class probabilities given the kept and dropped columns; with the unassigned part they sum to 1."""
    unknown = 1 - probabilities.sum()  # assigned to no class
    if kept:
        support = table.weights[:, kept].max(axis=1)  # (1000,)
        probabilities = probabilities * (UNSUPPORTED_SHARE + (1 - UNSUPPORTED_SHARE) * support)
        unknown *= UNSUPPORTED_SHARE
    false = [column for column in dropped if table.levels[column] != "general"]
    if false:
        probabilities = probabilities * (1 - (1 - UNSUPPORTED_SHARE) * table.weights[:, false].max(axis=1))
    revised: Features = probabilities / (probabilities.sum() + unknown)
    return revised


COLD_START = "cold_start"
