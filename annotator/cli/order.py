"""`annotator order`: order rules on many saved lists at once, or on every list that is saved from now on."""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from annotator.auth.roles import LOCAL_USER
from annotator.cli.command import add_command
from annotator.cli.export import add_selection_options, selection_of
from annotator.cli.import_tags import check_user, undo
from annotator.cli.server_client import ServerClient, open_or_ask
from annotator.datasets.order_rules import OrderRules, read_rules
from annotator.errors import ConfigError
from annotator.json_types import JsonObject
from annotator.storage.private_files import private_files
from annotator.storage.project import Project

PREVIEW_ROWS = 5


def add_order(commands: Any) -> None:
    """Add `annotator order`."""
    order = add_command(commands, "order", _order, "bring saved lists into the order of rules",
                 "annotator order PROJECT --pin ohwx --before cat sofa --dry-run")  # fmt: skip
    order.add_argument("project", type=Path, metavar="PROJECT")
    order.add_argument("--rules", type=Path, metavar="FILE",
                       help='a JSON object with "pinned", "classes" (lists of tags, ["*"] for all others, '
                       '["@character"] for a class of the vocabulary), "before" and "most"')  # fmt: skip
    order.add_argument("--pin", action="append", default=[], metavar="TAG", help="comes first; may be repeated")
    order.add_argument("--before", action="append", nargs=2, default=[], metavar=("A", "B"),
                       help="A comes before B; may be repeated")  # fmt: skip
    order.add_argument("--most", type=int, metavar="N", help="keep so many tags of each photo, the first ones")
    add_selection_options(order)
    order.add_argument("--dry-run", action="store_true", help="only print what would change")
    order.add_argument("--when-saving", choices=("on", "off"),
                       help="on: keep the rules in the project, for every list that is saved from now on; off: no "
                       "more. Saved lists do not change")  # fmt: skip
    order.add_argument("--undo", nargs="?", type=int, const=0, metavar="ID",
                       help="undo a change of many photos, by its number; else the newest")  # fmt: skip
    order.add_argument("--user", default=LOCAL_USER, metavar="NAME", help="who changes them (default: %(default)s)")
    order.add_argument("--json", action="store_true", help="print the numbers as JSON")


@private_files()
def _order(parsed: argparse.Namespace) -> int:
    from annotator.storage.correction_log import CorrectionLog

    rules, project = _rules(parsed), Project.open(parsed.project)
    if parsed.when_saving is None and parsed.undo is None and rules == OrderRules():
        raise ConfigError("Name a rule: --rules FILE, --pin TAG, --before A B or --most N.")
    with open_or_ask(project) as (store, server):
        if server is not None:
            check_user(parsed)
        log = None if store is None else CorrectionLog(store)
        if parsed.undo is not None:
            return undo(store, log, server, parsed)
        if parsed.when_saving:
            return _keep(project, server, rules, is_on=parsed.when_saving == "on")
        answer = _reordered(project, store, log, server, parsed, rules)
    if parsed.json:
        print(json.dumps({key: value for key, value in answer.items() if key != "rows"}))
        return 0
    for row in answer["rows"] if parsed.dry_run else []:
        print(f"{row['name']}: {', '.join(row['before'])}\n  -> {', '.join(row['after'])}")
    would = "would change; nothing was written" if parsed.dry_run else "were changed"
    print(f"{answer['num_changed']:,} of {answer['num_photos']:,} photos {would}.")
    return 0


def _keep(project: Project, server: ServerClient | None, rules: OrderRules, *, is_on: bool) -> int:
    """Store the rules in the project, or remove them."""
    if is_on and rules == OrderRules():
        raise ConfigError("Name a rule: --rules FILE, --pin TAG, --before A B or --most N.")
    if server is None:
        project.update_settings(order_rules=rules.values() if is_on else {})
    else:
        server.call("set_order_rules", rules.values() if is_on else {})
    print("Every list that is saved from now on gets these rules." if is_on else "Lists are saved as they are.")
    return 0


def _reordered(
    project: Project, store: Any, log: Any, server: ServerClient | None, parsed: argparse.Namespace, rules: OrderRules
) -> JsonObject:
    from annotator.exchange.reordering import plan_reordering, reorder
    from annotator.exchange.selection import select
    from annotator.storage.vocabulary import imported_vocabulary

    selection = selection_of(parsed, store, server)
    if server is not None:
        asked = {**rules.values(), "photos": asdict(selection), "is_dry_run": parsed.dry_run}
        return server.call("reorder", asked)
    rules = replace(rules, group_of=imported_vocabulary(store, project.settings.vocabulary).group_of)
    image_ids = select(store, selection)
    planned = list(plan_reordering(store, log, image_ids, rules))
    if planned and not parsed.dry_run:
        reorder(store, log, planned, rules, parsed.user)
    names = store.images.file_names()
    return {
        "num_photos": len(image_ids),
        "num_changed": len(planned),
        "is_dry_run": parsed.dry_run,
        "rows": [
            {
                "name": names[one.annotation.image_id][1],
                "before": list(one.annotation.tags),
                "after": list(one.tags),
            }
            for one in planned[:PREVIEW_ROWS]
        ],
    }


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
