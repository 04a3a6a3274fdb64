"""Reads files of other programs within limits: any of them may be damaged, huge or malicious.

Knows nothing of any one format.
"""

import codecs
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import iterparse, parse  # type: ignore[import-untyped]

from annotator.datasets.formats.contract import Report
from annotator.datasets.tags import clean_tag, tag_key
from annotator.datasets.text_encodings import likeliest_encoding
from annotator.errors import DataError, TagError

MAX_LINE_BYTES = 4_000_000
"""Longest line of a file that is read line by line."""
MAX_DOCUMENT_BYTES = 2_000_000_000
"""Largest JSON document, which is held in memory."""
MAX_XML_BYTES = 20_000_000
"""Largest XML document that is held in memory; longer ones are read element by element."""
MAX_SMALL_BYTES = 4_000_000
"""Largest file that belongs to one photo."""
MAX_TAGS = 1_000
"""Most tags of one photo."""


def open_file(path: Path) -> IO[bytes]:
    """Open a regular file for reading.

    Raises:
        DataError: It is missing, a folder, or cannot be read.
    """
    with _reading(path):
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is missing" if not path.exists() else "is not a file"
            raise DataError(f"{path} {what}. Name the file to import.")
        return path.open("rb")


def encoding_of(path: Path) -> str:
    """Return the encoding of a text file: UTF-8, UTF-16 by its mark, or else the likeliest of the older ones.

    Raises:
        DataError: The file cannot be read.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_file(path) as file, _reading(path):
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        file.seek(0)
        while chunk := file.read(1 << 20):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                # Not from within a line: its bytes before the first letter of an older encoding say nothing.
                lines = [line for line in chunk.splitlines() if not line.isascii()]
                return likeliest_encoding(b"\n".join(lines[:1_000]))
    return "utf-8"


def bounded_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end) of a text file, also one with a byte order mark.

    Raises:
        DataError: The file cannot be read, is not in that encoding, or a line is longer than `MAX_LINE_BYTES`.
    """
    if encoding != "utf-8":
        yield from _lines_in(path, encoding)
        return
    with open_file(path) as file:
        number = 0
        while line := _read_line(file, path, number + 1):
            number += 1
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise DataError(f"Line {number:,} of {path} is not UTF-8. Save the file as UTF-8.") from None
            yield number, text.rstrip("\r\n")


def _lines_in(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    with open_file(path) as file, io.TextIOWrapper(file, encoding, errors="replace") as text, _reading(path):
        number = 0
        while line := text.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise DataError(
                    f"Line {number:,} of {path} is longer than {MAX_LINE_BYTES:,} bytes; is it the right file?"
                )
            yield number, line.rstrip("\r\n")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a sentence."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} could not be read: {error.strerror}.") from error


def _read_line(file: IO[bytes], path: Path, number: int) -> bytes:
    with _reading(path):
        line = file.readline(MAX_LINE_BYTES + 1)
    if len(line) > MAX_LINE_BYTES:
        raise DataError(f"Line {number:,} of {path} is longer than {MAX_LINE_BYTES:,} bytes; is it the right file?")
    return line


def read_small(path: Path) -> bytes:
    """Return the bytes of a file that belongs to one photo.

    Raises:
        DataError: It cannot be read, or is larger than `MAX_SMALL_BYTES`.
    """
    with open_file(path) as file, _reading(path):
        data = file.read(MAX_SMALL_BYTES + 1)
    if len(data) > MAX_SMALL_BYTES:
        raise DataError(f"{path} is larger than {MAX_SMALL_BYTES:,} bytes.")
    return data


def read_json(path: Path) -> Any:
    """Return a JSON document.

    Raises:
        DataError: It cannot be read, is larger than `MAX_DOCUMENT_BYTES`, or is not JSON.
    """
    with open_file(path) as file:
        size = path.stat().st_size
        if size > MAX_DOCUMENT_BYTES:
            raise DataError(f"{path} has {size:,} bytes; at most {MAX_DOCUMENT_BYTES:,} are read. Divide it.")
        try:
            return json.loads(file.read().decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise DataError(f"{path} is not UTF-8.") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is not JSON ({error}).") from error


def parse_xml(path: Path) -> Element:
    """Return the root of a small XML document; entities and document type declarations are refused.

    Raises:
        DataError: It cannot be read, is too large, is not XML, or declares entities.
    """
    with open_file(path) as file:
        if path.stat().st_size > MAX_XML_BYTES:
            raise DataError(f"{path} has more than {MAX_XML_BYTES:,} bytes.")
        try:
            root: Element = parse(file, forbid_dtd=True).getroot()
            return root
        except (ParseError, DefusedXmlException, ValueError, OSError) as error:
            raise DataError(f"{path} is not an XML document that can be read: {_xml_reason(error)}.") from error


def xml_elements(path: Path, name: str) -> Iterator[Element]:
    """Yield each element of a name from a large XML document, freeing those before it.

    Raises:
        DataError: As `parse_xml`.
    """
    with open_file(path) as file:
        try:
            root: Element | None = None
            for event, element in iterparse(file, events=("start", "end"), forbid_dtd=True):
                if root is None:
                    root = element
                if event == "end" and element.tag == name:
                    yield element
                    root.clear()
        except (ParseError, DefusedXmlException, ValueError, OSError) as error:
            raise DataError(f"{path} is not an XML document that can be read: {_xml_reason(error)}.") from error


def _xml_reason(error: Exception) -> str:
    return "it declares entities or a document type" if isinstance(error, DefusedXmlException) else str(error)


def clean_list(values: Iterable[object], photo: str, report: Report) -> tuple[str, ...]:
    """Return the tags of a photo in their stored spelling, the first of equal ones; bad ones are noted and left out.

    Raises:
        DataError: There are more than `MAX_TAGS`.
    """
    tags: dict[str, str] = {}
    for value in values:
        text = value if isinstance(value, str) else str(value)
        if not text.strip():
            continue
        try:
            tag = clean_tag(text)
        except TagError as error:
            report.note(photo, f"A tag was left out: {error}")
            continue
        tags.setdefault(tag_key(tag), tag)
        if len(tags) > MAX_TAGS:
            raise DataError(f"{photo} has more than {MAX_TAGS:,} tags; is it the right file?")
    return tuple(tags.values())
