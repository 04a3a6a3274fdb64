"""The key map of the page: actions, their default keys, and the rules of a key map. Knows nothing of pages."""

import re
from collections.abc import Mapping, Sequence

from annotator.errors import ConfigError

DEFAULT_KEYS: dict[str, tuple[str, ...]] = {
    "save": ("Enter",),
    "accept": ("Ctrl+Enter",),
    "up": ("ArrowUp",),
    "down": ("ArrowDown",),
    "move_up": ("Alt+ArrowUp",),
    "move_down": ("Alt+ArrowDown",),
    "cut_up": ("Shift+ArrowUp",),
    "cut_down": ("Shift+ArrowDown",),
    "drop": ("Delete",),
    "previous": ("ArrowLeft",),
    "next": ("ArrowRight",),
    "skip": ("Ctrl+ArrowRight",),
    "undo": ("Ctrl+Z",),
    "redo": ("Ctrl+Shift+Z", "Ctrl+Y"),
    "never": ("Shift+Delete",),
    "take_selected": ("Space",),
    "neighbours": ("F2",),
    "zoom": ("Ctrl+Space",),
    "heat_map": ("F4",),
    "group": ("F3",),
    "sweep": ("F8",),
    "why": ("F9",),
    "review": ("F6",),
    "timeline": ("F7",),
    "browse": ("Ctrl+B",),
    "palette": ("Ctrl+K",),
    "fields": ("F10",),
    "export": ("Ctrl+E",),
    "import": ("Ctrl+I",),
    "help": ("?",),
}
"""Action -> keys. Digit keys are fixed: alone one proposal, with Shift all down to it, with Alt that one and save."""

_KEY = re.compile(r"(Ctrl\+)?(Alt\+)?(Shift\+)?(Meta\+)?([A-Za-z][A-Za-z0-9]+|\S)")
_FIXED = {"Escape", "Tab", "Shift+Tab", "Backspace", "/"}


def check_keys(keys: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return a complete key map: the defaults with these actions re-mapped.

    Args:
        keys: Action -> its keys, as ``Ctrl+Alt+Shift+Meta+`` in that order and a KeyboardEvent.key.

    Raises:
        ConfigError: An action is unknown, or a key is malformed, a bare letter or digit, reserved, or used twice.
    """
    merged = dict(DEFAULT_KEYS)
    for action, names in keys.items():
        if action not in DEFAULT_KEYS:
            raise ConfigError(f"There is no action {action!r}. Actions: {', '.join(DEFAULT_KEYS)}.")
        if isinstance(names, str) or not names:
            raise ConfigError(f"The action {action!r} needs a list of at least one key, got {names!r}.")
        merged[action] = tuple(_check_key(action, name) for name in names)
    owner: dict[str, str] = {}
    for action, names in merged.items():
        for name in names:
            if name in owner:
                raise ConfigError(
                    f"The key {name} is taken by {owner[name]!r}; it cannot also be {action!r}. "
                    "Give one of them another key."
                )
            owner[name] = action
    return merged


def with_new_actions(keys: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Return a stored key map with the actions of newer versions added; stored keys do not change.

    Args:
        keys: Action -> its keys, as stored. If the key of a new action is used already, the action gets it with Shift.
    """
    taken = {name for names in keys.values() for name in names}
    added = {}
    for action, names in DEFAULT_KEYS.items():
        if action not in keys:
            added[action] = tuple(f"Shift+{name}" if name in taken else name for name in names)
    return {**keys, **added}


def _check_key(action: str, name: str) -> str:
    match = _KEY.fullmatch(name) if isinstance(name, str) and len(name) <= 40 else None
    if match is None:
        raise ConfigError(f"{name!r} is not a key for {action!r}. Write it like Ctrl+Shift+Z or ArrowUp.")
    modifiers, key = [part for part in match.groups()[:4] if part], match.group(5)
    if key.isalnum() and len(key) == 1 and not {"Ctrl+", "Alt+", "Meta+"} & set(modifiers):
        raise ConfigError(
            f"{name} cannot be the key of {action!r}: letters are typed into the add box and digits take "
            "proposals. Add Ctrl or Alt."
        )
    if len(key) == 1 and key != key.upper():
        raise ConfigError(f"{name} must be written with a capital letter: {name[:-1]}{key.upper()}.")
    if name in _FIXED:
        raise ConfigError(f"{name} is reserved by the add box and cannot be the key of {action!r}.")
    return name
