"""The records that the ranking works on: evidence for a tag, a neighbour, and the words of a photo's metadata.

Each source returns `Evidence`; `proposals/fusion.py` joins it into one ranked list. Knows nothing of databases,
indexes or the user interface.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from annotator.datasets.metadata_words import caption_words
from annotator.datasets.tags import tag_key
from annotator.storage.images import ImageEntry


@dataclass(frozen=True)
class Evidence:
    """Score and reason of one source for one tag."""

    tag: str
    source: str
    score: float
    """In [0, 1]."""
    text: str
    """The reason, as a clause for the user."""
    rank_score: float | None = None
    """In [0, 1]: decides the rank where that is not the score; see models/taggers/cold_start.py. None: the score."""
    origin: str = ""
    """Part of the tagger that proposed the tag, if known: tagger_net (its vocabulary), words (a word near the tag `of`)
    or detector."""
    of: str = ""
    """Tag to which the word is near, where `origin` is words."""


@dataclass(frozen=True)
class Neighbour:
    """A tagged photo that is near another one."""

    image_id: int
    similarity: float
    """Cosine of the features or of the summed word vectors, or Jaccard index of the word sets."""
    tags: tuple[str, ...]
    shared: tuple[str, ...] = ()
    """Words that both photos have, for neighbours by metadata."""
    by: str = ""
    """Of a tagger's neighbours, how it was found: ``metadata``, or ``looks`` for features."""


@dataclass(frozen=True)
class Words:
    """Words of a photo's metadata."""

    keywords: tuple[str, ...] = ()
    """Embedded keywords and sidecar tags, in their spelling."""
    path_words: tuple[str, ...] = ()
    """Words of the folder and file names."""
    caption: tuple[str, ...] = ()
    """Words of the caption, as keys, without stop words; only taggers that were trained on captions use them."""

    def without(self, sources: Collection[str]) -> "Words":
        """Return a copy without the fields that are in `sources`: keywords, folder, caption."""
        return Words(
            () if "keywords" in sources else self.keywords,
            () if "folder" in sources else self.path_words,
            () if "caption" in sources else self.caption,
        )

    def keys(self, kept: Collection[str] = ()) -> set[str]:
        """Return the set of keys by which the metadata index compares this photo, with those of its kept tags."""
        return {tag_key(word) for word in (*self.keywords, *self.path_words, *kept)}


def words_from(keywords: Iterable[str], path_words: Iterable[str], caption: str | None) -> Words:
    """Return the words of a photo's metadata as ingest read it."""
    return Words(tuple(dict.fromkeys(keywords)), tuple(path_words), caption_words(caption))


def words_of(entry: ImageEntry) -> Words:
    """Return the words of a photo's metadata from its row in the database."""
    return words_from((*entry.keywords, *entry.user_tags), entry.path_words, entry.caption)
