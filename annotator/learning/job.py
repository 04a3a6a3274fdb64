"""What a training process is given, where it writes, and the lock that lets one run at a time."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from annotator.errors import TrainingError

JOB_FILE = "job.json"


CANDIDATE_FOLDER = "candidate"


TRAINED_FILE = "trained_on.json"
"""Beside a checkpoint: content hash -> event id of all that it and its ancestors learnt from."""


@dataclass(frozen=True)
class Job:
    """What a training process is to do."""

    live: str
    """The live checkpoint: a folder, or "starter/NAME"."""
    backbone: str
    backbone_weights: str
    """Weights of a backbone that was fine-tuned; empty takes the published ones."""
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
    """Settings of trainer/finetune.py that differ from its defaults."""
    word_vectors: str = ""
    """As the project's setting; empty takes wordnet where it was made, else glove."""
    is_detector_heard: bool = True
    """Whether what a detector found speaks in the page."""
    show_expected: bool = True
    aliases: dict[str, str] = field(default_factory=dict)
    """What renamed and merged tags are called now: the old tag's key -> the new tag."""


class hold_lock:  # noqa: N801 - used as a context manager, like a function
    """Hold a lock file, with this process's id in it, as long as the process lives: never two trainings at once.

    Args:
        path: The file. It stays; only its lock counts, and the system lets go of that however the process ends.

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
    """Return what a checkpoint and its ancestors learnt from: content hash -> event id; empty where nothing says.

    Raises:
        TrainingError: The file is damaged, so that nobody knows what may judge.
    """
    path = checkpoint_path / TRAINED_FILE
    if not path.exists():
        return {}
    try:
        return {str(name): int(event_id) for name, event_id in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"{path} is damaged ({error}), so nobody knows which corrections may judge. Choose another model."
        ) from error
