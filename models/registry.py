"""The registry of trained taggers: a name, a family and a class for each, imported when it is first used.

All taggers of a family are trained in the same way, see trainer/families.py.

Knows nothing of weights or files. Importing this imports no torch.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import ConfigError

if TYPE_CHECKING:
    from annotator.models.sequence.trained_tagger import TrainedTagger
    from annotator.models.taggers.scoring_tagger import ScoringTagger

RECURRENT = "recurrent"
"""Trained step by step; the class is a `TrainedTagger`."""
CONTEXT = "context"
"""Trained step by step too, but scores each tag by itself, from the photo, its metadata and its neighbours; the class
is a `TrainedTagger`."""
BASELINE = "baseline"
"""Fitted in one call; the class is a `ScoringTagger`."""

_TARGETS: dict[str, str] = {}
_FAMILIES: dict[str, str] = {}
_NUMPY_TARGETS: dict[str, str] = {}


def register(name: str, target: str, *, family: str = RECURRENT, numpy_target: str = "") -> None:
    """Register a tagger.

    Args:
        name: The name that users choose it by.
        target: "module:Class".
        family: How it is trained.
        numpy_target: For a tagger with a context: "module:Class", the `ScoringTagger` that runs its weights without
            torch.

    Raises:
        ValueError: The name is taken.
    """
    if name in _TARGETS:
        raise ValueError(f"The tagger {name!r} is registered twice.")
    _TARGETS[name] = target
    _FAMILIES[name] = family
    if numpy_target:
        _NUMPY_TARGETS[name] = numpy_target


def all_names() -> list[str]:
    """Return the names of all taggers that can be trained, in the order in which they were registered."""
    return list(_TARGETS)


def names() -> list[str]:
    """Return the names of the recurrent taggers."""
    return [name for name, family in _FAMILIES.items() if family == RECURRENT]


def context_names() -> list[str]:
    """Return the names of the taggers with a context."""
    return [name for name, family in _FAMILIES.items() if family == CONTEXT]


def baseline_names() -> list[str]:
    """Return the names of the baselines."""
    return [name for name, family in _FAMILIES.items() if family == BASELINE]


def family_of(name: str) -> str:
    """Return a tagger's family.

    Raises:
        ConfigError: There is no such tagger.
    """
    if name not in _FAMILIES:
        raise ConfigError(f"There is no trained tagger {name!r}. Choose one of: {', '.join(_TARGETS)}.")
    return _FAMILIES[name]


def find_baseline(name: str) -> "type[ScoringTagger] | None":
    """Return a baseline's class; None if no baseline has that name."""
    return find_scoring(name) if _FAMILIES.get(name) == BASELINE else None


def find_scoring(name: str) -> "type[ScoringTagger] | None":
    """Return the `ScoringTagger` of a baseline or of a tagger with a context; None for any other name."""
    family = _FAMILIES.get(name)
    if family not in (BASELINE, CONTEXT):
        return None
    found: type[ScoringTagger] = _import(_TARGETS[name] if family == BASELINE else _NUMPY_TARGETS[name])
    return found


def find(name: str) -> "type[TrainedTagger]":
    """Return the `TrainedTagger` of a recurrent tagger or of one with a context.

    Raises:
        ConfigError: There is no such tagger.
    """
    if _FAMILIES.get(name) not in (RECURRENT, CONTEXT):
        known = [*names(), *context_names()]
        raise ConfigError(f"There is no trained tagger {name!r}. Choose one of: {', '.join(known)}.")
    found: type[TrainedTagger] = _import(_TARGETS[name])
    return found


def _import(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def create(name: str, vocabulary: Vocabulary | Sequence[str], feature_size: int, **settings: Any) -> "TrainedTagger":
    """Build an untrained tagger.

    Args:
        name: One of `names` or `context_names`.
        vocabulary: Its tags.
        feature_size: D of the backbone's features.
        **settings: Fields of the tagger's config.

    Raises:
        ConfigError: There is no such tagger or setting, or a setting has an invalid value.
    """
    config = configure(name, **settings)
    if not isinstance(vocabulary, Vocabulary):
        vocabulary = Vocabulary(vocabulary)
    try:
        return find(name)(vocabulary, feature_size, config)
    except ValueError as error:
        raise ConfigError(f"The tagger {name} cannot be made: {error}") from error


def configure(name: str, **settings: Any) -> Any:
    """Return a tagger's config.

    Raises:
        ConfigError: There is no such tagger or setting, or a setting has an invalid value.
    """
    kind = find(name)
    known = kind.Config.__dataclass_fields__
    for setting in settings:
        if setting not in known:
            raise ConfigError(f"The tagger {name} has no setting {setting!r}. It has: {', '.join(known)}.")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    try:
        return kind.Config(**values)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"The tagger {name} cannot be made: {error}") from error


register("scnn_rnn", "annotator.models.taggers.scnn_rnn:ScnnRnn")
register("jvsp", "annotator.models.taggers.jvsp:Jvsp")
register("ranked_lstm", "annotator.models.taggers.ranked_lstm:RankedLstm")
register("ria", "annotator.models.taggers.sequence_baselines:Ria")
register("cnn_rnn", "annotator.models.taggers.sequence_baselines:CnnRnn")
register("naive_rnn", "annotator.models.taggers.sequence_baselines:NaiveRnn")
register("no_rnn", "annotator.models.taggers.sequence_baselines:NoRnn")
for _name, _class in {
    "visual_only": "VisualOnly",
    "ltn": "Ltn",
    "rtn": "Rtn",
    "ltn_vecs": "LtnVecs",
    "ltn_all_vecs": "LtnAllVecs",
    "ltwin": "Ltwin",
    "ltwin_rnn": "LtwinRnn",
    "ltwin_2rnn": "Ltwin2Rnn",
    "lzip": "LZip",
}.items():
    register(
        _name,
        f"annotator.models.taggers.metadata_neighbours:{_class}",
        family=CONTEXT,
        numpy_target=f"annotator.models.taggers.metadata_neighbours_numpy:{_class}Network",
    )
for _name, _target in {
    "logistic": "taggers.baselines:LogisticTagger",
    "asymmetric": "taggers.baselines:AsymmetricTagger",
    "softmax": "taggers.baselines:SoftmaxTagger",
    "warp": "taggers.baselines:WarpTagger",
    "svm": "taggers.baselines:SvmTagger",
    "svm_rank": "taggers.baselines:SvmRankTagger",
    "knn": "taggers.neighbour_baselines:KnnTagger",
    "two_pass_knn": "taggers.neighbour_baselines:TwoPassKnnTagger",
    "tagprop": "taggers.neighbour_baselines:TagPropTagger",
    "kernel_ridge": "taggers.kernel_tagger:KernelTagger",
    "zero_shot": "taggers.zero_shot:ZeroShotTagger",
    "open_vocabulary": "taggers.open_vocabulary:OpenVocabulary",
}.items():
    register(_name, f"annotator.models.{_target}", family=BASELINE)
