"""XMP: keywords in every property that programs use, caption and date.

XMP may be damaged or malicious: each problem becomes a sentence in ``notes``, never an exception. Knows nothing of the
files that hold the packets.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree  # type: ignore[import-untyped]
from defusedxml import DefusedXmlException

from annotator.datasets.keywords import (
    LEVELS,
    KeywordPath,
    hierarchical_keywords,
    path_of,
    plain_keywords,
    split_list,
)
from annotator.datasets.text_encodings import decode_text

_DC = "{http://purl.org/dc/elements/1.1}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_XML_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_ACDSEE = "{http://ns.acdsee.com/iptc/1.0}"
_MICROSOFT = "{http://ns.microsoft.com/photo/1.0}"
_MWG = "{http://www.metadataworkinggroup.com/schemas/keywords}"
_PLAIN = frozenset({f"{_DC}subject", f"{_ACDSEE}keywords", "{http://prismstandard.org/namespaces/basic/2.0}keyword"})
_LISTS = frozenset({"{http://ns.adobe.com/pdf/1.3}Keywords", "{http://ns.adobe.com/xap/1.0}Keywords"})
_HIERARCHICAL = {
    "{http://ns.adobe.com/lightroom/1.0}hierarchicalSubject": "|",
    "{http://www.digikam.org/ns/1.0}TagsList": "/",
    f"{_MICROSOFT}LastKeywordXMP": "/",
    f"{_MICROSOFT}LastKeywordIPTC": "/",
    "{http://ns.iview-multimedia.com/mediapro/1.0}CatalogSets": "|",
    "{http://ns.microsoft.com/expressionmedia/1.0}CatalogSets": "|",
}  # property -> what stands between the levels
_CATEGORIES = f"{_ACDSEE}categories"  # XML inside of a text
_DATES = (
    "{http://ns.adobe.com/exif/1.0}DateTimeOriginal",
    "{http://ns.adobe.com/photoshop/1.0}DateCreated",
    "{http://ns.adobe.com/xap/1.0}CreateDate",
)
_MAX_LEVELS = 50
_DECLARATION = re.compile(r"\s*<\?xml\b[^>]*\?>")
_FORBIDDEN = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#(?:0*(?:[0-8]|1[124-9]|2[0-9]|3[01])|x0*(?:[0-8bce-f]|1[0-9a-f]));", re.I
)  # characters that XML does not allow, and references to them
_PADDING = "\0 \t\r\n"
_BARE_AMPERSAND = re.compile(r"&(?!(?:#\d+|#x[0-9a-f]+|\w+);)", re.IGNORECASE)
_ENDS = ("</x:xmpmeta>", "</x:xapmeta>", "</rdf:RDF>")


@dataclass(frozen=True)
class XmpFields:
    """The XMP fields of a photo."""

    keywords: tuple[KeywordPath, ...] = ()
    """Levels of each keyword, of all properties, in the file's order."""
    caption: str | None = None
    taken_at: str | None = None
    """As stored: an ISO 8601 date that may lack parts."""
    notes: tuple[str, ...] = ()

    def completed_by(self, other: "XmpFields") -> "XmpFields":
        """Return the keywords and notes of both, and the caption and date of the other packet where none is here."""
        return XmpFields(
            keywords=(*self.keywords, *other.keywords),
            caption=self.caption or other.caption,
            taken_at=self.taken_at or other.taken_at,
            notes=(*self.notes, *other.notes),
        )


def parse_xmp(data: bytes, what: str) -> XmpFields:
    """Read keywords, dc:description and the date from XMP.

    Args:
        data: The packet, or a whole sidecar file.
        what: Its name in notes, such as "The embedded XMP".
    """
    try:
        # In UTF-16, zero bytes are parts of characters.
        if not data.startswith((b"\xff\xfe", b"\xfe\xff")) and not {b"<\0", b"\0<"} & {data[:2], data[2:4]}:
            data = data.strip(_PADDING.encode())
        root = _parsed(data)
    except DefusedXmlException:
        return XmpFields(notes=(f"{what} declares a DTD or entities, which is not allowed in XMP.",))
    except (ParseError, ValueError, LookupError):  # ValueError, LookupError: a wrong or unknown encoding
        return XmpFields(notes=(f"{what} is not valid XML.",))
    keywords: list[KeywordPath] = []
    captions: list[Element] = []
    dates: dict[str, str] = {}
    for element in root.iter():
        name = _name(element.tag)
        if name == f"{_DC}description":
            captions += list(element.iter(f"{_RDF}li")) or [element]
        elif name in _DATES and element.text:
            dates.setdefault(name, element.text)
        elif name == f"{_MWG}Hierarchy":
            keywords += _mwg_paths(element, (), 0)
        else:
            keywords += _keywords_of(name, element)
        for attribute, value in element.attrib.items():
            name = _name(attribute)
            if name in _DATES:
                dates.setdefault(name, value)
            else:
                keywords += _paths(name, [value])
    # The default language first; the sort is stable and keeps the file's order otherwise.
    captions.sort(key=lambda element: element.get(_XML_LANGUAGE) != "x-default")
    return XmpFields(
        keywords=tuple(keywords),
        caption=next((c.text for c in captions if c.text and c.text.strip()), None),
        taken_at=next((dates[name] for name in _DATES if name in dates), None),
    )


def _parsed(data: bytes) -> Element:
    """Parse a packet; a damaged one without what XML does not allow.

    That is forbidden characters, a sign & that begins no reference, an encoding that is not the declared one, and what
    follows the end.
    """
    try:
        return cast(Element, defusedxml.ElementTree.fromstring(data, forbid_dtd=True))
    except ParseError:
        text = _FORBIDDEN.sub("", _DECLARATION.sub("", decode_text(data), count=1))
        end = next((text.rindex(end) + len(end) for end in _ENDS if end in text), len(text))
        text = _BARE_AMPERSAND.sub("&amp;", text[:end])
        return cast(Element, defusedxml.ElementTree.fromstring(text, forbid_dtd=True))


def _name(tag: object) -> str:
    """Return a name without the slash at the end of its namespace, which some programs leave out."""
    return tag.replace("/}", "}", 1) if isinstance(tag, str) else ""


def _keywords_of(name: str, element: Element) -> list[KeywordPath]:
    if name not in _PLAIN | _LISTS and name not in _HIERARCHICAL and name != _CATEGORIES:
        return []
    return _paths(name, list(_values(element)))


def _paths(name: str, values: list[str]) -> list[KeywordPath]:
    """Return the keywords in the values of a property; none if it is no property of keywords."""
    if name in _PLAIN:
        return plain_keywords(values)
    if name in _LISTS:
        return [path_of(part, LEVELS) for value in values for part in split_list(value)]
    if name in _HIERARCHICAL:
        return hierarchical_keywords(values, _HIERARCHICAL[name])
    if name == _CATEGORIES:
        return [path for value in values for path in _assigned_categories(value)]
    return []


def _values(element: Element) -> Iterator[str]:
    """Yield the texts of a property: items of a container, or its own; each may be the rdf:value of a structure."""
    for item in list(element.iter(f"{_RDF}li")) or [element]:
        if item.text and item.text.strip(_PADDING):
            yield item.text
            continue
        inner = [part.text or "" for part in item.iter(f"{_RDF}value")]
        inner += [part.attrib[f"{_RDF}value"] for part in item.iter() if f"{_RDF}value" in part.attrib]
        yield from inner[:1]


def _assigned_categories(text: str) -> Iterator[KeywordPath]:
    """Yield ACDSee's categories: nested elements, of which the assigned ones count."""
    try:
        root = defusedxml.ElementTree.fromstring(text.strip(_PADDING), forbid_dtd=True)
    except (DefusedXmlException, ParseError, ValueError, LookupError):
        return
    pending: list[tuple[Element, KeywordPath]] = [(root, ())]
    while pending:
        element, above = pending.pop()
        own = (element.text or "").strip(_PADDING) if element.tag == "Category" else ""
        path = (*above, own) if own else above
        if own and element.get("Assigned", "1") == "1":
            yield path
        if len(path) < _MAX_LEVELS:
            pending.extend((child, path) for child in reversed(element))


def _mwg_paths(element: Element, above: KeywordPath, depth: int) -> list[KeywordPath]:
    """Return the keywords of the Metadata Working Group's hierarchy: structures with a keyword and its children."""
    found: list[KeywordPath] = []
    for child in element if depth < 3 * _MAX_LEVELS else ():
        own = _mwg_keyword(child)
        path = (*above, own) if own else above
        below = _mwg_paths(child, path, depth + 1)
        found += below or ([path] if own else [])
    return found


def _mwg_keyword(element: Element) -> str:
    names = {_name(name): value for name, value in element.attrib.items()}
    texts = [names.get(f"{_MWG}Keyword", ""), *(c.text or "" for c in element if _name(c.tag) == f"{_MWG}Keyword")]
    return next((text.strip(_PADDING) for text in texts if text.strip(_PADDING)), "")
