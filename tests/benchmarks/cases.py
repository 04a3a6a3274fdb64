"""Reads the photos of every case of a folder, as ingest does, and prints a table: case, expected, found.

    python tests/benchmarks/cases.py FOLDER [--only TEXT] [--json]

Each case is a folder with `EXPECTED.md` and `photos/`; a missing `photos/` means that the case has only steps. It is
copied first and ingested into a new project, in a process without root's rights where the case needs that.
What is expected is the text of `EXPECTED.md`, for a person to compare; nothing is judged here.
"""

import argparse
import io
import json
import mmap  # noqa: F401 - NumPy imports it later, which fails where a case has changed the user
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotator.datasets.record import RECORDS_FILE, read_records
from annotator.errors import AnnotatorError
from annotator.ingest.pictures import Pictures
from annotator.ingest.pipeline import Ingest
from annotator.settings import IngestConfig
from annotator.storage.database import Store
from annotator.storage.features import FeatureStore
from annotator.storage.project import Project

NOBODY = 65534
"""The user without rights, for cases of folders that cannot be entered."""
LONG_NAME, NUM_LONG = "d" * 240, 20


class Colours:
    """A backbone whose features are mean colours: what is read does not depend on them."""

    image_size = 224

    def preprocess(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Return an 8 x 8 copy."""
        return np.asarray(image.resize((8, 8)), np.uint8)

    def extract(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the mean colour of each copy."""
        return batch.mean(axis=(1, 2)).astype(np.float32)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="run the cases whose name contains this")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    cases = [path.parent for path in sorted(parsed.folder.glob("*/EXPECTED.md")) if parsed.only in path.parent.name]
    if not cases:
        print(f"There is no case in {parsed.folder}: a folder with EXPECTED.md.", file=sys.stderr)
        return 1
    rows = [{"case": case.name, "expected": expected(case), "found": run_apart(case)} for case in cases]
    if parsed.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        for row in rows:
            print(f"\n## {row['case']}\nexpected: {row['expected']}\nfound:")
            for line in row["found"]:
                print(f"  {line}")
    return 0


def expected(case: Path) -> str:
    """Return the text of a case's EXPECTED.md."""
    return " ".join((case / "EXPECTED.md").read_text(encoding="utf-8").split())


def run_apart(case: Path) -> list[str]:
    """Run a case in a process of its own: one may change its user, or fail."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    folder = Path(tempfile.mkdtemp())
    try:
        process = context.Process(target=_send_found, args=(case, folder, sender))
        process.start()
        sender.close()
        try:
            lines: list[str] = receiver.recv()
        except EOFError:
            lines = ["the process ended without an answer"]
        process.join()
    finally:
        # Not shutil.rmtree: a tree may be deeper than a path may be long.
        subprocess.run(["rm", "-rf", folder], check=True)
    return lines


def _send_found(case: Path, folder: Path, sender: Any) -> None:
    try:
        _prepare(case, folder)
        sender.send(found(folder))
    except Exception as error:  # a crash is what a case may find
        sender.send([f"stopped: {type(error).__name__}: {error}"])


def _prepare(case: Path, folder: Path) -> None:
    """Copy a case, and do the steps that its text names."""
    photos = folder / "photos"
    if (case / "photos").is_dir():
        shutil.copytree(case / "photos", photos, symlinks=True)
    photos.mkdir(exist_ok=True)
    os.chmod(folder, 0o755)
    text = expected(case)
    if "letters" in text and "folders of" in text:
        descriptor = os.open(photos, os.O_RDONLY)
        for _ in range(NUM_LONG):  # by descriptors, since the whole path is longer than the system allows
            os.mkdir(LONG_NAME, dir_fd=descriptor)
            below = os.open(LONG_NAME, os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        os.close(descriptor)
    if "chmod" in text and os.geteuid() == 0:
        for path in photos.iterdir():
            if path.is_dir():
                os.chmod(path, 0o744)
        (folder / "project").mkdir()
        os.chown(folder / "project", NOBODY, NOBODY)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def found(folder: Path) -> list[str]:
    """Ingest the photos of a copied case; return what was read as lines of text."""
    lines: list[str] = []
    photos = folder / "photos"
    for parent, _, names in os.walk(photos):
        if RECORDS_FILE not in names:
            continue
        try:
            lines += [f"record {r.image.name}: tags {list(r.tags)}" for r in read_records(Path(parent))]
        except AnnotatorError as error:
            lines.append(f"records refused: {error}")
    project = Project.open_or_create(folder / "project", "case")
    store = Store(project.database_path)
    try:
        features = FeatureStore(project.folder / "features", "colours", 3)
        ingest = Ingest(project, store, features, Colours, "colours", IngestConfig(1, 1))
        progress = ingest.run([photos])
        pictures = Pictures(project, store)
        lines.append(f"{progress.num_found} files, {store.images.count()} photos")
        for image_id in sorted(set(store.images.ids_by_hash().values())):
            lines += _describe(store, pictures, image_id)
        _, refused = store.images.unreadable(limit=1000, in_full=False)
        lines += [f"unreadable {_short(path)}: {reason}" for path, reason in refused]
    finally:
        store.close()
    return lines


def _describe(store: Store, pictures: Pictures, image_id: int) -> list[str]:
    entry = store.images.entry(image_id)
    paths = ", ".join(_short(path) for _, path in store.images.paths(image_id))
    with Image.open(io.BytesIO(pictures.thumbnail(image_id).data)) as thumbnail:
        profile = len(thumbnail.info.get("icc_profile", b""))
        darkest, brightest = thumbnail.convert("L").getextrema()
    parts = [f"{paths}: {entry.format} {entry.width} x {entry.height}, values {darkest} to {brightest}"]
    parts += [f"profile of {profile} bytes"] if profile else []
    for name in ("keywords", "user_tags", "caption", "taken_at", "notes"):
        value = getattr(entry, name)
        if value:
            parts.append(f"{name} {list(value) if isinstance(value, tuple) else value!r}")
    return ["; ".join(parts)]


def _short(path: str) -> str:
    return path if len(path) <= 80 else f"{path[:40]}...({len(path)} characters)"


if __name__ == "__main__":
    sys.exit(main())
