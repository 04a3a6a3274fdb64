"""A trained recurrent tagger for inference: numpy alone, no torch. Ranks tags after a prefix.

The utility that a list is sorted by (`Ranking.by`):
- "sequence": the papers' decoding, greedy or beam search, END masked until k tags are emitted.
- "concept": the concept layer's probability alone, whatever the prefix.
- "mixture", the default: with P_j(tag), the probability to be the j-th tag after the prefix over all continuations
  (`decoding.look_ahead`), and n tags in the prefix,
      sum_j discount^(j-1) P_j / sum_tags P_1
      + concept_decay^n x (concept_weight x concept probability + gain_weight x gain of the kernel layer)
  times (typical count / tag's count)^rarity. The division removes END, since the person asks for further tags. The
  concepts and the gain do not depend on the prefix, hence their decay. Then the `head` best tags, and the `head` next
  ones, are put in the person's order, see ordering.py. The effect of each part is in docs/experiments.
With free_length it is always the papers' decoding, to END.
Score: the probability that the tag is right, a logistic regression on the logits of `sequence_probabilities`, of the
concept probability and of the kernel layer's presence, and on the square root of the latter, fitted on validation
photos (`Ranking.calibration`).
Shapes: features (B, D) float32 -> concepts (B, V), places (B, J, V) -> scores (B, V).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotator.datasets.tags import tag_key
from annotator.datasets.vocabulary import Vocabulary
from annotator.models.reranker import IDENTITY
from annotator.models.sequence import numpy_steps
from annotator.models.sequence.decoding import Array, Mask, Steps, feed, look_ahead, mask_tags, search
from annotator.models.sequence.kernel_layer import KernelLayer
from annotator.models.sequence.numpy_steps import Weights, linear, root_slope, scale_features, sigmoid
from annotator.models.sequence.ordering import order_heads, rarity_factors
from annotator.models.sequence.prefix_states import PrefixStates
from annotator.models.tagger import Capabilities, Features, RankedTag

MAX_ROWS = 256
"""Images per batch."""
FLOOR = 1e-6
"""Probabilities are clipped to [FLOOR, 1 - FLOOR] before the logit."""
LEAST_PRESENCE = 1e-4
"""Least presence of the kernel layer before the logit: a regression's values near 0 are noise."""


@dataclass(frozen=True)
class Ranking:
    """How a list is ranked; stored in the checkpoint."""

    by: str = "mixture"
    """mixture, sequence or concept."""
    depth: int = 2
    """J: places of the lookahead."""
    width: int = 4
    """Openings that the lookahead continues for each place."""
    discount: float = 0.5
    """Weight of a place relative to the one before it."""
    concept_weight: float = 0.6
    """Weight of the concept probability relative to that of being the next tag, for an empty prefix."""
    gain_weight: float = 2.0
    """Weight of the kernel layer's gain, for an empty prefix; without such a layer it has no effect."""
    concept_decay: float = 0.25
    """Factor of both weights for each tag of the prefix."""
    rarity: float = 0.15
    """Exponent in favour of rare tags, see `ordering.rarity_factors`."""
    head: int = 5
    """Number of best tags, and of next best tags, put in the person's order; 0 keeps the order by utility."""
    precedence: float = 0.8
    """Weight of the precedence in that order, in [0, 1]."""
    calibration: tuple[float, ...] = (0.0, 0.5, 0.5)
    """Bias and weights in the score: of the sequence's and the concept's logits and, with a kernel layer, of its
    presence's logit and square root."""
    beam_width: int = 1
    """Beam width of "sequence" and of a free length."""

    def __post_init__(self) -> None:
        if self.by not in ("mixture", "sequence", "concept"):
            raise ValueError(f"A ranking is by mixture, sequence or concept, not by {self.by!r}.")
        for name in ("depth", "width", "beam_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}.")


@dataclass(frozen=True)
class Prediction:
    """The probabilities of a batch of images after their prefixes."""

    concepts: Array | None
    """(B, V) concept probabilities, whatever the prefix; None without a concept layer."""
    places: Array
    """(B, J, V) probability to be the j-th tag after the prefix."""
    masked: Mask
    """(B, V) whether a tag is in the prefix or dropped."""
    num_kept: Array
    """(B,) number of known tags in each prefix."""
    presence: Array | None = None
    """(B, V) of the kernel layer, whatever the prefix, like `gain`; None without that layer."""
    gain: Array | None = None
    """(B, V)."""


class InferenceTagger:
    """Ranks tags; safe to use from several threads.

    Args:
        name: Registry name.
        version: Version of the weights.
        vocabulary: The tags it knows.
        weights: Under the names of the module's state, float32.
        settings: The module's config as JSON values.
        ranking: How lists are ranked.
        made_of: For each tag added without training, the known tags its rows are derived from (new_tags.py).

    Attributes:
        reranker: The re-ranker trained with it.
        capabilities: See `tagger.Capabilities`.
    """

    reranker = IDENTITY

    def __init__(
        self,
        name: str,
        version: str,
        vocabulary: Vocabulary,
        weights: Weights,
        settings: Mapping[str, Any],
        ranking: Ranking,
        made_of: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.vocabulary = vocabulary
        self.ranking = ranking
        self.settings = settings
        self.made_of = dict(made_of or {})
        self.feature_size = len(weights["feature_mean"])
        self.steps = make_steps(name, weights, settings)
        self.weights = weights
        self._states = PrefixStates(self.steps)
        self._kernel = KernelLayer(weights) if "kernel.presence" in weights else None
        self._concept = np.ascontiguousarray(weights["concept.weight"].T) if "concept.weight" in weights else None
        self._ids = {tag_key(tag): index for index, tag in enumerate(vocabulary.tags)}
        self._user_tags = {tag_key(tag): index for index, tag in enumerate(settings.get("user_tags", ()))}
        self.capabilities = Capabilities(is_sequential=True, uses_user_tags=bool(self._user_tags))

    def allowed_words(self) -> list[str]:
        """Return every tag it can propose, in alphabetical order."""
        return sorted(self.vocabulary.tags, key=tag_key)

    def trained_words(self) -> list[str]:
        """Return every tag it was trained on."""
        return [tag for tag in self.vocabulary.tags if tag not in self.made_of]

    def decode(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        *,
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
        free_length: bool = False,
        user_tags: Sequence[Collection[str]] = (),
    ) -> list[list[RankedTag]]:
        """Continue each image's prefix; see `Tagger.decode`.

        Tags of a prefix that the vocabulary lacks are ignored. Evidence: `concept` (probability, if there is a concept
        layer), `next` (probability to be the next tag), `step` (the likeliest place after the prefix, from 1),
        `utility` (the list is sorted by it), `made_of` (of a tag added without training, see new_tags.py); of a
        decoded path only `concept`, `next` and `step`.

        Args:
            features: (B, D) float32.
            prefixes: B lists of kept tags.
            dropped: B collections of dropped tags; empty means none.
            k: Most tags of a list.
            free_length: The tagger ends its list by END, as in the papers.
            user_tags: B collections of the photos' own tags, side information; empty means none.

        Raises:
            ValueError: The batch sizes or the feature size do not fit.
        """
        prefix_ids, dropped_ids = self._check(features, prefixes, dropped)
        lists: list[list[RankedTag]] = []
        for start in range(0, len(features), MAX_ROWS):
            part = slice(start, start + MAX_ROWS)
            rows, prefix, dropped_part = features[part], prefix_ids[part], dropped_ids[part]
            concepts = self.concepts(rows, user_tags[part])
            if free_length or self.ranking.by == "sequence":
                lists += self._paths(rows, concepts, prefix, dropped_part, k, free_length)
            else:
                lists += self._ranked(self._predict(rows, concepts, prefix, dropped_part), k)
        return lists

    def predict(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        dropped: Sequence[Collection[str]] = (),
        user_tags: Sequence[Collection[str]] = (),
    ) -> Prediction:
        """Return all probabilities of a batch that fits into memory.

        Raises:
            ValueError: The batch sizes or the feature size do not fit.
        """
        prefix_ids, dropped_ids = self._check(features, prefixes, dropped)
        return self._predict(features, self.concepts(features, user_tags), prefix_ids, dropped_ids)

    def scores(self, prediction: Prediction) -> Array:
        """Return (B, V): the probability that each tag is right; 0 where it is masked."""
        bias, *weights = self.ranking.calibration
        logits: Array = np.full(prediction.masked.shape, bias, np.float32)
        for weight, values in zip(weights, score_inputs(prediction), strict=False):
            if values is not None:
                logits += weight * values
        scores: Array = np.where(prediction.masked, 0.0, sigmoid(logits)).astype(np.float32)
        return scores

    def utilities(self, prediction: Prediction) -> Array:
        """Return (B, V): the utility that the list is sorted by; -1 where a tag is masked."""
        ranking = self.ranking
        if ranking.by == "concept" and prediction.concepts is not None:
            values = prediction.concepts
        else:
            discounts = ranking.discount ** np.arange(prediction.places.shape[1], dtype=np.float32)
            continuation = np.maximum(prediction.places[:, 0].sum(axis=1, keepdims=True), FLOOR)
            values = np.einsum("bjv,j->bv", prediction.places, discounts) / continuation
            if prediction.concepts is not None:
                weights = ranking.concept_weight * ranking.concept_decay**prediction.num_kept  # (B,)
                values = values + weights[:, None] * prediction.concepts
            if prediction.gain is not None:
                weights = ranking.gain_weight * ranking.concept_decay**prediction.num_kept
                values = values + weights[:, None] * prediction.gain
        if ranking.by == "mixture":
            values = values * rarity_factors(self.vocabulary.counts, ranking.rarity)
        utilities: Array = np.where(prediction.masked, -1.0, values).astype(np.float32)
        precedence = self.weights.get("precedence")
        if ranking.by == "mixture" and precedence is not None and precedence.any():
            probabilities = sequence_probabilities(prediction) if prediction.concepts is None else prediction.concepts
            order_heads(utilities, probabilities, precedence, ranking.head, ranking.precedence)
        return utilities

    def concepts(self, features: Features, user_tags: Sequence[Collection[str]] = ()) -> Array | None:
        """Return the concept probabilities, (B, V); None without a concept layer."""
        if self._concept is None:
            return None
        logits = self._scale(features) @ self._concept + self.weights["concept.bias"]
        if self._user_tags:
            has_tag = np.zeros((len(features), len(self._user_tags)), np.float32)
            for row, tags in zip(has_tag, user_tags or [()] * len(features), strict=True):
                row[[self._user_tags[tag_key(tag)] for tag in tags if tag_key(tag) in self._user_tags]] = 1.0
            logits += linear(self.weights, "side.2", np.maximum(linear(self.weights, "side.0", has_tag), 0))
        return sigmoid(logits)

    def probabilities(self, features: Features) -> tuple[Sequence[str], Array] | None:
        """Return the vocabulary and `concepts`, (B, V); None without a concept layer."""
        concepts = self.concepts(features)
        return None if concepts is None else (self.vocabulary.tags, concepts)

    def channel_weights(self, tag: str, features: Features) -> Features | None:
        """Return the contribution of each feature channel to a tag: the gradient of its concept logit at this photo.

        Args:
            tag: Any tag.
            features: (1, D) float32.

        Returns:
            (D,) float32, or None without a concept layer or for a tag that the vocabulary lacks.
        """
        ids = self._encode([tag])
        if self._concept is None or not ids:
            return None
        weights: Features = self._concept[:, ids[0]] * self.weights["feature_scale"]
        if self.settings["root_features"]:
            weights = weights * root_slope(features[0])
        return weights

    def _scale(self, features: Features) -> Features:
        return scale_features(self.weights, features, is_rooted=bool(self.settings["root_features"]))

    def _check(
        self, features: Features, prefixes: Sequence[Sequence[str]], dropped: Sequence[Collection[str]]
    ) -> tuple[list[list[int]], list[list[int]]]:
        if features.ndim != 2 or features.shape[1] != self.feature_size:
            raise ValueError(f"Features must be (B, {self.feature_size}); their shape is {features.shape}.")
        dropped = dropped or [()] * len(features)
        if len(prefixes) != len(features) or len(dropped) != len(features):
            raise ValueError(
                f"There are {len(features)} features, {len(prefixes)} prefixes and {len(dropped)} dropped sets."
            )
        return [self._encode(tags) for tags in prefixes], [self._encode(tags) for tags in dropped]

    def _encode(self, tags: Collection[str]) -> list[int]:
        return list(dict.fromkeys(self._ids[key] for key in map(tag_key, tags) if key in self._ids))

    def _predict(
        self, features: Features, concepts: Array | None, prefixes: list[list[int]], dropped: list[list[int]]
    ) -> Prediction:
        masked = mask_tags(len(self.vocabulary), prefixes, dropped)
        if len(features) == 1:
            photo = (features.tobytes(), None if concepts is None else concepts.tobytes())
            log_probs, state = self._states.feed(
                photo, lambda: self.steps.start(self._scale(features), concepts), prefixes[0]
            )
        else:
            log_probs, state = feed(self.steps, self.steps.start(self._scale(features), concepts), prefixes)
        depth, width = self.ranking.depth, self.ranking.width
        places = look_ahead(self.steps, log_probs, state, masked, depth=depth, width=width)
        num_kept = np.array([len(prefix) for prefix in prefixes], np.float32)
        presence, gain = (None, None) if self._kernel is None else self._kernel.predict(features)
        return Prediction(concepts, places, masked, num_kept, presence, gain)

    def _ranked(self, prediction: Prediction, k: int) -> list[list[RankedTag]]:
        utilities, scores = self.utilities(prediction), self.scores(prediction)
        places = prediction.places
        best = np.argsort(-utilities, axis=1, kind="stable")[:, :k]  # (B, k)
        lists = []
        for row, ids in enumerate(best.tolist()):
            ranked = []
            for tag in ids:
                if prediction.masked[row, tag]:
                    continue
                evidence: dict[str, Any] = {
                    "next": round(float(places[row, 0, tag]), 4),
                    "step": int(places[row, :, tag].argmax()) + 1,
                    "utility": round(min(float(utilities[row, tag]), 1.0), 6),
                }
                if prediction.concepts is not None:
                    evidence["concept"] = round(float(prediction.concepts[row, tag]), 4)
                name = self.vocabulary.tags[tag]
                if name in self.made_of:
                    evidence["made_of"] = list(self.made_of[name])
                ranked.append(RankedTag(name, float(scores[row, tag]), evidence))
            lists.append(ranked)
        return lists

    def _paths(
        self,
        features: Features,
        concepts: Array | None,
        prefixes: list[list[int]],
        dropped: list[list[int]],
        k: int,
        free_length: bool,
    ) -> list[list[RankedTag]]:
        state = self.steps.start(self._scale(features), concepts)
        masked = mask_tags(len(self.vocabulary), prefixes, dropped)
        paths = search(
            self.steps, state, prefixes, masked, k=k, free_length=free_length, beam_width=self.ranking.beam_width
        )
        lists = []
        for row, path in enumerate(paths):
            ranked = []
            for step, (tag, gain) in enumerate(zip(path.tags, path.log_probs, strict=True), start=1):
                probability = min(float(np.exp(gain)), 1.0)
                evidence = {"next": round(probability, 4), "step": step}
                if concepts is not None:
                    evidence["concept"] = round(float(concepts[row, tag]), 4)
                ranked.append(RankedTag(self.vocabulary.tags[tag], probability, evidence))
            lists.append(ranked)
        return lists


def sequence_probabilities(prediction: Prediction) -> Array:
    """Return the sequence's input to the score, (B, V).

    Without a concept layer it is the probability to be anywhere in the list, otherwise the probability to be next:
    measured on captions (JVSP), mAP by tag is 0.217 with the latter and 0.214 with the former.
    """
    if prediction.concepts is not None:
        return prediction.places[:, 0]
    probabilities: Array = np.minimum(prediction.places.sum(axis=1), 1.0)
    return probabilities


def score_inputs(prediction: Prediction) -> list[Array | None]:
    """Return the inputs of the score, each (B, V), in the order of the weights in `Ranking.calibration`."""
    inputs: list[Array | None] = [logit(sequence_probabilities(prediction))]
    inputs.append(None if prediction.concepts is None else logit(prediction.concepts))
    if prediction.presence is not None:
        inputs += [logit(np.maximum(prediction.presence, LEAST_PRESENCE)), np.sqrt(prediction.presence)]
    return inputs


def logit(probabilities: Array) -> Array:
    """Return log(p / (1 - p)) of p clipped to [FLOOR, 1 - FLOOR]."""
    clipped = np.clip(probabilities, FLOOR, 1 - FLOOR)
    result: Array = np.log(clipped / (1 - clipped))
    return result


_STEPS: dict[str, Callable[[Weights, Mapping[str, Any]], Steps]] = {
    "scnn_rnn": lambda weights, settings: numpy_steps.ScnnRnnSteps(weights),
    "jvsp": lambda weights, settings: numpy_steps.JvspSteps(weights, settings["phi"]),
    "ranked_lstm": lambda weights, settings: numpy_steps.RankedLstmSteps(weights),
    "ria": lambda weights, settings: numpy_steps.RiaSteps(weights),
    "naive_rnn": lambda weights, settings: numpy_steps.NaiveRnnSteps(weights),
    "cnn_rnn": lambda weights, settings: numpy_steps.CnnRnnSteps(weights),
    "no_rnn": lambda weights, settings: numpy_steps.NoRnnSteps(weights),
}


def make_steps(name: str, weights: Weights, settings: Mapping[str, Any]) -> Steps:
    """Return the recurrent part of a tagger, in numpy.

    Args:
        name: Registry name.
        weights: Under the names of the module's state.
        settings: The module's config as JSON values.

    Raises:
        KeyError: There is no such tagger.
    """
    return _STEPS[name](weights, settings)
