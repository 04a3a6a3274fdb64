"""Two annotators and a reviewer on one project in Chromium: blind answers, review, send back, accept, restore."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

Factory = Callable[..., Any]
PASSWORD = "correct horse battery"
SECRET = "zebrra"
"""A tag that no model proposes: where it is shown, Anna's answer is."""


@pytest.fixture
def people(serve: Factory, run_command: Callable[..., Any]) -> Any:
    """A served project of which two photos are asked of two people each."""
    server = serve()
    for name, role in (("root", "admin"), ("anna", "annotator"), ("ben", "annotator"), ("rita", "reviewer")):
        run_command("users", server.project, "add", name, "--role", role, check=True, input=f"{PASSWORD}\n")
    asked = run_command("assign", server.project, "--people", 2, "--images", "1-2", check=True)
    assert asked.stdout == "2 photos are asked of 2 people each.\n"
    return server


@pytest.fixture
def log_in(chromium: Browser, people: Any) -> Iterator[Callable[[str], Page]]:
    contexts = []

    def make(name: str) -> Page:
        context = chromium.new_context(viewport={"width": 1360, "height": 768})
        contexts.append(context)
        page = context.new_page()
        page.goto(people.address)
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator("#account")).to_have_text(name)
        expect(page.locator(".row").first).to_be_visible()
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def person(people: Any) -> Iterator[Callable[[str], httpx.Client]]:
    """Log somebody in without a page."""
    clients = []

    def make(name: str) -> httpx.Client:
        client = httpx.Client(base_url=people.address, timeout=60)
        clients.append(client)
        client.get("/login")
        token = f"annotator_token_{people.port}"
        client.headers["X-Annotator-Token"] = client.cookies[token]
        assert client.post("/api/login", json={"name": name, "password": PASSWORD}).status_code == 200
        client.headers["X-Annotator-Token"] = client.cookies[token]
        return client

    yield make
    for client in clients:
        client.close()


def file_name(page: Page) -> str:
    name = page.locator("#file-name")
    expect(name).to_have_text(re.compile(r"\S"))
    return name.inner_text()


def add(page: Page, tag: str) -> None:
    page.keyboard.type(tag)
    page.keyboard.press("Enter")
    expect(page.locator(f'.row.kept[data-tag="{tag}"]')).to_be_visible()


def save(page: Page) -> None:
    before = file_name(page)
    page.keyboard.press("Enter")
    expect(page.locator("#file-name")).not_to_have_text(before)


def shoot(page: Page, name: str) -> None:
    """Store a screenshot, if the environment names a folder for it."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_two_people_answer_blind_and_a_reviewer_decides(
    people: Any, log_in: Callable[[str], Page], run_command: Callable[..., Any]
) -> None:
    def saved() -> list[list[str]]:
        lines = run_command("export", people.project, check=True).stdout.splitlines()
        return [json.loads(line)["tags"] for line in lines]

    anna, ben = log_in("anna"), log_in("ben")
    first = file_name(anna)
    expect(ben.locator("#file-name")).to_have_text(first)  # at the same time
    expect(ben.locator("#banner")).to_be_hidden()
    add(anna, SECRET)
    add(anna, "boat")
    save(anna)
    second = file_name(anna)
    add(anna, "tree")
    save(anna)
    assert saved() == []

    ben.reload()
    expect(ben.locator("#file-name")).to_have_text(first)
    expect(ben.locator(".row.kept")).to_have_count(0)
    ben.keyboard.type("zeb")
    expect(ben.locator("#add-input")).to_have_value("zeb")
    assert SECRET not in ben.content()
    ben.keyboard.press("Escape")
    ben.keyboard.press("F7")
    expect(ben.locator(".timeline-entry")).to_have_count(2)
    assert SECRET not in ben.content()
    ben.keyboard.press("Escape")
    add(ben, "sofa")
    save(ben)
    expect(ben.locator("#file-name")).to_have_text(second)
    add(ben, "tree")
    save(ben)
    ben.keyboard.press("F6")
    expect(ben.locator("#status")).to_contain_text("Reviewing is for reviewers")

    rita = log_in("rita")
    expect(rita.locator("#open-review")).to_have_text("Review 2")
    rita.keyboard.press("F6")
    expect(rita.locator(".review-answer")).to_have_count(2)
    expect(rita.locator(".review-answer").first.locator("li")).to_have_text([SECRET, "boat"])
    expect(rita.locator(".review-measures")).to_contain_text("anna and ben")
    shoot(rita, "review")
    rita.keyboard.press("2")
    expect(rita.locator('.review-answer[data-user="ben"]')).to_have_attribute("aria-selected", "true")
    for letter in "eban":  # letters are no commands
        rita.keyboard.press(letter)
    expect(rita.locator("#review-note")).to_have_count(0)
    rita.keyboard.press("Delete")
    rita.keyboard.type("There is no sofa: look again.")
    shoot(rita, "send back")
    rita.keyboard.press("Enter")
    expect(rita.locator(".review-facts")).to_contain_text(second)
    rita.keyboard.press("Enter")  # both gave the same: accept it
    expect(rita.locator("#review")).to_have_count(0)
    assert saved() == [["tree"]]

    # Ben's photo comes back with the note, before all others.
    ben.reload()
    expect(ben.locator("#file-name")).to_have_text(first)
    expect(ben.locator("#banner")).to_contain_text("rita sent this back to you: “There is no sofa: look again.”")
    expect(ben.locator(".row.kept .tag")).to_have_text(["sofa"])
    shoot(ben, "sent back")
    add(ben, "ship")
    save(ben)
    expect(ben.locator("#banner")).to_be_hidden()
    rita.keyboard.press("F6")
    expect(rita.locator('.review-answer[data-user="ben"] li')).to_have_text(["sofa", "ship"])


def test_a_reviewer_edits_an_answer_and_restores_another(
    people: Any, log_in: Callable[[str], Page], person: Callable[[str], httpx.Client], run_command: Callable[..., Any]
) -> None:
    for name, tags in (("anna", [SECRET, "boat"]), ("ben", ["sofa"])):
        answer = person(name).post("/api/save", json={"image_id": 1, "revision": 0, "kept": tags})
        assert answer.status_code == 200, answer.text

    def saved() -> list[list[str]]:
        lines = run_command("export", people.project, check=True).stdout.splitlines()
        return [json.loads(line)["tags"] for line in lines]

    # On the tagging page; saving there accepts the list.
    rita = log_in("rita")
    rita.keyboard.press("F6")
    expect(rita.locator(".review-answer")).to_have_count(2)
    first = rita.locator(".review-facts b").inner_text()
    rita.keyboard.press("ArrowRight")
    rita.keyboard.press("F2")
    expect(rita.locator("#file-name")).to_have_text(first)
    expect(rita.locator("#banner")).to_contain_text("In review")
    expect(rita.locator(".row.kept .tag")).to_have_text(["sofa"])
    add(rita, "seashore")
    save(rita)
    assert saved() == [["sofa", "seashore"]]

    # Anna's answer is restored from the time line, as a new entry.
    rita.keyboard.press("Control+b")
    expect(rita.locator('.tab[data-state="accepted"]')).to_have_text("Accepted 1")
    rita.locator("#browse-search").fill(first)
    expect(rita.locator(".cell")).to_have_count(1)
    expect(rita.locator(".cell")).to_have_attribute("data-state", "accepted")
    rita.keyboard.press("Enter")
    expect(rita.locator("#file-name")).to_have_text(first)
    rita.keyboard.press("F7")
    expect(rita.locator(".timeline-entry").first).to_contain_text("rita accepted a list")
    shoot(rita, "time line")
    num_entries = rita.locator(".timeline-entry").count()
    chosen = rita.locator('.timeline-entry[aria-selected="true"]')
    for _ in range(num_entries):
        if SECRET in chosen.inner_text():
            break
        rita.keyboard.press("ArrowDown")
    expect(chosen).to_contain_text(f"{SECRET} (1)")
    rita.keyboard.press("Enter")
    expect(rita.locator("#timeline")).to_be_hidden()
    expect(rita.locator(".row.kept .tag")).to_have_text([SECRET, "boat"])
    assert saved() == [[SECRET, "boat"]]
    rita.keyboard.press("F7")
    expect(rita.locator(".timeline-entry")).to_have_count(num_entries + 1)

    report = json.loads(run_command("agreement", people.project, "--json", check=True).stdout)
    assert {row["user"]: row["jaccard"] for row in report["people"]} == {"anna": 1.0, "ben": 0.0}


def test_the_review_fits_a_phone_and_the_dark(
    people: Any, log_in: Callable[[str], Page], person: Callable[[str], httpx.Client]
) -> None:
    for name in ("anna", "ben"):
        person(name).post("/api/save", json={"image_id": 1, "revision": 0, "kept": [f"tag of {name}"]})
    rita = log_in("rita")
    for name, size, scheme in (("phone", (390, 844), "light"), ("dark", (1360, 768), "dark")):
        rita.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        rita.set_viewport_size({"width": size[0], "height": size[1]})
        rita.reload()
        expect(rita.locator("#open-review")).to_be_visible()
        rita.locator("#open-review").click()
        expect(rita.locator(".review-answer")).to_have_count(2)
        too_wide = rita.locator("#review").evaluate("dialog => dialog.scrollWidth > dialog.clientWidth + 1")
        assert not too_wide
        shoot(rita, f"review {name}")
        rita.keyboard.press("Escape")
        expect(rita.locator("#review")).to_have_count(0)
