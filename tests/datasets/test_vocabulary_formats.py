"""Vocabularies as other programs write them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from annotator.datasets.vocabulary_file import VocabularyTag, read_vocabulary
from annotator.errors import ConfigError, DataError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_names_parents_classes_and_forbidden_tags(tmp_path: Path) -> None:
    text = "tag,alias,parent,class,use\nanimal\nCat,kitty,Animal,beast,allowed\nugly,,,,forbidden\n"
    assert read_vocabulary(write(tmp_path, "v.csv", text)) == [
        VocabularyTag("animal"),
        VocabularyTag("Cat", ("kitty",), ("animal",), "beast"),
        VocabularyTag("ugly", is_forbidden=True),
    ]
    with pytest.raises(DataError, match="line 2: the use is 'banned'"):
        read_vocabulary(write(tmp_path, "w.csv", "tag,use\na,banned\n"))


def test_lightroom_s_list_has_levels_synonyms_and_groups(tmp_path: Path) -> None:
    text = "\ufeff[WHAT]\n\tanimals\n\t\tcat\n\t\t\t{kitty}\n\t\t\t{puss}\n\t\tdog\nplaces\n\tParis\n"
    assert read_vocabulary(write(tmp_path, "keywords.txt", text)) == [
        VocabularyTag("WHAT", is_forbidden=True),
        VocabularyTag("animals", (), ("WHAT",)),
        VocabularyTag("cat", ("kitty", "puss"), ("WHAT", "animals")),
        VocabularyTag("dog", (), ("WHAT", "animals")),
        VocabularyTag("places"),
        VocabularyTag("Paris", (), ("places",)),
    ]


def test_a_booru_s_table_has_categories_and_aliases_and_spaces(tmp_path: Path) -> None:
    text = '1girl,0,4114588,"1girls,sole_female"\nhatsune_miku,4,100000,"miku,1girls"\n^_^,0,3,\nx,99,1,\n'
    assert read_vocabulary(write(tmp_path, "danbooru.csv", text)) == [
        VocabularyTag("1girl", ("1girls", "sole female"), (), "general"),
        VocabularyTag("hatsune miku", ("miku",), (), "character"),  # the first tag keeps an alias of two
        VocabularyTag("^_^", group="general"),
        VocabularyTag("x", group="99"),
    ]


def make_digikam(path: Path, *rows: tuple[int, int, str]) -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE Tags (id INTEGER PRIMARY KEY, pid INTEGER, name TEXT)")
        database.executemany("INSERT INTO Tags VALUES (?, ?, ?)", rows)
        database.commit()
    return path


def test_digikam_s_tags_are_read_without_its_own(tmp_path: Path) -> None:
    rows = [(1, 0, "_Digikam_Internal_Tags_"), (2, 1, "Pick Label None"), (3, 0, "Animals"), (4, 3, "Cat")]
    path = make_digikam(tmp_path / "digikam4.db", *rows)
    before = path.read_bytes()
    assert read_vocabulary(path) == [VocabularyTag("Animals"), VocabularyTag("Cat", (), ("Animals",))]
    assert path.read_bytes() == before
    with pytest.raises(DataError, match="form a circle"):
        read_vocabulary(make_digikam(tmp_path / "circle.db", (1, 2, "a"), (2, 1, "b")))
    (tmp_path / "no.db").write_bytes(b"SQLite format 3\0" + b"x" * 100)
    with pytest.raises(DataError, match="it is not digiKam's database"):
        read_vocabulary(tmp_path / "no.db")


TURTLE = """
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix e: <http://example.org/> .
e:1 a skos:Concept ; skos:prefLabel "Tier"@de, "animal"@en .
e:2 a skos:Concept ; skos:prefLabel "cat"@en ; skos:altLabel "kitty"@en ; skos:broader e:1 .
e:3 a skos:Concept ; skos:prefLabel "old word" ; owl:deprecated true .
e:beasts a skos:Collection ; skos:prefLabel "beast"@en ; skos:member e:2 .
"""
RDF_XML = """<?xml version="1.0"?>{doctype}
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:skos="http://www.w3.org/2004/02/skos/core#">
 <skos:Concept rdf:about="http://example.org/1"><skos:prefLabel xml:lang="en">animal</skos:prefLabel>
  <skos:narrower rdf:resource="http://example.org/2"/></skos:Concept>
 <rdf:Description rdf:about="http://example.org/2"><rdf:type rdf:resource="http://www.w3.org/2004/02/skos/core#Concept"/>
  <skos:prefLabel>cat{entity}</skos:prefLabel></rdf:Description>
</rdf:RDF>"""


def test_skos_gives_labels_levels_classes_and_deprecated_words(tmp_path: Path) -> None:
    assert read_vocabulary(write(tmp_path, "v.ttl", TURTLE)) == [
        VocabularyTag("animal", ("Tier",)),
        VocabularyTag("cat", ("kitty",), ("animal",), "beast"),
        VocabularyTag("old word", is_forbidden=True),
    ]
    assert read_vocabulary(write(tmp_path, "v.rdf", RDF_XML.format(doctype="", entity=""))) == [
        VocabularyTag("animal"),
        VocabularyTag("cat", (), ("animal",)),
    ]


HOSTILE = {
    "entities": ("v.rdf", RDF_XML.format(doctype='<!DOCTYPE a [<!ENTITY x "y">]>', entity="&x;"), "declares entities"),
    "a file of this machine": (
        "v.rdf",
        RDF_XML.format(doctype='<!DOCTYPE a SYSTEM "file:///etc/passwd">', entity=""),
        "declares entities or a document type",
    ),
    "no XML": ("v.rdf", "<a", "it is no RDF that can be read"),
    "no Turtle": ("v.ttl", "@prefix . <", "it is no RDF that can be read"),
    "no concept": ("v.ttl", "", "holds no tag"),
    "a circle": ("v.csv", "tag,parent\na,b\nb,a\n", "the levels above 'a' form a circle|form a circle"),
    "no parent": ("v.txt", "a\n\t\tb\n", "line 2 is indented by 2 tabs"),
    "no keyword": ("v.txt", "{x}\n\ta\n", "line 1: the synonym '{x}' stands below no keyword"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_and_damaged_files_are_one_sentence(case: str, tmp_path: Path) -> None:
    name, text, message = HOSTILE[case]
    with pytest.raises(DataError, match=message) as caught:
        read_vocabulary(write(tmp_path, name, text))
    assert "\n" not in str(caught.value)


def test_the_format_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "tags.dat", "a_tag,0,5,\n")
    assert read_vocabulary(path, "booru") == [VocabularyTag("a tag", group="general")]
    assert read_vocabulary(path, "text") == [VocabularyTag("a_tag,0,5,")]
    with pytest.raises(ConfigError, match="There is no vocabulary format 'xlsx'"):
        read_vocabulary(path, "xlsx")
