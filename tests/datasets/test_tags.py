import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.datasets.tags import MAX_TAG_LENGTH, clean_tag, tag_key
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
