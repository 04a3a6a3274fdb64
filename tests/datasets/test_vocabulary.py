from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.datasets.record import Record
from annotator.datasets.tags import clean_tag
from annotator.datasets.vocabulary import ORDERS, Vocabulary, everyday_words
from annotator.errors import ConfigError, DataError, TagError


def _is_clean(text: str) -> bool:
    try:
        return clean_tag(text) == text
    except TagError:
        return False


_TAGS = st.lists(
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter(_is_clean),
    min_size=1,
    max_size=8,
    unique=True,
)


def _records(*tag_lists: tuple[str, ...]) -> list[Record]:
    return [Record(Path(f"/{number}.jpg"), tags) for number, tags in enumerate(tag_lists)]


@given(_TAGS)
def test_decoding_what_was_encoded_gives_the_tags_back(tags: list[str]) -> None:
    vocabulary = Vocabulary(tags)
    assert vocabulary.decode(vocabulary.encode(tags[::-1])) == tags[::-1]
    assert all(vocabulary.index(tag) == index for index, tag in enumerate(tags))


@given(_TAGS, st.data())
def test_json_gives_the_vocabulary_back(tags: list[str], data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 10**9), min_size=len(tags), max_size=len(tags)))
    for vocabulary in (Vocabulary(tags), Vocabulary(tags, counts)):
        again = Vocabulary.from_json(vocabulary.to_json())
        assert again == vocabulary
        assert hash(again) == hash(vocabulary)


@given(_TAGS)
def test_a_matrix_has_a_one_where_a_list_holds_the_tag(tags: list[str]) -> None:
    vocabulary = Vocabulary(tags)
    lists = [tags[:1], [], tags, ["no such tag at all"]]
    matrix = vocabulary.matrix(lists)
    loop = [[1.0 if tag in some else 0.0 for tag in tags] for some in lists]
    assert matrix.tolist() == loop
    assert matrix.dtype == np.float32


def test_tags_are_numbered_by_frequency_or_first_occurrence() -> None:
    records = _records(("sea", "sky"), ("sky", "boat"), ("sky", "sea", "gull"))
    assert Vocabulary.from_records(records).tags == ("sky", "sea", "boat", "gull")
    assert Vocabulary.from_records(records).counts == (3, 2, 1, 1)
    assert Vocabulary.from_records(records, order="given").tags == ("sea", "sky", "boat", "gull")
    assert Vocabulary.from_records(records, order="rare_first").tags == ("boat", "gull", "sea", "sky")
    assert Vocabulary.from_records(records, min_count=2).tags == ("sky", "sea")


def test_two_spellings_of_a_tag_are_one_tag_in_training() -> None:
    records = [Record(Path("a"), tags) for tags in (("Dog", "sky"), ("dog",), ("dog", "STRASSE"), ("straße", "Dog"))]
    vocabulary = Vocabulary.from_records(records)
    assert (vocabulary.tags, vocabulary.counts) == (("Dog", "STRASSE", "sky"), (4, 2, 1))
    assert vocabulary.encode(["dog", "Dog", "straße", "SKY"]) == [0, 1, 2]
    assert "DOG" in vocabulary
    assert vocabulary.index("dog") == 0
    assert vocabulary.order_tags(["straße", "dog"], "frequent_first") == ["dog", "straße"]
    assert vocabulary.matrix([["dog", "Dog"]]).tolist() == [[1, 0, 0]]


def test_a_vocabulary_of_an_older_version_keeps_its_two_spellings() -> None:
    vocabulary = Vocabulary(["dog", "Dog"])
    assert vocabulary.encode(["Dog", "dog", "DOG"]) == [1, 0]


def test_a_photos_tags_can_be_ordered_in_three_ways() -> None:
    vocabulary = Vocabulary(["sky", "sea", "boat", "gull"], [3, 2, 1, 1])
    tags = ["gull", "unknown", "sky", "boat"]
    assert vocabulary.order_tags(tags, "given") == ["gull", "sky", "boat"]
    assert vocabulary.order_tags(tags, "frequent_first") == ["sky", "boat", "gull"]
    assert vocabulary.order_tags(tags, "rare_first") == ["boat", "gull", "sky"]


@given(st.permutations(["sky", "sea", "boat", "gull"]))
def test_orders_by_frequency_do_not_show_the_given_order(tags: list[str]) -> None:
    vocabulary = Vocabulary(["sky", "sea", "boat", "gull"], [3, 2, 1, 1])
    assert vocabulary.order_tags(tags, "rare_first") == ["boat", "gull", "sea", "sky"]


def test_ordering_by_frequency_needs_counts() -> None:
    with pytest.raises(ConfigError, match="no counts"):
        Vocabulary(["sky"]).order_tags(["sky"], "rare_first")


def test_an_unknown_order_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=", ".join(ORDERS)):
        Vocabulary(["sky"]).order_tags(["sky"], "random")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="random"):
        Vocabulary.from_records(_records(("sky",)), order="random")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tags", "counts", "message"),
    [
        ([], [], "at least one tag"),
        (["sky", "sky"], [], "'sky' twice"),
        ([" sky"], [], "write it 'sky'"),
        ([""], [], "bad tag"),
        (["sky"], [1, 2], "1 tags but 2 counts"),
    ],
)
def test_a_bad_vocabulary_is_refused(tags: list[str], counts: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Vocabulary(tags, counts)


def test_a_vocabulary_of_rare_tags_alone_is_refused() -> None:
    with pytest.raises(DataError, match="2 or more records"):
        Vocabulary.from_records(_records(("sky",)), min_count=2)


@pytest.mark.parametrize("index", [-1, 2])
def test_a_number_without_a_tag_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match=f"{index} is not the number"):
        Vocabulary(["sky", "sea"]).decode([index])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object"),
        ('{"tags": "sky"}', "list of strings"),
        ('{"tags": [1]}', "list of strings"),
        ('{"tags": ["sky"], "counts": [1.5]}', "whole numbers"),
        ('{"tags": ["sky"], "counts": [true]}', "whole numbers"),
        ('{"tags": ["sky", "sky"]}', "twice"),
    ],
)
def test_damaged_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Vocabulary.from_json(text)


def test_everyday_words_are_clean_and_unique() -> None:
    words = everyday_words()
    assert len(words) > 500
    assert Vocabulary(words).tags == tuple(words)
