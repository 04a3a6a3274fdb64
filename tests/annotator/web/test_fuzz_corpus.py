"""Requests that failed under schemathesis (tests/benchmarks/fuzz_api.py), and similar ones, sent on every run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from annotator.session.operations import OPERATIONS
from annotator.session.session import Session

CORPUS = [json.loads(line) for line in (Path(__file__).parent / "fuzz_corpus.jsonl").read_text().splitlines()]


@pytest.fixture
def client(open_project: Callable[..., Session], build_app: Callable[..., FastAPI], demo_photos: Path) -> TestClient:
    app = build_app(open_project(demo_photos))
    client = TestClient(app, base_url="http://127.0.0.1:7860", raise_server_exceptions=False, follow_redirects=False)
    client.get("/api/session")
    client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
    return client


def test_every_request_of_the_corpus_is_answered(client: TestClient) -> None:
    routes = set()
    for case in CORPUS:
        body: dict[str, Any] = {}
        if case["body"] is not None:
            body = {"content": json.dumps(case["body"]), "headers": {"content-type": "application/json"}}
        answer = client.request(case["method"], case["path"], params=case["query"], **body)
        assert answer.status_code < 500, (case, answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) >= {"kind", "message"}, case
        routes.add(case["path"].split("/")[2])
    assert len(routes) > 25


def test_every_operation_is_in_the_corpus() -> None:
    asked = {case["path"].removeprefix("/api/") for case in CORPUS if case["method"] == "POST"}
    assert set(OPERATIONS) - asked == set()
