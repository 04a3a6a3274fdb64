"""Training of the taggers with a context (metadata and neighbours of each photo), by fit.py.

Neighbours come from the training photos, for the validation photos too; no photo is its own neighbour.
Knows nothing of files or commands.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from annotator.datasets.metadata_words import metadata_words
from annotator.errors import TrainingError
from annotator.models import registry
from annotator.models.taggers.metadata_neighbours_numpy import neighbourhood_vectors
from annotator.trainer.examples import Examples
from annotator.trainer.families import ON_ALL_FOLDER, Side, Trained, TrainingData, TrainingOptions, TrainingRequest
from annotator.trainer.fit import FitReport, fit, stage_names
from annotator.trainer.fit_settings import FitSettings
from annotator.trainer.neighbourhoods import find_context, learn_settings, photos_of, vector_notes


def train_context(request: TrainingRequest, data: TrainingData, options: TrainingOptions) -> Trained:
    """Train a tagger with a context; see `FamilyTrainer`."""
    kind: Any = registry.find(request.tagger)
    config = registry.configure(request.tagger, **request.settings)
    words = metadata_words(data.train.records, config.metadata)
    settings = learn_settings(request.settings, config, words, uses_metadata=kind.capabilities.uses_metadata)
    notes = vector_notes(config, words, uses_metadata=kind.capabilities.uses_metadata)
    vectors = neighbourhood_vectors(vars(config))

    def to_examples(side: Side, pool: Side) -> Examples:
        photos, pool_photos = (photos_of(some.records, some.features, config.metadata) for some in (side, pool))
        tags = [data.vocabulary.order_tags(record.tags, request.order) for record in side.records]
        context = find_context(photos, pool_photos, config.M, vectors)
        return Examples(side.features, [data.vocabulary.encode(given) for given in tags], context=context)

    def run(train: Side, validation: Side | None, fit_settings: FitSettings, folder: Path) -> Trained:
        torch.manual_seed(request.fit.seed)
        tagger = registry.create(request.tagger, data.vocabulary, data.train.features.shape[1], **settings)
        report = fit(
            tagger,
            to_examples(train, train),
            None if validation is None else to_examples(validation, train),
            fit_settings,
            state_folder=folder,
            progress=options.progress,
            should_stop=options.should_stop,
            device=options.device,
        )
        if report.was_stopped:
            raise TrainingError("The training was stopped. Start it again to go on from its last whole epoch.")
        return Trained(tagger, report, notes=notes)

    first = run(data.train, data.validation, request.fit, options.folder)
    if not request.on_all or first.report.problem is not None:
        return first
    again = replace(request.fit, stage_epochs=first.report.best_epochs(stage_names(kind, request.fit)))
    second = run(data.train + data.validation, None, again, options.folder / ON_ALL_FOLDER)
    return replace(second, report=FitReport(first.report.epochs + second.report.epochs, second.report.problem))
