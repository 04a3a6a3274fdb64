"""The files that a project needs to be served, wherever they lie: in its folder, or installed on this machine.

Those of this machine go into the folder ``models`` of a backup (carried_models.py), so that a fresh machine finds them
there: an installed backbone, an exported network that is not part of the program's packages, the detector, tables of
word vectors. A checkpoint outside the project becomes one of the project. Knows nothing of archives.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotator import carried_models
from annotator.errors import AnnotatorError, BackboneError, CheckpointError, WordVectorError
from annotator.models import checkpoint
from annotator.models.backbones.backbone import DEFAULT_BACKBONE, default_cache_path, exported_name
from annotator.models.backbones.installed import find_installed
from annotator.models.detectors.detector import NANODET, TORCHVISION
from annotator.models.detectors.detector_install import is_installed, read_installed
from annotator.models.taggers.cold_start import COLD_START
from annotator.models.word_vectors.word_vectors import (
    DEFAULT_VECTORS,
    SOURCES_FILE,
    WORDNET,
    choose_source,
    table_of,
)
from annotator.storage.project import Project

MODELS = "models"
DIGESTS_FILE = "digests.json"
"""In the models that a project brings along: file -> SHA-256."""
CHECKPOINTS = "checkpoints"


@dataclass
class NeededFiles:
    """What a backup of a project holds besides its database and features."""

    files: dict[str, Path] = field(default_factory=dict)
    """Path in the project, with slashes -> the file now."""
    texts: dict[str, bytes] = field(default_factory=dict)
    """Path in the project -> content of a small file that is made for the backup."""
    tagger: str = ""
    """The setting of the project's tagger in the backup."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Name of a checkpoint outside the project -> its name inside."""
    left_out: list[str] = field(default_factory=list)
    """What could not be included, as sentences."""


def needed_files(project: Project) -> NeededFiles:
    """Return the files that a fresh machine needs to serve a project; what is missing is left out, and named.

    Args:
        project: The project; it may be in use.
    """
    needed = NeededFiles(tagger=project.settings.tagger)
    for name, path in _below(project.backbones_path, "backbones"):
        needed.files[name] = path
    _add_checkpoints(project, needed)
    _add_backbone(project, needed)
    _add_detector(project, needed)
    _add_word_vectors(project, needed)
    return needed


def _below(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Yield (path under another name of the folder, file) for every file that is not hidden; links lead nowhere."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            yield f"{name}/{path.relative_to(folder).as_posix()}", path


def _add_checkpoints(project: Project, needed: NeededFiles) -> None:
    folder = project.checkpoints_path
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() and not path.name.startswith("."):  # also a link to a folder elsewhere
            needed.files.update(_below(path.resolve(), f"{CHECKPOINTS}/{path.name}"))
        elif path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            needed.files[f"{CHECKPOINTS}/{path.name}"] = path
    tagger = project.settings.tagger
    outside = Path(tagger)
    if not outside.is_absolute() or outside.parent == folder:
        return
    if not (outside / checkpoint.SETTINGS_FILE).is_file():
        needed.left_out.append(f"The tagger {tagger} is missing on this machine, so the backup does not hold it.")
        return
    taken = {Path(name).parts[1] for name in needed.files if name.startswith(f"{CHECKPOINTS}/")}
    name = outside.name
    while name in taken:
        name += "-outside"
    needed.files.update(_below(outside.resolve(), f"{CHECKPOINTS}/{name}"))
    needed.renamed[tagger] = needed.tagger = f"{CHECKPOINTS}/{name}"


def _add_backbone(project: Project, needed: NeededFiles) -> None:
    settings = project.settings
    name, weights = settings.backbone, settings.backbone_weights
    if weights:
        if f"backbones/{weights}" not in needed.files:
            needed.left_out.append(f"The fine-tuned backbone {weights} is missing in {project.backbones_path}.")
        _add_network(exported_name(name, Path(weights)), needed)  # without it, a fresh machine exports it again
        return
    try:
        model = find_installed(name)
    except BackboneError as error:
        needed.left_out.append(str(error))
        return
    if model is not None:
        needed.files.update(_below(model.folder, f"{MODELS}/{carried_models.BACKBONES}/{model.folder.name}"))
    elif name != DEFAULT_BACKBONE and not _add_network(exported_name(name), needed):
        needed.left_out.append(f"The network {name} is not on this machine; a fresh one gets it from its publisher.")


def _add_network(file: str, needed: NeededFiles) -> bool:
    """Add an exported network; those of the default backbone are made from one of the program's packages."""
    path = carried_models.find(carried_models.NETWORKS, file) or default_cache_path() / file
    if path.is_file():
        needed.files[f"{MODELS}/{carried_models.NETWORKS}/{file}"] = path
    return path.is_file()


def _add_detector(project: Project, needed: NeededFiles) -> None:
    place = f"{MODELS}/{carried_models.DETECTORS}"
    if project.settings.detector in ("", NANODET) and is_installed():
        folder = read_installed().folder
        needed.files.update(_below(folder, f"{place}/{folder.name}"))
    elif project.settings.detector == TORCHVISION:
        # Imported here: torchvision takes seconds.
        from annotator.models.detectors.detector_catalog import torchvision_weights_path

        weights = torchvision_weights_path()
        path = carried_models.find(carried_models.DETECTORS, weights.name) or weights
        if path.is_file():
            needed.files[f"{place}/{path.name}"] = path
        else:
            needed.left_out.append("The weights of torchvision's detector are not on this machine.")
    elif project.settings.detector == NANODET:
        needed.left_out.append("The detector nanodet is not installed on this machine.")


def _add_word_vectors(project: Project, needed: NeededFiles) -> None:
    place, sources = f"{MODELS}/{carried_models.WORD_VECTORS}", {}
    for source in sorted(_vector_sources(project, needed)):
        try:
            table = table_of(source)
        except AnnotatorError as error:
            needed.left_out.append(str(error))
            continue
        if table is not None:
            sources[source] = table.name
            needed.files.update(_below(table, f"{place}/{table.name}"))
    if sources:
        needed.texts[f"{place}/{SOURCES_FILE}"] = json.dumps(sources, indent=1).encode()


def _vector_sources(project: Project, needed: NeededFiles) -> set[str]:
    """Return the sources of word vectors that the project and its checkpoints name."""
    try:
        found = {choose_source(project.settings.word_vectors)}
    except WordVectorError as error:
        needed.left_out.append(str(error))
        found = set()
    for name, path in needed.files.items():
        if name.startswith(f"{CHECKPOINTS}/") and path.name == checkpoint.SETTINGS_FILE:
            try:
                found |= _sources_of_tagger(checkpoint.read_info(path.parent).settings)
            except CheckpointError as error:
                needed.left_out.append(str(error))
    return found - {DEFAULT_VECTORS, COLD_START}


def _sources_of_tagger(settings: Any) -> set[str]:
    """Return the sources that a tagger's settings name; see metadata_neighbours_numpy.load_vectors and zero_shot."""
    kinds = {settings.get("input"), settings.get("neighbourhood")}
    found = {WORDNET} if "wnet" in kinds else set()
    if "w2v" in kinds and isinstance(settings.get("vectors"), str):
        found.add(settings["vectors"])
    if isinstance(settings.get("word_vectors"), str):
        found.add(settings["word_vectors"])
    return found
