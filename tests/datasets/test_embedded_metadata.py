import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin, TiffImagePlugin

from annotator.datasets.embedded_metadata import MAX_BLOCK_BYTES, EmbeddedBlocks
from annotator.datasets.image_folder import decode_image
from annotator.datasets.iptc import parse_iptc
from annotator.datasets.text_encodings import decode_text
from annotator.datasets.xmp import parse_xmp

Encode = Callable[..., bytes]


def dataset(record: int, number: int, value: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


def iptc(*keywords: bytes, caption: bytes | None = None) -> bytes:
    data = dataset(2, 0, b"\0\4") + b"".join(dataset(2, 25, keyword) for keyword in keywords)
    return data if caption is None else data + dataset(2, 120, caption)


def app13(block: bytes) -> bytes:
    """A JPEG segment with Photoshop's image resources: a resolution, then IPTC."""
    resolution = b"8BIM\x03\xed\0\0" + struct.pack(">I", 16) + struct.pack(">IHHIHH", 72 << 16, 1, 1, 72 << 16, 1, 1)
    content = b"Photoshop 3.0\0" + resolution + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(block)) + block
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content


def xmp(inside: str, attributes: str = "") -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">'
        f'<rdf:Description rdf:about="" {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>\n'
    ).encode()


SUBJECTS = "<dc:subject><rdf:Bag><rdf:li>Kätzchen</rdf:li><rdf:li>whiskers</rdf:li></rdf:Bag></dc:subject>"


@pytest.fixture
def photo(real_photo: Callable[[], Image.Image]) -> Image.Image:
    return real_photo().resize((45, 30))


def test_iptc_in_a_jpeg_is_read(photo: Image.Image, encode: Encode) -> None:
    jpeg = encode(photo, "JPEG")
    data = jpeg[:2] + app13(iptc("Kätzchen".encode(), b"dog", caption=b"A cat.")) + jpeg[2:]
    fields = parse_iptc(decode_image(data).embedded.iptc)
    assert fields.keywords == ("Kätzchen", "dog")
    assert fields.caption == "A cat."
    assert fields.notes == ()


@pytest.mark.parametrize("as_numbers", [False, True])
def test_iptc_in_a_tiff_is_read(photo: Image.Image, encode: Encode, as_numbers: bool) -> None:
    block = iptc(b"cat")
    block += b"\0" * (-len(block) % 4)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33723] = block
    tags.tagtype[33723] = 7
    data = encode(photo, "TIFF", tiffinfo=tags)
    if as_numbers:  # the same bytes, declared as 32-bit numbers
        as_bytes = struct.pack("<HHI", 33723, 7, len(block))
        assert data.count(as_bytes) == 1
        data = data.replace(as_bytes, struct.pack("<HHI", 33723, 4, len(block) // 4))
    assert parse_iptc(decode_image(data).embedded.iptc).keywords == ("cat",)


def test_iptc_in_a_png_is_read(photo: Image.Image, encode: Encode) -> None:
    block = b"8BIM\x04\x04\0\0" + struct.pack(">I", 20) + iptc(b"cat", b"dog")
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type iptc", f"\niptc\n{len(block):8}\n{block.hex()}\n", zip=True)
    assert parse_iptc(decode_image(encode(photo, "PNG", pnginfo=text)).embedded.iptc).keywords == ("cat", "dog")


def test_iptc_text_is_utf8_or_else_latin1() -> None:
    assert parse_iptc(iptc("é".encode(), "é".encode("latin-1"))).keywords == ("é", "é")
    assert decode_text(b"\xef\xbb\xbfcat") == "cat"


def test_iptc_with_an_extended_length_is_read() -> None:
    caption = b"x" * 40_000
    data = struct.pack(">BBBHI", 0x1C, 2, 120, 0x8004, len(caption)) + caption + dataset(2, 25, b"cat")
    fields = parse_iptc(data)
    assert fields.caption == "x" * 40_000
    assert fields.keywords == ("cat",)


def test_truncated_iptc_gives_what_is_whole_and_a_note() -> None:
    fields = parse_iptc(iptc(b"cat", b"elephant")[:-3])
    assert fields.keywords == ("cat",)
    assert fields.notes == ("The IPTC data is truncated.",)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\ufeff\x1b"), max_size=70)), st.binary())
def test_any_iptc_keywords_come_back_whatever_follows(keywords: list[str], rest: bytes) -> None:
    fields = parse_iptc(iptc(*(keyword.encode() for keyword in keywords)) + b"\0" + rest)
    assert fields.keywords == tuple(keywords)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=300)))
def test_as_many_iptc_keywords_come_back_as_there_are_in_any_encoding(keywords: list[bytes]) -> None:
    assert len(parse_iptc(iptc(*keywords)).keywords) == len(keywords)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_without_an_exception(data: bytes) -> None:
    assert isinstance(parse_iptc(b"\x1c\x02" + data).keywords, tuple)
    assert isinstance(parse_xmp(b"<" + data, "It").keywords, tuple)


@pytest.mark.parametrize(("format", "options"), [("JPEG", {}), ("WEBP", {}), ("TIFF", {}), ("PNG", {})])
def test_xmp_in_every_format_is_read(photo: Image.Image, encode: Encode, format: str, options: dict[str, Any]) -> None:
    packet = xmp(SUBJECTS)
    if format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", packet.decode())
    elif format == "TIFF":
        options["tiffinfo"] = TiffImagePlugin.ImageFileDirectory_v2()
        options["tiffinfo"][700] = packet
    else:
        options["xmp"] = packet
    fields = parse_xmp(decode_image(encode(photo, format, **options)).embedded.xmp, "The embedded XMP")
    assert fields.keywords == (("Kätzchen",), ("whiskers",))
    assert fields.notes == ()


def test_xmp_captions_prefer_the_default_language() -> None:
    items = '<rdf:li xml:lang="de">Hund</rdf:li><rdf:li xml:lang="x-default">Dog</rdf:li>'
    assert parse_xmp(xmp(f"<dc:description><rdf:Alt>{items}</rdf:Alt></dc:description>"), "It").caption == "Dog"


@pytest.mark.parametrize(
    ("inside", "attributes"),
    [
        ("<exif:DateTimeOriginal>2026-07-01T10:00:00</exif:DateTimeOriginal>", 'xmp:CreateDate="2027"'),
        ("<xmp:CreateDate>2027</xmp:CreateDate>", 'exif:DateTimeOriginal="2026-07-01T10:00:00"'),
    ],
)
def test_xmp_dates_are_read_as_element_or_attribute_best_first(inside: str, attributes: str) -> None:
    assert parse_xmp(xmp(inside, attributes), "It").taken_at == "2026-07-01T10:00:00"


def test_padding_and_utf16_do_not_matter() -> None:
    padded = xmp(SUBJECTS) + b" \n" * 1000 + b"\0\0"
    utf16 = xmp(SUBJECTS).decode().replace('begin="\ufeff"', 'begin=""').encode("utf-16")
    assert parse_xmp(padded, "It").keywords == parse_xmp(utf16, "It").keywords == (("Kätzchen",), ("whiskers",))


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd">',
    ],
)
def test_entities_and_dtds_are_refused(declaration: str) -> None:
    fields = parse_xmp(f"{declaration}<x>&b;</x>".encode(), "The sidecar x.xmp")
    assert fields.keywords == ()
    assert fields.notes == ("The sidecar x.xmp declares a DTD or entities, which is not allowed in XMP.",)


@pytest.mark.parametrize("data", [b"no xml", b"<open>", b"", b"<?xml version='1.0' encoding='nonsense'?><x/>"])
def test_what_is_not_xml_becomes_a_note(data: bytes) -> None:
    assert parse_xmp(data, "The sidecar x.xmp").notes == ("The sidecar x.xmp is not valid XML.",)


def test_deeply_nested_xml_is_read_to_its_end() -> None:
    assert parse_xmp(b"<a>" * 50_000 + b"</a>" * 50_000, "It").keywords == ()


def test_malformed_exif_becomes_a_note_and_the_photo_stays_readable(photo: Image.Image, encode: Encode) -> None:
    for exif in (b"Exif\0\0nonsense!", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + b"nonsense" * 9):
        decoded = decode_image(encode(photo, "JPEG", exif=exif))
        assert decoded.image.size == (45, 30)
        assert decoded.embedded.exif == {}
    assert decoded.embedded.notes == ("The EXIF data could not be read.",)


def test_a_block_that_is_too_large_becomes_a_note(photo: Image.Image, encode: Encode) -> None:
    data = encode(photo, "WEBP", xmp=b"<x>" + b" " * MAX_BLOCK_BYTES + b"</x>")
    embedded = decode_image(data).embedded
    assert embedded.xmp == b""
    assert embedded.notes == ("The XMP data has 5,000,007 bytes and was not read.",)


def test_a_photo_without_metadata_has_none(photo: Image.Image, encode: Encode) -> None:
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        assert decode_image(encode(photo, format)).embedded == EmbeddedBlocks()
