"""The training process as the server sees it: how it is started, followed and ended.

Knows nothing of models, of the promotion test or of what its progress means.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path

from annotator.json_types import JsonObject
from annotator.learning.job import JOB_FILE, Job
from annotator.storage.project import open_private, write_atomically

logger = logging.getLogger(__name__)

SNAPSHOT_FILE = "snapshot.parquet"
LOG_FILE = "log.txt"
LOCK_FILE = "training.lock"
SECONDS_TO_END = 20.0
"""Time that a cancelled process has before it is killed."""


@dataclass
class TrainingProcess:
    """A training that runs."""

    run_id: int
    folder: Path
    """The folder of this run."""
    process: "subprocess.Popen[str]"
    progress: JsonObject = field(default_factory=lambda: {"phase": "starting"})
    """The latest report of the process."""
    is_cancelled: bool = False

    @classmethod
    def start(cls, run_id: int, folder: Path, job: Job) -> "TrainingProcess":
        """Write the job to the run's folder and start a process for it.

        Raises:
            OSError: The job could not be written, or the process not started.
        """
        write_atomically(folder / JOB_FILE, json.dumps(asdict(job), indent=1).encode(), mode=0o600)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(job.num_threads))
        with open_private(folder / LOG_FILE) as log:
            process = subprocess.Popen(
                command(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **threads},
            )
        return cls(run_id, folder, process)

    def follow(self) -> JsonObject:
        """Read the reports of the process until it ends; return the last one."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                try:
                    self.progress = json.loads(line)
                except ValueError:
                    logger.warning("The training process printed: %s", line.rstrip())
        self.process.wait()
        return self.progress

    def shown(self) -> JsonObject:
        """Return the progress for the user: the latest report and ``share``, the finished part of its phase."""
        progress = self.progress
        if progress["phase"] == "done":
            return {"phase": "judging", "share": 1.0, "is_cancelled": self.is_cancelled}
        done = progress.get("step", progress.get("num_done", 0))
        num = progress.get("num_steps", progress.get("num_all", 0))
        return {**progress, "share": done / num if num else 0.0, "is_cancelled": self.is_cancelled}

    def cancel(self) -> None:
        """Ask the process to end, and kill it after `SECONDS_TO_END`."""
        self.is_cancelled = True
        self._signal(signal.SIGTERM)
        threading.Timer(SECONDS_TO_END, self._signal, (signal.SIGKILL,)).start()

    def kill(self) -> None:
        """Kill the process; that is safe, since it writes only below its own folder."""
        self.is_cancelled = True
        self._signal(signal.SIGKILL)

    def ending_sentence(self) -> str:
        """Return a sentence on how the process ended, for one that reported no result."""
        code, log_path = self.process.wait(), self.folder / LOG_FILE
        if code < 0:
            how = f"was ended from outside ({signal.Signals(-code).name})"
        else:
            text = log_path.read_text(encoding="utf-8", errors="replace") if log_path.exists() else ""
            lines = text.strip().splitlines()
            how = f"broke off ({lines[-1][:200] if lines else f'exit code {code}'})"
        return f"The training process {how}; the model in use did not change."

    def _signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)


def command(folder: Path) -> list[str]:
    """Return the command line of the training process for a run's folder."""
    return [sys.executable, "-m", "annotator.learning.worker", str(folder)]
