"""The retro-tag sweep: which saved photos probably need a tag that came late.

A tag is born on some photo; those saved before it were never asked about it. From the photos that carry it by now
(ridge regression of their features against other photos', in closed form) and from its word (the open vocabulary),
every other saved photo gets a score; those that score like the carriers themselves are likely to need it.
Knows nothing of stores, sessions or pages: features in, places out. Nothing here changes a photo.
Shapes: examples (P, D), candidates (N, D) float32 -> scores (N,).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotator.models.taggers.open_vocabulary import OpenVocabulary
from annotator.models.taggers.scoring_tagger import MIN_SCALE, Matrix, unit_rows
from annotator.models.taggers.zero_shot import WordSpace, root

NUM_OTHERS = 500
"""Candidates that stand for photos without the tag while the regression is fitted: most lack it."""
RIDGE = 1.0
WORD_WEIGHT = 0.5
"""What the word is worth beside the examples, both in standard deviations over the candidates."""
MAX_LIKELY = 200
"""Most photos that one sweep brings up."""
CHUNK = 4096
"""Candidates that are scored at once."""
LEAST_CHANCE = 1e-6
UNKNOWN_NOTE = (
    "No saved photo carries this tag, and nothing is known of what the word means: the order of these photos means "
    "nothing."
)

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sweep:
    """Every candidate's place."""

    order: npt.NDArray[np.intp]
    """(N,) candidates, the likeliest first."""
    num_likely: int
    """How many of them score like the photos that carry the tag; at most `MAX_LIKELY`."""
    is_informed: bool = True
    """False where there was neither an example nor a known word: the order is that of the candidates."""


def sweep(
    tag: str,
    examples: Matrix,
    candidates: Matrix,
    opened: OpenVocabulary | None,
    *,
    vectors: WordSpace | None = None,
    seed: int = 0,
) -> Sweep:
    """Rank candidates by how likely they need a tag.

    Args:
        tag: The tag.
        examples: (P, D) features of photos that carry it; may be empty if the word is known.
        candidates: (N, D) features of photos that do not.
        opened: Scores words; None where there is none for this backbone.
        vectors: The word vectors for it; None loads them.
        seed: Of the candidates that stand for photos without the tag.

    Raises:
        WordVectorError: The word vectors cannot be loaded.
    """
    if not len(candidates):
        return Sweep(np.zeros(0, np.intp), 0)
    ours = np.zeros(len(examples), np.float32)
    theirs = np.zeros(len(candidates), np.float32)
    if len(examples):
        ours, theirs = _by_examples(examples, candidates, seed)
    if opened is not None:
        word = [_by_word(tag, part, opened, vectors) for part in (examples, candidates)]
        weight = WORD_WEIGHT if len(examples) else 1.0
        scale = weight / max(float(word[1].std()), LEAST_CHANCE)
        ours, theirs = ours + scale * (word[0] - word[1].mean()), theirs + scale * (word[1] - word[1].mean())
    order = np.argsort(-theirs, kind="stable")
    # Without examples nothing says where "likely" begins.
    num_likely = int((theirs >= np.median(ours)).sum()) if len(examples) else 0
    is_informed = len(examples) > 0 or (opened is not None and _is_known(tag, candidates, opened, vectors))
    return Sweep(order, min(num_likely, MAX_LIKELY), is_informed)


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
    # An example weighs as much as the others that come to it.
    importance = np.concatenate([np.full(len(examples), len(others) / len(examples)), np.ones(len(others))])
    inverse = np.linalg.inv(rows @ rows.T + 1.0 + RIDGE * np.diag(1 / importance))
    weights = inverse @ targets
    left_out = (targets - weights / np.diag(inverse))[: len(examples)]
    direction, offset = rows.T @ weights, weights.sum()
    parts = [inputs(candidates[start : start + CHUNK]) @ direction for start in range(0, len(candidates), CHUNK)]
    scores = np.concatenate(parts) + offset
    spread = max(float(scores.std()), LEAST_CHANCE)
    ours, theirs = ((values - scores.mean()) / spread for values in (left_out, scores))
    return ours.astype(np.float32), theirs.astype(np.float32)


def _is_known(tag: str, features: Matrix, opened: OpenVocabulary, vectors: WordSpace | None) -> bool:
    return bool(opened.score_words(features[:1], [tag], vectors)[1][0])


def _by_word(tag: str, features: Matrix, opened: OpenVocabulary, vectors: WordSpace | None) -> Scores:
    """Return the logit of the word's chance in each photo; the same for all where the word is unknown."""
    parts = [opened.score_words(features[start : start + CHUNK], [tag], vectors)[0][:, 0]
             for start in range(0, len(features), CHUNK)]  # fmt: skip
    chances = np.clip(np.concatenate([np.zeros(0, np.float32), *parts]), LEAST_CHANCE, 1 - LEAST_CHANCE)
    logits: Scores = np.log(chances / (1 - chances)).astype(np.float32)
    return logits
