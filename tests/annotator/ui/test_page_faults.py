"""The page in Chromium under faults: reloads, two tabs, a killed server, hostile and broken files."""

import json
import random
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

Factory = Callable[..., Any]
AWAY = [r"net::ERR_", r"Failed to fetch", r"Service Unavailable", r"\bForbidden\b"]
"""Console errors of the browser while the server is down, while it opens the project, and of the first call after a
restart with an old token."""
HTML = "<img src=x onerror=window.hacked=1>"


@pytest.fixture(scope="session")
def many_photos(twelve_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos that take seconds to read: large ones, in a format that is slow to decode."""
    folder = tmp_path_factory.mktemp("many") / "many"
    folder.mkdir()
    sources = ["chelsea.png", "coffee.png", "china.jpg", "flower.jpg", "rocket.jpg", "astronaut.png"]
    for name in sources:
        with Image.open(twelve_photos / name) as image:
            large = image.convert("RGB").resize((3600, 2400))
        for number in range(16):
            large.paste((16 * number, 0, 255 - 16 * number), (0, 0, 450, 450))  # equal pixels are one photo
            large.save(folder / f"{name.split('.')[0]} {number:02}.webp", quality=30, method=0)
    return folder


def test_a_half_edited_list_survives_a_refresh(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    first, refused = page.proposed()[:2]
    page.press("1")
    page.see_kept(first)
    page.type("visor")
    page.press("Shift+Enter", "Alt+ArrowUp")
    page.see_kept("visor", first)
    page.settle()
    expect(page.at(f'.row.proposed[data-tag="{refused}"]')).to_have_count(1)
    page.press(*["ArrowDown"] * (2 + page.proposed().index(refused)))
    assert page.selected() == refused
    page.press("Delete")
    page.settle()
    page.reload()
    page.see_photo("astronaut.png")
    page.see_kept("visor", first)
    assert refused not in page.proposed()
    # Also one that did not wait for the server, and one after another photo was opened.
    page.type("flag")
    page.press("Shift+Enter")
    page.reload()
    page.see_kept("visor", first, "flag")
    page.press("ArrowRight")
    page.see_photo("chelsea.png")
    page.press("ArrowLeft")
    page.see_kept("visor", first, "flag")
    page.see_tagged(0)
    assert server.saved() == {}


@pytest.mark.parametrize(
    ("choice", "tags"), [("theirs", ["theirs"]), ("mine", ["mine"]), ("merge", ["theirs", "mine"])]
)
def test_the_second_save_of_one_photo_offers_a_choice(
    serve: Factory, open_page: Factory, choice: str, tags: list[str]
) -> None:
    server = serve()
    page = open_page(server)
    other = open_page(server, beside=page)
    page.type("mine")
    page.press("Shift+Enter")
    page.see_kept("mine")
    page.settle()
    other.type("theirs")
    other.press("Shift+Enter", "Enter")
    other.see_photo("chelsea.png")

    page.page.bring_to_front()
    page.press("Enter")
    expect(page.at("#stale")).to_contain_text("You saved it in another window")
    expect(page.at("#stale .version").nth(0).locator("li")).to_have_text(["theirs"])
    expect(page.at("#stale .version").nth(1).locator("li")).to_have_text(["mine"])
    assert server.saved() == {"astronaut.png": ["theirs"]}
    # Closing it changes nothing; the next try asks again.
    page.press("Enter", "Escape")
    expect(page.at("#stale")).to_have_count(0)
    page.see_kept("mine")
    page.press("Enter")
    page.at(f"#stale-{choice}").click()
    expect(page.at("#stale")).to_have_count(0)
    if choice == "merge":
        page.see_kept(*tags)
        assert server.saved() == {"astronaut.png": ["theirs"]}
        page.press("Enter")
    page.see_photo("chelsea.png")
    assert server.saved() == {"astronaut.png": tags}
    page.see_tagged(1)


def test_every_acknowledged_save_survives_a_kill_and_the_page_goes_on_without_a_reload(
    serve: Factory, open_page: Factory, until: Factory
) -> None:
    server = serve(as_command=True)
    page = open_page(server, expected_errors=AWAY)
    page.go_to("garden/petals.jpg")
    page.type("before")
    page.press("Shift+Enter")
    page.see_kept("before")
    acknowledged: dict[str, list[tuple[int, str]]] = {}

    def save_without_end() -> None:
        names = ["astronaut.png", "chelsea.png", "china.jpg", "coffee.png"]
        ids = [server.image_id(name) for name in names]
        revisions = [0] * len(names)
        for number in range(10**6):
            at = number % len(names)
            try:
                answer = server.rest(
                    "save", image_id=ids[at], revision=revisions[at], kept=[f"save {number}"], dropped=[]
                )
            except httpx.HTTPError:
                return
            revisions[at] = answer["revision"]
            acknowledged.setdefault(names[at], []).append((number, f"save {number}"))

    saving = threading.Thread(target=save_without_end)
    saving.start()
    until(lambda: sum(map(len, acknowledged.values())), lambda count: count >= 20)
    server.kill()
    saving.join()
    num_acknowledged = sum(map(len, acknowledged.values()))

    # The server is down: the page shows that, keeps the list, and calls again.
    page.type("while away")
    page.press("Shift+Enter")
    page.see_kept("before", "while away")
    expect(page.at("#banner")).to_contain_text("your list is kept here")
    page.press("Enter")
    expect(page.at("#banner")).to_contain_text("Not saved")
    page.see_kept("before", "while away")

    restarted = serve(server.photos, project=server.project, port=server.port)
    expect(page.at("#banner")).to_be_hidden()
    page.see_kept("before", "while away")
    saved = restarted.saved()
    for name, saves in acknowledged.items():
        last_number, last_tag = saves[-1]
        # The save under way at the kill may have been committed without its answer arriving.
        assert saved[name] in ([last_tag], [f"save {num_acknowledged}"]), (last_number, saved[name])
        revisions = [event["revision"] for event in restarted.history(name)]
        assert revisions == list(range(1, len(revisions) + 1))
        assert len(revisions) >= len(saves)
    page.settle()
    page.press("Enter")
    page.see_status("Saved before, while away")
    assert restarted.saved()["garden/petals.jpg"] == ["before", "while away"]
    assert page.page.evaluate("() => performance.getEntriesByType('navigation')[0].type") == "navigate"


def test_a_list_edited_while_the_server_is_away_survives_a_refresh_too(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server, expected_errors=AWAY)
    server.kill()
    page.type("alone")
    page.press("Shift+Enter")
    expect(page.at("#banner")).to_contain_text("your list is kept here")
    restarted = serve(server.photos, project=server.project, port=server.port)
    page.reload()
    page.see_photo("astronaut.png")
    page.see_kept("alone")
    page.press("Enter")
    page.see_photo("chelsea.png")
    assert restarted.saved() == {"astronaut.png": ["alone"]}


def test_photos_are_tagged_while_others_are_read_and_a_kill_then_costs_nothing(
    serve: Factory, open_page: Factory, many_photos: Path, until: Factory
) -> None:
    slow = ["--decode-threads", "1", "--network-threads", "1"]
    server = serve(many_photos, *slow)
    page = open_page(server, expected_errors=AWAY)
    page.see_photo("astronaut 00.webp")
    expect(page.at("#ingest")).to_contain_text("of 96")
    assert 0 <= page.at("#ingest progress").evaluate("bar => bar.value") < 96
    page.type("during")
    page.press("Shift+Enter", "Enter")
    page.see_photo("astronaut 01.webp")
    page.type("half done")
    page.press("Shift+Enter")
    page.see_kept("half done")
    page.settle()
    ingest = server.rest("state")["ingest"]
    assert ingest["running"]
    assert ingest["num_done"] < 96
    server.kill()

    restarted = serve(many_photos, *slow, project=server.project, port=server.port)
    # What was committed before the kill is not read again.
    num_known = restarted.rest("state")["num_images"]
    assert num_known >= 2
    expect(page.at("#tagged")).to_have_text("1 of 96 tagged")
    expect(page.at("#ingest")).to_be_hidden()
    ingest = until(lambda: restarted.rest("state")["ingest"], lambda ingest: not ingest["running"])
    assert ingest["num_done"] == 96
    assert ingest["num_new"] <= 96 - num_known
    page.see_photo("astronaut 01.webp")
    page.see_kept("half done")
    page.press("Enter")
    page.see_tagged(2, 96)
    assert restarted.saved() == {"astronaut 00.webp": ["during"], "astronaut 01.webp": ["half done"]}
    assert restarted.rest("unreadable")["total"] == 0


def test_hostile_names_keywords_and_tags_are_shown_as_text(
    serve: Factory, open_page: Factory, twelve_photos: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "<b onclick=window.hacked=1>photos" / "<i>folder"
    photos.mkdir(parents=True)
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag>'
        "<rdf:li>&lt;svg onload=window.hacked=1&gt;</rdf:li></rdf:Bag></dc:subject></rdf:Description></rdf:RDF>"
        "</x:xmpmeta>"
    )
    with Image.open(twelve_photos / "coffee.png") as image:
        image.convert("RGB").save(photos / f"1 {HTML}.jpg", xmp=packet.encode())
    shutil.copy(twelve_photos / "cats/ear.jpg", photos / "2.jpg")
    shutil.copy(twelve_photos / "cats/eyes.jpg", photos / "3.jpg")
    (photos / f"4 {HTML}.jpg").write_bytes(b"no photo")
    server = serve(photos.parent)
    page = open_page(server)
    server.wait_until_read()
    expect(page.at("#project")).to_have_text("<b onclick=window.hacked=1>photos")
    page.see_photo(f"<i>folder/1 {HTML}.jpg")
    expect(page.at(".facts")).to_contain_text("keywords: <svg onload=window.hacked=1>")
    row = page.at(".row.proposed", has_text="<svg onload=window.hacked=1>")
    row.click()
    page.see_kept("<svg onload=window.hacked=1>")
    page.press("Enter")
    page.see_photo("<i>folder/2.jpg")
    page.type(HTML)
    expect(page.at("#add-ghost .ghost-typed")).to_have_text(HTML)
    page.press("Enter")
    page.see_kept(HTML)
    expect(page.at("#why b")).to_have_text(HTML)
    page.press("Enter")
    page.see_status(f"Saved {HTML}.")
    page.see_photo("<i>folder/3.jpg")
    # Now it is a neighbour's tag, proposed, and a completion.
    expect(page.at(".take", has_text=HTML)).to_have_text([HTML])
    page.type("<img")
    expect(page.at("#completion-1 .tag")).to_have_text(HTML)
    page.press("Escape", "Control+b")
    expect(page.at(".cell-name", has_text=HTML)).not_to_have_count(0)
    page.type("<img")
    expect(page.at(".cell")).to_have_count(2)
    page.press("Escape", "Escape")
    page.at("#unreadable").click()
    expect(page.at("#unreadable-files li b")).to_have_text(f"{photos}/4 {HTML}.jpg")
    page.press("Escape")
    # Two versions side by side.
    other = open_page(server, beside=page)
    other.go_to("<i>folder/3.jpg")
    other.type(f"{HTML} theirs")
    other.press("Shift+Enter", "Enter")
    other.settle()
    page.page.bring_to_front()
    page.type(f"{HTML} mine")
    page.press("Shift+Enter", "Enter")
    expect(page.at("#stale .version li")).to_have_text([f"{HTML} theirs", f"{HTML} mine"])
    assert not page.is_hacked()
    assert not other.is_hacked()
    assert (
        page.at("#annotator img[src='x'], #annotator svg[onload], #annotator i > *, #annotator b[onclick]").count() == 0
    )


def test_a_tag_of_a_hundred_characters_fits_and_a_longer_one_cannot_be_typed(
    serve: Factory, open_page: Factory
) -> None:
    server = serve()
    page = open_page(server)
    chooser = random.Random(0)
    words = "".join(chooser.choice("abcdefgh") for _ in range(100))
    page.type(f"{words}too long")
    expect(page.at("#add-input")).to_have_value(words)
    page.press("Enter")
    page.see_kept(words)
    # It stays in its row, and no other element moves.
    widths = page.at("#tag-list").evaluate("list => [list.scrollWidth, list.clientWidth]")
    assert widths[0] <= widths[1]
    expect(page.at("#row-kept-1 .tag")).to_have_attribute("title", words)
    page.press("Enter")
    page.see_photo("chelsea.png")
    assert server.saved() == {"astronaut.png": [words]}
    refused = server.rest("save", image_id=2, revision=0, kept=[f"{words}a"], dropped=[])
    assert refused["error"]["kind"] == "tag"


def test_a_folder_of_files_that_are_not_read_is_not_called_empty(
    serve: Factory, open_page: Factory, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.mp4", "b.mp4", "c.psd"):
        (photos / name).write_bytes(b"x")
    server = serve(photos)
    page = open_page(server)
    expect(page.at("#rest h1")).to_have_text("None of the files could be read")
    expect(page.at("#rest p")).to_contain_text("2 video (.mp4), 1 layered picture (.psd)")
    page.at("#unreadable").click()
    expect(page.at("#unreadable-files p")).to_contain_text("2 video (.mp4), 1 layered picture (.psd)")
    expect(page.at("#unreadable-files li")).to_have_count(3)


def test_broken_files_are_listed_with_their_reasons(
    serve: Factory, open_page: Factory, twelve_photos: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(twelve_photos / "rocket.jpg", photos)
    (photos / "cut.jpg").write_bytes((twelve_photos / "rocket.jpg").read_bytes()[:9000])
    (photos / "empty.png").write_bytes(b"")
    (photos / "letter.jpg").write_text("Dear photo")
    server = serve(photos)
    page = open_page(server)
    page.see_photo("rocket.jpg")
    server.wait_until_read()
    expect(page.at("#unreadable")).to_have_text("3 files unreadable")
    page.at("#unreadable").click()
    rows = page.at("#unreadable-files li")
    expect(rows).to_have_count(3)
    listed = {
        Path(str(row.locator("b").text_content())).name: row.locator(".soft").text_content() for row in rows.all()
    }
    assert listed.keys() == {"cut.jpg", "empty.png", "letter.jpg"}
    assert all(reason and reason.endswith(".") for reason in listed.values())
    page.press("Escape")
    expect(page.at("#add-input")).to_be_focused()


def test_an_empty_folder_is_explained_and_fills_when_photos_arrive(
    serve: Factory, open_page: Factory, run_command: Factory, twelve_photos: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    server = serve(photos)
    page = open_page(server, expected_errors=AWAY)
    expect(page.at("#rest h1")).to_have_text("No photos in this project yet")
    # Keys have no effect and cause no error.
    page.press("1", "Enter", "Delete", "ArrowRight", "Control+ArrowRight", "Control+Space")
    expect(page.at("#rest h1")).to_be_visible()
    refused = run_command("add", server.project, twelve_photos)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    server.end()
    shutil.copy(twelve_photos / "coffee.png", photos)
    serve(photos, project=server.project, port=server.port)
    page.see_photo("coffee.png")
    page.see_tagged(0, 1)


def test_when_all_photos_are_tagged_the_page_offers_the_export(
    serve: Factory, open_page: Factory, twelve_photos: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("coffee.png", "rocket.jpg"):
        shutil.copy(twelve_photos / name, photos)
    server = serve(photos)
    page = open_page(server)
    for name in ("coffee.png", "rocket.jpg"):
        page.see_photo(name)
        server.wait_until_read()
        page.type(name)
        page.press("Shift+Enter", "Enter")
    expect(page.at("#rest h1")).to_have_text("All 2 photos are tagged")
    page.see_tagged(2, 2)
    with page.page.expect_download() as download:
        page.at("#export-jsonl-end").click()
    rows = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert [row["tags"] for row in rows] == [["coffee.png"], ["rocket.jpg"]]
    # Letters, digits and Enter have no effect here; the keys that go back work.
    page.press("1", "Enter", "x", "Delete", "Escape")
    page.press("ArrowLeft")
    page.see_photo("rocket.jpg")
    page.reload()
    expect(page.at("#rest h1")).to_have_text("All 2 photos are tagged")
    page.press("Control+z")
    page.see_photo("rocket.jpg")
    page.see_kept("rocket.jpg")
    assert server.saved() == {"coffee.png": ["coffee.png"]}


def test_a_save_at_which_the_server_failed_is_shown_with_its_request_id_and_stays(
    serve: Factory, open_page: Factory
) -> None:
    server = serve()
    page = open_page(server)
    first = page.proposed()[0]
    page.press("1")
    page.see_kept(first)
    sentence = "The server failed at this call; its log says why under the request id 0a1b2c3d4e5f."
    fails = [True]

    def answer(route: Any) -> None:
        if fails[0] and route.request.post_data_json.get("fn_name") == "save":
            route.fulfill(json={"error": {"kind": "failed", "message": sentence}})
        else:
            route.continue_()

    page.page.route(re.compile("component_server"), answer)
    page.press("Enter")
    expect(page.page.get_by_text(sentence)).to_be_visible()
    page.see_kept(first)
    assert server.saved() == {}
    fails[0] = False
    page.page.get_by_role("button", name="Try again").click()
    page.see_photo("chelsea.png")
    assert server.saved() == {"astronaut.png": [first]}
