"""Fields beside the tags and order rules in the page, in Chromium."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

Factory = Callable[..., Any]


def test_fields_are_filled_by_keyboard_from_what_the_first_tags_propose(serve: Factory, open_page: Factory) -> None:
    server = serve(None, "--field", "title", "--field", "category:Drinks|Space")
    page = open_page(server)
    page.go_to("coffee.png")
    page.type("drinks")
    page.press("Shift+Enter")
    page.see_kept("drinks")
    expect(page.at("#field-title")).to_have_attribute("placeholder", "Drinks")
    page.press("F10")
    expect(page.at("#field-title")).to_be_focused()
    page.type("My 1 cup?")
    page.press("Enter")
    expect(page.at("#field-category")).to_be_focused()
    expect(page.at("#field-category option").first).to_have_text("Drinks?")
    page.press("Enter")
    expect(page.at("#add-input")).to_be_focused()
    page.see_status("The category is \u201cDrinks\u201d.")
    page.see_kept("drinks")
    page.reload()
    page.go_to("coffee.png")
    expect(page.at("#field-title")).to_have_value("My 1 cup?")
    expect(page.at("#field-category")).to_have_value("Drinks")


def test_the_list_is_shown_as_order_rules_save_it(serve: Factory, open_page: Factory) -> None:
    server = serve()
    server.rest("set_order_rules", pinned=["ohwx"], most=2)
    page = open_page(server)
    page.go_to("coffee.png")
    for tag in ("cup", "table", "ohwx"):
        page.type(tag)
        page.press("Shift+Enter")
    expect(page.at("#saved-as")).to_have_text("Order rules save it as: ohwx, cup (1 tag fewer)")
    expect(page.at("#why-text")).to_contain_text("Order rule of the project: pinned.")
    page.press("Enter")
    page.see_tagged(1)
    assert server.saved()["coffee.png"] == ["ohwx", "cup"]
    (event,) = server.history("coffee.png")
    assert event["kind"] == "save"
