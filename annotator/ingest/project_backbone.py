"""The choice of a project's backbone: a published one, or one that was fine-tuned with a tagger.

A tagger with its own backbone needs features of that backbone, so the project switches to it: the weights are copied
into the project, which remains one folder that can be moved, and the next ingest computes the features again. The
features of the previous backbone remain on disk, so switching back needs no computation. Knows nothing of servers or
networks.
"""

from pathlib import Path
from typing import Any

from annotator.errors import ProjectError
from annotator.models import checkpoint
from annotator.models.backbones.pretrained import find_architecture
from annotator.models.taggers.cold_start import COLD_START
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
