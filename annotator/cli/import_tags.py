"""`annotator import`: tags of other programs become saved lists, drafts or proposals; one undo takes all back.

In the project's database, or through the server that has it open.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from annotator.auth.roles import LOCAL_USER
from annotator.cli.command import add_command, allow_trailing_positionals
from annotator.cli.export import print_report
from annotator.cli.options import parse_settings
from annotator.cli.server_client import ServerClient, open_or_ask
from annotator.datasets.formats import registry
from annotator.datasets.formats.contract import Problem, Report
from annotator.errors import AnnotatorError, ConfigError, DataError
from annotator.json_types import JsonObject
from annotator.storage.private_files import private_files
from annotator.storage.project import Project

PREVIEW_ROWS = 5
POLL_SECONDS = 0.2


def add_import(commands: Any) -> None:
    """Add `annotator import`."""
    command = add_command(commands, "import", _import, "bring tags of another program into a project",
                          "annotator import PROJECT --format xmp ~/Pictures/holiday --as draft",
                          more=". Nothing is written unless everything could be read.")  # fmt: skip
    command.add_argument("project", type=Path, metavar="PROJECT")
    command.add_argument("source", type=Path, nargs="?", metavar="FROM",
                         help="the file, the folder, or the ZIP archive to read")  # fmt: skip
    command.add_argument("--format", choices=registry.names(), metavar="FORMAT", help="see `annotator formats`")
    command.add_argument("--as", dest="kind", choices=("accepted", "draft", "proposal"), default="accepted",
                         help="accepted: saved lists; draft: to go over and save; proposal: words that come with the "
                         "photo (default: %(default)s)")  # fmt: skip
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                         help="an option of the format, see `annotator formats FORMAT`; may be repeated")  # fmt: skip
    command.add_argument("--replace", action="store_true", help="replace lists that are saved already, and drafts")
    command.add_argument("--leave-out", action="store_true",
                         help="leave out what cannot be read; otherwise it refuses all")  # fmt: skip
    command.add_argument("--dry-run", action="store_true", help="only print what would be imported")
    command.add_argument("--user", default=LOCAL_USER, metavar="NAME", help="who imports (default: %(default)s)")
    command.add_argument("--list", action="store_true", help="list the imports and other changes of many photos")
    command.add_argument("--undo", nargs="?", type=int, const=0, metavar="ID",
                         help="undo a change of that list; without ID the newest")  # fmt: skip
    command.add_argument("--json", action="store_true", help="print what was done as JSON")
    allow_trailing_positionals(command)


@private_files()
def _import(parsed: argparse.Namespace) -> int:
    from annotator.storage.correction_log import CorrectionLog

    with open_or_ask(Project.open(parsed.project)) as (store, server):
        if server is not None:
            check_user(parsed)
        log = None if store is None else CorrectionLog(store)
        if parsed.list:
            return _list(store, log, server, parsed.json)
        if parsed.undo is not None:
            return undo(store, log, server, parsed)
        return _read_in(store, log, server, parsed)


def check_user(parsed: argparse.Namespace) -> None:
    """Check that a change that a server makes is not to be made in another person's name.

    Raises:
        ConfigError: It is.
    """
    if parsed.user != LOCAL_USER:
        raise ConfigError("--user needs the project for itself: end its server first.")


def _read_in(store: Any, log: Any, server: ServerClient | None, parsed: argparse.Namespace) -> int:
    if parsed.source is None or parsed.format is None:
        raise ConfigError("Name the format and what to read: annotator import PROJECT --format FORMAT FROM.")
    format = registry.find(parsed.format)
    if format.read is None:
        raise ConfigError(f"The format {format.name} is written only.")
    options = format.configure(parse_settings(parsed.set))
    source = parsed.source.expanduser().absolute()
    if not source.exists():
        raise DataError(f"There is no {source}.")
    if server is None:
        rows, num_lists, report = _read_here(store, log, parsed, format, options, source)
    else:
        rows, num_lists, report = _read_there(server, parsed, source)
    if parsed.dry_run:
        for name, tags in rows:
            print(f"{name}: {', '.join(tags)}")
        sentence = f"{num_lists:,} photos would get a list; nothing was written."
    else:
        sentence = (
            f"{num_lists:,} photos were imported, {report.num_problems:,} left out. "
            f"To undo: annotator import {parsed.project} --undo"
        )
    print_report(report, sentence, "left out", parsed.json)
    return 0


Rows = list[tuple[str, list[str]]]
"""(name, tags) of the first photos."""


def _read_here(
    store: Any, log: Any, parsed: argparse.Namespace, format: Any, options: Any, source: Path
) -> tuple[Rows, int, Report]:
    from annotator.exchange.importing import carry_out, plan_import
    from annotator.exchange.sources import opened_source

    read = Report()
    with opened_source(source, format) as opened:
        photos = format.read(opened, options, read)
        plan = plan_import(
            store, photos, parsed.kind, parsed.user, replace=parsed.replace,
            specs=Project.open(parsed.project).settings.fields,
        )  # fmt: skip
    if read.num_problems and not parsed.leave_out:
        first = read.problems[0]
        raise DataError(
            f"{read.num_problems:,} of the photos could not be read, the first is {first.photo}: {first.reason} "
            "Nothing was imported; --leave-out imports the others."
        )
    plan.report.num_notes += read.num_notes
    plan.report.notes[:0] = read.notes
    rows = [(photo.name, list(photo.tags)) for photo in list(plan.lists.values())[:PREVIEW_ROWS]]
    if not parsed.dry_run:
        carry_out(store, log, plan, f"{format.name}: {source}", parsed.user)
    return rows, len(plan.lists), plan.report


def _read_there(server: ServerClient, parsed: argparse.Namespace, source: Path) -> tuple[Rows, int, Report]:
    transfer_id = server.call("begin_import")["transfer_id"]
    asked = {
        "transfer_id": transfer_id, "path": str(source), "format": parsed.format,
        "options": parse_settings(parsed.set), "kind": parsed.kind, "replaces": parsed.replace,
        "leaves_out": parsed.leave_out,
    }  # fmt: skip
    with _cancelled_by_interrupt(server, transfer_id):
        answer = _finished(server, server.call("plan_import", asked))
        if not parsed.dry_run:
            answer = _finished(server, server.call("carry_out_import", {"transfer_id": transfer_id}))
    report = Report(
        answer["num_planned"],
        answer["num_left_out"],
        [Problem(**one) for one in answer["left_out"]],
        answer["num_notes"],
        [Problem(**one) for one in answer["notes"]],
    )
    return [(row["name"], row["tags"]) for row in answer["rows"]], answer["num_planned"], report


def _finished(server: ServerClient, answer: JsonObject) -> JsonObject:
    """Return the state of an import once its server has ended the work.

    Raises:
        AnnotatorError: It failed.
    """
    while answer["state"] == "running":
        if sys.stderr.isatty():
            print(f"\r{answer['num_done']:,} photos", end="", file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)
        answer = server.call("transfer", {"transfer_id": answer["transfer_id"]})
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if answer["state"] in ("failed", "cancelled"):
        raise AnnotatorError(answer["problem"] or "The import was cancelled. Nothing was imported.")
    return answer


@contextmanager
def _cancelled_by_interrupt(server: ServerClient, transfer_id: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        server.call("cancel_transfer", {"transfer_id": transfer_id})
        raise


def _list(store: Any, log: Any, server: ServerClient | None, as_json: bool) -> int:
    from annotator.storage.bulk_changes import BulkChanges

    rows = BulkChanges(store, log).described() if server is None else server.call("changes")["changes"]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    for one in rows:
        state = " (undone)" if one["is_undone"] else ""
        print(f"{one['change_id']}: {one['changed_at']} {one['user']}, {one['kind']}, {one['num_photos']:,} photos, "
              f"{one['source']}{state}")  # fmt: skip
    return 0


def undo(store: Any, log: Any, server: ServerClient | None, parsed: argparse.Namespace) -> int:
    """Undo a change of many photos, here or on the server, and print what was done."""
    from annotator.storage.bulk_changes import BulkChanges

    if server is None:
        undone = BulkChanges(store, log).undo(parsed.user, parsed.undo or None)
        answer = {"change_id": undone.change.change_id, "num_undone": undone.num_undone, "num_kept": len(undone.later)}
    else:
        answer = server.call("undo_change", {"change_id": parsed.undo or None})
    if parsed.json:
        print(json.dumps(answer))
    else:
        kept = f", {answer['num_kept']:,} were changed since and stay" if answer["num_kept"] else ""
        print(f"Change {answer['change_id']} was undone on {answer['num_undone']:,} photos{kept}.")
    return 0
