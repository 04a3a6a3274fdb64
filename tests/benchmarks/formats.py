"""Processor time and memory of exports and imports: ``python tests/benchmarks/formats.py [--photos N] [--served]``.

Makes a project of N photos (without pictures) with ten tags each, and runs `annotator export` and `annotator import`
in processes of their own. With --served a server exports all photos as the page asks it to: preview, export, download;
its largest memory is read before the first export and after each.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from harness import Served, served

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


def export_by_page(folder: Path) -> None:
    """Print what a served project takes for an export of each format."""
    print("format      preview s   ready s   download s   CPU s   MB of the file   server's MB", flush=True)
    with served(folder) as server:
        server.wait_until_idle()
        print(f"{'(before)':70}{most_memory(server):16}", flush=True)
        for name in FORMATS:
            asked = {"format": name, "state": "all"}
            times, used = [time.perf_counter()], server.cpu_seconds()
            server.rest("preview_export", asked)
            times.append(time.perf_counter())
            transfer = server.rest("start_export", asked)
            while transfer["state"] not in ("ready", "failed"):
                time.sleep(0.2)
                transfer = server.rest("transfer", {"transfer_id": transfer["transfer_id"]})
            if transfer["state"] == "failed":
                raise SystemExit(f"failed: {transfer}")
            times.append(time.perf_counter())
            question = {"transfer_id": transfer["transfer_id"]}
            with server.client.stream("GET", "/api/v1/exported", params=question) as answer:
                num_bytes = sum(len(part) for part in answer.iter_raw())
            times.append(time.perf_counter())
            preview, ready, download = (later - sooner for sooner, later in pairwise(times))
            cpu = server.cpu_seconds() - used
            print(
                f"{name:12}{preview:9.2f}{ready:10.1f}{download:13.2f}{cpu:8.1f}{num_bytes / 1e6:17.1f}"
                f"{most_memory(server):14}",
                flush=True,
            )


def most_memory(server: Served) -> int:
    """Return the largest resident memory of a server so far, in MB."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    raise RuntimeError("the server's memory cannot be read")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--served", action="store_true")
    parsed = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        empty = make_project(folder / "empty", parsed.photos)
        shutil.copytree(empty.folder, folder / "full")
        full = Project.open(folder / "full")
        save_lists(full, parsed.photos)
        print(f"{parsed.photos:,} photos, {NUM_TAGS} tags each", flush=True)
        if parsed.served:
            export_by_page(full.folder)
            return
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
