"""`annotator embed`: reads photos into shards, without a project."""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command, show_step
from annotator.cli.options import add_ingest_options, checked_root, ingest_config, path_or_url
from annotator.errors import ConfigError
from annotator.ingest.progress import IngestProgress

SHARD_SIZE = 2_000
"""Files of a shard; with features of 1,280 values it has about 40 MB."""
PROGRESS_SECONDS = 30
LOCAL, RAY = "local", "ray"


def add_embed(commands: Any) -> None:
    """Add `annotator embed`."""
    embed = add_command(commands, "embed", _embed, "read photos into shards, without a project",
                        "annotator embed /mnt/archive --out shards --engine ray --address auto",
                        ". `annotator add --from` takes them in. A run that was ended goes on where it was; a later "
                        "run reads what is new or has changed.")  # fmt: skip
    embed.add_argument("root", type=path_or_url, metavar="ROOT",
                       help="a folder of photos, or a URL such as s3://BUCKET/FOLDER")  # fmt: skip
    embed.add_argument("--out", type=Path, required=True, metavar="SHARDS", help="folder of the shards")
    embed.add_argument("--engine", choices=(LOCAL, RAY), default=LOCAL,
                       help="what runs the steps: this process, or a Ray cluster (default: %(default)s)")  # fmt: skip
    embed.add_argument("--address", metavar="auto|ADDRESS",
                       help="of ray: the running cluster (auto), or its head (default: Ray is started on this "
                       "machine)")  # fmt: skip
    embed.add_argument("--actors", type=int, metavar="N",
                       help="of ray: networks at once, each on a GPU or on --network-threads cores (default: one a "
                       "GPU, else half of the cores)")  # fmt: skip
    embed.add_argument("--shard-size", type=int, default=SHARD_SIZE, metavar="N",
                       help="files of a shard, held in memory (default: %(default)s)")  # fmt: skip
    embed.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_ingest_options(embed)


def _embed(parsed: argparse.Namespace) -> int:
    from annotator.datasets.pixel_digest import digest_scheme
    from annotator.ingest.embedding import Embedding, Engine, LocalEngine
    from annotator.ingest.remote_photos import source_of
    from annotator.ingest.renditions import decoded_side
    from annotator.models.backbones.backbone import DEFAULT_BACKBONE, load_backbone
    from annotator.models.backbones.pretrained import find_architecture
    from annotator.storage.private_files import hold_alone
    from annotator.storage.shards import ShardFolder, ShardsAbout

    if not 1 <= parsed.shard_size <= 1_000_000:
        raise ConfigError(f"--shard-size must be from 1 to 1,000,000, got {parsed.shard_size}.")
    if parsed.engine == LOCAL and (parsed.address is not None or parsed.actors is not None):
        raise ConfigError("--address and --actors are of the engine ray: add --engine ray.")
    root, out = checked_root(parsed.root), parsed.out.expanduser().resolve()
    config = ingest_config(parsed)
    name = find_architecture(parsed.backbone or DEFAULT_BACKBONE).name
    backbone = load_backbone(name, num_threads=config.num_network_threads)
    about = ShardsAbout(
        root=str(root),
        backbone=name,
        backbone_label=f"{name}-{backbone.version}",
        feature_size=backbone.feature_size,
        digest_scheme=digest_scheme(decoded_side(backbone.image_size, config.thumbnail_size)),
        thumbnail_size=config.thumbnail_size,
    )
    shards = ShardFolder.open_or_create(out, about)
    source = source_of(root)
    engine: Engine
    if parsed.engine == RAY:
        from annotator.ingest.ray_engine import RayEngine, RaySettings, Step

        settings = RaySettings(parsed.address or LOCAL, parsed.actors or 0, config.num_network_threads)
        step = Step(root, name, about.backbone_label, config.thumbnail_size, config.num_network_threads)
        engine = RayEngine(step, settings)
    else:
        engine = LocalEngine(source, lambda: backbone, config)
    with hold_alone(out, f"Another run writes shards into {out}. Wait for its end, or name another folder."):
        # Read again once no other run can write.
        shards = ShardFolder.open_or_create(out, about)
        # Ray prints what happens to its workers on standard output, which is for the summary.
        with redirect_stdout(sys.stderr):
            summary = Embedding(source, shards, engine, parsed.shard_size, _printed_progress()).run()
    if parsed.json:
        print(json.dumps(dataclasses.asdict(summary)))
    else:
        print(
            f"{summary.num_found:,} files, {summary.num_read:,} read now at {summary.photos_per_second}/s; "
            f"{summary.num_photos:,} photos in {summary.num_shards:,} shards, {summary.num_unreadable:,} not read (see "
            f"{parsed.out / 'unreadable.parquet'}). Next: annotator add PROJECT --from {parsed.out}"
        )
    return 0


def _printed_progress() -> Callable[[IngestProgress], None]:
    """Return what prints the progress now and then."""
    last = time.monotonic()

    def show(progress: IngestProgress) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_SECONDS:
            last = time.monotonic()
            show_step(f"{progress.num_done:,} of {progress.num_found:,} files, {progress.photos_per_second}/s")

    return show
