"""Evidence of taggers: their ranked tags for one photo after the kept tags."""

from collections.abc import Collection, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from annotator.datasets.tags import tag_key
from annotator.models.context import Context, ContextTagger
from annotator.models.sequence.inference import InferenceTagger
from annotator.models.tagger import Labels, RankedTag, Tagger
from annotator.proposals.evidence import Evidence
from annotator.storage.features import Vectors

NUM_PROPOSALS = 20
"""Most proposals of one list."""
LEAST_SCORE = 0.02
"""Least score of a proposed tag: on photos unlike its training photos a tagger proposes nothing."""
SECOND_TAGGER_TRUST = 0.75
"""Weight of the cold start's rank scores beside those of a trained tagger."""
FULL_TRUST_SCORE = 0.3
"""Highest score in its list from which a sequential tagger has full weight. Its next-tag probabilities sum to 1 on any
photo, also on one unlike its training photos, where "dog" led the list of an orange: docs/experiments/proposals.md."""
LEAST_TRAINED_PHOTOS = 30
"""Training photos of a tag from which evidence of neighbours for it has a lower weight."""


def tagger_evidence(
    taggers: Sequence[Tagger],
    features: Vectors,
    kept: Sequence[str],
    dropped: Collection[str],
    keywords: Sequence[str] = (),
    context: Context | None = None,
    labels: Labels = (),
) -> list[Evidence]:
    """Return the evidence of the taggers for one photo, best first for each tagger.

    Later taggers add only tags that earlier ones do not know, with a lower weight: only the first one was trained on
    tags of users and their order.

    Args:
        taggers: The trained one first.
        features: (1, D) float32.
        kept: The kept tags, most important first.
        dropped: Refused tags.
        keywords: The photo's own keywords, for taggers that take user tags.
        context: For taggers that use one.
        labels: Of a detector, for taggers that take them.
    """
    evidence: list[Evidence] = []
    known: set[str] = set()
    for place, tagger in enumerate(taggers):
        ranked = decode_photo(tagger, features, kept, dropped, keywords, NUM_PROPOSALS, context, labels)
        trust = familiarity(tagger, ranked, kept) if place == 0 else SECOND_TAGGER_TRUST
        rank_score = trust
        for item in ranked:
            # The tagger's order decides, not its scores: "cat" is before "animal", which has the higher score.
            rank_score = min(rank_score, trust * item.evidence.get("utility", item.score))
            if tag_key(item.tag) not in known and item.score >= LEAST_SCORE:
                evidence.append(_evidence(item, rank_score, source_of(tagger)))
        known |= known_keys(tagger)
    return evidence


def familiarity(tagger: Tagger, ranked: Sequence[RankedTag], kept: Sequence[str]) -> float:
    """Return the weight of a tagger on this photo, in [0, 1].

    Args:
        tagger: Only a sequential one can get less than 1.
        ranked: Its list for the photo.
        kept: The kept tags. With one that it knows, its weight is 1.
    """
    if source_of(tagger) != "decoder" or any(tag_key(tag) in known_keys(tagger) for tag in kept):
        return 1.0
    highest = max((item.score for item in ranked), default=0.0)
    return min(1.0, highest / FULL_TRUST_SCORE) ** 2


def decode_photo(
    tagger: Tagger,
    features: Vectors,
    kept: Sequence[str],
    dropped: Collection[str],
    keywords: Sequence[str],
    k: int,
    context: Context | None = None,
    labels: Labels = (),
) -> list[RankedTag]:
    """Return a tagger's ranked list for one photo, with those of the optional inputs that the tagger takes.

    Args:
        tagger: The tagger.
        features: (1, D) float32.
        kept: The kept tags, most important first: the prefix of the decoder.
        dropped: Refused tags.
        keywords: The photo's own keywords.
        k: Most tags.
        context: Metadata and neighbours.
        labels: Of a detector. In a project, detections are a source of their own and labels are not given.
    """
    own: dict[str, Any] = {"user_tags": [list(keywords)]} if tagger.capabilities.uses_user_tags else {}
    if context is not None and tagger.capabilities.uses_context:
        own["context"] = context
    if labels and tagger.capabilities.uses_labels:
        own["labels"] = [labels]
    return tagger.decode(features, [list(kept)], dropped=[list(dropped)], k=k, **own)[0]


_KNOWN: WeakKeyDictionary[Tagger, frozenset[str]] = WeakKeyDictionary()
_TRAINED: WeakKeyDictionary[Tagger, frozenset[str]] = WeakKeyDictionary()
"""Caches that do not keep a tagger alive: each new tag of a project makes a new tagger with one row more."""


def known_keys(tagger: Tagger) -> frozenset[str]:
    """Return the keys of every tag that a tagger can propose."""
    keys = _KNOWN.get(tagger)
    if keys is None:
        keys = _KNOWN[tagger] = frozenset(map(tag_key, tagger.allowed_words()))
    return keys


def trained_keys(tagger: Tagger) -> frozenset[str]:
    """Return the keys of the tags that a tagger was trained on with at least `LEAST_TRAINED_PHOTOS` photos.

    Tags whose rows were computed from word vectors are not among them.
    """
    keys = _TRAINED.get(tagger)
    if keys is None:
        keys = _TRAINED[tagger] = _find_trained_keys(tagger)
    return keys


def _find_trained_keys(tagger: Tagger) -> frozenset[str]:
    if not isinstance(tagger, InferenceTagger):
        return frozenset(map(tag_key, tagger.trained_words()))
    counts = tagger.vocabulary.counts or [LEAST_TRAINED_PHOTOS] * len(tagger.vocabulary)
    frequent = {tag for tag, count in zip(tagger.vocabulary.tags, counts, strict=True) if count >= LEAST_TRAINED_PHOTOS}
    return frozenset(tag_key(tag) for tag in tagger.trained_words() if tag in frequent)


def source_of(tagger: Tagger) -> str:
    """Return the source name of a tagger's evidence."""
    if tagger.capabilities.uses_context:
        return "context"
    return "decoder" if tagger.capabilities.is_sequential else "looks"


def context_ablations(tagger: ContextTagger, features: Vectors, context: Context) -> dict[str, dict[str, float]]:
    """Return the scores of all tags without neighbours and without metadata, as far as the context has them.

    It takes two more decodes, so it is computed only for a user who asks for the reason.

    Returns:
        ``neighbours`` and ``metadata``, what was left out -> (tag -> score).
    """
    ablations = {}
    if context.neighbours.size:
        ablations["neighbours"] = context.without_neighbours()
    if context.words[0]:
        ablations["metadata"] = context.without_words()
    num = len(known_keys(tagger))
    return {
        name: {item.tag: item.score for item in tagger.decode(features, [()], k=num, context=reduced)[0]}
        for name, reduced in ablations.items()
    }


def _evidence(item: RankedTag, rank_score: float, source: str) -> Evidence:
    text = f"the model sees it with {item.score:.0%}"
    if "made_of" in item.evidence:
        text = f"a guess of {item.score:.0%}: the model never learnt it, but what is near in meaning"
        return Evidence(item.tag, source, item.score, f"{text} ({', '.join(item.evidence['made_of'])})", rank_score)
    if source == "context":
        return Evidence(item.tag, source, item.score, text, rank_score)
    if "next" not in item.evidence:
        origin, of = str(item.evidence.get("from", "")), str(item.evidence.get("of", ""))
        return Evidence(item.tag, "looks", item.score, _text(item), rank_score, origin, of)
    if item.evidence["step"] == 1:
        text += f", and puts it next with {item.evidence['next']:.0%}"
    return Evidence(item.tag, "decoder", item.score, text, rank_score)


def _text(item: RankedTag) -> str:
    if item.evidence.get("from") == "detector":
        return f"the detector finds it with {item.score:.0%}"
    if "of" in item.evidence:
        return f"near in meaning to {item.evidence['of']}, which the model sees ({item.evidence['cosine']:.0%} alike)"
    names = [str(name) for name, _ in item.evidence.get("classes", [])[:2]]
    unlike = [name for name in names if name.casefold() != item.tag.casefold()]
    looks_like = f" (it looks like {' or '.join(unlike)})" if unlike else ""
    return f"seen in the picture with {item.score:.0%}{looks_like}"
