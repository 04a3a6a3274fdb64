"""What the tagged photos of a project say about the tags of a photo, joined with all other evidence as numbers.

`ProjectEvidence.candidates` returns one row of `FEATURES` (models/fusion.py) for each candidate tag. It holds three
things about the tagged photos: how many have each tag; the exemplars of models/project_head.py with their lists; and
the scores that the taggers gave these exemplars before anything was kept, which show how often they are right here.

Knows nothing of databases, taggers or the user interface. Shapes: N exemplars, V tags in use, C candidates, F features.
"""

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from annotator.datasets.tags import tag_key
from annotator.datasets.word_forms import form_key
from annotator.models.fusion import FEATURES
from annotator.models.project_head import (
    MAX_PHOTOS,
    Features,
    HeadPrediction,
    Ids,
    Matrix,
    ProjectHead,
    evenly_spaced,
)
from annotator.proposals.evidence import Evidence
from annotator.proposals.fusion_features import (
    Surroundings,
    TagCounts,
    clear_frequencies,
    fill_classes,
    fill_keywords,
    fill_list_so_far,
    fill_project,
    fill_sources,
)
from annotator.proposals.tag_statistics import TagFeatures

NUM_OF_PROJECT = 40
"""Candidates from each of: the head's gain, the tags of the subject, and the most frequent tags."""
PRIOR_TAGS = 3.0
"""Pseudo-count of tags that were saved as often as the scores predicted."""
PRIOR_TRAINED, PRIOR_OTHERS = 4.0, 1.0
"""Pseudo-counts of trained tags and of others in lists."""
TYPICAL_LENGTH = 3.0
"""Pseudo-list's number of tags."""
TAGGER_SOURCES = ("decoder", "context", "looks")
"""Sources whose scores are compared with what was saved."""
REASON_SOURCES = ("neighbours", "habits")
"""Sources that are shown as reasons but are not features: the head and the counts hold the same."""
NUM_RECENT = 256
"""Photos without a list whose scores are remembered until they are saved."""


class Classes(Protocol):
    """What is needed of ImageNet's classes; see `ColdStartTagger`."""

    def class_probabilities(self, features: Features) -> Features:
        """Return (N, K) probabilities of (N, D) features."""
        ...

    def class_odds(self, features: Features) -> Matrix:
        """Return (W,), for and against each word, of (D,) features."""
        ...

    def word_column(self, key: str) -> int | None:
        """Return the place of a tag among the W words; None: it is none of them."""
        ...


@dataclass(frozen=True)
class PhotoState:
    """The photo for which candidates are wanted."""

    image_id: int
    """Its own list is left out."""
    features: Features | None
    """(D,); None before they are computed."""
    num_kept: int = 0
    num_keywords: int = 0


@dataclass(frozen=True)
class Candidates:
    """The candidate tags of one photo."""

    keys: list[str]
    """C tags, as `tag_key` returns them; of several forms of a word, the one in use."""
    features: Matrix
    """(C, F)."""
    counts: npt.NDArray[np.int64]
    """(C,) other photos with the tag."""
    num_photos: int
    """Other tagged photos."""


@dataclass(frozen=True)
class _Expectation:
    """The taggers' scores for one photo before anything was kept; S tags."""

    keys: tuple[str, ...]
    scores: Matrix
    """(S,)."""
    is_trained: npt.NDArray[np.bool_]
    """(S,): from the trained tagger, not the cold start."""


@dataclass
class _Tagged:
    """One tagged photo."""

    tags: tuple[int, ...]
    """Places in V."""
    num_trained: int = 0
    keywords: tuple[int, int] = (0, 0)
    """(keywords that were saved, keywords)."""
    expectation: _Expectation | None = None
    """None: unknown, or no exemplar."""
    expected_tags: Ids = field(default_factory=lambda: np.zeros(0, np.int64))
    """(S,) places in V of the expectation's tags."""
    sums: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """(saved tags among those of the trained tagger, sum of its scores, the same two of the cold start)."""

    @cached_property
    def array(self) -> Ids:
        """The tags."""
        return np.array(self.tags, np.int64)


@dataclass
class _Stacked:
    """The lists and expectations of all exemplars, concatenated; rows are places in `ProjectHead.photo_ids`."""

    tags: Ids
    rows: Ids
    sizes: Matrix
    trained: Matrix
    """(N,) each: tags, and trained tags."""
    sums: Matrix
    """(N, 4), see `_Tagged.sums`."""
    expected_tags: Ids
    expected_rows: Ids
    expected_scores: Matrix
    tag_saved: Matrix
    tag_expected: Matrix
    """(V,) each, over the exemplars with an expectation: how often each tag was saved, and the sum of its scores."""


@dataclass(frozen=True)
class _Local:
    """What the exemplars say about V tags in one photo; (V,) each, as `TagCounts` names them."""

    gain: Matrix
    residual: Matrix
    near: Matrix
    saved: Matrix
    expected: Matrix


class ProjectEvidence:
    """The tagged photos of one project. Any method may be called from any thread.

    Args:
        feature_size: D.
        classes: ImageNet's, a view for the head and evidence for and against tags; None: neither.
        max_exemplars: Most exemplars of the head.
    """

    def __init__(self, feature_size: int, classes: Classes | None = None, *, max_exemplars: int = MAX_PHOTOS) -> None:
        self._classes = classes
        self._lock = threading.RLock()
        classify = None if classes is None else classes.class_probabilities
        self._head = ProjectHead(feature_size, classify, max_photos=max_exemplars)
        self._trained: frozenset[str] = frozenset()
        self._tagger = ""
        self._id_of: dict[str, int] = {}
        self._keys: list[str] = []
        self._counts = np.zeros(0)
        self._forms: dict[str, Counter[int]] = {}
        self._photos: dict[int, _Tagged] = {}
        self._keywords = [0, 0]
        self._recent: OrderedDict[int, _Expectation] = OrderedDict()
        self._stacked: _Stacked | None = None
        self._order: list[int] = []

    def __len__(self) -> int:
        return len(self._photos)

    def use_tagger(self, label: str, trained: frozenset[str]) -> None:
        """Set the first tagger; one with another label makes all expectations unknown.

        Args:
            label: Name and version.
            trained: Keys of the tags that it was trained on.
        """
        with self._lock:
            if label == self._tagger and trained == self._trained:
                return
            if label != self._tagger:
                self._recent.clear()
                for photo in self._photos.values():
                    photo.expectation = None
                    self._compare(photo)
            self._tagger, self._trained = label, trained
            for photo in self._photos.values():
                photo.num_trained = self._num_trained(photo.tags)
            self._stacked = None

    def load(
        self,
        lists: Mapping[int, Sequence[str]],
        keywords: Mapping[int, Sequence[str]],
        with_features: Sequence[int],
        vectors: Callable[[Sequence[int]], Features],
    ) -> None:
        """Replace everything by the lists of a project.

        Args:
            lists: Image id -> its tags.
            keywords: Image id -> the photo's own keywords, of photos with a saved list.
            with_features: The photos that have features; of too many, evenly spaced ones become exemplars.
            vectors: Image ids -> (N, D) features.

        Raises:
            ValueError: The feature size does not fit, or a value is not finite.
        """
        with self._lock:
            self._id_of, self._keys, self._counts, self._forms = {}, [], np.zeros(0), {}
            self._photos, self._keywords, self._stacked = {}, [0, 0], None
            for image_id, tags in lists.items():
                self._add(image_id, tags, keywords.get(image_id, ()))
            chosen = evenly_spaced([photo for photo in with_features if photo in self._photos], self._head.max_photos)
            features = vectors(chosen) if chosen else np.zeros((0, self._head.feature_size), np.float32)
            self._head.load(chosen, features)

    def set(self, image_id: int, features: Features | None, tags: Sequence[str], keywords: Sequence[str] = ()) -> None:
        """Set the list of one photo.

        Args:
            image_id: The photo.
            features: (D,); None before they are computed: then only its tags count.
            tags: The list; an empty one removes the photo.
            keywords: The photo's own, if the list is a saved one.

        Raises:
            ValueError: The feature size does not fit, or a value is not finite.
        """
        with self._lock:
            before = self._photos.pop(image_id, None)
            if before is not None:
                self._count(before, -1)
                if before.expectation is not None:
                    self._remember(image_id, before.expectation)
            self._stacked = None
            photo = self._add(image_id, tags, keywords)
            if photo is None:
                self._head.remove(image_id)
                return
            if features is not None and (before is None or image_id not in self._head):
                removed = self._head.set(image_id, features)
                if removed is not None and removed in self._photos:
                    self._photos[removed].expectation = None
                    self._compare(self._photos[removed])
            if image_id in self._head and image_id in self._recent:
                photo.expectation = self._recent.pop(image_id)
                self._compare(photo)

    def expect(self, image_id: int, tagger: str, evidence: Iterable[Evidence]) -> None:
        """Store the taggers' scores for a photo before anything is kept, until `use_tagger` changes the tagger.

        Args:
            image_id: A tagged photo that is no exemplar is passed over.
            tagger: Label of the first tagger; the scores of another one than that in use are passed over.
            evidence: Of all sources; only that of taggers is used.
        """
        with self._lock:
            photo = self._photos.get(image_id)
            is_known = photo is not None and (photo.expectation is not None or image_id not in self._head)
            if is_known or tagger != self._tagger:
                return
            best: dict[str, Evidence] = {}
            for item in evidence:
                key = tag_key(item.tag)
                if item.source != "looks" and key not in self._trained:
                    continue  # a guess, which changes with the tags of the project
                if item.source in TAGGER_SOURCES and (key not in best or item.score > best[key].score):
                    best[key] = item
            expectation = _Expectation(
                tuple(best),
                np.array([item.score for item in best.values()], np.float64),
                np.array([item.source != "looks" for item in best.values()], bool),
            )
            if photo is None:
                self._remember(image_id, expectation)
            else:
                photo.expectation = expectation
                self._compare(photo)
                self._stacked = None

    def without_expectation(self) -> list[int]:
        """Return the exemplars for which `expect` was not called since the tagger was set."""
        with self._lock:
            return [image_id for image_id in self._head.photo_ids if self._photos[image_id].expectation is None]

    def candidates(
        self,
        photo: PhotoState,
        evidence: Sequence[Evidence],
        excluded: Collection[str] = (),
        statistics: Callable[[Sequence[str]], Sequence[TagFeatures]] | None = None,
        *,
        without: Collection[int] = (),
        uses_photos: bool = True,
        uses_frequencies: bool = True,
        uses_classes: bool = True,
    ) -> Candidates:
        """Return the candidate tags of a photo and their features.

        Args:
            photo: The photo.
            evidence: Of all sources.
            excluded: Keys of tags that are no candidates.
            statistics: Returns the tag statistics of candidates; used once a tag is kept.
            without: Other photos whose lists are left out of the head.
            uses_photos: Whether tagged photos are evidence; their tag frequencies are, all the same.
            uses_frequencies: Whether tag frequencies are evidence.
            uses_classes: Whether the classes are evidence for and against tags.
        """
        with self._lock:
            own = self._photos.get(photo.image_id)
            num = len(self._photos) - (own is not None)
            counts = self._counts.copy()
            if own is not None:
                counts[list(own.tags)] -= 1
            prediction = None
            if photo.features is not None and uses_photos and len(self._head):
                prediction = self._head.predict(photo.features, {photo.image_id, *without})
                prediction = prediction if len(prediction.photo_ids) else None
            local, around = self._local(prediction, photo.image_id, counts / max(num, 1))
            scores = self._by_tag(evidence)
            keys = self._candidate_keys(scores, local, counts, excluded)
            tags = self._counts_of(keys, local, counts)
            saved, given = self._keywords
            if own is not None:
                saved, given = saved - own.keywords[0], given - own.keywords[1]
            trained = self._trained
        features = np.zeros((len(keys), len(FEATURES)))
        fill_sources(features, keys, scores, trained)
        if self._classes is not None and photo.features is not None and uses_classes:
            fill_classes(features, keys, self._classes.class_odds(photo.features), self._classes.word_column)
        fill_project(features, tags, around, num, prediction)
        fill_keywords(features, photo.num_keywords, saved, given)
        fill_list_so_far(features, keys, photo.num_kept, statistics)
        if not uses_frequencies:
            clear_frequencies(features)
        return Candidates(keys, features, tags.count.astype(np.int64), num)

    # Lists

    def _number(self, key: str) -> int:
        place = self._id_of.get(key)
        if place is None:
            place = self._id_of[key] = len(self._keys)
            self._keys.append(key)
            if place >= len(self._counts):
                self._counts = np.concatenate([self._counts, np.zeros(max(64, len(self._counts)))])
        return place

    def _num_trained(self, tags: Iterable[int]) -> int:
        return sum(self._keys[tag] in self._trained for tag in tags)

    def _add(self, image_id: int, tags: Sequence[str], keywords: Sequence[str]) -> _Tagged | None:
        """Add a photo to the lists and counts; return None for an empty list."""
        ids = tuple(dict.fromkeys(self._number(tag_key(tag)) for tag in tags))
        if not ids:
            return None
        photo = _Tagged(ids, self._num_trained(ids))
        if keywords:
            own = {self._form_in_use(tag_key(word)) for word in keywords}
            photo.keywords = (len(own.intersection(self._keys[tag] for tag in ids)), len(own))
        self._photos[image_id] = photo
        self._count(photo, +1)
        return photo

    def _count(self, photo: _Tagged, change: int) -> None:
        for tag in photo.tags:
            self._counts[tag] += change
            users = self._forms.setdefault(form_key(self._keys[tag]), Counter())
            users[tag] += change
            if users[tag] <= 0:
                del users[tag]
        self._keywords[0] += change * photo.keywords[0]
        self._keywords[1] += change * photo.keywords[1]

    def _form_in_use(self, key: str) -> str:
        """Return the only form of a word that is in use, or the key itself."""
        users = self._forms.get(form_key(key))
        if not users or self._id_of.get(key) in users or len(users) > 1:
            return key
        return self._keys[next(iter(users))]

    def _remember(self, image_id: int, expectation: _Expectation) -> None:
        self._recent[image_id] = expectation
        self._recent.move_to_end(image_id)
        while len(self._recent) > NUM_RECENT:
            self._recent.popitem(last=False)

    def _compare(self, photo: _Tagged) -> None:
        """Compare a photo's list with its expectation."""
        expectation = photo.expectation
        if expectation is None or not expectation.keys:
            photo.expected_tags, photo.sums = np.zeros(0, np.int64), (0.0, 0.0, 0.0, 0.0)
            return
        photo.expected_tags = np.array([self._number(self._form_in_use(key)) for key in expectation.keys], np.int64)
        is_saved, is_trained = np.isin(photo.expected_tags, photo.array), expectation.is_trained
        photo.sums = (
            float((is_saved & is_trained).sum()),
            float(expectation.scores[is_trained].sum()),
            float((is_saved & ~is_trained).sum()),
            float(expectation.scores[~is_trained].sum()),
        )

    # Features

    def _stack(self) -> _Stacked:
        if self._stacked is None:
            self._order = self._head.photo_ids
            photos = [self._photos[image_id] for image_id in self._order]
            sizes = np.array([len(photo.tags) for photo in photos], np.int64)
            expected = [photo.expected_tags for photo in photos]
            scores = [photo.expectation.scores for photo in photos if photo.expectation is not None]
            tags, rows = _joined([photo.array for photo in photos]), np.repeat(np.arange(len(photos)), sizes)
            expected_tags, expected_scores = _joined(expected), np.concatenate([np.zeros(0), *scores])
            is_known = np.array([photo.expectation is not None for photo in photos], np.float64)
            size = len(self._keys)
            self._stacked = _Stacked(
                tags,
                rows,
                sizes.astype(np.float64),
                np.array([photo.num_trained for photo in photos], np.float64),
                np.array([photo.sums for photo in photos]).reshape(-1, 4),
                expected_tags,
                np.repeat(np.arange(len(photos)), [len(item) for item in expected]),
                expected_scores,
                np.bincount(tags, is_known[rows], size).astype(np.float64),
                np.bincount(expected_tags, expected_scores, size).astype(np.float64),
            )
        return self._stacked

    def _local(self, prediction: HeadPrediction | None, image_id: int, share: Matrix) -> tuple[_Local, Surroundings]:
        size = len(self._keys)
        if prediction is None:
            zeros = np.zeros(size)
            return _Local(zeros, zeros, zeros, zeros, zeros), Surroundings()
        stacked = self._stack()
        is_used = np.isin(np.array(self._order, np.int64), prediction.photo_ids)
        weights, nearness = np.zeros(len(self._order)), np.zeros(len(self._order))
        weights[is_used], nearness[is_used] = prediction.weights, prediction.nearness
        present = np.bincount(stacked.tags, weights[stacked.rows], size).astype(np.float64)
        predicted = np.bincount(
            stacked.expected_tags, weights[stacked.expected_rows] * stacked.expected_scores, size
        ).astype(np.float64)
        near = np.bincount(stacked.tags, nearness[stacked.rows], size).astype(np.float64)
        tag_saved, tag_expected = stacked.tag_saved, stacked.tag_expected
        own = self._photos.get(image_id)
        if own is not None and own.expectation is not None:
            tag_saved, tag_expected = tag_saved.copy(), tag_expected.copy()
            tag_saved[own.array] -= 1
            np.subtract.at(tag_expected, own.expected_tags, own.expectation.scores)
        saved_m, expected_m, saved_l, expected_l = (nearness @ stacked.sums + PRIOR_TAGS).tolist()
        num_tags, num_trained = float(nearness @ stacked.sizes), float(nearness @ stacked.trained)
        prior = PRIOR_TRAINED + PRIOR_OTHERS
        share_trained = (num_trained + PRIOR_TRAINED) / (num_tags + prior)
        length = (num_tags + TYPICAL_LENGTH) / (float(nearness.sum()) + 1.0)
        around = Surroundings(
            float(nearness.sum()),
            math.log(saved_m / expected_m),
            math.log(saved_l / expected_l),
            math.log(share_trained / (PRIOR_TRAINED / prior)),
            math.log((1 - share_trained) / (PRIOR_OTHERS / prior)),
            math.log(length / TYPICAL_LENGTH),
        )
        gain = present - share[:size] * weights.sum()
        return _Local(gain, present - predicted, near, tag_saved, tag_expected), around

    def _by_tag(self, evidence: Iterable[Evidence]) -> dict[str, dict[str, tuple[float, float, int]]]:
        """Return key -> source -> (score, rank score, rank from 0 among the tags of that source)."""
        found: dict[str, dict[str, tuple[float, float, int]]] = {}
        ranks: Counter[str] = Counter()
        for item in evidence:
            key = self._form_in_use(tag_key(item.tag))
            scores = found.setdefault(key, {})
            if item.source in REASON_SOURCES:
                continue
            source = "decoder" if item.source == "context" else item.source
            if source == "decoder" and key not in self._trained:
                source = "guess"
            rank_score = item.score if item.rank_score is None else item.rank_score
            if source not in scores or item.score > scores[source][0]:
                scores[source] = (item.score, rank_score, ranks[source])
            ranks[source] += 1
        return found

    def _candidate_keys(
        self, scores: Mapping[str, object], local: _Local, counts: Matrix, excluded: Collection[str]
    ) -> list[str]:
        size = len(self._keys)
        keys = {key: None for key, sources in scores.items() if sources or self._num_with(key, counts)}
        for values in (local.gain, local.near, counts[:size]):
            k = min(NUM_OF_PROJECT, size)
            for tag in np.argpartition(-values, k - 1)[:k].tolist() if k else ():
                if values[tag] > 0 and counts[tag] > 0:
                    keys[self._keys[tag]] = None
        return [key for key in keys if key not in excluded]

    def _num_with(self, key: str, counts: Matrix) -> float:
        place = self._id_of.get(key)
        return 0.0 if place is None else float(counts[place])

    def _counts_of(self, keys: Sequence[str], local: _Local, counts: Matrix) -> TagCounts:
        """Return the values of some tags; 0 for tags that are not in use."""
        places = np.array([self._id_of.get(key, -1) for key in keys], np.int64)
        is_tag = places >= 0

        def of(values: Matrix) -> Matrix:
            found = np.zeros(len(places))
            padded = np.concatenate([values, np.zeros(max(0, len(self._keys) - len(values)))])
            found[is_tag] = padded[places[is_tag]]
            return found

        return TagCounts(
            of(counts), of(local.gain), of(local.residual), of(local.near), of(local.saved), of(local.expected)
        )


def _joined(arrays: Sequence[Ids]) -> Ids:
    return np.concatenate([np.zeros(0, np.int64), *arrays])
