"""The page in Chromium: boxes that a detector found are drawn over the photo."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from annotator.models.detectors.detector import Detection
from annotator.storage.database import Store
from annotator.storage.detections import DetectionStore
from annotator.storage.project import Project

Factory = Callable[..., Any]


def test_a_box_is_drawn_where_the_detector_found_the_tag(
    serve: Factory, open_page: Factory, read_project: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "with boxes"
    shutil.copytree(read_project, folder)
    # NanoDet is not installed here: what was found before is shown all the same.
    Project.open(folder).update_settings(detector="nanodet")
    store = Store(folder / "project.duckdb")
    book = DetectionStore(store)
    box = Detection("cat", 0.9375, (0.25, 0.125, 0.75, 0.875))
    book.add(
        "nanodet-1", [(i, [box] if path == "chelsea.png" else []) for i, (_, path) in store.images.file_names().items()]
    )
    store.close()
    page = open_page(serve(project=folder))
    page.go_to("chelsea.png")
    page.at('.row[data-tag="cat"]').hover()
    expect(page.at(".found-box")).to_have_text("cat 94%")
    expect(page.at("#heat-map")).to_be_hidden()
    found, photo = page.at(".found-box").bounding_box(), page.at("#found-boxes").bounding_box()
    assert photo["width"] / photo["height"] == pytest.approx(451 / 300, rel=0.01)
    assert found["x"] - photo["x"] == pytest.approx(0.25 * photo["width"], abs=2)
    assert found["height"] == pytest.approx(0.75 * photo["height"], abs=5)
    page.at('.row[data-tag="tabby"]').hover()
    expect(page.at(".found-box")).to_have_count(0)
    expect(page.at("#heat-map")).to_be_visible()
    switch = page.at('#sources [data-switch-source="detector"]')
    page.at("#alike-open").click()
    switch.click()
    page.settle()
    expect(switch).to_have_attribute("aria-pressed", "false")  # and can be pressed again
    switch.click()
    page.settle()
    page.at('.row[data-tag="cat"]').hover()
    expect(page.at(".found-box")).to_have_count(1)
    page.press("ArrowRight")
    expect(page.at("#file-name")).not_to_have_text("chelsea.png")
    expect(switch).to_have_count(0)  # nothing was found in that one
    expect(page.at(".found-box")).to_have_count(0)
