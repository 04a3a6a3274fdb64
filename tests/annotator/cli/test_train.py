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

from annotator.cli.evaluate import add_evaluate
from annotator.cli.options import parse_settings
from annotator.cli.train import add_train
from annotator.errors import AnnotatorError, CheckpointError, ConfigError, DataError
from annotator.models import checkpoint
from annotator.models.backbones.backbone import Backbone
from annotator.models.taggers.metadata_neighbours_numpy import NeighbourNetwork

pytestmark = pytest.mark.integration  # trains


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
        "from annotator.cli.train import add_train\n"
        "parser = argparse.ArgumentParser()\n"
        "add_train(parser.add_subparsers())\n"
        "parsed = parser.parse_args(sys.argv[1:])\n"
        "sys.exit(parsed.command(parsed))\n"
    )
    # An address, since not every machine can resolve its own name.
    launch = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", "--nproc-per-node=2"]
    command = [sys.executable, *launch, str(script)]
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
        places.append(tagger.predict(features, [()] * 3).places)
    np.testing.assert_allclose(places[0], places[1], atol=2e-3)


@pytest.fixture
def described(write_photos: Callable[..., list[Path]], tmp_path: Path) -> Path:
    """24 photos with captions and user tags about their content."""
    photos = write_photos(tmp_path / "data", range(24))
    objects = [["cat"], ["car", "dog"], ["boat"], ["dog"]]
    captions = ["A cat on a mat.", "The dog by the car!", "A boat at sea", "Some dog"]
    lines = [
        json.dumps(
            {
                "image": path.name, "tags": ["thing"] if row % 5 else [], "objects": objects[row % 4],
                "caption": captions[row % 4], "user_tags": ["Canon", *objects[row % 4]] if row % 3 else [],
            }
        )
        for row, path in enumerate(photos)
    ]  # fmt: skip
    (tmp_path / "data" / "records.jsonl").write_text("\n".join(lines))
    return tmp_path / "data"


def evaluated(arguments: Sequence[Any], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_evaluate(parser.add_subparsers())
    parsed = parser.parse_args(["evaluate", *map(str, arguments), "--threads", "1", "--json"])
    capsys.readouterr()
    assert parsed.command(parsed) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_word_vectors_are_found_from_any_folder_and_missing_tags_are_reported(
    described: Path, tmp_path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "own.txt").write_text("cat 1 0\ndog 0 1\nuno 0 1\n")
    monkeypatch.chdir(tmp_path)
    assert run(["--tagger", "ltn", "--data", described, "--out", tmp_path / "out", "--target", "objects",
                "--metadata", "caption", "--epochs", 1, "--set", "neighbourhood=w2v", "--set", "vectors=own.txt",
                "--set", "m=2", "--set", "M=3", "--threads", 1, "--set", "hidden_size=8"]) == 0  # fmt: skip
    assert "4 of 6 metadata words have no word vector in own: boat, car, mat, ..." in capsys.readouterr().out
    monkeypatch.chdir("/")
    loaded = checkpoint.load(tmp_path / "out", backbone=backbone)
    assert isinstance(loaded, NeighbourNetwork)
    assert loaded.settings()["vectors"] == str(tmp_path / "own.txt")
    (tmp_path / "own.txt").write_text("cat 1 0\ndog 1 1\n")
    with pytest.raises(CheckpointError, match="neighbours were found by word vectors of version"):
        checkpoint.load(tmp_path / "out", backbone=backbone)


@pytest.mark.parametrize("tagger", ["open_vocabulary", "zero_shot"])
def test_word_vectors_that_know_no_tag_are_one_sentence(
    tagger: str, data: Path, tmp_path: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.txt").write_text("uno 1 0\ndos 0 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"word vectors /.*own.txt know (0|none) of the \d tags"):
        run(["--tagger", tagger, "--data", data, "--out", tmp_path / "out", "--set", "word_vectors=own.txt"])


def test_a_tagger_with_a_context_is_trained_and_measured_by_the_same_commands(
    described: Path, tmp_path: Path, backbone: Backbone, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["--tagger", "ltwin", "--data", described, "--out", out, "--target", "objects", "--metadata", "caption",
                "--epochs", 2, "--set", "neighbourhood=w2v", "--set", "m=2", "--set", "M=3", "--threads", 1,
                "--set", "hidden_size=8"]) == 0  # fmt: skip
    loaded = checkpoint.load(out, backbone=backbone)
    assert isinstance(loaded, NeighbourNetwork)
    assert (loaded.metadata, loaded.num_candidates) == ("caption", 3)
    assert loaded.neighbourhood is not None
    assert sorted(loaded.settings()["known_words"]) == ["boat", "car", "cat", "dog", "mat", "sea"]
    assert sorted(loaded.vocabulary.tags) == ["boat", "car", "cat", "dog"]
    recurrent = tmp_path / "jvsp"
    run(["--tagger", "jvsp", "--data", described, "--out", recurrent, "--target", "objects", "--epochs", 1,
         "--set", "size=16", "--threads", 1])  # fmt: skip
    report = evaluated([out, "--data", described, "--split", "validation"], capsys)
    assert report.keys() == evaluated([recurrent, "--data", described, "--split", "validation"], capsys).keys()
    assert (report["num_images"], report["num_tags"] <= 4) == (5, True)
    assert evaluated([out, "--data", described], capsys)["num_images"] == 24  # the untagged ones too
    request = checkpoint.read_info(out).about.training["request"]
    assert (request["target"], request["settings"]["metadata"]) == ("objects", "caption")


def test_neighbours_come_from_the_training_photos_or_those_that_are_named(
    described: Path, tmp_path: Path, write_photos: Callable[..., list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(["--tagger", "ltn", "--data", described, "--out", out, "--target", "objects", "--epochs", 1,
         "--set", "hidden_size=8", "--threads", 1, "--on-all"])  # fmt: skip
    photos = write_photos(tmp_path / "other", range(3))
    lines = [json.dumps({"image": path.name, "objects": ["dog"]}) for path in photos]
    (tmp_path / "other" / "records.jsonl").write_text("\n".join(lines).replace('"objects"', '"tags": ["a"], "objects"'))
    with pytest.raises(DataError, match=r"does not hold the photos that .* was trained on .*--pool"):
        evaluated([out, "--data", tmp_path / "other"], capsys)
    assert evaluated([out, "--data", tmp_path / "other", "--pool", described], capsys)["num_images"] == 3
    with pytest.raises(DataError, match="takes no neighbours; leave --pool out"):
        evaluated(["starter", "--data", described, "--pool", described], capsys)


@pytest.mark.parametrize(
    ("kept", "line"),
    [
        (0, "0 of 24 photos have user_tags: neighbours are found by visual similarity"),
        (16, "16 of 24 photos have user_tags: the others' neighbours are found by visual similarity"),
        (24, ""),
    ],
)
def test_photos_without_metadata_are_reported_by_train_and_evaluate(
    kept: int, line: str, described: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [json.loads(text) for text in (described / "records.jsonl").read_text().splitlines()]
    records = [{**record, "user_tags": ["canon"] * (row < kept)} for row, record in enumerate(records)]
    (described / "records.jsonl").write_text("\n".join(map(json.dumps, records)))
    for tagger in ("ltn", "visual_only"):
        out = tmp_path / tagger
        run(["--tagger", tagger, "--data", described, "--out", out, "--target", "objects", "--metadata", "user_tags",
             "--epochs", 1, "--threads", 1])  # fmt: skip
        trained = capsys.readouterr().err.splitlines()
        parser = argparse.ArgumentParser()
        add_evaluate(parser.add_subparsers())
        parsed = parser.parse_args(["evaluate", str(out), "--data", str(described), "--threads", "1"])
        assert parsed.command(parsed) == 0
        measured = capsys.readouterr().err.splitlines()
        for lines in (trained, measured):
            assert [text for text in lines if "by visual similarity" in text] == [line] * bool(line and tagger == "ltn")


def test_metadata_are_only_for_taggers_that_use_them(described: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="jvsp uses no metadata"):
        run(["--tagger", "jvsp", "--data", described, "--out", tmp_path / "out", "--metadata", "caption"])
    with pytest.raises(ConfigError, match="m must not be above M"):
        run(["--tagger", "ltn", "--data", described, "--out", tmp_path / "out", "--set", "m=30"])
    with pytest.raises(DataError, match='No photo has a list "animals"'):
        run(["--tagger", "ltn", "--data", described, "--out", tmp_path / "out", "--target", "animals"])


def test_a_killed_training_with_a_context_continues_to_the_same_weights(
    described: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--tagger", "ltwin", "--data", described, "--target", "objects", "--set", "hidden_size=8",
               "--epochs", 3, "--patience", 9, "--threads", 1]  # fmt: skip
    run([*options, "--out", tmp_path / "whole"])
    from annotator.trainer import fit

    kept = fit._Run._save

    def save_then_die(self: Any, place: Any, optimizer: Any) -> None:
        kept(self, place, optimizer)
        if place.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fit._Run, "_save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        run([*options, "--out", tmp_path / "killed"])
    monkeypatch.undo()
    run([*options, "--out", tmp_path / "killed"])
    versions = [checkpoint.read_info(tmp_path / name).weights_sha256 for name in ("whole", "killed")]
    assert versions[0] == versions[1]


@pytest.fixture
def corel(write_photos: Callable[..., list[Path]], tmp_path: Path) -> Path:
    """Ten training photos and four test photos in the files of Corel5k."""
    folder = tmp_path / "corel5k"
    names = [path.stem for path in write_photos(folder / "images", range(14))]
    (folder / "corel5k_dictionary.txt").write_text("city\nmountain\nsky\n")
    for side, listed in (("train", names[:10]), ("test", names[10:])):
        (folder / f"corel5k_{side}_list.txt").write_text("\n".join(listed))
        rows = [[3, number % 2, 1 - number % 2, 1] for number in range(len(listed))]
        (folder / f"corel5k_{side}_annot.hvecs").write_bytes(np.array(rows, "<u2").tobytes())
    return folder


def test_a_published_set_is_trained_on_and_measured_by_its_official_split(
    corel: Path, tmp_path: Path, backbone: Backbone, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", corel, "--format", "corel5k", "--cache", tmp_path / "cache"]
    assert run(["--tagger", "logistic", *data, "--out", tmp_path / "out", "--threads", 1, "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert trained["num_train"] + trained["num_validation"] == 10
    parser = argparse.ArgumentParser()
    add_evaluate(parser.add_subparsers())

    def measured(*options: str) -> dict[str, Any]:
        parsed = parser.parse_args(["evaluate", str(tmp_path / "out"), *map(str, data), "--k", "2", "--json", *options])
        assert parsed.command(parsed) == 0
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        return report

    for options, split, num_photos in (
        ((), "test", 4),
        (("--split", "train"), "train", 10),
        (("--split", "all"), "all", 14),
        (("--split", "validation"), "validation", trained["num_validation"]),
    ):
        report = measured(*options)
        assert (report["split"], report["num_images"]) == (split, num_photos)


def test_records_have_no_official_parts(data: Path, tmp_path: Path, backbone: Backbone) -> None:
    from annotator.cli.evaluate import records_of

    with pytest.raises(DataError, match="has no part 'test'; name the data set with --format"):
        records_of(data, "test", "starter")


def test_several_views_are_trained_on_and_measured_by_the_command_line(
    data: Path, tmp_path: Path, backbone: Backbone, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(["--tagger", "kernel_ridge", "--data", data, "--out", out, "--views", "whole,mirror,colour",
         "--set", 'decide="balanced"', "--threads", 1])  # fmt: skip
    info = checkpoint.read_info(out)
    assert info.about.backbone == "views_whole+mirror+colour_of_efficientnet_lite0"
    assert [view["weight"] for view in info.settings["config"]["views"]] == [1.0, 0.4, 0.4, 0.4]
    assert info.settings["config"]["decide"] == "balanced"
    capsys.readouterr()
    parser = argparse.ArgumentParser()
    add_evaluate(parser.add_subparsers())
    parsed = parser.parse_args(["evaluate", str(out), "--data", str(data), "--split", "validation", "--json"])
    assert parsed.command(parsed) == 0
    assert json.loads(capsys.readouterr().out)["num_images"] == 4
    with pytest.raises(CheckpointError, match="was trained on features of views_whole"):
        checkpoint.load(out, backbone=backbone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tagger", "kernel_ridge", "--views", "whole,sideways"], "no view 'sideways'"),
        (["--tagger", "scnn_rnn", "--views", "colour", "--train-backbone"], "cannot be trained along"),
    ],
)
def test_views_that_cannot_be_are_one_sentence(
    arguments: list[str], message: str, data: Path, tmp_path: Path, backbone: Backbone
) -> None:
    with pytest.raises(ConfigError, match=message):
        run([*arguments, "--data", data, "--out", tmp_path / "out"])
    assert not (tmp_path / "out").exists()
