import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.datasets.record import Record
from annotator.datasets.splits import image_names, load_split, save_split, split
from annotator.errors import ConfigError, DataError


def _records(num: int, folder: Path = Path("/photos")) -> list[Record]:
    return [Record(folder / f"{number % 3}/{number}.jpg", ("tag",)) for number in range(num)]


@given(st.integers(2, 60), st.integers(0, 5), st.floats(0.01, 0.99))
def test_every_photo_falls_on_exactly_one_side(num: int, seed: int, share: float) -> None:
    records = _records(num)
    train, validation = split(records, seed, share)
    assert sorted(map(str, [r.image for r in train + validation])) == sorted(str(r.image) for r in records)
    assert len(validation) == min(max(round(num * share), 1), num - 1)


def test_a_split_depends_on_neither_order_nor_place() -> None:
    records = _records(50)
    shuffled = random.Random(0).sample(records, 50)
    moved = _records(50, Path("/elsewhere/deep"))
    sides = [{record.image.name for record in split(some, 7)[1]} for some in (records, shuffled, moved)]
    assert sides[0] == sides[1] == sides[2]


def test_another_seed_gives_another_split() -> None:
    records = _records(50)
    assert split(records, 0)[1] != split(records, 1)[1]


def test_sides_keep_the_records_order() -> None:
    records = _records(20)
    for side in split(records, 0):
        assert side == [record for record in records if record in side]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_outside_zero_and_one_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="validation_share"):
        split(_records(5), 0, share)


def test_one_photo_cannot_be_split() -> None:
    with pytest.raises(DataError, match="at least 2 photos"):
        split(_records(1), 0)


def test_a_photo_listed_twice_is_refused() -> None:
    with pytest.raises(DataError, match="twice"):
        split([*_records(3), *_records(1)], 0)


def test_names_are_relative_with_forward_slashes() -> None:
    assert image_names(_records(4)) == ["0/0.jpg", "1/1.jpg", "2/2.jpg", "0/3.jpg"]
    assert image_names([]) == []


def test_a_saved_split_loads_as_it_was(tmp_path: Path) -> None:
    records = _records(20)
    train, validation = split(records, 3)
    save_split(train, validation, tmp_path / "split.json")
    assert load_split(records[::-1], tmp_path / "split.json") == (train, validation)


def test_a_saved_split_leaves_out_photos_it_does_not_name(tmp_path: Path) -> None:
    train, validation = split(_records(20), 3)
    save_split(train, validation, tmp_path / "split.json")
    assert load_split(_records(25), tmp_path / "split.json") == (train, validation)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a saved split"),
        ("[1]", "not a saved split"),
        ('{"train": []}', "not a saved split"),
        ('{"train": ["0/0.jpg"], "validation": ["9.jpg"]}', r"lacks, the first is '9\.jpg'"),
        ('{"train": ["0/0.jpg"], "validation": ["0/0.jpg"]}', "both sides"),
    ],
)
def test_a_damaged_split_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load_split(_records(3), tmp_path / "split.json")


def test_a_missing_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a saved split"):
        load_split(_records(3), tmp_path / "split.json")
