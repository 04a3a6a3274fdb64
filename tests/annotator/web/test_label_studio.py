"""Label Studio's ML-backend protocol, with requests as its server sends them (label_studio/ml/api_connector.py)."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from annotator.errors import ConfigError
from annotator.session.label_studio import Control, control_of
from annotator.session.session import Session

CHOICES = """<View>
  <Image name="img" value="$photo"/>
  <Choices name="words" toName="img" choice="multiple"><Choice value="Cat"/><Choice value="sofa"/></Choices>
</View>"""
ANY = '<View><Image name="img" value="$photo"/><TextArea name="words" toName="img"/></View>'
PROJECT = "1.1700000000"


@pytest.fixture
def opened(open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", [1, 2])
    return open_project(tmp_path / "photos")


@pytest.fixture
def client(opened: Session, make_client: Callable[..., TestClient]) -> TestClient:
    """As Label Studio connects: Basic authentication, no cookies."""
    client = make_client(opened)
    client.headers.pop("x-annotator-token")
    client.cookies.clear()
    secret = opened.workspace.authenticator.local_secret
    client.headers["authorization"] = "Basic " + base64.b64encode(f"label studio:{secret}".encode()).decode()
    client.headers["user-agent"] = "heartex/1.20"
    return client


def predict(client: TestClient, config: str, *links: object) -> Any:
    tasks = [
        {"id": number, "data": {"photo": link}, "meta": {}, "annotations": [], "predictions": [], "project": 1}
        for number, link in enumerate(links, start=1)
    ]
    request = {
        "tasks": tasks, "model_version": "", "project": PROJECT, "label_config": config,
        "params": {"login": None, "password": None, "context": None},
    }  # fmt: skip
    answer = client.post("/api/v1/label_studio/predict", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def test_label_studio_connects_and_gets_ranked_predictions(client: TestClient, opened: Session) -> None:
    assert client.get("/api/v1/label_studio/health").json()["status"] == "UP"
    setup = {"project": PROJECT, "schema": ANY, "hostname": "http://localhost:8080", "access_token": "x"}
    answer = client.post("/api/v1/label_studio/setup", json=setup)
    assert answer.json() == {"model_version": "cold_start"}
    proposed = opened.navigation.open("local", 1)
    (prediction,) = predict(client, ANY, "/data/upload/1/0123abcd-photo%201.jpg")
    expected = [item["tag"] for item in proposed["proposals"]][: max(1, proposed["num_expected"])]
    (result,) = prediction["result"]
    assert (result["from_name"], result["to_name"], result["type"]) == ("words", "img", "textarea")
    assert result["value"] == {"text": expected}
    assert prediction["model_version"] == proposed["tagger"]
    assert 0 < prediction["score"] <= 1


def test_a_saved_list_is_predicted_in_its_order_as_far_as_the_interface_offers_it(
    client: TestClient, opened: Session
) -> None:
    save = {"image_id": 1, "revision": 0, "kept": ["sofa", "lamp", "cat"]}
    secret = opened.workspace.authenticator.local_secret
    bearer = {"authorization": f"Bearer {secret}"}
    assert client.post("/api/v1/save", json=save, headers=bearer).status_code == 200
    known, unknown, none = predict(client, CHOICES, "/data/local-files/?d=photo%201.jpg", "s3://x/other.jpg", None)
    assert known["result"][0]["value"] == {"choices": ["sofa", "Cat"]}
    assert (known["model_version"], known["score"]) == ("saved", 1.0)
    assert unknown["result"] == none["result"] == []
    (textual,) = predict(client, ANY, "https://example.org/photos/photo 1.jpg")
    assert textual["result"][0]["value"] == {"text": ["sofa", "lamp", "cat"]}


def test_nothing_is_fetched_from_a_link(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    (prediction,) = predict(client, ANY, "http://169.254.169.254/latest/meta-data")
    assert prediction["result"] == []


def test_the_password_of_a_proxy_before_the_server_is_no_access_token(client: TestClient) -> None:
    assert client.get(
        "/api/v1/session", headers={"authorization": "Basic " + base64.b64encode(b"x:y").decode()}
    ).is_success


def test_a_wrong_password_and_an_interface_without_a_place_for_tags_are_refused(client: TestClient) -> None:
    wrong = {"authorization": "Basic " + base64.b64encode(b"x:wrong").decode()}
    assert client.get("/api/v1/label_studio/health", headers=wrong).status_code == 401
    for broken in ("Basic", "Basic !!!", "Basic " + base64.b64encode(b"\xff\xfe").decode()):
        assert client.get("/api/v1/label_studio/health", headers={"authorization": broken}).status_code == 401
    refused = client.post("/api/v1/label_studio/setup", json={"project": PROJECT, "schema": "<View/>"})
    assert (refused.status_code, refused.json()["error"]["kind"]) == (422, "config")


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><View>&b;</View>'


@pytest.mark.parametrize("config", ["", "<View>", BOMB, "<View><Text name='t' value='$t'/></View>", "x" * 100])
def test_an_interface_that_cannot_be_used_is_a_sentence(config: str) -> None:
    with pytest.raises(ConfigError):
        control_of(config)


def test_the_place_for_tags_is_found() -> None:
    assert control_of(CHOICES) == Control("Choices", "words", "img", "photo", ("Cat", "sofa"))
    single = control_of(CHOICES.replace(' choice="multiple"', ""))
    assert single.offered(["sofa", "cat"]) == ["sofa"]
    both = control_of(
        CHOICES.replace("</View>", '<Taxonomy name="t" toName="img"/></View>').replace("Choices", "Brush")
    )
    assert both.value(["a", "b"]) == {"taxonomy": [["a"], ["b"]]}
