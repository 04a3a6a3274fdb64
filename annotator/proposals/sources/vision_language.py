"""Evidence of a vision-language model: the tags of its stored answers, joined after the fusion model."""

from collections.abc import Callable, Sequence

from annotator.proposals.late_evidence import NamedTag, Prior

VISION_LANGUAGE = "vlm"
VISION_LANGUAGE_PRIOR = Prior(shift=2.0, slope=1.0)
"""Chosen, not fitted, as no model can be had where this is developed: of a tag for which nothing else speaks, the first
in an answer gets about .29 and the ninth .14, below the line of what is likelier than not."""


class VisionLanguageSource:
    """The stored answers of one model.

    Args:
        model: Its name.
        answers: Image id -> the tags of its answer, most important first.
    """

    name = VISION_LANGUAGE
    prior = VISION_LANGUAGE_PRIOR

    def __init__(self, model: str, answers: Callable[[int], Sequence[str]]) -> None:
        self._model = model
        self._answers = answers

    def named(self, image_id: int) -> list[NamedTag]:
        """Return the tags of the answer about a photo; the strength is 1 / place."""
        return [
            NamedTag(tag, 1 / place, f"the vision-language model {self._model} names it {_ordinal(place)}")
            for place, tag in enumerate(self._answers(image_id), start=1)
        ]


def _ordinal(place: int) -> str:
    if place == 1:
        return "first"
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"
