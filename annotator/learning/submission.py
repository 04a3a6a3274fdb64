"""A checkpoint that was trained elsewhere, on its way into the promotion test: copied into the project, and checked.

Only the description, the weights as safetensors, and the list of what it was trained on are copied. Knows nothing of
trainings or of the test.
"""

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotator.datasets.folder_store import ObjectStore
from annotator.datasets.tags import tag_key
from annotator.errors import CheckpointError, RemoteError
from annotator.learning.job import TRAINED_FILE, read_trained
from annotator.models import checkpoint, registry
from annotator.storage.digested_json import with_digest
from annotator.storage.project import Project, open_private
from annotator.storage.queries import Queries

MAX_DESCRIPTION_BYTES = 100_000_000
MAX_WEIGHTS_BYTES = 4_000_000_000
_PREFIX = "submitted-"
_NAME = re.compile(r"[0-9a-f]{16}")


def folder_of(project: Project, name: str) -> Path:
    """Return the folder of a submission.

    Raises:
        CheckpointError: There is none of that name.
    """
    folder = project.training_path / f"{_PREFIX}{name}"
    if not _NAME.fullmatch(name) or not folder.is_dir():
        raise CheckpointError("There is no such submission. Use: annotator models PROJECT submit CHECKPOINT.")
    return folder


@contextmanager
def take_in(project: Project, source: ObjectStore) -> Iterator[str]:
    """Copy a checkpoint into the project and yield its name there; what the test has not taken is deleted at the end.

    Args:
        project: The project.
        source: The checkpoint: a folder of this machine, or of a store.

    Raises:
        CheckpointError: It is none, has weights in another form than safetensors, or is too large.
        RemoteError: The store does not answer, or refuses.
        OSError: The disk is full.
    """
    name = secrets.token_hex(8)
    folder = project.training_path / f"{_PREFIX}{name}"
    folder.mkdir(mode=0o700, parents=True)
    try:
        _copy(source, folder)
        yield name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(source: ObjectStore, folder: Path) -> None:
    description = _read(source, checkpoint.SETTINGS_FILE, MAX_DESCRIPTION_BYTES)
    if description is None:
        raise CheckpointError(
            f"There is no checkpoint in {source.url}: it has no {checkpoint.SETTINGS_FILE}. Name a folder that "
            "`annotator train` wrote."
        )
    _write(folder / checkpoint.SETTINGS_FILE, description)
    weights_file = checkpoint.read_info(folder).weights_file
    if not weights_file.endswith(".safetensors"):
        raise CheckpointError(f"{source.url} has its weights in {weights_file!r}. Only safetensors are read.")
    weights = _read(source, weights_file, MAX_WEIGHTS_BYTES)
    if weights is None:
        raise CheckpointError(f"{source.url} lacks its weights, {weights_file}.")
    _write(folder / weights_file, weights)
    trained = _read(source, TRAINED_FILE, MAX_DESCRIPTION_BYTES)
    if trained is not None:
        _write(folder / TRAINED_FILE, trained)


def _read(source: ObjectStore, name: str, max_bytes: int) -> bytes | None:
    try:
        data = source.read(name, max_bytes)
    except RemoteError as error:
        if error.is_missing:
            return None
        raise
    if len(data) > max_bytes:
        raise CheckpointError(f"{source.url}/{name} has more than {max_bytes:,} bytes, more than a checkpoint has.")
    return data


def _write(path: Path, data: bytes) -> None:
    with open_private(path) as file:
        file.write(data)


def check(folder: Path, backbone: checkpoint.BackboneLike, store: Queries, *, is_unseen: bool) -> None:
    """Refuse a checkpoint that cannot be tested fairly, or could not be used.

    Args:
        folder: Its folder.
        backbone: The project's.
        store: The open database.
        is_unseen: It was trained on no list of this project.

    Raises:
        CheckpointError: It is damaged, of another backbone or of a kind that does not learn from corrections, knows
            none of the saved tags, or does not say on which lists it was trained.
        TrainingError: What it says of that is damaged.
    """
    info = checkpoint.read_info(folder)
    checkpoint.check_backbone(info, backbone)
    if info.name not in registry.names():
        raise CheckpointError(
            f"The tagger {info.name} is not one that learns from corrections. Those are: {', '.join(registry.names())}."
        )
    checkpoint.load(folder, backbone=backbone)  # the weights are whole, and fit the description
    rows = store.rows("SELECT DISTINCT unnest(tags) FROM annotations WHERE is_saved")
    saved = {tag_key(str(tag)) for (tag,) in rows}
    if saved and not saved & {tag_key(tag) for tag in info.vocabulary.tags}:
        raise CheckpointError(
            f"The checkpoint knows {len(info.vocabulary):,} tags, and none of the {len(saved):,} that are saved in "
            "this project, so it could propose none of them. Train it on tags of this project."
        )
    if not (folder / TRAINED_FILE).exists() and not is_unseen:
        raise CheckpointError(
            f"The checkpoint has no {TRAINED_FILE}, so it is not known which lists of this project it was trained on, "
            "and no list can judge it. If it was trained on none of them, add --unseen."
        )
    read_trained(folder)


def trained_text(trained: dict[str, int]) -> bytes:
    """Return the content of the file that says on which lists a checkpoint was trained: content hash -> event id."""
    return json.dumps(with_digest(trained)).encode()
