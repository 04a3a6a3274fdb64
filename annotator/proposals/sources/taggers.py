"""Evidence of taggers: what each sees in one photo and expects after the kept tags."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from annotator.datasets.tags import tag_key
from annotator.models.context import Context, ContextTagger
from annotator.models.sequence.inference import InferenceTagger
from annotator.models.tagger import Labels, RankedTag, Tagger
from annotator.proposals.evidence import Evidence
from annotator.storage.features import Vectors

NUM_PROPOSALS = 20
"""Most proposals of one list."""


LEAST_SCORE = 0.02
"""What a tagger holds less likely is not proposed: on photos unlike those it was taught on it has nothing to say."""


SECOND_TAGGER_TRUST = 0.75
"""What a word of the cold start is worth beside a trained tagger that does not know it."""


AT_HOME = 0.3
"""Score of its surest tag from which a recurrent tagger is heard in full. What it holds to be next sums to 1 on any
photo, also on one unlike all that it was taught on: there "dog" led the list of an orange. EXPERIMENTS.md."""


WELL_TAUGHT = 30
"""Photos from which a tagger must have learnt a tag before look-alikes speak softly of it."""


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
    own: dict[str, Any] = {"user_tags": [list(keywords)]} if tagger.capabilities.uses_user_tags else {}
    if context is not None and tagger.capabilities.uses_context:
        own["context"] = context
    if labels and tagger.capabilities.uses_labels:
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
        return frozenset(map(tag_key, tagger.trained_words()))
    counts = tagger.vocabulary.counts or [WELL_TAUGHT] * len(tagger.vocabulary)
    well = {tag for tag, count in zip(tagger.vocabulary.tags, counts, strict=True) if count >= WELL_TAUGHT}
    return frozenset(tag_key(tag) for tag in tagger.trained_words() if tag in well)


def source_of(tagger: Tagger) -> str:
    """Return the name of the source that a tagger's evidence is."""
    if tagger.capabilities.uses_context:
        return "context"
    return "decoder" if tagger.capabilities.is_sequential else "looks"


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


def _seen_text(item: RankedTag) -> str:
    if item.evidence.get("from") == "detector":
        return f"the detector finds it with {item.score:.0%}"
    if "of" in item.evidence:
        return f"near in meaning to {item.evidence['of']}, which the model sees ({item.evidence['cosine']:.0%} alike)"
    names = [str(name) for name, _ in item.evidence.get("classes", [])[:2]]
    unlike = [name for name in names if name.casefold() != item.tag.casefold()]
    looks_like = f" (it looks like {' or '.join(unlike)})" if unlike else ""
    return f"seen in the picture with {item.score:.0%}{looks_like}"
