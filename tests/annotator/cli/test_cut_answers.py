"""A server that ends in the middle of an answer: the command says so, exits with 1, and leaves nothing half-written.

A relay between the two passes a share of an answer on; then it kills the server, or cuts the connection.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration  # servers that are killed


def is_refused(done: subprocess.CompletedProcess[str]) -> bool:
    assert "Traceback" not in done.stderr
    return done.returncode == 1 and "The server's answer ended after" in done.stderr and done.stdout == ""


@pytest.mark.parametrize("kills", [True, False], ids=["killed", "cut"])
def test_an_export_through_a_server_that_ends_in_the_middle_is_no_export(
    relay: Callable[..., tuple[Any, Any]], run_command: Callable[..., Any], tmp_path: Path, kills: bool
) -> None:
    server, between = relay("/export", 9_000, kills=kills)
    assert is_refused(run_command("export", server.project))  # printed
    assert between.has_cut.is_set()
    if kills:
        return  # the next command would read the database itself
    for format, name in (("csv", "tags.csv"), ("jsonl", "tags.jsonl"), ("xmp", "sidecars"), ("coco", "coco.json")):
        assert is_refused(run_command("export", server.project, "--format", format, tmp_path / name)), format
        assert not (tmp_path / name).exists()
    assert list(tmp_path.glob(".annotator-*")) == []


def test_a_backup_and_a_call_that_are_cut_are_refused(
    relay: Callable[..., tuple[Any, Any]], run_command: Callable[..., Any], tmp_path: Path
) -> None:
    server, between = relay("/backup", 300_000, kills=True)
    assert is_refused(run_command("backup", server.project, tmp_path / "b.tar"))
    assert between.has_cut.is_set()
    assert not (tmp_path / "b.tar").exists()
    assert list(tmp_path.glob(".*.part")) == []


def test_an_answer_of_an_operation_that_is_cut_is_a_sentence(
    relay: Callable[..., tuple[Any, Any]], run_command: Callable[..., Any]
) -> None:
    server, between = relay("/check", 200, kills=False)
    assert is_refused(run_command("check", server.project))
    assert between.has_cut.is_set()


def test_a_whole_answer_passes_the_relay(
    relay: Callable[..., tuple[Any, Any]], run_command: Callable[..., Any]
) -> None:
    server, _ = relay("/nothing", 0, kills=False)
    done = run_command("export", server.project)
    assert done.returncode == 0
    assert [json.loads(line)["tags"] for line in done.stdout.splitlines()] == [
        [f"tag {number} " + "x" * 40 for number in range(30)]
    ] * 12
