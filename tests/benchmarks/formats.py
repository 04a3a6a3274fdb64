"""Processor time and memory of exports and imports: ``python tests/benchmarks/formats.py [--photos N]``.

Makes a project of N photos (without pictures) with ten tags each, and runs `annotator export` and `annotator import`
in processes of their own.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from annotator.storage.bulk_changes import BulkChanges
from annotator.storage.correction_log import Annotation, CorrectionLog, ListChange
from annotator.storage.database import Store
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.project import Project

NUM_TAGS, NUM_WORDS = 10, 500
FORMATS = ("jsonl", "csv", "xmp", "captions", "kohya-json", "adobe", "parquet", "coco", "cvat", "labelstudio")


def make_project(folder: Path, num_photos: int) -> Project:
    """Make a project whose photos have no files and no lists."""
    project = Project.open_or_create(folder, "many")
    store = Store(project.database_path)
    root = store.images.root_id(folder / "photos")
    for start in range(1, num_photos + 1, 5_000):
        ids = range(start, min(start + 5_000, num_photos + 1))
        images = [(i, ImageEntry(f"{i:064x}", 640, 480, "JPEG")) for i in ids]
        paths = [SeenPath(root, f"{i % 1000:03d}/{i}.jpg", 1, 1, image_id=i) for i in ids]
        store.images.add(IngestedBatch(images=images, paths=paths))
    store.close()
    return project


def save_lists(project: Project, num_photos: int) -> None:
    """Give every photo a list."""
    store = Store(project.database_path)
    lists = [tuple(f"word {(i * 7 + n * 31) % NUM_WORDS}" for n in range(NUM_TAGS)) for i in range(num_photos)]
    changes = [ListChange(Annotation(i), tags, ()) for i, tags in enumerate(lists, start=1)]
    BulkChanges(store, CorrectionLog(store)).save_lists("accepted", changes, "made", "local")
    store.close()


def measured(*arguments: object) -> tuple[float, int]:
    """Run a command; return its processor seconds and its largest memory in MB."""
    process = subprocess.Popen([sys.executable, "-m", "annotator.cli", *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {arguments}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100_000)
    parsed = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        empty = make_project(folder / "empty", parsed.photos)
        shutil.copytree(empty.folder, folder / "full")
        full = Project.open(folder / "full")
        save_lists(full, parsed.photos)
        print(f"{parsed.photos:,} photos, {NUM_TAGS} tags each", flush=True)
        print("format        export s   MB   import s   MB", flush=True)
        for name in FORMATS:
            out = folder / f"out-{name}"
            options = ["--leave-out"] if name == "adobe" else []
            write_seconds, write_memory = measured("export", full.folder, "--format", name, out, *options)
            target = folder / f"into-{name}"
            shutil.copytree(empty.folder, target)
            read_seconds, read_memory = measured("import", target, "--format", name, out)
            print(f"{name:13}{write_seconds:9.1f}{write_memory:5}{read_seconds:11.1f}{read_memory:5}", flush=True)


if __name__ == "__main__":
    main()
