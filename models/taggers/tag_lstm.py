"""An LSTM that is fed the previous tag: the decoder of S-CNN-RNN and of three baselines.

Paper: Liu, Xiang, Hospedales, Yang, Sun, "Semantic Regularisation for Recurrent Image Annotation", 2017.
Implements: eq. 2-3 in TagLstm.forward.
Departs: no peepholes (the terms W_{.,c} c_{t-1} of eq. 2) and tanh for delta, as in the common libraries; the paper's
    ReLU is unbounded.
Shapes: previous tags (B, T) int64, h_0 and c_0 (B, H) -> hidden states (B, T, H).
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class TagLstm(nn.Module):
    """Embedding, LSTM and output layer.

    Args:
        num_tags: V. The embedding has one row more, for START; the output one more, for END.
        embedding_size: Length of a tag's embedding.
        hidden_size: H.
        output_size: Input size of the output layer; None is H.
        dropout: Dropout rate of the hidden state before the output.
    """

    def __init__(
        self, num_tags: int, embedding_size: int, hidden_size: int, dropout: float, output_size: int | None = None
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_tags + 1, embedding_size)
        self.lstm = nn.LSTM(embedding_size, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(output_size or hidden_size, num_tags + 1)

    def forward(self, inputs: Tensor, lengths: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
        """Return the hidden state of every step.

        Args:
            inputs: (B, T) previous tags, START first.
            lengths: (B,) steps of each list, descending; the states of later steps are zero.
            hidden: (B, H) h_0.
            cell: (B, H) c_0.
        """
        packed = pack_padded_sequence(self.embedding(inputs), lengths.cpu(), batch_first=True)  # x_t = E a_{t-1}
        states, _ = self.lstm(packed, (hidden[None].contiguous(), cell[None].contiguous()))
        padded: Tensor
        padded, _ = pad_packed_sequence(states, batch_first=True, total_length=inputs.shape[1])
        return padded  # (B, T, H)

    def logits(self, states: Tensor) -> Tensor:
        """Return W h_t + b, (B, T, V + 1); eq. 3 before its softmax."""
        result: Tensor = self.output(self.dropout(states))
        return result

    def first_state(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return (h, c) after one step from zero on (B, E) inputs that are not tags."""
        _, (hidden, cell) = self.lstm(inputs[:, None])
        return hidden[0], cell[0]


def no_cell(hidden: Tensor) -> Tensor:
    """Return c_0 = 0."""
    return torch.zeros_like(hidden)
