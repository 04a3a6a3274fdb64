"""Vocabularies: the tags of a tagger with their numbers and orders; and a list of common words.

Knows nothing of projects or models.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from annotator.datasets.record import Record, frequent_spellings
from annotator.datasets.tags import clean_tag, tag_key
from annotator.errors import ConfigError, DataError, TagError

Order = Literal["given", "rare_first", "frequent_first"]
"""Training order of a photo's tags: as given by the person, or by the number of photos with the tag."""
ORDERS: tuple[str, ...] = get_args(Order)


class Vocabulary:
    """Tags numbered from 0, with their counts.

    Args:
        tags: Without duplicates; the first has number 0.
        counts: Number of records with each tag; empty if unknown.

    Raises:
        DataError: There are no tags, a tag is invalid or occurs twice, or the number of counts differs.
    """

    def __init__(self, tags: Sequence[str], counts: Sequence[int] = ()) -> None:
        if not tags:
            raise DataError("A vocabulary needs at least one tag; it got none.")
        for tag in tags:
            try:
                is_clean = clean_tag(tag) == tag
            except TagError as error:
                raise DataError(f"The vocabulary holds a bad tag. {error}") from error
            if not is_clean:
                raise DataError(f"The vocabulary spells {tag!r}; write it {clean_tag(tag)!r}.")
        if len(set(tags)) < len(tags):
            tag, _ = Counter(tags).most_common(1)[0]
            raise DataError(f"The vocabulary holds the tag {tag!r} twice.")
        if counts and len(counts) != len(tags):
            raise DataError(f"The vocabulary has {len(tags)} tags but {len(counts)} counts.")
        self.tags = tuple(tags)
        self.counts = tuple(counts)
        # Exact spellings first: a vocabulary of an older version may hold two spellings of a tag.
        self._index = {tag: index for index, tag in enumerate(self.tags)}
        self._index_of_key: dict[str, int] = {}
        for index, tag in enumerate(self.tags):
            self._index_of_key.setdefault(tag_key(tag), index)

    @classmethod
    def from_records(cls, records: Iterable[Record], min_count: int = 1, order: Order = "frequent_first") -> Self:
        """Collect the tags of records; of two spellings of a tag ("Dog", "dog"), that of the most records.

        Args:
            records: The records.
            min_count: Least number of records with a tag.
            order: Order of the numbers. "given": by first occurrence. The others: by the number of records with the
                tag, ties by first occurrence.

        Raises:
            DataError: No tag is left.
        """
        _check_order(order)
        lists = [record.tags for record in records]
        spellings = frequent_spellings(lists)
        counter = Counter(key for tags in lists for key in dict.fromkeys(map(tag_key, tags)))  # in order of occurrence
        counts = {spellings[key]: count for key, count in counter.items() if count >= min_count}
        if not counts:
            raise DataError(f"No tag occurs in {min_count} or more records, so there is no vocabulary.")
        tags = list(counts)
        if order != "given":
            tags.sort(key=lambda tag: counts[tag], reverse=order == "frequent_first")
        return cls(tags, [counts[tag] for tag in tags])

    def __len__(self) -> int:
        return len(self.tags)

    def __contains__(self, tag: object) -> bool:
        return isinstance(tag, str) and self._find(tag) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and (self.tags, self.counts) == (other.tags, other.counts)

    def __hash__(self) -> int:
        return hash(self.tags)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tags: {', '.join(self.tags[:3])}, ...)"

    def index(self, tag: str) -> int:
        """Return a tag's number.

        Raises:
            KeyError: The tag is not in the vocabulary.
        """
        found = self._find(tag)
        if found is None:
            raise KeyError(tag)
        return found

    def _find(self, tag: str) -> int | None:
        """Return the number of a tag in any spelling."""
        index = self._index.get(tag)
        return self._index_of_key.get(tag_key(tag)) if index is None else index

    def encode(self, tags: Iterable[str]) -> list[int]:
        """Return the tags' numbers in the same order, each once; unknown tags are left out."""
        return list(dict.fromkeys(index for index in map(self._find, tags) if index is not None))

    def decode(self, indices: Iterable[int]) -> list[str]:
        """Return the tags with these numbers.

        Raises:
            IndexError: A number is not in [0, size of the vocabulary).
        """
        tags = []
        for index in indices:
            if not 0 <= index < len(self.tags):
                raise IndexError(f"{index} is not the number of a tag; there are {len(self)}.")
            tags.append(self.tags[index])
        return tags

    def matrix(self, tag_lists: Sequence[Collection[str]]) -> npt.NDArray[np.float32]:
        """Return (B, V) float32, 1 where the list has the tag, else 0; unknown tags are left out."""
        rows = np.zeros((len(tag_lists), len(self)), np.float32)
        for row, tags in zip(rows, tag_lists, strict=True):
            row[self.encode(tags)] = 1.0
        return rows

    def order_tags(self, tags: Sequence[str], order: Order) -> list[str]:
        """Return a photo's tags in training order.

        Args:
            tags: In the given order; unknown tags are left out.
            order: Ties between equally frequent tags are broken by their numbers, independently of the input order.

        Raises:
            ConfigError: An unknown order, or an order by frequency without counts.
        """
        _check_order(order)
        known = [tag for tag in tags if tag in self]
        if order == "given":
            return known
        if not self.counts:
            raise ConfigError(f"Tags cannot be ordered {order!r}: the vocabulary has no counts.")
        sign = -1 if order == "frequent_first" else 1
        return sorted(known, key=lambda tag: (sign * self.counts[self.index(tag)], self.index(tag)))

    def to_json(self) -> str:
        """Return the vocabulary as JSON text."""
        return json.dumps({"tags": list(self.tags), "counts": list(self.counts)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the text of `to_json`.

        Raises:
            DataError: The text is no vocabulary.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"The vocabulary is not JSON: {error}.") from error
        if not isinstance(values, Mapping):
            raise DataError(f"The vocabulary must be a JSON object; found {type(values).__name__}.")
        tags, counts = values.get("tags"), values.get("counts", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise DataError('The vocabulary has no "tags": a list of strings.')
        if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
            raise DataError('The vocabulary\'s "counts" must be whole numbers from 0.')
        return cls(tags, counts)


def everyday_words() -> list[str]:
    """Return about a thousand common photo tags, the more frequent ones first."""
    text = (files("annotator.datasets") / "everyday_words.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _check_order(order: str) -> None:
    if order not in ORDERS:
        raise ConfigError(f"There is no label order {order!r}. Choose one of: {', '.join(ORDERS)}.")
