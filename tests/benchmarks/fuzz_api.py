"""Ask every route of the OpenAPI description what it does not expect (schemathesis); every answer must be an answer.

    python tests/benchmarks/fuzz_api.py --examples 200 --minutes 10

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
from starlette.testclient import TestClient

from annotator.app import OpenProject, build_app
from annotator.config import ServerConfig
from annotator.datasets.demo_photos import copy_demo_photos
from annotator.project import Project

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
    client: TestClient, schema: Any, num_examples: int, ends: float, found_path: Path, keeps_first: bool
) -> list[dict[str, Any]]:
    """Send made-up cases to every operation; return a row an operation."""
    rows = []
    for result in schema.get_all_operations():
        operation = result.ok()
        seen: Counter[int] = Counter()
        found: list[str] = []
        ask_one(client, operation, num_examples, ends, found_path, keeps_first, seen, found)
        label = f"{operation.method.upper()} {operation.path}"
        rows.append({"route": label, "cases": seen.total(), "answers": dict(sorted(seen.items())), "found": len(found)})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def ask_one(
    client: TestClient, operation: Any, num_examples: int, ends: float, found_path: Path, keeps_first: bool,
    seen: Counter[int], found: list[str],
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100, help="cases a route")
    parser.add_argument("--minutes", type=float, default=10.0, help="at most so long")
    parser.add_argument("--found", type=Path, default=Path("fuzz_found.jsonl"), help="what is found goes there")
    parser.add_argument("--keep-first", action="store_true", help="keep the first case of each kind of answer too")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        copy_demo_photos(Path(folder) / "photos")
        opened = OpenProject(Project.open_or_create(Path(folder) / "project", "fuzzed"))
        try:
            # In a thread of its own: ingest gives way to everything else, for good.
            ingest = threading.Thread(target=opened.ingest.run, args=([Path(folder) / "photos"],))
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
