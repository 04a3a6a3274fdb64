"""Photos a second from the folder to the store, beside the backbone alone on the same photos in the same run.

    python tests/benchmarks/ingest.py PHOTOS [--num 2000] [--rounds 3] [--json]

The photos are copied to a temporary folder, so every round ingests files into a new project. The backbone alone gets
crops that were made before the clock starts. Rounds alternate; the ratio is of the medians.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from harness import report

from annotator.datasets.image_folder import decode_image, find_images, read_image_file
from annotator.models.backbones.backbone import load_backbone
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import IngestConfig
from annotator.storage.project import Project


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--num", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--decode-threads", type=int, default=IngestConfig().num_decode_threads)
    parser.add_argument("--network-threads", type=int, default=IngestConfig().num_network_threads)
    parser.add_argument("--batch-size", type=int, default=IngestConfig().batch_size)
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    config = IngestConfig(parsed.decode_threads, parsed.network_threads, parsed.batch_size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = folder / "photos"
        photos.mkdir()
        for path in list(find_images(parsed.photos))[: parsed.num]:
            shutil.copy(path, photos)
        backbone = load_backbone(num_threads=config.num_network_threads)
        paths = list(find_images(photos))
        crops = np.stack(
            [backbone.preprocess(decode_image(read_image_file(path), min_side=256).image) for path in paths]
        )
        alone, whole = [], []
        for turn in range(parsed.rounds):
            started = time.perf_counter()
            for at in range(0, len(crops), config.batch_size):
                backbone.extract(crops[at : at + config.batch_size])
            alone.append(len(crops) / (time.perf_counter() - started))
            opened = Session.over(Workspace(Project.open_or_create(folder / f"project-{turn}", "benchmark"), config))
            started = time.perf_counter()
            progress = opened.workspace.ingest.run([photos])
            whole.append(progress.num_done / (time.perf_counter() - started))
            opened.close()
    ratio = statistics.median(whole) / statistics.median(alone)
    rows = [
        {"what": "backbone alone, crops ready", "photos_per_second": round(statistics.median(alone), 1)},
        {"what": "ingest, file to store", "photos_per_second": round(statistics.median(whole), 1)},
        {"what": "ratio", "photos_per_second": round(ratio, 3)},
    ]
    title = (
        f"Ingest of {len(crops):,} photos, median of {parsed.rounds} rounds, {config.num_decode_threads} decoding "
        f"and {config.num_network_threads} network threads"
    )
    report(title, rows, as_json=parsed.json)


if __name__ == "__main__":
    main()
