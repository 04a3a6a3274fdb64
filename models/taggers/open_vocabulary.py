"""Open vocabulary: scores for any word with a word vector, including words of no training photo.

Two components, fused by a logistic regression:
- A map from features into word-vector space. `map="bilinear"`: x' M w', x' and w' with a 1 appended, in closed form
  after eq. 3 of Romera-Paredes, Torr, "An Embarrassingly Simple Approach to Zero-Shot Learning", ICML 2015; departs:
  tags are 1 and 0 rather than 1 and -1, and the appended 1s are hardly regularised, so that the map learns the
  frequency of words. `map="direction"`: the principal direction of Zhang, Gong, Shah, "Fast Zero-Shot Image
  Tagging", CVPR 2016, sec. 3.2, along which a photo's tags rank before all others; departs: a photo's direction is the
  mean of its tags' vectors less the mean of all tags', not the normal of a ranking SVM; learnt by ridge regression.
- ImageNet's classes: log sum_c p(c) exp(SHARPNESS (cos(c, w) - 1)), by the similarity of class names and words.
The fusion is fitted on tags and photos held out from the map, in `NUM_FOLDS` folds, so that the score of an unseen word
is the probability that a person tags the photo with it.
[measured, half of the 337 words of captions unseen, tests/benchmarks/zero_shot.py] see docs/experiments.
Shapes: features (B, D) float32 -> (B, S + 1) direction -> scores (B, V) float32 in [0, 1]. S is the size of the word
vectors; V the training tags and the allowed words. Knows nothing of photos, projects or files.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from annotator.datasets.tags import tag_key
from annotator.datasets.vocabulary import Vocabulary, everyday_words
from annotator.errors import ConfigError
from annotator.models.tagger import Capabilities, Features
from annotator.models.taggers.cold_start import load_table
from annotator.models.taggers.scoring_tagger import (
    MIN_SCALE,
    Arrays,
    Matrix,
    ScoringTagger,
    best_threshold,
    check_training,
    sigmoid,
    unit_rows,
)
from annotator.models.taggers.zero_shot import WordSpace, root

SHARPNESS = 10.0
"""Decay of a class's weight with its distance from the word. Chosen among 5, 10 and 20 on tags held out of the seen
half."""
NUM_FOLDS = 3
HELD_OUT_SHARE = 0.2
"""Share of the photos that is held out to fit the fusion."""
BIAS_SHARE = 1e-3
"""Ridge of the appended 1, as a share of that of the features."""
LEAST_EVIDENCE = 1e-6
LEAST_WEIGHT = 1e-3
"""Lowest weight of a component in the fusion, times its standard deviation."""
NUM_STEPS = 30
"""Most steps of Newton's method."""


class ImageNetClassifier(Protocol):
    """The part of a backbone that is needed here."""

    @property
    def class_weights(self) -> Features:
        """The classifier's weights, (D, 1000)."""
        ...

    @property
    def class_bias(self) -> Features:
        """The classifier's bias, (1000,)."""
        ...


@dataclass(frozen=True)
class OpenVocabularyConfig:
    """How the open vocabulary is trained."""

    map: str = "bilinear"
    """bilinear or direction, see above."""
    use_classes: bool = True
    """Use ImageNet's classes too."""
    feature_ridge: float = 1.2
    """Ridge of the map over the scaled features, per training photo."""
    word_ridge: float = 3.0
    """Ridge of the map over the words, for all tags together; bilinear only."""
    words: tuple[str, ...] = ()
    """Words proposed beside the training tags; empty means the everyday words."""
    word_vectors: str = "glove"
    """glove, wordnet or a file, see word_vectors.load_word_vectors."""
    backbone: str = "efficientnet_lite0"
    """The backbone of the features, for its ImageNet classifier."""
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        if self.map not in ("bilinear", "direction"):
            raise ValueError(f"The map is bilinear or direction, not {self.map!r}.")
        if self.feature_ridge <= 0 or self.word_ridge <= 0:
            raise ValueError(f"The ridges must be above 0; got {self.feature_ridge!r} and {self.word_ridge!r}.")


class OpenVocabulary(ScoringTagger):
    """Scores any word.

    Args:
        vocabulary: The training tags, then further words; `decode` proposes both.
        num_trained: The number of training tags.
        arrays: feature_mean and feature_scale (D,), map (D + 1, S + 1), word_vectors (V, S) of unit length, and, with
            classes, class_weight (D, 1000), class_bias (1000,), class_vectors (1000, S) of unit length.
        fusion: The bias and the weights of the map and of the classes.
        threshold: The score threshold for free lengths.
        config: How it was trained.
    """

    name = "open_vocabulary"
    capabilities = Capabilities(has_open_vocabulary=True)
    default_config: ClassVar[OpenVocabularyConfig] = OpenVocabularyConfig()

    def __init__(
        self,
        vocabulary: Vocabulary,
        num_trained: int,
        arrays: Arrays,
        fusion: tuple[float, float, float],
        threshold: float,
        config: OpenVocabularyConfig,
    ) -> None:
        self._weights = {name: values.astype(np.float32) for name, values in arrays.items()}
        super().__init__(vocabulary, len(self._weights["feature_mean"]), threshold)
        word_size = self._weights["map"].shape[1] - 1
        if self._weights["word_vectors"].shape != (len(vocabulary), word_size):
            raise ValueError(
                f"There are word vectors of {self._weights['word_vectors'].shape}; the vocabulary needs "
                f"({len(vocabulary)}, {word_size})."
            )
        self.num_trained, self.fusion, self.config = num_trained, fusion, config
        self._near_classes = _near_classes(self._weights, self._weights["word_vectors"])

    @classmethod
    def fit(
        cls,
        vocabulary: Vocabulary,
        features: Features,
        given: Sequence[Sequence[str]],
        config: OpenVocabularyConfig | None = None,
        *,
        vectors: WordSpace | None = None,
        classifier: ImageNetClassifier | None = None,
    ) -> Self:
        """Fit the map and the fusion.

        Args:
            vocabulary: The training tags; at least two of them with a word vector.
            features: (N, D) float32.
            given: The tags of each photo.
            config: None is the default.
            vectors: None loads those of the config.
            classifier: None is that of the config's backbone.

        Raises:
            ValueError: The shapes do not fit, or there are fewer than 2 photos.
            ConfigError: Too few tags have a vector.
            WordVectorError: The word vectors cannot be loaded.
            BackboneError: The backbone cannot be loaded.
        """
        config = config or cls.default_config
        labels = vocabulary.matrix(given)
        check_training(features, labels, vocabulary)
        if len(features) < 2:
            raise ValueError("Training needs at least 2 photos; got 1.")
        vectors = vectors or _load_vectors(config.word_vectors)
        tag_rows, is_known = vectors.matrix(vocabulary.tags)
        if is_known.sum() < 2:
            raise ConfigError(
                f"The word vectors {config.word_vectors} know {is_known.sum()} of the {len(vocabulary)} tags; 2 are "
                "needed. Choose vectors of the tags' language."
            )
        arrays = _scaling(features)
        if config.use_classes:
            arrays |= _classes(classifier or _load_classifier(config.backbone), vectors)
        words, labels = unit_rows(tag_rows[is_known]), labels[:, is_known]
        fusion, threshold = _fit_fusion_weights(arrays, features, labels, words, config)
        arrays["map"] = _learn_map(_extend(arrays, features), labels, words, config)
        keys = {tag_key(tag) for tag in vocabulary.tags}
        further = [word for word in config.words or tuple(everyday_words()) if tag_key(word) not in keys]
        others, other_is_known = vectors.matrix(further)
        tags = [tag for tag, known in zip(vocabulary.tags, is_known, strict=True) if known]
        tags += [word for word, known in zip(further, other_is_known, strict=True) if known]
        arrays["word_vectors"] = np.concatenate([words, unit_rows(others[other_is_known])])
        return cls(Vocabulary(tags), int(is_known.sum()), arrays, fusion, threshold, config)

    def scores(self, features: Features) -> Matrix:
        """Return the probability that a person tags the photo with each tag of the vocabulary: (B, V) in [0, 1]."""
        self._check(features)
        return self.score_vectors(features, self._weights["word_vectors"], self._near_classes)

    def score_words(
        self, features: Features, words: Sequence[str], vectors: WordSpace | None = None
    ) -> tuple[Matrix, npt.NDArray[np.bool_]]:
        """Score any words.

        Args:
            features: (B, D) float32.
            words: N words or tags.
            vectors: The word vectors of its training; None loads them.

        Returns:
            (B, N) scores in [0, 1], 0 for words without a vector, and (N,) whether a word has one.

        Raises:
            ValueError: The feature size does not fit.
            WordVectorError: The word vectors cannot be loaded.
        """
        self._check(features)
        rows, is_known = (vectors or _load_vectors(self.config.word_vectors)).matrix(words)
        units = unit_rows(rows)
        scores = self.score_vectors(features, units, self.near_classes(units))
        return np.where(is_known, scores, np.float32(0)), is_known

    def settings(self) -> Mapping[str, Any]:
        """Return the settings as JSON values."""
        config = {**asdict(self.config), "words": list(self.config.words)}
        return {
            "config": config,
            "num_trained": self.num_trained,
            "join": list(self.fusion),
            "threshold": self.threshold,
        }

    def arrays(self) -> Arrays:
        """Return all learnt arrays."""
        return dict(self._weights)

    @classmethod
    def from_arrays(cls, vocabulary: Vocabulary, settings: Mapping[str, Any], arrays: Arrays) -> Self:
        """Return the tagger whose `settings` and `arrays` these are."""
        bias, map_weight, class_weight = (float(value) for value in settings["join"])
        config = OpenVocabularyConfig(**settings["config"])
        fusion, threshold = (bias, map_weight, class_weight), float(settings["threshold"])
        return cls(vocabulary, int(settings["num_trained"]), arrays, fusion, threshold, config)

    def near_classes(self, words: Matrix) -> Matrix | None:
        """Return the weight of each class for each of N unit vectors, (1000, N); None without classes."""
        return _near_classes(self._weights, words)

    def score_vectors(self, features: Features, words: Matrix, near_classes: Matrix | None) -> Matrix:
        """Return the (B, N) scores of N words from their unit vectors, (N, S), and their `near_classes`."""
        mapped, classes = _components(self._weights, features, words, near_classes)
        bias, map_weight, class_weight = self.fusion
        return sigmoid((bias + map_weight * mapped + class_weight * classes).astype(np.float32))


class AddedWords:
    """Words that an open vocabulary scores beside its own, such as a project's tags; safe to use from several threads.

    The vectors of a word are looked up once and cached.

    Args:
        tagger: Scores the words.
    """

    def __init__(self, tagger: OpenVocabulary) -> None:
        self.tagger = tagger
        self._vectors: WordSpace | None = None
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[Matrix, Matrix | None] | None] = {}
        """Word -> its unit vector, (S,), and the weight of each class, (1000,); None for a word without a vector."""
        self._rows = lru_cache(maxsize=4)(self._gather)

    def load(self, vectors: WordSpace | None = None) -> None:
        """Load the word vectors, which takes seconds the first time. Before this call no word is scored.

        Args:
            vectors: Those of the tagger's training; None loads them.

        Raises:
            WordVectorError: They cannot be loaded.
        """
        self._vectors = vectors or _load_vectors(self.tagger.config.word_vectors)

    @property
    def is_loaded(self) -> bool:
        """Whether `load` was called, so that words are scored."""
        return self._vectors is not None

    def scores(self, features: Features, words: tuple[str, ...]) -> tuple[list[str], Matrix]:
        """Return the N of the words that have a vector, and their (B, N) scores in [0, 1]."""
        known, units, near_classes = self._rows(words) if self._vectors is not None else ([], None, None)
        if units is None:
            return [], np.zeros((len(features), 0), np.float32)
        return known, self.tagger.score_vectors(features, units, near_classes)

    def _gather(self, words: tuple[str, ...]) -> tuple[list[str], Matrix | None, Matrix | None]:
        with self._lock:
            self._look_up([word for word in words if word not in self._cache])
            found = {word: entry for word in words if (entry := self._cache[word]) is not None}
        if not found:
            return [], None, None
        near = [row for _, row in found.values() if row is not None]
        return list(found), np.stack([unit for unit, _ in found.values()]), np.stack(near).T if near else None

    def _look_up(self, words: Sequence[str]) -> None:
        if not words or self._vectors is None:
            return
        rows, is_known = self._vectors.matrix(words)
        units = unit_rows(rows)
        near = self.tagger.near_classes(units)
        for column, word in enumerate(words):
            row = None if near is None else near[:, column].copy()
            self._cache[word] = (units[column], row) if is_known[column] else None


@cache
def _load_vectors(source: str) -> WordSpace:
    from annotator.models.word_vectors.word_vectors import load_word_vectors

    return load_word_vectors(source)


def _load_classifier(backbone: str) -> ImageNetClassifier:
    from annotator.models.backbones.backbone import load_backbone

    return load_backbone(backbone)


def _scaling(features: Features) -> Arrays:
    rooted = root(features)
    return {"feature_mean": rooted.mean(axis=0), "feature_scale": 1 / np.maximum(rooted.std(axis=0), MIN_SCALE)}


def _classes(classifier: ImageNetClassifier, vectors: WordSpace) -> Arrays:
    """Return the classifier and the unit vectors of its class names; zeros for a class without a vector."""
    rows, _ = vectors.matrix([name.lower() for name in load_table().class_names])
    return {
        "class_weight": classifier.class_weights,
        "class_bias": classifier.class_bias,
        "class_vectors": unit_rows(rows),
    }


def _extend(arrays: Arrays, features: Features) -> Matrix:
    """Return the scaled features with a 1 appended, (B, D + 1)."""
    scaled = (root(features) - arrays["feature_mean"]) * arrays["feature_scale"]
    return _append_one(scaled.astype(np.float32))


def _append_one(rows: Matrix) -> Matrix:
    return np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)


def _learn_map(inputs: Matrix, labels: Matrix, words: Matrix, config: OpenVocabularyConfig) -> Matrix:
    """Return the (D + 1, S + 1) map.

    Args:
        inputs: (N, D + 1), a 1 appended.
        labels: (N, V), 0 or 1.
        words: (V, S), of unit length.
        config: The kind of map and its ridges.
    """
    penalty = np.full(inputs.shape[1], config.feature_ridge * len(inputs))
    penalty[-1] *= BIAS_SHARE
    left = inputs.T.astype(np.float64) @ inputs + np.diag(penalty)  # X'X + gamma I
    if config.map == "direction":
        share = labels / np.maximum(labels.sum(axis=1, keepdims=True), 1)
        targets = np.where(labels.any(axis=1, keepdims=True), share @ words - words.mean(axis=0), 0)  # (N, S)
        directions = np.linalg.solve(left, inputs.T @ targets)  # (D + 1, S)
        return np.concatenate([directions, np.zeros((len(directions), 1))], axis=1).astype(np.float32)
    extended = _append_one(words)
    right = extended.T.astype(np.float64) @ extended + config.word_ridge * np.eye(extended.shape[1])  # S'S + lambda I
    found = np.linalg.solve(left, inputs.T @ labels @ extended) @ np.linalg.inv(right)
    learnt: Matrix = found.astype(np.float32)
    return learnt


def _near_classes(arrays: Arrays, words: Matrix) -> Matrix | None:
    """Return the weight of each class for each word, (1000, N); None without classes."""
    if "class_vectors" not in arrays:
        return None
    has_vector = np.any(arrays["class_vectors"], axis=1, keepdims=True)
    near: Matrix = (np.exp(SHARPNESS * (arrays["class_vectors"] @ words.T - 1)) * has_vector).astype(np.float32)
    return near


def _components(
    arrays: Arrays, features: Features, words: Matrix, near_classes: Matrix | None
) -> tuple[Matrix, Matrix | float]:
    """Return the inputs of the fusion: of the map, (B, N), and of the classes, (B, N), or 0 without classes."""
    mapped: Matrix = (_extend(arrays, features) @ arrays["map"]) @ _append_one(words).T
    if near_classes is None:
        return mapped, 0.0
    logits = features @ arrays["class_weight"] + arrays["class_bias"]  # (B, 1000)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return mapped, np.log(probabilities @ near_classes + LEAST_EVIDENCE)


def _fit_fusion_weights(
    arrays: Arrays, features: Features, labels: Matrix, words: Matrix, config: OpenVocabularyConfig
) -> tuple[tuple[float, float, float], float]:
    """Return the fusion and the best threshold, fitted on tags and photos held out from the map."""
    rng = np.random.default_rng(config.seed)
    photos = rng.permutation(len(features))
    num_held_out = max(1, int(HELD_OUT_SHARE * len(photos)))
    held_out, rest = photos[:num_held_out], photos[num_held_out:]
    inputs = _extend(arrays, features[rest])
    near_classes = _near_classes(arrays, words)
    columns: list[list[Matrix]] = [[], []]
    truths = []
    for tags in np.array_split(rng.permutation(len(words)), min(NUM_FOLDS, len(words))):
        others = np.setdiff1d(np.arange(len(words)), tags)
        learnt = {**arrays, "map": _learn_map(inputs, labels[rest][:, others], words[others], config)}
        near = None if near_classes is None else near_classes[:, tags]
        mapped, classes = _components(learnt, features[held_out], words[tags], near)
        columns[0].append(mapped.ravel())
        columns[1].append(np.broadcast_to(np.asarray(classes, np.float32), mapped.shape).ravel())
        truths.append(labels[held_out][:, tags].ravel())
    values, truth = np.stack([np.concatenate(column) for column in columns], axis=1), np.concatenate(truths)
    fusion = fit_fusion(values, truth)
    scores = sigmoid((fusion[0] + values @ np.array(fusion[1:])).astype(np.float32))
    return fusion, best_threshold(scores[:, None], truth[:, None])


def fit_fusion(values: Matrix, truth: Matrix) -> tuple[float, float, float]:
    """Fit p = sigmoid(b + a_1 x_1 + a_2 x_2) by Newton's method; the weight of a constant column is 0.

    A negative weight, which can result from too few tags, becomes `LEAST_WEIGHT`.

    Args:
        values: (N, 2).
        truth: (N,), 0 or 1.

    Returns:
        (b, a_1, a_2).
    """
    mean, scale = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    scale = np.where(scale > LEAST_EVIDENCE, scale, np.inf)
    design = np.concatenate([np.ones((len(values), 1)), (values - mean) / scale], axis=1)
    share = np.clip(truth.mean(), 1e-6, 1 - 1e-6)
    found = np.array([np.log(share / (1 - share)), 0.0, 0.0])
    for _ in range(NUM_STEPS):
        predicted = 0.5 * (1 + np.tanh(0.5 * design @ found))
        gradient = design.T @ (predicted - truth) + 1e-3 * found
        curvature = (design * (predicted * (1 - predicted))[:, None]).T @ design + 1e-3 * np.eye(3)
        step = np.linalg.solve(curvature, gradient)
        step /= max(1.0, float(np.abs(step).max()))
        found = found - step
        if np.abs(step).max() < 1e-7:
            break
    weights = np.maximum(found[1:], LEAST_WEIGHT) / scale
    return float(found[0] - weights @ mean), float(weights[0]), float(weights[1])
