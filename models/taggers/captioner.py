"""Sentences for photos: S-CNN-RNN's decoder over words, and the two forms that its paper compares it with.

Paper: Liu, Xiang, Hospedales, Yang, Sun, "Semantic Regularisation for Recurrent Image Annotation", 2017, section 5.
Implements: eq. 2-4 over words, the LSTM in tag_lstm.TagLstm. Of table 4, "concepts" is theirs: (h_0, c_0) =
    (FC(s^), 0), s^ the probabilities of the most frequent words; "deep" is NIC-deeply: the same loss L_u, but the layer
    below s^ as the first input, (h_0, c_0) = LSTM(W v, 0, 0); "features" is NIC-F: that input without L_u. Beam search
    of width 3.
Departs: the network is frozen; one layer v = ReLU(W_v Phi(x) + b_v), which all forms learn, stands for the part of it
    that the paper tunes, since L_u has nothing else to shape. The vocabulary holds the words of at least `min_count`
    training sentences instead of 12,000. Adam 1e-3, dropout before the output and of the features.
Shapes: features (B, D) -> v (B, H) -> s^ (B, K) -> logits (B, T, W + 1); word W is START as an input, END as an output.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from annotator.models.taggers.tag_lstm import TagLstm, no_cell

FORMS = ("concepts", "deep", "features")
UNKNOWN = "<unknown>"
"""Stands for every word that is not in the vocabulary; never proposed."""
WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


@dataclass(frozen=True)
class CaptionerConfig:
    """Sizes are section 5.1's."""

    form: str = "concepts"
    """concepts, deep or features."""
    hidden_size: int = 512
    embedding_size: int = 512
    num_concepts: int = 1_000
    """K, at most the number of words."""
    dropout: float = 0.5
    input_dropout: float = 0.3
    """Dropout rate of the features; not in the paper."""

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {self.form!r}.")
        if min(self.hidden_size, self.embedding_size, self.num_concepts) < 1:
            raise ValueError(f"Sizes must be at least 1; got {self}.")


def words_of(sentence: str) -> list[str]:
    """Return a sentence's words in lower case, without punctuation."""
    return WORD.findall(sentence.lower())


def vocabulary_of(sentences: Sequence[Sequence[str]], min_count: int = 5) -> list[str]:
    """Return the words of at least `min_count` sentences, the most frequent first, and UNKNOWN as the last.

    Args:
        sentences: Words of each training sentence.
        min_count: A word of fewer sentences is UNKNOWN.
    """
    counts = Counter(word for words in sentences for word in set(words))
    kept = sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))
    return [*kept, UNKNOWN]


class Captioner(nn.Module):
    """Proposes a sentence for a photo.

    Args:
        words: W words as `vocabulary_of` returns them; the first K are the concepts.
        feature_size: D.
        config: Its form and sizes.
    """

    def __init__(self, words: Sequence[str], feature_size: int, config: CaptionerConfig) -> None:
        super().__init__()
        self.words, self.config = tuple(words), config
        self.num_concepts = max(1, min(config.num_concepts, len(words) - 1))
        self._place = {word: place for place, word in enumerate(self.words)}
        self.feature_mean: Tensor
        self.feature_scale: Tensor
        self.register_buffer("feature_mean", torch.zeros(feature_size))
        self.register_buffer("feature_scale", torch.ones(feature_size))
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.image = nn.Linear(feature_size, config.hidden_size)
        self.concept = nn.Linear(config.hidden_size, self.num_concepts) if config.form != "features" else None
        inputs, outputs = (
            (self.num_concepts, config.hidden_size)
            if config.form == "concepts"
            else (config.hidden_size, config.embedding_size)
        )
        self.initial = nn.Linear(inputs, outputs)
        self.decoder = TagLstm(len(self.words), config.embedding_size, config.hidden_size, config.dropout)

    def prepare(self, features: Tensor, concepts: Tensor) -> None:
        """Set the features' scale and each concept's prior from the training photos; see `TrainedTagger.prepare`.

        Args:
            features: (N, D).
            concepts: (N, K), 0 or 1.
        """
        self.feature_mean.copy_(features.mean(dim=0))
        self.feature_scale.copy_(features.std(dim=0, correction=0).clamp(min=1e-3).reciprocal())
        if self.concept is not None:
            with torch.no_grad():
                self.concept.bias.copy_(torch.logit((concepts.sum(dim=0) + 0.5) / (len(concepts) + 1)))

    def encode(self, words: Sequence[str]) -> list[int]:
        """Return word ids; that of UNKNOWN for a word that is not in the vocabulary."""
        return [self._place.get(word, len(self.words) - 1) for word in words]

    def concepts_of(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Return (B, K), 1 for the concepts that are words of each sentence."""
        rows = torch.zeros(len(sequences), self.num_concepts)
        for row, ids in zip(rows, sequences, strict=True):
            row[[word for word in ids if word < self.num_concepts]] = 1.0
        return rows

    def see(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return v, (B, H), and the logits of s^, (B, K); None in the form without concepts."""
        scaled = self.input_dropout((features - self.feature_mean) * self.feature_scale)
        hidden = torch.relu(self.image(scaled))
        return hidden, None if self.concept is None else self.concept(hidden)

    def first_state(self, hidden: Tensor, concepts: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return (h_0, c_0) from v or, in the form "concepts", from concept probabilities (B, K)."""
        if self.config.form == "concepts":
            assert concepts is not None  # this form has a concept layer
            state: Tensor = self.initial(concepts)
            return state, no_cell(state)
        return self.decoder.first_state(self.initial(hidden))

    def forward(
        self, features: Tensor, inputs: Tensor, lengths: Tensor, true_concepts: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the logits of all steps, (B, T, W + 1), and those of the concepts.

        Args:
            features: (B, D).
            inputs: (B, T) START, then the words.
            lengths: (B,) steps of each sentence, descending.
            true_concepts: (B, K): the state starts from these, so that both parts are trained in parallel (stage 1).
        """
        hidden, logits = self.see(features)
        concepts = true_concepts if true_concepts is not None or logits is None else torch.sigmoid(logits)
        states = self.decoder(inputs, lengths, *self.first_state(hidden, concepts))
        return self.decoder.logits(states), logits

    @torch.no_grad()
    def propose(self, features: Tensor, *, beam_width: int = 3, max_length: int = 20) -> list[list[str]]:
        """Return the words of the likeliest sentence that the beam finds for each photo.

        Args:
            features: (B, D).
            beam_width: Openings that are continued at each step.
            max_length: Most words.
        """
        hidden, logits = self.see(features)
        first = self.first_state(hidden, None if logits is None else torch.sigmoid(logits))
        return [self._search(first[0][row], first[1][row], beam_width, max_length) for row in range(len(features))]

    def _search(self, hidden: Tensor, cell: Tensor, beam_width: int, max_length: int) -> list[str]:
        """Search one photo's sentence from its (H,) state."""
        end = len(self.words)
        beams: list[tuple[float, list[int]]] = [(0.0, [])]
        done: list[tuple[float, list[int]]] = []
        states = (hidden[None], cell[None])
        for step in range(max_length + 1):
            previous = torch.tensor([ids[-1] if ids else end for _, ids in beams])
            _, (h, c) = self.decoder.lstm(
                self.decoder.embedding(previous)[:, None], (states[0][None].contiguous(), states[1][None].contiguous())
            )
            states = (h[0], c[0])
            log_probs = torch.log_softmax(self.decoder.logits(h[0]), dim=1)
            log_probs[:, end - 1] = -torch.inf  # UNKNOWN
            if step == max_length:
                log_probs[:, :end] = -torch.inf
            totals = torch.tensor([total for total, _ in beams])[:, None] + log_probs
            best = totals.flatten().topk(min(beam_width, totals.numel()))
            grown, rows = [], []
            for total, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                row, word = divmod(place, end + 1)
                if word == end:
                    done.append((total, beams[row][1]))
                elif total > -float("inf"):
                    grown.append((total, [*beams[row][1], word]))
                    rows.append(row)
            if not grown or (done and max(done)[0] >= grown[0][0]):
                break
            beams, states = grown, (states[0][rows], states[1][rows])
        return [self.words[word] for word in max(done)[1]] if done else [self.words[word] for word in beams[0][1]]
