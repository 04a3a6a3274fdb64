import pytest

from annotator.datasets.vocabulary import everyday_words
from annotator.datasets.word_forms import form_key, is_latin, singular, split_words, without_accents
from annotator.models.detectors.coco_classes import COCO_CLASSES


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


# Words whose plural does not follow the rules of `plural`.
IRREGULAR = {
    "person": "persons", "sheep": "sheep", "skis": "skis", "scissors": "scissors", "knife": "knives", "mouse": "mice",
    "loaf": "loaves", "leaf": "leaves", "bay leaf": "bay leaves", "hoof": "hooves", "calf": "calves", "quiz": "quizzes",
    "bookshelf": "bookshelves", "potato": "potatoes", "tomato": "tomatoes", "mango": "mangoes", "hero": "heroes",
}  # fmt: skip
VOC = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant "
    "sheep sofa train tvmonitor"
)
THINGS = (
    "cookie brownie quiche potato tomato leaf loaf knife dish cherry peach radish olive pie berry smoothie veggie "
    "sandwich box lunch pancake waffle cheese sauce spice slice orange grape noodle brioche avalanche mousse "
    "taco burrito panini zucchini chili kiwi ravioli avocado mango artichoke clove chive endive octopus gas lens "
    "canvas menu movie hoodie selfie house horse vase rose nose blouse virus cactus campus walrus rhinoceros dress "
    "class boss hoof calf bookshelf quiz waltz headache moustache shoe horseshoe canoe toe hero glove wave stove cave "
    "beach church watch fox tax prize size cruise tortoise phrase base purse nurse licence license sense expense fuse "
    "muse zombie puppy city monkey toy"
)


def plural(word: str) -> str:
    """Return the plural by the regular rules."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


@pytest.mark.parametrize("word", dict.fromkeys([*COCO_CLASSES, *VOC.split(), *THINGS.split(), "bay leaf"]))
def test_a_plural_has_the_key_of_its_singular(word: str) -> None:
    assert form_key(plural(word)) == form_key(word)
    assert form_key(word) == form_key(word.replace(" ", "_").title())


@pytest.mark.parametrize(
    "word",
    ["bus", "glass", "grass", "lens", "gas", "asparagus", "hummus", "couscous", "tennis", "species", "series", "news",
     "jeans", "scissors", "molasses", "swiss", "cactus", "citrus", "octopus", "iris", "christmas", "canvas", "bass",
     "chess", "dress", "goulash", "radius", "virus", "glasses", "falls", "mars", "chaos", "house", "olive"],
)  # fmt: skip
def test_words_that_only_look_like_plurals_stay_themselves(word: str) -> None:
    assert form_key(word) == singular(word) == word


def test_a_labels_other_name_is_known_in_the_plural_too() -> None:
    assert form_key("aeroplanes") == form_key("airplanes") == "airplane"
    assert form_key("tvmonitors") == form_key("Television Monitors") == "televisionmonitor"
    assert form_key("diningtables") == form_key("dining tables")
    assert form_key("wine glasses") == form_key("wine glass")


def test_no_two_everyday_words_of_different_meaning_share_a_key() -> None:
    keys: dict[str, list[str]] = {}
    for word in everyday_words():
        keys.setdefault(form_key(word), []).append(word)
    shared = [words for words in keys.values() if len(words) > 1]
    assert all(plural(words[0]) == words[1] or plural(words[1]) == words[0] for words in shared), shared


@pytest.mark.parametrize(("first", "second"), [("glass", "glasses"), ("car", "cart"), ("wood", "woods"), ("犬", "猫")])
def test_other_tags_keep_other_keys(first: str, second: str) -> None:
    assert form_key(first) != form_key(second)


@pytest.mark.parametrize("tag", ["---", "_", "犬", "собака", "🐕", "1"])
def test_every_tag_has_a_key(tag: str) -> None:
    assert form_key(tag)


def test_scripts_are_recognised_by_their_letters() -> None:
    assert all(map(is_latin, ["dog", "café", "naïve 3", "Ångström", "50%", "🐕"]))
    assert not any(map(is_latin, ["犬", "собака", "dog 犬", "σκύλος"]))


def test_accents_go_and_other_letters_stay() -> None:
    assert without_accents("café Ångström") == "cafe Angstrom"
    assert without_accents("собака") == "собака"


def test_words_are_cut_at_every_separator() -> None:
    assert split_words("Traffic_light-red  one") == ["traffic", "light", "red", "one"]
    assert split_words("tvmonitor") == ["television", "monitor"]
