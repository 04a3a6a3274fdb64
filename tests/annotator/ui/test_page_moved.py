"""How the page shows a photo whose picture was changed, and photos of a folder that is not mounted."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import expect

Factory = Callable[..., Any]


def test_a_photo_that_another_program_changed_says_so_until_it_is_saved_again(
    serve: Factory, open_page: Factory, twelve_photos: Path, tmp_path: Path
) -> None:
    photos = Path(shutil.copytree(twelve_photos, tmp_path / "holiday"))
    server = serve(photos)
    server.wait_until_read()
    page = open_page(server)
    name = page.at(".file-name").inner_text()
    page.press("1")
    page.press("Enter")
    expect(page.at(".file-name")).not_to_have_text(name)
    page.page.close()
    server.end()
    path = photos / name
    with Image.open(path) as image:
        edited = image.convert("RGB")
    edited.paste((255, 0, 0), (0, 0, edited.width, edited.height // 2))
    edited.save(path)
    again = serve(photos, project=server.project)
    again.wait_until_read()
    page = open_page(again)
    page.at("#open-browse").click()
    page.at(".tab[data-state=changed]").click()
    expect(page.at(".cell")).to_have_count(1)
    shown = page.at(".cell img")
    assert shown.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0
    page.at(".cell").click()
    page.press("Enter")
    expect(page.at(".file-name")).to_have_text(name)
    expect(page.at(".facts")).to_contain_text("the picture was changed after its tags were saved")
    expect(page.at(".row.kept")).to_have_count(1)
    page.press("Enter")
    expect(page.at(".file-name")).not_to_have_text(name)
    assert again.rest("state")["states"]["changed"] == 0


def test_photos_of_a_folder_that_is_away_are_counted_named_and_can_be_tagged(
    serve: Factory, open_page: Factory, twelve_photos: Path, tmp_path: Path, until: Factory
) -> None:
    photos = Path(shutil.copytree(twelve_photos, tmp_path / "stick"))
    server = serve(photos)
    server.wait_until_read()
    server.end()
    photos.rename(tmp_path / "elsewhere")
    photos.mkdir()  # as a mount point is while its disk is away
    again = serve(photos, project=server.project)
    until(lambda: again.rest("state")["ingest"]["not_mounted"])
    page = open_page(again, expected_errors=[r"/image/\d+"])
    away = page.at("#not-mounted")
    expect(away).to_have_text("12 photos not mounted")
    assert str(photos) in (away.get_attribute("title") or "")
    expect(page.at(".photo-failure")).to_contain_text("cannot be shown now")
    page.press("1")
    page.press("Enter")
    expect(page.at("#tagged")).to_contain_text("1 of 12")
