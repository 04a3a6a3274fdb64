"""`annotator import`: tags of other programs become saved lists, drafts or proposals; one undo takes all back."""

import argparse
import json
from pathlib import Path
from typing import Any

from annotator.auth.roles import LOCAL_USER
from annotator.cli.command import add_command, allow_trailing_positionals
from annotator.cli.export import print_report
from annotator.cli.options import parse_settings
from annotator.datasets.formats import registry
from annotator.datasets.formats.contract import Report
from annotator.errors import ConfigError, DataError
from annotator.storage.private_files import private_files
from annotator.storage.project import Project

PREVIEW_ROWS = 5


def add_import(commands: Any) -> None:
    """Add `annotator import`."""
    command = add_command(commands, "import", _import, "bring tags of another program into a project",
                          "annotator import PROJECT --format xmp ~/Pictures/holiday --as draft",
                          more=". Nothing is written unless everything could be read.")  # fmt: skip
    command.add_argument("project", type=Path, metavar="PROJECT")
    command.add_argument("source", type=Path, nargs="?", metavar="FROM", help="the file or folder to read")
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
    from annotator.storage.database import Store

    store = Store(Project.open(parsed.project).database_path)
    try:
        log = CorrectionLog(store)
        if parsed.list:
            return _list(store, log, parsed.json)
        if parsed.undo is not None:
            return _undo(store, log, parsed)
        return _read_in(store, log, parsed)
    finally:
        store.close()


def _read_in(store: Any, log: Any, parsed: argparse.Namespace) -> int:
    from annotator.exchange.importing import carry_out, plan_import

    if parsed.source is None or parsed.format is None:
        raise ConfigError("Name the format and what to read: annotator import PROJECT --format FORMAT FROM.")
    format = registry.find(parsed.format)
    if format.read is None:
        raise ConfigError(f"The format {format.name} is written only.")
    options = format.configure(parse_settings(parsed.set))
    source = parsed.source.expanduser().absolute()
    if not source.exists():
        raise DataError(f"There is no {source}.")
    read = Report()
    photos = format.read(source, options, read)
    plan = plan_import(store, photos, parsed.kind, parsed.user, replace=parsed.replace)
    if read.num_problems and not parsed.leave_out:
        first = read.problems[0]
        raise DataError(
            f"{read.num_problems:,} of the photos could not be read, the first is {first.photo}: {first.reason} "
            "Nothing was imported; --leave-out imports the others."
        )
    plan.report.num_notes, plan.report.notes = read.num_notes, read.notes
    if parsed.dry_run:
        for photo in list(plan.lists.values())[:PREVIEW_ROWS]:
            print(f"{photo.name}: {', '.join(photo.tags)}")
        sentence = f"{len(plan.lists):,} photos would get a list; nothing was written."
    else:
        carry_out(store, log, plan, f"{format.name}: {source}", parsed.user)
        sentence = (
            f"{len(plan.lists):,} photos were imported, {plan.report.num_problems:,} left out. "
            f"To undo: annotator import {parsed.project} --undo"
        )
    print_report(plan.report, sentence, "left out", parsed.json)
    return 0


def _list(store: Any, log: Any, as_json: bool) -> int:
    from annotator.storage.bulk_changes import BulkChanges
    from annotator.storage.queries import utc

    changes = BulkChanges(store, log).all()
    if as_json:
        rows = [
            {"change_id": one.change_id, "kind": one.kind, "source": one.source, "user": one.user_name,
             "changed_at": utc(one.changed_at), "num_photos": one.num_photos, "is_undone": one.undone_at is not None}
            for one in changes
        ]  # fmt: skip
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    for one in changes:
        state = " (undone)" if one.undone_at else ""
        print(f"{one.change_id}: {utc(one.changed_at)} {one.user_name}, {one.kind}, {one.num_photos:,} photos, "
              f"{one.source}{state}")  # fmt: skip
    return 0


def _undo(store: Any, log: Any, parsed: argparse.Namespace) -> int:
    from annotator.storage.bulk_changes import BulkChanges

    undone = BulkChanges(store, log).undo(parsed.user, parsed.undo or None)
    if parsed.json:
        print(json.dumps({"change_id": undone.change.change_id, "num_undone": undone.num_undone,
                          "num_kept": len(undone.later)}))  # fmt: skip
    else:
        kept = f", {len(undone.later):,} were changed since and stay" if undone.later else ""
        print(f"Change {undone.change.change_id} was undone on {undone.num_undone:,} photos{kept}.")
    return 0
