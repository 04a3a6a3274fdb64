"""Forms of a word: plurals, compounds, other names, scripts; when two tags are one in another form.

Knows nothing of vectors or projects. English only; a word in another script is left as it is.
"""

import unicodedata
from functools import lru_cache

from annotator.datasets.tags import tag_key

ALIASES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "firehydrant": "fire hydrant",
    "pottedplant": "potted plant",
    "sky scraper": "skyscraper",
    "tvmonitor": "television monitor",
}
"""Labels of the common data sets that are no words -> words for the same. Keys as `tag_key` gives them."""

_IRREGULAR = {
    "calves": "calf", "children": "child", "dice": "die", "elves": "elf", "feet": "foot", "firemen": "fireman",
    "fishermen": "fisherman", "geese": "goose", "halves": "half", "knives": "knife", "leaves": "leaf",
    "lice": "louse", "lives": "life", "loaves": "loaf", "men": "man", "mice": "mouse", "oxen": "ox",
    "policemen": "policeman", "scarves": "scarf", "selves": "self", "shelves": "shelf", "snowmen": "snowman",
    "teeth": "tooth", "thieves": "thief", "wives": "wife", "wolves": "wolf", "women": "woman",
}  # fmt: skip
_NO_PLURALS = frozenset({
    "alps", "arms", "athletics", "atlas", "binoculars", "bus", "canvas", "caribbean", "chess", "christmas", "circus",
    "clothes", "cosmos", "crisps", "customs", "darts", "debris", "fireworks", "gas", "glasses", "goggles", "goods",
    "gymnastics", "headquarters", "iris", "irises", "jeans", "lens", "mathematics", "news", "octopus", "olympics",
    "overalls", "pajamas", "pants", "paris", "physics", "pyjamas", "scales", "scissors", "series", "shades", "shorts",
    "species", "spectacles", "stairs", "steps", "suspenders", "tennis", "thanks", "tights", "tongs", "trousers",
    "venus", "walrus", "waters", "woods", "works",
})  # fmt: skip
"""Words that end in s but are no plurals, or mean something else than their singular."""


@lru_cache(maxsize=65_536)
def singular(word: str) -> str:
    """Return an English word without its plural ending: cars -> car, boxes -> box, ponies -> pony, men -> man.

    Args:
        word: One word, as `tag_key` gives it. What is no plural, as far as can be told, is returned as it is.
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _NO_PLURALS or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y" if len(word) > 4 else word[:-1]
    if word.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")) and word not in ("shoes", "canoes", "toes"):
        return word[:-2]
    return word[:-1]


@lru_cache(maxsize=65_536)
def form_key(tag: str) -> str:
    """Return the key under which two forms of one tag meet: "Traffic lights" and "trafficlight" are both trafficlight.

    Unicode and case as `tag_key`; then aliases, the last word in the singular, no spaces, hyphens or underscores.
    """
    words = split_words(tag)
    if not words:
        return tag_key(tag)
    return "".join([*words[:-1], singular(words[-1])])


def split_words(tag: str) -> list[str]:
    """Return a tag's words as keys: cut at spaces, hyphens and underscores, aliases replaced."""
    key = tag_key(tag)
    key = " ".join(key.replace("_", " ").replace("-", " ").split())
    return ALIASES.get(key, key).split()


def is_latin(text: str) -> bool:
    """Tell whether every letter of a text is of the Latin script; digits and signs are of every script."""
    return text.isascii() or all(
        unicodedata.name(character, "").startswith("LATIN") for character in text if character.isalpha()
    )


def without_accents(text: str) -> str:
    """Return a text without the marks over and under its letters: cafe for café."""
    parts = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(part for part in parts if not unicodedata.combining(part)))
