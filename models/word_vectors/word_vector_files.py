"""Reads files of word vectors (gensim's `.kv`, word2vec, GloVe, fastText) and writes a mapped `.kv` into the cache.

The only module that imports gensim, and only when a file is read or written, as that takes a second. Knows nothing of
tags: a table is words and their vectors. A cached table is a folder, written under a temporary name and then renamed,
so that two processes that write the same one both find it complete.

Shapes: a table of N words is (N, S) float32.
"""

import gzip
import hashlib
import io
import mmap
import os
import pickle
import shutil
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Self, cast

import numpy as np
import numpy.typing as npt

from annotator.errors import WordVectorError

Vectors = npt.NDArray[np.float32]

CACHE_REVISION = 1
"""Increase it when the layout of cached files changes."""
TABLE_FILE = "vectors.kv"
FASTTEXT_MAGIC = (793_712_314).to_bytes(4, "little")
"""First bytes of a fastText model with subwords."""
_FASTTEXT_HEAD = struct.Struct("<8x12id2i")
"""Magic number and version; the training settings, vector size first; the numbers of entries and of words."""
_FASTTEXT_COUNTS = 20
"""Bytes of further counts between the header and the words."""
_FASTTEXT_ENTRY = 9
"""Bytes after each word."""
_LONGEST_WORD = 4096
HEAD_BYTES = 64 * 1024
"""Read to detect the format of a file; must contain the first line with a vector."""
_KEYED_VECTORS = (
    ("gensim.models.keyedvectors", "KeyedVectors"),
    ("gensim.models.keyedvectors", "Word2VecKeyedVectors"),
    ("gensim.models.keyedvectors", "WordEmbeddingsKeyedVectors"),
    ("gensim.models.keyedvectors", "EuclideanKeyedVectors"),
    ("gensim.models.keyedvectors", "FastTextKeyedVectors"),
    ("gensim.models.fasttext", "FastTextKeyedVectors"),
)
"""Classes that a `.kv` may hold; all but the first and the last were written by gensim 3."""
_ENCODE = ("_codecs", "encode")
_DTYPE = ("numpy", "dtype")
_RECONSTRUCT = (("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"))
_FROM_BUFFER = (("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer"))
_KNOWN_NAMES = frozenset(
    {
        *_KEYED_VECTORS, *_RECONSTRUCT, *_FROM_BUFFER, _ENCODE, _DTYPE, ("numpy", "ndarray"),
        ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"),
        ("gensim.models.keyedvectors", "Vocab"), ("gensim.models.keyedvectors", "CompatVocab"),
        ("builtins", "frozenset"), ("__builtin__", "frozenset"), ("builtins", "slice"),
    }
)  # fmt: skip
"""The names that a `.kv` may refer to. None is called: each becomes a `_Stored`."""
_FLOATS = frozenset({"f2", "f4", "f8"})
_LONGEST_NGRAM = 100


@dataclass(frozen=True)
class Table:
    """Words and their vectors."""

    ids: dict[str, int]
    """Word -> row."""
    words: Sequence[str]
    vectors: Vectors
    """(N, S), mapped from a file."""


def cache_path() -> Path:
    """Return the folder of cached tables: `annotator/word_vectors` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "annotator" / "word_vectors"


def hash_content(*paths: Path) -> str:
    """Return the first 12 hex digits of the SHA-256 of files.

    Raises:
        WordVectorError: One cannot be read.
    """
    total = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise WordVectorError(f"The word vectors {path} cannot be read: {error.strerror}.") from error
    return total.hexdigest()[:12]


def table_path(name: str, version: str) -> Path:
    """Return the folder under which a table of this name and version is cached."""
    return cache_path() / f"{name}-{version}-r{CACHE_REVISION}"


def cached_tables(name: str) -> list[Path]:
    """Return the folders of the cached tables of a name, of any version."""
    return sorted(cache_path().glob(f"{name}-*-r{CACHE_REVISION}"))


def write_table(folder: Path, words: Sequence[str], vectors: Vectors) -> None:
    """Write a table in one step; an existing one stays.

    Raises:
        WordVectorError: The table is empty or holds values that are not finite, or the disk cannot be written.
    """
    from gensim.models import KeyedVectors  # type: ignore[import-untyped]

    if not len(words) or vectors.ndim != 2 or not vectors.shape[1]:
        raise WordVectorError("The word vectors are empty.")
    if not np.isfinite(vectors).all():
        raise WordVectorError("The word vectors hold values that are not finite; the file is damaged.")
    table = KeyedVectors(vectors.shape[1], dtype=np.float32)
    table.add_vectors(list(words), vectors)
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        table.save(str(temporary / TABLE_FILE), separately=["vectors"])
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        # The folder is not empty if another process wrote the same table first.
        if not (folder / TABLE_FILE).is_file():
            raise WordVectorError(f"The word vectors could not be saved in {folder}: {error.strerror}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def read_table(folder: Path) -> Table:
    """Map a table that `write_table` wrote.

    Raises:
        WordVectorError: It is damaged; the folder is then removed, so that the next call writes it again.
    """
    try:
        return _load_kv(folder / TABLE_FILE)
    except WordVectorError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise WordVectorError(f"{error} It was removed from the cache; try again.") from error


def read_file(path: Path) -> tuple[list[str], Vectors]:
    """Read a file of word vectors; the first bytes, not the name, decide its format.

    Formats: word2vec text and binary, GloVe text, fastText `.vec` and `.bin`, gensim `.kv`; all but the last two also
    gzipped.

    Returns:
        The words in the file's order, and (N, S).

    Raises:
        WordVectorError: There is no such file, it has another format, is damaged, or has rows of different lengths.
    """
    if not path.is_file():
        raise WordVectorError(f"There is no file of word vectors {path}.")
    try:
        table = _read_any(path)
    except WordVectorError:
        raise
    except Exception as error:  # gzip, gensim and numpy raise many types for a damaged file
        detail = " ".join(str(error).split()) or type(error).__name__
        raise WordVectorError(
            f"{path} is damaged, or no file of word vectors (word2vec, GloVe, fastText, gensim .kv): {detail}."
        ) from error
    if not np.isfinite(table.vectors).all():
        raise WordVectorError(f"{path} is damaged: it holds values that are not finite.")
    return list(table.words), np.asarray(table.vectors, np.float32)


def _read_any(path: Path) -> Table:
    from gensim.models import KeyedVectors
    from gensim.models.fasttext import load_facebook_vectors  # type: ignore[import-untyped]

    with path.open("rb") as raw:
        start = raw.read(4)
    if start == FASTTEXT_MAGIC:
        _check_fasttext(path)
        return _as_table(load_facebook_vectors(str(path)))
    if start[:1] == b"\x80":
        return _load_kv(path)
    with _open(path) as file:
        head = file.read(HEAD_BYTES)
    first = head.split(b"\n", 1)[0].split()
    if len(first) == 2 and all(part.isdigit() for part in first):
        count, size = int(first[0]), int(first[1])
        is_text = _is_text_row(head, size)
        _check_room(path, count, size, is_text)
        if is_text:
            return _read_text(path, size, count)
        return _as_table(KeyedVectors.load_word2vec_format(str(path), binary=True, unicode_errors="replace"))
    if not _is_text_row(b"\n" + head, len(first) - 1):
        raise WordVectorError(f"{path} is no file of word vectors: its first line is not a word and its numbers.")
    return _read_text(path, len(first) - 1, None)


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb"))


def _read_text(path: Path, size: int, count: int | None) -> Table:
    """Read word2vec's text, whose header holds the number of words, or GloVe's, which has no header.

    Without gensim, which leaves GloVe's file open and refuses words with spaces.
    """
    rows: dict[str, Vectors] = {}
    num_lines = 0
    with _open(path) as file:
        if count is not None:
            file.readline()
        for num_lines, line in enumerate(file, start=1):
            parts = line.rstrip().rsplit(b" ", size)
            try:
                row = np.array(parts[1:], np.float32)
            except ValueError as error:
                raise WordVectorError(f"{path} is damaged: row {num_lines:,} holds no numbers ({error}).") from error
            if len(row) != size:
                raise WordVectorError(f"{path} is damaged: row {num_lines:,} has {len(row)} values instead of {size}.")
            rows.setdefault(parts[0].decode("utf-8", "replace"), row)
    if count is not None and num_lines != count:
        raise WordVectorError(f"{path} is damaged: its header promises {count:,} words, and it holds {num_lines:,}.")
    words = list(rows)
    return Table({word: place for place, word in enumerate(words)}, words, np.stack(list(rows.values())))


def _is_text_row(head: bytes, size: int) -> bool:
    """Tell whether the line after the first newline is a word and ``size`` numbers as text."""
    line = head.split(b"\n", 2)[1] if b"\n" in head else b""
    try:
        return size > 0 and len([float(value) for value in line.split()[-size:]]) == size
    except ValueError:
        return False


def _check_room(path: Path, count: int, size: int, is_text: bool) -> None:
    """Refuse a header that announces more than the file can hold, before memory is allocated for it."""
    if not count or not size:
        raise WordVectorError(f"{path} is damaged: its header promises {count:,} words of {size:,} values.")
    if path.suffix != ".gz" and count * size * (2 if is_text else 4) > path.stat().st_size:
        raise WordVectorError(
            f"{path} is damaged: its header promises {count:,} words of {size:,} values, more than the file holds."
        )


def _check_fasttext(path: Path) -> None:
    """Refuse files that gensim would read without end: unterminated words, huge subwords, more than the file holds."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        size, *_, bucket, least, most, _, _, num_entries, num_words = _FASTTEXT_HEAD.unpack_from(content)
        if size < 1 or bucket < 0 or num_words < 1 or (num_words + bucket) * size * 4 > len(content):
            raise WordVectorError(
                f"{path} is damaged: its header promises {num_words:,} words and {bucket:,} subwords of {size:,} "
                "values, more than the file holds."
            )
        if not (0 <= least <= _LONGEST_NGRAM and 0 <= most <= _LONGEST_NGRAM):
            raise WordVectorError(f"{path} is damaged: its subwords have {least:,} to {most:,} letters.")
        at = _FASTTEXT_HEAD.size + _FASTTEXT_COUNTS
        for place in range(num_entries):
            end = content.find(b"\0", at, at + _LONGEST_WORD)
            if end < 0:
                raise WordVectorError(f"{path} is damaged: word {place + 1:,} has no end.")
            at = end + 1 + _FASTTEXT_ENTRY


class _Stored:
    """Replaces any object of a `.kv`: stores its constructor arguments and state, and runs nothing."""

    __slots__ = ("args", "state")
    called: ClassVar[tuple[str, str]]
    """Module and name."""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> Self:
        stored = super().__new__(cls)
        stored.args, stored.state = args, None
        return stored

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    """Reads a `.kv` without importing or calling what it names: numpy itself is not safe with a forged state."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._classes: dict[tuple[str, str], type[_Stored]] = {}

    def find_class(self, module: str, name: str) -> Any:
        called = (module, name)
        if called not in _KNOWN_NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which word vectors have no use for")
        if called not in self._classes:
            self._classes[called] = type(name, (_Stored,), {"__slots__": (), "called": called})
        return self._classes[called]


def _load_kv(path: Path) -> Table:
    try:
        stored = _Reader(path.read_bytes()).load()
        if not isinstance(stored, _Stored) or stored.called not in _KEYED_VECTORS or not isinstance(stored.state, dict):
            raise WordVectorError("it holds something else")
        return _read_stored(path, stored.state)
    except Exception as error:  # a damaged pickle can raise many types
        detail = " ".join(str(error).split()) or type(error).__name__
        raise WordVectorError(f"{path} is damaged, or no word vectors of gensim: {detail}.") from error


def _read_stored(path: Path, state: dict[str, Any]) -> Table:
    """Return the table of stored attributes, under gensim 4's or 3's names."""
    words = next((state[name] for name in ("index_to_key", "index2word", "index2entity") if name in state), None)
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise WordVectorError("its words are missing")
    vectors = _stored_floats(path, state, "vectors")
    if vectors is None:
        vectors = _stored_floats(path, state, "syn0")
    if vectors is None:
        vectors = _join_subwords(path, state, words)
    if len(words) > len(vectors):
        raise WordVectorError("its words and vectors do not fit together")
    return Table({word: place for place, word in enumerate(words)}, words, vectors[: len(words)])


def _stored_floats(path: Path, state: dict[str, Any], name: str) -> npt.NDArray[Any] | None:
    """Return a matrix from inside a `.kv`, or mapped from the file beside it; None if there is none."""
    if name in (state.get("__numpys") or ()):
        # allow_pickle=False refuses an array of objects.
        array = np.load(f"{path}.{name}.npy", mmap_mode="r", allow_pickle=False)
    elif state.get(name) is not None:
        array = _stored_array(state[name])
    else:
        return None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        raise WordVectorError("its vectors are no table of numbers")
    return array


def _stored_array(stored: Any) -> npt.NDArray[Any]:
    if stored.called in _FROM_BUFFER:
        content, dtype, shape, order = stored.args
    elif stored.called in _RECONSTRUCT:
        _, shape, dtype, is_fortran, content = stored.state
        order = "F" if is_fortran else "C"
    else:
        raise WordVectorError("its vectors are no table of numbers")
    if isinstance(content, _Stored) and content.called == _ENCODE:
        content = str(content.args[0]).encode("latin1")
    elif isinstance(content, str):  # written by Python 2
        content = content.encode("latin1")
    if dtype.called != _DTYPE or dtype.args[0] not in _FLOATS:
        raise WordVectorError("its vectors are no table of numbers")
    is_big = dtype.state is not None and dtype.state[1] == ">"
    return np.frombuffer(content, (">" if is_big else "<") + dtype.args[0]).reshape(shape, order=order)


def _join_subwords(path: Path, state: dict[str, Any], words: list[str]) -> Vectors:
    """Return the vectors of a fastText model that stores only those of whole words and of subwords."""
    from gensim.models.fasttext import FastTextKeyedVectors

    whole, parts = (_stored_floats(path, state, name) for name in ("vectors_vocab", "vectors_ngrams"))
    least, most, bucket = (state.get(name) for name in ("min_n", "max_n", "bucket"))
    if whole is None or parts is None:
        raise WordVectorError("its vectors are missing")
    if not state.get("compatible_hash"):
        raise WordVectorError("its subwords are of an older fastText than gensim 3.8.3; load and save it with that")
    if not (isinstance(least, int) and isinstance(most, int) and bucket == len(parts) and len(whole) == len(words)):
        raise WordVectorError("its words and vectors do not fit together")
    if not 0 <= least <= most <= _LONGEST_NGRAM:
        raise WordVectorError(f"its subwords have {least} to {most} letters")
    table = FastTextKeyedVectors(whole.shape[1], least, most, bucket)
    table.index_to_key, table.key_to_index = words, {word: place for place, word in enumerate(words)}
    table.vectors_vocab, table.vectors_ngrams = whole, parts
    table.recalc_char_ngram_buckets()
    table.adjust_vectors()
    joined: Vectors = table.vectors
    return joined


def _as_table(loaded: Any) -> Table:
    words, vectors = getattr(loaded, "index_to_key", None), getattr(loaded, "vectors", None)
    if not words or not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or len(words) > len(vectors):
        raise WordVectorError("The file is damaged: its words and vectors do not fit together.")
    # In some versions of gensim the matrix of a fastText model ends in rows of subwords.
    return Table(loaded.key_to_index, words, vectors[: len(words)])
