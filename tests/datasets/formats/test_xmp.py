"""Sidecars: what other programs wrote stays byte for byte; the order is ours."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.datasets.formats.contract import Report
from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.datasets.formats.xmp import ALL, DIGIKAM, FIELDS, LIGHTROOM, PROFILES, RANKED, SUBJECT
from annotator.datasets.formats.xmp_packet import EMPTY_PACKET, read_lists, replace_lists
from annotator.errors import DataError

LIGHTROOM_SIDECAR = b"""\xef\xbb\xbf<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">
 <!-- a comment -->
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=''
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
    xmlns:dublin="http://purl.org/dc/elements/1.1/"
    xmlns:odd="urn:somebody:else/"
   crs:Exposure2012="+0.35"   crs:Look='a &quot;b&quot; &gt;'>
   <crs:ToneCurve><rdf:Seq><rdf:li>0, 0</rdf:li><rdf:li>255, 255</rdf:li></rdf:Seq></crs:ToneCurve>
   <dublin:subject>
    <rdf:Bag>
     <rdf:li>old</rdf:li>
     <rdf:li>holiday</rdf:li>
    </rdf:Bag>
   </dublin:subject>
   <odd:thing odd:mode="x"/>\t
   <dublin:title><rdf:Alt><rdf:li xml:lang="x-default">T &amp; t</rdf:li></rdf:Alt></dublin:title>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
TAGS = ("cat", "red, hot", "gr\u00fcn", "\u732b", "a & b <c>", "\u05d7\u05ea\u05d5\u05dc")

Write = Callable[..., Report]
Read = Callable[..., list[TaggedPhoto]]


def without_keywords(data: bytes) -> bytes:
    """The document without the elements that hold keywords, and without the white space before them."""
    names = b"|".join(
        [rb"dublin:subject", rb"dc:subject", rb"lr:hierarchicalSubject", rb"digiKam:TagsList",
         rb"MicrosoftPhoto:LastKeywordXMP", rb"annotator:RankedTags"]
    )  # fmt: skip
    return re.sub(rb"\s*<(" + names + rb")[\s>].*?</\1>", b"", data, flags=re.DOTALL)


def test_everything_else_of_a_sidecar_is_kept_byte_for_byte(tmp_path: Path, write: Write, read: Read) -> None:
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(LIGHTROOM_SIDECAR)
    write("xmp", [TaggedPhoto("a.jpg", TAGS)], tmp_path)
    assert without_keywords(path.read_bytes()) == without_keywords(LIGHTROOM_SIDECAR)
    found = read_lists(path.read_bytes(), ALL, "a")
    for one in ALL:
        expected = [*TAGS, "old", "holiday"] if one == SUBJECT else list(TAGS)
        assert found[one] == expected, one
    assert b"<dublin:subject>" in path.read_bytes()  # the prefix that the document gives the namespace
    (again,) = read("xmp", tmp_path)
    assert again.tags == (*TAGS, "old", "holiday")


def test_a_second_export_changes_no_byte_and_writes_no_file(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(LIGHTROOM_SIDECAR)
    photos = [TaggedPhoto("a.jpg", TAGS), TaggedPhoto("new.jpg", TAGS)]
    write("xmp", photos, tmp_path)
    before = {one.name: (one.read_bytes(), one.stat().st_ino) for one in tmp_path.iterdir()}
    write("xmp", photos, tmp_path)
    assert {one.name: (one.read_bytes(), one.stat().st_ino) for one in tmp_path.iterdir()} == before
    assert set(before) == {"a.jpg.xmp", "new.jpg.xmp"}


def test_a_tag_that_was_removed_here_does_not_come_back(tmp_path: Path, write: Write, read: Read) -> None:
    write("xmp", [TaggedPhoto("a.jpg", ("cat", "dog"))], tmp_path)
    write("xmp", [TaggedPhoto("a.jpg", ("cat",))], tmp_path)
    assert [photo.tags for photo in read("xmp", tmp_path)] == [("cat",)]


def test_a_keyword_of_another_program_is_kept_unless_it_was_dropped(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(LIGHTROOM_SIDECAR)
    report = write("xmp", [TaggedPhoto("a.jpg", ("cat",), dropped=("Holiday",))], tmp_path)
    assert read_lists(path.read_bytes(), ALL, "a")[SUBJECT] == ["cat", "old"]
    assert [note.reason for note in report.notes] == [
        "keywords of its sidecar that are not in the saved list were kept: old"
    ]


@pytest.mark.parametrize(("keywords", "expected"), [("replace", ["cat"]), ("keep", ["cat", "old", "holiday"])])
def test_other_keywords_are_kept_or_replaced_as_chosen(
    keywords: str, expected: list[str], tmp_path: Path, write: Write
) -> None:
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(LIGHTROOM_SIDECAR)
    write("xmp", [TaggedPhoto("a.jpg", ("cat",))], tmp_path, keywords=keywords)
    assert read_lists(path.read_bytes(), ALL, "a")[SUBJECT] == expected


def test_a_photo_whose_sidecar_has_other_keywords_is_refused_where_that_is_chosen(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(LIGHTROOM_SIDECAR)
    with pytest.raises(DataError, match="keywords that are not in the saved list: old, holiday"):
        write("xmp", [TaggedPhoto("a.jpg", ("cat",)), TaggedPhoto("b.jpg", ("cat",))], tmp_path, keywords="refuse")
    assert path.read_bytes() == LIGHTROOM_SIDECAR
    assert [one.name for one in tmp_path.iterdir()] == ["a.jpg.xmp"]


def test_the_levels_that_a_tag_has_in_a_sidecar_stay(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(replace_lists(EMPTY_PACKET, {LIGHTROOM: ["Animals|Cat"], DIGIKAM: ["Animals/Cat"]}, "a"))
    write("xmp", [TaggedPhoto("a.jpg", ("sofa", "cat"))], tmp_path)
    found = read_lists(path.read_bytes(), ALL, "a")
    assert found[LIGHTROOM] == ["sofa", "Animals|Cat"]
    assert found[DIGIKAM] == ["sofa", "Animals/Cat"]
    assert found[RANKED] == ["sofa", "cat"]


def test_a_slash_or_a_bar_in_a_tag_is_said(tmp_path: Path, write: Write) -> None:
    report = write("xmp", [TaggedPhoto("a.jpg", ("AC/DC", "x|y"))], tmp_path)
    assert [note.reason.split(",")[0] for note in report.notes] == [
        "other programs read the tag 'AC/DC' as levels",
        "other programs read the tag 'x|y' as levels",
    ]


@pytest.mark.parametrize(
    ("profile", "name", "properties"),
    [
        ("adobe", "a.xmp", {"subject", "hierarchicalSubject", "RankedTags"}),
        ("darktable", "a.jpg.xmp", {"subject", "hierarchicalSubject", "RankedTags"}),
        ("immich", "a.jpg.xmp", {"subject", "hierarchicalSubject", "TagsList", "RankedTags"}),
        ("digikam", "a.jpg.xmp", {"subject", "hierarchicalSubject", "TagsList", "LastKeywordXMP", "RankedTags"}),
    ],
)
def test_a_profile_writes_the_file_and_the_properties_that_its_program_reads(
    profile: str, name: str, properties: set[str], tmp_path: Path, write: Write
) -> None:
    write("xmp", [TaggedPhoto("a.jpg", ("cat",))], tmp_path, profile=profile)
    (path,) = tmp_path.iterdir()
    assert path.name == name
    assert {one.name for one in read_lists(path.read_bytes(), ALL, "a")} == properties
    assert {one.name for one in PROFILES[profile].properties} == properties


def test_digikam_goes_on_with_a_sidecar_of_the_short_name(tmp_path: Path, write: Write) -> None:
    (tmp_path / "a.xmp").write_bytes(EMPTY_PACKET)
    write("xmp", [TaggedPhoto("a.jpg", ("cat",))], tmp_path, profile="digikam")
    assert [one.name for one in tmp_path.iterdir()] == ["a.xmp"]


def test_two_photos_with_one_sidecar_are_refused(tmp_path: Path, write: Write) -> None:
    with pytest.raises(DataError, match=r"a\.png: another photo has the sidecar a\.xmp too"):
        write("xmp", [TaggedPhoto("a.jpg", ("x",)), TaggedPhoto("a.png", ("y",))], tmp_path, profile="adobe")
    assert list(tmp_path.iterdir()) == []


def test_keywords_written_as_an_attribute_or_in_a_closed_element_are_replaced(tmp_path: Path, write: Write) -> None:
    document = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:subject="old" dc:format="i/j"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
    (tmp_path / "a.jpg.xmp").write_text(document)
    write("xmp", [TaggedPhoto("a.jpg", ("cat",))], tmp_path, keywords="replace", profile="adobe")
    # The profile has its own name for the sidecar, so the other one is not touched.
    assert (tmp_path / "a.jpg.xmp").read_text() == document
    write("xmp", [TaggedPhoto("a.jpg", ("cat",))], tmp_path, keywords="replace")
    text = (tmp_path / "a.jpg.xmp").read_text()
    assert 'dc:subject="old"' not in text
    assert 'dc:format="i/j"' in text
    assert read_lists(text.encode(), ALL, "a")[SUBJECT] == ["cat"]
    assert text.endswith("</rdf:Description></rdf:RDF></x:xmpmeta>")


FOREIGN = Path(__file__).parent / "foreign"


def test_exiftool_read_every_other_value_equal_before_and_after(tmp_path: Path, write: Write) -> None:
    """What ExifTool 12.57 said of the sidecar above, before our export and after it; of the one that we write now."""
    said = json.loads((FOREIGN / "exiftool_values.json").read_text(encoding="utf-8"))
    keywords = {"XMP-dc:Subject", "XMP-lr:HierarchicalSubject", "XMP-digiKam:TagsList",
                "XMP-microsoft:LastKeywordXMP", "XMP-annotator:RankedTags"}  # fmt: skip
    before, after = ({k: v for k, v in said[when].items() if k not in keywords} for when in ("before", "after"))
    assert before == after
    assert len(before) == 6
    assert [said["after"][name] for name in sorted(keywords)] == [list(TAGS)] * 5
    (tmp_path / "a.jpg.xmp").write_bytes(LIGHTROOM_SIDECAR)
    write("xmp", [TaggedPhoto("a.jpg", TAGS)], tmp_path, keywords="replace")
    assert hashlib.sha256((tmp_path / "a.jpg.xmp").read_bytes()).hexdigest() == said["sha256"]


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("exiftool") is None, reason="ExifTool is not installed (libimage-exiftool-perl)")
def test_exiftool_reads_them_now(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(LIGHTROOM_SIDECAR)

    def values() -> dict[str, Any]:
        command = ["exiftool", "-json", "-a", "-G1", "-XMP:all", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return {name: value for name, value in json.loads(done.stdout)[0].items() if name != "SourceFile"}

    before = values()
    write("xmp", [TaggedPhoto("a.jpg", TAGS)], tmp_path, keywords="replace")
    after = values()
    said = {"before": before, "after": after, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert said == json.loads((FOREIGN / "exiftool_values.json").read_text(encoding="utf-8"))


def test_a_sidecar_that_exiftool_wrote_anew_keeps_our_order_and_all_it_holds(
    tmp_path: Path, write: Write, read: Read
) -> None:
    """ExifTool 12.57 added a keyword and a creator to the sidecar above after our export."""
    original = (FOREIGN / "exiftool_rewritten.jpg.xmp").read_bytes()
    path = tmp_path / "a.jpg.xmp"
    path.write_bytes(original)
    (photo,) = read("xmp", tmp_path)
    assert photo.tags == (*TAGS, "added")
    write("xmp", [TaggedPhoto("a.jpg", ("\u732b",))], tmp_path)
    assert without_keywords(path.read_bytes()) == without_keywords(original)
    (photo,) = read("xmp", tmp_path)
    assert photo.tags == ("\u732b", "added")  # nothing that was removed here comes back
    assert path.read_bytes().count(b"<rdf:li>cat</rdf:li>") == 0
    once = path.read_bytes()
    write("xmp", [TaggedPhoto("a.jpg", ("\u732b",))], tmp_path)
    assert path.read_bytes() == once


HOSTILE: dict[str, tuple[bytes, str]] = {
    "entities": (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "declares a document type"),
    "external": (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "declares a document type"),
    "cut off": (LIGHTROOM_SIDECAR[:400], "is not XMP that can be read"),
    "no XML": (b"\x00\x01\x02", "is not XMP that can be read"),
    "UTF-16": ("<x/>".encode("utf-16"), "is not UTF-8"),
    "not RDF": (b"<x/>", "holds no rdf:Description"),
    "deep": (b"<x>" * 200 + b"</x>" * 200, "nests more than 100 levels"),
    "huge": (b"<x>" + b" " * 5_000_000 + b"</x>", "is larger than"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_or_damaged_sidecar_is_refused_and_left_alone(case: str, tmp_path: Path, write: Write) -> None:
    data, reason = HOSTILE[case]
    (tmp_path / "a.jpg.xmp").write_bytes(data)
    with pytest.raises(DataError, match=reason):
        write("xmp", [TaggedPhoto("a.jpg", ("cat",)), TaggedPhoto("b.jpg", ("cat",))], tmp_path)
    assert (tmp_path / "a.jpg.xmp").read_bytes() == data
    assert [one.name for one in tmp_path.iterdir()] == ["a.jpg.xmp"]


def test_our_order_is_read_first_and_keywords_of_others_follow(tmp_path: Path, read: Read) -> None:
    lists: dict[Any, list[str]] = {RANKED: ["b", "gone", "a"], SUBJECT: ["a", "b", "new"]}
    (tmp_path / "a.jpg.xmp").write_bytes(replace_lists(EMPTY_PACKET, lists, "a"))
    (photo,) = read("xmp", tmp_path)
    assert (photo.name, photo.tags) == ("a.jpg", ("b", "a", "new"))


def test_levels_alone_give_their_last_words(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.xmp").write_bytes(replace_lists(EMPTY_PACKET, {DIGIKAM: ["Animals/Cat", "home"]}, "a"))
    (photo,) = read("xmp", tmp_path)
    assert (photo.name, photo.tags) == ("a", ("Cat", "home"))


def test_a_damaged_sidecar_among_others_is_named(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.jpg.xmp").write_bytes(b"<x")
    (tmp_path / "b.jpg.xmp").write_bytes(replace_lists(EMPTY_PACKET, {SUBJECT: ["cat"]}, "b"))
    report = Report()
    assert [photo.name for photo in read("xmp", tmp_path, report)] == ["b.jpg"]
    assert [problem.photo for problem in report.problems] == ["a.jpg"]


def test_levels_of_a_vocabulary_are_written_where_other_programs_read_levels(tmp_path: Path, write: Write) -> None:
    photo = TaggedPhoto("a.jpg", ("cat", "AC/DC", "dog"), levels={"cat": ("Animals", "Pets"), "dog": ("a|b",)})
    write("xmp", [photo], tmp_path)
    data = (tmp_path / "a.jpg.xmp").read_bytes()
    found = read_lists(data, ALL, "a")
    assert found[LIGHTROOM] == ["Animals|Pets|cat", "AC/DC", "dog"]
    assert found[DIGIKAM] == ["Animals/Pets/cat", "AC/DC", "a|b/dog"]
    assert found[SUBJECT] == found[RANKED] == ["cat", "AC/DC", "dog"]
    write("xmp", [photo], tmp_path)
    assert (tmp_path / "a.jpg.xmp").read_bytes() == data
    write("xmp", [TaggedPhoto("a.jpg", ("dog", "cat"))], tmp_path)  # levels that a sidecar has stay
    found = read_lists((tmp_path / "a.jpg.xmp").read_bytes(), ALL, "a")
    assert found[LIGHTROOM] == ["dog", "Animals|Pets|cat"]


def test_fields_are_written_read_and_kept_where_there_are_several_languages(
    tmp_path: Path, write: Write, read: Read
) -> None:
    fields = {"title": "A <cat>", "description": "On a sofa", "category": "Animals", "place": "here"}
    write("xmp", [TaggedPhoto("a.jpg", TAGS, fields=fields)], tmp_path)
    data = (tmp_path / "a.jpg.xmp").read_bytes()
    assert b'<rdf:Alt>\n     <rdf:li xml:lang="x-default">A &lt;cat&gt;</rdf:li>' in data
    (again,) = read("xmp", tmp_path)
    assert (again.title, again.description, again.category) == ("A <cat>", "On a sofa", "Animals")
    write("xmp", [TaggedPhoto("a.jpg", TAGS, fields=fields)], tmp_path)
    assert (tmp_path / "a.jpg.xmp").read_bytes() == data
    write("xmp", [TaggedPhoto("a.jpg", TAGS)], tmp_path)  # an empty field takes nothing away
    assert read_lists((tmp_path / "a.jpg.xmp").read_bytes(), [FIELDS["title"]], "a") == {FIELDS["title"]: ["A <cat>"]}
    several = replace_lists(EMPTY_PACKET, {FIELDS["title"]: ["cat", "Katze"]}, "b")
    (tmp_path / "b.jpg.xmp").write_bytes(several)
    report = write("xmp", [TaggedPhoto("b.jpg", TAGS, fields=fields)], tmp_path)
    assert "several values of dc:title, which were kept" in report.notes[0].reason
    found = read_lists((tmp_path / "b.jpg.xmp").read_bytes(), list(FIELDS.values()), "b")
    assert (found[FIELDS["title"]], found[FIELDS["description"]]) == (["cat", "Katze"], ["On a sofa"])
