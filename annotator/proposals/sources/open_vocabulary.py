"""Evidence of the open vocabulary: words outside the taggers' vocabularies, scored through their word vectors."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from annotator.datasets.tags import tag_key
from annotator.models.tagger import Tagger
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.proposals.evidence import Evidence
from annotator.proposals.sources.taggers import LEAST_SCORE, known_keys
from annotator.storage.features import Vectors

OPEN_TRUST = 0.5
"""Weight of the open vocabulary's rank scores beside those of a trained tagger. On 1,000 photos of Corel5k, without it,
at 0.5 and at 1: recall@10 of the tags that the taggers know 47.1, 46.8, 45.4; of all tags 29.2, 30.1, 29.4."""
NUM_OPEN = 5
"""Most words of the open vocabulary in one list."""
MAX_OWN_TAGS = 1_000
"""Most tags of a project that are scored, the most frequent ones."""


def open_evidence(
    open_vocabulary: OpenVocabulary | None,
    taggers: Sequence[Tagger],
    features: Vectors,
    num: int = NUM_OPEN,
    least: float = LEAST_SCORE,
    added_words: AddedWords | None = None,
    tags: tuple[str, ...] = (),
) -> list[Evidence]:
    """Return the evidence for words outside the taggers' vocabularies, best first.

    Args:
        open_vocabulary: Scores words; None: no evidence.
        taggers: Taggers whose words are left out.
        features: (1, D) float32.
        num: Most words.
        least: Least score.
        added_words: Scores tags of the project; None: only words of the open vocabulary are scored.
        tags: The project's tags, the most frequent first.
    """
    if open_vocabulary is None or features.shape[1] != open_vocabulary.feature_size:
        return []
    key = np.asarray(features, np.float32).tobytes()
    known = frozenset[str]().union(*map(known_keys, taggers))
    own = (
        _unknown_tags(known | known_keys(open_vocabulary), tags)
        if added_words is not None and added_words.is_loaded
        else ()
    )
    return list(_open_words(open_vocabulary, known, key, num, least, OPEN_TRUST, added_words, own))


@lru_cache(maxsize=64)
def _open_words(
    open_vocabulary: OpenVocabulary,
    known: frozenset[str],
    features: bytes,
    num: int,
    least: float,
    trust: float,
    added_words: AddedWords | None,
    own: tuple[str, ...],
) -> tuple[Evidence, ...]:
    """Return `open_evidence`; cached, since it does not depend on the kept tags."""
    vector, columns = np.frombuffer(features, np.float32)[None], _unknown_words(open_vocabulary, known)
    words = [open_vocabulary.vocabulary.tags[column] for column in columns]
    probabilities = open_vocabulary.scores(vector)[0, columns]
    if added_words is not None and own:
        own_words, own_probabilities = added_words.scores(vector, own)
        words, probabilities = [*own_words, *words], np.concatenate([own_probabilities[0], probabilities])
    best = [
        place for place in np.argsort(-probabilities, kind="stable")[:num].tolist() if probabilities[place] >= least
    ]
    return tuple(
        Evidence(
            words[place],
            "words",
            float(probabilities[place]),
            f"what is seen is near it in meaning ({probabilities[place]:.0%})",
            trust * float(probabilities[place]),
        )
        for place in best
    )


@lru_cache(maxsize=16)
def _unknown_words(open_vocabulary: OpenVocabulary, known: frozenset[str]) -> list[int]:
    """Return the columns of the open vocabulary whose words no tagger knows."""
    return [column for column, tag in enumerate(open_vocabulary.vocabulary.tags) if tag_key(tag) not in known]


@lru_cache(maxsize=16)
def _unknown_tags(known: frozenset[str], tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first tags that are not known, sorted."""
    return tuple(sorted([tag for tag in tags if tag_key(tag) not in known][:MAX_OWN_TAGS]))
