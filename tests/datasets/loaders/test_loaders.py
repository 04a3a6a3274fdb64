"""Every loader on a small data set written in that set's own file format."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.cli.main import main
from annotator.datasets.loaders import (
    annotation_lists,
    coco,
    corel5k,
    esp_game,
    iapr_tc12,
    labelme,
    mirflickr,
    nus_wide,
    published,
    voc2007,
)
from annotator.datasets.loaders.loading import DataSet
from annotator.datasets.record import read_records
from annotator.errors import ConfigError, DataError

_LISTS: list[tuple[str, Callable[[Path], DataSet]]] = [
    ("corel5k", corel5k.load_corel5k),
    ("espgame", esp_game.load_esp_game),
    ("iaprtc12", iapr_tc12.load_iapr_tc12),
]


def _write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _write_hvecs(path: Path, rows: Sequence[Sequence[int]]) -> None:
    path.write_bytes(b"".join(np.array([len(row), *row], "<u2").tobytes() for row in rows))


def _write_lists(folder: Path, name: str) -> Path:
    _write(folder / f"{name}_dictionary.txt", "city\nmountain\nsky\n")
    _write(folder / f"{name}_train_list.txt", "1000/1000\n1000/1001\n")
    _write(folder / f"{name}_test_list.txt", "2000/2000\n")
    _write_hvecs(folder / f"{name}_train_annot.hvecs", [[1, 0, 1], [0, 1, 0]])
    _write_hvecs(folder / f"{name}_test_annot.hvecs", [[0, 1, 1]])
    for photo in ("images/1000/1000.jpeg", "1000/1001.jpg", "images/2000/2000.jpeg"):
        _write(folder / photo)
    return folder


@pytest.mark.parametrize(("name", "load"), _LISTS)
def test_annotation_lists_give_the_official_split(tmp_path: Path, name: str, load: Callable[[Path], DataSet]) -> None:
    data = load(_write_lists(tmp_path, name))
    assert [(record.image.name, record.tags) for record in data.train] == [
        ("1000.jpeg", ("city", "sky")),
        ("1001.jpg", ("mountain",)),
    ]
    assert [(record.image.name, record.tags) for record in data.test] == [("2000.jpeg", ("mountain", "sky"))]
    assert data.vocabulary == ["city", "mountain", "sky"]


@pytest.mark.parametrize(("name", "load"), _LISTS)
def test_a_missing_annotation_list_says_what_to_download(
    tmp_path: Path, name: str, load: Callable[[Path], DataSet]
) -> None:
    _write_lists(tmp_path, name)
    (tmp_path / f"{name}_test_annot.hvecs").unlink()
    with pytest.raises(DataError, match=rf"{name}_test_annot\.hvecs is missing\. Download TagProp's files"):
        load(tmp_path)


def test_vectors_are_sixteen_bit_with_their_length_in_front(tmp_path: Path) -> None:
    path = tmp_path / "some.hvecs"
    path.write_bytes(bytes([2, 0, 7, 0, 1, 1, 2, 0, 0, 0, 255, 255]))
    assert annotation_lists.read_hvecs(path).tolist() == [[7, 257], [0, 65535]]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"\x00\x00", b"\x02\x00\x01\x00", b"\x01\x00\x01\x00\x01", b"\x01\x00\x01\x00\x02\x00\x01\x00"],
)
def test_damaged_vectors_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.hvecs"
    path.write_bytes(content)
    with pytest.raises(DataError, match="Download it again"):
        annotation_lists.read_hvecs(path)


def test_lists_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    folder = _write_lists(tmp_path, "corel5k")
    _write_hvecs(folder / "corel5k_train_annot.hvecs", [[1, 0, 1]])
    with pytest.raises(DataError, match=r"corel5k_train_list\.txt: 2, corel5k_train_annot\.hvecs: 1"):
        corel5k.load_corel5k(folder)
    _write_hvecs(folder / "corel5k_train_annot.hvecs", [[1, 0], [0, 1]])
    with pytest.raises(DataError, match="do not belong together"):
        corel5k.load_corel5k(folder)


def test_photos_that_are_gone_are_left_out_with_a_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = _write_lists(tmp_path, "corel5k")
    (folder / "1000/1001.jpg").unlink()
    assert len(corel5k.load_corel5k(folder).train) == 1
    assert "1 of 2 photos are missing" in caplog.text


def test_a_set_without_any_photo_is_refused(tmp_path: Path) -> None:
    folder = _write_lists(tmp_path, "corel5k")
    (folder / "images/2000/2000.jpeg").unlink()
    with pytest.raises(DataError, match=r"None of the photos of Corel5k is there.*Download"):
        corel5k.load_corel5k(folder)


@pytest.fixture
def nus_folder(tmp_path: Path) -> Path:
    _write(tmp_path / "Concepts81.txt", "airport\nlake\n")
    _write(
        tmp_path / "ImageList/TrainImagelist.txt", "actor\\0001_11.jpg\r\nlake\\0002_12.jpg\r\nlake\\0003_13.jpg\r\n"
    )
    _write(tmp_path / "ImageList/TestImagelist.txt", "zoo\\0001_21.jpg\n")
    for concept, train, test in (("airport", "1\n0\n0\n", "0\n"), ("lake", "1\n1\n0\n", "1\n")):
        _write(tmp_path / f"Groundtruth/TrainTestLabels/Labels_{concept}_Train.txt", train)
        _write(tmp_path / f"Groundtruth/TrainTestLabels/Labels_{concept}_Test.txt", test)
    _write(tmp_path / "NUS_WID_Tags/TagList1k.txt", "nature\nwater\n")
    _write(tmp_path / "NUS_WID_Tags/Final_Tag_List.txt", "nature\nwater\nrare\n")
    _write(tmp_path / "NUS_WID_Tags/All_Tags.txt", "11 \t nature rare\n12 \t water nature mine\n13\n21 \t rare\n")
    for photo in ("actor/0001_11.jpg", "lake/0002_12.jpg", "lake/0003_13.jpg", "zoo/0001_21.jpg"):
        _write(tmp_path / "Flickr" / photo)
    return tmp_path


def test_nus_wide_gives_labels_user_tags_and_leaves_out_unlabelled_photos(nus_folder: Path) -> None:
    data = nus_wide.load_nus_wide(nus_folder)
    assert [(record.tags, record.user_tags) for record in data.train] == [
        (("airport", "lake"), ("nature",)),
        (("lake",), ("water", "nature")),
    ]
    assert [(record.tags, record.user_tags) for record in data.test] == [(("lake",), ())]
    assert nus_wide.load_nus_wide(nus_folder, "5k").test[0].user_tags == ("rare",)


def test_nus_wides_known_flaw_is_absent_and_another_is_refused(nus_folder: Path) -> None:
    path = nus_folder / "Groundtruth/TrainTestLabels/Labels_lake_Train.txt"
    path.write_text("1\n-1130179\n0\n")
    assert len(nus_wide.load_nus_wide(nus_folder).train) == 1
    path.write_text("1\n2\n0\n")
    with pytest.raises(DataError, match="holds '2' where a 0 or 1 must be"):
        nus_wide.load_nus_wide(nus_folder)
    path.write_text("1\n")
    with pytest.raises(DataError, match="do not belong together"):
        nus_wide.load_nus_wide(nus_folder)


def test_nus_wide_says_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Concepts81\.txt is missing\. Download"):
        nus_wide.load_nus_wide(tmp_path)


@pytest.fixture
def coco_folder(tmp_path: Path) -> Path:
    for side, number in (("train", 1), ("val", 2)):
        name = f"COCO_{side}2014_{number:012}.jpg"
        instances: dict[str, Any] = {
            "images": [{"id": number, "file_name": name}, {"id": 9, "file_name": "empty.jpg"}],
            "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
            "annotations": [
                {"image_id": number, "category_id": 1, "area": 30.0},
                {"image_id": number, "category_id": 18, "area": 20.5},
                {"image_id": number, "category_id": 18, "area": 20.5},
            ],
        }
        captions = {
            "annotations": [
                {"image_id": number, "caption": "A dog\nand a man."},
                {"image_id": number, "caption": "Two."},
            ]
        }
        _write(tmp_path / f"annotations/instances_{side}2014.json", json.dumps(instances))
        _write(tmp_path / f"annotations/captions_{side}2014.json", json.dumps(captions))
        _write(tmp_path / f"{side}2014/{name}")
    return tmp_path


def test_coco_gives_labels_by_total_area_and_captions(coco_folder: Path) -> None:
    data = coco.load_coco(coco_folder)
    (record,) = data.train
    assert record.tags == ("dog", "person")
    assert record.caption == "A dog and a man."
    assert record.extra["captions"] == ["A dog and a man.", "Two."]
    assert data.vocabulary == ["person", "dog"]
    assert [record.image.name for record in data.test] == ["COCO_val2014_000000000002.jpg"]


def test_coco_files_of_other_programs_are_read(coco_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = coco_folder / "annotations/instances_train2014.json"
    instances = json.loads(path.read_text())
    (coco_folder / "train2014/day 1").mkdir()
    (coco_folder / "train2014/COCO_train2014_000000000001.jpg").rename(coco_folder / "train2014/day 1/a.jpg")
    instances["images"][0]["file_name"] = "day 1\\a.jpg"
    instances["annotations"] = [
        {"image_id": 1, "category_id": 1},
        {"image_id": 1, "category_id": 18, "bbox": [0, 0, 10, 20.5]},
        {"image_id": 1, "category_id": 99, "area": 5},
        {"image_id": 1, "category_id": 99, "area": None},
    ]
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(instances).encode())
    (record,) = coco.load_coco(coco_folder).train
    assert record.tags == ("dog", "person")
    assert record.image == coco_folder / "train2014/day 1/a.jpg"
    assert "2 objects have a category that is not listed (99)" in caplog.text


def test_coco_does_without_captions(coco_folder: Path) -> None:
    (coco_folder / "annotations/captions_train2014.json").unlink()
    assert coco.load_coco(coco_folder).train[0].caption is None


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"images": [], "annotations": [], "categories": [{"id": 1}]}'])
def test_a_damaged_coco_file_is_refused(coco_folder: Path, text: str) -> None:
    _write(coco_folder / "annotations/instances_val2014.json", text)
    with pytest.raises(DataError, match=r"instances_val2014\.json .*Download the 2014 train and val"):
        coco.load_coco(coco_folder)


def test_coco_says_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is missing\. Download the 2017 train and val photos"):
        coco.load_coco(tmp_path, "2017")


def _voc_object(name: str, size: int) -> str:
    box = f"<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{1 + size}</xmax><ymax>{1 + size}</ymax></bndbox>"
    return f"<object><name>{name}</name>{box}</object>"


@pytest.fixture
def voc_folder(tmp_path: Path) -> Path:
    base = tmp_path / "VOCdevkit/VOC2007"
    _write(base / "ImageSets/Main/trainval.txt", "000001\n")
    _write(base / "ImageSets/Main/test.txt", "000002\n")
    objects = _voc_object("dog", 6) + _voc_object("person", 5) + _voc_object("person", 5)
    _write(base / "Annotations/000001.xml", f"<annotation>{objects}</annotation>")
    _write(base / "Annotations/000002.xml", f"<annotation>{_voc_object('cat', 3)}</annotation>")
    lines = []
    for number in range(1, 101):
        _write(base / f"JPEGImages/{number:06}.jpg")
        lines.append(f"{number:06}: Dog, grass, dog, {'rare' if number < 4 else 'boy'}")
    _write(tmp_path / "ranked_tags.txt", "\n".join(lines))
    return tmp_path


def test_vocs_ranked_lists_follow_the_papers_protocol(voc_folder: Path) -> None:
    data = voc2007.load_voc2007(voc_folder)
    # 8,500 : 500 : 963 of 9,963, on 100 photos.
    assert (len(data.train), len(data.validation), len(data.test)) == (85, 5, 10)
    assert set(data.vocabulary) == {"dog", "grass", "boy"}
    assert all(
        record.tags[:2] == ("dog", "grass") for part in (data.train, data.validation, data.test) for record in part
    )
    photos = {record.image for part in (data.train, data.validation, data.test) for record in part}
    assert len(photos) == 100


def test_vocs_parts_depend_on_the_seed_alone(voc_folder: Path) -> None:
    first, again, other = (voc2007.load_voc2007(voc_folder, seed) for seed in (0, 0, 1))
    assert first.test == again.test
    assert first.test != other.test


def test_vocs_objects_come_largest_first_in_the_official_split(voc_folder: Path) -> None:
    data = voc2007.load_voc2007_objects(voc_folder)
    assert [record.tags for record in data.train] == [("person", "dog")]
    assert [record.tags for record in data.test] == [("cat",)]
    assert len(data.vocabulary) == 20


def test_voc_says_what_to_get(voc_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (voc_folder / "ranked_tags.txt").write_text("000001 dog\n")
    with pytest.raises(DataError, match="without a colon"):
        voc2007.load_voc2007(voc_folder)
    (voc_folder / "ranked_tags.txt").unlink()
    with pytest.raises(DataError, match=r"ranked_tags\.txt is missing\. Ask the authors"):
        voc2007.load_voc2007(voc_folder)
    with pytest.raises(DataError, match=r"is missing\. Download VOCtrainval"):
        voc2007.load_voc2007(tmp_path_factory.mktemp("empty"))


@pytest.mark.parametrize(
    "text",
    [
        "<annotation>",
        "<annotation><object><name>dog</name></object></annotation>",
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    ],
)
def test_a_damaged_voc_annotation_is_refused(voc_folder: Path, text: str) -> None:
    _write(voc_folder / "VOCdevkit/VOC2007/Annotations/000001.xml", text)
    with pytest.raises(DataError, match="is not an annotation of PASCAL VOC"):
        voc2007.load_voc2007_objects(voc_folder)


@pytest.fixture
def labelme_folder(tmp_path: Path) -> Path:
    for number in range(40):
        objects = "".join(
            f"<object><name>{name}</name><deleted>{deleted}</deleted></object>"
            for name, deleted in (
                (" Sky\n", 0),
                ("ghost", 1),
                ("tree", 0),
                ("sky", 0),
                ("odd" if number == 0 else "road", 0),
            )
        )
        _write(tmp_path / f"Annotations/street/p{number}.xml", f"<annotation>{objects}</annotation>")
        _write(tmp_path / f"Images/street/p{number}.jpg")
    return tmp_path


def test_labelme_ranks_by_outlining_and_drops_deleted_and_rare_names(labelme_folder: Path) -> None:
    data = labelme.load_labelme(labelme_folder)
    records = [*data.train, *data.validation, *data.test]
    assert len(records) == 40
    assert {record.tags for record in records} == {("sky", "tree", "road"), ("sky", "tree")}
    assert sorted(data.vocabulary) == ["road", "sky", "tree"]
    # 1,800 : 200 : 1,825 of 3,825, on 40 photos.
    assert (len(data.train), len(data.validation), len(data.test)) == (19, 2, 19)


def test_labelme_refuses_damage_and_says_what_to_download(labelme_folder: Path, tmp_path: Path) -> None:
    _write(labelme_folder / "Annotations/street/p1.xml", "<annotation>")
    with pytest.raises(DataError, match=r"p1\.xml is not an annotation of LabelMe"):
        labelme.load_labelme(labelme_folder)
    with pytest.raises(DataError, match=r"Annotations is missing\. Download a collection"):
        labelme.load_labelme(tmp_path / "nowhere")


@pytest.fixture
def mirflickr_folder(tmp_path: Path) -> Path:
    _write(tmp_path / "annotations/README.txt", "about")
    _write(tmp_path / "annotations/plant_life.txt", "1\n4\n7\n")
    _write(tmp_path / "annotations/dog.txt", "1\n5\n")
    _write(tmp_path / "annotations/dog_r1.txt", "1\n5\n")
    _write(tmp_path / "meta/tags/tags1.txt", "rex\nmy dog\nrex\n")
    for number in (1, 4, 5, 7):
        _write(tmp_path / f"im{number}.jpg")
    return tmp_path


def test_mirflickr_trains_on_four_of_every_five(mirflickr_folder: Path) -> None:
    data = mirflickr.load_mirflickr(mirflickr_folder)
    assert [(record.image.name, record.tags) for record in data.train] == [
        ("im1.jpg", ("dog", "plant life")),
        ("im4.jpg", ("plant life",)),
        ("im7.jpg", ("plant life",)),
    ]
    assert [record.image.name for record in data.test] == ["im5.jpg"]
    assert data.train[0].user_tags == ("rex", "my dog")
    assert data.vocabulary == ["dog", "plant life"]
    assert sum(mirflickr.is_training(number) for number in range(1, 25001)) == 20_000


def test_mirflickrs_narrower_annotations_can_be_taken(mirflickr_folder: Path) -> None:
    data = mirflickr.load_mirflickr(mirflickr_folder, relevant=True)
    assert [record.tags for record in data.train + data.test] == [("dog",), ("dog",)]


def test_mirflickr_refuses_damage_and_says_what_to_download(mirflickr_folder: Path, tmp_path: Path) -> None:
    _write(mirflickr_folder / "annotations/dog.txt", "one\n")
    with pytest.raises(DataError, match="photo numbers, one a line"):
        mirflickr.load_mirflickr(mirflickr_folder)
    with pytest.raises(DataError, match=r"annotations is missing\. Download mirflickr25k\.zip"):
        mirflickr.load_mirflickr(tmp_path / "nowhere")


# All of them by name, and through the command line


@pytest.fixture
def published_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The small data set of a name, in its own file format."""
    name = str(request.param)
    if name in ("corel5k", "esp-game", "iapr-tc12"):
        return _write_lists(tmp_path, name.replace("-", ""))
    fixtures = {"mscoco": "coco", "nus-wide": "nus", "voc2007-objects": "voc", "voc2007": "voc"}
    folder: Path = request.getfixturevalue(f"{fixtures.get(name, name.split('-')[0])}_folder")
    return folder


PARTS = {
    "corel5k": {"train": 2, "test": 1},
    "esp-game": {"train": 2, "test": 1},
    "iapr-tc12": {"train": 2, "test": 1},
    "mscoco": {"train": 1, "test": 1},
    "nus-wide": {"train": 2, "test": 1},
    "mirflickr": {"train": 3, "test": 1},
    "mirflickr-relevant": {"train": 1, "test": 1},
    "voc2007": {"train": 85, "validation": 5, "test": 10},
    "voc2007-objects": {"train": 1, "test": 1},
    "labelme": {"train": 19, "validation": 2, "test": 19},
}


def test_every_published_set_is_tried_through_the_command_line() -> None:
    # The 2017 edition of MS-COCO has the files of the 2014 one under other names.
    assert {*PARTS, "mscoco2017"} == set(published.names())


@pytest.mark.parametrize(("published_folder", "name"), [(name, name) for name in PARTS], indirect=["published_folder"])
def test_convert_writes_records_by_the_official_split(
    published_folder: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "converted"
    assert main(["convert", "--from", name, str(published_folder), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == PARTS[name]
    loaded = published.load(name, published_folder)
    for part, records in loaded.parts.items():
        again = read_records(out / part, keep_untagged=True)
        assert [(r.image.resolve(), r.tags, r.user_tags, r.caption) for r in again] == [
            (r.image, r.tags, r.user_tags, r.caption) for r in records
        ]
    first = json.loads((out / "test" / "records.jsonl").read_text().splitlines()[0])
    assert first["image"].startswith("../")  # the two folders can move together


@pytest.mark.parametrize("published_folder", ["corel5k"], indirect=True)
def test_convert_writes_one_part_or_all_of_them(published_folder: Path, tmp_path: Path) -> None:
    for split, count in (("test", 1), ("train", 2), ("all", 3)):
        out = tmp_path / split
        assert main(["convert", "--from", "corel5k", str(published_folder), "--split", split, str(out)]) == 0
        assert len(read_records(out)) == count


@pytest.mark.parametrize("published_folder", ["corel5k"], indirect=True)
def test_convert_says_what_is_wrong_and_writes_nothing(
    published_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["convert", "--from", "corel5k", str(published_folder)]
    assert main([*command, "--split", "validation", str(out)]) == 1
    assert capsys.readouterr().err == ("annotator: The data set has no part 'validation'; its parts are train, test.\n")
    (published_folder / "corel5k_test_annot.hvecs").unlink()
    assert main([*command, str(out)]) == 1
    assert "corel5k_test_annot.hvecs is missing. Download TagProp's files" in capsys.readouterr().err
    assert not out.exists()
    out.mkdir()
    (out / "mine").touch()
    assert main([*command, str(out)]) == 1
    assert "exists already. Name a new folder." in capsys.readouterr().err


def test_an_unknown_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no published data set 'imagenet'"):
        published.load("imagenet", tmp_path)
