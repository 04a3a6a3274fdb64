"""How likely a completion is meant: the log odds of a candidate among all candidates for a typed text.

A conditional logit: P(candidate | photo, project, typed text) is proportional to exp(weights . features). Features say
where a candidate is known from (used in the project, scored for the photo, an everyday word, a word of the lexicon),
with the logarithm of how often or how strongly, and what the lexicon knows of its last word.
`tests/benchmarks/completions.py --fit` fits the weights. Knows nothing of vocabularies or photos.
"""

import numpy as np

from annotator.models.word_vectors.word_vector_files import Vectors

WEIGHTS: dict[str, float] = {
    "used": 0.0,
    "log_count": 0.31,
    "log_lists": 0.19,
    "scored": 5.03,
    "log_score": 0.46,
    "other_form": 2.25,
    "log_form": 0.33,
    "everyday": 0.17,
    "later_word": -4.9,
    "exact": 1.91,
    "rarity": -0.07,
    "subject": 2.45,
    "inflected": -0.4,
    "seen": 4.59,
    "log_seen": 1.14,
}
"""Feature -> weight."""
(
    USED, LOG_COUNT, LOG_LISTS, SCORED, LOG_SCORE, OTHER_FORM, LOG_FORM, EVERYDAY, LATER_WORD,
    EXACT, RARITY, SUBJECT, INFLECTED, SEEN, LOG_SEEN,
) = range(len(WEIGHTS))  # fmt: skip
NUM_FEATURES = len(WEIGHTS)
FROM_LEXICON = slice(RARITY, INFLECTED + 1)
"""The features that `Lexicon.describe` returns."""
LOWEST_SCORE = 1e-4
"""Lower scores count as this one."""
TYPICAL_SCORE = 0.003
"""Score of a word that the open vocabulary does not score, as before its word vectors are loaded."""
LEAST_LOG_ODDS = -2.2
"""A word of the lexicon with lower log odds is not offered before it is typed nearly in full. Of the 99 words that
people wanted on 300 photos of food and captions 4% lay below it with the weights before; of place names 95% on food
and 78% on captions, of pasts, participles and adverbs 88% and 73%."""

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
