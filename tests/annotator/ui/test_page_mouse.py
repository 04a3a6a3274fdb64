"""The page in Chromium by mouse, and by touch on a phone: all of tagging without a keyboard."""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

Factory = Callable[..., Any]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def drag(page: Any, source: str, y: float) -> None:
    """Press on an element's first cell, move to a height of the window in steps, and release."""
    box = page.at(source).bounding_box()
    x = box["x"] + 20
    page.page.mouse.move(x, box["y"] + box["height"] / 2)
    page.page.mouse.down()
    page.page.mouse.move(x, (box["y"] + y) / 2, steps=4)
    page.page.mouse.move(x, y, steps=4)
    page.page.mouse.up()
    page.settle()


def top(page: Any, selector: str) -> float:
    y: float = page.at(selector).bounding_box()["y"]
    return y


def bottom(page: Any, selector: str) -> float:
    box = page.at(selector).bounding_box()
    height: float = box["y"] + box["height"]
    return height


def test_the_whole_job_is_done_by_mouse_alone(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    expected = {}
    page.at("#open-browse").click()
    page.at('.cell[title="chelsea.png"]').click()
    page.see_photo("chelsea.png")

    # A click takes a proposal; a drag takes one to a place of its own.
    first = page.proposed()[0]
    page.at("#row-proposed-1 .tag").click()
    page.see_kept(first)
    second = page.proposed()[1]
    drag(page, "#row-proposed-2", top(page, "#row-kept-1"))
    page.see_kept(second, first)
    # The cut line, dragged over one more row, keeps it, and dragged back, gives it back.
    third = page.proposed()[0]
    drag(page, "#cut-line", bottom(page, "#row-proposed-1"))
    page.see_kept(second, first, third)
    drag(page, "#cut-line", top(page, "#row-kept-3"))
    page.see_kept(second, first)
    # A kept row changes its place; the cross drops it.
    drag(page, "#row-kept-2", top(page, "#row-kept-1"))
    page.see_kept(first, second)
    page.at("#row-kept-2").hover()
    page.at("#row-kept-2 .drop").click()
    page.see_kept(first)
    assert second in page.proposed()  # it is a suggestion again
    page.at("#action-undo").click()
    page.see_kept(first, second)
    drag(page, "#row-kept-1", bottom(page, "#row-proposed-1"))
    page.see_kept(second)
    assert first in page.proposed()
    page.at(f'.row.proposed[data-tag="{first}"] .tag').click()
    page.see_kept(second, first)
    page.at("#action-save").click()
    expected["chelsea.png"] = [second, first]
    page.see_photo("china.jpg")
    page.see_tagged(1)

    # A similar photo's tag is taken with a click.
    page.at("#action-next").click()
    page.see_photo("coffee.png")
    page.at("#action-previous").click()
    page.see_photo("china.jpg")
    page.at("#action-skip").click()
    page.see_photo("coffee.png")
    page.at("#alike-open").click()  # the drawer stays open from photo to photo
    page.at("#open-browse").click()
    page.at('.cell[title="cats/eyes.jpg"]').click()
    page.see_photo("cats/eyes.jpg")
    look_alike = page.at(".neighbour", has_text=re.compile(re.escape(second))).first
    expect(look_alike.locator("img")).to_have_attribute("title", "chelsea.png")
    look_alike.get_by_role("button", name=second, exact=True).click()
    page.see_kept(second)
    expect(page.at(".take.shared")).to_have_text([second])
    page.at("#action-save").click()
    expected["cats/eyes.jpg"] = [second]
    page.see_tagged(2)
    assert server.saved() == expected
    event = server.history("cats/eyes.jpg")[-1]
    assert event["num_keys"] == 0
    assert event["num_clicks"] == 2
    assert [action[:2] for action in event["actions"]] == [["take_neighbour", second]]

    # Undo takes back the save, and the strip opens any photo.
    page.at("#action-undo").click()
    page.see_photo("cats/eyes.jpg")
    page.see_tagged(1)
    assert server.saved() == {"chelsea.png": expected["chelsea.png"]}
    expect(page.at("#strip")).to_be_hidden()
    page.at("#alike-open").click()
    page.at(f'.strip-photo[data-image-id="{server.image_id("cats/ear.jpg")}"]').click()
    page.see_photo("cats/ear.jpg")


def test_a_cancelled_drag_changes_nothing(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve())
    page.go_to("chelsea.png")
    page.press("Shift+Digit2")
    kept = page.kept()
    box = page.at("#row-kept-1").bounding_box()
    page.page.mouse.move(box["x"] + 20, box["y"] + 10)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 20, box["y"] + 90, steps=5)
    expect(page.at("#tag-list")).to_have_class(re.compile("dragging"))
    page.press("Escape")
    expect(page.at("#tag-list")).not_to_have_class(re.compile("dragging"))
    page.page.mouse.up()
    assert page.kept() == kept


def test_photos_that_share_words_are_neighbours_by_metadata(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve())
    page.go_to("garden/close.jpg")
    page.type("dahlia")
    page.press("Shift+Enter", "Enter")
    page.see_photo("garden/petals.jpg")
    page.at("#alike-open").click()
    page.at("#tab-metadata").click()
    neighbour = page.at('.neighbour:has(img[title="garden/close.jpg"])')
    expect(neighbour).to_contain_text("shares: garden")
    neighbour.get_by_role("button", name="dahlia").click()
    page.see_kept("dahlia")


def test_the_photo_is_zoomed_by_click_and_wheel_and_panned_by_dragging(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve())
    page.at("#photo").click(position={"x": 200, "y": 200})
    expect(page.at("#photo")).to_have_class(re.compile("zoomed"))
    before = page.at("#photo-image").evaluate("image => image.style.transform")
    box = page.at("#photo").bounding_box()
    page.page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 120, box["y"] + 150, steps=4)
    page.page.mouse.up()
    assert page.at("#photo-image").evaluate("image => image.style.transform") != before
    page.at("#photo").click(position={"x": 200, "y": 200})
    expect(page.at("#photo")).not_to_have_class(re.compile("zoomed"))
    page.page.mouse.wheel(0, -300)
    expect(page.at("#photo")).to_have_class(re.compile("zoomed"))


def test_the_choice_of_the_tagger_opens_and_keeps_its_keys(serve: Factory, open_page: Factory, until: Factory) -> None:
    server = serve()
    page = open_page(server)
    choices = server.rest("state")["taggers"]
    page.at("#menu").click()
    page.at("#tagger").click()
    expect(page.at("#tagger")).to_be_focused()
    expect(page.at("#tagger option")).to_have_text([choice["label"] for choice in choices])
    page.press("1", "Delete")
    assert page.kept() == []
    page.press("End", "Enter")
    expect(page.at("#tagger")).to_have_value(choices[-1]["name"])
    until(lambda: server.rest("state")["tagger"], lambda name: name == choices[-1]["name"])
    expect(page.at("#add-input")).to_be_focused()


def test_the_results_are_downloaded_from_the_menu(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve())
    page.press("1")
    tag = page.kept()[0]
    page.press("Enter")
    page.see_tagged(1)
    page.at("#menu").click()
    with page.page.expect_download() as download:
        page.at("#export-csv").click()
    assert download.value.suggested_filename == "tags.csv"
    rows = download.value.path().read_text().splitlines()
    assert rows[1].startswith(f"astronaut.png,{tag},")
    expect(page.at("#export-jsonl")).to_be_hidden()


def test_the_whole_job_is_done_by_touch_on_a_phone(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server, **PHONE)
    page.at("#open-browse").tap()
    page.at('.cell[title="chelsea.png"]').tap()
    page.see_photo("chelsea.png")
    # The screen keyboard opens only when the add box is touched.
    assert page.page.evaluate("() => document.activeElement.id") != "add-input"
    first = page.proposed()[0]
    page.at("#row-proposed-1 .tag").tap()
    page.see_kept(first)
    second = page.proposed()[0]
    page.at("#row-proposed-1 .tag").tap()
    page.see_kept(first, second)
    page.at("#row-kept-1 .drop").tap()
    page.see_kept(second)
    page.at("#add-input").tap()
    page.type("whis")
    page.at("#completions li", has_text="as typed").tap()
    page.see_kept(second, "whis")
    page.at("#row-kept-2 .drop").tap()
    page.at("#add-input").tap()
    page.type("whis")
    page.at("#completions li").first.tap()
    kept = page.kept()
    assert kept[0] == second
    assert kept[1].startswith("whisk")
    page.at("#action-save").tap()
    page.see_photo("china.jpg")
    # The next photo's list starts at its top, wherever the last one was scrolled to.
    expect(page.at("#add-input")).to_be_in_viewport(ratio=1)
    expect(page.at("#row-proposed-1")).to_be_in_viewport()
    page.see_tagged(1)
    page.at("#action-undo").tap()
    page.see_photo("chelsea.png")
    page.see_kept(*kept)
    page.at("#action-save").tap()
    page.see_tagged(1)
    assert server.saved() == {"chelsea.png": kept}


def test_a_finger_drags_a_tag_by_its_number_and_scrolls_the_list_elsewhere(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve(), **PHONE)
    page.at("#open-browse").tap()
    page.at('.cell[title="coffee.png"]').tap()
    page.see_photo("coffee.png")
    first = page.proposed()[0]
    page.at("#row-proposed-1 .tag").tap()
    page.see_kept(first)
    second = page.proposed()[0]
    page.at("#row-proposed-1 .tag").tap()
    page.see_kept(first, second)
    finger = page.page.context.new_cdp_session(page.page)

    def swipe(selector: str, to: str) -> None:
        start, end = page.at(selector).bounding_box(), page.at(to).bounding_box()
        x, y = start["x"] + start["width"] / 2, start["y"] + start["height"] / 2
        finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for step in range(1, 9):
            point = {"x": x, "y": y + (end["y"] + end["height"] + 4 - y) * step / 8}
            finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    swipe("#row-kept-1 .number", "#row-kept-2")
    page.see_kept(second, first)
    page.at("#row-kept-1").scroll_into_view_if_needed()
    swipe("#row-kept-1 .tag", "#row-kept-2")
    assert page.kept() == [second, first]
