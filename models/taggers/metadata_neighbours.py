"""A family of nine taggers that take a photo, its metadata words and the photos nearest to it by metadata.

Paper: Tesan, Coscia, Ballan, "A CNN-RNN Framework for Image Annotation from Visual Cues and Social Network Metadata",
2020.
Implements: eq. 8 in VisualOnly; eq. 9-11 in Ltn; eq. 12 in Rtn; eq. 13-14 in LtnVecs; eq. 15-16 in LtnAllVecs; eq. 17
    in Ltwin; section 3.3's two further forms in LtwinRnn and Ltwin2Rnn (eq. 18); eq. 19 in LZip. The encodings pi are
    those of context.py. Eq. 1-3: in training, one random m-subset of the M nearest for each photo and step, drawn by
    `context_tensors.ContextTensors.draw`; at test, the mean over fixed random subsets, in
    metadata_neighbours_numpy.py.
Departs: the backbone is frozen and its features are scaled to deviation 1; sums of word vectors are scaled to deviation
    1 too, and shortened to at most the longest of a training photo, which bounds the effect of thousands of user tags.
    LZip reads [v; u] of the photo, then of each neighbour, m + 1 positions; `zip="printed"` reads eq. 19's 2 m + 2
    positions v_x, u_x, v_z1, u_z1 and so on. The LSTMs of
    LTwin+2RNN and LZip end in a linear layer to the tags. The output's bias starts at logit(tag prior), the forget
    gates' at 1. If fewer than M photos share metadata words with a photo, visually similar ones fill up its
    neighbours. Eq. 5 compares binary vectors of the tau most frequent words; here the Jaccard distance is of all words
    of the two photos, those beyond tau too. The least numbers of epochs are the paper's: 3 and 5 (`stages`).
Shapes: features (B, D), neighbours (B, m, D), codes (B, S) and (B, m, S) float32 -> logits (B, V) float32.
"""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from annotator.datasets.metadata_words import FIELDS
from annotator.datasets.vocabulary import Vocabulary
from annotator.models.context import ENCODINGS, Context
from annotator.models.context_tensors import ContextBatch, ContextTensors
from annotator.models.sequence.trained_tagger import (
    Batch,
    ConceptLoss,
    Outputs,
    SequenceLoss,
    Stage,
    TaggerConfig,
    TrainedTagger,
    binary_cross_entropy,
)
from annotator.models.tagger import Features, RankedTag
from annotator.models.taggers.metadata_neighbours_numpy import (
    WITH_METADATA,
    WITHOUT_METADATA,
    LtnAllVecsNetwork,
    LtnNetwork,
    LtnVecsNetwork,
    Ltwin2RnnNetwork,
    LtwinNetwork,
    LtwinRnnNetwork,
    LZipNetwork,
    NeighbourNetwork,
    RtnNetwork,
    VisualOnlyNetwork,
    make_encoder,
)

MIN_DEVIATION = 1e-3
NO_LIMIT = 1e9
"""A length above that of any code."""


@dataclass(frozen=True)
class MetadataConfig(TaggerConfig):
    """Sizes are section 3.4's."""

    metadata: str = "user_tags"
    """The field the words come from: user_tags or caption."""
    neighbourhood: str = "id"
    """How neighbours are found: id (Jaccard distance of word sets), w2v or wnet (cosine of summed vectors)."""
    input: str = "id"
    """Encoding of the network's words: id, w2v or wnet. Not used by visual_only, ltn and rtn."""
    m: int = 6
    """Neighbours that the network takes at once."""
    M: int = 12
    """Nearest photos from which they are drawn."""
    num_subsets: int = 10
    """Random m-subsets that are averaged at test."""
    hidden_size: int = 500
    l2: float = 3e-4
    """Lambda: weight of the sum of squared weights, relative to a loss that is the mean over tags."""
    zip: str = "joined"
    """How LZip reads features and words: joined, a position a photo; or printed, a position each (eq. 19)."""
    max_words: int = 5000
    """Tau: number of most frequent words of `id`."""
    vectors: str = "glove"
    """Word vectors of w2v: glove or a file."""
    known_words: tuple[str, ...] = ()
    """The words of `id`; set from the training photos."""
    input_version: str = ""
    """Version of the input's vectors; set from them."""
    input_size: int = 0
    """Size of the input's vectors; set from them."""
    neighbourhood_version: str = ""
    """Version of the neighbourhood's vectors; set from them."""
    neighbourhood_size: int = 0
    """Size of the neighbourhood's vectors; set from them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (("metadata", FIELDS), ("neighbourhood", ENCODINGS), ("input", ENCODINGS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}.")
        if self.zip not in ("joined", "printed"):
            raise ValueError(f"zip must be joined or printed, got {self.zip!r}.")
        for name in ("m", "M", "num_subsets", "hidden_size", "max_words"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} must be a whole number from 1, got {getattr(self, name)!r}.")
        if self.m > self.M:
            raise ValueError(f"m must not be above M, got m = {self.m} and M = {self.M}.")
        if self.l2 < 0:
            raise ValueError(f"l2 must not be below 0, got {self.l2!r}.")

    @property
    def code_size(self) -> int:
        """S."""
        return len(self.known_words) if self.input == "id" else self.input_size


class LinearLstm(nn.Module):
    """An LSTM whose two tanh are the identity ("linear activation", section 3.2); the gates stay sigmoid.

    Its state is unbounded. With the paper's initialisation of He et al., a dozen steps give logits too large to train.
    `MetadataTagger` initialises the recurrent weights with zero, so that the state starts as a leaky sum.

    Args:
        input_size: I.
        hidden_size: H.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.inputs = nn.Linear(input_size, 4 * hidden_size)
        self.recurrent = nn.Linear(hidden_size, 4 * hidden_size, bias=False)

    def forward(self, sequence: Tensor) -> Tensor:
        """Return the last hidden state, (B, H), of a (B, T, I) sequence; zeros where T = 0."""
        gates = self.inputs(sequence)  # (B, T, 4 H), in the order i, f, g, o
        hidden = sequence.new_zeros(len(sequence), self.hidden_size)
        cell = hidden
        for step in range(sequence.shape[1]):
            into, forget, value, out = (gates[:, step] + self.recurrent(hidden)).chunk(4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * value
            hidden = torch.sigmoid(out) * cell
        return hidden


class MetadataTagger(TrainedTagger):
    """The base of the family; a subclass holds one model's layers and equations. See `TrainedTagger`."""

    Config = MetadataConfig
    Network: ClassVar[type[NeighbourNetwork]]
    """The same model in numpy."""
    stages: ClassVar[tuple[Stage, ...]] = (Stage("joint", "rmsprop", 1e-4, epochs=15, min_epochs=5),)
    capabilities = WITH_METADATA
    config: MetadataConfig

    def __init__(self, vocabulary: Vocabulary, feature_size: int, config: MetadataConfig) -> None:
        super().__init__(vocabulary, feature_size, config)
        if self.capabilities.uses_metadata and not config.code_size:
            raise ValueError(
                f"{self.name} takes metadata words, but has none: known_words (input=id) or input_size are missing."
            )
        self.code_scale: Tensor
        self.code_limit: Tensor
        if self.capabilities.uses_metadata:
            self.register_buffer("code_scale", torch.ones(config.code_size))
            self.register_buffer("code_limit", torch.tensor(NO_LIMIT))
        self.dropout = nn.Dropout(config.dropout)
        self.build(feature_size, config.code_size, config.hidden_size)
        for name, parameter in self.named_parameters():
            if name.endswith("recurrent.weight"):
                nn.init.zeros_(parameter)  # see LinearLstm
            elif parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter)  # He et al.
            else:
                nn.init.zeros_(parameter)
                if name.endswith("inputs.bias"):
                    parameter.data[config.hidden_size : 2 * config.hidden_size] = 1.0

    output: nn.Linear

    @abstractmethod
    def build(self, feature_size: int, code_size: int, hidden_size: int) -> None:
        """Create the layers, including `output`."""

    @abstractmethod
    def logits(self, x: Tensor, z: Tensor, o_x: Tensor, o_z: Tensor) -> Tensor:
        """Return f, (B, V), before its sigmoid.

        Args:
            x: (B, D), Phi(x).
            z: (B, m, D), Phi(z_i), nearest first.
            o_x: (B, S), pi(o_x).
            o_z: (B, m, S), pi(o_z_i).
        """

    def prepare(self, features: Tensor, labels: Tensor) -> None:
        """Set each tag's prior and the features' scale from the training photos; see `TrainedTagger.prepare`."""
        super().prepare(features, labels)
        prior = (labels.sum(dim=0) + 0.5) / (len(labels) + 1)
        with torch.no_grad():
            self.output.bias.copy_(torch.logit(prior))

    def prepare_context(self, context: ContextTensors) -> None:
        """Set the codes' scale and largest length from the training photos."""
        if not self.capabilities.uses_metadata:
            return
        codes = context.pool_codes.float()
        if self.config.input != "id":
            self.code_scale.copy_(codes.std(dim=0, correction=0).clamp(min=MIN_DEVIATION).reciprocal())
        self.code_limit.copy_((codes * self.code_scale).norm(dim=1).max().clamp(min=1.0))

    def encode_context(self, context: Context) -> ContextTensors:
        """Return a context with its words in this tagger's encoding."""
        codes, pool_codes = torch.zeros(len(context.words), 0), torch.zeros(len(context.pool.words), 0)
        if self.capabilities.uses_metadata:
            encoder = make_encoder(self.settings())
            kind: Any = np.uint8 if self.config.input == "id" else np.float32
            codes, pool_codes = (
                torch.from_numpy(encoder.encode(words).astype(kind)) for words in (context.words, context.pool.words)
            )
        return ContextTensors(
            codes,
            torch.from_numpy(np.ascontiguousarray(context.pool.features)),
            pool_codes,
            torch.from_numpy(context.neighbours),
            self.config.m,
        )

    def scale_codes(self, codes: Tensor) -> Tensor:
        """Return codes of deviation 1, shortened to at most the length of the longest of a training photo."""
        if not self.capabilities.uses_metadata:
            return codes
        scaled = codes * self.code_scale
        lengths = scaled.norm(dim=-1, keepdim=True)
        shortened: Tensor = scaled * (self.code_limit / lengths.clamp(min=1e-9)).clamp(max=1.0)
        return shortened

    def forward(self, batch: Batch, stage: str = "joint") -> Outputs:
        """Return (B, V) logits. Without a context the photos have no words and no neighbours."""
        context = batch.context
        if context is None:
            num = len(batch.features)
            size = self.config.code_size if self.capabilities.uses_metadata else 0
            context = ContextBatch(
                batch.features.new_zeros(num, size),
                batch.features.new_zeros(num, 0, self.feature_size),
                batch.features.new_zeros(num, 0, size),
            )
        logits = self.logits(
            self.scale(batch.features),
            self.scale(context.neighbours),
            self.scale_codes(context.codes),
            self.scale_codes(context.neighbour_codes),
        )
        return Outputs(logits, penalty=self.penalty() if self.training and self.config.l2 else None)

    def penalty(self) -> Tensor:
        """Return lambda sum w^2, times V, since the loss is a sum over tags."""
        squares = [parameter.square().sum() for parameter in self.parameters() if parameter.ndim > 1]
        return self.config.l2 * self.num_tags * torch.stack(squares).sum()

    def total_loss(
        self,
        outputs: Outputs,
        batch: Batch,
        concept_loss: ConceptLoss = binary_cross_entropy,
        sequence_loss: SequenceLoss | None = None,
    ) -> Tensor:
        """Return the loss of a pass, eq. 3 with L the binary cross-entropy, and the penalty."""
        total = concept_loss(outputs.logits, batch.labels, batch.weights)
        return total if outputs.penalty is None else total + outputs.penalty

    def for_inference(self) -> NeighbourNetwork:  # type: ignore[override]  # it is not sequential
        """Return the tagger for inference, with the current weights."""
        return self.Network.from_arrays(self.vocabulary, dict(self.settings()), dict(self.weights()))

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
        """Rank the tags; see `NeighbourNetwork.decode`."""
        return self.for_inference().decode(
            features, prefixes, dropped=dropped, k=k, free_length=free_length, context=context
        )


def relu_max(values: Tensor) -> Tensor:
    """Return max_i ReLU(values_i) over the second dimension, zeros where it is empty."""
    if not values.shape[1]:
        return values.sum(dim=1)
    return F.relu(values).amax(dim=1)


class VisualOnly(MetadataTagger):
    """W Phi(x) + b, eq. 8."""

    name = "visual_only"
    Network = VisualOnlyNetwork
    capabilities = WITHOUT_METADATA
    stages: ClassVar[tuple[Stage, ...]] = (Stage("joint", "rmsprop", 1e-4, epochs=10, min_epochs=3),)

    def build(self, feature_size: int, code_size: int, hidden_size: int) -> None:
        """Create the layers."""
        self.output = nn.Linear(feature_size, self.num_tags)

    def logits(self, x: Tensor, z: Tensor, o_x: Tensor, o_z: Tensor) -> Tensor:
        """Eq. 8."""
        result: Tensor = self.output(x)
        return result


class Ltn(MetadataTagger):
    """Neighbours max-pooled; Johnson, Ballan, Fei-Fei, "Love Thy Neighbors", ICCV 2015. Eq. 9-11."""

    name = "ltn"
    Network = LtnNetwork
    capabilities = WITHOUT_METADATA
    stages: ClassVar[tuple[Stage, ...]] = (Stage("joint", "rmsprop", 1e-4, epochs=10, min_epochs=3),)

    def build(self, feature_size: int, code_size: int, hidden_size: int) -> None:
        """Create the layers."""
        self.image = nn.Linear(feature_size, hidden_size)
        self.neighbours = nn.Linear(feature_size, hidden_size)
        self.output = nn.Linear(2 * hidden_size, self.num_tags)

    def logits(self, x: Tensor, z: Tensor, o_x: Tensor, o_z: Tensor) -> Tensor:
        """Eq. 9."""
        v_x = F.relu(self.image(x))  # eq. 10
        v_z = relu_max(self.neighbours(z))  # eq. 11
        result: Tensor = self.output(self.dropout(torch.cat([v_x, v_z], dim=1)))
        return result


class Rtn(MetadataTagger):
    """Neighbours read by an LSTM, nearest first. Eq. 9, 10, 12."""

    name = "rtn"
    Network = RtnNetwork
    capabilities = WITHOUT_METADATA
    stages: ClassVar[tuple[Stage, ...]] = (Stage("joint", "rmsprop", 1e-4, epochs=10, min_epochs=3),)

    def build(self, feature_size: int, code_size: int, hidden_size: int) -> None:
        """Create the layers."""
        self.image = nn.Linear(feature_size, hidden_size)
        self.neighbours = LinearLstm(feature_size, hidden_size)
        self.output = nn.Linear(2 * hidden_size, self.num_tags)

    def logits(self, x: Tensor, z: Tensor, o_x: Tensor, o_z: Tensor) -> Tensor:
        """Eq. 9."""
        v_x = F.relu(self.image(x))  # eq. 10
        v_z = self.neighbours(z)  # eq. 12
        result: Tensor = self.output(self.dropout(torch.cat([v_x, v_z], dim=1)))
        return result


class LtnVecs(MetadataTagger):
    """LTN with the photo's words beside its features. Eq. 13-14."""

    name = "ltn_vecs"
    Network = LtnVecsNetwork

    def build(self, feature_size: int, code_size: int, hidden_size: int) -> None:
        """Create the layers."""
        self.image = nn.Linear(feature_size + code_size, hidden_size)
        self.neighbours = nn.Linear(feature_size, hidden_size)
        self.output = nn.Linear(2 * hidden_size, self.num_tags)

    def logits(self, x: Tensor, z: Tensor, o_x: Tensor, o_z: Tensor) -> Tensor:
        """Eq. 13."""
        v_x = F.relu(self.image(torch.cat([x, o_x], dim=1)))  # eq. 14
        v_z = relu_max(self.neighbours(z))  # eq. 11
        result: Tensor = self.output(self.dropout(torch.cat([v_x, v_z], dim=1)))
        return result


class LtnAllVecs(MetadataTagger):
    """LTN with the words of the photo and of its neighbours beside the features. Eq. 15-16."""

    name = "ltn_all_vecs"
    Network = LtnAllVecsNetwork

    def build(self, feature_size: int, code_size: int, hidden_size: int) -> None:
        """Create the layers."""
        self.image = nn.Linear(feature_size + code_size, hidden_size)
        self.neighbours = nn.Linear(feature_size + code_size, hidden_size)
        self.output = nn.Linear(2 * hidden_size, self.num_tags)

    def logits(self, x: Tensor, z: Tensor, o_x: Tensor, o_z: Tensor) -> Tensor:
        """Eq. 15."""
        v_x = F.relu(self.image(torch.cat([x, o_x], dim=1)))  # eq. 14
        v_z = relu_max(self.neighbours(torch.cat([z, o_z], dim=2)))  # eq. 16, with a bias
        result: Tensor = self.output(self.dropout(torch.cat([v_x, v_z], dim=1)))
        return result


class Ltwin(MetadataTagger):
    """Features and words in separate layers, the neighbours of both max-pooled. Eq. 17."""

    name = "ltwin"
    Network = LtwinNetwork

    def build(self, feature_size: int, code_size: int, hidden_size: int) -> None:
        """Create the layers."""
        self.image = nn.Linear(feature_size, hidden_size)
        self.neighbours = nn.Linear(feature_size, hidden_size)
        self.words = nn.Linear(code_size, hidden_size)
        self.neighbour_words = nn.Linear(code_size, hidden_size)
        self.output = nn.Linear(4 * hidden_size, self.num_tags)

    def logits(self, x: Tensor, z: Tensor, o_x: Tensor, o_z: Tensor) -> Tensor:
        """Eq. 17."""
        v_x, u_x = F.relu(self.image(x)), F.relu(self.words(o_x))
        v_z, u_z = relu_max(self.neighbours(z)), relu_max(self.neighbour_words(o_z))
        result: Tensor = self.output(self.dropout(torch.cat([v_x, v_z, u_x, u_z], dim=1)))
        return result


class LtwinRnn(Ltwin):
    """LTwin with LSTMs in place of both maxima."""

    name = "ltwin_rnn"
    Network = LtwinRnnNetwork

    def build(self, feature_size: int, code_size: int, hidden_size: int) -> None:
        """Create the layers."""
        super().build(feature_size, code_size, hidden_size)
        self.neighbour_rnn = LinearLstm(hidden_size, hidden_size)
        self.word_rnn = LinearLstm(hidden_size, hidden_size)

    def parts(self, x: Tensor, z: Tensor, o_x: Tensor, o_z: Tensor) -> list[Tensor]:
        """Return v_x, v_z, u_x, u_z, each (B, H)."""
        return [
            F.relu(self.image(x)),
            self.neighbour_rnn(F.relu(self.neighbours(z))),
            F.relu(self.words(o_x)),
            self.word_rnn(F.relu(self.neighbour_words(o_z))),
        ]

    def logits(self, x: Tensor, z: Tensor, o_x: Tensor, o_z: Tensor) -> Tensor:
        """Eq. 17 with v_z = RNN(FC(z_1), ..), u_z = RNN(FC(o_z1), ..)."""
        result: Tensor = self.output(self.dropout(torch.cat(self.parts(x, z, o_x, o_z), dim=1)))
        return result


class Ltwin2Rnn(LtwinRnn):
    """LTwin+RNN with a third LSTM over the four parts. Eq. 18."""

    name = "ltwin_2rnn"
    Network = Ltwin2RnnNetwork

    def build(self, feature_size: int, code_size: int, hidden_size: int) -> None:
        """Create the layers."""
        super().build(feature_size, code_size, hidden_size)
        self.final_rnn = LinearLstm(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, self.num_tags)

    def logits(self, x: Tensor, z: Tensor, o_x: Tensor, o_z: Tensor) -> Tensor:
        """Eq. 18."""
        sequence = self.dropout(torch.stack(self.parts(x, z, o_x, o_z), dim=1))  # (B, 4, H)
        result: Tensor = self.output(self.final_rnn(sequence))
        return result


class LZip(MetadataTagger):
    """One LSTM over the photo and its neighbours, features and words together. Eq. 19."""

    name = "lzip"
    Network = LZipNetwork

    def build(self, feature_size: int, code_size: int, hidden_size: int) -> None:
        """Create the layers."""
        self.image = nn.Linear(feature_size, hidden_size)
        self.neighbours = nn.Linear(feature_size, hidden_size)
        self.words = nn.Linear(code_size, hidden_size)
        self.neighbour_words = nn.Linear(code_size, hidden_size)
        self.zip_rnn = LinearLstm((2 if self.config.zip == "joined" else 1) * hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, self.num_tags)

    def logits(self, x: Tensor, z: Tensor, o_x: Tensor, o_z: Tensor) -> Tensor:
        """Eq. 19."""
        own = torch.cat([F.relu(self.image(x)), F.relu(self.words(o_x))], dim=1)  # (B, 2 H)
        near = torch.cat([F.relu(self.neighbours(z)), F.relu(self.neighbour_words(o_z))], dim=2)  # (B, m, 2 H)
        sequence = self.dropout(torch.cat([own[:, None], near], dim=1))  # (B, m + 1, 2 H)
        if self.config.zip == "printed":
            sequence = sequence.unflatten(2, (2, -1)).flatten(1, 2)  # (B, 2 m + 2, H)
        result: Tensor = self.output(self.zip_rnn(sequence))
        return result
