"""Options that several commands share."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotator.datasets.loaders import published
from annotator.datasets.photo_roots import PhotoRoot, PhotoUrl, is_url, typed_root
from annotator.datasets.remote_store import remote_store
from annotator.errors import ConfigError, ProjectError, RemoteError
from annotator.settings import IngestConfig

RECORDS = "records"
"""The format of a folder with records.jsonl."""
TAGGER_HELP = (
    "cold_start, starter, a tagger of the starter such as zero_shot, or a folder that `annotator train` wrote "
    "(default: the project's, else starter)"
)


def add_ingest_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the ingest."""
    defaults = IngestConfig()
    parser.add_argument("--decode-threads", type=int, default=defaults.num_decode_threads, metavar="N",
                        help="threads that read photos (default: %(default)s)")  # fmt: skip
    parser.add_argument("--backbone", metavar="NAME",
                        help="network that computes the features, see `annotator doctor`; a project that had "
                        "another one computes its features again")  # fmt: skip
    parser.add_argument("--network-threads", type=int, default=defaults.num_network_threads, metavar="N",
                        help="threads of the backbone (default: %(default)s)")  # fmt: skip


def add_data_options(parser: argparse.ArgumentParser, *, also_snapshots: bool = False) -> None:
    """Add the options that name photos with tags: a folder of records, or of a published data set.

    Args:
        parser: Of the command.
        also_snapshots: Whether the data may be snapshots of a project; then a URL is one of them.
    """
    help = "holds records.jsonl and its photos, or the files of a published data set"
    help += ", or the target of `annotator snapshot`" if also_snapshots else ""
    parser.add_argument("--data", type=path_or_url if also_snapshots else Path, required=True, metavar="FOLDER",
                        help=help)  # fmt: skip
    parser.add_argument("--format", choices=(RECORDS, *published.names()), default=RECORDS, metavar="NAME",
                        help=f"{RECORDS}, or a published data set: {', '.join(published.names())} "
                        "(default: %(default)s)")  # fmt: skip


def ingest_config(parsed: argparse.Namespace) -> IngestConfig:
    """Return the ingest configuration of those options."""
    return IngestConfig(num_decode_threads=parsed.decode_threads, num_network_threads=parsed.network_threads)


def tagger_name(name: str) -> str:
    """Return a tagger's name as stored in the settings: checkpoints by their full path."""
    from annotator.models.checkpoint import STARTER, STARTER_TAGGER, starter_names

    if name == STARTER:
        return f"{STARTER}/{STARTER_TAGGER}"
    if name in starter_names() and not Path(name).is_dir():
        return f"{STARTER}/{name}"
    is_folder = name and name != "cold_start" and not name.startswith(f"{STARTER}/")
    return str(Path(name).expanduser().resolve()) if is_folder else name


def path_or_url(text: str) -> PhotoRoot:
    """Return where photos lie, as typed."""
    return PhotoUrl(text) if is_url(text) else Path(text)


def checked_root(named: PhotoRoot) -> PhotoRoot:
    """Return where photos lie, in full; a store is asked once.

    Raises:
        ConfigError: The URL is of no known store, or holds a password, or the store does not answer.
        ProjectError: The folder is missing, or a file.
    """
    root = typed_root(str(named))
    if isinstance(root, Path):
        check_folder(root)
        return root
    try:
        remote_store(root).list_folder("")
    except RemoteError as error:
        raise ConfigError(str(error)) from error
    return root


def check_folder(photos: Path) -> None:
    """Check that a path is a folder.

    Raises:
        ProjectError: It is missing, or a file.
    """
    if not photos.exists():
        raise ProjectError(f"There is no folder {photos}.")
    if not photos.is_dir():
        raise ProjectError(f"{photos} is not a folder. Name the folder that holds the photos.")


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse NAME=VALUE settings; a value is JSON, or else text.

    Raises:
        ConfigError: There is no "=", or a name comes twice.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"{pair!r} is not a setting; write it as NAME=VALUE.")
        if name in settings:
            raise ConfigError(f"The setting {name} is given twice.")
        try:
            settings[name] = json.loads(text)
        except ValueError:
            settings[name] = text
    return settings
