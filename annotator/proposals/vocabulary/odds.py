"""How likely a completion is meant: the log odds of a candidate among all candidates for a typed text.

A conditional logit: P(candidate | photo, project, typed text) is proportional to exp(weights . features). Features say
where a candidate is known from (used in the project, scored for the photo, an everyday word, a word of the lexicon),
with the logarithm of how often or how strongly, what the lexicon knows of its last word, and, of a tag of several words
of which only the last is in question, whether that word is kept, scored, used or often a last word (phrases.py).
`tests/benchmarks/completions.py --fit` fits the weights. Knows nothing of vocabularies or photos.
"""

import numpy as np

from annotator.models.word_vectors.word_vector_files import Vectors

WEIGHTS: dict[str, float] = {
    "used": 0.4,
    "log_count": 0.27,
    "log_lists": 0.11,
    "scored": 5.09,
    "log_score": 0.45,
    "other_form": 1.37,
    "log_form": 0.19,
    "everyday": 0.0,
    "later_word": -4.72,
    "exact": 1.55,
    "rarity": 0.0,
    "subject": 2.6,
    "inflected": -0.64,
    "seen": 4.6,
    "log_seen": 1.23,
    "next_word": -0.43,
    "kept_word": 1.61,
    "scored_word": 0.64,
    "log_word_score": 0.22,
    "used_word": 0.0,
    "log_word_count": 0.0,
    "last_word": 1.28,
    "log_last_count": 0.41,
}
"""Feature -> weight."""
(
    USED, LOG_COUNT, LOG_LISTS, SCORED, LOG_SCORE, OTHER_FORM, LOG_FORM, EVERYDAY, LATER_WORD,
    EXACT, RARITY, SUBJECT, INFLECTED, SEEN, LOG_SEEN, NEXT_WORD, KEPT_WORD, SCORED_WORD, LOG_WORD_SCORE,
    USED_WORD, LOG_WORD_COUNT, LAST_WORD, LOG_LAST_COUNT,
) = range(len(WEIGHTS))  # fmt: skip
NUM_FEATURES = len(WEIGHTS)
FROM_LEXICON = slice(RARITY, INFLECTED + 1)
"""The features that `Lexicon.describe` returns."""
LOWEST_SCORE = 1e-4
"""Lower scores count as this one."""
TYPICAL_SCORE = 0.003
"""Score of a word that the open vocabulary does not score, as before its word vectors are loaded."""
LEAST_LOG_ODDS = -2.0
"""A word of the lexicon with lower log odds is not offered before it is typed nearly in full. On 117 photos of food 6%
of the wanted words lie below it, 57% of the others and 78% of the names of places; on everyday photos 59% of these."""

_WEIGHTS = np.array(list(WEIGHTS.values()), np.float32)


def log_odds(features: Vectors) -> Vectors:
    """Return the (N,) log odds of N candidates, up to a common constant, from their (N, F) features."""
    return features @ _WEIGHTS


def describe_seen(row: Vectors, score: float | None, of_form: float | None) -> None:
    """Fill the features of a word of the lexicon that depend on the photo.

    Args:
        row: (F,), changed in place.
        score: The open vocabulary's score of the word; None, which counts as `TYPICAL_SCORE`, if it has none.
        of_form: The score of another form of the word, such as its singular; None without one.
    """
    row[SEEN], row[LOG_SEEN] = 1, np.log(max(TYPICAL_SCORE if score is None else score, LOWEST_SCORE))
    if of_form is not None:
        row[OTHER_FORM], row[LOG_FORM] = 1, np.log(max(of_form, LOWEST_SCORE))
