"""The job of a training process, the names of the files it writes, and the lock that lets one run at a time."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from annotator.errors import TrainingError
from annotator.models.backbones.prompts import DEFAULT_PROMPTS
from annotator.settings import LEAST_PROBABILITY
from annotator.storage.digested_json import without_digest

JOB_FILE = "job.json"
CANDIDATE_FOLDER = "candidate"
SUBMITTED_FOLDER = "submitted"
"""Within the folder of a run: the checkpoint that was trained elsewhere, where the run is its test."""
TRAINED_FILE = "trained_on.json"
"""In a checkpoint: content hash -> event id of the corrections that it and its ancestors were trained on."""


@dataclass(frozen=True)
class Job:
    """The input of a training process; settings.py explains the fields of `LoopSettings`."""

    live: str
    """The live checkpoint: a folder, or "starter/NAME"."""
    backbone: str
    backbone_weights: str
    """Weights of a fine-tuned backbone; empty takes the published ones."""
    snapshot_path: str
    features_path: str
    lock_path: str
    gold_share: float
    newest_share: float
    least_photos: int
    most_photos: int
    confidence: float
    gold_margin: float
    num_threads: int
    niceness: int
    finetune: dict[str, Any]
    """Settings of trainer/finetuning/finetune.py that differ from its defaults."""
    word_vectors: str = ""
    """The project's setting; empty takes WordNet's if they are installed, else GloVe's."""
    uses_detections: bool = True
    """Whether detections are a source of evidence."""
    show_expected: bool = True
    """Whether the user interface shows the expected line."""
    least_probability: float = LEAST_PROBABILITY
    never_proposed: tuple[str, ...] = ()
    """These two are the project's settings."""
    models_path: str = ""
    """The models that the project brings along (carried_models.py)."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Key of a renamed or merged tag -> its present name."""
    log_losses: list[tuple[int, list[float]]] = field(default_factory=list)
    """(image id, what the session has learnt from its list), as `Proposer.log_losses`."""
    vision_language_model: str = ""
    """Whose answers are in the snapshot and are proposed; empty: none."""
    prompts: tuple[str, ...] = DEFAULT_PROMPTS
    """The project's setting."""
    vocabulary: str = ""
    """The project's setting: what the imported vocabulary does."""
    vocabulary_tags: tuple[str, ...] = ()
    vocabulary_aliases: dict[str, str] = field(default_factory=dict)
    vocabulary_forbidden: dict[str, str] = field(default_factory=dict)
    """These three are the imported vocabulary."""
    submitted: str = ""
    """Folder of a checkpoint that was trained elsewhere and is only tested; empty: a candidate is trained."""


class hold_lock:  # noqa: N801 - used as a context manager, like a function
    """Hold a lock on a file with this process's id in it, so that never two trainings run at once.

    Args:
        path: The file. It stays; the system releases its lock however the process ends.

    Raises:
        TrainingError: Another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> None:
        import fcntl

        self._file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "another one"
            self._file.close()
            raise TrainingError(
                f"The model is learning already (process {holder}); this training was not started."
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        self._file.close()


def read_trained(checkpoint_path: Path) -> dict[str, int]:
    """Return the corrections that a checkpoint and its ancestors were trained on: content hash -> event id.

    It is empty for a checkpoint without the file.

    Raises:
        TrainingError: The file is damaged, so that unseen corrections cannot be told from seen ones.
    """
    path = checkpoint_path / TRAINED_FILE
    if not path.exists():
        return {}
    try:
        values, is_as_written = without_digest(json.loads(path.read_text(encoding="utf-8")))
        if not is_as_written:
            raise ValueError("it is not as it was written")
        return {str(name): int(event_id) for name, event_id in values.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} is damaged ({error}), so nobody knows which corrections may judge. Choose another model."
        ) from error
