"""Evaluates a tagger on photos that a person tagged: tag sets, ranking, order, and the effect of given tags.

Knows nothing of checkpoints, files or commands: it takes a tagger, features and tag lists.

Two decisions:
- A tag of the data set that the tagger does not know counts as missed. Ignoring it would favour small vocabularies.
- Set measures use the first k tags, or the list up to the tagger's END (`free_length`). Ranking measures, first tag and
  order always use the ten best tags.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import ConfigError, DataError
from annotator.models.context import Context
from annotator.models.tagger import Features, RankedTag
from annotator.trainer.evaluation import metrics
from annotator.trainer.evaluation.metrics import MAX_K, NeverPredicted

MAX_FREE_LENGTH = 20
"""Longest list with `free_length`."""
REST_K = 5
"""k of the recall with and without the first tag given."""
BATCH_SIZE = 512

UserTags = Sequence[Collection[str]]
"""User tags of each photo, in the order of the features; empty for a tagger that uses none."""


class EvaluatedTagger(Protocol):
    """A tagger with a closed vocabulary."""

    @property
    def name(self) -> str:
        """Registry name."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """Its tags."""
        ...

    def decode(
        self,
        features: Features,
        prefixes: Sequence[Sequence[str]],
        *,
        dropped: Sequence[Collection[str]] = (),
        k: int = 20,
        free_length: bool = False,
    ) -> list[list[RankedTag]]:
        """Continue each image's list; see `annotator.models.tagger.Tagger.decode`."""
        ...


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of an evaluation."""

    k: int = 5
    """Number of predicted tags of each photo."""
    free_length: bool = False
    """Predict the list up to the tagger's END instead of k tags."""
    never_predicted: NeverPredicted = "zero"
    """Precision of a tag that is never predicted."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k must be at least 1; got {self.k}.")


def evaluate(
    tagger: EvaluatedTagger,
    features: Features,
    given: Sequence[Sequence[str]],
    config: EvaluationConfig | None = None,
    *,
    user_tags: UserTags = (),
    context: Context | None = None,
) -> dict[str, Any]:
    """Return every measure of a tagger.

    Args:
        tagger: The tagger to evaluate.
        features: (B, D) float32, of the tagger's backbone.
        given: The person's tags of each photo, in the person's order.
        config: None is k = 5.
        user_tags: Side information of each photo, for a tagger that uses it; empty: none.
        context: Metadata and neighbours of the same photos, for a tagger that uses them.

    Returns:
        JSON values: shares in [0, 1], counts, and under `*_at` and `ndcg_*` a value for each k and the mean.
        `order_accuracy` is None if no photo has two right tags among the ten best. Its baseline,
        `order_accuracy_by_frequency`, sorts the same tags by their counts in the vocabulary; None without counts. The
        measures with `prefix` in their name are None if no photo has two tags of which the tagger knows the first.

    Raises:
        DataError: There is no photo with a tag.
    """
    config = config or EvaluationConfig()
    if not any(given) or len(given) != len(features):
        raise DataError(
            f"There are {len(given)} tag lists, {sum(map(bool, given))} with a tag, to {len(features)} photos."
        )
    unknown = sorted({tag for tags in given for tag in tags if tag not in tagger.vocabulary})
    vocabulary = Vocabulary([*tagger.vocabulary.tags, *unknown])
    ranked = names(decode(tagger, features, k=max(config.k, MAX_K), user_tags=user_tags, context=context))
    proposed = (
        names(decode(tagger, features, k=MAX_FREE_LENGTH, free_length=True, user_tags=user_tags, context=context))
        if config.free_length
        else [tags[: config.k] for tags in ranked]
    )
    truth = vocabulary.matrix(given) > 0
    best = [tags[:MAX_K] for tags in ranked]
    return {
        "tagger": tagger.name,
        "num_images": len(given),
        "num_tags": int(truth.any(axis=0).sum()),
        "num_unknown_tags": len(unknown),
        "k": None if config.free_length else config.k,
        "never_predicted": config.never_predicted,
        **measure_sets(truth, vocabulary.matrix(proposed) > 0, config.never_predicted),
        **_measure_scores(truth, _scores(tagger, features, vocabulary, user_tags, context)),
        **measure_lists(best, given),
        "order_accuracy_by_frequency": _order_by_frequency(best, given, tagger.vocabulary),
        **measure_after_first_tag(tagger, features, given, user_tags=user_tags, context=context),
        "mean_list_length": float(np.mean([len(tags) for tags in proposed])),
    }


def measure_sets(
    truth: metrics.Matrix, predicted: metrics.Matrix, never_predicted: NeverPredicted = "zero"
) -> dict[str, float]:
    """Return the set measures of two (B, V) matrices."""
    per_tag = metrics.per_tag(truth, predicted, never_predicted)
    overall, per_image = metrics.overall(truth, predicted), metrics.overall_per_image(truth, predicted)
    return {
        "c_p": per_tag.precision,
        "c_r": per_tag.recall,
        "c_f1": per_tag.f1,
        "o_p": overall.precision,
        "o_r": overall.recall,
        "o_f1": overall.f1,
        "o_p_per_image": per_image.precision,
        "o_r_per_image": per_image.recall,
        "o_f1_per_image": per_image.f1,
        "n_plus": metrics.num_recalled_tags(truth, predicted),
    }


def measure_lists(ranked: Sequence[Sequence[str]], given: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return the ranking and order measures of proposed lists against the person's lists."""
    ks = range(1, MAX_K + 1)
    return {
        "ndcg_binary": metrics.by_k([metrics.ndcg_at(ranked, given, k, "binary") for k in ks]),
        "ndcg_graded": metrics.by_k([metrics.ndcg_at(ranked, given, k, "graded") for k in ks]),
        "precision_at": metrics.by_k([metrics.precision_at(ranked, given, k) for k in ks]),
        "recall_at": metrics.by_k([metrics.recall_at(ranked, given, k) for k in ks]),
        "top_k_accuracy": metrics.by_k([metrics.top_k_accuracy(ranked, given, k) for k in ks]),
        "f1_at": metrics.by_k([metrics.f1_at(ranked, given, k) for k in ks]),
        "first_tag_accuracy": metrics.first_tag_accuracy(ranked, given),
        "order_accuracy": metrics.order_accuracy(ranked, given),
    }


def measure_after_first_tag(
    tagger: EvaluatedTagger,
    features: Features,
    given: Sequence[Sequence[str]],
    k: int = REST_K,
    *,
    user_tags: UserTags = (),
    context: Context | None = None,
) -> dict[str, Any]:
    """Return the recall of the other tags with and without the person's first tag given.

    Over the photos with two tags or more whose first tag the tagger knows: the recall of the remaining tags among k
    proposals after the first tag, and among k proposals for the empty list. The first tag is removed from the latter,
    so that it takes no place.

    Returns:
        `prefix_recall_at_5` and `no_prefix_recall_at_5` (with the value of k), and `num_prefix_images`.
    """
    rows = [row for row, tags in enumerate(given) if len(tags) > 1 and tags[0] in tagger.vocabulary]
    keys = (f"prefix_recall_at_{k}", f"no_prefix_recall_at_{k}", "num_prefix_images")
    if not rows:
        return dict(zip(keys, (None, None, 0), strict=True))
    first, rest = [given[row][0] for row in rows], [given[row][1:] for row in rows]
    own = [user_tags[row] for row in rows] if user_tags else ()
    context = None if context is None else context.take(rows)
    after = names(decode(tagger, features[rows], k=k, kept=[[tag] for tag in first], user_tags=own, context=context))
    before = names(decode(tagger, features[rows], k=k + 1, user_tags=own, context=context))
    before = [[tag for tag in tags if tag != known][:k] for tags, known in zip(before, first, strict=True)]
    values = (metrics.recall_at(after, rest, k), metrics.recall_at(before, rest, k), len(rows))
    return dict(zip(keys, values, strict=True))


def decode(
    tagger: EvaluatedTagger,
    features: Features,
    *,
    k: int,
    kept: Sequence[Sequence[str]] | None = None,
    free_length: bool = False,
    user_tags: UserTags = (),
    context: Context | None = None,
) -> list[list[RankedTag]]:
    """Decode any number of photos in batches, after the kept tags of each; `kept` None: none."""
    lists = []
    for start in range(0, len(features), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        prefixes = kept[part] if kept is not None else [()] * len(features[part])
        # Only taggers that use side information, or a context, have these parameters.
        own: dict[str, Any] = {"user_tags": user_tags[part]} if user_tags else {}
        if context is not None:
            own["context"] = context.take(part)
        lists += tagger.decode(features[part], prefixes, k=k, free_length=free_length, **own)
    return lists


def names(lists: Sequence[Sequence[RankedTag]]) -> list[list[str]]:
    """Return the tags of ranked lists without their scores."""
    return [[ranked.tag for ranked in tags] for tags in lists]


def table(report: Mapping[str, Any]) -> str:
    """Return a report as text for a terminal, in percent."""
    size = "as many tags as the tagger gives" if report["k"] is None else f"{report['k']} tags"
    lines = [
        f"{report['tagger']}: {report['num_images']:,} photos, {report['num_tags']:,} tags with photos, {size} a photo",
        f"  tag never predicted: precision {'left out' if report['never_predicted'] == 'skip' else '0'}; "
        f"unknown to the tagger: {report['num_unknown_tags']:,} tags, counted as missed",
        "",
        f"{'%':<24}{'P':>8}{'R':>8}{'F1':>8}",
        f"{'means over tags (C-)':<24}{_row(report['c_p'], report['c_r'], report['c_f1'])}   N+ {report['n_plus']}",
        f"{'all pairs (O-, micro)':<24}{_row(report['o_p'], report['o_r'], report['o_f1'])}",
        f"{'means over photos (O-)':<24}"
        f"{_row(report['o_p_per_image'], report['o_r_per_image'], report['o_f1_per_image'])}",
        f"{'mAP by tag / by photo':<24}{_row(report['map_lab'], report['map_img'])}",
        "",
        f"{'%  at k':<24}{''.join(f'{k:>6}' for k in [*range(1, MAX_K + 1), 'mean'])}",
    ]
    for key in ("ndcg_graded", "ndcg_binary", "precision_at", "recall_at", "f1_at", "top_k_accuracy"):
        lines.append(f"{key:<24}{''.join(f'{100 * value:6.1f}' for value in report[key].values())}")
    order, by_frequency = (
        "-" if report[key] is None else f"{100 * report[key]:.1f}"
        for key in ("order_accuracy", "order_accuracy_by_frequency")
    )
    lines += [
        "",
        f"first tag right         {100 * report['first_tag_accuracy']:8.1f}",
        f"pairs in given order    {order:>8}   (chance: 50; the same tags sorted by frequency: {by_frequency})",
    ]
    if report["num_prefix_images"]:
        given, without = report[f"prefix_recall_at_{REST_K}"], report[f"no_prefix_recall_at_{REST_K}"]
        lines.append(
            f"the rest within {REST_K}{'':<7}{100 * given:8.1f}   "
            f"once the person's first tag is given; without it {100 * without:.1f}"
        )
    return "\n".join(lines)


def _order_by_frequency(
    ranked: Sequence[Sequence[str]], given: Sequence[Sequence[str]], vocabulary: Vocabulary
) -> float | None:
    if not vocabulary.counts:
        return None
    counts = dict(zip(vocabulary.tags, vocabulary.counts, strict=True))
    return metrics.order_accuracy([sorted(tags, key=lambda tag: -counts[tag]) for tags in ranked], given)


def _row(*values: float) -> str:
    return "".join(f"{100 * value:8.1f}" for value in values)


def _scores(
    tagger: EvaluatedTagger, features: Features, vocabulary: Vocabulary, user_tags: UserTags, context: Context | None
) -> npt.NDArray[np.float32]:
    """Return (B, V), the score of every tag; 0 for tags that the tagger does not list."""
    scores = np.zeros((len(features), len(vocabulary)), np.float32)
    for row, tags in zip(
        scores, decode(tagger, features, k=len(tagger.vocabulary), user_tags=user_tags, context=context), strict=True
    ):
        row[vocabulary.encode(ranked.tag for ranked in tags)] = [ranked.score for ranked in tags]
    return scores


def _measure_scores(truth: metrics.Matrix, scores: npt.NDArray[np.float32]) -> dict[str, float]:
    return {
        "map_lab": metrics.mean_average_precision(truth, scores, "tag"),
        "map_img": metrics.mean_average_precision(truth, scores, "image"),
    }
