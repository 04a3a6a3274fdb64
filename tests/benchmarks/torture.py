"""Kill the server again and again while people save, and count what is left: every save that was answered, once.

    python tests/benchmarks/torture.py --kills 200

Clients save unique tags at random photos of a small project; the server is killed with SIGKILL at a random moment. Then
the database is opened and compared with what the clients were told: a save that was answered is there exactly once and
follows the one before; a save that was refused is not there; one whose answer was lost may be there, once.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx

from annotator.check import check
from annotator.cli import main as main_of_annotator
from annotator.datasets.demo_photos import copy_demo_photos
from annotator.project import Project
from annotator.store import Store

START_SECONDS = 300


@dataclass
class Told:
    """What one client was told."""

    answered: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Tag -> (image id, revision)."""
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


class Client(threading.Thread):
    """Somebody who saves as fast as the server answers."""

    def __init__(self, address: str, number: int, name: str, image_ids: list[int]) -> None:
        super().__init__(daemon=True)
        self._address, self._name, self._image_ids = address, name, image_ids
        self._random = random.Random(name)
        self.told = Told()
        self.is_over = threading.Event()
        self._num_saves = 0
        self._newest: dict[int, int] = {}
        """Image -> the revision that a refusal named. A draft keeps the one that it was begun on."""

    def run(self) -> None:
        with httpx.Client(base_url=self._address, timeout=30) as client:
            try:
                token_cookie = client.get("/api/session").json()["token_cookie"]
                client.headers["x-annotator-token"] = client.cookies[token_cookie]
                while not self.is_over.is_set():
                    self._save(client)
            except httpx.HTTPError:
                return  # the server is dead

    def _save(self, client: httpx.Client) -> None:
        image_id = self._random.choice(self._image_ids)
        photo = client.post("/api/open", json={"image_id": image_id}).json()
        self._num_saves += 1
        tag = f"{self._name} {self._num_saves}"
        kept = [tag, *photo["kept"][:4]]
        revision = max(photo["revision"], self._newest.get(image_id, 0))
        if self._random.random() < 0.2:
            client.post("/api/propose", json={"image_id": image_id, "kept": kept, "revision": revision})
        try:
            answer = client.post("/api/save", json={"image_id": image_id, "revision": revision, "kept": kept})
        except httpx.HTTPError:
            self.told.unknown.add(tag)
            raise
        if answer.status_code == 200:
            self.told.answered[tag] = (image_id, answer.json()["revision"])
        else:
            self.told.refused.add(tag)
            self._newest[image_id] = answer.json()["error"].get("revision", 0)


def serve(context: ForkServerContext, project: Path) -> tuple[BaseProcess, str]:
    """Start `annotator serve` in a process that is forked with everything imported, which takes seconds otherwise."""
    arguments = ["serve", str(project), "--port", "0", "--tagger", "cold_start"]
    process = context.Process(target=main_of_annotator, args=(arguments,))
    process.start()
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            note = json.loads((project / "server.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            note = {}
        if note.get("pid") == process.pid:  # else it is of the one that was killed
            return process, str(note["address"])
        if not process.is_alive():
            raise SystemExit(f"The server did not start (exit code {process.exitcode}).")
        time.sleep(0.02)
    process.kill()
    raise SystemExit(f"The server did not start within {START_SECONDS} s.")


def start_forking() -> ForkServerContext:
    """Start what servers are forked from; what they print goes nowhere."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["annotator.cli", "annotator.app", "annotator.ui.page", "faiss", "onnxruntime"])
    own = os.dup(1), os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        for descriptor in (1, 2):
            os.dup2(nowhere.fileno(), descriptor)
        ensure_running()
    for descriptor, kept in enumerate(own, 1):
        os.dup2(kept, descriptor)
        os.close(kept)
    return context


def wait_for_a_save(clients: list[Client]) -> None:
    deadline = time.monotonic() + 60
    while not any(client.told.answered for client in clients):
        if time.monotonic() > deadline:
            num_refused = sum(len(client.told.refused) for client in clients)
            raise SystemExit(f"No save was answered within a minute, {num_refused} were refused.")
        time.sleep(0.01)


def lost_or_wrong(store: Store, told: list[Told]) -> list[str]:
    """Compare the log with what the clients were told; return every difference."""
    found: dict[str, list[tuple[int, int]]] = {}
    for image_id, revision, tags in store.rows("SELECT image_id, revision, after_tags FROM events WHERE kind = 'save'"):
        found.setdefault(tags[0], []).append((image_id, revision))
    problems = []
    for client in told:
        for tag, where in client.answered.items():
            if found.get(tag) != [where]:
                problems.append(f"answered as {where}, found {found.get(tag)}: {tag}")
        problems += [f"refused, but there: {tag}" for tag in client.refused if tag in found]
        problems += [f"there {len(found[tag])} times: {tag}" for tag in client.unknown if len(found.get(tag, [])) > 1]
    known = {tag for client in told for tag in (*client.answered, *client.unknown)}
    problems += [f"nobody saved it: {tag}" for tag in found if tag not in known]
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--longest", type=float, default=1.5, help="seconds from the first save to the kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most-minutes", type=float, default=0.0, help="stop after so many, with fewer kills")
    parsed = parser.parse_args()
    generator = random.Random(parsed.seed)
    folder = Path(tempfile.mkdtemp(prefix="annotator-torture-"))
    copy_demo_photos(folder / "photos")
    command = [sys.executable, "-m", "annotator.cli", "add", str(folder / "project"), str(folder / "photos")]
    subprocess.run(command, check=True, capture_output=True)
    project = Project.open(folder / "project")
    context = start_forking()
    told: list[Told] = []
    started = time.monotonic()
    seconds, start_seconds, problems, num_findings = [], [], [], 0
    for kill in range(parsed.kills):
        began = time.perf_counter()
        process, address = serve(context, project.folder)
        start_seconds.append(time.perf_counter() - began)
        clients = [Client(address, n, f"k{kill} c{n}", list(range(1, 9))) for n in range(parsed.clients)]
        for client in clients:
            client.start()
        try:
            wait_for_a_save(clients)
            time.sleep(generator.uniform(0, parsed.longest))
        finally:
            process.kill()
            process.join()
        for client in clients:
            client.is_over.set()
            client.join(timeout=60)
        told += [client.told for client in clients]
        began = time.perf_counter()
        store = Store(project.database_path)
        seconds.append(time.perf_counter() - began)
        problems += lost_or_wrong(store, told)
        num_findings += len(check(project, store))
        store.close()
        if sys.stderr.isatty():
            print(f"\r{kill + 1} of {parsed.kills} kills", end="", file=sys.stderr)
        if parsed.most_minutes and time.monotonic() - started > 60 * parsed.most_minutes:
            break
    result = {
        "kills": len(seconds),
        "clients": parsed.clients,
        "answered": sum(len(client.answered) for client in told),
        "refused": sum(len(client.refused) for client in told),
        "answer_lost": sum(len(client.unknown) for client in told),
        "lost_or_wrong": len(problems),
        "findings_of_check": num_findings,
        "open_p50_s": round(statistics.median(seconds), 3),
        "open_max_s": round(max(seconds), 3),
        "serve_p50_s": round(statistics.median(start_seconds), 3),
        "serve_max_s": round(max(start_seconds), 3),
    }
    print(json.dumps(result, indent=1))
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    shutil.rmtree(folder)
    return 1 if problems or num_findings else 0


if __name__ == "__main__":
    sys.exit(main())
