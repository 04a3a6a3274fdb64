"""All tags in Chromium: the list, one tag, each change with its preview and undo; by keyboard, mouse and touch."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

Factory = Callable[..., Any]
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "rules": {"target-size": {"enabled": True}},
}
SAVED = {
    "cats/ear.jpg": ["cat", "whiskers"],
    "cats/eyes.jpg": ["Cats", "cat", "eye"],
    "chelsea.png": ["cat", "ginger"],
    "coffee.png": ["cofee", "cup"],
    "flower.jpg": ["flower"],
    "garden/close.jpg": ["flower", "coffee"],
    "garden/petals.jpg": ["coffee", "petal"],
}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SIZES: dict[str, dict[str, Any]] = {
    "laptop": {"viewport": {"width": 1280, "height": 720}},
    "phone": PHONE,
    "zoom": {"viewport": {"width": 640, "height": 360}},
}


@pytest.fixture
def tagged(serve: Factory) -> Any:
    server = serve()
    for name, tags in SAVED.items():
        server.rest("save", image_id=server.image_id(name), revision=0, kept=tags, dropped=[])
    return server


@pytest.fixture
def manager(tagged: Any, open_page: Factory) -> Callable[..., Any]:
    """The page with the dialog open."""

    def open_(**options: Any) -> Any:
        page = open_page(tagged, **options)
        page.settle()
        page.choose("#open-tags")
        expect(page.at("#tags-total")).to_have_text("10 tags, 10 in use")
        page.server = tagged
        return page

    return open_


def rows(page: Any) -> list[str]:
    page.settle()
    texts = page.at(".tags-row").evaluate_all(
        "rows => rows.sort((one, two) => one.dataset.index - two.dataset.index).map((row) => row.ariaLabel)"
    )
    return [str(text) for text in texts]


def find(page: Any, tag: str) -> None:
    """Type a tag and wait for its details."""
    page.at("#tags-filter").fill(tag)
    expect(page.at("#tags-detail")).to_have_attribute("data-tag", tag)
    page.settle()


def test_the_tags_are_listed_sorted_and_found(manager: Factory) -> None:
    page = manager()
    assert rows(page)[:3] == ["cat, 3 photos", "coffee, 2 photos", "flower, 2 photos"]
    expect(page.at("#tags-filter")).to_be_focused()
    expect(page.at("#tags-name")).to_have_text("cat")
    expect(page.at("#tags-facts")).to_have_text("On 3 photos")
    expect(page.at(".tags-photo")).to_have_count(3)
    expect(page.at(".tags-similar li")).to_have_text(re.compile("Cats 1 photo.*Singular and plural"))
    page.at("#tags-order").select_option("name")
    expect(page.at(".tags-row").first).to_have_attribute("aria-label", "cat, 3 photos")
    assert [text.split(",")[0] for text in rows(page)] == [
        "cat", "Cats", "cofee", "coffee", "cup", "eye", "flower", "ginger", "petal", "whiskers"
    ][: len(rows(page))]  # fmt: skip
    page.at("#tags-filter").fill("cof")
    expect(page.at("#tags-total")).to_have_text("2 tags found")
    expect(page.at("#tags-name")).to_have_text("cofee")
    page.at("#tags-filter").press("ArrowDown")
    expect(page.at("#tags-name")).to_have_text("coffee")
    expect(page.at(".tags-similar li")).to_have_text(re.compile("cofee 1 photo.*One letter differs"))
    page.at("#tags-filter").fill("zebra")
    expect(page.at("#tags-total")).to_have_text("0 tags found")
    expect(page.at("#tags-list")).to_be_hidden()


def test_a_misspelt_tag_is_merged_and_the_merge_is_undone_by_keyboard_alone(manager: Factory) -> None:
    page = manager()
    find(page, "cofee")
    page.press("Enter")
    expect(page.at("#tags-detail")).to_be_focused()
    for _ in range(3):  # the photo, rename, merge
        page.press("Tab")
    expect(page.at("#tags-merge")).to_be_focused()
    page.press("Enter")
    expect(page.at("#tag-change-text")).to_be_focused()
    page.type("coffee")
    page.press("Enter")
    expect(page.at("#tag-change-preview")).to_contain_text("1 photo changes.")
    expect(page.at("#tag-change-preview tbody tr")).to_have_text("coffee.pngcofee, cupcoffee, cup")
    assert page.server.saved()["coffee.png"] == ["cofee", "cup"]
    expect(page.at("#tag-change-go")).to_have_text("Merge on 1 photo")
    page.press("Enter")
    expect(page.at("#tags-note")).to_have_text("“cofee” was merged into “coffee” on 1 photo.")
    expect(page.at("#tags-name")).to_have_text("coffee")
    expect(page.at("#tags-facts")).to_have_text("On 3 photos · also cofee")
    assert page.server.saved()["coffee.png"] == ["coffee", "cup"]
    assert [event["kind"] for event in page.server.history("coffee.png")] == ["save", "rename"]
    page.press("Control+z")
    expect(page.at("#tags-note")).to_have_text("Undone on 1 photo.")
    assert page.server.saved()["coffee.png"] == ["cofee", "cup"]
    expect(page.at("#tags-name")).to_have_text("cofee")
    expect(page.at("#tags-facts")).to_have_text("On 1 photo")
    page.press("Escape")
    expect(page.at("dialog")).to_have_count(0)


def test_each_change_is_shown_first_and_taken_back(manager: Factory) -> None:
    page = manager()

    def change(tag: str, kind: str, text: str | None, preview: str, said: str) -> None:
        find(page, tag)
        page.at(f"#tags-{kind}").click()
        if text is not None:
            page.at("#tag-change-text").fill(text)
        expect(page.at("#tag-change-preview")).to_contain_text(preview)
        before = page.server.saved()
        expect(page.at("#tag-change-go")).to_be_enabled()
        page.at("#tag-change-go").click()
        expect(page.at("#tags-note")).to_have_text(said)
        state = page.server.saved(), page.server.rest("list_tags", limit=100)["items"]
        page.at("#tags-undo").click()
        expect(page.at("#tags-note")).to_contain_text("Undone")
        page.settle()
        assert page.server.saved() == before
        states.append(state)

    states: list[Any] = []
    change("cat", "rename", "feline", "3 photos change.", "“cat” is now “feline” on 3 photos.")
    assert states[-1][0]["chelsea.png"] == ["feline", "ginger"]
    change("flower", "delete", None, "1 photo is left without tags.", "“flower” was deleted on 2 photos.")
    assert states[-1][0]["flower.jpg"] == []
    change("cat", "alias", "kitty", "No photo changes.", "“kitty” now means “cat”.")
    assert states[-1][1][0]["aliases"] == ["kitty"]
    change("cat", "parent", "animal", "animal \u203a cat", "“cat” is now below “animal”.")
    assert states[-1][1][0]["parent"] == "animal"
    change("eye", "never", None, "1 photo with “eye” keep it", "“eye” is never proposed.")
    assert [item["tag"] for item in states[-1][1] if item["is_never_proposed"]] == ["eye"]
    assert [item for item in page.server.rest("list_tags")["items"] if item["is_never_proposed"]] == []


def test_letters_are_text_and_escape_steps_back(manager: Factory) -> None:
    page = manager()
    find(page, "cat")
    page.press("Enter")
    expect(page.at("#tags-detail")).to_be_focused()
    page.type("dmrx123")  # no letter and no digit is a command
    page.settle()
    assert page.server.saved() == SAVED
    expect(page.at(".tags-form")).to_have_count(0)
    page.at("#tags-delete").click()
    expect(page.at("#tag-change-cancel")).to_be_focused()  # an Enter pressed too early deletes nothing
    expect(page.at("#tag-change-go")).to_be_enabled()
    page.press("Enter")
    expect(page.at(".tags-form")).to_have_count(0)
    page.at("#tags-rename").click()
    expect(page.at(".tags-form")).to_be_visible()
    page.press("Escape")
    expect(page.at(".tags-form")).to_have_count(0)
    expect(page.at("#tags")).to_be_visible()
    page.at("#tags-list").focus()
    page.type("x")
    expect(page.at("#tags-filter")).to_have_value("catx")
    assert page.server.saved() == SAVED


def test_a_photo_that_somebody_saves_meanwhile_is_not_overwritten(manager: Factory) -> None:
    page = manager()
    find(page, "cat")
    page.at("#tags-delete").click()
    expect(page.at("#tag-change-preview")).to_contain_text("3 photos change.")
    page.server.rest(
        "save", image_id=page.server.image_id("chelsea.png"), revision=1, kept=["ginger", "cat", "nose"], dropped=[]
    )
    page.at("#tag-change-go").click()
    expect(page.at("#tag-change-preview")).to_contain_text("ginger, cat, nose")
    assert page.server.saved()["chelsea.png"] == ["ginger", "cat", "nose"]
    page.at("#tag-change-go").click()
    expect(page.at("#tags-note")).to_have_text("“cat” was deleted on 3 photos.")
    page.server.rest("save", image_id=page.server.image_id("chelsea.png"), revision=3, kept=["nose"], dropped=[])
    page.at("#tags-undo").click()
    expect(page.at("#tags-note")).to_have_text("Undone on 2 photos; 1 photo changed since and stays.")
    assert page.server.saved()["chelsea.png"] == ["nose"]


def test_the_last_change_can_be_undone_after_the_dialog_is_closed(manager: Factory) -> None:
    page = manager()
    find(page, "petal")
    page.at("#tags-delete").click()
    expect(page.at("#tag-change-go")).to_be_enabled()
    page.at("#tag-change-go").click()
    expect(page.at("#tags-note")).to_contain_text("was deleted")
    page.press("Escape")
    page.see_status("“petal” was deleted on 1 photo.")
    page.at("#toast-undo").click()
    page.see_status("Undone on 1 photo.")
    assert page.server.saved() == SAVED


def test_the_palette_finds_it_and_an_example_opens_its_photo(tagged: Any, open_page: Factory) -> None:
    page = open_page(tagged)
    page.settle()
    page.press("Control+k")
    page.type("misspelt")
    page.press("Enter")
    expect(page.at("#tags-name")).to_have_text("cat")
    page.at("#tags-filter").fill("petal")
    expect(page.at("#tags-name")).to_have_text("petal")
    page.at(".tags-photo").click()
    page.see_photo("garden/petals.jpg")
    expect(page.at("dialog")).to_have_count(0)


def test_the_library_shows_a_change_that_is_made_over_it(tagged: Any, open_page: Factory) -> None:
    page = open_page(tagged)
    page.settle()
    page.press("Control+b")
    page.at("#browse-search").fill("petal")
    expect(page.at(".cell")).to_have_count(1)
    page.choose("#open-tags")
    find(page, "petal")
    page.at("#tags-rename").click()
    page.at("#tag-change-text").fill("blossom")
    expect(page.at("#tag-change-go")).to_be_enabled()
    page.press("Enter")
    expect(page.at("#tags-note")).to_contain_text("is now “blossom”")
    page.at("#tags .dialog-close").click()
    expect(page.at(".cell")).to_contain_text("blossom")
    page.choose("#open-tags")
    expect(page.at("#tags-name")).to_be_visible()
    page.at(".tags-photo").first.click()
    expect(page.at("#browse")).to_be_hidden()
    page.see_photo("chelsea.png")


def test_twenty_thousand_tags_are_shown_a_window_at_a_time(manager: Factory, serve: Factory) -> None:
    page = manager(viewport={"width": 1280, "height": 720})
    # As many as the real list may have, by the same answers: only the list is made larger.
    number = 20_000
    page.page.route(re.compile("component_server"), lambda route: answer_many(route, number))
    page.at("#tags-order").select_option("name")
    expect(page.at("#tags-total")).to_have_text("20,000 tags, 20,000 in use")
    assert page.at(".tags-row").count() < 60
    page.at("#tags-list").focus()
    page.press("End")
    expect(page.at(".tags-row[aria-selected=true]")).to_have_attribute("aria-label", "tag 20000, 1 photo")
    expect(page.at(".tags-row[aria-selected=true]")).to_be_in_viewport()
    assert page.at(".tags-row").count() < 60
    took = page.page.evaluate(
        """async () => {
          const list = document.querySelector("#tags-list");
          const begun = performance.now();
          for (let step = 0; step < 40; step += 1) {
            list.scrollTop = step * 15_000;
            await new Promise((resolve) => requestAnimationFrame(resolve));
          }
          return (performance.now() - begun) / 40;
        }"""
    )
    assert took < 100


def answer_many(route: Any, number: int) -> None:
    body = route.request.post_data_json
    if body.get("fn_name") != "list_tags":
        route.continue_()
        return
    first, limit = body["data"]["offset"], body["data"]["limit"]
    items = [
        {"tag": f"tag {place + 1}", "num_photos": 1, "aliases": [], "parent": "", "is_never_proposed": False}
        for place in range(first, min(number, first + limit))
    ]
    route.fulfill(json={"total": number, "num_in_use": number, "items": items})


def test_on_a_phone_the_list_and_one_tag_take_turns(manager: Factory) -> None:
    page = manager(**PHONE)
    expect(page.at("#tags-detail")).to_be_hidden()
    page.at(".tags-row").nth(0).tap()
    expect(page.at("#tags-name")).to_be_visible()
    expect(page.at("#tags-list")).to_be_hidden()
    page.at("#tags-rename").tap()
    page.at("#tag-change-text").fill("kitten")
    expect(page.at("#tag-change-go")).to_have_text("Rename on 3 photos")
    page.at("#tag-change-go").tap()
    expect(page.at("#tags-note")).to_contain_text("is now “kitten”")
    page.at("#tags-undo").tap()
    expect(page.at("#tags-note")).to_have_text("Undone on 3 photos.")
    page.at("#tags-back").tap()
    expect(page.at("#tags-list")).to_be_visible()
    assert page.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert page.server.saved() == SAVED


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_dialog_violates_no_rule_of_axe_and_nothing_is_cut_off(
    manager: Factory, tmp_path: Any, size: str, scheme: str
) -> None:
    page = manager(color_scheme=scheme, **SIZES[size])
    found: dict[str, Any] = {}

    def check(view: str) -> None:
        page.settle()
        page.page.screenshot(path=tmp_path / f"{view} {size} {scheme}.png")
        answer = Axe().run(page.page, options=RULES).response["violations"]
        problems = [(rule["id"], node["target"], node["failureSummary"]) for rule in answer for node in rule["nodes"]]
        wide = page.at("#tags, #tags *").evaluate_all(
            "all => all.filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)"
            ".map((one) => one.id || one.className)"
        )
        found[view] = [*problems, *wide]

    check("list")
    page.at("#tags-filter").fill("cat")
    expect(page.at("#tags-detail")).to_have_attribute("data-tag", "cat")
    expect(page.at(".tags-row")).to_have_count(2)  # a row that is drawn anew under a click does not hear it
    page.at(".tags-row").first.click()
    expect(page.at("#tags-name")).to_be_visible()
    check("tag")
    page.at("#tags-rename").click()
    page.at("#tag-change-text").fill("feline")
    expect(page.at("#tag-change-go")).to_be_enabled()
    check("rename")
    page.press("Escape")
    page.at("#tags-delete").click()
    expect(page.at("#tag-change-go")).to_be_enabled()
    page.at("#tag-change-go").scroll_into_view_if_needed()
    check("delete")
    page.at("#tag-change-go").click()
    expect(page.at("#tags-note")).to_contain_text("was deleted")
    check("deleted")
    assert {view: problems for view, problems in found.items() if problems} == {}


def test_who_is_no_admin_may_look_and_change_nothing(manager: Factory) -> None:
    page = manager()
    page.press("Escape")
    page.page.route(re.compile("component_server"), as_viewer)
    page.reload()
    page.choose("#open-tags")
    expect(page.at("#tags-change")).to_have_text("Changes of tags are for admins.")
    expect(page.at(".tags-similar button")).to_have_count(1)
    expect(page.at(".tags-actions")).to_have_count(0)


def as_viewer(route: Any) -> None:
    if route.request.post_data_json.get("fn_name") != "state":
        route.continue_()
        return
    answer = route.fetch()
    route.fulfill(json=answer.json() | {"may_administer": False})
