"""Keeps XMP sidecars beside the photos in step with the saved lists, in the background.

A sidecar whose keywords another program has changed since is not overwritten: both lists are kept for a person.
A folder that cannot be written, or a full disk, is noted and costs no save. Photos are never written to.
"""

import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.reading import read_small
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.formats.xmp import XmpOptions, keywords_of, merged, sidecar_name
from annotator.datasets.photo_fields import CATEGORY, DESCRIPTION, TITLE
from annotator.datasets.tags import tag_key
from annotator.errors import DataError, StoreError
from annotator.storage.correction_log import Annotation, CorrectionLog
from annotator.storage.database import Store
from annotator.storage.field_values import values_of
from annotator.storage.private_files import shared_mode
from annotator.storage.project import write_atomically
from annotator.storage.sidecar_states import CHANGED, FAILED, WRITTEN, SidecarState, SidecarStates

logger = logging.getLogger(__name__)


class SidecarsInStep:
    """Writes the sidecars of one project.

    Args:
        store: The open database.
        log: The correction log on it.
        profile: The program that the sidecars are for, a key of `xmp.PROFILES`.
        levels_of: Tag -> the tags above it in the project's vocabulary, the highest first.
    """

    def __init__(
        self,
        store: Store,
        log: CorrectionLog,
        profile: str,
        levels_of: Callable[[str], tuple[str, ...]] = lambda tag: (),
    ) -> None:
        self._levels_of = levels_of
        self.options = XmpOptions(profile=profile)
        self.states = SidecarStates(store)
        self._store = store
        self._log = log
        self._lock = threading.Lock()

    def write(self, image_id: int, *, overwrites: bool = False) -> list[SidecarState]:
        """Bring the sidecars of a photo's files in step with its list; one call after the other.

        Args:
            image_id: The photo.
            overwrites: Replace keywords that another program has changed, where they are those that were noticed.

        Returns:
            Each sidecar's new state; none where there is neither a list nor a sidecar.

        Raises:
            StoreError: The database could not be read or written.
        """
        found = []
        with self._lock:  # from reading a sidecar to storing its state: a second writer would store an older state
            annotation = self._log.annotation(image_id)
            for root, path in self._store.images.paths(image_id):
                if isinstance(root, Path):
                    state = self._write_one(root / path, annotation, overwrites)
                else:
                    reason = "Sidecars are written beside photos on a disk only."
                    state = SidecarState(str(root / path), image_id, FAILED, annotation.revision, (), reason=reason)
                if state is not None:
                    self.states.put(state)
                    found.append(state)
        return found

    def _write_one(self, photo: Path, annotation: Annotation, overwrites: bool) -> SidecarState | None:
        path = photo.parent / sidecar_name(photo.name, self.options, photo.parent)
        before = self.states.get(str(path))
        state = SidecarState(
            str(path), annotation.image_id, WRITTEN, annotation.revision, before.written if before else ()
        )
        tags = annotation.tags if annotation.is_saved else ()
        try:
            if path.is_symlink():
                raise DataError(f"{path} is a link, and is left alone.")
            if not path.exists():
                if not tags:
                    return None if before is None else replace(state, written=())
                existing = None
                here: tuple[str, ...] = ()
            else:
                existing = read_small(path)
                here = tuple(keywords_of(existing, str(path)))
            settles = overwrites and before is not None and before.state == CHANGED and here == before.found
            if before is not None and existing is not None and not settles and _keys(here) != _keys(before.written):
                return replace(state, state=CHANGED, revision=before.revision, found=here)
            options = replace(self.options, keywords="replace") if settles else self.options
            levels = {tag: above for tag in tags if (above := self._levels_of(tag))}
            fields = values_of(self._store, [annotation.image_id]).get(annotation.image_id, {})
            about = TaggedPhoto(
                photo.name, tags, dropped=annotation.dropped, levels=levels, title=fields.get(TITLE, ""),
                description=fields.get(DESCRIPTION, ""), category=fields.get(CATEGORY, ""),
            )  # fmt: skip
            data = merged(existing, about, options, Report(), str(path))
            assert data is not None  # only `refuse` gives none
            if data != existing:
                _put(path, data, existing)
            return replace(state, written=tuple(keywords_of(data, str(path))))
        except DataError as error:
            return replace(state, state=FAILED, revision=before.revision if before else 0, reason=str(error))
        except OSError as error:
            reason = f"{path} could not be written: {error.strerror or error}."
            return replace(state, state=FAILED, revision=before.revision if before else 0, reason=reason)


def _keys(tags: Iterable[str]) -> set[str]:
    return {tag_key(tag) for tag in tags}


def _put(path: Path, data: bytes, existing: bytes | None) -> None:
    """Replace a sidecar, with its permissions, unless another program has just written it.

    Raises:
        DataError: It has.
        OSError: The disk or the folder refuses.
    """
    mode = stat.S_IMODE(path.stat().st_mode) if existing is not None else None
    if existing is not None and read_small(path) != existing:
        raise DataError(f"{path} was written by another program at this moment.")
    write_atomically(path, data, mode=shared_mode(), exact=True)
    if mode is not None:
        os.chmod(path, mode)


class SidecarWriter:
    """Writes sidecars in a thread, in the order in which photos were saved.

    Args:
        sidecars: Does the writing.
    """

    def __init__(self, sidecars: SidecarsInStep) -> None:
        self.sidecars = sidecars
        self._waiting: dict[int, None] = {}
        self._condition = threading.Condition()
        self._is_stopping = False
        self._is_busy = False
        self._thread = threading.Thread(target=self._run, name="sidecars", daemon=True)
        self._thread.start()

    def request(self, image_ids: Iterable[int]) -> None:
        """Ask for the sidecars of photos to be written; returns at once."""
        with self._condition:
            self._waiting |= dict.fromkeys(image_ids)
            self._condition.notify_all()

    @property
    def num_waiting(self) -> int:
        """Number of photos whose sidecars are not written yet."""
        with self._condition:
            return len(self._waiting) + self._is_busy

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until nothing waits any more; return whether that is so."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._waiting and not self._is_busy, timeout_seconds)

    def stop(self) -> None:
        """End the thread after the sidecar in hand; the next start catches up."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        self._thread.join()

    def _run(self) -> None:
        with suppress(StoreError):
            self.request(self.sidecars.states.behind())
        while True:
            with self._condition:
                self._is_busy = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._waiting or self._is_stopping)
                if self._is_stopping:
                    return
                image_id = next(iter(self._waiting))
                del self._waiting[image_id]
                self._is_busy = True
            try:
                self.sidecars.write(image_id)
            except StoreError as error:
                logger.warning("The sidecars of photo %d are not in step: %s", image_id, error)
