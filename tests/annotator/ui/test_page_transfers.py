"""Export and import in the page, by keyboard alone: preview, what is left out, progress, download, undo."""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

Factory = Callable[..., Any]


def test_tags_are_exported_by_keyboard(serve: Factory, open_page: Factory, tmp_path: Path) -> None:
    server = serve()
    for name, tags in (("coffee.png", ["coffee", "cup, white"]), ("rocket.jpg", ["rocket", "sky"])):
        server.rest("save", image_id=server.image_id(name), kept=tags, revision=0)
    page = open_page(server)
    page.press("Control+e")
    expect(page.at("#export-format")).to_be_focused()
    expect(page.at("#export-note")).to_have_text("2 photos; the first 2:")
    page.type("c")  # a letter chooses in the list of formats, as everywhere
    expect(page.at("#add-input")).to_have_value("")
    page.at("#export-format").select_option("captions")
    left_out = page.at("#export-preview [data-kind='left-out'] li")
    expect(left_out).to_have_count(1)
    expect(left_out).to_contain_text("coffee.png")
    expect(page.at("#export-preview pre")).to_have_text(re.compile("rocket.txt\\s+rocket, sky"))
    page.press("Enter")
    expect(page.at("#export-download")).to_be_focused()
    expect(page.at("#export-note")).to_have_text("1 photo written, 1 left out.")
    with page.page.expect_download() as download:
        page.press("Enter")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"rocket.txt": b"rocket, sky"}

    page.at("#export-format").select_option("csv")
    page.at("#export-tag").fill("COFFEE")
    expect(page.at("#export-note")).to_have_text("1 photo; the first 1:")
    page.press("Enter")
    expect(page.at("#export-download")).to_be_focused()
    with page.page.expect_download() as download:
        page.press("Enter")
    assert download.value.suggested_filename.endswith(" csv.csv")
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    assert [row["image"] for row in csv.DictReader(io.StringIO(text))] == ["coffee.png"]
    page.press("Escape")
    expect(page.at("#export-dialog")).to_have_count(0)


def test_the_photos_that_browse_has_found_are_exported(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    page.press("Control+b")
    page.at("#browse-search").fill("garden")
    expect(page.at(".cell")).to_have_count(2)
    page.press("Control+e")
    expect(page.at("#export-photos option")).to_have_text(
        ["All photos", "Found in the library: \u201cgarden\u201d", re.compile("Only ")]
    )
    page.at("#export-state").select_option("all")
    page.at("#export-photos").select_option("found")
    expect(page.at("#export-note")).to_have_text("2 photos; the first 2:")
    expect(page.at("#export-preview td:first-child")).to_have_text(["garden/close.jpg", "garden/petals.jpg"])
    page.at("#export-photos").select_option("photo")
    expect(page.at("#export-note")).to_have_text("1 photo; the first 1:")


def test_tags_are_imported_by_keyboard_and_taken_back(serve: Factory, open_page: Factory, tmp_path: Path) -> None:
    server = serve()
    server.rest("save", image_id=server.image_id("rocket.jpg"), kept=["rocket"], revision=0)
    table = tmp_path / "words.csv"
    table.write_text("image,tags\ncoffee.png,<b>tea</b>; cup\nrocket.jpg,moon\nnowhere.jpg,x\n")
    page = open_page(server)
    page.press("Control+i")
    page.at("#import-format").select_option("csv")
    page.at("#import-files").set_input_files(table)
    page.at("#import-format").focus()
    page.at("#import-go").press("Enter")
    expect(page.at("#import-note")).to_have_text("1 photo would get a list; the first 1:")
    expect(page.at("#import-preview td")).to_have_text(["coffee.png", "<b>tea</b>, cup"])
    expect(page.at("#import-preview [data-kind='left-out'] li")).to_have_text(
        ["rocket.jpg local has saved it already", "nowhere.jpg the project has no such photo"]
    )
    assert list(server.saved()) == ["rocket.jpg"]
    page.press("Enter")
    expect(page.at("#import-undo")).to_be_focused()
    expect(page.at("#import-note")).to_have_text("1 photo imported, 2 left out.")
    page.see_tagged(2)
    assert server.saved()["coffee.png"] == ["<b>tea</b>", "cup"]
    page.press("Enter")
    expect(page.at("#import-note")).to_have_text("Undone on 1 photo.")
    page.see_tagged(1)
    assert list(server.saved()) == ["rocket.jpg"]

    # From a path of this machine, as drafts; and a damaged file is one sentence.
    page.at("#import-path").fill(str(table))
    page.at("[name=import-kind][value=draft]").check()
    page.at("#import-path").press("Enter")
    expect(page.at("#import-go")).to_have_text("Import 1 photo")
    page.at("#import-path").press("Enter")
    expect(page.at("#import-undo")).to_be_focused()
    table.write_text("nothing\n1\n")
    page.at("#import-path").fill(f"{table} ")
    page.press("Enter")
    expect(page.at("#import-dialog .review-trouble")).to_contain_text("needs a column for the photo")
    page.press("Escape")
    page.go_to("coffee.png")
    page.see_kept("<b>tea</b>", "cup")
    assert not page.is_hacked()
