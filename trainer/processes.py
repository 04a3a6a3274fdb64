"""Data-parallel training in the processes of torchrun: rank, shares of a batch, sums, the wrapped module.

With one process all of it is a no-op. Knows nothing of taggers.
"""

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from annotator.errors import TrainingError


def rank() -> tuple[int, int]:
    """Return (rank of this process, number of processes)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def share(rows: Tensor) -> tuple[Tensor, float]:
    """Return this process's rows of a batch, and the weight of their mean loss.

    The mean over all processes of (weight x mean loss of the share) is the mean loss of the whole batch, also if
    the shares differ in size. Each process takes the whole of a batch with fewer rows than processes.

    Args:
        rows: (B,), the rows of the whole batch.
    """
    number, num_processes = rank()
    if num_processes == 1 or len(rows) < num_processes:
        return rows, 1.0
    mine = rows[number::num_processes]
    return mine, len(mine) * num_processes / len(rows)


def total(*values: float, device: str = "cpu") -> list[float]:
    """Return the sum of each value over all processes."""
    if rank()[1] == 1:
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return [float(value) for value in summed.tolist()]


def distribute(module: nn.Module) -> nn.Module:
    """Return the module wrapped so that its backward pass averages the gradients over all processes.

    All processes start from the weights of the first. Every parameter with `requires_grad` must get a gradient in
    every pass; tests/models/taggers/test_recurrent_taggers.py checks that.
    """
    return module if rank()[1] == 1 else DistributedDataParallel(module)


def check_agreement(*values: int, device: str = "cpu") -> None:
    """Check that these numbers are equal in all processes.

    Raises:
        TrainingError: They differ: the processes have read different states.
    """
    num_processes = rank()[1]
    if num_processes == 1:
        return
    gathered = [torch.zeros(len(values), dtype=torch.int64, device=device) for _ in range(num_processes)]
    dist.all_gather(gathered, torch.tensor(values, device=device))
    if any(not torch.equal(gathered[0], other) for other in gathered):
        raise TrainingError(
            "The processes of this training stand at different epochs. Write the checkpoint to a folder that all "
            "machines share, or delete the state in it to start again."
        )
