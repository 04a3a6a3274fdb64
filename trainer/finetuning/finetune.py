"""Fine-tuning of a trained recurrent tagger on people's corrections.

Of each correction it learns the final order (list-wise), the pairs that the person swapped (logistic), and that what
they dropped is not there. What nobody was asked about is masked. To keep what the tagger knew, it learns one replayed
example for each correction, is pulled towards the live weights (L2-SP) and ends with an average of the weights it
passed through (EMA). Tags that it lacks get rows of their own, which begin as a logistic regression on the features and
learn at full speed, while everything else moves slowly; on photos that nobody has tagged, and on stand-ins for photos
of other things, it is to say what the live tagger said. Each part is a setting.
Papers: Li, Grandvalet, Davoine, "Explicit Inductive Bias for Transfer Learning", 2018 (L2-SP, eq. 3); Buzzega et al.,
    "Dark Experience for General Continual Learning", 2020 (eq. 4: the old model's outputs on replayed photos);
    Burges et al., "Learning to Rank using Gradient Descent", 2005 (the pairs' loss, eq. 3).
Knows nothing of files, databases or pages.
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
from annotator.errors import ConfigError, TrainingError
from annotator.models import checkpoint
from annotator.models.growth import LEAST_PRIOR, TagVectors, grow, learning_rates, nearest_shares
from annotator.models.sequence.trained_tagger import PADDING, Batch, Outputs, TrainedTagger, make_batch
from annotator.models.tagger import Features
from annotator.trainer.finetuning.corrections import Correction
from annotator.trainer.losses import list_wise_loss

CLIP_NORM = 5.0
NO_LOGIT = -1e9
LEAST_TO_HOLD_OUT = 50
"""Fresh corrections below which none is held out: a few lists tell nothing."""
STEPS_TO_JUDGE = 28
"""Least steps between two looks at the held-out corrections: fewer cannot bring the gain that is asked for."""
HEAD_STEPS = 60
"""Most iterations of a new tag's logistic regression."""
MOST_REHEARSED = 256
"""Photos, and stand-ins, for which the live tagger makes a list: each takes longer than a step learns from it."""
REHEARSED_TAGS = 3
"""Tags of a list that the live tagger itself made, for a photo that nobody has tagged."""


@dataclass(frozen=True)
class FinetuneSettings:
    """How a tagger learns from corrections; kept with its checkpoint."""

    seed: int = 0
    epochs: int = 20
    """Most passes over the fresh corrections."""
    held_out: float = 0.1
    """Share of the fresh corrections that is not learnt from, to choose after which pass to stop; 0 makes all passes.
    At home a pass or two is enough, and more unlearn; in a new domain all are needed."""
    least_gain: float = 0.005
    """Share by which the passes since the last look must lower the loss on these, or they are the last and not kept."""
    batch_size: int = 32
    """Fresh corrections in a step; the replayed ones come beside them."""
    learning_rate: float = 5e-4
    list_discount: float = 0.3
    """What the next place is worth against this one."""
    replay_ratio: float = 1.0
    """Replayed examples for each fresh correction; 0 replays none."""
    rehearsal_weight: float = 1.0
    """Weight of staying with the live tagger's outputs on photos that nobody has tagged; 0 does without."""
    ema_decay: float = 0.98
    """Of the average of the weights, a step; 0 takes the last weights."""
    l2_sp: float = 0.01
    """Weight of half the squared distance to the live weights."""
    pair_weight: float = 0.3
    """Weight of the pairs that a person swapped."""
    negative_weight: float = 1.0
    """Weight of a tag that was dropped, as absent."""
    passed_weight: float = 1.0
    """Weight, as absent, of a tag that was shown and not kept."""
    unseen_weight: float = 1.0
    """Weight, as absent, of a tag that the person was not shown; 0 masks it wholly."""
    min_new_count: int = 2
    """Corrections that must carry a tag before the tagger learns it."""
    base_rate: float = 0.1
    """Share of each step that the weights take which the tagger had before any correction; 0 freezes them."""
    stand_in_weight: float = 1.0
    """Weight of staying with the live tagger on stand-ins for other photos; 0 does without."""
    head_l2: float = 0.3
    """Weight of half the squared weights of the logistic regression with which a new tag begins."""

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
            value = getattr(self, name)
            if not low <= value <= high:  # also refuses NaN
                raise ConfigError(f"{name} must lie between {low:g} and {high:g}, got {value!r}.")


@dataclass(frozen=True)
class FinetuneProgress:
    """How far a fine-tuning is."""

    step: int
    num_steps: int
    loss: float
    """Mean of the last steps."""
    seconds_left: float


class TrainingCancelledError(TrainingError):
    """Somebody asked the training to stop."""


def finetune(
    live_checkpoint: Path | str,
    corrections: Sequence[Correction],
    replay: Sequence[Correction],
    settings: FinetuneSettings,
    *,
    rehearsal: Features | None = None,
    stand_ins: Features | None = None,
    word_vectors: TagVectors | None = None,
    num_base: int | None = None,
    progress: Callable[[FinetuneProgress], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainedTagger:
    """Return a candidate: the live tagger, taught the corrections. The live checkpoint is only read.

    Args:
        live_checkpoint: Folder, or "starter/NAME".
        corrections: The fresh ones, with features.
        replay: Old ones that the live tagger has learnt from.
        settings: How.
        rehearsal: (M, D) features of photos that nobody has tagged; on them the candidate is to say what the live
            tagger says.
        stand_ins: (M, D) features in place of photos of other things (trainer/finetuning/exemplars.py), on which it is to say the same,
            and none of its later tags.
        word_vectors: Of which known tags a new tag's rows are mixed; see models/growth.py.
        num_base: How many tags, the first, the tagger knew before any correction; None: all that it knows.
        progress: Called after each step.
        should_stop: Asked before each step.

    Raises:
        CheckpointError: The checkpoint cannot be loaded or is no recurrent tagger.
        TrainingError: There is nothing to learn from, or the loss was not finite.
        TrainingCancelledError: `should_stop` said so.
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
    fit_head(live, [*learnt, *replay], stand_ins if settings.stand_in_weight > 0 else None, num_base, settings.head_l2)
    kept = _rehearse(before, rehearsal, settings.seed) if settings.rehearsal_weight > 0 else []
    others = _rehearse(before, stand_ins, settings.seed) if settings.stand_in_weight > 0 else []
    replayed = [item for item in replay if item.tags]
    run = _Run(live, learnt, held_out, replayed, kept, others, num_base, settings)
    return run.go(progress, should_stop)


def _hold_out(
    corrections: Sequence[Correction], settings: FinetuneSettings
) -> tuple[list[Correction], list[Correction]]:
    """Return (the corrections that `finetune` learns from, those by which it knows when to stop).

    Args:
        corrections: The fresh ones with a tag that the tagger knows.
        settings: With the share that is held out; of few corrections none is.
    """
    num = int(settings.held_out * len(corrections)) if len(corrections) >= LEAST_TO_HOLD_OUT else 0
    order = np.random.default_rng(settings.seed).permutation(len(corrections)) if num else np.arange(len(corrections))
    return [corrections[at] for at in order[num:]], [corrections[at] for at in order[:num]]


def new_tags(known: Sequence[str], corrections: Sequence[Correction], min_count: int) -> dict[str, int]:
    """Return the tags that a tagger lacks, as they are spelled most often, with their counts; the most frequent first.

    Args:
        known: The tagger's tags.
        corrections: In how many of these a tag must occur.
        min_count: So many.
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
class _Lesson:
    """One correction in the tagger's own numbers."""

    features: Tensor
    tags: list[int]
    refused: list[int]
    passed_over: list[int]
    pairs: list[tuple[int, int, int]]
    """(step at which the first stands, first, second)."""


class _Run:
    """One fine-tuning: what it needs, and its parts of the loss."""

    def __init__(
        self,
        live: TrainedTagger,
        fresh: Sequence[Correction],
        held_out: Sequence[Correction],
        replay: Sequence[Correction],
        rehearsal: "Sequence[_Lesson]",
        stand_ins: "Sequence[_Lesson]",
        num_base: int,
        settings: FinetuneSettings,
    ) -> None:
        self.live, self.settings, self.num_base = live, settings, num_base
        self.tagger = deepcopy(live).train()
        self._ids = {tag_key(tag): number for number, tag in enumerate(live.vocabulary.tags)}
        self.fresh = [lesson for lesson in map(self._lesson, fresh) if lesson.tags]
        self.held_out = [lesson for lesson in map(self._lesson, held_out) if lesson.tags]
        self.replay = [lesson for lesson in map(self._lesson, replay) if lesson.tags]
        if not self.fresh:
            raise TrainingError("No correction holds a tag that two photos share, so there is nothing to learn yet.")
        self.rng = np.random.default_rng(settings.seed)
        self.rehearsal, self.stand_ins = rehearsal, stand_ins
        self.rates = learning_rates(self.tagger, num_base, settings.base_rate)
        self.anchors = [parameter.detach().clone() for parameter in self.tagger.parameters()]

    def _encode(self, tags: Sequence[str]) -> list[int]:
        return list(dict.fromkeys(self._ids[key] for key in map(tag_key, tags) if key in self._ids))

    def _lesson(self, item: Correction) -> _Lesson:
        tags = self._encode(item.tags)
        pairs = []
        for first, second in item.swapped:
            ids = self._encode([first, second])
            if len(ids) == 2:
                pairs.append((tags.index(ids[0]), ids[0], ids[1]))
        return _Lesson(
            torch.from_numpy(item.features), tags, self._encode(item.refused), self._encode(item.passed_over), pairs
        )

    def go(self, progress: Callable[[FinetuneProgress], None] | None, should_stop: Callable[[], bool]) -> TrainedTagger:
        """Make the passes and return the candidate."""
        settings = self.settings
        optimizer = torch.optim.Adam(self.tagger.parameters(), lr=settings.learning_rate)
        average = {name: value.detach().clone() for name, value in self.tagger.named_parameters()}
        num_steps = settings.epochs * math.ceil(len(self.fresh) / settings.batch_size)
        began, losses, step, judged = time.monotonic(), 0.0, 0, 0
        best, lowest = deepcopy(self.live), self._held_out_loss(self.live)
        for number in range(settings.epochs):
            for lessons, rehearsal, stand_ins in self._steps():
                step += 1
                if should_stop():
                    raise TrainingCancelledError("The training was cancelled; the model in use did not change.")
                loss = self._learn(optimizer, lessons, rehearsal, stand_ins, f"{step} of {num_steps}")
                self._average(average, step)
                losses = loss if step == 1 else 0.9 * losses + 0.1 * loss
                if progress:
                    left = (time.monotonic() - began) / step * (num_steps - step)
                    progress(FinetuneProgress(step, num_steps, losses, left))
            if step - judged < STEPS_TO_JUDGE and number < settings.epochs - 1:
                continue
            judged = step
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
        lessons: list[_Lesson],
        rehearsal: list[_Lesson],
        stand_ins: list[_Lesson],
        where: str,
    ) -> float:
        """Take one step; return its loss."""
        loss = self._loss(lessons, rehearsal, stand_ins)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.tagger.parameters(), CLIP_NORM)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise TrainingError(
                f"The loss was not a finite number at step {where}; the candidate was thrown away "
                "and the model in use did not change. Lower the learning rate."
            )
        self._step(optimizer)
        return loss.item()

    @torch.no_grad()
    def _held_out_loss(self, tagger: TrainedTagger) -> float:
        """Return how badly a tagger tells the lists that nobody learns from; 0 where there are none."""
        total = 0.0
        for start in range(0, len(self.held_out), self.settings.batch_size):
            lessons = self.held_out[start : start + self.settings.batch_size]
            total += self._list_loss(tagger, lessons)[0].item() * len(lessons)
        return total / max(1, len(self.held_out))

    def _step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step, and take back the share that a parameter is not to take. Adam's step is blind to its loss's scale."""
        before = {name: value.detach().clone() for name, value in self.tagger.named_parameters()}
        optimizer.step()
        with torch.no_grad():
            for name, parameter in self.tagger.named_parameters():
                parameter.copy_(torch.lerp(before[name], parameter, self.rates[name].expand_as(parameter)))

    @torch.no_grad()
    def _average(self, average: dict[str, Tensor], step: int) -> None:
        # Young averages forget faster, or they would stay at the live weights.
        decay = min(self.settings.ema_decay, (1 + step) / (10 + step))
        for name, parameter in self.tagger.named_parameters():
            average[name].lerp_(parameter, 1 - decay)

    def _steps(self) -> Iterator[tuple[list[_Lesson], list[_Lesson], list[_Lesson]]]:
        """Yield each step's lessons of one pass: fresh with replayed ones, and what is rehearsed: photos, stand-ins."""
        size = self.settings.batch_size
        order = self.rng.permutation(len(self.fresh))
        for start in range(0, len(order), size):
            fresh = [self.fresh[at] for at in order[start : start + size]]
            num = round(len(fresh) * self.settings.replay_ratio)
            # Where there are fewer old corrections than that, photos nobody has tagged stand in for them.
            num_old = min(num, len(self.replay))
            old = [self.replay[at] for at in self.rng.choice(len(self.replay), num_old, replace=False)]
            rehearsed = self._choose(self.rehearsal, num - num_old)
            yield [*fresh, *old], rehearsed, self._choose(self.stand_ins, math.ceil(len(fresh) / 2))

    def _choose(self, lessons: Sequence[_Lesson], num: int) -> list[_Lesson]:
        return [lessons[at] for at in self.rng.choice(len(lessons), min(num, len(lessons)), replace=False)]

    def _loss(self, lessons: list[_Lesson], rehearsal: list[_Lesson], stand_ins: list[_Lesson]) -> Tensor:
        settings = self.settings
        lessons = sorted(lessons, key=lambda lesson: -len(lesson.tags))  # as make_batch sorts, so that rows agree
        loss, outputs, batch = self._list_loss(self.tagger, lessons)
        if outputs.penalty is not None:
            loss = loss + outputs.penalty
        loss = loss + self._pair_loss(outputs, lessons) + self._refusal_loss(outputs, batch, lessons)
        if rehearsal:
            loss = loss + settings.rehearsal_weight * self._rehearsal_loss(rehearsal, is_stand_in=False)
        if stand_ins:
            loss = loss + settings.stand_in_weight * self._rehearsal_loss(stand_ins, is_stand_in=True)
        if settings.l2_sp > 0:
            moved = sum(
                (now - then).square().sum() for now, then in zip(self.tagger.parameters(), self.anchors, strict=True)
            )
            loss = loss + settings.l2_sp / 2 * moved
        return loss

    def _list_loss(self, tagger: TrainedTagger, lessons: list[_Lesson]) -> tuple[Tensor, Outputs, Batch]:
        """Return the loss of the lists, and of what is in the photo; with what it was computed from."""
        lessons = sorted(lessons, key=lambda lesson: -len(lesson.tags))
        batch = self._batch(lessons)
        outputs = tagger(batch, "joint")
        seen = self._seen_logits(outputs.logits, lessons)
        loss = list_wise_loss(seen, batch.targets, self.settings.list_discount).mean()
        if outputs.concept_logits is not None:
            errors = F.binary_cross_entropy_with_logits(outputs.concept_logits, batch.labels, reduction="none")
            loss = loss + (errors * batch.weights).sum() / len(lessons)
        return loss, outputs, batch

    def _batch(self, lessons: list[_Lesson]) -> Batch:
        weights = torch.full((len(lessons), self.tagger.num_tags), self.settings.unseen_weight)
        for row, lesson in enumerate(lessons):
            weights[row, lesson.passed_over] = self.settings.passed_weight
            weights[row, lesson.refused] = self.settings.negative_weight
            weights[row, lesson.tags] = 1.0
        features = torch.stack([lesson.features for lesson in lessons])
        return make_batch(features, [lesson.tags for lesson in lessons], self.tagger.num_tags, weights=weights)

    def _seen_logits(self, logits: Tensor, lessons: list[_Lesson]) -> Tensor:
        """Let tags that were not shown count for less in the softmax: log-weights added to their logits."""
        weight = self.settings.unseen_weight
        offset = torch.full((len(lessons), logits.shape[2]), math.log(weight) if weight > 0 else NO_LOGIT)
        offset[:, self.tagger.num_tags :] = 0.0  # END is always there to be chosen
        for row, lesson in enumerate(lessons):
            offset[row, [*lesson.tags, *lesson.refused, *lesson.passed_over]] = 0.0
        return logits + offset[:, None]

    def _pair_loss(self, outputs: Outputs, lessons: list[_Lesson]) -> Tensor:
        """Burges et al., eq. 3: log(1 + exp(-(s_first - s_second))), at the step where the first was chosen."""
        rows = [
            (row, step, first, second) for row, lesson in enumerate(lessons) for step, first, second in lesson.pairs
        ]
        if not rows or self.settings.pair_weight == 0:
            return outputs.logits.new_zeros(())
        row, step, first, second = torch.tensor(rows).T
        gap = outputs.logits[row, step, first] - outputs.logits[row, step, second]
        return self.settings.pair_weight * F.softplus(-gap).sum() / len(lessons)

    def _refusal_loss(self, outputs: Outputs, batch: Batch, lessons: list[_Lesson]) -> Tensor:
        """-log(1 - p) of each dropped tag at every step of the list."""
        pairs = [(row, tag) for row, lesson in enumerate(lessons) for tag in lesson.refused]
        if not pairs or self.settings.negative_weight == 0:
            return outputs.logits.new_zeros(())
        row, tag = torch.tensor(pairs).T
        chances = torch.softmax(outputs.logits, dim=2)[row, :, tag]  # (N, T)
        is_real = batch.targets[row] != PADDING
        errors = -torch.log1p(-chances.clamp(max=1 - 1e-6)) * is_real
        return self.settings.negative_weight * errors.sum() / len(lessons)

    def _rehearsal_loss(self, lessons: list[_Lesson], *, is_stand_in: bool) -> Tensor:
        """Stay with what the live tagger says: cross-entropy with its probabilities, at each step and each concept.

        Of the project's own photos only the base tags count, since others may well be right there; on a stand-in
        every other tag is wrong.
        """
        lessons = sorted(lessons, key=lambda lesson: -len(lesson.tags))
        batch = self._batch(lessons)
        with torch.no_grad():
            then = self.live(batch, "joint")
        now = self.tagger(batch, "joint")
        is_real = (batch.targets != PADDING)[:, :, None]
        later = slice(self.num_base, self.tagger.num_tags)
        offset = torch.zeros(now.logits.shape[2])
        offset[later] = NO_LOGIT
        now_logits = now.logits if is_stand_in else now.logits + offset
        errors = torch.softmax(then.logits + offset, dim=2) * torch.log_softmax(now_logits, dim=2).clamp(min=NO_LOGIT)
        loss = -(errors * is_real).sum() / len(lessons)
        if now.concept_logits is not None and then.concept_logits is not None:
            chances = torch.sigmoid(then.concept_logits)
            chances[:, later] = 0.0
            concept = F.binary_cross_entropy_with_logits(now.concept_logits, chances, reduction="none")
            if not is_stand_in:
                concept = concept[:, : self.num_base]
            loss = loss + concept.sum() / len(lessons)
        return loss


def fit_head(
    tagger: TrainedTagger, corrections: Sequence[Correction], stand_ins: Features | None, num_base: int, l2: float
) -> None:
    """Let the concept rows of later tags be a logistic regression on the features; no other weight changes.

    Args:
        tagger: Changed in place; without a concept layer it stays as it is.
        corrections: Every one there is, old ones too.
        stand_ins: (M, D), on which none of these tags is right; together they weigh as much as the corrections.
        num_base: Of the tags, the first, which stay.
        l2: Weight of half the squared weights.
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
        others = tagger.scale(torch.from_numpy(stand_ins)) if stand_ins is not None else features[:0]
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


def _rehearse(live: TrainedTagger, features: Features | None, seed: int) -> list[_Lesson]:
    """Return the live tagger's own lists for some photos that nobody has tagged, or for their stand-ins."""
    if features is None or not len(features):
        return []
    features = features[np.random.default_rng(seed).permutation(len(features))[:MOST_REHEARSED]]
    known = {tag: number for number, tag in enumerate(live.vocabulary.tags)}
    lists = live.decode(features, [()] * len(features), k=REHEARSED_TAGS)
    return [
        _Lesson(torch.from_numpy(row), [known[item.tag] for item in ranked], [], [], [])
        for row, ranked in zip(features, lists, strict=True)
        if ranked
    ]
