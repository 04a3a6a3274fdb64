"""Ranks saved photos by how likely they lack a tag that was first used after they were saved.

The score of a photo comes from the photos that have the tag (ridge regression of their features against those of other
photos, in closed form) and from the word itself (the open vocabulary). Photos with the score of a typical photo that
has the tag are likely to lack it. Knows nothing of databases, sessions or the user interface, and changes no photo.
Shapes: examples (P, D), candidates (N, D) float32 -> scores (N,).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotator.models.taggers.open_vocabulary import OpenVocabulary
from annotator.models.taggers.scoring_tagger import MIN_SCALE, Matrix, unit_rows
from annotator.models.taggers.zero_shot import WordSpace, root

NUM_OTHERS = 500
"""Random candidates that serve as negative examples of the regression: most do not need the tag."""
RIDGE = 1.0
WORD_WEIGHT = 0.5
"""Weight of the word's score beside that of the examples, both in standard deviations over the candidates."""
MAX_LIKELY = 200
"""Most photos that are reported as likely."""
CHUNK = 4096
"""Candidates in one batch."""
EPSILON = 1e-6
UNKNOWN_NOTE = (
    "No saved photo carries this tag, and nothing is known of what the word means: the order of these photos means "
    "nothing."
)

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MissingTagRanking:
    """The ranked candidates."""

    order: npt.NDArray[np.intp]
    """(N,) rows of the candidates, the likeliest first."""
    num_likely: int
    """Candidates with at least the median score of the examples; at most `MAX_LIKELY`."""
    is_informed: bool = True
    """False without examples and without a known word: the order is that of the input."""


def rank_candidates(
    tag: str,
    examples: Matrix,
    candidates: Matrix,
    open_vocabulary: OpenVocabulary | None,
    *,
    vectors: WordSpace | None = None,
    seed: int = 0,
) -> MissingTagRanking:
    """Rank candidates by how likely they need a tag.

    Args:
        tag: The tag.
        examples: (P, D) features of photos that have it; may be empty if the word is known.
        candidates: (N, D) features of photos that do not have it.
        open_vocabulary: Scores words; None if there is none for this backbone.
        vectors: Word vectors for it; None loads them.
        seed: Of the sample of negative examples.

    Raises:
        WordVectorError: The word vectors cannot be loaded.
    """
    if not len(candidates):
        return MissingTagRanking(np.zeros(0, np.intp), 0)
    ours = np.zeros(len(examples), np.float32)
    theirs = np.zeros(len(candidates), np.float32)
    if len(examples):
        ours, theirs = _by_examples(examples, candidates, seed)
    if open_vocabulary is not None:
        word = [_by_word(tag, part, open_vocabulary, vectors) for part in (examples, candidates)]
        weight = WORD_WEIGHT if len(examples) else 1.0
        scale = weight / max(float(word[1].std()), EPSILON)
        ours, theirs = ours + scale * (word[0] - word[1].mean()), theirs + scale * (word[1] - word[1].mean())
    order = np.argsort(-theirs, kind="stable")
    # Without examples there is no threshold.
    num_likely = int((theirs >= np.median(ours)).sum()) if len(examples) else 0
    is_informed = len(examples) > 0 or (
        open_vocabulary is not None and _is_known(tag, candidates, open_vocabulary, vectors)
    )
    return MissingTagRanking(order, min(num_likely, MAX_LIKELY), is_informed)


def _by_examples(examples: Matrix, candidates: Matrix, seed: int) -> tuple[Scores, Scores]:
    """Return the regression's scores of examples and candidates, in standard deviations over the candidates.

    An example's score is that of the regression fitted without it.
    """
    rng = np.random.default_rng(seed)
    others = candidates[rng.permutation(len(candidates))[:NUM_OTHERS]]
    rooted = root(others)
    mean, scale = rooted.mean(axis=0), 1 / np.maximum(rooted.std(axis=0), MIN_SCALE)

    def inputs(features: Matrix) -> Matrix:
        return unit_rows((root(features) - mean) * scale)

    rows = np.concatenate([inputs(examples), inputs(others)])
    targets = np.concatenate([np.ones(len(examples)), -np.ones(len(others))])
    # Examples and negative examples have the same total weight.
    importance = np.concatenate([np.full(len(examples), len(others) / len(examples)), np.ones(len(others))])
    inverse = np.linalg.inv(rows @ rows.T + 1.0 + RIDGE * np.diag(1 / importance))
    weights = inverse @ targets
    left_out = (targets - weights / np.diag(inverse))[: len(examples)]
    direction, offset = rows.T @ weights, weights.sum()
    parts = [inputs(candidates[start : start + CHUNK]) @ direction for start in range(0, len(candidates), CHUNK)]
    scores = np.concatenate(parts) + offset
    spread = max(float(scores.std()), EPSILON)
    ours, theirs = ((values - scores.mean()) / spread for values in (left_out, scores))
    return ours.astype(np.float32), theirs.astype(np.float32)


def _is_known(tag: str, features: Matrix, open_vocabulary: OpenVocabulary, vectors: WordSpace | None) -> bool:
    return bool(open_vocabulary.score_words(features[:1], [tag], vectors)[1][0])


def _by_word(tag: str, features: Matrix, open_vocabulary: OpenVocabulary, vectors: WordSpace | None) -> Scores:
    """Return the logit of the word's probability in each photo; the same in all if the word is unknown."""
    parts = [open_vocabulary.score_words(features[start : start + CHUNK], [tag], vectors)[0][:, 0]
             for start in range(0, len(features), CHUNK)]  # fmt: skip
    probabilities = np.clip(np.concatenate([np.zeros(0, np.float32), *parts]), EPSILON, 1 - EPSILON)
    logits: Scores = np.log(probabilities / (1 - probabilities)).astype(np.float32)
    return logits
