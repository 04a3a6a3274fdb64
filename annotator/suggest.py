"""All evidence for one photo merged into one ranked list of proposals, each with its score, source and reasons.

Sources: what the trained tagger expects after the settled tags (``decoder``) or sees in the photo, its metadata and its
neighbours (``context``), what ImageNet's classes say (``looks``), tags of photos that look alike (``neighbours``), tags
of photos that share words (``metadata``), things found with their boxes (``detector``), words near in meaning to what
is seen (``words``), the photo's own keywords
(``keywords``) and folder and file names (``folder``).
Knows nothing of stores or pages: it is given features, indexes and the tags in use.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast

import numpy as np

from annotator.autocomplete import Autocomplete
from annotator.datasets.tags import tag_key
from annotator.datasets.word_forms import form_key
from annotator.feature_store import FeatureStore, Vectors
from annotator.metadata_index import MetadataIndex
from annotator.models.coco_classes import classes_of, plain_word
from annotator.models.context import Context, ContextTagger
from annotator.models.detector import Detection
from annotator.models.inference import InferenceTagger
from annotator.models.open_vocabulary import OpenVocabulary
from annotator.models.tag_order import area, load_tag_order, place_text
from annotator.models.tagger import RankedTag, Tagger, takes_user_tags
from annotator.visual_index import VisualIndex

NUM_NEIGHBOURS = 48
NUM_PROPOSALS = 20

KEYWORD_SCORE = 0.9
"""A keyword that somebody gave this very photo is nearly always right."""
PATH_WORD_SCORE = 0.5
"""A folder or file name that is a known tag."""
METADATA_TRUST = 0.6
"""Photos that share words share tags less surely than photos that look alike."""
LEAST_SCORE = 0.02
"""What a tagger holds less likely is not proposed: on photos unlike those it was taught on it has nothing to say."""
SECOND_TAGGER_TRUST = 0.75
"""What a word of the cold start is worth beside a trained tagger that does not know it."""
OPEN_TRUST = 0.5
"""What a word of the open vocabulary is worth beside a trained tagger: nobody ever tagged a photo with it. Measured on
Corel5k, 1,000 photos: recall@10 of the tags that the taggers know 47.1 without, 46.8 at 0.5, 45.4 at 1; of all tags
29.2, 30.1, 29.4."""
NUM_OPEN = 5
"""Most words of the open vocabulary in one list."""
MAX_OPEN_SCORES = 200
"""The same among completions."""
AT_HOME = 0.3
"""Score of its surest tag from which a recurrent tagger is heard in full. What it holds to be next sums to 1 on any
photo, also on one unlike all that it was taught on: there "dog" led the list of an orange. EXPERIMENTS.md."""
WELL_TAUGHT = 30
"""Photos from which a tagger must have learnt a tag before look-alikes speak softly of it."""
TAUGHT_NEIGHBOUR_TRUST = 0.2
"""What neighbours' word is worth for a tag that the trained tagger knows: it has seen thousands of such photos."""
UNLIKE = 0.2
"""Cosine similarity at which two photos' looks say nothing of each other's tags."""
DOUBT = 0.3
"""Weight of an imagined neighbour without tags: one look-alike alone is not certainty."""
DETECTOR_TRUST = 0.2
"""What a detection's place in the list is worth, beside how likely a person names the thing (models/tag_order.py).
Beside JVSP, NDCG and recall@10 on held-back photos rise with 0.2 and fall with 1: EXPERIMENTS.md."""
NOVELTY_HALVES_AFTER = 100
"""Tagged photos after which a word that none of them carries ranks at half its strength: who has tagged a hundred
photos without "wildlife" does not want it at the top of the next. Only the rank falls, the score shown stays."""


LIKELIER_THAN_NOT = 0.5
"""Score from which a proposal is expected to be right, see `num_expected`."""


@dataclass(frozen=True)
class Evidence:
    """One source's word for one tag."""

    tag: str
    source: str
    score: float
    """In [0, 1]."""
    text: str
    """The reason, as a clause a person reads."""
    rank_score: float | None = None
    """What the tag's place goes by, where that differs from how likely it is; see models/cold_start.py."""


@dataclass(frozen=True)
class Proposal:
    """One tag proposed for one photo."""

    tag: str
    score: float
    source: str
    """The strongest source."""
    evidence: tuple[Evidence, ...]
    rank_score: float

    @property
    def why(self) -> str:
        """The reasons in one sentence."""
        text = "; ".join(item.text for item in self.evidence)
        return text[:1].upper() + text[1:] + "."


@dataclass(frozen=True)
class Neighbour:
    """A photo whose tags were taken as evidence."""

    image_id: int
    similarity: float
    """Cosine of the features, or Jaccard index of the word sets."""
    tags: tuple[str, ...]
    shared: tuple[str, ...] = ()
    """Words both photos have, for metadata neighbours."""
    by: str = ""
    """How a neighbour of the model was found: metadata or looks."""


@dataclass(frozen=True)
class Suggestion:
    """What the page shows beside a photo."""

    proposals: list[Proposal]
    looks: list[Neighbour] = field(default_factory=list)
    metadata: list[Neighbour] = field(default_factory=list)
    tagger: str = ""
    model: list[Neighbour] | None = None
    """The neighbours of a tagger that hears of any, those switched off too; None of another tagger."""
    note: str = ""
    """Why the model's neighbours are not those that the photo's metadata should give."""


@dataclass(frozen=True)
class Without:
    """What a person switched off for one photo."""

    neighbours: frozenset[int] = frozenset()
    """Photos that must not speak."""
    sources: frozenset[str] = frozenset()
    """Sources of evidence that must not speak. The fields ``keywords``, ``folder`` and ``caption`` are then not used
    to find neighbours either."""


NOTHING_OFF = Without()


@dataclass(frozen=True)
class Gathered:
    """What a tagger with a context is told of a photo, and shows."""

    context: Context
    """Of this one photo, without what is switched off."""
    neighbours: list[Neighbour]
    note: str


@dataclass(frozen=True)
class Words:
    """What a photo brings along, beside its pixels."""

    keywords: tuple[str, ...] = ()
    """Embedded keywords and sidecar tags, as they are spelled."""
    path_words: tuple[str, ...] = ()
    caption: tuple[str, ...] = ()
    """Words of its caption, as keys, without stop words; only taggers that were trained on captions hear them."""

    def without(self, sources: Collection[str]) -> "Words":
        """Return it with fields left out: keywords, folder, caption."""
        return Words(
            () if "keywords" in sources else self.keywords,
            () if "folder" in sources else self.path_words,
            () if "caption" in sources else self.caption,
        )

    def keys(self, settled: Collection[str] = ()) -> set[str]:
        """Return the set under which the metadata index knows this photo."""
        return {tag_key(word) for word in (*self.keywords, *self.path_words, *settled)}


Gather = Callable[[ContextTagger, int, Vectors, Words, Collection[int]], Gathered]


class Suggester:
    """Proposes tags for photos of one project.

    Args:
        taggers: Gives the taggers to ask now, the one whose word counts first.
        features: The project's features.
        tagged_looks: Visual index of the photos that carry tags.
        tagged_words: Metadata index of the photos that carry tags.
        tags_of: The tags a photo carries: saved ones, or its own keywords.
        autocomplete: Which words are known, and how they are spelled here.
        gather: Gathers what a tagger with a context is told: (tagger, image id, features, words, switched-off
            neighbours) -> `Gathered`. None: such taggers are told nothing.
        detections: Image id -> what was found in the photo, stored before anybody asks.
        opened: Scores words that no tagger knows.
    """

    def __init__(
        self,
        taggers: Callable[[], Sequence[Tagger]],
        features: FeatureStore,
        tagged_looks: VisualIndex,
        tagged_words: MetadataIndex,
        tags_of: Callable[[int], Sequence[str]],
        autocomplete: Autocomplete,
        gather: Gather | None = None,
        *,
        detections: Callable[[int], Sequence[Detection]] = lambda image_id: (),
        opened: OpenVocabulary | None = None,
    ) -> None:
        self._opened = opened
        self._taggers = taggers
        self._gather = gather
        self._features = features
        self._looks = tagged_looks
        self._words = tagged_words
        self._tags_of = tags_of
        self._autocomplete = autocomplete
        self._detections = detections

    def propose(
        self,
        image_id: int,
        words: Words,
        prefix: Sequence[str] = (),
        dropped: Collection[str] = (),
        without: Without = NOTHING_OFF,
        taggers: Sequence[Tagger] | None = None,
    ) -> Suggestion:
        """Continue a photo's settled tags; called again after every edit.

        Args:
            image_id: The photo. Without features yet, only its words speak.
            words: What the photo brings along.
            prefix: Tags settled so far, most important first.
            dropped: Tags refused.
            without: What does not speak this time. Neighbours that are switched off are found and shown all the same.
            taggers: To ask these; None asks the ones that propose now.
        """
        asked = taggers or self._taggers()
        taggers = [tagger for tagger in asked if source_of(tagger) not in without.sources]
        words = words.without(without.sources)
        evidence: list[Evidence] = []
        looks: list[Neighbour] = []
        gathered: Gathered | None = None
        if image_id in self._features:
            vector = self._features.vectors([image_id])
            gathered = self._gathered(asked, image_id, vector, words, without)
            context = gathered.context if gathered else None
            evidence += seen_evidence(taggers, vector, prefix, dropped, words.keywords, context)
            evidence += open_evidence(self._opened, asked, vector)
            looks = self._look_alikes(image_id, vector)
            evidence += neighbour_evidence([item for item in looks if item.image_id not in without.neighbours])
        detections = () if "detector" in without.sources else self._detections(image_id)
        evidence += detector_evidence(detections, prefix)
        metadata = self._word_alikes(image_id, words, prefix)
        evidence += metadata_evidence([item for item in metadata if item.image_id not in without.neighbours])
        evidence += own_word_evidence(words, self._autocomplete.knows)
        # The words that a trained tagger was taught; the cold start was taught nothing.
        taught = taught_keys(taggers[0]) if len(taggers) > 1 else frozenset()
        evidence = [self._weighed(item, taught) for item in evidence if item.source not in without.sources]
        is_used = self._autocomplete.is_used
        evidence = [replace(item, tag=self._autocomplete.renamed(item.tag)) for item in evidence]
        evidence = without_settled(evidence, prefix, dropped, is_used)
        proposals = merge(evidence, self._autocomplete.spelling, is_used)
        if detections:
            entries = [(proposal.tag, proposal.rank_score, proposal.score) for proposal in proposals]
            proposals = [proposals[place] for place in load_tag_order().reorder(entries, detections)]
        return Suggestion(
            proposals[:NUM_PROPOSALS],
            looks,
            metadata,
            f"{asked[0].name} {asked[0].version}",
            gathered.neighbours if gathered else None,
            gathered.note if gathered else "",
        )

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
            gathered = self._gathered(taggers, image_id, vector, words, NOTHING_OFF)
            told = gathered.context if gathered else None
            for tagger in taggers:
                for item in _ask(tagger, vector, prefix, (), words.keywords, len(known_keys(tagger)), told):
                    scores.setdefault(item.tag, item.score)
            for word in open_evidence(self._opened, taggers, vector, num=MAX_OPEN_SCORES, least=0.0):
                scores.setdefault(word.tag, word.score)
        proposals = self.propose(image_id, words, prefix, taggers=taggers).proposals
        return scores | {proposal.tag: proposal.score for proposal in proposals}

    def _gathered(
        self, taggers: Sequence[Tagger], image_id: int, vector: Vectors, words: Words, without: Without
    ) -> Gathered | None:
        """Return what the first tagger is told, if it hears of a context."""
        if self._gather is None or not taggers or not hears_context(taggers[0]):
            return None
        return self._gather(cast("ContextTagger", taggers[0]), image_id, vector, words, without.neighbours)

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


def seen_evidence(
    taggers: Sequence[Tagger],
    features: Vectors,
    prefix: Sequence[str],
    dropped: Collection[str],
    keywords: Sequence[str] = (),
    context: Context | None = None,
) -> list[Evidence]:
    """Return what the taggers see in one photo, (1, D) features, after the settled prefix.

    The photo's own keywords are side information to a tagger that was taught with such.

    The first tagger's word counts. The others add only words that it does not know, and rank behind: it was taught
    what people tag and in which order, they were not. A tagger that hears of a context is told it.
    """
    evidence: list[Evidence] = []
    known: set[str] = set()
    for place, tagger in enumerate(taggers):
        is_told = context is not None and hears_context(tagger)
        share_of = context_shares(cast("ContextTagger", tagger), features, context) if is_told else (lambda tag: "")
        ranked = _ask(tagger, features, prefix, dropped, keywords, NUM_PROPOSALS, context)
        trust = familiarity(tagger, ranked, prefix) if place == 0 else SECOND_TAGGER_TRUST
        rank_score = trust
        for item in ranked:
            # Its order counts, not its scores: "cat" goes before "animal", though the latter is surer.
            rank_score = min(rank_score, trust * item.evidence.get("utility", item.score))
            if tag_key(item.tag) not in known and item.score >= LEAST_SCORE:
                evidence.append(_seen(item, rank_score, source_of(tagger), share_of(item.tag)))
        known |= known_keys(tagger)
    return evidence


def familiarity(tagger: Tagger, ranked: Sequence[RankedTag], prefix: Sequence[str]) -> float:
    """Return what a recurrent tagger's word is worth on this photo, in [0, 1]; any other tagger's is worth 1.

    Args:
        tagger: Whose list it is.
        ranked: What it proposes here.
        prefix: The settled tags. One that it knows tells it where it is.
    """
    if source_of(tagger) != "decoder" or any(tag_key(tag) in known_keys(tagger) for tag in prefix):
        return 1.0
    surest = max((item.score for item in ranked), default=0.0)
    return min(1.0, surest / AT_HOME) ** 2


def open_evidence(
    opened: OpenVocabulary | None,
    taggers: Sequence[Tagger],
    features: Vectors,
    num: int = NUM_OPEN,
    least: float = LEAST_SCORE,
) -> list[Evidence]:
    """Return what the open vocabulary says of words that no tagger knows, in one photo, (1, D) features, best first.

    Args:
        opened: None says nothing.
        taggers: Whose words are left to them.
        features: (1, D) float32.
        num: Most words.
        least: Least score.
    """
    if opened is None or features.shape[1] != opened.feature_size:
        return []
    return _open_words(opened, tuple(taggers), np.asarray(features, np.float32).tobytes(), num, least)


@lru_cache(maxsize=256)
def _open_words(
    opened: OpenVocabulary, taggers: tuple[Tagger, ...], features: bytes, num: int, least: float
) -> list[Evidence]:
    """Return `open_evidence`, remembered: it does not hang on what is settled, so edits of one list need it once."""
    columns = _unknown_words(opened, taggers)
    if not columns:
        return []
    chances = opened.scores(np.frombuffer(features, np.float32)[None])[0, columns]
    best = [place for place in np.argsort(-chances, kind="stable")[:num].tolist() if chances[place] >= least]
    return [
        Evidence(
            opened.vocabulary.tags[columns[place]],
            "words",
            float(chances[place]),
            f"what is seen is near it in meaning ({chances[place]:.0%})",
            OPEN_TRUST * float(chances[place]),
        )
        for place in best
    ]


@lru_cache(maxsize=16)
def _unknown_words(opened: OpenVocabulary, taggers: tuple[Tagger, ...]) -> list[int]:
    """Return the columns of the open vocabulary's words that no tagger knows."""
    known = frozenset[str]().union(*map(known_keys, taggers))
    return [column for column, tag in enumerate(opened.vocabulary.tags) if tag_key(tag) not in known]


def _ask(
    tagger: Tagger,
    features: Vectors,
    prefix: Sequence[str],
    dropped: Collection[str],
    keywords: Sequence[str],
    k: int,
    context: Context | None = None,
) -> list[RankedTag]:
    own: dict[str, Any] = {"user_tags": [list(keywords)]} if takes_user_tags(tagger) else {}
    if context is not None and hears_context(tagger):
        own["context"] = context
    return tagger.decode(features, [list(prefix)], dropped=[list(dropped)], k=k, **own)[0]


@lru_cache(maxsize=4)
def known_keys(tagger: Tagger) -> frozenset[str]:
    """Return the keys of every tag that a tagger can propose."""
    return frozenset(map(tag_key, tagger.allowed_words()))


@lru_cache(maxsize=4)
def taught_keys(tagger: Tagger) -> frozenset[str]:
    """Return the keys of the tags that a tagger learnt from many photos.

    Without those whose rows were made from others', and those that it met in few photos: look-alikes know them better.
    """
    if not isinstance(tagger, InferenceTagger):
        return known_keys(tagger)
    counts = tagger.vocabulary.counts or [WELL_TAUGHT] * len(tagger.vocabulary)
    well = {tag for tag, count in zip(tagger.vocabulary.tags, counts, strict=True) if count >= WELL_TAUGHT}
    return frozenset(tag_key(tag) for tag in tagger.taught_words() if tag in well)


def hears_context(tagger: Tagger) -> bool:
    """Tell whether a tagger is a `ContextTagger`."""
    return hasattr(tagger, "num_candidates")


def source_of(tagger: Tagger) -> str:
    """Return the name of the source that a tagger's evidence is."""
    if hears_context(tagger):
        return "context"
    return "decoder" if hasattr(tagger, "ranking") else "looks"


def context_shares(tagger: ContextTagger, features: Vectors, context: Context | None) -> Callable[[str], str]:
    """Return what tells of a tag how likely the tagger would hold it without neighbours and without metadata."""
    ablations = {}
    if context is not None and context.neighbours.size:
        ablations["neighbours"] = context.without_neighbours()
    if context is not None and context.words[0]:
        ablations["metadata"] = context.without_words()
    scores = {
        name: {
            item.tag: item.score for item in tagger.decode(features, [()], k=len(known_keys(tagger)), context=told)[0]
        }
        for name, told in ablations.items()
    }
    return lambda tag: "".join(f"; {values[tag]:.0%} without its {name}" for name, values in scores.items())


def _seen(item: RankedTag, rank_score: float, source: str, share: str) -> Evidence:
    if source == "context":
        return Evidence(item.tag, source, item.score, f"the model sees it with {item.score:.0%}{share}", rank_score)
    if "next" not in item.evidence:
        return Evidence(item.tag, "looks", item.score, _seen_text(item), rank_score)
    step = item.evidence["step"]
    text = f"the model sees it with {item.score:.0%}"
    if "made_of" in item.evidence:
        text = f"a guess of {item.score:.0%}: the model never learnt it, but what is near in meaning"
        return Evidence(item.tag, "decoder", item.score, f"{text} ({', '.join(item.evidence['made_of'])})", rank_score)
    if step == 1:
        text += f", and puts it next with {item.evidence['next']:.0%}"
    return Evidence(item.tag, "decoder", item.score, text, rank_score)


def detector_evidence(detections: Sequence[Detection], prefix: Sequence[str] = ()) -> list[Evidence]:
    """Return what the detector found, once a class, under the word that people use.

    A class that a settled tag names already is left out: beside "man" nobody needs "person".

    Args:
        detections: Of one photo.
        prefix: The settled tags.
    """
    order, settled = load_tag_order(), {label for tag in prefix for label in classes_of(tag)}
    groups: dict[str, list[Detection]] = {}
    for item in detections:
        if item.label not in settled:
            groups.setdefault(item.label, []).append(item)
    evidence = []
    for label, items in groups.items():
        surest, largest = max(items, key=lambda item: item.score), max(items, key=lambda item: area(item.box))
        count = f"{len(items)} times, the largest on" if len(items) > 1 else "on"
        text = f"the detector finds it with {surest.score:.0%}, {count} {place_text(largest.box)}"
        named = DETECTOR_TRUST * order.named(surest)
        evidence.append(Evidence(plain_word(label), "detector", order.present(surest), text, named))
    return evidence


def own_word_evidence(words: Words, knows: Callable[[str], bool]) -> list[Evidence]:
    """Return what a photo's own keywords and names say; of the names, only words that are ``known`` tags."""
    keywords = [
        Evidence(word, "keywords", KEYWORD_SCORE, "it is among the photo's own keywords") for word in words.keywords
    ]
    path_words = [
        Evidence(word, "folder", PATH_WORD_SCORE, "the folder or file is named so")
        for word in words.path_words
        if knows(word)
    ]
    return keywords + path_words


def neighbour_evidence(neighbours: Sequence[Neighbour]) -> list[Evidence]:
    """Return the tags of look-alikes, weighed by how alike they are."""
    return _vote(
        neighbours,
        [max(0.0, (item.similarity - UNLIKE) / (1 - UNLIKE)) ** 2 for item in neighbours],
        "neighbours",
        lambda count, total: f"{count} of {total} similar photo{'s' * (total != 1)} carr{_ies(count)} it",
        trust=1.0,
    )


def metadata_evidence(neighbours: Sequence[Neighbour]) -> list[Evidence]:
    """Return the tags of photos with the same words, weighed by the share of words in common."""
    return _vote(
        neighbours,
        [item.similarity for item in neighbours],
        "metadata",
        lambda count, total: f"{count} of {total} photo{'s' * (total != 1)} with the same words carr{_ies(count)} it",
        trust=METADATA_TRUST,
    )


def _vote(
    neighbours: Sequence[Neighbour],
    weights: Sequence[float],
    source: str,
    text: Callable[[int, int], str],
    trust: float,
) -> list[Evidence]:
    total = sum(weights) + DOUBT
    weight_of: dict[str, float] = {}
    count_of: dict[str, int] = {}
    spelling: dict[str, str] = {}
    for neighbour, weight in zip(neighbours, weights, strict=True):
        for tag in neighbour.tags:
            key = tag_key(tag)
            spelling.setdefault(key, tag)
            weight_of[key] = weight_of.get(key, 0.0) + weight
            count_of[key] = count_of.get(key, 0) + 1
    return [
        Evidence(spelling[key], source, trust * weight / total, text(count_of[key], len(neighbours)))
        for key, weight in weight_of.items()
        if weight > 0
    ]


def without_settled(
    evidence: Iterable[Evidence], prefix: Collection[str], dropped: Collection[str], is_used: Callable[[str], bool]
) -> list[Evidence]:
    """Return the evidence for tags that are still open.

    Not open are the settled and the dropped ones, and other forms of settled ones ("cars" beside "car"), unless the
    project uses that form too.
    """
    barred = {tag_key(tag) for tag in (*prefix, *dropped)}
    forms = {form_key(tag) for tag in prefix}
    return [
        item
        for item in evidence
        if tag_key(item.tag) not in barred and (form_key(item.tag) not in forms or is_used(item.tag))
    ]


def merge(
    evidence: Iterable[Evidence],
    spelling: Callable[[str], str] = lambda tag: tag,
    is_used: Callable[[str], bool] = lambda tag: False,
) -> list[Proposal]:
    """Join all evidence into one ranked list.

    Sources are taken as independent witnesses: the joint score is 1 - prod(1 - score), so agreement raises a tag and
    no number of weak voices passes one sure one. Tags that differ only in case or form of Unicode are one; so are those
    that differ only in form (car and cars, traffic light and trafficlight), unless the project uses both. Of the forms,
    the one that the project uses is shown, else the trained tagger's, else the one with the best evidence; of a
    source's words for several forms, the strongest counts.

    Args:
        evidence: In any order.
        spelling: How a tag is written in this project.
        is_used: Whether photos of this project carry a tag.

    Returns:
        Proposals, best first; ties go to the tag that came first.
    """
    proposals = []
    for variants in _by_form(evidence, is_used):
        name = min(variants, key=lambda items: (not is_used(items[0].tag), not _is_of_tagger(items)))[0].tag
        items = sorted((item for items in variants for item in items), key=lambda item: -item.score)
        if len(variants) > 1:
            items = list({item.source: item for item in reversed(items)}.values())[::-1]
            items.sort(key=lambda item: -item.score)
        proposals.append(
            Proposal(
                tag=spelling(name),
                score=_joint(item.score for item in items),
                source=items[0].source,
                evidence=tuple(items),
                rank_score=_joint(item.score if item.rank_score is None else item.rank_score for item in items),
            )
        )
    proposals.sort(key=lambda proposal: -proposal.rank_score)
    return proposals


def _by_form(evidence: Iterable[Evidence], is_used: Callable[[str], bool]) -> list[list[list[Evidence]]]:
    """Return what becomes one proposal each: a list of variants, each the evidence for one spelling, the best first."""
    by_key: dict[str, list[Evidence]] = {}
    for item in evidence:
        by_key.setdefault(tag_key(item.tag), []).append(item)
    forms: dict[str, list[list[Evidence]]] = {}
    for items in by_key.values():
        items.sort(key=lambda item: -item.score)
        forms.setdefault(form_key(items[0].tag), []).append(items)
    groups = []
    for variants in forms.values():
        if sum(is_used(items[0].tag) for items in variants) > 1:
            groups += [[items] for items in variants]
        else:
            groups.append(sorted(variants, key=lambda items: -items[0].score))
    return groups


def _is_of_tagger(items: Iterable[Evidence]) -> bool:
    return any(item.source == "decoder" for item in items)


def num_expected(proposals: Sequence[Proposal]) -> int:
    """Return how many of the first proposals are more likely right than wrong: those above the expected line.

    Taken as independent, these are the likeliest of all lists that can be had by cutting this one.
    """
    return next((n for n, proposal in enumerate(proposals) if proposal.score < LIKELIER_THAN_NOT), len(proposals))


def _joint(scores: Iterable[float]) -> float:
    doubt = 1.0
    for score in scores:
        doubt *= 1 - min(max(score, 0.0), 1.0)
    return 1 - doubt


def _ies(count: int) -> str:
    return "ies" if count == 1 else "y"


def _seen_text(item: RankedTag) -> str:
    if "of" in item.evidence:
        return f"near in meaning to {item.evidence['of']}, which the model sees ({item.evidence['cosine']:.0%} alike)"
    names = [str(name) for name, _ in item.evidence.get("classes", [])[:2]]
    unlike = [name for name in names if name.casefold() != item.tag.casefold()]
    looks_like = f" (it looks like {' or '.join(unlike)})" if unlike else ""
    return f"seen in the picture with {item.score:.0%}{looks_like}"
