import io
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annotator.datasets.embedded_metadata import EmbeddedBlocks
from annotator.datasets.image_folder import DecodedImage, decode_image
from annotator.datasets.path_words import path_words
from annotator.datasets.sidecars import MAX_TAGS, PhotoMetadata, SidecarFinder, read_metadata

Read = Callable[..., PhotoMetadata]


def decoded_with(blocks: EmbeddedBlocks) -> DecodedImage:
    return DecodedImage(Image.new("RGB", (1, 1)), 1, 1, "JPEG", blocks, None)


def iptc_keyword(keyword: bytes) -> bytes:
    return b"\x1c\x02\x19" + len(keyword).to_bytes(2, "big") + keyword


def xmp(*subjects: str, caption: str = "", attributes: str = "") -> bytes:
    items = "".join(f"<rdf:li>{subject}</rdf:li>" for subject in subjects)
    return (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        f' xmlns:xmp="http://ns.adobe.com/xap/1.0/"><rdf:Description {attributes}>'
        f"<dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject><dc:description>{caption}</dc:description>"
        "</rdf:Description></rdf:RDF>"
    ).encode()


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read the metadata of photo.jpg beside the given sidecars, with the given embedded blocks."""

    def read_with(
        sidecars: Mapping[str, bytes | str | list[Any] | dict[str, Any]] | None = None, **blocks: Any
    ) -> PhotoMetadata:
        for name, content in (sidecars or {}).items():
            if isinstance(content, list | dict):
                content = json.dumps(content)
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_metadata(tmp_path / "photo.jpg", decoded_with(EmbeddedBlocks(**blocks)), root=tmp_path)

    return read_with


def test_a_bare_photo_has_no_metadata_and_no_notes(read: Read) -> None:
    assert read() == PhotoMetadata()


# --- embedded ------------------------------------------------------------------------------------------------


def test_keywords_of_iptc_xmp_and_sidecar_are_joined_each_once(read: Read) -> None:
    found = read(
        {"photo.xmp": xmp("Beach", "whale")},
        iptc=iptc_keyword(b"Dog") + iptc_keyword(b"sea"),
        xmp=xmp("dog", "beach", "Sea "),
    )
    assert found.keywords == ("Dog", "sea", "beach", "whale")
    assert found.user_tags == ()


def test_exif_of_a_real_file_is_read(tmp_path: Path, real_photo: Callable[[], Image.Image]) -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x010F], exif[0x0110] = "Café cat".encode(), "Canon\0\0", "Canon EOS 5D"
    exif.get_ifd(0x8769)[0x9003] = "2026:07:01 12:30:05"
    exif.get_ifd(0x8825).update({1: "S", 2: (48.0, 8.0, 1.5), 3: "W", 4: (11.0, 34.5, 0.0)})
    for format in ("JPEG", "WEBP", "PNG"):
        file = io.BytesIO()
        real_photo().save(file, format, exif=exif)
        found = read_metadata(tmp_path / "photo.jpg", decode_image(file.getvalue()), root=tmp_path)
        assert found.caption == "Café cat"
        assert found.camera == "Canon EOS 5D"
        assert found.taken_at == "2026-07-01T12:30:05"
        assert (found.latitude, found.longitude) == (-48.13375, -11.575)
        assert found.notes == ()


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Apple", "iPhone 15", "Apple iPhone 15"),
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("SONY", None, "SONY"),
        (None, "X100", "X100"),
        (" ", "\0", None),
        (7, b"bytes\x1b", "bytes"),
    ],
)
def test_a_camera_does_not_repeat_its_make(read: Read, make: Any, model: Any, camera: str | None) -> None:
    assert read(exif={0x010F: make, 0x0110: model}).camera == camera


@pytest.mark.parametrize(
    ("exif", "taken_at"),
    [
        ({0x9003: "2026:07:01 12:30:05"}, "2026-07-01T12:30:05"),
        ({0x9003: "2026:07:01 12:30:05.25+02:00"}, "2026-07-01T12:30:05"),
        ({0x9003: "0000:00:00 00:00:00", 0x9004: "2026:07:02 00:00:00"}, "2026-07-02T00:00:00"),
        ({0x9003: "    :  :     :  :  "}, None),
        ({0x9003: "2026:02:31 12:00:00"}, None),
        ({0x9003: "2026:07:01"}, "2026-07-01"),
        ({0x9003: 5}, None),
    ],
)
def test_only_real_times_count(read: Read, exif: dict[int, Any], taken_at: str | None) -> None:
    assert read(exif=exif).taken_at == taken_at


def test_xmp_gives_the_time_where_exif_has_none(read: Read) -> None:
    packet = xmp(attributes='xmp:CreateDate="2026-07-01T12:30:05+02:00"')
    assert read(xmp=packet).taken_at == "2026-07-01T12:30:05"
    assert read(xmp=packet, exif={0x9003: "2020:01:01 00:00:00"}).taken_at == "2020-01-01T00:00:00"


@pytest.mark.parametrize(
    "gps",
    [
        {2: (91.0, 0.0, 0.0), 4: (1.0, 0.0, 0.0)},
        {2: (float("nan"),) * 3, 4: (1.0, 0.0, 0.0)},
        {2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)},
        {2: (48.0, 8.0, 1.5)},
        {2: "48", 4: 11.0},
        {2: ("x", None, 1), 4: (1.0, 0.0, 0.0)},
    ],
)
def test_an_impossible_place_is_no_place(read: Read, gps: dict[int, Any]) -> None:
    found = read(gps=gps)
    assert (found.latitude, found.longitude) == (None, None)


def test_a_sentence_of_every_camera_is_no_caption(read: Read) -> None:
    assert read(exif={0x010E: "OLYMPUS DIGITAL CAMERA         "}).caption is None


def test_captions_are_taken_from_the_best_place(read: Read) -> None:
    exif, iptc = {0x010E: "exif"}, b"\x1c\x02\x78\0\4iptc"
    assert read(exif=exif).caption == "exif"
    assert read(exif=exif, xmp=xmp(caption="embedded")).caption == "embedded"
    assert read(exif=exif, xmp=xmp(caption="embedded"), iptc=iptc).caption == "iptc"
    assert read({"photo.xmp": xmp(caption="sidecar")}, iptc=iptc).caption == "sidecar"


def test_captions_are_cleaned_and_cut(read: Read) -> None:
    assert read({"photo.json": {"caption": " two\n lines\x1b \ud800"}}).caption == "two lines"
    found = read({"photo.json": {"caption": "x" * 6000}})
    assert found.caption == "x" * 5000
    assert found.notes == ("The caption has 6,000 characters; the first 5,000 were kept.",)


# --- sidecars ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["photo.txt", "photo.jpg.txt", "photo.TXT"])
@pytest.mark.parametrize(
    ("content", "tags"),
    [
        ("dog, Beach ,  red ball\n", ("dog", "Beach", "red ball")),
        ("dog\r\nbeach\n\ndog\n", ("dog", "beach")),
        ("\ufeffdog,beach", ("dog", "beach")),
        ("Käse,plage".encode("latin-1"), ("Käse", "plage")),
        ("dog,写真".encode("utf-16"), ("dog", "写真")),
        (",,\n , \n", ()),
        ("", ()),
    ],
)
def test_a_txt_sidecar_holds_tags(read: Read, name: str, content: str | bytes, tags: tuple[str, ...]) -> None:
    found = read({name: content})
    assert found.user_tags == tags
    assert found.keywords == ()
    assert found.notes == ()


def test_a_long_line_of_a_txt_sidecar_is_a_caption(read: Read) -> None:
    sentence = "a man rides a brown horse along the beach, at sunset"
    found = read({"photo.txt": f"{sentence}\nhorse, beach\n"})
    assert found.caption == sentence
    assert found.user_tags == ("horse", "beach")


def test_eight_words_are_a_tag_still(read: Read) -> None:
    assert read({"photo.txt": "one two three four five six seven eight"}).caption is None


@pytest.mark.parametrize("name", ["photo.json", "photo.jpg.json", "photo.jpg.supplemental-metadata.json"])
@pytest.mark.parametrize(
    ("content", "tags"),
    [
        (["dog", "beach"], ("dog", "beach")),
        ({"tags": ["dog"], "keywords": ["Dog", "sea"]}, ("dog", "sea")),
        ({"tags": "dog, beach"}, ("dog", "beach")),
        ({"tags": [{"tag": "dog", "score": 0.5}, {"name": "beach"}]}, ("dog", "beach")),
        ({"tags": {"dog": 0.9, "beach": 0.1}}, ("dog", "beach")),
        ({"tags": None, "other": [1, 2]}, ()),
        ([], ()),
    ],
)
def test_a_json_sidecar_holds_tags(read: Read, name: str, content: Any, tags: tuple[str, ...]) -> None:
    found = read({name: content})
    assert found.user_tags == tags
    assert found.notes == ()


def test_a_google_takeout_sidecar_gives_caption_place_and_time(read: Read) -> None:
    found = read(
        {
            "photo.jpg.json": {
                "title": "photo.jpg",
                "description": "At the lake",
                "imageViews": "12",
                "photoTakenTime": {"timestamp": "1600000000", "formatted": "13 Sept 2020, 12:26:40 UTC"},
                "geoData": {"latitude": 48.1, "longitude": 11.5, "altitude": 0.0},
            }
        }
    )
    assert found == PhotoMetadata(caption="At the lake", latitude=48.1, longitude=11.5, taken_at="2020-09-13T12:26:40")


@pytest.mark.parametrize(
    "content",
    [
        {"geoData": {"latitude": 0.0, "longitude": 0.0}},
        {"geoData": {"latitude": True, "longitude": "x"}},
        {"geoData": 3, "description": 5},
    ],
)
def test_a_takeout_sidecar_without_a_place_gives_none(read: Read, content: dict[str, Any]) -> None:
    assert read({"photo.json": content}) == PhotoMetadata()


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("photo.xmp", "<open>", "The sidecar photo.xmp is not valid XML."),
        ("photo.json", "{", "The sidecar photo.json is not valid JSON."),
        ("photo.json", "[" * 100_000, "The sidecar photo.json is not valid JSON."),
        ("photo.json", '["dog", true]', "The sidecar photo.json holds a tag that is not text."),
        ("photo.json", "5", "The sidecar photo.json holds no list of tags."),
        ("photo.json", '{"tags": 5}', "The sidecar photo.json holds no list of tags."),
        ("photo.txt", b"\x89PNG\0\1", "The sidecar photo.txt is not text."),
        ("photo.txt", b"x" * 5_000_001, "The sidecar photo.txt has 5.0 MB, more than 5 MB, and was not read."),
    ],
)
def test_a_broken_sidecar_is_a_note(read: Read, name: str, content: str | bytes, note: str) -> None:
    assert read({name: content}).notes == (note,)


def test_entity_expansion_in_a_sidecar_is_a_note(read: Read) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    assert "entities" in read({"photo.xmp": bomb}).notes[0]


def test_a_tag_that_is_no_tag_is_left_out_with_a_note(read: Read) -> None:
    found = read({"photo.json": ["dog", "x" * 10_000, "a\u0007b"]})
    assert found.user_tags == ("dog",)
    assert len(found.notes) == 2
    assert "10,000 characters" in found.notes[0]
    assert "U+0007" in found.notes[1]


def test_many_refused_tags_make_few_notes(read: Read) -> None:
    found = read({"photo.json": [f"{n}\u0007" for n in range(100)]})
    assert len(found.notes) == 6
    assert found.notes[-1] == "95 more tags were left out."


def test_no_more_than_a_thousand_tags_are_kept(read: Read) -> None:
    found = read({"photo.json": [f"tag {n}" for n in range(10_000)]})
    assert len(found.user_tags) == MAX_TAGS
    assert found.notes == ("The photo has 10,000 tags; the first 1,000 were kept.",)


def test_all_kinds_of_sidecars_are_read_and_others_are_not(read: Read) -> None:
    found = read(
        {
            "photo.xmp": xmp("a"),
            "photo.jpg.xmp": xmp("b"),
            "photo.txt": "c",
            "photo.json": ["d"],
            "other.txt": "no",
            "photo.png.txt": "no",
            "photo2.json": ["no"],
        }
    )
    assert found.keywords == ("b", "a")
    assert found.user_tags == ("c", "d")


def test_sidecars_that_are_folders_pipes_or_links_out_are_not_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("password")
    (root / "inside.txt").write_text("cat")
    (root / "photo.txt").symlink_to(tmp_path / "secret")
    (root / "photo.jpg.txt").symlink_to(root / "inside.txt")
    (root / "photo.json").mkdir()
    os.mkfifo(root / "photo.xmp")
    (root / "photo.jpg.json").symlink_to(root / "photo.jpg.json")
    found = read_metadata(root / "photo.jpg", decoded_with(EmbeddedBlocks()), root=root)
    assert found.user_tags == ("cat",)
    assert len(found.notes) == 4
    assert all("could not be read" in note or "was not read" in note for note in found.notes)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux allows names that are not UTF-8")
def test_a_name_that_is_not_utf8_gives_words_and_printable_notes(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    with open(os.path.join(folder, b"caf\xe9.json"), "wb") as file:
        file.write(b"{")
    path = Path(os.fsdecode(os.path.join(folder, b"caf\xe9.jpg")))
    found = read_metadata(path, decoded_with(EmbeddedBlocks()), root=tmp_path)
    assert found.path_words == ("café",)
    assert found.notes == ("The sidecar caf\N{REPLACEMENT CHARACTER}.json is not valid JSON.",)
    assert json.dumps(found.notes, ensure_ascii=False).encode()


def test_a_vanished_folder_is_a_note(tmp_path: Path) -> None:
    found = read_metadata(tmp_path / "gone" / "a.jpg", decoded_with(EmbeddedBlocks()), root=tmp_path)
    assert "could not be searched" in found.notes[0]


# --- the finder ----------------------------------------------------------------------------------------------


def test_the_finder_lists_a_folder_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    listdir = os.listdir

    def count(folder: Any) -> Any:
        listed.append(folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", count)
    os.utime(tmp_path, ns=(0, 0))
    finder = SidecarFinder()
    for number in range(5):
        assert finder.find(tmp_path / f"{number}.jpg") == []
    assert len(listed) == 1
    (tmp_path / "3.txt").write_text("dog")
    assert finder.find(tmp_path / "3.jpg") == [tmp_path / "3.txt"]
    assert len(listed) == 2


def test_the_finder_forgets_folders_it_has_not_used_for_long(tmp_path: Path) -> None:
    finder = SidecarFinder(num_folders=1)
    for name in ("a", "b", "a"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "photo.txt").write_text("dog")
        assert finder.find(tmp_path / name / "photo.jpg") == [tmp_path / name / "photo.txt"]


def test_threads_may_share_a_finder(tmp_path: Path) -> None:
    finder = SidecarFinder(num_folders=2)
    for folder in range(4):
        (tmp_path / str(folder)).mkdir()
        (tmp_path / str(folder) / "photo.txt").write_text("dog")
    failures: list[int] = []

    def work() -> None:
        failures.extend(n for n in range(400) if len(finder.find(tmp_path / str(n % 4) / "photo.jpg")) != 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- the words of a path -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("beach/Summer_2026-IMG_2041.jpg", ("beach", "summer")),
        ("Holiday 2019/Rome & Naples/DSC00042.JPG", ("holiday", "rome", "naples")),
        ("DCIM/100CANON/_MG_1234.jpg", ()),
        ("PXL_20230101_123456789.MP.jpg", ()),
        ("DSCN0001.jpg", ()),
        ("WhatsApp Image 2020-01-01 at 12.00.00.jpeg", ()),
        ("birthdayParty2024.png", ("birthday", "party")),
        ("NASA launch.png", ("nasa", "launch")),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301.jpg", ()),
        ("cat_9b1deb4d3b7d.jpg", ("cat",)),
        ("decade/facade.jpg", ("decade", "facade")),
        ("x7Qz9aK2b.jpg", ()),
        ("Grandma's garden/the cat in the hat.jpg", ("grandma", "garden", "cat", "hat")),
        ("cat/cat/Cat.jpg", ("cat",)),
        ("São Paulo/плЯж/写真.jpg", ("são", "paulo", "пляж", "写真")),
        ("山.jpg", ("山",)),
        ("समुद्र.jpg", ("समुद्र",)),
        ("Cafe\u0301.jpg", ("café",)),
        ("photo.of.a.dog.jpg", ("dog",)),
        ("sunset (2).jpg", ("sunset",)),
        ("folder\\dog.jpg", ("folder", "dog")),
        ("", ()),
    ],
)
def test_a_path_gives_its_words(path: str, words: tuple[str, ...]) -> None:
    assert path_words(path) == words


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_path_gives_distinct_lower_case_words_that_give_themselves(path: str) -> None:
    try:
        words = path_words(path)
    except UnicodeEncodeError:  # lone surrogates that no file name can hold
        assert any(0xD800 <= ord(c) <= 0xDFFF and not 0xDC80 <= ord(c) <= 0xDCFF for c in path)
        return
    assert len(set(words)) == len(words)
    for word in words:
        assert word == word.casefold()
        assert not any(c.isspace() or c == "/" for c in word)
        word.encode()


def test_the_roots_own_name_gives_no_words(tmp_path: Path) -> None:
    root = tmp_path / "everything"
    (root / "cats").mkdir(parents=True)
    found = read_metadata(root / "cats" / "tom.jpg", decoded_with(EmbeddedBlocks()), root=root)
    assert found.path_words == ("cats", "tom")
