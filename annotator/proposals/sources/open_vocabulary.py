"""Evidence of the open vocabulary: words that no tagger knows, scored by their meaning."""

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
"""What a word of the open vocabulary is worth beside a trained tagger: nobody ever tagged a photo with it. Measured on
Corel5k, 1,000 photos: recall@10 of the tags that the taggers know 47.1 without, 46.8 at 0.5, 45.4 at 1; of all tags
29.2, 30.1, 29.4."""


NUM_OPEN = 5
"""Most words of the open vocabulary in one list."""


MAX_OWN_TAGS = 1_000
"""Most of a project's own tags that the open vocabulary scores, the most frequent ones."""


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
