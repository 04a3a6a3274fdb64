"""The README's screenshots and animation: three demo photos tagged by keyboard in a real browser.

    python tests/benchmarks/pictures.py [OUT] [--list]

Starts ``annotator demo`` in a temporary folder with its own caches, opens the page in Chromium, presses the keys of
``STEPS`` and writes page.png, library.png and tagging.webp in OUT (default: docs/pictures). Each frame of the animation
names the key that was pressed. Needs Chromium and Playwright, as the browser tests do. ``--list`` prints the proposals
of each photo and writes nothing: use it to choose the keys anew when the starter's proposals change.
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
BROWSER_OPTIONS = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb", "--no-first-run"]
VIEWPORT = {"width": 1200, "height": 720}
WIDTH = 900
"""Of the animation; its height follows from the viewport's shape and the caption's."""
CAPTION_HEIGHT = 44
LIMIT_MS = 120_000
LEARNT = {"name": "annotator_first_steps_local", "value": "done"}
"""The cookie of somebody who needs no first steps."""

# (what is pressed: Playwright's names, or text to type; what the caption says; milliseconds shown)
STEPS: tuple[tuple[tuple[str, ...], str, str, int], ...] = (
    ((), "", "A photo, and its proposals in their order", 2000),
    (("3",), "3", "takes the third proposal; the rest is ranked anew", 1600),
    (("text:astronaut",), "a s t r o n a u t", "a tag that was not proposed", 1400),
    (("Shift+Enter",), "Shift+Enter", "adds exactly what was typed", 1400),
    (("Alt+ArrowUp",), "Alt+↑", "moves the tag to the top", 1600),
    (("Enter",), "Enter", "saves, and opens the next photo", 1900),
    (("Shift+Digit2",), "Shift+2", "takes all down to the second proposal", 1600),
    (("Enter",), "Enter", "saves, and opens the next photo", 1900),
    (("text:templ",), "t e m p l", "starts a tag; known words complete it", 1600),
    (("Enter",), "Enter", "takes the completion", 1400),
    (("2",), "2", "takes the second proposal", 1600),
    (("Enter",), "Enter", "saves: three photos are tagged", 2500),
)
SCREENSHOT_AFTER = 10
"""The step whose frame is the screenshot, at full size."""


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "docs" / "pictures")
    parser.add_argument("--list", action="store_true", dest="lists")
    parsed = parser.parse_args()
    with demo() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=BROWSER_OPTIONS)
        page = browser.new_page(viewport=VIEWPORT, locale="en-GB")
        page.context.add_cookies([{**LEARNT, "url": address}])
        page.set_default_timeout(LIMIT_MS)
        expect.set_options(timeout=LIMIT_MS)
        page.goto(address)
        settle(page)
        expect(page.locator("#tagged")).to_have_text("0 of 8 tagged")
        if parsed.lists:
            list_proposals(page)
            return
        frames = [take_step(page, keys) for keys, *_ in STEPS]
        library = take_step(page, ("Control+b", "ArrowDown", "Space", "ArrowRight", "Space"))
        browser.close()
    parsed.out.mkdir(parents=True, exist_ok=True)
    frames[SCREENSHOT_AFTER].quantize(256, dither=Image.Dither.NONE).save(parsed.out / "page.png", optimize=True)
    library.quantize(256, dither=Image.Dither.NONE).save(parsed.out / "library.png", optimize=True)
    captioned = [caption(frame, key, text) for frame, (_, key, text, _) in zip(frames, STEPS, strict=True)]
    durations = [milliseconds for *_, milliseconds in STEPS]
    captioned[0].save(
        parsed.out / "tagging.webp",
        save_all=True, append_images=captioned[1:], duration=durations, loop=0, quality=72, method=6,
    )  # fmt: skip
    for name in ("page.png", "library.png", "tagging.webp"):
        print(f"{parsed.out / name}: {(parsed.out / name).stat().st_size / 1000:,.0f} kB")


def find_browser() -> str:
    """Return an installed Chromium's program."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        sys.exit("This needs Chromium: apt-get install chromium, or name its program in CHROMIUM.")
    return found


@contextmanager
def demo(folder: Path | None = None) -> Iterator[str]:
    """Serve ``annotator demo`` from a folder that is deleted then, by default a temporary one; yield its address."""
    with ExitStack() as stack:
        if folder is None:
            name = stack.enter_context(tempfile.TemporaryDirectory())
        else:
            folder.mkdir()  # fails while another run uses it
            stack.callback(shutil.rmtree, folder)
            name = str(folder)
        # The exported network may come from the user's cache: it says nothing of the machine, and saves minutes.
        own = {"HOME": name, "XDG_DATA_HOME": f"{name}/data", "XDG_STATE_HOME": f"{name}/state", "OMP_NUM_THREADS": "1"}
        environment = os.environ | own | {"PYTHONPATH": str(ROOT)}
        environment.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))
        command = [sys.executable, "-m", "annotator.cli", "demo", f"{name}/demo", "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if match := re.match(r"Tagging page:\s+(\S+)", line):
                    yield match.group(1)
                    return
            sys.exit("annotator demo ended before it printed an address.")
        finally:
            process.terminate()
            process.wait()


def settle(page: Page) -> None:
    """Wait until a photo is shown with its proposals, all photos are read and no call is under way."""
    page.wait_for_selector("#tagging[data-phase=tagging] #tag-list .row, #tagging[data-phase=done]")
    page.wait_for_function("() => [...document.images].every((image) => image.complete || !image.checkVisibility())")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(400)


def take_step(page: Page, keys: tuple[str, ...]) -> Image.Image:
    """Press the keys of one step, and return what is then on the screen."""
    for key in keys:
        if key.startswith("text:"):
            page.keyboard.type(key.removeprefix("text:"), delay=60)
        else:
            page.keyboard.press(key)
    settle(page)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def list_proposals(page: Page) -> None:
    """Print each photo's proposals, going on without saving."""
    for _ in range(3):
        tags = page.locator(".row.proposed").evaluate_all("rows => rows.map((row) => row.dataset.tag)")
        print(page.locator(".file-name").inner_text(), *tags, sep="\n  ")
        page.keyboard.press("ArrowRight")
        settle(page)


def caption(frame: Image.Image, key: str, text: str) -> Image.Image:
    """Return a frame at the animation's width, with the key that was pressed below it."""
    from matplotlib import font_manager  # here: importing it starts a process, and screens.py needs none of it

    scaled = frame.resize((WIDTH, round(frame.height * WIDTH / frame.width)), Image.Resampling.LANCZOS)
    whole = Image.new("RGB", (WIDTH, scaled.height + CAPTION_HEIGHT), "#1f2933")
    whole.paste(scaled, (0, 0))
    draw = ImageDraw.Draw(whole)
    bold, plain = (
        ImageFont.truetype(font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans", weight=weight)), 19)
        for weight in ("bold", "normal")
    )
    middle, left = scaled.height + CAPTION_HEIGHT // 2, 18
    if key:
        width = round(draw.textlength(key, font=bold)) + 20
        draw.rounded_rectangle((left, middle - 16, left + width, middle + 16), radius=6, fill="#f5f7fa")
        draw.text((left + 10, middle), key, font=bold, fill="#1f2933", anchor="lm")
        left += width + 14
    draw.text((left, middle), text, font=plain, fill="#f5f7fa", anchor="lm")
    return whole


if __name__ == "__main__":
    main()
