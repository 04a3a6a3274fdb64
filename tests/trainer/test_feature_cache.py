import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.datasets.record import Record
from annotator.errors import DataError
from annotator.trainer.feature_cache import features_of


class MeanColours:
    """Mean colours of the four quarters as features: a fast real extractor that counts its calls."""

    name, feature_size = "mean_colours", 12

    def __init__(self, version: str = "1") -> None:
        self.version = version
        self.num_extracted = 0

    def preprocess(self, image: Image.Image) -> Any:
        return np.asarray(image.convert("RGB").resize((2, 2), Image.Resampling.BOX))

    def extract(self, batch: Any) -> Any:
        self.num_extracted += len(batch)
        return batch.reshape(len(batch), 12).astype(np.float32)


@pytest.fixture
def records(write_photos: Callable[..., list[Path]], tmp_path: Path) -> list[Record]:
    return [Record(path, ("dog",)) for path in write_photos(tmp_path / "photos", range(5))]


def test_features_are_extracted_once(records: list[Record], tmp_path: Path) -> None:
    backbone: Any = MeanColours()
    first = features_of(records, backbone, tmp_path / "cache")
    second = features_of(records, backbone, tmp_path / "cache")
    assert backbone.num_extracted == 5
    assert first.features.shape == (5, 12)
    np.testing.assert_array_equal(first.features, second.features)
    assert second.records == records


def test_features_come_in_the_order_of_the_records(records: list[Record], tmp_path: Path) -> None:
    backbone: Any = MeanColours()
    first = features_of(records, backbone, tmp_path / "cache")
    turned = features_of(records[::-1], backbone, tmp_path / "cache")
    assert turned.records == records[::-1]
    rows = {record.image: values for record, values in zip(first.records, first.features, strict=True)}
    np.testing.assert_array_equal(turned.features, [rows[record.image] for record in turned.records])


def test_a_changed_photo_is_extracted_again(records: list[Record], tmp_path: Path) -> None:
    backbone: Any = MeanColours()
    before = features_of(records, backbone, tmp_path / "cache").features
    Image.new("RGB", (40, 40), "red").save(records[2].image)
    after = features_of(records, backbone, tmp_path / "cache").features
    assert backbone.num_extracted == 6
    assert np.abs(after[2] - before[2]).max() > 1
    np.testing.assert_array_equal(np.delete(after, 2, 0), np.delete(before, 2, 0))


def test_another_version_of_the_backbone_extracts_anew(records: list[Record], tmp_path: Path) -> None:
    features_of(records, MeanColours(), tmp_path / "cache")  # type: ignore[arg-type]
    newer: Any = MeanColours("2")
    features_of(records, newer, tmp_path / "cache")
    assert newer.num_extracted == 5


def test_photos_that_cannot_be_read_are_reported_and_left_out(
    records: list[Record], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records[1].image.write_bytes(b"no photo")
    records[3].image.unlink()
    with caplog.at_level(logging.WARNING):
        found = features_of(records, MeanColours(), tmp_path / "cache")  # type: ignore[arg-type]
    assert found.records == [records[0], records[2], records[4]]
    assert [path for path, _ in found.unreadable] == [records[1].image, records[3].image]
    assert "photo 1.jpg was left out" in caplog.text


def test_no_photo_that_can_be_read_is_an_error(records: list[Record], tmp_path: Path) -> None:
    for record in records:
        record.image.write_bytes(b"no photo")
    with pytest.raises(DataError, match="None of the 5 photos could be read"):
        features_of(records, MeanColours(), tmp_path / "cache")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="empty"):
        features_of([], MeanColours(), tmp_path / "cache")  # type: ignore[arg-type]


def test_a_damaged_cache_is_replaced(records: list[Record], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    backbone: Any = MeanColours()
    expected = features_of(records, backbone, tmp_path / "cache").features
    path = next((tmp_path / "cache").iterdir())
    path.write_bytes(path.read_bytes()[:200])
    found = features_of(records, backbone, tmp_path / "cache").features
    np.testing.assert_array_equal(found, expected)
    assert backbone.num_extracted == 10
    assert "is damaged" in caplog.text


def test_progress_counts_to_the_end(records: list[Record], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    features_of(records, MeanColours(), tmp_path / "cache", lambda done, total: seen.append((done, total)))  # type: ignore[arg-type]
    assert seen[-1] == (5, 5)
