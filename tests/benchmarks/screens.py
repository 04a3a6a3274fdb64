"""Visual regression: a fixed set of screenshots of the page, compared with a kept set.

    python tests/benchmarks/screens.py KEPT --keep          make the kept set: a folder outside of the repository
    python tests/benchmarks/screens.py KEPT [--out FOLDER]  compare; writes FOLDER/index.html (default: KEPT-changes)

Every view and dialog of ``VIEWS`` in every look of ``LOOKS``, of the demo's photos with lists that are saved first.
Nothing moves, times are replaced, and a set that was made with another Chromium or other fonts is not compared. The
HTML page has what changed side by side, with the difference marked. Ends with 0 if nothing changed, 1 if something did,
2 if the sets cannot be compared. Needs Chromium and Playwright, as the browser tests do.
"""

import argparse
import html
import io
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictures import BROWSER_OPTIONS, LEARNT, LIMIT_MS, demo, find_browser, settle
from PIL import Image, ImageChops, ImageDraw
from playwright.sync_api import Browser, Page, sync_playwright

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 720}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 720}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True, "is_mobile": True,
    },
    "short": {"viewport": {"width": 640, "height": 360}, "color_scheme": "light"},
}  # fmt: skip
"""Look -> options of the browser's context; ``short`` is what 200% zoom leaves of a laptop's window."""
SAVED = {
    "china.jpg": ["pagoda", "building", "water"],
    "coffee.png": ["coffee", "cup", "table"],
    "flower.jpg": ["flower", "plant"],
    "motorcycle_left.png": [],
    "astronaut.png": ["astronaut", "portrait", "space suit"],
}
"""Photo -> the list that is saved before the first screenshot; after the last one comes the photo that is shown."""
STARTED = ("chelsea.png", ["cat", "whiskers", "ear"])
"""The photo that is shown, and its kept tags."""
TIMES = """() => {
  const ways = [
    [/\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z/g, "2026-01-02T03:04:05Z"],
    [/[\\d.]+ photos\\/s/g, "9 photos/s"],
    [/\\d{1,2} \\w{3} 20[2-9]\\d, \\d\\d:\\d\\d/g, "2 Jan 2026, 03:04"],
  ];
  const texts = document.createTreeWalker(document.querySelector("#annotator"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    const replaced = ways.reduce((found, [way, instead]) => found.replace(way, instead), text.data);
    if (replaced !== text.data) text.data = replaced;
  }
}"""
"""Replaces what shows when something happened or how long it took."""
COUNT_CALLS = """(() => {
  window.callsUnderWay = 0;
  const plain = window.fetch.bind(window);
  window.fetch = (...parameters) => {
    window.callsUnderWay += 1;
    const answer = plain(...parameters);
    answer.catch(() => {}).finally(() => setTimeout(() => { window.callsUnderWay -= 1; }, 0));
    return answer;
  };
})()"""
LEAST_DIFFERENCE = 12
"""Of a pixel's channel, of 255: less is not seen."""
LEAST_PIXELS = 24
"""Fewer that differ are the edge of a rounded corner, which Chromium does not always draw alike."""
MARK = (214, 0, 120)


def choose(entry: str) -> Callable[[Page], None]:
    """Return what presses an entry of the menu."""

    def act(page: Page) -> None:
        page.click("#menu")
        page.click(entry)
        page.wait_for_selector("dialog[open]")

    return act


def press(*keys: str) -> Callable[[Page], None]:
    """Return what presses keys; ``text:`` before a text types it."""

    def act(page: Page) -> None:
        for key in keys:
            if key.startswith("text:"):
                page.keyboard.type(key.removeprefix("text:"))
            else:
                page.keyboard.press(key)

    return act


def library(*keys: str) -> Callable[[Page], None]:
    """Return what opens the library and then presses keys."""

    def act(page: Page) -> None:
        page.keyboard.press("Control+b")
        page.wait_for_selector(".cell img")
        press(*keys)(page)

    return act


def change_many(page: Page) -> None:
    """Select two photos in the library, and begin to add a tag to them."""
    library("ArrowDown", "Space", "ArrowRight", "Space")(page)
    page.click("#bulk-add")
    page.fill("#bulk-tag", "pet")
    page.wait_for_selector(".bulk-rows li")


VIEWS: dict[str, Callable[[Page], None]] = {
    "tagging": press(),
    "kept tag": press("ArrowUp"),
    "why": press("F9"),
    "look-alikes": press("F2"),
    "history": press("F7"),
    "completions": press("text:fl"),
    "actions": press("Control+k"),
    "menu": lambda page: page.click("#menu"),
    "keys": press("?"),
    "projects": choose("#open-projects"),
    "export": choose("#open-export"),
    "import": choose("#open-import"),
    "tags": choose("#open-tags"),
    "effort": choose("#open-effort"),
    "model": choose("#open-model"),
    "library": library(),
    "library, found": library("text:-cat", "Tab"),
    "library, selection": change_many,
    "library, how to search": lambda page: (library()(page), page.click(".search-menu summary"))[0],
}
"""View -> what brings it up on a page that has just been opened."""


@dataclass(frozen=True)
class Change:
    """A screenshot that is not as it was."""

    name: str
    before: Image.Image | None
    after: Image.Image | None
    num_pixels: int


def main() -> None:
    """Make screenshots; keep them, or compare them with those that are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path, metavar="KEPT")
    parser.add_argument("--keep", action="store_true", help="keep these screenshots instead of comparing them")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the HTML page")
    parser.add_argument("--only", metavar="TEXT", default="", help="views whose name has this text")
    parsed = parser.parse_args()
    shots: dict[str, Image.Image] = {}
    with demo(Path(tempfile.gettempdir()) / "annotator-screens") as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=BROWSER_OPTIONS)
        about = about_this(browser)
        if not parsed.keep:
            check_kept(parsed.kept, about)
        prepare(browser, address)
        for name, shot in screenshots(browser, address, parsed.only):
            shots[name] = shot
            print(name, flush=True)
        browser.close()
    if parsed.keep:
        keep(parsed.kept, shots, about)
        print(f"{parsed.kept}: {len(shots)} screenshots")
        return
    kept = {
        path.stem: Image.open(path).convert("RGB") for path in parsed.kept.glob("*.png") if parsed.only in path.stem
    }
    changes = compare(kept, shots)
    out = parsed.out or parsed.kept.with_name(f"{parsed.kept.name}-changes")
    write_page(out, changes, len(shots))
    print(f"{len(changes)} of {len(shots)} changed: {out / 'index.html'}")
    sys.exit(bool(changes))


def about_this(browser: Browser) -> dict[str, Any]:
    """Return what the screenshots depend on besides the page: the browser's version, and the fonts of its texts."""
    page = browser.new_page()
    page.set_content('<p style="font-family: system-ui, sans-serif">Aa <b>Aa</b></p>')
    session = page.context.new_cdp_session(page)
    session.send("DOM.enable")
    session.send("CSS.enable")
    root = session.send("DOM.getDocument")["root"]["nodeId"]
    node = session.send("DOM.querySelector", {"nodeId": root, "selector": "p"})["nodeId"]
    fonts = session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    page.close()
    return {"browser": browser.version, "fonts": sorted(font["familyName"] for font in fonts)}


def check_kept(folder: Path, about: dict[str, Any]) -> None:
    """End the program if the kept set cannot be compared."""
    try:
        kept = json.loads((folder / "about.json").read_text())
    except FileNotFoundError:
        print(f"There is no kept set in {folder}. Make one: --keep", file=sys.stderr)
        sys.exit(2)
    if kept != about:
        print(f"The kept set was made with {kept}; this is {about}. Make it anew: --keep", file=sys.stderr)
        sys.exit(2)


def prepare(browser: Browser, address: str) -> None:
    """Save lists, and wait until everything that goes on beside the page is done."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(LIMIT_MS)
    page.goto(address)
    settle(page)

    def call(name: str, **payload: Any) -> Any:
        answer = page.evaluate(
            """async ([name, payload]) => (await fetch(`api/v1/${name}`, {
                method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(payload),
            })).json()""",
            [name, payload],
        )
        assert "error" not in answer, answer
        return answer

    def is_busy(state: Any) -> bool:
        return any(state[part]["running"] for part in ("ingest", "detections", "vlm"))

    while is_busy(before := call("state")) or (time.sleep(2), call("state"))[1] != before:
        pass  # word vectors and the order of the queue come late
    ids = {item["file_name"]: item["image_id"] for item in call("browse", limit=100)["items"]}
    for name, tags in SAVED.items():
        call("save", image_id=ids[name], revision=0, kept=tags, num_keys=4, seconds=6)
    call("propose", image_id=ids[STARTED[0]], kept=STARTED[1], revision=0)
    context.close()


def screenshots(browser: Browser, address: str, only: str) -> Iterator[tuple[str, Image.Image]]:
    """Yield every view in every look, with its name."""
    for look, options in LOOKS.items():
        for view, bring_up in {"first steps": press(), **VIEWS}.items():
            name = f"{view}, {look}"
            if only not in name:
                continue
            context = browser.new_context(
                **options, locale="en-GB", timezone_id="UTC", reduced_motion="reduce", device_scale_factor=1
            )
            if view != "first steps":
                context.add_cookies([{**LEARNT, "url": address}])
            context.add_init_script(COUNT_CALLS)
            page = context.new_page()
            page.set_default_timeout(LIMIT_MS)
            page.goto(address)
            settle(page)
            page.evaluate("() => document.fonts.ready")
            bring_up(page)
            page.mouse.move(0, 0)
            for _ in range(2):  # one call may follow another
                page.wait_for_timeout(200)
                page.wait_for_function("() => window.callsUnderWay === 0")
            # Those that are out of sight in a list would never arrive.
            page.evaluate("() => [...document.images].forEach((image) => { image.loading = 'eager'; })")
            settle(page)
            page.evaluate(TIMES)
            data = page.screenshot(animations="disabled", caret="hide")
            yield name, Image.open(io.BytesIO(data)).convert("RGB")
            context.close()


def keep(folder: Path, shots: dict[str, Image.Image], about: dict[str, Any]) -> None:
    """Write screenshots in place of those that are kept."""
    if folder.exists() and not (folder / "about.json").exists() and any(folder.iterdir()):
        print(f"{folder} holds something else. Name a new or an empty folder.", file=sys.stderr)
        sys.exit(2)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.png"):
        if path.stem not in shots:
            path.unlink()
    for name, shot in shots.items():
        shot.save(folder / f"{name}.png", optimize=True)
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")


def compare(kept: dict[str, Image.Image], shots: dict[str, Image.Image]) -> list[Change]:
    """Return the screenshots that differ, are new, or are missing, by name."""
    changes = []
    for name in sorted({*kept, *shots}):
        before, after = kept.get(name), shots.get(name)
        num = num_different(before, after) if before and after else -1
        if num < 0 or num >= LEAST_PIXELS:
            changes.append(Change(name, before, after, num))
    return changes


def num_different(before: Image.Image, after: Image.Image) -> int:
    """Return how many pixels differ visibly; those outside of the smaller picture do."""
    if before.size != after.size:
        return max(before.width * before.height, after.width * after.height)
    return difference(before, after).histogram()[255]


def difference(before: Image.Image, after: Image.Image) -> Image.Image:
    """Return a mask of two pictures of one size, 255 where they differ visibly."""
    channels = ImageChops.difference(before, after).split()
    largest = ImageChops.lighter(ImageChops.lighter(channels[0], channels[1]), channels[2])
    return largest.point(lambda value: 255 if value >= LEAST_DIFFERENCE else 0)


def marked(before: Image.Image, after: Image.Image) -> Image.Image:
    """Return the newer picture, paler, with what differs in one colour and a frame around all of it."""
    pale = Image.blend(after.convert("L").convert("RGB"), Image.new("RGB", after.size, "white"), 0.6)
    if before.size != after.size:
        return pale
    mask = difference(before, after)
    pale.paste(MARK, mask=mask)
    box = mask.getbbox()
    if box:
        left, top, right, bottom = box
        frame = (left - 3, top - 3, right + 2, bottom + 2)
        ImageDraw.Draw(pale).rectangle(frame, outline=MARK, width=2)
    return pale


def write_page(folder: Path, changes: list[Change], num_shots: int) -> None:
    """Write the HTML page and its pictures; those of an earlier comparison go."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    sections = []
    for change in changes:
        stem = re.sub(r"[^a-z0-9]+", "-", change.name.lower())
        pictures = {"before": change.before, "after": change.after}
        if change.before and change.after:
            pictures["difference"] = marked(change.before, change.after)
        figures = []
        for kind, picture in pictures.items():
            if picture is None:
                figures.append(f"<figure><figcaption>{kind}</figcaption>none</figure>")
                continue
            file = f"{stem}-{kind}.png"
            picture.save(folder / file)
            figures.append(
                f'<figure><figcaption>{kind}</figcaption><a href="{file}"><img src="{file}" alt=""></a></figure>'
            )
        what = f"{change.num_pixels:,} pixels" if change.num_pixels > 0 else "new" if change.after else "missing"
        title = f"{html.escape(change.name)} <small>{what}</small>"
        sections.append(f'<section><h2>{title}</h2><div class="row">{"".join(figures)}</div></section>')
    sentence = f"{len(changes)} of {num_shots} screenshots changed."
    (folder / "index.html").write_text(PAGE.format(sentence=sentence, sections="\n".join(sections)), encoding="utf-8")


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{sentence}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 24px; background: #f4f4f5; color: #191a1c; }}
h2 {{ font-size: 17px; margin: 32px 0 8px; }} small {{ color: #565b62; font-weight: 400; }}
.row {{ display: flex; gap: 12px; align-items: flex-start; }} figure {{ flex: 1 1 0; min-width: 0; margin: 0; }}
img {{ max-width: 100%; border: 1px solid #7d8289; }} figcaption {{ color: #565b62; font-size: 13px; }}
</style>
<h1>{sentence}</h1>
{sections}
</html>
"""


if __name__ == "__main__":
    main()
