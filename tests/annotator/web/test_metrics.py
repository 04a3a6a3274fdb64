"""What Prometheus is told, and who may ask."""

import http.client
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from annotator.errors import ConfigError
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.settings import ObservationConfig
from annotator.storage.correction_log import Effort
from annotator.web import metrics
from annotator.web import observation as observation_module
from annotator.web.metrics import RUN_STATES, MetricsListener, ServerMetrics
from annotator.web.observation import Observation
from annotator.web.recorded_requests import RecordedRequests

pytestmark = pytest.mark.integration  # a listener

ANY_PORT = ObservationConfig(metrics=("127.0.0.1", 0))
SECRETS = ("anna", "sunset", "p0.jpg", "secret folder")


def get(port: int, path: str = "/metrics", host: str | None = None, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=host is not None)
        if host is not None:
            connection.putheader("host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def values_of(text: str) -> dict[str, float]:
    """The samples by name and labels, as Prometheus' own reader has them."""
    return {
        sample.name + "".join(f"|{value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def observation() -> Iterator[Observation]:
    observation = Observation(ANY_PORT)
    yield observation
    observation.close()


def start(observation: Observation) -> int:
    """Offer the metrics without a server's event loop."""
    assert observation.metrics is not None
    assert observation._listener is not None
    observation._listener.start(observation.metrics)
    return observation._listener.port


def test_metrics_follow_the_project_and_name_nobody(
    observation: Observation,
    open_project: Callable[..., Session],
    build_app: Callable[..., FastAPI],
    write_photos: Callable[..., list[Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos = tmp_path / "secret folder"
    write_photos(photos, range(4))
    (photos / "broken.jpg").write_bytes(b"junk")
    session = open_project(photos)
    observation.watch(session.workspace)
    app = RecordedRequests(build_app(session), observation.readiness, observers=observation.observers)
    client = TestClient(app, base_url="http://127.0.0.1:7860")
    client.get("/api/v1/session")
    client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
    port = start(observation)
    before = values_of(get(port)[1])
    assert (before["annotator_photos|saved"], before["annotator_photos|unsaved"]) == (0, 4)
    assert before["annotator_photos|unreadable"] == 1
    assert before["annotator_ready"] == 1
    assert (before["annotator_ingest_files|found"], before["annotator_ingest_files|done"]) == (5, 5)
    saved = client.post("/api/v1/save", json={"image_id": 1, "revision": 0, "kept": ["sunset"]})
    assert saved.status_code == 200
    assert client.post("/api/v1/save", json={"image_id": 1, "revision": 0, "kept": ["x"]}).status_code == 409
    assert client.get("/thumbnail/2").status_code == 200
    session.tagging.save("anna", EditedList(4, 0, ["sunset"], [], Effort()), brings_next=False)
    text = get(port)[1]
    after = values_of(text)
    assert (after["annotator_requests_total|save|2xx"], after["annotator_requests_total|save|4xx"]) == (1, 1)
    assert after["annotator_requests_total|get_thumbnail|2xx"] == 1
    assert after["annotator_request_duration_seconds_count|save"] == 2
    assert after["annotator_request_duration_seconds_sum|save"] > 0
    assert after["annotator_requests_in_progress"] == 0
    assert (after["annotator_photos|saved"], after["annotator_photos|unsaved"]) == (2, 2)
    assert after["annotator_committed_lists_total"] == 2
    assert after["annotator_proposed_lists_total"] > before["annotator_proposed_lists_total"]
    assert after["annotator_database_bytes|database"] > 0
    assert after["annotator_disk_free_bytes"] > 0
    assert after["process_resident_memory_bytes"] > 0
    assert {f"annotator_trainings|{state}" for state in RUN_STATES} <= set(after)
    assert not [secret for secret in SECRETS if secret in text]
    observation.readiness.is_draining = True
    assert values_of(get(port)[1])["annotator_ready"] == 0


def test_made_up_paths_make_no_further_series(observation: Observation) -> None:
    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = RecordedRequests(nothing, observation.readiness, observers=observation.observers)
    client, port = TestClient(app), start(observation)
    for number in range(30):
        client.get(f"/api/v1/tag-{number}")
        client.get(f"/{number}")
    found = values_of(get(port)[1])
    requests = {name: value for name, value in found.items() if name.startswith("annotator_requests_total")}
    assert requests == {"annotator_requests_total|other|4xx": 30, "annotator_requests_total|page|4xx": 30}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (None, 200), ("localhost:9464", 200), ("127.0.0.1", 200), ("10.1.2.3:9464", 200), ("[::1]:9464", 200),
        ("photos.example", 200), ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("", 421), ("[", 421),
    ],
)  # fmt: skip
def test_a_page_of_another_site_cannot_read_metrics_by_a_name_of_its_own(host: str | None, status: int) -> None:
    listener = MetricsListener(("127.0.0.1", 0), ["Photos.example"])
    observation = Observation()
    listener.start(ServerMetrics(observation.readiness, observation.pools))
    try:
        found, text = get(listener.port, host=host)
        assert found == status
        assert ("annotator_ready" in text) == (status == 200)
        assert get(listener.port, "/", "127.0.0.1")[0] == 404
        assert get(listener.port, method="POST")[0] == 405
    finally:
        listener.close()
    with pytest.raises(ConnectionRefusedError):
        get(listener.port)


def test_a_silent_caller_is_left_and_makes_no_traceback(
    observation: Observation, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metrics._Handler, "timeout", 0.1)
    port = start(observation)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as silent:
        silent.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert silent.recv(100) == b""  # closed
    assert get(port)[0] == 200
    assert capfd.readouterr().err == ""


def test_the_page_s_own_port_offers_no_metrics(
    open_project: Callable[..., Session], build_app: Callable[..., FastAPI]
) -> None:
    client = TestClient(build_app(open_project()), base_url="http://127.0.0.1:7860")
    for path in ("/metrics", "/api/v1/metrics", "/api/metrics"):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert "annotator_" not in answer.text


def test_a_taken_address_and_a_missing_package_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1 port {port}: .*--metrics HOST:PORT"):
            Observation(ObservationConfig(metrics=("127.0.0.1", port)))
    monkeypatch.setattr(observation_module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'--metrics needs .*annotator\[metrics\]"'):
        Observation(ANY_PORT)
    with pytest.raises(ConfigError, match=r'--traces needs .*annotator\[telemetry\]"'):
        Observation(ObservationConfig(traces=True))


def test_nothing_is_observed_unless_it_is_asked_for() -> None:
    observation = Observation()
    assert (observation.metrics, observation.observers, observation.metrics_port) == (None, [], None)


def test_who_may_read_the_metrics_is_said_aloud_where_it_is_not_this_machine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Observation(ANY_PORT).close()
    assert caplog.messages == []
    Observation(ObservationConfig(metrics=("0.0.0.0", 0))).close()
    assert "Everybody who reaches 0.0.0.0 port" in caplog.text
