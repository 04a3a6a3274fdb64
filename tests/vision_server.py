"""A local server in place of an OpenAI-compatible endpoint, which answers as a test says."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

Respond = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


@dataclass
class VisionServer:
    """A running server; `respond` may be replaced at any time."""

    url: str
    respond: Respond
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Body of each question."""
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)
    """Set when the test is over, so that slow answers end."""

    def photo(self, place: int = -1) -> Image.Image:
        """The photo of a question."""
        parts = self.requests[place]["messages"][1]["content"]
        kind, _, data = parts[1]["image_url"]["url"].partition(";base64,")
        assert kind == "data:image/jpeg"
        return Image.open(io.BytesIO(base64.b64decode(data)))

    def text(self, place: int = -1) -> str:
        """The text of a question."""
        found: str = self.requests[place]["messages"][1]["content"][0]["text"]
        return found


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def completion(content: Any, tokens: Any = 100) -> bytes:
    """The body of an answer whose message is a text, or any JSON as text."""
    text = content if isinstance(content, str) else json.dumps(content)
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return json.dumps({"choices": [choice], "usage": {"total_tokens": tokens}}).encode()


def says(content: Any, tokens: Any = 100) -> Respond:
    """Answer each question with the same message."""
    return lambda handler, question: send(handler, completion(content, tokens))


@contextmanager
def running(respond: Respond) -> Iterator[VisionServer]:
    """Run a server on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            question = json.loads(self.rfile.read(length))
            found.requests.append(question)
            found.headers.append(dict(self.headers.items()))
            found.paths.append(self.path)
            found.respond(self, question)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """The client may hang up in the middle of an answer."""

    server = Server(("127.0.0.1", 0), Handler)
    found = VisionServer(f"http://127.0.0.1:{server.server_address[1]}/v1", respond)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.ends.set()
        server.shutdown()
        server.server_close()
        thread.join()
