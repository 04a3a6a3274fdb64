"""Builds the ranking of one project: indexes of tagged photos, vocabulary, context and proposer.

The served session, the simulation, ``annotator suggest`` and the promotion test all use it, so that the same photo in
the same project gets the same list in each. Knows nothing of databases, threads or the user interface.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from annotator.datasets.vocabulary import everyday_words
from annotator.models.detectors.detector import Detection
from annotator.models.fusion import Fusion
from annotator.models.tagger import Labels, Tagger
from annotator.models.taggers.cold_start import ColdStartTagger
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.models.word_vectors.word_vectors import WordVectors
from annotator.proposals.context import MAX_READ_AT_ONCE, ProjectContext
from annotator.proposals.evidence import Words
from annotator.proposals.feature_source import FeatureSource
from annotator.proposals.forecast_mixture import ForecastMixture
from annotator.proposals.late_evidence import LateEvidence, LateSource
from annotator.proposals.project_evidence import ProjectEvidence
from annotator.proposals.project_evidence_updates import ProjectEvidenceUpdates
from annotator.proposals.proposer import Proposer
from annotator.proposals.tagged_photos import TaggedPhotos
from annotator.proposals.vocabulary.lexicon import shared_lexicon
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex, VectorIndexSettings
from annotator.settings import LEAST_PROBABILITY


class Ranking:
    """Everything but the taggers that the ranking of one project needs.

    Args:
        features: Features by image id.
        cold_start: Its words are offered as completions; its class probabilities are a view for the head, and evidence
            for and against tags.
        tag: Identifies the features in the index of tagged photos.
        words: Of an imported vocabulary, offered before everyday words.
        aliases: Of an imported vocabulary: key of an alias -> its tag.
        spellings: Of an imported vocabulary: key of a tag -> its spelling.
        vectors: The index of tagged photos as it was kept; None: an empty one.
    """

    def __init__(
        self,
        features: FeatureSource,
        cold_start: ColdStartTagger,
        tag: str,
        words: Sequence[str] = (),
        aliases: Mapping[str, str] | None = None,
        spellings: Mapping[str, str] | None = None,
        vectors: VectorIndex | None = None,
    ) -> None:
        self._features = features
        offered = [*words, *everyday_words(), *cold_start.allowed_words()]
        self.vocabulary = ProjectVocabulary(offered, aliases, spellings)
        self._words = tuple(words)
        self._classes = cold_start if cold_start.has_classes else None
        if vectors is None:
            vectors = VectorIndex(features.feature_size, VectorIndexSettings(), features.vectors, tag=tag)
        self.vectors = vectors
        """Index of tagged photos."""
        self._keywords = KeywordIndex()
        self.tagged_photos = TaggedPhotos(features, self.vectors, self._keywords, self.vocabulary)

    def load(
        self, words: dict[int, Words], saved: dict[int, tuple[str, ...]], aliases: Mapping[str, str] | None = None
    ) -> None:
        """Fill the indexes and counts with the saved lists of the project.

        Args:
            words: Image id -> words of the photo's metadata.
            saved: Image id -> the saved tags, most important first.
            aliases: Key of a renamed or merged tag -> its present name.
        """
        self.tagged_photos.load(words, saved)
        self.vocabulary.set_aliases(aliases or {})

    def use_word_vectors(self, vectors: WordVectors) -> None:
        """Complete words by their similarity to the tags of the project."""
        self.vocabulary.use_lexicon(shared_lexicon(vectors))

    def context(self, *, max_at_once: int | None = MAX_READ_AT_ONCE) -> ProjectContext:
        """Return the source of contexts for taggers that use one; see `ProjectContext`."""
        return ProjectContext(self._features, self.vectors, self.tagged_photos, max_at_once=max_at_once)

    def proposer(
        self,
        taggers: Callable[[], Sequence[Tagger]],
        context: ProjectContext,
        *,
        detections: Callable[[int], Sequence[Detection]] = lambda image_id: (),
        labels: Callable[[int], Labels] = lambda image_id: (),
        open_vocabulary: OpenVocabulary | None = None,
        added_words: AddedWords | None = None,
        fusion: Fusion | None = None,
        least: Callable[[], float] = lambda: LEAST_PROBABILITY,
        never: Callable[[], Collection[str]] = tuple,
        late_sources: Sequence[LateSource] = (),
        permits: Callable[[str], bool] | None = None,
        log_losses: Mapping[int, Sequence[float]] | None = None,
    ) -> Proposer:
        """Return the proposer of the project.

        Args:
            taggers: Returns the taggers in use, the trained one first.
            context: Returned by `context`.
            detections: Image id -> objects that a detector found in the photo.
            labels: Image id -> labels for taggers that take them as input.
            open_vocabulary: Scores words outside the vocabularies of the taggers.
            added_words: Scores tags of the project that are outside all of these vocabularies.
            fusion: Turns evidence into probabilities; None: the model of the package.
            least: Returns the least probability of a proposal.
            never: Returns tags that are not proposed.
            late_sources: Join after the fusion model, with weights that are learnt in this project.
            permits: Tells whether a tag may be proposed; None: any may.
            log_losses: What another proposer of the project has learnt, to propose as it does; None: learn from saves.
        """
        late = LateEvidence(late_sources, self.tagged_photos.saved_tags)
        if late:
            self.tagged_photos.add_listener(late)
        mixture = ForecastMixture(self.tagged_photos.saved_tags, log_losses)
        if mixture.learns:
            self.tagged_photos.add_listener(mixture)
        project = ProjectEvidence(self._features.feature_size, self._classes)
        return Proposer(
            taggers,
            self._features,
            self.vectors,
            self._keywords,
            self.tagged_photos.tags_of,
            self.vocabulary,
            self.tagged_photos.tag_statistics,
            project,
            ProjectEvidenceUpdates(project, self.tagged_photos, self._features),
            context.gather,
            detections=detections,
            labels=labels,
            open_vocabulary=open_vocabulary,
            added_words=added_words,
            fusion=fusion,
            least=least,
            never=never,
            late=late,
            mixture=mixture,
            permits=permits,
            words=self._words,
        )
