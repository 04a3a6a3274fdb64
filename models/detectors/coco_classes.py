"""The 80 object classes of MS-COCO in the order of their numbers, and the words that people use for them.

Knows nothing of detectors or of projects.
"""

from collections.abc import Mapping
from functools import lru_cache

from annotator.datasets.tags import tag_key

_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag,
tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard,
tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote,
keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush
"""
COCO_CLASSES: tuple[str, ...] = tuple(" ".join(_NAMES.split()).split(", "))

_PLAIN_WORDS = {
    "dining table": "table",
    "hair drier": "hair dryer",
    "mouse": "computer mouse",
    "potted plant": "plant",
    "remote": "remote control",
    "skis": "ski",
    "sports ball": "ball",
    "tv": "television",
}

_OTHER_WORDS: Mapping[str, str] = {
    "person": "people, man, woman, boy, girl, child, baby, adult, toddler, men, women, children, kid, friend, family, "
    "couple, crowd, player, baseball player, tennis player, soccer player, athlete, pitcher, catcher, batter, umpire, "
    "chef, skier, snowboarder, skateboarder, surfer, boarder, rider, cyclist, passenger, pedestrian, commuter, "
    "officer, police officer, policeman, bride, groom, soldier, worker, student, tourist, guy, lady",
    "bicycle": "bike",
    "car": "van, vehicle, taxi, automobile",
    "motorcycle": "motorbike, motor, scooter, bike, moped",
    "airplane": "plane, jet, aeroplane, aircraft, fighter",
    "bus": "double decker bus",
    "train": "subway, tram, locomotive",
    "truck": "fire truck, lorry, van, trailer",
    "boat": "ship, sailboat, canoe, kayak, ferry",
    "fire hydrant": "hydrant",
    "bird": "duck, seagull, gull, pigeon, parrot, owl, goose",
    "cat": "kitten",
    "dog": "puppy",
    "horse": "pony",
    "sheep": "lamb",
    "cow": "cattle, bull, calf",
    "bear": "polar bear",
    "backpack": "bag",
    "handbag": "bag, purse",
    "suitcase": "luggage, bag, case",
    "sports ball": "tennis ball, soccer ball, baseball, soccer, football",
    "baseball glove": "glove",
    "tennis racket": "racket, racquet",
    "surfboard": "board",
    "snowboard": "board",
    "skateboard": "board, skate",
    "bottle": "beer, wine",
    "wine glass": "glass, wine",
    "cup": "mug, coffee, glass",
    "bowl": "dish",
    "banana": "fruit",
    "apple": "fruit",
    "orange": "fruit",
    "hot dog": "hotdog",
    "donut": "doughnut",
    "chair": "seat, armchair",
    "couch": "sofa",
    "dining table": "desk, counter",
    "tv": "screen, tv set, monitor",
    "laptop": "computer, laptop computer",
    "remote": "controller",
    "cell phone": "phone, mobile phone, smartphone",
    "oven": "stove",
    "refrigerator": "fridge",
    "clock": "clock tower, watch",
    "teddy bear": "stuffed animal, toy, teddy",
}
"""Other words for an object of a class, or for a person's role; such a tag has the boxes of the class."""


def plain_word(label: str) -> str:
    """Return the word that people use as a tag for a class: "tv" -> "television"."""
    return _PLAIN_WORDS.get(label, label)


def classes_of(tag: str) -> frozenset[str]:
    """Return the classes that a tag names: "man" -> {"person"}; empty for "beach"."""
    return _classes_by_key().get(tag_key(tag), frozenset())


@lru_cache(maxsize=1)
def _classes_by_key() -> dict[str, frozenset[str]]:
    classes: dict[str, set[str]] = {}
    for label in COCO_CLASSES:
        words = [label, plain_word(label), *_OTHER_WORDS.get(label, "").split(", ")]
        for word in filter(None, words):
            classes.setdefault(tag_key(word), set()).add(label)
    return {key: frozenset(labels) for key, labels in classes.items()}
