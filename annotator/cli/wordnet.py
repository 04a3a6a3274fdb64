"""`annotator wordnet build`: computes word vectors from an installed WordNet."""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from annotator.cli.command import add_verb, add_verbs
from annotator.errors import ConfigError, DataError


def add_wordnet(commands: Any) -> None:
    """Add `annotator wordnet build` to the parser of commands."""
    verbs = add_verbs(
        commands,
        "wordnet",
        "compute word vectors from an installed WordNet",
        "Compute word vectors from an installed WordNet, for the setting wnet and for completions by meaning.",
        "annotator wordnet build --tags my-tags.txt",
    )
    build = add_verb(
        verbs,
        "build",
        _build,
        "compute the vectors and store them in the user's cache",
        "Compute the vectors, which takes minutes, and keep them in the user's cache. If interrupted, it leaves no "
        "files; with the same settings as before it does nothing.",
        "annotator wordnet build --wordnet /usr/share/wordnet --size 650",
    )
    build.add_argument(
        "--wordnet", type=Path, metavar="DIR", help="folder of data.noun (default: where it is installed)"
    )
    build.add_argument("--size", type=int, default=650, metavar="S", help="values a word (default: %(default)s)")
    build.add_argument(
        "--words", type=int, default=30_000, metavar="N", help="the most used words (default: %(default)s)"
    )
    build.add_argument("--tags", type=Path, action="append", default=[], metavar="FILE",
                       help="further words to include, one a line; everyday words and the tags of the starter "
                       "are always included")  # fmt: skip
    build.add_argument("--seed", type=int, default=0, help="of the decomposition (default: %(default)s)")


def _build(parsed: argparse.Namespace) -> int:
    from annotator.datasets import wordnet
    from annotator.models.word_vectors.word_vector_files import hash_content, table_path, write_table
    from annotator.models.word_vectors.word_vectors import WORDNET, known_forms
    from annotator.models.word_vectors.wordnet_vectors import METHOD_REVISION, choose_lemmas, make_vectors

    for name, least in (("size", 1), ("words", 2)):
        value = getattr(parsed, name)  # an argparse.Namespace has no declared attributes
        if value < least:
            raise ConfigError(f"--{name} must be at least {least}, got {value}.")
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {text}", file=sys.stderr, flush=True)

    folder = wordnet.find_wordnet(parsed.wordnet)
    forced = known_forms([*_own_tags(), *(tag for path in parsed.tags for tag in _read_tags(path))])
    content = hash_content(*wordnet.data_files(folder))
    settings = [METHOD_REVISION, content, parsed.size, parsed.words, parsed.seed, sorted(forced)]
    version = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    target = table_path(WORDNET, version)
    if target.is_dir():
        # Marks it as the table that was requested last.
        target.touch()
        print(f"The WordNet vectors are there already: {target}")
        return 0
    say(f"Reading WordNet in {folder} ...")
    synsets, counts = list(wordnet.read_synsets(folder)), wordnet.read_counts(folder)
    lemmas = choose_lemmas(synsets, counts, parsed.words, forced)
    say(f"{len(synsets):,} meanings, {len(lemmas):,} words")
    vectors = make_vectors(synsets, counts, lemmas, parsed.size, seed=parsed.seed, progress=say)
    write_table(target, lemmas, vectors)
    say("Done")
    print(f"{len(lemmas):,} words, {parsed.size} values each: {target}")
    return 0


def _own_tags() -> list[str]:
    from annotator.datasets.vocabulary import everyday_words
    from annotator.models import checkpoint
    from annotator.models.taggers.cold_start import load_table

    starter = checkpoint.read_info(checkpoint.STARTER).vocabulary.tags
    return [*everyday_words(), *load_table().words, *starter]


def _read_tags(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The tags {path} cannot be read: {error}.") from error
