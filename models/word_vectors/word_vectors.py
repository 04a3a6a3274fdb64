"""Word vectors of tags, from GloVe (the default), WordNet's graph or a file, and the similarity of tags.

`WordVectors.vector` looks a tag up as it is, by its aliases, in the singular, without accents, as a compound of two
common words, and as the mean of its words. English vectors have no tags in other scripts than Latin; such tags are
valid everywhere, and compared by Unicode normalisation like all tags.
Knows nothing of file formats (word_vector_files.py), photos or projects.

Shapes: a vector is (S,) float32, S = 50 for GloVe; matrices are (N, S).
"""

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from annotator import carried_models
from annotator.datasets.tags import tag_key
from annotator.datasets.word_forms import ALIASES, is_latin, singular, split_words, without_accents
from annotator.errors import WordVectorError
from annotator.models.word_vectors import glove_package
from annotator.models.word_vectors.word_vector_files import (
    TABLE_FILE,
    Table,
    Vectors,
    cached_tables,
    hash_content,
    read_file,
    read_table,
    table_path,
    write_table,
)

DEFAULT_VECTORS = "glove"
WORDNET = "wordnet"
SOURCES_FILE = "sources.json"
"""In the word vectors that a project brings along: source -> folder of its table."""
COMMON_RANK = 50_000
"""A compound ("firehydrant") is split only into words of at most this rank; rarer ones match by accident."""
MIN_PART_LENGTH = 3
"""Shortest part of a compound, in letters."""
STOP_WORDS = frozenset({"a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"})
"""Words that do not count in the mean of a multi-word tag."""
MAX_VECTORS_KEPT = 65_536


class WordVectors:
    """Vectors of tags; safe to use from several threads.

    Args:
        name: "glove", "wordnet", or a file's stem.
        version: Hash of the content, short.
        table: Words and vectors.
        only_latin: The words are English; tags in other scripts have no vector.
    """

    def __init__(self, name: str, version: str, table: Table, *, only_latin: bool) -> None:
        self.name = name
        self.version = version
        self.size = int(table.vectors.shape[1])
        self.num_words = len(table.words)
        self._table = table
        self._only_latin = only_latin
        self._vector = lru_cache(MAX_VECTORS_KEPT)(self._find)
        self._allowed = lru_cache(maxsize=8)(self._unit_rows)
        self._places: dict[str, int] = {}
        """Tag -> its row in `_units`; -1 for a tag without a vector."""
        self._units = np.zeros((0, self.size), np.float32)
        """(capacity, S) unit rows, of which the first `_num_units` are filled. The capacity grows by doubling."""
        self._num_units = 0
        self._lock = threading.Lock()

    def vector(self, tag: str) -> Vectors | None:
        """Return a tag's vector, (S,), of any length; None if it has none."""
        return self._vector(tag_key(tag))

    def matrix(self, tags: Sequence[str]) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        """Return the vectors of tags, (N, S), zeros for unknown ones, and (N,) whether each is known."""
        rows = np.zeros((len(tags), self.size), np.float32)
        known = np.zeros(len(tags), np.bool_)
        for place, tag in enumerate(tags):
            vector = self.vector(tag)
            if vector is not None:
                rows[place], known[place] = vector, True
        return rows, known

    def common_words(self, num: int) -> tuple[list[str], Vectors]:
        """Return the first words, for GloVe the most frequent ones, and their vectors, (N, S) with N <= num."""
        return list(self._table.words[:num]), np.array(self._table.vectors[:num], np.float32)

    def nearest(self, vector: Vectors, k: int, allowed: Sequence[str]) -> list[tuple[str, float]]:
        """Return the k allowed tags nearest to a vector, with their cosines, best first.

        Args:
            vector: (S,); nothing is near a vector of length 0.
            k: Most tags to return.
            allowed: Tags to choose among; those without a vector are left out. The rows of all tags asked before are
                cached.

        Raises:
            WordVectorError: The vector has another size.
        """
        if vector.shape != (self.size,):
            raise WordVectorError(
                f"The word vectors {self.name} have {self.size} values; a vector of the shape {vector.shape} was asked."
            )
        length = float(np.linalg.norm(vector))
        tags, rows = self._allowed(tuple(allowed))
        if not length or not tags or k < 1:
            return []
        cosines = rows @ (vector / length)  # (N,)
        least = np.partition(cosines, -k)[-k] if k < len(cosines) else -np.inf
        candidates = np.flatnonzero(cosines >= least)  # sorting all N takes milliseconds
        best = candidates[np.argsort(-cosines[candidates], kind="stable")[:k]]
        return [(tags[place], float(cosines[place])) for place in best.tolist()]

    def similarity(self, first: str, second: str) -> float | None:
        """Return the cosine of two tags, in [-1, 1]; None if either is unknown."""
        one, other = self.vector(first), self.vector(second)
        if one is None or other is None:
            return None
        return float(np.clip(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)), -1, 1))

    def count_unknown(self, tags: Sequence[str]) -> tuple[int, int]:
        """Return the number of tags without a vector, and how many of these are in another script."""
        unknown = self._unknown(tags)
        return len(unknown), self._num_foreign(unknown)

    def describe_unknown(self, tags: Sequence[str], what: str = "tags") -> str:
        """Return a sentence on the tags without a vector; empty if all have one.

        Args:
            tags: Tags or other words.
            what: Their plural noun in the sentence.
        """
        unknown = self._unknown(tags)
        if not unknown:
            return ""
        num_foreign = self._num_foreign(unknown)
        script = f", {num_foreign:,} of them in another script" if num_foreign else ""
        names = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        return f"{len(unknown):,} of {len(tags):,} {what} have no word vector in {self.name}{script}: {names}."

    def _unknown(self, tags: Sequence[str]) -> list[str]:
        return [tag for tag in tags if self.vector(tag) is None]

    def _num_foreign(self, tags: Sequence[str]) -> int:
        return sum(not is_latin(tag) for tag in tags) if self._only_latin else 0

    def _unit_rows(self, tags: tuple[str, ...]) -> tuple[list[str], Vectors]:
        """Return the tags that have a vector, and their rows, (N, S), of length 1."""
        with self._lock:
            self._add_units([tag for tag in tags if tag not in self._places], tags)
            places = [self._places[tag] for tag in tags]
            rows = self._units[[place for place in places if place >= 0]]
        return [tag for tag, place in zip(tags, places, strict=True) if place >= 0], rows

    def _add_units(self, new: Sequence[str], tags: Sequence[str]) -> None:
        """Append the rows of new tags; if the cache is full, clear it and add the rows of `tags`."""
        if new and len(self._places) + len(new) > MAX_VECTORS_KEPT:
            self._places, self._num_units, new = {}, 0, tags
        new = list(dict.fromkeys(new))
        rows, known = self.matrix(new)
        end = self._num_units + int(known.sum())
        if end > len(self._units):
            grown = np.zeros((2 * end, self.size), np.float32)
            grown[: self._num_units] = self._units[: self._num_units]
            self._units = grown
        self._units[self._num_units : end] = unit(rows[known])
        places = np.where(known, self._num_units + np.cumsum(known) - 1, -1)
        self._places.update(zip(new, places.tolist(), strict=True))
        self._num_units = end

    def _find(self, key: str) -> Vectors | None:
        if self._only_latin and not is_latin(key):
            return None
        words = split_words(key)
        whole = [] if key in ALIASES else [key]
        for form in (*whole, "_".join(words), "-".join(words), " ".join(words)):
            if form in self._table.ids:
                return self._row(form)
        if not words:
            return None
        if len(words) > 1 and "_".join([*words[:-1], singular(words[-1])]) in self._table.ids:
            return self._row("_".join([*words[:-1], singular(words[-1])]))
        found = [vector for word in words if word not in STOP_WORDS and (vector := self._word(word)) is not None]
        if not found:
            return None
        mean: Vectors = np.mean(found, axis=0, dtype=np.float32)
        return mean if mean.any() else None

    def _word(self, word: str) -> Vectors | None:
        """Return the vector of one word by its first known form: itself, singular, without accents."""
        forms = (word, singular(word), without_accents(word), singular(without_accents(word)))
        for form in forms:
            if form in self._table.ids:
                return self._row(form)
        return self._compound(forms[1])

    def _compound(self, word: str) -> Vectors | None:
        """Return the mean vector of a compound's two words, split so that the rarer one is as common as possible."""
        cuts = [(word[:at], word[at:]) for at in range(MIN_PART_LENGTH, len(word) - MIN_PART_LENGTH + 1)]
        ranks = {max(self._rank(first), self._rank(last)): (first, last) for first, last in cuts}
        best = min(ranks, default=COMMON_RANK)
        if best >= COMMON_RANK:
            return None
        first, last = ranks[best]
        mean: Vectors = np.mean([self._row(first), self._row(last)], axis=0, dtype=np.float32)
        return mean

    def _rank(self, word: str) -> int:
        return self._table.ids.get(word, COMMON_RANK)

    def _row(self, word: str) -> Vectors:
        row: Vectors = np.array(self._table.vectors[self._table.ids[word]], np.float32)
        row.setflags(write=False)
        return row


def unit(rows: Vectors) -> Vectors:
    """Return rows, (N, S), scaled to length 1; rows of zeros stay zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Vectors = (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled


def load_word_vectors(source: str | Path = DEFAULT_VECTORS) -> WordVectors:
    """Load word vectors. The first call converts them into the user's cache; later ones map them from there.

    Args:
        source: "glove"; "wordnet", after `annotator wordnet build`; or the path of a word2vec (text or binary), GloVe,
            fastText or gensim `.kv` file.

    Raises:
        WordVectorError: They are missing (the message says how to get them), damaged, or in no known format.
    """
    with _LOCK:
        return _LOADERS.get(str(source), _load_path)(str(source))


def full_source(source: str) -> str:
    """Return a source that is valid from any working directory: a known name as it is, a file by its absolute path."""
    return source if source in _LOADERS else str(Path(source).expanduser().resolve())


def choose_source(source: str) -> str:
    """Return the vectors that a setting selects; empty selects WordNet's if they are installed, else GloVe's."""
    return source or (WORDNET if find_wordnet_table() is not None else DEFAULT_VECTORS)


def _load_glove(source: str) -> WordVectors:
    version = hash_content(glove_package.vectors_path())
    return WordVectors(source, version, _cached(source, version, glove_package.read_package), only_latin=True)


def _load_wordnet(source: str) -> WordVectors:
    folder = find_wordnet_table()
    if folder is None:
        raise WordVectorError("There are no WordNet vectors yet. Make them with: annotator wordnet build")
    return WordVectors(source, folder.name.split("-")[1], _table_in(folder), only_latin=True)


def find_wordnet_table() -> Path | None:
    """Return the folder of the project's WordNet vectors, else of the newest; None before `annotator wordnet build`."""
    carried = _carried_table(WORDNET)
    if carried is not None:
        return carried
    folders = [folder for folder in cached_tables(WORDNET) if (folder / TABLE_FILE).is_file()]
    return max(folders, key=lambda folder: folder.stat().st_mtime, default=None)


def known_forms(tags: Iterable[str]) -> set[str]:
    """Return the entries under which tags may be looked up: "Traffic lights" -> traffic_lights, traffic_light, ..."""
    forms: set[str] = set()
    for tag in tags:
        words = split_words(tag)
        if words:
            forms |= {"_".join(words), "_".join([*words[:-1], singular(words[-1])]), *words, *map(singular, words)}
    return forms


def _load_path(source: str) -> WordVectors:
    path = Path(source).expanduser()
    if not path.is_file():
        carried = _carried_table(source)
        if carried is not None:
            version = carried.name.split("-")[1]
            return WordVectors(vectors_name(path), version, _table_in(carried), only_latin=False)
        raise WordVectorError(
            f"There are no word vectors {source!r}: neither {DEFAULT_VECTORS} nor {WORDNET}, and no such file."
        )
    companions = sorted(path.parent.glob(f"{path.name}.*.npy"))
    version = hash_content(path, *companions)
    return WordVectors(vectors_name(path), version, _cached("file", version, lambda: read_file(path)), only_latin=False)


def vectors_name(path: Path) -> str:
    """Return the name of the vectors of a file."""
    return path.name.split(".", 1)[0] or path.name


def table_of(source: str) -> Path | None:
    """Return the folder of the table that a source is read from, made if it is not there yet; None for GloVe.

    GloVe comes with the program, and is no table that a backup holds.

    Raises:
        WordVectorError: The vectors are missing or damaged.
    """
    if source == DEFAULT_VECTORS:
        return None
    vectors = load_word_vectors(source)
    if source == WORDNET:
        return find_wordnet_table()
    return table_path("file", vectors.version) if Path(source).is_file() else _carried_table(source)


def _carried_table(source: str) -> Path | None:
    """Return the folder of the table that the project brings along for a source."""
    listed = carried_models.find(carried_models.WORD_VECTORS, SOURCES_FILE)
    if listed is None:
        return None
    try:
        name = json.loads(listed.read_text(encoding="utf-8")).get(source)
    except (OSError, ValueError, AttributeError) as error:
        raise WordVectorError(
            f"{listed} is damaged ({error}), so this project's word vectors are not found."
        ) from error
    if not isinstance(name, str) or Path(name).name != name:
        return None
    return carried_models.find(carried_models.WORD_VECTORS, name)


def _cached(name: str, version: str, read: Callable[[], tuple[list[str], Vectors]]) -> Table:
    folder = table_path(name, version)
    if not folder.is_dir():
        words, vectors = read()
        write_table(folder, words, vectors)
    return _table_in(folder)


def _table_in(folder: Path) -> Table:
    """Return the table of a folder; the one in memory, if it is in use, as the name of a folder fixes its content."""
    table = _TABLES.get(folder)
    if table is None:
        table = _TABLES[folder] = read_table(folder)
    return table


_LOCK = threading.Lock()
_TABLES: WeakValueDictionary[Path, Table] = WeakValueDictionary()
_LOADERS: dict[str, Callable[[str], WordVectors]] = {DEFAULT_VECTORS: _load_glove, WORDNET: _load_wordnet}
