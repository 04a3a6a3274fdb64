"""Similar photos tagged together in Chromium: by the keyboard alone, and with exceptions by click."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageEnhance
from playwright.sync_api import expect

Factory = Callable[..., Any]


@pytest.fixture
def burst(twelve_photos: Path, tmp_path: Path) -> Path:
    """Five shots of one cat, and a rocket."""
    folder = tmp_path / "burst"
    folder.mkdir()
    with Image.open(twelve_photos / "chelsea.png") as opened:
        photo = opened.convert("RGB")
    for number in range(5):
        ImageEnhance.Brightness(photo).enhance(1 + number / 100).save(folder / f"cat {number + 1}.jpg")
    with Image.open(next(twelve_photos.rglob("rocket*"))) as opened:
        opened.convert("RGB").save(folder / "rocket.jpg")
    return folder


def start(serve: Factory, open_page: Factory, photos: Path, **options: Any) -> tuple[Any, Any]:
    server = serve(photos)
    server.wait_until_read()
    page = open_page(server, **options)
    page.see_photo("cat 1.jpg")
    expect(page.at("#group-open")).to_contain_text("4 more like this")
    return server, page


def ticked(page: Any) -> list[str]:
    return sorted(
        page.at(".group-cell[aria-selected=true]").evaluate_all("all => all.map((one) => one.dataset.fileName)")
    )


def test_a_group_is_tagged_and_undone_by_the_keyboard_alone(serve: Factory, open_page: Factory, burst: Path) -> None:
    server, page = start(serve, open_page, burst)
    page.press("F3")
    expect(page.at(".group-cell[aria-selected=true]")).to_have_count(4)
    page.press("Enter")  # nothing is kept yet
    expect(page.at(".group-note")).to_contain_text("nothing was saved")
    assert server.saved() == {}
    expect(page.at(".group-tag")).not_to_have_count(0)
    first, second = page.at(".group-tag").evaluate_all("all => all.slice(0, 2).map((one) => one.dataset.tag)")
    page.press("1", "2")
    expect(page.at(".group-kept li")).to_have_text([first, second])
    page.press("Backspace")
    expect(page.at(".group-kept li")).to_have_text([first])
    page.press("Control+a")
    expect(page.at(".group-cell[aria-selected=true]")).to_have_count(0)
    page.press("Control+a", "ArrowRight", "Space")
    left_out = page.at(".group-cell").nth(1).get_attribute("data-file-name")
    expect(page.at("#group-save")).to_contain_text("Save to 4 photos")
    page.press("Enter")
    expect(page.at("#group")).to_have_count(0)
    page.see_tagged(4, 6)
    page.see_photo(left_out)
    saved = {f"cat {number}.jpg" for number in range(1, 6)} - {left_out}
    assert server.saved() == {name: [first] for name in saved}
    (event,) = server.history("cat 1.jpg")
    assert event["num_keys"] == 10
    assert event["actions"][-1] == ["lead_group", 3]

    page.press("Control+z")
    page.see_photo("cat 1.jpg")
    page.see_kept(first)
    page.see_tagged(0, 6)
    assert server.saved() == {}

    page.go_to("rocket.jpg")
    expect(page.at("#group-open")).to_contain_text("Look-alikes")
    page.press("F3")
    page.see_status("No other open photo looks like this one.")
    expect(page.at("#group")).to_have_count(0)


def test_photos_are_unticked_by_click_and_those_changed_meanwhile_are_listed(
    serve: Factory, open_page: Factory, burst: Path
) -> None:
    server, page = start(serve, open_page, burst)
    page.at("#group-open").click()
    page.at(".group-cell[data-file-name='cat 3.jpg']").click()
    assert ticked(page) == ["cat 2.jpg", "cat 4.jpg", "cat 5.jpg"]
    tag = page.at(".group-tag").first.get_attribute("data-tag")
    page.at(".group-tag").first.click()
    expect(page.at(".group-kept li")).to_have_text([tag])
    server.rest("save", image_id=server.image_id("cat 5.jpg"), kept=["tree"], revision=0)
    page.at("#group-save").click()
    page.see_photo("cat 3.jpg")
    expect(page.at("#banner")).to_contain_text("cat 5.jpg: it was saved or put off meanwhile.")
    assert server.saved() == {"cat 5.jpg": ["tree"], **{f"cat {number}.jpg": [tag] for number in (1, 2, 4)}}


def test_letters_in_the_panel_are_tags_and_no_command(serve: Factory, open_page: Factory, burst: Path) -> None:
    server, page = start(serve, open_page, burst)
    page.press("F3")
    expect(page.at("#group-add")).to_be_focused()
    expect(page.at(".group-tag")).not_to_have_count(0)
    page.type("tarm")
    expect(page.at("#group-add")).to_have_value("tarm")
    assert len(ticked(page)) == 4
    page.press("Shift+Enter")
    expect(page.at(".group-kept li")).to_have_text(["tarm"])
    # Every letter and every digit is text while the box has text; Escape clears it and does not close the panel.
    page.type("abcdefghijklmnopqrstuvwxyz 13")
    expect(page.at("#group-add")).to_have_value("abcdefghijklmnopqrstuvwxyz 13")
    page.press("Escape")
    expect(page.at("#group-add")).to_have_value("")
    # A completion is taken as on the page.
    page.type("whi")
    expect(page.at("#group-completion-1")).to_be_visible()
    completed = page.at("#group-completion-1").get_attribute("data-tag")
    page.press("Enter")
    expect(page.at(".group-kept li")).to_have_text(["tarm", completed])
    expect(page.at(".group-tag")).not_to_have_count(0)
    page.settle()
    one, three = (page.at(".group-tag", has_text=f"{number} ").get_attribute("data-tag") for number in (1, 3))
    assert len(ticked(page)) == 4
    page.press("1", "3", "Enter")
    expect(page.at("#group")).to_have_count(0)
    page.see_tagged(5, 6)
    assert server.saved() == {f"cat {number}.jpg": ["tarm", completed, one, three] for number in range(1, 6)}


def test_escape_keeps_taken_tags_and_saves_nothing(serve: Factory, open_page: Factory, burst: Path) -> None:
    server, page = start(serve, open_page, burst)
    page.press("F3")
    tag = page.at(".group-tag").first.get_attribute("data-tag")
    page.press("1", "Escape")
    page.see_kept(tag)
    page.settle()
    assert server.saved() == {}
    page.press("F3")
    expect(page.at(".group-kept li")).to_have_text([tag])
    page.press("F3")
    expect(page.at("#group")).to_have_count(0)
