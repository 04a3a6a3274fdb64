"""The quick form of each table's command, on a handful of photos: it trains, holds back, measures and prints rows."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from annotator.datasets.record import read_records
from annotator.models.backbones.backbone import Backbone

pytestmark = pytest.mark.integration  # trains

Script = Callable[[str], ModuleType]


@pytest.fixture
def data(write_photos: Callable[..., list[Path]], tmp_path: Path, backbone: Backbone) -> Path:
    """30 photos with ordered tags, user tags, objects and captions."""
    folder = tmp_path / "data"
    photos = write_photos(folder, range(30))
    tags = [["cat", "sofa"], ["coffee", "cup"], ["cat", "sky"], ["cup", "rocket", "sky"], ["flower", "cat", "cup"]]
    lines = []
    for row, path in enumerate(photos):
        own = tags[row % 5]
        about: dict[str, Any] = {"image": path.name, "tags": own, "user_tags": [own[0], "canon"], "objects": own[:1]}
        lines.append(json.dumps({**about, "caption": f"A {own[0]} here"}))
    (folder / "records.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def run(script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a script's main with arguments and return what it prints."""

    def call(name: str, *arguments: Any) -> str:
        module = script(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        module.main()
        return capsys.readouterr().out

    return call


def rows_of(text: str) -> list[str]:
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]


def test_taggers_reports_on_photos_that_no_training_has_seen(
    run: Callable[..., str], data: Path, tmp_path: Path
) -> None:
    printed = run("taggers", data, "--out", tmp_path / "runs", "--rows", "both ways", "ria: bare",
                  "ria: logistic layer", "scnn_rnn: logistic layer", "--quick", "--test-side",
                  "--threads", 1)  # fmt: skip
    tables = ["5 tags", "ranking", "free length", "training"]
    rows = rows_of(printed)
    assert [row for row in rows if row in tables] == tables
    assert rows.count("ria: bare") == rows.count("scnn_rnn: logistic layer") == 4
    out = tmp_path / "runs" / "test" / "quick"
    learnt_from = {record.image for record in read_records(out / "records")}
    test = {record.image for record in read_records(data)} - learnt_from
    assert (len(learnt_from), len(test)) == (24, 6)
    result = json.loads(next(out.glob("ria__bare-0.json")).read_text())
    assert (result["side"], result["k5"]["num_images"]) == ("test", 6)
    sides = json.loads((out / "ria__bare-0" / "split.json").read_text())
    assert not {path.name for path in test} & {*sides["train"], *sides["validation"]}
    settings = json.loads((out / "ria__logistic_layer-0" / "tagger.json").read_text())["settings"]
    assert (settings["concept_layer"], settings["input_dropout"]) == (True, 0.3)


def test_side_information_is_measured_with_it(run: Callable[..., str], data: Path, tmp_path: Path) -> None:
    printed = run("taggers", data, "--out", tmp_path / "runs", "--rows", "food", "scnn_rnn, 1,000 user tags", "--quick",
                  "--threads", 1)  # fmt: skip
    assert rows_of(printed).count("scnn_rnn, 1,000 user tags") == 4
    result = json.loads(next((tmp_path / "runs" / "quick").glob("*.json")).read_text())
    assert result["side"] == "validation"


def test_metadata_has_rows_without_neighbours(run: Callable[..., str], data: Path, tmp_path: Path) -> None:
    state = tmp_path / "runs.jsonl"
    printed = run("metadata", data, "--metadata", "user_tags", "--target", "objects", "--state", state,
                  "--rows", "upper bound", "logistic image", "logistic words", "logistic both", "svm words",
                  "lzip id id printed", "--quick")  # fmt: skip
    assert rows_of(printed)[1:] == [
        "upper bound", "logistic image", "logistic words", "logistic both", "svm words", "lzip id id printed"
    ]  # fmt: skip
    runs = {run["row"]: run for run in map(json.loads, state.read_text().splitlines())}
    assert runs["upper bound"]["map_lab"] == 1
    assert runs["logistic words"]["map_lab"] > 0.9  # the words name the object
    assert runs["logistic both"]["num_train"] == runs["logistic image"]["num_train"] == 24


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("ordered", ["--rows", "logistic", "two_pass_knn"]),
        ("unary", ["--rows", "gain: crop, p"]),
        ("corel5k", ["--rows", "kernel_ridge, balanced for F1"]),
    ],
)
def test_the_other_tables_have_a_quick_form(
    name: str, rows: list[str], run: Callable[..., str], data: Path, tmp_path: Path
) -> None:
    cache = [] if name == "ordered" else ["--cache", tmp_path / "cache"]
    printed = run(name, data, *rows, "--quick", "--test-side", "--threads", 1, *cache)
    expected = {
        "ordered": ["logistic", "two_pass_knn"],
        "unary": ["gain: crop, precedence"],
        "corel5k": ["kernel_ridge, balanced for F1", "kernel_ridge, balanced for F1, decided jointly"],
    }  # fmt: skip
    assert rows_of(printed)[1:] == expected[name]


@pytest.fixture
def boxes(data: Path, tmp_path: Path) -> Path:
    """What a detector would have found: a small cat, a large cup, in the photos that are tagged so."""
    path = tmp_path / "boxes.jsonl"
    places = {"cat": [0.4, 0.4, 0.5, 0.5], "cup": [0.0, 0.0, 0.9, 0.9]}
    lines = []
    for record in read_records(data):
        found = [[tag, 0.9, *places[tag]] for tag in record.tags if tag in places]
        lines.append(json.dumps({"image": record.image.name, "boxes": found}))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_small_objects_are_compared_between_two_checkpoints(
    run: Callable[..., str], data: Path, boxes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    run("taggers", data, "--out", out, "--rows", "captions", "logistic", "knn", "--quick", "--threads", 1)
    folders = [out / "quick" / f"{name}-0" for name in ("logistic", "knn")]
    printed = run("small_objects", data, "--boxes", boxes, "--checkpoints", *folders, "--least", 1, "--num-small", 1)
    assert "logistic-0: P | R | knn-0: P | R" in printed
    rows = rows_of(printed)
    assert rows == ["class", "cat (small)", "cup", "mean over", "small", "large"]


def test_the_detectors_part_in_the_zero_shot_tagger_is_measured(
    run: Callable[..., str], data: Path, boxes: Path
) -> None:
    printed = run("zero_shot", data, "--tables", "known", "--boxes", boxes, "--quick", "--threads", 1)
    rows = rows_of(printed)
    assert rows[1:4] == ["TaggerNet alone", "with words, the paper's order", "with words, by score"]
    assert rows[4:] == [
        "with the detector, by score",
        "with words and the detector, the paper's order",
        "with words and the detector, by score",
    ]


def test_the_forms_of_the_captioner_are_compared(run: Callable[..., str], data: Path) -> None:
    printed = run("sentences", data, "--quick", "--test-side", "--threads", 1, "--show", 2)
    assert rows_of(printed) == ["form", "concepts", "deep", "features"]
    assert len([line for line in printed.splitlines() if line.startswith("deep: ")]) == 2
    assert "[a " in printed  # the person's sentence beside it
