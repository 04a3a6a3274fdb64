"""Training of the recurrent taggers by fit.py: from features, and together with the backbone on request.

Knows nothing of files or commands.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from annotator.datasets.record import Record, tags_in_field
from annotator.datasets.vocabulary import Order, Vocabulary
from annotator.errors import ConfigError, DataError, TrainingError
from annotator.models import registry
from annotator.models.backbones.trainable_backbone import TrainableBackbone, load_trainable
from annotator.models.sequence.inference import Ranking
from annotator.models.tagger import Features
from annotator.trainer.examples import Examples
from annotator.trainer.families import ON_ALL_FOLDER, Side, Trained, TrainingData, TrainingOptions, TrainingRequest
from annotator.trainer.fit import FitReport, fit, stage_names
from annotator.trainer.fit_settings import FitSettings
from annotator.trainer.kernel_fit import fit_kernel
from annotator.trainer.precedence import fit_precedence

LANDMARKS = {"jvsp": 2_000}
"""Tagger -> landmarks of its kernel layer, unless its settings say otherwise. Of the other taggers the layer is left
out, so that they remain the papers'."""
PRECEDENCE_BESIDE_KERNEL = 0.4
"""Default of `Ranking.precedence` with a kernel layer, whose gain knows which tags people name first: chosen on inner
splits of captions, docs/experiments/order.md."""


def train_recurrent(request: TrainingRequest, data: TrainingData, options: TrainingOptions) -> Trained:
    """Train a recurrent tagger; see `FamilyTrainer`."""
    settings = _with_user_tags(request, data.train.records)
    sides = [_to_examples(side, request, data.vocabulary, settings) for side in (data.train, data.validation)]

    def run(train: Examples, validation: Examples | None, fit_settings: FitSettings, folder: Path) -> Trained:
        torch.manual_seed(request.fit.seed)
        own = _with_kernel(request, settings, train, len(data.vocabulary))
        tagger = registry.create(request.tagger, data.vocabulary, data.train.features.shape[1], **own)
        if tagger.kernel is not None:
            arrays = fit_kernel(
                train.features,
                train.sequences,
                len(data.vocabulary),
                num_landmarks=tagger.config.kernel_landmarks,
                size=tagger.config.kernel_size,
                rank=tagger.config.kernel_rank,
                seed=request.fit.seed,
            )
            tagger.set_kernel(arrays)
        own_ranking = {} if tagger.kernel is None else {"precedence": PRECEDENCE_BESIDE_KERNEL}
        tagger.ranking = Ranking(**{**own_ranking, **request.ranking})
        if request.order == "given":
            tagger.set_precedence(fit_precedence(train.sequences, len(data.vocabulary)))
        backbone = _backbone(fit_settings, data)
        report = fit(
            tagger,
            train,
            validation,
            fit_settings,
            backbone=backbone,
            state_folder=folder,
            progress=options.progress,
            should_stop=options.should_stop,
            device=options.device,
            num_workers=options.num_workers,
        )
        if report.was_stopped:
            raise TrainingError("The training was stopped. Start it again to go on from its last whole epoch.")
        return Trained(tagger, report, backbone.arrays() if backbone and report.is_backbone_tuned else None)

    first = run(sides[0], sides[1], request.fit, options.folder)
    if not request.on_all or first.report.problem is not None:
        return first
    names = stage_names(registry.find(request.tagger), request.fit)
    epochs = first.report.best_epochs(names)
    # A backbone that did not improve keeps its published weights.
    tuning = request.fit.backbone
    if tuning is not None and not first.report.is_backbone_tuned:
        tuning, epochs = None, epochs[:-1]
    again = replace(request.fit, backbone=tuning, stage_epochs=epochs)
    second = run(_join(*sides), None, again, options.folder / ON_ALL_FOLDER)
    second.tagger.ranking = first.tagger.ranking
    return replace(second, report=_chain(first.report, second.report))


def _with_kernel(
    request: TrainingRequest, settings: Mapping[str, Any], train: Examples, num_tags: int
) -> dict[str, Any]:
    """Return the settings with the sizes of the kernel layer, which the photos and tags limit.

    There is none where the lists are not in a person's order, which the gain is learnt from, or where a backbone is
    trained too, which changes the features.
    """
    wanted = registry.configure(request.tagger, **{"kernel_landmarks": LANDMARKS.get(request.tagger, 0), **settings})
    num_photos, feature_size = train.features.shape
    is_possible = request.order == "given" and request.fit.backbone is None
    landmarks = min(wanted.kernel_landmarks, num_photos) if is_possible else 0
    return {
        **settings,
        "kernel_landmarks": landmarks,
        "kernel_size": min(wanted.kernel_size, feature_size),
        "kernel_rank": max(1, min(wanted.kernel_rank, landmarks, 2 * num_tags)),
    }


def _backbone(settings: FitSettings, data: TrainingData) -> TrainableBackbone | None:
    tuning = settings.backbone
    if tuning is None:
        return None
    return load_trainable(data.backbone.name, precision=tuning.precision, norm=tuning.norm)


def _with_user_tags(request: TrainingRequest, records: Sequence[Record]) -> dict[str, Any]:
    """Return the tagger's settings with the most frequent user tags of the training photos.

    Raises:
        ConfigError: The tagger uses no user tags, or they are given twice.
        DataError: No training photo has user tags.
    """
    settings = dict(request.settings)
    if request.user_tags_field is None and not settings.get("user_tags"):
        return settings
    if not registry.find(request.tagger).capabilities.uses_user_tags:
        raise ConfigError(f"The tagger {request.tagger} takes no user tags; scnn_rnn does.")
    if request.user_tags_field is None:
        return settings
    if settings.get("user_tags"):
        raise ConfigError("The user tags are given twice: by their field and as a setting.")
    counts = Counter(tag for record in records for tag in tags_in_field(record, request.user_tags_field))
    if not counts:
        raise DataError(f"No training photo has a tag in its field {request.user_tags_field!r}.")
    known = sorted(counts, key=lambda tag: (-counts[tag], tag))[: request.num_user_tags]
    return {**settings, "user_tags": known}


def _to_examples(side: Side, request: TrainingRequest, vocabulary: Vocabulary, settings: Mapping[str, Any]) -> Examples:
    known = list(settings.get("user_tags", ()))
    field = request.user_tags_field or "user_tags"
    user_tags = Vocabulary(known).matrix([tags_in_field(record, field) for record in side.records]) if known else None
    return Examples(
        side.features,
        _encode(side.records, vocabulary, request.order),
        user_tags,
        images=[record.image for record in side.records] if request.fit.backbone else (),
    )


def _encode(records: Sequence[Record], vocabulary: Vocabulary, order: Order) -> list[list[int]]:
    return [vocabulary.encode(vocabulary.order_tags(record.tags, order)) for record in records]


def _join(first: Examples, second: Examples) -> Examples:
    def both(one: Features | None, other: Features | None) -> Features | None:
        return None if one is None or other is None else np.concatenate([one, other])

    return Examples(
        np.concatenate([first.features, second.features]),
        first.sequences + second.sequences,
        both(first.user_tags, second.user_tags),
        images=[*first.images, *second.images],
    )


def _chain(first: FitReport, second: FitReport) -> FitReport:
    return FitReport(first.epochs + second.epochs, second.problem, is_backbone_tuned=second.is_backbone_tuned)
