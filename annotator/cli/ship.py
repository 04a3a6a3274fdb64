"""`annotator ship`: a project in a folder or an object store, and what is added to it as it is added."""

import argparse
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from annotator.cli.command import add_command, show_step
from annotator.errors import ConfigError, RemoteError, StoreError
from annotator.storage.project import Project
from annotator.storage.queries import utc_now

RENEWED_SECONDS = 60.0
"""A target is told at least so often that nothing is new."""
LEAST_SECONDS, MOST_SECONDS = 0.1, 86_400.0

logger = logging.getLogger(__name__)


def add_ship(commands: Any) -> None:
    """Add `annotator ship`."""
    ship = add_command(commands, "ship", _ship,
                       "copy a project into a folder or an object store, and keep that up to date",
                       "annotator ship PROJECT s3://BUCKET/FOLDER --every 2",
                       ". Also while it is served. `annotator restore TARGET PROJECT` takes it back.")  # fmt: skip
    ship.add_argument("project", type=Path, metavar="PROJECT")
    ship.add_argument("target", metavar="TARGET", help="a folder, or a URL such as s3://BUCKET/FOLDER")
    add_every(ship)
    ship.add_argument("--without-features", action="store_true",
                      help="ship less; a restored project computes the features again")  # fmt: skip


def add_every(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that go on until they are ended."""
    parser.add_argument("--every", type=float, metavar="SECONDS",
                        help="go on until ended, with so many seconds between two looks (default: once)")  # fmt: skip


def checked_every(parsed: argparse.Namespace) -> float | None:
    """Return the seconds between two rounds; None for one round.

    Raises:
        ConfigError: They are too few or too many.
    """
    every: float | None = parsed.every
    if every is not None and not LEAST_SECONDS <= every <= MOST_SECONDS:
        raise ConfigError(f"--every must be from {LEAST_SECONDS:g} to {MOST_SECONDS:,.0f} seconds, got {every:g}.")
    return every


def repeat(work: Callable[[], object], every: float | None) -> None:
    """Do work once, or again and again; then what may pass, such as a store that does not answer, does not end it.

    Args:
        work: One round.
        every: Seconds between two rounds; None: one round.

    Raises:
        AnnotatorError: Of the one round; of any round, if it is of a kind that does not pass.
    """
    problem = ""
    while True:
        try:
            work()
            if problem:
                show_step(f"{utc_now():%H:%M:%S} UTC: up to date again.")
            problem = ""
        except (RemoteError, StoreError) as error:
            if every is None:
                raise
            if str(error) != problem:
                show_step(f"{utc_now():%H:%M:%S} UTC: not up to date, tried again every {every:g} s. {error}")
            problem = str(error)
        if every is None:
            return
        time.sleep(every)


def _ship(parsed: argparse.Namespace) -> int:
    from annotator.datasets.folder_store import typed_store
    from annotator.maintenance.shipping import Shipping

    every = checked_every(parsed)
    folder = Project.open(parsed.project).folder
    store = typed_store(parsed.target, writes=True)
    shipping: Shipping | None = None
    renewed = time.monotonic()

    def work() -> None:
        nonlocal shipping, renewed
        is_first = shipping is None
        if shipping is None:
            shipping = Shipping(folder, store, with_features=not parsed.without_features)
        shipped = shipping.ship(renews=is_first or time.monotonic() - renewed > RENEWED_SECONDS)
        if shipped is None:
            return
        renewed = time.monotonic()
        until = f"event {shipped.event_id:,} and all before it" if shipped.event_id else "the whole project"
        what = f"{store.url}: {until}"
        if is_first:
            print(f"{what}, shipped at {shipped.shipped_at}.", flush=True)
        else:
            logger.info("%s, shipped at %s.", what, shipped.shipped_at)

    repeat(work, every)
    return 0
