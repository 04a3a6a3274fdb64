"""`annotator backup`, `restore` and `check`.

Backup and check call the server when one has the project open.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annotator.auth.roles import Role
from annotator.cli.server_client import ServerClient, open_or_ask, read_or_ask
from annotator.cli.whole_answer import copy_whole
from annotator.datasets.photo_roots import is_url
from annotator.errors import AnnotatorError, BackupError
from annotator.storage.project import Project, open_private
from annotator.storage.queries import utc_now
from annotator.storage.temporary_folders import held_folder


def add_durability(commands: Any) -> None:
    """Add the three commands to the parser of commands."""
    backup = _add(
        commands,
        "backup",
        _backup,
        "write a project's tags, settings and models into one file, also while it is served",
        "annotator backup PROJECT holiday.tar",
    )
    backup.add_argument("project", type=Path, metavar="PROJECT")
    backup.add_argument("file", type=Path, metavar="FILE", help="the new file")
    backup.add_argument("--without-features", action="store_true",
                        help="make a smaller file; a restored project computes the features again")  # fmt: skip
    restore = _add(
        commands, "restore", _restore, "restore a project from a backup, or from what was shipped",
        "annotator restore holiday.tar PROJECT",
    )  # fmt: skip
    restore.add_argument("file", metavar="FILE", help="a backup, or the target of `annotator ship`: a folder or a URL")
    restore.add_argument("project", type=Path, metavar="PROJECT", help="a new or an empty folder")
    restore.add_argument("--before-damage", action="store_true",
                         help="of what was shipped: a damaged piece of the log ends what is restored")  # fmt: skip
    check = _add(commands, "check", _check,
                 "check a project's consistency: log, tags, features, index, checkpoints",
                 "annotator check PROJECT --repair")  # fmt: skip
    check.add_argument("project", type=Path, metavar="PROJECT")
    check.add_argument("--repair", action="store_true", help="repair what can be computed from the log or the photos")
    check.add_argument("--photos", action="store_true", help="also read every photo and compare it with its hash")
    check.add_argument("--json", action="store_true", help="print the findings as JSON")


def _add(commands: Any, name: str, command: Any, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", epilog=f"example: {example}"
    )
    parser.set_defaults(command=command)
    return parser


def _backup(parsed: argparse.Namespace) -> int:
    from annotator.maintenance.backup import back_up, read_manifest

    project = Project.open(parsed.project)
    target = parsed.file.expanduser().absolute()
    if target.exists():
        raise BackupError(f"{target} exists already. Name a new file.")
    with read_or_ask(project) as (store, server), _making(target) as part:
        if server is not None:
            _download(server, part, with_features=not parsed.without_features)
        else:
            snapshot = part.with_name("project.duckdb")
            store.copy_to(snapshot)
            back_up(project, snapshot, part, with_features=not parsed.without_features)
    print(f"{target}: {target.stat().st_size / 1e6:,.1f} MB.")
    for sentence in read_manifest(target).left_out:
        print(f"annotator: left out: {sentence}", file=sys.stderr)
    return 0


@contextmanager
def _making(target: Path) -> Iterator[Path]:
    """Yield the path at which a file is made; at the end it gets its name, unless there is one meanwhile.

    Raises:
        BackupError: The folder cannot be written, or the file exists.
    """
    try:
        with held_folder(target.parent, ".annotator-backup-") as folder:
            yield folder / "project.tar"
            os.link(folder / "project.tar", target)  # unlike a rename, this fails if the target exists
    except FileExistsError:
        raise BackupError(f"{target} exists already. Name a new file.") from None
    except OSError as error:
        raise BackupError(f"The backup {target} cannot be written: {error.strerror or error}.") from error


def _download(server: ServerClient, part: Path, *, with_features: bool) -> None:
    with server.open(f"backup?features={int(with_features)}") as response, open_private(part) as file:
        copy_whole(response, file)
        file.flush()
        os.fsync(file.fileno())


def _restore(parsed: argparse.Namespace) -> int:
    from annotator.maintenance.backup import restore
    from annotator.maintenance.staleness import age_of

    if is_url(parsed.file) or Path(parsed.file).expanduser().is_dir():
        from annotator.datasets.folder_store import typed_store
        from annotator.maintenance.shipped import restore_shipped

        store = typed_store(parsed.file, writes=False)
        manifest, shipped, until = restore_shipped(store, parsed.project, before_damage=parsed.before_damage)
        moment = f"up to {until}, shipped {age_of(shipped.shipped_at)} ({shipped.shipped_at})"
    elif parsed.before_damage:
        raise BackupError("--before-damage is of what `annotator ship` wrote, not of a backup in one file.")
    else:
        manifest = restore(Path(parsed.file).expanduser(), parsed.project)
        moment = f"as of {manifest.created_at}"
    print(
        f"{parsed.project}: {manifest.num_images:,} photos, {manifest.num_saved:,} saved, {manifest.num_events:,} "
        f"events, {moment}. Open it with: annotator serve {parsed.project}"
    )
    for sentence in manifest.left_out:
        print(f"annotator: not restored: {sentence}", file=sys.stderr)
    for sentence in _who_and_where(parsed.project):
        print(f"annotator: {sentence}", file=sys.stderr)
    return 0


def _who_and_where(folder: Path) -> Iterator[str]:
    """Yield who gets into a restored project, and which folders of this machine it will read, as sentences."""
    with open_or_ask(Project.open(folder)) as (store, _):
        users = store.rows("SELECT user_name, role FROM users WHERE NOT is_disabled ORDER BY role DESC, user_name")
        num_tokens = store.rows("SELECT count(*) FROM api_tokens WHERE expires_at > ?", [utc_now()])[0][0]
        roots = [str(root) for _, root in store.images.roots()]
    if users:
        names = ", ".join(f"{name} ({Role(role).label})" for name, role in users)
        tokens = f" and {num_tokens:,} tokens of programs" if num_tokens else ""
        yield f"these people{tokens} get in as in the project that was backed up: {names}. See: annotator users."
    if roots:
        yield f"`annotator serve` reads the photos in these folders, new ones too: {', '.join(roots)}."


def _check(parsed: argparse.Namespace) -> int:
    from annotator.maintenance.integrity import check, repair
    from annotator.maintenance.recovery import recover

    project = Project.open(parsed.project)
    recovered = []
    if parsed.repair:
        project.check_writable()
        try:
            recovered = recover(project)
        except OSError as error:
            raise AnnotatorError(f"The files cannot be copied aside: {error}. Nothing was repaired.") from error
    for sentence in recovered:
        print(sentence, file=sys.stderr)
    with (open_or_ask if parsed.repair else read_or_ask)(project) as (store, server):
        if server is not None:
            if parsed.repair or parsed.photos:
                what = "anything is repaired" if parsed.repair else "all photos are read"
                raise AnnotatorError(f"Process {server.pid} serves this project. End it before {what}.")
            findings = server.call("check")["findings"]
        else:
            found = (repair if parsed.repair else check)(project, store, reads_photos=parsed.photos)
            findings = [asdict(finding) for finding in found]
    damage = [finding for finding in findings if finding["is_damage"]]
    if parsed.json:
        print(json.dumps(findings, ensure_ascii=False, indent=1))
    else:
        for finding in findings:
            print(f"{_kind(finding)}  {finding['what']}")
        wrong, known = len(damage), len(findings) - len(damage)
        also = f" {known:,} more to know." if wrong and known else f" {known:,} to know." if known else ""
        print(f"{wrong:,} findings.{also}" if wrong else f"All is well.{also}", file=sys.stderr)
    return 1 if damage else 0


def _kind(finding: dict[str, Any]) -> str:
    if not finding["is_damage"]:
        return "to know        "
    return "can be repaired" if finding["is_repairable"] else "needs a backup "
