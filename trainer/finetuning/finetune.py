"""Fine-tuning of a trained recurrent tagger on people's corrections.

The loss of a correction has three parts: the saved order (list-wise), the pairs that the person swapped (logistic),
and the dropped tags as negatives; tags that the person was not shown can be masked. Against forgetting, each step adds
replayed corrections and a penalty on the distance to the live weights (L2-SP), and the result is an exponential moving
average of the weights (EMA). New tags get rows that start from a logistic regression on the features and take full
steps, while all other weights take a share of each step. On untagged photos and on exemplars of other photos, the
outputs are distilled from the live tagger. Each part is a setting.
Papers: Li, Grandvalet, Davoine, "Explicit Inductive Bias for Transfer Learning", 2018 (L2-SP, eq. 3); Buzzega et al.,
    "Dark Experience for General Continual Learning", 2020 (eq. 4: the old model's outputs on replayed photos);
    Burges et al., "Learning to Rank using Gradient Descent", 2005 (the pairs' loss, eq. 3).
Knows nothing of files, databases or user interfaces.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from annotator.datasets.tags import tag_key
from annotator.errors import TrainingError
from annotator.models import checkpoint
from annotator.models.growth import LEAST_PRIOR, TagVectors, grow, learning_rates, nearest_shares
from annotator.models.sequence.trained_tagger import PADDING, Batch, Outputs, TrainedTagger, make_batch
from annotator.models.tagger import Features
from annotator.ranges import check_range
from annotator.trainer.finetuning.corrections import Correction
from annotator.trainer.losses import list_wise_loss

CLIP_NORM = 5.0
NO_LOGIT = -1e9
LEAST_TO_HOLD_OUT = 50
"""Least number of fresh corrections for a held-out set: a smaller one is too noisy."""
STEPS_BETWEEN_EVALUATIONS = 28
"""Least steps between two evaluations on the held-out corrections: fewer cannot reach `least_gain`."""
HEAD_STEPS = 60
"""Most iterations of the new tags' logistic regression."""
MOST_REHEARSED = 256
"""Most untagged photos, and most exemplars, that the live tagger lists tags for: decoding one is slower than a step."""
REHEARSED_TAGS = 3
"""Tags in the live tagger's list for an untagged photo or an exemplar."""


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of a fine-tuning; stored with the checkpoint."""

    seed: int = 0
    epochs: int = 20
    """Most passes over the fresh corrections."""
    held_out: float = 0.1
    """Share of the fresh corrections held out for early stopping; 0 makes all passes. In a domain that the tagger
    knows, one or two passes are enough and more cause forgetting; in a new domain all are needed."""
    least_gain: float = 0.005
    """Least relative decrease of the held-out loss between two evaluations; below it the training stops and keeps
    the earlier weights."""
    batch_size: int = 32
    """Fresh corrections a step; replayed ones are added."""
    learning_rate: float = 5e-4
    list_discount: float = 0.3
    """Ratio of the weights of two successive places in the list-wise loss."""
    replay_ratio: float = 1.0
    """Replayed corrections for each fresh one; 0 replays none."""
    rehearsal_weight: float = 1.0
    """Weight of the distillation from the live tagger on untagged photos; 0 turns it off."""
    ema_decay: float = 0.98
    """Decay a step of the moving average of the weights; 0 takes the last weights."""
    l2_sp: float = 0.01
    """Coefficient of half the squared distance to the live weights."""
    pair_weight: float = 0.3
    """Weight of the pairs that the person swapped."""
    negative_weight: float = 1.0
    """Weight of a dropped tag as a negative."""
    passed_weight: float = 1.0
    """Weight, as a negative, of a tag that was shown and neither kept nor dropped."""
    unseen_weight: float = 1.0
    """Weight, as a negative, of a tag that the person was not shown; 0 masks it."""
    min_new_count: int = 2
    """Least number of corrections with a new tag before the tagger learns it."""
    base_rate: float = 0.1
    """Share of each step taken by the weights that existed before any correction; 0 freezes them."""
    stand_in_weight: float = 1.0
    """Weight of the distillation on exemplars; 0 turns it off. Stored checkpoints use this name."""
    head_l2: float = 0.3
    """Coefficient of half the squared weights of the new tags' logistic regression."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 1000),
            ("held_out", 0.0, 0.5),
            ("least_gain", 0.0, 1.0),
            ("batch_size", 1, 4096),
            ("learning_rate", 1e-8, 1.0),
            ("list_discount", 0.0, 1.0),
            ("replay_ratio", 0.0, 100.0),
            ("rehearsal_weight", 0.0, 1000.0),
            ("ema_decay", 0.0, 0.99999),
            ("l2_sp", 0.0, 1000.0),
            ("pair_weight", 0.0, 1000.0),
            ("negative_weight", 0.0, 1000.0),
            ("passed_weight", 0.0, 1000.0),
            ("unseen_weight", 0.0, 1.0),
            ("min_new_count", 1, 1_000_000),
            ("base_rate", 0.0, 1.0),
            ("stand_in_weight", 0.0, 1000.0),
            ("head_l2", 1e-6, 1000.0),
        ):
            check_range(self, name, low, high)


@dataclass(frozen=True)
class FinetuneProgress:
    """Progress of a fine-tuning."""

    step: int
    num_steps: int
    loss: float
    """Moving average over the last steps."""
    seconds_left: float


class TrainingCancelledError(TrainingError):
    """The training was cancelled by `should_stop`."""


def finetune(
    live_checkpoint: Path | str,
    corrections: Sequence[Correction],
    replay: Sequence[Correction],
    settings: FinetuneSettings,
    *,
    rehearsal: Features | None = None,
    exemplars: Features | None = None,
    word_vectors: TagVectors | None = None,
    num_base: int | None = None,
    progress: Callable[[FinetuneProgress], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainedTagger:
    """Return a candidate: the live tagger, fine-tuned on the corrections. The live checkpoint is only read.

    Args:
        live_checkpoint: Folder, or "starter/NAME".
        corrections: Fresh ones, with features.
        replay: Earlier ones that the live tagger was trained on.
        settings: Settings of the fine-tuning.
        rehearsal: (M, D) features of untagged photos, for the distillation from the live tagger.
        exemplars: (M, D), see exemplars.py; for the same distillation, with all later tags as negatives.
        word_vectors: Vectors that choose the known tags from which a new tag's rows are mixed; see models/growth.py.
        num_base: Number of tags that the tagger knew before any correction, the first ones; None: all of its tags.
        progress: Called after each step.
        should_stop: Called before each step.

    Raises:
        CheckpointError: The checkpoint cannot be loaded or is no recurrent tagger.
        TrainingError: There is nothing to learn from, or the loss became not finite.
        TrainingCancelledError: `should_stop` returned True.
    """
    live = checkpoint.load_module(live_checkpoint).eval()
    torch.manual_seed(settings.seed)
    fresh = [item for item in corrections if item.tags]
    if not fresh:
        raise TrainingError("No correction holds a tag, so there is nothing to learn from.")
    for item in (*fresh, *replay):
        if item.features.shape != (live.feature_size,) or not np.isfinite(item.features).all():
            raise TrainingError(
                f"The features of photo {item.image_id} are not {live.feature_size} finite numbers; "
                "extract them again with `annotator add`."
            )
    num_base = live.num_tags if num_base is None else num_base
    before = live
    live = _with_new_tags(live, [*fresh, *replay], settings, word_vectors).eval()
    known = {tag_key(tag) for tag in live.vocabulary.tags}
    usable = [item for item in fresh if any(tag_key(tag) in known for tag in item.tags)]
    learnt, held_out = _hold_out(usable, settings)
    fit_head(live, [*learnt, *replay], exemplars if settings.stand_in_weight > 0 else None, num_base, settings.head_l2)
    untagged = _rehearse(before, rehearsal, settings.seed) if settings.rehearsal_weight > 0 else []
    synthetic = _rehearse(before, exemplars, settings.seed) if settings.stand_in_weight > 0 else []
    replayed = [item for item in replay if item.tags]
    run = _Run(live, learnt, held_out, replayed, untagged, synthetic, num_base, settings)
    return run.go(progress, should_stop)


def _hold_out(
    corrections: Sequence[Correction], settings: FinetuneSettings
) -> tuple[list[Correction], list[Correction]]:
    """Return (training corrections, held-out corrections for early stopping).

    Args:
        corrections: Fresh ones with a tag that the tagger knows.
        settings: With the share to hold out; of few corrections none is held out.
    """
    num = int(settings.held_out * len(corrections)) if len(corrections) >= LEAST_TO_HOLD_OUT else 0
    order = np.random.default_rng(settings.seed).permutation(len(corrections)) if num else np.arange(len(corrections))
    return [corrections[at] for at in order[num:]], [corrections[at] for at in order[:num]]


def new_tags(known: Sequence[str], corrections: Sequence[Correction], min_count: int) -> dict[str, int]:
    """Return the tags that a tagger lacks, in their most frequent spelling, with their counts; most frequent first.

    Args:
        known: The tagger's tags.
        corrections: The corrections to count in.
        min_count: Least number of corrections with the tag.
    """
    spellings: dict[str, Counter[str]] = {}
    barred = {tag_key(tag) for tag in known}
    for item in corrections:
        for tag in item.tags:
            if tag_key(tag) not in barred:
                spellings.setdefault(tag_key(tag), Counter())[tag] += 1
    counts = {found.most_common(1)[0][0]: found.total() for found in spellings.values()}
    return dict(sorted(((t, n) for t, n in counts.items() if n >= min_count), key=lambda pair: (-pair[1], pair[0])))


def _with_new_tags(
    live: TrainedTagger, corrections: Sequence[Correction], settings: FinetuneSettings, vectors: TagVectors | None
) -> TrainedTagger:
    found = new_tags(live.vocabulary.tags, corrections, settings.min_new_count)
    if not found:
        return live
    shares = nearest_shares(live.vocabulary.tags, list(found), vectors)
    priors = np.array([count / len(corrections) for count in found.values()], np.float32)
    return grow(live, list(found), list(found.values()), shares, priors)


@dataclass(frozen=True)
class _Example:
    """One training example, with tags as the tagger's ids."""

    features: Tensor
    tags: list[int]
    refused: list[int]
    passed_over: list[int]
    pairs: list[tuple[int, int, int]]
    """(step of the first tag, first tag, second tag)."""


class _Run:
    """The inputs and the loss of one fine-tuning."""

    def __init__(
        self,
        live: TrainedTagger,
        fresh: Sequence[Correction],
        held_out: Sequence[Correction],
        replay: Sequence[Correction],
        rehearsal: "Sequence[_Example]",
        exemplars: "Sequence[_Example]",
        num_base: int,
        settings: FinetuneSettings,
    ) -> None:
        self.live, self.settings, self.num_base = live, settings, num_base
        self.tagger = deepcopy(live).train()
        self._ids = {tag_key(tag): number for number, tag in enumerate(live.vocabulary.tags)}
        self.fresh = [example for example in map(self._example, fresh) if example.tags]
        self.held_out = [example for example in map(self._example, held_out) if example.tags]
        self.replay = [example for example in map(self._example, replay) if example.tags]
        if not self.fresh:
            raise TrainingError("No correction holds a tag that two photos share, so there is nothing to learn yet.")
        self.rng = np.random.default_rng(settings.seed)
        self.rehearsal, self.exemplars = rehearsal, exemplars
        self.rates = learning_rates(self.tagger, num_base, settings.base_rate)
        self.anchors = [parameter.detach().clone() for parameter in self.tagger.parameters()]

    def _encode(self, tags: Sequence[str]) -> list[int]:
        return list(dict.fromkeys(self._ids[key] for key in map(tag_key, tags) if key in self._ids))

    def _example(self, item: Correction) -> _Example:
        tags = self._encode(item.tags)
        pairs = []
        for first, second in item.swapped:
            ids = self._encode([first, second])
            if len(ids) == 2:
                pairs.append((tags.index(ids[0]), ids[0], ids[1]))
        return _Example(
            torch.from_numpy(item.features), tags, self._encode(item.refused), self._encode(item.passed_over), pairs
        )

    def go(self, progress: Callable[[FinetuneProgress], None] | None, should_stop: Callable[[], bool]) -> TrainedTagger:
        """Run the passes and return the candidate."""
        settings = self.settings
        optimizer = torch.optim.Adam(self.tagger.parameters(), lr=settings.learning_rate)
        average = {name: value.detach().clone() for name, value in self.tagger.named_parameters()}
        num_steps = settings.epochs * math.ceil(len(self.fresh) / settings.batch_size)
        began, losses, step, evaluated = time.monotonic(), 0.0, 0, 0
        best, lowest = deepcopy(self.live), self._held_out_loss(self.live)
        for number in range(settings.epochs):
            for examples, rehearsal, exemplars in self._steps():
                step += 1
                if should_stop():
                    raise TrainingCancelledError("The training was cancelled; the model in use did not change.")
                loss = self._learn(optimizer, examples, rehearsal, exemplars, f"{step} of {num_steps}")
                self._average(average, step)
                losses = loss if step == 1 else 0.9 * losses + 0.1 * loss
                if progress:
                    left = (time.monotonic() - began) / step * (num_steps - step)
                    progress(FinetuneProgress(step, num_steps, losses, left))
            if step - evaluated < STEPS_BETWEEN_EVALUATIONS and number < settings.epochs - 1:
                continue
            evaluated = step
            candidate = deepcopy(self.tagger).eval()
            if settings.ema_decay > 0:
                candidate.load_state_dict(average, strict=False)
            found = self._held_out_loss(candidate)
            if self.held_out and not found <= lowest * (1 - settings.least_gain):  # NaN is no gain
                break
            best, lowest = candidate, found
        return best.eval()

    def _learn(
        self,
        optimizer: torch.optim.Optimizer,
        examples: list[_Example],
        rehearsal: list[_Example],
        exemplars: list[_Example],
        where: str,
    ) -> float:
        """Take one step; return its loss."""
        loss = self._loss(examples, rehearsal, exemplars)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.tagger.parameters(), CLIP_NORM)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise TrainingError(
                f"The loss was not a finite number at step {where}; the candidate was discarded "
                "and the model in use did not change. Lower the learning rate."
            )
        self._step(optimizer)
        return loss.item()

    @torch.no_grad()
    def _held_out_loss(self, tagger: TrainedTagger) -> float:
        """Return the mean list loss on the held-out corrections; 0 without any."""
        total = 0.0
        for start in range(0, len(self.held_out), self.settings.batch_size):
            examples = self.held_out[start : start + self.settings.batch_size]
            total += self._list_loss(tagger, examples)[0].item() * len(examples)
        return total / max(1, len(self.held_out))

    def _step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take each parameter's share of the step. Scaling the loss has no effect: Adam normalises gradients."""
        before = {name: value.detach().clone() for name, value in self.tagger.named_parameters()}
        optimizer.step()
        with torch.no_grad():
            for name, parameter in self.tagger.named_parameters():
                parameter.copy_(torch.lerp(before[name], parameter, self.rates[name].expand_as(parameter)))

    @torch.no_grad()
    def _average(self, average: dict[str, Tensor], step: int) -> None:
        # A smaller decay in the first steps, or the average would stay near the live weights.
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step))
        for name, parameter in self.tagger.named_parameters():
            average[name].lerp_(parameter, 1 - decay)

    def _steps(self) -> Iterator[tuple[list[_Example], list[_Example], list[_Example]]]:
        """Yield, for each step of one pass, (fresh and replayed examples, untagged photos, exemplars)."""
        size = self.settings.batch_size
        order = self.rng.permutation(len(self.fresh))
        for start in range(0, len(order), size):
            fresh = [self.fresh[at] for at in order[start : start + size]]
            num = round(len(fresh) * self.settings.replay_ratio)
            # With fewer old corrections than that, untagged photos make up the number.
            num_old = min(num, len(self.replay))
            old = [self.replay[at] for at in self.rng.choice(len(self.replay), num_old, replace=False)]
            rehearsed = self._choose(self.rehearsal, num - num_old)
            yield [*fresh, *old], rehearsed, self._choose(self.exemplars, math.ceil(len(fresh) / 2))

    def _choose(self, examples: Sequence[_Example], num: int) -> list[_Example]:
        return [examples[at] for at in self.rng.choice(len(examples), min(num, len(examples)), replace=False)]

    def _loss(self, examples: list[_Example], rehearsal: list[_Example], exemplars: list[_Example]) -> Tensor:
        settings = self.settings
        examples = sorted(
            examples, key=lambda example: -len(example.tags)
        )  # in the order of make_batch, so that rows agree
        loss, outputs, batch = self._list_loss(self.tagger, examples)
        if outputs.penalty is not None:
            loss = loss + outputs.penalty
        loss = loss + self._pair_loss(outputs, examples) + self._refusal_loss(outputs, batch, examples)
        if rehearsal:
            loss = loss + settings.rehearsal_weight * self._rehearsal_loss(rehearsal, is_exemplar=False)
        if exemplars:
            loss = loss + settings.stand_in_weight * self._rehearsal_loss(exemplars, is_exemplar=True)
        if settings.l2_sp > 0:
            moved = sum(
                (now - then).square().sum() for now, then in zip(self.tagger.parameters(), self.anchors, strict=True)
            )
            loss = loss + settings.l2_sp / 2 * moved
        return loss

    def _list_loss(self, tagger: TrainedTagger, examples: list[_Example]) -> tuple[Tensor, Outputs, Batch]:
        """Return the list-wise and concept loss, with the outputs and the batch."""
        examples = sorted(examples, key=lambda example: -len(example.tags))
        batch = self._batch(examples)
        outputs = tagger(batch, "joint")
        seen = self._seen_logits(outputs.logits, examples)
        loss = list_wise_loss(seen, batch.targets, self.settings.list_discount).mean()
        if outputs.concept_logits is not None:
            errors = F.binary_cross_entropy_with_logits(outputs.concept_logits, batch.labels, reduction="none")
            loss = loss + (errors * batch.weights).sum() / len(examples)
        return loss, outputs, batch

    def _batch(self, examples: list[_Example]) -> Batch:
        weights = torch.full((len(examples), self.tagger.num_tags), self.settings.unseen_weight)
        for row, example in enumerate(examples):
            weights[row, example.passed_over] = self.settings.passed_weight
            weights[row, example.refused] = self.settings.negative_weight
            weights[row, example.tags] = 1.0
        features = torch.stack([example.features for example in examples])
        return make_batch(features, [example.tags for example in examples], self.tagger.num_tags, weights=weights)

    def _seen_logits(self, logits: Tensor, examples: list[_Example]) -> Tensor:
        """Down-weight tags that were not shown in the softmax, by adding the log of their weight to the logits."""
        weight = self.settings.unseen_weight
        offset = torch.full((len(examples), logits.shape[2]), math.log(weight) if weight > 0 else NO_LOGIT)
        offset[:, self.tagger.num_tags :] = 0.0  # END is never masked
        for row, example in enumerate(examples):
            offset[row, [*example.tags, *example.refused, *example.passed_over]] = 0.0
        return logits + offset[:, None]

    def _pair_loss(self, outputs: Outputs, examples: list[_Example]) -> Tensor:
        """Burges et al., eq. 3: log(1 + exp(-(s_first - s_second))), at the step where the first was chosen."""
        rows = [
            (row, step, first, second) for row, example in enumerate(examples) for step, first, second in example.pairs
        ]
        if not rows or self.settings.pair_weight == 0:
            return outputs.logits.new_zeros(())
        row, step, first, second = torch.tensor(rows).T
        gap = outputs.logits[row, step, first] - outputs.logits[row, step, second]
        return self.settings.pair_weight * F.softplus(-gap).sum() / len(examples)

    def _refusal_loss(self, outputs: Outputs, batch: Batch, examples: list[_Example]) -> Tensor:
        """-log(1 - p) of each dropped tag at every step of the list."""
        pairs = [(row, tag) for row, example in enumerate(examples) for tag in example.refused]
        if not pairs or self.settings.negative_weight == 0:
            return outputs.logits.new_zeros(())
        row, tag = torch.tensor(pairs).T
        chances = torch.softmax(outputs.logits, dim=2)[row, :, tag]  # (N, T)
        is_real = batch.targets[row] != PADDING
        errors = -torch.log1p(-chances.clamp(max=1 - 1e-6)) * is_real
        return self.settings.negative_weight * errors.sum() / len(examples)

    def _rehearsal_loss(self, examples: list[_Example], *, is_exemplar: bool) -> Tensor:
        """Return the distillation loss: cross-entropy with the live tagger's probabilities, for steps and concepts.

        On untagged photos only the base tags count, since later tags may be right there; on exemplars later tags are
        negatives.
        """
        examples = sorted(examples, key=lambda example: -len(example.tags))
        batch = self._batch(examples)
        with torch.no_grad():
            then = self.live(batch, "joint")
        now = self.tagger(batch, "joint")
        is_real = (batch.targets != PADDING)[:, :, None]
        later = slice(self.num_base, self.tagger.num_tags)
        offset = torch.zeros(now.logits.shape[2])
        offset[later] = NO_LOGIT
        now_logits = now.logits if is_exemplar else now.logits + offset
        errors = torch.softmax(then.logits + offset, dim=2) * torch.log_softmax(now_logits, dim=2).clamp(min=NO_LOGIT)
        loss = -(errors * is_real).sum() / len(examples)
        if now.concept_logits is not None and then.concept_logits is not None:
            chances = torch.sigmoid(then.concept_logits)
            chances[:, later] = 0.0
            concept = F.binary_cross_entropy_with_logits(now.concept_logits, chances, reduction="none")
            if not is_exemplar:
                concept = concept[:, : self.num_base]
            loss = loss + concept.sum() / len(examples)
        return loss


def fit_head(
    tagger: TrainedTagger, corrections: Sequence[Correction], exemplars: Features | None, num_base: int, l2: float
) -> None:
    """Set the concept rows of later tags to a logistic regression on the features; no other weight changes.

    Args:
        tagger: Changed in place; without a concept layer it stays as it is.
        corrections: All corrections, earlier ones included.
        exemplars: (M, D), negatives for all these tags; in total they weigh as much as the corrections.
        num_base: Number of the first tags, whose rows do not change.
        l2: Coefficient of half the squared weights.
    """
    concept = tagger.concept
    if concept is None or num_base >= tagger.num_tags:
        return
    ids = {tag_key(tag): number - num_base for number, tag in enumerate(tagger.vocabulary.tags) if number >= num_base}
    labels = torch.zeros(len(corrections), len(ids))
    for row, item in enumerate(corrections):
        labels[row, [ids[key] for key in map(tag_key, item.tags) if key in ids]] = 1.0
    with torch.no_grad():
        features = tagger.scale(torch.from_numpy(np.stack([item.features for item in corrections])))
        others = tagger.scale(torch.from_numpy(exemplars)) if exemplars is not None else features[:0]
    weight = torch.zeros(len(ids), features.shape[1], requires_grad=True)
    bias = torch.logit(labels.mean(dim=0).clamp(LEAST_PRIOR, 0.5)).requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=HEAD_STEPS, history_size=5, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = F.binary_cross_entropy_with_logits(features @ weight.T + bias, labels, reduction="sum")
        value = found / len(features) + l2 / 2 * weight.square().sum()
        if len(others):
            value = value + F.softplus(others @ weight.T + bias).sum() / len(others)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        concept.weight[num_base:] = weight
        concept.bias[num_base:] = bias


def _rehearse(live: TrainedTagger, features: Features | None, seed: int) -> list[_Example]:
    """Return examples of up to MOST_REHEARSED feature vectors with the live tagger's lists as tags."""
    if features is None or not len(features):
        return []
    features = features[np.random.default_rng(seed).permutation(len(features))[:MOST_REHEARSED]]
    known = {tag: number for number, tag in enumerate(live.vocabulary.tags)}
    lists = live.decode(features, [()] * len(features), k=REHEARSED_TAGS)
    return [
        _Example(torch.from_numpy(row), [known[item.tag] for item in ranked], [], [], [])
        for row, ranked in zip(features, lists, strict=True)
        if ranked
    ]
