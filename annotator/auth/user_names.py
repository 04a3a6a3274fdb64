"""Names of users: which there may be, and which look alike.

A name stands beside each answer and save, so nobody may take one that people read as somebody else's.
"""

import re
import unicodedata
from collections.abc import Iterable

from annotator.auth.roles import LOCAL_USER
from annotator.errors import AccountError

_NAME = re.compile(r"[^\W_][\w.@+-]{0,63}")
_SCRIPTS_TOGETHER = (frozenset({"CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO"}), frozenset({"CJK", "HANGUL"}))
"""Scripts that one language writes together."""
_LOOK_ALIKES = str.maketrans(
    # Cyrillic, Greek and Armenian letters, and digits, that look like a Latin letter (Unicode TS 39, confusables).
    "\u0430\u0432\u0435\u0451\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u0456\u0457\u0458\u04bb\u0501\u051b\u051d\u0475"
    "\u03b1\u03b2\u03b3\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c3\u03c4\u03c5\u03c7\u03c9"
    "\u0561\u0578\u057d\u0570\u0566\u0585\u0581"
    "\u0131\u0237\u0251\u0261"
    "01",
    "abeekmhopctyxsiijhdqwv"
    "abyeikvopotuxw"
    "wnuhqog"
    "ijag"
    "ol",
)  # fmt: skip


def check_name(name: str, known: Iterable[str]) -> None:
    """Refuse a name that cannot be one, or that looks like one there is.

    Args:
        name: The new name.
        known: All names of the project.

    Raises:
        AccountError: It is refused.
    """
    if not _NAME.fullmatch(name) or name == LOCAL_USER:
        raise AccountError(
            f"{name[:80]!r} cannot be a user name: use up to 64 letters, digits and . @ + - _, a letter or digit "
            f"first, and not {LOCAL_USER!r}."
        )
    if unicodedata.normalize("NFKC", name) != name:
        raise AccountError(f"{name!r} cannot be a user name: it has letters in a form that looks like others.")
    scripts = _scripts(name)
    if len(scripts) > 1 and not any(scripts <= together for together in _SCRIPTS_TOGETHER):
        raise AccountError(
            f"{name!r} cannot be a user name: it mixes letters of several scripts ({', '.join(sorted(scripts))}), "
            "some of which look alike."
        )
    for other in known:
        if name.casefold() == other.casefold():
            raise AccountError(f"There is already a user {other}.")
        if skeleton(name) == skeleton(other):
            raise AccountError(f"{name!r} looks like the user {other}. Choose a name that is told from it at a glance.")


def skeleton(name: str) -> str:
    """Return a text that is equal for names that look alike, without accents."""
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", name).casefold())
    letters = "".join(character for character in folded if not unicodedata.combining(character))
    return letters.translate(_LOOK_ALIKES).replace("rn", "m").replace("vv", "w")


def _scripts(name: str) -> frozenset[str]:
    """Return the scripts of a name's letters, as the first word of their Unicode names."""
    letters = [character for character in unicodedata.normalize("NFD", name) if character.isalpha()]
    return frozenset(unicodedata.name(letter, "UNKNOWN").split(" ")[0] for letter in letters)
