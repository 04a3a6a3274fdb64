"""Evidence of a photo's own keywords, folder names and file name."""

import math
from collections.abc import Callable

from annotator.proposals.evidence import Evidence, Words

KEYWORD_SCORE = 0.9
"""Score of a keyword: a tag that somebody gave the photo is nearly always right."""
FEW_KEYWORDS = 20
"""Number of keywords up to which each has the full score. With n > FEW_KEYWORDS, scores are multiplied by
sqrt(FEW_KEYWORDS / n), so that a thousand keywords do not displace all other proposals, and 60 careful ones still
lead the list."""
PATH_WORD_SCORE = 0.5
"""Score of a folder or file name that is a known tag."""


def own_word_evidence(words: Words, knows: Callable[[str], bool]) -> list[Evidence]:
    """Return the evidence for a photo's keywords, and for those words of its names that are known.

    Args:
        words: Words of its metadata.
        knows: Tells whether a word is a known tag.
    """
    score = KEYWORD_SCORE * min(1.0, math.sqrt(FEW_KEYWORDS / max(len(words.keywords), 1)))
    keywords = [Evidence(word, "keywords", score, "it is among the photo's own keywords") for word in words.keywords]
    path_words = [
        Evidence(word, "folder", PATH_WORD_SCORE, "the folder or file is named so")
        for word in words.path_words
        if knows(word)
    ]
    return keywords + path_words
