"""Many annotators at work on one server: what a save takes at rest, and while the model learns, in one run.

    python tests/benchmarks/annotators.py PHOTOS [--people 30] [--every 5] [--minutes 2] [--begin-with 300]

PHOTOS is ingested into a temporary project and the first --begin-with are saved. Then every person logs in with an
account and a session of their own, and every --every seconds has the list proposed anew and saves it, which brings the
next photo with its proposals: first at rest, then beside trainings that follow one another. At the end every answered
save is looked for in the export, its list and its revision: a run that lost one, or holds one too many, is a failure.
Prints the time of a save (from the question to the answer), the server's CPU a save (the trainer is a process of its
own and does not count; the proposals before each save do) and refusals. Aim: p95 under 100 ms while the model learns.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from harness import Served, percentiles, report, served

from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.project import Project

PASSWORD = "only for this run"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--every", type=float, default=5.0, help="seconds from one save to a person's next")
    parser.add_argument("--minutes", type=float, default=2.0, help="at rest, and again while the model learns")
    parser.add_argument("--begin-with", type=int, default=300, help="saved photos from which the model learns")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "project"
        opened = Session.over(Workspace(Project.open_or_create(path, "benchmark")))
        opened.workspace.ingest.run([parsed.photos.resolve()])
        opened.close()
        with served(path) as server:
            rows, problems = run(server, path, parsed)
    report(
        f"{parsed.people} annotators, a save each {parsed.every:g} s, load {load_before:.1f}", rows, as_json=parsed.json
    )
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


class Annotator:
    """Somebody who saves one photo after another."""

    def __init__(self, server: Served, name: str) -> None:
        self.http = httpx.Client(base_url=server.address, timeout=60)
        self.http.get("/login")
        cookie = next(cookie for cookie in self.http.cookies if "token" in cookie)
        self.http.headers["X-Annotator-Token"] = self.http.cookies[cookie]
        self.http.post("/api/login", json={"name": name, "password": PASSWORD}).raise_for_status()
        self.http.headers["X-Annotator-Token"] = self.http.cookies[cookie]
        self.name = name
        self.photo = self.http.post("/api/open", json={}).json()
        self.seconds: list[float] = []
        self.refused: Counter[str] = Counter()
        self.saved: dict[int, tuple[int, list[str]]] = {}
        """Photo -> the revision and the list of the newest answered save."""

    def work(self, first: float, every: float, ends: float) -> None:
        """Save a photo at each of one's moments, on the monotonic clock."""
        moment = first
        while moment < ends:
            time.sleep(max(0.0, moment - time.monotonic()))
            self.save_one()
            moment += every

    def save_one(self) -> None:
        """Have the list proposed anew, and save it."""
        image_id, revision = self.photo["image_id"], self.photo["revision"]
        kept = [proposal["tag"] for proposal in self.photo["proposals"][:2]]
        question = {"image_id": image_id, "revision": revision, "kept": [*kept, f"by {self.name}"]}
        self.http.post("/api/propose", json=question)
        began = time.perf_counter()
        answer = self.http.post("/api/save", json={**question, "seconds": 4.0, "num_keys": 3})
        self.seconds.append(time.perf_counter() - began)
        if answer.status_code != 200:
            self.refused[answer.json()["error"]["kind"]] += 1
            self.photo = self.http.post("/api/open", json={}).json()
            return
        self.saved[image_id] = (answer.json()["revision"], question["kept"])
        self.photo = answer.json()["next"]
        if "image_id" not in self.photo:
            raise SystemExit("The photos were used up: name a folder with more of them, or work for less time.")


def run(server: Served, path: Path, parsed: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    """Let people work at rest and beside trainings; return the rows, and what is not as it was answered."""
    server.rest("set_loop", {"train_after": 0})
    photo = server.rest("open", {})
    begun: dict[int, tuple[int, list[str]]] = {}
    for _ in range(parsed.begin_with):
        kept = [proposal["tag"] for proposal in photo["proposals"][1:4]] or ["nothing"]
        answer = server.rest("save", {"image_id": photo["image_id"], "revision": photo["revision"], "kept": kept})
        begun[photo["image_id"]] = (answer["revision"], kept)
        photo = answer["next"]
    server.rest("leave", {"image_id": photo["image_id"]})
    secret = json.loads(Project.open(path).server_path.read_text())["secret"]
    owner = httpx.Client(base_url=server.address, timeout=60, headers={"authorization": f"Bearer {secret}"})
    names = [f"person{number}" for number in range(parsed.people)]
    for name in names:
        account = {"do": "add", "name": name, "role": "annotator", "password": PASSWORD}
        owner.post("/api/users", json=account).raise_for_status()
    people = [Annotator(server, name) for name in names]
    server.wait_until_idle(600.0)  # the detector looks at the new photos
    rows = [{"when": "at rest", **phase(server, people, parsed)}]
    going, num_trainings = threading.Event(), [0]
    trainer = threading.Thread(target=keep_training, args=(owner, going, num_trainings))
    trainer.start()
    try:
        rows.append({"when": "while the model learns", **phase(server, people, parsed)})
    finally:
        going.set()
        trainer.join()
    rows.append({"when": f"trainings begun: {num_trainings[0]}"})
    rows.append({"when": f"ratio of p95: {rows[1]['p95_ms'] / rows[0]['p95_ms']:.2f}"})
    saved = {**begun, **{image_id: one for person in people for image_id, one in person.saved.items()}}
    records = [json.loads(line) for line in owner.get("/api/export").text.splitlines()]
    return rows, differences(saved, {record["image_id"]: (record["revision"], record["tags"]) for record in records})


def phase(server: Served, people: list[Annotator], parsed: argparse.Namespace) -> dict[str, Any]:
    """Let all work for a while, evenly spread over the time between two saves; return one row."""
    for person in people:
        person.seconds, person.refused = [], Counter()
    began, cpu = time.monotonic() + 0.5, server.cpu_seconds()
    threads = [
        threading.Thread(
            target=person.work,
            args=(began + place * parsed.every / len(people), parsed.every, began + 60 * parsed.minutes),
        )
        for place, person in enumerate(people)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = [second for person in people for second in person.seconds]
    refused = sum((person.refused for person in people), Counter[str]())
    used = server.cpu_seconds() - cpu
    return {
        "saves": len(seconds),
        **percentiles(seconds),
        "most_ms": round(1000 * max(seconds), 1),
        "server_cpu_ms": round(1000 * used / len(seconds), 1),
        "refused": sum(refused.values()),
    }


def keep_training(owner: httpx.Client, enough: threading.Event, num_trainings: list[int]) -> None:
    """Begin a training whenever none runs; at the end cancel the one that does."""
    while not enough.is_set():
        if not owner.post("/api/models", json={}).json()["is_training"]:
            answer = owner.post("/api/train_now", json={})
            answer.raise_for_status()
            num_trainings[0] += 1
        enough.wait(0.5)
    owner.post("/api/cancel_training", json={})


def differences(answered: dict[int, tuple[int, list[str]]], there: dict[int, tuple[int, list[str]]]) -> list[str]:
    """Compare what was answered as saved with what is there."""
    return [
        f"photo {image_id} was last saved as {answered.get(image_id)}, there is {there.get(image_id)}"
        for image_id in sorted({*answered, *there})
        if answered.get(image_id) != there.get(image_id)
    ]


if __name__ == "__main__":
    sys.exit(main())
