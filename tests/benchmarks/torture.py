"""Kill the server again and again while people save, and count what is left: every save that was answered, once.

    python tests/benchmarks/torture.py --kills 200

Each client is a person with an account. Half of them save lists at random photos of a small project, with API tokens;
the others log in: some answer photos that are asked of several people, some accept lists of a photo in review or send
it back. Who saves or answers takes it back now and then. Every list begins with a tag of its own. The server is killed
with SIGKILL at a random moment. Then the database is opened and compared with what the clients were told: what was
answered is there exactly once, with its whole list, what was dropped, its photo, revision and person; what was refused
is not there; that whose answer was lost may be there, once.
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
from collections import Counter
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx

from annotator.auth.accounts import Accounts
from annotator.cli.main import main as main_of_annotator
from annotator.collaboration.responses import MOST_PEOPLE, Responses
from annotator.datasets.demo_photos import copy_demo_photos
from annotator.maintenance.integrity import check
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.project import Project

START_SECONDS = 300
PASSWORD = "correct horse battery"
SAVED, ANSWERED, REVIEWED = (1, 2, 3, 4, 5), (6, 7), 8
"""Photos that are saved, that are asked of more people than there are, and that is in review."""
UNDO_SHARE = 0.15
SEND_BACK_SHARE = 0.2


@dataclass(frozen=True)
class Entry:
    """What was written, or was to be: a save, an answer, an accepted list, or a decision to send back."""

    kind: str
    user: str
    image_id: int
    revision: int
    tags: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass
class Told:
    """What one client was told; keys are the first tags of lists, and notes."""

    user: str
    answered: dict[str, Entry] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    unknown: dict[str, Entry] = field(default_factory=dict)
    undone: list[Entry] = field(default_factory=list)
    """Image and revision of each undo, with the list that it took back."""
    num_unknown_undos: int = 0
    num_leased: int = 0
    """Refusals because somebody else had the photo open."""


class Client(threading.Thread):
    """Somebody who saves as fast as the server answers."""

    def __init__(self, address: str, user: str, token: str | None, run_name: str) -> None:
        super().__init__(daemon=True)
        self._address, self._user, self._token, self._run_name = address, user, token, run_name
        self._random = random.Random(f"{run_name} {user}")
        self.told = Told(user)
        self.is_in = threading.Event()
        self.is_over = threading.Event()
        self._num_keys = 0
        self._newest: dict[int, int] = {}
        """Image -> the revision that a refusal named. A draft keeps the one that it was begun on."""

    def run(self) -> None:
        with httpx.Client(base_url=self._address, timeout=30) as client:
            try:
                self._log_in(client)
                self.is_in.set()
                while not self.is_over.is_set():
                    self._step(client)
            except httpx.HTTPError:
                return  # the server is dead

    def _log_in(self, client: httpx.Client) -> None:
        if self._token:
            client.headers["authorization"] = f"Bearer {self._token}"
            return
        client.get("/login")
        for payload in ({"name": self._user, "password": PASSWORD}, None):
            cookie = next(name for name in client.cookies if name.startswith("annotator_token"))
            client.headers["x-annotator-token"] = client.cookies[cookie]
            if payload:
                client.post("/api/login", json=payload).raise_for_status()

    def _step(self, client: httpx.Client) -> None:
        raise NotImplementedError

    def _new_key(self) -> str:
        self._num_keys += 1
        return f"{self._run_name} {self._user} {self._num_keys}"

    def _write(self, client: httpx.Client, operation: str, key: str, entry: Entry, **more: object) -> bool:
        """Send what is to be written; ``entry`` names the revision it is made on. Return whether it was taken."""
        payload = {"image_id": entry.image_id, "revision": entry.revision, **more}
        if operation != "send_back":
            payload |= {"kept": entry.tags, "dropped": entry.dropped}
        try:
            answer = client.post(f"/api/{operation}", json=payload)
        except httpx.HTTPError:
            self.told.unknown[key] = entry
            raise
        if answer.status_code == 200:
            revision = int(answer.json().get("revision", 0))
            self.told.answered[key] = Entry(entry.kind, self._user, entry.image_id, revision, entry.tags, entry.dropped)
            return True
        self.told.refused.add(key)
        self.told.num_leased += answer.status_code == 423
        self._newest[entry.image_id] = answer.json()["error"].get("revision", self._newest.get(entry.image_id, 0))
        client.post("/api/leave", json={"image_id": entry.image_id})
        return False


class Saver(Client):
    """Saves lists, and takes one back now and then; what is asked of several people is an answer then."""

    kind = "save"
    image_ids: tuple[int, ...] = SAVED

    def _step(self, client: httpx.Client) -> None:
        image_id = self._random.choice(self.image_ids)
        photo = client.post("/api/open", json={"image_id": image_id}).json()
        if photo["locked"]:
            return
        key = self._new_key()
        revision = max(photo["revision"], self._newest.get(image_id, 0))
        kept, dropped = (key, *photo["kept"][:4]), (f"no {key}", *photo["dropped"][:2])
        if self._random.random() < 0.2:
            payload = {"image_id": image_id, "kept": kept, "dropped": dropped, "revision": revision}
            client.post("/api/propose", json=payload)
        entry = Entry(self.kind, self._user, image_id, revision, kept, dropped)
        if self._write(client, "save", key, entry, brings_next=False) and self._random.random() < UNDO_SHARE:
            self._undo(client)

    def _undo(self, client: httpx.Client) -> None:
        try:
            answer = client.post("/api/undo", json={})
        except httpx.HTTPError:
            self.told.num_unknown_undos += 1
            raise
        if answer.status_code == 200:
            photo = answer.json()
            image_id, kept, dropped = photo["image_id"], tuple(photo["kept"]), tuple(photo["dropped"])
            self.told.undone.append(Entry("undo", self._user, image_id, photo["revision"], kept, dropped))
            client.post("/api/leave", json={"image_id": image_id})


class Answerer(Saver):
    """Answers what is asked of several people."""

    kind = "answer"
    image_ids: tuple[int, ...] = (*ANSWERED, REVIEWED)


class Reviewer(Client):
    """Accepts lists of the photo in review, or sends it back."""

    def _step(self, client: httpx.Client) -> None:
        found = client.post("/api/review", json={"image_id": REVIEWED}).json()
        if "error" in found:  # its answer was taken back
            time.sleep(0.05)
            return
        key = self._new_key()
        tags, dropped = (key, *found["answers"][0]["tags"][:4]), (f"no {key}",)
        revision, seen = found["revision"], found["revisions"]
        if self._random.random() < SEND_BACK_SHARE:
            entry = Entry("send_back", self._user, REVIEWED, revision)
            self._write(client, "send_back", key, entry, note=key, seen=seen)
        else:
            entry = Entry("accept", self._user, REVIEWED, revision, tags, dropped)
            self._write(client, "accept", key, entry, seen=seen)
        time.sleep(0.02)  # else nobody else comes to this photo


KINDS: list[tuple[type[Client], str]] = [
    (Saver, "annotator"), (Answerer, "annotator"), (Saver, "annotator"), (Reviewer, "reviewer")
]  # fmt: skip
"""What clients are, in turn, and their role. Savers call with a token, the others log in."""


def make_people(project: Project, num_clients: int) -> tuple[dict[str, str | None], Told]:
    """Add accounts and ask the photos; return each person's token, and what is written so far."""
    store = Store(project.database_path)
    accounts, log = Accounts(store), CorrectionLog(store)
    answers = Responses(store, log)
    tokens: dict[str, str | None] = {}
    for number in range(num_clients):
        kind, role = KINDS[number % len(KINDS)]
        user = f"person{number}"
        accounts.add(user, role, PASSWORD)
        tokens[user] = accounts.add_token(user, role, 1) if kind is Saver else None
    answers.ask(ANSWERED, MOST_PEOPLE, [], "person1")
    answers.ask([REVIEWED], 1, ["person1"], "person1")
    given = answers.give(REVIEWED, "person1", revision=0, tags=["the first"], dropped=[], effort=Effort())
    store.close()
    return tokens, Told("person1", {"the first": Entry("answer", "person1", REVIEWED, given.revision, ("the first",))})


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
    context.set_forkserver_preload(
        ["annotator.cli.main", "annotator.web.server", "annotator.ui.page", "faiss", "onnxruntime"]
    )
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
    while not (all(client.is_in.is_set() for client in clients) and any(client.told.answered for client in clients)):
        if time.monotonic() > deadline:
            num_refused = sum(len(client.told.refused) for client in clients)
            raise SystemExit(f"No save was answered within a minute, {num_refused} were refused.")
        time.sleep(0.01)


def written(store: Store) -> dict[str, list[Entry]]:
    """Return all that was saved, answered and decided, by its first tag or note."""
    found: dict[str, list[Entry]] = {}
    for kind, user, image_id, revision, tags, dropped in store.rows(
        "SELECT kind, user_name, image_id, revision, after_tags, dropped FROM events WHERE kind IN ('save', 'accept') "
        "UNION ALL SELECT 'answer', user_name, image_id, revision, tags, dropped FROM answers WHERE is_given"
    ):
        found.setdefault(tags[0], []).append(Entry(kind, user, image_id, revision, tuple(tags), tuple(dropped)))
    rows = store.rows("SELECT note, user_name, image_id FROM reviews WHERE verdict = 'sent_back'")
    for note, user, image_id in rows:
        found.setdefault(note, []).append(Entry("send_back", user, image_id, 0))
    return found


def taken_back(store: Store) -> list[Entry]:
    """Return every undo with the list that it took back; one that left another list than was before gets no tags."""
    rows = store.rows(
        "SELECT u.user_name, u.image_id, u.revision, s.after_tags, s.dropped, u.after_tags = s.before_tags "
        "FROM events u JOIN events s ON u.undoes = s.event_id UNION ALL "
        "SELECT u.user_name, u.image_id, u.revision, s.tags, s.dropped, len(u.tags) = 0 FROM answers u JOIN answers s "
        "ON (s.image_id, s.user_name, s.revision) = (u.image_id, u.user_name, u.revision - 1) WHERE NOT u.is_given"
    )
    return [
        Entry("undo", user, image_id, revision, tuple(tags) if is_right else (), tuple(dropped))
        for user, image_id, revision, tags, dropped, is_right in rows
    ]


def lost_or_wrong(store: Store, told: list[Told]) -> list[str]:
    """Compare the database with what the clients were told; return every difference."""
    found, problems = written(store), []
    for client in told:
        for key, entry in client.answered.items():
            if found.get(key) != [entry]:
                problems.append(f"answered as {entry}, found {found.get(key)}: {key}")
        problems += [f"refused, but there: {key}" for key in client.refused if key in found]
        for key, entry in client.unknown.items():
            there = [replace(one, revision=entry.revision) for one in found.get(key, [])]
            if there not in ([], [entry]):
                problems.append(f"sent as {entry}, found {there}: {key}")
    known = {key for client in told for key in (*client.answered, *client.unknown)}
    problems += [f"nobody saved it: {key}" for key in found if key not in known]
    undos = Counter(taken_back(store))
    answered = Counter(entry for client in told for entry in client.undone)
    for entry, number in answered.items():
        if (number, undos[entry]) != (1, 1):
            problems.append(f"told {number} times that it was taken back, found {undos[entry]} times: {entry}")
    left = Counter(entry.user for entry in (undos - answered).elements())
    for client in told:
        left[client.user] -= client.num_unknown_undos
    return problems + [f"nobody took it back: {number} of {user}" for user, number in left.items() if number > 0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--longest", type=float, default=1.5, help="most seconds until the kill, once all are in")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most-minutes", type=float, default=0.0, help="stop after so many, with fewer kills")
    parsed = parser.parse_args()
    generator = random.Random(parsed.seed)
    folder = Path(tempfile.mkdtemp(prefix="annotator-torture-"))
    copy_demo_photos(folder / "photos")
    command = [sys.executable, "-m", "annotator.cli", "add", str(folder / "project"), str(folder / "photos")]
    subprocess.run(command, check=True, capture_output=True)
    project = Project.open(folder / "project")
    tokens, first = make_people(project, parsed.clients)
    context = start_forking()
    told = [first]
    started = time.monotonic()
    seconds, start_seconds, problems, num_findings = [], [], [], 0
    for kill in range(parsed.kills):
        began = time.perf_counter()
        process, address = serve(context, project.folder)
        start_seconds.append(time.perf_counter() - began)
        clients = [
            KINDS[number % len(KINDS)][0](address, user, token, f"k{kill}")
            for number, (user, token) in enumerate(tokens.items())
        ]
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
        **{
            kind: sum(entry.kind == kind for client in told for entry in client.answered.values())
            for kind in ("save", "answer", "accept", "send_back")
        },
        "undo": sum(len(client.undone) for client in told),
        "refused": sum(len(client.refused) for client in told),
        "of_these_leased": sum(client.num_leased for client in told),
        "answer_lost": sum(len(client.unknown) + client.num_unknown_undos for client in told),
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
