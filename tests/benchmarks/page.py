"""The page in a real browser: how soon the first photo can be tagged, an edit's round trip, and the browse view.

    python tests/benchmarks/page.py PROJECT [--runs 5] [--rows 100000] [--json]

PROJECT is an ingested project, 10,000 photos or so (``annotator add PROJECT PHOTOS``); it is copied first. Times:

- to tag: from starting ``annotator serve PROJECT`` to the first photo shown with its proposals, browser running.
- edit: from the key that takes the first proposal to the page showing the next proposals, in the browser.
- save: from Enter to the next photo shown with its proposals.
- scroll: time between frames while the browse view of a project of --rows rows is scrolled from top to bottom and to
  random places, and how long after the last scroll every cell in sight shows its thumbnail. The rows are made up
  (one thumbnail linked under many names); the page, the route and the database are the real ones.
"""

import argparse
import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import percentiles, report, served
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from annotator.storage.database import Store
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.project import Project

BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
FIRST_PROPOSALS = "#tagging[data-phase=tagging] #tag-list .row"

WATCH_FRAMES = """
() => { window.frames_ = []; let last = performance.now();
  const tick = (now) => { window.frames_.push(now - last); last = now;
    if (window.watching_) requestAnimationFrame(tick); };
  window.watching_ = true; requestAnimationFrame(tick); }
"""
ALL_THUMBNAILS_SHOWN = """
() => { const images = [...document.querySelectorAll("#browse-grid img")].filter((image) => {
    const box = image.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight; });
  return images.length > 0 && images.every((image) => image.complete && image.naturalWidth > 0); }
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--edits", type=int, default=40)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        shutil.copytree(parsed.project, folder / "project")
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=BROWSER_OPTIONS)
        rows += first_photo(browser, folder / "project", parsed.runs)
        rows += edits(browser, folder / "project", parsed.edits)
        many = make_rows(folder / "many", parsed.rows)
        rows += scroll(browser, many, parsed.rows)
        browser.close()
    report("The page in Chromium", rows, as_json=parsed.json)


def first_photo(browser: Any, project: Path, runs: int) -> list[dict[str, Any]]:
    """Start the server anew for each run and wait until the first photo can be tagged."""
    to_answer, to_tag = [], []
    for _ in range(runs):
        started = time.perf_counter()
        with served(project) as server:
            to_answer.append(server.seconds_to_answer)
            page = browser.new_page()
            page.goto(server.address)
            page.wait_for_selector(FIRST_PROPOSALS)
            to_tag.append(time.perf_counter() - started)
            page.close()
    return [
        {"what": "serve: address printed", "n": runs, **percentiles(to_answer)},
        {"what": "serve: first photo can be tagged", "n": runs, **percentiles(to_tag)},
    ]


def edits(browser: Any, project: Path, num: int) -> list[dict[str, Any]]:
    """Take the first proposal and save, again and again, timed inside the browser."""
    took, saved = [], []
    with served(project) as server:
        page = browser.new_page()
        page.goto(server.address)
        page.wait_for_selector(FIRST_PROPOSALS)
        for _ in range(num):
            page.wait_for_selector(FIRST_PROPOSALS)
            took.append(press_and_wait(page, "1", "propose"))
            saved.append(press_and_wait(page, "Enter", "save"))
        page.close()
    return [
        {"what": "edit: key to new proposals", "n": num, **percentiles(took)},
        {"what": "save: Enter to next photo", "n": num, **percentiles(saved)},
    ]


def press_and_wait(page: Page, key: str, operation: str) -> float:
    """Press a key; return the seconds until the answer to the call it makes was painted."""
    page.evaluate(
        """(operation) => { window.answered_ = new Promise((resolve) => {
          let started = 0; document.addEventListener("keydown", () => { started = performance.now(); },
            { once: true, capture: true });
          const original = window.fetch; window.fetch = async (...parameters) => {
            const answer = await original(...parameters);
            if (String(parameters[1]?.body ?? "").includes(`"fn_name":"${operation}"`)) {
              window.fetch = original;
              setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(() =>
                resolve((performance.now() - started) / 1000))), 0);
            }
            return answer; }; }); }""",
        operation,
    )
    page.keyboard.press(key)
    seconds: float = page.evaluate("() => window.answered_")
    return seconds


def make_rows(folder: Path, num: int) -> Path:
    """Write a project of made-up rows that all show one thumbnail."""
    project = Project.open_or_create(folder, "many")
    store = Store(project.database_path)
    root_id = store.images.root_id(folder / "gone")
    for start in range(0, num, 5_000):
        thumbnail = folder / f"{start}.jpg"  # one for some thousand: file systems limit the links to a file
        Image.new("RGB", (320, 213), (90, 120, 160)).save(thumbnail)
        ids = range(start + 1, min(start + 5_000, num) + 1)
        images, paths = [], []
        for image_id in ids:
            content_hash = f"{image_id % 256:02x}{image_id:062x}"
            images.append((image_id, ImageEntry(content_hash, 320, 213, "JPEG")))
            name = f"folder {image_id // 500:04d}/photo {image_id:06d}.jpg"
            paths.append(SeenPath(root_id, name, 1, 1, image_id))
            target = project.thumbnail_path(content_hash)
            target.parent.mkdir(exist_ok=True)
            os.link(thumbnail, target)
        store.images.add(IngestedBatch(images=images, paths=paths))
    store.close()
    return folder


def scroll(browser: Any, project: Path, num: int) -> list[dict[str, Any]]:
    """Scroll the browse view steadily and to random places; time frames and thumbnails."""
    chooser = random.Random(0)
    with served(project) as server:
        page = browser.new_page(viewport={"width": 1360, "height": 768})
        page.goto(server.address)
        page.wait_for_selector("#tagging[data-phase=tagging]")
        started = time.perf_counter()
        page.keyboard.press("Control+b")
        page.wait_for_function(ALL_THUMBNAILS_SHOWN)
        opened = time.perf_counter() - started
        page.evaluate(WATCH_FRAMES)
        page.evaluate(
            """async () => { const grid = document.querySelector("#browse-grid");
              for (let step = 0; step < 300; step += 1) { grid.scrollTop += 90;
                await new Promise(requestAnimationFrame); } }"""
        )
        steady = page.evaluate("() => { window.watching_ = false; return window.frames_; }")
        jumps = []
        page.evaluate(WATCH_FRAMES)
        for _ in range(20):
            started = time.perf_counter()
            page.evaluate(
                """(share) => { const grid = document.querySelector("#browse-grid");
                  grid.scrollTop = share * (grid.scrollHeight - grid.clientHeight); }""",
                chooser.random(),
            )
            page.wait_for_timeout(100)
            page.wait_for_function(ALL_THUMBNAILS_SHOWN)
            jumps.append(time.perf_counter() - started)
        jump_frames = page.evaluate("() => { window.watching_ = false; return window.frames_; }")
        num_cells = page.evaluate("() => document.querySelectorAll('#browse-grid img').length")
        page.close()
    return [
        {"what": f"browse {num:,}: open to thumbnails", "n": 1, "p50_ms": round(1000 * opened, 2)},
        {"what": f"browse {num:,}: frame, steady scroll", "n": len(steady), **percentiles(np.array(steady) / 1000)},
        {"what": f"browse {num:,}: frame, jumps", "n": len(jump_frames), **percentiles(np.array(jump_frames) / 1000)},
        {"what": f"browse {num:,}: jump to thumbnails (incl. 100 ms wait)", "n": 20, **percentiles(jumps)},
        {"what": f"browse {num:,}: cells in the DOM", "n": num_cells},
    ]


if __name__ == "__main__":
    main()
