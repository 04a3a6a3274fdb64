"""Evidence of the words that a photo brings along: its keywords, its folder and its file name."""

import math
from collections.abc import Callable

from annotator.proposals.evidence import Evidence, Words

KEYWORD_SCORE = 0.9
"""A keyword that somebody gave this very photo is nearly always right."""


FEW_KEYWORDS = 20
"""Keywords of one photo up to which each counts in full. Of n more, each counts times sqrt(FEW_KEYWORDS / n): nobody
means a thousand things by one photo, and at 0.9 each such a heap would fill every list and leave no place for what a
model sees. By the root and not by the share, since a photo with 60 careful keywords is still best described by them."""


PATH_WORD_SCORE = 0.5
"""A folder or file name that is a known tag."""


def own_word_evidence(words: Words, knows: Callable[[str], bool]) -> list[Evidence]:
    """Return what a photo's own keywords and names say; of the names, only words that are ``known`` tags."""
    score = KEYWORD_SCORE * min(1.0, math.sqrt(FEW_KEYWORDS / max(len(words.keywords), 1)))
    keywords = [Evidence(word, "keywords", score, "it is among the photo's own keywords") for word in words.keywords]
    path_words = [
        Evidence(word, "folder", PATH_WORD_SCORE, "the folder or file is named so")
        for word in words.path_words
        if knows(word)
    ]
    return keywords + path_words
