"""Streamed answers announce their length and the number of their rows, and an error in the middle is an answer."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from annotator.errors import StoreError
from annotator.session.operations import ProjectDispatcher
from annotator.session.session import Session
from annotator.web import counted_stream
from annotator.web.counted_stream import ROWS_HEADER


@pytest.fixture
def client(
    make_client: Callable[..., TestClient],
    open_project: Callable[..., Session],
    write_photos: Callable[..., list[Path]],
    tmp_path: Path,
) -> TestClient:
    write_photos(tmp_path / "photos", range(2))
    return make_client(open_project(tmp_path / "photos"))


def test_an_export_announces_its_bytes_and_rows(client: TestClient) -> None:
    for image_id in (1, 2):
        client.post("/api/save", json={"image_id": image_id, "revision": 0, "kept": ["cat", "sofa"]})
    for format, num_headings in (("jsonl", 0), ("csv", 1)):
        answer = client.get(f"/api/export?format={format}")
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert answer.headers[ROWS_HEADER] == "2"
        assert len(answer.text.splitlines()) == 2 + num_headings
    none = client.get("/api/export?tag=dog")
    assert (none.headers["content-length"], none.headers[ROWS_HEADER], none.content) == ("0", "0", b"")


def test_an_export_that_fails_in_the_middle_is_an_error_and_no_rows(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(self: object, user: str, selection: object, *, detailed: bool) -> Iterator[dict[str, object]]:
        for _ in range(3 * counted_stream.ROWS_A_WRITE):
            yield {"tags": ["cat"]}
        raise StoreError("The database is damaged.")

    monkeypatch.setattr(ProjectDispatcher, "export", export)
    answer = client.get("/api/export")
    assert (answer.status_code, json.loads(answer.text)["error"]["message"]) == (507, "The database is damaged.")


def test_a_full_folder_for_temporary_files_is_a_sentence(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted_stream, "IN_MEMORY_BYTES", 1)
    monkeypatch.setattr("tempfile.tempdir", "/dev/null/none")
    client.post("/api/save", json={"image_id": 1, "revision": 0, "kept": ["cat"]})
    answer = client.get("/api/export")
    assert answer.status_code == 507
    assert "temporary files" in answer.json()["error"]["message"]
