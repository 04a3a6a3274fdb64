"""The protocol for PASCAL VOC 2007 and LabelMe with ranked tag lists.

Paper: Yan, Wang, Liao, "LSTM for Image Annotation with Relative Visual Importance", 2015, section 5.2.

Duplicate tags are removed, tags on too few training photos are ignored, and the photos are split into parts of given
sizes. The paper does not publish the split: here a seed determines it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from annotator.datasets.loaders.loading import DataSet, frequent_tags, keep_tags
from annotator.datasets.record import Record
from annotator.datasets.splits import split


@dataclass(frozen=True)
class RankedSizes:
    """Number of photos of each part; with fewer photos in all, the parts keep these proportions."""

    num_train: int
    num_validation: int
    num_test: int
    min_count: int
    """Least number of training photos with a tag."""


@dataclass(frozen=True)
class RankedDataSet(DataSet):
    """A data set with a validation part."""

    validation: list[Record]


def apply_protocol(records: Sequence[Record], sizes: RankedSizes, seed: int = 0) -> RankedDataSet:
    """Split ranked records into the parts of the paper.

    Args:
        records: With their tags in ranked order.
        sizes: Of the data set.
        seed: Seed of the split.
    """
    num_all = sizes.num_train + sizes.num_validation + sizes.num_test
    rest, test = split(records, seed, sizes.num_test / num_all)
    train, validation = split(rest, seed, sizes.num_validation / (sizes.num_train + sizes.num_validation))
    vocabulary = frequent_tags(train, sizes.min_count)
    parts = [keep_tags(part, vocabulary) for part in (train, test, validation)]
    return RankedDataSet(parts[0], parts[1], vocabulary, parts[2])
