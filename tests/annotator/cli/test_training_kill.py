"""`annotator train`, ended by SIGKILL: no partial checkpoint, and the same command continues to the same weights."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from annotator.errors import CheckpointError
from annotator.models import checkpoint
from annotator.trainer.training_state import STATE_FILE

RANDOM = random.Random(11)
NUM_KILLS = 1
LIMIT_SECONDS = 200


def command(data: Path, out: Path) -> list[str]:
    options = ["--tagger", "ranked_lstm", "--epochs", "30", "--patience", "99", "--threads", "1", "--half", "--json"]
    return [sys.executable, "-m", "annotator.cli", "train", "--data", str(data), "--out", str(out), *options]


@pytest.fixture
def data(write_photos: Callable[..., list[Path]], tmp_path: Path) -> Path:
    photos = write_photos(tmp_path / "data", range(12))
    tags = ['["cat", "sofa"]', '["coffee", "table"]', '["rocket"]']
    lines = [f'{{"image": "{path.name}", "tags": {tags[row % 3]}}}' for row, path in enumerate(photos)]
    (tmp_path / "data" / "records.jsonl").write_text("\n".join(lines))
    return tmp_path / "data"


def num_epochs_kept(process: "subprocess.Popen[bytes]", state: Path, num: int) -> int:
    """Wait until the state was written so many times, or the process has ended; return how often it was."""
    seen: set[int] = set()
    ends = time.monotonic() + LIMIT_SECONDS
    while len(seen) < num and process.poll() is None:
        assert time.monotonic() < ends, "no epoch ended"
        if state.exists():
            seen.add(state.stat().st_mtime_ns)
        time.sleep(0.002)
    return len(seen)


def test_a_killed_training_leaves_no_partial_checkpoint_and_continues(
    data: Path, tmp_path: Path, backbone_cache: Path
) -> None:
    out = tmp_path / "out"
    for _ in range(NUM_KILLS):
        process = subprocess.Popen(command(data, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        num_epochs_kept(process, out / STATE_FILE, RANDOM.randint(1, 4))
        time.sleep(RANDOM.uniform(0, 0.03))  # in the middle of an epoch, or of writing
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was over before it could be killed"
        with pytest.raises(CheckpointError):
            checkpoint.read_info(out)
    resumed = subprocess.run(command(data, out), capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert resumed.returncode == 0, resumed.stderr
    whole = subprocess.run(command(data, tmp_path / "whole"), capture_output=True, text=True, timeout=LIMIT_SECONDS)
    assert whole.returncode == 0, whole.stderr
    infos = [checkpoint.read_info(folder) for folder in (out, tmp_path / "whole")]
    assert infos[0].weights_sha256 == infos[1].weights_sha256
    assert sorted(os.listdir(out)) == sorted(os.listdir(tmp_path / "whole"))
    lists = checkpoint.load(out).decode(np.ones((1, 1280), np.float32), [()], k=2)
    assert len(lists[0]) == 2
