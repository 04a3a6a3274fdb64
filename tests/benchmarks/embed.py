"""Photos a second of `annotator embed` in one process, beside an ordinary ingest of the same photos in the same run.

    python tests/benchmarks/embed.py PHOTOS [--num 2000] [--rounds 3] [--json]

The photos are copied to a temporary folder; every round makes new shards and new projects, in turn. Taking the shards
into a project is measured too. Ratios are of the medians.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import report

from annotator.datasets.image_folder import find_images
from annotator.datasets.pixel_digest import digest_scheme
from annotator.ingest.embedding import Embedding, LocalEngine
from annotator.ingest.photo_source import FolderPhotos, PhotoSource
from annotator.ingest.renditions import decoded_side
from annotator.ingest.shard_photos import ShardPhotos
from annotator.models.backbones.backbone import load_backbone
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import IngestConfig
from annotator.storage.project import Project
from annotator.storage.shards import ShardFolder, ShardsAbout

SHARD_SIZE = 2_000


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--num", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    config = IngestConfig()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        photos = folder / "photos"
        photos.mkdir()
        for number, path in enumerate(list(find_images(parsed.photos))[: parsed.num]):
            shutil.copy(path, photos / f"{number}{path.suffix}")
        num = len(list(find_images(photos)))
        backbone = load_backbone(num_threads=config.num_network_threads)
        about = ShardsAbout(
            str(photos), backbone.name, f"{backbone.name}-{backbone.version}", backbone.feature_size,
            digest_scheme(decoded_side(backbone.image_size, config.thumbnail_size)), config.thumbnail_size,
        )  # fmt: skip

        def embed(turn: int) -> None:
            source = FolderPhotos(photos)
            shards = ShardFolder.open_or_create(folder / f"shards-{turn}", about)
            Embedding(source, shards, LocalEngine(source, lambda: backbone, config), SHARD_SIZE).run()

        def ingest(project: str, roots: Callable[[], list[Path | PhotoSource]]) -> float:
            opened = Session.over(Workspace(Project.open_or_create(folder / project, "benchmark"), config))
            try:
                return seconds_of(lambda: opened.workspace.ingest.run(roots()))
            finally:
                opened.close()

        embedded, plain, taken = [], [], []
        for turn in range(parsed.rounds):
            plain.append(num / ingest(f"plain-{turn}", lambda: [photos]))
            embedded.append(num / seconds_of(lambda turn=turn: embed(turn)))  # type: ignore[misc]
            taken.append(num / ingest(f"taken-{turn}", lambda turn=turn: [checked(folder / f"shards-{turn}")]))  # type: ignore[misc]
    medians = {
        "ingest, file to store": statistics.median(plain),
        "embed, file to shard": statistics.median(embedded),
        "add --from, shard to store, with the check of the shards": statistics.median(taken),
    }
    rows = [{"what": what, "photos_per_second": round(value, 1)} for what, value in medians.items()]
    ratio = statistics.median(embedded) / statistics.median(plain)
    rows.append({"what": "ratio of embed to ingest", "photos_per_second": round(ratio, 3)})
    report(f"{num:,} photos, median of {parsed.rounds} rounds", rows, as_json=parsed.json)


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def checked(folder: Path) -> ShardPhotos:
    """Return the photos of shards, checked as the command does it."""
    shards = ShardFolder.open(folder)
    shards.check()
    return ShardPhotos(shards)


if __name__ == "__main__":
    main()
