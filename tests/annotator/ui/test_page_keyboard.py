"""The page in Chromium by keyboard alone: all of tagging, and the effect of each kind of key press."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from annotator.storage.project import Project

Factory = Callable[..., Any]


def test_the_whole_job_is_done_by_keyboard_alone(serve: Factory, open_page: Factory, run_command: Factory) -> None:
    server = serve(as_command=True)
    page = open_page(server)
    expected: dict[str, list[str]] = {}

    # Digits take proposals; the start of a word is completed; other tags are typed.
    page.see_photo("astronaut.png")
    first, second = page.proposed()[:2]
    page.press("1")
    page.see_kept(first)
    page.type("rock")
    expect(page.at("#completion-1")).to_have_attribute("aria-selected", "true")
    completed = page.at("#completion-1").get_attribute("data-tag")
    assert completed.startswith("rock")
    page.press("Enter")
    page.see_kept(first, completed)
    page.type("Space Shuttle pilot")
    page.press("Shift+Enter")
    page.see_kept(first, completed, "Space Shuttle pilot")
    # The tag that was typed last is selected: two up, then the first one out.
    page.press("Alt+ArrowUp", "Alt+ArrowUp")
    page.see_kept("Space Shuttle pilot", first, completed)
    page.press("ArrowDown", "Delete")
    page.see_kept("Space Shuttle pilot", completed)
    assert first not in page.proposed()
    page.press("Enter")
    page.see_status("Saved Space Shuttle pilot")
    expected["astronaut.png"] = ["Space Shuttle pilot", completed]

    # The cut line moves down over two proposals and up over one; Shift and a digit take all down to that one.
    page.see_photo("chelsea.png")
    page.see_tagged(1)
    both = [page.proposed()[0]]
    page.press("Shift+ArrowDown")
    page.see_kept(*both)
    both.append(page.proposed()[0])
    page.press("Shift+ArrowDown")
    page.see_kept(*both)
    page.press("Shift+ArrowUp")
    page.see_kept(both[0])
    # A tag moved below the line stays first there.
    page.pause()
    proposed = page.proposed()
    assert proposed[0] == both[1]
    (number,) = [number for number, tag in page.numbers().items() if tag == proposed[1]]
    page.press(f"Shift+Digit{number}")
    three = [both[0], *proposed[:2]]
    page.see_kept(*three)
    page.press("Enter")
    expected["chelsea.png"] = three

    # Back, and on again without saving; a skipped photo stays open.
    page.see_photo("china.jpg")
    page.press("ArrowLeft")
    page.see_photo("chelsea.png")
    page.see_kept(*three)
    page.press("ArrowRight")
    page.see_photo("china.jpg")
    page.press("Control+ArrowRight")
    page.see_status("Put off")
    page.see_photo("coffee.png")

    # Down to the second proposal, taken with Space; refused proposals do not come back.
    proposed = page.proposed()
    page.press("ArrowDown", "Space")
    page.see_kept(proposed[1])
    page.press("ArrowUp")
    refused = page.selected()
    page.press("Delete")
    expect(page.at(f'.row[data-tag="{refused}"]')).to_have_count(0)
    assert refused not in page.proposed()
    page.press("Enter")
    page.see_photo("flower.jpg")
    expected["coffee.png"] = [proposed[1]]
    page.see_tagged(3)

    assert server.saved() == expected
    exported = run_command("export", server.project, check=True).stdout.splitlines()
    assert {row["image"]: row["tags"] for row in map(json.loads, exported)} == expected
    event = server.history("astronaut.png")[-1]
    assert event["num_keys"] > 10
    assert event["num_clicks"] == 0
    assert event["seconds"] > 0
    assert [shown["tag"] for shown in event["shown"]][:2] == [first, second]
    assert [action[0] for action in event["actions"]] == ["take", "type", "type", "move", "move", "drop"]


def test_undo_goes_back_within_a_photo_and_across_photos_and_redo_forth(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    first, second = both = page.proposed()[:2]
    page.press("1")
    page.see_kept(first)
    page.press("2")
    page.see_kept(first, second)
    page.press("Control+z")
    page.see_kept(first)
    page.press("Control+Shift+z")
    page.see_kept(*both)
    page.press("Control+z", "Control+y")
    page.see_kept(*both)
    page.press("Enter")
    page.see_photo("chelsea.png")
    page.type("wrong")
    page.press("Shift+Enter", "Enter")
    page.see_photo("china.jpg")
    page.see_tagged(2)

    page.press("Control+z")
    page.see_photo("chelsea.png")
    page.see_status("Took back the save of chelsea.png")
    page.see_kept("wrong")
    page.see_tagged(1)
    assert server.saved() == {"astronaut.png": both}
    page.press("Control+z")
    page.see_photo("astronaut.png")
    page.see_kept(*both)
    page.see_tagged(0)
    assert server.saved() == {}
    page.press("Control+z")
    page.see_status("Nothing to undo")
    page.see_photo("astronaut.png")
    page.press("Enter")
    page.see_photo("chelsea.png")
    page.see_tagged(1)
    assert server.saved() == {"astronaut.png": both}


def test_letters_go_to_the_add_box_from_anywhere_and_no_command_fires_while_typing(
    serve: Factory, open_page: Factory
) -> None:
    server = serve()
    page = open_page(server)
    page.press("1")
    kept = page.kept()
    page.page.evaluate("() => document.activeElement.blur()")
    page.type("b")
    expect(page.at("#add-input")).to_be_focused()
    expect(page.at("#add-input")).to_have_value("b")
    # With text in the box these are text, or nothing: question mark, arrows, space, Delete, digits.
    page.type("x ?2 ")
    page.press("ArrowLeft", "Delete", "Home", "Delete", "ArrowRight", "Shift+ArrowRight", "Control+ArrowRight")
    expect(page.at("#add-input")).to_have_value("x ?2")
    page.press("End", "Control+z", "Control+y")
    assert page.kept() == kept
    assert page.at("dialog").count() == 0
    page.press("Escape")
    expect(page.at("#add-input")).to_have_value("")
    page.see_photo("astronaut.png")
    # A slash says that a digit is text.
    page.press("/")
    page.type("4wheels2")
    page.press("Backspace", "Shift+Enter")
    page.see_kept(*kept, "4wheels")
    # From a focused button, too.
    page.at("#open-browse").focus()
    page.type("su")
    expect(page.at("#add-input")).to_have_value("su")
    page.press("Escape")
    # In a dialog nothing reaches the photo.
    page.press("?")
    expect(page.at("dialog#keys")).to_be_visible()
    page.press("1", "Delete", "z", "Control+z", "ArrowRight", "Control+ArrowRight")
    page.press("Escape")
    expect(page.at("dialog")).to_have_count(0)
    page.see_kept(*kept, "4wheels")
    page.see_photo("astronaut.png")
    assert page.at("#add-input").input_value() == ""
    page.see_tagged(0)


def test_composed_text_is_not_cut_short_by_its_own_enter(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    keyboard = page.page.context.new_cdp_session(page.page)

    def press_while_composing(key: str) -> None:
        # An input method keeps key presses to itself: the page sees them with the code 229.
        for type in ("rawKeyDown", "keyUp"):
            keyboard.send("Input.dispatchKeyEvent", {"type": type, "key": key, "windowsVirtualKeyCode": 229})

    press_while_composing("n")
    keyboard.send("Input.imeSetComposition", {"text": "ね", "selectionStart": 1, "selectionEnd": 1})
    press_while_composing("k")
    keyboard.send("Input.imeSetComposition", {"text": "ねこ", "selectionStart": 2, "selectionEnd": 2})
    expect(page.at("#add-input")).to_have_value("ねこ")
    press_while_composing("Enter")
    page.settle()
    assert page.kept() == []
    keyboard.send("Input.insertText", {"text": "猫"})
    expect(page.at("#add-input")).to_have_value("猫")
    page.see_tagged(0)
    page.press("Enter")
    page.see_kept("猫")
    page.press("Enter")
    page.see_photo("chelsea.png")
    assert server.saved() == {"astronaut.png": ["猫"]}


def test_a_held_enter_adds_and_saves_only_once(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    page.type("patient")
    for _ in range(6):
        page.page.keyboard.down("Enter")
    page.page.keyboard.up("Enter")
    page.see_kept("patient")
    page.see_photo("astronaut.png")
    for _ in range(12):
        page.page.keyboard.down("Enter")
    page.see_photo("chelsea.png")
    for _ in range(12):
        page.page.keyboard.down("Enter")
    page.page.keyboard.up("Enter")
    page.settle()
    page.see_photo("chelsea.png")
    assert server.saved() == {"astronaut.png": ["patient"]}


def test_fast_typing_loses_nothing(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    proposed = page.proposed()
    # No waiting for any answer between these.
    page.press("1")
    page.type("one")
    page.press("Shift+Enter")
    page.type("two")
    page.press("Shift+Enter", "Alt+ArrowUp", "Enter", "Enter")
    page.see_photo("chelsea.png")
    assert server.saved() == {"astronaut.png": [proposed[0], "two", "one"]}


def test_with_text_in_the_box_every_digit_is_text(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    for text in ("ps5", "mp3 player", "route 66", "covid19"):
        page.type(text)
        expect(page.at("#add-input")).to_have_value(text)
        page.press("Shift+Enter")
    # A tag that begins with a digit is begun by a slash.
    for text in ("2024", "3d"):
        page.press("/")
        page.type(text)
        expect(page.at("#add-input")).to_have_value(text)
        page.press("Shift+Enter")
    page.see_kept("ps5", "mp3 player", "route 66", "covid19", "2024", "3d")
    page.press("Enter")
    page.see_photo("chelsea.png")
    assert [action[0] for action in server.history("astronaut.png")[-1]["actions"]] == ["type"] * 6


def test_commas_and_pasted_line_breaks_separate_tags(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)

    def paste(text: str) -> None:
        page.at("#add-input").evaluate(
            "(box, text) => { const data = new DataTransfer(); data.setData('text/plain', text);"
            " const options = { clipboardData: data, bubbles: true, cancelable: true };"
            " box.dispatchEvent(new ClipboardEvent('paste', options)); }",
            text,
        )

    page.type("red boat, old dock")
    page.see_kept("red boat")
    expect(page.at("#add-input")).to_have_value("old dock")
    paste(" one, ,sun set\r\nRED BOAT\n2024")
    page.see_kept("red boat", "old dock one", "sun set", "2024")
    expect(page.at("#add-input")).to_have_value("")
    # What was pasted is one edit.
    page.press("Control+z")
    page.see_kept("red boat")
    page.press("Control+y", "Enter")
    page.see_photo("chelsea.png")
    assert server.saved() == {"astronaut.png": ["red boat", "old dock one", "sun set", "2024"]}
    # A comma alone adds nothing, and text without a separator is pasted by the browser.
    page.type(",")
    expect(page.at("#add-input")).to_have_value("")
    paste(f"red boat,{'x' * 101}")
    page.see_kept("red boat")
    paste(f"RED boat,{'x' * 101}")
    page.see_status("All of these are kept already, or too long")


def test_a_digit_keeps_its_meaning_while_the_photo_is_open(
    serve: Factory, open_page: Factory, read_project: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "long lists"
    shutil.copytree(read_project, folder)
    Project.open(folder).update_settings(least_probability=0.0)
    page = open_page(serve(project=folder))
    before = page.numbers()
    assert list(before) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    page.press("2", "2", "5")
    page.see_kept(before[2], before[5])  # the second press found an empty number
    page.see_status("Number 2 is empty")
    page.settle()  # the newest proposals are there, below
    now = page.numbers()
    assert not {2, 5} & set(now)
    assert now.items() <= before.items()
    page.pause()
    filled = page.numbers()
    assert {2, 5} <= set(filled)
    assert {number: tag for number, tag in filled.items() if number in now} == now
    assert not {before[2], before[5]} & set(filled.values())
    page.press("2")
    page.see_kept(before[2], before[5], filled[2])
    page.press("Control+z")
    page.see_kept(before[2], before[5])
    assert page.numbers()[2] == filled[2]
    # Leaving evidence out changes what the proposals are made from: all are numbered anew.
    page.press("F9")
    page.at("#why-sources .switch").first.click()
    page.settle()
    assert list(page.numbers()) == list(range(1, len(page.numbers()) + 1))


def test_an_empty_list_is_saved_only_by_a_second_enter_and_is_counted_and_found(
    serve: Factory, open_page: Factory
) -> None:
    server = serve()
    page = open_page(server)
    page.press("Enter")
    page.see_status("Nothing is kept, so nothing was saved.")
    page.press("ArrowDown", "Enter")  # another key in between: asked again
    page.see_status("The same key again saves this photo without tags.")
    page.settle()
    page.see_photo("astronaut.png")
    assert server.saved() == {}
    page.press("Enter")
    page.see_status("Saved without tags.")
    page.see_photo("chelsea.png")
    assert server.saved() == {"astronaut.png": []}
    page.type("cat")
    page.press("Shift+Enter", "Enter")
    page.see_photo("china.jpg")
    expect(page.at("#tagged")).to_have_text("2 of 12 tagged, 1 without tags")
    # By the mouse.
    page.at("#action-save").click()
    page.see_status("Nothing is kept")
    page.at("#action-save").click()
    page.see_photo("coffee.png")
    expect(page.at("#tagged")).to_have_text("3 of 12 tagged, 2 without tags")
    page.press("Control+b")
    expect(page.at('[data-state="empty"].tab')).to_have_text("Saved without tags 2")
    page.at('[data-state="empty"].tab').click()
    expect(page.at("#browse-total")).to_have_text("2 photos")
    expect(page.at("#cell-0")).to_have_accessible_name("astronaut.png, saved without tags")
    page.at("#cell-1").click()
    page.see_photo("china.jpg")


def test_a_tag_is_never_proposed_again_in_the_project_until_it_is_given_back(
    serve: Factory, open_page: Factory
) -> None:
    server = serve()
    page = open_page(server)
    first, second = page.proposed()[:2]
    page.press("Shift+Delete")
    page.see_status(f"“{first}” is never proposed in this project")
    assert first not in page.proposed()
    assert page.numbers().get(2) == second
    page.at("#why-open").click()
    page.at("#never").click()
    page.settle()
    refused = server.rest("state")["never_proposed"]
    assert refused[0] == first
    assert len(refused) == 2
    page.reload()
    assert not set(refused) & set(page.proposed())
    assert server.rest("propose", image_id=1, kept=[], dropped=[], revision=0)["proposals"][0]["tag"] not in refused
    # No completion offers it before it is typed in full.
    page.type(first[:-1])
    page.settle()
    offered = page.at("#completions li").evaluate_all("rows => rows.map((row) => row.dataset.tag)")
    assert first not in offered
    page.type(first[-1])
    expect(page.at("#completion-1")).to_have_attribute("data-tag", first)
    page.press("Escape", "?")
    page.at(f'#never-proposed [data-tag="{first}"]').click()
    expect(page.at("#keys .key-note")).to_contain_text(f"“{first}” is proposed again")
    page.press("Escape")
    page.settle()
    assert server.rest("state")["never_proposed"] == refused[1:]
    assert first in page.proposed()
    # A kept tag is no proposal.
    page.press("1", "ArrowUp", "Shift+Delete")
    page.see_status("Select a proposal first")


def test_completions_are_taken_by_alt_and_a_digit_and_alt_saves_with_the_last_tag(
    serve: Factory, open_page: Factory
) -> None:
    server = serve()
    page = open_page(server)

    def completions(text: str) -> list[str]:
        page.type(text)
        expect(page.at("#completion-3")).to_be_visible()
        page.settle()
        return [str(row.get_attribute("data-tag")) for row in page.at("#completions li").all()]

    # Tab puts the first completion into the box, to be typed on.
    word = completions("s")[0]
    page.press("Tab")
    expect(page.at("#add-input")).to_have_value(f"{word} ")
    page.press("Escape")
    second = completions("s")[1]
    expect(page.at("#completion-2 .number")).to_have_text("Alt 2")
    page.press("Alt+Digit2")
    page.see_kept(second)
    expect(page.at("#add-input")).to_have_value("")
    third = page.numbers()[3]
    page.press("Alt+Digit3")
    page.see_photo("chelsea.png")
    # The second completion; a number without one takes and saves nothing. Then the first that continues the text, and
    # saved with it.
    other = completions("c")[1]
    page.press("Alt+Digit2")
    page.see_kept(other)
    page.type("qzxw")
    page.settle()
    page.press("Alt+Digit7", "Escape")
    page.see_kept(other)
    page.press("Enter")
    page.see_photo("china.jpg")
    completions("b")
    first = page.at('#completions [aria-selected="true"]').get_attribute("data-tag")
    page.press("Control+Enter")
    page.see_photo("coffee.png")
    last = completions("c")[1]
    page.press("Alt+Shift+Digit2")
    page.see_tagged(4)
    assert server.saved() == {
        "astronaut.png": [second, third],
        "chelsea.png": [other],
        "china.jpg": [first],
        "coffee.png": [last],
    }
    assert [action[0] for action in server.history("astronaut.png")[-1]["actions"]] == ["type", "take"]
    # A digit that means no proposal saves nothing.
    page.press("Alt+Digit9", "Control+z")
    page.settle()
    page.see_tagged(len(server.saved()))


def test_expected_proposals_are_above_a_dashed_line_and_one_key_accepts_them(
    serve: Factory, open_page: Factory
) -> None:
    server = serve()
    photos = [server.rest("open", image_id=item["image_id"]) for item in server.rest("browse")["items"]]
    expecting = next(photo for photo in photos if photo["num_expected"])
    doubting = next(photo for photo in photos if not photo["num_expected"])
    page = open_page(server)
    page.go_to(doubting["file_name"])
    expect(page.at("#expected-line")).to_have_count(0)
    page.press("Control+Enter")
    page.see_status("No proposal is above a dashed line")
    assert server.saved() == {}
    page.reload()
    page.go_to(expecting["file_name"])
    wanted = [proposal["tag"] for proposal in expecting["proposals"][: expecting["num_expected"]]]
    rows = page.at(".proposed-zone > *").evaluate_all("rows => rows.map((row) => row.dataset.tag ?? row.id)")
    assert rows[: len(wanted) + 1] == [*wanted, "expected-line"]
    assert page.kept() == []  # nothing is kept yet
    page.press("Control+Enter")
    page.see_status("Saved")
    assert server.saved() == {expecting["file_name"]: wanted}
    # The same by mouse, after the save was undone.
    page.press("Control+z")
    page.see_photo(expecting["file_name"])
    page.press(*["Shift+ArrowUp"] * len(wanted))
    expect(page.at("#expected-line")).to_have_count(0)  # a tag moved below the line is not expected
    page.press(*["Control+z"] * len(wanted))
    page.see_kept(*wanted)


def test_the_dashed_line_can_be_switched_off_for_good(serve: Factory, open_page: Factory) -> None:
    server = serve()
    items = server.rest("browse")["items"]
    expecting = next(
        photo for item in items if (photo := server.rest("open", image_id=item["image_id"]))["num_expected"]
    )
    page = open_page(server)
    page.go_to(expecting["file_name"])
    page.at("#accept").hover()
    page.press("?")
    expect(page.at("#show-expected")).to_be_checked()
    page.at("#show-expected").focus()
    page.press("Space")
    expect(page.at("#keys .key-note")).to_contain_text("No dashed line")
    page.press("Escape")
    expect(page.at("#expected-line")).to_have_count(0)
    page.reload()
    page.go_to(expecting["file_name"])
    expect(page.at("#expected-line")).to_have_count(0)
    assert server.rest("state")["show_expected"] is False
    assert server.rest("open", image_id=expecting["image_id"])["num_expected"] == 0
    server.rest("set_show_expected", shown=True)
    page.reload()
    page.go_to(expecting["file_name"])
    page.at("#accept").click()
    page.see_status("Saved")
    assert list(server.saved()) == [expecting["file_name"]]


def test_browse_finds_by_tag_name_and_state_and_returns(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    page.type("moon walker")
    page.press("Shift+Enter", "Enter")
    page.see_photo("chelsea.png")
    page.press("Control+b")
    expect(page.at("#browse-total")).to_have_text("12 photos")
    expect(page.at(".cell")).to_have_count(12)
    expect(page.at("#browse-search")).to_be_focused()
    # No command of the tagging view works here.
    page.type("moon")
    expect(page.at(".cell")).to_have_count(1)
    expect(page.at("#cell-0")).to_have_accessible_name("astronaut.png, moon walker")
    page.press("Escape")
    expect(page.at(".cell")).to_have_count(12)
    page.type("cats/")
    expect(page.at(".cell")).to_have_count(2)
    page.press("Escape")
    page.at('[data-state="unsaved"].tab').focus()
    page.press("Enter")
    expect(page.at("#browse-total")).to_have_text("11 photos")
    page.at('[data-state="saved"].tab').focus()
    page.press("Space")
    expect(page.at("#browse-total")).to_have_text("1 photo")
    page.at('[data-state="all"].tab').focus()
    page.press("Enter")
    expect(page.at(".cell")).to_have_count(12)
    page.press("Escape")
    expect(page.at("#browse")).to_be_hidden()
    page.see_photo("chelsea.png")
    page.press("Control+b")
    expect(page.at(".cell")).to_have_count(12)
    # It opens at the photo that was open.
    expect(page.at("#browse-grid")).to_have_attribute("aria-activedescendant", "cell-1")
    page.press("ArrowDown", "ArrowRight", "Enter")
    page.see_photo("china.jpg")
    expect(page.at("#add-input")).to_be_focused()
    page.press("Control+b", "Control+b")
    expect(page.at("#browse")).to_be_hidden()


def test_keys_can_be_remapped_and_a_clash_is_refused(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)

    def change(action: str, key: str) -> None:
        page.at(f'#keys [data-action="{action}"] button').focus()
        page.press("Enter")
        expect(page.at(f'#keys [data-action="{action}"]')).to_contain_text("press a key")
        page.press(key)

    page.press("?")
    change("skip", "Insert")
    expect(page.at("#keys .key-note")).to_contain_text("Insert is the new key")
    change("drop", "Insert")
    expect(page.at("#keys .key-note")).to_contain_text("Insert is taken by “Put off")
    change("drop", "x")
    expect(page.at("#keys .key-note")).to_contain_text("letters are for typing tags")
    change("drop", "Escape")
    expect(page.at("#keys .key-note")).to_contain_text("stays as it was")
    expect(page.at("dialog#keys")).to_be_visible()
    page.press("Escape")
    expect(page.at("dialog")).to_have_count(0)
    page.reload()
    page.press("Control+ArrowRight")
    page.see_photo("astronaut.png")
    page.press("Insert")
    page.see_photo("chelsea.png")
    refused = server.rest("set_keys", keys={**server.rest("state")["keys"], "drop": ["Insert"]})
    assert refused["error"]["kind"] == "config"
    page.press("?")
    page.at("#reset-keys").focus()
    page.press("Enter")
    expect(page.at("#keys .key-note")).to_contain_text("as they came")
    page.press("Escape", "Control+ArrowRight")
    page.see_photo("china.jpg")


def test_help_names_every_action_and_gives_the_focus_back(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    page.press("?")
    names = page.at("#keys [data-action] > span:nth-child(2)").all_text_contents()
    assert len(names) == len(server.rest("state")["keys"])
    assert all(names)
    for keys in page.at("#keys [data-action] .key-caps").all_text_contents():
        assert keys
    # Tab stays inside of the dialog.
    for _ in range(25):
        page.press("Tab")
        assert page.page.evaluate("() => document.activeElement.closest('dialog, body').localName") in {
            "dialog",
            "body",  # the browser's own controls
        }
    page.press("Escape")
    expect(page.at("#add-input")).to_be_focused()


def test_zoom_heat_map_and_neighbours_have_keys(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve())
    fitted = page.at("#zoom").text_content()
    page.press("Control+Space")
    expect(page.at("#photo")).to_have_class(re.compile("zoomed"))
    expect(page.at("#photo-image")).to_have_attribute("src", re.compile("full=1"))
    page.press("Control+Space")
    expect(page.at("#zoom")).to_have_text(fitted)
    page.press("F4")
    expect(page.at("#heat-map")).to_be_visible()
    page.press("F4")
    expect(page.at("#heat-map")).to_be_hidden()
    page.press("F2")
    expect(page.at("#neighbours")).to_be_visible()
    expect(page.at("#tab-looks")).to_have_attribute("aria-selected", "true")
    page.press("F2")
    expect(page.at("#tab-metadata")).to_have_attribute("aria-selected", "true")
    page.see_status("Same words")
    page.press("F2")
    expect(page.at("#tab-looks")).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("key", ["ArrowLeft", "ArrowRight"])
def test_stepping_stops_at_the_ends_of_the_folder(serve: Factory, open_page: Factory, key: str) -> None:
    page = open_page(serve())
    last = "garden/petals.jpg" if key == "ArrowRight" else "astronaut.png"
    page.go_to(last)
    page.press(key)
    page.see_photo(last)
    assert page.at("#banner").is_hidden()
