"""Ranked tags for photos outside any project, as ``annotator suggest`` prints them.

The ranking is that of a project without tagged photos: only the photo and its own metadata are evidence. An image-text
model compares photos with everyday words, whose embeddings are computed once and kept; a vision-language model is asked
about each photo.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotator.datasets.image_folder import decode_image, display_name, read_image_file
from annotator.datasets.metadata_words import caption_words
from annotator.datasets.sidecars import SidecarFinder, read_metadata
from annotator.errors import AnswerError, BackboneError, DetectorError, EndpointError, UnreadableImageError
from annotator.models.backbones.backbone import load_backbone, load_text_tower
from annotator.models.backbones.text_index import TextIndex
from annotator.models.backbones.text_index import default_cache_path as words_cache_path
from annotator.models.checkpoint import load_backbone_of, starter_for
from annotator.models.detectors.detector import NANODET, Detector
from annotator.models.detectors.detector_catalog import load_detector
from annotator.models.tagger import Labels, Tagger
from annotator.models.taggers.cold_start import COLD_START
from annotator.models.vision_language.address import Endpoint
from annotator.models.vision_language.endpoint import LONGEST_SIDE, VisionLanguageModel
from annotator.proposals.builder import Ranking
from annotator.proposals.evidence import Words
from annotator.proposals.feature_source import FeaturesInMemory
from annotator.proposals.fusion import Proposal
from annotator.proposals.late_evidence import LateSource
from annotator.proposals.sources.detector import detector_labels
from annotator.proposals.sources.text_tower import TextTowerSource, words_to_compare
from annotator.proposals.sources.vision_language import VisionLanguageSource
from annotator.proposals.tagger_catalog import TaggerCatalog, default_tagger
from annotator.settings import LEAST_PROBABILITY
from annotator.storage.features import Vectors

logger = logging.getLogger(__name__)

MAX_FAILURES = 3
"""Questions in a row to a vision-language model that may fail before no more is asked."""
IMAGE_ID = 1
"""Id of the photo that is ranked; outside a project there is only one at a time."""


def suggest_files(
    paths: Sequence[Path],
    num_tags: int,
    tagger: str = "",
    least: float = LEAST_PROBABILITY,
    *,
    backbone_name: str = "",
    endpoint: Endpoint | None = None,
    note: Callable[[str], None] = logger.warning,
) -> Iterator[tuple[Path, list[dict[str, Any]] | UnreadableImageError]]:
    """Yield (path, ranked tags) for each photo, or (path, error) where it cannot be read.

    Args:
        paths: Photos.
        num_tags: Most tags for each.
        tagger: ``cold_start``, ``starter/NAME`` or a checkpoint's folder; empty takes the default one.
        least: Least probability of a tag.
        backbone_name: Of the network that sees the photos; empty: the tagger's.
        endpoint: Of a vision-language model, which is sent every photo; None: none.
        note: Called with a sentence about what takes long, or what the proposals go without.

    Yields:
        Tags as ``{"tag", "score", "source"}``, best first. If the source is a tagger with parts, also the part that
        proposed the tag (``from``) and, for a similar word, the tag that it is similar to (``of``).

    Raises:
        BackboneError: The backbone cannot be loaded.
        CheckpointError: The tagger's checkpoint is missing or damaged, or of another backbone.
    """
    if backbone_name:
        backbone = load_backbone(backbone_name)
        tagger = starter_for(tagger, backbone.name)
    else:
        is_checkpoint = tagger not in ("", COLD_START)
        backbone = load_backbone_of(tagger) if is_checkpoint else load_backbone()
    catalog = TaggerCatalog(backbone, Path(), tagger or default_tagger(backbone))
    detector = _detector_for(catalog.taggers[0])
    labels: Labels = ()
    vectors: dict[int, Vectors] = {}
    features = FeaturesInMemory(vectors, backbone.feature_size)
    ranking = Ranking(features, catalog.cold_start, tag="suggest")
    late_sources: list[LateSource] = []
    asked = None if endpoint is None else _AskedModel(endpoint, note)
    if asked is not None:
        late_sources.append(VisionLanguageSource(asked.name, lambda image_id: asked.tags))
    index = _text_index(backbone.name, catalog.cold_start.allowed_words(), note)
    if index is not None:
        late_sources.append(TextTowerSource(index, features))
    proposer = ranking.proposer(
        lambda: catalog.taggers,
        ranking.context(max_at_once=None),
        labels=lambda image_id: labels,
        open_vocabulary=catalog.open_vocabulary,
        least=lambda: least,
        late_sources=late_sources,
    )
    sidecars = SidecarFinder()
    min_side = max(backbone.image_size * 2, detector.image_size if detector else 0)
    for path in paths:
        try:
            content = read_image_file(path)
            decoded = decode_image(content, min_side=min_side)
        except UnreadableImageError as error:
            yield path, error
            continue
        vectors[IMAGE_ID] = backbone.extract(np.stack([backbone.preprocess(decoded.image)]))[0]
        labels = detector_labels(detector.detect([decoded.image])[0]) if detector else ()
        if asked is not None:
            asked.ask(path, content)
        metadata = read_metadata(path, decoded, root=path.parent, sidecars=sidecars)
        own = (*metadata.keywords, *metadata.user_tags)
        words = Words(own, metadata.path_words, caption_words(metadata.caption))
        proposals = proposer.propose(IMAGE_ID, words, num=num_tags).proposals
        yield path, [_to_json(proposal) for proposal in proposals]


class _AskedModel:
    """A vision-language model, asked about one photo at a time.

    Attributes:
        name: Of the model.
        tags: Of the newest photo, most important first; empty where it has no answer.
    """

    def __init__(self, endpoint: Endpoint, note: Callable[[str], None]) -> None:
        self.name = endpoint.model
        self.tags: tuple[str, ...] = ()
        self._model = VisionLanguageModel(endpoint)
        self._note = note
        self._num_failures = 0
        self._is_of_use = True

    def ask(self, path: Path, content: bytes) -> None:
        """Ask about a photo, unless asking was in vain before."""
        self.tags = ()
        if not self._is_of_use:
            return
        try:
            self.tags = self._model.ask(decode_image(content, min_side=LONGEST_SIDE).image).tags
            self._num_failures = 0
        except AnswerError as error:
            self._note(f"{display_name(path)} goes without the vision-language model. {error}")
        except EndpointError as error:
            self._num_failures += 1
            self._is_of_use = not error.is_lasting and self._num_failures < MAX_FAILURES
            which = display_name(path) if self._is_of_use else f"{display_name(path)} and all further photos"
            self._note(f"The vision-language model is not asked about {which}. {error}")


def _text_index(name: str, known_words: Sequence[str], note: Callable[[str], None]) -> TextIndex | None:
    """Return the everyday words as a backbone's text tower embeds them; None for one without a text tower."""
    tower = load_text_tower(name)
    if tower is None:
        return None
    index = TextIndex(tower, folder=words_cache_path())
    words = words_to_compare((), (), "", known_words)
    if index.use_known(words) < len(words):
        note(f"The text tower of {name} reads {len(words):,} words; this happens once.")
        try:
            index.set_words(words)
        except BackboneError as error:  # the cache cannot be written
            note(str(error))
    return index


def _detector_for(tagger: Tagger) -> Detector | None:
    """Return the installed detector if the tagger takes labels; warn if there is none."""
    if not tagger.capabilities.uses_labels:
        return None
    try:
        return load_detector(NANODET)
    except DetectorError as error:
        logger.warning("The tagger %s goes without a detector's labels. %s", tagger.name, error)
        return None


def _to_json(proposal: Proposal) -> dict[str, Any]:
    found: dict[str, Any] = {"tag": proposal.tag, "score": round(proposal.score, 4), "source": proposal.source}
    for item in proposal.evidence:
        if item.origin and item.source == proposal.source:
            return found | {"from": item.origin} | ({"of": item.of} if item.of else {})
    return found
