"""Vocabularies as other programs write them: SKOS, Lightroom keyword lists, digiKam's tags, booru tag tables.

Each reader yields entries; datasets/vocabulary_file.py checks and joins them. Knows nothing of projects.
"""

import csv
import io
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

from annotator.errors import DataError

BOORU_CLASSES = {"0": "general", "1": "artist", "3": "copyright", "4": "character", "5": "meta"}
"""Danbooru's numbers of categories; other boorus add numbers, which stay numbers."""
_BOORU_ROW = re.compile(r"[^,]+,\d{1,2},\d+(,.*)?")
_SHORT_BOORU_TAG = 3
"""Tags of so many characters keep their underscores: they are faces such as ^_^ (as kohya's scripts have it)."""
_INTERNAL = "_Digikam"
"""How the tags begin that digiKam keeps for itself (colour labels, picks, people)."""


@dataclass(frozen=True)
class Entry:
    """One entry of a file, as it stands there."""

    tag: str
    place: str
    """Where it stands, for messages: "line 3"."""
    aliases: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    """The tags directly above it."""
    group: str = ""
    """Its class, such as "character"."""
    is_forbidden: bool = False


def is_indented(text: str) -> bool:
    """Tell whether a text is a Lightroom keyword list: lines that are indented by tabs, or synonyms in braces."""
    return any(line.startswith("\t") and line.strip() for line in text.splitlines())


def is_booru_table(text: str) -> bool:
    """Tell whether a CSV text is a booru's: tag, number of a category, number of photos, aliases; without header."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return _BOORU_ROW.fullmatch(first.strip()) is not None


def lightroom(text: str) -> Iterator[Entry]:
    """Yield a Lightroom keyword list: children are indented by one tab more, `{word}` is a synonym of the one above.

    A keyword in square brackets is not exported by Lightroom: it only sorts the others, so it is no tag here either.

    Raises:
        DataError: A line is indented by more than one tab below its parent, or a synonym has no keyword.
    """
    above: list[tuple[str, bool]] = []  # (keyword, whether it is in brackets) of each level
    held: tuple[Entry, list[str]] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        if not word:
            continue
        depth = len(line) - len(line.lstrip("\t"))
        if word.startswith("{") and word.endswith("}"):
            if held is None:
                raise DataError(f"line {number}: the synonym {word[:60]!r} stands below no keyword")
            held[1].append(word[1:-1])
            continue
        if depth > len(above):
            raise DataError(f"line {number} is indented by {depth} tabs, but the line above has {len(above) - 1}")
        if held is not None:
            yield _with_aliases(*held)
        is_group = word.startswith("[") and word.endswith("]")
        name = word[1:-1] if is_group else word
        parents = tuple(parent for parent, _ in above[:depth][-1:])
        del above[depth:]
        above.append((name, is_group))
        held = Entry(name, f"line {number}", parents=parents, is_forbidden=is_group), []
    if held is not None:
        yield _with_aliases(*held)


def _with_aliases(entry: Entry, aliases: list[str]) -> Entry:
    return Entry(entry.tag, entry.place, tuple(aliases), entry.parents, entry.group, entry.is_forbidden)


def booru(text: str) -> Iterator[Entry]:
    """Yield a booru's table: tag, category, number of photos, aliases in one cell; underscores become spaces.

    Raises:
        DataError: A row has no category.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    for cells in reader:
        if not any(cells):
            continue
        if len(cells) < 2 or not cells[1].strip().isdigit():
            raise DataError(f"line {reader.line_num} has no number of a category after the tag")
        category = cells[1].strip()
        aliases = cells[3].split(",") if len(cells) > 3 else []
        yield Entry(
            _spaced(cells[0].strip()),
            f"line {reader.line_num}",
            tuple(_spaced(alias.strip()) for alias in aliases if alias.strip()),
            group=BOORU_CLASSES.get(category, category),
        )


def _spaced(tag: str) -> str:
    return tag.replace("_", " ") if len(tag) > _SHORT_BOORU_TAG else tag


def digikam(path: Path) -> Iterator[Entry]:
    """Yield the tags of digiKam's database (digikam4.db), which is opened to read only.

    Raises:
        DataError: It is not such a database, or the levels of its tags form a circle.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            rows = database.execute("SELECT id, pid, name FROM Tags ORDER BY id").fetchall()
    except sqlite3.Error as error:
        raise DataError(f"it is not digiKam's database ({error})") from error
    known = {int(number): (int(parent or 0), str(name)) for number, parent, name in rows}
    for number, (parent, name) in known.items():
        if not _is_internal(number, known):
            parents = (known[parent][1],) if parent in known else ()
            yield Entry(name, f"tag {number}", parents=parents)


def _is_internal(number: int, known: Mapping[int, tuple[int, str]]) -> bool:
    """Tell whether a tag or one above it is digiKam's own."""
    seen: set[int] = set()
    while number in known:
        if number in seen:
            raise DataError(f"the levels above tag {number} form a circle")
        seen.add(number)
        number, name = known[number]
        if name.startswith(_INTERNAL):
            return True
    return False


def skos(data: bytes, suffix: str, language: str = "en") -> Iterator[Entry]:
    """Yield the concepts of a SKOS vocabulary.

    The preferred label in the given language is the tag (else one without language, else any); all other labels are
    aliases. `broader` and `narrower` give the levels, a collection the class. A deprecated concept is forbidden.

    Args:
        data: RDF/XML, or Turtle where the suffix is .ttl.
        suffix: Of the file's name.
        language: Two letters.

    Raises:
        DataError: It cannot be read, declares entities, or holds no concept.
    """
    from rdflib import Graph
    from rdflib.namespace import OWL, RDF, SKOS

    is_turtle = suffix == ".ttl"
    graph = Graph()
    try:
        if not is_turtle:
            fromstring(data, forbid_dtd=True)  # RDF/XML may declare entities, which rdflib would expand
        graph.parse(data=data, format="turtle" if is_turtle else "xml")
    except DefusedXmlException:
        raise DataError("it declares entities or a document type") from None
    except (ParseError, ValueError, SyntaxError) as error:
        raise DataError(f"it is no RDF that can be read ({str(error).splitlines()[0][:200]})") from error
    except Exception as error:  # rdflib's parsers raise classes of their own without a common base
        if not type(error).__module__.startswith(("rdflib.", "xml.")):
            raise
        raise DataError(f"it is no RDF that can be read ({str(error).splitlines()[0][:200]})") from error
    concepts = sorted(set(graph.subjects(RDF.type, SKOS.Concept)), key=str)
    labels = {one: _labels(graph, one, SKOS, language) for one in concepts}
    groups = {
        member: _labels(graph, collection, SKOS, language)[:1]
        for collection in sorted(set(graph.subjects(RDF.type, SKOS.Collection)), key=str)
        for member in graph.objects(collection, SKOS.member)
    }
    for concept in concepts:
        if not labels[concept]:
            raise DataError(f"the concept {str(concept)[:120]} has no preferred label")
        tag, *others = labels[concept]
        above = {*graph.objects(concept, SKOS.broader), *graph.subjects(SKOS.narrower, concept)}
        parents = sorted(labels[one][0] for one in above if labels.get(one))
        is_gone = any(str(value).lower() in ("true", "1") for value in graph.objects(concept, OWL.deprecated))
        group = "".join(groups.get(concept, ()))
        yield Entry(tag, str(concept)[:120], tuple(others), tuple(parents), group, is_gone)


def _labels(graph: Any, node: Any, skos_names: Any, language: str) -> list[str]:
    """Return the preferred label in a language, then all other labels."""
    preferred = sorted(graph.objects(node, skos_names.prefLabel), key=lambda one: (_rank(one, language), str(one)))
    others = sorted(str(one) for name in (skos_names.altLabel, skos_names.hiddenLabel)
                    for one in graph.objects(node, name))  # fmt: skip
    return list(dict.fromkeys([*map(str, preferred), *others])) if preferred else []


def _rank(label: Any, language: str) -> int:
    spoken = (getattr(label, "language", None) or "").lower()
    return 0 if spoken.split("-")[0] == language else 1 if not spoken else 2
