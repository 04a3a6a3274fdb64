"""Sidecars that another program has changed, in Chromium: noticed in the header, settled in a dialog."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from annotator.datasets.formats.xmp import LIGHTROOM, SUBJECT, keywords_of
from annotator.datasets.formats.xmp_packet import replace_lists

Factory = Callable[..., Any]


def test_a_sidecar_that_was_changed_elsewhere_is_shown_and_settled(
    serve: Factory, open_page: Factory, until: Callable[..., Any], twelve_photos: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("coffee.png", "rocket.jpg"):
        shutil.copy(twelve_photos / name, photos / name)
    server = serve(photos, "--sidecars", "darktable")
    server.wait_until_read()
    sidecar = photos / "coffee.png.xmp"
    image_id = server.image_id("coffee.png")

    def save(revision: int, *tags: str) -> None:
        server.rest("save", image_id=image_id, kept=list(tags), revision=revision)

    def in_step() -> dict[str, Any]:
        found: dict[str, Any] = server.rest("sidecars")
        return found

    save(0, "coffee", "cup")
    until(in_step, lambda answer: answer["num_written"] == 1)
    assert keywords_of(sidecar.read_bytes(), "x") == ["coffee", "cup"]
    lists = {one: ["<b>tea</b>", "cup"] for one in (SUBJECT, LIGHTROOM)}
    sidecar.write_bytes(replace_lists(sidecar.read_bytes(), lists, "x"))
    save(1, "coffee")
    until(in_step, lambda answer: answer["num_changed"] == 1)

    page = open_page(server)
    expect(page.at("#open-sidecars")).to_have_text("1 sidecar changed elsewhere")
    page.at("#open-sidecars").click()
    row = page.at("#sidecars li")
    expect(row.locator("p")).to_have_text(["Saved here: coffee", "In the sidecar: cup, <b>tea</b>"])
    row.locator("[data-take=theirs]").click()
    expect(page.at("#sidecars li")).to_have_count(0)
    page.press("Escape")
    expect(page.at("#open-sidecars")).to_be_hidden()
    assert server.saved()["coffee.png"] == ["cup", "<b>tea</b>"]
    assert keywords_of(sidecar.read_bytes(), "x") == ["cup", "<b>tea</b>"]
