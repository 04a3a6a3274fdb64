"""The choice of a project's backbone: a published one, or one that was fine-tuned with a tagger.

A tagger with its own backbone needs features of that backbone, so the project switches to it: the weights are copied
into the project, which remains one folder that can be moved, and the next ingest computes the features again. The
features of the previous backbone remain on disk, so switching back needs no computation. Knows nothing of servers or
networks.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotator.errors import BackboneError, ProjectError
from annotator.models import checkpoint
from annotator.models.backbones.missing import MissingBackbone
from annotator.models.backbones.pretrained import ARCHITECTURES, find_architecture, version_of
from annotator.models.taggers.cold_start import COLD_START
from annotator.storage.features import DIGEST_BYTES, digests_path
from annotator.storage.project import Project, write_atomically


def choose_backbone(project: Project, name: str) -> None:
    """Switch a project to a published backbone.

    Raises:
        BackboneError: There is no backbone of that name.
    """
    name = find_architecture(name).name  # the hub's / is written __
    if name != project.settings.backbone or project.settings.backbone_weights:
        # A tagger is valid only for the features it was trained on.
        project.update_settings(backbone=name, backbone_weights="", tagger="")


def choose_tagger(project: Project, tagger: str) -> str | None:
    """Switch a project to a tagger, and to the backbone whose features it needs.

    Args:
        project: Not open in a server.
        tagger: As stored in the settings: `cold_start`, `starter/NAME` or a checkpoint's folder. Of a starter, the one
            that was built for the project's backbone is taken, if there is one.

    Returns:
        A sentence if the project was switched to another backbone, otherwise None.

    Raises:
        CheckpointError: There is no such checkpoint, or it is damaged.
        ProjectError: The backbone's weights cannot be copied into the project.
    """
    settings = project.settings
    if tagger == COLD_START:
        project.update_settings(tagger=tagger)
        return None
    tagger = checkpoint.starter_for(tagger, settings.backbone)
    info = checkpoint.read_info(tagger)
    weights = info.backbone_file
    if weights:
        _copy_weights(checkpoint.find(tagger) / weights, project)
    elif not settings.backbone_weights:
        project.update_settings(tagger=tagger)
        return None
    project.update_settings(backbone=info.about.backbone, backbone_weights=weights, tagger=tagger)
    if (settings.backbone, settings.backbone_weights) == (info.about.backbone, weights):
        return None
    which = "the backbone that was trained with this tagger" if weights else "the published backbone"
    return (
        f"The project now uses {which} ({info.about.backbone} {info.about.backbone_version}). The features of its "
        "photos are computed where they are missing, photo by photo; those of the backbone before stay."
    )


def backbone_options(project: Project) -> dict[str, Any]:
    """Return the arguments of `load_backbone` besides the name."""
    file = project.settings.backbone_weights
    return {"weights_path": project.backbones_path / file} if file else {}


def stand_in(project: Project, rows_of: Mapping[str, int], error: BackboneError) -> MissingBackbone:
    """Return what stands for a project's backbone that cannot be loaded, where photos were read with it before.

    Args:
        project: The project.
        rows_of: Name and version of a backbone -> the number of photos that it has read.
        error: Why it cannot be loaded.

    Raises:
        BackboneError: No photo was read with it, or the size of its features is not known; then it is the given one.
    """
    name, weights = project.settings.backbone, project.settings.backbone_weights
    if weights:
        label = f"{name}-{version_of(Path(weights).stem.rsplit('-', 1)[-1])}"
    else:
        labels = [label for label in rows_of if _backbone_of(label) == name]
        label = max(labels, key=lambda label: rows_of[label], default="")
    size = _feature_size(project, name, label)
    if not rows_of.get(label) or size is None:
        raise error
    problem = (
        f"The backbone of this project cannot be loaded: {error} Until then the photos that were read before can be "
        "tagged, with proposals from their stored features; new photos are not read, and no model is trained."
    )
    return MissingBackbone(name, label.removeprefix(f"{name}-"), size, problem)


def _backbone_of(label: str) -> str:
    """Return the backbone of a label, NAME-HASH or NAME-HASH-pREVISION."""
    return re.sub(r"-[0-9a-f]{12}(-p\d+)?$", "", label)


def _feature_size(project: Project, name: str, label: str) -> int | None:
    """Return D of stored features: that of a known network, else by the length of their file and of its digests."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name].feature_size
    path = project.features_path / f"{label}.f32"
    try:
        num_rows, num_bytes = digests_path(path).stat().st_size // DIGEST_BYTES, path.stat().st_size
    except OSError:
        return None
    size, rest = divmod(num_bytes, 4 * num_rows) if num_rows else (0, 1)
    return size if not rest else None


def _copy_weights(source: Path, project: Project) -> None:
    target = project.backbones_path / source.name  # the name holds the hash of the content
    if target.is_file():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, source.read_bytes())
    except OSError as error:
        raise ProjectError(
            f"The backbone {source} could not be copied to {target.parent}: {error.strerror}. The project stays as it "
            "was."
        ) from error
