"""Wires the ranking of one project: indexes of tagged photos, vocabulary, context and proposer.

The served page, the simulation, ``annotator suggest`` and the promotion test all build it here, so that the same photo
in the same project gets the same list everywhere. Knows nothing of databases, threads or pages.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from annotator.datasets.vocabulary import everyday_words
from annotator.models.detectors.detector import Detection
from annotator.models.tagger import Labels, Tagger
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.models.word_vectors.word_vectors import WordVectors
from annotator.proposals.context import MAX_READ_AT_ONCE, ProjectContext
from annotator.proposals.evidence import Words
from annotator.proposals.feature_source import FeatureSource
from annotator.proposals.proposer import Proposer
from annotator.proposals.tagged_photos import TaggedPhotos
from annotator.proposals.vocabulary.lexicon import shared_lexicon
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex, VectorIndexSettings


class Ranking:
    """What ranks the tags of one project's photos, beside the taggers.

    Args:
        features: Features by image id.
        cold_start_words: The words of the cold start; the vocabulary completes them.
        tag: Names the index of tagged photos.
    """

    def __init__(self, features: FeatureSource, cold_start_words: Iterable[str], tag: str) -> None:
        self._features = features
        self.vocabulary = ProjectVocabulary([*everyday_words(), *cold_start_words])
        self._vectors = VectorIndex(features.feature_size, VectorIndexSettings(), features.vectors, tag=tag)
        self._keywords = KeywordIndex()
        self.tagged_photos = TaggedPhotos(features, self._vectors, self._keywords, self.vocabulary)

    def load(
        self, words: dict[int, Words], saved: dict[int, tuple[str, ...]], aliases: Mapping[str, str] | None = None
    ) -> None:
        """Fill the indexes and counts from what the project has saved.

        Args:
            words: Image id -> the photo's own words.
            saved: Image id -> the saved tags, most important first.
            aliases: Key of a renamed or merged tag -> its present name.
        """
        self.tagged_photos.load(words, saved)
        self.vocabulary.set_aliases(aliases or {})

    def use_word_vectors(self, vectors: WordVectors) -> None:
        """Complete words by the subject of the project from now on."""
        self.vocabulary.use_lexicon(shared_lexicon(vectors))

    def context(self, *, max_at_once: int | None = MAX_READ_AT_ONCE) -> ProjectContext:
        """Return what gathers the context of photos for taggers that use one; see `ProjectContext`."""
        return ProjectContext(self._features, self._vectors, self.tagged_photos, max_at_once=max_at_once)

    def proposer(
        self,
        taggers: Callable[[], Sequence[Tagger]],
        context: ProjectContext,
        *,
        detections: Callable[[int], Sequence[Detection]] = lambda image_id: (),
        labels: Callable[[int], Labels] = lambda image_id: (),
        open_vocabulary: OpenVocabulary | None = None,
        added_words: AddedWords | None = None,
    ) -> Proposer:
        """Return what proposes tags.

        Args:
            taggers: Gives the taggers in use, the trained one first.
            context: Of `context`.
            detections: Image id -> objects found in the photo, a source of evidence of its own.
            labels: Image id -> labels for taggers that take them as input.
            open_vocabulary: Scores words that no tagger knows.
            added_words: Scores the project's own tags that neither a tagger nor the open vocabulary knows.
        """
        return Proposer(
            taggers,
            self._features,
            self._vectors,
            self._keywords,
            self.tagged_photos.tags_of,
            self.vocabulary,
            context.gather,
            detections=detections,
            labels=labels,
            opened=open_vocabulary,
            added=added_words,
            habits=self.tagged_photos.habits,
        )
