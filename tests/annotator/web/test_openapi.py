"""The OpenAPI description: complete, versioned, and enough for a program that knows nothing else."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from annotator.models.backbones.backbone import Backbone
from annotator.session import workspace as workspace_module
from annotator.session.answers import ANSWERS, ERRORS
from annotator.session.operations import FORMER_NAMES, OPERATIONS
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.project import Project
from annotator.web.description import example_of, request_example
from annotator.web.former_paths import present_path


@pytest.fixture(scope="module")
def reader(
    backbone: Backbone, build_app: Callable[..., FastAPI], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace_module, "load_backbone", lambda name, num_threads: backbone)
        opened = Session.over(Workspace(Project.open_or_create(tmp_path_factory.mktemp("openapi") / "project", "test")))
        with TestClient(build_app(opened), base_url="http://127.0.0.1:7860") as client:
            client.get("/api/v1/session")
            client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
            yield client
        opened.close()


@pytest.fixture(scope="module")
def description(reader: TestClient) -> dict[str, Any]:
    answer: dict[str, Any] = reader.get("/api/v1/openapi.json").json()
    return answer


def operations_of(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_operation_has_an_answer_and_every_error_a_status() -> None:
    assert set(ANSWERS) == set(OPERATIONS)
    assert set(ERRORS) <= set(OPERATIONS)


def test_every_operation_is_described_with_schemas_examples_and_its_own_id(description: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations_of(description)]
    assert len(ids) == len(set(ids))
    assert set(OPERATIONS) <= set(ids)
    for name in OPERATIONS:
        operation = description["paths"][f"/api/v1/{name}"]["post"]
        body = operation["requestBody"]["content"]["application/json"]
        assert body["schema"]["$ref"].endswith(OPERATIONS[name].request.__name__)
        assert body["examples"]["example"]["value"] == request_example(OPERATIONS[name])
        answer = operation["responses"]["200"]["content"]["application/json"]
        assert answer["schema"].keys() & {"$ref", "anyOf"}, name
        assert answer["example"] is not None
        for status, described in operation["responses"].items():
            assert described["description"], (name, status)
            assert "application/json" in described["content"], (name, status)
        assert {"400", "401", "403", "413", "421", "507"} <= operation["responses"].keys()
    assert "HTTPValidationError" not in json.dumps(description)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_examples_of_an_operation_fit_its_schemas(name: str) -> None:
    OPERATIONS[name].request.model_validate(request_example(OPERATIONS[name]))
    TypeAdapter(ANSWERS[name]).validate_python(example_of(ANSWERS[name]))


def test_every_route_but_those_of_pictures_has_the_version(description: dict[str, Any]) -> None:
    paths = {path for path in description["paths"] if not path.startswith("/api/v1/")}
    assert paths == {"/thumbnail/{image_id}", "/image/{image_id}"}
    for path, method, operation in operations_of(description):
        assert operation["summary"], (path, method)
        assert operation["tags"], (path, method)
        assert "200" in operation["responses"]


def test_the_description_says_how_to_log_in(description: dict[str, Any]) -> None:
    assert description["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert {"token": []} in description["security"]
    assert "stale" in description["info"]["description"]


def test_the_former_paths_still_answer_and_name_the_present_ones(reader: TestClient) -> None:
    assert reader.get("/openapi.json").json() == reader.get("/api/v1/openapi.json").json()
    for name in ("state", "tag_changes"):
        former = reader.post(f"/api/{name}", json={})
        present = reader.post(f"/api/v1/{name}", json={})
        assert former.json() == present.json()
        assert "deprecation" not in present.headers
        assert former.headers["deprecation"].startswith("@")
        assert former.headers["link"] == f'<v1/{name}>; rel="successor-version"'
    for former_name, name in FORMER_NAMES.items():
        assert present_path(f"/api/{former_name}") == f"/api/v1/{name}"
    assert present_path("/api/v1/state") is None
    assert present_path("/image/1") is None


@pytest.mark.parametrize("path", ["/api/%0d%0aset-cookie:x=1", "/api/%E7%8C%AB", "/api/..%2f..%2fopenapi.json"])
def test_a_former_path_with_odd_characters_adds_no_header(reader: TestClient, path: str) -> None:
    answer = reader.get(path)
    assert answer.status_code in (404, 405)
    assert re.fullmatch(r'<[\w./%-]+>; rel="successor-version"', answer.headers["link"])
    assert "set-cookie" not in answer.headers


def test_a_former_path_is_checked_like_the_present_one(reader: TestClient) -> None:
    """The guard's lists name the present paths alone."""
    foreign = {"sec-fetch-site": "cross-site"}
    assert reader.get("/api/v1/backup", headers=foreign).status_code == 403
    assert reader.get("/api/backup", headers=foreign).status_code == 403
    assert reader.post("/api/state", json={}, headers={"x-annotator-token": ""}).status_code == 403


def test_an_answer_that_is_not_described_is_noticed(
    make_client: Callable[..., TestClient],
    open_project: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
    misdescribed: list[str],
) -> None:
    """conftest.py compares every answer of every test."""
    opened = open_project()
    client = make_client(opened)
    before = len(misdescribed)
    client.post("/api/v1/tag_changes", json={})
    assert misdescribed[before:] == []
    monkeypatch.setattr(opened.tag_editing.__class__, "tag_changes", lambda self: {"changes": [], "more": 1})
    client.post("/api/v1/tag_changes", json={})
    assert "more" in misdescribed.pop()
