"""Integrity checks of a project: the log, the tables derived from it, features, indexes, checkpoints and photos.

The log is authoritative; what can be derived from it, or computed again from the photos, can be repaired. Knows nothing
of servers.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotator.datasets.image_folder import content_hash, read_image_file
from annotator.datasets.photo_roots import PhotoRoot, PhotoUrl
from annotator.datasets.pixel_digest import has_pixels
from annotator.errors import BackboneError, CheckpointError, RetrievalError, StoreError, UnreadableImageError
from annotator.maintenance.needed_files import DIGESTS_FILE
from annotator.models.backbones.pretrained import find_architecture
from annotator.models.checkpoint import SETTINGS_FILE, read_info
from annotator.models.checkpoint import find as find_checkpoint
from annotator.models.taggers.cold_start import COLD_START
from annotator.retrieval.faiss_backend import load_faiss
from annotator.retrieval.index_file import TAGGED_PHOTOS, read_index_file
from annotator.storage.database import Store
from annotator.storage.digested_json import without_digest
from annotator.storage.event_digests import FIRST, SELECTED, next_digest
from annotator.storage.features import add_missing_digests, changed_rows
from annotator.storage.images import ImageEntry, SeenPath
from annotator.storage.photo_places import PhotoFolders
from annotator.storage.project import Project

ROWS_AT_ONCE = 4096
NUM_INDEX_SAMPLES = 100
"""Features of the sample that is searched in an index."""
NUM_NEAREST = 16
"""Neighbours among which a photo must be found by its own feature: its copies are equally near."""
LEAST_FOUND = 0.9
"""Share of the sample that must be found: an inverted file rounds features."""


@dataclass(frozen=True)
class Finding:
    """A defect of the project, or something to be known of it."""

    what: str
    """A sentence."""
    is_repairable: bool
    """Whether `repair` corrects it; other defects need a backup or the photos."""
    is_damage: bool = True
    """Whether something is wrong; otherwise it is to be known."""


@dataclass(frozen=True)
class _Replayed:
    """The tags of an image after its events."""

    revision: int
    tags: list[str]
    dropped: list[str]
    is_saved: bool
    user_name: str
    saved_at: Any
    event_id: int


def check(project: Project, store: Store, *, reads_photos: bool = False) -> list[Finding]:
    """Check a project; changes nothing.

    Args:
        project: The project.
        store: Its open database.
        reads_photos: Whether every photo is read, which takes as long as adding it.

    Raises:
        StoreError: The database cannot be read.
    """
    replayed, findings = _replay(store)
    findings += _check_readable(store)
    findings += _check_settings(project)
    findings += _check_annotations(store, replayed)
    findings += _check_references(store)
    findings += _check_responses(store)
    findings += _check_features(project, store)
    findings += _check_indexes(project, store)
    findings += _check_checkpoints(project)
    findings += _check_models(project)
    findings += _check_changed(store)
    if reads_photos:
        findings += _check_photos(store)
    return findings


def repair(project: Project, store: Store, *, reads_photos: bool = False) -> list[Finding]:
    """Repair what is repairable, in one transaction, and return the remaining findings.

    Annotations are derived from the log again; changed features are deleted, so that the next `annotator add` or
    `serve` computes them again; indexes are deleted, so that they are built again.

    Raises:
        StoreError: The commit failed; nothing was changed.
    """
    replayed, _ = _replay(store)
    lost = list(_lost_features(project, store))
    with store.transaction() as cursor:
        cursor.execute("DELETE FROM annotations")
        for image_id, now in replayed.items():
            cursor.execute(
                "INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    image_id,
                    now.revision,
                    now.tags,
                    now.dropped,
                    now.is_saved,
                    now.user_name,
                    now.saved_at,
                    now.event_id,
                ],
            )
        cursor.execute("DELETE FROM drafts WHERE image_id NOT IN (SELECT image_id FROM images)")
        for backbone, image_ids in lost:
            cursor.execute(
                "DELETE FROM features WHERE backbone = ? AND image_id IN (SELECT unnest(?::INTEGER[]))",
                [backbone, image_ids],
            )
    for path in project.indexes_path.glob("*.faiss"):
        path.unlink()
    _add_digests(project, store)
    return check(project, store, reads_photos=reads_photos)


def _replay(store: Store) -> tuple[dict[int, _Replayed], list[Finding]]:
    """Replay the log; return the resulting tags of each image, and the defects of the log itself."""
    replayed: dict[int, _Replayed] = {}
    findings = []
    rows = store.rows(f"SELECT {SELECTED}, digest FROM events ORDER BY event_id")
    digest_before = FIRST
    for expected_id, row in enumerate(rows, start=1):
        event_id, kind, image_id, user_name, created_at, revision, before, after, is_saved, _, dropped = row[:11]
        if event_id == expected_id and row[-1] != next_digest(digest_before, row[:-1]):
            findings.append(
                Finding(f"Event {event_id:,} is not as it was written, or an event before it is another one.", False)
            )
        digest_before = row[-1] or FIRST
        if event_id != expected_id:
            findings.append(Finding(f"The log goes from event {expected_id - 1:,} to event {event_id:,}.", False))
            break
        if kind == "skip":
            continue
        was = replayed.get(image_id)
        if revision != (was.revision if was else 0) + 1:
            findings.append(Finding(f"Event {event_id:,} does not follow the one before on image {image_id:,}.", False))
        elif list(before) != (was.tags if was else []):
            findings.append(Finding(f"Event {event_id:,} starts with other tags than the one before it.", False))
        replayed[image_id] = _Replayed(revision, after, dropped, is_saved, user_name, created_at, event_id)
    return replayed, findings


def _check_readable(store: Store) -> Iterator[Finding]:
    """Read every value of every table: the database's own checksums are compared where it is read."""
    for (table,) in store.rows("SELECT table_name FROM duckdb_tables() WHERE NOT internal ORDER BY table_name"):
        name = str(table).replace('"', '""')
        try:
            store.rows(f'SELECT bit_xor(hash("{name}")) FROM "{name}"')
        except StoreError as error:
            yield Finding(f"The table {table} cannot be read. {error}", False)


def _check_settings(project: Project) -> Iterator[Finding]:
    if not project.settings_are_as_written:
        yield Finding(
            f"{project.settings_path} is not as annotator wrote it: it was changed by hand, or is damaged. Look at it; "
            "the next change of a setting writes it again.",
            is_repairable=False,
            is_damage=False,
        )


def _check_annotations(store: Store, replayed: dict[int, _Replayed]) -> Iterator[Finding]:
    rows = store.rows(
        "SELECT image_id, revision, tags, dropped, is_saved, user_name, saved_at, event_id FROM annotations"
    )
    stored = {row[0]: _Replayed(*row[1:]) for row in rows}
    for image_id in sorted(stored.keys() | replayed.keys()):
        if stored.get(image_id) != replayed.get(image_id):
            yield Finding(f"The stored tags of image {image_id:,} differ from those of its events.", True)


def _check_references(store: Store) -> Iterator[Finding]:
    tables = {"events": False, "annotations": True, "drafts": True, "asked": False, "answers": False, "reviews": False}
    for table, is_repairable in tables.items():
        rows = store.rows(f"SELECT count(*) FROM {table} WHERE image_id NOT IN (SELECT image_id FROM images)")
        if rows[0][0]:
            yield Finding(f"{rows[0][0]:,} rows of {table} belong to unknown images.", is_repairable)
    double = store.rows(
        "SELECT count(*) FROM (SELECT backbone, image_id FROM features GROUP BY ALL HAVING count(*) > 1)"
    )[0][0]
    if double:
        yield Finding(f"{double:,} images have two rows of features.", False)


def _check_responses(store: Store) -> Iterator[Finding]:
    """Check that the revisions of responses have no gaps, and that people were asked about their photos."""
    rows = store.rows(
        "SELECT image_id, user_name FROM answers GROUP BY image_id, user_name "
        "HAVING count(*) <> max(revision) - min(revision) + 1 ORDER BY image_id, user_name"
    )
    for image_id, user_name in rows:
        yield Finding(f"The answers of {user_name} on image {image_id:,} have a gap or a repeat.", False)
    for table in ("answers", "reviews"):
        count = store.rows(f"SELECT count(*) FROM {table} WHERE image_id NOT IN (SELECT image_id FROM asked)")[0][0]
        if count:
            yield Finding(f"{count:,} rows of {table} belong to images that nobody is asked about.", False)


def _check_features(project: Project, store: Store) -> Iterator[Finding]:
    for backbone, image_ids in _lost_features(project, store):
        defect = "are missing, not finite, or changed since they were written"
        yield Finding(f"{len(image_ids):,} features of {backbone} {defect}.", True)


def _lost_features(project: Project, store: Store) -> Iterator[tuple[str, list[int]]]:
    """Yield each backbone with the images whose features are not on disk, not finite, or changed."""
    for backbone, path, rows in _feature_files(project, store):
        size = _feature_size(backbone)
        if not path.is_file():
            yield backbone, [image_id for image_id, _ in rows]
        elif size is not None and (lost := _not_as_written(path, size, rows)):
            yield backbone, lost


def _feature_files(project: Project, store: Store) -> Iterator[tuple[str, Path, list[tuple[int, int]]]]:
    """Yield each backbone with its feature file and the committed (image id, row) pairs."""
    for (backbone,) in store.rows("SELECT DISTINCT backbone FROM features ORDER BY backbone"):
        yield backbone, project.features_path / f"{backbone}.f32", store.images.feature_rows(backbone)


def _add_digests(project: Project, store: Store) -> None:
    """Write the digests that features of older versions lack."""
    for backbone, path, rows in _feature_files(project, store):
        size = _feature_size(backbone)
        if size is not None and rows and path.is_file():
            add_missing_digests(path, size, max(row for _, row in rows) + 1)


def _feature_size(label: str) -> int | None:
    """Return D of the backbone with a label (name-version); None if this version does not know it."""
    for num_parts in (2, 1):  # the version is a hash and a revision, joined by a hyphen; once it had no revision
        try:
            return find_architecture(label.rsplit("-", num_parts)[0]).feature_size
        except BackboneError:
            continue
    return None


def _not_as_written(path: Path, size: int, rows: list[tuple[int, int]]) -> list[int]:
    values = _mapped(path, size)
    lost = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        lost += [image_id for image_id, row in part if row >= len(values)]
        inside = [(image_id, row) for image_id, row in part if row < len(values)]
        vectors = values[[row for _, row in inside]]
        finite = np.asarray(np.isfinite(vectors).all(axis=1))
        changed = set(changed_rows(path, [row for _, row in inside], vectors))
        lost += [i for (i, row), is_finite in zip(inside, finite, strict=True) if not is_finite or row in changed]
    return lost


def _mapped(path: Path, size: int) -> npt.NDArray[np.float32]:
    """Return all complete rows of a feature file."""
    num_rows = path.stat().st_size // (size * 4)
    return np.memmap(path, "<f4", "r", shape=(num_rows, size)) if num_rows else np.empty((0, size), "<f4")


def _check_indexes(project: Project, store: Store) -> Iterator[Finding]:
    """Check that each saved index can be read and has features of this project.

    It may lack photos that were added after it was saved: they are added when the project is opened.
    """
    for path in sorted(project.indexes_path.glob("*.faiss")):
        label = path.stem.removesuffix(TAGGED_PHOTOS)
        size, rows = _feature_size(label), dict(store.images.feature_rows(label))
        try:
            faiss = load_faiss()
            _, ids, index = read_index_file(path, faiss)
        except RetrievalError as error:
            yield Finding(str(error), True)
            continue
        unknown = set(ids.tolist()).difference(rows)
        if unknown:
            yield Finding(f"The index {path} holds {len(unknown):,} photos that have no features.", True)
        features_path = project.features_path / f"{label}.f32"
        known = [image_id for image_id in ids.tolist() if image_id in rows]
        if size is None or not known or not features_path.is_file():
            continue
        sample = np.random.default_rng(0).choice(known, min(NUM_INDEX_SAMPLES, len(known)), replace=False).tolist()
        values = _mapped(features_path, size)
        sample = [image_id for image_id in sample if rows[image_id] < len(values)]
        num_found = _num_found(index, sample, values[[rows[image_id] for image_id in sample]])
        if num_found < LEAST_FOUND * len(sample):
            yield Finding(f"The index {path} has other features than the project: {num_found} of {len(sample)}.", True)


def _num_found(index: Any, image_ids: list[int], vectors: npt.NDArray[np.float32]) -> int:
    """Return how many images are found in an index by their own features."""
    if not image_ids:
        return 0
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = np.ascontiguousarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)
    _, found = index.search(queries, min(NUM_NEAREST, index.ntotal))
    return sum(image_id in near for image_id, near in zip(image_ids, found.tolist(), strict=True))


def _check_changed(store: Store) -> Iterator[Finding]:
    """Name the photos whose pixels changed after their tags were saved."""
    rows = store.rows(
        "SELECT i.image_id, i.changed_at, any_value(p.path ORDER BY p.is_gone, p.root_id, p.path) FROM images i "
        "JOIN annotations a USING (image_id) LEFT JOIN paths p USING (image_id) "
        "WHERE a.is_saved AND i.changed_at > a.saved_at GROUP BY ALL ORDER BY i.image_id"
    )
    for image_id, changed_at, path in rows:
        yield Finding(
            f"The pixels of image {image_id:,} ({path or 'without a file'}) have changed since its tags were saved; "
            f"that was seen on {changed_at:%Y-%m-%d}. Look at its tags again.",
            is_repairable=False,
            is_damage=False,
        )


def _check_photos(store: Store) -> Iterator[Finding]:
    """Compare every photo with the digests of its bytes and, where these differ, of its pixels."""
    folders = PhotoFolders()
    num_away: Counter[str] = Counter()
    num_written = num_remote = 0
    for image_id, files in _files_of_images(store):
        entry = store.images.entry(image_id)
        if any(isinstance(root, PhotoUrl) and not file.is_gone for root, file in files):
            num_remote += 1
            continue
        on_disk = [(root, file) for root, file in files if isinstance(root, Path)]
        there = [(root / file.path, file) for root, file in on_disk if folders.is_there(str(root))]
        present = [(path, file) for path, file in there if path.is_file()]
        root, first = files[0]
        if not present and not all(folders.is_there(str(root)) for root, file in files if not file.is_gone):
            num_away[str(root)] += 1
        elif not present:
            yield Finding(
                f"The photo {root / first.path} is gone: deleted, or moved out of the project's folders.", False
            )
        for path, file in present:
            if file.is_gone:
                continue
            try:
                what = _compare(path, file, entry)
            except (OSError, UnreadableImageError) as error:
                yield Finding(f"The photo {path} cannot be read ({getattr(error, 'strerror', None) or error}).", False)
                continue
            num_written += what == WRITTEN
            if what == CHANGED:
                yield Finding(f"The photo {path} has changed since it was added: its pixels are others.", False)
    for folder, number in sorted(num_away.items()):
        yield Finding(
            f"The folder {folder} is missing or empty, so {number:,} photos of it were not compared. If it is on "
            "another disk, connect that; if it was moved, add it at its new place: annotator add.",
            is_repairable=False,
            is_damage=False,
        )
    if num_remote:
        yield Finding(
            f"{num_remote:,} photos lie behind URLs and were not compared, since each would be read whole.",
            is_repairable=False,
            is_damage=False,
        )
    if num_written:
        yield Finding(
            f"Other programs have written into {num_written:,} photos since they were added; the pixels are the same.",
            is_repairable=False,
            is_damage=False,
        )


AS_ADDED, WRITTEN, CHANGED = "as added", "written", "changed"


def _compare(path: Path, file: SeenPath, entry: ImageEntry) -> str:
    """Return how a file differs from what ingest read of it.

    Raises:
        UnreadableImageError: It cannot be read, or decoded.
    """
    data = read_image_file(path)
    if content_hash(data) == (file.content_hash or entry.content_hash):
        return AS_ADDED
    return WRITTEN if entry.pixel_digest is not None and has_pixels(data, entry.pixel_digest) else CHANGED


def _files_of_images(store: Store) -> Iterator[tuple[int, list[tuple[PhotoRoot, SeenPath]]]]:
    """Yield each image that ever had a file with its files, those that are gone last."""
    for (image_id,) in store.rows("SELECT DISTINCT image_id FROM paths WHERE image_id IS NOT NULL ORDER BY image_id"):
        files = list(store.images.seen_files(int(image_id)))
        if files:
            yield int(image_id), files


def _check_checkpoints(project: Project) -> Iterator[Finding]:
    for path in sorted(project.checkpoints_path.rglob(SETTINGS_FILE)):
        try:
            info = read_info(path.parent)
        except CheckpointError as error:
            yield Finding(f"The checkpoint {path.parent} cannot be read ({error}).", False)
            continue
        files = {info.weights_file: info.weights_sha256, info.backbone_file: info.backbone_sha256}
        for name, wanted in files.items():
            found = _sha256(path.parent / name) if name else wanted
            if found is None:
                yield Finding(f"The checkpoint {path.parent} cannot be read: its file {name} is missing.", False)
            elif found != wanted:
                yield Finding(f"The weights of the checkpoint {path.parent} have another hash than it lists.", False)
        yield from _check_json(path.with_name("trained_on.json"))


def _check_json(path: Path) -> Iterator[Finding]:
    try:
        if path.exists() and not without_digest(json.loads(path.read_bytes()))[1]:
            raise ValueError("it is not as it was written")
    except (OSError, ValueError, AttributeError) as error:
        yield Finding(f"{path} cannot be read ({error}).", False)


def _check_models(project: Project) -> Iterator[Finding]:
    """Check what the project is served with: its tagger, its tuned backbones, and the models that it brings along."""
    settings = project.settings
    for path in sorted(project.backbones_path.glob("*.safetensors")):
        if not path.stem.endswith(f"-{(_sha256(path) or '')[:12]}"):
            yield Finding(f"The fine-tuned backbone {path} is damaged: its SHA-256 is not the one in its name.", False)
    if settings.backbone_weights and not (project.backbones_path / settings.backbone_weights).is_file():
        yield Finding(f"The fine-tuned backbone {settings.backbone_weights} of the project is missing.", False)
    if settings.tagger and settings.tagger != COLD_START:
        is_own = settings.tagger.startswith("checkpoints/")
        source = project.folder / settings.tagger if is_own else settings.tagger
        try:
            find_checkpoint(source)
        except CheckpointError as error:
            yield Finding(f"The tagger of the project is missing. {error}", False)
    digests_file = project.models_path / DIGESTS_FILE
    try:
        digests = json.loads(digests_file.read_bytes()) if digests_file.exists() else {}
        wrong = [name for name, digest in digests.items() if _sha256(project.models_path / name) != digest]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        yield Finding(f"The list {digests_file} of models that came with the backup cannot be read ({error}).", False)
        return
    for name in wrong:
        what = "that came with the backup has changed or is missing"
        yield Finding(f"The model {project.models_path / name} {what}.", False)


def _sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file, in hex; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
