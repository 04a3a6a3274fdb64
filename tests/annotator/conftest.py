"""Fixtures of the browser tests: a served project of real photos, real Chromium, and the page as a user operates it.

Nothing here sleeps for a fixed time: every step waits for a visible change, within a generous limit.
"""

import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Playwright, expect, sync_playwright

from annotator.cli.main import main
from annotator.datasets.demo_photos import copy_demo_photos
from annotator.models import checkpoint, registry
from annotator.models.backbones.backbone import Backbone
from annotator.models.checkpoint import About
from annotator.models.word_vectors.word_vectors import load_word_vectors

LIMIT_SECONDS = 120
"""Time limit of every wait, long enough for a busy machine; no wait lasts longer than necessary."""
DERIVED = {
    # name: (demo photo, part that is cut out as shares of width and height)
    "cats/ear.jpg": ("chelsea.png", (0.1, 0.0, 0.7, 0.7)),
    "cats/eyes.jpg": ("chelsea.png", (0.2, 0.1, 0.9, 0.9)),
    "garden/close.jpg": ("flower.jpg", (0.2, 0.1, 0.8, 0.9)),
    "garden/petals.jpg": ("flower.jpg", (0.3, 0.2, 0.7, 0.8)),
}
"""Twelve photos, eight of them the demo's; enough for neighbours by features and by folder."""


@dataclass
class Server:
    """A running ``annotator serve``, with calls besides those of the page."""

    process: subprocess.Popen[bytes] | BaseProcess
    address: str
    photos: Path
    project: Path
    client: httpx.Client

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def rest(self, name: str, /, **payload: Any) -> Any:
        """Call an operation by its REST route; another client of the same user."""
        response = self.client.post(f"/api/{name}", json=payload)
        if response.status_code == 403:  # the server was restarted: its old tokens are invalid
            self.greet()
            response = self.client.post(f"/api/{name}", json=payload)
        return response.json()

    def greet(self) -> None:
        if self.client.get("/api/session").status_code == 401:  # the page where people log in sets the token too
            self.client.get("/login")
        self.client.headers["X-Annotator-Token"] = self.client.cookies[f"annotator_token_{self.port}"]

    def saved(self) -> dict[str, list[str]]:
        """File name -> saved tags, as exported."""
        lines = self.client.get("/api/export?format=jsonl").text.splitlines()
        return {record["image"]: record["tags"] for record in map(json.loads, lines)}

    def image_id(self, file_name: str) -> int:
        items = self.rest("browse", limit=500)["items"]
        found: int = next(item["image_id"] for item in items if item["file_name"] == file_name)
        return found

    def history(self, file_name: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.rest("history", image_id=self.image_id(file_name))["events"]
        return events

    def wait_until_read(self) -> None:
        until(lambda: self.rest("state")["ingest"], lambda ingest: not ingest["running"] and ingest["num_done"])

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self.end(signal.SIGKILL)

    def kill_now(self) -> None:
        """Kill it, and do not wait."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)

    def end(self, signal_number: signal.Signals = signal.SIGTERM) -> None:
        if not is_running(self.process):
            return
        assert self.process.pid is not None
        os.kill(self.process.pid, signal_number)
        until(lambda: not is_running(self.process))


def is_running(process: subprocess.Popen[bytes] | BaseProcess) -> bool:
    return process.poll() is None if isinstance(process, subprocess.Popen) else process.is_alive()


def until(ask: Callable[[], Any], is_right: Callable[[Any], Any] = bool) -> Any:
    """Call a function until its result is right; return it."""
    ends = time.monotonic() + LIMIT_SECONDS
    while True:
        answer = ask()
        if is_right(answer):
            return answer
        if time.monotonic() > ends:
            raise AssertionError(f"after {LIMIT_SECONDS} seconds the answer was still {answer!r}")
        time.sleep(0.02)


@pytest.fixture(name="until")
def _until() -> Callable[..., Any]:
    return until


@pytest.fixture(scope="session")
def twelve_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's photos and parts of them, in folders; to be read only."""
    folder = tmp_path_factory.mktemp("browser") / "holiday"
    copy_demo_photos(folder)
    for name, (source, shares) in DERIVED.items():
        with Image.open(folder / source) as image:
            sides = [image.width, image.height] * 2
            box = [round(share * side) for share, side in zip(shares, sides, strict=True)]
            (folder / name).parent.mkdir(exist_ok=True)
            image.convert("RGB").crop(box).save(folder / name)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="session")
def read_project(
    twelve_photos: Path, run_command: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A project that has read the twelve photos; to be copied."""
    folder = tmp_path_factory.mktemp("browser") / "project"
    run_command("add", folder, twelve_photos, check=True)
    return folder


@pytest.fixture(scope="session")
def forking(backbone_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ForkServerContext, Path]:
    """A fork server that has imported everything, which takes seconds, and the log of its processes."""
    log_path = tmp_path_factory.mktemp("browser") / "servers.log"
    context = multiprocessing.get_context("forkserver")
    # torch is among them for the taggers, which every server opens in the background.
    context.set_forkserver_preload(
        ["annotator.cli.serve", "annotator.web.server", "annotator.ui.page", "faiss", "onnxruntime", "torch"]
    )
    own = os.dup(1), os.dup(2)
    with log_path.open("wb") as log:
        try:
            for descriptor in (1, 2):
                os.dup2(log.fileno(), descriptor)
            ensure_running()  # inherits the output
        finally:
            for descriptor, kept in enumerate(own, 1):
                os.dup2(kept, descriptor)
                os.close(kept)
    return context, log_path


@pytest.fixture
def serve(
    twelve_photos: Path, read_project: Path, forking: tuple[ForkServerContext, Path], tmp_path: Path
) -> Iterator[Callable[..., Server]]:
    """Serve a fresh copy of the twelve photos' project, or another folder; a port serves the same project again.

    ``as_command`` starts it as a command; otherwise the command runs in a forked process, seconds sooner.
    """
    servers: list[Server] = []
    context, log_path = forking
    num_logged = log_path.stat().st_size

    def start(
        photos: Path | None = None,
        *options: str,
        project: Path | None = None,
        port: int = 0,
        as_command: bool = False,
    ) -> Server:
        project = project or tmp_path / f"project {len(servers)}"
        if photos is None and not project.exists():
            shutil.copytree(read_project, project)
        photos = photos or twelve_photos
        arguments = ["serve", str(photos), "--project", str(project), "--port", str(port), *options]
        process: subprocess.Popen[bytes] | BaseProcess
        if as_command:
            with log_path.open("ab") as log:
                command = [sys.executable, "-m", "annotator.cli", *arguments]
                process = subprocess.Popen(command, stdout=log, stderr=log)
        else:
            process = context.Process(target=main, args=(arguments,))
            process.start()
        address = until(lambda: address_of(process, project))
        server = Server(process, address, photos, project, httpx.Client(base_url=address, timeout=60))
        servers.append(server)
        server.greet()
        return server

    yield start
    for server in servers:
        server.client.close()
        server.end()
    log = log_path.read_bytes()[num_logged:].decode()
    assert "Traceback" not in log, log


@pytest.fixture
def serve_demo(forking: tuple[ForkServerContext, Path], tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Serve a hosted demo; return its address."""
    context, log_path = forking
    num_logged = log_path.stat().st_size
    processes: list[BaseProcess] = []

    def start(*options: str) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = ["serve", "--demo", "--port", str(port), "--spaces", str(tmp_path / "spaces"), *options]
        process = context.Process(target=main, args=(arguments,))
        process.start()
        processes.append(process)
        address = f"http://127.0.0.1:{port}"
        until(lambda: address in log_path.read_text()[num_logged:] or not process.is_alive())
        return address

    yield start
    for process in processes:
        process.terminate()
        process.join(60)
        assert not process.is_alive()
    assert "Traceback" not in log_path.read_text()[num_logged:]


def address_of(process: subprocess.Popen[bytes] | BaseProcess, project: Path) -> str | None:
    """The address that a server writes into its project; None until it does."""
    assert is_running(process), "the server ended at once"
    try:
        note = json.loads((project / "server.json").read_text())
    except FileNotFoundError:
        return None
    return str(note["address"]) if note["pid"] == process.pid else None


@pytest.fixture(scope="module")
def playwright(browser: dict[str, Any]) -> Iterator[Playwright]:
    # For each module: while Playwright is active, the thread counts as running an event loop.
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def chromium(browser: dict[str, Any], playwright: Playwright) -> Iterator[Browser]:
    expect.set_options(timeout=1000 * LIMIT_SECONDS)
    launched = playwright.chromium.launch(executable_path=browser["program"], args=browser["options"])
    yield launched
    launched.close()


COUNT_CALLS = """
(() => {
  window.callsUnderWay = 0;
  const plain = window.fetch.bind(window);
  window.fetch = async (...parameters) => {
    window.callsUnderWay += 1;
    try {
      const answer = await plain(...parameters);
      await answer.clone().arrayBuffer().catch(() => {});
      return answer;
    } finally {
      // After whatever the answer sets going in this turn, such as the next call.
      setTimeout(() => { window.callsUnderWay -= 1; }, 0);
    }
  };
})();
"""
FIRST_STEPS = "annotator_first_steps_local"
"""The cookie that remembers what of the first steps was learnt."""
IS_AT_REST = """() => window.callsUnderWay === 0
  && document.getAnimations().every((movement) => movement.playState !== "running")
  && ["tagging", "done"].includes(document.querySelector("#tagging")?.dataset.phase)"""


@dataclass
class TaggingPage:
    """The page as a user operates it. Every check waits until it holds."""

    page: Page
    expected_errors: list[str] = field(default_factory=list)
    """Regular expressions of console errors that belong to the test (a server that is away)."""
    errors: list[str] = field(default_factory=list)
    requests: set[str] = field(default_factory=set)

    def at(self, selector: str, **options: Any) -> Locator:
        return self.page.locator(selector, **options)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def settle(self) -> None:
        """Wait until a photo (or the end) is shown and no call is under way."""
        self.page.wait_for_function(IS_AT_REST, timeout=1000 * LIMIT_SECONDS)

    def tags(self, zone: str) -> list[str]:
        """The tags now in a zone, once all answers are there."""
        self.settle()
        return [str(tag) for tag in self.at(f".row.{zone}").evaluate_all("rows => rows.map((row) => row.dataset.tag)")]

    def numbers(self) -> dict[int, str]:
        """Number -> the proposal that its digit takes now."""
        rows = self.at(".row.proposed").evaluate_all(
            "rows => rows.map((row) => [row.querySelector('.number').textContent, row.dataset.tag])"
        )
        return {int(number): str(tag) for number, tag in rows if number}

    def pause(self) -> None:
        """Press nothing until free numbers have a proposal again."""
        self.settle()
        self.page.wait_for_timeout(1100)  # a little more than stillness.js waits
        self.settle()

    def kept(self) -> list[str]:
        return self.tags("kept")

    def proposed(self) -> list[str]:
        return self.tags("proposed")

    def see_kept(self, *tags: str) -> None:
        expect(self.at(".row.kept .tag")).to_have_text(list(tags))

    def see_photo(self, file_name: str) -> None:
        expect(self.at("#file-name")).to_have_text(file_name)
        self.settle()

    def see_status(self, text: str | re.Pattern[str]) -> None:
        expect(self.at("#status")).to_contain_text(text)

    def see_tagged(self, num_saved: int, num_images: int = 12) -> None:
        expect(self.at("#tagged")).to_have_text(f"{num_saved} of {num_images} tagged")

    def selected(self) -> str:
        self.settle()
        return self.at(".row.selected").get_attribute("data-tag") or ""

    def choose(self, selector: str) -> None:
        """Click an entry of the menu."""
        self.at("#menu").click()
        self.at(selector).click()

    def go_to(self, file_name: str) -> None:
        """Open a photo by the browse view."""
        self.settle()
        self.press("Control+b")
        self.at("#browse-search").fill(file_name)
        expect(self.at(".cell")).to_have_count(1)
        self.press("Enter")
        self.see_photo(file_name)

    def reload(self) -> None:
        self.page.reload()
        self.settle()

    def is_hacked(self) -> bool:
        return bool(self.page.evaluate("() => 'hacked' in window"))

    def unexpected_errors(self) -> list[str]:
        return [text for text in self.errors if not any(re.search(part, text) for part in self.expected_errors)]


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., TaggingPage]]:
    """Open a server's page in a new window, or in a further tab of one; ``is_new``: the person has never seen it.

    After every test the console must have no errors, and no request may have gone to another host.
    """
    opened: list[tuple[TaggingPage, str]] = []
    with ExitStack() as stack:

        def make(
            server: Server,
            *,
            beside: TaggingPage | None = None,
            expected_errors: Sequence[str] = (),
            is_new: bool = False,
            **options: Any,
        ) -> TaggingPage:
            if beside is None:
                context = chromium.new_context(**{"viewport": {"width": 1360, "height": 768}, **options})
                stack.callback(context.close)
                context.set_default_timeout(1000 * LIMIT_SECONDS)
                context.add_init_script(COUNT_CALLS)
                if not is_new:
                    context.add_cookies([{"name": FIRST_STEPS, "value": "done", "url": server.address}])
            else:
                context = beside.page.context
            tagging = TaggingPage(context.new_page(), list(expected_errors))
            tagging.page.on("console", lambda message: note(tagging, message))
            tagging.page.on("pageerror", lambda error: tagging.errors.append(str(error)))
            tagging.page.on("request", lambda request: tagging.requests.add(request.url))
            opened.append((tagging, server.address))
            tagging.page.goto(server.address)
            tagging.settle()
            return tagging

        yield make
        for tagging, address in opened:
            assert tagging.unexpected_errors() == []
            foreign = {url for url in tagging.requests if not url.startswith((f"{address}/", "data:", "blob:"))}
            assert foreign == set()


def note(tagging: TaggingPage, message: Any) -> None:
    if message.type in {"error", "warning"}:
        tagging.errors.append(f"{message.text} {message.location.get('url', '')}")


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system of a size such as ``6m``; skips where that is not allowed."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            pytest.skip("only root may mount a small file system")
        folder = tmp_path / f"disk {len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def fill_disk() -> Callable[..., Path]:
    """Fill a file system up to some bytes; return the file that does."""

    def fill(folder: Path, num_left: int = 0) -> Path:
        filler = folder / "filler"
        descriptor = os.open(filler, os.O_CREAT | os.O_WRONLY)
        try:
            while True:
                os.write(descriptor, b"x" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - the loop has to end in this way
            os.ftruncate(descriptor, max(0, os.fstat(descriptor).st_size - num_left))
        finally:
            os.close(descriptor)
        return filler

    return fill


CONTEXT_TAGS = ["cat", "coffee", "rocket", "building", "flower", "person"]
TRAINED_WORDS = ("kitty", "espresso", "space")
OTHER_WORDS = ("tomcat", "latte", "nasa")


@pytest.fixture(scope="session")
def write_vectors() -> Callable[[Path], Path]:
    """Write word vectors in which each of `OTHER_WORDS` is near one of `TRAINED_WORDS`."""

    def write(path: Path) -> Path:
        axes = np.eye(3)
        lines = [f"{word} {' '.join(map(str, axes[row]))}" for row, word in enumerate(TRAINED_WORDS)]
        lines += [f"{word} {' '.join(map(str, axes[row] * 0.95))}" for row, word in enumerate(OTHER_WORDS)]
        path.write_text(f"{len(lines)} 3\n" + "\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture(scope="session")
def write_context_checkpoint(backbone: Backbone, write_vectors: Callable[[Path], Path]) -> Callable[..., Path]:
    """Write a small tagger with a context: its weights are random, and large enough that neighbours matter."""
    import torch

    def write(folder: Path, name: str = "ltwin", encoding: str = "w2v") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = write_vectors(folder.parent / f"{folder.name} vectors.txt")
        vectors = load_word_vectors(str(path))
        learnt = {
            "w2v": {"input_version": vectors.version, "input_size": vectors.size},
            "id": {"known_words": TRAINED_WORDS},
        }[encoding]
        sizes = {"m": 2, "M": 3, "hidden_size": 16}
        kinds = {"neighbourhood": encoding, "input": encoding, "vectors": str(path)}
        torch.manual_seed(1)
        tagger = registry.create(name, CONTEXT_TAGS, backbone.feature_size, **kinds, **sizes, **learnt)
        with torch.no_grad():
            for parameter in tagger.parameters():
                parameter *= 1.5
        checkpoint.save(tagger, folder, About(backbone.name, backbone.version, "given"))
        return folder

    return write


class Relay(threading.Thread):
    """Passes connections on to a server, until an answer whose request line has a word in it has been passed on so far.

    Args:
        port: Of the server.
        word: In the path of the request whose answer is cut.
        num_bytes: Bytes of that answer that are passed on.
        on_cut: Called before the connection is closed.
    """

    def __init__(self, port: int, word: str, num_bytes: int, on_cut: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._to, self._word, self._num_bytes, self._on_cut = port, word.encode(), num_bytes, on_cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.has_cut = threading.Event()

    def run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, client: socket.socket) -> None:
        is_asked = threading.Event()
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            threading.Thread(target=self._pass_requests, args=(client, server, is_asked), daemon=True).start()
            left = self._num_bytes
            while block := server.recv(4096):
                is_cut = is_asked.is_set()
                client.sendall(block[:left] if is_cut else block)
                if is_cut:
                    left -= len(block)
                if left <= 0 < self._num_bytes:
                    self._on_cut()
                    self.has_cut.set()
                    client.shutdown(socket.SHUT_RDWR)  # closing alone waits for the thread that reads from it
                    return

    def _pass_requests(self, client: socket.socket, server: socket.socket, is_asked: threading.Event) -> None:
        with suppress(OSError):  # closed by the other direction
            while block := client.recv(1 << 16):
                if self._word in block.split(b"\r\n", 1)[0]:
                    is_asked.set()
                server.sendall(block)


LONG_TAGS = [f"tag {number} " + "x" * 40 for number in range(30)]


@pytest.fixture
def relay(serve: Callable[..., Server]) -> Iterator[Callable[..., tuple[Server, Relay]]]:
    """Serve twelve tagged photos behind a relay that commands take for the server."""
    relays: list[Relay] = []

    def start(word: str, num_bytes: int, *, kills: bool) -> tuple[Server, Relay]:
        server = serve()
        server.wait_until_read()
        for image_id in range(1, 13):
            server.rest("save", image_id=image_id, revision=0, kept=LONG_TAGS)
        on_cut = server.kill_now if kills else lambda: None
        relays.append(Relay(server.port, word, num_bytes, on_cut))
        relays[-1].start()
        note = json.loads((server.project / "server.json").read_text())
        note["address"] = f"http://127.0.0.1:{relays[-1].port}"
        (server.project / "server.json").write_text(json.dumps(note))
        return server, relays[-1]

    yield start
    for one in relays:
        one.stop()
