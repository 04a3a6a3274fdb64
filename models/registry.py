"""The registry of trained taggers: a name for each, its module imported when it is first used.

Knows nothing of weights or files. Importing this imports no torch.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import ConfigError

if TYPE_CHECKING:
    from annotator.models.scoring_tagger import ScoringTagger
    from annotator.models.trained_tagger import TrainedTagger

_TARGETS: dict[str, str] = {}
_BASELINES: dict[str, str] = {}


def register(name: str, target: str, *, is_baseline: bool = False) -> None:
    """Make a tagger known.

    Args:
        name: How users call it.
        target: "module:Class", the class a `TrainedTagger` or, of a baseline, a `ScoringTagger`.
        is_baseline: It is fitted at once rather than trained step by step.

    Raises:
        ValueError: The name is taken.
    """
    if name in _TARGETS or name in _BASELINES:
        raise ValueError(f"The tagger {name!r} is registered twice.")
    (_BASELINES if is_baseline else _TARGETS)[name] = target


def names() -> list[str]:
    """Return the names of the recurrent taggers, in the order in which they were registered."""
    return list(_TARGETS)


def baseline_names() -> list[str]:
    """Return the names of the baselines, in the order in which they were registered."""
    return list(_BASELINES)


def find_baseline(name: str) -> "type[ScoringTagger] | None":
    """Return a baseline's class, or None if no baseline has that name."""
    if name not in _BASELINES:
        return None
    module, _, attribute = _BASELINES[name].partition(":")
    found: type[ScoringTagger] = getattr(import_module(module), attribute)
    return found


def find(name: str) -> "type[TrainedTagger]":
    """Return a tagger's class.

    Raises:
        ConfigError: There is no such tagger.
    """
    if name not in _TARGETS:
        raise ConfigError(f"There is no trained tagger {name!r}. Choose one of: {', '.join(_TARGETS)}.")
    module, _, attribute = _TARGETS[name].partition(":")
    found: type[TrainedTagger] = getattr(import_module(module), attribute)
    return found


def create(name: str, vocabulary: Vocabulary | Sequence[str], feature_size: int, **settings: Any) -> "TrainedTagger":
    """Build an untrained tagger.

    Args:
        name: One of `names`.
        vocabulary: Its tags.
        feature_size: D of the backbone's features.
        **settings: Fields of the tagger's config.

    Raises:
        ConfigError: There is no such tagger, no such setting, or a setting has a value it cannot have.
    """
    kind = find(name)
    if not isinstance(vocabulary, Vocabulary):
        vocabulary = Vocabulary(vocabulary)
    known = kind.Config.__dataclass_fields__
    for setting in settings:
        if setting not in known:
            raise ConfigError(f"The tagger {name} has no setting {setting!r}. It has: {', '.join(known)}.")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    try:
        config = kind.Config(**values)
    except ValueError as error:
        raise ConfigError(f"The tagger {name} cannot be made: {error}") from error
    return kind(vocabulary, feature_size, config)


register("scnn_rnn", "annotator.models.scnn_rnn:ScnnRnn")
register("jvsp", "annotator.models.jvsp:Jvsp")
register("ranked_lstm", "annotator.models.ranked_lstm:RankedLstm")
register("ria", "annotator.models.sequence_baselines:Ria")
register("cnn_rnn", "annotator.models.sequence_baselines:CnnRnn")
register("naive_rnn", "annotator.models.sequence_baselines:NaiveRnn")
for _name, _target in {
    "logistic": "baselines:LogisticTagger",
    "asymmetric": "baselines:AsymmetricTagger",
    "softmax": "baselines:SoftmaxTagger",
    "warp": "baselines:WarpTagger",
    "svm": "baselines:SvmTagger",
    "svm_rank": "baselines:SvmRankTagger",
    "knn": "neighbour_baselines:KnnTagger",
    "two_pass_knn": "neighbour_baselines:TwoPassKnnTagger",
    "tagprop": "neighbour_baselines:TagPropTagger",
    "kernel_ridge": "kernel_tagger:KernelTagger",
    "zero_shot": "zero_shot:ZeroShotTagger",
}.items():
    register(_name, f"annotator.models.{_target}", is_baseline=True)
