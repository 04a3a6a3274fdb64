"""`annotator users` and `annotator assign`: accounts and roles, and the assignment of photos.

Both call the server when one has the project open, and else work on the database.
"""

import argparse
import getpass
import json
import sys
from pathlib import Path
from typing import Any

from annotator.auth.roles import LOCAL_USER, ROLES, Role
from annotator.cli.command import add_command
from annotator.cli.server_client import open_or_ask, read_or_ask
from annotator.errors import AccountError, AnnotatorError, UnknownImageError
from annotator.storage.project import Project

ACTIONS = {
    "list": "show all accounts",
    "add": "make an account",
    "disable": "keep somebody out, ending their sessions and tokens",
    "enable": "let somebody in again",
    "password": "give somebody another password, ending their sessions",
    "role": "give somebody another role",
    "end_sessions": "log somebody out everywhere",
    "token": "make a token for programs that work in somebody's name; it is shown once",
    "revoke_tokens": "end all tokens of somebody",
}


def add_users(commands: Any) -> None:
    """Add `annotator users` to the parser of commands."""
    parser = add_command(
        commands,
        "users",
        _users,
        "manage the accounts of a project",
        "annotator users PROJECT add anna --role annotator",
        ". With at least one account, everybody must log in. "
        "A password is asked for, or read from the first line of standard input.",
    )
    parser.add_argument("project", type=Path, metavar="PROJECT")
    parser.add_argument("do", choices=sorted(ACTIONS), metavar="ACTION",
                        help="; ".join(f"{name}: {text}" for name, text in ACTIONS.items()))  # fmt: skip
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument("--role", choices=list(ROLES), help="of the account; with token: the most it may do")
    parser.add_argument("--days", type=int, default=90, help="how long a token is good for (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def _users(parsed: argparse.Namespace) -> int:
    project = Project.open(parsed.project)
    if parsed.do != "list" and not parsed.name:
        raise AccountError(f"Name the user: annotator users PROJECT {parsed.do} NAME")
    payload: dict[str, Any] = {"do": parsed.do, "days": parsed.days}
    payload |= {"name": parsed.name} if parsed.name else {}
    payload |= {"role": parsed.role} if parsed.role else {}
    if parsed.do in ("add", "password"):
        payload["password"] = _ask_password()
    answer = _ask(project, payload)
    if parsed.json:
        print(json.dumps(answer, ensure_ascii=False))
    elif parsed.do == "list":
        for user in answer["users"]:
            print(f"{user['name']:<24} {user['role']:<10} {'disabled' if user['disabled'] else ''}".rstrip())
        print(f"{len(answer['users'])} accounts.", file=sys.stderr)
    elif "token" in answer:
        print(answer["token"])
    else:
        print("Done.", file=sys.stderr)
    return 0


def _ask_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise AccountError("The two passwords differ.")
    return password


def _ask(project: Project, payload: dict[str, Any]) -> dict[str, Any]:
    from annotator.auth.account_admin import UsersRequest, manage_users
    from annotator.auth.accounts import Accounts

    with (read_or_ask if payload["do"] == "list" else open_or_ask)(project) as (store, server):
        if server is not None:
            return server.call("users", payload)
        return manage_users(Accounts(store), UsersRequest.model_validate(payload))


def add_assign(commands: Any) -> None:
    """Add `annotator assign` to the parser of commands."""
    parser = add_command(
        commands,
        "assign",
        _assign,
        "assign photos to people, ask several people about each, or open them to everybody again",
        "annotator assign PROJECT anna ben --query beach",
        ". Several people share the photos evenly. With --people K, "
        "K of them (or anybody, if none is named) are asked about each photo and do not see each other's "
        "answers; a reviewer then decides. A saved list counts as its person's answer.",
    )
    parser.add_argument("project", type=Path, metavar="PROJECT")
    parser.add_argument("users", nargs="*", metavar="NAME", help="without a name, the photos are open to everybody")
    parser.add_argument("--images", default="", metavar="IDS", help="image ids, such as 1-100,205")
    parser.add_argument("--query", default="", metavar="TEXT", help="photos whose tags or paths hold this text")
    parser.add_argument("--state", choices=("all", "saved", "unsaved"), default="unsaved", help="default: %(default)s")
    parser.add_argument("--people", type=int, metavar="K",
                        help="ask K people about each photo; 0 withdraws that where nobody has answered")  # fmt: skip
    parser.add_argument("--share", type=float, metavar="X", default=1.0,
                        help="with --people: of these photos, in [0, 1] (default: all)")  # fmt: skip
    parser.add_argument("--added-too", action="store_true",
                        help="with --people: also for photos that are added from now on")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def _assign(parsed: argparse.Namespace) -> int:
    project = Project.open(parsed.project)
    payload = {
        "users": parsed.users,
        "image_ids": _image_ids(parsed.images),
        "query": parsed.query,
        "state": parsed.state,
    }
    if parsed.people is not None:
        asking = {"people": parsed.people, "share": parsed.share, "added_too": parsed.added_too}
        return _ask_people(project, payload | asking, parsed.json)
    if parsed.added_too or parsed.share != 1.0:
        raise AnnotatorError("--share and --added-too go with --people.")
    with open_or_ask(project) as (store, server):
        answer = server.call("assign", payload) if server else _assign_in(store, payload)
    if parsed.json:
        print(json.dumps(answer, ensure_ascii=False))
    elif parsed.users:
        print(", ".join(f"{user}: {number:,}" for user, number in answer["assigned"].items()))
    else:
        print(f"{answer['num_given_back']:,} photos are everybody's again.")
    return 0


def _ask_people(project: Project, payload: dict[str, Any], as_json: bool) -> int:
    if not 0 <= payload["share"] <= 1:
        raise AnnotatorError(f"--share must lie between 0 and 1, got {payload['share']}.")
    with open_or_ask(project) as (store, server):
        answer = server.call("ask", payload) if server else _ask_in(project, store, payload)
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    elif payload["people"]:
        print(f"{answer['num_asked']:,} photos are asked of {payload['people']:,} people each.")
    else:
        print(f"{answer['num_asked']:,} photos are asked of nobody any more, unless somebody has answered.")
    return 0


def _matching(store: Any, payload: dict[str, Any]) -> list[int]:
    from annotator.storage.correction_log import CorrectionLog
    from annotator.storage.tag_changes import TagChanges

    names = TagChanges(store, CorrectionLog(store)).aliases_with
    found: list[int] = store.images.find(payload["query"], payload["state"], names)
    return found


def _ask_in(project: Project, store: Any, payload: dict[str, Any]) -> dict[str, Any]:
    from annotator.collaboration.assignments import Assignments
    from annotator.collaboration.responses import Responses, in_share
    from annotator.storage.correction_log import CorrectionLog

    _check_people(store, payload["users"])
    contents = {image_id: content_hash for image_id, (content_hash, _) in store.images.file_names().items()}
    ids = payload["image_ids"] or _matching(store, payload)
    for image_id in ids:
        if image_id not in contents:
            raise UnknownImageError(f"This project has no image {image_id}.")
    asked = [image_id for image_id in ids if in_share(contents[image_id], payload["share"])]
    Responses(store, CorrectionLog(store)).ask(asked, payload["people"], payload["users"], LOCAL_USER)
    Assignments(store).assign(asked, None)
    if payload["added_too"]:
        project.update_settings(asked_people=payload["people"], asked_share=payload["share"])
    return {"num_asked": len(asked)}


def _check_people(store: Any, names: list[str]) -> None:
    from annotator.auth.accounts import Accounts

    accounts = Accounts(store)
    for name in names:
        if (accounts.role(name) or 0) < Role.ANNOTATOR:
            raise AccountError(f"There is no user {name[:80]!r} who may annotate.")


def _assign_in(store: Any, payload: dict[str, Any]) -> dict[str, Any]:
    from annotator.collaboration.assignments import Assignments

    _check_people(store, payload["users"])
    assignments = Assignments(store)
    ids = payload["image_ids"] or _matching(store, payload)
    if not payload["users"]:
        return {"assigned": {}, "num_given_back": assignments.assign(ids, None)}
    return {"assigned": assignments.share_out(ids, payload["users"]), "num_given_back": 0}


def _image_ids(text: str) -> list[int]:
    ids: list[int] = []
    for part in filter(None, text.replace(" ", "").split(",")):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) - int(first) > 10**6:
            raise AnnotatorError(f"{part[:40]!r} is no image id and no range of them; write --images 1-100,205")
        ids += range(int(first), int(last or first) + 1)
    return ids
