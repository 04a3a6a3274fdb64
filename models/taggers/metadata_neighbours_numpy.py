"""The metadata-neighbour family for inference: numpy alone, no torch.

Each class has the layers of a torch module of metadata_neighbours.py, under the same names; the paper and the
equations are there. A score is the mean of the network's sigmoid over fixed random m-subsets of a photo's neighbours
(eq. 2); values of a single neighbour are computed once for all subsets. The tags are ranked as a set: a prefix only
removes tags. Knows nothing of how neighbours are found.
Shapes: features (B, D) and a `Context` -> scores (B, V) float32 in [0, 1].
"""

import threading
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import WordVectorError
from annotator.models.context import Codes, Context, Encoder, Pool, VectorSums, WordSets, subsets
from annotator.models.sequence.numpy_steps import linear, root_slope, scale_features
from annotator.models.sequence.numpy_steps import sigmoid as gate
from annotator.models.tagger import Capabilities, Features, RankedTag
from annotator.models.taggers.scoring_tagger import Arrays, Matrix, ScoringTagger, sigmoid

if TYPE_CHECKING:
    from annotator.models.word_vectors.word_vectors import WordVectors

MAX_ROWS = 128
"""Subsets of neighbours per batch, over all photos."""

MAX_CACHED = 32
"""Photos whose scores are cached, since edits of a photo's list do not change them."""

WITH_METADATA = Capabilities(uses_context=True, uses_metadata=True)
WITHOUT_METADATA = Capabilities(uses_context=True)
"""Of models whose network has no words as input; metadata only selects neighbours."""

Parts = dict[str, Matrix]


class NeighbourNetwork(ScoringTagger):
    """The base of the family; see metadata_neighbours.py.

    Args:
        vocabulary: Its V tags.
        weights: Under the names of the module's state, float32.
        settings: The module's config as JSON values.

    Raises:
        WordVectorError: The word vectors are missing, or not those it was trained with.
    """

    capabilities = WITH_METADATA

    def __init__(self, vocabulary: Vocabulary, weights: Arrays, settings: Mapping[str, Any]) -> None:
        super().__init__(vocabulary, len(weights["feature_mean"]))
        # In Fortran order, as the products read them: for few rows this takes half the time.
        self.weights: dict[str, Matrix] = {
            name: np.asfortranarray(value, np.float32) for name, value in weights.items()
        }
        if self.weights["output.bias"].shape != (len(vocabulary),):
            raise ValueError(f"The weights have {len(self.weights['output.bias'])} outputs, not {len(vocabulary)}.")
        self._settings = dict(settings)
        self._encoder = make_encoder(settings) if self.capabilities.uses_metadata else None
        self._neighbourhood = neighbourhood_vectors(settings)
        self._clear_cache()
        self._version = super().version  # cached: a hash of all weights, read for every proposal
        if self._encoder is not None and self._encoder.size != len(self.weights["code_scale"]):
            raise ValueError(
                f"The network takes codes of {len(self.weights['code_scale'])} values; the words give "
                f"{self._encoder.size}."
            )

    @property
    def version(self) -> str:
        """Changes with the vocabulary, any setting and any learnt value."""
        return self._version

    @property
    def metadata(self) -> str:
        """The field the words come from."""
        return str(self._settings["metadata"])

    @property
    def num_candidates(self) -> int:
        """M; 0 for a model without neighbours."""
        return int(self._settings["M"])

    @property
    def neighbourhood(self) -> VectorSums | None:
        """Neighbours are found by the cosine of these vector sums; if None, by the Jaccard distance of word sets."""
        return self._neighbourhood

    def settings(self) -> Mapping[str, Any]:
        """Return the config as JSON values."""
        return self._settings

    def arrays(self) -> Arrays:
        """Return all learnt arrays."""
        return {name: np.ascontiguousarray(value) for name, value in self.weights.items()}

    @classmethod
    def from_arrays(cls, vocabulary: Vocabulary, settings: Mapping[str, Any], arrays: Arrays) -> Self:
        """Return the tagger whose `settings` and `arrays` these are."""
        return cls(vocabulary, arrays, settings)

    def with_tags(self, vocabulary: Vocabulary, weights: Arrays, made_of: Mapping[str, Sequence[str]]) -> Self:
        """Return a tagger with more tags, without reading word vectors or hashing weights again.

        Args:
            vocabulary: The known tags, then the new ones.
            weights: With a row of the output layer for each tag.
            made_of: For each new tag, the known tags its row is derived from.
        """
        grown = copy(self)
        ScoringTagger.__init__(grown, vocabulary, self.feature_size, self.threshold)
        grown.weights = {name: np.asfortranarray(value, np.float32) for name, value in weights.items()}
        grown.made_of = made_of
        grown._clear_cache()
        grown._version = f"{self._version}+{len(made_of)}"
        return grown

    @abstractmethod
    def own_parts(self, x: Matrix, o_x: Matrix) -> Parts:
        """Return (B, ...) arrays computed from the photos alone: scaled features (B, D) and codes (B, S)."""

    @abstractmethod
    def near_parts(self, z: Matrix, o_z: Matrix) -> Parts:
        """Return (B, n, ...) arrays computed from each neighbour alone: features (B, n, D) and codes (B, n, S)."""

    @abstractmethod
    def fuse(self, own: Parts, near: Parts) -> Matrix:
        """Return the (B, V) logits of photos and one subset of their neighbours, nearest first."""

    def scores(self, features: Features, context: Context | None = None) -> Matrix:
        """Return the probability that each tag is right: (B, V) in [0, 1].

        Args:
            features: (B, D).
            context: Of the same photos; None means no words and no neighbours.

        Raises:
            ValueError: The sizes do not fit.
        """
        self._check(features)
        if context is None:
            empty_pool = Pool(np.zeros((0, self.feature_size), np.float32), [])
            context = Context([()] * len(features), empty_pool, np.zeros((len(features), 0), np.int64))
        if len(context.words) != len(features):
            raise ValueError(f"There are {len(features)} features, but a context of {len(context.words)} photos.")
        scores = np.zeros((len(features), len(self.vocabulary)), np.float32)
        counts = (context.neighbours >= 0).sum(axis=1)
        for count in np.unique(counts).tolist():
            rows = np.flatnonzero(counts == count)
            step = max(1, MAX_ROWS // len(self._subset_places(count)))
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                scores[part] = self._scores_with_count(features[part], context.take(part.tolist()), count)
        return scores

    def decode(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        *,
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
        free_length: bool = False,
        context: Context | None = None,
    ) -> list[list[RankedTag]]:
        """List the best tags that are neither kept nor dropped; see `ContextTagger.decode`.

        Raises:
            ValueError: The sizes do not fit.
        """
        is_one = len(features) == 1 and context is not None and len(context.words) == 1
        scores = self._cached_scores(features, context) if is_one and context else self.scores(features, context)
        return self.rank(scores, prefixes, dropped, k, free_length=free_length)

    def channel_weights(self, tag: str, features: Features) -> Features | None:
        """Return the contribution of each feature channel to a tag: the gradient of its logit without a context.

        Args:
            tag: Any tag.
            features: (1, D).

        Returns:
            (D,), or None for an unknown tag and for the models that end in an LSTM.
        """
        places = [place for place, known in enumerate(self.vocabulary.tags) if known == tag]
        if not places or not self._is_linear_in_parts():
            return None
        weight = self.weights["output.weight"][places[0]]  # of [v_x; ...]
        if "image.weight" in self.weights:
            x = self._scale(features)
            codes = np.zeros((1, len(self.weights["image.weight"][0]) - self.feature_size), np.float32)
            is_open = linear(self.weights, "image", np.concatenate([x, codes], axis=1))[0] > 0
            weight = (weight[: len(is_open)] * is_open) @ self.weights["image.weight"][:, : self.feature_size]
        slope: Features = weight * self.weights["feature_scale"]
        return slope * root_slope(features[0]) if self._settings["root_features"] else slope

    def _is_linear_in_parts(self) -> bool:
        return True

    def _clear_cache(self) -> None:
        self._cache: dict[tuple[bytes, bytes, bytes, tuple[tuple[str, ...], ...]], Matrix] = {}
        self._cache_lock = threading.Lock()

    def _cached_scores(self, features: Features, context: Context) -> Matrix:
        """Return the scores of one photo, from the cache if its features and context are in it."""
        pool = context.pool
        words = tuple(tuple(sorted(own)) for own in (*context.words, *pool.words))
        key = (features.tobytes(), pool.features.tobytes(), context.neighbours.tobytes(), words)
        with self._cache_lock:
            known = self._cache.get(key)
        if known is None:
            known = self.scores(features, context)
            with self._cache_lock:
                self._cache[key] = known
                if len(self._cache) > MAX_CACHED:
                    del self._cache[next(iter(self._cache))]
        return known

    def _subset_places(self, count: int) -> npt.NDArray[np.intp]:
        """Return the places of the subsets of `count` neighbours, (s, m)."""
        return np.array(subsets(count, int(self._settings["m"]), int(self._settings["num_subsets"])), np.intp)

    def _scores_with_count(self, features: Features, context: Context, count: int) -> Matrix:
        """Return the scores of photos with `count` neighbours each."""
        chosen, places = np.unique(context.neighbours[:, :count], return_inverse=True)
        places = places.reshape(len(features), count)
        near_features = self._scale(context.pool.features[chosen])[places]  # (B, n, D)
        near_codes = self._codes([context.pool.words[row] for row in chosen.tolist()])[places]  # (B, n, S)
        own = self.own_parts(self._scale(features), self._codes(context.words))
        near = self.near_parts(near_features, near_codes)
        drawn = self._subset_places(count)
        num, size = drawn.shape
        # All subsets of all photos are one batch, (B s, ...), so that the weights are read once.
        rows = num * len(features)
        logits = self.fuse(
            {name: np.repeat(values, num, axis=0) for name, values in own.items()},
            {name: values[:, drawn].reshape(rows, size, *values.shape[2:]) for name, values in near.items()},
        )
        mean: Matrix = sigmoid(logits).reshape(len(features), num, -1).mean(axis=1)
        return mean

    def _scale(self, features: Features) -> Features:
        return scale_features(self.weights, features, is_rooted=bool(self._settings["root_features"]))

    def _codes(self, words: Sequence[Collection[str]]) -> Codes:
        if self._encoder is None:
            return np.zeros((len(words), 0), np.float32)
        scaled = self._encoder.encode(words) * self.weights["code_scale"]
        lengths = np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), np.float32(1e-9))
        codes: Codes = scaled * np.minimum(self.weights["code_limit"] / lengths, np.float32(1))
        return codes


def make_encoder(settings: Mapping[str, Any]) -> Encoder:
    """Return the encoder of a network's words.

    Raises:
        WordVectorError: The word vectors are missing, or not those it was trained with.
    """
    kind = settings["input"]
    if kind == "id":
        return WordSets(settings["known_words"])
    sums = VectorSums(load_vectors(kind, settings))
    _check_same(sums, settings["input_version"], settings["input_size"], "The tagger was trained with")
    return sums


def load_vectors(kind: str, settings: Mapping[str, Any]) -> "WordVectors":
    """Return the word vectors of `w2v` or `wnet`.

    Raises:
        WordVectorError: The word vectors are missing.
    """
    from annotator.models.word_vectors.word_vectors import WORDNET, load_word_vectors

    return load_word_vectors(WORDNET if kind == "wnet" else str(settings["vectors"]))


def neighbourhood_vectors(settings: Mapping[str, Any]) -> VectorSums | None:
    """Return the sums of vectors by whose cosine neighbours are found; None for the Jaccard distance of word sets.

    Raises:
        WordVectorError: The word vectors are missing, or not those it was trained with.
    """
    kind = settings["neighbourhood"]
    if kind == "id":
        return None
    sums = VectorSums(load_vectors(kind, settings))
    version = settings.get("neighbourhood_version")
    if version:  # missing in older checkpoints
        _check_same(sums, version, settings["neighbourhood_size"], "The tagger's neighbours were found by")
    return sums


def _check_same(sums: VectorSums, version: str, size: int, what: str) -> None:
    if (sums.vectors.version, sums.size) != (version, size):
        raise WordVectorError(
            f"{what} word vectors of version {version} ({size} values); {sums.vectors.name} here has version "
            f"{sums.vectors.version} ({sums.size} values). Install those, or train the tagger again."
        )


def lstm(weights: Mapping[str, Matrix], name: str, gates: Matrix) -> Matrix:
    """Return the last hidden state, (B, H), of a `LinearLstm`.

    Args:
        weights: Those of the module.
        name: Name of the layer.
        gates: (B, T, 4 H) the inputs' terms of the gates with the bias, in the order i, f, g, o.
    """
    recurrent = weights[f"{name}.recurrent.weight"].T  # (H, 4 H)
    size = len(recurrent)
    hidden = np.zeros((len(gates), size), np.float32)
    cell = hidden
    for step in range(gates.shape[1]):
        sums = gates[:, step] + hidden @ recurrent if step else gates[:, 0]
        input_forget = gate(sums[:, : 2 * size])
        cell = input_forget[:, size:] * cell + input_forget[:, :size] * sums[:, 2 * size : 3 * size]
        hidden = gate(sums[:, 3 * size :]) * cell
    return hidden


def relu(values: Matrix) -> Matrix:
    """Return max(0, x)."""
    rectified: Matrix = np.maximum(values, 0)
    return rectified


def max_over_neighbours(values: Matrix) -> Matrix:
    """Return the maximum of nonnegative (B, m, H) values over the neighbours; 0 without neighbours."""
    highest: Matrix = values.max(axis=1, initial=0)
    return highest


class VisualOnlyNetwork(NeighbourNetwork):
    """`metadata_neighbours.VisualOnly` in numpy."""

    name = "visual_only"
    capabilities = WITHOUT_METADATA

    @property
    def num_candidates(self) -> int:
        """0: it has no neighbours."""
        return 0

    def own_parts(self, x: Matrix, o_x: Matrix) -> Parts:
        """Return x."""
        return {"x": x}

    def near_parts(self, z: Matrix, o_z: Matrix) -> Parts:
        """Return no arrays."""
        return {}

    def fuse(self, own: Parts, near: Parts) -> Matrix:
        """Eq. 8."""
        return linear(self.weights, "output", own["x"])


class LtnNetwork(NeighbourNetwork):
    """`metadata_neighbours.Ltn` in numpy."""

    name = "ltn"
    capabilities = WITHOUT_METADATA

    def own_parts(self, x: Matrix, o_x: Matrix) -> Parts:
        """Return v_x, eq. 10."""
        return {"v": relu(linear(self.weights, "image", x))}

    def near_parts(self, z: Matrix, o_z: Matrix) -> Parts:
        """Return the terms of eq. 11."""
        return {"v": relu(linear(self.weights, "neighbours", z))}

    def fuse(self, own: Parts, near: Parts) -> Matrix:
        """Eq. 9."""
        return linear(self.weights, "output", np.concatenate([own["v"], max_over_neighbours(near["v"])], axis=1))


class RtnNetwork(LtnNetwork):
    """`metadata_neighbours.Rtn` in numpy."""

    name = "rtn"

    def near_parts(self, z: Matrix, o_z: Matrix) -> Parts:
        """Return the inputs' terms of the gates for each neighbour."""
        return {"gates": linear(self.weights, "neighbours.inputs", z)}

    def fuse(self, own: Parts, near: Parts) -> Matrix:
        """Eq. 9 and 12."""
        v_z = lstm(self.weights, "neighbours", near["gates"])
        return linear(self.weights, "output", np.concatenate([own["v"], v_z], axis=1))


class LtnVecsNetwork(LtnNetwork):
    """`metadata_neighbours.LtnVecs` in numpy."""

    name = "ltn_vecs"
    capabilities = WITH_METADATA

    def own_parts(self, x: Matrix, o_x: Matrix) -> Parts:
        """Return v_x, eq. 14."""
        return {"v": relu(linear(self.weights, "image", np.concatenate([x, o_x], axis=1)))}


class LtnAllVecsNetwork(LtnVecsNetwork):
    """`metadata_neighbours.LtnAllVecs` in numpy."""

    name = "ltn_all_vecs"

    def near_parts(self, z: Matrix, o_z: Matrix) -> Parts:
        """Return the terms of eq. 16."""
        return {"v": relu(linear(self.weights, "neighbours", np.concatenate([z, o_z], axis=2)))}


class LtwinNetwork(NeighbourNetwork):
    """`metadata_neighbours.Ltwin` in numpy."""

    name = "ltwin"

    def own_parts(self, x: Matrix, o_x: Matrix) -> Parts:
        """Return v_x and u_x."""
        return {"v": relu(linear(self.weights, "image", x)), "u": relu(linear(self.weights, "words", o_x))}

    def near_parts(self, z: Matrix, o_z: Matrix) -> Parts:
        """Return the terms of v_z and u_z."""
        return {
            "v": relu(linear(self.weights, "neighbours", z)),
            "u": relu(linear(self.weights, "neighbour_words", o_z)),
        }

    def pool(self, near: Parts) -> tuple[Matrix, Matrix]:
        """Return v_z and u_z, (B, H) each."""
        return max_over_neighbours(near["v"]), max_over_neighbours(near["u"])

    def fuse(self, own: Parts, near: Parts) -> Matrix:
        """Eq. 17."""
        v_z, u_z = self.pool(near)
        return linear(self.weights, "output", np.concatenate([own["v"], v_z, own["u"], u_z], axis=1))


class LtwinRnnNetwork(LtwinNetwork):
    """`metadata_neighbours.LtwinRnn` in numpy."""

    name = "ltwin_rnn"

    def near_parts(self, z: Matrix, o_z: Matrix) -> Parts:
        """Return the inputs' terms of the gates for each neighbour."""
        terms = super().near_parts(z, o_z)
        return {
            "v": linear(self.weights, "neighbour_rnn.inputs", terms["v"]),
            "u": linear(self.weights, "word_rnn.inputs", terms["u"]),
        }

    def pool(self, near: Parts) -> tuple[Matrix, Matrix]:
        """Return v_z and u_z, the LSTMs' last states."""
        return lstm(self.weights, "neighbour_rnn", near["v"]), lstm(self.weights, "word_rnn", near["u"])


class Ltwin2RnnNetwork(LtwinRnnNetwork):
    """`metadata_neighbours.Ltwin2Rnn` in numpy."""

    name = "ltwin_2rnn"

    def own_parts(self, x: Matrix, o_x: Matrix) -> Parts:
        """Return the inputs' terms of the gates for the photo."""
        return {
            name: linear(self.weights, "final_rnn.inputs", value) for name, value in super().own_parts(x, o_x).items()
        }

    def fuse(self, own: Parts, near: Parts) -> Matrix:
        """Eq. 18."""
        v_z, u_z = (linear(self.weights, "final_rnn.inputs", value) for value in self.pool(near))
        gates = np.stack([own["v"], v_z, own["u"], u_z], axis=1)  # (B, 4, 4 H)
        return linear(self.weights, "output", lstm(self.weights, "final_rnn", gates))

    def _is_linear_in_parts(self) -> bool:
        return False


class LZipNetwork(NeighbourNetwork):
    """`metadata_neighbours.LZip` in numpy."""

    name = "lzip"

    def own_parts(self, x: Matrix, o_x: Matrix) -> Parts:
        """Return the inputs' terms of the gates for the photo."""
        return {"gates": self._gates([linear(self.weights, "image", x), linear(self.weights, "words", o_x)])}

    def near_parts(self, z: Matrix, o_z: Matrix) -> Parts:
        """Return the inputs' terms of the gates for each neighbour."""
        return {
            "gates": self._gates([linear(self.weights, "neighbours", z), linear(self.weights, "neighbour_words", o_z)])
        }

    def _gates(self, both: list[Matrix]) -> Matrix:
        """Return the terms of the gates of features and words: of both together, (..., 4 H), or of each, (..., 8 H)."""
        parts = [relu(values) for values in both]
        if not self._is_printed:
            return linear(self.weights, "zip_rnn.inputs", np.concatenate(parts, axis=-1))
        each: Matrix = np.concatenate([linear(self.weights, "zip_rnn.inputs", part) for part in parts], axis=-1)
        return each

    @property
    def _is_printed(self) -> bool:
        return bool(self._settings.get("zip") == "printed")  # missing in older checkpoints

    def fuse(self, own: Parts, near: Parts) -> Matrix:
        """Eq. 19."""
        gates = np.concatenate([own["gates"][:, None], near["gates"]], axis=1)  # (B, m + 1, 4 H)
        if self._is_printed:
            gates = gates.reshape(len(gates), 2 * gates.shape[1], -1)  # (B, 2 m + 2, 4 H)
        return linear(self.weights, "output", lstm(self.weights, "zip_rnn", gates))

    def _is_linear_in_parts(self) -> bool:
        return False
