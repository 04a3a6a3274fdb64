"""The browser tests' browser: which one is taken, how one is had, and what is said where there is none."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NO_LIBATOMIC = (
    "node: error while loading shared libraries: libatomic.so.1: cannot open shared object file: No such file"
)


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program as a module, on a machine that has Playwright's driver, apt-get and root, and no browser."""
    spec = importlib.util.spec_from_file_location("find_browser", Path(__file__).with_name("find_browser.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "apt-get" else None)
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "platform_names", lambda: {"debian"})
    monkeypatch.setattr(module, "own_program", lambda: "/nowhere/chrome")
    monkeypatch.setattr(module, "run_playwright", lambda *_, **__: done(0))
    monkeypatch.setattr(module, "try_out", lambda program: None)
    return module


def done(code: int, stderr: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.CompletedProcess([], code, "", stderr)


@pytest.fixture
def install(finder: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let some programs be on the PATH."""

    def put(*names: str) -> None:
        present = {*names, "apt-get"}
        monkeypatch.setattr(finder.shutil, "which", lambda name: f"/usr/bin/{name}" if name in present else None)

    return put


@pytest.mark.parametrize("name", ["chromium", "google-chrome", "microsoft-edge"])
def test_an_installed_browser_is_taken(finder: Any, install: Callable[..., None], name: str) -> None:
    install(name)
    assert finder.find() == f"/usr/bin/{name}"


def test_playwrights_own_browser_is_taken_where_none_is_installed(finder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "own_program", lambda: sys.executable)
    assert finder.find() == sys.executable


def test_a_browser_that_does_not_start_is_passed_over(
    finder: Any, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("chromium", "google-chrome")
    monkeypatch.setattr(finder, "try_out", lambda program: "a stub" if program.endswith("chromium") else None)
    assert finder.find() == "/usr/bin/google-chrome"


def test_a_browser_that_is_named_is_the_only_one_tried(
    finder: Any, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("chromium")
    monkeypatch.setenv("CHROMIUM", "/opt/mine")
    monkeypatch.setattr(finder, "try_out", lambda program: "no such file" if program == "/opt/mine" else None)
    for search in (finder.find, finder.get):
        with pytest.raises(finder.NoBrowserError, match=r"^/opt/mine does not start \(no such file\): run `"):
            search()


def test_without_any_browser_one_sentence_says_what_to_run(finder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(finder.NoBrowserError) as caught:
        finder.find()
    assert str(caught.value) == (
        "no Chromium, Chrome or Edge is installed: run `apt-get install chromium libatomic1`, "
        "or name a browser's program in CHROMIUM."
    )
    monkeypatch.setattr(finder.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(finder, "platform_names", lambda: {"ubuntu", "debian"})
    with pytest.raises(finder.NoBrowserError, match=r"run `\S+ -m playwright install --with-deps chromium`"):
        finder.find()


def test_a_library_that_the_driver_lacks_is_named(finder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "run_playwright", lambda *_, **__: done(127, NO_LIBATOMIC))
    with pytest.raises(finder.NoBrowserError) as caught:
        finder.find()
    assert str(caught.value) == (
        "Playwright needs the system library libatomic.so.1: run `apt-get install chromium libatomic1`."
    )


class Machine:
    """A machine on which things can be installed; notes what was asked of it."""

    def __init__(self, finder: Any, monkeypatch: pytest.MonkeyPatch, *, is_connected: bool) -> None:
        self.asked: list[str] = []
        self.present: set[str] = set()
        self.is_connected = is_connected
        monkeypatch.setattr(finder, "run_playwright", self.playwright)
        monkeypatch.setattr(finder, "apt_get_install", self.install)
        monkeypatch.setattr(finder, "candidates", lambda: sorted(self.present & {"chromium", "own"}))

    def playwright(self, *arguments: str, timeout: float = 0) -> "subprocess.CompletedProcess[str]":
        if "libatomic1" not in self.present:
            return done(127, NO_LIBATOMIC)
        if arguments[0] == "--version":
            return done(0)
        self.asked.append(" ".join(arguments))
        if not self.is_connected:
            return done(1, "Downloading\nError: getaddrinfo ENOTFOUND cdn.playwright.dev\n    at node:1\n")
        self.present.add("own")
        return done(0)

    def install(self, package: str) -> None:
        self.asked.append(package)
        self.present.add(package)


def test_a_browser_is_fetched_with_what_it_needs(finder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(finder, monkeypatch, is_connected=True)
    assert finder.get() == "own"
    assert machine.asked == ["libatomic1", "install chromium", "install-deps chromium"]


def test_the_distributions_browser_is_installed_where_none_can_be_fetched(
    finder: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(finder, monkeypatch, is_connected=False)
    assert finder.get() == "chromium"
    assert machine.asked == ["libatomic1", "install chromium", "chromium"]
    assert "cannot be fetched (Error: getaddrinfo ENOTFOUND cdn.playwright.dev)" in capsys.readouterr().err


def test_without_root_nothing_is_installed_and_the_command_is_told(
    finder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(finder, monkeypatch, is_connected=False)
    monkeypatch.setattr(finder.os, "geteuid", lambda: 1000)
    with pytest.raises(finder.NoBrowserError, match="run `sudo apt-get install chromium libatomic1`"):
        finder.get()
    machine.present.add("libatomic1")
    with pytest.raises(finder.NoBrowserError, match="run `sudo apt-get install chromium libatomic1`"):
        finder.get()
    assert machine.asked == ["install chromium"]


@pytest.mark.parametrize(
    ("options", "code"), [([], 3), (["--get"], 0), (["--get", "--or-fail"], 3)], ids=["find", "get", "get or fail"]
)
def test_the_exit_code_tells_a_missing_browser_from_a_fault(
    finder: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], code: int
) -> None:
    monkeypatch.setenv("CHROMIUM", "/opt/mine")
    monkeypatch.setattr(finder, "try_out", lambda program: "no such file")
    monkeypatch.setattr(sys, "argv", ["find_browser.py", *options])
    assert finder.main() == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("Browser tests: /opt/mine does not start (no such file)")
