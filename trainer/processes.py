"""One training in several processes, as torchrun starts them: who this process is, shares, sums, the wrapped module.

With one process everything here does nothing. Knows nothing of taggers.
"""

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from annotator.errors import TrainingError


def rank() -> tuple[int, int]:
    """Return (this process's number, number of processes)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def share(rows: Tensor) -> tuple[Tensor, float]:
    """Return this process's rows of a batch, and what its mean loss counts.

    The mean over all processes of (factor x mean loss of the share) is the mean loss of the whole batch, also where
    the shares differ in size. A batch with fewer rows than processes is learnt by each of them as a whole.

    Args:
        rows: (B,) of the whole batch.
    """
    number, num_processes = rank()
    if num_processes == 1 or len(rows) < num_processes:
        return rows, 1.0
    mine = rows[number::num_processes]
    return mine, len(mine) * num_processes / len(rows)


def total(*values: float, device: str = "cpu") -> list[float]:
    """Return the sum of each value over all processes; the same numbers in each of them."""
    if rank()[1] == 1:
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return [float(value) for value in summed.tolist()]


def distribute(module: nn.Module) -> nn.Module:
    """Return the module so wrapped that its backward pass averages the gradients over all processes.

    The processes start from the weights of the first. Every parameter that asks for a gradient must get one in every
    pass; tests/models/test_recurrent_taggers.py holds the taggers to that.
    """
    return module if rank()[1] == 1 else DistributedDataParallel(module)


def check_agreement(*values: int, device: str = "cpu") -> None:
    """Refuse to go on unless these numbers are the same in all processes.

    Raises:
        TrainingError: They differ, so the processes read other states.
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
