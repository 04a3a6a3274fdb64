"""How alike in their target tags a photo's nearest photos are, by how metadata words are compared.

    python tests/benchmarks/neighbour_encodings.py DATA --metadata caption --target objects [--num 6000] [--k 6]

Nothing is trained. A fifth of the photos (seed 0) asks, the others are found. "shared": the mean Jaccard index of the
target tags of a photo and one of its k nearest. "votes": mAP by tag of the share of the k that carry the tag.
`id` compares the sets of words, by the Jaccard index; the other rows compare by cosine the sums of the words' vectors.
"centred": the vectors' mean over all words in use is taken off first, as sums of many words lie close together.
"rare words more": each word is weighed by log(photos / photos with the word).
"""

import argparse
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from harness import report

from annotator.datasets.metadata_words import metadata_words
from annotator.datasets.record import read_records
from annotator.models.word_vectors.word_vectors import DEFAULT_VECTORS, WORDNET, find_wordnet_table, load_word_vectors
from annotator.trainer.evaluation import metrics
from annotator.trainer.neighbourhoods import with_target

Matrix = npt.NDArray[np.float32]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--metadata", default="user_tags")
    parser.add_argument("--target", default="tags")
    parser.add_argument("--num", type=int, default=6000, help="photos, at most")
    parser.add_argument("--k", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    records = with_target(read_records(parsed.data, keep_untagged=parsed.target != "tags"), parsed.target)
    lists = metadata_words(records, parsed.metadata)
    pairs = [(words, record.tags) for words, record in zip(lists, records, strict=True) if words and record.tags]
    random.Random(0).shuffle(pairs)
    pairs = pairs[: parsed.num]
    words, truth = [own for own, _ in pairs], incidence([tags for _, tags in pairs])
    num_asking = len(pairs) // 5
    sets = incidence(words)
    rarity = np.log(len(words) / sets.sum(axis=0))
    rows = [judged("id", jaccard(sets, num_asking), truth, parsed.k)]
    rows.append(judged("id, rare words more", jaccard(sets, num_asking, rarity), truth, parsed.k))
    for source in [DEFAULT_VECTORS, *([WORDNET] if find_wordnet_table() is not None else [])]:
        vectors, known = load_word_vectors(source).matrix(vocabulary(words))
        centred = (vectors - np.average(vectors, axis=0, weights=sets.sum(axis=0) * known)) * known[:, None]
        rows.append(judged(source, cosines(sets @ vectors, num_asking), truth, parsed.k))
        rows.append(judged(f"{source}, centred", cosines(sets @ centred, num_asking), truth, parsed.k))
        weighed = cosines(sets @ (vectors * rarity[:, None]), num_asking)
        rows.append(judged(f"{source}, rare words more", weighed, truth, parsed.k))
    report(f"Neighbours by metadata, {parsed.data.name}, {len(pairs):,} photos", rows, as_json=parsed.json)


def vocabulary(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return every word once, the most frequent first."""
    return [word for word, _ in Counter(word for own in lists for word in own).most_common()]


def incidence(lists: Sequence[Sequence[str]]) -> Matrix:
    """Return (photos, words) of 0 and 1, the words in the order of `vocabulary`."""
    place = {word: number for number, word in enumerate(vocabulary(lists))}
    found = np.zeros((len(lists), len(place)), np.float32)
    for row, own in enumerate(lists):
        found[row, [place[word] for word in own]] = 1
    return found


def jaccard(sets: Matrix, num_asking: int, weights: Matrix | None = None) -> Matrix:
    """Return the (weighted) Jaccard index of the first photos and the others."""
    weighed = sets if weights is None else sets * weights
    shared = weighed[:num_asking] @ sets[num_asking:].T
    sizes = weighed.sum(axis=1)
    together: Matrix = sizes[:num_asking, None] + sizes[None, num_asking:] - shared
    return np.divide(shared, together, out=np.zeros_like(shared), where=together > 0)


def cosines(codes: Matrix, num_asking: int) -> Matrix:
    """Return the cosines of the first photos and the others."""
    unit = codes / np.maximum(np.linalg.norm(codes, axis=1, keepdims=True), 1e-9)
    found: Matrix = unit[:num_asking] @ unit[num_asking:].T
    return found


def judged(name: str, similarities: Matrix, truth: Matrix, k: int) -> dict[str, Any]:
    """Measure the k most similar."""
    own, pool = truth[: len(similarities)], truth[len(similarities) :]
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    shared = np.einsum("bt,bkt->bk", own, pool[nearest])
    together = own.sum(axis=1)[:, None] + pool[nearest].sum(axis=2) - shared
    votes = pool[nearest].mean(axis=1)
    return {
        "compared by": name,
        "shared": f"{(shared / together).mean():.3f}",
        "votes": f"{metrics.mean_average_precision(own > 0, votes, by='tag'):.3f}",
    }


if __name__ == "__main__":
    main()
