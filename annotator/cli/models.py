"""`annotator finetune`, `models` and `tags`: train on corrections, promote or roll back models, change tags.

They call the server that has the project open, or else open the project themselves.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from annotator.auth.roles import LOCAL_USER
from annotator.cli.command import add_command
from annotator.cli.server_client import read_or_ask, server_or
from annotator.errors import AnnotatorError, ProjectError
from annotator.json_types import JsonObject
from annotator.storage.private_files import private_files
from annotator.storage.project import Project

Ask = Callable[[str, JsonObject], JsonObject]
"""(operation, payload) -> answer."""

POLL_SECONDS = 0.5
ENDED_WELL = ("promoted", "refused", "waiting")


def add_model_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Add `annotator finetune` and `annotator models` to the parser of commands."""
    finetune = add_command(
        commands,
        "finetune",
        _finetune,
        "train the project's model on the corrections, and promote it if it saves actions",
        "annotator finetune PROJECT --json",
        ". Also while the project is served; suitable for cron, since only one training runs at a time. "
        "Exit code 0 when the candidate was tested, promoted or not.",
    )
    finetune.add_argument("project", type=Path, metavar="PROJECT")
    finetune.add_argument("--json", action="store_true", help="print the whole training as JSON")
    models = add_command(
        commands,
        "models",
        _models,
        "list the project's models, promote one, roll back to one, or test one that was trained elsewhere",
        "annotator models PROJECT rollback",
    )
    models.add_argument("project", type=Path, metavar="PROJECT")
    models.add_argument("action", choices=("list", "promote", "rollback", "submit"), nargs="?", default="list",
                        help="default: %(default)s")  # fmt: skip
    models.add_argument("model", nargs="?", metavar="ID|CHECKPOINT",
                        help="a model's number; rollback without it takes the previous model. Of submit: a checkpoint "
                        "that was trained elsewhere, a folder or a URL, to be tested as a candidate")  # fmt: skip
    models.add_argument("--unseen", action="store_true",
                        help="of submit: it was trained on no list of this project")  # fmt: skip
    models.add_argument("--json", action="store_true", help="print JSON")
    tags = add_command(
        commands,
        "tags",
        _tags,
        "rename, merge, split, delete or alias a tag on all photos, or put it below another",
        'annotator tags PROJECT merge "fire truck" "fire engine"',
        ". Every photo with the tag gets a new event; its history stays. Also while the project is served.",
    )
    tags.add_argument("project", type=Path, metavar="PROJECT")
    tags.add_argument("kind", choices=("list", "rename", "merge", "split", "alias", "delete", "parent"),
                      help="list prints all changes so far; split needs --where; delete takes no NEW, and parent "
                      "without one says that the tag has none")  # fmt: skip
    tags.add_argument("old", nargs="?", metavar="OLD")
    tags.add_argument("new", nargs="?", metavar="NEW")
    tags.add_argument("--where", default="", metavar="TEXT",
                      help="split: photos with this text in their tags or path get NEW, others keep OLD")  # fmt: skip
    tags.add_argument("--json", action="store_true", help="print JSON")
    return [finetune, models, tags]


@contextmanager
def project_operations(project: Project) -> Iterator[Ask]:
    """Yield a function that calls a project's operations: on its server if there is one, else on the project.

    Raises:
        ProjectError: Neither can be reached.
    """
    from annotator.session.operations import answer
    from annotator.session.session import Session
    from annotator.session.workspace import Workspace

    try:
        session = Session.over(Workspace(project))
    except ProjectError as error:
        yield server_or(project, error).call
        return

    def ask(name: str, payload: JsonObject) -> JsonObject:
        found = answer(session, LOCAL_USER, name, payload)
        if "error" in found:
            raise AnnotatorError(found["error"]["message"])
        return found

    try:
        yield ask
    finally:
        session.close()


@contextmanager
def _reading(project: Project) -> Iterator[Ask]:
    """Yield a function that calls ``models`` and ``tag_changes``, also of a project that cannot be written.

    Raises:
        ProjectError: As of `project_operations`.
    """
    from annotator.storage.database import is_writable

    if is_writable(project.database_path):
        with project_operations(project) as ask:
            yield ask
        return
    with read_or_ask(project) as (store, server):
        yield server.call if server is not None else partial(_read, project, store)


def _read(project: Project, store: Any, name: str, payload: JsonObject) -> JsonObject:
    """Return the models or the changes of tags from the tables; the models without the state of the training."""
    return _read_tag_changes(store) if name == "tag_changes" else _read_models(project, store)


def _read_tag_changes(store: Any) -> JsonObject:
    from annotator.storage.correction_log import CorrectionLog
    from annotator.storage.tag_changes import TagChanges

    return {"changes": [change.to_json() for change in TagChanges(store, CorrectionLog(store)).all()]}


def _read_models(project: Project, store: Any) -> JsonObject:
    from annotator.learning.model_registry import ModelRegistry
    from annotator.proposals.tagger_catalog import tagger_label

    registry = ModelRegistry(store)
    changes, runs = registry.changes(), registry.runs()
    live_id = changes[-1].model_id if changes else None
    models = [
        model.to_json(runs, tagger_label(project.checkpoints_path, model.name), is_live=model.model_id == live_id)
        for model in reversed(registry.models())
    ]
    return {"live_id": live_id, "models": models}


def _finetune(parsed: argparse.Namespace) -> int:
    with project_operations(Project.open(parsed.project)) as ask:
        run = _followed(ask, ask("train_now", {})["run_id"], is_quiet=parsed.json)
    return _print_run(run, parsed)


def _submit(parsed: argparse.Namespace) -> int:
    from annotator.datasets.folder_store import typed_store
    from annotator.learning.submission import take_in

    if parsed.model is None:
        raise AnnotatorError("Name the checkpoint to test: annotator models PROJECT submit CHECKPOINT.")
    project = Project.open(parsed.project)
    source = typed_store(parsed.model, writes=False)
    with private_files(), take_in(project, source) as name, project_operations(project) as ask:
        run_id = ask("submit_model", {"submission": name, "unseen": parsed.unseen})["run_id"]
        run = _followed(ask, run_id, is_quiet=parsed.json)
    return _print_run(run, parsed)


def _followed(ask: Ask, run_id: int, *, is_quiet: bool) -> JsonObject:
    """Return a training when it has ended; until then its progress is printed."""
    shown = ""
    while True:
        state = ask("models", {})
        if state["run_id"] != run_id:
            return ask("training_run", {"run_id": run_id})
        line = _progress_line(state["progress"])
        if line != shown and not is_quiet:
            print(line, file=sys.stderr, flush=True)
            shown = line
        time.sleep(POLL_SECONDS)


def _print_run(run: JsonObject, parsed: argparse.Namespace) -> int:
    print(json.dumps(run, ensure_ascii=False) if parsed.json else run["sentence"])
    return 0 if run["state"] in ENDED_WELL else 1


def _progress_line(progress: JsonObject) -> str:
    phase = progress["phase"]
    if phase == "learning":
        return f"learning: {progress['share']:.0%}, loss {progress['loss']:.2f}, {progress['seconds_left']:.0f} s left"
    return f"{phase}: {progress['share']:.0%}" if progress["share"] else phase


def _models(parsed: argparse.Namespace) -> int:
    if parsed.action == "submit":
        return _submit(parsed)
    model_id = _model_id(parsed.model)
    if parsed.action == "promote" and model_id is None:
        raise AnnotatorError("Name the model to promote: annotator models PROJECT promote ID.")
    opens = _reading if parsed.action == "list" else project_operations
    with opens(Project.open(parsed.project)) as ask:
        if parsed.action == "promote":
            ask("promote_model", {"model_id": model_id})
        elif parsed.action == "rollback":
            ask("roll_back", {"model_id": model_id})
        state = ask("models", {})
    if parsed.json:
        print(json.dumps(state, ensure_ascii=False, indent=1))
        return 0
    for model in state["models"]:
        print(_model_line(model))
    return 0


def _model_id(text: str | None) -> int | None:
    if text is not None and not text.isdecimal():
        raise AnnotatorError(f"A model is named by its number; got {text[:80]!r}. See: annotator models PROJECT list.")
    return None if text is None else int(text)


def _tags(parsed: argparse.Namespace) -> int:
    needs_new = parsed.kind not in ("list", "delete", "parent")
    if parsed.kind != "list" and (parsed.old is None or (needs_new and parsed.new is None)):
        raise AnnotatorError(f"Name both tags: annotator tags PROJECT {parsed.kind} OLD NEW.")
    opens = _reading if parsed.kind == "list" else project_operations
    with opens(Project.open(parsed.project)) as ask:
        if parsed.kind == "list":
            found = ask("tag_changes", {})
        else:
            payload = {"kind": parsed.kind, "old": parsed.old, "new": parsed.new or "", "where": parsed.where}
            found = ask("change_tag", payload)
    if parsed.json:
        print(json.dumps(found, ensure_ascii=False))
    elif parsed.kind == "list":
        for change in found["changes"]:
            undone = " (undone)" if change["is_undone"] else ""
            print(
                f"{change['changed_at'][:19]}  {change['kind']:<7} {change['old_tag']} -> {change['new_tag']}{undone}"
            )
    else:
        print(f"{parsed.old} -> {parsed.new or 'nothing'}: {found['num_photos']:,} photos.")
        for tag in found["now_common"]:
            print(
                f"{tag} is on enough photos now to look for others that may need it: select it in the page, press F8."
            )
    return 0


def _model_line(model: JsonObject) -> str:
    live = "*" if model["is_live"] else " "
    parent = f"from {model['parent_id']}" if model["parent_id"] else ""
    actions = f"{model['actions_per_photo']:.2f} actions/photo" if model["actions_per_photo"] is not None else ""
    learnt = f"{model['num_fresh']} corrections" if model["num_fresh"] is not None else ""
    return f"{live}{model['model_id']:>4}  {model['label']:<28} {parent:<8} {learnt:<18} {actions}".rstrip()
