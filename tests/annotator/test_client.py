"""The typed client, on the real app; and Gradio's own client, which the documents explain."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from annotator.client import Client, Photo, ServerError
from annotator.errors import StaleRevisionError
from annotator.session.session import Session

ROOT = Path(__file__).parent.parent.parent
HOME = "http://127.0.0.1:7860"


@pytest.fixture
def opened(open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", [1, 2, 3])
    return open_project(tmp_path / "photos")


@pytest.fixture
def http(opened: Session, make_client: Callable[..., TestClient]) -> TestClient:
    """As the client would connect, without cookies."""
    served = make_client(opened)
    served.headers.pop("x-annotator-token")
    served.cookies.clear()
    return served


@pytest.fixture
def client(opened: Session, http: TestClient) -> Client:
    return Client(HOME, opened.workspace.authenticator.local_secret, http=http)


def test_a_program_opens_proposes_saves_searches_and_exports(client: Client) -> None:
    assert client.session()["role"] == "admin"
    photo = client.open()
    assert isinstance(photo, Photo)
    assert photo.proposals == tuple(sorted(photo.proposals, key=lambda item: -item.score))
    assert all(item.tag != "cat" for item in client.propose(photo, ["cat"]))
    assert client.save(photo, ["cat", "sofa"]) == 1
    found = client.search("sofa")
    assert (found.total, found.photos[0].image_id, found.photos[0].tags) == (1, photo.image_id, ("cat", "sofa"))
    assert [record["tags"] for record in client.export()] == [["cat", "sofa"]]
    assert [record["tags"] for record in client.export(tag="dog")] == []
    assert client.call("tag_changes") == {"changes": []}


@pytest.mark.parametrize("announced", [{"x-annotator-rows": "3"}, {}], ids=["fewer", "no number"])
def test_an_export_that_ends_early_is_an_error(announced: dict[str, str]) -> None:
    """As through a proxy that takes the end of the server's answer for the end of its own."""
    answer = httpx.Response(200, headers=announced, content=b'{"tags": ["cat"]}\n{"tags": ["dog"]}\n')
    with (
        httpx.Client(transport=httpx.MockTransport(lambda request: answer)) as http,
        pytest.raises(ServerError, match=r"ended early: 2 of (3|unknown) rows came"),
    ):
        list(Client(HOME, "token", http=http).export())


def test_a_stale_save_is_the_error_with_the_list_that_is_saved_now(client: Client) -> None:
    photo = client.open(1)
    assert photo is not None
    client.save(photo, ["cat"])
    with pytest.raises(StaleRevisionError) as caught:
        client.save(photo, ["dog"])
    assert (caught.value.revision, caught.value.tags, caught.value.user) == (1, ["cat"], "local")


def test_other_refusals_name_kind_and_status(client: Client, http: TestClient) -> None:
    with pytest.raises(ServerError, match="no image 99") as caught:
        client.open(99)
    assert (caught.value.answered_kind, caught.value.answered_status) == ("unknown_image", 404)
    with pytest.raises(ServerError, match="wrong, over or taken back") as caught:
        Client(HOME, "wrong", http=http).session()
    assert caught.value.answered_status == 401
    with pytest.raises(ServerError, match="state"):
        list(client.export(state="nothing"))


def test_when_all_is_tagged_there_is_nothing_to_open(client: Client) -> None:
    for _ in range(3):
        photo = client.open()
        assert photo is not None
        client.save(photo, [f"tag {photo.image_id}"])
    assert client.open() is None


def test_a_server_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(ServerError, match="does not answer"):
        client.session()
    with pytest.raises(ServerError, match="Start it"):
        Client.of_project(tmp_path)


def test_a_page_that_is_no_annotator_is_a_sentence() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(502, text="<html>"))
    client = Client(HOME, http=httpx.Client(transport=transport))
    with pytest.raises(ServerError, match="status 502"):
        client.session()


def examples_in(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)


def test_the_five_lines_of_the_readme_run(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = examples_in("README.md")
    assert len([line for line in example.splitlines() if line]) == 5
    monkeypatch.setattr(Client, "of_project", classmethod(lambda cls, folder: client))
    exec(example, {})
    (record,) = client.export()
    assert record["tags"][0] == "cat"
    assert len(record["tags"]) > 1


def test_the_example_of_the_document_for_programs_runs(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = examples_in("docs/rest.md")
    monkeypatch.setattr("annotator.client.Client", lambda address, token: client)
    exec(example, {})
    assert [record["tags"][0] for record in client.export()] == ["cat"] * 3
