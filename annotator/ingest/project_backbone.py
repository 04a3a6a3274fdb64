"""Which backbone a project uses: a published one, or one that was fine-tuned with a tagger.

A tagger that brings its own backbone needs that one's features. So the project is switched to it: the weights are
copied into the project, which stays one folder that can be moved, and the features of its photos are computed again by
the ingest that follows. The features of the backbone before stay on disk, so that the way back costs nothing. Knows
nothing of servers or networks.
"""

from pathlib import Path
from typing import Any

from annotator.errors import ProjectError
from annotator.models import checkpoint
from annotator.models.backbones.pretrained import find_architecture
from annotator.models.taggers.cold_start import COLD_START
from annotator.storage.project import Project, write_atomically


def choose_backbone(project: Project, name: str) -> None:
    """Let a project use a published backbone from now on.

    Raises:
        BackboneError: There is none of that name.
    """
    if name != project.settings.backbone or project.settings.backbone_weights:
        find_architecture(name)
        # A tagger belongs to the features it was taught on.
        project.update_settings(backbone=name, backbone_weights="", tagger="")


def choose_tagger(project: Project, tagger: str) -> str | None:
    """Let a project use a tagger, and the backbone whose features it takes.

    Args:
        project: Not open in a server.
        tagger: As the settings keep it: `cold_start`, `starter/NAME` or a checkpoint's folder.

    Returns:
        A sentence if the project was switched to another backbone, else None.

    Raises:
        CheckpointError: There is no such checkpoint, or it is damaged.
        ProjectError: The backbone's weights cannot be copied into the project.
    """
    settings = project.settings
    if tagger == COLD_START:
        project.update_settings(tagger=tagger)
        return None
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
    """Return what `load_backbone` must be told beside the name."""
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
