"""Adds tags to a trained recurrent tagger: a row for each in every layer with one row a tag, to be trained further.

A new row is a mixture of the rows of the known tags with the nearest word vectors; the biases start at the frequency
of the tag. No old row changes, so the known tags are ranked as before (except for JVSP's later steps, since lambda of
eq. 2 is the largest probability over all tags). The columns of new tags in a layer that takes concepts (S-CNN-RNN's
first state) start at zero.
Knows nothing of optimisers or files.
Shapes: V known tags, N new ones.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from annotator.datasets.vocabulary import Vocabulary
from annotator.models import registry
from annotator.models.sequence.trained_tagger import TrainedTagger

Shares = npt.NDArray[np.float32]

NUM_NEAREST = 5
SHARPNESS = 8.0
"""Exponent of the cosine in the weight of a known tag."""
LEAST_PRIOR = 1e-3

_CONCEPT_READER = "initial.weight"
_TAG_LSTM = {"decoder.embedding.weight": (0, 1), "decoder.output.weight": (0, 1), "decoder.output.bias": (0, 1)}
_TAG_AXES: dict[str, dict[str, tuple[int, int]]] = {
    "jvsp": {
        "semantic.weight": (0, 1),
        "refined.weight": (0, 1),
        "output.weight": (0, 1),
        "output.bias": (0, 1),
    },
    "scnn_rnn": {_CONCEPT_READER: (1, 0), "side.2.weight": (0, 0), "side.2.bias": (0, 0), **_TAG_LSTM},
    "ranked_lstm": {"embedding.weight": (0, 1), "output.weight": (0, 0), "output.bias": (0, 0)},
    "ria": _TAG_LSTM,
    "cnn_rnn": _TAG_LSTM,
    "naive_rnn": _TAG_LSTM,
    "no_rnn": {"embedding.weight": (0, 1), "output.weight": (0, 1), "output.bias": (0, 1)},
}
"""Tagger -> parameter -> (axis of the tags, number of rows after those of tags: START or END)."""
_COMMON = {
    "concept.weight": (0, 0),
    "concept.bias": (0, 0),
    "precedence": (0, 0),
    "kernel.presence": (0, 0),
    "kernel.gain": (0, 0),
}


class TagVectors(Protocol):
    """The part of `word_vectors.WordVectors` that is needed here."""

    def matrix(self, tags: Sequence[str]) -> tuple[Shares, npt.NDArray[np.bool_]]:
        """Return (N, S) vectors and (N,) whether each tag is known."""
        ...


def nearest_shares(known: Sequence[str], new: Sequence[str], vectors: TagVectors | None) -> Shares:
    """Return the weights with which known tags are mixed into new ones: (N, V), rows that sum to 1.

    Args:
        known: V tags.
        new: N tags.
        vectors: Select the nearest known tags. Without vectors, or for a word that they lack, all known tags have the
            same weight.
    """
    shares = np.full((len(new), len(known)), 1 / len(known), np.float32)
    if vectors is None or not new:
        return shares
    old_rows, is_old_known = vectors.matrix(known)
    new_rows, is_new_known = vectors.matrix(new)
    old_rows = old_rows / np.maximum(np.linalg.norm(old_rows, axis=1, keepdims=True), 1e-9)
    new_rows = new_rows / np.maximum(np.linalg.norm(new_rows, axis=1, keepdims=True), 1e-9)
    likeness = np.where(is_old_known[None, :], new_rows @ old_rows.T, -1.0)  # (N, V)
    for row in np.flatnonzero(is_new_known):
        best = np.argsort(-likeness[row], kind="stable")[:NUM_NEAREST]
        weights = np.clip(likeness[row, best], 0.0, 1.0) ** SHARPNESS
        if weights.sum() > 0:
            shares[row] = 0.0
            shares[row, best] = weights / weights.sum()
    return shares


def grow(
    tagger: TrainedTagger, tags: Sequence[str], counts: Sequence[int], shares: Shares, priors: Shares
) -> TrainedTagger:
    """Return a tagger with further tags.

    Args:
        tagger: A trained one; not changed.
        tags: N new tags, none of them in its vocabulary.
        counts: The number of lists that hold each, for the vocabulary.
        shares: (N, V), see `nearest_shares`.
        priors: (N,), the share of photos that carry each tag.

    Raises:
        DataError: A tag is in the vocabulary already, or is not a valid tag.
    """
    vocabulary = Vocabulary(
        (*tagger.vocabulary.tags, *tags), (*tagger.vocabulary.counts, *counts) if tagger.vocabulary.counts else ()
    )
    grown = registry.create(tagger.name, vocabulary, tagger.feature_size, **tagger.settings())
    mixing, frequencies = (
        torch.from_numpy(shares),
        torch.from_numpy(np.clip(priors, LEAST_PRIOR, 0.5).astype(np.float32)),
    )
    axes = {**_TAG_AXES[tagger.name], **_COMMON}
    state = {}
    for name, values in tagger.state_dict().items():
        if name not in axes:
            state[name] = values
            continue
        axis, num_special = axes[name]
        state[name] = _add_rows(name, values, axis, num_special, mixing, frequencies)
    grown.load_state_dict(state)
    grown.ranking = tagger.ranking
    grown.version = tagger.version
    return grown.train(tagger.training)


def learning_rates(tagger: TrainedTagger, num_base: int, base_rate: float) -> dict[str, Tensor]:
    """Return the relative learning rate of each parameter: 1 on the rows of added tags, `base_rate` elsewhere.

    Args:
        tagger: A tagger to which `grow` added tags.
        num_base: How many tags it had before.
        base_rate: In [0, 1].

    Returns:
        Parameter's name -> a tensor that broadcasts to it.
    """
    axes = {**_TAG_AXES[tagger.name], **_COMMON}
    rates = {}
    for name, parameter in tagger.named_parameters():
        rates[name] = torch.full((1,) * parameter.dim(), base_rate)
        if name in axes:
            axis, num_special = axes[name]
            rows = torch.full((parameter.shape[axis],), base_rate)
            rows[num_base : len(rows) - num_special] = 1.0
            rates[name] = rows.reshape([-1 if at == axis else 1 for at in range(parameter.dim())])
    return rates


def _add_rows(name: str, values: Tensor, axis: int, num_special: int, mixing: Tensor, frequencies: Tensor) -> Tensor:
    num_tags = values.shape[axis] - num_special
    rows = values.movedim(axis, 0)
    old, special = rows[:num_tags], rows[num_tags:]
    if name == _CONCEPT_READER:
        new = torch.zeros(len(mixing), old.shape[1])
    elif name == "concept.bias":
        new = torch.logit(frequencies)
    elif name.endswith(".bias"):
        # The probability to be next is that of a known tag of this frequency.
        new = mixing @ old + torch.log(frequencies * num_tags).clamp(max=0.0)
    else:
        new = mixing @ old
    return torch.cat([old, new, special]).movedim(0, axis).contiguous()
