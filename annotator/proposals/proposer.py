"""Proposes tags for a photo: asks all sources for evidence and joins it into one ranked list.

Sources: ``decoder``, a sequential tagger's tags after the kept ones; ``context``, a tagger that uses metadata and
neighbours; ``looks``, any other tagger and the cold start; ``neighbours``, tags of similar photos; ``metadata``, tags
of photos with the same words; ``detector``, detected objects; ``words``, the open vocabulary; ``keywords``, the photo's
own keywords; ``folder``, its folder and file names; ``habits``, the tag statistics. The fusion model
(models/fusion.py) turns all evidence for a tag into one probability, mixed with the one without the tagged photos
(forecast_mixture.py), which decides score and rank; the evidence of
``neighbours`` and ``habits`` is shown as the reason for what project_evidence.py computes from the same photos. Late
sources (late_evidence.py: ``vlm``, a vision-language model; ``text``, the text tower of an image-text model) change
that probability afterwards.
Knows nothing of databases or the user interface: it gets features, indexes and the project's vocabulary.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from annotator.datasets.tags import tag_key
from annotator.models.context import Context, ContextTagger, uses_context
from annotator.models.detectors.detector import Detection
from annotator.models.fusion import Fusion, load_fusion
from annotator.models.new_tags import trained_version
from annotator.models.reranker import IDENTITY, Matrix, Reranker
from annotator.models.tag_order import load_tag_order
from annotator.models.tagger import Labels, Tagger
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.proposals.evidence import Evidence, Neighbour, Words
from annotator.proposals.feature_source import FeatureSource
from annotator.proposals.forecast_mixture import ForecastMixture, forecasts_of
from annotator.proposals.fusion import TAG_STATISTICS, Proposal, merge, without_kept
from annotator.proposals.late_evidence import LateEvidence
from annotator.proposals.project_evidence import Candidates, PhotoState, ProjectEvidence
from annotator.proposals.project_evidence_updates import ProjectEvidenceUpdates
from annotator.proposals.reranking import features_of, rerank, split_proposals, tag_statistics_evidence
from annotator.proposals.sources.detector import detector_evidence
from annotator.proposals.sources.neighbours import metadata_evidence, neighbour_evidence
from annotator.proposals.sources.open_vocabulary import NUM_OPEN, open_evidence
from annotator.proposals.sources.own_words import own_word_evidence
from annotator.proposals.sources.taggers import (
    LEAST_SCORE,
    NUM_PROPOSALS,
    context_ablations,
    decode_photo,
    known_keys,
    source_of,
    tagger_evidence,
    trained_keys,
)
from annotator.proposals.tag_statistics import OtherPhotosStatistics, usual_text
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex
from annotator.settings import LEAST_PROBABILITY
from annotator.storage.features import Vectors

NUM_NEIGHBOURS = 48
"""Most neighbours of each kind."""
MAX_OPEN_SCORES = 200
"""Most words of the open vocabulary among completions."""
MAX_NOTED = 200
"""Saved photos whose first lists are computed at the start, for the weights of late sources and forecasts."""


@dataclass(frozen=True)
class ProposedList:
    """The proposals for a photo, with its neighbours."""

    proposals: list[Proposal]
    """Best first."""
    similar: list[Neighbour] = field(default_factory=list)
    """Tagged photos with similar features, nearest first, including excluded ones."""
    metadata: list[Neighbour] = field(default_factory=list)
    """Tagged photos with the same words, nearest first, including excluded ones."""
    tagger: str = ""
    """Name and version of the first tagger."""
    model: list[Neighbour] | None = None
    """Neighbours in the tagger's context, including excluded ones; None if the tagger uses no context."""
    note: str = ""
    """Why not all neighbours in the context were found by metadata, as a sentence."""
    has_learnt_order: bool = False
    """Whether the tagger has a re-ranker, applied or excluded."""
    has_tag_statistics: bool = False
    """Whether a photo is tagged, so that tag statistics are evidence, excluded or not."""
    has_detections: bool = False
    """Whether a detector found anything in the photo, excluded or not."""
    late_sources: tuple[str, ...] = ()
    """Late sources that name a tag of the photo, excluded or not."""


@dataclass(frozen=True)
class Exclusions:
    """What a user excludes from the evidence for one photo."""

    neighbours: frozenset[int] = frozenset()
    """Image ids."""
    sources: frozenset[str] = frozenset()
    """Sources of evidence. The metadata fields ``keywords``, ``folder`` and ``caption`` are then not used to find
    neighbours either."""


NO_EXCLUSIONS = Exclusions()


@dataclass(frozen=True)
class TaggerContext:
    """The context of one photo, and what is shown of it."""

    context: Context
    """Without excluded neighbours."""
    neighbours: list[Neighbour]
    """With excluded neighbours."""
    note: str
    """As in `ProposedList`."""


@dataclass(frozen=True)
class _Request:
    """A photo, and what a list is wanted for; see `Proposer.propose`."""

    image_id: int
    words: Words
    kept: Sequence[str]
    dropped: Collection[str]
    exclusions: Exclusions
    taggers: Sequence[Tagger]


@dataclass(frozen=True)
class _Answers:
    """The evidence of all sources for one photo."""

    evidence: list[Evidence]
    """For tags that are neither kept nor dropped."""
    detections: Sequence[Detection]
    """Objects found in the photo, even if the detector is excluded."""
    similar: list[Neighbour]
    metadata: list[Neighbour]
    context: TaggerContext | None
    """None if the first tagger uses no context."""
    late_sources: tuple[str, ...]
    """As in `ProposedList`."""


Gather = Callable[[ContextTagger, int, Vectors, Words, Collection[int]], TaggerContext]
"""(tagger, image id, (1, D) features, words, excluded neighbours) -> context."""


class Proposer:
    """Proposes tags for photos of one project.

    Args:
        taggers: Returns the taggers in use, the one with the most weight first.
        features: Features of the project's photos.
        vectors: Index of the features of tagged photos.
        keywords: Index of the metadata words and tags of tagged photos.
        tags_of: Image id -> tags of the photo: the saved ones, else its own keywords.
        vocabulary: Known words and the project's spellings.
        gather: Returns the context of a photo. None: taggers get no context.
        detections: Image id -> objects found in the photo, a source of evidence.
        labels: Image id -> labels for taggers that take them as input. If detections are a source, no labels should be
            given: the same objects would count twice.
        open_vocabulary: Scores words outside the vocabularies of the taggers.
        added_words: Scores tags of the project that are outside all of these vocabularies; None: no scores.
        tag_statistics: Image id -> statistics of the saved lists of all other photos.
        project: What the tagged photos say.
        updates: Loads the tagged photos into `project`.
        fusion: Turns evidence into probabilities.
        least: Returns the least probability of a proposal.
        never: Returns tags that are not proposed.
        late: Sources that join after the fusion model.
        mixture: Weighs the probabilities with and without the tagged photos; None: one that no save reaches.
        permits: Tells whether a tag may be proposed; None: any may.
        words: Of an imported vocabulary, which `added_words` scores after the tags in use.
    """

    def __init__(
        self,
        taggers: Callable[[], Sequence[Tagger]],
        features: FeatureSource,
        vectors: VectorIndex,
        keywords: KeywordIndex,
        tags_of: Callable[[int], Sequence[str]],
        vocabulary: ProjectVocabulary,
        tag_statistics: Callable[[int], OtherPhotosStatistics],
        project: ProjectEvidence,
        updates: ProjectEvidenceUpdates,
        gather: Gather | None = None,
        *,
        detections: Callable[[int], Sequence[Detection]] = lambda image_id: (),
        labels: Callable[[int], Labels] = lambda image_id: (),
        open_vocabulary: OpenVocabulary | None = None,
        added_words: AddedWords | None = None,
        fusion: Fusion | None = None,
        least: Callable[[], float] = lambda: LEAST_PROBABILITY,
        never: Callable[[], Collection[str]] = tuple,
        late: LateEvidence | None = None,
        mixture: ForecastMixture | None = None,
        permits: Callable[[str], bool] | None = None,
        words: Sequence[str] = (),
    ) -> None:
        self._permits = permits
        self._words = tuple(words)
        self._late = late or LateEvidence()
        self._mixture = mixture or ForecastMixture()
        self._open_vocabulary = open_vocabulary
        self._added_words = added_words
        self._tag_statistics = tag_statistics
        self._project = project
        self._updates = updates
        self._fusion = fusion or load_fusion()
        self._least = least
        self._never = never
        self._taggers = taggers
        self._gather = gather
        self._features = features
        self._vectors = vectors
        self._keywords = keywords
        self._tags_of = tags_of
        self._vocabulary = vocabulary
        self._detections = detections
        self._labels = labels
        self._counting = threading.Lock()
        self.num_proposed = 0
        """Lists of proposals that were made."""

    def propose(
        self,
        image_id: int,
        words: Words,
        kept: Sequence[str] = (),
        dropped: Collection[str] = (),
        exclusions: Exclusions = NO_EXCLUSIONS,
        taggers: Sequence[Tagger] | None = None,
        num: int = NUM_PROPOSALS,
    ) -> ProposedList:
        """Propose tags after the kept ones.

        Args:
            image_id: The photo. Without features, only its words count.
            words: Words of its metadata.
            kept: Tags that will be saved, most important first.
            dropped: Refused tags.
            exclusions: Sources and neighbours that are not evidence. Excluded neighbours are returned all the same.
            taggers: Taggers to use; None: those in use.
            num: Most proposals.
        """
        taggers = taggers or self._taggers()
        reranker = _reranker_of(taggers)
        request = _Request(image_id, words, kept, dropped, exclusions, taggers)
        found = self._ask(request)
        proposals = self._join(request, found, self._least())
        with self._counting:
            self.num_proposed += 1
        has_learnt_order = reranker != IDENTITY
        if has_learnt_order and TAG_STATISTICS not in exclusions.sources:
            proposals = rerank(proposals, self._tag_statistics(image_id), kept, reranker)
        if found.detections and "detector" not in exclusions.sources:
            entries = [(proposal.tag, proposal.rank_score, proposal.score) for proposal in proposals]
            proposals = [proposals[place] for place in load_tag_order().reorder(entries, found.detections)]
        return ProposedList(
            proposals[:num],
            found.similar,
            found.metadata,
            _label(taggers),
            found.context.neighbours if found.context else None,
            found.context.note if found.context else "",
            has_learnt_order,
            len(self._project) > 0,
            bool(found.detections),
            found.late_sources,
        )

    def prepare(self, is_stopping: Callable[[], bool] = lambda: False) -> None:
        """Load the tagged photos, count the tag statistics, and ask the taggers about the exemplars.

        It takes about 10 ms an exemplar. Without it, lists are right but take no account of how often the taggers are
        right in this project.

        Args:
            is_stopping: Tells whether to stop early.
        """
        self._updates.load()
        self._tag_statistics(0)
        taggers = self._use_taggers()
        for image_id in self._project.without_expectation():
            if is_stopping():
                return
            request = _Request(image_id, self._updates.words_of(image_id), (), (), NO_EXCLUSIONS, taggers)
            if image_id in self._features:
                vector = self._features.vectors([image_id])
                evidence = self._tagger_evidence(request, vector, self._context(request, vector))
                self._project.expect(image_id, _trained_label(taggers), evidence)
        for image_id in reversed(self._updates.newest_saved(MAX_NOTED)):
            if is_stopping():
                return
            is_missing = self._mixture.learns and image_id in self._features and not self._mixture.is_noted(image_id)
            if not self._late.is_noted(image_id) and self._late.evidence(image_id):
                is_missing = True
            if is_missing:
                self.note_first_list(image_id, taggers)

    def note_first_list(self, image_id: int, taggers: Sequence[Tagger] | None = None) -> None:
        """Note the first list of a saved photo, so that what was saved counts for the late sources and the mixture.

        Args:
            image_id: The photo.
            taggers: Taggers to use; None: those in use.
        """
        request = _Request(
            image_id, self._updates.words_of(image_id), (), (), NO_EXCLUSIONS, taggers or self._taggers()
        )
        self._join(request, self._ask(request))

    def log_losses(self) -> dict[int, list[float]]:
        """Return what the mixture has learnt; see `ForecastMixture.losses`."""
        return self._mixture.losses()

    def _use_taggers(self) -> Sequence[Tagger]:
        """Tell the project's evidence which taggers are in use, and return them."""
        taggers = self._taggers()
        # A cold start that is alone has no trained tags.
        self._project.use_tagger(_trained_label(taggers), trained_keys(taggers[0]) if len(taggers) > 1 else frozenset())
        return taggers

    def fusion_features(self, image_id: int, words: Words, kept: Sequence[str] = ()) -> Candidates:
        """Return the input of the fusion model, to fit one.

        Args:
            image_id: The photo; its own saved list does not count.
            words: Words of its metadata.
            kept: Tags that will be saved, most important first.
        """
        request = _Request(image_id, words, kept, (), NO_EXCLUSIONS, self._taggers())
        return self._candidates(request, self._ask(request).evidence)

    def reranker_features(self, image_id: int, words: Words, kept: Sequence[str]) -> tuple[list[str], Matrix]:
        """Return the input of a re-ranker, to train one: N tags and their (N, F) features.

        Args:
            image_id: The photo; its own saved list does not count.
            words: Words of its metadata.
            kept: Tags that will be saved, most important first.
        """
        request = _Request(image_id, words, kept, (), NO_EXCLUSIONS, self._taggers())
        reranked, _ = split_proposals(self._join(request, self._ask(request)))
        return [item.tag for item in reranked], features_of(reranked, self._tag_statistics(image_id), kept)

    def _join(self, request: _Request, found: _Answers, least: float = 0.0) -> list[Proposal]:
        """Return the proposals from all evidence, best first, without tags that are less likely than `least`."""
        candidates = self._candidates(request, found.evidence)
        num = candidates.num_photos
        closed = {tag_key(tag) for tag in (*request.kept, *request.dropped, *self._never())}
        evidence = [item for item in found.evidence if tag_key(item.tag) not in closed]
        if self._permits is not None:
            evidence = [item for item in evidence if self._permits(item.tag)]
        with_evidence = {tag_key(item.tag) for item in evidence}
        fused: dict[str, float] = {}
        for key, count, probability in zip(
            candidates.keys,
            candidates.counts.tolist(),
            self._probabilities(request, candidates).tolist(),
            strict=True,
        ):
            name = self._vocabulary.renamed(key)  # saved lists may have the former name of a tag
            present = tag_key(name)
            if present in closed or (self._permits is not None and not self._permits(name)):
                continue
            fused[present] = max(probability, fused.get(present, 0.0))
            if count and present not in with_evidence:
                evidence.append(Evidence(name, TAG_STATISTICS, count / num, usual_text(count, num)))
        if not request.kept and not request.dropped and request.exclusions == NO_EXCLUSIONS:
            self._late.note(request.image_id, fused, evidence)
        probabilities = self._late.adjust(fused, evidence)
        return merge(evidence, probabilities, self._vocabulary.spelling, self._vocabulary.is_used, least)

    def _probabilities(self, request: _Request, candidates: Candidates) -> Matrix:
        """Return the probability of each candidate, (C,), from all but the late sources."""
        if candidates.num_photos == 0:
            return self._fusion.probabilities(candidates.features)
        forecasts = forecasts_of(self._fusion, candidates.features)
        is_first_list = not request.kept and not request.dropped and request.exclusions == NO_EXCLUSIONS
        if is_first_list and _trained_label(request.taggers) == _trained_label(self._taggers()):
            self._mixture.note(request.image_id, candidates.keys, forecasts)
        mixed: Matrix = self._mixture.weights(request.image_id) @ forecasts
        return mixed

    def _ask(self, request: _Request) -> _Answers:
        """Return the evidence of all sources that are not excluded."""
        image_id, kept, exclusions = request.image_id, request.kept, request.exclusions
        words = request.words.without(exclusions.sources)
        evidence: list[Evidence] = []
        similar: list[Neighbour] = []
        context: TaggerContext | None = None
        if image_id in self._features:
            vector = self._features.vectors([image_id])
            context = self._context(request, vector)
            evidence += self._tagger_evidence(request, vector, context)
            if not kept and not request.dropped and exclusions == NO_EXCLUSIONS:
                self._use_taggers()
                self._project.expect(image_id, _trained_label(request.taggers), evidence)
            evidence += self._open_evidence(request.taggers, vector)
            similar = self._similar_photos(image_id, vector)
            evidence += neighbour_evidence([item for item in similar if item.image_id not in exclusions.neighbours])
        detections = self._detections(image_id)
        evidence += detector_evidence(detections, kept)
        metadata = self._photos_with_same_words(image_id, words, kept)
        evidence += metadata_evidence([item for item in metadata if item.image_id not in exclusions.neighbours])
        evidence += own_word_evidence(words, self._vocabulary.knows)
        evidence += tag_statistics_evidence(self._tag_statistics(image_id), kept)
        late = self._late.evidence(image_id)
        evidence += late
        evidence = [self._renamed(item) for item in evidence if item.source not in exclusions.sources]
        evidence = without_kept(evidence, kept, request.dropped, self._vocabulary.is_used)
        late_sources = tuple(dict.fromkeys(item.source for item in late))
        return _Answers(evidence, detections, similar, metadata, context, late_sources)

    def _tagger_evidence(self, request: _Request, vector: Vectors, context: TaggerContext | None) -> list[Evidence]:
        """Return the evidence of the taggers that are not excluded."""
        return tagger_evidence(
            [tagger for tagger in request.taggers if source_of(tagger) not in request.exclusions.sources],
            vector,
            request.kept,
            request.dropped,
            request.words.without(request.exclusions.sources).keywords,
            context.context if context else None,
            self._labels(request.image_id),
        )

    def _candidates(self, request: _Request, evidence: Sequence[Evidence]) -> Candidates:
        """Return the candidate tags of a photo and their features."""
        self._updates.load()
        self._use_taggers()
        image_id, kept, exclusions = request.image_id, request.kept, request.exclusions
        statistics = self._tag_statistics(image_id)
        features = self._features.vectors([image_id])[0] if image_id in self._features else None
        num_keywords = len(request.words.without(exclusions.sources).keywords)
        return self._project.candidates(
            PhotoState(image_id, features, len(kept), num_keywords),
            evidence,
            {tag_key(tag) for tag in (*kept, *request.dropped)},
            lambda tags: statistics.of(tags, kept),
            without=exclusions.neighbours,
            uses_photos="neighbours" not in exclusions.sources,
            uses_frequencies=TAG_STATISTICS not in exclusions.sources,
            uses_classes="looks" not in exclusions.sources,
        )

    def scores(
        self, image_id: int, words: Words, kept: Sequence[str] = (), taggers: Sequence[Tagger] | None = None
    ) -> dict[str, float]:
        """Return the probabilities of all candidate tags, and scores of the other tags that any tagger knows.

        A tag that is no candidate gets its tagger's score, at most `LEAST_PROBABILITY`.

        Args:
            image_id: The photo.
            words: Words of its metadata.
            kept: Tags that will be saved, most important first.
            taggers: Taggers to use; None: those in use.
        """
        taggers = taggers or self._taggers()
        request = _Request(image_id, words, kept, (), NO_EXCLUSIONS, taggers)
        scores: dict[str, float] = {}
        if image_id in self._features:
            vector = self._features.vectors([image_id])
            gathered = self._context(request, vector)
            context = gathered.context if gathered else None
            for tagger in taggers:
                for item in decode_photo(tagger, vector, kept, (), words.keywords, len(known_keys(tagger)), context):
                    scores.setdefault(item.tag, min(item.score, LEAST_PROBABILITY))
            for word in self._open_evidence(taggers, vector, num=MAX_OPEN_SCORES, least=0.0):
                scores.setdefault(word.tag, min(word.score, LEAST_PROBABILITY))
        return scores | {proposal.tag: proposal.score for proposal in self._join(request, self._ask(request))}

    def explain(
        self,
        image_id: int,
        words: Words,
        tag: str,
        exclusions: Exclusions = NO_EXCLUSIONS,
        taggers: Sequence[Tagger] | None = None,
    ) -> str:
        """Return the tagger's score of a tag without neighbours and without metadata, as a clause for the user.

        Args:
            image_id: The photo.
            words: Words of its metadata.
            tag: The proposed tag.
            exclusions: What is excluded already.
            taggers: Taggers to use; None: those in use.

        Returns:
            Empty if the tagger uses no context or does not know the tag.
        """
        taggers = taggers or self._taggers()
        if image_id not in self._features:
            return ""
        vector = self._features.vectors([image_id])
        context = self._context(_Request(image_id, words, (), (), exclusions, taggers), vector)
        if context is None or not uses_context(taggers[0]):
            return ""
        renamed, key = self._vocabulary.renamed, tag_key(tag)
        ablations = context_ablations(taggers[0], vector, context.context)
        found = [
            (name, [score for other, score in scores.items() if key in (tag_key(other), tag_key(renamed(other)))])
            for name, scores in ablations.items()
        ]
        return "; ".join(f"{max(scores):.0%} without its {name}" for name, scores in found if scores)

    def _context(self, request: _Request, vector: Vectors) -> TaggerContext | None:
        """Return the context for the first tagger; None if it uses none."""
        first = request.taggers[0] if request.taggers else None
        if self._gather is None or first is None or not uses_context(first):
            return None
        words, excluded = request.words.without(request.exclusions.sources), request.exclusions.neighbours
        return self._gather(first, request.image_id, vector, words, excluded)

    def _open_evidence(
        self, taggers: Sequence[Tagger], vector: Vectors, num: int = NUM_OPEN, least: float = LEAST_SCORE
    ) -> list[Evidence]:
        tags = self._vocabulary.tags_in_use() + self._words if self._added_words is not None else ()
        return open_evidence(self._open_vocabulary, taggers, vector, num, least, self._added_words, tags)

    def _renamed(self, item: Evidence) -> Evidence:
        """Return evidence under the present name of its tag; the same object if it has that name, to save time."""
        name = self._vocabulary.renamed(item.tag)
        return item if name == item.tag else replace(item, tag=name)

    def _similar_photos(self, image_id: int, vector: Vectors) -> list[Neighbour]:
        ids, similarities = self._vectors.search(vector, NUM_NEIGHBOURS + 1)
        return [
            Neighbour(int(other), float(similarity), tuple(self._tags_of(int(other))))
            for other, similarity in zip(ids[0], similarities[0], strict=True)
            if other >= 0 and other != image_id
        ][:NUM_NEIGHBOURS]

    def _photos_with_same_words(self, image_id: int, words: Words, kept: Sequence[str]) -> list[Neighbour]:
        found = self._keywords.search(words.keys(kept), NUM_NEIGHBOURS, exclude=[image_id])
        return [
            Neighbour(item.image_id, item.similarity, tuple(self._tags_of(item.image_id)), tuple(item.shared))
            for item in found
        ]


def _reranker_of(taggers: Sequence[Tagger]) -> Reranker:
    """Return the re-ranker of the first tagger; without taggers, the one that changes nothing."""
    return taggers[0].reranker if taggers else IDENTITY


def _label(taggers: Sequence[Tagger]) -> str:
    """Return name and version of the first tagger; empty without taggers."""
    return f"{taggers[0].name} {taggers[0].version}" if taggers else ""


def _trained_label(taggers: Sequence[Tagger]) -> str:
    """Return name and version of the first tagger's trained weights; empty without taggers."""
    return f"{taggers[0].name} {trained_version(taggers[0])}" if taggers else ""
