"""Ask every route of the OpenAPI description what it does not expect (schemathesis); every answer must be an answer.

    python tests/benchmarks/fuzz_api.py --examples 200 --minutes 10
    python tests/benchmarks/fuzz_api.py --hosted  # the hosted demo, as a visitor with the sample photos

Photos, project and app are real, the network is left out. Printed are the cases a route and the answers they got; every
answer of 500 or above, or in another form than the routes promise, goes to --found, and the exit code is 1. What was
found, and a question for each kind of answer (--keep-first), is kept in tests/annotator/fuzz_corpus.jsonl, which
test_fuzz_corpus.py sends on every run.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from harness import report
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from annotator.datasets.demo_photos import copy_demo_photos, demo_photos
from annotator.hosted.limits import HostedLimits
from annotator.hosted.routes import UPLOAD_PATH
from annotator.hosted.server import HostedDemo, HostedOptions
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.settings import ServerConfig
from annotator.storage.project import Project
from annotator.web.server import build_app

HOME = "http://127.0.0.1:7860"
TOKEN_COOKIE = "annotator_token_7860"


def send(client: TestClient, method: str, path: str, query: Any, body: Any) -> Any:
    """Send one case; what JSON cannot hold is left out."""
    options: dict[str, Any] = {"params": query} if query else {}
    if body is not None:
        options["content"] = json.dumps(body, ensure_ascii=True).encode()
        options["headers"] = {"content-type": "application/json"}
    return client.request(method, path, **options)


def complaint(answer: Any) -> str | None:
    """Say what is wrong with an answer; None if nothing is."""
    if answer.status_code >= 500:
        return f"{answer.status_code} {answer.text[:200]}"
    if answer.status_code >= 400:
        try:
            error = answer.json()["error"]
            if error["kind"] and error["message"]:
                return None
        except (ValueError, KeyError, TypeError):
            pass
        return f"{answer.status_code} in another form: {answer.text[:200]}"
    return None


def fuzz(
    client: TestClient,
    schema: Any,
    num_examples: int,
    ends: float,
    found_path: Path,
    keeps_first: bool,
    *,
    is_hosted: bool = False,
) -> list[dict[str, Any]]:
    """Send made-up cases to every operation; return a row an operation."""
    rows = []
    for result in schema.get_all_operations():
        operation = result.ok()
        seen: Counter[int] = Counter()
        found: list[str] = []
        ask_one(client, operation, num_examples, ends, found_path, keeps_first, seen, found, is_hosted)
        label = f"{operation.method.upper()} {operation.path}"
        rows.append({"route": label, "cases": seen.total(), "answers": dict(sorted(seen.items())), "found": len(found)})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def ask_one(
    client: TestClient, operation: Any, num_examples: int, ends: float, found_path: Path, keeps_first: bool,
    seen: Counter[int], found: list[str], is_hosted: bool,
) -> None:  # fmt: skip
    """Send made-up cases to one operation; count the answers in `seen`, add what is wrong to `found`."""

    @settings(max_examples=num_examples, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        if time.monotonic() > ends:
            return
        body = case.body if isinstance(case.body, dict | list | str | int | float | bool) else None
        query = dict(case.query) if case.query else None
        if is_hosted and client.get("/api/session").status_code == 401:  # somebody has left
            enter(client)
        if TOKEN_COOKIE not in client.cookies:  # somebody has logged out
            client.get("/api/session")
        client.headers["x-annotator-token"] = client.cookies[TOKEN_COOKIE]
        answer = send(client, case.method, case.formatted_path, query, body)
        problem = complaint(answer)
        is_new = bool(problem) and problem not in found
        if problem and is_new:
            found.append(problem)
        seen[answer.status_code] += 1
        if is_new or (keeps_first and seen[answer.status_code] == 1):
            kept = {"method": case.method, "path": case.formatted_path, "query": query, "body": body, "was": problem}
            with found_path.open("a") as file:
                file.write(json.dumps(kept) + "\n")

    ask()


def enter(client: TestClient) -> None:
    """Get a space of the hosted demo, with the sample photos."""
    client.cookies.clear()
    client.get("/demo")
    for path in ("/api/demo/enter", "/api/demo/samples"):
        client.headers["x-annotator-token"] = client.cookies[TOKEN_COOKIE]
        client.post(path, json={})


def fuzz_uploads(client: TestClient, num_examples: int, ends: float, found_path: Path) -> dict[str, Any]:
    """Upload made-up and changed files under made-up names, whole and as broken multipart; return a row."""
    photo = demo_photos()[0][1].read_bytes()
    changes = st.lists(st.tuples(st.integers(0, len(photo) - 1), st.integers(0, 255)), max_size=20)
    seen: Counter[int] = Counter()
    found: list[str] = []

    def changed(parts: list[tuple[int, int]], length: int) -> bytes:
        data = bytearray(photo)
        for place, byte in parts:
            data[place] = byte
        return bytes(data[:length])

    files = st.binary() | st.builds(changed, st.just([]) | changes, st.sampled_from([len(photo), len(photo) // 2, 30]))
    broken = st.tuples(st.binary(max_size=300), st.sampled_from(["", "; boundary=", "; boundary=x", "; boundary=\xe9"]))
    mostly_none = st.one_of(st.none(), st.none(), st.none(), broken)

    @settings(max_examples=num_examples, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(
        data=files,
        name=st.text(min_size=1, max_size=200),
        raw=mostly_none,
        field=st.sampled_from(["photo"] * 5 + ["other"]),
    )
    def ask(data: bytes, name: str, raw: tuple[bytes, str] | None, field: str) -> None:
        if time.monotonic() > ends:
            return
        if client.get("/api/session").status_code == 401 or not seen.total() % 10:
            client.post("/api/demo/leave", json={})  # a space that is full would refuse all
            enter(client)
        client.headers["x-annotator-token"] = client.cookies[TOKEN_COOKIE]
        if raw is None:
            answer = client.post(UPLOAD_PATH, files={field: (name, data)})
        else:
            body, kind = b"--x\r\n" + raw[0], f"multipart/form-data{raw[1]}".encode("latin-1")
            answer = client.post(UPLOAD_PATH, content=body, headers={b"content-type": kind})  # type: ignore[dict-item]
        seen[answer.status_code] += 1
        problem = complaint(answer)
        if problem and problem not in found:
            found.append(problem)
            with found_path.open("a") as file:
                file.write(json.dumps({"path": UPLOAD_PATH, "name": name, "raw": repr(raw), "was": problem}) + "\n")

    ask()
    return {
        "route": f"POST {UPLOAD_PATH}, files", "cases": seen.total(), "answers": dict(sorted(seen.items())),
        "found": len(found),
    }  # fmt: skip


def fuzz_hosted(parsed: argparse.Namespace, ends: float) -> list[dict[str, Any]]:
    """Send made-up cases to a hosted demo; return a row an operation."""
    limits = HostedLimits(
        num_visitors=1000, num_photos=30, visitors_an_address=1000, entries_an_hour=10**6, calls_at_once=10**6,
        training_seconds=10.0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        demo = HostedDemo(HostedOptions(Path(folder) / "spaces", limits))
        try:
            app = demo.build_app(ServerConfig())
            client = TestClient(app, base_url=HOME, raise_server_exceptions=False, follow_redirects=False)
            enter(client)
            row = fuzz_uploads(client, parsed.examples, ends, parsed.found)
            print(json.dumps(row), file=sys.stderr, flush=True)
            schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
            return [row, *fuzz(client, schema, parsed.examples, ends, parsed.found, parsed.keep_first, is_hosted=True)]
        finally:
            demo.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100, help="cases a route")
    parser.add_argument("--minutes", type=float, default=10.0, help="at most so long")
    parser.add_argument("--found", type=Path, default=Path("fuzz_found.jsonl"), help="what is found goes there")
    parser.add_argument("--keep-first", action="store_true", help="keep the first case of each kind of answer too")
    parser.add_argument("--hosted", action="store_true", help="ask a hosted demo instead of a project")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    warnings.simplefilter("ignore")
    if parsed.hosted:
        rows = fuzz_hosted(parsed, time.monotonic() + 60 * parsed.minutes)
        report("Cases sent, by route", rows, as_json=parsed.json)
        return 1 if any(row["found"] for row in rows) else 0
    with tempfile.TemporaryDirectory() as folder:
        copy_demo_photos(Path(folder) / "photos")
        opened = Session.over(Workspace(Project.open_or_create(Path(folder) / "project", "fuzzed")))
        try:
            # In a thread of its own: ingest gives way to everything else, for good.
            ingest = threading.Thread(target=opened.workspace.ingest.run, args=([Path(folder) / "photos"],))
            ingest.start()
            ingest.join()
            app = build_app(opened, ServerConfig())
            client = TestClient(app, base_url=HOME, raise_server_exceptions=False, follow_redirects=False)
            schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
            rows = fuzz(
                client, schema, parsed.examples, time.monotonic() + 60 * parsed.minutes, parsed.found, parsed.keep_first
            )
        finally:
            opened.close()
    report("Cases sent, by route", rows, as_json=parsed.json)
    return 1 if any(row["found"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
