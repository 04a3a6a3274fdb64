"""Other projects from the page, in Chromium: what cannot be opened, and a folder that is served by a second process."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from annotator.storage.project import default_folder

Factory = Callable[..., Any]


def test_a_folder_of_photos_is_opened_from_the_page_and_ends_with_its_server(
    serve: Factory, open_page: Factory, twelve_photos: Path, tmp_path: Path, until: Callable[..., Any]
) -> None:
    photos = tmp_path / "Harbour"
    (tmp_path / "empty").mkdir()
    photos.mkdir()
    shutil.copy(twelve_photos / "rocket.jpg", photos)
    server = serve()
    page = open_page(server)
    page.press("Control+k")
    page.type("folder open")
    page.press("Enter")
    expect(page.at("#projects")).to_be_visible()
    expect(page.at("#recent-projects .project-item").first).to_contain_text("open now")
    expect(page.at("#project-path")).to_be_focused()
    page.at("#project-path").fill(str(tmp_path / "empty"))
    page.press("Enter")
    expect(page.at("#projects-trouble")).to_contain_text("there are no photos in it or below it.")
    page.at("#project-path").fill(str(tmp_path))
    expect(page.at("#folders .project-item", has_text="Harbour")).to_have_count(1)
    page.press("ArrowDown", "ArrowDown", "ArrowDown")  # the folder above, "empty", and this one
    expect(page.at("#folders .project-item", has_text="Harbour")).to_be_focused()
    page.press("Enter")
    expect(page.at("#project-path")).to_have_value(str(photos))
    expect(page.at("#folder-about")).to_have_text("1 photo in this folder itself.")
    page.at("#project-path").focus()
    page.press("Enter")
    expect(page.at("#projects-note")).to_contain_text("Opening it.")
    expect(page.page).not_to_have_url(re.compile(rf":{server.port}/"))
    expect(page.at("#project")).to_have_text("Harbour")
    expect(page.at("#file-name")).to_have_text("rocket.jpg")
    expect(page.at("#first-steps")).to_be_hidden()  # they were learnt on the first server
    note = default_folder(photos) / "server.json"
    assert page.page.url.startswith(json.loads(note.read_text())["address"])
    page.choose("#open-projects")  # and back, to the server that runs
    page.at("#recent-projects .project-item").nth(1).click()
    expect(page.page).to_have_url(re.compile(rf":{server.port}/"))
    page.settle()
    page.choose("#open-projects")
    recent = page.at("#recent-projects li", has_text="Harbour")
    expect(recent.locator(".project-mark")).to_have_text("runs")
    recent.get_by_role("button", name="End the server of “Harbour”").click()
    expect(page.at("#projects-note")).to_have_text("The server of “Harbour” has ended.")
    assert not note.exists()
    expect(recent.locator("button")).to_have_count(1)  # it can be opened, and no longer be ended
    expect(page.at("#project-path")).to_be_focused()
    recent.locator(".project-item").click()
    expect(page.at("#project")).to_have_text("Harbour")
    page.settle()
    page.page.goto(server.address)
    page.settle()
    page.requests.clear()  # some went to the second server
    server.end()
    until(lambda: not note.exists())
