"""Ranked tags for photos outside any project, as ``annotator suggest`` prints them.

The ranking is that of a project without tagged photos: only the photo and its own metadata are evidence.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotator.datasets.image_folder import decode_image, read_image_file
from annotator.datasets.metadata_words import caption_words
from annotator.datasets.sidecars import SidecarFinder, read_metadata
from annotator.errors import DetectorError, UnreadableImageError
from annotator.models.backbones.backbone import load_backbone
from annotator.models.checkpoint import load_backbone_of
from annotator.models.detectors.detector import NANODET, Detector
from annotator.models.detectors.detector_catalog import load_detector
from annotator.models.tagger import Labels, Tagger
from annotator.models.taggers.cold_start import COLD_START
from annotator.proposals.builder import Ranking
from annotator.proposals.evidence import Words
from annotator.proposals.feature_source import FeaturesInMemory
from annotator.proposals.fusion import Proposal
from annotator.proposals.sources.detector import detector_labels
from annotator.proposals.tagger_catalog import TaggerCatalog, default_tagger
from annotator.storage.features import Vectors

logger = logging.getLogger(__name__)

IMAGE_ID = 1
"""Id of the photo that is ranked; outside a project there is only one at a time."""


def suggest_files(
    paths: Sequence[Path], num_tags: int, tagger: str = ""
) -> Iterator[tuple[Path, list[dict[str, Any]] | UnreadableImageError]]:
    """Yield (path, ranked tags) for each photo, or (path, error) where it cannot be read.

    Args:
        paths: Photos.
        num_tags: Most tags for each.
        tagger: ``cold_start``, ``starter/NAME`` or a checkpoint's folder; empty takes the default one.

    Yields:
        Tags as ``{"tag", "score", "source"}``, best first. If the source is a tagger with parts, also the part that
        proposed the tag (``from``) and, for a similar word, the tag that it is similar to (``of``).

    Raises:
        BackboneError: The backbone cannot be loaded.
        CheckpointError: The tagger's checkpoint is missing or damaged.
    """
    is_checkpoint = tagger not in ("", COLD_START)
    backbone = load_backbone_of(tagger) if is_checkpoint else load_backbone()
    catalog = TaggerCatalog(backbone, Path(), tagger or default_tagger(backbone))
    detector = _detector_for(catalog.taggers[0])
    labels: Labels = ()
    vectors: dict[int, Vectors] = {}
    features = FeaturesInMemory(vectors, backbone.feature_size)
    ranking = Ranking(features, catalog.cold_start, tag="suggest")
    proposer = ranking.proposer(
        lambda: catalog.taggers,
        ranking.context(max_at_once=None),
        labels=lambda image_id: labels,
        open_vocabulary=catalog.open_vocabulary,
    )
    sidecars = SidecarFinder()
    min_side = max(backbone.image_size * 2, detector.image_size if detector else 0)
    for path in paths:
        try:
            decoded = decode_image(read_image_file(path), min_side=min_side)
        except UnreadableImageError as error:
            yield path, error
            continue
        vectors[IMAGE_ID] = backbone.extract(np.stack([backbone.preprocess(decoded.image)]))[0]
        labels = detector_labels(detector.detect([decoded.image])[0]) if detector else ()
        metadata = read_metadata(path, decoded, root=path.parent, sidecars=sidecars)
        own = (*metadata.keywords, *metadata.user_tags)
        words = Words(own, metadata.path_words, caption_words(metadata.caption))
        proposals = proposer.propose(IMAGE_ID, words, num=num_tags).proposals
        yield path, [_to_json(proposal) for proposal in proposals]


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
