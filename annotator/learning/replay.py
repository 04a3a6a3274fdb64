"""The proposals of the served session with a given model, rebuilt from a snapshot for the promotion test.

All other sources of evidence and all completions are those of the session, so that a model is judged by what it adds:
of a vision-language model the stored answers, of an image-text model the words that are embedded already.
Only corrected photos are neighbours. While a photo is replayed it is excluded from its own evidence: it counts as not
saved. Knows nothing of processes or verdicts.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from annotator.errors import WordVectorError
from annotator.learning.snapshot import Snapshot
from annotator.models.backbones.text_index import TextIndex
from annotator.models.reranker import Matrix
from annotator.models.tagger import Tagger
from annotator.models.taggers.cold_start import ColdStartTagger
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.models.word_vectors.word_vectors import WordVectors
from annotator.proposals.builder import Ranking
from annotator.proposals.evidence import Words
from annotator.proposals.fusion import num_expected
from annotator.proposals.late_evidence import LateSource
from annotator.proposals.proposer import Proposer
from annotator.proposals.sources.text_tower import TextTowerSource, words_to_compare
from annotator.proposals.sources.vision_language import VisionLanguageSource
from annotator.proposals.tagger_catalog import MAX_NEW_TAGS, with_rows_for
from annotator.proposals.vocabulary.completions import completions_of, word_scores_of
from annotator.proposals.vocabulary.project_vocabulary import WordScores, no_word_scores
from annotator.proposals.vocabulary.similar_tags import SimilarTags
from annotator.settings import LEAST_PROBABILITY
from annotator.storage.features import FeatureStore
from annotator.storage.vocabulary import ImportedVocabulary
from annotator.trainer.evaluation.effort import ActionCosts, Offer

logger = logging.getLogger(__name__)

PAGE_COSTS = ActionCosts(
    num_key_rows=9, num_completion_digits=9, can_complete_words=True, can_accept=True, can_take_and_save=True
)
"""Costs of the actions in the user interface."""
LEAST_PHOTOS = 2
"""Least photos with a tag for which a model gets a row from similar words, so that tags of the excluded photo alone get
none."""


@dataclass(frozen=True)
class ReplaySources:
    """Sources of evidence beside the model and the corrections."""

    cold_start: ColdStartTagger
    """Proposes words that a model does not know."""
    open_vocabulary: OpenVocabulary | None = None
    """Scores words outside the vocabularies of the taggers."""
    word_vectors: WordVectors | None = None
    """For completions, and for rows of a model for the project's own tags."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Key of a renamed or merged tag -> its present name."""
    show_expected: bool = True
    """Whether the user interface shows the expected line."""
    least_probability: float = LEAST_PROBABILITY
    """Least probability of a proposal."""
    never_proposed: tuple[str, ...] = ()
    """Tags that are not proposed, and completed only when they are typed in full."""
    log_losses: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """What the session has learnt (`Proposer.log_losses`); the same for all models."""
    vision_language_model: str = ""
    """Whose answers in the snapshot are proposed; empty: none."""
    text_index: TextIndex | None = None
    """Of the backbone's text tower; its words are set here."""
    imported: ImportedVocabulary = field(default_factory=ImportedVocabulary)
    """The vocabulary of the project."""


class ReplayedEvidence:
    """The evidence that the replays of all models share.

    Args:
        snapshot: The corrections.
        features: Features by image id, at least of the corrected photos.
        sources: All other sources.
    """

    def __init__(self, snapshot: Snapshot, features: FeatureStore, sources: ReplaySources) -> None:
        self._features = features
        self._sources = sources
        self._detections = snapshot.detections
        self.words = snapshot.words
        self.show_expected = sources.show_expected
        self.never_proposed = sources.never_proposed
        imported = sources.imported
        self._ranking = Ranking(features, sources.cold_start, "replay", imported.tags, imported.aliases)
        self.vocabulary = self._ranking.vocabulary
        self.similar_tags = SimilarTags("")
        if sources.word_vectors is not None:
            self.similar_tags.vectors = sources.word_vectors
            self._ranking.use_word_vectors(sources.word_vectors)
        self._tagged_photos = self._ranking.tagged_photos
        self._tags = {item.image_id: item.tags for item in snapshot.corrections}
        self._ranking.load(snapshot.words, self._tags, sources.aliases)
        self._late_sources: list[LateSource] = []
        if sources.vision_language_model:
            self._late_sources.append(
                VisionLanguageSource(sources.vision_language_model, lambda image_id: snapshot.answers.get(image_id, ()))
            )
        if sources.text_index is not None:
            in_use, known = self.vocabulary.tags_in_use(), sources.cold_start.allowed_words()
            sources.text_index.use_known(words_to_compare(in_use, imported.tags, imported.use, known))
            self._late_sources.append(TextTowerSource(sources.text_index, features, imported.permits))
        self._excluded_id: int | None = None
        self._added_words: AddedWords | None = None
        if (
            sources.open_vocabulary is not None and sources.word_vectors is not None
        ):  # as in the session: only with word vectors
            self._added_words = AddedWords(sources.open_vocabulary)
            try:
                self._added_words.load()
            except WordVectorError as error:
                logger.warning("As in the session, the project's own tags are not scored. %s", error)

    def proposer_of(self, tagger: Tagger) -> "ReplayedProposer":
        """Return the proposer with one model; afterwards no photo is excluded."""
        self._include_again()
        tags = self.vocabulary.common_tags(LEAST_PHOTOS)[:MAX_NEW_TAGS]
        taggers = with_rows_for(tags, (tagger, self._sources.cold_start), self._sources.word_vectors)
        proposer = self._ranking.proposer(
            lambda: taggers,
            self._ranking.context(max_at_once=None),
            detections=lambda image_id: self._detections.get(image_id, ()),
            open_vocabulary=self._sources.open_vocabulary,
            added_words=self._added_words,
            least=lambda: self._sources.least_probability,
            never=lambda: self._sources.never_proposed,
            log_losses=self._sources.log_losses,
            late_sources=self._late_sources,
            permits=self._sources.imported.permits if self._sources.imported.use else None,
        )
        proposer.prepare()
        return ReplayedProposer(self, proposer, taggers[0])

    def exclude(self, image_id: int) -> Words:
        """Exclude the correction of one photo, instead of the one before, and return the words of its metadata."""
        if image_id != self._excluded_id:
            self._include_again()
            self._tagged_photos.set_saved(image_id, None)
            self._excluded_id = image_id
        return self.words[image_id]

    def word_scores(self, image_id: int) -> WordScores:
        """Return the open vocabulary's scores of words for a photo."""
        if image_id not in self._features:
            return no_word_scores
        return word_scores_of(self._added_words, self._features.vectors([image_id]))

    def _include_again(self) -> None:
        if self._excluded_id is not None:
            self._tagged_photos.set_saved(self._excluded_id, self._tags[self._excluded_id])
            self._excluded_id = None


class ReplayedProposer:
    """The proposals with one model; a `ReplayedModel` of trainer/finetuning/promotion_test.py.

    Args:
        evidence: Shared with the replays of other models.
        proposer: Proposes with this model.
        tagger: The model.
    """

    def __init__(self, evidence: ReplayedEvidence, proposer: Proposer, tagger: Tagger) -> None:
        self._evidence = evidence
        self._proposer = proposer
        self._tagger = tagger
        self._scored: tuple[tuple[int, tuple[str, ...]], dict[str, float]] | None = None

    def propose(self, image_id: int, kept: Sequence[str], dropped: Sequence[str]) -> Offer:
        """Return the proposals after an edit."""
        words = self._evidence.exclude(image_id)
        proposals = self._proposer.propose(image_id, words, kept, dropped).proposals
        expected = num_expected(proposals) if self._evidence.show_expected else 0
        return Offer([proposal.tag for proposal in proposals], expected)

    def reranker_features(self, image_id: int, kept: Sequence[str]) -> tuple[list[str], Matrix]:
        """Return the input of a re-ranker after an edit: N tags and their (N, F) features."""
        return self._proposer.reranker_features(image_id, self._evidence.exclude(image_id), kept)

    def complete(self, image_id: int, text: str, kept: Sequence[str]) -> list[str]:
        """Return completions of typed text, best first."""
        words = self._evidence.exclude(image_id)
        key = (image_id, tuple(kept))
        if self._scored is None or self._scored[0] != key:  # called for each character of one word
            self._scored = (key, self._proposer.scores(image_id, words, kept))
        found = completions_of(
            text,
            self._scored[1],
            kept,
            vocabulary=self._evidence.vocabulary,
            similar_tags=self._evidence.similar_tags,
            tagger=self._tagger,
            word_scores=self._evidence.word_scores(image_id),
            never=self._evidence.never_proposed,
        )
        return [completion.tag for completion in found]
