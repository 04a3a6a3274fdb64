"""`annotator webhooks`: the addresses that are told of every changed list."""

import argparse
import json
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command
from annotator.cli.server_client import open_or_ask
from annotator.errors import ConfigError
from annotator.json_types import JsonObject
from annotator.storage.project import Project


def add_webhooks(commands: Any) -> None:
    """Add `annotator webhooks`."""
    webhooks = add_command(commands, "webhooks", _webhooks, "list, add and remove the addresses that are told of every "
                    "changed list", "annotator webhooks PROJECT --add https://example.org/hook",
                    more=" while the project is served.")  # fmt: skip
    webhooks.add_argument("project", type=Path, metavar="PROJECT")
    change = webhooks.add_mutually_exclusive_group()
    change.add_argument("--add", metavar="URL", help="tell this address from now on; prints the key of its signatures")
    change.add_argument("--remove", type=int, metavar="ID", help="tell this one no more")
    webhooks.add_argument("--from-start", action="store_true", help="with --add: also of all earlier changes")
    webhooks.add_argument("--json", action="store_true", help="print as JSON")


def _webhooks(parsed: argparse.Namespace) -> int:
    from annotator.exchange.webhooks import MAX_WEBHOOKS, check_url, new_secret, webhook_row
    from annotator.storage.webhooks import Webhooks

    answer: JsonObject = {}
    with open_or_ask(Project.open(parsed.project)) as (store, server):
        if server is not None:
            # The address of a request is set by who owns this machine's files, never by a call to the server.
            if parsed.add or parsed.remove:
                raise ConfigError("Webhooks are changed while the project is not served: end `annotator serve` first.")
            rows = server.call("webhooks")["webhooks"]
        else:
            webhooks = Webhooks(store)
            if parsed.add:
                if len(webhooks.all()) >= MAX_WEBHOOKS:
                    raise ConfigError(f"A project has at most {MAX_WEBHOOKS} webhooks; remove one first.")
                added = webhooks.add(check_url(parsed.add), new_secret(), from_start=parsed.from_start)
                answer = {"added": added.webhook_id, "secret": added.secret}
            if parsed.remove is not None:
                if parsed.remove not in {webhook.webhook_id for webhook in webhooks.all()}:
                    raise ConfigError(f"There is no webhook {parsed.remove}.")
                webhooks.remove(parsed.remove)
            rows = [webhook_row(webhooks, webhook) for webhook in webhooks.all()]
    if parsed.json:
        print(json.dumps({"webhooks": rows, **answer}))
        return 0
    for row in rows:
        print(f"{row['webhook_id']}  {row['url']}: {row['num_delivered']:,} told, {row['num_waiting']:,} wait")
        if row["problem"]:
            print(f"   {row['problem']}")
    if answer:
        print(f"The key of its signatures, shown this once: {answer['secret']}")
    if not rows:
        print("This project has no webhooks.")
    return 0
