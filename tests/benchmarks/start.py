"""A large project: how soon a server answers and proposes after its start, how fast it is then, and what it takes.

    python tests/benchmarks/start.py [--photos 100000] [--tagged 20000] [--starts 3] [--json]

Makes a project of so many photos without files, with features (clusters with noise), words of paths and captions, and
saved lists of one to nine tags from 2,000, frequent and rare ones. It is served again and again: at the first start no
index is there, as after `annotator restore`; each later start finds what the server before has kept. A start is timed
from the process's begin: until the address is printed, until a first photo is answered by REST, and until one is
answered with proposals from the tagged photos too. Between two starts the server gets idle and is ended; ``--kill``
kills it instead, after it has kept its indexes. The last server, before it ends, saves --calls photos, each with the
next one in its answer, and is asked for pages and facets of the library; then the sizes of the project's files are
printed.
"""

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import Served, percentiles, report, served
from save import save

from annotator.datasets.pixel_digest import digest_scheme
from annotator.ingest.renditions import decoded_side
from annotator.models.backbones.backbone import load_backbone
from annotator.models.detectors.detector import NONE
from annotator.settings import IngestConfig
from annotator.storage.bulk_changes import BulkChanges
from annotator.storage.correction_log import Annotation, CorrectionLog, ListChange
from annotator.storage.database import Store
from annotator.storage.features import FeatureStore
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.project import Project

NUM_TAGS, MOST_TAGS, NUM_CLUSTERS, NUM_FOLDERS = 2_000, 9, 400, 200
ROWS_A_BATCH = 5_000
MOST_SECONDS = 600
WORDS = (
    "a", "the", "dog", "on", "grass", "man", "with", "red", "car", "in", "street", "woman", "at", "table", "food",
    "plate", "child", "beach", "water", "sky",
)  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--tagged", type=int, default=20_000)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--calls", type=int, default=100, help="saves; a fifth as many of each search")
    parser.add_argument("--kill", action="store_true", help="end each server with SIGKILL")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        make_project(project, parsed.photos, parsed.tagged)
        calls: list[dict[str, Any]] = []
        rows = [
            start(project, number, calls if number == parsed.starts else None, parsed.calls, kills=parsed.kill)
            for number in range(1, parsed.starts + 1)
        ]
        files = sizes(project)
    size = f"{parsed.photos:,} photos, {parsed.tagged:,} tagged"
    report(f"Start of {size}", rows, as_json=parsed.json)
    report(f"Calls among {size}", calls, as_json=parsed.json)
    report(f"Files of {size}", files, as_json=parsed.json)


def make_project(folder: Path, num_photos: int, num_tagged: int) -> None:
    """Make a project whose photos have features and lists, but no files and no index."""
    rng = np.random.default_rng(0)
    backbone = load_backbone(num_threads=1)
    label = f"{backbone.name}-{backbone.version}"
    project = Project.open_or_create(folder, "large")
    project.update_settings(detector=NONE)  # it would look for each of the missing files
    store = Store(project.database_path)
    features = FeatureStore(project.features_path, label, backbone.feature_size)
    centres = np.abs(rng.normal(size=(NUM_CLUSTERS, backbone.feature_size))).astype(np.float32)
    root = store.images.root_id(folder.parent / "gone")
    for begin in range(1, num_photos + 1, ROWS_A_BATCH):
        ids = range(begin, min(begin + ROWS_A_BATCH, num_photos + 1))
        noise = 0.4 * np.abs(rng.normal(size=(len(ids), backbone.feature_size)))
        vectors = (centres[rng.integers(NUM_CLUSTERS, size=len(ids))] + noise).astype(np.float32)
        rows = list(zip(ids, features.append(vectors), strict=True))
        scheme = digest_scheme(decoded_side(backbone.image_size, IngestConfig().thumbnail_size))
        images = [(image_id, entry(image_id, scheme, rng)) for image_id in ids]
        paths = [SeenPath(root, f"{image_id % NUM_FOLDERS:03d}/{image_id}.jpg", 1, 1, image_id) for image_id in ids]
        store.images.add(IngestedBatch(images=images, paths=paths, backbone=label, feature_rows=rows))
        features.commit(rows)
    frequency = 1 / np.arange(1, NUM_TAGS + 1)
    changes = [
        ListChange(Annotation(int(image_id)), tags_of(rng, frequency / frequency.sum()), ())
        for image_id in rng.choice(np.arange(1, num_photos + 1), num_tagged, replace=False)
    ]
    for begin in range(0, num_tagged, ROWS_A_BATCH):
        part = changes[begin : begin + ROWS_A_BATCH]
        BulkChanges(store, CorrectionLog(store)).save_lists("accepted", part, "made", "local")
    store.close()


def entry(image_id: int, scheme: str, rng: np.random.Generator) -> ImageEntry:
    """Return the row of a photo, with a digest of its pixels, so that none is computed."""
    caption = " ".join(rng.choice(WORDS, 9))
    words = (f"folder{image_id % NUM_FOLDERS}",)
    return ImageEntry(
        f"{image_id:064x}", 640, 480, "JPEG", path_words=words, caption=caption, pixel_digest=f"{scheme}{image_id}"
    )


def tags_of(rng: np.random.Generator, share: Any) -> tuple[str, ...]:
    """Return a list of tags."""
    num = int(rng.integers(1, MOST_TAGS + 1))
    return tuple(f"word {tag}" for tag in rng.choice(NUM_TAGS, num, replace=False, p=share))


def start(
    project: Path, number: int, calls: list[dict[str, Any]] | None, num_calls: int, *, kills: bool
) -> dict[str, Any]:
    """Serve the project once; return its times in seconds, and its memory. The times of calls are added to `calls`."""
    began = time.perf_counter()
    with served(project) as server:
        opened = server.rest("open", {"image_id": None})
        first, used = time.perf_counter() - began, server.cpu_seconds()
        while not speaks_of_neighbours(opened):
            if time.perf_counter() - began > MOST_SECONDS:
                raise SystemExit("no proposal by the tagged photos came")
            time.sleep(0.05)
            opened = server.rest("open", {"image_id": opened["image_id"]})
        whole = time.perf_counter() - began
        server.wait_until_idle(MOST_SECONDS)
        memory = server.memory_mib("RssAnon")
        if calls is not None:
            calls += times_of_calls(server, opened, num_calls)
        if kills:
            os.kill(server.process.pid, signal.SIGKILL)
    return {
        "start": number,
        "address_s": round(server.seconds_to_answer, 2),
        "first_photo_s": round(first, 2),
        "first_photo_cpu_s": round(used, 2),
        "with_neighbours_s": round(whole, 2),
        "memory_without_mapped_files_mib": round(memory),
    }


def times_of_calls(server: Served, photo: dict[str, Any], num_calls: int) -> list[dict[str, Any]]:
    """Return the times of saves with the next photo, and of the library's calls."""
    seconds: list[float] = []
    for _ in range(num_calls):
        began = time.perf_counter()
        photo = save(server.rest, photo)
        seconds.append(time.perf_counter() - began)
    rows = [{"call": "save and next", "calls": num_calls, **percentiles(seconds)}]
    page = {"offset": 0, "limit": 200, "state": "all"}
    for call, payload in {
        "browse": page | {"query": ""},
        "browse a tag": page | {"query": 'tag:"word 7"'},
        "browse without a tag": page | {"query": '-tag:"word 7"'},
        "browse a word of a path": page | {"query": "folder:007"},
        "facets": {"query": "", "tag": ""},
        "facets of a tag": {"query": 'tag:"word 7"', "tag": ""},
        "facets without a tag": {"query": '-tag:"word 7"', "tag": ""},
    }.items():
        seconds = []
        for _ in range(max(num_calls // 5, 1)):
            began = time.perf_counter()
            answer = server.rest(call.split()[0], payload)
            seconds.append(time.perf_counter() - began)
            if "error" in answer:
                raise SystemExit(f"{call} was refused: {answer}")
        rows.append({"call": call, "calls": len(seconds), **percentiles(seconds)})
    return rows


def sizes(project: Path) -> list[dict[str, Any]]:
    """Return what each file or folder of a project takes, in megabytes."""
    found = {
        path.name: sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
        for path in sorted(project.iterdir())
    }
    return [{"file": name, "MB": round(size / 1e6, 1)} for name, size in found.items() if size >= 50_000]


def speaks_of_neighbours(opened: dict[str, Any]) -> bool:
    """Tell whether a proposal of an answer comes from the project's tagged photos."""
    return any(tag["tag"].startswith("word ") for tag in opened["proposals"])


if __name__ == "__main__":
    main()
