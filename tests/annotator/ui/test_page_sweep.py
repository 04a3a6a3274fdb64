"""The search for missing tags in Chromium: offered at the tenth photo, answered by one key a photo."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from annotator.session.after_commit import NUM_FOR_SWEEP

Factory = Callable[..., Any]


def save(server: Any, file_name: str, *tags: str) -> None:
    server.rest("save", image_id=server.image_id(file_name), kept=list(tags), revision=0)


def test_a_tag_on_its_tenth_photo_is_offered_and_each_key_decides_one_photo(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    server.wait_until_read()
    names = sorted(server.saved()) or sorted(
        item["file_name"] for item in server.rest("browse", offset=0, limit=50)["items"]
    )
    assert len(names) == NUM_FOR_SWEEP + 2
    save(server, names[-1], "lake")
    for name in names[: NUM_FOR_SWEEP - 1]:
        save(server, name, "wildlife")
    page.reload()
    page.see_photo(names[NUM_FOR_SWEEP - 1])
    page.type("wildlife")
    page.press("Shift+Enter", "Enter")
    page.see_tagged(NUM_FOR_SWEEP + 1)
    page.see_photo(names[NUM_FOR_SWEEP])

    # Whether the twelfth counts as likely depends on its features; F8 shows all.
    page.type("wildlife")
    page.press("Shift+Enter", "F8")
    expect(page.at("#sweep")).to_contain_text("Does “wildlife” belong to this photo?")
    expect(page.at("#sweep")).to_contain_text(f"1 of 1 · {names[-1]} · lake")
    page.press("n", "y")  # letters are no commands
    expect(page.at("#sweep-no")).to_be_visible()
    page.press("2")
    page.see_status("“wildlife” was added to no photo.")
    assert server.saved()[names[-1]] == ["lake"]
    page.press("F8")
    expect(page.at("#sweep-yes")).to_be_visible()
    page.press("1")
    page.see_status("“wildlife” was added to 1 photo.")
    assert server.saved()[names[-1]] == ["lake", "wildlife"]
    assert server.history(names[-1])[-1]["after_tags"] == ["lake", "wildlife"]
    page.press("F8")
    page.see_status("No other saved photo could need “wildlife”.")
