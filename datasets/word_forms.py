"""Forms of a word: plurals, compounds, aliases, scripts; a key that all forms of a tag share.

Knows nothing of vectors or projects. English only; words in other scripts do not change.
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
    "wine glasses": "wine glass",
}
"""Labels of common data sets -> ordinary English words, and a plural whose last word is no plural by itself. Keys as of
`tag_key`."""

_IRREGULAR = {
    "analyses": "analysis", "axes": "axe", "beaux": "beau", "bureaux": "bureau", "busses": "bus", "calves": "calf",
    "cds": "cd", "chateaux": "chateau", "chilies": "chili", "chillies": "chilli", "children": "child",
    "crises": "crisis", "dice": "die", "dwarves": "dwarf", "elves": "elf", "feet": "foot", "firemen": "fireman",
    "fishermen": "fisherman", "gateaux": "gateau", "geese": "goose", "halves": "half", "handkerchieves": "handkerchief",
    "hooves": "hoof", "knives": "knife", "leaves": "leaf", "lice": "louse", "lives": "life", "loaves": "loaf",
    "men": "man", "mice": "mouse", "oases": "oasis", "oxen": "ox", "pcs": "pc", "pickaxes": "pickaxe",
    "pierogies": "pierogi", "policemen": "policeman", "quizzes": "quiz", "scarves": "scarf", "selves": "self",
    "sheaves": "sheaf", "shelves": "shelf", "snowmen": "snowman", "taxies": "taxi", "teeth": "tooth",
    "thieves": "thief", "tvs": "tv", "wharves": "wharf", "wives": "wife", "wolves": "wolf", "women": "woman",
}  # fmt: skip
_IRREGULAR_ENDS = ("hooves", "knives", "leaves", "loaves", "scarves", "shelves", "wives", "wolves")
"""Irregular plurals that also end compounds: bookshelves, housewives, werewolves."""
_NO_PLURALS = frozenset({
    "alias", "alps", "aries", "arms", "asbestos", "athletics", "atlas", "bangs", "bias", "biceps", "binoculars",
    "blues", "briefs", "bus", "canvas", "caribbean", "chaos", "chess", "christmas", "circus", "clothes", "cosmos",
    "crisps", "crocs", "customs", "darts", "debris", "diabetes", "falls", "fireworks", "forceps", "gas", "glasses",
    "goggles", "goods", "greens", "grits", "gymnastics", "headquarters", "iris", "irises", "jeans", "lens", "mars",
    "mathematics", "mercedes", "molasses", "news", "octopus", "olympics", "overalls", "pajamas", "pampas", "pancreas",
    "pants", "paris", "physics", "pyjamas", "rabies", "rhinoceros", "scales", "scissors", "series", "shades", "shorts",
    "slacks", "species", "spectacles", "stairs", "steps", "subspecies", "sunglasses", "suspenders", "tennis", "texas",
    "thanks", "thermos", "tights", "tongs", "triceps", "trousers", "venus", "walrus", "waters", "woods", "works",
})  # fmt: skip
"""Words that end in s but are no plurals, or differ in meaning from their singular."""
_ON_IE = frozenset({
    "aeries", "barbies", "beanies", "birdies", "bookies", "boogies", "bourgeoisies", "bowties", "brasseries",
    "brownies", "budgies", "calories", "camaraderies", "charcuteries", "collies", "cookies", "coteries", "cowries",
    "crappies", "cuties", "eeries", "eyries", "faeries", "foodies", "freebies", "genies", "goalies", "groupies",
    "hippies", "hoodies", "hotties", "indies", "junkies", "kelpies", "lassies", "lingeries", "magpies", "menageries",
    "mounties", "movies", "neckties", "newbies", "nighties", "oldies", "onesies", "patisseries", "pixies", "potpies",
    "prairies", "quickies", "reveries", "roadies", "rookies", "rotisseries", "selfies", "smoothies", "sorties",
    "sweeties", "talkies", "techies", "veggies", "wheelies", "yorkies", "yuppies", "zombies",
})  # fmt: skip
"""Plurals of words in -ie; all others in -ies come from words in -y: cherries."""
_ON_E = frozenset({
    "abuses", "aches", "aloes", "apaches", "avalanches", "backaches", "brioches", "caches", "canoes", "cartouches",
    "ceviches", "cliches", "creches", "crevasses", "does", "douches", "excuses", "finesses", "floes", "foes", "fuses",
    "headaches", "hoes", "impasses", "mistletoes", "mousses", "moustaches", "muses", "mustaches", "niches", "oboes",
    "pastiches", "porsches", "posses", "psyches", "quiches", "recluses", "roes", "ruses", "shoes", "sloes",
    "stomachaches", "throes", "tiptoes", "toes", "toothaches", "tranches", "uses", "woes", "wrasses",
})  # fmt: skip
"""Plurals of words in -e that a rule would read as -es: quiche, not quich."""
_ON_S = frozenset({
    "aliases", "atlases", "biases", "canvases", "christmases", "gases", "lenses", "pancreases", "rhinoceroses",
    "thermoses", "trellises",
})  # fmt: skip
"""Plurals of words in -s that a rule would read as -s: lens, not lense; words in -us have a rule."""
_ON_I_OR_U = frozenset({
    "alibis", "bayous", "beaus", "bikinis", "bonsais", "broccolis", "bureaus", "caribous", "chateaus", "chilis",
    "chillis", "daiquiris", "emojis", "emus", "gateaus", "gnus", "gurus", "haikus", "jacuzzis", "khakis", "kiwis",
    "martinis", "menus", "minis", "paninis", "plateaus", "rabbis", "raviolis", "rotis", "safaris", "skis", "tableaus",
    "taxis", "tiramisus", "tsunamis", "tutus", "yetis", "zucchinis",
})  # fmt: skip
"""Plurals in -is or -us; all other words with these endings are no plurals: tennis, cactus."""


@lru_cache(maxsize=65_536)
def singular(word: str) -> str:
    """Return an English word without its plural ending: cars -> car, boxes -> box, ponies -> pony, men -> man.

    Args:
        word: One word, as a key of `tag_key`; returned unchanged if it is not recognised as a plural.
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for end in _IRREGULAR_ENDS:
        if word.endswith(end):
            return word.removesuffix(end) + _IRREGULAR[end]
    if word in _NO_PLURALS or len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith(("us", "is")):
        return word[:-1] if word in _ON_I_OR_U else word
    if word.endswith("ies"):
        return word[:-1] if word in _ON_IE or len(word) == 4 else word[:-3] + "y"
    return word[:-2] if _has_added_es(word) else word[:-1]


def _has_added_es(word: str) -> bool:
    """Tell whether a plural is its singular with -es: box, bus, potato, but not horse, house, shoe."""
    if word in _ON_E or word.endswith("shoes"):
        return False
    if word.endswith("uses"):
        return not word.endswith(("auses", "euses", "ouses"))
    return word in _ON_S or word.endswith(("ches", "shes", "sses", "xes", "zzes", "tzes", "oes"))


@lru_cache(maxsize=65_536)
def form_key(tag: str) -> str:
    """Return the key that all forms of one tag share: trafficlight for "Traffic lights" and "trafficlight".

    Unicode and case as in `tag_key`; then aliases, the last word in the singular, its aliases ("aeroplanes"), and no
    spaces, hyphens or underscores.
    """
    words = split_words(tag)
    if not words:
        return tag_key(tag)
    one = " ".join([*words[:-1], singular(words[-1])])
    return ALIASES.get(one, one).replace(" ", "")


def split_words(tag: str) -> list[str]:
    """Return the keys of a tag's words: split at spaces, hyphens and underscores, aliases replaced."""
    key = tag_key(tag)
    key = " ".join(key.replace("_", " ").replace("-", " ").split())
    return ALIASES.get(key, key).split()


def is_latin(text: str) -> bool:
    """Tell whether all letters of a text are Latin; other characters are ignored."""
    return text.isascii() or all(
        unicodedata.name(character, "").startswith("LATIN") for character in text if character.isalpha()
    )


def without_accents(text: str) -> str:
    """Return a text without diacritics: cafe for café."""
    parts = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(part for part in parts if not unicodedata.combining(part)))
