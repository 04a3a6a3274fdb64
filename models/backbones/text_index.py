"""Words as embeddings of an image-text model: which of them a photo is alike to.

The embedding of a word is the mean over prompts ("a photo of {}.") of its unit embeddings. It is computed once and kept
in a file in the user's cache folder. A photo's cosine with a word means little by itself, as some models give every
pair .2; so each is told in standard deviations above the mean over all words.

Of more than `EXACT_BELOW` words, the cosines are first computed on the `NUM_DIRECTIONS` directions in which the words
vary most, and then in full for the best `NUM_RESCORED`; mean and standard deviation are exact in any case.

Knows nothing of projects. Any method may be called from any thread. Shapes: V words, D values.
"""

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from annotator.errors import BackboneError
from annotator.models.backbones.prompts import DEFAULT_PROMPTS, check_prompts
from annotator.models.backbones.text_tower import TextTower, unit

Matrix = npt.NDArray[np.float32]

EXACT_BELOW = 20_000
NUM_DIRECTIONS = 96
NUM_RESCORED = 1_000
CHUNK = 256
"""Words that are embedded at once; between chunks the work can be stopped."""
WRITE_EVERY = 4_096
"""Words after which the file is written."""


@dataclass(frozen=True)
class NearWord:
    """A word that a photo is alike to."""

    word: str
    cosine: float
    deviation: float
    """Standard deviations above the mean over all words."""


@dataclass(frozen=True)
class _Table:
    """The words as they are searched."""

    words: tuple[str, ...]
    rows: Matrix
    """(V, D) unit length."""
    mean: npt.NDArray[np.float64]
    """(D,) of the rows."""
    covariance: npt.NDArray[np.float64]
    """(D, D) of the rows."""
    directions: Matrix | None = None
    """(D, K) orthonormal."""
    projected: Matrix | None = None
    """(V, K), the rows along the directions."""


class TextIndex:
    """Words and their embeddings.

    Args:
        tower: Makes embeddings.
        prompts: Texts in which {} stands for the word.
        folder: Of the cache files; None: nothing is kept.

    Raises:
        ConfigError: A prompt has not exactly one {}.
    """

    def __init__(self, tower: TextTower, prompts: Sequence[str] = DEFAULT_PROMPTS, folder: Path | None = None) -> None:
        self._tower = tower
        self._prompts = check_prompts(prompts)
        digest = hashlib.sha256(json.dumps([tower.version, *self._prompts]).encode()).hexdigest()[:16]
        self._path = folder / f"words-{digest}.npz" if folder is not None else None
        self._lock = threading.Lock()
        self._known: dict[str, Matrix] = self._read()
        self._table: _Table | None = None

    def __len__(self) -> int:
        return len(self._table.words) if self._table is not None else 0

    def set_words(
        self,
        words: Sequence[str],
        is_stopping: Callable[[], bool] = lambda: False,
        progress: Callable[[int, int], None] = lambda done, num: None,
    ) -> bool:
        """Set the words that photos are compared with, embedding those that are new.

        Args:
            words: Different ones, the most wanted first.
            is_stopping: Tells whether to stop; what is embedded is kept.
            progress: Called with (words that are ready, all words).

        Returns:
            Whether all words are ready.

        Raises:
            BackboneError: The cache cannot be written; the words are used all the same until the end of the process.
        """
        with self._lock:
            words = tuple(dict.fromkeys(words))
            new = [word for word in words if word not in self._known]
            num_written = 0
            for start in range(0, len(new), CHUNK):
                if is_stopping():
                    break
                chunk = new[start : start + CHUNK]
                self._known.update(zip(chunk, self._embed(chunk), strict=True))
                progress(len(words) - len(new) + start + len(chunk), len(words))
                if start - num_written >= WRITE_EVERY:
                    self._use(words)
                    self._write()
                    num_written = start
            num_ready = self._use(words)
            if new:
                self._write()
            return num_ready == len(words)

    def use_known(self, words: Sequence[str]) -> int:
        """Set the words that photos are compared with to those that are embedded already, and return their number.

        Args:
            words: Different ones, the most wanted first.
        """
        with self._lock:
            return self._use(tuple(dict.fromkeys(words)))

    def nearest(self, features: Matrix, num: int) -> list[NearWord]:
        """Return the words that a photo is most alike to, best first.

        Args:
            features: (D,) of the photo.
            num: Most words.

        Raises:
            ValueError: The feature size does not fit.
        """
        table = self._table
        if table is None or len(table.words) < 2:
            return []
        if features.shape != (table.rows.shape[1],):
            raise ValueError(f"Features must be ({table.rows.shape[1]},); their shape is {features.shape}.")
        photo = unit(features[None])[0]
        if table.projected is None or table.directions is None:
            places, cosines = np.arange(len(table.words)), table.rows @ photo
        else:
            rough = table.projected @ (table.directions.T @ photo)
            k = min(max(NUM_RESCORED, num), len(rough))
            places = np.argpartition(-rough, k - 1)[:k]
            cosines = table.rows[places] @ photo
        wide = photo.astype(np.float64)
        mean, spread = float(table.mean @ wide), float(np.sqrt(max(wide @ table.covariance @ wide, 1e-12)))
        best = np.argsort(-cosines, kind="stable")[:num]
        return [
            NearWord(table.words[places[row]], float(cosines[row]), (float(cosines[row]) - mean) / spread)
            for row in best
        ]

    def _use(self, words: Sequence[str]) -> int:
        """Search those of some words that are embedded; return their number."""
        ready = tuple(word for word in words if word in self._known)
        if self._table is None or ready != self._table.words:
            self._table = self._make_table(ready)
        return len(ready)

    def _embed(self, words: Sequence[str]) -> Matrix:
        parts = [self._tower.embed([prompt.replace("{}", word) for word in words]) for prompt in self._prompts]
        # As the file holds them, so that a list does not depend on whether its words were read or just embedded.
        return unit(np.mean(parts, axis=0)).astype(np.float16).astype(np.float32)

    def _make_table(self, words: tuple[str, ...]) -> _Table | None:
        if not words:
            return None
        rows = unit(np.stack([self._known[word] for word in words]))
        mean = rows.mean(axis=0, dtype=np.float64)
        covariance = (rows.T @ rows).astype(np.float64) / len(rows) - np.outer(mean, mean)
        if len(words) <= EXACT_BELOW or rows.shape[1] <= NUM_DIRECTIONS:
            return _Table(words, rows, mean, covariance)
        # Of the second moments, not the covariance: the cosine with the mean is part of the cosine.
        _, vectors = np.linalg.eigh(covariance + np.outer(mean, mean))
        directions = np.ascontiguousarray(vectors[:, -NUM_DIRECTIONS:], np.float32)
        return _Table(words, rows, mean, covariance, directions, np.ascontiguousarray(rows @ directions))

    def _read(self) -> dict[str, Matrix]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            with self._path.open("rb") as archive, np.load(archive, allow_pickle=False) as file:
                words, rows = json.loads(file["words"].tobytes()), file["rows"]
            if len(words) != len(rows) or rows.ndim != 2 or not np.isfinite(rows).all():
                raise ValueError("its sizes differ")
        except Exception:  # a damaged archive raises many types; the words are embedded again
            return {}
        return dict(zip(words, rows.astype(np.float32), strict=True))

    def _write(self) -> None:
        if self._path is None:
            return
        words, rows = list(self._known), np.stack(list(self._known.values())).astype(np.float16)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".words-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    np.savez(file, words=np.frombuffer(json.dumps(words).encode(), np.uint8), rows=rows)
                os.replace(temporary, self._path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise BackboneError(
                f"The embeddings of words cannot be kept in {self._path.parent} ({error.strerror}); they are computed "
                "again at the next start. Free some space."
            ) from error


def default_cache_path() -> Path:
    """Return the folder of kept embeddings: `annotator/words` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "annotator" / "words"
