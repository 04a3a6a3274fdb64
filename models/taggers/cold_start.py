"""Cold start: tags before anything is trained, from ImageNet's 1,000 classes and WordNet's nouns above them.

The table imagenet_tags.tsv says which everyday words each class speaks for: its own ("tabby"), those of the WordNet
nouns above it (cat, pet, animal) and some that the class only suggests ("ski" -> snow), each with the share of photos
in which that is right. Nouns that nobody would type ("placental", "artifact") carry no word.

Score: of a word, the sum over the classes of (probability - NOISE, if positive) x share: it stays in [0, 1] and
means "how sure". Without the subtraction, a photo of which the classifier knows nothing would be an animal with
0.4, as 398 of the 1,000 classes are. As P(animal) >= P(cat) >= P(tabby), the score alone would put the broadest
word first, so the order comes from

    utility = score x UTILITY[level],   level = basic (cat) | specific (tabby) | general (animal)

after Rosch's basic level: people say "cat" first. When no basic word is sure, the general one comes first by
itself. A word below FLOORS[level] is not proposed: a photo that fits no class gets few words or none, not wrong ones.

Chains: of two basic or two general words of which one includes the other (computer and laptop, animal and pet), the
second goes to the list's end; the narrower one is first if it is nearly as sure. Of specific words on one chain, or
under one basic word (tabby and Siamese cat exclude each other), only the best is proposed.

Prefix: a settled word is true, so the classes that speak for it keep their probability and all others keep only the
share DOUBT of it, and the sum is one again. "cat" thus lifts "tabby" and lowers "dog", "animal" lifts whatever animal
is likeliest; a word that the table does not know changes nothing. A dropped word is false in the same way, unless it
is a general one: "animal" may be dropped as too broad, which says nothing against "cat".

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
from annotator.models.reranker import IDENTITY
from annotator.models.tagger import Capabilities, Features, RankedTag

NUM_CLASSES = 1000
UTILITY = {"basic": 1.0, "specific": 0.7, "general": 0.6}
"""How much a word of a level is wanted at the top."""
FLOORS = {"basic": 0.25, "specific": 0.4, "general": 0.25}
"""Lowest score at which a word of a level is proposed."""
NOISE = 0.01
"""Probability that a class has without meaning anything. Among 8,000 everyday photos, of those with "animal" scored
0.4 to 0.5, 42% showed one without the subtraction and 88% with it."""
DOUBT = 0.3
"""Share of its probability that a class keeps after a word was settled that it does not speak for."""
NEARLY = 0.8
"""Of two words on one chain, the narrower comes first if it has this share of the broader one's score."""
MAX_EVIDENCE = 3
"""Classes named as evidence for a word."""


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
    """WordNet 3.0 noun offset; "-" for a word that belongs to no noun."""
    class_index: int | None
    parents: tuple[str, ...]
    level: str
    tag: str
    also: dict[str, float] = field(hash=False)
    """Further words with the share of photos in which they are right."""
    excluded: tuple[str, ...]
    """Words of the nouns above that do not hold here."""
    name: str


@dataclass(frozen=True)
class TagTable:
    """The words, and how much each class speaks for each."""

    words: list[str]
    levels: list[str]
    weights: npt.NDArray[np.float32]
    """(1000, W): share of the class's photos in which the word is right; 1 for its own and its nouns' words."""
    class_names: list[str]
    narrower: list[frozenset[int]]
    """For each word, those of its level that it includes."""
    excluding: list[frozenset[int]]
    """For each specific word, the specific words beside which it is not proposed."""
    ids: dict[str, int]
    """From a word's key to its column."""

    @cached_property
    def floors(self) -> npt.NDArray[np.float64]:
        """(W,): the score below which each word is not proposed."""
        return np.array([FLOORS[level] for level in self.levels])

    @cached_property
    def utilities(self) -> npt.NDArray[np.float64]:
        """(W,): what each word's level is worth."""
        return np.array([UTILITY[level] for level in self.levels])


def read_rows(text: str) -> list[TableRow]:
    """Parse the table; lines that start with # are comments, the first other line names the columns."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [_read_row(line) for line in lines[1:]]


def build_table(rows: Iterable[TableRow]) -> TagTable:
    """Turn rows into weights, following the hypernyms.

    Raises:
        ValueError: A class is missing or doubled, or a word has no level or two.
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
    """Return the table that comes with the package."""
    source = resources.files("annotator.models") / "imagenet_tags.tsv"
    return build_table(read_rows(source.read_text(encoding="utf-8")))


class ColdStartTagger:
    """Ranks everyday words by what ImageNet's classifier sees.

    Args:
        backbone: What made the features; it holds the classifier.
        table: Another table, for tests; None is the one of the package.
    """

    name = "cold_start"
    version = "1"
    capabilities = Capabilities(is_trained=False)
    reranker = IDENTITY

    def __init__(self, backbone: Classifier, *, table: TagTable | None = None) -> None:
        self._backbone = backbone
        self._table = table if table is not None else load_table()

    def allowed_words(self) -> list[str]:
        """Return every word this tagger can propose, in the alphabet's order."""
        return sorted(self._table.words, key=tag_key)

    def trained_words(self) -> list[str]:
        """Return `allowed_words`: none is derived from other tags."""
        return self.allowed_words()

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
        """Continue each image's settled prefix; see `Tagger.decode`.

        Evidence: `{"classes": [[name, probability], ...]}`, the classes that spoke most for the word, and
        `"utility"`, what its place goes by.

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
            self._rank(row, prefix, refused, k)
            for row, prefix, refused in zip(probabilities, prefixes, dropped, strict=True)
        ]

    def _rank(
        self, probabilities: Features, prefix: Sequence[str], dropped: Collection[str], k: int
    ) -> list[RankedTag]:
        settled, refused = self._find_columns(prefix), self._find_columns(dropped)
        probabilities = _revise(probabilities, self._table, settled, refused)
        scores = np.clip(probabilities @ self._table.weights, 0, 1)  # (W,)
        ordered = _order(scores, self._table, settled, set(settled) | set(refused))
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
        """Return how much each feature channel speaks for a tag in one photo, for a heat-map.

        The classifier's weights of the classes that the tag stands for, each by its probability in this photo.

        Args:
            tag: Any tag.
            features: (1, D) float32.

        Returns:
            (D,) float32, or None for a tag that the table does not know.
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
    """Return the words that hold under a noun: those of its parents, less its exclusions, and its own."""
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
    """Find the words of the same level whose classes are a part of a word's classes."""
    return [
        frozenset(
            other
            for other, classes in enumerate(members)
            if classes and classes < members[word] and levels[other] == levels[word]
        )
        for word in range(len(levels))
    ]


def _find_excluding(levels: Sequence[str], members: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Find, for specific words, those that share a class or lie under the same basic word."""
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
    scores: Features, table: TagTable, settled: Sequence[int], hidden: Collection[int]
) -> list[tuple[int, float]]:
    """Return the columns to propose with their utilities, best first."""
    utilities = scores * table.utilities
    candidates = [column for column in np.flatnonzero(scores >= table.floors).tolist() if column not in hidden]
    for column in candidates:
        near = [word for word in table.narrower[column] if scores[word] >= NEARLY * scores[column]]
        if near:
            utilities[column] = min(utilities[column], 0.999 * max(utilities[word] for word in near))
    taken = set(settled)
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


def _revise(probabilities: Features, table: TagTable, settled: Sequence[int], refused: Sequence[int]) -> Features:
    """Weigh the classes by what the person said; with what no class accounts for, the sum is 1 again."""
    unknown = 1 - probabilities.sum()  # what no class accounts for
    if settled:
        probabilities = probabilities * (DOUBT + (1 - DOUBT) * table.weights[:, settled].max(axis=1))
        unknown *= DOUBT
    false = [column for column in refused if table.levels[column] != "general"]
    if false:
        probabilities = probabilities * (1 - (1 - DOUBT) * table.weights[:, false].max(axis=1))
    revised: Features = probabilities / (probabilities.sum() + unknown)
    return revised


COLD_START = "cold_start"
