"""Two processes of torchrun against one: the same global batches, the same weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from annotator.errors import TrainingError
from annotator.trainer import processes

pytestmark = pytest.mark.integration  # several processes

SCRIPT = """
import json, sys
import numpy as np, torch
from pathlib import Path
from safetensors.torch import save_file
from torch import distributed
from annotator.models import registry
from annotator.trainer.examples import Examples
from annotator.trainer.fit import fit
from annotator.trainer.fit_settings import FitSettings

out, is_shared = Path(sys.argv[1]), len(sys.argv) > 2
torch.set_num_threads(1)
if is_shared:
    distributed.init_process_group("gloo")
rank = distributed.get_rank() if is_shared else 0
rng = np.random.default_rng(0)
sequences = [rng.permutation(6)[: 1 + row % 4].tolist() for row in range(53)]
features = rng.gamma(1.0, 1.0, (53, 10)).astype(np.float32)
train, validation = Examples(features[:42], sequences[:42]), Examples(features[42:], sequences[42:])
losses = {}
for name in ("jvsp", "scnn_rnn"):
    # Each process starts from other weights: the first one's count. 42 photos in batches of 5 leave shares of 3 and 2
    # and a last batch of 2; the penalty on weights counts once.
    torch.manual_seed(rank)
    sizes = {"size": 12} if name == "jvsp" else {"embedding_size": 6, "hidden_size": 12}
    tagger = registry.create(name, list("abcdef"), 10, dropout=0.0, input_dropout=0.0, **sizes)
    settings = FitSettings(epochs=2, batch_size=5, concept_l2=0.1)
    report = fit(tagger, train, validation, settings, state_folder=out / f"state-{name}")
    save_file(tagger.state_dict(), out / f"{name}-{rank}.safetensors")
    losses[name] = [[epoch.train_loss, epoch.validation_loss] for epoch in report.epochs]
(out / f"losses-{rank}.json").write_text(json.dumps(losses))
if is_shared:
    distributed.barrier()  # a process that leaves while another still talks to it can abort that one
    distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of the results of one process and of two processes."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # With an address, no name is asked for: not every machine can resolve its own.
    launch = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=2"]
    for name, options, arguments in (("one", [], []), ("two", launch, ["shared"])):
        (folder / name).mkdir()
        command = [sys.executable, *options, str(folder / "script.py"), str(folder / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
        assert done.returncode == 0, done.stderr
    return folder / "one", folder / "two"


@pytest.mark.parametrize("name", ["jvsp", "scnn_rnn"])
def test_both_processes_end_with_equal_weights(name: str, runs: tuple[Path, Path]) -> None:
    first, second = (load_file(runs[1] / f"{name}-{rank}.safetensors") for rank in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["jvsp", "scnn_rnn"])
def test_two_processes_learn_what_one_learns_from_the_same_batches(name: str, runs: tuple[Path, Path]) -> None:
    alone, shared = (load_file(folder / f"{name}-0.safetensors") for folder in runs)
    torch.testing.assert_close(shared, alone, rtol=0, atol=2e-4)
    losses = [json.loads((folder / "losses-0.json").read_text())[name] for folder in runs]
    assert losses[1] == [pytest.approx(values, abs=2e-4) for values in losses[0]]


def test_only_the_first_process_keeps_the_state(runs: tuple[Path, Path]) -> None:
    assert (runs[1] / "state-jvsp" / "training_state.safetensors").is_file()
    assert len(list((runs[1] / "state-jvsp").iterdir())) == 1


def as_processes(monkeypatch: pytest.MonkeyPatch, number: int, num_processes: int) -> None:
    monkeypatch.setattr(processes, "rank", lambda: (number, num_processes))


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7])
def test_the_shares_of_a_batch_count_by_their_size(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = torch.randn(size, generator=torch.Generator().manual_seed(size))
    parts = []
    for number in range(3):
        as_processes(monkeypatch, number, 3)
        rows, factor = processes.share(torch.arange(size))
        parts.append(losses[rows].mean() * factor)
    assert sum(parts).item() / 3 == pytest.approx(losses.mean().item(), abs=1e-6)  # type: ignore[union-attr]


def test_processes_that_stand_elsewhere_do_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(gathered: list[torch.Tensor], own: torch.Tensor) -> None:
        gathered[0].copy_(own)
        gathered[1].copy_(own + 1)

    as_processes(monkeypatch, 0, 2)
    monkeypatch.setattr(processes.dist, "all_gather", gather)
    with pytest.raises(TrainingError, match="stand at different epochs"):
        processes.check_agreement(0, 3)
