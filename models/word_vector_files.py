"""Word vectors as files: gensim's `.kv`, word2vec, GloVe and fastText in; a mapped `.kv` in the user's cache out.

The one home of gensim. Knows nothing of tags: a table is words and their vectors. Imports gensim only when a file is
touched, as that takes a second. Cached tables are folders, written beside their place and then renamed, so that of
two processes that make one at once both find it whole.

Shapes: a table of N words is (N, S) float32.
"""

import gzip
import hashlib
import io
import os
import pickle
import shutil
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from annotator.errors import WordVectorError

Vectors = npt.NDArray[np.float32]

CACHE_REVISION = 1
"""Raise it when the cached files' layout changes."""
TABLE_FILE = "vectors.kv"
FASTTEXT_MAGIC = (793_712_314).to_bytes(4, "little")
"""First bytes of a fastText model with subwords."""
HEAD_BYTES = 64 * 1024
"""What is read to tell the kind of a file; the first line with a vector must fit."""
_HARMLESS = ("gensim.models.keyedvectors", "gensim.models.fasttext", "gensim.utils", "numpy")
"""Modules whose objects a `.kv` may hold. Loading a pickle runs what it names, so nothing else is let in."""


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
    """Write a table so that it is either whole or not there; one that is there already stays.

    Raises:
        WordVectorError: The table holds nothing or values that are not finite, or the disk refuses.
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
        # Not empty: another process was quicker, and its table is as good.
        if not (folder / TABLE_FILE).is_file():
            raise WordVectorError(f"The word vectors could not be kept in {folder}: {error.strerror}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def read_table(folder: Path) -> Table:
    """Map a table that `write_table` wrote.

    Raises:
        WordVectorError: It is damaged; the folder is then removed, so that the next call makes it anew.
    """
    try:
        return _as_table(_load_kv(folder / TABLE_FILE))
    except WordVectorError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise WordVectorError(f"{error} It was removed from the cache; try again.") from error


def read_file(path: Path) -> tuple[list[str], Vectors]:
    """Read any file of word vectors; the kind is told by its first bytes, not its name.

    word2vec text and binary, GloVe text, fastText `.vec` and `.bin`, gensim `.kv`; all but the last two also gzipped.

    Returns:
        The words in the file's order, and (N, S).

    Raises:
        WordVectorError: No such file, none of these kinds, damaged, or rows of different lengths.
    """
    if not path.is_file():
        raise WordVectorError(f"There is no file of word vectors {path}.")
    try:
        table = _read_any(path)
    except WordVectorError:
        raise
    # What gensim and numpy raise for a damaged file.
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError,
            MemoryError, NotImplementedError, pickle.UnpicklingError, struct.error) as error:  # fmt: skip
        raise WordVectorError(
            f"{path} is damaged, or no file of word vectors (word2vec, GloVe, fastText, gensim .kv): {error}."
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
        return _as_table(load_facebook_vectors(str(path)))
    if start[:1] == b"\x80":
        return _as_table(_load_kv(path))
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
    """Read word2vec's text, whose header says how many words there are, or GloVe's, which has none.

    Not by gensim: it leaves GloVe's file open, and refuses the words with spaces that some of these files have.
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
    """Tell whether the line after the first newline is a word and ``size`` written numbers."""
    line = head.split(b"\n", 2)[1] if b"\n" in head else b""
    try:
        return size > 0 and len([float(value) for value in line.split()[-size:]]) == size
    except ValueError:
        return False


def _check_room(path: Path, count: int, size: int, is_text: bool) -> None:
    """Refuse a header that promises more than the file can hold, before memory is taken for it."""
    if not count or not size:
        raise WordVectorError(f"{path} is damaged: its header promises {count:,} words of {size:,} values.")
    if path.suffix != ".gz" and count * size * (2 if is_text else 4) > path.stat().st_size:
        raise WordVectorError(
            f"{path} is damaged: its header promises {count:,} words of {size:,} values, more than the file holds."
        )


class _Checker(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if not module.startswith(_HARMLESS) and (module, name) not in {("builtins", "slice"), ("_codecs", "encode")}:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which word vectors have no use for")
        return super().find_class(module, name)


def _load_kv(path: Path) -> Any:
    from gensim.models import KeyedVectors

    try:
        content = path.read_bytes()
        # gensim's own load would run whatever the pickle names.
        _Checker(io.BytesIO(content)).load()
        return KeyedVectors.load(str(path), mmap="r")
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise WordVectorError(f"{path} is damaged, or no word vectors of gensim: {error}.") from error


def _as_table(loaded: Any) -> Table:
    words, vectors = getattr(loaded, "index_to_key", None), getattr(loaded, "vectors", None)
    if not words or not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or len(words) > len(vectors):
        raise WordVectorError("The file is damaged: its words and vectors do not fit together.")
    # A fastText model's matrix ends in rows of subwords in some versions of gensim.
    return Table(loaded.key_to_index, words, vectors[: len(words)])
