"""`annotator order`: order rules on many saved lists at once, previewed, with one undo."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from annotator.auth.roles import LOCAL_USER
from annotator.cli.command import add_command
from annotator.cli.export import add_selection_options
from annotator.datasets.order_rules import OrderRules, read_rules
from annotator.errors import ConfigError
from annotator.exchange.selection import Selection
from annotator.storage.private_files import private_files
from annotator.storage.project import Project

PREVIEW_ROWS = 5


def add_order(commands: Any) -> None:
    """Add `annotator order`."""
    order = add_command(commands, "order", _order, "bring saved lists into the order of rules",
                 "annotator order PROJECT --pin ohwx --before cat sofa --dry-run")  # fmt: skip
    order.add_argument("project", type=Path, metavar="PROJECT")
    order.add_argument("--rules", type=Path, metavar="FILE",
                       help='a JSON object with "pinned", "classes" (lists of tags, ["*"] for all others), "before" '
                       'and "most"')  # fmt: skip
    order.add_argument("--pin", action="append", default=[], metavar="TAG", help="comes first; may be repeated")
    order.add_argument("--before", action="append", nargs=2, default=[], metavar=("A", "B"),
                       help="A comes before B; may be repeated")  # fmt: skip
    order.add_argument("--most", type=int, metavar="N", help="keep so many tags of each photo, the first ones")
    add_selection_options(order)
    order.add_argument("--dry-run", action="store_true", help="only print what would change")
    order.add_argument("--undo", action="store_true", help="undo the newest change of many photos")
    order.add_argument("--user", default=LOCAL_USER, metavar="NAME", help="who changes them (default: %(default)s)")
    order.add_argument("--json", action="store_true", help="print the numbers as JSON")


@private_files()
def _order(parsed: argparse.Namespace) -> int:
    from annotator.exchange.reordering import plan_reordering, reorder
    from annotator.exchange.selection import select
    from annotator.storage.bulk_changes import BulkChanges
    from annotator.storage.correction_log import CorrectionLog
    from annotator.storage.database import Store

    rules = _rules(parsed)
    store = Store(Project.open(parsed.project).database_path)
    try:
        log = CorrectionLog(store)
        if parsed.undo:
            undone = BulkChanges(store, log).undo(parsed.user)
            print(f"Change {undone.change.change_id} was undone on {undone.num_undone:,} photos.")
            return 0
        if rules == OrderRules():
            raise ConfigError("Name a rule: --rules FILE, --pin TAG, --before A B or --most N.")
        image_ids = select(store, Selection(parsed.query, parsed.tag, parsed.state))
        planned = list(plan_reordering(store, log, image_ids, rules))
        if planned and not parsed.dry_run:
            reorder(store, log, planned, rules, parsed.user)
        names = store.images.file_names()
    finally:
        store.close()
    if parsed.json:
        print(json.dumps({"num_photos": len(image_ids), "num_changed": len(planned), "is_dry_run": parsed.dry_run}))
        return 0
    for one in planned[: PREVIEW_ROWS if parsed.dry_run else 0]:
        print(f"{names[one.annotation.image_id][1]}: {', '.join(one.annotation.tags)}\n  -> {', '.join(one.tags)}")
    would = "would change; nothing was written" if parsed.dry_run else "were changed"
    print(f"{len(planned):,} of {len(image_ids):,} photos {would}.")
    return 0


def _rules(parsed: argparse.Namespace) -> OrderRules:
    rules = read_rules(parsed.rules) if parsed.rules else OrderRules()
    changes: dict[str, Any] = {}
    if parsed.pin:
        changes["pinned"] = (*rules.pinned, *parsed.pin)
    if parsed.before:
        changes["before"] = (*rules.before, *((first, second) for first, second in parsed.before))
    if parsed.most is not None:
        changes["most"] = parsed.most
    return replace(rules, **changes) if changes else rules
