"""The promotion test: does a candidate save user actions on corrections that neither it nor the live model has seen?

For each model the held-back corrections are replayed with the user policy of trainer/evaluation/effort.py. The
candidate passes if the paired bootstrap interval of the actions saved a photo lies above 0, and if its loss on the gold
photos alone, which no model is ever trained on, is within a margin. Knows nothing of taggers: it takes proposers.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from annotator.datasets.tags import tag_key
from annotator.ranges import check_range
from annotator.trainer.evaluation.effort import Action, ActionCosts, Offer, actions_needed, total
from annotator.trainer.evaluation.metrics import ndcg_at
from annotator.trainer.finetuning.corrections import Correction

DEPTH = 10
"""NDCG is the mean over k = 1 .. 10."""
MOST_REGRESSIONS = 10
"""Tags that the verdict names."""


class ReplayedModel(Protocol):
    """The proposals and completions of the user interface with one model."""

    def propose(self, image_id: int, kept: Sequence[str], dropped: Sequence[str]) -> Offer:
        """Return the proposals after an edit."""
        ...

    def complete(self, image_id: int, text: str, kept: Sequence[str]) -> Sequence[str]:
        """Return completions of typed text, best first."""
        ...


@dataclass(frozen=True)
class PromotionRule:
    """The conditions under which a candidate is promoted."""

    least_photos: int = 10
    """Least number of held-back corrections."""
    confidence: float = 0.9
    """Confidence level of the two-sided interval."""
    gold_margin: float = 0.1
    """Most actions a photo that the candidate may cost more on the gold split."""
    num_samples: int = 2000
    """Bootstrap samples."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, "least_photos", 1, 1_000_000)
        check_range(self, "confidence", 0.5, 0.999)
        check_range(self, "gold_margin", 0, 100)
        check_range(self, "num_samples", 100, 1_000_000)


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelFigures:
    """Results of one model on all held-back photos."""

    actions_per_photo: float
    ndcg: float
    """Graded, mean of k = 1 .. 10, of the list before any edit."""


@dataclass(frozen=True)
class TagChange:
    """Mean cost of one tag with each model, in actions for each photo that has it."""

    tag: str
    num: int
    live: float
    candidate: float


@dataclass(frozen=True)
class Verdict:
    """Result of the promotion test; stored in full."""

    is_promoted: bool
    sentence: str
    """The result in words, for the user."""
    findings: str
    """The measured difference between the models, as a clause; empty if too few corrections were held back."""
    num_gold: int
    num_newest: int
    live: ModelFigures | None = None
    candidate: ModelFigures | None = None
    saved: Interval | None = None
    """Actions saved a photo, on all held-back photos."""
    gold_saved: Interval | None = None
    regressions: list[TagChange] = field(default_factory=list)
    """Tags that cost more with the candidate, the largest total first."""
    rule: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return asdict(self)


def judge(
    live: ReplayedModel,
    candidate: ReplayedModel,
    gold: Sequence[Correction],
    newest: Sequence[Correction],
    rule: PromotionRule,
    *,
    costs: ActionCosts | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Compare two models on held-back corrections.

    Args:
        live: Proposals with the model in use.
        candidate: Proposals with the new model.
        gold: Corrections that no model is ever trained on.
        newest: Corrections that are not trained on yet.
        rule: Conditions of promotion.
        costs: What one key of the interface reaches.
        progress: Called with (photos done, photos in all).
    """
    photos = [item for item in (*gold, *newest) if item.tags]
    num_gold = sum(1 for item in gold if item.tags)
    num_newest = len(photos) - num_gold
    if len(photos) < rule.least_photos:
        return Verdict(
            False,
            f"Not promoted: {len(photos)} held-back corrections are too few to judge by; {rule.least_photos} are "
            "needed. Tag more photos that look unlike those learnt from.",
            "", num_gold, num_newest, rule=asdict(rule),
        )  # fmt: skip
    replays: list[tuple[list[Action], list[Action]]] = []
    lists: tuple[list[Sequence[str]], list[Sequence[str]]] = ([], [])
    for number, item in enumerate(photos, start=1):
        replays.append((_replay(live, item, costs), _replay(candidate, item, costs)))
        for model, proposals in zip((live, candidate), lists, strict=True):
            proposals.append([tag_key(tag) for tag in model.propose(item.image_id, (), ()).tags])
        if progress:
            progress(number, len(photos))
    spent = np.array([[total(actions) for actions in pair] for pair in replays], np.float64)  # (N, 2)
    saved = spent[:, 0] - spent[:, 1]
    wanted = [[tag_key(tag) for tag in item.tags] for item in photos]
    figures = [ModelFigures(float(spent[:, side].mean()), _ndcg(lists[side], wanted)) for side in (0, 1)]
    interval = bootstrap(saved, rule)
    gold_interval = bootstrap(saved[:num_gold], rule) if num_gold else None
    findings = _findings(interval, figures, len(photos), rule)
    refusal = _refusal(interval, gold_interval, num_gold, rule)
    sentence = f"Not promoted: the new model takes {findings}; {refusal}." if refusal else f"Promoted: {findings}."
    return Verdict(
        not refusal, sentence, findings, num_gold, num_newest, figures[0], figures[1], interval, gold_interval,
        regressions([item.tags for item in photos], replays), asdict(rule),
    )  # fmt: skip


def _replay(model: ReplayedModel, item: Correction, costs: ActionCosts | None) -> list[Action]:
    return actions_needed(
        item.tags,
        lambda kept, dropped: model.propose(item.image_id, kept, dropped),
        lambda text, kept: model.complete(item.image_id, text, kept),
        costs,
    )


def _ndcg(ranked: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> float:
    return float(np.mean([ndcg_at(list(ranked), list(wanted), k, "graded") for k in range(1, DEPTH + 1)]))


def bootstrap(values: "np.typing.NDArray[np.float64]", rule: PromotionRule) -> Interval:
    """Return the mean and its percentile bootstrap interval; photos are drawn with replacement."""
    rng = np.random.default_rng(rule.seed)
    means = values[rng.integers(0, len(values), (rule.num_samples, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - rule.confidence) / 2, (1 + rule.confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def _findings(saved: Interval, figures: Sequence[ModelFigures], num_photos: int, rule: PromotionRule) -> str:
    new, present = (f"{side.actions_per_photo:.2f}" for side in (figures[1], figures[0]))
    compared = f"instead of {present}" if new != present else "as the present one does"
    return (
        f"{new} actions a photo {compared} on {num_photos} held-back photos ({saved.mean:+.2f} saved, "
        f"{rule.confidence:.0%} interval {saved.low:+.2f} to {saved.high:+.2f})"
    )


def _refusal(saved: Interval, gold: Interval | None, num_gold: int, rule: PromotionRule) -> str:
    """Return why the candidate fails, as a clause; empty if it passes."""
    if gold is not None and gold.mean < -rule.gold_margin:
        return (
            f"on {num_gold} gold photos it costs {-gold.mean:.2f} actions a photo more, and {rule.gold_margin:g} are "
            "allowed"
        )
    if saved.low > 0:
        return ""
    if saved.mean < 0:
        return "it would cost more"
    return "the saving may be chance" if f"{saved.mean:.2f}" != "0.00" else "it would change nothing"


def regressions(
    wanted: Sequence[Sequence[str]], replays: Sequence[tuple[Sequence[Action], Sequence[Action]]]
) -> list[TagChange]:
    """Return the tags that cost more with the candidate, the largest total first.

    Args:
        wanted: The target list of each photo.
        replays: Its actions with the live model and with the candidate. The cost of an action that adds several tags
            is divided among them; dropping an unwanted tag counts for no tag.
    """
    costs: dict[str, list[tuple[float, float]]] = {}
    for tags, (before, after) in zip(wanted, replays, strict=True):
        spent = [_by_tag(actions) for actions in (before, after)]
        for tag in tags:
            costs.setdefault(tag, []).append((spent[0][tag_key(tag)], spent[1][tag_key(tag)]))
    changes = [
        TagChange(tag, len(pairs), float(np.mean([b for b, _ in pairs])), float(np.mean([a for _, a in pairs])))
        for tag, pairs in costs.items()
    ]
    worse = [change for change in changes if change.candidate > change.live + 1e-9]
    worse.sort(key=lambda change: (-(change.candidate - change.live) * change.num, change.tag))
    return worse[:MOST_REGRESSIONS]


def _by_tag(actions: Sequence[Action]) -> Mapping[str, float]:
    spent: defaultdict[str, float] = defaultdict(float)
    for action in actions:
        for tag in action.tags:
            spent[tag_key(tag)] += action.num_actions / len(action.tags)
    return spent
