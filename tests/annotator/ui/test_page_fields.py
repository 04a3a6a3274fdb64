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


def test_order_rules_are_written_previewed_applied_and_undone_in_the_page(serve: Factory, open_page: Factory) -> None:
    server = serve()
    lists = {"coffee.png": ["cup", "table", "ohwx"], "chelsea.png": ["cat", "animal"], "rocket.jpg": ["sky", "rocket"]}
    for name, tags in lists.items():
        server.rest("save", image_id=server.image_id(name), revision=0, kept=tags, dropped=[])
    page = open_page(server)
    page.choose("#open-order")
    expect(page.at("#order-pinned")).to_be_focused()
    expect(page.at("#order-note")).to_contain_text("No rule is written")
    expect(page.at("#order-apply")).to_be_disabled()
    page.type("ohwx")
    page.at("#order-classes").fill("animal\n*")
    page.at("#order-before").fill("sky")
    expect(page.at("#order-dialog [role=alert]")).to_have_text("\u201csky\u201d is no pair of two tags.")
    page.at("#order-before").fill("rocket, sky\nsky, rocket")
    expect(page.at("#order-dialog [role=alert]")).to_contain_text("contradict")
    page.at("#order-before").fill("rocket, sky")
    expect(page.at("#order-note")).to_have_text("3 of 3 photos change.")
    expect(page.at("#order-rows li").first).to_contain_text("cat, animal")
    assert server.saved() == lists
    page.at("#order-apply").press("Enter")
    page.see_status("Order rules applied to 3 photos.")
    changed = {
        "coffee.png": ["ohwx", "cup", "table"],
        "chelsea.png": ["animal", "cat"],
        "rocket.jpg": ["rocket", "sky"],
    }
    assert server.saved() == changed
    assert server.rest("order_rules") == {"order_rules": {}}
    page.at("#order-always").check()
    expect(page.at("#order-note")).to_have_text("Lists are saved in this order from now on.")
    assert server.rest("order_rules")["order_rules"]["pinned"] == ["ohwx"]
    page.press("Escape")
    page.at("#status button").click()
    page.see_status("Taken back on 3 photos.")
    assert server.saved() == lists
    page.choose("#open-order")
    expect(page.at("#order-pinned")).to_have_value("ohwx")
    expect(page.at("#order-classes")).to_have_value("animal\n*")
    expect(page.at("#order-always")).to_be_checked()
    page.at("#order-always").uncheck()
    expect(page.at("#order-note")).to_have_text("Lists are saved as people put them.")
    assert server.rest("order_rules") == {"order_rules": {}}
    page.press("Escape", "Control+b")
    page.at('.cell[title="coffee.png"]').click(modifiers=["ControlOrMeta"])
    page.at("#bulk-order").click()
    expect(page.at("#order-photos")).to_have_value("picked")
    page.at("#order-pinned").fill("ohwx")
    expect(page.at("#order-note")).to_have_text("1 of 1 photo changes.")
    page.at("#order-apply").click()
    page.see_status("Order rules applied to 1 photo.")
    assert server.saved() == {**lists, "coffee.png": ["ohwx", "cup", "table"]}
