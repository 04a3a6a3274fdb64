"""Time, memory and recall of the neighbour searches among a million photos. Run by hand, never by CI.

    python tests/benchmarks/search.py --features features.npy

``--features`` is an (N, D) float32 array of real backbone features. Some of them are held out as queries; the
others are indexed together with mixtures of random pairs of them plus a little noise, up to ``--num``. Without it
the features are noise: their times mean something, their recall does not, and it is not measured. The features lie in
a temporary file as they do in a project (5 GB for a million), which is deleted at the end.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotator.models.context import VectorSums
from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.proposals.context import WordVectorIndex, field_words
from annotator.proposals.evidence import Words
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex, VectorIndexSettings

K = 24
CHUNK = 20_000
TAG = "benchmark 1"

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
Row = dict[str, Any]


class FeatureFile:
    """Features in a memory-mapped file; row i belongs to image i."""

    def __init__(self, path: Path, num: int, size: int) -> None:
        self.path = path
        self.shape = (num, size)
        self.rows: npt.NDArray[np.float32] = np.memmap(path, dtype=np.float32, mode="w+", shape=self.shape)

    def vectors(self, ids: Ids) -> Vectors:
        return np.asarray(self.rows[ids])

    def forget_pages(self) -> None:
        """Drop the file from the system's cache, so that the next reads come from the disk."""
        self.rows.flush()  # type: ignore[attr-defined]
        self.rows = np.zeros((0, 0), np.float32)
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.rows = np.memmap(self.path, dtype=np.float32, mode="r", shape=self.shape)


def private_megabytes() -> float:
    """Memory of this process without mapped files, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def fill(features: FeatureFile, real: Vectors | None, rng: np.random.Generator) -> None:
    """Write real features first, mixtures of pairs of them after; noise where there are none."""
    num, size = features.shape
    first = 0
    if real is not None:
        first = min(len(real), num)
        features.rows[:first] = real[:first]
        deviation = real.std(axis=0)
    for start in range(first, num, CHUNK):
        rows = rng.standard_normal((min(CHUNK, num - start), size), dtype=np.float32)
        if real is None:
            rows = np.abs(rows)
        else:
            one, other = rng.integers(len(real), size=(2, len(rows)))
            weight = rng.uniform(0.5, 1, size=(len(rows), 1)).astype(np.float32)
            # Pooled features are never negative.
            rows = np.maximum(weight * real[one] + (1 - weight) * real[other] + rows * (0.1 * deviation), 0)
        features.rows[start : start + len(rows)] = rows


def exact_neighbours(rows: npt.NDArray[np.float32], queries: Vectors) -> Ids:
    """Return the K true neighbours of each query by a plain product with every row: (Q, K)."""
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    best = np.full((len(queries), K), -2, np.float32)
    ids = np.full((len(queries), K), -1, np.int64)
    for start in range(0, len(rows), CHUNK):
        chunk = np.array(rows[start : start + CHUNK])
        chunk /= np.linalg.norm(chunk, axis=1, keepdims=True)
        similarities = np.hstack([best, queries @ chunk.T])
        numbers = np.broadcast_to(np.arange(start, start + len(chunk)), (len(queries), len(chunk)))
        top = np.argpartition(-similarities, K - 1, axis=1)[:, :K]
        ids = np.take_along_axis(np.hstack([ids, numbers]), top, axis=1)
        best = np.take_along_axis(similarities, top, axis=1)
    return ids


def recall(found: Ids, truth: Ids) -> float:
    """Return the share of the true neighbours that were found."""
    return float(np.mean([len(np.intersect1d(one, other)) / K for one, other in zip(found, truth, strict=True)]))


def milliseconds(calls: list[Callable[[], object]]) -> Row:
    """Time each call by itself; its own CPU time tells how busy the machine was with other things."""
    seconds, busy = [], []
    for call in calls:
        start, busy_start = time.perf_counter(), time.thread_time()
        call()
        seconds.append(time.perf_counter() - start)
        busy.append(time.thread_time() - busy_start)
    return {**spread(seconds), "cpu_ms": round(float(np.median(busy)) * 1_000, 2)}


def spread(seconds: list[float]) -> Row:
    p50, p95, longest = np.percentile(seconds, [50, 95, 100]) * 1_000
    return {"p50_ms": round(p50, 2), "p95_ms": round(p95, 2), "max_ms": round(longest, 2), "num": len(seconds)}


def searches(index: VectorIndex, queries: Vectors) -> list[Callable[[], object]]:
    return [lambda query=query: index.search(query[np.newaxis], K) for query in queries]  # type: ignore[misc]


def measure_visual(options: argparse.Namespace, folder: Path) -> list[Row]:
    rng = np.random.default_rng(options.seed)
    real: Vectors | None = None
    if options.features is not None:
        real = np.load(options.features).astype(np.float32)
        rng.shuffle(real)
        queries, real = real[: options.num_queries], real[options.num_queries :]
    else:
        queries = np.abs(rng.standard_normal((options.num_queries, options.feature_size), dtype=np.float32))
    features = FeatureFile(folder / "features.f32", options.num, queries.shape[1])
    fill(features, real, rng)
    settings = VectorIndexSettings(
        exact_below=min(20_000, options.num // 2), num_build_threads=options.build_threads, use_gpu="never"
    )
    rows: list[Row] = []
    if real is not None:
        rows.append(measure_real_only(real, queries, settings))

    before = private_megabytes()
    index = VectorIndex(queries.shape[1], settings, features.vectors, tag=TAG)
    start = time.perf_counter()
    index.rebuild(np.arange(options.num))
    built = time.perf_counter() - start
    path = folder / "visual.index"
    start = time.perf_counter()
    index.save(path)
    saved = time.perf_counter() - start
    rows.append(
        {
            "what": f"build, {options.num:,} features, {index.kind}",
            "seconds": round(built, 1),
            "memory_mb": round(private_megabytes() - before),
            "index_mb": round(path.stat().st_size / 2**20),
            "save_seconds": round(saved, 2),
        }
    )
    truth = None if real is None else exact_neighbours(features.rows, queries)

    def measured(what: str, changed: VectorIndexSettings) -> None:
        other = VectorIndex.load(path, queries.shape[1], changed, features.vectors, tag=TAG)
        row = {"what": what, **milliseconds(searches(other, queries))}
        if truth is not None:
            row["recall"] = round(recall(other.search(queries, K)[0], truth), 4)
        rows.append(row)

    features.forget_pages()
    rows.append({"what": "search, first reads from the disk", **milliseconds(searches(index, queries))})
    measured("search, default settings", settings)
    measured("search, 2 FAISS threads", replace(settings, num_threads=2))
    if options.curve:
        for num_probes in (8, 16, 32, 64, 128, 256):
            for num_candidates in (50, 100, 200, 400):
                measured(
                    f"search, {num_probes} probes, {num_candidates} candidates",
                    replace(settings, num_probes=num_probes, num_candidates=num_candidates),
                )
    rows += measure_changes(index, features, queries)
    exact = VectorIndex(queries.shape[1], replace(settings, exact_below=CHUNK), features.vectors, tag=TAG)
    exact.rebuild(np.arange(min(CHUNK, options.num)))
    rows.append({"what": f"search, {len(exact):,} features, exact", **milliseconds(searches(exact, queries))})
    return rows


def measure_real_only(real: Vectors, queries: Vectors, settings: VectorIndexSettings) -> Row:
    """Search the real features alone through an inverted file, however few they are."""
    index = VectorIndex(real.shape[1], replace(settings, exact_below=0), lambda ids: real[ids], tag=TAG)
    index.rebuild(np.arange(len(real)))
    return {
        "what": f"search, {len(real):,} real features, {index.kind}",
        **milliseconds(searches(index, queries)),
        "recall": round(recall(index.search(queries, K)[0], exact_neighbours(real, queries)), 4),
    }


def measure_changes(index: VectorIndex, features: FeatureFile, queries: Vectors) -> list[Row]:
    """Time changes while another thread searches without a pause."""
    searched: list[float] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            for call in searches(index, queries[:20]):
                start = time.perf_counter()
                call()
                searched.append(time.perf_counter() - start)

    images = np.random.default_rng(0).choice(features.shape[0], 200, replace=False)
    thread = threading.Thread(target=search)
    thread.start()
    removed = milliseconds([lambda image=image: index.remove([image]) for image in images])  # type: ignore[misc]
    added = milliseconds([lambda i=i: index.add([i], features.vectors(np.array([i]))) for i in images])  # type: ignore[misc]
    batches = np.array_split(images, 6)
    replaced = milliseconds([lambda ids=ids: index.add(ids, features.vectors(ids)) for ids in batches])  # type: ignore[misc]
    stop.set()
    thread.join()
    return [
        {"what": "remove one image while searching", **removed},
        {"what": "add one image while searching", **added},
        {"what": "replace 33 images while searching", **replaced},
        {"what": "search while images change", **spread(searched)},
    ]


def measure_metadata(options: argparse.Namespace) -> list[Row]:
    """Time Jaccard neighbours among sets of about ten words, drawn by Zipf's law from 50,000."""
    rng = np.random.default_rng(options.seed)
    chances = 1 / np.arange(1, 50_001)
    words = [f"word{number}" for number in range(len(chances))]
    drawn = rng.choice(len(chances), size=(options.num, 10), p=chances / chances.sum())
    sets = [[words[number] for number in row] for row in drawn.tolist()]
    del drawn
    index = KeywordIndex()
    before = private_megabytes()
    start = time.perf_counter()
    index.set_many(enumerate(sets))
    loaded = time.perf_counter() - start
    memory = private_megabytes() - before
    images = rng.choice(options.num, options.num_queries).tolist()
    searched = milliseconds([lambda i=i: index.search(sets[i], K, exclude=[i]) for i in images])  # type: ignore[misc]
    changed = milliseconds([lambda i=i: index.set(i, sets[-i - 1]) for i in images])  # type: ignore[misc]
    return [
        {
            "what": f"metadata: load {options.num:,} sets",
            "seconds": round(loaded, 1),
            "memory_mb": round(memory),
        },
        {"what": "metadata: search", **searched},
        {"what": "metadata: change one set", **changed},
    ]


def measure_meanings(options: argparse.Namespace) -> list[Row]:
    """Time cosine neighbours among sums of ten GloVe vectors, words drawn by Zipf's law from the 50,000 commonest."""
    rng = np.random.default_rng(options.seed)
    vectors = load_word_vectors()
    words = vectors._table.words[:50_000]
    chances = 1 / np.arange(1, len(words) + 1)
    drawn = rng.choice(len(words), size=(options.num, 10), p=chances / chances.sum())
    index = WordVectorIndex("user_tags", VectorSums(vectors))
    before = private_megabytes()
    start = time.perf_counter()
    for first in range(0, options.num, CHUNK):
        rows = drawn[first : first + CHUNK].tolist()
        index.set_many((first + place, Words(tuple(words[n] for n in row))) for place, row in enumerate(rows))
    loaded = time.perf_counter() - start
    memory = private_megabytes() - before
    images = rng.choice(options.num, options.num_queries, replace=False).tolist()
    sets = {image: field_words(Words(tuple(words[n] for n in drawn[image])), "user_tags") for image in images}
    searched = milliseconds([lambda i=i: index.search(sets[i], K, i) for i in images])  # type: ignore[misc]
    return [
        {"what": f"word vectors: load {options.num:,} sets", "seconds": round(loaded, 1), "memory_mb": round(memory)},
        {"what": "word vectors: search", **searched},
    ]


def table(rows: list[Row]) -> str:
    names = [
        "what",
        "p50_ms",
        "p95_ms",
        "max_ms",
        "cpu_ms",
        "recall",
        "seconds",
        "memory_mb",
        "index_mb",
        "save_seconds",
    ]
    names = [name for name in names if any(name in row for row in rows)]
    cells = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=1_000_000, help="photos (default: 1,000,000)")
    parser.add_argument("--features", type=Path, help="real features, an (N, D) float32 .npy file")
    parser.add_argument("--feature-size", type=int, default=1_280, help="D of noise (default: 1280)")
    parser.add_argument("--num-queries", type=int, default=500, help="single searches timed (default: 500)")
    parser.add_argument("--build-threads", type=int, default=2, help="FAISS threads that build (default: 2)")
    parser.add_argument("--curve", action="store_true", help="measure probes against candidates too")
    parser.add_argument("--folder", type=Path, help="where the temporary files go (default: the system's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-meanings", action="store_true", help="measure only sums of word vectors")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    options = parser.parse_args(arguments)
    # First, so that its memory is not taken from what the other has let go.
    if options.only_meanings:
        rows = measure_meanings(options)
    else:
        metadata_rows = measure_metadata(options) + measure_meanings(options)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            rows = measure_visual(options, Path(folder)) + metadata_rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.json:
        json.dump({"k": K, "num": options.num, "rows": rows}, sys.stdout, indent=1)
        print()
    else:
        print(table(rows))
        print(f"\n{K} neighbours a search, one search at a time; cpu_ms is the median CPU time of the calling thread.")
        print(f"Peak memory with mapped files {peak:,.0f} MB; load average {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
