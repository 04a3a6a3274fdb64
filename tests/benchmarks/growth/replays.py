"""What growing.py and fit_fusion.py share: a folder tagged photo by photo in memory, with the page's own ranking."""

import hashlib
import json
import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from annotator.datasets.image_folder import decode_image, read_image_file
from annotator.datasets.record import read_records
from annotator.datasets.splits import load_split
from annotator.models import checkpoint
from annotator.models.backbones.backbone import load_backbone
from annotator.models.detectors.detector import NANODET, Detection
from annotator.models.detectors.detector_catalog import load_detector
from annotator.models.fusion import LEAST_PROBABILITY, Fusion
from annotator.models.tagger import Tagger
from annotator.models.taggers.cold_start import ColdStartTagger
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.proposals.builder import Ranking
from annotator.proposals.evidence import Words
from annotator.proposals.fusion import Proposal
from annotator.proposals.project_evidence import Candidates
from annotator.proposals.tagger_catalog import MAX_NEW_TAGS, with_rows_for
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
    path: Path | None = None
    detections: tuple[Detection, ...] = ()

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
    has_detector: bool = True
    """Whether NanoDet, which must be installed, is asked about every photo."""

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
                record.image,
            )
            for record, features in zip(extracted.records, extracted.features, strict=True)
        ]

    def detected(self, shots: Sequence[Shot]) -> list[Shot]:
        """Return photos with what the detector finds in them; kept in the cache folder, if there is one."""
        path = self.cache / "detections.json" if self.cache else None
        kept = json.loads(path.read_text()) if path and path.exists() else {}
        missing = [shot for shot in shots if shot.name not in kept]
        if missing:
            detector = load_detector(NANODET)
            for shot in missing:
                assert shot.path is not None
                decoded = decode_image(read_image_file(shot.path), min_side=detector.image_size)
                found = detector.detect([decoded.image])[0]
                kept[shot.name] = [(item.label, float(item.score), list(map(float, item.box))) for item in found]
            if path:
                path.write_text(json.dumps(kept))
        return [
            replace(
                shot, detections=tuple(Detection(label, score, tuple(box)) for label, score, box in kept[shot.name])
            )
            for shot in shots
        ]


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
    return world.detected(rows) if world.has_detector else rows


@dataclass(frozen=True)
class Setting:
    """What the photos and the program bring along."""

    has_keywords: bool = False
    """Whether the photos' own keywords are known."""
    has_detections: bool = False
    has_trained_tagger: bool = True
    """False: the cold start alone."""


class Growing:
    """A project without a server, whose photos are saved one after the other.

    Args:
        world: Shared.
        shots: N photos, numbered from 0.
        setting: What they bring along.
        fusion: None: the model of the package.
        least: Least probability of a proposal.
    """

    def __init__(
        self,
        world: World,
        shots: Sequence[Shot],
        setting: Setting = Setting(),
        fusion: Fusion | None = None,
        least: float = LEAST_PROBABILITY,
    ) -> None:
        self.world, self.shots = world, shots
        self._folder = tempfile.TemporaryDirectory()
        features = FeatureStore(Path(self._folder.name), "replay", shots[0].features.size)
        rows = features.append(np.stack([shot.features for shot in shots]))
        features.commit(list(enumerate(rows, start=1)))
        ranking = Ranking(features, world.cold_start, tag="replay")
        ranking.use_word_vectors(world.word_vectors)
        self.words = [Words(shot.keywords if setting.has_keywords else ()) for shot in shots]
        ranking.load({number + 1: words for number, words in enumerate(self.words)}, {})
        self.vocabulary, self.tagged_photos = ranking.vocabulary, ranking.tagged_photos
        self._loaded = world.taggers if setting.has_trained_tagger else world.taggers[1:]
        self._taggers = self._loaded
        self._mixtures: dict[str, Any] = {}
        self._tags: list[str] = []
        self.proposer = ranking.proposer(
            lambda: self._taggers,
            ranking.context(max_at_once=None),
            detections=lambda image_id: shots[image_id - 1].detections if setting.has_detections else (),
            open_vocabulary=world.opened,
            added_words=world.added,
            fusion=fusion,
            least=lambda: least,
        )

    def candidates(self, number: int, kept: Sequence[str] = ()) -> Candidates:
        """Return the candidates of a photo with the features of the fusion model."""
        return self.proposer.fusion_features(number + 1, self.words[number], kept)

    def proposals(self, number: int, kept: Sequence[str] = ()) -> list[Proposal]:
        """Return the list as the page serves it."""
        return self.proposer.propose(number + 1, self.words[number], kept).proposals

    def save(self, number: int) -> None:
        """Save the record's tags."""
        tags = self.shots[number].tags
        self.tagged_photos.set_saved(number + 1, tuple(tags))
        self._tags += [tag for tag in tags if tag not in self._tags]
        self._taggers = with_rows_for(self._tags[:MAX_NEW_TAGS], self._loaded, self.world.word_vectors, self._mixtures)

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
