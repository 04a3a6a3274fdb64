"""Adds tags to a trained tagger without training: their rows are derived from those of the nearest known tags.

A tagger has a row for each tag in its concept layer, its output layer and its embeddings. The row of a new tag is the
weighted mean of the rows of the NUM_NEAREST known tags with the nearest word vectors,

    weight_i = exp(cosine_i / TEMPERATURE) / sum_j exp(cosine_j / TEMPERATURE).

A tag whose best cosine is below LEAST_COSINE is not added. In the decoder's first state (S-CNN-RNN), whose input is
the concepts, the column of a new tag is zero, since its neighbours carry the same information. Taggers that score
each tag by itself have rows in the output layer alone.
Knows nothing of projects or of how word vectors are looked up.
Shapes: V known tags and N new ones: rows (V, ...) -> (V + N, ...) float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.sequence.inference import InferenceTagger
from annotator.models.tagger import Tagger
from annotator.models.taggers.metadata_neighbours_numpy import NeighbourNetwork
from annotator.models.taggers.scoring_tagger import Arrays
from annotator.models.taggers.zero_shot import ZeroShotTagger
from annotator.models.word_vectors.word_vectors import WordVectors

NUM_NEAREST = 3
TEMPERATURE = 0.02
LEAST_COSINE = 0.5
ROWS_MARK = "+"
"""Separates the version of the trained weights from the number of added rows."""
"""Below it the nearest known tag is not evidence of the new one."""
MAX_NAMED = 3
"""Most known tags listed in the evidence of a new one."""

Rows = npt.NDArray[np.float32]

ExtendableTagger = InferenceTagger | NeighbourNetwork | ZeroShotTagger
"""Taggers to which new tags can be added."""

_ROWS = frozenset({
    "concept.weight", "concept.bias", "side.2.weight", "side.2.bias", "output.weight", "output.bias",
    "decoder.output.weight", "decoder.output.bias", "decoder.embedding.weight", "embedding.weight", "semantic.weight",
    "refined.weight", "precedence", "kernel.presence", "kernel.gain",
})  # fmt: skip
"""Arrays whose first axis is the tags, with or without START or END after them."""


@dataclass(frozen=True)
class Mixture:
    """The known tags from whose rows the row of a new tag is mixed."""

    tag: str
    places: npt.NDArray[np.intp]
    """Their places in the vocabulary, nearest first."""
    weights: Rows
    """Sum to 1."""


def find_mixture(word_vectors: WordVectors, known_tags: Sequence[str], new_tag: str) -> Mixture | None:
    """Return the mixture of known tags for a new one; None if no word vector is near enough."""
    vector = word_vectors.vector(new_tag)
    if vector is None:
        return None
    nearest = word_vectors.nearest(vector, NUM_NEAREST, known_tags)
    if not nearest or nearest[0][1] < LEAST_COSINE:
        return None
    place_of = {tag: place for place, tag in enumerate(known_tags)}
    cosines = np.array([cosine for _, cosine in nearest], np.float32)
    weights = np.exp((cosines - cosines.max()) / TEMPERATURE)
    places = np.array([place_of[tag] for tag, _ in nearest], np.intp)
    return Mixture(new_tag, places, (weights / weights.sum()).astype(np.float32))


def initial_rows(word_vectors: WordVectors, known_tags: Sequence[str], known_rows: Rows, new_tag: str) -> Rows | None:
    """Return the row of a new tag before it has been trained.

    Args:
        word_vectors: Select the nearest tags.
        known_tags: V tags.
        known_rows: (V, ...), their rows in a weight matrix or bias.
        new_tag: Any other tag.

    Returns:
        (...) float32, or None if no known tag is near enough.
    """
    mixture = find_mixture(word_vectors, known_tags, new_tag)
    return None if mixture is None else _mix(known_rows, mixture)


def trained_version(tagger: Tagger) -> str:
    """Return the version of a tagger's trained weights, the same with and without added rows."""
    return tagger.version.partition(ROWS_MARK)[0]


def extend(
    tagger: ExtendableTagger,
    word_vectors: WordVectors,
    new_tags: Sequence[str],
    mixtures: dict[str, Mixture | None] | None = None,
) -> ExtendableTagger:
    """Return a tagger that also proposes new tags, except for known ones and those without a near enough known tag.

    Args:
        tagger: A trained one that is not extended yet.
        word_vectors: Select the nearest tags.
        new_tags: Any tags.
        mixtures: A cache for this tagger and these word vectors; new entries are added to it.

    Returns:
        A tagger that shares the weights, or the same one if there is nothing to add.
    """
    known = tagger.vocabulary
    # The further words of a zero-shot tagger have no rows, and come after the new tags.
    num = tagger.num_trained if isinstance(tagger, ZeroShotTagger) else len(known)
    trained_tags = known.tags[:num]
    found = {} if mixtures is None else mixtures
    unknown = [tag for tag in dict.fromkeys(new_tags) if tag not in known]
    for tag in unknown:
        if tag not in found:
            found[tag] = find_mixture(word_vectors, trained_tags, tag)
    used = [mixture for tag in unknown if (mixture := found[tag]) is not None]
    if not used:
        return tagger
    vocabulary = Vocabulary(
        [*trained_tags, *(mixture.tag for mixture in used), *known.tags[num:]],
        [*known.counts[:num], *(0 for _ in used), *known.counts[num:]] if known.counts else (),
    )
    made_of = {mixture.tag: [trained_tags[place] for place in mixture.places[:MAX_NAMED]] for mixture in used}
    if isinstance(tagger, InferenceTagger):
        return _extended_decoder(tagger, vocabulary, used, made_of)
    if isinstance(tagger, ZeroShotTagger):
        arrays = tagger.arrays()
        arrays["output"] = _extended("output.weight", arrays["output"].T, num, used).T
        arrays["output_bias"] = _extended("output.bias", arrays["output_bias"], num, used)
        return tagger.with_tags(vocabulary, arrays, made_of)
    weights: Arrays = {name: _extended(name, values, num, used) for name, values in tagger.weights.items()}
    return tagger.with_tags(vocabulary, weights, made_of)


def _extended_decoder(
    tagger: InferenceTagger, vocabulary: Vocabulary, mixtures: Sequence[Mixture], made_of: dict[str, list[str]]
) -> InferenceTagger:
    num = len(tagger.vocabulary)
    weights = {name: _extended(name, values, num, mixtures) for name, values in tagger.weights.items()}
    if tagger.name == "scnn_rnn":
        weights["initial.weight"] = np.pad(weights["initial.weight"], ((0, 0), (0, len(mixtures))))
    version = f"{tagger.version}{ROWS_MARK}{len(mixtures)}"
    extended = InferenceTagger(
        tagger.name, version, vocabulary, weights, tagger.settings, tagger.ranking, made_of=made_of
    )
    extended.reranker = tagger.reranker
    return extended


def _extended(name: str, values: Rows, num_known: int, mixtures: Sequence[Mixture]) -> Rows:
    if name not in _ROWS:
        return values
    new = np.stack([_mix(values[:num_known], mixture) for mixture in mixtures])
    # The row of START or END stays last.
    return np.concatenate([values[:num_known], new, values[num_known:]]).astype(np.float32, copy=False)


def _mix(rows: Rows, mixture: Mixture) -> Rows:
    mixed: Rows = np.tensordot(mixture.weights, rows[mixture.places], axes=1).astype(np.float32)
    return mixed
