"""Find a browser for the browser tests: ``python tests/find_browser.py [--get] [--or-fail]``.

Tries Chromium, Chrome and Edge as installed, then the Chromium that Playwright keeps for itself. A browser counts only
if Playwright starts it and it shows a page. With ``--get``, one that is not there is fetched: Playwright's own Chromium
by download, else the distribution's packages where this user may install them (root, apt-get).

Prints the program and its options as JSON. Where there is none, prints one sentence that says what is missing and the
command to run; the exit code is then 0 with ``--get`` (the tests say it again), and 3 with ``--or-fail``.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

NONE_FOUND = 3
"""Exit code: there is no browser that works. Any other code but 0 is a fault of this program."""
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PROGRAMS = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "microsoft-edge-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
]
LIMIT_SECONDS = 60
FETCH_LIMIT_SECONDS = 900
DRIVER_PACKAGE = "libatomic1"
"""What Playwright's own Node needs and a small Debian or Ubuntu lacks."""


class NoBrowserError(Exception):
    """There is no browser that works; the message says why, and what to run."""


def find() -> str:
    """Return the program of the first browser that works.

    Raises:
        NoBrowserError: There is none.
    """
    check_driver()
    problems = []
    for program in candidates():
        problem = try_out(program)
        if problem is None:
            return program
        problems.append(f"{program} does not start ({problem})")
    what = "; ".join(problems) or "no Chromium, Chrome or Edge is installed"
    raise NoBrowserError(f"{what}: run `{install_command()}`, or name a browser's program in CHROMIUM.")


def candidates() -> Iterator[str]:
    """Yield the programs to try. One that the user names in CHROMIUM is the only one."""
    named = os.environ.get("CHROMIUM")
    if named:
        yield named
        return
    yield from dict.fromkeys(found for program in PROGRAMS if (found := shutil.which(program)))
    own = own_program()
    if Path(own).exists():
        yield own


def own_program() -> str:
    """Return where Playwright's own Chromium is, or would be."""
    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def check_driver() -> None:
    """Make sure that Playwright's driver runs: it is a Node of its own, which needs a system library.

    Raises:
        NoBrowserError: It does not.
    """
    done = run_playwright("--version")
    if done.returncode:
        missing = re.search(r"error while loading shared libraries: ([^\s:]+)", done.stderr)
        if missing is None:
            raise NoBrowserError(f"Playwright's driver does not start: {last_line(done.stderr)}")
        raise NoBrowserError(f"Playwright needs the system library {missing[1]}: run `{library_command()}`.")


def try_out(program: str) -> str | None:
    """Start a browser and show a page in it; return what went wrong, None if nothing did."""
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=OPTIONS, timeout=1000 * LIMIT_SECONDS)
            browser.new_page().goto("data:text/html,ready")
            browser.close()
    except Error as error:
        missing = re.search(r"error while loading shared libraries: [^\n]*", error.message)
        return missing[0] if missing else error.message.strip().splitlines()[0]
    return None


def get() -> str:
    """Return the program of a browser that works; fetch one where there is none.

    Raises:
        NoBrowserError: There is none and none can be had.
    """
    may_install = os.geteuid() == 0 and shutil.which("apt-get") is not None
    try:
        return find()
    except NoBrowserError as error:
        if os.environ.get("CHROMIUM"):
            raise
        print(f"Browser tests: {error}", file=sys.stderr)
    if may_install:
        # The driver's library first: without it, Playwright cannot fetch anything either.
        apt_get_install(DRIVER_PACKAGE)
    check_driver()
    print("Browser tests: fetching Playwright's Chromium.", file=sys.stderr)
    fetched = run_playwright("install", "chromium", timeout=FETCH_LIMIT_SECONDS)
    if fetched.returncode:
        print(f"Browser tests: it cannot be fetched ({first_error(fetched.stderr)}).", file=sys.stderr)
    elif may_install:
        run_playwright("install-deps", "chromium", timeout=FETCH_LIMIT_SECONDS)
    try:
        return find()
    except NoBrowserError:
        if not may_install:
            raise
    apt_get_install("chromium")
    return find()


def apt_get_install(package: str) -> None:
    """Install one of the distribution's packages; if that fails, say why and leave the consequence to the caller."""
    print(f"Browser tests: installing the system package {package}.", file=sys.stderr)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", package]):
        done = subprocess.run(
            ["apt-get", "-qq", *arguments], env=environment, capture_output=True, text=True, timeout=FETCH_LIMIT_SECONDS
        )
        if done.returncode:
            print(f"Browser tests: apt-get {arguments[0]} failed ({last_line(done.stderr)}).", file=sys.stderr)


def run_playwright(*arguments: str, timeout: float = LIMIT_SECONDS) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "playwright", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def library_command() -> str:
    """Return the command that installs what Playwright's driver needs, and on Debian the browser with it."""
    if not shutil.which("apt-get"):
        return as_root("dnf install libatomic")
    return as_root(f"apt-get install {DRIVER_PACKAGE}") if "ubuntu" in platform_names() else install_command()


def install_command() -> str:
    """Return the command that installs a browser on this system."""
    if shutil.which("apt-get") and "ubuntu" not in platform_names():
        return as_root(f"apt-get install chromium {DRIVER_PACKAGE}")
    for program, command in (
        ("dnf", "dnf install chromium"),
        ("zypper", "zypper install chromium"),
        ("pacman", "pacman -S chromium"),
        ("brew", "brew install --cask chromium"),
    ):
        if shutil.which(program):
            return command if program == "brew" else as_root(command)
    # Ubuntu has Chromium only as a snap, which cannot read the temporary folder that Playwright gives it.
    return f"{os.path.relpath(sys.executable)} -m playwright install --with-deps chromium"


def platform_names() -> set[str]:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return set()
    return {release["ID"], *release.get("ID_LIKE", "").split()}


def as_root(command: str) -> str:
    return command if os.geteuid() == 0 else f"sudo {command}"


def first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("Error:")), lines[-1] if lines else "no reason given")


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no reason given"


def main() -> int:
    parser = argparse.ArgumentParser(description="Find a browser for the browser tests.")
    parser.add_argument("--get", action="store_true", help="fetch or install one where there is none")
    parser.add_argument("--or-fail", action="store_true", help=f"exit with {NONE_FOUND} where there is none")
    arguments = parser.parse_args()
    try:
        program = get() if arguments.get else find()
    except NoBrowserError as error:
        print(f"Browser tests: {error}", file=sys.stderr)
        return 0 if arguments.get and not arguments.or_fail else NONE_FOUND
    print(json.dumps({"program": program, "options": OPTIONS}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
