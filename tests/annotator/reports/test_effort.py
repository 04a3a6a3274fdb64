import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotator.cli.main import main
from annotator.reports.effort import effort_report
from annotator.storage.correction_log import CorrectionLog, Effort, Selection
from annotator.storage.database import Store
from annotator.storage.images import ImageEntry, IngestedBatch
from annotator.storage.project import Project


@pytest.fixture
def store(tmp_path: Path) -> Any:
    project = Project.open_or_create(tmp_path / "project", "test")
    store = Store(project.database_path)
    store.images.add(IngestedBatch([(i, ImageEntry(f"hash {i}", 1, 1, "JPEG")) for i in range(1, 9)], []))
    yield store
    store.close()


def save(
    log: CorrectionLog,
    image_id: int,
    tags: list[str],
    *,
    shown: tuple[str, ...] = ("cat", "dog", "sea"),
    dropped: tuple[str, ...] = (),
    actions: tuple[list[Any], ...] = (),
    num_keys: int = 3,
    seconds: float = 4.0,
    tagger: str = "old",
    user: str = "anna",
    selection: Selection | None = None,
) -> None:
    effort = Effort(
        tagger, [{"tag": tag, "score": 0.5, "source": "looks"} for tag in shown], actions, seconds, num_keys, 1
    )
    log.save(image_id, revision=log.annotation(image_id).revision, tags=tags, dropped=dropped, user_name=user,
             effort=effort, selection=selection)  # fmt: skip


def filled(store: Store) -> dict[str, Any]:
    log = CorrectionLog(store)
    plain = Selection("entropy", True)
    save(log, 1, ["cat", "dog"], num_keys=5, seconds=10, dropped=("sea",), selection=plain)
    save(log, 2, ["sea", "cat", "sky"], actions=(["move", "sea", 1, 0], ["type", "sky", 3]), selection=plain)
    save(log, 3, ["tree"], num_keys=1, seconds=2, tagger="new", selection=Selection("random", False))
    hidden = Selection("entropy", True, "hidden", ["tree", "sky"])
    save(log, 4, ["sky", "sun"], shown=(), tagger="new", selection=hidden)
    save(log, 5, ["cat"], num_keys=90)
    log.undo("anna")
    save(log, 1, ["cat", "sun"], num_keys=50, user="ben")
    log.skip(6, "anna")
    return effort_report(store.rows)


def test_effort_is_that_of_first_saves_that_were_not_undone(store: Store) -> None:
    report = filled(store)
    assert (report["num_saves"], report["num_photos"]) == (5, 4)
    assert report["mean_actions"] == pytest.approx((6 + 4 + 2 + 4) / 4)
    assert report["median_seconds"] == 4
    assert [(row["model"], row["num_photos"], row["actions_per_photo"]) for row in report["by_model"]] == [
        ("old", 2, 5.0),
        ("new", 2, 3.0),
    ]
    assert [(row["first_photo"], row["model"], row["actions_per_photo"]) for row in report["over_time"]] == [
        (1, "old", 6.0), (2, "old", 4.0), (3, "new", 2.0), (4, "new", 4.0)]  # fmt: skip


def test_acceptance_tags_and_order_are_counted_without_what_was_hidden(store: Store) -> None:
    report = filled(store)
    kept = [(row["rank"], row["num_shown"], row["num_kept"]) for row in report["acceptance_by_rank"]]
    assert kept == [(1, 3, 2), (2, 3, 1), (3, 3, 1)]
    assert report["tags_added"] == [
        {"tag": "sky", "num_photos": 2}, {"tag": "sun", "num_photos": 1}, {"tag": "tree", "num_photos": 1}
    ]  # fmt: skip
    assert report["tags_dropped"] == [{"tag": "sea", "num_photos": 1}]
    assert report["order"] == {"num_photos": 2, "share_in_another_order": 0.5, "moves_per_photo": 0.5}


def test_queue_repeats_and_probes(store: Store) -> None:
    report = filled(store)
    queue = report["queue"]
    assert (queue["num_images"], queue["num_saved"], queue["num_put_off"], queue["num_open"]) == (8, 4, 1, 3)
    assert [(row["strategy"], row["num_photos"], row["num_random"]) for row in queue["by_strategy"]] == [
        ("entropy", 3, 3),
        ("random", 1, 0),
    ]
    assert report["repeats"] == [{"same_user": False, "num_pairs": 1, "mean_overlap": 0.3333, "share_identical": 0.0}]
    shown, hidden = report["probes"]
    # Shown: 2 of 2 and 2 of 3 kept tags were proposed; 2 of 3 proposals were kept, twice.
    assert (shown["proposals"], shown["num_photos"]) == ("shown", 2)
    assert (shown["share_proposed"], shown["share_kept"]) == (0.8333, 0.6667)
    assert (hidden["proposals"], hidden["num_photos"], hidden["share_proposed"]) == ("hidden", 1, 0.5)


def test_an_empty_project_has_a_report(store: Store) -> None:
    report = effort_report(store.rows)
    assert (report["num_saves"], report["mean_actions"], report["over_time"]) == (0, None, [])


@pytest.mark.integration
def test_the_command_prints_and_draws(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = filled(store)
    store.close()
    plot = tmp_path / "effort.png"
    assert main(["report", str(tmp_path / "project"), "--json", "--plot", str(plot)]) == 0
    assert json.loads(capsys.readouterr().out) == report
    with Image.open(plot) as image:
        assert image.format == "PNG"
        assert len(image.convert("L").getcolors() or []) > 20
    assert main(["report", str(tmp_path / "project")]) == 0
    text = capsys.readouterr().out
    assert "4 of 8 photos saved, 1 put off." in text
    assert "4.00 actions (keys and clicks) and 4.00 s (median) a photo, over 4 photos." in text
    assert main(["report", str(tmp_path / "project"), "--plot", str(tmp_path / "effort.gif")]) == 1
    assert "ends with .png, got 'effort.gif'" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "project"), "--plot", str(tmp_path / "nowhere" / "a.png")]) == 1
    assert "cannot be written" in capsys.readouterr().err
