"""Every test is in exactly one group, and a group that was not run is told."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def make_item(fixtures: str = "", marks: str = "") -> Any:
    return SimpleNamespace(
        nodeid="test_x.py::test_x",
        fixturenames=fixtures.split(),
        iter_markers=lambda: [SimpleNamespace(name=name) for name in marks.split()],
    )


def test_every_collected_test_has_exactly_one_group(groups: Any) -> None:
    assert groups.of_all
    assert {
        test: marks for test, marks in groups.of_all.items() if len(marks) != 1 or marks[0] not in groups.names
    } == {}


@pytest.mark.parametrize(
    ("fixtures", "marks", "group"),
    [
        ("tmp_path", "parametrize", "unit"),
        ("tmp_path backbone_cache", "", "integration"),
        ("mount_disk", "slow", "integration"),
        ("backbone_cache browser", "", "browser"),
        ("tmp_path", "integration", "integration"),
        ("backbone_cache", "integration", "integration"),
    ],
)
def test_a_group_follows_from_the_marker_or_else_from_the_fixtures(
    groups: Any, fixtures: str, marks: str, group: str
) -> None:
    assert groups.of(make_item(fixtures, marks)) == group


@pytest.mark.parametrize(
    ("fixtures", "marks"),
    [
        ("", "unit integration"),
        ("browser", "browser integration"),
        ("backbone_cache", "unit"),
        ("browser", "integration"),
    ],
)
def test_two_groups_or_one_that_the_fixtures_contradict_are_refused(groups: Any, fixtures: str, marks: str) -> None:
    with pytest.raises(pytest.UsageError, match=r"test_x\.py::test_x is marked"):
        groups.of(make_item(fixtures, marks))


def test_a_unit_test_that_starts_a_process_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="a unit test starts no process"):
        subprocess.run([sys.executable, "--version"])


@pytest.mark.integration
@pytest.mark.parametrize(("options", "code"), [([], 0), (["--need-browser"], 1)])
def test_without_a_browser_the_last_line_says_so_and_an_option_makes_it_a_failure(
    options: list[str], code: int
) -> None:
    (page_tests,) = ROOT.rglob("tests/**/test_page_modules.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "browser", *options, page_tests]
    environment = os.environ | {"CHROMIUM": sys.executable}  # a program that is no browser
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    last = done.stdout.rstrip().splitlines()[-1]
    assert last.startswith("Tests run: browser NOT RUN (2 tests): "), done.stdout
    assert f"{sys.executable} does not start" in last
    assert "run `" in last


@pytest.mark.integration
def test_a_needed_browser_group_that_was_not_selected_is_a_failure() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--need-browser", __file__]
    command += ["-k", "starts_a_process"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("Tests run: unit 1, browser NOT RUN: no test of it was selected")
