"""What each source says of one photo's tags: taggers, look-alikes, photos with the same words, detections, names.

Every word comes as `Evidence` with its score and its reason; `proposals/fusion.py` joins all into one list.
Knows nothing of stores, indexes or pages.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from annotator.datasets.metadata_words import caption_words
from annotator.datasets.tags import tag_key
from annotator.storage.images import ImageEntry


@dataclass(frozen=True)
class Evidence:
    """One source's word for one tag."""

    tag: str
    source: str
    score: float
    """In [0, 1]."""
    text: str
    """The reason, as a clause a person reads."""
    rank_score: float | None = None
    """What the tag's place goes by, where that differs from how likely it is; see models/cold_start.py."""
    origin: str = ""
    """Who within a tagger named it, where it tells: tagger_net (own tags), words (near to the tag `of`) or detector."""
    of: str = ""


@dataclass(frozen=True)
class Neighbour:
    """A photo whose tags were taken as evidence."""

    image_id: int
    similarity: float
    """Cosine of the features, or Jaccard index of the word sets."""
    tags: tuple[str, ...]
    shared: tuple[str, ...] = ()
    """Words both photos have, for metadata neighbours."""
    by: str = ""
    """How a neighbour of the model was found: metadata or looks."""


@dataclass(frozen=True)
class Words:
    """What a photo brings along, beside its pixels."""

    keywords: tuple[str, ...] = ()
    """Embedded keywords and sidecar tags, as they are spelled."""
    path_words: tuple[str, ...] = ()
    caption: tuple[str, ...] = ()
    """Words of its caption, as keys, without stop words; only taggers that were trained on captions hear them."""

    def without(self, sources: Collection[str]) -> "Words":
        """Return it with fields left out: keywords, folder, caption."""
        return Words(
            () if "keywords" in sources else self.keywords,
            () if "folder" in sources else self.path_words,
            () if "caption" in sources else self.caption,
        )

    def keys(self, settled: Collection[str] = ()) -> set[str]:
        """Return the set under which the metadata index knows this photo."""
        return {tag_key(word) for word in (*self.keywords, *self.path_words, *settled)}


def words_from(keywords: Iterable[str], path_words: Iterable[str], caption: str | None) -> Words:
    """Return the words that a photo brings along, from what ingest read of it."""
    return Words(tuple(dict.fromkeys(keywords)), tuple(path_words), caption_words(caption))


def words_of(entry: ImageEntry) -> Words:
    """Return the words that a photo brings along, from its row in the database."""
    return words_from((*entry.keywords, *entry.user_tags), entry.path_words, entry.caption)
