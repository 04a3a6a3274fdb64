import pytest

from annotator.auth.user_names import check_name, skeleton
from annotator.errors import AccountError

ALLOWED = [
    "anna", "Anna-2", "j.doe+tags@example.org", "\u0430\u043d\u0434\u0440\u0435\u0439", "\u674e\u5a1c",
    "\u5c71\u7530\u306f\u306a", "ma\u00f1ana", "m\u00fcller",
]  # fmt: skip


@pytest.mark.parametrize("name", ALLOWED)
def test_names_of_one_script_may_be_taken(name: str) -> None:
    check_name(name, ["ben", "cleo"])


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Anna", "anna"),
        ("\u0441\u043e\u0441\u043e", "coco"),  # Cyrillic
        ("\u03c1\u03b1\u03c4", "pat"),  # Greek
        ("b0b", "bob"),
        ("a1", "al"),
        ("marny", "mamy"),
        ("jos\u00e9", "jose"),
        ("an\u0323na", "anna"),
    ],
)
def test_a_name_that_looks_like_another_is_refused(name: str, known: str) -> None:
    with pytest.raises(AccountError, match=r"looks like|already a user|in a form that|cannot be a user name"):
        check_name(name, [known])
    assert skeleton(name) == skeleton(known)


@pytest.mark.parametrize("name", ["\u0430nna", "ann\u03b1", "\u0432en\u0435"])
def test_a_name_of_several_scripts_is_refused(name: str) -> None:
    with pytest.raises(AccountError, match="mixes letters of several scripts"):
        check_name(name, [])


@pytest.mark.parametrize("name", ["\uff41nna", "\u2160van", "a\ufb01x"])
def test_letters_in_another_form_are_refused(name: str) -> None:
    with pytest.raises(AccountError, match="cannot be a user name"):
        check_name(name, [])


@pytest.mark.parametrize("name", ["", "local", "_anna", ".x", "a b", "a\x1b[2J", "x" * 65, "a\u202eb"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(AccountError, match="cannot be a user name"):
        check_name(name, [])
