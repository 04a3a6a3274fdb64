"""What the benchmarks of the papers' tables share: a test side that nothing touches, and a quick form on few photos.

The splits of the seeds divide the photos that are not on the test side. Their validation sides stop trainings, halve
learning rates, fit calibrations and choose settings; the test side, the same for every seed, does none of it.
Knows nothing of taggers.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from annotator.datasets.record import Record
from annotator.datasets.splits import image_names, split

TEST_SEED = 1_000
TEST_SHARE = 0.2
NUM_QUICK = 240
"""Photos of the quick form."""
QUICK_EPOCHS = 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `chosen` reads."""
    parser.add_argument("--test-side", action="store_true",
                        help="hold a fifth of the photos back first, the same for every seed, and report on it; "
                        "without this the seed's validation side is reported on")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
                        help=f"{NUM_QUICK} photos, the first seed, {QUICK_EPOCHS} epoch where there are any: shows "
                        "that the command works; its figures say nothing")  # fmt: skip


def chosen(records: Sequence[Record], parsed: argparse.Namespace) -> tuple[list[Record], list[Record]]:
    """Return (the photos that the seeds' splits divide, the test side); the latter is empty without `--test-side`."""
    records = few(records) if parsed.quick else list(records)
    return hold_out(records) if parsed.test_side else (records, [])


def hold_out(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Return (all others, the test side)."""
    return split(records, TEST_SEED, TEST_SHARE)


def few(records: Sequence[Record], num: int = NUM_QUICK) -> list[Record]:
    """Return at most `num` records, chosen by a hash of their names, in their order."""
    names = image_names(records)
    kept = set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:num])
    return [record for record, name in zip(records, names, strict=True) if name in kept]


def sides(
    rest: Sequence[Record], test: Sequence[Record], seed: int, validation_share: float = TEST_SHARE
) -> tuple[list[Record], list[Record]]:
    """Return (the photos to learn from, the photos to report on) of one seed, for a fit that nothing stops.

    With a test side the seed's validation side is left out of both, so that all rows of a table learn from as many
    photos as those that need it to stop.
    """
    train, validation = split(rest, seed, validation_share)
    return train, list(test) or validation


def write_records(records: Sequence[Record], folder: Path) -> Path:
    """Write records as a data set that `annotator train` reads; the photos stay where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for record in records:
        about = {"image": str(record.image), "tags": record.tags, "user_tags": record.user_tags}
        lines.append(json.dumps({**record.extra, **about, "caption": record.caption}, ensure_ascii=False))
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
