"""The base of the taggers that are trained step by step: batches, outputs and the losses of the papers.

A subclass holds the equations of one paper as a torch module; numpy_steps.py implements them without torch. `decode`
uses the numpy implementation, so that evaluation after training measures what a server runs. Knows nothing of data
sets, optimisers or files.
Shapes: B images, D feature size, V tags, T - 1 the longest list of the batch (T with its END).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.context import Context
from annotator.models.context_tensors import ContextBatch, ContextTensors
from annotator.models.sequence.decoding import Steps
from annotator.models.sequence.inference import InferenceTagger, Ranking, make_steps
from annotator.models.tagger import Capabilities, Features, RankedTag

PADDING = -1
"""Target of a step after the end of a list."""

ROOT_OFFSET = 1e-6

ConceptLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(B, V) logits, labels and weights -> a scalar."""
SequenceLoss = Callable[[Tensor, Tensor], Tensor]
"""(B, T, W) logits and (B, T) targets -> (B,), one value an image."""


@dataclass(frozen=True)
class Batch:
    """Images with their ordered tags, the longest list first."""

    features: Tensor
    """(B, D) float32."""
    lengths: Tensor
    """(B,) int64: the number of tags of each list, descending."""
    inputs: Tensor
    """(B, T) int64: START, then the tags; V (START) after the end."""
    targets: Tensor
    """(B, T) int64: the tags, then END = V; PADDING after the end."""
    labels: Tensor
    """(B, V) float32: 1 for the tags of the image, else 0."""
    weights: Tensor
    """(B, V) float32: the weight of each label in the concept loss."""
    user_tags: Tensor | None = None
    """(B, U) float32: side information, 1 for the known user tags of the image."""
    importance: Tensor | None = None
    """(B,) float32: the weight of each image's list; None means 1. `weights` includes it already."""
    context: ContextBatch | None = None
    """For the taggers that use a context."""

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return Batch(**moved)


def make_batch(
    features: Tensor,
    sequences: Sequence[Sequence[int]],
    num_tags: int,
    *,
    weights: Tensor | None = None,
    user_tags: Tensor | None = None,
    importance: Tensor | None = None,
    context: ContextBatch | None = None,
) -> Batch:
    """Pad lists of tag ids into a batch and sort it by length.

    Args:
        features: (B, D).
        sequences: B lists of tag ids, at least one tag each.
        num_tags: V.
        weights: (B, V) label weights; None means 1.
        user_tags: (B, U), in the order of `features`.
        importance: (B,) weight of each photo in every loss; None means 1.
        context: Of the same images, in the order of `features`.
    """
    order = sorted(range(len(sequences)), key=lambda row: -len(sequences[row]))
    rows = torch.tensor(order)
    longest = len(sequences[order[0]])
    inputs = torch.full((len(order), longest + 1), num_tags)
    targets = torch.full((len(order), longest + 1), PADDING)
    labels = torch.zeros(len(order), num_tags)
    for row, source in enumerate(order):
        tags = torch.tensor(sequences[source])
        inputs[row, 1 : len(tags) + 1] = tags
        targets[row, : len(tags)] = tags
        targets[row, len(tags)] = num_tags
        labels[row, tags] = 1.0
    weights = torch.ones_like(labels) if weights is None else weights[rows]
    return Batch(
        features=features[rows],
        lengths=torch.tensor([len(sequences[source]) for source in order]),
        inputs=inputs,
        targets=targets,
        labels=labels,
        weights=weights if importance is None else weights * importance[rows, None],
        user_tags=None if user_tags is None else user_tags[rows],
        importance=None if importance is None else importance[rows],
        context=None if context is None else context.take(rows),
    )


@dataclass(frozen=True)
class Outputs:
    """The outputs of one pass with the true previous tags."""

    logits: Tensor
    """(B, T, V + 1), or (B, T, V) without END; (B, V) of a tagger that is not sequential."""
    concept_logits: Tensor | None = None
    """(B, V)."""
    penalty: Tensor | None = None
    """A scalar that is added to the loss."""


def binary_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return -sum_j s_j log(s^_j) + (1 - s_j) log(1 - s^_j), the mean over images.

    Eq. 5 of semantic-regularisation.txt, which omits the minus sign.
    """
    return F.binary_cross_entropy_with_logits(logits, labels, weights, reduction="sum") / len(logits)


def sequence_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the negative log-likelihood summed over each image's list, (B,)."""
    if logits.shape[2] <= int(targets.max()):
        targets = targets.masked_fill(targets == logits.shape[2], PADDING)  # a tagger without END
    losses = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=PADDING, reduction="none")  # (B, T)
    return losses.sum(dim=1)


def mean_step_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the negative log-likelihood averaged over the steps of each image's list, (B,).

    Eq. 11 of jvsp.txt without its second term.
    """
    losses = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=PADDING, reduction="none")  # (B, T)
    return losses.sum(dim=1) / (targets != PADDING).sum(dim=1)


@dataclass(frozen=True)
class TaggerConfig:
    """Settings of every tagger that is trained step by step."""

    dropout: float = 0.5
    """Dropout rate, at the places where the paper has dropout."""
    input_dropout: float = 0.0
    """Dropout rate of the features; in no paper."""
    root_features: bool = True
    """Replace each feature by its signed square root first (Hellinger scaling). Measured on captions: mAP by tag of a
    logistic regression 0.206 without and 0.217 with it."""
    concept_layer: bool = False
    """Train a logistic layer beside the sequence, for the score. S-CNN-RNN always has one."""
    user_tags: tuple[str, ...] = ()
    """Known user tags, as side information; only S-CNN-RNN uses them."""
    kernel_landmarks: int = 0
    """Landmarks of the kernel layer (kernel_layer.py) beside the sequence; 0: no such layer."""
    kernel_size: int = 128
    """Principal directions onto which it projects a photo."""
    kernel_rank: int = 128
    """Directions that its outputs share."""

    def __post_init__(self) -> None:
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)!r}.")
        for name, least in (("kernel_landmarks", 0), ("kernel_size", 1), ("kernel_rank", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)!r}.")


@dataclass(frozen=True)
class Stage:
    """One stage of the training in the paper."""

    name: str
    """Argument of `TrainedTagger.loss`."""
    optimizer: str
    """adam or rmsprop."""
    learning_rate: float
    epochs: int
    """Most passes over the training photos."""
    min_epochs: int = 0
    """Fewest passes, even if the validation loss rises; at most `epochs`."""
    betas: tuple[float, float] = (0.9, 0.999)
    halve_on_plateau: bool = False
    """Halve the learning rate when the validation loss does not fall."""


class KernelBuffers(nn.Module):
    """The arrays of a kernel layer in a module's state; they are fitted in closed form, not by gradients."""

    def __init__(self, feature_size: int, num_tags: int, config: TaggerConfig) -> None:
        super().__init__()
        landmarks, size = config.kernel_landmarks, config.kernel_size
        self.register_buffer("mean", torch.zeros(feature_size))
        self.register_buffer("basis", torch.zeros(feature_size, size))
        self.register_buffer("landmarks", torch.zeros(landmarks, size))
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("shared", torch.zeros(config.kernel_rank, landmarks))
        self.register_buffer("presence", torch.zeros(num_tags, config.kernel_rank))
        self.register_buffer("gain", torch.zeros(num_tags, config.kernel_rank))


class TrainedTagger(nn.Module):
    """A tagger in training: a recurrent one or, if not `is_sequential`, one that scores each tag by itself.

    Args:
        vocabulary: Its V tags.
        feature_size: D.
        config: Its settings.
    """

    name: ClassVar[str]
    Config: ClassVar[type[TaggerConfig]] = TaggerConfig
    has_end: ClassVar[bool] = True
    capabilities: ClassVar[Capabilities] = Capabilities(is_sequential=True)
    """Those of `for_inference`; user tags are used only if `config.user_tags` has any."""
    stages: ClassVar[tuple[Stage, ...]]
    sequence_loss: ClassVar[SequenceLoss] = staticmethod(sequence_cross_entropy)
    """The paper's loss of the lists."""

    def __init__(self, vocabulary: Vocabulary, feature_size: int, config: TaggerConfig) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.feature_size = feature_size
        self.config = config
        self.ranking = Ranking()
        self.version = "untrained"
        self.feature_mean: Tensor
        self.feature_scale: Tensor
        self.register_buffer("feature_mean", torch.zeros(feature_size))
        self.register_buffer("feature_scale", torch.ones(feature_size))
        self.precedence: Tensor
        """(V,): how early people name each tag; 0 if no order is known. See trainer/precedence.py."""
        self.register_buffer("precedence", torch.zeros(len(vocabulary)))
        self.kernel = KernelBuffers(feature_size, self.num_tags, config) if config.kernel_landmarks else None
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.concept = nn.Linear(feature_size, self.num_tags) if config.concept_layer else None

    @property
    def num_tags(self) -> int:
        """V."""
        return len(self.vocabulary)

    def prepare(self, features: Tensor, labels: Tensor) -> None:
        """Set from the training photos what is not learnt: the features' scale and each tag's prior.

        The concept layer's bias becomes logit(prior): [measured, spec] without it, S-CNN-RNN collapses, because its
        first stage trains the LSTM on 0 and 1, values that the concept probabilities do not reach.

        Args:
            features: (N, D).
            labels: (N, V), 0 or 1.
        """
        features = self.root(features)
        self.feature_mean.copy_(features.mean(dim=0))
        self.feature_scale.copy_(features.std(dim=0, correction=0).clamp(min=1e-3).reciprocal())
        if self.concept is not None:
            prior = (labels.sum(dim=0) + 0.5) / (len(labels) + 1)
            with torch.no_grad():
                self.concept.bias.copy_(torch.logit(prior))
                self.concept.weight.zero_()

    def set_precedence(self, precedence: npt.NDArray[np.float32]) -> None:
        """Set how early people name each tag, (V,); see `ordering.order_heads`."""
        self.precedence.copy_(torch.from_numpy(precedence))

    def set_kernel(self, arrays: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Set the kernel layer; see `kernel_layer.KernelLayer`.

        Args:
            arrays: Under `kernel.*`, as trainer/kernel_fit.py returns them; their shapes are those of the config.
        """
        buffers = dict(self.named_buffers())
        for name, values in arrays.items():
            buffers[name].copy_(torch.from_numpy(values))

    def encode_context(self, context: Context) -> ContextTensors:
        """Return a context in this tagger's encoding. Only taggers with a context implement it."""
        raise NotImplementedError(f"{self.name} does not use metadata and neighbours.")

    def prepare_context(self, context: ContextTensors) -> None:
        """Set from the training photos' context what is not learnt."""

    def scale(self, features: Tensor) -> Tensor:
        """Return features of mean 0 and standard deviation 1."""
        scaled: Tensor = self.input_dropout((self.root(features) - self.feature_mean) * self.feature_scale)
        return scaled

    def root(self, features: Tensor) -> Tensor:
        """Return sign(x) sqrt(|x|) with `config.root_features`, else x."""
        if not self.config.root_features:
            return features
        rooted: Tensor = features.sign() * (features.abs() + ROOT_OFFSET).sqrt()  # the offset bounds the gradient at 0
        return rooted

    def forward(self, batch: Batch, stage: str = "joint") -> Outputs:
        """Run all steps with the true previous tags."""
        raise NotImplementedError

    def loss(
        self,
        batch: Batch,
        stage: str = "joint",
        *,
        concept_loss: ConceptLoss = binary_cross_entropy,
        sequence_loss: SequenceLoss | None = None,
    ) -> Tensor:
        """Return the paper's loss of a batch.

        Args:
            batch: Images and their lists.
            stage: Name of one of `stages`.
            concept_loss: The loss of the concept layer.
            sequence_loss: The loss of the lists; None is the paper's.
        """
        return self.total_loss(self(batch, stage), batch, concept_loss, sequence_loss)

    def total_loss(
        self,
        outputs: Outputs,
        batch: Batch,
        concept_loss: ConceptLoss = binary_cross_entropy,
        sequence_loss: SequenceLoss | None = None,
    ) -> Tensor:
        """Return the loss of a pass: the lists, the concepts if there are any, and the penalty."""
        losses = (sequence_loss or type(self).sequence_loss)(outputs.logits, batch.targets)  # (B,)
        total = (losses if batch.importance is None else losses * batch.importance).mean()
        if outputs.concept_logits is not None:
            total = total + concept_loss(outputs.concept_logits, batch.labels, batch.weights)
        if outputs.penalty is not None:
            total = total + outputs.penalty
        return total

    def concept_logits(self, features: Tensor, user_tags: Tensor | None = None) -> Tensor | None:
        """Return the (B, V) logits of the concept layer for scaled features; None without one."""
        if self.concept is None:
            return None
        logits: Tensor = self.concept(features)
        return logits

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return every parameter and buffer as numpy; float32 ones share memory with the module."""
        return {name: value.detach().cpu().numpy() for name, value in self.state_dict().items()}

    def settings(self) -> Mapping[str, Any]:
        """Return the config as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self.config).items()}

    def steps(self) -> Steps:
        """Return the recurrent part in numpy, with the current weights."""
        return make_steps(self.name, self.weights(), self.settings())

    def for_inference(self) -> InferenceTagger:
        """Return the tagger for inference, with the current weights."""
        return InferenceTagger(
            self.name, self.version, self.vocabulary, self.weights(), dict(self.settings()), self.ranking
        )

    def decode(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        *,
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
        free_length: bool = False,
    ) -> list[list[RankedTag]]:
        """Continue each image's prefix; see `InferenceTagger.decode`."""
        return self.for_inference().decode(features, prefixes, dropped=dropped, k=k, free_length=free_length)
