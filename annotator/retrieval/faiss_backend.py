"""The FAISS package: its import, its description for ``annotator doctor``, and searches on a GPU.

The only module that imports FAISS. Knows nothing of images or of the meaning of vectors.
"""

import importlib
import logging
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from annotator.errors import RetrievalError

logger = logging.getLogger(__name__)

UseGpu = Literal["auto", "never"]
Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]

PACKAGES = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12")
"""Distributions that install the module ``faiss``; two at once overwrite each other's files."""

HOW_TO_INSTALL = (
    'Run `pip install "annotator[cpu]"`, or `pip install "annotator[gpu]"` on a machine with an NVIDIA GPU.'
)


def load_faiss() -> ModuleType:
    """Import FAISS when it is first needed, so that commands without a search work without it.

    Raises:
        RetrievalError: FAISS is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        packages = _installed_packages()
        if packages:
            raise RetrievalError(f"{_describe(packages)} cannot be imported: {error}. {HOW_TO_INSTALL}") from error
        raise RetrievalError(f"FAISS, which finds similar photos, is not installed. {HOW_TO_INSTALL}") from error


def describe_faiss() -> dict[str, Any]:
    """Return which FAISS is installed and its problem, as JSON values.

    Returns:
        ``packages`` (name -> version), ``version`` of the imported module or None, ``num_gpus`` that it detects,
        and ``problem``: one sentence, or None.
    """
    packages = _installed_packages()
    described: dict[str, Any] = {"packages": packages, "version": None, "num_gpus": 0, "problem": None}
    try:
        faiss = load_faiss()
    except RetrievalError as error:
        described["problem"] = str(error)
    else:
        described["version"] = faiss.__version__
        described["num_gpus"] = faiss.get_num_gpus()
    if len(packages) > 1:
        described["problem"] = (
            f"{_describe(packages)} are installed together, and each overwrites the other's files. "
            f"Run `pip uninstall {' '.join(packages)}`, then install one of them. {HOW_TO_INSTALL}"
        )
    return described


def _describe(packages: dict[str, str]) -> str:
    return " and ".join(f"{name} {number}" for name, number in packages.items())


def _installed_packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class GpuClone:
    """A copy of a CPU index on the GPU: a cache that is discarded whenever the CPU index changes.

    A GPU index is not thread-safe, not even for reads: every use is under a lock, and the clone has its own
    ``StandardGpuResources``.

    Args:
        faiss: The imported module.
        use_gpu: "never" does not use the GPU; "auto" uses it if FAISS detects one.
        settle_seconds: How long the CPU index must have been unchanged before it is copied. While photos are being
            added, copying a large index takes longer than the faster searches save.
    """

    def __init__(self, faiss: ModuleType, use_gpu: UseGpu, settle_seconds: float) -> None:
        self._faiss = faiss
        self._settle_seconds = settle_seconds
        self._lock = threading.Lock()
        self._is_usable = use_gpu == "auto" and faiss.get_num_gpus() > 0
        self._resources: Any = None
        self._index: Any = None
        self._version = -1

    def search(self, cpu_index: Any, version: int, changed_at: float, vectors: Any, k: int) -> Found | None:
        """Search the clone, after copying the index again if its version changed.

        Args:
            cpu_index: The index to clone; must not change during the call.
            version: Number of the CPU index's current content.
            changed_at: Time of its last change, by ``time.monotonic()``.
            vectors: (B, D) float32.
            k: Number of neighbours.

        Returns:
            The same as ``cpu_index.search``; None if the CPU must serve the search.
        """
        if not self._is_usable:
            return None
        with self._lock:
            if not self._is_usable:  # another search failed while this one waited
                return None
            if self._version != version and time.monotonic() - changed_at < self._settle_seconds:
                self._index = None  # frees its memory for the next clone
                return None
            try:
                if self._index is None or self._version != version:
                    self._clone(cpu_index, version)
                found: Found = self._index.search(vectors, k)
            except RuntimeError as error:
                self._fall_back(error)
                return None
            return found

    def _clone(self, cpu_index: Any, version: int) -> None:
        self._index = None
        if self._resources is None:
            self._resources = self._faiss.StandardGpuResources()
        self._index = self._faiss.index_cpu_to_gpu(self._resources, 0, cpu_index)
        self._version = version

    def _fall_back(self, error: RuntimeError) -> None:
        logger.warning("The GPU cannot serve searches (%s); the CPU index serves them from now on.", error)
        self._is_usable = False
        self._index = self._resources = None
