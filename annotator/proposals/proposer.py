"""All evidence for one photo merged into one ranked list of proposals, each with its score, source and reasons.

Sources: what the trained tagger expects after the settled tags (``decoder``) or sees in the photo, its metadata and its
neighbours (``context``), what ImageNet's classes say (``looks``), tags of photos that look alike (``neighbours``), tags
of photos that share words (``metadata``), things found with their boxes (``detector``), words near in meaning to what
is seen (``words``), the photo's own keywords
(``keywords``), folder and file names (``folder``), and, once a re-ranker was learnt, how lists here usually go on
(``habits``).
Knows nothing of stores or pages: it is given features, indexes and the tags in use.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from annotator.datasets.tags import tag_key
from annotator.models.context import Context, ContextTagger, uses_context
from annotator.models.detectors.detector import Detection
from annotator.models.reranker import IDENTITY, Matrix, Reranker
from annotator.models.tag_order import load_tag_order
from annotator.models.tagger import Labels, Tagger
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.proposals.evidence import Evidence, Neighbour, Words
from annotator.proposals.feature_source import FeatureSource
from annotator.proposals.fusion import HABITS, Proposal, merge, without_settled
from annotator.proposals.reranking import features_of, habit_evidence, open_proposals, rerank
from annotator.proposals.sources.detector import detector_evidence
from annotator.proposals.sources.neighbours import metadata_evidence, neighbour_evidence
from annotator.proposals.sources.open_vocabulary import NUM_OPEN, open_evidence
from annotator.proposals.sources.own_words import own_word_evidence
from annotator.proposals.sources.taggers import (
    LEAST_SCORE,
    NUM_PROPOSALS,
    ask,
    context_shares,
    known_keys,
    seen_evidence,
    source_of,
    taught_keys,
)
from annotator.proposals.tag_statistics import OthersTagStatistics
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex
from annotator.storage.features import Vectors

NUM_NEIGHBOURS = 48
MAX_OPEN_SCORES = 200
"""The same among completions."""
TAUGHT_NEIGHBOUR_TRUST = 0.2
"""What neighbours' word is worth for a tag that the trained tagger knows: it has seen thousands of such photos."""
NOVELTY_HALVES_AFTER = 100
"""Tagged photos after which a word that none of them carries ranks at half its strength: who has tagged a hundred
photos without "wildlife" does not want it at the top of the next. Only the rank falls, the score shown stays."""


@dataclass(frozen=True)
class ProposedList:
    """What the page shows beside a photo."""

    proposals: list[Proposal]
    looks: list[Neighbour] = field(default_factory=list)
    metadata: list[Neighbour] = field(default_factory=list)
    tagger: str = ""
    model: list[Neighbour] | None = None
    """The neighbours of a tagger that hears of any, those switched off too; None of another tagger."""
    note: str = ""
    """Why the model's neighbours are not those that the photo's metadata should give."""
    has_learnt_order: bool = False
    """Whether a re-ranker came with the tagger, heard this time or not."""
    has_detections: bool = False
    """Whether a detector found anything in the photo, heard this time or not."""


@dataclass(frozen=True)
class Exclusions:
    """What a person switched off for one photo."""

    neighbours: frozenset[int] = frozenset()
    """Photos that must not speak."""
    sources: frozenset[str] = frozenset()
    """Sources of evidence that must not speak. The fields ``keywords``, ``folder`` and ``caption`` are then not used
    to find neighbours either."""


NO_EXCLUSIONS = Exclusions()


@dataclass(frozen=True)
class TaggerContext:
    """What a tagger with a context is told of a photo, and shows."""

    context: Context
    """Of this one photo, without what is switched off."""
    neighbours: list[Neighbour]
    note: str


@dataclass(frozen=True)
class _Everything:
    """What all sources say of a photo."""

    proposals: list[Proposal]
    """Of every open tag, best first, before any re-ranking."""
    detections: Sequence[Detection]
    """Found in the photo, also where the detector is switched off."""
    looks: list[Neighbour]
    metadata: list[Neighbour]
    told: TaggerContext | None
    """What a tagger with a context was told."""


Gather = Callable[[ContextTagger, int, Vectors, Words, Collection[int]], TaggerContext]


class Proposer:
    """Proposes tags for photos of one project.

    Args:
        taggers: Gives the taggers to ask now, the one whose word counts first.
        features: The project's features.
        tagged_looks: Visual index of the photos that carry tags.
        tagged_words: Metadata index of the photos that carry tags.
        tags_of: The tags a photo carries: saved ones, or its own keywords.
        autocomplete: Which words are known, and how they are spelled here.
        gather: Gathers what a tagger with a context is told: (tagger, image id, features, words, switched-off
            neighbours) -> `TaggerContext`. None: such taggers are told nothing.
        detections: Image id -> objects found in the photo; a source of evidence of its own.
        labels: Image id -> labels for taggers that take them as input. Where detections are a source, none are given:
            they would count twice.
        opened: Scores words that no tagger knows.
        added: Scores the project's own tags that neither a tagger nor `opened` knows; None: other sources do.
        habits: Image id -> what is usual in the saved lists of all other photos. None: no re-ranker is heard.
    """

    def __init__(
        self,
        taggers: Callable[[], Sequence[Tagger]],
        features: FeatureSource,
        tagged_looks: VectorIndex,
        tagged_words: KeywordIndex,
        tags_of: Callable[[int], Sequence[str]],
        autocomplete: ProjectVocabulary,
        gather: Gather | None = None,
        *,
        detections: Callable[[int], Sequence[Detection]] = lambda image_id: (),
        labels: Callable[[int], Labels] = lambda image_id: (),
        opened: OpenVocabulary | None = None,
        added: AddedWords | None = None,
        habits: Callable[[int], OthersTagStatistics] | None = None,
    ) -> None:
        self._opened = opened
        self._added = added
        self._habits = habits
        self._taggers = taggers
        self._gather = gather
        self._features = features
        self._looks = tagged_looks
        self._words = tagged_words
        self._tags_of = tags_of
        self._autocomplete = autocomplete
        self._detections = detections
        self._labels = labels

    def propose(
        self,
        image_id: int,
        words: Words,
        prefix: Sequence[str] = (),
        dropped: Collection[str] = (),
        without: Exclusions = NO_EXCLUSIONS,
        taggers: Sequence[Tagger] | None = None,
        num: int = NUM_PROPOSALS,
    ) -> ProposedList:
        """Continue a photo's settled tags; called again after every edit.

        Args:
            image_id: The photo. Without features yet, only its words speak.
            words: What the photo brings along.
            prefix: Tags settled so far, most important first.
            dropped: Tags refused.
            without: What does not speak this time. Neighbours that are switched off are found and shown all the same.
            taggers: To ask these; None asks the ones that propose now.
            num: Most proposals.
        """
        asked = taggers or self._taggers()
        reranker = _reranker_of(asked)
        has_learnt_order = self._habits is not None and reranker != IDENTITY
        habits = self._habits(image_id) if self._habits and has_learnt_order and HABITS not in without.sources else None
        found = self._ask_all(image_id, words, prefix, dropped, without, asked, habits)
        proposals = found.proposals
        if habits is not None:
            proposals = rerank(proposals, habits, prefix, reranker)
        if found.detections and "detector" not in without.sources:
            entries = [(proposal.tag, proposal.rank_score, proposal.score) for proposal in proposals]
            proposals = [proposals[place] for place in load_tag_order().reorder(entries, found.detections)]
        return ProposedList(
            proposals[:num],
            found.looks,
            found.metadata,
            f"{asked[0].name} {asked[0].version}",
            found.told.neighbours if found.told else None,
            found.told.note if found.told else "",
            has_learnt_order,
            bool(found.detections),
        )

    def prepare(self) -> None:
        """Count the habits, which takes seconds, if the taggers that propose now are to be re-ranked."""
        if self._habits is not None and _reranker_of(self._taggers()) != IDENTITY:
            self._habits(0)

    def open_tags(self, image_id: int, words: Words, prefix: Sequence[str]) -> tuple[list[str], Matrix]:
        """Return what a re-ranker would weigh of a photo, to learn one: N tags and their (N, F) features.

        Args:
            image_id: The photo; its own list must not be counted among the habits.
            words: What the photo brings along.
            prefix: Tags settled so far, most important first.

        Raises:
            ValueError: This suggester was given no habits.
        """
        if self._habits is None:
            raise ValueError("Without habits there is nothing to re-rank by.")
        habits = self._habits(image_id)
        found = self._ask_all(image_id, words, prefix, (), NO_EXCLUSIONS, self._taggers(), habits)
        weighed, _ = open_proposals(found.proposals)
        return [proposal.tag for proposal in weighed], features_of(weighed, habits, prefix)

    def _ask_all(
        self,
        image_id: int,
        words: Words,
        prefix: Sequence[str],
        dropped: Collection[str],
        without: Exclusions,
        asked: Sequence[Tagger],
        habits: OthersTagStatistics | None,
    ) -> _Everything:
        """Ask every source, and join what they say."""
        taggers = [tagger for tagger in asked if source_of(tagger) not in without.sources]
        words = words.without(without.sources)
        evidence: list[Evidence] = []
        looks: list[Neighbour] = []
        told: TaggerContext | None = None
        if image_id in self._features:
            vector = self._features.vectors([image_id])
            told = self._gathered(asked, image_id, vector, words, without)
            context = told.context if told else None
            evidence += seen_evidence(taggers, vector, prefix, dropped, words.keywords, context, self._labels(image_id))
            evidence += self._open_words(asked, vector)
            looks = self._look_alikes(image_id, vector)
            evidence += neighbour_evidence([item for item in looks if item.image_id not in without.neighbours])
        detections = self._detections(image_id)
        evidence += detector_evidence(detections, prefix)
        metadata = self._word_alikes(image_id, words, prefix)
        evidence += metadata_evidence([item for item in metadata if item.image_id not in without.neighbours])
        evidence += own_word_evidence(words, self._autocomplete.knows)
        if habits is not None:
            evidence += habit_evidence(habits, prefix)
        # The words that a trained tagger was taught; the cold start was taught nothing.
        taught = taught_keys(taggers[0]) if len(taggers) > 1 else frozenset()
        evidence = [self._weighed(item, taught) for item in evidence if item.source not in without.sources]
        is_used = self._autocomplete.is_used
        evidence = [self._renamed(item) for item in evidence]
        evidence = without_settled(evidence, prefix, dropped, is_used)
        return _Everything(merge(evidence, self._autocomplete.spelling, is_used), detections, looks, metadata, told)

    def scores(
        self, image_id: int, words: Words, prefix: Sequence[str] = (), taggers: Sequence[Tagger] | None = None
    ) -> dict[str, float]:
        """Return how likely each tag is that any source knows, far beyond those that are proposed.

        Args:
            image_id: The photo.
            words: What the photo brings along.
            prefix: Tags settled so far.
            taggers: To ask these; None asks the ones that propose now.
        """
        taggers = taggers or self._taggers()
        scores: dict[str, float] = {}
        if image_id in self._features:
            vector = self._features.vectors([image_id])
            gathered = self._gathered(taggers, image_id, vector, words, NO_EXCLUSIONS)
            told = gathered.context if gathered else None
            for tagger in taggers:
                for item in ask(tagger, vector, prefix, (), words.keywords, len(known_keys(tagger)), told):
                    scores.setdefault(item.tag, item.score)
            for word in self._open_words(taggers, vector, num=MAX_OPEN_SCORES, least=0.0):
                scores.setdefault(word.tag, word.score)
        proposals = self.propose(image_id, words, prefix, taggers=taggers).proposals
        return scores | {proposal.tag: proposal.score for proposal in proposals if proposal.source != HABITS}

    def explain(
        self,
        image_id: int,
        words: Words,
        tag: str,
        without: Exclusions = NO_EXCLUSIONS,
        taggers: Sequence[Tagger] | None = None,
    ) -> str:
        """Return how likely the tagger would hold a tag without neighbours and without metadata, as a clause.

        Args:
            image_id: The photo.
            words: What it brings along.
            tag: As it is proposed.
            without: What does not speak.
            taggers: To ask these; None asks the ones that propose now.

        Returns:
            Empty if the tagger hears of no context, or does not know the tag.
        """
        asked = taggers or self._taggers()
        if image_id not in self._features:
            return ""
        vector = self._features.vectors([image_id])
        told = self._gathered(asked, image_id, vector, words.without(without.sources), without)
        if told is None or not uses_context(asked[0]):
            return ""
        renamed, key = self._autocomplete.renamed, tag_key(tag)
        shares = context_shares(asked[0], vector, told.context)
        found = [
            (name, [score for other, score in scores.items() if key in (tag_key(other), tag_key(renamed(other)))])
            for name, scores in shares.items()
        ]
        return "; ".join(f"{max(scores):.0%} without its {name}" for name, scores in found if scores)

    def _gathered(
        self, taggers: Sequence[Tagger], image_id: int, vector: Vectors, words: Words, without: Exclusions
    ) -> TaggerContext | None:
        """Return what the first tagger is told, if it hears of a context."""
        if self._gather is None or not taggers or not uses_context(taggers[0]):
            return None
        return self._gather(taggers[0], image_id, vector, words, without.neighbours)

    def _open_words(
        self, taggers: Sequence[Tagger], vector: Vectors, num: int = NUM_OPEN, least: float = LEAST_SCORE
    ) -> list[Evidence]:
        tags = self._autocomplete.tags_in_use() if self._added is not None else ()
        return open_evidence(self._opened, taggers, vector, num, least, self._added, tags)

    def _weighed(self, item: Evidence, taught: Collection[str]) -> Evidence:
        """Return evidence with the rank it earns here; the score that is shown stays."""
        share = 1.0
        if item.source in ("looks", "decoder", "context", "words"):
            if not self._autocomplete.is_used(item.tag):
                share = 1 / (1 + self._autocomplete.num_lists / NOVELTY_HALVES_AFTER)
        elif item.source in ("neighbours", "metadata") and tag_key(item.tag) in taught:
            share = TAUGHT_NEIGHBOUR_TRUST
        if share == 1.0:
            return item
        return replace(item, rank_score=share * (item.score if item.rank_score is None else item.rank_score))

    def _renamed(self, item: Evidence) -> Evidence:
        """Return evidence for what its tag is called now; the very same if it is called so, for there are hundreds."""
        name = self._autocomplete.renamed(item.tag)
        return item if name == item.tag else replace(item, tag=name)

    def _look_alikes(self, image_id: int, vector: Vectors) -> list[Neighbour]:
        ids, similarities = self._looks.search(vector, NUM_NEIGHBOURS + 1)
        return [
            Neighbour(int(other), float(similarity), tuple(self._tags_of(int(other))))
            for other, similarity in zip(ids[0], similarities[0], strict=True)
            if other >= 0 and other != image_id
        ][:NUM_NEIGHBOURS]

    def _word_alikes(self, image_id: int, words: Words, prefix: Sequence[str]) -> list[Neighbour]:
        found = self._words.search(words.keys(prefix), NUM_NEIGHBOURS, exclude=[image_id])
        return [
            Neighbour(item.image_id, item.similarity, tuple(self._tags_of(item.image_id)), tuple(item.shared))
            for item in found
        ]


def _reranker_of(taggers: Sequence[Tagger]) -> Reranker:
    """Return the re-ranker that was learnt with the first tagger; one that changes nothing where there is none."""
    return taggers[0].reranker if taggers else IDENTITY
