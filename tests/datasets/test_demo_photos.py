import importlib.util
from pathlib import Path

import pytest

from annotator.datasets.demo_photos import copy_demo_photos, demo_photos
from annotator.datasets.image_folder import decode_image, find_images, read_image_file
from annotator.errors import ConfigError


def test_the_demo_photos_are_colour_pictures_inside_of_the_packages() -> None:
    photos = demo_photos()
    assert len(photos) >= 6
    for name, path in photos:
        decoded = decode_image(read_image_file(path))
        red, green, blue = decoded.image.split()
        assert min(decoded.width, decoded.height) >= 300, name
        assert red.tobytes() != green.tobytes() != blue.tobytes(), name
        assert Path(name).suffix == path.suffix


def test_copying_twice_gives_the_same_folder_and_keeps_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "photos"
    copies = copy_demo_photos(folder)
    assert sorted(copies) == sorted(find_images(folder)) == sorted(folder.iterdir())
    copies[0].write_bytes(b"changed by the user")
    copies[1].unlink()
    assert copy_demo_photos(folder) == copies
    assert copies[0].read_bytes() == b"changed by the user"
    assert copies[1].read_bytes() == dict(demo_photos())[copies[1].name].read_bytes()


def test_a_missing_package_is_one_sentence_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install scikit-image$"):
        demo_photos()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="could not be copied"):
        copy_demo_photos(tmp_path / "file" / "photos")
