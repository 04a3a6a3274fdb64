"""Power cuts and failing file calls while a project is written: tests/benchmarks/power_loss.py, a few of each."""

import importlib.util
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.integration  # compiles a library, and starts processes under it

GOOD = {"whole", "refused, then recovered whole"}


@pytest.fixture
def power_loss() -> Iterator[ModuleType]:
    path = Path(__file__).parents[2] / "benchmarks" / "power_loss.py"
    spec = importlib.util.spec_from_file_location("power_loss", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["power_loss"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["power_loss"]


@pytest.fixture
def shim(power_loss: ModuleType, tmp_path: Path) -> Path:
    found = power_loss.compile_shim(tmp_path)
    if found is None:
        pytest.skip("needs gcc, on Linux")
    return Path(found)


def test_no_acknowledged_save_is_lost_by_a_power_cut(power_loss: ModuleType, shim: Path, tmp_path: Path) -> None:
    outcomes = power_loss.cut_power(shim, tmp_path, 12, 12, 0)
    assert sum(outcomes.values()) == 12
    assert {*outcomes} <= GOOD


def test_a_checkpoint_that_a_power_cut_has_torn_is_recovered(
    power_loss: ModuleType, shim: Path, tmp_path: Path
) -> None:
    """DuckDB writes new metadata into the block of the metadata that still count, before it flushes."""
    start, calls = power_loss.record_run(shim, tmp_path, 12)
    first_block = 12288
    (cut, *_) = [
        number + 1
        for number, call in enumerate(calls)
        if call.kind == "W" and call.path.endswith("project.duckdb") and call.offset == first_block
        and any(c.path.endswith("/acks") for c in calls[:number])
    ]  # fmt: skip
    kinds = [power_loss.outcome_of_cut(tmp_path, start, calls, cut, random.Random(seed))[0] for seed in range(4)]
    assert {*kinds} <= GOOD
    assert "refused, then recovered whole" in kinds


def test_no_acknowledged_save_is_lost_where_file_calls_fail(power_loss: ModuleType, shim: Path, tmp_path: Path) -> None:
    outcomes = power_loss.fail_calls(shim, tmp_path, 8, 6, 0)
    assert sum(outcomes.values()) == 6
    assert all(kind.partition("; then ")[2] in GOOD for kind in outcomes)
    assert all(kind.startswith(("went on", "was refused in a sentence")) for kind in outcomes)


def test_a_save_waits_for_the_disk_once(power_loss: ModuleType, shim: Path, tmp_path: Path) -> None:
    _, calls = power_loss.record_run(shim, tmp_path, 10)
    acks = [place for place, call in enumerate(calls) if call.kind == "W" and call.path.endswith("/acks")]
    assert len(acks) == 10
    # The other saves come after features, settings or a checkpoint of the database (power_loss.work).
    for number in (1, 2, 3, 4, 8, 9):
        between = calls[acks[number - 1] : acks[number]]
        assert [Path(call.path).name for call in between if call.kind == "S"] == ["project.duckdb.wal"], number


def test_what_was_not_flushed_may_be_lost_and_what_was_flushed_may_not(power_loss: ModuleType, tmp_path: Path) -> None:
    """The power cut itself: by hand, on three files."""
    (tmp_path / "old").write_bytes(b"before")
    name = lambda file: str(tmp_path / file)  # noqa: E731
    call = power_loss.Call
    calls = [
        call("C", name("new"), 0, b""), call("W", name("new"), 0, b"flushed"), call("S", name("new"), 0, b""),
        call("W", name("new"), 7, b"x" * 2000), call("T", name("old"), 2, b""), call("C", name("late"), 0, b""),
        call("R", name("late"), 0, name("moved").encode()),
    ]  # fmt: skip
    seen = [power_loss.state_after(tmp_path, calls, len(calls), random.Random(seed)) for seed in range(40)]
    assert all(state["new"].startswith(b"flushed") for state in seen)
    assert {len(state["new"]) for state in seen} >= {7, 2007}
    assert {state["old"] for state in seen} == {b"before", b"be"}
    assert {tuple(sorted(state)) for state in seen} == {
        ("new", "old"), ("late", "new", "old"), ("moved", "new", "old")
    }  # fmt: skip
    nothing = power_loss.state_after(tmp_path, calls, 2, random.Random(1))
    assert nothing["old"] == b"before"
    assert power_loss.acknowledged(b'[1, 2, ["a"]]\n[3, 4') == [(1, 2, ["a"])]
