import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.datasets.tags import MAX_TAG_LENGTH, clean_tag, search_key, tag_key
from annotator.errors import TagError

_TYPED = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60)


@settings(deadline=None)
@given(_TYPED)
def test_cleaning_a_clean_tag_changes_nothing(text: str) -> None:
    try:
        tag = clean_tag(text)
    except TagError:
        return
    assert clean_tag(tag) == tag


@settings(deadline=None)
@given(_TYPED)
def test_cleaning_keeps_the_key(text: str) -> None:
    try:
        tag = clean_tag(text)
    except TagError:
        return
    assert tag_key(clean_tag(f"  {tag} ")) == tag_key(tag)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Dog", "dog"), ("Straße", "STRASSE"), ("cafe\u0301", "caf\u00e9"), ("hot  dog", "hot dog"), ("\uff21", "a")],
)
def test_spellings_of_one_tag_share_a_key(one: str, other: str) -> None:
    assert tag_key(clean_tag(one)) == tag_key(clean_tag(other))


def test_cleaning_folds_white_space_composes_accents_and_keeps_case() -> None:
    assert clean_tag(" Cafe\u0301 \t de\u00a0Flore\n") == "Caf\u00e9 de Flore"


FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("dog\u200b", "dog"),
        ("\ufeffdog", "dog"),
        ("zwan\u00adzig", "zwanzig"),
        ("do\u200dg\u200d", "dog"),
        ("\u200fdog\u202c", "dog"),
        ("cat\ufe0f", "cat"),
        ("x\U000e0041y", "xy"),
        ("\u2764\ufe0f", "\u2764\ufe0f"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",) * 2,
        (FAMILY, FAMILY),
        (ENGLAND, ENGLAND),
    ],
)
def test_invisible_characters_are_left_out_unless_they_change_what_is_seen(typed: str, stored: str) -> None:
    assert clean_tag(typed) == stored


@pytest.mark.parametrize("text", ["\u200b", "\ufe0f", "\u3164 \u3164", "\u200d\u200d", "\u2800"])
def test_a_tag_that_nobody_can_see_is_empty(text: str) -> None:
    with pytest.raises(TagError, match="cannot be empty"):
        clean_tag(text)


@pytest.mark.parametrize(
    ("one", "other"), [("dog\u200b", "dog"), ("\u2764\ufe0f", "\u2764"), ("\u24b6", "\u24d0"), ("\u338f", "kg")]
)
def test_what_looks_the_same_is_one_tag(one: str, other: str) -> None:
    assert tag_key(one) == tag_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("\u2460", "1"), ("\u24b6", "a"), ("\u3299", "\u79d8"), (ENGLAND, SCOTLAND)]
)
def test_signs_of_their_own_are_tags_of_their_own(one: str, other: str) -> None:
    assert tag_key(one) != tag_key(other)


@given(st.text())
def test_a_tag_is_found_by_itself(text: str) -> None:
    assert search_key(search_key(text)) == search_key(text)


def test_joined_emoji_survive_cleaning() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert clean_tag(family) == family


@pytest.mark.parametrize("text", ["", " \t\n", "a\0b", "a\x1b[31m", "\ud800", "x" * (MAX_TAG_LENGTH + 1)])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(TagError):
        clean_tag(text)


def test_the_longest_tag_is_kept() -> None:
    assert clean_tag("x" * MAX_TAG_LENGTH) == "x" * MAX_TAG_LENGTH


@given(st.text())
def test_the_key_of_a_key_is_itself(text: str) -> None:
    assert tag_key(tag_key(text)) == tag_key(text)


def test_quotation_marks_and_hyphens_of_the_keyboard_find_those_of_programs() -> None:
    assert search_key("don\u2019t") == search_key("don't")
    assert search_key("\u201cx\u201d") == search_key('"x"')
    assert search_key("e\u2011mail") == search_key("e-mail")
