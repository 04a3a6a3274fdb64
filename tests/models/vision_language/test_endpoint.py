"""Questions to a real local server, which answers well, late, wrongly, endlessly or not at all."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from PIL import Image

from annotator.errors import AnswerError, ConfigError, EndpointError
from annotator.models.vision_language import endpoint as endpoint_module
from annotator.models.vision_language.endpoint import MAX_TOLD_TAGS, Endpoint, VisionLanguageModel

pytestmark = pytest.mark.integration
PHOTO = Image.new("RGB", (1600, 900), (200, 40, 40))


@pytest.fixture
def serve(vision: Any) -> Iterator[Callable[..., Any]]:
    with ExitStack() as stack:
        yield lambda respond: stack.enter_context(vision.running(respond))


def model_of(server: Any, seconds: float = 20.0, key: str = "") -> VisionLanguageModel:
    return VisionLanguageModel(Endpoint(server.url, "tiny", key, seconds))


def test_a_photo_becomes_a_question_and_the_answer_tags(serve: Callable[..., Any], vision: Any) -> None:
    server = serve(vision.says({"tags": ["Beach", "golden retriever"]}, tokens=321))
    answer = model_of(server, key="secret").ask(PHOTO, ["Tibbles", 'a "b"'])
    assert (answer.tags, answer.num_tokens) == (("Beach", "golden retriever"), 321)
    assert 0 < answer.seconds < 20
    (question,) = server.requests
    assert server.paths == ["/v1/chat/completions"]
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert question["model"] == "tiny"
    assert question["response_format"]["json_schema"]["schema"]["required"] == ["tags"]
    assert '"Tibbles", "a \\"b\\""' in server.text()


def test_the_photo_is_sent_small_and_without_metadata(serve: Callable[..., Any], vision: Any) -> None:
    server = serve(vision.says([]))
    photo = PHOTO.copy()
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    photo.info.update(exif=exif.tobytes(), comment=b"secret", icc_profile=b"profile")
    model_of(server).ask(photo)
    sent = server.photo()
    assert sent.size == (768, 432)
    assert (dict(sent.getexif()), sent.info.get("comment"), sent.info.get("icc_profile")) == ({}, None, None)
    assert photo.size == (1600, 900)


def test_no_more_tags_are_told_than_the_limit(serve: Callable[..., Any], vision: Any) -> None:
    server = serve(vision.says([]))
    model_of(server).ask(PHOTO, [f"t{number}" for number in range(500)])
    assert f'"t{MAX_TOLD_TAGS - 1}".' in server.text()
    assert f'"t{MAX_TOLD_TAGS}"' not in server.text()


def test_a_server_without_json_schemas_is_asked_again_without_one(serve: Callable[..., Any], vision: Any) -> None:
    def respond(handler: Any, question: dict[str, Any]) -> None:
        if "response_format" in question:
            return vision.send(handler, b'{"error": {"message": "unknown response_format"}}', 400)
        vision.send(handler, vision.completion({"tags": ["dog"]}))

    server = serve(respond)
    model = model_of(server)
    assert model.ask(PHOTO).tags == model.ask(PHOTO).tags == ("dog",)
    assert ["response_format" in question for question in server.requests] == [True, False, False]


def test_a_late_answer_is_given_up_in_time(serve: Callable[..., Any]) -> None:
    server = serve(lambda handler, question: server.ends.wait(30))
    with pytest.raises(EndpointError, match=r"did not answer within 0\.5 seconds") as caught:
        model_of(server, 0.5).ask(PHOTO)
    assert not caught.value.is_lasting


def test_an_answer_that_drips_is_given_up_in_time(serve: Callable[..., Any]) -> None:
    def drip(handler: Any, question: object) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.ends.wait(0.05):
            handler.wfile.write(b" ")

    server = serve(drip)
    with pytest.raises(EndpointError, match="did not answer within"):
        model_of(server, 0.5).ask(PHOTO)


def test_headers_that_drip_are_given_up_in_time(serve: Callable[..., Any]) -> None:
    def drip(handler: Any, question: object) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not server.ends.wait(0.05):
            handler.wfile.write(b"x")

    server = serve(drip)
    with pytest.raises(EndpointError, match="did not answer within"):
        model_of(server, 0.5).ask(PHOTO)


def test_an_endless_answer_is_cut(serve: Callable[..., Any]) -> None:
    sent = 0

    def flood(handler: Any, question: object) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        while not server.ends.is_set():
            handler.wfile.write(b"x" * 65536)
            sent += 65536

    server = serve(flood)
    with pytest.raises(EndpointError, match="more than 1,000,000 bytes"):
        model_of(server).ask(PHOTO)
    assert sent < 50_000_000


def test_a_small_answer_that_would_unpack_to_gigabytes_is_not_unpacked(serve: Callable[..., Any], vision: Any) -> None:
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(b" " * 1_000_000) for _ in range(200)) + packer.flush()
    server = serve(lambda handler, question: vision.send(handler, packed, Content_Encoding="gzip"))
    with pytest.raises(EndpointError, match="no JSON object"):
        model_of(server).ask(PHOTO)


def test_an_answer_that_ends_early_is_an_error_of_the_endpoint(serve: Callable[..., Any]) -> None:
    def cut(handler: Any, question: object) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [')

    with pytest.raises(EndpointError, match="cannot be reached, or hung up"):
        model_of(serve(cut)).ask(PHOTO)


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>Welcome</title>",
        b"",
        b"null",
        b"[1]",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"choices": []}',
        b'{"choices": {"0": 1}}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": "dog"}]}',
    ],
)
def test_what_is_no_such_endpoint_is_named_once_and_for_all(
    serve: Callable[..., Any], vision: Any, body: bytes
) -> None:
    server = serve(lambda handler, question: vision.send(handler, body, Content_Type="text/html"))
    with pytest.raises(EndpointError, match="no address of a vision-language model") as caught:
        model_of(server).ask(PHOTO)
    assert caught.value.is_lasting


@pytest.mark.parametrize(
    ("status", "said", "is_lasting"),
    [
        (401, "ANNOTATOR_VLM_KEY", True),
        (404, "Check the address and the model's name 'tiny'", True),
        (429, "status 429", False),
        (500, "status 500", False),
        (503, "status 503", False),
    ],
)
def test_a_refusal_says_what_to_do(
    serve: Callable[..., Any], vision: Any, status: int, said: str, is_lasting: bool
) -> None:
    body = json.dumps({"error": {"message": "no\n<script>alert(1)</script>" + "x" * 5000}}).encode()
    server = serve(lambda handler, question: vision.send(handler, body, status, Retry_After="7"))
    with pytest.raises(EndpointError, match=said) as caught:
        model_of(server).ask(PHOTO)
    assert caught.value.is_lasting is is_lasting
    assert caught.value.wait_seconds == (7 if status == 429 else 0)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("asked", "waits"), [("86400", 60.0), ("-5", 0.0), ("nan", 0.0), ("soon", 0.0)])
def test_a_server_cannot_make_the_program_wait_for_long(
    serve: Callable[..., Any], vision: Any, asked: str, waits: float
) -> None:
    server = serve(lambda handler, question: vision.send(handler, b"{}", 429, Retry_After=asked))
    with pytest.raises(EndpointError) as caught:
        model_of(server).ask(PHOTO)
    assert caught.value.wait_seconds == waits


def test_a_photo_is_not_sent_on_to_another_host(serve: Callable[..., Any], vision: Any) -> None:
    other = serve(vision.says({"tags": ["dog"]}))
    server = serve(lambda handler, question: vision.send(handler, b"", 307, Location=f"{other.url}/chat/completions"))
    with pytest.raises(EndpointError, match="which is not followed") as caught:
        model_of(server).ask(PHOTO)
    assert caught.value.is_lasting
    assert other.requests == []


def test_proxies_of_the_environment_get_no_photo(
    serve: Callable[..., Any], vision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, server = serve(vision.says({"tags": ["cat"]})), serve(vision.says({"tags": ["dog"]}))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    assert model_of(server).ask(PHOTO).tags == ("dog",)
    assert proxy.requests == []


def test_nobody_listening_is_said(unused_port: int) -> None:
    model = VisionLanguageModel(Endpoint(f"http://127.0.0.1:{unused_port}/v1", "tiny"))
    with pytest.raises(EndpointError, match=f"127.0.0.1:{unused_port} cannot be reached"):
        model.ask(PHOTO)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_a_running_question_ends_with_the_program(serve: Callable[..., Any]) -> None:
    stopping = threading.Event()

    def hang(handler: Any, question: object) -> None:
        stopping.set()
        server.ends.wait(30)

    server = serve(hang)
    with pytest.raises(EndpointError, match="ending"):
        VisionLanguageModel(Endpoint(server.url, "tiny"), stopping.is_set).ask(PHOTO)


def test_a_useless_answer_carries_its_cost(serve: Callable[..., Any], vision: Any) -> None:
    with pytest.raises(AnswerError) as caught:
        model_of(serve(vision.says("I see a dog.", tokens=55))).ask(PHOTO)
    assert caught.value.num_tokens == 55


@pytest.mark.parametrize("tokens", [None, "9", -1, 10**30, True, 1.5, {"total": 1}])
def test_a_cost_that_is_no_count_is_none(serve: Callable[..., Any], vision: Any, tokens: object) -> None:
    assert model_of(serve(vision.says(["dog"], tokens=tokens))).ask(PHOTO).num_tokens == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:11434", "write it like"),
        ("file:///etc/passwd", "write it like"),
        ("ftp://host/v1", "write it like"),
        ("http://", "write it like"),
        ("http://host:port/v1", "no address"),
        ("http://[::1/v1", "no address"),
        ("http://me:secret@host/v1", "no user, password"),
        ("http://host/v1?key=secret", "no user, password"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Endpoint(url, "tiny")


def test_a_key_is_not_sent_unencrypted_to_another_machine() -> None:
    with pytest.raises(ConfigError, match="only sent over https"):
        Endpoint("http://gpu.example/v1", "tiny", "secret")
    for url in ("https://gpu.example/v1", "http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:8/v1"):
        assert "secret" not in repr(Endpoint(url, "tiny", "secret"))


def test_addresses_with_and_without_their_end_are_the_same() -> None:
    for url in ("http://a/v1", "http://a/v1/", "http://a/v1/chat/completions"):
        assert Endpoint(url, "tiny").address == "http://a/v1/chat/completions"
    assert (Endpoint("http://a:8/v1", "m").host, Endpoint("http://a:8/v1", "m").is_local) == ("a:8", False)


def test_the_model_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="--vlm-model"):
        Endpoint("http://a/v1", " ")
    with pytest.raises(ConfigError, match="time limit"):
        Endpoint("http://a/v1", "m", timeout_seconds=float("nan"))


def test_the_wording_of_the_question_is_known_by_its_hash() -> None:
    assert len(endpoint_module.PROMPT) == 12
