"""The first steps of a person who has never seen the page, in Chromium."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

Factory = Callable[..., Any]


def steps(page: Any) -> list[str]:
    page.settle()
    return [str(name) for name in page.at(".first-keys li").evaluate_all("rows => rows.map((row) => row.dataset.step)")]


def test_a_hint_goes_once_its_key_was_pressed_and_that_is_remembered(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server, is_new=True)
    expect(page.at("#first-steps .first-facts li")).to_have_count(3)
    expect(page.at("#first-steps")).to_contain_text("Photos are only read, never changed.")
    expect(page.at("#strip")).to_be_hidden()
    expect(page.at("#add-input")).to_be_focused()
    assert steps(page) == ["take", "save"]
    page.at(".row.proposed").first.click()  # by mouse, which is not the key
    assert steps(page) == ["take", "save"]
    page.press("2")
    assert steps(page) == ["save"]
    page.press("Enter")
    page.see_status("Saved")
    assert steps(page) == ["type", "move_up"]
    expect(page.at("#first-steps .first-facts")).to_be_hidden()
    page.type("zebra")
    page.press("Shift+Enter")
    page.reload()
    assert steps(page) == ["move_up"]
    page.press("Alt+ArrowUp")
    assert steps(page) == ["undo", "palette"]
    page.press("Control+z", "Control+k")
    expect(page.at("#palette")).to_be_visible()
    page.press("Escape")
    expect(page.at("#first-steps")).to_contain_text("These are the keys you need.")
    page.press("ArrowRight")
    expect(page.at("#first-steps")).to_be_hidden()
    expect(page.at("#strip")).to_be_visible()
    page.reload()
    expect(page.at("#first-steps")).to_be_hidden()


def test_first_steps_are_skipped_and_found_again_for_the_keys_of_the_project(
    serve: Factory, open_page: Factory
) -> None:
    server = serve()
    keys = server.rest("state")["keys"]
    server.rest("set_keys", keys={**keys, "save": ["Ctrl+Enter"], "accept": ["F1"]})
    page = open_page(server, is_new=True)
    expect(page.at('[data-step="save"] kbd')).to_have_text(["Ctrl", "Enter"])
    page.at("#skip-steps").focus()
    page.press("Enter")
    page.see_status("The menu has the first steps")
    expect(page.at("#first-steps")).to_be_hidden()
    other = open_page(server, beside=page)  # another tab of the same browser
    expect(other.at("#first-steps")).to_be_hidden()
    other.press("Control+k")
    other.type("tutorial")
    other.press("Enter")
    expect(other.at("#first-steps")).to_be_visible()
    expect(other.at("#skip-steps")).to_be_focused()


def test_by_touch_the_first_steps_name_no_keys(serve: Factory, open_page: Factory) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = open_page(serve(), is_new=True, **phone)
    expect(page.at(".first-keys kbd")).to_have_count(0)
    page.at(".row.proposed").first.tap()
    assert steps(page) == ["save"]
    page.at("#action-save").tap()
    assert steps(page) == ["type", "move_up"]
