"""`annotator convert`: a published data set as records, in its official parts."""

import argparse
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.datasets.loaders import published
from annotator.datasets.record import RECORDS_FILE, Record
from annotator.errors import DataError
from annotator.storage.project import write_atomically


def add_convert(commands: Any) -> None:
    """Add `annotator convert`."""
    command = add_command(
        commands,
        "convert",
        _convert,
        "write a published data set as records, by its official split",
        "annotator convert --from corel5k ~/corel5k records",
        more=". The photos stay where they are; the records name them by relative paths.",
    )
    command.add_argument("--from", dest="name", required=True, choices=published.names(), metavar="NAME",
                         help=f"one of: {', '.join(published.names())}")  # fmt: skip
    command.add_argument("source", type=Path, metavar="SRC", help="the folder of the data set's files")
    command.add_argument("--split", choices=("official", "all", *published.PARTS), default="official",
                         help="official: a folder for each part, such as OUT/test (default: %(default)s)")  # fmt: skip
    command.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    command.add_argument("--json", action="store_true", help="print the numbers as JSON")


def _convert(parsed: argparse.Namespace) -> int:
    out: Path = parsed.out.expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists already. Name a new folder.")
    loaded = published.load(parsed.name, parsed.source.expanduser().absolute())
    if parsed.split == "official":
        parts = {part: list(records) for part, records in loaded.parts.items()}
    else:
        parts = {".": loaded.part(parsed.split)}
    _write_parts(parts, out)
    numbers = {part: len(records) for part, records in parts.items()}
    if parsed.json:
        print(json.dumps(numbers))
    else:
        told = ", ".join(f"{count:,} photos in {parsed.out / part}" for part, count in numbers.items())
        print(f"{told}; {len(loaded.vocabulary):,} tags.")
    return 0


def _write_parts(parts: Mapping[str, Sequence[Record]], out: Path) -> None:
    """Write all parts, or none."""
    staged = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        for part, records in parts.items():
            (staged / part).mkdir(parents=True)
            text = "".join(_lines(records, out / part))
            write_atomically(staged / part / RECORDS_FILE, text.encode())
        if out.exists():
            out.rmdir()
        staged.rename(out)
    except OSError as error:
        raise DataError(f"{out} could not be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _lines(records: Sequence[Record], folder: Path) -> list[str]:
    lines = []
    for record in records:
        image = os.path.relpath(record.image, folder.resolve())
        line: dict[str, Any] = {"image": Path(image).as_posix(), "tags": list(record.tags)}
        if record.user_tags:
            line["user_tags"] = list(record.user_tags)
        if record.caption:
            line["caption"] = record.caption
        lines.append(json.dumps(line | dict(record.extra), ensure_ascii=False) + "\n")
    return lines
