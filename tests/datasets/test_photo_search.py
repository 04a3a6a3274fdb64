import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.datasets.photo_search import Term, parse_search


def words(text: str) -> list[str]:
    return [term.key for clause in parse_search(text) for term in clause]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('dog  "Red  Car" dog', ["dog", "red car"]),
        ("Stra\u00dfe \u039f\u0394\u039f\u03a3", ["strasse", "\u03bf\u03b4\u03bf\u03c3"]),
        ("\u0160\u00e1rka \u0141\u00f3d\u017a", ["sarka", "lodz"]),
        ("\u304c", ["\u304c"]),
        ("\u0915\u093f", ["\u0915\u093f"]),
        (' "" ', []),
        ('"open', ["open"]),
        ("t-shirt 12:30 http://x", ["t-shirt", "12:30", "http://x"]),
    ],
)
def test_a_search_is_taken_apart_into_words_without_case_and_accents(text: str, keys: list[str]) -> None:
    assert words(text) == keys


def test_fields_not_and_or_are_understood() -> None:
    assert parse_search('cat AND -tag:"red car" NOT first:dog') == [
        (Term("cat"),), (Term("red car", "tag", is_excluded=True),), (Term("dog", "first", is_excluded=True),)
    ]  # fmt: skip
    assert parse_search("folder:a/b date:2019-05 by:anna") == [
        (Term("a/b", "folder"),), (Term("2019-05", "date"),), (Term("anna", "by"),)
    ]  # fmt: skip
    assert parse_search("cat OR dog OR -tag:cow beach") == [
        (Term("cat"), Term("dog"), Term("cow", "tag", is_excluded=True)), (Term("beach"),)
    ]  # fmt: skip
    assert parse_search("not or and") == [(Term("not"),), (Term("or"),), (Term("and"),)]
    assert parse_search("OR cat OR") == [(Term("cat"),)]
    assert parse_search("NOT -cat") == [(Term("cat"),)]


@given(st.text())
def test_any_text_is_a_search(text: str) -> None:
    for clause in parse_search(text):
        assert clause
        assert all(term.key for term in clause)
