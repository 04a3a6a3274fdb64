"""Neighbourhoods of a data set's photos by metadata, for taggers with a context: exact, all photos at once.

Paper: Tesan, Coscia, Ballan, "A CNN-RNN Framework for Image Annotation from Visual Cues and Social Network Metadata",
2020. Implements: eq. 5 in `jaccard_similarities`, eq. 7 in `cosine_similarities`. Departs: the word sets of eq. 5 hold
all words, not only the tau most frequent ones that the networks take as input. A photo that has no metadata, or
shares words with fewer than M photos, gets the most similar photos by features as its remaining neighbours.
Knows nothing of projects: annotator/proposals/context.py finds the same neighbours there, through indexes.
Shapes: B queries against N pool photos -> (B, M) rows of the pool.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from annotator.datasets.metadata_words import metadata_words
from annotator.datasets.record import Record, one_spelling
from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import ConfigError, DataError
from annotator.models.context import Context, Ids, Pool, VectorSums, WordLists
from annotator.models.tagger import Features
from annotator.models.taggers.metadata_neighbours_numpy import load_vectors

CHUNK_SIZE = 256
LEAST_SIMILARITY = 1e-6
"""Similarities below it count as 0."""

Similarities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Photos:
    """Photos with the data that neighbours are searched by."""

    names: Sequence[object]
    """N names; a photo is not its own neighbour."""
    features: Features
    """(N, D)."""
    words: WordLists
    """N sets of metadata words."""

    @property
    def pool(self) -> Pool:
        """The photos as the pool of a context."""
        return Pool(self.features, self.words)


def photos_of(records: Sequence[Record], features: Features, field: str) -> Photos:
    """Return records' photos with their metadata words.

    Raises:
        ConfigError: The field does not exist.
    """
    return Photos([record.image for record in records], features, metadata_words(records, field))


def metadata_note(words: WordLists, field: str) -> str:
    """Return a sentence that counts the photos with metadata; empty if all have some.

    Args:
        words: Metadata words of each photo.
        field: The field that holds them.
    """
    num = sum(bool(own) for own in words)
    if num == len(words):
        return ""
    whose = "the others' neighbours" if num else "neighbours"
    return f"{num:,} of {len(words):,} photos have {field}: {whose} are found by visual similarity"


def find_context(photos: Photos, pool: Photos, num_candidates: int, vectors: VectorSums | None) -> Context:
    """Return photos with their nearest neighbours in a pool.

    Args:
        photos: B photos; they may be in the pool too.
        pool: N photos.
        num_candidates: M; 0 for a tagger without neighbours. A smaller pool gives all its other photos.
        vectors: Word vectors that metadata are compared by; None: Jaccard.

    Raises:
        DataError: The pool holds no other photo.
    """
    if num_candidates == 0:
        return Context(photos.words, pool.pool, np.zeros((len(photos.names), 0), np.int64))
    rows_of: dict[object, int] = {name: row for row, name in enumerate(pool.names)}
    own = np.array([rows_of.get(name, -1) for name in photos.names], np.int64)
    num = min(num_candidates, len(pool.names) - bool((own >= 0).any()))
    if num < 1:
        raise DataError("There is no photo to take as a neighbour; neighbours need at least 2 photos with tags.")
    queries, keys = _unit(photos.features), _unit(pool.features)
    codes = None if vectors is None else (_unit(vectors.encode(photos.words)), _unit(vectors.encode(pool.words)))
    postings = _postings(pool.words)
    sizes = np.array([len(set(words)) for words in pool.words], np.int64)
    neighbours = np.empty((len(photos.names), num), np.int64)
    for start in range(0, len(photos.names), CHUNK_SIZE):
        part = slice(start, start + CHUNK_SIZE)
        alike = (
            jaccard_similarities(photos.words[part], postings, sizes)
            if codes is None
            else cosine_similarities(codes[0][part], codes[1])
        )
        looks = queries[part] @ keys.T
        for row, similarities in enumerate(alike):
            neighbours[start + row] = _nearest(similarities, looks[row], num, int(own[start + row]))
    return Context(photos.words, pool.pool, neighbours)


def jaccard_similarities(
    words: WordLists, postings: Mapping[str, npt.NDArray[np.int64]], sizes: npt.NDArray[np.int64]
) -> Similarities:
    """Return shared words over words of either, (B, N), 0 where there are none: 1 - eq. 5.

    Args:
        words: B sets.
        postings: Word -> rows of the pool photos that have it.
        sizes: (N,) number of words of each pool photo.
    """
    similarities = np.zeros((len(words), len(sizes)), np.float32)
    for row, own in zip(similarities, words, strict=True):
        known = [postings[word] for word in set(own) if word in postings]
        shared = np.bincount(np.concatenate(known), minlength=len(sizes)) if known else np.zeros(len(sizes), np.int64)
        row[:] = shared / np.maximum(sizes + len(set(own)) - shared, 1)
    return similarities


def cosine_similarities(queries: Features, keys: Features) -> Similarities:
    """Return the cosines of unit rows, (B, N): 1 - eq. 7; 0 where either has no words."""
    similarities: Similarities = queries @ keys.T
    return similarities


def _nearest(similarities: Similarities, looks: Similarities, num: int, own: int) -> Ids:
    """Return the rows of the most similar photos by metadata, then by features; ties go to the lower row."""
    order: Ids = np.argsort(-similarities, kind="stable")[: num + 1]
    order = order[(similarities[order] > LEAST_SIMILARITY) & (order != own)][:num]
    if len(order) == num:
        return order
    taken = np.zeros(len(looks), bool)
    taken[order] = True
    if own >= 0:
        taken[own] = True
    further = np.argsort(np.where(taken, np.inf, -looks), kind="stable")[: num - len(order)]
    nearest: Ids = np.concatenate([order, further])
    return nearest


def _postings(words: Sequence[Collection[str]]) -> dict[str, npt.NDArray[np.int64]]:
    lists: dict[str, list[int]] = {}
    for row, own in enumerate(words):
        for word in set(own):
            lists.setdefault(word, []).append(row)
    return {word: np.array(rows, np.int64) for word, rows in lists.items()}


def _unit(values: Features) -> Features:
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    rows: Features = (values / np.maximum(lengths, 1e-9)).astype(np.float32)
    return rows


def learn_settings(
    settings: Mapping[str, Any], config: Any, words: WordLists, *, uses_metadata: bool = True
) -> dict[str, Any]:
    """Return a tagger's settings, completed from the training photos: known words, or version of the vectors.

    Args:
        settings: As given by the user.
        config: The tagger's config with these settings.
        words: Metadata words of the training photos.
        uses_metadata: Words are fed to the network.

    Raises:
        ConfigError: A setting cannot be given by users, or no training photo has a known metadata word.
        WordVectorError: The word vectors are not available.
    """
    for name in ("known_words", "input_version", "input_size", "neighbourhood_version", "neighbourhood_size"):
        if name in settings:
            raise ConfigError(f"The setting {name} comes from the training photos; leave it out.")
    learnt: dict[str, Any] = {}
    uses = ("input", "neighbourhood") if uses_metadata else ("neighbourhood",)
    for use in uses:
        if getattr(config, use) != "id":
            vectors = load_vectors(getattr(config, use), vars(config))
            known = _distinct(words)
            if vectors.count_unknown(known)[0] == len(known) and (known or use == "input"):
                raise ConfigError(
                    f"The word vectors {vectors.name} know none of the training photos' metadata words. Use {use}=id, "
                    "or vectors of the metadata's language."
                )
            learnt |= {f"{use}_version": vectors.version, f"{use}_size": vectors.size}
        elif use == "input":
            learnt["known_words"] = most_frequent(words, config.max_words)
    return {**settings, **learnt}


def vector_notes(config: Any, words: WordLists, *, uses_metadata: bool) -> tuple[str, ...]:
    """Return a sentence for each set of word vectors of a tagger that lacks some of the metadata words.

    Raises:
        WordVectorError: The word vectors are not available.
    """
    kinds = {config.neighbourhood, config.input if uses_metadata else "id"} - {"id"}
    known = _distinct(words)
    notes = [load_vectors(kind, vars(config)).describe_unknown(known, "metadata words") for kind in sorted(kinds)]
    return tuple(note for note in notes if note)


def _distinct(words: WordLists) -> list[str]:
    return sorted({word for own in words for word in own})


def most_frequent(words: WordLists, num: int) -> tuple[str, ...]:
    """Return the `num` words that most photos have, the most frequent first; ties in the order of occurrence.

    Raises:
        ConfigError: There is no word.
    """
    counts: dict[str, int] = {}
    for own in words:
        for word in own:
            counts[word] = counts.get(word, 0) + 1
    if not counts:
        raise ConfigError("No training photo has any metadata word. Name the field that holds them with --metadata.")
    return tuple(sorted(counts, key=lambda word: -counts[word])[:num])


def with_target(records: Sequence[Record], target: str) -> list[Record]:
    """Return records with the tags of another field, such as `objects`; those without any are left out.

    Args:
        records: Of one data set.
        target: "tags", or a key of `Record.extra` that holds lists of strings.

    Raises:
        DataError: No record has that field, or it is not a list of strings.
        TagError: One of the strings is not a valid tag.
    """
    if target == "tags":
        return list(records)
    kept = []
    for record in records:
        values = record.extra.get(target, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise DataError(f'"{target}" of {record.image} is not a list of strings: {str(values)[:60]!r}.')
        if values:
            tags = {tag_key(tag): tag for tag in reversed([clean_tag(value) for value in values])}  # the first spelling
            kept.append(replace(record, tags=tuple(reversed(tags.values()))))
    if not kept:
        raise DataError(f'No photo has a list "{target}" to learn or measure. Name another field with --target.')
    return one_spelling(kept)
