"""`annotator snapshot`: a project's lists as Parquet tables, for readers that do not have the project.

And what the commands `export` and `report` read: a project, or a snapshot of one.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotator.cli.command import add_command
from annotator.cli.ship import add_every, checked_every, repeat
from annotator.datasets.folder_store import FolderStore, ObjectStore, typed_store
from annotator.datasets.photo_roots import PhotoRoot
from annotator.errors import ConfigError
from annotator.storage.project import Project, is_project

if TYPE_CHECKING:
    from annotator.maintenance.snapshots import About

NUM_KEPT, MOST_KEPT = 3, 10_000


def add_snapshot(commands: Any) -> None:
    """Add `annotator snapshot`."""
    snapshot = add_command(commands, "snapshot", _snapshot,
                           "publish the saved lists as Parquet tables in a folder or an object store",
                           "annotator snapshot PROJECT s3://BUCKET/FOLDER --every 300",
                           ". Also while it is served. `annotator export` and `annotator report` read TARGET in place "
                           "of a project, and so does DuckDB.")  # fmt: skip
    snapshot.add_argument("project", type=Path, metavar="PROJECT")
    snapshot.add_argument("target", metavar="TARGET", help="a folder, or a URL such as s3://BUCKET/FOLDER")
    add_every(snapshot)
    snapshot.add_argument("--keep", type=int, default=NUM_KEPT, metavar="N",
                          help="snapshots that stay, at least 2 (default: %(default)s)")  # fmt: skip
    snapshot.add_argument("--with-folders", action="store_true",
                          help="publish the paths of the photo folders; otherwise they are numbered")  # fmt: skip


def _snapshot(parsed: argparse.Namespace) -> int:
    from annotator.maintenance.snapshots import LEAST_KEPT, Publisher
    from annotator.reports.effort import effort_report

    every = checked_every(parsed)
    if not LEAST_KEPT <= parsed.keep <= MOST_KEPT:
        raise ConfigError(f"--keep must be from {LEAST_KEPT} to {MOST_KEPT:,}, got {parsed.keep}.")
    folder = Project.open(parsed.project).folder
    store = typed_store(parsed.target, writes=True)
    publisher: Publisher | None = None
    shown = 0

    def work() -> None:
        nonlocal publisher, shown
        if publisher is None:
            publisher = Publisher(
                Project.open(folder),
                store,
                lambda copy: effort_report(copy.rows),
                num_kept=parsed.keep,
                with_folders=parsed.with_folders,
            )
        about = publisher.publish()
        if about.number != shown:
            print(f"{store.url}/{about.folder}: {_content(about)}.", flush=True)
        shown = about.number

    repeat(work, every)
    return 0


def _content(about: "About") -> str:
    return f"{about.num_photos:,} photos, {about.num_saved:,} saved, up to event {about.event_id:,}"


def snapshots_at(named: PhotoRoot) -> ObjectStore | None:
    """Return the store of snapshots at a URL or in a folder; None for a folder of something else.

    Raises:
        ConfigError: The URL is of no known store.
    """
    if not isinstance(named, Path):
        return typed_store(str(named), writes=False)
    folder = named.expanduser().resolve()
    is_one = not is_project(folder) and any((folder / name).is_file() for name in ("manifest.json", "snapshot.json"))
    return FolderStore(folder) if is_one else None


def project_or_snapshot(named: PhotoRoot) -> Project | ObjectStore:
    """Return the project, or the store of snapshots, that a person has named.

    Raises:
        ConfigError: The URL is of no known store.
        ProjectError: The folder is neither.
    """
    snapshots = snapshots_at(named)
    return Project.open(Path(str(named))) if snapshots is None else snapshots


def say_how_old(about: "About", store: ObjectStore) -> None:
    """Print on stderr of which moment a snapshot is, and how long ago that was."""
    from annotator.maintenance.staleness import age_of

    print(
        f"annotator: {store.url} is a snapshot of {about.project}: {_content(about)}, as of {about.checked_at}, "
        f"{age_of(about.checked_at)}.",
        file=sys.stderr,
    )
