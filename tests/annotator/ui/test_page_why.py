"""Why a tag has its rank, on the page: the model's neighbours, the evidence of each source, and excluding it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

Factory = Callable[..., Any]

OWN_WORD = "zzqxw"
"""It has no word vector: the model makes no row for it, so that only similar photos are evidence for it."""


@pytest.fixture
def page_of_tagger(
    serve: Factory, open_page: Factory, write_context_checkpoint: Callable[..., Path], tmp_path: Path
) -> Factory:
    """The first photo's page, with four other photos tagged, under a small tagger with a context."""

    def make(*, is_tagged: bool = True, **options: Any) -> Any:
        server = serve(None, "--tagger", str(write_context_checkpoint(tmp_path / "ltwin")))
        for image_id in (2, 3, 4, 5) if is_tagged else ():
            server.rest("save", image_id=image_id, revision=0, kept=[OWN_WORD], dropped=[])
        page = open_page(server, **options)
        page.server = server
        return page

    return make


def ranking(page: Any) -> list[tuple[str, str]]:
    """Each proposed tag with its score."""
    page.settle()
    rows = page.at(".row.proposed").evaluate_all(
        "rows => rows.map((row) => [row.dataset.tag, row.querySelector('.bar').title])"
    )
    return [(tag, title) for tag, title in rows]


def focused(page: Any, name: str) -> Any:
    return page.page.evaluate(f"() => document.activeElement.dataset.{name} ?? null")


def test_leaving_a_neighbour_of_the_model_out_re_ranks_at_once_by_keyboard(page_of_tagger: Factory) -> None:
    page = page_of_tagger()
    before = ranking(page)
    page.press("F2")
    expect(page.at("#tab-model")).to_have_attribute("aria-selected", "true")
    expect(page.at("#neighbour-note")).to_contain_text("This photo has no keywords")
    rows = page.at("#neighbour-list .neighbour")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text(re.compile(r"distance 0\.\d\d by looks"))
    rows.first.locator(".switch").focus()
    image_id = focused(page, "switchNeighbour")
    page.press("Enter")
    expect(rows.first).to_have_class(re.compile(r"\boff\b"))
    assert ranking(page) != before
    expect(page.at("#left-out")).to_contain_text("Left out:")
    assert focused(page, "switchNeighbour") == image_id  # so that the same key brings it back
    page.press("Enter")
    expect(page.at("#left-out")).to_be_hidden()
    assert ranking(page) == before


def test_why_this_rank_names_each_source_and_lets_one_leave_it_out(page_of_tagger: Factory) -> None:
    page = page_of_tagger()
    before = ranking(page)
    tag = next(tag for tag, _ in before if tag in {"cat", "coffee", "rocket", "building", "flower", "person"})
    page.press(*["ArrowUp"] * len(before))
    page.press(*["ArrowDown"] * [name for name, _ in before].index(tag))
    assert page.selected() == tag
    place = [name for name, _ in before].index(tag) + 1
    expect(page.at("#why-place")).to_have_text(f"suggestion {place} of {len(before)}")
    expect(page.at("#why-sources")).to_be_hidden()
    page.press("F9")
    line = page.at('#why-sources [data-source="context"]')
    expect(line).to_contain_text("% without its neighbours")
    line.locator(".switch").click()
    expect(page.at('#sources [data-switch-source="context"]')).to_have_attribute("aria-pressed", "false")
    after = ranking(page)
    assert after != before
    expect(page.at('.row.proposed[data-source="context"]')).to_have_count(0)
    page.at("#left-out .chip").first.click()
    page.settle()
    assert ranking(page) == before
    page.press("F9")
    expect(page.at("#why-sources")).to_be_hidden()


def test_the_votes_of_similar_photos_can_be_left_out_and_the_actions_are_stored(page_of_tagger: Factory) -> None:
    page = page_of_tagger()
    page.go_to("cats/ear.jpg")  # a part of photo 2
    assert OWN_WORD in page.proposed()
    page.press("F2")
    page.at('#sources [data-switch-source="habits"]').click()  # it is a usual tag, too
    assert OWN_WORD in page.proposed()
    page.at('#sources [data-switch-source="neighbours"]').click()
    assert OWN_WORD not in page.proposed()
    page.press("F2")  # the next tab
    expect(page.at("#tab-looks")).to_have_attribute("aria-selected", "true")
    page.at('#left-out .chip[data-switch-source="neighbours"]').click()
    assert OWN_WORD in page.proposed()
    for _ in range(4):
        page.at("#neighbour-list .neighbour:not(.off) .switch").first.click()
        page.settle()
    assert OWN_WORD not in page.proposed()
    page.at("#restore").click()
    assert OWN_WORD in page.proposed()
    page.at("#add-input").focus()
    page.press("1", "Enter")
    page.settle()
    actions = [action[0] for action in page.server.history("cats/ear.jpg")[-1]["actions"]]
    assert {"switch_source", "switch_neighbour", "switch_all_back"} <= set(actions)
    # Another photo opens without exclusions.
    expect(page.at("#left-out")).to_be_hidden()


def test_without_any_tagged_photo_the_panel_says_that_the_model_has_no_neighbours(page_of_tagger: Factory) -> None:
    page = page_of_tagger(is_tagged=False)
    expect(page.at("#neighbour-note")).to_have_text(
        "No other photo is tagged yet, so the model looks at this one alone."
    )
    expect(page.at("#neighbour-list .neighbour")).to_have_count(0)


def test_on_a_phone_evidence_is_left_out_by_touch(page_of_tagger: Factory) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = page_of_tagger(**phone)
    before = ranking(page)
    page.at("#open-details").tap()
    page.at("#alike-open").tap()
    page.at("#neighbour-list .switch").first.tap()
    expect(page.at("#neighbour-list .neighbour").first).to_have_class(re.compile(r"\boff\b"))
    assert ranking(page) != before
    wide = page.page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth")
    assert not wide
