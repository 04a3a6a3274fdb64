"""Save and next over loopback HTTP, against the real server: wall time and the server's CPU for each save.

    python tests/benchmarks/save.py PHOTOS [--num 500] [--json]

The photos are ingested into a temporary project first. Each save keeps the first three proposals and one typed tag,
and its answer holds the next photo with its proposals. Between two saves one proposal is taken (``propose``), as a
person would. Both ways of calling are measured, interleaved: as the page does (Gradio's server function) and REST. The
last row is the processor time of the server while nobody calls.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import Served, percentiles, report, served

from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.project import Project

IDLE_SECONDS = 20


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--num", type=int, default=500, help="saves by each way (default: %(default)s)")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        opened = Session.over(Workspace(Project.open_or_create(Path(folder) / "project", "benchmark")))
        opened.workspace.ingest.run([parsed.photos.resolve()])
        num_images = len(opened.workspace.features)
        opened.close()
        if num_images < 2:
            parser.error("the folder needs at least two photos")
        with served(Path(folder) / "project") as server:
            rows = run(server, parsed.num)
            count = sum(1 for _ in server.client.get("/api/export").text.splitlines())
    report(f"Save and next, {num_images:,} photos, {count:,} of them saved at the end", rows, as_json=parsed.json)


def run(server: Served, num_saves: int) -> list[dict[str, Any]]:
    """Save through both ways in turn, 50 at a time, and return a row for each."""
    ways = {"page (Gradio server function)": server.page, "REST": server.rest}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    propose_seconds: dict[str, list[float]] = {name: [] for name in ways}
    cpu = dict.fromkeys(ways, 0.0)
    propose_cpu = dict.fromkeys(ways, 0.0)
    photo = server.rest("open", {"image_id": 1})
    for _ in range(10):
        photo = save(server.rest, photo)
    server.wait_until_idle()
    left = dict.fromkeys(ways, num_saves)
    while any(left.values()):
        for name, call in ways.items():
            num = min(50, left[name])
            left[name] -= num
            before = server.cpu_seconds()
            for _ in range(num):
                started = time.perf_counter()
                photo = save(call, photo)
                seconds[name].append(time.perf_counter() - started)
            cpu[name] += server.cpu_seconds() - before
            before = server.cpu_seconds()
            for _ in range(num):
                question = {"image_id": photo["image_id"], "revision": photo["revision"], "kept": ["food"]}
                started = time.perf_counter()
                call("propose", question)
                propose_seconds[name].append(time.perf_counter() - started)
            propose_cpu[name] += server.cpu_seconds() - before
    rows = []
    for what, times, used in (("save and next", seconds, cpu), ("propose again", propose_seconds, propose_cpu)):
        rows += [
            {
                "operation": what,
                "way": name,
                "calls": len(times[name]),
                **percentiles(times[name]),
                "server_cpu_ms": round(1000 * used[name] / len(times[name]), 2),
            }
            for name in ways
        ]
    rows.append({"operation": "memory", "way": f"{server.memory_mib():.0f} MiB"})
    server.wait_until_idle()
    before = server.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    share = (server.cpu_seconds() - before) / IDLE_SECONDS
    rows.append({"operation": "idle, without a page", "way": f"{share:.1%} of a core"})
    return rows


def save(call: Any, photo: dict[str, Any]) -> dict[str, Any]:
    """Save a photo's list and return the next photo; when all are saved, begin again at the first."""
    kept = [proposal["tag"] for proposal in photo["proposals"][:3]]
    question = {
        "image_id": photo["image_id"],
        "revision": photo["revision"],
        "kept": [*kept, f"typed {photo['image_id'] % 7}"],
        "dropped": [],
        "shown": [{name: p[name] for name in ("tag", "score", "source")} for p in photo["proposals"]],
        "tagger": photo["tagger"],
        "seconds": 3.5,
        "num_keys": 4,
        "actions": [["take", tag, 1] for tag in kept],
    }
    answer = call("save", question)
    if "error" in answer:
        raise RuntimeError(f"a save was refused: {answer}")
    following: dict[str, Any] = answer["next"]
    return following if "image_id" in following else call("open", {"image_id": 1})


if __name__ == "__main__":
    main()
