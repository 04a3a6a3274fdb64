"""The file from which a training resumes: weights, best weights, optimiser, position and report.

Written atomically after each epoch, without pickle. Knows nothing of how an epoch is run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor

from annotator.errors import TrainingError
from annotator.models.checkpoint import write_atomically

STATE_FILE = "training_state.safetensors"


@dataclass(frozen=True)
class TrainingState:
    """The state of a training after an epoch."""

    now: Mapping[str, Tensor]
    """Weights after the last epoch."""
    best: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    """Named INDEX/KEY."""
    about: Mapping[str, Any]
    """JSON values; among them `fingerprint`, which identifies the training, and `place`, its position."""


def write_state(path: Path, state: TrainingState) -> None:
    """Write a state, replacing any earlier one.

    Raises:
        TrainingError: The file cannot be written.
    """
    groups = {"now": state.now, "best": state.best, "optimizer": state.optimizer}
    tensors = {
        f"{group}/{name}": value.detach().to("cpu", copy=True).contiguous()
        for group, values in groups.items()
        for name, value in values.items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, pack_tensors(tensors, {"about": json.dumps(dict(state.about))}))
    except OSError as error:
        raise TrainingError(
            f"The state of the training could not be written to {path}: {error.strerror}. Free some space and start "
            "the training again; it goes on from its last whole epoch."
        ) from error


def read_state(path: Path) -> TrainingState | None:
    """Read a state; None if there is no file.

    Raises:
        TrainingError: The file is damaged or cannot be read.
    """
    try:
        packed = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TrainingError(f"The state of the training in {path} could not be read: {error.strerror}.") from error
    try:
        header = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])
        about = json.loads(header["__metadata__"]["about"])
        groups: dict[str, dict[str, Tensor]] = {"now": {}, "best": {}, "optimizer": {}}
        for name, value in parse_tensors(packed).items():
            group, _, rest = name.partition("/")
            groups[group][rest] = value
        if not about.keys() >= {"fingerprint", "place"}:
            raise KeyError("fingerprint or place")
        return TrainingState(groups["now"], groups["best"], groups["optimizer"], about)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"The state of the training in {path} is damaged ({error}). Delete it to start again."
        ) from error


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as named tensors."""
    return {
        f"{index}/{name}": torch.as_tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore an optimiser's state from named tensors."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = value
    if state:
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
