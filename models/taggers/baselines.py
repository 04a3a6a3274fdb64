"""Linear baselines: one layer on the features, under six losses.

- `logistic`: binary cross-entropy for each tag.
- `asymmetric`: the same layer under the asymmetric loss, eq. 7 of Ridnik et al., "Asymmetric Loss for Multi-Label
  Classification", ICCV 2021: positives p+ = (1 - p)^g+ log p, negatives p_m^g- log(1 - p_m), p_m = max(p - m, 0).
- `softmax`: eq. 1-2 of Gong, Jia, Leung, Toshev, Ioffe, "Deep Convolutional Ranking for Multilabel Image Annotation",
  2014: softmax over all tags against 1 / (number of right tags) on each right one.
- `warp`: the same paper's eq. 4, after Weston, Bengio, Usunier, "WSABIE", IJCAI 2011: each right tag's rank r counts
  L(r) = sum_{i<=r} 1/i, shared among the wrong tags that come within the margin. Departs: the rank is counted, not
  estimated from samples, because V is small enough.
- `svm`: one linear SVM a tag, the first baseline of ranked-tags-lstm.txt. Squared hinge, as in liblinear.
- `svm_rank`: its second baseline, Joachims, "Optimizing Search Engines using Clickthrough Data", KDD 2002: a margin
  between the tags of every ordered pair (right before wrong, earlier before later in the person's list).

All are trained by Adam with an L2 penalty on standardised, otherwise fixed features. One sigmoid, fitted on a held-out
fifth of the training photos, turns every logit into a score; then the layer is trained again on all photos.
Shapes: features (B, D) float32 -> logits (B, V) -> scores (B, V) in [0, 1].
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.tagger import Features
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
    from torch import Tensor

CALIBRATION_SHARE = 0.2
"""Share of the training photos that is held out to fit the sigmoid and the threshold."""
MIN_STEPS = 400
"""Fewest steps of Adam: a hundred photos are one batch, and thirty steps are too few."""
ASYMMETRIC_FOCUS = 4.0
"""g- of Ridnik et al., section 3; g+ is 0."""
ASYMMETRIC_MARGIN = 0.05
"""m of Ridnik et al., section 3."""


@dataclass(frozen=True)
class LinearConfig:
    """How a linear baseline is trained."""

    l2: float = 0.003
    """Weight of the sum of squared weights in the loss."""
    epochs: int = 30
    """Passes over the photos; more if they would be fewer than `MIN_STEPS` steps."""
    learning_rate: float = 2e-3
    """At the start; cosine decay to 0."""
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0 or self.l2 < 0:
            raise ValueError(f"Epochs, batch size and learning rate must be above 0 and l2 not below; got {self}.")


class LinearTagger(ScoringTagger):
    """One linear layer; a subclass defines the loss."""

    default_config: ClassVar[LinearConfig] = LinearConfig()

    @staticmethod
    @abstractmethod
    def loss(logits: "Tensor", grades: "Tensor") -> "Tensor":
        """Return each image's loss, (B,), of (B, V) logits.

        Args:
            logits: (B, V).
            grades: (B, V): 0 for a wrong tag, higher for tags earlier in the person's list.
        """

    def __init__(
        self, vocabulary: Vocabulary, weight: Matrix, bias: Matrix, sigmoid_line: tuple[float, float], threshold: float
    ) -> None:
        super().__init__(vocabulary, weight.shape[0], threshold)
        if weight.shape[1:] != (len(vocabulary),) or bias.shape != (len(vocabulary),):
            raise ValueError(f"The weights must have {len(vocabulary)} outputs; got {weight.shape} and {bias.shape}.")
        self.weight, self.bias, self.sigmoid_line = weight, bias, sigmoid_line

    @classmethod
    def fit(
        cls,
        vocabulary: Vocabulary,
        features: Features,
        given: Sequence[Sequence[str]],
        config: LinearConfig | None = None,
    ) -> Self:
        """Train on features and the photos' tags.

        Args:
            vocabulary: The tags to learn.
            features: (N, D) float32.
            given: The tags of each photo, in their order for training.
            config: None is the class's default.

        Raises:
            ValueError: The shapes do not fit, or there are fewer than 2 photos.
        """
        config = config or cls.default_config
        grades = grade_tags(vocabulary, given)
        check_training(features, grades, vocabulary)
        if len(features) < 2:
            raise ValueError("Training needs at least 2 photos; got 1.")
        order = np.random.default_rng(config.seed).permutation(len(features))
        num_held_out = max(1, int(CALIBRATION_SHARE * len(order)))
        held_out, rest = order[:num_held_out], order[num_held_out:]
        weight, bias = _train(cls.loss, features[rest], grades[rest], config)
        labels = (grades[held_out] > 0).astype(np.float32)
        logits = features[held_out] @ weight + bias
        line = fit_sigmoid(logits, labels)
        threshold = best_threshold(sigmoid(line[0] * logits + line[1]), labels)
        weight, bias = _train(cls.loss, features, grades, config)
        return cls(vocabulary, weight, bias, line, threshold)

    def scores(self, features: Features) -> Matrix:
        """Return the probability that each tag is right: (B, V) in [0, 1]."""
        self._check(features)
        slope, offset = self.sigmoid_line
        return sigmoid(slope * (features @ self.weight + self.bias) + offset)

    def settings(self) -> Mapping[str, Any]:
        """Return the settings as JSON values."""
        return {"sigmoid_line": list(self.sigmoid_line), "threshold": self.threshold}

    def arrays(self) -> Arrays:
        """Return all learnt arrays."""
        return {"weight": self.weight, "bias": self.bias}

    @classmethod
    def from_arrays(cls, vocabulary: Vocabulary, settings: Mapping[str, Any], arrays: Arrays) -> Self:
        """Return the tagger whose `settings` and `arrays` these are."""
        slope, offset = settings["sigmoid_line"]
        weight, bias = arrays["weight"].astype(np.float32), arrays["bias"].astype(np.float32)
        return cls(vocabulary, weight, bias, (float(slope), float(offset)), float(settings["threshold"]))


def grade_tags(vocabulary: Vocabulary, given: Sequence[Sequence[str]]) -> Matrix:
    """Return (N, V): 0 for a wrong tag, 1 for the last of a photo's tags, 2 for the one before it, and so on."""
    grades = np.zeros((len(given), len(vocabulary)), np.float32)
    for row, tags in zip(grades, given, strict=True):
        ids = vocabulary.encode(tags)
        row[ids] = np.arange(len(ids), 0, -1)
    return grades


def binary_cross_entropy(logits: "Tensor", grades: "Tensor") -> "Tensor":
    """Return -sum_j y_j log p_j + (1 - y_j) log(1 - p_j) of each image."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    return binary_cross_entropy_with_logits(logits, (grades > 0).float(), reduction="none").sum(dim=1)


def asymmetric(logits: "Tensor", grades: "Tensor") -> "Tensor":
    """Return the loss of Ridnik et al., eq. 7: easy negatives have a low weight, those below the margin none."""
    from torch.nn.functional import logsigmoid

    shifted = (logits.sigmoid() - ASYMMETRIC_MARGIN).clamp(min=0)  # p_m
    negative = -(shifted**ASYMMETRIC_FOCUS) * (1 - shifted).log()
    return (-logsigmoid(logits) * (grades > 0) + negative * (grades == 0)).sum(dim=1)


def softmax(logits: "Tensor", grades: "Tensor") -> "Tensor":
    """Return the loss of Gong et al., eq. 2: cross-entropy to the uniform distribution over the right tags."""
    right = (grades > 0).float()
    share = right / right.sum(dim=1, keepdim=True).clamp(min=1)
    return -(share * logits.log_softmax(dim=1)).sum(dim=1)


def warp(logits: "Tensor", grades: "Tensor") -> "Tensor":
    """Return the loss of Gong et al., eq. 4: sum over right j and wrong k of L(r_j) / r_j max(0, 1 - f_j + f_k).

    r_j is the number of wrong tags within the margin of j.
    """
    import torch

    rows, tags = (grades > 0).nonzero(as_tuple=True)
    hinges = (1 - logits[rows, tags][:, None] + logits[rows]).clamp(min=0) * (grades[rows] == 0)  # (P, V)
    ranks = (hinges > 0).sum(dim=1)  # r_j
    harmonic = torch.cat([torch.zeros(1), (1 / torch.arange(1, logits.shape[1] + 1)).cumsum(0)])  # L(0), L(1), ...
    losses = harmonic[ranks] / ranks.clamp(min=1) * hinges.sum(dim=1)
    return torch.zeros(len(logits)).index_add(0, rows, losses)


def squared_hinge(logits: "Tensor", grades: "Tensor") -> "Tensor":
    """Return sum_j max(0, 1 - y_j f_j)^2 with y of 1 and -1, of each image."""
    signs = (grades > 0).float() * 2 - 1
    return ((1 - signs * logits).clamp(min=0) ** 2).sum(dim=1)


def pairwise_hinge(logits: "Tensor", grades: "Tensor") -> "Tensor":
    """Return the loss of Joachims, optimisation problem 1: the mean over ordered pairs of max(0, 1 - f_j + f_k)."""
    import torch

    rows, tags = (grades > 0).nonzero(as_tuple=True)
    lower = grades[rows] < grades[rows, tags][:, None]  # (P, V): k after j
    hinges = (1 - logits[rows, tags][:, None] + logits[rows]).clamp(min=0) * lower
    losses = torch.zeros(len(logits)).index_add(0, rows, hinges.sum(dim=1))
    num_pairs = torch.zeros(len(logits)).index_add(0, rows, lower.sum(dim=1).float())
    return losses / num_pairs.clamp(min=1)


class LogisticTagger(LinearTagger):
    """Logistic regression for each tag."""

    name = "logistic"
    default_config = LinearConfig(l2=0.03)
    loss = staticmethod(binary_cross_entropy)


class AsymmetricTagger(LinearTagger):
    """Logistic regression under the asymmetric loss."""

    name = "asymmetric"
    loss = staticmethod(asymmetric)


class SoftmaxTagger(LinearTagger):
    """One softmax over all tags."""

    name = "softmax"
    loss = staticmethod(softmax)


class WarpTagger(LinearTagger):
    """Weighted approximate ranking."""

    name = "warp"
    loss = staticmethod(warp)


class SvmTagger(LinearTagger):
    """A linear SVM for each tag."""

    name = "svm"
    loss = staticmethod(squared_hinge)


class SvmRankTagger(LinearTagger):
    """A ranking SVM over the pairs of tags."""

    name = "svm_rank"
    default_config = LinearConfig(l2=0.0003)
    loss = staticmethod(pairwise_hinge)


LINEAR_TAGGERS: tuple[type[LinearTagger], ...] = (
    LogisticTagger,
    AsymmetricTagger,
    SoftmaxTagger,
    WarpTagger,
    SvmTagger,
    SvmRankTagger,
)


def _train(
    loss: Callable[["Tensor", "Tensor"], "Tensor"], features: Features, grades: Matrix, config: LinearConfig
) -> tuple[Matrix, Matrix]:
    """Return (D, V) weights and (V,) bias for features that are not standardised."""
    import torch

    generator = torch.Generator().manual_seed(config.seed)
    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), MIN_SCALE)
    inputs, targets = torch.from_numpy((features - mean) / scale), torch.from_numpy(grades)
    weight = torch.zeros(inputs.shape[1], targets.shape[1], requires_grad=True)
    prior = ((targets > 0).float().sum(dim=0) + 0.5) / (len(targets) + 1)
    bias = torch.logit(prior).requires_grad_()
    optimizer = torch.optim.Adam([weight, bias], lr=config.learning_rate)
    num_batches = -(-len(inputs) // config.batch_size)
    epochs = max(config.epochs, -(-MIN_STEPS // num_batches))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * num_batches)
    for _ in range(epochs):
        order = torch.randperm(len(inputs), generator=generator)
        for start in range(0, len(order), config.batch_size):
            rows = order[start : start + config.batch_size]
            value = loss(inputs[rows] @ weight + bias, targets[rows]).mean() + config.l2 * (weight**2).sum()
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    learnt = weight.detach().numpy() / scale[:, None]
    return learnt.astype(np.float32), (bias.detach().numpy() - mean @ learnt).astype(np.float32)
