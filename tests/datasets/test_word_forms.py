import pytest

from annotator.datasets.word_forms import form_key, is_latin, singular, split_words, without_accents


@pytest.mark.parametrize(
    ("plural", "expected"),
    [
        ("cars", "car"), ("boxes", "box"), ("ponies", "pony"), ("pies", "pie"), ("ties", "tie"), ("men", "man"),
        ("children", "child"), ("leaves", "leaf"), ("benches", "bench"), ("tomatoes", "tomato"), ("shoes", "shoe"),
        ("horses", "horse"), ("glasses", "glasses"), ("glass", "glass"), ("bus", "bus"), ("cactus", "cactus"),
        ("tennis", "tennis"), ("jeans", "jeans"), ("sea", "sea"), ("is", "is"), ("gas", "gas"), ("houses", "house"),
    ],
)  # fmt: skip
def test_singulars(plural: str, expected: str) -> None:
    assert singular(plural) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("car", "Cars"), ("traffic light", "trafficlight"), ("Traffic Lights", "traffic-light"),
        ("pottedplant", "potted plants"), ("sky scraper", "skyscraper"), ("hot_dog", "hotdogs"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)  # fmt: skip
def test_forms_of_one_tag_share_a_key(first: str, second: str) -> None:
    assert form_key(first) == form_key(second)


@pytest.mark.parametrize(("first", "second"), [("glass", "glasses"), ("car", "cart"), ("wood", "woods"), ("犬", "猫")])
def test_other_tags_keep_other_keys(first: str, second: str) -> None:
    assert form_key(first) != form_key(second)


@pytest.mark.parametrize("tag", ["---", "_", "犬", "собака", "🐕", "1"])
def test_every_tag_has_a_key(tag: str) -> None:
    assert form_key(tag)


def test_scripts_are_told_by_their_letters() -> None:
    assert all(map(is_latin, ["dog", "café", "naïve 3", "Ångström", "50%", "🐕"]))
    assert not any(map(is_latin, ["犬", "собака", "dog 犬", "σκύλος"]))


def test_accents_go_and_other_letters_stay() -> None:
    assert without_accents("café Ångström") == "cafe Angstrom"
    assert without_accents("собака") == "собака"


def test_words_are_cut_at_every_separator() -> None:
    assert split_words("Traffic_light-red  one") == ["traffic", "light", "red", "one"]
    assert split_words("tvmonitor") == ["television", "monitor"]
