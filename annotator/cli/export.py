"""`annotator export` and `annotator formats`: saved tags in the formats of other programs.

From the project's database, or from the server that has it open.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command, allow_trailing_positionals
from annotator.cli.options import parse_settings, path_or_url
from annotator.cli.server_client import ServerClient, read_or_ask
from annotator.cli.snapshot import project_or_snapshot, say_how_old
from annotator.cli.whole_answer import whole_lines
from annotator.datasets.folder_store import ObjectStore
from annotator.datasets.formats import registry
from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.describing import described
from annotator.datasets.formats.reading import bounded_lines
from annotator.errors import ConfigError, DataError
from annotator.exchange.export import FORMATS, export_lines
from annotator.exchange.selection import STATES, Selection
from annotator.storage.project import Project

SHOWN_NOTES = 10
PROGRESS_PHOTOS = 500
LAYOUTS = {"file": "a file", "folder": "a new folder", "tree": "small files below a folder"}


def add_export(commands: Any) -> None:
    """Add `annotator export`."""
    export = add_command(commands, "export", _export, "write saved tags in the format of another program",
                  "annotator export PROJECT --format xmp ~/Pictures/holiday",
                  more=". Without OUT, jsonl and csv are printed. Photos are never written to.")  # fmt: skip
    export.add_argument("project", type=path_or_url, metavar="PROJECT", help="or the target of `annotator snapshot`")
    export.add_argument("out", type=Path, nargs="?", metavar="OUT", help="the file or folder to write")
    export.add_argument("--format", choices=registry.names(), default="jsonl", metavar="FORMAT",
                        help="see `annotator formats` (default: %(default)s)")  # fmt: skip
    add_selection_options(export)
    export.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="an option of the format, see `annotator formats FORMAT`; may be repeated")  # fmt: skip
    export.add_argument("--leave-out", action="store_true",
                        help="leave out photos that break a rule of the format; otherwise one refuses all")  # fmt: skip
    export.add_argument("--overwrite", action="store_true", help="replace what is there")
    export.add_argument("--json", action="store_true", help="print what was done as JSON")
    allow_trailing_positionals(export)


def add_selection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that select photos."""
    parser.add_argument("--query", default="", metavar="TEXT", help="only photos with this text in tags or paths")
    parser.add_argument("--tag", default="", metavar="TAG", help="only photos with this tag")
    parser.add_argument("--state", choices=STATES, default="saved",
                        help="empty: saved without tags (default: %(default)s)")  # fmt: skip
    parser.add_argument("--photo", action="append", default=[], metavar="NAME",
                        help="only this photo: its path, the end of it, or its name; may be repeated")  # fmt: skip
    parser.add_argument(
        "--photos", type=Path, metavar="FILE", help="only the photos that a text file names, one a line"
    )


def wanted_names(parsed: argparse.Namespace) -> list[str] | None:
    """Return the names of the chosen photos; None if all are meant.

    Raises:
        DataError: The file cannot be read, or names no photo.
    """
    if parsed.photos is None:
        return parsed.photo or None
    lines = [line.strip() for _, line in bounded_lines(parsed.photos.expanduser())]
    names = [*parsed.photo, *(line for line in lines if line)]
    if not names:
        raise DataError(f"{parsed.photos} names no photo.")
    return names


def selection_of(parsed: argparse.Namespace, store: Any, server: ServerClient | None) -> Selection:
    """Return the selection of those options.

    Args:
        parsed: The arguments.
        store: The open database, or None.
        server: The server that has it open, or None.

    Raises:
        DataError: A name fits no photo of the project, or several.
    """
    names = wanted_names(parsed)
    if names is None:
        return Selection(parsed.query, parsed.tag, parsed.state)
    if server is None:
        from annotator.exchange.matching import find_all

        image_ids, missing = find_all(store, names)
    else:
        answer = server.call("find_photos", {"names": names})
        image_ids, missing = answer["image_ids"], [(one["photo"], one["reason"]) for one in answer["missing"]]
    if missing:
        more = f", and {len(missing) - 1:,} more are not found" if len(missing) > 1 else ""
        raise DataError(f"{missing[0][0]}: {missing[0][1]}{more}. Nothing was done.")
    return Selection(parsed.query, parsed.tag, parsed.state, tuple(image_ids))


def add_formats(commands: Any) -> None:
    """Add `annotator formats`."""
    formats = add_command(commands, "formats", _formats, "list the formats and what of a list survives in each",
                   "annotator formats captions")  # fmt: skip
    formats.add_argument("name", nargs="?", metavar="FORMAT", help="print the options of one format")
    formats.add_argument("--json", action="store_true", help="print as JSON")


def _export(parsed: argparse.Namespace) -> int:
    project = project_or_snapshot(parsed.project)
    format = registry.find(parsed.format)
    options = format.configure(parse_settings(parsed.set))
    if parsed.out is None:
        return _print(project, parsed)
    from annotator.datasets.formats.writing import write_format
    from annotator.exchange.exported_photo import exported_photo

    photos = (exported_photo(row) for row in _with_progress(export_rows(project, parsed, detailed=True)))
    out = parsed.out.expanduser().absolute()
    report = write_format(format, photos, out, options, leave_out=parsed.leave_out, overwrite=parsed.overwrite)
    print_report(report, f"{report.num_photos:,} photos were written to {parsed.out}.", "left out", parsed.json)
    return 0


def _print(project: Project | ObjectStore, parsed: argparse.Namespace) -> int:
    if parsed.format not in FORMATS:
        raise ConfigError(f"Name the file or folder to write: annotator export PROJECT --format {parsed.format} OUT.")
    if parsed.set:
        raise ConfigError("--set needs a file to write: annotator export PROJECT --format csv OUT --set NAME=VALUE.")
    for line in export_lines(export_rows(project, parsed, detailed=False), parsed.format):
        sys.stdout.write(line)
    return 0


def export_rows(
    project: Project | ObjectStore, parsed: argparse.Namespace, *, detailed: bool
) -> Iterator[dict[str, Any]]:
    """Yield the selected photos from the database, from the server that has it open, or from a snapshot."""
    from annotator.exchange.selection import select

    if not isinstance(project, Project):
        yield from _snapshot_rows(project, parsed, detailed=detailed)
        return
    from annotator.storage.photo_rows import PLAIN_KEYS, photo_rows
    from annotator.storage.vocabulary import imported_vocabulary

    with read_or_ask(project) as (store, server):
        selection = selection_of(parsed, store, server)
        if server is None:
            vocabulary = imported_vocabulary(store, project.settings.vocabulary)
            for row in photo_rows(store, select(store, selection), vocabulary.levels_of):
                yield row if detailed else {key: row[key] for key in PLAIN_KEYS}
        else:
            asked = {**dataclasses.asdict(selection), "detailed": detailed}
            with server.open("export", json.dumps(asked).encode()) as response, whole_lines(response) as lines:
                for line in lines:
                    yield json.loads(line)


def _snapshot_rows(snapshots: ObjectStore, parsed: argparse.Namespace, *, detailed: bool) -> Iterator[dict[str, Any]]:
    from annotator.exchange.selection import select
    from annotator.maintenance.snapshots import open_snapshot
    from annotator.storage.photo_rows import PLAIN_KEYS, photo_rows
    from annotator.storage.vocabulary import imported_vocabulary

    with open_snapshot(snapshots) as (about, store):
        say_how_old(about, snapshots)
        vocabulary = imported_vocabulary(store, about.vocabulary)
        for row in photo_rows(store, select(store, selection_of(parsed, store, None)), vocabulary.levels_of):
            shown = row if about.with_folders else row | {"root": ""}
            yield shown if detailed else {key: shown[key] for key in PLAIN_KEYS}


def _with_progress(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    number = 0
    for number, row in enumerate(rows, start=1):
        if sys.stderr.isatty() and number % PROGRESS_PHOTOS == 0:
            print(f"\r{number:,} photos", end="", file=sys.stderr, flush=True)
        yield row
    if sys.stderr.isatty() and number >= PROGRESS_PHOTOS:
        print(file=sys.stderr)


def print_report(report: Report, sentence: str, how: str, as_json: bool) -> None:
    """Print what was done: one sentence on stdout, photos left out and notes on stderr; or all of it as JSON."""
    if as_json:
        print(json.dumps(dataclasses.asdict(report), ensure_ascii=False))
        return
    print(sentence)
    for title, count, items in (
        (how, report.num_problems, report.problems),
        ("to know", report.num_notes, report.notes),
    ):
        for item in items[:SHOWN_NOTES]:
            print(f"{title}: {item.photo}: {item.reason}.", file=sys.stderr)
        if count > SHOWN_NOTES:
            print(f"{title}: {count - SHOWN_NOTES:,} more; --json prints them.", file=sys.stderr)


def _formats(parsed: argparse.Namespace) -> int:
    names = registry.names() if parsed.name is None else [parsed.name]
    found = [registry.find(name) for name in names]
    if parsed.json:
        print(json.dumps([described(format) for format in found], ensure_ascii=False, indent=1))
    elif parsed.name is None:
        print(f"{'':13}{'':15}{'order':8}{'scores':8}{'who':8}{'dropped':9}{'levels':8}")
        for format in found:
            survival = format.survival
            ways = " and ".join(
                way for way, is_there in (("read", format.read), ("written", format.write)) if is_there is not None
            )
            print(
                f"{format.name:13}{ways:17}{survival.order:8}{survival.scores:8}{survival.who:8}"
                f"{survival.dropped:9}{survival.hierarchy:9}{format.summary}"
            )
    else:
        about = described(found[0])
        print(f"{about['name']}: {about['summary']}; writes {LAYOUTS[found[0].layout]}.")
        for option in about["options"]:
            print(f"  {option['name']}={json.dumps(option['default'])}: {option['what']}")
    return 0
