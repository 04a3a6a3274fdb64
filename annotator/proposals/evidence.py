"""What each source says of one photo's tags: taggers, look-alikes, photos with the same words, detections, names.

Every word comes as `Evidence` with its score and its reason; `proposals/fusion.py` joins all into one list.
Knows nothing of stores, indexes or pages.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from annotator.datasets.tags import tag_key
from annotator.models.context import Context, ContextTagger
from annotator.models.detectors.coco_classes import classes_of, plain_word
from annotator.models.detectors.detector import Detection
from annotator.models.sequence.inference import InferenceTagger
from annotator.models.tag_order import area, load_tag_order, place_text
from annotator.models.tagger import Labels, RankedTag, Tagger, takes_labels, takes_user_tags
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.storage.features import Vectors

NUM_PROPOSALS = 20
"""Most proposals of one list."""

KEYWORD_SCORE = 0.9
"""A keyword that somebody gave this very photo is nearly always right."""
FEW_KEYWORDS = 20
"""Keywords of one photo up to which each counts in full. Of n more, each counts times sqrt(FEW_KEYWORDS / n): nobody
means a thousand things by one photo, and at 0.9 each such a heap would fill every list and leave no place for what a
model sees. By the root and not by the share, since a photo with 60 careful keywords is still best described by them."""
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
MAX_OWN_TAGS = 1_000
"""Most of a project's own tags that the open vocabulary scores, the most frequent ones."""
AT_HOME = 0.3
"""Score of its surest tag from which a recurrent tagger is heard in full. What it holds to be next sums to 1 on any
photo, also on one unlike all that it was taught on: there "dog" led the list of an orange. EXPERIMENTS.md."""
WELL_TAUGHT = 30
"""Photos from which a tagger must have learnt a tag before look-alikes speak softly of it."""
UNLIKE = 0.2
"""Cosine similarity at which two photos' looks say nothing of each other's tags."""
DOUBT = 0.3
"""Weight of an imagined neighbour without tags: one look-alike alone is not certainty."""
DETECTOR_TRUST = 0.2
"""What a detection's place in the list is worth, beside how likely a person names the thing (models/tag_order.py).
Beside JVSP, NDCG and recall@10 on held-back photos rise with 0.2 and fall with 1: EXPERIMENTS.md."""


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
    origin: str = ""
    """Who within a tagger named it, where it tells: tagger_net (own tags), words (near to the tag `of`) or detector."""
    of: str = ""


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


def seen_evidence(
    taggers: Sequence[Tagger],
    features: Vectors,
    prefix: Sequence[str],
    dropped: Collection[str],
    keywords: Sequence[str] = (),
    context: Context | None = None,
    labels: Labels = (),
) -> list[Evidence]:
    """Return what the taggers see in one photo, (1, D) features, after the settled prefix.

    The photo's own keywords are side information to a tagger that was taught with such.

    The first tagger's word counts. The others add only words that it does not know, and rank behind: it was taught
    what people tag and in which order, they were not. A tagger that hears of a context is told it, and one that takes a
    detector's labels is given those.
    """
    evidence: list[Evidence] = []
    known: set[str] = set()
    for place, tagger in enumerate(taggers):
        ranked = ask(tagger, features, prefix, dropped, keywords, NUM_PROPOSALS, context, labels)
        trust = familiarity(tagger, ranked, prefix) if place == 0 else SECOND_TAGGER_TRUST
        rank_score = trust
        for item in ranked:
            # Its order counts, not its scores: "cat" goes before "animal", though the latter is surer.
            rank_score = min(rank_score, trust * item.evidence.get("utility", item.score))
            if tag_key(item.tag) not in known and item.score >= LEAST_SCORE:
                evidence.append(_seen(item, rank_score, source_of(tagger)))
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
    added: AddedWords | None = None,
    tags: tuple[str, ...] = (),
) -> list[Evidence]:
    """Return what the open vocabulary says of words that no tagger knows, in one photo, (1, D) features, best first.

    Args:
        opened: None says nothing.
        taggers: Whose words are left to them.
        features: (1, D) float32.
        num: Most words.
        least: Least score.
        added: Scores the project's own tags, too; None scores the vocabulary's alone.
        tags: The project's own tags, the most frequent first.
    """
    if opened is None or features.shape[1] != opened.feature_size:
        return []
    key = np.asarray(features, np.float32).tobytes()
    own = _unknown_tags(opened, tuple(taggers), tags) if added is not None and added.is_loaded else ()
    return list(_open_words(opened, tuple(taggers), key, num, least, OPEN_TRUST, added, own))


@lru_cache(maxsize=256)
def _open_words(
    opened: OpenVocabulary,
    taggers: tuple[Tagger, ...],
    features: bytes,
    num: int,
    least: float,
    trust: float,
    added: AddedWords | None,
    own: tuple[str, ...],
) -> tuple[Evidence, ...]:
    """Return `open_evidence`, remembered: it does not hang on what is settled, so edits of one list need it once."""
    vector, columns = np.frombuffer(features, np.float32)[None], _unknown_words(opened, taggers)
    words = [opened.vocabulary.tags[column] for column in columns]
    chances = opened.scores(vector)[0, columns]
    if added is not None and own:
        known, own_chances = added.scores(vector, own)
        words, chances = [*known, *words], np.concatenate([own_chances[0], chances])
    best = [place for place in np.argsort(-chances, kind="stable")[:num].tolist() if chances[place] >= least]
    return tuple(
        Evidence(
            words[place],
            "words",
            float(chances[place]),
            f"what is seen is near it in meaning ({chances[place]:.0%})",
            trust * float(chances[place]),
        )
        for place in best
    )


@lru_cache(maxsize=16)
def _unknown_words(opened: OpenVocabulary, taggers: tuple[Tagger, ...]) -> list[int]:
    """Return the columns of the open vocabulary's words that no tagger knows."""
    known = frozenset[str]().union(*map(known_keys, taggers))
    return [column for column, tag in enumerate(opened.vocabulary.tags) if tag_key(tag) not in known]


@lru_cache(maxsize=16)
def _unknown_tags(opened: OpenVocabulary, taggers: tuple[Tagger, ...], tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first tags that neither a tagger nor the open vocabulary knows, the same ones in the same order."""
    known = frozenset[str]().union(*map(known_keys, (opened, *taggers)))
    return tuple(sorted([tag for tag in tags if tag_key(tag) not in known][:MAX_OWN_TAGS]))


def ask(
    tagger: Tagger,
    features: Vectors,
    prefix: Sequence[str],
    dropped: Collection[str],
    keywords: Sequence[str],
    k: int,
    context: Context | None = None,
    labels: Labels = (),
) -> list[RankedTag]:
    """Return one photo's ranked list by one tagger, which is told what it can hear: keywords, a context, labels.

    A project gives no labels: there detections are a source of their own and would count twice.
    """
    own: dict[str, Any] = {"user_tags": [list(keywords)]} if takes_user_tags(tagger) else {}
    if context is not None and hears_context(tagger):
        own["context"] = context
    if labels and takes_labels(tagger):
        own["labels"] = [labels]
    return tagger.decode(features, [list(prefix)], dropped=[list(dropped)], k=k, **own)[0]


@lru_cache(maxsize=16)
def known_keys(tagger: Tagger) -> frozenset[str]:
    """Return the keys of every tag that a tagger can propose."""
    return frozenset(map(tag_key, tagger.allowed_words()))


@lru_cache(maxsize=4)
def taught_keys(tagger: Tagger) -> frozenset[str]:
    """Return the keys of the tags that a tagger learnt from many photos.

    Without those whose rows were made from others', and those that it met in few photos: look-alikes know them better.
    """
    if not isinstance(tagger, InferenceTagger):
        return known_keys(tagger).difference(map(tag_key, getattr(tagger, "made_of", ())))
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


def context_shares(tagger: ContextTagger, features: Vectors, context: Context) -> dict[str, dict[str, float]]:
    """Return how likely a tagger would hold each tag without neighbours and without metadata, where there are any.

    Two more decodes: for the person who asks why, not for every proposal.
    """
    ablations = {}
    if context.neighbours.size:
        ablations["neighbours"] = context.without_neighbours()
    if context.words[0]:
        ablations["metadata"] = context.without_words()
    num = len(known_keys(tagger))
    return {
        name: {item.tag: item.score for item in tagger.decode(features, [()], k=num, context=told)[0]}
        for name, told in ablations.items()
    }


def _seen(item: RankedTag, rank_score: float, source: str) -> Evidence:
    text = f"the model sees it with {item.score:.0%}"
    if "made_of" in item.evidence:
        text = f"a guess of {item.score:.0%}: the model never learnt it, but what is near in meaning"
        return Evidence(item.tag, source, item.score, f"{text} ({', '.join(item.evidence['made_of'])})", rank_score)
    if source == "context":
        return Evidence(item.tag, source, item.score, text, rank_score)
    if "next" not in item.evidence:
        origin, of = str(item.evidence.get("from", "")), str(item.evidence.get("of", ""))
        return Evidence(item.tag, "looks", item.score, _seen_text(item), rank_score, origin, of)
    if item.evidence["step"] == 1:
        text += f", and puts it next with {item.evidence['next']:.0%}"
    return Evidence(item.tag, "decoder", item.score, text, rank_score)


def detector_labels(detections: Sequence[Detection]) -> list[tuple[str, float]]:
    """Return what the detector found in one photo, once a class, under the word that people use, the likeliest first.

    Returns:
        (word, how likely such a thing is there), as taggers take it that take labels.
    """
    order, found = load_tag_order(), dict[str, float]()
    for item in detections:
        word = plain_word(item.label)
        found[word] = max(found.get(word, 0.0), order.present(item))
    return sorted(found.items(), key=lambda entry: -entry[1])


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
    score = KEYWORD_SCORE * min(1.0, math.sqrt(FEW_KEYWORDS / max(len(words.keywords), 1)))
    keywords = [Evidence(word, "keywords", score, "it is among the photo's own keywords") for word in words.keywords]
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


def _ies(count: int) -> str:
    return "ies" if count == 1 else "y"


def _seen_text(item: RankedTag) -> str:
    if item.evidence.get("from") == "detector":
        return f"the detector finds it with {item.score:.0%}"
    if "of" in item.evidence:
        return f"near in meaning to {item.evidence['of']}, which the model sees ({item.evidence['cosine']:.0%} alike)"
    names = [str(name) for name, _ in item.evidence.get("classes", [])[:2]]
    unlike = [name for name in names if name.casefold() != item.tag.casefold()]
    looks_like = f" (it looks like {' or '.join(unlike)})" if unlike else ""
    return f"seen in the picture with {item.score:.0%}{looks_like}"
