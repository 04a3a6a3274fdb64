"""The same work by this program and by Label Studio, interleaved in one run, both over loopback with a login.

    python tests/benchmarks/label_studio.py --photos 1000 --saves 200
    python tests/benchmarks/label_studio.py --program FOLDER/bin/label-studio     # an environment that is there already

Without --program, Label Studio is installed into an environment of its own in a temporary folder. It runs with SQLite,
is started by this script and ended by its process id. Both sides get the same photos' records and ten scored proposals
each (ours computes its own from the photos, which its import time includes), the same ranked tags, the same numbers of
clients. A save is answered after its commit on both sides and brings nothing else; the next photo is asked for apart.
At the end every saved list is read back and compared, order included: a run that lost one is a failure.

Not alike: all clients of Label Studio share one account, ours have one each; Label Studio runs as `label-studio start`
runs it (Django's server); its photos are addresses that nobody fetches.
"""

import argparse
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from harness import percentiles, report
from PIL import Image

from annotator.datasets.demo_photos import copy_demo_photos
from annotator.storage.project import Project

TOKEN = "0123456789012345678901234567890123456789"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
WORDS = [f"tag {number}" for number in range(500)]
CONFIG = '<View><Image name="image" value="$image"/><TextArea name="tags" toName="image"/></View>'
START_SECONDS = 900


def tags_of(number: int) -> list[str]:
    """The ranked list that save number so-and-so brings."""
    return [f"save {number}", *(WORDS[(number * 7 + place * 31) % len(WORDS)] for place in range(6))]


def processes(process_id: int) -> list[int]:
    """Return a process and all below it."""
    try:
        children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    except OSError:
        return []
    return [process_id, *(found for child in children for found in processes(int(child)))]


@dataclass
class Side:
    """One of the two programs."""

    name: str
    command: list[str]
    environment: dict[str, str]
    address: str
    is_ready: Callable[[httpx.Client], bool]
    process: subprocess.Popen[bytes] | None = None
    saved: dict[int, list[str]] = field(default_factory=dict)
    """Photo -> the list that the newest answered save brought."""
    num_answered: Counter[int] = field(default_factory=Counter)
    """Photo -> how many saves were answered as saved."""
    errors: list[str] = field(default_factory=list)

    def start(self, log: Path) -> float:
        """Start the server; return the seconds until it answers."""
        began = time.perf_counter()
        with log.open("ab") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=out, env=self.environment)
        with httpx.Client(base_url=self.address, timeout=30, trust_env=False) as client:
            while True:
                if self.process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                    raise SystemExit(f"{self.name} did not start: see {log}")
                try:
                    if self.is_ready(client):
                        return time.perf_counter() - began
                except httpx.HTTPError:
                    pass
                time.sleep(0.05)

    def stop(self) -> None:
        """End the server by its process id."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(60)

    def cpu_seconds(self) -> float:
        assert self.process is not None
        total = 0
        for process_id in processes(self.process.pid):
            parts = Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(parts[11]) + int(parts[12])
        return total / TICKS_PER_SECOND

    def memory_mib(self) -> float:
        assert self.process is not None
        total = 0.0
        for process_id in processes(self.process.pid):
            for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    total += int(line.split()[1]) / 1024
        return total


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def label_studio(program: Path, folder: Path) -> Side:
    port = free_port()
    command = [str(program), "start", "-b", "--data-dir", str(folder), "--username", "a@example.com", "--password",
               "only for this run", "--user-token", TOKEN, "--enable-legacy-api-token", "-p", str(port),
               "--internal-host", "127.0.0.1", "--log-level", "ERROR"]  # fmt: skip
    quiet = {"COLLECT_ANALYTICS": "False", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "", "LATEST_VERSION_CHECK": "False"}
    environment = {**os.environ, **quiet, "HOME": str(folder)}
    headers = {"authorization": f"Token {TOKEN}"}
    return Side(
        "Label Studio",
        command,
        environment,
        f"http://127.0.0.1:{port}",
        lambda client: client.get("/api/projects", headers=headers).status_code == 200,
    )


def ours(project: Path) -> Side:
    port = free_port()
    # The detector would look at the new photos in the background for minutes; the other side has none.
    command = [sys.executable, "-m", "annotator.cli", "serve", str(project), "--port", str(port), "--detector", "none"]
    return Side(
        "annotator",
        command,
        dict(os.environ),
        f"http://127.0.0.1:{port}",
        lambda client: client.get("/api/v1/ready").status_code == 200,
    )


def write_photos(folder: Path, num_photos: int) -> None:
    """Write small photos, no two alike: parts of the demo's."""
    copy_demo_photos(folder / "source")
    sources = [Image.open(path).convert("RGB").resize((480, 360)) for path in sorted((folder / "source").glob("*.*"))]
    (folder / "photos").mkdir()
    for number in range(num_photos):
        left, top = (number * 13) % 240, (number * 29) % 180
        part = sources[number % len(sources)].crop((left, top, left + 240, top + 180))
        part.putpixel((0, 0), (number % 256, number // 256 % 256, 0))
        part.save(folder / "photos" / f"photo {number:05}.jpg", quality=85)


def import_into_label_studio(client: httpx.Client, names: Sequence[str], proposals: list[list[dict[str, Any]]]) -> int:
    """Make a project with the records and their proposals; return its id."""
    project: int = client.post("/api/projects", json={"title": "side by side", "label_config": CONFIG}).json()["id"]
    tasks = [
        {
            "data": {"image": f"http://127.0.0.1/{name}"},
            "predictions": [
                {
                    "model_version": "starter",
                    "score": ranked[0]["score"] if ranked else 0.0,
                    "result": [
                        {"from_name": "tags", "to_name": "image", "type": "textarea", "score": proposal["score"],
                         "value": {"text": [proposal["tag"]]}}
                        for proposal in ranked
                    ],
                }
            ],
        }
        for name, ranked in zip(names, proposals, strict=True)
    ]  # fmt: skip
    for start in range(0, len(tasks), 500):
        answer = client.post(f"/api/projects/{project}/import", json=tasks[start : start + 500])
        if answer.status_code != 201:
            raise SystemExit(f"Label Studio refused the import: {answer.text[:300]}")
    return project


@dataclass
class Client:
    """Somebody of one side."""

    http: httpx.Client
    side: Side
    photos: list[int]
    revisions: dict[int, int]

    def save(self, number: int) -> tuple[float, bool]:
        """Save a list; return the seconds and whether it was answered as saved."""
        photo, tags = self.photos[number % len(self.photos)], tags_of(number)
        if self.side.name == "annotator":
            place = {"image_id": photo, "revision": self.revisions.get(photo, 0)}
            path, body = "/api/save", {**place, "kept": tags, "seconds": 5.0, "brings_next": False}
        else:
            value = {"from_name": "tags", "to_name": "image", "type": "textarea", "value": {"text": tags}}
            path, body = f"/api/tasks/{photo}/annotations/", {"result": [value], "lead_time": 5.0}
        began = time.perf_counter()
        answer = self.http.post(path, json=body)
        seconds = time.perf_counter() - began
        if answer.status_code not in (200, 201):
            self.side.errors.append(f"{answer.status_code} {answer.text[:200]}")
            return seconds, False
        if self.side.name == "annotator":
            self.revisions[photo] = answer.json()["revision"]
        self.side.saved[photo] = tags
        self.side.num_answered[photo] += 1
        return seconds, True


def save_with(clients: Sequence[Client], num_saves: int, first: int) -> tuple[list[float], float]:
    """Save by several clients at once; return each call's seconds and the server's CPU seconds."""
    seconds: list[float] = []
    before = clients[0].side.cpu_seconds()

    def work(client: Client, place: int) -> None:
        for number in range(first + place, first + num_saves, len(clients)):
            seconds.append(client.save(number)[0])

    threads = [threading.Thread(target=work, args=(client, place)) for place, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, clients[0].side.cpu_seconds() - before


def timed(
    side: Side, call: Callable[[], httpx.Response], repeats: int, first: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Measure a call that changes nothing; something else may be done before each."""
    seconds, cpu = [], 0.0
    for _ in range(repeats):
        first()
        before, began = side.cpu_seconds(), time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - began)
        cpu += side.cpu_seconds() - before
        if answer.status_code != 200:
            side.errors.append(f"{answer.status_code} {answer.text[:200]}")
    return {"calls": repeats, **percentiles(seconds), "server_cpu_ms": per_call(cpu, repeats)}


def per_call(cpu_seconds: float, calls: int) -> float:
    return round(1000 * cpu_seconds / calls, 2)


def differences(side: Side, exported: str) -> list[str]:
    """Compare what was answered with what is there."""
    if side.name == "annotator":
        records = [json.loads(line) for line in io.StringIO(exported)]
        found = {record["image_id"]: [record["tags"]] for record in records}
        there = {record["image_id"]: record["revision"] for record in records}
    else:
        tasks = json.loads(exported)
        found = {
            task["id"]: [a["result"][0]["value"]["text"] for a in sorted(task["annotations"], key=lambda a: a["id"])]
            for task in tasks
        }
        there = {photo: len(lists) for photo, lists in found.items()}
    problems = []
    for photo in sorted({*there, *side.saved}):
        newest, expected = (found.get(photo) or [None])[-1], side.saved.get(photo)
        if newest != expected:
            problems.append(f"{side.name}: photo {photo} was last saved as {expected}, there is {newest}")
        if there.get(photo, 0) != side.num_answered[photo]:
            counts = f"{side.num_answered[photo]} saves were answered, {there.get(photo, 0)} are there"
            problems.append(f"{side.name}: of photo {photo}, {counts}")
    return problems


def clients_of_ours(side: Side, secret: str, num_clients: int, image_ids: list[int], revisions: Any) -> list[Client]:
    """Make accounts with a token and photos of their own."""
    owner = httpx.Client(
        base_url=side.address, timeout=120, trust_env=False, headers={"authorization": f"Bearer {secret}"}
    )
    clients = []
    for number in range(num_clients):
        name, own = f"person{number}", image_ids[number::num_clients]
        account = {"name": name, "role": "annotator"}
        owner.post("/api/users", json={"do": "add", "password": "only for this run", **account})
        token = owner.post("/api/users", json={"do": "token", **account}).json()["token"]
        owner.post("/api/assign", json={"users": [name], "image_ids": own, "state": "all"}).raise_for_status()
        headers = {"authorization": f"Bearer {token}"}
        http = httpx.Client(base_url=side.address, timeout=120, trust_env=False, headers=headers)
        clients.append(Client(http, side, own, revisions))
    return clients


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, help="label-studio of an environment that is there already")
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--saves", type=int, default=1000, help="by each number of clients, on each side")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="annotator-label-studio-"))
    sides: list[Side] = []
    try:
        program = parsed.program or install(folder / "environment")
        write_photos(folder, parsed.photos)
        rows, problems = run(parsed, folder, program, sides)
    finally:
        for side in sides:
            side.stop()
        shutil.rmtree(folder, ignore_errors=True)
    report(f"Side by side, {parsed.photos:,} photos, load {os.getloadavg()[0]:.0f}", rows, as_json=parsed.json)
    for side in sides:
        for text in side.errors[:3]:
            print(f"{side.name}: {text}", file=sys.stderr)
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def install(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "pip"), "install", "-q", "label-studio"], check=True, timeout=1800)
    return folder / "bin" / "label-studio"


def run(
    parsed: argparse.Namespace, folder: Path, program: Path, sides: list[Side]
) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []

    def row(what: str, side: Side, **values: Any) -> None:
        rows.append({"what": what, "side": side.name, **values})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)

    began = time.perf_counter()
    command = [sys.executable, "-m", "annotator.cli", "add", str(folder / "project"), str(folder / "photos")]
    subprocess.run(command, check=True, capture_output=True)
    import_seconds = time.perf_counter() - began
    (folder / "theirs").mkdir()
    mine, theirs = ours(folder / "project"), label_studio(program, folder / "theirs")
    sides += [mine, theirs]
    for side in sides:
        row("cold start (its first)", side, seconds=round(side.start(folder / f"{side.name}.log"), 1))
    for side in sides:
        side.stop()
        row("warm start", side, seconds=round(side.start(folder / f"{side.name}.log"), 1))
    secret = json.loads(Project.open(folder / "project").server_path.read_text())["secret"]
    owner = httpx.Client(
        base_url=mine.address, timeout=120, trust_env=False, headers={"authorization": f"Bearer {secret}"}
    )
    other = httpx.Client(
        base_url=theirs.address, timeout=600, trust_env=False, headers={"authorization": f"Token {TOKEN}"}
    )
    names, proposals, image_ids = [], [], []
    for offset in range(0, parsed.photos, 500):
        for item in owner.post("/api/browse", json={"offset": offset, "limit": 500}).json()["items"]:
            names.append(item["file_name"])
            image_ids.append(item["image_id"])
            score = 1.0 - len(proposals) % 7 / 10
            proposals.append([{"tag": WORDS[place], "score": score / (place + 1)} for place in range(10)])
    row("import", mine, seconds=round(import_seconds, 1))
    began = time.perf_counter()
    project = import_into_label_studio(other, names, proposals)
    row("import", theirs, seconds=round(time.perf_counter() - began, 1))
    tasks = [
        task["id"]
        for task in other.get(f"/api/projects/{project}/export?exportType=JSON_MIN&download_all_tasks=true").json()
    ]
    if len(tasks) != len(image_ids):
        raise SystemExit(f"Label Studio holds {len(tasks)} photos, not {len(image_ids)}.")
    revisions: dict[int, int] = {}
    first = 0
    for num_clients in parsed.clients:
        of_ours = clients_of_ours(mine, secret, num_clients, image_ids, revisions)
        of_theirs = [
            Client(httpx.Client(base_url=theirs.address, timeout=120, trust_env=False, headers=dict(other.headers)),
                   theirs, tasks[number::num_clients], {})
            for number in range(num_clients)
        ]  # fmt: skip
        parts: dict[str, tuple[list[float], float]] = {"annotator": ([], 0.0), "Label Studio": ([], 0.0)}
        for _ in range(4):  # in turns, so that what else the machine does falls on both
            for clients in (of_ours, of_theirs):
                seconds, cpu = save_with(clients, parsed.saves // 4, first)
                name = clients[0].side.name
                parts[name] = (parts[name][0] + seconds, parts[name][1] + cpu)
            first += parsed.saves // 4
        for side in sides:
            seconds, cpu = parts[side.name]
            row(f"save, {num_clients} clients", side, calls=len(seconds), **percentiles(seconds),
                server_cpu_ms=per_call(cpu, len(seconds)))  # fmt: skip
    # After a save each, so that another photo is next.
    numbers = count(first)
    for person, ask in (
        (of_ours[0], lambda: of_ours[0].http.post("/api/open", json={})),
        (of_theirs[0], lambda: other.get(f"/api/projects/{project}/next")),
    ):
        row("next photo", person.side, **timed(person.side, ask, 50, lambda person=person: person.save(next(numbers))))
    calls: list[tuple[str, Side, Callable[[], httpx.Response]]] = [
        ("list of 100", mine, lambda: owner.post("/api/browse", json={"limit": 100})),
        ("list of 100", theirs, lambda: other.get(f"/api/tasks?project={project}&page_size=100")),
        ("history of a photo", mine, lambda: owner.post("/api/history", json={"image_id": image_ids[0]})),
        ("history of a photo", theirs, lambda: other.get(f"/api/tasks/{tasks[0]}/annotations/")),
        ("export of all", mine, lambda: owner.get("/api/export")),
        ("export of all", theirs, lambda: other.get(f"/api/projects/{project}/export?exportType=JSON")),
    ]
    for what, side, call in calls:
        row(what, side, **timed(side, call, 5 if what.startswith("export") else 20))
    for side in sides:
        row("memory", side, mib=round(side.memory_mib()), errors=len(side.errors))
    problems = differences(mine, owner.get("/api/export").text)
    problems += differences(theirs, other.get(f"/api/projects/{project}/export?exportType=JSON").text)
    return rows, problems


if __name__ == "__main__":
    sys.exit(main())
