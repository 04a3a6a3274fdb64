"""Word-vector look-ups: ``python tests/benchmarks/words.py [--vectors glove wordnet]``. Needs no data."""

import argparse
import time
from typing import Any

from harness import percentiles, report

from annotator.datasets.vocabulary import everyday_words
from annotator.models import checkpoint
from annotator.models.taggers.cold_start import load_table
from annotator.proposals.vocabulary.similar_tags import SimilarTags

TYPED = [
    "automobile",
    "kitty",
    "soda",
    "ocean",
    "lorry",
    "taxi",
    "infant",
    "motorbike",
    "spectacles",
    "lady",
    "meadow",
    "seaside",
    "fridge",
    "sneakers",
]


def main() -> None:
    """Time what the add box asks: which tags of the vocabularies mean nearly what was typed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", nargs="+", default=["glove"])
    parser.add_argument("--num", type=int, default=500, help="look-ups a row")
    parser.add_argument("--json", action="store_true")
    parsed = parser.parse_args()
    starter = checkpoint.read_info(checkpoint.STARTER).vocabulary.tags
    everyday = tuple(dict.fromkeys([*everyday_words(), *load_table().words]))
    rows: list[dict[str, Any]] = []
    for source in parsed.vectors:
        started = time.perf_counter()
        meanings = SimilarTags(source)
        meanings.load()
        loading = time.perf_counter() - started
        if meanings.vectors is None:
            raise SystemExit(meanings.problem)
        words = list(vars(meanings.vectors)["_table"].words)
        large = tuple(words[:20_000])
        for name, vocabularies in (
            ("starter", (starter,)), ("starter and everyday words", (starter, everyday)), ("20,000 words", (large,)),
        ):  # fmt: skip
            begun = time.perf_counter()
            meanings.near("dog", vocabularies)
            first = time.perf_counter() - begun
            seconds = []
            for number in range(parsed.num):
                begun = time.perf_counter()
                meanings.near(TYPED[number % len(TYPED)], vocabularies)
                seconds.append(time.perf_counter() - begun)
            rows.append({
                "vectors": source, "load_s": round(loading, 2), "among": name,
                "num": sum(map(len, vocabularies)), "first_ms": round(first * 1000, 1), **percentiles(seconds),
            })  # fmt: skip
    report("tags near in meaning", rows, as_json=parsed.json)


if __name__ == "__main__":
    main()
