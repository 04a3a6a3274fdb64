"""The page behind a reverse proxy that offers it under a path prefix, in Chromium, through a real proxy."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

Factory = Callable[..., Any]
PASSWORD = "correct horse battery"
PREFIX = "/photos"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"}


def proxy_to(port: int, *, takes_prefix_off: bool) -> type[BaseHTTPRequestHandler]:
    """Return the handler of a proxy that offers a server under a prefix, and nothing else at its host."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            path = self.path
            if path == PREFIX and takes_prefix_off:
                self.answer(301, [("location", f"{PREFIX}/")], b"")
                return
            if path != PREFIX and not path.startswith(f"{PREFIX}/"):
                self.server.strayed.append(path)  # type: ignore[attr-defined]
                self.answer(404, [], b"Nothing else is here.")
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                upstream.request(self.command, path.removeprefix(PREFIX) if takes_prefix_off else path, body, headers)
                answer = upstream.getresponse()
                data = answer.read()
                self.answer(answer.status, answer.getheaders(), data)
            finally:
                upstream.close()

        def answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in {*HOP_BY_HOP, "content-length"}:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_HEAD = forward  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            return

    return Proxy


@pytest.fixture
def behind_proxy() -> Iterator[Callable[..., ThreadingHTTPServer]]:
    """Start a proxy in front of a server."""
    with ExitStack() as stack:

        def start(port: int, *, takes_prefix_off: bool) -> ThreadingHTTPServer:
            proxy = ThreadingHTTPServer(("127.0.0.1", 0), proxy_to(port, takes_prefix_off=takes_prefix_off))
            proxy.daemon_threads = True
            proxy.strayed = []  # type: ignore[attr-defined]
            threading.Thread(target=proxy.serve_forever, daemon=True).start()
            stack.callback(proxy.server_close)
            stack.callback(proxy.shutdown)
            return proxy

        yield start


@pytest.mark.parametrize("takes_prefix_off", [True, False])
def test_the_page_loads_and_saves_under_a_prefix(
    serve: Factory, chromium: Browser, behind_proxy: Factory, *, takes_prefix_off: bool
) -> None:
    server = serve(None, "--root-path", f"{PREFIX}/")
    proxy = behind_proxy(server.port, takes_prefix_off=takes_prefix_off)
    address = f"http://127.0.0.1:{proxy.server_port}{PREFIX}"
    context = chromium.new_context()
    page = context.new_page()
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    page.goto(address)
    expect(page.locator(".row").first).to_be_visible()
    image = page.locator("#photo-image")
    expect(image).to_be_visible()
    page.wait_for_function("document.querySelector('#photo-image').naturalWidth > 0")
    name = page.locator(".file-name").inner_text()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator(".file-name")).not_to_have_text(name)
    page.locator("#open-browse").click()
    expect(page.locator(".cell img").first).to_be_visible()
    page.wait_for_function("document.querySelector('.cell img').naturalWidth > 0")
    page.keyboard.press("Escape")
    page.locator("#menu").click()
    with page.expect_download() as download:
        page.locator("#export-jsonl").click()
    assert name in download.value.path().read_text()
    page.reload()
    expect(page.locator(".row").first).to_be_visible()
    assert {cookie["path"] for cookie in context.cookies()} == {PREFIX}
    assert [path for path in proxy.strayed if path != "/favicon.ico"] == []
    assert refused == []
    context.close()


def test_people_log_in_and_out_under_a_prefix(
    serve: Factory, chromium: Browser, behind_proxy: Factory, run_command: Factory
) -> None:
    server = serve(None, "--root-path", PREFIX)
    run_command("users", server.project, "add", "anna", "--role", "admin", check=True, input=f"{PASSWORD}\n")
    proxy = behind_proxy(server.port, takes_prefix_off=True)
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{proxy.server_port}{PREFIX}/")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#account")).to_have_text("anna")
    expect(page.locator(".row").first).to_be_visible()
    assert page.url == f"http://127.0.0.1:{proxy.server_port}{PREFIX}/"
    page.locator("#account").click()
    page.locator("#log-out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    assert page.url == f"http://127.0.0.1:{proxy.server_port}{PREFIX}/login"
    assert [path for path in proxy.strayed if path != "/favicon.ico"] == []
    context.close()


@pytest.mark.parametrize("takes_prefix_off", [True, False])
def test_a_visitor_of_a_demo_enters_tags_and_leaves_under_a_prefix(
    serve_demo: Callable[..., str], chromium: Browser, behind_proxy: Factory, *, takes_prefix_off: bool
) -> None:
    port = int(serve_demo("--root-path", PREFIX).rsplit(":", 1)[1])
    proxy = behind_proxy(port, takes_prefix_off=takes_prefix_off)
    address = f"http://127.0.0.1:{proxy.server_port}{PREFIX}"
    context = chromium.new_context()
    page = context.new_page()
    page.goto(address)
    expect(page).to_have_url(f"{address}/demo")
    page.evaluate("localStorage.setItem('of another program', '1')")
    expect(page.locator("main")).to_contain_text("60 minutes")
    page.locator("#enter").click()
    expect(page).to_have_url(f"{address}/")
    page.locator("#add-samples").click()
    expect(page.locator(".row.proposed").first).to_be_visible()
    page.wait_for_function("document.querySelector('#photo-image').naturalWidth > 0")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("#tagged")).to_contain_text("1 of ")
    # A visitor with a space is sent from the entrance to it.
    page.goto(f"{address}/demo")
    expect(page).to_have_url(f"{address}/")
    assert {cookie["path"] for cookie in context.cookies()} == {PREFIX}
    secrets = {cookie["value"] for cookie in context.cookies() if "first_steps" not in cookie["name"]}
    page.locator("#open-demo").click()
    page.locator("#end-demo").click()
    page.locator("#end-demo").click()
    expect(page.locator("#over")).to_contain_text("deleted")
    assert secrets.isdisjoint(cookie["value"] for cookie in context.cookies())  # those of the entrance are new
    assert page.evaluate("Object.keys(localStorage)") == ["of another program"]
    assert [path for path in proxy.strayed if path != "/favicon.ico"] == []
    context.close()
