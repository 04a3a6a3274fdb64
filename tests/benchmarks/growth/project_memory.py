"""What a project's saved lists say of a photo's tags, and everything else that is said of them, as numbers.

One row of `FEATURES` a tag, for models/fusion.py, which makes of it the chance that this person puts this tag on this
photo. Three things are remembered of the tagged photos: how many carry each tag, the kept photos of
models/project_head.py with their lists, and what the taggers had expected of those, so that it is known how far their
word goes here: of photos like this one, and of each tag.

Knows nothing of stores, pages, taggers or where evidence is from. Not safe to use from several threads: the caller
holds a lock.
Shapes: N kept photos, V tags in use, C candidates, F features.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
from project_head import Features, Look, Matrix, ProjectHead, evenly_spaced

from annotator.datasets.tags import tag_key
from annotator.datasets.word_forms import form_key

NUM_OF_PROJECT = 40
"""Tags that each of the head, the subject and the project's frequencies bring up."""
SILENCE = 0.005
"""What a source's silence counts as."""
FEW, MANY = 0.3, 5.7
"""Imagined photos with and without each tag."""
DOUBT = 3.0
"""Imagined tags of which the taggers' word held as expected."""
TAUGHT, OTHERS = 4.0, 1.0
"""Imagined tags of both kinds, before anything is saved."""
TAG_DOUBT = 1.0
"""The same for one tag."""
MANY_PHOTOS = 500
"""Tagged photos from which a tag's frequency is told no better."""
SEEN = ("decoder", "context", "looks")
"""Sources that see the photo before anybody tags here; of their word it is remembered how far it held."""

FEATURES = (
    "known", "model", "model_rank", "model_first", "looks", "looks_rank", "words",
    "share", "share_known", "unused", "subject", "subject_known", "head", "head_known",
    "gain", "gain_sure", "gain_far", "gain_known", "residual", "elsewhere",
    "once", "ratio", "trust_model", "trust_looks", "kind", "lists", "untold",
    "keyword", "keyword_kept", "keyword_given", "folder", "metadata", "detector",
    "settled", "together", "next", "place", "model_settled",
)  # fmt: skip
"""The columns of x. A source's word is logit(score) - logit(SILENCE), 0 where it is silent.

known: the trained tagger was taught the tag. model, model_rank, model_first: its score, what its place goes by, and one
over its place. looks, looks_rank: the cold start's. words: the open vocabulary's.
share: log-odds of the tag's frequency here, above those of a tag that nobody used in no photo. unused: log(1 + photos)
for a tag that nobody used. subject: as share, by the broad kernel: among photos of the same subject. head: logit of
what the head expects, above share. gain: what it expects above the frequency. gain_sure: times its confidence.
gain_far: times how far the nearest photos are, in standard deviations of what is usual here. once: the gain of a tag
that a single photo carries. share_known, subject_known, head_known, gain_known: of a tag that the trained tagger was
taught. residual: of such a tag, what the head expects above what that tagger had expected of the kept photos.
elsewhere: of a tag that the taggers do not name, the surest word of the trained tagger in this photo.
ratio: of a tag that is seen, log of how often it was used over how often the taggers expected it. trust_model,
trust_looks: of a tag that this source names, log of the same over all its tags, in photos of the same subject.
kind: of a taught tag, log of the share of taught tags in lists of the same subject; of any other, of the share of the
others; both above what they are taken for before anything is saved. lists: log of how many tags a photo of this subject
carries. untold: 1 - confidence, once there are photos.
keyword, folder, metadata, detector: these sources' words; keyword_kept: of a keyword, the log-odds of one being kept
here; keyword_given: the photo has keywords, and this is none of them.
settled: log(1 + settled tags). together, next, place: annotator/habits.py, once something is settled. model_settled:
the model's word then.
"""
COLUMN = {name: place for place, name in enumerate(FEATURES)}


class Said(Protocol):
    """One source's word for one tag; `annotator.proposals.evidence.Evidence` is one."""

    @property
    def tag(self) -> str:
        """The tag."""
        ...

    @property
    def source(self) -> str:
        """Its source."""
        ...

    @property
    def score(self) -> float:
        """How likely it is, in [0, 1]."""
        ...

    @property
    def rank_score(self) -> float | None:
        """What its place goes by; None: the score."""
        ...


@dataclass(frozen=True)
class Going:
    """How lists here usually go on with a tag; `annotator.proposals.tag_statistics.Habit` has the same fields."""

    next: float
    together: float
    place: float


@dataclass(frozen=True)
class Photo:
    """A photo whose tags are weighed."""

    features: Features | None
    """(D,); None before they are extracted."""
    photo_id: int | None = None
    """Its own saved list does not count; None: it has none."""
    num_settled: int = 0
    num_keywords: int = 0


@dataclass(frozen=True)
class Weighed:
    """The candidates of one photo."""

    keys: list[str]
    """C tags, as `tag_key` gives them; of two forms of a word, the one in use."""
    features: Matrix
    """(C, F)."""
    look: Look | None
    """None without features or without kept photos."""


@dataclass
class _Kept:
    tags: tuple[int, ...]
    """Of V."""
    num_taught: int = 0
    keywords: tuple[int, int] = (0, 0)
    """(kept, given)."""
    expected: tuple[float, float, float, float] | None = None
    """(used of the tags that the model named, how many of them were expected, the same of the cold start's); None:
    nobody knows."""
    seen: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    scores: Matrix = field(default_factory=lambda: np.zeros(0))
    is_model: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """(S,) each: the tags that were named, what was expected of them, and whether by the model."""

    @cached_property
    def array(self) -> npt.NDArray[np.int64]:
        """The tags."""
        return np.array(self.tags, np.int64)


@dataclass
class _Flat:
    """The kept photos' lists, one behind the other."""

    tags: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rows: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    sizes: Matrix = field(default_factory=lambda: np.zeros(0))
    taught: Matrix = field(default_factory=lambda: np.zeros(0))
    """(N,) each: tags, and tags that the trained tagger was taught."""
    expected: Matrix = field(default_factory=lambda: np.zeros((0, 4)))
    """(N, 4); see `_Kept.expected`."""
    expected_tags: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    expected_rows: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    expected_scores: Matrix = field(default_factory=lambda: np.zeros(0))
    """What was expected of each tag of each kept photo."""
    tag_used: Matrix = field(default_factory=lambda: np.zeros(0))
    tag_expected: Matrix = field(default_factory=lambda: np.zeros(0))
    """(V,) each, of the photos of which it is known what was expected."""


class ProjectMemory:
    """Remembers a project's tagged photos.

    Args:
        head: Empty; this keeps it.
        taught: Keys of the tags that the trained tagger was taught.
    """

    def __init__(self, head: ProjectHead, taught: frozenset[str] = frozenset()) -> None:
        self.head = head
        self.taught = taught
        self._id_of: dict[str, int] = {}
        self._keys: list[str] = []
        self._counts = np.zeros(0)
        self._forms: dict[str, Counter[int]] = {}
        self._photos: dict[int, _Kept] = {}
        self._num_tags = 0
        self._keywords = [0, 0]
        self._flat: _Flat | None = None
        self._order: list[int] = []

    def __len__(self) -> int:
        return len(self._photos)

    def remember(
        self,
        photo_id: int,
        features: Features | None,
        tags: Sequence[str],
        said: Iterable[Said] | None = None,
        keywords: Sequence[str] = (),
    ) -> None:
        """Remember a saved list, in place of the one of before.

        Args:
            photo_id: Any number.
            features: (D,); None where there are none yet: the photo then counts among the frequencies alone.
            tags: The list; an empty one is forgotten.
            said: What the sources that see said of the photo before anything was settled; None: nobody knows.
            keywords: The photo's own.

        Raises:
            ValueError: The feature size does not fit, or a value is no finite number.
        """
        ids = tuple(dict.fromkeys(self._number(tag_key(tag)) for tag in tags))
        before = self._photos.get(photo_id)
        if before is not None:
            self._count(before, -1)
            del self._photos[photo_id]
        if not ids:
            self.head.remove(photo_id)
            self._flat = None
            return
        kept = self._new(ids)
        if keywords:
            own = {self._owner(tag_key(word)) for word in keywords}
            kept.keywords = (len(own.intersection(self._keys[tag] for tag in ids)), len(own))
        self._photos[photo_id] = kept
        self._count(kept, +1)
        if features is not None and (photo_id not in self.head or before is None):
            self.head.set(photo_id, features)
        if said is not None and photo_id in self.head:
            self._expect(kept, said)
        elif before is not None:
            self._follow(kept, before)
        self._flat = None

    def load(
        self,
        lists: Mapping[int, Sequence[str]],
        with_features: Sequence[int],
        vectors: Callable[[Sequence[int]], Features],
    ) -> list[int]:
        """Remember many saved lists at once, in place of all of before.

        Args:
            lists: Photo -> its list.
            with_features: The photos that have features, in the order in which they were saved.
            vectors: Photos' (N, D) features.

        Returns:
            The photos that are kept, of which `expect` may be told; evenly spaced ones of too many.

        Raises:
            ValueError: The feature size does not fit, or a value is no finite number.
        """
        self._id_of, self._keys, self._counts, self._forms = {}, [], np.zeros(0), {}
        self._photos, self._num_tags, self._keywords, self._flat = {}, 0, [0, 0], None
        for photo_id, tags in lists.items():
            ids = tuple(dict.fromkeys(self._number(tag_key(tag)) for tag in tags))
            if ids:
                self._photos[photo_id] = self._new(ids)
                self._count(self._photos[photo_id], +1)
        chosen = evenly_spaced([photo for photo in with_features if photo in self._photos], self.head.max_photos)
        self.head.load(chosen, vectors(chosen) if chosen else np.zeros((0, self.head.feature_size), np.float32))
        return chosen

    def expect(self, photo_id: int, said: Iterable[Said]) -> None:
        """Note what the sources that see said of a kept photo before anything was settled; of others nothing is noted.

        Args:
            photo_id: The photo.
            said: By these sources.
        """
        if photo_id in self.head:
            self._expect(self._photos[photo_id], said)
            self._flat = None

    def forget(self, photo_id: int) -> None:
        """Forget a photo; one that is not remembered changes nothing."""
        self.remember(photo_id, None, ())

    def weigh(
        self,
        photo: Photo,
        said: Sequence[Said],
        going: Mapping[str, Going] | None = None,
        barred: Iterable[str] = (),
    ) -> Weighed:
        """Return the candidates of a photo and their features.

        Args:
            photo: The photo.
            said: By all sources but `neighbours` and `habits`, which are passed over.
            going: Tag's key -> how lists here go on with it; heard only once something is settled.
            barred: Keys of tags that are not open.
        """
        own = self._photos.get(photo.photo_id) if photo.photo_id is not None else None
        num = len(self._photos) - (own is not None)
        counts = self._counts.copy()
        if own is not None:
            counts[list(own.tags)] -= 1
        look = self.head.look(photo.features, photo.photo_id) if photo.features is not None and len(self.head) else None
        if look is not None and not len(look.photo_ids):
            look = None
        local = self._local(look, photo.photo_id, counts / max(num, 1))
        words = self._by_tag(said)
        candidates = self._candidates(words, local, counts, set(barred))
        features = np.zeros((len(candidates), len(FEATURES)))
        self._fill_said(features, candidates, words)
        self._fill_project(features, candidates, local, counts, num, look)
        self._fill_keywords(features, candidates, words, photo, own)
        self._fill_settled(features, candidates, photo.num_settled, going)
        return Weighed(candidates, features, look)

    def num_photos(self, key: str) -> int:
        """Return how many photos carry a tag."""
        place = self._id_of.get(key)
        return 0 if place is None else int(self._counts[place])

    # Keeping

    def _number(self, key: str) -> int:
        place = self._id_of.get(key)
        if place is None:
            place = self._id_of[key] = len(self._keys)
            self._keys.append(key)
            if place >= len(self._counts):
                self._counts = np.concatenate([self._counts, np.zeros(max(64, len(self._counts)))])
        return place

    def _count(self, kept: _Kept, change: int) -> None:
        for tag in kept.tags:
            self._counts[tag] += change
            users = self._forms.setdefault(form_key(self._keys[tag]), Counter())
            users[tag] += change
            if users[tag] <= 0:
                del users[tag]
        self._num_tags += change * len(kept.tags)
        self._keywords[0] += change * kept.keywords[0]
        self._keywords[1] += change * kept.keywords[1]

    def _owner(self, key: str) -> str:
        """Return the one form of a word that is in use, or the word as it is."""
        users = self._forms.get(form_key(key))
        if not users or self._id_of.get(key) in users or len(users) > 1:
            return key
        return self._keys[next(iter(users))]

    def _new(self, ids: tuple[int, ...]) -> _Kept:
        return _Kept(ids, sum(self._keys[tag] in self.taught for tag in ids))

    def _expect(self, kept: _Kept, said: Iterable[Said]) -> None:
        scores: dict[int, tuple[float, bool]] = {}
        for item in said:
            if item.source in SEEN:
                tag = self._number(self._owner(tag_key(item.tag)))
                if item.score > scores.get(tag, (0.0, False))[0]:
                    scores[tag] = (item.score, item.source != "looks")
        kept.seen = np.array(list(scores), np.int64)
        kept.scores = np.array([score for score, _ in scores.values()], np.float64)
        kept.is_model = np.array([is_model for _, is_model in scores.values()], bool)
        self._follow(kept, kept)

    def _follow(self, kept: _Kept, before: _Kept) -> None:
        kept.seen, kept.scores, kept.is_model = before.seen, before.scores, before.is_model
        if len(kept.seen):
            is_used, by_model = np.isin(kept.seen, kept.array), kept.is_model
            kept.expected = (
                float((is_used & by_model).sum()),
                float(kept.scores[by_model].sum()),
                float((is_used & ~by_model).sum()),
                float(kept.scores[~by_model].sum()),
            )

    # Weighing

    def _lists(self) -> _Flat:
        ids = self.head.photo_ids
        if self._flat is None or ids != self._order:
            self._order = ids
            kept = [self._photos[photo_id] for photo_id in ids]
            sizes = np.array([len(item.tags) for item in kept], np.int64)
            seen = [item.seen for item in kept]
            flat = _Flat(
                _joined([item.array for item in kept]),
                np.repeat(np.arange(len(kept)), sizes),
                sizes.astype(np.float64),
                np.array([item.num_taught for item in kept], np.float64),
                np.array([item.expected or (0.0, 0.0, 0.0, 0.0) for item in kept]).reshape(-1, 4),
                _joined(seen),
                np.repeat(np.arange(len(kept)), [len(item) for item in seen]),
                np.concatenate([np.zeros(0), *(item.scores for item in kept)]),
            )
            known = np.array([item.expected is not None for item in kept], np.float64)
            size = len(self._keys)
            flat.tag_used = np.bincount(flat.tags, known[flat.rows], size).astype(np.float64)
            flat.tag_expected = np.bincount(flat.expected_tags, flat.expected_scores, size).astype(np.float64)
            self._flat = flat
        return self._flat

    def _local(self, look: Look | None, photo_id: int | None, share: Matrix) -> "_Local":
        """Return what the kept photos say, of all V tags."""
        size = len(self._keys)
        if look is None:
            nothing = np.zeros(size)
            return _Local(nothing, nothing, nothing, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, nothing, nothing)
        flat = self._lists()
        is_other = np.array([other != photo_id for other in self._order])
        weights, nearness = np.zeros(len(self._order)), np.zeros(len(self._order))
        weights[is_other], nearness[is_other] = look.weights, look.nearness
        carried: Matrix = np.bincount(flat.tags, weights[flat.rows], size).astype(np.float64)
        foreseen: Matrix = np.bincount(
            flat.expected_tags, weights[flat.expected_rows] * flat.expected_scores, size
        ).astype(np.float64)
        near: Matrix = np.bincount(flat.tags, nearness[flat.rows], size).astype(np.float64)
        tag_used, tag_expected = flat.tag_used, flat.tag_expected
        if not is_other.all() and photo_id is not None:
            own = self._photos[photo_id]
            if own.expected:
                tag_used, tag_expected = tag_used.copy(), tag_expected.copy()
                tag_used[own.array] -= 1
                tag_expected[own.seen] -= own.scores
        used_m, expected_m, used_l, expected_l = (nearness @ flat.expected + DOUBT).tolist()
        num_tags, num_taught = float(nearness @ flat.sizes), float(nearness @ flat.taught)
        lists = (nearness @ flat.sizes + 3.0) / (nearness.sum() + 1.0)
        pad = np.zeros(size - len(tag_used))
        return _Local(
            carried - share[:size] * weights.sum(),
            carried - foreseen,
            near,
            float(nearness.sum()),
            math.log(used_m / expected_m),
            math.log(used_l / expected_l),
            math.log((num_taught + TAUGHT) / (num_tags + TAUGHT + OTHERS) * (TAUGHT + OTHERS) / TAUGHT),
            math.log((num_tags - num_taught + OTHERS) / (num_tags + TAUGHT + OTHERS) * (TAUGHT + OTHERS) / OTHERS),
            math.log(lists / 3.0),
            np.concatenate([tag_used, pad]),
            np.concatenate([tag_expected, pad]),
        )

    def _by_tag(self, said: Iterable[Said]) -> dict[str, dict[str, tuple[float, float, int]]]:
        """Return key -> source -> (score, rank score, place from 0 within its source)."""
        found: dict[str, dict[str, tuple[float, float, int]]] = {}
        places: Counter[str] = Counter()
        for item in said:
            source = "decoder" if item.source == "context" else item.source
            if source in ("neighbours", "habits"):
                continue
            words = found.setdefault(self._owner(tag_key(item.tag)), {})
            rank_score = item.score if item.rank_score is None else item.rank_score
            if source not in words or item.score > words[source][0]:
                words[source] = (item.score, rank_score, places[source])
            places[source] += 1
        return found

    def _candidates(self, words: Mapping[str, object], local: "_Local", counts: Matrix, barred: set[str]) -> list[str]:
        keys = dict.fromkeys(words)
        size = len(self._keys)
        for values in (local.gain, local.near, counts[:size]):
            k = min(NUM_OF_PROJECT, size)
            for tag in np.argpartition(-values, k - 1)[:k] if k else ():
                if values[tag] > 0 and counts[tag] > 0:
                    keys[self._keys[int(tag)]] = None
        return [key for key in keys if key not in barred]

    def _fill_said(
        self, features: Matrix, keys: Sequence[str], words: Mapping[str, Mapping[str, tuple[float, float, int]]]
    ) -> None:
        for row, key in zip(features, keys, strict=True):
            known = key in self.taught
            row[COLUMN["known"]] = known
            for source, (score, rank_score, place) in words.get(key, {}).items():
                if source == "decoder" and known:
                    row[COLUMN["model"]] = _above(score)
                    row[COLUMN["model_rank"]] = _above(rank_score)
                    row[COLUMN["model_first"]] = 1 / (1 + place)
                elif source == "looks":
                    row[COLUMN["looks"]] = _above(score)
                    row[COLUMN["looks_rank"]] = _above(rank_score)
                elif source in ("words", "folder", "metadata", "detector"):
                    row[COLUMN[source]] = _above(score)
                elif source == "keywords":
                    row[COLUMN["keyword"]] = score

    def _fill_project(
        self, features: Matrix, keys: Sequence[str], local: "_Local", counts: Matrix, num: int, look: Look | None
    ) -> None:
        places = [self._id_of.get(key, -1) for key in keys]
        at = np.array(places, np.int64)
        is_tag = at >= 0

        def of(values: Matrix) -> Matrix:
            found = np.zeros(len(at))
            found[is_tag] = values[at[is_tag]]
            return found

        scale = min(1.0, MANY_PHOTOS / max(num, 1))
        count, size = of(counts), num * scale
        base = math.log(FEW / MANY)
        share = np.log((count * scale + FEW) / (size - count * scale + MANY)) - base
        near = of(local.near)
        subject = np.log((near + FEW) / (np.maximum(local.total - near, 0.0) + MANY)) - base
        gain = of(local.gain) * (count > 0)
        mean = (count + FEW) / (num + FEW + MANY)
        head = _logits(mean + gain) - _logits(mean)
        confidence = look.confidence if look is not None else 0.0
        unusual = 0.0
        if look is not None and look.usual > -1.0:
            unusual = min(max((look.usual - look.nearest) / max(look.spread, 0.02), -3.0), 5.0)
        known = features[:, COLUMN["known"]]
        ratio = np.log((of(local.tag_used) + TAG_DOUBT) / (of(local.tag_expected) + TAG_DOUBT))
        is_seen = (features[:, COLUMN["model"]] > 0) | (features[:, COLUMN["looks"]] > 0)
        for name, values in {
            "share": share,
            "share_known": share * known,
            "unused": (count == 0) * math.log1p(size),
            "subject": subject,
            "subject_known": subject * known,
            "head": head,
            "head_known": head * known,
            "gain": gain,
            "gain_sure": gain * confidence,
            "gain_far": gain * unusual,
            "gain_known": gain * known,
            "residual": of(local.residual) * known,
            "elsewhere": ~is_seen * features[:, COLUMN["model"]].max(initial=0.0),
            "once": gain * (count == 1),
            "ratio": ratio * is_seen,
            "trust_model": local.trust_model * (features[:, COLUMN["model"]] > 0),
            "trust_looks": local.trust_looks * (features[:, COLUMN["looks"]] > 0),
            "kind": local.taught * known + local.others * (1 - known),
            "lists": local.lists,
            "untold": (1 - confidence) * (num > 0),
        }.items():
            features[:, COLUMN[name]] = values

    def _fill_keywords(
        self,
        features: Matrix,
        keys: Sequence[str],
        words: Mapping[str, Mapping[str, object]],
        photo: Photo,
        own: _Kept | None,
    ) -> None:
        kept, given = self._keywords
        if own is not None:
            kept, given = kept - own.keywords[0], given - own.keywords[1]
        held = math.log((kept + 0.8 * DOUBT) / (given - kept + 0.2 * DOUBT)) - math.log(4.0)
        is_given = features[:, COLUMN["keyword"]] > 0
        features[:, COLUMN["keyword_kept"]] = held * is_given
        features[:, COLUMN["keyword_given"]] = ~is_given * (photo.num_keywords > 0)

    def _fill_settled(
        self, features: Matrix, keys: Sequence[str], num_settled: int, going: Mapping[str, Going] | None
    ) -> None:
        if not num_settled:
            return
        features[:, COLUMN["settled"]] = math.log1p(num_settled)
        features[:, COLUMN["model_settled"]] = features[:, COLUMN["model"]]
        for row, key in zip(features, keys, strict=True):
            habit = going.get(key) if going else None
            if habit is not None:
                row[COLUMN["together"]], row[COLUMN["next"]], row[COLUMN["place"]] = (
                    habit.together,
                    habit.next,
                    habit.place,
                )


@dataclass(frozen=True)
class _Local:
    """What the kept photos say of V tags in one photo."""

    gain: Matrix
    residual: Matrix
    near: Matrix
    """(V,) nearness of the photos that carry each tag."""
    total: float
    """Nearness of all."""
    trust_model: float
    trust_looks: float
    taught: float
    others: float
    lists: float
    tag_used: Matrix
    tag_expected: Matrix


def _joined(arrays: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.int64), *arrays])


def _above(score: float) -> float:
    """Return how far a score stands above silence, in log-odds."""
    low = math.log(SILENCE / (1 - SILENCE))
    kept = min(max(score, SILENCE), 1 - SILENCE)
    return math.log(kept / (1 - kept)) - low


def _logits(values: Matrix) -> Matrix:
    kept = np.clip(values, SILENCE, 1 - SILENCE)
    logits: Matrix = np.log(kept / (1 - kept))
    return logits
