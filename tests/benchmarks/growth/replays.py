"""What growing.py and fusion.py share: a folder tagged photo by photo in memory, with the page's own sources."""

import hashlib
import random
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from fusion import Fusion, best_first
from project_head import ProjectHead
from project_memory import Going, Photo, ProjectMemory, Weighed

from annotator.datasets.record import read_records
from annotator.datasets.splits import load_split
from annotator.datasets.tags import tag_key
from annotator.models import checkpoint
from annotator.models.backbones.backbone import load_backbone
from annotator.models.tagger import Tagger
from annotator.models.taggers.cold_start import ColdStartTagger
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.proposals.builder import Ranking
from annotator.proposals.evidence import Evidence, Words
from annotator.proposals.fusion import merge, without_kept
from annotator.proposals.sources.neighbours import metadata_evidence
from annotator.proposals.sources.open_vocabulary import open_evidence
from annotator.proposals.sources.own_words import own_word_evidence
from annotator.proposals.sources.taggers import tagger_evidence, trained_keys
from annotator.proposals.tagger_catalog import with_rows_for
from annotator.storage.features import FeatureStore
from annotator.trainer.evaluation.effort import without_repeats
from annotator.trainer.feature_cache import features_of
from annotator.trainer.training import SPLIT_FILE


@dataclass(frozen=True)
class Shot:
    """One photo with its record's tags."""

    name: str
    features: np.ndarray
    tags: list[str]
    keywords: tuple[str, ...] = ()

    @property
    def half(self) -> int:
        """0 or 1, by the photo's name."""
        return hashlib.sha256(f"half\0{self.name}".encode()).digest()[0] & 1


@dataclass
class World:
    """What all projects have in common: taggers and words."""

    tagger_name: str
    open_name: str = ""
    cache: Path | None = None
    _lists: dict[tuple[object, ...], list[Evidence]] = field(default_factory=dict)

    @cached_property
    def backbone(self):
        return load_backbone(num_threads=1)

    @cached_property
    def cold_start(self) -> ColdStartTagger:
        return ColdStartTagger(self.backbone)

    @cached_property
    def taggers(self) -> tuple[Tagger, ...]:
        return (checkpoint.load(self.tagger_name, backbone=self.backbone), self.cold_start)

    @cached_property
    def opened(self) -> OpenVocabulary:
        found = checkpoint.load(self.open_name or "starter/open_vocabulary", backbone=self.backbone)
        assert isinstance(found, OpenVocabulary)
        return found

    @cached_property
    def word_vectors(self):
        return load_word_vectors("glove")

    @cached_property
    def added(self) -> AddedWords:
        added = AddedWords(self.opened)
        added.load()
        return added

    def shots(self, folder: Path, only: str = "") -> list[Shot]:
        """Return a data set's photos; of captions those that the tagger's training held back."""
        records = read_records(folder)
        if folder.name == "captions":
            records = load_split(records, checkpoint.find(self.tagger_name) / SPLIT_FILE)[1]
        records = [record for record in records if record.tags and (not only or record.extra.get(only))]
        extracted = features_of(records, self.backbone, self.cache)
        return [
            Shot(
                f"{folder.name}/{record.image.name}",
                features,
                without_repeats([tag.lower() for tag in record.tags]),
                record.user_tags,
            )
            for record, features in zip(extracted.records, extracted.features, strict=True)
        ]

    def seen(self, shot: Shot, keywords: Sequence[str] = ()) -> list[Evidence]:
        """Return what the taggers see in a photo before anything is settled; kept, as no project changes it."""
        key = (shot.name, tuple(keywords))
        if key not in self._lists:
            self._lists[key] = tagger_evidence(self.taggers, shot.features[None], (), (), keywords)
        return self._lists[key]

    def cold(self, shot: Shot) -> list[str]:
        """Return the list without a project, as `annotator suggest` prints it."""
        vector = shot.features[None]
        evidence = open_evidence(self.opened, self.taggers, vector) + self.seen(shot)
        return [proposal.tag.lower() for proposal in merge(evidence)[:20]]


def drawn(world: World, specs: Sequence[str], seed: int, half: int | None) -> list[Shot]:
    """Return a folder's photos in a drawn order: the same draws from the photos there are.

    Args:
        world: Says which photos there are.
        specs: FOLDER[?FIELD][=NUM].
        seed: Of the draw.
        half: Which half of the photos may be drawn; None: all.
    """
    rng, rows = random.Random(seed), []
    for spec in specs:
        found = re.fullmatch(r"([^?=]+)(?:\?(\w+))?(?:=(\d+))?", spec)
        assert found is not None, spec
        folder, only, num = found.groups()
        shots = [shot for shot in world.shots(Path(folder), only or "") if half is None or shot.half == half]
        rows += rng.sample(shots, min(len(shots), int(num or len(shots))))
    rng.shuffle(rows)
    return rows


class Growing:
    """A project without a server, whose photos are saved one after the other.

    Args:
        world: Shared.
        shots: N photos, numbered from 1.
        with_keywords: Whether they bring their own keywords along.
        extends: Whether the tagger gets rows for new tags with each save, as `served` needs them.
    """

    def __init__(
        self, world: World, shots: Sequence[Shot], with_keywords: bool = False, *, extends: bool = False
    ) -> None:
        self._extends = extends
        self.world, self.shots = world, shots
        self._folder = tempfile.TemporaryDirectory()
        self.features = FeatureStore(Path(self._folder.name), "replay", shots[0].features.size)
        rows = self.features.append(np.stack([shot.features for shot in shots]))
        self.features.commit(list(enumerate(rows, start=1)))
        ranking = Ranking(self.features, world.cold_start.allowed_words(), tag="replay")
        ranking.use_word_vectors(world.word_vectors)
        self.vocabulary, self.tagged_photos = ranking.vocabulary, ranking.tagged_photos
        self.words = [Words(shot.keywords if with_keywords else ()) for shot in shots]
        self.taggers = world.taggers
        self._mixtures: dict[str, object] = {}
        self._tags: list[str] = []
        self.proposer = ranking.proposer(
            lambda: self.taggers,
            ranking.context(max_at_once=None),
            open_vocabulary=world.opened,
            added_words=world.added,
        )
        self.head = ProjectHead(shots[0].features.size)
        self.memory = ProjectMemory(self.head, trained_keys(world.taggers[0]))
        self._first: dict[int, list[Evidence]] = {}

    def said(self, number: int, prefix: Sequence[str] = ()) -> list[Evidence]:
        """Return what all sources but look-alikes say of a photo, numbered from 0."""
        vector, words = self.shots[number].features[None], self.words[number]
        taggers = self.world.taggers
        evidence = list(
            tagger_evidence(taggers, vector, prefix, (), words.keywords)
            if prefix
            else self.world.seen(self.shots[number], words.keywords)
        )
        tags = self.vocabulary.tags_in_use()
        evidence += open_evidence(self.world.opened, taggers, vector, added_words=self.world.added, tags=tags)
        evidence += metadata_evidence(self.proposer._photos_with_same_words(number + 1, words, prefix))
        evidence += own_word_evidence(words, self.vocabulary.knows)
        if not prefix:
            self._first[number] = evidence
        return without_kept(evidence, prefix, (), self.vocabulary.is_used)

    def weigh(self, number: int, prefix: Sequence[str] = ()) -> Weighed:
        """Return the candidates of a photo with their features."""
        shot = self.shots[number]
        photo = Photo(shot.features, number + 1, len(prefix), len(self.words[number].keywords))
        going = self._going(number, prefix) if prefix else None
        return self.memory.weigh(photo, self.said(number, prefix), going, map(tag_key, prefix))

    def _going(self, number: int, prefix: Sequence[str]) -> "dict[str, Going]":
        tags = list(self.vocabulary.tags_in_use())
        statistics = self.tagged_photos.tag_statistics(number + 1).of(tags, prefix)
        return {tag_key(tag): Going(h.next, h.together, h.place) for tag, h in zip(tags, statistics, strict=True)}

    def served(self, number: int) -> list[str]:
        """Return the project's list as the page serves it without a fusion."""
        return [p.tag.lower() for p in self.proposer.propose(number + 1, self.words[number]).proposals]

    def fused(self, number: int, fusion: Fusion, floor: float) -> tuple[list[str], list[float]]:
        """Return the fused list and its chances."""
        weighed = self.weigh(number)
        chances = fusion.chances(weighed.features)
        order = best_first(weighed.keys, chances, floor)
        return [weighed.keys[place] for place in order], [float(chances[place]) for place in order]

    def save(self, number: int) -> None:
        """Save the record's tags."""
        shot = self.shots[number]
        if number not in self._first:
            self.said(number)
        self.memory.remember(number + 1, shot.features, shot.tags, self._first[number], self.words[number].keywords)
        self.tagged_photos.set_saved(number + 1, tuple(shot.tags))
        if self._extends:
            self._tags += [tag for tag in shot.tags if tag not in self._tags]
            self.taggers = with_rows_for(self._tags[:500], self.world.taggers, self.world.word_vectors, self._mixtures)

    def close(self) -> None:
        """Remove its files."""
        self._folder.cleanup()


def frequent(shots: Sequence[Shot]) -> Iterator[list[str]]:
    """Yield each photo's list of the tags that photos before it carry most."""
    counts: dict[str, int] = {}
    for shot in shots:
        yield sorted(counts, key=lambda tag: (-counts[tag], tag))
        for tag in shot.tags:
            counts[tag] = counts.get(tag, 0) + 1


def ridge(shots: Sequence[Shot], weight: float = 10.0, gamma: float = 2.0, lam: float = 0.1) -> Iterator[list[str]]:
    """Yield each photo's list by kernel ridge on the photos before it alone."""
    features = np.sqrt(np.maximum(np.stack([shot.features for shot in shots]), 0))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    for n in range(len(shots)):
        tags = sorted({tag for shot in shots[:n] for tag in shot.tags})
        if n < 2:
            yield tags
            continue
        given = np.array([[tag in shot.tags for tag in tags] for shot in shots[:n]], dtype=float)
        seen = features[: n + 1] - features[:n].mean(0)
        seen /= np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-9)
        kernel = np.exp(gamma * (seen[:n] @ seen[:n].T - 1))
        fit = np.linalg.solve(kernel + lam * np.eye(n), given - given.mean(0))
        gain = np.exp(gamma * (seen[n] @ seen[:n].T - 1)) @ fit
        share = (given.sum(0) + 0.3) / (n + 6.0)
        yield [tags[i] for i in np.argsort(-(np.log(share / (1 - share)) + weight * gain), kind="stable")]


def measure(lists: Sequence[Sequence[str]], shots: Sequence[Shot]) -> np.ndarray:
    """Return (N, 3): whether the first tag is right, precision@5, recall@9."""
    rows = []
    for tags, shot in zip(lists, shots, strict=True):
        right = set(shot.tags)
        first = bool(tags) and tags[0] in right
        rows.append((first, len(set(tags[:5]) & right) / 5, len(set(tags[:9]) & right) / len(right)))
    return np.array(rows, float)


Scorer = Callable[[Weighed], np.ndarray]
