"""The library: facets, the search in the address bar, and changes of many photos, in Chromium."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

Factory = Callable[..., Any]


@pytest.fixture
def library(serve: Factory, open_page: Factory) -> Callable[..., Any]:
    """The library of a project with saved photos."""

    def open_(**options: Any) -> Any:
        server = serve()
        for name, tags in {
            "cats/ear.jpg": ["cat", "ear"], "cats/eyes.jpg": ["eye", "cat"], "coffee.png": ["cup", "red car"],
        }.items():  # fmt: skip
            server.rest("save", image_id=server.image_id(name), revision=0, kept=tags)
        page = open_page(server, **options)
        page.server = server
        page.press("Control+b")
        page.settle()
        return page

    return open_


def names(page: Any) -> list[str]:
    page.settle()
    return sorted(page.at(".cell").evaluate_all("cells => cells.map((cell) => cell.title)"))


def test_facets_narrow_the_photos_and_the_address_keeps_the_search(library: Factory) -> None:
    page = library()
    expect(page.at("#browse-total")).to_have_text("12 photos")
    cat = page.at('#facet-tags .facet[title="cat"]')
    expect(cat).to_contain_text("2")
    cat.click()
    expect(page.at("#browse-total")).to_have_text("2 photos")
    expect(page.at("#browse-search")).to_have_value("tag:cat")
    expect(page.at('#facet-tags .facet[title="cat"]')).to_have_attribute("aria-pressed", "true")
    expect(page.page).to_have_url(re.compile(r"#library\?query=tag%3Acat$"))
    page.at('#facet-tags .facet-not[title="Without ear"]').click()
    expect(page.at("#browse-total")).to_have_text("1 photo")
    assert names(page) == ["cats/eyes.jpg"]
    page.page.go_back()
    expect(page.at("#browse-total")).to_have_text("2 photos")
    page.reload()
    expect(page.at("#browse-total")).to_have_text("2 photos")
    expect(page.at("#browse-search")).to_have_value("tag:cat")
    page.at("#browse-search").fill('"red car" OR first:cat')
    expect(page.at('.cell[title="coffee.png"]')).to_have_count(1)
    assert names(page) == ["cats/ear.jpg", "coffee.png"]
    page.at("#browse-search").fill("")
    page.at('#facet-folders .facet[title="cats"]').click()
    expect(page.at("#browse-search")).to_have_value("folder:cats")
    page.at("#browse-sort").select_option("name")
    expect(page.page).to_have_url(re.compile("sort=name"))
    page.press("Escape", "Escape", "Escape")
    expect(page.at("#browse")).to_be_hidden()
    expect(page.page).not_to_have_url(re.compile("#library"))
    page.page.go_back()
    expect(page.at("#browse")).to_be_visible()


def test_a_search_is_kept_and_found_again(library: Factory) -> None:
    page = library()
    page.at("#browse-search").fill("-tag:cat")
    expect(page.at("#browse-total")).to_have_text("10 photos")
    page.at(".search-menu summary").click()
    page.at("#search-name").fill("No cats")
    page.press("Enter")
    kept = page.at("#saved-searches .facet")
    expect(kept).to_have_text("No cats")
    page.at("#browse-search").fill("")
    expect(page.at("#browse-total")).to_have_text("12 photos")
    page.reload()
    kept.click()
    expect(page.at("#browse-total")).to_have_text("10 photos")
    page.page.get_by_role("button", name="Forget the search No cats").click()
    expect(kept).to_have_count(0)


def test_many_photos_are_changed_by_keyboard_and_taken_back(library: Factory) -> None:
    page = library()
    page.at("#browse-search").fill("tag:cat")
    expect(page.at("#browse-total")).to_have_text("2 photos")
    page.press("ArrowDown", "Control+a")
    expect(page.at("#bulk-count")).to_have_text("2 selected")
    page.press("Space")
    expect(page.at("#bulk-count")).to_have_text("1 selected")
    page.press("Space")
    page.at("#bulk-add").focus()
    page.press("Enter")
    expect(page.at("#bulk-tag")).to_be_focused()
    page.type("pet, CAT")
    expect(page.at("#bulk-note")).to_have_text("2 tagged photos change.")
    expect(page.at(".bulk-rows li").first).to_contain_text("pet")
    expect(page.at("#bulk-apply")).to_have_text("Add on 2 photos")
    page.press("Enter")
    page.see_status("added to 2 photos")
    assert page.server.saved()["cats/ear.jpg"] == ["cat", "ear", "pet"]
    expect(page.at('#facet-tags .facet[title="pet"]')).to_contain_text("2")
    page.at("#toast-undo").click()
    page.see_status("Taken back on 2 photos")
    assert page.server.saved()["cats/ear.jpg"] == ["cat", "ear"]
    expect(page.at('#facet-tags .facet[title="pet"]')).to_have_count(0)
    page.press("Escape")


def test_a_tag_is_replaced_and_photos_that_are_not_tagged_are_started(library: Factory) -> None:
    page = library()
    page.at('.cell[title="coffee.png"]').hover()
    expect(page.at('.cell[title="coffee.png"] .pick')).to_be_visible()
    page.at('.cell[title="coffee.png"]').click(modifiers=["ControlOrMeta"])
    page.at('.cell[title="rocket.jpg"]').click(modifiers=["ControlOrMeta"])
    page.at("#bulk-replace").click()
    page.at("#bulk-tag").fill("cup")
    page.at("#bulk-new").fill("mug")
    expect(page.at("#bulk-note")).to_have_text("1 tagged photo changes, 1 photo stays as it is.")
    page.at("#bulk-apply").click()
    page.see_status("replaced on 1 photo")
    page.at("#bulk-first").click()
    page.at("#bulk-tag").fill("drink")
    expect(page.at("#bulk-note")).to_have_text("1 tagged photo changes, 1 photo not tagged yet is started with it.")
    page.press("Enter")
    page.see_status("put first on 2 photos")
    assert page.server.saved()["coffee.png"] == ["drink", "mug", "red car"]
    assert "rocket.jpg" not in page.server.saved()
    page.at('.cell[title="rocket.jpg"]').click()
    page.see_photo("rocket.jpg")
    assert page.kept() == ["drink"]


def test_a_range_is_selected_and_exported(library: Factory) -> None:
    page = library()
    page.at("#browse-sort").select_option("name")
    page.at(".cell").nth(0).click(modifiers=["ControlOrMeta"])
    page.at(".cell").nth(3).click(modifiers=["Shift"])
    expect(page.at("#bulk-count")).to_have_text("4 selected")
    page.at("#bulk-export").click()
    expect(page.at("#export-photos option").first).to_have_text("The 4 selected photos")
    page.press("Escape")
    page.at("#bulk-clear").click()
    expect(page.at("#bulk")).to_be_hidden()


@pytest.mark.parametrize("width", [390, 640])
def test_on_small_screens_the_rail_is_behind_a_button(library: Factory, width: int) -> None:
    page = library(viewport={"width": width, "height": 844}, has_touch=True, is_mobile=True)
    if page.at("#browse").is_hidden():
        page.at("#open-browse").tap()
    expect(page.at("#rail")).to_be_hidden()
    page.at("#open-rail").tap()
    page.at('#facet-tags .facet[title="cat"]').tap()
    expect(page.at("#browse-total")).to_have_text("2 photos")
    page.at("#open-rail").tap()
    expect(page.at("#rail")).to_be_hidden()
    page.at(".cell .pick").first.tap()
    expect(page.at("#bulk-count")).to_have_text("1 selected")
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = page.at("#bulk button:visible").evaluate_all("all => all.map((e) => e.getBoundingClientRect().height)")
    assert min(boxes) >= 32


def test_photos_that_are_not_tagged_are_started_with_certain_suggestions(library: Factory) -> None:
    page = library()
    page.at('.tab[data-state="all"]').focus()
    page.at("#browse-grid").focus()
    page.press("Control+a")
    expect(page.at("#bulk-count")).to_have_text("12 selected")
    page.at("#bulk-suggest").click()
    page.at("#bulk-least").fill("10")
    page.press("Enter")
    expect(page.at("#bulk-note")).to_contain_text("tagged or started already")
    expect(page.at(".bulk-rows li").first).to_be_visible()
    text = page.at("#bulk-apply").inner_text()
    number = int(re.fullmatch(r"Start (\d+) photos", text)[1])
    page.press("Enter")
    page.see_status(f"{number} photos started with suggestions")
    assert page.server.rest("state")["states"]["draft"] == number
    page.at("#toast-undo").click()
    page.see_status(f"Taken back on {number} photos")
    assert page.server.rest("state")["states"]["draft"] == 0


def look_at_suggestions(page: Any) -> int:
    """Select all photos, and have the suggestions shown that would be saved at once; the number of lists."""
    page.server.rest("set_strategy", strategy="in_order", random_share=0.0, probe_share=0.0)
    page.at("#browse-grid").focus()
    page.press("Control+a")
    expect(page.at("#bulk-count")).to_have_text("12 selected")
    page.at("#bulk-suggest").click()
    page.at("#bulk-becomes").select_option("suggested")
    expect(page.at("#bulk-note")).to_contain_text("are saved with these tags at once")
    page.at("#bulk-least").fill("10")
    page.press("Enter")
    expect(page.at("#bulk-note")).to_contain_text("in the random sample, or nothing is that certain.")
    label = page.at("#bulk-apply")
    expect(label).to_have_text(re.compile(r"Save \d+ photo"))
    return int(re.search(r"\d+", label.inner_text())[0])  # type: ignore[index]


def test_certain_suggestions_are_saved_at_once_after_samples_and_that_is_taken_back(library: Factory) -> None:
    page = library()
    number = look_at_suggestions(page)
    samples = page.at(".bulk-sample")
    assert number >= samples.count() >= 2
    for sample in samples.all():
        expect(sample.locator("img")).to_have_js_property("complete", True)
        assert sample.locator("img").evaluate("(img) => img.naturalWidth") > 0
        assert sample.locator("span").first.inner_text()
    assert len(page.server.saved()) == 3  # so far nothing is written
    page.press("Enter")
    page.see_status(f"{number} photos saved with their suggestions.")
    expect(page.at("#bulk-panel")).to_be_hidden()
    assert len(page.server.saved()) == 3 + number
    page.at("#toast-undo").click()
    page.see_status(f"Taken back on {number} photos")
    assert len(page.server.saved()) == 3


def test_saving_suggestions_shows_progress_and_is_cancelled(library: Factory) -> None:
    page = library()
    number = look_at_suggestions(page)
    held: list[Any] = []

    def answer(route: Any) -> None:
        if asks_for(route.request, "transfer") or asks_for(route.request, "carry_out_import"):
            answered = route.fetch().json()
            # As of a change of many photos, which is in its second part until it is cancelled.
            state = {"state": "cancelled" if held else "running", "num_done": 1, "num_photos": number}
            route.fulfill(json=answered | state)
            return
        if asks_for(route.request, "cancel_transfer"):
            held.append(route.request.post_data_json["data"]["transfer_id"])
        route.continue_()

    page.page.route(re.compile("component_server"), answer)
    page.at("#bulk-apply").click()
    expect(page.at("#bulk-progress")).to_contain_text(f"Writing 1 of {number}")
    page.at("#bulk-least").fill("20")  # too late to plan anew
    expect(page.at("#bulk-progress")).to_be_visible()
    page.press("Escape")
    page.see_status(f"{number} photos saved before it stopped.")
    assert len(held) == 1
    expect(page.at("#bulk-progress")).to_be_hidden()
    page.at("#toast-undo").click()
    page.see_status(f"Taken back on {number} photos")
    assert len(page.server.saved()) == 3


def asks_for(request: Any, operation: str) -> bool:
    """Whether this is a call of the page to an operation."""
    return "component_server" in request.url and request.post_data_json.get("fn_name") == operation


def pet_in_small_parts(page: Any) -> None:
    """Prepare the change of two photos that is sent one photo at a time."""

    def in_small_parts(route: Any) -> None:
        text = route.fetch().text()
        assert "AT_ONCE = 5000" in text
        route.fulfill(body=text.replace("AT_ONCE = 5000", "AT_ONCE = 1"), content_type="text/javascript")

    page.page.route("**/bulk_bar.js*", in_small_parts)
    page.reload()
    page.at("#browse-search").fill("tag:cat")
    expect(page.at("#browse-total")).to_have_text("2 photos")
    page.press("ArrowDown", "Control+a")
    page.at("#bulk-add").click()
    page.at("#bulk-tag").fill("pet")
    expect(page.at("#bulk-apply")).to_have_text("Add on 2 photos")


def test_a_change_in_parts_is_cancelled_after_the_part_that_is_being_made(library: Factory) -> None:
    page = library()
    pet_in_small_parts(page)
    held: list[Any] = []

    def hold_first(route: Any) -> None:
        is_change = asks_for(route.request, "edit_tags") and not route.request.post_data_json["data"]["is_dry_run"]
        held.append(route) if is_change and not held else route.continue_()

    page.page.route(re.compile("component_server"), hold_first)
    with page.page.expect_request(lambda request: asks_for(request, "edit_tags")):
        page.press("Enter")
    page.press("Escape")
    expect(page.at("#bulk-panel")).to_be_visible()  # until the part has ended
    held[0].continue_()
    page.see_status("“pet” added to 1 photo before it stopped")
    expect(page.at("#bulk-panel")).to_be_hidden()
    assert sum("pet" in tags for tags in page.server.saved().values()) == 1
    page.at("#toast-undo").click()
    page.see_status("Taken back on 1 photo")


@pytest.mark.parametrize("stops", [False, True])
def test_a_change_in_parts_is_taken_back_by_one_undo(library: Factory, *, stops: bool) -> None:
    page = library()
    pet_in_small_parts(page)
    if stops:
        page.page.evaluate(
            "() => { const fetch = window.fetch; let num = 0; window.fetch = (url, options) => "
            "String(options?.body).includes('is_dry_run\":false') && (num += 1) === 2 "
            "? new Promise(() => {}) : fetch(url, options); }"
        )
    page.press("Enter")
    if not stops:
        page.see_status("added to 2 photos")
    else:
        page.see_status("added to 1 photo before it stopped")
    changed = [tags for tags in page.server.saved().values() if "pet" in tags]
    assert len(changed) == (1 if stops else 2)
    page.at("#toast-undo").click()
    page.see_status(f"Taken back on {'1 photo' if stops else '2 photos'}")
    assert [tags for tags in page.server.saved().values() if "pet" in tags] == []


def drag(page: Any, first: int, last: int, *, drops: bool = True) -> None:
    """Drag with the mouse from the middle of a cell to that of another."""
    boxes = [page.at(f"#cell-{index}").bounding_box() for index in (first, last)]
    (x, y), to = ((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes)
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x + 10, y + 10)
    page.page.mouse.move(*to)
    if drops:
        page.page.mouse.up()


def test_photos_are_selected_by_dragging_a_frame_and_put_off_together(library: Factory) -> None:
    page = library()
    num_columns = page.page.evaluate("() => Math.floor(document.querySelector('#browse-grid').clientWidth / 172)")
    drag(page, 0, num_columns + 1)
    expect(page.at("#bulk-count")).to_have_text("4 selected")
    expect(page.at("#browse")).to_be_visible()  # the click at its end opens no photo
    page.page.keyboard.down("Control")
    drag(page, 2, 3)
    page.page.keyboard.up("Control")
    expect(page.at("#bulk-count")).to_have_text("6 selected")
    drag(page, 0, 1, drops=False)
    expect(page.at("#bulk-count")).to_have_text("2 selected")
    page.press("Escape")
    expect(page.at("#bulk-count")).to_have_text("6 selected")
    page.page.mouse.up()
    expect(page.at("#browse")).to_be_visible()
    page.at("#browse-grid").focus()
    # All photos are asked for, and the answer comes late: what is pressed meanwhile is for all of them.
    held: list[Any] = []
    page.page.route(
        re.compile("component_server"),
        lambda route: held.append(route) if asks_for(route.request, "found_ids") else route.continue_(),
    )
    with page.page.expect_request(lambda request: asks_for(request, "found_ids")):
        page.press("Control+a")
    page.at("#bulk-put-off").focus()
    page.press("Enter")
    page.at("#browse-total").text_content()  # held is filled while the page is asked
    for route in held:
        route.continue_()
    page.see_status("9 photos put off: they come again at the end. 3 photos stay")
    page.at("#toast-undo").click()
    page.see_status("9 photos are no longer put off.")
    page.at("#browse-sort").select_option("queue")
    expect(page.page).to_have_url(re.compile("sort=queue"))
    expect(page.at("#bulk-assign")).to_be_hidden()  # there is nobody to assign to
    page.press("Escape")
    page.at("#cell-0").click()
    expect(page.at("#browse")).to_be_hidden()
