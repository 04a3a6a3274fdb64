"""What the page would show with a given model: all evidence rebuilt from a snapshot, for the replay gate.

Neighbours, metadata, detections, the open vocabulary, the photos' own words and everything that completes a word speak
as they do in the page, so that a model is judged by what it adds to them. Only corrected photos count as neighbours.
The photo in hand counts as not tagged yet: what its own correction taught the neighbours and the completions is left
out while it is replayed. Knows nothing of processes or verdicts.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from annotator.errors import WordVectorError
from annotator.learning.snapshot import Snapshot
from annotator.models.reranker import Matrix
from annotator.models.tagger import Tagger
from annotator.models.taggers.cold_start import ColdStartTagger
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.models.word_vectors.word_vectors import WordVectors
from annotator.proposals.builder import Ranking
from annotator.proposals.evidence import Words
from annotator.proposals.fusion import num_expected
from annotator.proposals.proposer import Proposer
from annotator.proposals.tagger_catalog import MAX_NEW_TAGS, with_rows_for
from annotator.proposals.vocabulary.completions import completions_of
from annotator.proposals.vocabulary.similar_tags import SimilarTags
from annotator.storage.features import FeatureStore
from annotator.trainer.evaluation.effort import ActionCosts, Offer

logger = logging.getLogger(__name__)

PAGE = ActionCosts(
    num_key_rows=9, num_completion_digits=9, can_complete_words=True, can_accept=True, can_take_and_save=True
)
"""What one key of the page reaches."""
LEAST_PHOTOS = 2
"""Photos that carry a tag before the live model gets a row for it from its neighbours in meaning: a tag of the photo in
hand alone must not be known."""


@dataclass(frozen=True)
class PageSources:
    """What a page has beside its model and the project's corrections."""

    cold_start: ColdStartTagger
    """Speaks for words that a model lacks."""
    opened: OpenVocabulary | None = None
    """Scores words that no tagger knows."""
    word_vectors: WordVectors | None = None
    """Complete words by the project's subject and by meaning, and give the model rows for the project's own tags."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """What renamed and merged tags are called now: the old tag's key -> the new tag."""
    show_expected: bool = True
    """Whether the page draws the expected line."""


class ReplayedEvidence:
    """The evidence that all models share.

    Args:
        snapshot: The corrections.
        features: Features by image id, of the corrected photos at least.
        sources: Everything else.
    """

    def __init__(self, snapshot: Snapshot, features: FeatureStore, sources: PageSources) -> None:
        self._features = features
        self._sources = sources
        self._detections = snapshot.detections
        self.words = snapshot.words
        self.show_expected = sources.show_expected
        self._ranking = Ranking(features, sources.cold_start.allowed_words(), tag="replay")
        self.vocabulary = self._ranking.vocabulary
        self.similar_tags = SimilarTags("")
        if sources.word_vectors is not None:
            self.similar_tags.vectors = sources.word_vectors
            self._ranking.use_word_vectors(sources.word_vectors)
        self._carried = self._ranking.tagged_photos
        self._tags = {item.image_id: item.tags for item in snapshot.corrections}
        self._ranking.load(snapshot.words, self._tags, sources.aliases)
        self._in_hand: int | None = None
        self._added: AddedWords | None = None
        if sources.opened is not None and sources.word_vectors is not None:  # as in the page: not without vectors
            self._added = AddedWords(sources.opened)
            try:
                self._added.load()
            except WordVectorError as error:
                logger.warning("Replayed as the page is: the project's own tags are not scored. %s", error)

    def page(self, tagger: Tagger) -> "ReplayedProposer":
        """Return the page with one model; no photo is in hand then."""
        if self._in_hand is not None:
            self._carried.set_saved(self._in_hand, self._tags[self._in_hand])
            self._in_hand = None
        tags = self.vocabulary.common_tags(LEAST_PHOTOS)[:MAX_NEW_TAGS]
        taggers = with_rows_for(tags, (tagger, self._sources.cold_start), self._sources.word_vectors)
        proposer = self._ranking.proposer(
            lambda: taggers,
            self._ranking.context(max_at_once=None),
            detections=lambda image_id: self._detections.get(image_id, ()),
            open_vocabulary=self._sources.opened,
            added_words=self._added,
        )
        return ReplayedProposer(self, proposer, taggers[0])

    def take_in_hand(self, image_id: int) -> Words:
        """Forget the correction of one photo until another is in hand, and return what the photo brings along."""
        if image_id != self._in_hand:
            if self._in_hand is not None:
                self._carried.set_saved(self._in_hand, self._tags[self._in_hand])
            self._carried.set_saved(image_id, None)
            self._in_hand = image_id
        return self.words[image_id]


class ReplayedProposer:
    """The page with one model; a `ReplayedModel` of trainer/replay_gate.py.

    Args:
        evidence: Shared with the pages of other models.
        proposer: Joins all evidence.
        tagger: The model.
    """

    def __init__(self, evidence: ReplayedEvidence, proposer: Proposer, tagger: Tagger) -> None:
        self._evidence = evidence
        self._proposer = proposer
        self._tagger = tagger
        self._scored: tuple[tuple[int, tuple[str, ...]], dict[str, float]] | None = None

    def propose(self, image_id: int, kept: Sequence[str], dropped: Sequence[str]) -> Offer:
        """Return what the page shows after an edit."""
        words = self._evidence.take_in_hand(image_id)
        proposals = self._proposer.propose(image_id, words, kept, dropped).proposals
        expected = num_expected(proposals) if self._evidence.show_expected else 0
        return Offer([proposal.tag for proposal in proposals], expected)

    def open_tags(self, image_id: int, kept: Sequence[str]) -> tuple[list[str], Matrix]:
        """Return what a re-ranker weighs after an edit: N tags and their (N, F) features."""
        return self._proposer.open_tags(image_id, self._evidence.take_in_hand(image_id), kept)

    def complete(self, image_id: int, text: str, kept: Sequence[str]) -> list[str]:
        """Return completions of typed text, best first."""
        words = self._evidence.take_in_hand(image_id)
        key = (image_id, tuple(kept))
        if self._scored is None or self._scored[0] != key:  # asked for each character of one word
            self._scored = (key, self._proposer.scores(image_id, words, kept))
        found = completions_of(
            text,
            self._scored[1],
            kept,
            vocabulary=self._evidence.vocabulary,
            similar_tags=self._evidence.similar_tags,
            tagger=self._tagger,
        )
        return [completion.tag for completion in found]
