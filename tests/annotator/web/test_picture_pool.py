"""Pictures have threads, bounds and a cache of their own: none of them holds up a save or fills the memory."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from annotator.ingest import pictures as pictures_module
from annotator.ingest.pictures import Picture
from annotator.models.backbones.backbone import Backbone
from annotator.session import workspace as workspace_module
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.project import Project
from annotator.web import picture_pool, routes
from annotator.web.picture_pool import CHUNK, BytesSent, PicturePool, PictureResponse, TooManyPicturesError

HOME = "http://127.0.0.1:7860"


def test_calls_beyond_the_bound_are_refused_and_later_ones_are_not() -> None:
    pool: PicturePool[int] = PicturePool(num_threads=1, max_waiting=2)
    may_end = threading.Event()

    async def attack() -> list[Any]:
        calls = [asyncio.create_task(pool.run(lambda: 7 if may_end.wait(60) else 0)) for _ in range(5)]
        refused = await asyncio.gather(*calls[3:], return_exceptions=True)
        may_end.set()
        return [*await asyncio.gather(*calls[:3]), *refused, await pool.run(lambda: 8)]

    *answers, first, second, last = asyncio.run(attack())
    assert (answers, last) == ([7, 7, 7], 8)
    assert all(isinstance(error, TooManyPicturesError) for error in (first, second))


def send_picture(data: bytes, sent: BytesSent) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    response = PictureResponse(data, "image/jpeg", {"x-a": "b"}, sent)
    asyncio.run(response({"type": "http"}, receive, send))
    return messages


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_picture_is_sent_in_pieces(size: int) -> None:
    data, sent = bytes(range(256)) * (size // 256) + b"x" * (size % 256), BytesSent()
    start, *bodies = send_picture(data, sent)
    assert dict(start["headers"])[b"content-length"] == str(size).encode()
    assert b"".join(body["body"] for body in bodies) == data
    assert [body["more_body"] for body in bodies] == [True] * (len(bodies) - 1) + [False]
    assert max(len(body["body"]) for body in bodies) <= CHUNK
    assert sent._now == {}


def test_the_bytes_that_are_being_sent_are_bounded_and_the_same_bytes_count_once() -> None:
    sent, large, first, other = BytesSent(max_bytes=100), b"z" * 500, b"x" * 80, b"y" * 30
    assert sent.take(large)  # alone
    assert not sent.take(other)
    sent.give_back(large)
    assert [sent.take(first), sent.take(first), sent.take(other)] == [True, True, False]
    sent.give_back(first)
    assert not sent.take(other)
    sent.give_back(first)
    assert sent.take(other)


def test_too_many_bytes_are_refused_and_counted_no_more_after_a_caller_left() -> None:
    sent, data = BytesSent(max_bytes=100), b"x" * 80
    taken = b"y" * 60
    assert sent.take(taken)
    start, *_ = send_picture(data, sent)
    assert start["status"] == 503
    sent.give_back(taken)

    async def broken(message: Any) -> None:
        raise OSError("the caller left")

    with pytest.raises(OSError, match="left"):
        asyncio.run(PictureResponse(data, "image/jpeg", {}, sent)({"type": "http"}, broken, broken))  # type: ignore[arg-type]
    assert sent._now == {}


@pytest.fixture(scope="module")
def opened(
    backbone: Backbone, photo_bytes: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("pool")
    (folder / "photos").mkdir()
    (folder / "photos" / "photo.tiff").write_bytes(photo_bytes(1, "TIFF"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace_module, "load_backbone", lambda name, num_threads: backbone)
        opened = Session.over(Workspace(Project.open_or_create(folder / "project", "test")))
        opened.workspace.ingest.run([folder / "photos"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def client(opened: Session, build_app: Callable[..., FastAPI]) -> Iterator[TestClient]:
    with TestClient(build_app(opened), base_url=HOME) as client:
        client.get("/api/session")
        client.headers["x-annotator-token"] = client.cookies["annotator_token_7860"]
        yield client


def test_pictures_that_take_long_hold_up_no_operation(
    client: TestClient, opened: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, num_begun = threading.Event(), threading.Semaphore(0)

    def slow(image_id: int, *, full: bool = False) -> Picture:
        num_begun.release()
        may_end.wait(120)
        return Picture(b"x", "image/jpeg")

    monkeypatch.setattr(opened.workspace.pictures, "photo", slow)
    with ThreadPoolExecutor(64) as callers:
        pictures = [callers.submit(client.get, "/image/1?full=1") for _ in range(60)]
        try:
            for _ in range(picture_pool.NUM_THREADS):
                assert num_begun.acquire(timeout=60)
            answers = [
                callers.submit(client.post, "/api/open", json={"image_id": 1}),
                callers.submit(client.get, "/thumbnail/1"),
            ]
            assert [answer.result(timeout=60).status_code for answer in answers] == [200, 200]
        finally:
            may_end.set()
        assert {picture.result().status_code for picture in pictures} == {200}
    assert num_begun.acquire(blocking=False)


def test_more_pictures_than_may_wait_are_refused_with_the_time_to_come_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: object, make: object) -> None:
        raise TooManyPicturesError

    monkeypatch.setattr(routes.PicturePool, "run", full)
    answer = client.get("/image/1")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "refused")
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["cache-control"] == "no-store"


def test_a_picture_in_full_size_is_made_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures_module, "FULL_SIZE", pictures_module.PictureCache())
    made, decode = [], pictures_module.decode_image

    def counted(*arguments: Any, **options: Any) -> Any:
        made.append(1)
        return decode(*arguments, **options)

    monkeypatch.setattr(pictures_module, "decode_image", counted)
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: client.get("/image/1?full=1").content, range(16)))
    assert len(set(answers)) == 1
    assert answers[0].startswith(b"\xff\xd8")
    assert made == [1]


@pytest.mark.parametrize("path", ["/image/1", "/image/1?full=1", "/thumbnail/1", "/api/export"])
def test_pages_of_other_sites_get_no_picture_and_no_export(client: TestClient, path: str) -> None:
    for site in ("cross-site", "same-site"):
        answer = client.get(path, headers={"sec-fetch-site": site})
        assert (answer.status_code, answer.json()["error"]["kind"]) == (403, "refused")
    for site in ("same-origin", "none"):
        assert client.get(path, headers={"sec-fetch-site": site}).status_code == 200
