"""The page's times while the model learns, beside those at rest, in one run.

    python tests/benchmarks/training_load.py PROJECT [--calls N]

PROJECT has saved corrections that its model has not learnt from; a copy of it is served by the real server over
loopback, and the training is a real one. Proposals and saves are asked for one after the other, as one person works:
first at rest, then for as long as the training goes on. Prints p50 and p95 and the ratio of the p95s; aim: at most 2.
What else runs on the machine counts in both: the load before is printed too.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Served, percentiles, report, served


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--calls", type=int, default=150, help="of each kind at rest, and at most while it learns")
    parsed = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        shutil.copytree(parsed.project, project)
        with served(project) as server:
            server.rest("set_loop", {"train_after": 0})
            image_ids = [item["image_id"] for item in server.rest("browse", {"limit": 500})["items"]]
            measure(server, image_ids, 10, lambda: True)  # warm
            rest = measure(server, image_ids, parsed.calls, lambda: True)
            run = server.rest("train_now", {})
            assert "run_id" in run, run
            load = measure(server, image_ids, parsed.calls, lambda: bool(server.rest("models", {})["is_training"]))
            state = server.rest("models", {})
            if state["is_training"]:
                server.rest("cancel_training", {})
    rows: list[dict[str, Any]] = []
    for name in ("propose", "save and next"):
        at_rest, learning = percentiles(rest[name]), percentiles(load[name])
        rows.append({"operation": name, "when": "at rest", "calls": len(rest[name]), **at_rest})
        rows.append({"operation": name, "when": "while it learns", "calls": len(load[name]), **learning})
        rows.append(
            {"operation": name, "when": "ratio of p95", "p95_ms": round(learning["p95_ms"] / at_rest["p95_ms"], 2)}
        )
    rows.append({"operation": f"load of the machine before: {load_before:.1f}"})
    report("the page while the model learns", rows, as_json=False)


def measure(
    server: Served, image_ids: list[int], num_calls: int, goes_on: Callable[[], bool]
) -> dict[str, list[float]]:
    """Return the seconds of proposals and saves, until there are enough or it does not go on."""
    times: dict[str, list[float]] = {"propose": [], "save and next": []}
    for number in range(num_calls):
        if number % 10 == 0 and not goes_on():
            break
        image_id = image_ids[number % len(image_ids)]
        photo = server.page("open", {"image_id": image_id})
        kept = photo["kept"] or [photo["proposals"][0]["tag"]]
        payload = {"image_id": image_id, "kept": kept, "dropped": photo["dropped"], "revision": photo["revision"]}
        for name, operation in (("propose", "propose"), ("save and next", "save")):
            began = time.perf_counter()
            answer = server.page(operation, payload)
            times[name].append(time.perf_counter() - began)
            assert "error" not in answer, answer
        time.sleep(0.05)
    return times


if __name__ == "__main__":
    main()
