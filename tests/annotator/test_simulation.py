import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator import simulation
from annotator.cli import main
from annotator.datasets.record import Record
from annotator.simulation import PAGE, PREFIX, STATIC, TYPING, PhotoEffort, Setting, run_arm, without_keys
from annotator.simulation_report import mean_interval, plot, report, table

NUM_PHOTOS = 6


@pytest.fixture(scope="module")
def setting(backbone_cache: Path) -> Setting:
    """Photos that nobody took, with features of no picture: what is proposed does not matter, what is counted does."""
    features = np.random.default_rng(0).random((NUM_PHOTOS, 1280), np.float32)
    tags = [("dog", "ball"), ("Dog", "dog", "zebra crossing"), ("sky",), ("dog",), ("ball", "dog"), ("sky", "dog")]
    records = [Record(Path(f"/photos/{number}.jpg"), tags[number]) for number in range(NUM_PHOTOS)]
    return Setting(records, features, "cold_start", has_word_vectors=False)


def test_typing_costs_characters_until_a_tag_is_known_and_fewer_after(setting: Setting) -> None:
    efforts = run_arm(TYPING, setting)
    assert [effort.num_tags for effort in efforts] == [2, 2, 1, 1, 2, 2]
    assert all(set(effort.by_kind) == {"type", "save"} for effort in efforts)
    # By now "d" is completed to dog, the tag used most: two keys and one to save.
    assert efforts[3].num_actions == 3


def test_a_person_in_a_session_never_needs_more_than_typing_out(setting: Setting) -> None:
    done: list[tuple[str, int, int]] = []
    efforts = run_arm(PREFIX, setting, lambda *progress: done.append(progress))
    assert done == [("prefix", number, NUM_PHOTOS) for number in range(1, NUM_PHOTOS + 1)]
    for effort, record in zip(efforts, setting.records, strict=True):
        assert 1 <= effort.num_actions <= sum(len(tag) + 1 for tag in record.tags) + 1
        assert sum(effort.by_kind.values()) == effort.num_actions


def test_what_the_session_keeps_is_the_target(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
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
        efforts = run_arm(arm, given)
        assert [effort.image for effort in efforts] == ["4.jpg", "5.jpg"]
    # With the tags of four photos known, typing costs no more than without.
    assert run_arm(TYPING, given)[0].num_actions <= run_arm(TYPING, setting)[0].num_actions


def test_a_person_without_some_keys_needs_no_fewer(setting: Setting) -> None:
    poor = without_keys(PREFIX, can_take_and_save=False, can_accept=False)
    assert poor.costs != PAGE
    rich, less = run_arm(PREFIX, setting), run_arm(poor, setting)
    # The policy looks one step ahead, so this holds of these photos, not of every one.
    assert sum(effort.num_actions for effort in rich) < sum(effort.num_actions for effort in less)
    assert all("take_save" not in effort.by_kind for effort in less)


def efforts_of(*counts: int) -> list[PhotoEffort]:
    return [PhotoEffort(f"{n}.jpg", 2, count, 1, {"take": count - 1, "save": 1}) for n, count in enumerate(counts)]


def test_the_report_gives_means_by_arm_and_paired_differences() -> None:
    found = report({"a": efforts_of(4, 6, 8, 10), "b": efforts_of(3, 5, 7, 9)}, num_given=0, seed=0)
    assert found["actions_per_photo"] == {"a": 7.0, "b": 6.0}
    assert found["arms"]["a"]["by_kind"] == {"take": 6.0, "save": 1.0}
    # Each photo costs one less, so the difference is certain though the means are not.
    assert found["saved_against"]["b"]["a"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    stretches = found["arms"]["a"]["stretches"]
    assert [part["mean"] for part in stretches] == [4, 6, 8, 10]
    assert [part["actions_spent"] for part in stretches] == [4, 10, 18, 28]
    assert "| a | 7.00 |" in table(found)


def test_the_interval_of_a_mean_holds_about_what_the_normal_one_does() -> None:
    values = np.random.default_rng(1).integers(0, 10, 400)
    low, high = mean_interval(values, seed=0)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    plot(report({"a": efforts_of(4, 6, 8), "b": efforts_of(3, 5, 7)}, 0, 0), tmp_path / "plot.png")
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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--split", "validation"], "--split validation needs the --tagger"),
        (["--split", "validation", "--tagger", "starter"], "keeps no split"),
        (["--only", "missing"], "No photo is left to tag"),
        (["--limit", "0"], "--limit must be at least 1"),
        (["--start", "4", "--arms", "typing"], "leaves no photo"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    arguments = ["simulate", "--data", str(data_folder), "--cache", str(tmp_path / "cache"), "--threads", "1",
                 "--no-word-vectors"]  # fmt: skip
    assert main([*arguments, *options]) == 1
    assert sentence in capsys.readouterr().err
