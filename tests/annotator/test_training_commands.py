import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.errors import AnnotatorError, ConfigError, DataError
from annotator.models import checkpoint
from annotator.models.backbone import Backbone
from annotator.training_commands import add_train, parse_settings


@pytest.fixture
def data(write_photos: Callable[..., list[Path]], tmp_path: Path) -> Path:
    """A folder of 20 tagged photos."""
    photos = write_photos(tmp_path / "data", range(20))
    tags = [["cat", "sofa"], ["coffee", "table", "cup"], ["rocket"], ["astronaut", "rocket"]]
    lines = [json.dumps({"image": path.name, "tags": tags[row % 4]}) for row, path in enumerate(photos)]
    (tmp_path / "data" / "records.jsonl").write_text("\n".join(lines))
    return tmp_path / "data"


def run(arguments: Sequence[Any]) -> int:
    parser = argparse.ArgumentParser()
    add_train(parser.add_subparsers())
    parsed = parser.parse_args(["train", *map(str, arguments)])
    code: int = parsed.command(parsed)
    return code


@pytest.mark.parametrize("tagger", ["scnn_rnn", "jvsp", "ranked_lstm", "logistic"])
def test_train_writes_a_checkpoint_that_proposes_tags(
    tagger: str, data: Path, tmp_path: Path, backbone: Backbone, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["--tagger", tagger, "--data", data, "--out", tmp_path / "out", "--epochs", 2, "--half", "--json",
                "--order", "rare_first", "--seed", 3, "--threads", 1])  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    assert (code, printed["num_train"] + printed["num_validation"], printed["problem"]) == (0, 20, None)
    loaded = checkpoint.load(tmp_path / "out", backbone=backbone)
    assert loaded.version == printed["version"] or tagger == "logistic"
    lists = loaded.decode(np.ones((1, backbone.feature_size), np.float32), [["cat"]], k=3)
    assert len(lists[0]) == 3
    info = checkpoint.read_info(tmp_path / "out")
    assert info.about.order == "rare_first"
    assert info.about.training["request"]["fit"]["seed"] == 3
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "out").iterdir()) == [
        "split.json", "tagger.json", "training.json", "weights"
    ]  # fmt: skip


def test_training_again_gives_the_same_checkpoint(data: Path, tmp_path: Path, backbone: Backbone) -> None:
    versions = []
    for name in ("one", "two"):
        run(["--tagger", "scnn_rnn", "--data", data, "--out", tmp_path / name, "--epochs", 2, "--threads", 1])
        versions.append(checkpoint.read_info(tmp_path / name).version)
    assert versions[0] == versions[1]


def test_train_on_all_learns_from_every_photo_with_the_chosen_epochs(
    data: Path, tmp_path: Path, backbone: Backbone
) -> None:
    run(["--tagger", "ranked_lstm", "--data", data, "--out", tmp_path / "out", "--epochs", 2, "--on-all"])
    report = json.loads((tmp_path / "out" / "training.json").read_text())
    best = max(epoch["epoch"] for epoch in report["epochs"][:2] if epoch["is_best"])
    assert len(report["epochs"]) == 2 + best
    assert report["epochs"][-1]["validation_loss"] == report["epochs"][-1]["train_loss"]
    assert checkpoint.read_info(tmp_path / "out").about.training["num_train"] == 20


def test_settings_of_tagger_and_ranking_are_kept(data: Path, tmp_path: Path, backbone: Backbone) -> None:
    run(["--tagger", "jvsp", "--data", data, "--out", tmp_path / "out", "--epochs", 1,
         "--set", "alpha=0.01", "--set", "size=32", "--rank", "by=sequence"])  # fmt: skip
    info = checkpoint.read_info(tmp_path / "out")
    assert (info.settings["alpha"], info.settings["size"], info.ranking["by"]) == (0.01, 32, "sequence")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "colour=1"], "no setting 'colour'"),
        (["--set", "size"], "write it as NAME=VALUE"),
        (["--rank", "by=luck"], "not by 'luck'"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--validation-share", "1"], "validation_share must lie"),
        (["--min-count", "100"], "No tag occurs in 100"),
    ],
)
def test_a_bad_setting_is_one_sentence(
    arguments: list[str], message: str, data: Path, tmp_path: Path, backbone: Backbone
) -> None:
    with pytest.raises(AnnotatorError, match=message):
        run(["--tagger", "jvsp", "--data", data, "--out", tmp_path / "out", *arguments])
    assert not (tmp_path / "out").exists()


def test_a_folder_without_records_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no .*records.jsonl"):
        run(["--tagger", "jvsp", "--data", tmp_path, "--out", tmp_path / "out"])


def test_settings_are_json_or_text() -> None:
    assert parse_settings(["a=1", "b=true", "c=text", "d=[1,2]", "e="]) == {
        "a": 1, "b": True, "c": "text", "d": [1, 2], "e": ""
    }  # fmt: skip
    with pytest.raises(ConfigError, match="given twice"):
        parse_settings(["a=1", "a=2"])


def test_loading_a_tagger_for_the_page_imports_no_torch(data: Path, tmp_path: Path, backbone: Backbone) -> None:
    run(["--tagger", "scnn_rnn", "--data", data, "--out", tmp_path / "out", "--epochs", 1])
    code = (
        "import sys, numpy as np\n"
        "from annotator.models import checkpoint\n"
        f"tagger = checkpoint.load({str(tmp_path / 'out')!r})\n"
        "tagger.decode(np.ones((1, tagger.feature_size), np.float32), [['cat']])\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_two_processes_learn_the_same_weights(data: Path, tmp_path: Path, backbone: Backbone) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import argparse, sys\n"
        "from annotator.training_commands import add_train\n"
        "parser = argparse.ArgumentParser()\n"
        "add_train(parser.add_subparsers())\n"
        "parsed = parser.parse_args(sys.argv[1:])\n"
        "sys.exit(parsed.command(parsed))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    arguments = ["train", "--tagger", "ranked_lstm", "--data", data, "--out", tmp_path / "out", "--epochs", "2",
                 "--batch-size", "4", "--set", "dropout=0", "--threads", "1", "--json"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=120,
                          env=environment)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.strip().splitlines()[-1])["num_train"] == 16
    # Without dropout, two halves of each batch teach what the whole batch does.
    run(["--tagger", "ranked_lstm", "--data", data, "--out", tmp_path / "alone", "--epochs", 2, "--batch-size", 4,
         "--set", "dropout=0", "--threads", 1])  # fmt: skip
    features = np.random.default_rng(0).random((3, backbone.feature_size)).astype(np.float32)
    places = []
    for name in ("out", "alone"):
        tagger: Any = checkpoint.load(tmp_path / name)
        places.append(tagger.judge(features, [()] * 3).places)
    np.testing.assert_allclose(places[0], places[1], atol=2e-3)
