"""RIA, CNN-RNN and Naive-RNN: three ways to feed an image to an LSTM whose input is the previous tag; and No-RNN.

Papers: Jin, Nakayama, "Annotation Order Matters: Recurrent Image Annotator for Arbitrary Length Image Tagging", 2016
    (RIA); Wang, Yang, Mao, Huang, Huang, Xu, "CNN-RNN: A Unified Framework for Multi-label Image Classification", 2016;
    the captioning RNN that Yan, Wang, Liao, "LSTM for Image Annotation with Relative Visual Importance", 2015,
    compare with (Naive-RNN).
Implements: h_0 = W_i I + b_i in Ria (section 3.1 of semantic-regularisation.txt); output fusion in CnnRnn (figure 1 c);
    (h_0, c_0) = LSTM(I, 0, 0) in NaiveRnn (figure 1 a; figure 2 of ranked-tags-lstm.txt). Eq. 2-3 in tag_lstm.TagLstm.
    "No RNN", CNN-RNN's ablation in table 2 of jvsp.txt, in NoRnn: the LSTM's output is replaced by the embedding of
    the previous tag, so that nothing is remembered of the tags before it.
Departs: all share S-CNN-RNN's sizes and its END; features are scaled. CNN-RNN's output layer is a matrix of its own;
    Wang et al. score a tag by the product with its embedding, so that output and embedding are tied. Naive-RNN's
    image has a projection of its own, not the word embedding of figure 1 a. By default these taggers have neither the
    logistic layer that S-CNN-RNN and JVSP have beside their sequence nor a dropout of the features: `--set
    concept_layer=true --set input_dropout=0.3` gives them both, and a comparison of how the image is fed needs them
    on both sides (docs/experiments/papers.md).
Shapes: features (B, D) float32 -> logits (B, T, V + 1) float32.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.sequence.trained_tagger import Batch, Outputs, Stage, TaggerConfig, TrainedTagger
from annotator.models.taggers.tag_lstm import TagLstm, no_cell

STAGES = (Stage("joint", "adam", 1e-3, epochs=30),)


@dataclass(frozen=True)
class SequenceConfig(TaggerConfig):
    """Sizes of S-CNN-RNN."""

    embedding_size: int = 256
    hidden_size: int = 512


class Ria(TrainedTagger):
    """The features set the hidden state. See `TrainedTagger`."""

    name = "ria"
    Config = SequenceConfig
    stages: ClassVar[tuple[Stage, ...]] = STAGES

    def __init__(self, vocabulary: Vocabulary, feature_size: int, config: SequenceConfig) -> None:
        super().__init__(vocabulary, feature_size, config)
        self.initial = nn.Linear(feature_size, config.hidden_size)
        self.decoder = TagLstm(self.num_tags, config.embedding_size, config.hidden_size, config.dropout)

    def forward(self, batch: Batch, stage: str = "joint") -> Outputs:
        """Run all steps."""
        features = self.scale(batch.features)
        hidden = self.initial(features)
        states = self.decoder(batch.inputs, batch.lengths + 1, hidden, no_cell(hidden))
        return Outputs(self.decoder.logits(states), self.concept_logits(features))


class NaiveRnn(TrainedTagger):
    """The features are the first input. See `TrainedTagger`."""

    name = "naive_rnn"
    Config = SequenceConfig
    stages: ClassVar[tuple[Stage, ...]] = STAGES

    def __init__(self, vocabulary: Vocabulary, feature_size: int, config: SequenceConfig) -> None:
        super().__init__(vocabulary, feature_size, config)
        self.initial = nn.Linear(feature_size, config.embedding_size)
        self.decoder = TagLstm(self.num_tags, config.embedding_size, config.hidden_size, config.dropout)

    def forward(self, batch: Batch, stage: str = "joint") -> Outputs:
        """Run all steps."""
        features = self.scale(batch.features)
        hidden, cell = self.decoder.first_state(self.initial(features))
        states = self.decoder(batch.inputs, batch.lengths + 1, hidden, cell)
        return Outputs(self.decoder.logits(states), self.concept_logits(features))


@dataclass(frozen=True)
class NoRnnConfig(TaggerConfig):
    """Sizes of S-CNN-RNN; the embedding has the size of the fused layer."""

    hidden_size: int = 512


class NoRnn(TrainedTagger):
    """Image and embedding of the previous tag are summed, without a recurrent state. See `TrainedTagger`."""

    name = "no_rnn"
    Config = NoRnnConfig
    stages: ClassVar[tuple[Stage, ...]] = STAGES

    def __init__(self, vocabulary: Vocabulary, feature_size: int, config: NoRnnConfig) -> None:
        super().__init__(vocabulary, feature_size, config)
        self.image = nn.Linear(feature_size, config.hidden_size)
        self.embedding = nn.Embedding(self.num_tags + 1, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden_size, self.num_tags + 1)

    def forward(self, batch: Batch, stage: str = "joint") -> Outputs:
        """Run all steps, each from the image and its previous tag alone."""
        features = self.scale(batch.features)
        fused = torch.relu(self.embedding(batch.inputs) + self.image(features)[:, None])  # (B, T, H)
        return Outputs(self.output(self.dropout(fused)), self.concept_logits(features))


class CnnRnn(TrainedTagger):
    """Image and LSTM output are projected to the size of the output layer and summed. See `TrainedTagger`."""

    name = "cnn_rnn"
    Config = SequenceConfig
    stages: ClassVar[tuple[Stage, ...]] = STAGES

    def __init__(self, vocabulary: Vocabulary, feature_size: int, config: SequenceConfig) -> None:
        super().__init__(vocabulary, feature_size, config)
        self.image = nn.Linear(feature_size, config.hidden_size)
        self.recurrent = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.decoder = TagLstm(self.num_tags, config.embedding_size, config.hidden_size, config.dropout)

    def forward(self, batch: Batch, stage: str = "joint") -> Outputs:
        """Run all steps."""
        features = self.scale(batch.features)
        zeros = torch.zeros(len(features), self.decoder.lstm.hidden_size, device=features.device)
        states = self.decoder(batch.inputs, batch.lengths + 1, zeros, zeros)
        fused: Tensor = torch.relu(self.recurrent(states) + self.image(features)[:, None])
        return Outputs(self.decoder.logits(fused), self.concept_logits(features))
