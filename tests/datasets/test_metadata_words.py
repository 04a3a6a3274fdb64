import pytest

from annotator.datasets.metadata_words import caption_words, metadata_words, stop_words, tag_words
from annotator.datasets.record import Record
from annotator.errors import ConfigError


def test_a_captions_words_are_lower_case_without_stop_words_each_once() -> None:
    caption = "A Dog standing next to THE train, in the open; the dog's leash."
    assert caption_words(caption) == ("dog", "standing", "train", "open", "dog's", "leash")


def test_other_scripts_are_kept_and_forms_of_unicode_are_one() -> None:
    assert caption_words("Ein Café an der Straße; кот и пёс 犬") == (
        "ein", "café", "der", "strasse", "кот", "и", "пёс", "犬"
    )  # fmt: skip
    assert caption_words("cafe\u0301") == caption_words("Caf\u00e9")


def test_numbers_and_single_letters_are_no_words() -> None:
    assert caption_words("2 b 3d x-ray") == ("x-ray",)
    assert caption_words(None) == caption_words("") == caption_words("... !") == ()


def test_tags_of_several_words_stay_whole() -> None:
    assert tag_words(["Top View", "top  view", "Paris", "日本"]) == ("top view", "paris", "日本")


def test_the_field_decides_where_words_come_from() -> None:
    record = Record("a.jpg", ("cat",), ("Cat", "Sofa"), "A cat sleeps.")  # type: ignore[arg-type]
    assert metadata_words([record], "user_tags") == [("cat", "sofa")]
    assert metadata_words([record], "caption") == [("cat", "sleeps")]
    with pytest.raises(ConfigError, match="user_tags, caption"):
        metadata_words([record], "tags")


def test_stop_words_are_function_words() -> None:
    assert {"the", "of", "with"} <= stop_words()
    assert not {"dog", "man", "two", "white"} & stop_words()
