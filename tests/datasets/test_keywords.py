"""Keywords in every field in which programs keep them, through ``read_metadata``."""

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from annotator.datasets.image_folder import decode_image
from annotator.datasets.sidecars import PhotoMetadata, read_metadata

NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "MicrosoftBare": "http://ns.microsoft.com/photo/1.0",
    "mediapro": "http://ns.iview-multimedia.com/mediapro/1.0/",
    "acdsee": "http://ns.acdsee.com/iptc/1.0/",
    "pdf": "http://ns.adobe.com/pdf/1.3/",
    "mwg-kw": "http://www.metadataworkinggroup.com/schemas/keywords/",
}
DECLARED = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())


def xmp(inside: str, attributes: str = "") -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f"<rdf:Description rdf:about='' {DECLARED} {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def bag(name: str, *values: str, container: str = "Bag") -> str:
    items = "".join(f"<rdf:li>{value}</rdf:li>" for value in values)
    return f"<{name}><rdf:{container}>{items}</rdf:{container}></{name}>"


def jpeg(**options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", **options)
    return file.getvalue()


def read(tmp_path: Path, data: bytes, **sidecars: bytes) -> PhotoMetadata:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for suffix, content in sidecars.items():
        path.with_suffix(f".{suffix}").write_bytes(content)
    return read_metadata(path, decode_image(data), root=tmp_path)


# --- XMP -----------------------------------------------------------------------------------------------------

PLAIN = {
    "bag": bag("dc:subject", "dog", "beach"),
    "seq": bag("dc:subject", "dog", "beach", container="Seq"),
    "alt": bag("dc:subject", "dog", "beach", container="Alt"),
    "one text": "<dc:subject>dog, beach</dc:subject>",
    "one item": bag("dc:subject", "dog; beach"),
    "rdf:value": "<dc:subject><rdf:Bag><rdf:li rdf:parseType='Resource'><rdf:value>dog</rdf:value></rdf:li>"
    "<rdf:li><rdf:Description><rdf:value>beach</rdf:value></rdf:Description></rdf:li></rdf:Bag></dc:subject>",
    "rdf:value attribute": "<dc:subject><rdf:Bag><rdf:li><rdf:Description rdf:value='dog'/></rdf:li>"
    "<rdf:li rdf:value='beach'/></rdf:Bag></dc:subject>",
    "value of the property": "<dc:subject rdf:parseType='Resource'><rdf:value>dog, beach</rdf:value></dc:subject>",
    "Windows": bag("MicrosoftPhoto:LastKeywordXMP", "dog", "beach"),
    "Windows, other namespace": bag("MicrosoftBare:LastKeywordXMP", "dog", "beach"),
    "Windows IPTC": bag("MicrosoftPhoto:LastKeywordIPTC", "dog", "beach"),
    "ACDSee": bag("acdsee:keywords", "dog", "beach"),
    "pdf": "<pdf:Keywords>dog, beach</pdf:Keywords>",
    "padded": bag("dc:subject", "  dog\n", " beach "),
    "quoted": bag("dc:subject", '"dog", "beach"'),
    "Windows, one item": bag("MicrosoftPhoto:LastKeywordXMP", "dog; beach"),
    "PRISM": "<p:keyword xmlns:p='http://prismstandard.org/namespaces/basic/2.0/'><rdf:Bag><rdf:li>dog</rdf:li>"
    "<rdf:li>beach</rdf:li></rdf:Bag></p:keyword>",
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_keywords_are_read_in_every_form(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, jpeg(xmp=xmp(PLAIN[name])))
    assert found.keywords == ("dog", "beach")
    assert found.hierarchies == ()


@pytest.mark.parametrize("attribute", ["dc:subject='dog, beach'", "pdf:Keywords='dog;beach'"])
def test_keywords_in_an_attribute_are_read(tmp_path: Path, attribute: str) -> None:
    assert read(tmp_path, jpeg(xmp=xmp("", attribute))).keywords == ("dog", "beach")


def test_a_comma_belongs_to_its_keyword_where_there_are_several(tmp_path: Path) -> None:
    packet = xmp(bag("dc:subject", "Paris, Texas", "dog"))
    assert read(tmp_path, jpeg(xmp=packet)).keywords == ("Paris, Texas", "dog")


CATEGORIES = (
    "&lt;Categories&gt;&lt;Category Assigned=&quot;0&quot;&gt;animal&lt;Category Assigned=&quot;1&quot;&gt;dog"
    "&lt;/Category&gt;&lt;/Category&gt;&lt;Category Assigned=&quot;0&quot;&gt;place&lt;Category Assigned=&quot;1&quot;"
    "&gt;Praha&lt;/Category&gt;&lt;Category Assigned=&quot;0&quot;&gt;Brno&lt;/Category&gt;&lt;/Category&gt;"
    "&lt;/Categories&gt;"
)
MWG = (
    "<mwg-kw:Keywords rdf:parseType='Resource'><mwg-kw:Hierarchy><rdf:Bag>"
    "<rdf:li rdf:parseType='Resource'><mwg-kw:Keyword>animal</mwg-kw:Keyword><mwg-kw:Children><rdf:Bag>"
    "<rdf:li><rdf:Description mwg-kw:Keyword='dog'/></rdf:li></rdf:Bag></mwg-kw:Children></rdf:li>"
    "<rdf:li><rdf:Description mwg-kw:Keyword='place'><mwg-kw:Children><rdf:Bag><rdf:li mwg-kw:Keyword='Praha'/>"
    "</rdf:Bag></mwg-kw:Children></rdf:Description></rdf:li></rdf:Bag></mwg-kw:Hierarchy></mwg-kw:Keywords>"
)
HIERARCHICAL = {
    "Lightroom": bag("lr:hierarchicalSubject", "animal|dog", "place|Praha"),
    "digiKam": bag("digiKam:TagsList", "animal/dog", "place/Praha", container="Seq"),
    "Windows": bag("MicrosoftPhoto:LastKeywordXMP", "animal/dog", "place/Praha"),
    "Media Pro": bag("mediapro:CatalogSets", "animal|dog", "place|Praha"),
    "ACDSee": f"<acdsee:categories>{CATEGORIES}</acdsee:categories>",
    "Metadata Working Group": MWG,
    "digiKam with bars": bag("digiKam:TagsList", "animal|dog", "place|Praha", container="Seq"),
    "digiKam with its root": bag("digiKam:TagsList", "_Digikam_root_tag_/animal/dog", "place/Praha", container="Seq"),
    "one item": bag("lr:hierarchicalSubject", "animal|dog; place|Praha"),
    "levels in a plain field": bag("dc:subject", "animal|dog", "place|Praha"),
}


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_hierarchical_keywords_are_shown_by_their_leaf_and_kept_whole(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, jpeg(xmp=xmp(HIERARCHICAL[name])))
    assert found.keywords == ("dog", "Praha")
    assert found.hierarchies == ("animal|dog", "place|Praha")


def test_one_keyword_in_many_fields_is_one(tmp_path: Path) -> None:
    fields = [PLAIN["bag"], *(HIERARCHICAL[name] for name in ("Lightroom", "digiKam", "Windows"))]
    found = read(tmp_path, jpeg(xmp=xmp("".join(fields))), xmp=xmp(HIERARCHICAL["Lightroom"]))
    assert found.keywords == ("dog", "beach", "Praha")
    assert found.hierarchies == ("animal|dog", "place|Praha")


def test_the_bookkeeping_of_programs_is_no_keyword(tmp_path: Path) -> None:
    packet = xmp(
        bag("dc:subject", "dog", "darktable", "format", "jpg", "exported", "nikon", "Color Label Red")
        + bag("lr:hierarchicalSubject", "darktable|format|jpg", "darktable|exported", "format|large", "darktable|nikon")
        + bag("digiKam:TagsList", "_Digikam_Internal_Tags_/Pick Label None", "people/Šárka", container="Seq")
    )
    found = read(tmp_path, jpeg(xmp=packet))
    assert found.keywords == ("dog", "format", "large", "Šárka")  # "format" is a level of a person's keyword
    assert found.hierarchies == ("format|large", "people|Šárka")


def test_a_program_as_the_subject_is_a_keyword(tmp_path: Path) -> None:
    assert read(tmp_path, jpeg(xmp=xmp(bag("dc:subject", "darktable", "screen")))).keywords == ("darktable", "screen")


def test_hostile_categories_are_passed_over(tmp_path: Path) -> None:
    bomb = "&lt;!DOCTYPE a [&lt;!ENTITY b &quot;c&quot;&gt;]&gt;&lt;Categories&gt;&amp;b;&lt;/Categories&gt;"
    deep = "&lt;Category&gt;a" * 800 + "&lt;/Category&gt;" * 800
    for text in (bomb, deep, "no XML"):
        found = read(tmp_path, jpeg(xmp=xmp(f"<acdsee:categories>{text}</acdsee:categories>" + PLAIN["bag"])))
        assert {"dog", "beach"} <= set(found.keywords)


# --- EXIF ----------------------------------------------------------------------------------------------------


def exif(xp_keywords: bytes | None = None, comment: bytes | None = None) -> bytes:
    values = Image.Exif()
    if xp_keywords is not None:
        values[0x9C9E] = xp_keywords
    if comment is not None:
        values.get_ifd(0x8769)[0x9286] = comment
    return values.tobytes()


@pytest.mark.parametrize(
    "text", ["dog;beach", "dog; beach;", "dog, beach", "dog;beach\0", "\ufeffdog;beach\0", "dog;beach\0rest"]
)
def test_windows_keywords_are_read(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, jpeg(exif=exif(text.encode("utf-16-le")))).keywords == ("dog", "beach")


def test_windows_keywords_with_an_odd_number_of_bytes_or_eight_bits_are_read(tmp_path: Path) -> None:
    for value in ("dog;beach".encode("utf-16-le") + b"\0", b"dog;beach\0"):
        assert read(tmp_path, jpeg(exif=exif(value))).keywords == ("dog", "beach")
    assert read(tmp_path, jpeg(exif=exif("狗\uff1b海".encode("utf-16-le")))).keywords == ("狗", "海")


def test_a_path_that_a_plain_field_repeats_is_no_keyword_of_its_own(tmp_path: Path) -> None:
    packet = xmp(HIERARCHICAL["Windows"])
    words = "animal/dog;place/Praha;beach;darktable|exported".encode("utf-16-le")
    assert set(read(tmp_path, jpeg(xmp=packet, exif=exif(words))).keywords) == {"dog", "Praha", "beach"}


def test_windows_keywords_of_other_scripts_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, jpeg(exif=exif("犬;海辺".encode("utf-16-le")))).keywords == ("犬", "海辺")


@pytest.mark.parametrize(
    "comment",
    [
        b"ASCII\0\0\0dog, beach",
        b"UNICODE\0" + "dog, beach".encode("utf-16-be"),
        b"UNICODE\0" + "dog; beach".encode("utf-16-le"),
        b"\0\0\0\0\0\0\0\0dog, beach\0\0\0",
        b"dog, beach, dog",
        b"Unicode\0" + "dog, beach".encode("utf-16-le"),
        b"UNICODE\0dog, beach",
        b"ASCII\0\0\0#dog #beach",
        b"ASCII\0\0\0charset=Ascii dog, beach",
    ],
)
def test_a_list_in_the_comment_of_exif_holds_keywords(tmp_path: Path, comment: bytes) -> None:
    assert read(tmp_path, jpeg(exif=exif(comment=comment))).keywords == ("dog", "beach")


@pytest.mark.parametrize(
    ("comment", "caption"),
    [
        (b"ASCII\0\0\0A dog.", "A dog."),
        (
            b"ASCII\0\0\0Yesterday we went to the sea, and it was cold.",
            "Yesterday we went to the sea, and it was cold.",
        ),
        (b"ASCII\0\0\0                    ", None),
        (b"\0" * 200, None),
        (b"\0\0\0\0\0\0\0\0\1\2\3\4binary", None),
        (b"ASCII\0\0\0filter: 0; fileterIntensity: 0.0; filterMask: 0; captureOrientation: 0;", None),
        (b"ASCII\0\0\0fbw, 1, 2, 3, 0.5", None),
        (b"ASCII\0\0\0oppo_32", None),
        (b'ASCII\0\0\0{"camera": 1}', None),
    ],
)
def test_another_comment_of_exif_is_a_caption_or_nothing(tmp_path: Path, comment: bytes, caption: str | None) -> None:
    found = read(tmp_path, jpeg(exif=exif(comment=comment)))
    assert (found.keywords, found.caption) == ((), caption)


def test_a_generators_comment_gives_the_tags_of_its_prompt(tmp_path: Path) -> None:
    text = "(a dog:1.2), beach\nNegative prompt: cat\nSteps: 20, Sampler: Euler a"
    found = read(tmp_path, jpeg(exif=exif(comment=b"UNICODE\0" + text.encode("utf-16-be"))))
    assert (found.user_tags, found.keywords, found.caption) == (("a dog", "beach"), (), None)


# --- IPTC ----------------------------------------------------------------------------------------------------


def iptc(*keywords: bytes, declared: bytes = b"") -> bytes:
    """A JPEG with IPTC keywords."""
    datasets = [(1, 90, declared)] if declared else []
    block = b"".join(
        bytes([0x1C, record, number]) + len(value).to_bytes(2, "big") + value
        for record, number, value in [*datasets, *((2, 25, keyword) for keyword in keywords)]
    )
    resource = b"8BIM\x04\x04\0\0" + len(block).to_bytes(4, "big") + block + b"\0" * (len(block) % 2)
    segment = b"Photoshop 3.0\0" + resource
    data = jpeg()
    return data[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]


WORDS = ("Café", "Köln", "mañana")


@pytest.mark.parametrize(
    ("words", "encoding", "declared"),
    [
        (WORDS, "utf-8", b"\x1b%G"),
        (WORDS, "utf-8", b""),
        (WORDS, "cp1252", b""),
        (WORDS, "mac_roman", b""),
        (WORDS, "latin-1", b"\x1b.A"),
        (("Šárka", "Plzeň", "Łódź"), "iso8859_2", b"\x1b-B"),
        (("Šárka", "Plzeň", "Łódź"), "iso8859_2", b"\x1b.B"),
        (("собака",), "iso8859_5", b"\x1b-L"),
        (("œuvre", "10 €"), "iso8859_15", b"\x1b-b"),
        (("σκύλος",), "iso8859_7", b"\x1b-F"),
        (("rock \u2019n\u2019 roll", "don\u2019t", "\u201cquoted\u201d", "10 \u20ac"), "cp1252", b""),
        (("Élysée", "naïve", "Ångström"), "cp1252", b""),
        (("Élysée", "naïve", "Ångström"), "mac_roman", b""),
    ],
)
def test_iptc_is_read_in_declared_and_undeclared_encodings(
    tmp_path: Path, words: tuple[str, ...], encoding: str, declared: bytes
) -> None:
    data = iptc(*(word.encode(encoding) for word in words), declared=declared)
    assert read(tmp_path, data).keywords == words


def test_an_escape_sequence_inside_a_value_names_the_encoding(tmp_path: Path) -> None:
    data = iptc(*(b"\x1b-B" + word.encode("iso8859_2") for word in ("Šárka", "Plzeň")))
    assert read(tmp_path, data).keywords == ("Šárka", "Plzeň")


@pytest.mark.parametrize("declared", [b"", b"\x1b%G"])
def test_a_keyword_cut_inside_a_character_loses_that_character_only(tmp_path: Path, declared: bytes) -> None:
    whole = ("a" * 60 + "éééé").encode()
    cut = 63  # inside the second é
    found = read(tmp_path, iptc(whole[:cut], b"dog", declared=declared)).keywords
    assert found == (whole[:cut].decode(errors="ignore"), "dog")
    assert "\ufffd" not in found[0]


@pytest.mark.parametrize("text", [b"dog, beach", b"dog;beach", b"dog,beach,"])
def test_one_iptc_field_that_holds_a_list_is_split(tmp_path: Path, text: bytes) -> None:
    assert read(tmp_path, iptc(text)).keywords == ("dog", "beach")


# --- against another reader ----------------------------------------------------------------------------------


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("exiftool") is None, reason="ExifTool is not installed")
def test_what_exiftool_writes_is_read(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    for arguments, keywords in (
        (["-XMP-dc:Subject=dog", "-XMP-dc:Subject=Łódź"], {"dog", "Łódź"}),
        (["-XMP-lr:HierarchicalSubject=animal|dog"], {"dog"}),
        (["-XMP-digiKam:TagsList=animal/dog"], {"dog"}),
        (["-XMP-microsoft:LastKeywordXMP=dog"], {"dog"}),
        (["-XMP-mediapro:CatalogSets=animal|dog"], {"dog"}),
        (["-XMP-pdf:Keywords=dog, beach"], {"dog", "beach"}),
        (["-XPKeywords=dog;Łódź"], {"dog", "Łódź"}),
        (["-UserComment=dog, Łódź"], {"dog", "Łódź"}),
        (["-IPTC:Keywords=dog", "-IPTC:Keywords=Łódź", "-codedcharacterset=utf8"], {"dog", "Łódź"}),
        (["-charset", "iptc=latin2", "-IPTC:Keywords=Café", "-codedcharacterset=\x1b-B"], {"Café"}),
        (["-XMP-mwg-kw:HierarchicalKeywords={Keyword=animal,Children={Keyword=dog}}"], {"dog"}),
    ):
        photo.write_bytes(jpeg())
        done = subprocess.run(["exiftool", "-q", "-overwrite_original", *arguments, str(photo)], capture_output=True)
        assert done.returncode == 0, done.stderr
        assert set(read_metadata(photo, decode_image(photo.read_bytes()), root=tmp_path).keywords) == keywords


def test_a_sidecar_gives_hierarchies_too(tmp_path: Path) -> None:
    found = read(tmp_path, jpeg(), xmp=xmp(HIERARCHICAL["digiKam"]))
    assert (found.keywords, found.hierarchies) == (("dog", "Praha"), ("animal|dog", "place|Praha"))


# --- damaged and undeclared ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        xmp(bag("dc:subject", "caf\u00e9", "dog")).decode().encode("cp1252"),
        xmp(bag("dc:subject", "caf\u00e9&#1;", "d\x02og", "&#x1F;")),
        b'<?xml version="1.0" encoding="utf-8"?>'
        + xmp(bag("dc:subject", "caf\u00e9", "dog")).decode().encode("cp1252"),
    ],
)
def test_xmp_in_an_undeclared_encoding_or_with_forbidden_characters_is_read(tmp_path: Path, data: bytes) -> None:
    found = read(tmp_path, jpeg(), xmp=data)
    assert (found.keywords, found.notes) == (("caf\u00e9", "dog"), ())


def test_xmp_that_is_cut_is_noted(tmp_path: Path) -> None:
    found = read(tmp_path, jpeg(), xmp=xmp(bag("dc:subject", "dog"))[:-30])
    assert found.keywords == ()
    assert "is not valid XML" in found.notes[0]


def test_windows_text_that_is_declared_as_utf_8_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, iptc("café".encode("cp1252"), declared=b"\x1b%G")).keywords == ("caf\u00e9",)


def test_the_texts_of_a_png_give_the_prompt_and_the_caption(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "beach, (dog:1.2)\nNegative prompt: blurry\nSteps: 20, Sampler: Euler")
    texts.add_text("Description", "A walk by the sea")
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=texts)
    found = read(tmp_path, file.getvalue())
    assert (found.user_tags, found.caption) == (("beach", "dog"), "A walk by the sea")


@pytest.mark.parametrize(
    "data",
    [
        xmp(PLAIN["bag"]).decode().encode("utf-16-le"),
        xmp(PLAIN["bag"]).decode().encode("utf-16-be"),
        xmp(PLAIN["bag"]) + b"\0\0rest of an older file",
    ],
)
def test_xmp_in_utf_16_without_a_mark_or_with_a_rest_behind_it_is_read(tmp_path: Path, data: bytes) -> None:
    found = read(tmp_path, jpeg(), xmp=data)
    assert (found.keywords, found.notes) == (("dog", "beach"), ())


def test_a_sign_that_should_have_been_escaped_does_not_hide_the_keywords(tmp_path: Path) -> None:
    found = read(tmp_path, jpeg(), xmp=xmp(bag("dc:subject", "cats & dogs", "a &amp; b", "&#233;t\u00e9")))
    assert (found.keywords, found.notes) == (("cats & dogs", "a & b", "\u00e9t\u00e9"), ())


def with_segments(*segments: tuple[int, bytes]) -> bytes:
    """A JPEG with further segments: (marker, content)."""
    data = jpeg()
    added = b"".join(bytes([0xFF, mark]) + (len(body) + 2).to_bytes(2, "big") + body for mark, body in segments)
    return data[:2] + added + data[2:]


def test_keywords_in_the_extension_of_xmp_are_read_in_the_order_of_its_parts(tmp_path: Path) -> None:
    more = xmp(f"<x:long xmlns:x='http://x/'>{'y' * 70_000}</x:long>" + bag("dc:subject", "dog", "beach"))
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + len(more).to_bytes(4, "big")
    parts = [(0xE1, head + at.to_bytes(4, "big") + more[at : at + 60_000]) for at in range(0, len(more), 60_000)]
    main = (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(bag("dc:subject", "sea")))
    assert read(tmp_path, with_segments(main, *reversed(parts))).keywords == ("sea", "dog", "beach")


@pytest.mark.parametrize("cut", [None, 20, 31])
def test_iptc_in_several_segments_is_read(tmp_path: Path, cut: int | None) -> None:
    block = b"\x1c\x02\x19\0\x03dog\x1c\x02\x19\0\x05beach"
    resource = b"8BIM\x04\x04\0\0" + len(block).to_bytes(4, "big") + block
    other = b"8BIM\x03\xed\x03abc\0\0\0\x02xx"  # a resource with a name, of a wrong length for its number
    parts = [other, resource] if cut is None else [(other + resource)[:cut], (other + resource)[cut:]]
    data = with_segments(*((0xED, b"Photoshop 3.0\0" + part) for part in parts))
    assert read(tmp_path, data).keywords == ("dog", "beach")


def test_gif_and_jpeg_2000_give_their_xmp(tmp_path: Path) -> None:
    packet = xmp(PLAIN["bag"])
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "GIF")
    gif = file.getvalue()
    magic = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    start = 13 + 3 * 2 ** ((gif[10] & 7) + 1)  # after the header and the table of colours
    gif = gif[:start] + b"\x21\xff\x0bXMP DataXMP" + packet + magic + gif[start:]
    assert read(tmp_path, gif).keywords == ("dog", "beach")
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG2000", no_jp2=False)
    uuid = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
    box = (24 + len(packet)).to_bytes(4, "big") + b"uuid" + uuid + packet
    assert read(tmp_path, file.getvalue() + box).keywords == ("dog", "beach")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "prompt",
            '{"3": {"class_type": "K", "inputs": {"positive": ["6", 0]}}, "6": {"inputs": {"text": "dog, beach"}}}',
        ),
        ("invokeai_metadata", '{"positive_prompt": "dog, beach", "negative_prompt": "bad"}'),
        ("Comment", '{"prompt": "dog, beach", "uc": "bad"}'),
        ("parameters", '{"sui_image_params": {"prompt": "dog, beach", "negativeprompt": "bad"}}'),
    ],
)
def test_json_of_generators_in_a_png_gives_the_prompt(tmp_path: Path, name: str, text: str) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text(name, text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=texts)
    found = read(tmp_path, file.getvalue())
    assert (found.user_tags, found.keywords, found.caption) == (("dog", "beach"), (), None)
