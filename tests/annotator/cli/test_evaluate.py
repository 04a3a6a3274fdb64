import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage
import sklearn  # type: ignore[import-untyped]
from PIL import Image

from annotator.cli.evaluate import add_evaluate
from annotator.datasets.record import read_records
from annotator.datasets.splits import save_split
from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import CheckpointError, ConfigError, DataError
from annotator.models import checkpoint
from annotator.models.backbones.backbone import load_backbone
from annotator.models.checkpoint import About
from annotator.models.taggers.baselines import LogisticTagger
from annotator.trainer.feature_cache import features_of
from annotator.trainer.training import SPLIT_FILE

pytestmark = pytest.mark.integration  # trains

PHOTOS = {
    Path(sklearn.__file__).parent / "datasets/images/china.jpg": ["building", "sky"],
    Path(sklearn.__file__).parent / "datasets/images/flower.jpg": ["flower"],
    Path(skimage.__file__).parent / "data/chelsea.png": ["cat", "fur"],
    Path(skimage.__file__).parent / "data/coffee.png": ["cup", "coffee", "table"],
}

Run = Callable[..., int]


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for number in range(8):
        path, tags = list(PHOTOS.items())[number % 4]
        with Image.open(path) as image:
            photo = image.convert("RGB").resize((240, 200))
        (photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number > 3 else photo).save(folder / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "tags": tags}))
    (folder / "records.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def checkpoint_folder(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a tagger that was trained on the first four photos; the other four are their mirror images."""
    folder = tmp_path_factory.mktemp("checkpoint")
    records = read_records(data_folder)
    backbone = load_backbone(device="cpu", num_threads=1)
    features = features_of(records[:4], backbone, folder / "cache").features
    tagger = LogisticTagger.fit(Vocabulary.from_records(records[:4]), features, [record.tags for record in records[:4]])
    checkpoint.save(tagger, folder, About(backbone.name, backbone.version, "given"))
    save_split(records[:4], records[4:], folder / SPLIT_FILE)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run_command(*arguments: object) -> int:
        parser = argparse.ArgumentParser()
        add_evaluate(parser.add_subparsers())
        parsed = parser.parse_args(["evaluate", *map(str, arguments), "--cache", str(tmp_path), "--threads", "1"])
        code: int = parsed.command(parsed)
        return code

    return run_command


def test_json_holds_every_measure_of_the_photos_held_back(
    run: Run, data_folder: Path, checkpoint_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint_folder, "--data", data_folder, "--split", "validation", "--k", 3, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["num_images"] == 4
    assert report["k"] == 3
    assert report["tagger"] == "logistic"
    assert report["order"] == "given"
    # They are mirror images of the training photos.
    assert report["c_r"] == 1
    assert report["ndcg_binary"]["10"] == pytest.approx(1)
    assert np.isfinite([report[key] for key in ("c_p", "o_f1", "map_lab", "map_img", "first_tag_accuracy")]).all()


def test_without_json_a_table_is_printed_over_all_photos(
    run: Run, data_folder: Path, checkpoint_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint_folder, "--data", data_folder, "--free-length") == 0
    text = capsys.readouterr().out
    assert "logistic: 8 photos, 8 tags with photos, as many tags as the tagger gives a photo" in text
    assert "ndcg_graded" in text


def test_a_checkpoint_without_split_cannot_name_the_photos_held_back(
    run: Run, data_folder: Path, checkpoint_folder: Path
) -> None:
    split_file = checkpoint_folder / SPLIT_FILE
    text = split_file.read_text()
    split_file.unlink()
    try:
        with pytest.raises(DataError, match=r"keeps no split.*--split all"):
            run(checkpoint_folder, "--data", data_folder, "--split", "validation")
    finally:
        split_file.write_text(text)


def test_another_data_set_than_the_splits_is_refused(run: Run, checkpoint_folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "other.png")
    (tmp_path / "records.jsonl").write_text('{"image": "other.png", "tags": ["sky"]}')
    with pytest.raises(DataError, match="photos that the data set lacks"):
        run(checkpoint_folder, "--data", tmp_path, "--split", "validation")


def test_bad_arguments_are_refused_by_name(
    run: Run, data_folder: Path, checkpoint_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        run(tmp_path / "nothing", "--data", data_folder)
    with pytest.raises(DataError, match=r"There is no .*records\.jsonl"):
        run(checkpoint_folder, "--data", tmp_path)
    with pytest.raises(ConfigError, match="k must be at least 1"):
        run(checkpoint_folder, "--data", data_folder, "--k", 0)


def test_k_and_a_free_length_exclude_each_other(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("starter", "--data", "x", "--k", 3, "--free-length")
    assert "not allowed with" in capsys.readouterr().err
