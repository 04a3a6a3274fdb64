import os
import unicodedata
from pathlib import Path

import pytest

from annotator.datasets.sidecar_names import file_sidecars, sidecars_of
from annotator.datasets.sidecars import SidecarFinder

LONG = "PXL_20230405_123456789_a_very_long_name_of_a_photo"


def of(photo: str, *names: str) -> list[str]:
    """The sidecars of a photo among these files, in a file system that tells cases apart."""
    return sidecars_of(photo, file_sidecars(names), lambda one, other: False)


def test_sidecars_come_by_suffix_and_with_the_full_name_first() -> None:
    names = ["a.json", "a.jpg.txt", "a.txt", "a.XMP", "a.jpg.xmp", "a.caption", "b.txt", "a.png.txt", "a.jpg"]
    assert of("a.jpg", *names) == ["a.jpg.xmp", "a.XMP", "a.jpg.txt", "a.txt", "a.caption", "a.json"]


def test_the_sidecar_of_the_raw_form_belongs_to_the_photo() -> None:
    assert of("a.jpg", "a.CR2.xmp", "a.nef.xmp", "b.cr2.xmp", "a.cr2.txt") == ["a.CR2.xmp", "a.nef.xmp"]
    assert of("a.CR2", "a.CR2.xmp", "a.nef.xmp") == ["a.CR2.xmp"]


# --- Google Takeout ------------------------------------------------------------------------------------------

SUFFIX = ".supplemental-metadata"


@pytest.mark.parametrize("length", range(len(SUFFIX) + 1))
def test_takeouts_suffix_may_be_cut_anywhere(length: int) -> None:
    assert of("photo.jpg", f"photo.jpg{SUFFIX[:length]}.json") == [f"photo.jpg{SUFFIX[:length]}.json"]


@pytest.mark.parametrize(
    "sidecar", ["photo.jpg(1).json", "photo.jpg.supplemental-metadata(1).json", "photo.jpg.suppl(1).json"]
)
def test_takeouts_number_stands_behind_the_suffix(sidecar: str) -> None:
    names = [sidecar, "photo.jpg.json", "photo.jpg.supplemental-metadata(2).json"]
    assert of("photo(1).jpg", *names) == [sidecar]
    assert of("photo.jpg", *names) == ["photo.jpg.json"]


def test_a_number_may_be_the_photos_own() -> None:
    sidecar = "photo (1).jpg.supplemental-metadata.json"
    assert of("photo (1).jpg", sidecar, "photo .jpg.json") == [sidecar]
    assert of("photo .jpg", sidecar) == []


def test_takeouts_name_may_lack_the_photos_suffix() -> None:
    assert of("photo.jpg", "photo.supplemental-metadata.json") == ["photo.supplemental-metadata.json"]
    assert of("photo(1).jpg", "photo.suppl(1).json", "photo.suppl.json") == ["photo.suppl(1).json"]


@pytest.mark.parametrize("name", [LONG, LONG[:47], "x" * 60])
def test_takeouts_long_names_are_cut(name: str) -> None:
    photo = f"{name[:47]}.jpg"
    sidecar = f"{f'{name}.jpg{SUFFIX}'[:46]}.json"
    assert of(photo, sidecar, "other.json") == [sidecar]
    assert of(f"{name[:47]}(1).jpg", f"{sidecar[:-5]}(1).json", sidecar) == [f"{sidecar[:-5]}(1).json"]


def test_takeouts_long_names_of_other_scripts_are_cut_by_characters_or_by_bytes() -> None:
    name = "\u5199\u771f" * 15
    for cut in (f"{name}.jpg{SUFFIX}"[:46], f"{name}.jpg".encode()[:46].decode(errors="ignore")):
        assert of(f"{name}.jpg", f"{cut}.json") == [f"{cut}.json"]


def test_takeouts_suffix_may_be_in_capitals() -> None:
    assert of("photo.jpg", "photo.jpg.SUPPLEMENTAL-METADATA.json") == ["photo.jpg.SUPPLEMENTAL-METADATA.json"]


@pytest.mark.parametrize(
    ("photo", "sidecar"),
    [
        ("photo-edited.jpg", "photo.jpg.json"),
        ("photo-edited.jpg", "photo.jpg.supplemental-metadata.json"),
        ("photo-bearbeitet.jpg", "photo.jpg.json"),
        ("photo-modifié.jpg", "photo.jpg.json"),
        (unicodedata.normalize("NFD", "photo-modifié.jpg"), "photo.jpg.json"),
        ("photo-edited(1).jpg", "photo.jpg(1).json"),
        ("photo-edited(1).jpg", "photo.jpg.supplemental-metadata(1).json"),
        ("photo(1)-edited.jpg", "photo.jpg(1).json"),
        ("photo-EDITED.jpg", "photo.jpg.json"),
        ("photo-edited.jpg", "photo.HEIC.supplemental-metadata.json"),
        ("photo-edited.jpg", "photo.dng.json"),
        ("photo-edited-edited.jpg", "photo.jpg.json"),
        ("photo-edited-effects.jpg", "photo-edited.jpg.json"),
        ("photo-изменено.jpg", "photo.jpg.json"),
        ("a" * 43 + "-edi.jpg", "a" * 43 + ".jp.json"),
        ("a" * 43 + "-edi.jpg", "a" * 43 + ".jpg.json"),
    ],
)
def test_an_edited_copy_has_the_sidecar_of_its_original(photo: str, sidecar: str) -> None:
    assert of(photo, sidecar) == [sidecar]


def test_a_name_that_ends_like_an_edited_one_is_not_taken_for_it() -> None:
    assert of("well-ed.jpg", "well.jpg.json") == []
    assert of("photo-edited.jpg", "other.jpg.json", "photo.png.json", "photo.jpg(2).json") == []
    assert of("metadata.jpg", "metadata.json") == ["metadata.json"]


def test_a_photo_with_a_number_has_not_the_sidecar_of_the_one_without() -> None:
    assert of("photo(1).jpg", "photo.jpg.json", "photo.jpg.supplemental-metadata.json") == []


# --- Unicode and case ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("photo_form", ["NFC", "NFD"])
@pytest.mark.parametrize("sidecar_form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["café.txt", "café.jpg.xmp", "café.jpg.supplemental-metadata.json"])
def test_composed_and_decomposed_names_are_equal(photo_form: str, sidecar_form: str, name: str) -> None:
    photo = unicodedata.normalize(photo_form, "café.jpg")  # type: ignore[arg-type]
    sidecar = unicodedata.normalize(sidecar_form, name)  # type: ignore[arg-type]
    assert of(photo, sidecar) == [sidecar]


def test_cases_are_equal_where_the_file_system_says_so() -> None:
    listing = file_sidecars(["img_1.txt"])
    asked: list[tuple[str, str]] = []

    def is_same_file(one: str, other: str) -> bool:
        asked.append((one, other))
        return True

    assert sidecars_of("IMG_1.JPG", listing, is_same_file) == ["img_1.txt"]
    assert asked == [("IMG_1.txt", "img_1.txt")]
    assert sidecars_of("IMG_1.JPG", listing, lambda one, other: False) == []


def test_the_finder_asks_the_file_system(tmp_path: Path) -> None:
    (tmp_path / "img_1.txt").write_text("dog")
    assert SidecarFinder().find(tmp_path / "IMG_1.jpg") == []
    os.link(tmp_path / "img_1.txt", tmp_path / "IMG_1.txt")  # two names of one file, as where cases are equal
    assert tmp_path / "IMG_1.txt" in SidecarFinder().find(tmp_path / "IMG_1.jpg")
