"""`annotator mcp`, asked by the SDK's own client: in this process on the real app, and as a process over stdio."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client as McpClient
from mcp import StdioServerParameters
from starlette.testclient import TestClient

from annotator.auth.roles import Role
from annotator.cli.main import main
from annotator.cli.mcp import client_for
from annotator.cli.mcp_tools import build_server
from annotator.client import Client
from annotator.errors import ConfigError
from annotator.session.session import Session

HOME = "http://127.0.0.1:7860"
READING = ["list", "open", "look", "search", "export"]


@pytest.fixture
def opened(open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", [1, 2])
    return open_project(tmp_path / "photos")


@pytest.fixture
def http(opened: Session, make_client: Callable[..., TestClient]) -> TestClient:
    served = make_client(opened)
    served.headers.pop("x-annotator-token")
    served.cookies.clear()
    return served


def ask(client: Client, *calls: tuple[str, dict[str, Any]], most: Role = Role.ANNOTATOR) -> tuple[list[str], list[Any]]:
    """Return the names of the tools, and the result of each call."""

    async def talk() -> tuple[list[str], list[Any]]:
        async with McpClient(build_server(client, most)) as model:
            names = [tool.name for tool in (await model.list_tools()).tools]
            return names, [await model.call_tool(name, arguments) for name, arguments in calls]

    return anyio.run(talk)


def test_a_model_lists_opens_looks_proposes_saves_searches_and_exports(opened: Session, http: TestClient) -> None:
    client = Client(HOME, opened.workspace.authenticator.local_secret, http=http)
    names, results = ask(
        client,
        ("list", {}),
        ("open", {"image_id": 1}),
        ("look", {"image_id": 1}),
        ("propose", {"image_id": 1, "revision": 0, "kept": ["cat"]}),
        ("save", {"image_id": 1, "revision": 0, "tags": ["cat", "sofa"]}),
        ("save", {"image_id": 1, "revision": 0, "tags": ["dog"]}),
        ("search", {"text": "sofa"}),
        ("export", {}),
        ("open", {"image_id": 99}),
        ("open", {"image_id": "x"}),
    )
    assert names == [*READING, "propose", "save"]
    listed, photo, look, proposed, saved, stale, found, exported, unknown, wrong = results
    assert listed.structured_content["num_images"] == 2
    assert photo.structured_content["revision"] == 0
    assert photo.structured_content["proposals"]
    assert look.content[0].mime_type == "image/jpeg"
    assert all(item["tag"] != "cat" for item in proposed.structured_content["proposals"])
    assert saved.structured_content == {"revision": 1}
    assert stale.is_error
    assert "revision 1: cat, sofa" in stale.content[0].text
    assert [item["tags"] for item in found.structured_content["photos"]] == [["cat", "sofa"]]
    assert [record["tags"] for record in exported.structured_content["records"]] == [["cat", "sofa"]]
    assert unknown.is_error
    assert "no image 99" in unknown.content[0].text
    assert wrong.is_error


def test_a_token_gives_the_tools_of_its_role_and_no_others(opened: Session, http: TestClient) -> None:
    accounts = opened.workspace.accounts
    accounts.add("vera", "viewer", "correct horse battery")
    accounts.add("anna", "annotator", "correct horse battery")
    vera = Client(HOME, accounts.add_token("vera", "viewer", 1), http=http)
    anna = Client(HOME, accounts.add_token("anna", "annotator", 1), http=http)
    names, (refused,) = ask(vera, ("save", {"image_id": 1, "revision": 0, "tags": ["cat"]}))
    assert names == READING
    assert refused.is_error
    assert ask(anna)[0] == [*READING, "propose", "save"]
    assert ask(anna, most=Role.VIEWER)[0] == READING
    _, (saved,) = ask(anna, ("save", {"image_id": 1, "revision": 0, "tags": ["cat"]}))
    assert not saved.is_error
    assert opened.workspace.log.annotation(1).user_name == "anna"


def test_without_a_server_or_a_token_it_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mcp", str(tmp_path)]) == 1
    assert "annotator serve" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="ANNOTATOR_TOKEN"):
        client_for("https://example.org", "")
    assert client_for("https://example.org/photos/", "x").address == "https://example.org/photos"


@pytest.mark.integration
def test_the_command_speaks_the_protocol_over_stdio(serve: Callable[..., Any]) -> None:
    server = serve()

    async def talk() -> list[str]:
        command = StdioServerParameters(
            command=sys.executable, args=["-m", "annotator.cli", "mcp", str(server.project)], env={**os.environ}
        )
        async with McpClient(command) as model:
            return [tool.name for tool in (await model.list_tools()).tools]

    assert anyio.run(talk) == [*READING, "propose", "save"]
