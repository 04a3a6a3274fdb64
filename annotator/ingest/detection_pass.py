"""The detection pass: runs a detector on a project's photos in the background and stores the detections.

It is a second pass after the ingest, photo by photo at low priority, so neither the first photo nor a proposal waits
for it; proposals only read stored detections. Knows nothing of pages.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from annotator.datasets.image_folder import decode_image
from annotator.errors import AnnotatorError, UnreadableImageError
from annotator.models.detectors.detector import NANODET, NONE, Detection, Detector
from annotator.models.detectors.detector_catalog import load_detector
from annotator.models.detectors.detector_install import is_installed
from annotator.storage.detections import DetectionStore

logger = logging.getLogger(__name__)

COMMIT_SECONDS = 2.0
"""Interval of commits: a killed run loses no more than that."""


@dataclass(frozen=True)
class DetectionProgress:
    """Progress of the detection pass."""

    detector: str = NONE
    """The detector that runs, or ``none``."""
    running: bool = False
    num_found: int = 0
    """Photos without detections of this detector when the pass began."""
    num_done: int = 0
    num_unreadable: int = 0
    """Of these, photos with missing or damaged files; they are tried again at the next start."""
    photos_per_second: float = 0.0
    error: str | None = None


class DetectionPass:
    """Runs the detector on every photo without detections of it.

    Args:
        detections: Where the detections are stored.
        name: The detector; with ``none`` the pass does nothing.
        read_photo: Image id -> the photo's bytes.
        num_threads: CPU threads of the detector.
        load: Loads a detector by its name.
    """

    def __init__(
        self,
        detections: DetectionStore,
        name: str,
        read_photo: Callable[[int], bytes],
        num_threads: int,
        load: Callable[..., Detector] = load_detector,
    ) -> None:
        self._detections = detections
        self._name = name
        self._read_photo = read_photo
        self._num_threads = num_threads
        self._load = load
        self._stop = threading.Event()
        self._began = 0.0
        self._num_found = self._num_done = self._num_unreadable = 0
        self.progress = DetectionProgress(detector=name)

    def stop(self) -> None:
        """Request that a run ends after the current photo."""
        self._stop.set()

    def run(self) -> DetectionProgress:
        """Run on the photos; what is committed remains if the run is stopped or killed.

        Raises:
            DetectorError: The detector cannot be loaded.
            StoreError: The project cannot be written.
        """
        if self._name == NONE:
            return self.progress
        error: str | None = None
        try:
            self._run()
        except Exception as failure:
            error = str(failure) if isinstance(failure, AnnotatorError) else f"The detector failed: {failure}"
            raise
        finally:
            self._report(running=False, error=error)
        return self.progress

    def _run(self) -> None:
        self._num_done = self._num_unreadable = 0
        detector = self._load(self._name, num_threads=self._num_threads)
        version = f"{detector.name}-{detector.version}"
        missing = self._detections.missing(version)
        self._num_found = len(missing)
        self._began = time.monotonic()
        batch: list[tuple[int, Sequence[Detection]]] = []
        committed = time.monotonic()
        try:
            for image_id in missing:
                if self._stop.is_set():
                    return
                try:
                    image = decode_image(self._read_photo(image_id), min_side=detector.image_size).image
                except UnreadableImageError as reason:
                    self._num_unreadable += 1
                    logger.info("The detector cannot read photo %d: %s", image_id, reason)
                else:
                    batch.append((image_id, detector.detect([image])[0]))
                self._num_done += 1
                if batch and time.monotonic() - committed > COMMIT_SECONDS:
                    self._detections.add(version, batch)
                    batch, committed = [], time.monotonic()
                self._report(running=True)
        finally:
            if batch:
                self._detections.add(version, batch)

    def _report(self, *, running: bool, error: str | None = None) -> None:
        seconds = time.monotonic() - self._began
        self.progress = DetectionProgress(
            detector=self._name,
            running=running,
            num_found=self._num_found,
            num_done=self._num_done,
            num_unreadable=self._num_unreadable,
            photos_per_second=round(self._num_done / seconds, 1) if seconds > 0.2 else 0.0,
            error=error,
        )


def wanted_detector(setting: str) -> str:
    """Return the detector of a project's setting; of an empty one, NanoDet if it is installed, otherwise none."""
    if setting:
        return setting
    return NANODET if is_installed() else NONE
