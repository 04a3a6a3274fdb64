"""Builds the starter, the taggers that propose from the first photo on, for any backbone.

The taggers are trained as those that come with the program (models/starter/CARD.md) and take their place in projects
with that backbone. Each is trained in a folder of its own, from which an interrupted build goes on, and is moved into
place when it is complete. Knows nothing of commands or projects.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from annotator.datasets.record import Record
from annotator.errors import CheckpointError
from annotator.models import checkpoint
from annotator.models.backbones.backbone import Backbone
from annotator.models.checkpoint import BackboneLike, built_starters_path
from annotator.models.tagger import Features
from annotator.models.taggers.open_vocabulary import OpenVocabulary
from annotator.trainer.families import TrainingRequest
from annotator.trainer.fit import Progress
from annotator.trainer.fit_settings import FitSettings
from annotator.trainer.training import train

_FIT = FitSettings(concept_l2=0.06)


def _recipe(tagger: str, fit: FitSettings = _FIT, **settings: Any) -> TrainingRequest:
    return TrainingRequest(tagger, fit=fit, on_all=True, half=True, **settings)


_EIGHT = replace(_FIT, epochs=8)
RECIPES = {
    "jvsp": _recipe("jvsp", _EIGHT),
    "scnn_rnn": _recipe("scnn_rnn", _EIGHT, settings={"input_dropout": 0.3}, ranking={"concept_weight": 0.6}),
    "ranked_lstm": _recipe("ranked_lstm", replace(_EIGHT, learning_rate=1e-3), settings={"concept_layer": True}),
    "zero_shot": _recipe("zero_shot"),
    "open_vocabulary": _recipe("open_vocabulary"),
}
"""Tagger -> how it is trained, as in models/starter/CARD.md; the open vocabulary gets the backbone's classifier too."""
BUILDING_FOLDER = ".building"
DIGEST_FILE = "records.sha256"


@dataclass(frozen=True)
class BuiltTagger:
    """One tagger of a built starter."""

    name: str
    """As `--tagger` takes it."""
    version: str
    num_train: int
    num_tags: int


def build_starter(
    records: Sequence[Record],
    features: Features,
    backbone: Backbone,
    names: Sequence[str] = tuple(RECIPES),
    *,
    min_count: int = 1,
    epochs: int | None = None,
    holds_out: bool = False,
    on_tagger: Callable[[str], None] = lambda name: None,
    progress: Progress | None = None,
) -> list[BuiltTagger]:
    """Train the taggers and install them for a backbone.

    Args:
        records: N photos with their tags, most important first.
        features: (N, D) float32 of the same photos.
        backbone: The extractor of the features.
        names: Taggers of `RECIPES`.
        min_count: Least number of photos with a tag for the tag to be learnt.
        epochs: Most epochs of each stage; None: those of the recipes.
        holds_out: Keep the photos of the validation split out of the training, so that the taggers can be measured on
            them.
        on_tagger: Called with each tagger's name before it is trained.
        progress: Called after each epoch.

    Raises:
        DataError: There are no usable training or validation photos.
        TrainingError: A training ended before there were usable weights.
        CheckpointError: The folder cannot be written.
    """
    folder = built_starters_path() / backbone.name
    _prepare(folder / BUILDING_FOLDER, records)
    for name in names:
        recipe = RECIPES[name]
        fit = recipe.fit if epochs is None else replace(recipe.fit, epochs=epochs)
        settings = {**recipe.settings, **(_classes_of(backbone) if name == OpenVocabulary.name else {})}
        request = replace(recipe, fit=fit, settings=settings, min_count=min_count, on_all=not holds_out)
        building = folder / BUILDING_FOLDER / name
        if not _is_finished(building, request, backbone):
            on_tagger(name)
            train(request, records, features, backbone, building, progress=progress)
    built = [_move(folder / BUILDING_FOLDER / name, folder / name, backbone.name) for name in names]
    shutil.rmtree(folder / BUILDING_FOLDER, ignore_errors=True)
    return built


def remove_starter(backbone: str) -> bool:
    """Remove the starter that was built for a backbone; return whether there was one.

    Raises:
        CheckpointError: The folder cannot be removed.
    """
    name = backbone.replace("/", "__")  # as the name of an installed backbone
    folder = built_starters_path() / name
    if not name or name.startswith(".") or not folder.is_dir():
        return False
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise CheckpointError(f"The starter {folder} cannot be removed: {error.strerror}.") from error
    return True


def _classes_of(backbone: Backbone) -> dict[str, Any]:
    """Return the settings of the open vocabulary by which it uses a backbone's ImageNet classifier, if it has one."""
    return {"backbone": backbone.name, "use_classes": bool(np.any(backbone.class_weights))}


def _prepare(folder: Path, records: Sequence[Record]) -> None:
    """Make the folder of a build; what a build from other photos or tags left there is removed."""
    lists = json.dumps([[str(record.image), record.tags] for record in records])
    digest = hashlib.sha256(lists.encode()).hexdigest()
    try:
        with suppress(FileNotFoundError):
            if (folder / DIGEST_FILE).read_text(encoding="utf-8") == digest:
                return
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        checkpoint.write_atomically(folder / DIGEST_FILE, digest.encode())
    except OSError as error:
        raise CheckpointError(f"The starter cannot be written to {folder}: {error.strerror}.") from error


def _is_finished(folder: Path, request: TrainingRequest, backbone: BackboneLike) -> bool:
    """Tell whether a folder has the checkpoint of the same training, from an interrupted build."""
    try:
        info = checkpoint.read_info(folder)
        checkpoint.check_backbone(info, backbone)
    except CheckpointError:
        return False
    return bool(info.about.training["request"] == json.loads(json.dumps(request.to_json())))


def _move(source: Path, target: Path, backbone: str) -> BuiltTagger:
    """Move a finished checkpoint into place, in place of a former one."""
    former = target.with_name(f".former-{target.name}")
    try:
        shutil.rmtree(former, ignore_errors=True)
        if target.exists():
            os.replace(target, former)
        os.replace(source, target)
        shutil.rmtree(former, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(f"The starter cannot be written to {target}: {error.strerror}.") from error
    info = checkpoint.read_info(target)
    name = f"{checkpoint.STARTER}/{backbone}/{target.name}"
    return BuiltTagger(name, info.version, int(info.about.training["num_train"]), len(info.vocabulary))
