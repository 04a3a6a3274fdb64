import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.cli.main import main
from annotator.datasets.record import Record
from annotator.errors import TrainingError
from annotator.settings import LoopSettings
from annotator.simulation import simulated_annotator as simulation
from annotator.simulation.report import mean_interval, plot, report, table
from annotator.simulation.simulated_annotator import (
    LOOP,
    PAGE_COSTS,
    PREFIX,
    STATIC,
    TYPING,
    Arm,
    ArmRun,
    PhotoEffort,
    Round,
    Setting,
    run_arm,
    without_keys,
)

NUM_PHOTOS = 6


@pytest.fixture(scope="module")
def setting(backbone_cache: Path) -> Setting:
    """Invented photos with invented features: the tests are about the counting, not the proposals."""
    features = np.random.default_rng(0).random((NUM_PHOTOS, 1280), np.float32)
    tags = [("dog", "ball"), ("Dog", "dog", "zebra crossing"), ("sky",), ("dog",), ("ball", "dog"), ("sky", "dog")]
    records = [Record(Path(f"/photos/{number}.jpg"), tags[number]) for number in range(NUM_PHOTOS)]
    return Setting(records, features, "cold_start", has_word_vectors=False)


def test_typing_costs_characters_until_a_tag_is_known_and_fewer_after(setting: Setting) -> None:
    efforts = run_arm(TYPING, setting).efforts
    assert [effort.num_tags for effort in efforts] == [2, 2, 1, 1, 2, 2]
    assert all(set(effort.by_kind) == {"type", "save"} for effort in efforts)
    # By now "d" is completed to dog, the tag used most: two keys and one to save.
    assert efforts[3].num_actions == 3


def test_a_session_never_needs_more_actions_than_typing(setting: Setting) -> None:
    done: list[tuple[str, int, int]] = []
    efforts = run_arm(PREFIX, setting, lambda *progress: done.append(progress)).efforts
    assert done == [("prefix", number, NUM_PHOTOS) for number in range(1, NUM_PHOTOS + 1)]
    for effort, record in zip(efforts, setting.records, strict=True):
        assert 1 <= effort.num_actions <= sum(len(tag) + 1 for tag in record.tags) + 1
        assert sum(effort.by_kind.values()) == effort.num_actions


def test_the_saved_tags_are_the_target(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[list[str]] = []
    plain = simulation.SimulatedAnnotator.save

    def save(self: Any, photo: Any, kept: Any, dropped: Any, actions: Any) -> Any:
        following = plain(self, photo, kept, dropped, actions)
        event = self.ask("history", image_id=photo["image_id"])["events"][-1]
        saved.append(event["after_tags"])
        assert event["num_keys"] + event["num_clicks"] == sum(action.num_actions for action in actions)
        return following

    monkeypatch.setattr(simulation.SimulatedAnnotator, "save", save)
    run_arm(PREFIX, setting)
    assert saved == [["dog", "ball"], ["dog", "zebra crossing"], ["sky"], ["dog"], ["ball", "dog"], ["sky", "dog"]]


def test_photos_come_in_the_order_of_the_records_whatever_their_names(setting: Setting) -> None:
    records = [replace(record, image=Path(f"/photos/{9 - n}.jpg")) for n, record in enumerate(setting.records)]
    named = replace(setting, records=records)
    for arm in (TYPING, STATIC):
        assert [effort.image for effort in run_arm(arm, named).efforts] == [record.image.name for record in records]


def test_the_static_arm_is_shown_one_list_a_photo(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    plain = simulation.answer

    def answer(session: Any, user: str, name: str, payload: object) -> Any:
        asked.append(name)
        return plain(session, user, name, payload)

    monkeypatch.setattr(simulation, "answer", answer)
    run_arm(STATIC, setting)
    assert "propose" not in asked
    assert asked.count("save") == NUM_PHOTOS
    run_arm(PREFIX, setting)
    assert "propose" in asked


def test_photos_given_at_the_start_are_saved_and_not_counted(setting: Setting) -> None:
    given = replace(setting, num_given=4)
    for arm in (TYPING, PREFIX):
        efforts = run_arm(arm, given).efforts
        assert [effort.image for effort in efforts] == ["4.jpg", "5.jpg"]
    # With the tags of four photos known, typing costs no more than without.
    assert run_arm(TYPING, given).efforts[0].num_actions <= run_arm(TYPING, setting).efforts[0].num_actions


def test_without_some_keys_no_fewer_actions_are_needed(setting: Setting) -> None:
    poor = without_keys(PREFIX, can_take_and_save=False, can_accept=False)
    assert poor.costs != PAGE_COSTS
    rich, less = run_arm(PREFIX, setting).efforts, run_arm(poor, setting).efforts
    # The policy looks one step ahead, so this holds for these photos, not in general.
    assert sum(effort.num_actions for effort in rich) < sum(effort.num_actions for effort in less)
    assert all("take_save" not in effort.by_kind for effort in less)


def test_the_model_is_trained_in_between_and_tested_for_promotion(setting: Setting) -> None:
    rules = LoopSettings(train_after=0, least_photos=1, newest_share=0.5, niceness=0)
    done = run_arm(LOOP, replace(setting, tagger="starter/scnn_rnn", num_rounds=1, loop=rules))
    (training,) = done.rounds
    assert training.num_corrections == NUM_PHOTOS // 2
    assert training.state in ("promoted", "refused")
    assert "held-back photos" in training.sentence
    assert training.saved is not None
    assert [effort.image for effort in done.efforts] == [record.image.name for record in setting.records]


@pytest.mark.parametrize(
    ("num_given", "num_rounds", "places"),
    [(0, 0, []), (0, 2, [2, 4]), (4, 2, [4, 5]), (0, 9, [1, 1, 2, 3, 3, 4, 4, 5])],
)
def test_trainings_come_after_equal_numbers_of_photos(
    setting: Setting, num_given: int, num_rounds: int, places: list[int]
) -> None:
    assert replace(setting, num_given=num_given, num_rounds=num_rounds).trained_after == places


def test_a_tagger_that_cannot_be_trained_ends_the_arm(setting: Setting) -> None:
    with pytest.raises(TrainingError, match="cannot learn"):
        run_arm(LOOP, replace(setting, num_rounds=1))


def test_a_strategy_takes_every_photo_once_in_its_own_order(setting: Setting) -> None:
    clusters = run_arm(Arm("largest_cluster", strategy="largest_cluster"), setting)
    names = [record.image.name for record in setting.records]
    asked = [effort.image for effort in clusters.efforts]
    assert sorted(asked) == names != asked
    tags = {record.image.name: len(set(map(str.casefold, record.tags))) for record in setting.records}
    assert all(effort.num_tags == tags[effort.image] for effort in clusters.efforts)
    # Paired by photo, whatever the order.
    other = [PhotoEffort(effort.image, effort.num_tags, effort.num_actions + 1, 0, {}) for effort in clusters.efforts]
    found = report({"worse": ArmRun(sorted(other, key=lambda effort: effort.image)), "it": clusters}, 0, 0)
    assert found["saved_against"]["it"]["worse"] == {"mean": 1.0, "low": 1.0, "high": 1.0}


def run_of(*counts: int, rounds: Sequence[Round] = ()) -> ArmRun:
    efforts = [PhotoEffort(f"{n}.jpg", 2, count, 1, {"take": count - 1, "save": 1}) for n, count in enumerate(counts)]
    return ArmRun(efforts, list(rounds))


def test_the_report_gives_means_by_arm_and_paired_differences() -> None:
    found = report({"a": run_of(4, 6, 8, 10), "b": run_of(3, 5, 7, 9)}, num_given=0, seed=0)
    assert found["actions_per_photo"] == {"a": 7.0, "b": 6.0}
    assert found["arms"]["a"]["by_kind"] == {"take": 6.0, "save": 1.0}
    # Each photo costs one less, so the difference is certain though the means are not.
    saved = found["saved_against"]["b"]["a"]
    assert (saved["mean"], saved["low"], saved["high"]) == (1.0, 1.0, 1.0)
    assert [(part["first"], part["mean"]) for part in saved["stretches"]] == [(0, 1), (1, 1), (2, 1), (3, 1)]
    stretches = found["arms"]["a"]["stretches"]
    assert [part["mean"] for part in stretches] == [4, 6, 8, 10]
    assert [part["actions_spent"] for part in stretches] == [4, 10, 18, 28]
    assert "| a | 7.00 |" in table(found)


def test_the_interval_of_a_mean_is_close_to_the_normal_one() -> None:
    values = np.random.default_rng(1).integers(0, 10, 400)
    low, high = mean_interval(values, seed=0)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


@pytest.mark.integration
def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    rounds = [Round(1, "promoted", "Promoted: it is better.", None), Round(2, "refused", "Not promoted.", None)]
    found = report({"a": run_of(4, 6, 8), "b": run_of(3, 5, 7, rounds=rounds)}, 0, 0)
    assert "b, after 1: Promoted: it is better." in table(found)
    plot(found, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        assert image.format == "PNG"
        assert image.width > 800


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    lines = []
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (80, 90, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "tags": ["dog", "ball"], "good": number > 0}))
    (folder / "records.jsonl").write_text("\n".join(lines))
    return folder


@pytest.mark.integration
def test_the_command_prints_actions_per_photo_by_arm(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["simulate", "--data", str(data_folder), "--cache", str(tmp_path / "cache"), "--threads", "1",
                 "--no-word-vectors"]  # fmt: skip
    assert main([*arguments, "--only", "good", "--start", "1", "--plot", str(tmp_path / "p.png"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["actions_per_photo"]) == {"typing", "static", "prefix"}
    assert found["num_photos"] == 2
    assert found["start"] == 1
    assert (tmp_path / "p.png").is_file()
    assert main([*arguments, "--arms", "typing", "--limit", "3"]) == 0
    assert "3 photos" in capsys.readouterr().out


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--split", "validation"], "--split validation needs the --tagger"),
        (["--split", "validation", "--tagger", "starter"], "keeps no split"),
        (["--only", "missing"], "No photo is left to tag"),
        (["--arms", "loop"], "needs --rounds"),
        (["--rounds", "-1"], "--rounds must be at least 0"),
        (["--limit", "0"], "--limit must be at least 1"),
        (["--start", "4", "--arms", "typing"], "leaves no photo"),
    ],
)
def test_an_impossible_measurement_is_refused_in_a_sentence(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    arguments = ["simulate", "--data", str(data_folder), "--cache", str(tmp_path / "cache"), "--threads", "1",
                 "--no-word-vectors"]  # fmt: skip
    assert main([*arguments, *options]) == 1
    assert sentence in capsys.readouterr().err
