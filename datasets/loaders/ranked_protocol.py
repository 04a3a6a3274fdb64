"""The protocol of ranked-tags-lstm.txt, section 5.2, for PASCAL VOC 2007 and LabelMe with ranked tag lists.

Duplicate tags are removed, tags that too few training photos carry are ignored, and the photos are cut into parts of a
given size. The paper does not say which photos are in which part: a seed decides here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from annotator.datasets.loaders.loading import DataSet, frequent_tags, keep_tags
from annotator.datasets.record import Record
from annotator.datasets.splits import split


@dataclass(frozen=True)
class RankedSizes:
    """How many photos each part has when all are there; otherwise the parts keep their shares."""

    num_train: int
    num_validation: int
    num_test: int
    min_count: int
    """Tags that fewer training photos carry are ignored."""


@dataclass(frozen=True)
class RankedDataSet(DataSet):
    """A data set with a validation part of its own."""

    validation: list[Record]


def apply_protocol(records: Sequence[Record], sizes: RankedSizes, seed: int = 0) -> RankedDataSet:
    """Cut ranked records into the paper's parts.

    Args:
        records: With their tags in ranked order.
        sizes: Of the data set.
        seed: Decides which photo falls into which part.
    """
    num_all = sizes.num_train + sizes.num_validation + sizes.num_test
    rest, test = split(records, seed, sizes.num_test / num_all)
    train, validation = split(rest, seed, sizes.num_validation / (sizes.num_train + sizes.num_validation))
    vocabulary = frequent_tags(train, sizes.min_count)
    parts = [keep_tags(part, vocabulary) for part in (train, test, validation)]
    return RankedDataSet(parts[0], parts[1], vocabulary, parts[2])
