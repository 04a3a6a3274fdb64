"""Training of the baselines: one call of their own `fit`. Knows nothing of files or commands."""

from dataclasses import fields, replace
from typing import Any

from annotator.errors import ConfigError
from annotator.models import registry
from annotator.trainer.families import Trained, TrainingData, TrainingOptions, TrainingRequest
from annotator.trainer.fit import FitReport


def train_baseline(request: TrainingRequest, data: TrainingData, options: TrainingOptions) -> Trained:
    """Fit a baseline; see `FamilyTrainer`. Each baseline holds out its own calibration photos, so none are needed."""
    kind: Any = registry.find_baseline(request.tagger)
    config = _configure(request.tagger, kind.default_config, request)
    side = data.train + data.validation if request.on_all else data.train
    given = [data.vocabulary.order_tags(record.tags, request.order) for record in side.records]
    return Trained(kind.fit(data.vocabulary, side.features, given, config), FitReport())


def _configure(name: str, default: Any, request: TrainingRequest) -> Any:
    """Return a baseline's config with the request's settings, and with the request's seed where it has one.

    Raises:
        ConfigError: A setting does not exist or its value is invalid.
    """
    known = {item.name: getattr(default, item.name) for item in fields(default)}
    settings = {**({"seed": request.fit.seed} if "seed" in known else {}), **request.settings}
    for setting, value in list(settings.items()):
        if setting not in known:
            raise ConfigError(f"The baseline {name} has no setting {setting!r}. It has: {', '.join(known)}.")
        wanted = known[setting]
        if isinstance(wanted, tuple) and isinstance(value, list):
            settings[setting] = value = tuple(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = is_number if isinstance(wanted, float) else type(value) is type(wanted)
        if not fits:
            raise ConfigError(f"The setting {setting} of {name} is {value!r}; it must be like {wanted!r}.")
    try:
        return replace(default, **settings)
    except ValueError as error:
        raise ConfigError(f"The baseline {name} cannot be made: {error}") from error
