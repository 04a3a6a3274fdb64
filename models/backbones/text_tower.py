"""The text tower of an installed image-text model: texts in, embeddings out; and scores of photos against them.

Runs in ONNX Runtime, with the tokenizer of Hugging Face's library `tokenizers`. Knows nothing of projects or tags.
Shapes: N texts -> (N, D) float32 of unit length; photo features (D,) -> (N,) float32.
"""

import html
import string
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annotator.errors import BackboneError

Matrix = npt.NDArray[np.float32]

BATCH = 64
"""Texts in one run of the network."""
EXTRA = 'pip install "annotator[backbones]"'


@dataclass(frozen=True)
class TextSettings:
    """What a text tower needs besides its network."""

    context_length: int
    """L, tokens of a text; longer texts are cut."""
    clean: str
    """How texts are cleaned: lower, whitespace or canonicalize, as open_clip names them."""
    pad_id: int
    logit_scale: float
    """Factor of a cosine."""
    logit_bias: float | None
    """Added to it, before a sigmoid; None: a softmax over the texts."""


class TextTokenizer:
    """Texts -> (N, L) int64, as the model's own tokenizer does it.

    Args:
        definition: Content of a `tokenizer.json`.
        settings: Of the text tower.

    Raises:
        BackboneError: The library `tokenizers` is missing, or the definition is damaged.
    """

    def __init__(self, definition: str, settings: TextSettings) -> None:
        try:
            import ftfy  # noqa: F401 - `clean` needs it
            from tokenizers import Tokenizer
        except ImportError as error:
            raise BackboneError(
                f"Image-text models need the package {error.name}, which is missing. Run: {EXTRA}"
            ) from error
        try:
            self._tokenizer: Any = Tokenizer.from_str(definition)
        except Exception as error:  # the library raises plain exceptions
            raise BackboneError(f"The tokenizer cannot be read ({error}). Install the backbone again.") from error
        self._tokenizer.enable_truncation(settings.context_length)
        self._tokenizer.enable_padding(length=settings.context_length, pad_id=settings.pad_id, pad_token="")
        self._clean = settings.clean

    def tokens(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the tokens of N texts, (N, L)."""
        found = self._tokenizer.encode_batch([clean(text, self._clean) for text in texts])
        return np.array([item.ids for item in found], np.int64)


def clean(text: str, how: str) -> str:
    """Return a text as open_clip cleans it: lower, whitespace or canonicalize."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    if how == "canonicalize":
        text = text.replace("_", " ").translate(str.maketrans("", "", string.punctuation)).lower()
    text = " ".join(text.split())
    return text.lower() if how == "lower" else text


class TextTower:
    """A text tower.

    Args:
        session: An `onnxruntime.InferenceSession` from tokens to embeddings.
        tokenizer: Of the model.
        settings: Of the model.
        version: Changes whenever the same text could get another embedding.
    """

    def __init__(self, session: Any, tokenizer: TextTokenizer, settings: TextSettings, version: str) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self.settings = settings
        self.version = version

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Return the embeddings of N texts, (N, D) of unit length."""
        parts = []
        for start in range(0, len(texts), BATCH):
            tokens = self._tokenizer.tokens(texts[start : start + BATCH])
            with self._lock:
                found = self._session.run(["embeddings"], {"tokens": tokens})[0]
            parts.append(unit(found))
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def probabilities(self, cosines: Matrix) -> Matrix:
        """Return how the model itself reads cosines of one photo with N texts, (N,) in [0, 1].

        A sigmoid of each, for models trained so (SigLIP); otherwise a softmax over the texts (CLIP).
        """
        values = self.settings.logit_scale * cosines.astype(np.float64)
        if self.settings.logit_bias is not None:
            found: Matrix = (0.5 * (1 + np.tanh(0.5 * (values + self.settings.logit_bias)))).astype(np.float32)
            return found
        powers = np.exp(values - values.max(initial=-np.inf))
        shares: Matrix = (powers / powers.sum()).astype(np.float32)
        return shares


def unit(rows: Matrix) -> Matrix:
    """Return rows of unit length."""
    found: Matrix = (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)).astype(np.float32)
    return found
