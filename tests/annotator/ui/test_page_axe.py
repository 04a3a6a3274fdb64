"""Every view and dialog by axe-core, light and dark; and one photo tagged by what a screen reader says."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

Factory = Callable[..., Any]
RULES = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    },
    "rules": {"target-size": {"enabled": True}},
}
SIZES: dict[str, dict[str, Any]] = {
    "laptop": {"viewport": {"width": 1280, "height": 720}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
# The least contrast (WCAG 1.4.11) of borders of controls and of bars, to what is beside them.
EDGES = """
() => {
  const channels = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return text.startsWith("color(srgb") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const linear = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0.9) return colour;
    }
    return [255, 255, 255];
  };
  const ratio = (one, other) => {
    const [a, b] = [light(one), light(other)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const found = [];
  const name = (element) => element.id || element.className;
  const controls = "button, .add-box, summary.square, .bar i, .meter i";
  for (const element of document.querySelectorAll(`#annotator :is(${controls})`)) {
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || element.disabled) continue;
    const style = getComputedStyle(element);
    const around = behind(element.parentElement);
    if (element.localName === "i") {
      const own = ratio(channels(style.backgroundColor), around);
      if (element.clientWidth > 0) found.push([name(element.parentElement), own]);
      continue;
    }
    const border = channels(style.borderTopColor);
    const hasBorder = parseFloat(style.borderTopWidth) > 0 && border[3] > 0.9;
    if (!hasBorder) continue;
    const fill = behind(element);
    found.push([name(element), Math.max(ratio(border, around), ratio(fill, around))]);
  }
  return found;
}
"""
FIELD_COLOURS = """(field) => {
  const { color, backgroundColor, borderTopColor } = getComputedStyle(field);
  return { color, backgroundColor, borderTopColor };
}"""


def violations(page: Any) -> list[tuple[str, Any, str]]:
    page.settle()
    found = Axe().run(page.page, options=RULES).response["violations"]
    return [(rule["id"], node["target"], node["failureSummary"]) for rule in found for node in rule["nodes"]]


@pytest.fixture
def full_page(serve: Factory, open_page: Factory) -> Callable[..., Any]:
    """The page of a project with saved photos, a draft, a refused tag and a look-alike with tags."""

    def open_(**options: Any) -> Any:
        server = serve()
        for number, name in enumerate(("cats/ear.jpg", "cats/eyes.jpg", "astronaut.png")):
            tags = ["cat", "whiskers", "animal"][number:]
            server.rest("save", image_id=server.image_id(name), revision=0, kept=tags, num_keys=3, seconds=2)
        image_id = server.image_id("chelsea.png")
        server.rest("propose", image_id=image_id, kept=["cat", "ginger"], dropped=[], revision=0)
        server.rest("set_never_proposed", tag="blur", never=True)
        page = open_page(server, **options)
        page.see_photo("chelsea.png")
        page.server = server
        return page

    return open_


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_no_view_and_no_dialog_violates_a_rule_of_axe(full_page: Callable[..., Any], size: str, scheme: str) -> None:
    page = full_page(color_scheme=scheme, **SIZES[size])
    found: dict[str, Any] = {}

    def check(view: str, *keys: str) -> None:
        page.press(*keys)
        found[view] = violations(page)

    check("at rest")
    assert [edge for edge in page.page.evaluate(EDGES) if edge[1] < 3] == []
    check("a kept tag", "ArrowUp")
    check("why this rank", "F9")
    check("look-alikes", "F2")
    check("history", "F7")
    page.press("Escape", "Escape")
    page.type("wh")
    expect(page.at("#completion-1")).to_be_visible()
    check("completions")
    check("actions", "Escape", "Control+k")
    check("keys", "Escape", "?")
    page.press("Escape", "F3")
    if page.at("#group").count():
        check("tag together")
        page.press("Escape")
    for entry in ("#open-effort", "#open-model", "#open-order", "#open-projects"):
        page.at("#menu").click()
        if entry == "#open-effort":
            check("menu")
        page.at(entry).click()
        expect(page.at("dialog")).to_be_visible()
        check(entry)
        page.press("Escape")
    page.choose("#open-first-steps")
    check("first steps")
    page.at("#skip-steps").click()
    # Somebody else saves the photo meanwhile.
    image_id = page.server.image_id("chelsea.png")
    page.server.rest("save", image_id=image_id, revision=0, kept=["theirs"], dropped=[])
    page.at("#add-input").focus()  # a dialog gives the focus back to the menu that opened it
    page.press("Enter")
    expect(page.at("#stale")).to_be_visible()
    check("saved meanwhile")
    page.at("#stale-mine").click()
    page.see_status("Saved")
    check("saved")
    page.press("Control+b")
    expect(page.at(".cell")).to_have_count(12)
    check("library")
    page.server.rest("set_strategy", strategy="in_order", random_share=0.0, probe_share=0.0)
    page.at("#browse-grid").focus()
    page.press("Control+a")
    page.at("#bulk-suggest").click()
    page.at("#bulk-becomes").select_option("suggested")
    page.at("#bulk-least").fill("5")
    page.press("Enter")
    expect(page.at(".bulk-sample").first).to_be_visible()
    # The colours of a list of choices, which axe does not judge, are those of the field beside it.
    number, choices = (page.at(name).evaluate(FIELD_COLOURS) for name in ("#bulk-least", "#bulk-becomes"))
    assert number == choices
    check("suggestions for many photos")
    assert {view: problems for view, problems in found.items() if problems} == {}
    assert len(found) >= 12


def test_axe_finds_what_is_wrong(full_page: Callable[..., Any]) -> None:
    page = full_page()
    page.page.evaluate("() => document.querySelector('#action-undo').removeAttribute('aria-label')")
    page.page.evaluate("() => document.querySelector('#action-undo').removeAttribute('title')")
    assert [rule for rule, _, _ in violations(page)] == ["button-name"]
    page.page.evaluate("() => document.querySelector('#annotator').style.setProperty('--edge', '#eeeeee')")
    assert any(ratio < 3 for _, ratio in page.page.evaluate(EDGES))


def said(page: Any) -> str:
    """What a screen reader says of the element that the focus names: its role and its name."""
    page.settle()
    session = page.page.context.new_cdp_session(page.page)
    active = page.at("#add-input").get_attribute("aria-activedescendant")
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    expect(page.at("#add-input")).to_be_focused()
    label = page.at(f"#{active}").get_attribute("aria-label") if active else None
    (node,) = (
        node
        for node in nodes
        if not node["ignored"] and node["role"]["value"] == "option" and node["name"]["value"] == label
    )
    return f"{node['role']['value']}: {node['name']['value']}"


def test_one_photo_is_tagged_by_what_a_screen_reader_says(serve: Factory, open_page: Factory) -> None:
    server = serve()
    page = open_page(server)
    first, second = page.proposed()[:2]
    # The heading, the skip link, and the box that has the focus.
    expect(page.page.get_by_role("heading", level=1)).to_have_count(1)
    expect(page.page.get_by_role("main")).to_have_count(1)
    expect(page.page.get_by_role("combobox", name="Add a tag")).to_be_focused()
    expect(page.page.get_by_role("listbox", name="Kept, most important first")).to_have_count(1)
    expect(page.page.get_by_role("listbox", name="Suggested")).to_have_count(1)
    # Rank or key, tag, certainty, and whether it is kept.
    assert re.fullmatch(rf"option: {re.escape(first)}, suggested, key 1, \d+ percent sure", said(page))
    page.press("ArrowDown")
    assert re.fullmatch(rf"option: {re.escape(second)}, suggested, key 2, \d+ percent sure", said(page))
    # What changed.
    page.press("1")
    expect(page.at("#spoken")).to_have_text(f"{first} kept, rank 1 of 1.")
    page.press("2")
    expect(page.at("#spoken")).to_have_text(f"{second} kept, rank 2 of 2.")
    page.press("Alt+ArrowUp")
    expect(page.at("#spoken")).to_have_text(f"{second} moved, rank 1 of 2.")
    assert said(page) == f"option: {second}, kept, rank 1 of 2"
    page.press("Delete")
    expect(page.at("#spoken")).to_have_text(f"{second} refused for this photo.")
    page.press("Control+z")
    expect(page.at("#spoken")).to_have_text(f"{second} kept, rank 1 of 2.")
    page.press("Enter")
    page.see_status(f"Saved {second}, {first}.")
    expect(page.page.get_by_role("status").filter(has_text="Saved")).to_have_count(1)
    assert server.saved() == {"astronaut.png": [second, first]}


def test_the_skip_link_leads_to_the_tags(serve: Factory, open_page: Factory) -> None:
    page = open_page(serve())
    page.at("#skip-link").focus()
    expect(page.at("#skip-link")).to_be_in_viewport()
    page.press("Enter")
    expect(page.at("#add-input")).to_be_focused()
