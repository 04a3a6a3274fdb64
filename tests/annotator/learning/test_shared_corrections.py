"""Training on a machine without the project: lists of a snapshot, features of shards, and back into the test."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest
from PIL import Image, ImageOps

from annotator.cli.main import main
from annotator.datasets.folder_store import FolderStore
from annotator.datasets.photo_roots import PhotoUrl
from annotator.datasets.remote_store import RemoteStore
from annotator.errors import AnnotatorError, FeatureMismatchError, ShardError
from annotator.learning.job import read_trained
from annotator.learning.shared_corrections import read_corrections
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.bulk_changes import BulkChanges
from annotator.storage.correction_log import Annotation, Effort, ListChange
from annotator.storage.shard_stream import stream_shards
from annotator.trainer.finetuning.corrections import is_gold

pytestmark = pytest.mark.integration  # the real backbone, and trainings

NUM_PHOTOS, NUM_TAGGED = 40, 36
TAGS = ("heron", "reed", "water", "boat")


@pytest.fixture(scope="module")
def photos(demo_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of six photographs, half of them with inverted colours, so that few look alike."""
    folder = tmp_path_factory.mktemp("photos")
    originals = [Image.open(path).convert("RGB") for path in sorted(demo_photos.iterdir()) if path.is_file()]
    for number in range(NUM_PHOTOS):
        original = originals[number % len(originals)]
        part = number // len(originals)
        width, height = original.width // 2, original.height // 2
        left, top = part % 2 * width, part // 2 % 2 * height
        image = original.crop((left, top, left + width, top + height)).resize((360, 270))
        (ImageOps.invert(image) if part >= 4 else image).save(folder / f"photo {number:02}.jpg")
    return folder


@pytest.fixture
def opened(open_project: Callable[..., Session], photos: Path) -> Session:
    opened = open_project(photos, tagger="starter/scnn_rnn")
    for image_id in range(1, NUM_TAGGED + 1):
        tags = [TAGS[image_id % 4], TAGS[(image_id + 1) % 4]]
        opened.tagging.save("local", EditedList(image_id, 0, tags, [], Effort(tagger="x")))
    # Nobody has looked at this list, so nothing is learnt from it.
    unseen = ListChange(Annotation(NUM_TAGGED + 1), (TAGS[0],), ())
    BulkChanges(opened.workspace.store, opened.workspace.log).save_lists("suggested", [unseen], "suggestions", "local")
    opened.workspace.models.set({"least_photos": 1, "gold_margin": 50.0, "gold_share": 0.3})
    return opened


@pytest.fixture
def closed(opened: Session, photos: Path, tmp_path: Path) -> SimpleNamespace:
    """The project, its snapshot, shards of its photos, and what it has of each photo."""
    store = opened.workspace.store
    hashes = {str(name): int(image_id) for name, image_id in store.rows("SELECT content_hash, image_id FROM images")}
    vectors = {name: opened.workspace.features.vectors([image_id])[0] for name, image_id in hashes.items()}
    backbone, folder = opened.workspace.backbone, opened.workspace.project.folder
    opened.close()
    assert main(["snapshot", str(folder), str(tmp_path / "lists")]) == 0
    assert main(["embed", str(photos), "--out", str(tmp_path / "shards"), "--shard-size", "7"]) == 0
    return SimpleNamespace(
        folder=folder, lists=tmp_path / "lists", shards=tmp_path / "shards", vectors=vectors, backbone=backbone
    )


def in_memory(folder: Path, name: str) -> RemoteStore:
    store = fsspec.filesystem("memory")
    for path in folder.rglob("*"):
        if path.is_file():
            store.pipe_file(f"/bucket/{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return RemoteStore(PhotoUrl(f"memory://bucket/{name}"))


@pytest.mark.parametrize("is_remote", [False, True])
def test_lists_get_the_features_that_the_project_has(closed: SimpleNamespace, is_remote: bool) -> None:
    lists, shards = (
        in_memory(folder, folder.name) if is_remote else FolderStore(folder) for folder in (closed.lists, closed.shards)
    )
    found = read_corrections(lists, shards, closed.backbone)
    gold = {name for name in closed.vectors if is_gold(name, 0.3)}
    assert found.num_without_features == 0
    assert 0 < found.num_gold < NUM_TAGGED
    assert len(found.records) + found.num_gold == NUM_TAGGED
    for record, values in zip(found.records, found.features, strict=True):
        name = record.image.name
        assert name not in gold
        np.testing.assert_array_equal(values, closed.vectors[name])
        assert set(record.tags) <= set(TAGS)
    assert found.trained.keys() == {record.image.name for record in found.records}


def test_of_shards_in_a_store_one_at_a_time_is_on_the_disk(closed: SimpleNamespace) -> None:
    store = in_memory(closed.shards, "shards")
    with stream_shards(store) as (about, tables):
        assert about.backbone == closed.backbone.name
        folder = None
        seen = 0
        for table in tables:
            folder = Path(table._name).parent
            assert len(list(folder.glob("*.parquet"))) == 1
            seen += len(table)
    assert seen == NUM_PHOTOS
    assert folder is not None
    assert not folder.exists()


def test_what_does_not_fit_is_a_sentence(closed: SimpleNamespace, tmp_path: Path) -> None:
    other = SimpleNamespace(name="other", version="1", feature_size=1280)
    shards, lists = FolderStore(closed.shards), FolderStore(closed.lists)
    with pytest.raises(FeatureMismatchError, match="but the training takes those of other-1"):
        read_corrections(lists, shards, other)
    path = closed.shards / "shard-00001.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    for store in (shards, in_memory(closed.shards, "shards")):
        with pytest.raises(ShardError, match="shard-00001"):
            read_corrections(lists, store, closed.backbone)
    path.write_bytes(data)
    with pytest.raises(ShardError, match="holds no shards"):
        read_corrections(lists, RemoteStore(PhotoUrl("memory://bucket/nothing")), closed.backbone)
    with pytest.raises(ShardError, match="is not a manifest"):
        read_corrections(lists, lists, closed.backbone)
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "a.jpg").write_bytes(next(Path(closed.folder).parent.rglob("*.jpg")).read_bytes() + b"more")
    with pytest.raises(AnnotatorError):
        read_corrections(FolderStore(tmp_path / "others"), shards, closed.backbone)


def train(closed: SimpleNamespace, out: Path, *options: str) -> list[str]:
    return ["train", "--tagger", "scnn_rnn", "--data", str(closed.lists), "--shards", str(closed.shards), "--out",
            str(out), "--epochs", "2", "--threads", "1", "--half", *options]  # fmt: skip


def test_what_is_trained_there_takes_the_test_of_the_project(
    closed: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "trained"
    assert main(train(closed, out)) == 0
    shown = capsys.readouterr()
    assert "more are kept for the promotion test, and 0 are in no shard" in shown.err
    trained = read_trained(out)
    assert all(not is_gold(name, 0.3) for name in trained)
    assert main(["models", str(closed.folder), "submit", str(out), "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    verdict = run["report"]["verdict"]
    assert run["cause"] == "submitted"
    assert run["state"] in ("promoted", "refused")
    # Those of the gold share that do not look like a photo of the training.
    assert 0 < verdict["num_gold"] <= NUM_TAGGED - len(trained)
    assert verdict["num_newest"] == 0
    assert run["report"]["num_fresh"] == len(trained)


def test_processes_of_torchrun_train_on_one_snapshot(closed: SimpleNamespace, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [*command, "annotator.cli", *train(closed, tmp_path / "two")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("are in no shard") == 1
    assert read_trained(tmp_path / "two")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--train-backbone"], "need the photos; a snapshot has none"),
        (["--views", "whole"], "need the photos; a snapshot has none"),
    ],
)
def test_options_that_need_photos_are_refused(
    closed: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(train(closed, tmp_path / "out", *options)) == 1
    assert said in capsys.readouterr().err


def test_a_snapshot_needs_shards_and_a_folder_of_photos_takes_none(
    closed: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str], photos: Path
) -> None:
    given = train(closed, tmp_path / "out")
    place = given.index("--shards")
    assert main([*given[:place], *given[place + 2 :]]) == 1
    assert "name them with --shards" in capsys.readouterr().err
    (photos / "records.jsonl").write_text('{"image": "photo 00.jpg", "tags": ["a"]}')
    assert main([str(photos) if text == str(closed.lists) else text for text in given]) == 1
    assert "--shards are of a snapshot" in capsys.readouterr().err
    (photos / "records.jsonl").unlink()
