"""Two people and an admin on one project in Chromium: login, leases, and a viewer."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

Factory = Callable[..., Any]
PASSWORD = "correct horse battery"


@pytest.fixture
def people(serve: Factory, run_command: Callable[..., Any]) -> Any:
    """A served project with accounts that were made while it was served."""
    server = serve()
    for name, role in (("root", "admin"), ("anna", "annotator"), ("ben", "annotator"), ("vera", "viewer")):
        run_command("users", server.project, "add", name, "--role", role, check=True, input=f"{PASSWORD}\n")
    return server


@pytest.fixture
def log_in(chromium: Browser, people: Any) -> Iterator[Callable[[str], Page]]:
    contexts = []

    def make(name: str) -> Page:
        context = chromium.new_context()
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


def file_name(page: Page) -> str:
    name = page.locator(".file-name")
    expect(name).to_have_text(re.compile(r"\S"))
    return name.inner_text()


def shoot(page: Page, name: str) -> None:
    """Store a screenshot, if the environment names a folder for it."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_a_wrong_password_is_reported_and_a_right_one_opens_the_page(chromium: Browser, people: Any) -> None:
    page = chromium.new_page()
    page.goto(people.address)
    expect(page).to_have_url(f"{people.address}/login")
    shoot(page, "login")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("not her password")
    page.keyboard.press("Enter")
    expect(page.locator("#problem")).to_have_text("The name or the password is wrong.")
    shoot(page, "login refused")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{people.address}/")
    expect(page.locator("#account")).to_have_text("anna")
    page.locator("#account").click()
    shoot(page, "account")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{people.address}/login")
    page.goto(people.address)
    expect(page).to_have_url(f"{people.address}/login")
    page.close()


def test_two_people_get_different_photos_and_cannot_overwrite_each_other(
    people: Any, log_in: Callable[[str], Page], run_command: Callable[..., Any]
) -> None:
    anna, ben = log_in("anna"), log_in("ben")
    first, second = file_name(anna), file_name(ben)
    assert first != second
    anna.keyboard.press("1")
    expect(anna.locator(".row.kept")).to_have_count(1)
    tag = anna.locator(".row.kept .tag").inner_text()
    # Ben opens Anna's photo: he sees that she has it open, and cannot overwrite her list.
    ben.keyboard.press("ArrowLeft")
    expect(ben.locator(".file-name")).to_have_text(first)
    expect(ben.locator("#banner")).to_contain_text("anna has this photo open")
    shoot(ben, "held by anna")
    ben.keyboard.press("2")
    ben.keyboard.press("Enter")
    expect(ben.locator("#banner")).to_contain_text("anna has this photo open")
    anna.keyboard.press("Enter")
    expect(anna.locator(".file-name")).not_to_have_text(first)
    lines = run_command("export", people.project, check=True).stdout.splitlines()
    assert len(lines) == 1
    assert f'"{tag}"' in lines[0]
    assert '"user": "anna"' in lines[0]


def test_a_viewer_can_change_nothing(log_in: Callable[[str], Page]) -> None:
    page = log_in("vera")
    expect(page.locator("#banner")).to_contain_text("not change it")
    shoot(page, "viewer")
    name = file_name(page)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("#banner")).to_contain_text("role")
    expect(page.locator(".file-name")).to_have_text(name)


def test_an_admin_assigns_selected_photos_and_takes_that_back(log_in: Callable[[str], Page], people: Any) -> None:
    page = log_in("root")
    page.keyboard.press("Control+b")
    page.locator("#browse-search").fill("cats")
    expect(page.locator("#browse-total")).to_have_text("2 photos")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Control+a")
    page.locator("#bulk-assign").click()
    expect(page.locator("#bulk-person option")).to_have_text(["anna", "ben", "root", "Everybody"])
    page.locator("#bulk-person").select_option("anna")
    expect(page.locator("#bulk-note")).to_contain_text("Only anna is given these photos")
    page.locator("#bulk-apply").click()
    expect(page.locator("#status")).to_contain_text("2 photos assigned to anna.")
    page.locator("#bulk-assign").click()
    page.locator("#bulk-person").select_option("ben")
    page.locator("#bulk-apply").click()
    expect(page.locator("#status")).to_contain_text("2 photos assigned to ben.")
    page.locator("#toast-undo").click()
    expect(page.locator("#status")).to_contain_text("Taken back on 2 photos.")
    page.locator("#bulk-put-off").click()
    expect(page.locator("#status")).to_contain_text("No photo was put off. 2 photos stay")  # they are anna's again
