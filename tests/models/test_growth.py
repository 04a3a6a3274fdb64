from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from annotator.errors import DataError
from annotator.models import registry
from annotator.models.growth import grow, nearest_shares
from annotator.models.sequence.trained_tagger import make_batch


class TwoMeanings:
    """Word vectors in which animals have one direction and places the other."""

    ANIMALS = ("dog", "bird", "cat")
    PLACES = ("park", "tree", "forest")

    def matrix(self, tags: Sequence[str]) -> tuple[Any, Any]:
        rows = np.zeros((len(tags), 2), np.float32)
        for row, tag in zip(rows, tags, strict=True):
            row[:] = (tag in self.ANIMALS, tag in self.PLACES)
        return rows, rows.any(axis=1)


@pytest.mark.parametrize("name", registry.names())
def test_growing_does_not_change_the_ranking_of_known_tags(
    name: str, make_tagger: Callable[..., Any], make_tagged_features: Callable[..., Any]
) -> None:
    tagger = make_tagger(name)
    features, sequences = make_tagged_features(6)
    shares = nearest_shares(tagger.vocabulary.tags, ["cat", "forest"], None)
    grown = grow(tagger, ["cat", "forest"], [3, 1], shares, np.array([0.1, 0.02], np.float32)).eval()
    num = tagger.num_tags
    assert grown.vocabulary.tags == (*tagger.vocabulary.tags, "cat", "forest")
    with torch.no_grad():
        old = tagger(make_batch(torch.from_numpy(features), sequences, num))
        new = grown(make_batch(torch.from_numpy(features), sequences, num + 2))
    num_exact = 1 if name == "jvsp" else min(map(len, sequences)) + 1  # see the module's note on eq. 2
    torch.testing.assert_close(new.logits[:, :num_exact, :num], old.logits[:, :num_exact, :num])
    torch.testing.assert_close(new.logits[:, 1, :num], old.logits[:, 1, :num], rtol=0.2, atol=0.2)
    if tagger.has_end:  # END stays the last
        torch.testing.assert_close(new.logits[:, :num_exact, -1], old.logits[:, :num_exact, -1])
    if old.concept_logits is not None:
        torch.testing.assert_close(new.concept_logits[:, :num], old.concept_logits)
    lists = grown.decode(features, [[]] * len(features), k=9)
    assert all(len(ranked) == num + 2 for ranked in lists)


def test_a_new_tag_is_a_mixture_of_the_nearest_tags() -> None:
    shares = nearest_shares(["man", "dog", "park", "bird"], ["cat", "forest", "xyzzy"], TwoMeanings())
    np.testing.assert_allclose(shares[0], [0, 0.5, 0, 0.5])
    np.testing.assert_allclose(shares[1], [0, 0, 1, 0])
    np.testing.assert_allclose(shares[2], [0.25] * 4)  # nobody knows the word


def test_the_concept_bias_of_a_new_tag_starts_at_its_frequency(make_tagger: Callable[..., Any]) -> None:
    tagger = make_tagger("jvsp", concept_layer=True)
    shares = nearest_shares(tagger.vocabulary.tags, ["cat"], None)
    grown = grow(tagger, ["cat"], [], shares, np.array([0.2], np.float32))
    assert torch.sigmoid(grown.concept.bias[-1]).item() == pytest.approx(0.2)


def test_a_tag_that_is_known_already_is_refused(make_tagger: Callable[..., Any]) -> None:
    tagger = make_tagger("jvsp")
    shares = nearest_shares(tagger.vocabulary.tags, ["dog"], None)
    with pytest.raises(DataError, match="twice"):
        grow(tagger, ["dog"], [], shares, np.array([0.2], np.float32))
