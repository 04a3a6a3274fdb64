"""Reads lists of words from XMP, and replaces them without touching any other byte of the document.

A parser tells where the elements lie; the document itself is never written anew, so that comments, prefixes, order and
white space of everything unknown stay as they are. Knows nothing of photos or of the meaning of properties.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

from annotator.errors import DataError

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML = "http://www.w3.org/XML/1998/namespace"
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f' <rdf:RDF xmlns:rdf="{RDF}">\n  <rdf:Description rdf:about="">\n  </rdf:Description>\n </rdf:RDF>\n'
    '</x:xmpmeta>\n<?xpacket end="w"?>\n'
)
EMPTY_PACKET = _EMPTY.encode()
"""A sidecar without any property."""
_SEPARATOR = "\x1f"
_MAX_DEPTH = 100


@dataclass(frozen=True)
class Property:
    """A property that holds a list of texts."""

    uri: str
    name: str
    prefix: str
    """Where the document gives the namespace no other one."""
    container: str
    """Bag (no order), Seq (ordered) or Alt (languages): readers insist on the right one."""


@dataclass
class _Description:
    """An rdf:Description: byte offsets of its parts."""

    start: int
    start_end: int
    """After the `>` of its start tag."""
    qualified_name: str
    is_closed: bool
    """Whether the start tag is the whole element."""
    prefixes: dict[str, str]
    """Namespace -> prefix in scope."""
    end: int = 0
    """At the `<` of its end tag."""


@dataclass
class _Found:
    """What a document holds."""

    items: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    """Byte ranges of the elements and attributes of the managed properties."""
    descriptions: list[_Description] = field(default_factory=list)


def read_lists(data: bytes, properties: Sequence[Property], place: str) -> dict[Property, list[str]]:
    """Return the texts of each property that the document has, in its order.

    Args:
        data: The document.
        properties: Which to look for.
        place: Its file, for messages.

    Raises:
        DataError: It is not XMP in UTF-8, or declares a document type or entities.
    """
    found = _parse(data, properties, place)
    return {one: found.items[one.uri, one.name] for one in properties if (one.uri, one.name) in found.items}


def replace_lists(data: bytes, lists: Mapping[Property, Sequence[str]], place: str) -> bytes:
    """Return the document with other lists; every other byte is kept, and a second call changes nothing.

    Args:
        data: The document.
        lists: Each property's texts; without texts the property is removed.
        place: Its file, for messages.

    Raises:
        DataError: As `read_lists`, or it has no rdf:Description to hold a property.
    """
    found = _parse(data, list(lists), place)
    if not found.descriptions:
        raise DataError(f"{place} holds no rdf:Description, so it is not an XMP sidecar.")
    holder = found.descriptions[0]
    block = b"".join(_element(one, texts, holder.prefixes) for one, texts in lists.items() if texts)
    ranges = sorted(found.ranges)
    if holder.is_closed:
        inside = f"\n  </{holder.qualified_name}>".encode()
        slash = data.rindex(b"/", holder.start, holder.start_end)
        insertion = (slash, holder.start_end, b">" + block + inside)
    else:
        within = [start for start, _ in ranges if holder.start_end <= start < holder.end]
        at = within[0] if within else _before_indent(data, holder.end)
        insertion = (at, at, block)
    edits = sorted([*((start, end, b"") for start, end in ranges), insertion], key=lambda edit: (edit[0], edit[1]))
    parts, position = [], 0
    for start, end, text in edits:
        parts += [data[position:start], text]
        position = max(position, end)
    return b"".join([*parts, data[position:]])


def _element(one: Property, texts: Sequence[str], prefixes: Mapping[str, str]) -> bytes:
    known = prefixes.get(one.uri)
    name = f"{known or one.prefix}:{one.name}"
    declared = "" if known else f' xmlns:{one.prefix}="{one.uri}"'
    rdf = prefixes[RDF]
    language = ' xml:lang="x-default"' if one.container == "Alt" else ""
    items = "".join(f"\n     <{rdf}:li{language}>{escape(text)}</{rdf}:li>" for text in texts)
    container = f"{rdf}:{one.container}"
    return f"\n   <{name}{declared}>\n    <{container}>{items}\n    </{container}>\n   </{name}>".encode()


def _parse(data: bytes, properties: Sequence[Property], place: str) -> _Found:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{place} is not UTF-8. Save it as UTF-8; nothing was changed.")
    walk = _Walk(data, {(one.uri, one.name) for one in properties})
    parser = expat.ParserCreate("UTF-8", _SEPARATOR)
    parser.namespace_prefixes = True
    parser.buffer_text = True
    walk.follow(parser)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise DataError(f"{place} is not XMP that can be read: {error}.") from error
    except _RefusedError as error:
        raise DataError(f"{place} {error}.") from error
    return walk.found


class _RefusedError(Exception):
    """The document may not be read; the text says why."""


class _Walk:
    """Follows the parser through a document and notes where the managed properties lie."""

    def __init__(self, data: bytes, wanted: set[tuple[str, str]]) -> None:
        self.found = _Found()
        self._data = data
        self._wanted = wanted
        self._stack: list[tuple[str, str]] = []
        self._scopes: list[tuple[str, str]] = []  # (prefix, namespace), innermost last
        self._property: tuple[str, str] | None = None
        self._property_start = 0
        self._property_depth = 0
        self._is_empty_tag = False
        self._text: list[str] = []

    def follow(self, parser: Any) -> None:
        """Set the parser's handlers."""
        self._parser = parser
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartNamespaceDeclHandler = lambda prefix, uri: self._scopes.append((prefix or "", uri))
        parser.EndNamespaceDeclHandler = self._end_scope
        parser.StartDoctypeDeclHandler = self._refuse

    @staticmethod
    def _refuse(*_: Any) -> None:
        raise _RefusedError("declares a document type, which XMP never does")

    def _end_scope(self, prefix: str | None) -> None:
        for at in range(len(self._scopes) - 1, -1, -1):
            if self._scopes[at][0] == (prefix or ""):
                del self._scopes[at]
                return

    def _prefixes(self) -> dict[str, str]:
        current = dict(self._scopes)  # the innermost declaration of a prefix counts
        return {uri: prefix for prefix, uri in current.items() if prefix}

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        start = self._parser.CurrentByteIndex
        key = _key(name)
        parent = self._stack[-1] if self._stack else None
        self._stack.append(key)
        if len(self._stack) > _MAX_DEPTH:
            raise _RefusedError(f"nests more than {_MAX_DEPTH} levels of elements")
        self._text.clear()
        if key == (RDF, "Description") and parent == (RDF, "RDF"):
            end = _tag_end(self._data, start)
            is_closed = self._data[end - 2 : end - 1] == b"/"
            qualified = re.match(rb"<([^\s/>]+)", self._data[start:end])
            assert qualified is not None  # the parser has read it
            self.found.descriptions.append(_Description(start, end, qualified[1].decode(), is_closed, self._prefixes()))
            self._note_attributes(start, end, attributes)
        elif parent == (RDF, "Description") and self._property is None and key in self._wanted and self._is_top():
            self._property, self._property_start = key, start
            self._property_depth = len(self._stack)
            self.found.items.setdefault(key, [])

    def _is_top(self) -> bool:
        return len(self._stack) >= 3 and self._stack[-3] == (RDF, "RDF")

    def _end(self, name: str) -> None:
        key = self._stack.pop()
        if self._property is not None:
            if key == (RDF, "li"):
                self._add("".join(self._text))
            if len(self._stack) + 1 == self._property_depth:
                if not self.found.items[self._property]:
                    self._add("".join(self._text))  # a plain text instead of a container
                end = _tag_end(self._data, self._parser.CurrentByteIndex)
                self.found.ranges.append((_before_indent(self._data, self._property_start), end))
                self._property = None
        elif key == (RDF, "Description") and self._stack and self._stack[-1] == (RDF, "RDF"):
            self.found.descriptions[-1].end = self._parser.CurrentByteIndex
        self._text.clear()

    def _add(self, text: str) -> None:
        if text.strip():
            assert self._property is not None  # only called within one
            self.found.items[self._property].append(text.strip())

    def _note_attributes(self, start: int, end: int, attributes: dict[str, str]) -> None:
        """Note properties that are written as attributes of an rdf:Description."""
        for name, value in attributes.items():
            key = _key(name)
            if key in self._wanted:
                self.found.items.setdefault(key, []).extend([value.strip()] if value.strip() else [])
                prefix = name.split(_SEPARATOR)[2]
                pattern = rf"\s+{re.escape(prefix)}:{re.escape(key[1])}\s*=\s*(\"[^\"]*\"|'[^']*')".encode()
                match = re.compile(pattern).search(self._data, start, end)
                assert match is not None  # the parser has read it
                self.found.ranges.append(match.span())


def _key(name: str) -> tuple[str, str]:
    parts = name.split(_SEPARATOR)
    return (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])


def _tag_end(data: bytes, start: int) -> int:
    """Return the offset after the `>` of the tag that begins at an offset."""
    quote = 0
    for at in range(start, len(data)):
        byte = data[at]
        if quote:
            quote = 0 if byte == quote else quote
        elif byte in b"\"'":
            quote = byte
        elif byte == 0x3E:  # >
            return at + 1
    raise _RefusedError("ends within a tag")


def _before_indent(data: bytes, start: int) -> int:
    """Return the offset of the white space before an element."""
    while start and data[start - 1] in b" \t\r\n":
        start -= 1
    return start
