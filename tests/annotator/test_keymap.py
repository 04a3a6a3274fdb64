from typing import Any

import pytest

from annotator.errors import ConfigError
from annotator.keymap import DEFAULT_KEYS, check_keys


def test_the_default_keys_are_allowed_and_complete() -> None:
    assert check_keys(DEFAULT_KEYS) == DEFAULT_KEYS
    assert check_keys({}) == DEFAULT_KEYS


def test_a_remapped_action_leaves_the_others_at_their_defaults() -> None:
    keys = check_keys({"help": ["F1", "Ctrl+H"]})
    assert keys == {**DEFAULT_KEYS, "help": ("F1", "Ctrl+H")}


def test_a_key_that_another_action_has_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"Ctrl\+B is taken by 'browse'; it cannot also be 'help'"):
        check_keys({"help": ["Ctrl+B"]})


def test_two_actions_may_exchange_their_keys() -> None:
    keys = check_keys({"up": ["ArrowDown"], "down": ["ArrowUp"]})
    assert (keys["up"], keys["down"]) == (("ArrowDown",), ("ArrowUp",))


@pytest.mark.parametrize("key", ["a", "A", "7", "Shift+A", "Shift+7", "é", "ж"])
def test_bare_letters_and_digits_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="letters are typed into the add box"):
        check_keys({"help": [key]})


@pytest.mark.parametrize("key", ["Escape", "Tab", "Shift+Tab", "Backspace", "/"])
def test_reserved_keys_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="is reserved"):
        check_keys({"help": [key]})


@pytest.mark.parametrize(
    "key",
    ["", "Ctrl+", "Shift+Ctrl+Z", "ctrl+Z", "Ctrl Z", "Enter\n", "Enter ", "Ctrl+Ctrl+Z", "A" * 50, "<b>", 5, None],
)
def test_malformed_keys_are_refused(key: Any) -> None:
    with pytest.raises(ConfigError, match="is not a key"):
        check_keys({"help": [key]})


def test_a_small_letter_is_refused_since_the_page_never_sees_one() -> None:
    with pytest.raises(ConfigError, match=r"written with a capital letter: Ctrl\+M"):
        check_keys({"help": ["Ctrl+m"]})


def test_an_unknown_action_and_an_action_without_keys_are_refused() -> None:
    with pytest.raises(ConfigError, match="no action 'fly'"):
        check_keys({"fly": ["F3"]})
    for names in ([], "F3"):
        with pytest.raises(ConfigError, match="at least one key"):
            check_keys({"help": names})
