"""The appearance of the page in Chromium: sizes, light and dark, names for screen readers, visible focus."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

Factory = Callable[..., Any]
SIZES = {"small laptop": (1280, 640), "laptop": (1360, 768), "desktop": (1920, 1080), "tablet": (820, 1180)}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}

# Every visible text, with its contrast to its background (WCAG 2.1).
CONTRASTS = """
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
  const found = [];
  for (const element of document.querySelectorAll("#annotator *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const seen = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!own || !seen || element.closest(".status")) continue;
    const [one, other] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    found.push([element.textContent.trim().slice(0, 30), Math.round(ratio * 10) / 10]);
  }
  return found;
}
"""
# Elements that overflow their card or bar, and boxes whose text is cut off.
MISFITS = """
() => {
  const found = [];
  const seen = (element) => element.checkVisibility({ visibilityProperty: true });
  const style = (element) => getComputedStyle(element);
  const parts = [".header", ".actions", ".key-hints", ".tags-card", ".photo-facts", ".browse-bar"];
  for (const element of document.querySelectorAll(parts.map((part) => `${part} > *`).join())) {
    if (!seen(element) || style(element).position === "fixed") continue;
    const [box, frame] = [element.getBoundingClientRect(), element.parentElement.getBoundingClientRect()];
    const [right, bottom] = [Math.round(box.right - frame.right), Math.round(box.bottom - frame.bottom)];
    if (box.left < frame.left - 1 || right > 1 || bottom > 1)
      found.push(`${element.id || element.className} sticks out by ${right}, ${bottom}`);
  }
  for (const element of document.querySelectorAll(".actions button, .tab, .pill, .hint")) {
    const { scrollWidth, clientWidth, scrollHeight, clientHeight } = element;
    const isCut = scrollWidth > clientWidth + 1 || scrollHeight > clientHeight + 1;
    if (seen(element) && isCut && style(element).display !== "inline")
      found.push(`${element.id || element.className} is cut off`);
  }
  const page = document.documentElement;
  if (page.scrollWidth > page.clientWidth) found.push("the page scrolls sideways");
  return found;
}
"""
FOCUS = """
() => {
  const at = document.activeElement;
  const rings = [at, at.closest(".add-box"), at.querySelector(".selected")].filter(Boolean).map(getComputedStyle);
  const isRinged = rings.some((style) => style.boxShadow !== "none"
    || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1));
  return [at.id || at.className || at.localName, isRinged];
}
"""
INTERACTIVE = {
    "button",
    "link",
    "textbox",
    "searchbox",
    "combobox",
    "option",
    "tab",
    "checkbox",
    "image",
    "dialog",
    "listbox",
}


def nameless(page: Any) -> list[str]:
    """Interactive elements without an accessible name."""
    session = page.page.context.new_cdp_session(page.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node["role"]["value"] in INTERACTIVE
        and not str(node.get("name", {}).get("value", "")).strip()
    ]


def low_contrasts(page: Any) -> list[list[Any]]:
    return [found for found in page.page.evaluate(CONTRASTS) if found[1] < 4.5]


@pytest.fixture
def busy_page(serve: Factory, open_page: Factory) -> Callable[..., Any]:
    """Open the page on a photo with tags above and below the line, neighbours with tags, and a selected row."""

    def open_(**options: Any) -> Any:
        server = serve()
        for name in ("cats/ear.jpg", "cats/eyes.jpg"):
            image_id = server.image_id(name)
            tags = ["cat", "whiskers", "eyes of a very curious cat that looks up", "animal"]
            server.rest("save", image_id=image_id, revision=0, kept=tags, dropped=[])
        image_id = server.image_id("chelsea.png")
        server.rest("propose", image_id=image_id, kept=["cat", "ginger"], dropped=[], revision=0)
        first = server.image_id("astronaut.png")
        server.rest("save", image_id=first, revision=0, kept=["person"], dropped=[])
        page = open_page(server, **options)
        page.see_photo("chelsea.png")
        return page

    return open_


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_light_and_dark(busy_page: Factory, scheme: str) -> None:
    page = busy_page(color_scheme=scheme)
    background = page.page.evaluate("() => getComputedStyle(document.querySelector('#annotator')).backgroundColor")
    assert (max(int(part) for part in background[4:-1].split(",")) < 60) == (scheme == "dark")
    assert len(page.page.evaluate(CONTRASTS)) > 30
    assert low_contrasts(page) == []
    page.type("whi")
    expect(page.at("#completion-1")).to_be_visible()
    assert low_contrasts(page) == []
    page.press("Escape", "?")
    expect(page.at("#keys")).to_be_visible()
    assert low_contrasts(page) == []
    page.press("Escape", "Control+b")
    expect(page.at(".cell")).to_have_count(12)
    assert low_contrasts(page) == []


def test_everything_fits_at_every_size(busy_page: Factory) -> None:
    page = busy_page()
    for name, (width, height) in SIZES.items():
        page.page.set_viewport_size({"width": width, "height": height})
        page.settle()
        assert page.page.evaluate(MISFITS) == [], name
        # The tags have enough room.
        assert page.at("#tag-list").bounding_box()["height"] >= 140, name
        expect(page.at("#row-proposed-1")).to_be_in_viewport()
        expect(page.at("#action-save")).to_be_in_viewport(ratio=1)


def test_everything_fits_a_phone(busy_page: Factory) -> None:
    page = busy_page(**PHONE)
    assert page.page.evaluate(MISFITS) == []
    for selector in ("#photo-image", "#row-kept-1", "#action-save"):
        expect(page.at(selector)).to_be_in_viewport()
    # Touch targets are at least as large as a fingertip.
    for selector in (".actions button", ".row .drop", ".row", "#open-browse", "#menu", ".drawer-tab", ".tab"):
        for box in [element.bounding_box() for element in page.at(selector).all() if element.is_visible()]:
            assert box["height"] >= 36, selector
            assert box["width"] >= 36, selector
    page.at("#open-browse").tap()
    expect(page.at(".cell")).to_have_count(12)
    assert page.page.evaluate(MISFITS) == []


def test_every_element_has_a_name_for_a_screen_reader(busy_page: Factory) -> None:
    page = busy_page()
    assert nameless(page) == []
    expect(page.at("#row-kept-1")).to_have_accessible_name("cat, kept, rank 1 of 2")
    expect(page.at("#row-proposed-1")).to_have_accessible_name(re.compile(r".+, suggested, key 1, \d+ percent sure"))
    page.type("whi")
    expect(page.at("#add-input")).to_have_attribute("aria-activedescendant", "completion-1")
    assert nameless(page) == []
    page.press("Escape", "ArrowUp")
    expect(page.at("#add-input")).to_have_attribute("aria-activedescendant", "row-kept-2")
    page.press("?")
    expect(page.at("#keys")).to_be_visible()
    assert nameless(page) == []
    page.press("Escape", "Control+b")
    expect(page.at(".cell")).to_have_count(12)
    assert nameless(page) == []


def test_the_focus_is_always_visible(busy_page: Factory) -> None:
    page = busy_page()
    seen = set()
    for _ in range(40):
        page.press("Tab")
        name, ringed = page.page.evaluate(FOCUS)
        if name != "body":
            assert ringed, name
            seen.add(name)
    assert {"skip-link", "open-browse", "menu", "open-palette", "why-open", "add-input", "action-save"} <= seen
    page.press("Control+b")
    expect(page.at(".cell")).to_have_count(12)
    for _ in range(8):
        page.press("Tab")
        name, ringed = page.page.evaluate(FOCUS)
        assert ringed, name
