"""Vectors of words from WordNet's graph: words with similar meanings get similar vectors.

A random walk starts at a word, goes to one of its meanings (in proportion to their counts in cntlist.rev), then over
the relations between meanings, and continues after each hop with the probability ALPHA:

    G = W (I + alpha P + ... + alpha^4 P^4)    W (L, N) word -> meaning, P (N, N) hop, both with rows of sum 1

PMI(word, meaning) = log(G_wm sum(G) / (sum_m G_wm  sum_w G_wm)), negative values left out. Its left singular vectors,
scaled by the square roots of the singular values and normalised to length 1, are the word vectors: `wnet` of the
metadata taggers.
Departs from walks over words: contexts are meanings, so that the two meanings of a word do not become neighbours.

Shapes: L words -> (L, S) float32. Knows nothing of files or of how tags are looked up (see word_vectors.py).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse  # type: ignore[import-untyped]
from sklearn.utils.extmath import randomized_svd  # type: ignore[import-untyped]

from annotator.datasets.wordnet import Synset
from annotator.errors import WordVectorError

METHOD_REVISION = 1
"""Increase it when the same files and settings give other vectors."""
ALPHA = 0.75
NUM_HOPS = 4
SENSE_FLOOR = 0.5
"""Added to each meaning's count, so that a meaning without occurrences in the tagged texts has a probability."""
MEANINGS_PER_WORD = 600
"""Most meanings stored per word, the likeliest; keeps the memory at about 200 MB."""
BLOCK = 1000
"""Words per matrix product."""
Progress = Callable[[str], None]
Vectors = npt.NDArray[np.float32]


def choose_lemmas(
    synsets: Iterable[Synset], counts: dict[tuple[str, str, str, str], int], num_words: int, required: Collection[str]
) -> list[str]:
    """Return the lemmas to make vectors of: the required ones, then the most frequent; in order of frequency.

    Args:
        synsets: All meanings.
        counts: How often each sense is used.
        num_words: Most lemmas, unless more are required.
        required: Lemmas to include in any case; those that WordNet lacks are ignored.
    """
    use: dict[str, tuple[int, int]] = {}
    for synset in synsets:
        for lemma, sense in zip(synset.lemmas, synset.sense_keys, strict=True):
            count, num_synsets = use.get(lemma, (0, 0))
            use[lemma] = (count + counts.get(sense, 0), num_synsets + 1)
    ordered = sorted(use, key=lambda lemma: (-use[lemma][0], -use[lemma][1], lemma))
    chosen_first = set(required).intersection(use)
    rest = [lemma for lemma in ordered if lemma not in chosen_first]
    chosen = chosen_first.union(rest[: max(0, num_words - len(chosen_first))])
    return [lemma for lemma in ordered if lemma in chosen]


def make_vectors(
    synsets: Sequence[Synset],
    counts: dict[tuple[str, str, str, str], int],
    lemmas: Sequence[str],
    size: int,
    *,
    seed: int = 0,
    progress: Progress = lambda text: None,
) -> Vectors:
    """Return the vectors of lemmas, (L, S) of length 1.

    Args:
        synsets: All meanings.
        counts: How often each sense is used.
        lemmas: The L words, from `choose_lemmas`.
        size: S.
        seed: Of the randomised decomposition.
        progress: Called with a line of text for each step.

    Raises:
        WordVectorError: There are no more words or meanings than `size`.
    """
    if not 0 < size < min(len(lemmas), len(synsets)):
        raise WordVectorError(
            f"Vectors of {size:,} values need more than {size:,} words and meanings; there are {len(lemmas):,} words "
            f"and {len(synsets):,} meanings."
        )
    ids = {synset.key: place for place, synset in enumerate(synsets)}
    starts, hops = start_matrix(synsets, counts, lemmas), hop_matrix(synsets, ids)
    walked = walk(starts, hops, progress)
    matrix = positive_pmi(walked)
    progress(f"Decomposing {matrix.shape[0]:,} x {matrix.shape[1]:,} with {matrix.nnz:,} values ...")
    left, values, _ = randomized_svd(matrix, size, n_oversamples=20, n_iter=3, random_state=seed)
    vectors = left * np.sqrt(values)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows: Vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return rows


def start_matrix(synsets: Sequence[Synset], counts: dict[tuple[str, str, str, str], int], lemmas: Sequence[str]) -> Any:
    """Return W, (L, N): the probability of each meaning of a word."""
    rows_of = {lemma: place for place, lemma in enumerate(lemmas)}
    rows, columns, values = [], [], []
    for column, synset in enumerate(synsets):
        for lemma, sense in zip(synset.lemmas, synset.sense_keys, strict=True):
            if lemma in rows_of:
                rows.append(rows_of[lemma])
                columns.append(column)
                values.append(counts.get(sense, 0) + SENSE_FLOOR)
    shape = (len(lemmas), len(synsets))
    return _normalise_rows(sparse.csr_matrix((values, (rows, columns)), shape, dtype=np.float32))


def hop_matrix(synsets: Sequence[Synset], ids: dict[str, int]) -> Any:
    """Return P, (N, N): from each meaning to those it is related to, in either direction."""
    pairs = [(place, ids[key]) for place, synset in enumerate(synsets) for key in synset.related if key in ids]
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    shape = (len(synsets), len(synsets))
    one_way = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape)
    links = one_way + one_way.T
    links.data[:] = 1.0
    return _normalise_rows(links)


def walk(starts: Any, hops: Any, progress: Progress = lambda text: None) -> Any:
    """Return G, (L, N) sparse: the discounted visits of a walk from each word to its likeliest meanings."""
    blocks = []
    for first in range(0, starts.shape[0], BLOCK):
        here = starts[first : first + BLOCK]
        total = here.copy()
        for _ in range(NUM_HOPS):
            here = _largest_per_row(ALPHA * (here @ hops), 4 * MEANINGS_PER_WORD)
            total = total + here
        blocks.append(_largest_per_row(total, MEANINGS_PER_WORD))
        progress(f"Walked from {first + total.shape[0]:,} of {starts.shape[0]:,} words")
    return sparse.vstack(blocks, format="csr")


def positive_pmi(visits: Any) -> Any:
    """Return max(0, log(G_wm sum(G) / (sum_m G_wm sum_w G_wm))), sparse."""
    by_word = np.asarray(visits.sum(axis=1)).ravel()
    by_meaning = np.asarray(visits.sum(axis=0)).ravel()
    pairs = visits.tocoo()
    values = np.log(pairs.data * visits.sum() / (by_word[pairs.row] * by_meaning[pairs.col]))
    kept = values > 0
    return sparse.csr_matrix((values[kept].astype(np.float32), (pairs.row[kept], pairs.col[kept])), shape=visits.shape)


def _normalise_rows(matrix: Any) -> Any:
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    scaled = sparse.diags(1 / np.where(sums > 0, sums, 1)) @ matrix
    return scaled.tocsr().astype(np.float32)


def _largest_per_row(matrix: Any, num_kept: int) -> Any:
    """Return a matrix with only the largest values of each row."""
    columns, values, lengths = [], [], []
    for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        row_columns, row_values = matrix.indices[start:end], matrix.data[start:end]
        if end - start > num_kept:
            best = np.argpartition(-row_values, num_kept)[:num_kept]
            row_columns, row_values = row_columns[best], row_values[best]
        columns.append(row_columns)
        values.append(row_values)
        lengths.append(len(row_values))
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return sparse.csr_matrix((np.concatenate(values), np.concatenate(columns), ends), shape=matrix.shape)
