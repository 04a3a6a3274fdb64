"""The tagging view in Chromium: its layout at several sizes, the drawer, kept tags, hints, motion, notes, swipes."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from annotator.storage.project import Project

Factory = Callable[..., Any]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
SIDEWAYS = {**PHONE, "viewport": {"width": 844, "height": 390}}
# A window of 1280 x 720 pixels, as it is and at 200% zoom; and a phone.
VIEWS: dict[str, dict[str, Any]] = {
    "laptop": {"viewport": {"width": 1280, "height": 720}},
    "zoomed": {"viewport": {"width": 640, "height": 360}, "device_scale_factor": 2},
    "phone": PHONE,
    "sideways": SIDEWAYS,
}
# The part of an element that is seen: inside of the window and of every ancestor that cuts off.
SEEN = """
(element) => {
  const box = element.getBoundingClientRect();
  let [left, top, right, bottom] = [0, 0, innerWidth, innerHeight];
  const isFixed = (at) => getComputedStyle(at).position === "fixed"; // nothing around it cuts it off
  for (let at = element; !isFixed(at); ) {
    at = at.parentElement;
    if (getComputedStyle(at).overflowY === "visible") continue;
    const frame = at.getBoundingClientRect();
    [left, top] = [Math.max(left, frame.left), Math.max(top, frame.top)];
    [right, bottom] = [Math.min(right, frame.right), Math.min(bottom, frame.bottom)];
  }
  const width = Math.max(0, Math.min(box.right, right) - Math.max(box.left, left));
  const height = Math.max(0, Math.min(box.bottom, bottom) - Math.max(box.top, top));
  return (width * height) / (box.width * box.height);
}
"""
PHOTO_HEIGHT = """
() => {
  const [frame, photo] = [document.querySelector("#photo"), document.querySelector("#photo-image")];
  return Math.min(frame.clientHeight, (frame.clientWidth * photo.naturalHeight) / photo.naturalWidth);
}
"""


@pytest.fixture
def long_lists(serve: Factory, read_project: Path, tmp_path: Path) -> Any:
    """A served project that proposes nine tags and more for every photo."""
    folder = tmp_path / "long lists"
    shutil.copytree(read_project, folder)
    Project.open(folder).update_settings(least_probability=0.0)
    return serve(project=folder)


def seen(page: Any, selector: str) -> float:
    share: float = page.at(selector).first.evaluate(SEEN)
    return share


@pytest.mark.parametrize("view", VIEWS)
def test_nine_suggestions_and_the_photo_are_seen_at_once(long_lists: Any, open_page: Factory, view: str) -> None:
    page = open_page(long_lists, **VIEWS[view])
    page.at(".row.proposed").first.click()
    page.settle()
    page.pause()
    rows = page.at(".row.proposed").all()
    assert len(rows) >= 9
    assert [round(row.evaluate(SEEN), 2) for row in rows[:9]] == [1.0] * 9
    window = VIEWS[view]["viewport"]["height"]
    if view in ("laptop", "zoomed"):
        # Square photos fill less of a window that is wide: what counts is the height that a photo may have.
        assert page.at("#photo").evaluate("frame => frame.clientHeight") >= window / 2
        page.go_to("china.jpg")  # three to two
        assert page.page.evaluate(PHOTO_HEIGHT) >= window / 2
    for selector in ("#row-kept-1", "#add-input", "#action-save", "#action-next", "#action-skip"):
        if page.at(selector).count():
            assert seen(page, selector) == pytest.approx(1, abs=0.01), selector
    wide = page.page.evaluate("() => document.documentElement.scrollWidth > innerWidth")
    assert not wide


def test_the_photo_has_two_thirds_and_the_column_is_read_downwards(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve(), viewport={"width": 1440, "height": 900})
    page.press("1")
    page.settle()
    stage = page.at("#photo-card").bounding_box()
    assert stage["width"] == pytest.approx(0.65 * 1440, abs=2)
    heights = [
        page.at(name).bounding_box()["y"] for name in ("#kept-list", "#suggested-list", "#add-input", "#actions")
    ]
    assert heights == sorted(heights)
    expect(page.at("#drawer")).to_be_hidden()
    expect(page.at("#action-save")).to_contain_text("Save 1 tag")


@pytest.mark.parametrize("view", ["laptop", "phone"])
def test_history_reasons_and_look_alikes_are_in_one_drawer_and_none_is_cut_off(
    serve: Factory, open_page: Factory, view: str
) -> None:
    page = open_page(serve(), **VIEWS[view])
    if view == "phone":
        page.at("#open-details").tap()
    panels = {"#open-timeline": "#timeline", "#alike-open": "#neighbours", "#why-open": "#why"}
    for button, panel in panels.items():
        if page.at(button).get_attribute("aria-expanded") == "false":
            page.at(button).click()
        page.settle()
        assert seen(page, button) == 1, button
        assert seen(page, panel) == pytest.approx(1, abs=0.01), panel
        assert [other for other in panels.values() if page.at(other).is_visible()] == [panel]
    # The reason, and what can be done about it, are wholly there or can be scrolled to.
    for selector in ("#why-text", "#show-on-photo", "#never"):
        page.at(selector).scroll_into_view_if_needed()
        assert seen(page, selector) == pytest.approx(1, abs=0.01), selector
    expect(page.at("#menu")).not_to_contain_text("Time line")
    page.at("#why-open").click()
    expect(page.at("#drawer")).to_be_hidden()


def test_a_click_on_a_kept_tag_selects_it_and_shows_what_can_be_done(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve())
    page.press("Shift+Digit2")
    first, second = page.kept()
    expect(page.at("#key-hints")).to_have_attribute("data-context", "rest")
    page.at("#row-kept-1 .tag").click()
    assert page.selected() == first
    expect(page.at("#key-hints")).to_have_attribute("data-context", "kept")
    page.at('#key-hints [data-action="move_down"]').click()
    page.see_kept(second, first)
    page.at('#key-hints [data-action="move_up"]').click()
    page.see_kept(first, second)
    page.at('#key-hints [data-action="unkeep"]').click()
    page.see_kept(second)
    assert first in page.proposed()
    page.press("ArrowUp", "Escape")
    expect(page.at("#key-hints")).to_have_attribute("data-context", "rest")
    page.type("so")
    expect(page.at("#key-hints")).to_have_attribute("data-context", "typing")
    page.press("Escape")
    expect(page.at("#key-hints")).to_have_attribute("data-context", "rest")


def test_the_cross_does_nothing_but_give_a_kept_tag_back(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve())
    before = page.numbers()
    page.press("2")
    page.see_kept(before[2])
    assert page.at(".row.proposed .drop").count() == 0
    page.at("#row-kept-1 .drop").click()
    expect(page.at(".row.kept")).to_have_count(0)
    assert before[2] in page.proposed()
    page.see_status(f"“{before[2]}” is no longer kept.")
    page.at("#toast-undo").click()
    page.see_kept(before[2])


def test_a_dragged_row_is_seen_whole_wherever_it_is(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve())
    page.press("Shift+Digit2")
    page.settle()
    kept = page.kept()
    start, end = page.at("#row-kept-1").bounding_box(), page.at("#add-input").bounding_box()
    page.page.mouse.move(start["x"] + 40, start["y"] + 10)
    page.page.mouse.down()
    for y in (start["y"] + 60, end["y"] - 40, end["y"] + 10):
        page.page.mouse.move(start["x"] + 60, y, steps=3)
        assert seen(page, ".floating-row.dragged") == pytest.approx(1, abs=0.01), y
        assert page.at(".floating-row.dragged").text_content() == f"1{kept[0]}"
    page.press("Escape")
    expect(page.at(".floating-row")).to_have_count(0)
    page.page.mouse.up()
    assert page.kept() == kept


def test_a_save_says_what_was_saved_and_can_be_taken_back_there(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    first = page.proposed()[0]
    name = str(page.at("#file-name").text_content())
    page.press("1", "Enter")
    page.see_status(f"Saved {first}.")
    page.type("not saved yet")  # an edit of the next photo does not stand in the way
    page.press("Shift+Enter")
    page.at("#toast-undo").click()  # within the eight seconds for which it is there
    page.see_photo(name)
    page.see_kept(first)
    page.see_tagged(0)
    assert server.saved() == {}


RUNNING = """() => {
  window.seen_ = [];
  const plain = Element.prototype.animate;
  Element.prototype.animate = function (...parameters) {
    window.seen_.push([this.className, parameters[1].duration]);
    return plain.apply(this, parameters);
  };
}"""


def test_a_short_movement_shows_where_a_tag_went(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve())
    page.page.evaluate(RUNNING)
    page.press("2")
    page.settle()
    moved = page.page.evaluate("() => window.seen_")
    assert ["floating-row", 120] in moved  # from the suggestions to the kept tags
    assert {duration for _, duration in moved} == {120}
    expect(page.at(".floating-row")).to_have_count(0)
    page.press("ArrowRight")
    page.see_photo("chelsea.png")
    num_moved = len(moved)
    assert len(page.page.evaluate("() => window.seen_")) == num_moved  # nothing moves when a photo is opened


def test_nothing_moves_where_less_motion_is_wanted(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve(), reduced_motion="reduce")
    page.page.evaluate(RUNNING)
    page.press("2", "F9")
    page.settle()
    assert page.page.evaluate("() => [window.seen_.length, document.getAnimations().length]") == [0, 0]


def test_a_swipe_opens_the_next_and_the_previous_photo_and_a_short_or_steep_one_does_not(
    serve: Factory, open_page: Factory
) -> None:
    page = open_page(serve(), **PHONE)
    page.see_photo("astronaut.png")
    finger = page.page.context.new_cdp_session(page.page)

    def swipe(across: int, down: int = 0) -> None:
        box = page.at("#photo").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for number in range(9):
            point = {"x": x + across * number / 8, "y": y + down * number / 8}
            kind = "touchMove" if number else "touchStart"
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.settle()

    swipe(-140)
    page.see_photo("chelsea.png")
    swipe(-30)
    page.see_photo("chelsea.png")
    swipe(-80, 120)
    page.see_photo("chelsea.png")
    swipe(140)
    page.see_photo("astronaut.png")
    assert page.at("#photo-image").evaluate("image => image.style.transform") == ""


def test_with_the_screen_keyboard_open_photo_kept_tags_and_completions_remain(
    serve: Factory, open_page: Factory
) -> None:
    page = open_page(serve(), **PHONE)
    page.at(".row.proposed").first.tap()
    page.settle()
    page.at("#add-input").tap()
    page.page.set_viewport_size({"width": 390, "height": 553})  # what a screen keyboard leaves
    expect(page.at("#annotator")).to_have_class(re.compile("keyboard-open"))
    page.type("s")
    for selector in ("#row-kept-1", "#completion-1", "#add-input"):
        expect(page.at(selector)).to_be_in_viewport(ratio=1)
    assert page.at("#photo").bounding_box()["height"] >= 72
    expect(page.at("#action-save")).to_be_hidden()
    page.page.set_viewport_size({"width": 390, "height": 844})
    expect(page.at("#annotator")).not_to_have_class(re.compile("keyboard-open"))
    expect(page.at("#action-save")).to_be_visible()


def test_every_action_is_found_by_its_name_with_its_key(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    keys = server.rest("state")["keys"]
    page.press("Control+k")
    expect(page.at("#palette-input")).to_be_focused()
    items = page.at("#palette-list [role=option]")
    listed = dict(items.evaluate_all("all => all.map((one) => [one.dataset.command, one.innerText])"))
    assert set(keys) - set(listed) == {"palette"}
    for action in set(keys) - {"palette"}:
        assert len(listed[action].strip().splitlines()) > 1, action  # its name and its key
    for name, command in {
        "put off": "skip",
        "look-alikes": "neighbours",
        "effort": "open-effort",
        "csv": "export-csv",
    }.items():
        page.at("#palette-input").fill(name)
        expect(items.first).to_have_attribute("data-command", command)
    page.at("#palette-input").fill("nothing of the kind")
    expect(items).to_have_count(0)
    expect(page.at("#palette .palette-note")).to_have_text("Nothing is called that.")
    page.at("#palette-input").fill("history")
    page.press("Enter")
    expect(page.at("#palette")).to_have_count(0)
    expect(page.at("#timeline")).to_be_visible()
    # Letters and digits in it are text: nothing is done to the photo.
    page.press("Escape", "Control+k")
    page.type("1 2")
    page.press("Escape")
    assert page.kept() == []
    page.at("#open-palette").click()
    page.at('#palette-list [data-command="help"]').click()
    expect(page.at("#keys")).to_be_visible()
