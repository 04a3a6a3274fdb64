"""JVSP: joint visual-semantic propagation.

Paper: Ma, Zhu, Sun, Yan, "Image Tagging by Joint Deep Visual-Semantic Propagation", 2017.
Implements: eq. 1-7 in Jvsp.model_jointly; eq. 8 in Jvsp.cell; eq. 9 and lambda of eq. 2 in Jvsp.forward; eq. 10 in
    diversity_loss; eq. 11 in trained_tagger.mean_step_cross_entropy and TrainedTagger.total_loss.
Departs: phi of eq. 4 and 6. phi="paper" is the softmax over the 512 values, as printed; [measured, spec] its
    values stay near 1/512 and hardly depend on the image. phi="gate", the default: V_t = C(I) * sigmoid(g_t),
    T_t = tanh(w_f * g^). L_V of eq. 10 can be taken as a cosine (diversity), which has the same scale with both.
    C(I) is normalised per image (layer norm); features are scaled to deviation 1. alpha is 0 by default, see
    JvspConfig. K_1 = 0, as there is no step before the first; lambda carries no gradient. Biases in the LSTM and the
    output. A logistic layer on the features learns beside the sequence, for the score and the ranking (concept_layer;
    it shares nothing with the sequence), and so does, by default in training, a kernel layer (kernel_layer.py); the
    paper has neither. Adam 4e-4, halved on a plateau, and a third of the features dropped: with the paper's 1e-3 and
    none dropped, the lowest validation loss on captions was 11.54, with these 11.43.
Shapes: features (B, D) float32 -> C(I) (B, 512) -> logits (B, T, V + 1) float32.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from annotator.datasets.vocabulary import Vocabulary
from annotator.models.sequence.trained_tagger import (
    Batch,
    Outputs,
    SequenceLoss,
    Stage,
    TaggerConfig,
    TrainedTagger,
    mean_step_cross_entropy,
)


@dataclass(frozen=True)
class JvspConfig(TaggerConfig):
    """Sizes are section 3.1's; eq. 9 adds h_t and V_t, so that H = dim V_t."""

    input_dropout: float = 0.3
    concept_layer: bool = True
    size: int = 512
    phi: str = "gate"
    """gate or paper, see above."""
    alpha: float = 0.0
    """Weight of the diversity loss. The paper's 0.5 belongs to its softmax, whose products of values near 1/512 are
    some 30,000 times smaller than the gate's: measured on captions, 0.5 with the gate and "sum" costs 4 points of NDCG.
    The same alpha means the same with both phi only under diversity="cosine"."""
    diversity: str = "sum"
    """sum: eq. 10 as printed. cosine: the cosine of the high values of V_t at neighbouring steps, in [0, 1], which
    does not depend on their scale; beta does, so that a comparison of both phi needs beta=0."""
    beta: float = 0.01
    """Smallest activation in the diversity loss. Most of a softmax over 512 values lies below the paper's 0.01."""
    knowledge_guidance: bool = True
    """Add K_t (eq. 2) to the guidance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.phi not in ("gate", "paper"):
            raise ValueError(f"phi must be gate or paper, got {self.phi!r}.")
        if self.diversity not in ("sum", "cosine"):
            raise ValueError(f"diversity must be sum or cosine, got {self.diversity!r}.")
        if self.alpha < 0:
            raise ValueError(f"alpha must not be negative, got {self.alpha!r}.")


class Jvsp(TrainedTagger):
    """See `TrainedTagger`."""

    name = "jvsp"
    Config = JvspConfig
    config: JvspConfig
    stages: ClassVar[tuple[Stage, ...]] = (
        Stage("joint", "adam", 4e-4, epochs=30, betas=(0.8, 0.999), halve_on_plateau=True),
    )  # section 3.1
    sequence_loss: ClassVar[SequenceLoss] = staticmethod(mean_step_cross_entropy)

    def __init__(self, vocabulary: Vocabulary, feature_size: int, config: JvspConfig) -> None:
        super().__init__(vocabulary, feature_size, config)
        size = config.size
        self.image = nn.Linear(feature_size, size)
        self.norm = nn.LayerNorm(size)
        self.semantic = nn.Embedding(self.num_tags + 1, size)  # U_l
        self.refined = nn.Embedding(self.num_tags + 1, size)  # U_f
        self.guidance = nn.Linear(size, size, bias=False) if config.knowledge_guidance else None  # W_h
        self.inner = nn.Linear(size, size, bias=False)  # U_ig
        self.outer = nn.Linear(size, size, bias=False)  # W_gt
        self.cell = nn.LSTMCell(2 * size, size)
        self.output = nn.Linear(size, self.num_tags + 1)  # W_s
        self.dropout = nn.Dropout(config.dropout)

    def project_image(self, features: Tensor) -> Tensor:
        """Return C(I), (B, 512), of scaled features."""
        image: Tensor = self.norm(self.image(features))
        return image

    def model_jointly(self, image: Tensor, previous: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Return V_t and T_t, each (B, 512): the image modulated by the tag, and the tag by the image.

        Args:
            image: (B, 512) C(I).
            previous: (B,) the previous tag.
            past: (B, 512) the mean of lambda_i h_i over the previous steps; 0 at the first.
        """
        semantic, refined = self.semantic(previous), self.refined(previous)  # eq. 1
        guidance = semantic if self.guidance is None else semantic + self.guidance(past)  # eq. 2-3
        if self.config.phi == "gate":
            visual = image * torch.sigmoid(guidance)  # eq. 4
        else:
            visual = torch.softmax(image * guidance, dim=1)  # eq. 4 as printed
        weight = self.outer(torch.tanh(refined + self.dropout(self.inner(visual))))  # eq. 5
        tag = torch.tanh(refined * weight) if self.config.phi == "gate" else torch.softmax(refined * weight, dim=1)
        return visual, tag  # eq. 6

    def forward(self, batch: Batch, stage: str = "joint") -> Outputs:
        """Run all steps; ended lists leave the batch, which is sorted by length."""
        features = self.scale(batch.features)
        image = self.project_image(features)
        hidden, cell = torch.zeros_like(image), torch.zeros_like(image)
        past = torch.zeros_like(image)
        all_logits, all_visual = [], []
        for step in range(batch.inputs.shape[1]):
            num = int((batch.lengths >= step).sum())
            visual, tag = self.model_jointly(image[:num], batch.inputs[:num, step], past[:num] / max(step, 1))
            joined = torch.cat([visual, tag], dim=1)  # eq. 7
            hidden, cell = self.cell(joined, (hidden[:num], cell[:num]))  # eq. 8
            logits = self.output(self.dropout(hidden) + visual)  # eq. 9
            confidence = torch.softmax(logits.detach(), dim=1).amax(dim=1, keepdim=True)  # lambda_t
            past = past[:num] + confidence * hidden
            missing = (0, 0, 0, len(image) - num)
            all_logits.append(F.pad(logits, missing))
            all_visual.append(F.pad(visual, missing))
        penalty = None
        if self.config.alpha > 0:
            penalty = self.config.alpha * diversity_loss(
                torch.stack(all_visual, dim=1),
                batch.lengths + 1,
                self.config.beta,
                is_cosine=self.config.diversity == "cosine",
            )
        return Outputs(torch.stack(all_logits, dim=1), self.concept_logits(features), penalty)


def diversity_loss(visual: Tensor, lengths: Tensor, beta: float, *, is_cosine: bool = False) -> Tensor:
    """Return the similarity of V_t at consecutive steps (eq. 10), the mean over images.

    Args:
        visual: (B, T, M) V_t.
        lengths: (B,) steps of each image, T of eq. 10. An image of one step adds 0.
        beta: Smaller values count as 0.
        is_cosine: Divide each product by the lengths of its two vectors, so that phi does not set the scale.
    """
    high = torch.where(visual >= beta, visual, 0.0)
    if is_cosine:
        high = high / high.norm(dim=2, keepdim=True).clamp(min=1e-9)
    products = (high[:, :-1] * high[:, 1:]).sum(dim=2)  # (B, T - 1)
    is_real = torch.arange(1, visual.shape[1], device=visual.device) < lengths[:, None].to(visual.device)
    return ((products * is_real).sum(dim=1) / (lengths.to(visual.device) - 1).clamp(min=1)).mean()
