"""Runs the steps of `annotator embed` on a Ray cluster, with Ray Data. The only module that imports Ray.

Reading and decoding are tasks of one core; the network is an actor of so many cores or a GPU. Ray Data bounds what
waits between the steps, and repeats the work of a worker that has ended. Results come back in the order of the files,
to the one process that writes shards. Every machine needs this program, the backbone's weights, and the photos under
the same path. Knows nothing of shards' files.
"""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image

from annotator import __version__
from annotator.datasets.formats.parquet import load_pyarrow
from annotator.datasets.photo_roots import PhotoRoot
from annotator.errors import AnnotatorError, BackboneError, ConfigError, ShardError
from annotator.ingest.embedding import FileRead, read_file, with_features
from annotator.ingest.photo_source import FoundFile, PhotoSource
from annotator.ingest.remote_photos import source_of
from annotator.models.backbones.backbone import Backbone, Crops, load_backbone
from annotator.models.backbones.pretrained import Architecture, center_crop, find_architecture
from annotator.ranges import check_range

FILES_A_TASK = 32
"""Files of one reading task, and of one call of an actor: their decoded crops are in memory together."""
TASKS_A_PROCESS = 1_000
"""Reading tasks after which a worker process is replaced, which gives back memory that decoders have kept."""
CONNECT_SECONDS = 10.0
"""Deadline of a connection to the head of a cluster: Ray itself waits for minutes."""
LOCAL = "local"


@dataclass(frozen=True)
class RaySettings:
    """How many of a cluster's machines are used."""

    address: str = LOCAL
    """`local` starts Ray on this machine; `auto` finds the running cluster; else the address of its head."""
    num_actors: int = 0
    """Actors with a network; 0: one a GPU, else as many as leave half of the cores to reading."""
    num_actor_cores: int = 1
    """Cores of an actor, which are the threads of its network."""

    def __post_init__(self) -> None:
        check_range(self, "num_actors", 0, 10_000)
        check_range(self, "num_actor_cores", 1, 64)


@dataclass(frozen=True)
class Step:
    """What every worker needs to know."""

    root: PhotoRoot
    backbone: str
    backbone_label: str
    """Name and version that the network of every worker must have."""
    thumbnail_size: int
    """Longest side, in pixels."""
    num_threads: int
    """Of a network on the CPU."""
    version: str = __version__
    """Of this program, which every worker must have."""


class RayEngine:
    """Runs the steps on a cluster.

    Args:
        step: What every worker needs to know.
        settings: The cluster.
    """

    def __init__(self, step: Step, settings: RaySettings) -> None:
        self._step, self._settings = step, settings

    def run(self, files: Sequence[FoundFile], is_known: Callable[[str], bool]) -> Iterator[FileRead]:
        """Yield what each file gave; see `Engine.run`.

        A copy of a known photo is decoded too: workers do not see the shards. Its data is not written again.

        Raises:
            ConfigError: Ray is not installed, no cluster is found, or it has too few cores.
            BackboneError: A worker has another version of the backbone.
            ShardError: A worker does not see the photos, or Ray cannot go on.
        """
        ray = _load_ray()
        with _cluster(ray, self._settings.address), _sentences(ray):
            data = ray.data.from_arrow(
                [_packed(files[start : start + FILES_A_TASK]) for start in range(0, len(files), FILES_A_TASK)]
            )
            # With the same options as the actors, Ray Data would read in the actors; these have no max_calls.
            read = data.map_batches(
                _read, batch_size=None, batch_format="pyarrow", fn_kwargs={"step": self._step}, num_cpus=1,
                max_calls=TASKS_A_PROCESS,
            )  # fmt: skip
            embedded = read.map_batches(
                _Network, batch_size=None, batch_format="pyarrow", fn_constructor_args=(self._step,),
                **self._actors(ray),
            )  # fmt: skip
            for table in embedded.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
                yield from _unpacked(table)

    def _actors(self, ray: Any) -> dict[str, Any]:
        """Return the options of the actors: their number, and what each needs.

        Raises:
            ConfigError: They would leave no core to the tasks that read.
        """
        found, cores = ray.cluster_resources(), self._settings.num_actor_cores
        num_gpus, num_cores = int(found.get("GPU", 0)), int(found.get("CPU", 0))
        num = self._settings.num_actors or num_gpus or max(1, num_cores // (2 * cores))
        if num_gpus:
            needs = {"num_gpus": 1, "num_cpus": 0}
            if num > num_gpus:
                raise ConfigError(f"--actors is {num}, but the cluster has {num_gpus} GPUs, one for each actor.")
        else:
            needs = {"num_cpus": cores}
            if num * cores >= num_cores:
                raise ConfigError(
                    f"--actors {num} with --network-threads {cores} leave none of the cluster's {num_cores} cores for "
                    "reading. Choose fewer."
                )
        return {"compute": ray.data.ActorPoolStrategy(size=num), **needs}


def _load_ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anybody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what ends a run comes as an exception
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future way, without its warning
    try:
        import ray  # type: ignore[import-not-found, unused-ignore]
        import ray.data  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ConfigError("The engine ray needs the package ray: pip install 'annotator[ray]'.") from error
    return ray


@contextmanager
def _cluster(ray: Any, address: str) -> Iterator[None]:
    """Connect to a cluster, and leave it at the end; one that was started here ends."""
    options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    try:
        if address not in (LOCAL, "auto"):
            _check_reachable(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"No Ray cluster is reached at {address!r}: {_first_line(error)} Start one with `ray start --head`, or "
            "leave --address out."
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Connect to the head of a cluster once.

    Raises:
        OSError: Nothing listens there.
        ValueError: The address is not HOST:PORT.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("An address is HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


@contextmanager
def _sentences(ray: Any) -> Iterator[None]:
    """Turn what a worker raised into our error."""
    try:
        yield
    except ray.exceptions.RayError as error:
        cause = _cause_of(error)
        if cause is not None:
            raise cause from error
        raise ShardError(
            f"Ray could not go on: {_first_line(error)} The shards that were written stay; run the command again."
        ) from error


def _cause_of(error: BaseException) -> AnnotatorError | None:
    """Return the error of ours that a Ray error carries; None if it is of another kind."""
    pending, seen = [error], set()
    while pending:
        one = pending.pop()
        seen.add(id(one))
        if isinstance(one, AnnotatorError) and not hasattr(one, "cause"):  # Ray's own errors have the cause's class too
            return one
        others = (getattr(one, "cause", None), one.__cause__)
        pending += [other for other in others if isinstance(other, BaseException) and id(other) not in seen]
    return None


def _first_line(error: BaseException) -> str:
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return f"{line.rstrip('.')}."


def _packed(items: Sequence[FoundFile | FileRead]) -> Any:
    """Return a table of one column; what is in it never leaves the cluster."""
    pa = load_pyarrow()
    return pa.table({"item": pa.array([pickle.dumps(item) for item in items], pa.large_binary())})


def _unpacked(table: Any) -> Iterator[Any]:
    for item in table.column("item"):
        yield pickle.loads(item.as_py())


def _read(table: Any, step: Step) -> Any:
    """Read and decode files: a task."""
    if step.version != __version__:
        raise ConfigError(
            f"A machine of the cluster has annotator {__version__}, but this one has {step.version}. Install the same."
        )
    source, files = _source(step.root), list(_unpacked(table))
    if not source.is_there() or not any(source.holds(found.path) for found in files):  # or a disk that is not mounted
        raise ShardError(
            f"A machine of the cluster does not see the photos in {step.root}. Every one must see them there."
        )
    preprocessor = _ArchitecturePreprocessor(find_architecture(step.backbone))
    return _packed([read_file(source, found, lambda: preprocessor, step.thumbnail_size) for found in files])


@lru_cache(1)
def _source(root: PhotoRoot) -> PhotoSource:
    """Return the photos of a worker; the listings of their sidecars stay from task to task."""
    return source_of(root)


class _ArchitecturePreprocessor:
    """Brings photos to a network's size without its weights."""

    def __init__(self, architecture: Architecture) -> None:
        self._architecture = architecture
        self.image_size = architecture.image_size

    def preprocess(self, image: Image.Image) -> Crops:
        return center_crop(self._architecture, image)


class _Network:
    """Computes features: an actor."""

    def __init__(self, step: Step) -> None:
        self._backbone: Backbone | None = None
        self._step = step

    def __call__(self, table: Any) -> Any:
        return _packed(with_features(list(_unpacked(table)), self._network, set()))

    def _network(self) -> Backbone:
        """Return the network; loaded by the first call, whose errors reach the driver as they are.

        Raises:
            BackboneError: It is missing on this machine, or is another version.
        """
        if self._backbone is None:
            backbone = load_backbone(self._step.backbone, num_threads=self._step.num_threads)
            label = f"{backbone.name}-{backbone.version}"
            if label != self._step.backbone_label:
                raise BackboneError(
                    f"A machine of the cluster has the backbone {label}, but this run is of "
                    f"{self._step.backbone_label}. Install the same on every machine."
                )
            self._backbone = backbone
        return self._backbone
