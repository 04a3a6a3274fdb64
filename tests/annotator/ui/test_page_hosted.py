"""Two visitors of a hosted demo in Chromium, and a third who waits."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect


@pytest.fixture
def address(serve_demo: Callable[..., str]) -> str:
    """A hosted demo with room for two."""
    return serve_demo("--visitors", "2")


@pytest.fixture
def come(chromium: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Open the entrance in a new browser context, and press Start."""
    with ExitStack() as stack:

        def make() -> Page:
            context = chromium.new_context()
            stack.callback(context.close)
            page = context.new_page()
            page.goto(address)
            expect(page).to_have_url(f"{address}/demo")
            expect(page.locator("main")).to_contain_text("60 minutes")
            page.locator("#enter").click()
            return page

        yield make


def test_two_visitors_tag_their_own_photos_and_a_third_waits(
    come: Callable[..., Page], demo_photos: Path, tmp_path: Path
) -> None:
    anna, ben = come(), come()
    for page in (anna, ben):
        expect(page.locator("#drop-area")).to_contain_text("Drop a few photos here")
        expect(page.locator("#drop-area")).to_contain_text("are deleted")
    # Anna adds a photo of her own by the keyboard; an SVG beside it is refused with the reason.
    drawing = tmp_path / "drawing.svg"
    drawing.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    shutil.copy(demo_photos / "cat.png", tmp_path / "my cat.png")
    with anna.expect_file_chooser() as chooser:
        anna.locator("#choose-photos").press("Enter")
    chooser.value.set_files([tmp_path / "my cat.png", drawing])
    expect(anna.locator("#refused-photos")).to_contain_text("drawing.svg: This is an SVG drawing")
    anna.keyboard.press("Escape")
    expect(anna.locator(".row.proposed").first).to_be_visible()
    expect(anna.locator("#tagged")).to_have_text("0 of 1 tagged")
    anna.keyboard.press("1")
    expect(anna.locator(".row.kept")).to_have_count(1)
    tag = anna.locator(".row.kept .tag").inner_text()
    anna.keyboard.press("Enter")
    expect(anna.locator("#rest")).to_contain_text("All 1 photo")
    # Ben takes the samples, and sees nothing of hers.
    ben.locator("#add-samples").click()
    expect(ben.locator("#tagged")).to_have_text(re.compile("0 of [5-8] tagged"))
    # A third has to wait, and sees for how long at most.
    third = come()
    expect(third.locator("#queue")).to_contain_text("You are next")
    expect(third.locator("#queue")).to_contain_text(re.compile(r"in (5\d|60) minutes at most"))
    # Anna exports her tags under her own name of the photo, and leaves; the third gets a space.
    anna.locator("#open-demo").click()
    with anna.expect_download() as download:
        anna.locator("#export-csv-end").last.click()
    assert f"my cat.png,{tag}" in Path(download.value.path()).read_text()
    anna.locator("#end-demo").click()
    anna.locator("#end-demo").click()
    expect(anna.locator("#over")).to_contain_text("deleted")
    expect(third.locator("#drop-area")).to_be_visible()
    expect(third.locator("#tagged")).to_have_text("0 of 0 tagged")
