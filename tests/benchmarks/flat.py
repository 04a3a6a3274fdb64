"""Do memory, open files and threads of a server stay flat while people save? Run by hand, never by CI.

    python tests/benchmarks/flat.py [--saves 5000] [--photos 1000] [--json]

A project of made-up rows (start.py) is served; lists of four tags are saved at its photos again and again by REST,
every fifth after a proposal, every tenth is taken back. One row for each tenth of the saves.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from harness import Served, report, served
from start import make_project

ROWS = 10


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saves", type=int, default=5_000)
    parser.add_argument("--photos", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        make_project(project, parsed.photos, parsed.photos // 5)
        with served(project) as server:
            server.rest("open", {"image_id": 1})
            server.wait_until_idle()
            rows = [state(server, 0)]
            for part in range(ROWS):
                for number in range(part * parsed.saves // ROWS, (part + 1) * parsed.saves // ROWS):
                    save(server, number, parsed.photos)
                rows.append(state(server, (part + 1) * parsed.saves // ROWS))
    report(f"{parsed.saves:,} saves at {parsed.photos:,} photos", rows, as_json=parsed.json)


def save(server: Served, number: int, num_photos: int) -> None:
    """Save one list."""
    image_id = 1 + number * 7 % num_photos
    photo = server.rest("open", {"image_id": image_id})
    kept = [f"word {(number * step) % 500}" for step in (1, 2, 3)] + [f"new {number % 300}"]
    asked = {"image_id": image_id, "revision": photo["revision"], "kept": list(dict.fromkeys(kept))}
    if number % 5 == 0:
        server.rest("propose", asked)
    answer = server.rest("save", {**asked, "brings_next": False})
    if "error" in answer:
        raise RuntimeError(f"a save was refused: {answer}")
    if number % 10 == 0 and "error" in server.rest("undo", {}):
        raise RuntimeError("a save was not taken back")


def state(server: Served, num_saves: int) -> dict[str, Any]:
    """Return a row: what the server's process holds."""
    process = Path(f"/proc/{server.process.pid}")
    return {
        "saves": num_saves,
        "memory_mib": round(server.memory_mib()),
        "open_files": len(list((process / "fd").iterdir())),
        "threads": len(list((process / "task").iterdir())),
        "server_cpu_s": round(server.cpu_seconds(), 1),
    }


if __name__ == "__main__":
    main()
