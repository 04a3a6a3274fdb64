"""The zero-shot tagger: TaggerNet's tags, the words nearest to them, and an object detector's labels.

Paper: Ranjani, Gokul, Sridevi, Poonkodi, "Image Tagging" (zero-shot tagging with GloVe), no year given.
Implements: eq. 3 (features -> tags) in ZeroShotTagger.scores, eq. 4 (Adam, 0.001) in _train, eq. 5-6 (the two words of
the highest cosine) in nearest_words, the listing's Total_tag in ZeroShotTagger.decode.
Departs: only allowed words with at least a given cosine, and no inflection of the tag itself ("dogs" for "dog"). The
listing clears the detector's labels after it found them; here they stay. `by="paper"` appends the three lists as
printed; the default `by="score"` ranks them by probability, since a word near "man" is rarely in the photo beside the
man: a word's score is the tag's, times the cosine, times the share of training photos in which such a word was right
(`word_trust`). The features are those of a frozen backbone, square-rooted and scaled, not ResNet-50's alone.
Shapes: features (B, D) float32 -> hidden (B, H) -> scores (B, V) float32 in [0, 1]; the first `num_trained` tags of the
vocabulary are TaggerNet's, the others are words without training photos.
Knows nothing of photos, of the detector or of projects. Running it imports no torch and no word vectors.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from annotator.datasets.tags import tag_key
from annotator.datasets.vocabulary import Vocabulary, everyday_words
from annotator.errors import ConfigError
from annotator.models.tagger import Capabilities, Features, Labels, RankedTag
from annotator.models.taggers.scoring_tagger import (
    MIN_SCALE,
    Arrays,
    Matrix,
    ScoringTagger,
    best_threshold,
    check_training,
    fit_sigmoid,
    sigmoid,
)

if TYPE_CHECKING:
    from torch import nn

HELD_OUT_SHARE = 0.2
"""Share of the training photos that is held out for early stopping and calibration, before training on all."""
ROOT_OFFSET = np.float32(1e-6)
"""As in sequence/trained_tagger.py."""
DEFAULT_TRUST = 0.05
"""`word_trust` if no word near a tag is a tag itself, so that there is nothing to count."""

NearWords = dict[str, list[tuple[str, float]]]
"""Tag -> its words with their cosines, nearest first."""


class WordSpace(Protocol):
    """The part of `word_vectors.WordVectors` that is needed here."""

    def matrix(self, tags: Sequence[str]) -> tuple[Matrix, npt.NDArray[np.bool_]]:
        """Return (N, S) vectors, zeros for unknown tags, and (N,) whether each tag is known."""
        ...


@dataclass(frozen=True)
class ZeroShotConfig:
    """How the tagger is trained, and how its lists are sorted."""

    hidden_size: int = 256
    """H."""
    dropout: float = 0.5
    """Dropout rate of the hidden layer."""
    learning_rate: float = 1e-3
    """The paper's."""
    batch_size: int = 128
    epochs: int = 60
    """Most epochs; training stops early when the held-out loss no longer falls."""
    patience: int = 3
    """Epochs without a lower held-out loss before training stops."""
    seed: int = 0
    num_words: int = 2
    """Most nearest words of each tag, section III.B."""
    cosine_floor: float = 0.5
    """Lowest cosine of a proposed word."""
    words: tuple[str, ...] = ()
    """The allowed words; empty means the everyday words."""
    word_vectors: str = "glove"
    """glove, wordnet or a file, see word_vectors.load_word_vectors."""
    by: str = "score"
    """score; or paper: TaggerNet's tags, then their words, then the detector's labels."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        for name in ("hidden_size", "batch_size", "epochs", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}.")
        if self.learning_rate <= 0 or self.num_words < 0:
            raise ValueError(
                f"learning_rate must be above 0 and num_words not below it; got {self.learning_rate!r} and "
                f"{self.num_words!r}."
            )
        for name, low in (("dropout", 0.0), ("cosine_floor", -1.0)):
            if not low <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [{low:g}, 1), got {getattr(self, name)!r}.")
        if self.by not in ("score", "paper"):
            raise ValueError(f"Lists are sorted by score or paper, not by {self.by!r}.")


class ZeroShotTagger(ScoringTagger):
    """TaggerNet and the words near its tags.

    Args:
        vocabulary: TaggerNet's tags, then further words.
        num_trained: The number of TaggerNet's tags; the further words are those of `near_words`.
        arrays: feature_mean and feature_scale (D,), hidden (D, H) and its bias (H,), output (H, num_trained) and its
            bias (num_trained,).
        near_words: For each trained tag, its words, nearest first.
        word_trust: The share of photos with a tag in which a word of cosine 1 is expected to be right.
        threshold: The score threshold for free lengths.
        config: How it was trained.
    """

    name = "zero_shot"
    capabilities = Capabilities(uses_labels=True)
    default_config: ClassVar[ZeroShotConfig] = ZeroShotConfig()

    def __init__(
        self,
        vocabulary: Vocabulary,
        num_trained: int,
        arrays: Arrays,
        near_words: NearWords,
        word_trust: float,
        threshold: float,
        config: ZeroShotConfig,
    ) -> None:
        self._weights = {name: values.astype(np.float32) for name, values in arrays.items()}
        super().__init__(vocabulary, len(self._weights["feature_mean"]), threshold)
        if self._weights["output_bias"].shape != (num_trained,) or not 0 < num_trained <= len(vocabulary):
            raise ValueError(
                f"The weights have {len(self._weights['output_bias'])} outputs for {num_trained} tags, the "
                f"vocabulary {len(vocabulary)}."
            )
        self.num_trained, self.near_words, self.word_trust = num_trained, near_words, word_trust
        self.config = config
        added = range(num_trained, len(vocabulary))
        sources: dict[int, list[tuple[int, float]]] = {word: [] for word in added}
        for tag, words in near_words.items():
            for word, cosine in words:
                index = vocabulary.index(word)
                if index >= num_trained:
                    sources[index].append((vocabulary.index(tag), cosine))
        if not all(sources.values()):
            raise ValueError("The vocabulary holds a word that is near none of the trained tags.")
        # (word, tags near it, their cosines), for every further word
        self._sources = [
            (word, np.array([tag for tag, _ in near]), np.array([cosine for _, cosine in near], np.float32))
            for word, near in sources.items()
        ]

    @classmethod
    def fit(
        cls,
        vocabulary: Vocabulary,
        features: Features,
        given: Sequence[Sequence[str]],
        config: ZeroShotConfig | None = None,
        *,
        vectors: WordSpace | None = None,
    ) -> Self:
        """Train TaggerNet and look up its tags' words.

        Args:
            vocabulary: The tags to learn.
            features: (N, D) float32.
            given: The tags of each photo.
            config: None is the default.
            vectors: None loads those of the config.

        Raises:
            ValueError: The shapes do not fit, or there are fewer than 2 photos.
            ConfigError: No tag has a vector.
            WordVectorError: The word vectors cannot be loaded.
        """
        config = config or cls.default_config
        labels = vocabulary.matrix(given)
        check_training(features, labels, vocabulary)
        if len(features) < 2:
            raise ValueError("Training needs at least 2 photos; got 1.")
        if vectors is None:
            from annotator.models.word_vectors.word_vectors import load_word_vectors

            vectors = load_word_vectors(config.word_vectors)
        if config.num_words and not vectors.matrix(vocabulary.tags)[1].any():
            raise ConfigError(
                f"The word vectors {config.word_vectors} know none of the {len(vocabulary)} tags. Choose vectors of "
                "the tags' language, or num_words=0."
            )
        arrays, line, threshold = _fit_network(features, labels, config)
        # The calibration is folded into the last layer, so that its sigmoid is the score.
        arrays["output"], arrays["output_bias"] = line[0] * arrays["output"], line[0] * arrays["output_bias"] + line[1]
        allowed = config.words or tuple(everyday_words())
        near = nearest_words(vocabulary.tags, allowed, vectors, config.num_words, config.cosine_floor)
        known = {tag_key(tag): tag for tag in vocabulary.tags}
        near = {
            tag: [(known.get(tag_key(word), word), cosine) for word, cosine in words] for tag, words in near.items()
        }
        added = list(dict.fromkeys(word for words in near.values() for word, _ in words if tag_key(word) not in known))
        trust = _count_trust(near, vocabulary, labels)
        counts = [*vocabulary.counts, *[0] * len(added)] if vocabulary.counts else []
        everything = Vocabulary([*vocabulary.tags, *added], counts)
        return cls(everything, len(vocabulary), arrays, near, trust, threshold, config)

    def scores(self, features: Features) -> Matrix:
        """Return the probability that each tag is right: (B, V) in [0, 1].

        The score of a further word is `word_trust` times the maximum of (tag's score x cosine) over the tags near it.
        """
        self._check(features)
        scores = np.zeros((len(features), len(self.vocabulary)), np.float32)
        scores[:, : self.num_trained] = sigmoid(_forward(self._weights, features))
        for word, tags, cosines in self._sources:
            scores[:, word] = self.word_trust * (scores[:, tags] * cosines).max(axis=1)
        return scores

    def decode(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        *,
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
        free_length: bool = False,
        labels: Sequence[Labels] = (),
    ) -> list[list[RankedTag]]:
        """List the best tags that are neither kept nor dropped; see `Tagger.decode`.

        Evidence: `from` (tagger_net, words or detector: the first source of the tag) and, for a word, `of` (the tag
        that it is near) and `cosine`.

        Args:
            features: (B, D) float32.
            prefixes: B lists of kept tags.
            dropped: B collections of dropped tags; empty means none.
            k: Most tags of a list.
            free_length: Only tags with at least the threshold score, or the best tag; their words; and the labels.
            labels: The detector labels of B photos; empty means none.

        Raises:
            ValueError: The batch sizes or the feature size do not fit.
        """
        self._check(features)
        dropped, labels = dropped or [()] * len(features), labels or [()] * len(features)
        if not len(features) == len(prefixes) == len(dropped) == len(labels):
            raise ValueError(
                f"There are {len(features)} features, {len(prefixes)} prefixes, {len(dropped)} dropped sets and "
                f"{len(labels)} photos' labels."
            )
        lists = []
        for row, scores in enumerate(self.scores(features)):
            excluded = {tag_key(tag) for tag in (*prefixes[row], *dropped[row])}
            whole = self._whole_list(scores, labels[row], free_length)
            lists.append([ranked for ranked in whole if tag_key(ranked.tag) not in excluded][: max(k, 0)])
        return lists

    def settings(self) -> Mapping[str, Any]:
        """Return the settings as JSON values."""
        near = {tag: [[word, round(cosine, 4)] for word, cosine in words] for tag, words in self.near_words.items()}
        config = {**asdict(self.config), "words": list(self.config.words)}
        return {"config": config, "num_trained": self.num_trained, "near_words": near,
                "word_trust": self.word_trust, "threshold": self.threshold}  # fmt: skip

    def arrays(self) -> Arrays:
        """Return all learnt arrays."""
        return dict(self._weights)

    @classmethod
    def from_arrays(cls, vocabulary: Vocabulary, settings: Mapping[str, Any], arrays: Arrays) -> Self:
        """Return the tagger whose `settings` and `arrays` these are."""
        near = {tag: [(str(word), float(cosine)) for word, cosine in words]
                for tag, words in settings["near_words"].items()}  # fmt: skip
        config = ZeroShotConfig(**settings["config"])
        trust, threshold = float(settings["word_trust"]), float(settings["threshold"])
        return cls(vocabulary, int(settings["num_trained"]), arrays, near, trust, threshold, config)

    def with_tags(self, vocabulary: Vocabulary, weights: Arrays, made_of: Mapping[str, Sequence[str]]) -> Self:
        """Return a tagger with the same hidden layer and more tags.

        Args:
            vocabulary: The trained tags, the new ones, and the further words.
            weights: With a column of the output layer for each trained and new tag.
            made_of: For each new tag, the trained tags its column is derived from.
        """
        num = self.num_trained + len(made_of)
        grown = type(self)(vocabulary, num, weights, self.near_words, self.word_trust, self.threshold, self.config)
        grown.made_of, grown.reranker = made_of, self.reranker
        return grown

    def _whole_list(self, scores: Features, labels: Labels, free_length: bool) -> list[RankedTag]:
        """Return Total_tag: the tags from the threshold on, their words, the labels; then all others."""
        order = np.argsort(-scores[: self.num_trained], kind="stable").tolist()
        sure = [tag for tag in order if scores[tag] >= self.threshold] or order[:1]
        total = [
            *(self._own(tag, scores) for tag in sure),
            *self._words_of(sure, scores),
            *(RankedTag(label, min(max(score, 0.0), 1.0), {"from": "detector"}) for label, score in labels),
        ]
        if not free_length:
            rest = order[len(sure) :]
            total += [*(self._own(tag, scores) for tag in rest), *self._words_of(rest, scores)]
        merged = first_of_each(total)
        return sorted(merged, key=lambda ranked: -ranked.score) if self.config.by == "score" else merged

    def _own(self, tag: int, scores: Features) -> RankedTag:
        return self._named(self.vocabulary.tags[tag], float(scores[tag]), **{"from": "tagger_net"})

    def _words_of(self, tags: Iterable[int], scores: Features) -> Iterable[RankedTag]:
        for tag in tags:
            name = self.vocabulary.tags[tag]
            for word, cosine in self.near_words.get(name, ()):
                index = self.vocabulary.index(word)
                # A word that is itself a trained tag has TaggerNet's score.
                yield RankedTag(
                    word, float(scores[index]), {"from": "words", "of": name, "cosine": round(cosine, 4)}
                )  # fmt: skip


def first_of_each(ranked: Iterable[RankedTag]) -> list[RankedTag]:
    """Return the first item of each tag, in order, with the highest score of all items of that tag.

    "Dog" and "dog" are one tag.
    """
    first: dict[str, RankedTag] = {}
    for item in ranked:
        key = tag_key(item.tag)
        known = first.setdefault(key, item)
        if item.score > known.score:
            first[key] = RankedTag(known.tag, item.score, known.evidence)
    return list(first.values())


def nearest_words(
    tags: Sequence[str], allowed: Sequence[str], vectors: WordSpace, num: int, floor: float
) -> dict[str, list[tuple[str, float]]]:
    """Return each tag's nearest allowed words with their cosines, eq. 5-6.

    Args:
        tags: A tag without a vector has no words.
        allowed: The candidates. Excluded are inflections of the tag and compounds with it (a street light is no
            evidence of a street; their vectors are near only because they share the word).
        vectors: The word space.
        num: Most words of a tag.
        floor: Lowest cosine.
    """
    if not allowed or not num:
        return {tag: [] for tag in tags}
    tag_vectors, _ = vectors.matrix(tags)
    word_vectors, is_known = vectors.matrix(allowed)
    cosines = _unit(tag_vectors) @ _unit(word_vectors).T  # (V, A)
    near: dict[str, list[tuple[str, float]]] = {}
    for tag, row in zip(tags, cosines, strict=True):
        best = (word for word in np.argsort(-row, kind="stable").tolist() if is_known[word] and row[word] >= floor)
        others = (word for word in best if row[word] > 0 and not _repeats(allowed[word], tag))
        near[tag] = [(allowed[word], float(row[word])) for word, _ in zip(others, range(num), strict=False)]
    return near


def is_inflection(word: str, tag: str) -> bool:
    """Tell whether two words are forms of one word: dog, dogs; ski, skiing; bike, biking; baby, babies."""
    return bool(_stems(tag_key(word)) & _stems(tag_key(tag)))


def _repeats(word: str, tag: str) -> bool:
    """Tell whether a word is a form of the tag, or a compound with it."""
    parts = tag_key(word).split(" ")
    return is_inflection(word, tag) or (len(parts) > 1 and any(is_inflection(part, tag) for part in parts))


def root(features: Features) -> Features:
    """Return sign(x) sqrt(|x|), Hellinger scaling."""
    rooted: Features = (np.sign(features) * np.sqrt(np.abs(features) + ROOT_OFFSET)).astype(np.float32)
    return rooted


def _stems(word: str) -> set[str]:
    stems = {word}
    for ending, instead in (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ing", ""), ("ed", ""), ("er", "")):
        if word.endswith(ending) and len(word) >= len(ending) + 3:
            stem = word.removesuffix(ending) + instead
            stems |= {stem, f"{stem}e"} if ending in ("ing", "ed", "er") else {stem}
            if ending in ("ing", "ed", "er") and stem[-1] == stem[-2]:
                stems.add(stem[:-1])
    return stems


def _unit(vectors: Matrix) -> Matrix:
    units: Matrix = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return units


def _count_trust(near: NearWords, vocabulary: Vocabulary, labels: Matrix) -> float:
    """Return `word_trust`, counted on the near words that are tags themselves."""
    right = expected = 0.0
    for tag, words in near.items():
        carries = labels[:, vocabulary.index(tag)]
        for word, cosine in words:
            if word in vocabulary:
                right += float(carries @ labels[:, vocabulary.index(word)])
                expected += float(carries.sum()) * cosine
    return min(right / expected, 1.0) if expected > 0 else DEFAULT_TRUST


def _fit_network(
    features: Features, labels: Matrix, config: ZeroShotConfig
) -> tuple[Arrays, tuple[float, float], float]:
    """Return (weights, slope and offset of the calibration, best threshold)."""
    order = np.random.default_rng(config.seed).permutation(len(features))
    num_held_out = max(1, int(HELD_OUT_SHARE * len(order)))
    held_out, rest = order[:num_held_out], order[num_held_out:]
    arrays, num_epochs = _train(features[rest], labels[rest], config, (features[held_out], labels[held_out]))
    logits = _forward(arrays, features[held_out])
    line = fit_sigmoid(logits, labels[held_out])
    threshold = best_threshold(sigmoid(line[0] * logits + line[1]), labels[held_out])
    arrays, _ = _train(features, labels, config, None, num_epochs)
    return arrays, line, threshold


def _train(
    features: Features,
    labels: Matrix,
    config: ZeroShotConfig,
    held_out: tuple[Features, Matrix] | None,
    num_epochs: int | None = None,
) -> tuple[Arrays, int]:
    """Return the weights and the number of the best epoch, or of the last one without held-out photos."""
    import torch
    from torch import nn
    from torch.nn.functional import binary_cross_entropy_with_logits

    generator = torch.Generator().manual_seed(config.seed)
    rooted = root(features)
    mean, scale = rooted.mean(axis=0), 1 / np.maximum(rooted.std(axis=0), MIN_SCALE)
    inputs, targets = torch.from_numpy((rooted - mean) * scale), torch.from_numpy(labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        first, last = nn.Linear(features.shape[1], config.hidden_size), nn.Linear(config.hidden_size, labels.shape[1])
        network = nn.Sequential(first, nn.ReLU(), nn.Dropout(config.dropout), last)
        with torch.no_grad():
            last.bias.copy_(torch.logit((targets.sum(dim=0) + 0.5) / (len(targets) + 1)))
        optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        best, best_loss, best_epoch = _weights(network, mean, scale), np.inf, 1
        for epoch in range(1, (num_epochs or config.epochs) + 1):
            network.train()
            for rows in torch.split(torch.randperm(len(inputs), generator=generator), config.batch_size):
                loss = binary_cross_entropy_with_logits(network(inputs[rows]), targets[rows], reduction="sum")
                optimizer.zero_grad()
                (loss / len(rows)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            now = _weights(network, mean, scale)
            value = -np.inf if held_out is None else _loss(_forward(now, held_out[0]), held_out[1])
            if held_out is None or value < best_loss:
                best, best_loss, best_epoch = now, value, epoch
            elif epoch - best_epoch >= config.patience:
                break
    return best, best_epoch


def _weights(network: "nn.Sequential", mean: Features, scale: Features) -> Arrays:
    state = {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}
    return {
        "feature_mean": mean,
        "feature_scale": scale,
        "hidden": np.ascontiguousarray(state["0.weight"].T),
        "hidden_bias": state["0.bias"],
        "output": np.ascontiguousarray(state["3.weight"].T),
        "output_bias": state["3.bias"],
    }


def _forward(arrays: Arrays, features: Features) -> Matrix:
    """Return the (B, V) logits."""
    scaled = (root(features) - arrays["feature_mean"]) * arrays["feature_scale"]
    hidden = np.maximum(scaled @ arrays["hidden"] + arrays["hidden_bias"], 0)  # (B, H)
    logits: Matrix = (hidden @ arrays["output"] + arrays["output_bias"]).astype(np.float32)
    return logits


def _loss(logits: Matrix, labels: Matrix) -> float:
    """Return the binary cross-entropy, the mean over images."""
    return float((np.logaddexp(0, logits) - labels * logits).sum() / len(logits))
