"""A vision-language model and another backbone, as a person at the page meets them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from annotator.models.backbones.hub_install import install
from annotator.models.backbones.installed import remove_installed

AWAY = [r"net::ERR_", r"Failed to fetch", r"Service Unavailable", r"\bForbidden\b"]
"""Console errors of a page whose server has ended."""


def test_the_page_says_where_photos_go_and_proposes_what_comes_back(
    serve: Callable[..., Any], open_page: Callable[..., Any], vision: Any, until: Callable[..., Any]
) -> None:
    with vision.running(vision.says({"tags": ["espresso cup", "<b>bold</b>", "saucer"]}, tokens=7)) as model:
        server = serve(None, "--vlm", model.url, "--vlm-model", "tiny")
        server.wait_until_read()
        page = open_page(server)
        host = model.url[len("http://") : -len("/v1")]
        expect(page.at("#vlm")).to_have_text(f"Photos go to {host}")
        until(lambda: server.rest("state")["vlm"]["num_asked"], lambda num: num == 12)
        page.reload()
        row = page.at('.row[data-tag="espresso cup"]')
        expect(row).to_have_count(1)
        expect(page.at(".row[data-tag*=bold]")).to_have_count(0)
        row.click()
        expect(page.at("#why-text")).to_contain_text("the vision-language model tiny names it", ignore_case=True)
        expect(page.at('#sources [data-switch-source="vlm"]')).to_contain_text("Vision-language model")
        page.at("#alike-open").click()
        page.at('#sources [data-switch-source="vlm"]').click()
        expect(page.at('.row.proposed[data-tag="saucer"]')).to_have_count(0)
        page.choose("#open-model")
        expect(page.at("#vision")).to_contain_text(
            re.compile(rf"tiny: photos, made smaller .* go to {re.escape(host)}, on this machine\. 12 photos asked")
        )
        expect(page.at("#vision")).to_contain_text("84 tokens in this project")
        page.press("Escape")
        page.page.close()
        project, photos = server.project, server.photos
        server.end()
        asked = len(model.requests)
    # Without the address, the answers stay and nothing is sent.
    again = serve(photos, project=project)
    page = open_page(again)
    expect(page.at("#vlm")).to_be_hidden()
    expect(page.at('.row[data-tag="saucer"]')).to_have_count(1)
    assert asked == len(model.requests) == 12


def test_a_person_switches_between_backbones_and_loses_no_tag(
    serve: Callable[..., Any],
    open_page: Callable[..., Any],
    tiny_models: Any,
    vision: Any,
    tmp_path: Path,
    until: Callable[..., Any],
) -> None:
    tiny_models.write_clip(tmp_path / "tiny-page-clip")
    install(str(tmp_path / "tiny-page-clip"))
    server = serve(None)
    server.wait_until_read()
    page = open_page(server, expected_errors=AWAY)
    page.type("lighthouse")
    page.press("Enter")
    page.press("Enter")
    page.see_tagged(1)
    saved = server.saved()
    server.end()

    with vision.running(vision.says({"tags": ["espresso cup"]})) as model:
        options = ("--backbone", "tiny-page-clip", "--vlm", model.url, "--vlm-model", "tiny")
        second = serve(server.photos, *options, project=server.project)
        second.wait_until_read()
        until(lambda: second.rest("state")["text"], lambda text: text["num_words"] and not text["running"])
        until(lambda: second.rest("state")["vlm"]["num_asked"], lambda num: num == 12)
    page = open_page(second, expected_errors=AWAY)
    page.see_tagged(1)
    # Proposals of both: of the endpoint and of the text tower.
    expect(page.at('.row.proposed[data-source="vlm"]').first).to_be_visible()
    expect(page.at('.row.proposed[data-source="text"]').first).to_be_visible()
    page.press("F9")
    while page.at(".row.proposed.selected").get_attribute("data-source") != "text":
        page.press("ArrowDown")
    expect(page.at("#why-text")).to_contain_text("the image-text model finds it alike", ignore_case=True)
    expect(page.at('#sources [data-switch-source="text"]')).to_contain_text("Image-text model")
    page.choose("#open-model")
    expect(page.at("#vision")).to_contain_text(re.compile(r"Photos are seen by tiny-page-clip.* compares them with"))
    page.press("Escape")
    assert second.saved() == saved
    second.end()

    third = serve(server.photos, "--backbone", "efficientnet_lite0", project=server.project)
    third.wait_until_read()
    page = open_page(third)
    page.see_tagged(1)
    expect(page.at('#sources [data-switch-source="text"]')).to_have_count(0)
    expect(page.at(".row.proposed").first).to_be_visible()
    assert third.saved() == saved
    remove_installed("tiny-page-clip")
