from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from annotator.models import registry
from annotator.models.sequence.decoding import feed
from annotator.models.sequence.inference import InferenceTagger
from annotator.models.sequence.trained_tagger import TrainedTagger, make_batch


def step_log_probs(tagger: TrainedTagger, features: Any, tags: list[int]) -> Any:
    """Log-probabilities of the numpy steps after START and after each tag, (T, V + 1)."""
    served: InferenceTagger = tagger.for_inference()
    rows = []
    for length in range(len(tags) + 1):
        state = served.steps.start(served._scale(features), served.concepts(features))
        rows.append(feed(served.steps, state, [tags[:length]])[0][0])
    return np.stack(rows)


@pytest.mark.parametrize("name", registry.names())
def test_numpy_steps_equal_the_module(
    name: str, make_tagger: Callable[..., Any], make_tagged_features: Callable[..., Any]
) -> None:
    tagger = make_tagger(name)
    features, sequences = make_tagged_features(6, seed=1)
    for row, tags in enumerate(sequences):
        batch = make_batch(torch.from_numpy(features[row : row + 1]), [tags], tagger.num_tags)
        with torch.no_grad():
            expected = torch.log_softmax(tagger(batch).logits[0], dim=1).numpy()
        found = step_log_probs(tagger, features[row : row + 1], tags)
        assert np.isneginf(found[:, -1]).all() == (not tagger.has_end)
        np.testing.assert_allclose(found[:, : expected.shape[1]], expected, atol=2e-5)


@pytest.mark.parametrize("settings", [{"phi": "paper"}, {"knowledge_guidance": False}, {"concept_layer": True}])
def test_numpy_steps_of_jvsp_follow_its_settings(
    settings: dict[str, Any], make_tagger: Callable[..., Any], make_tagged_features: Callable[..., Any]
) -> None:
    tagger = make_tagger("jvsp", **settings)
    features, sequences = make_tagged_features(4, seed=2)
    for row, tags in enumerate(sequences):
        batch = make_batch(torch.from_numpy(features[row : row + 1]), [tags], tagger.num_tags)
        with torch.no_grad():
            outputs = tagger(batch)
        expected = torch.log_softmax(outputs.logits[0], dim=1).numpy()
        found = step_log_probs(tagger, features[row : row + 1], tags)
        np.testing.assert_allclose(found, expected, atol=2e-5)
        if settings.get("concept_layer"):
            concepts = tagger.for_inference().concepts(features[row : row + 1])
            np.testing.assert_allclose(concepts, torch.sigmoid(outputs.concept_logits).numpy(), atol=1e-5)


def test_numpy_steps_of_the_ranked_lstm_feed_the_previous_tag_back_if_told_to(
    make_tagger: Callable[..., Any], make_tagged_features: Callable[..., Any]
) -> None:
    features, sequences = make_tagged_features(4, seed=4)
    for feed_back in (False, True):
        tagger = make_tagger("ranked_lstm", feed_back=feed_back)
        for row, tags in enumerate(sequences):
            batch = make_batch(torch.from_numpy(features[row : row + 1]), [tags], tagger.num_tags)
            with torch.no_grad():
                expected = torch.log_softmax(tagger(batch).logits[0], dim=1).numpy()
            found = step_log_probs(tagger, features[row : row + 1], tags)
            np.testing.assert_allclose(found[:, : expected.shape[1]], expected, atol=2e-5)
        one, other = (step_log_probs(tagger, features[:1], [tag])[1, :-1] for tag in (0, 3))
        assert (np.abs(one - other).max() > 1e-3) == feed_back


def test_numpy_steps_add_side_information(
    make_tagger: Callable[..., Any], make_tagged_features: Callable[..., Any]
) -> None:
    tagger = make_tagger("scnn_rnn", user_tags=("Canon", "summer"))
    features, _ = make_tagged_features(2, seed=3)
    user_tags = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    batch = make_batch(torch.from_numpy(features), [[0], [1]], tagger.num_tags, user_tags=user_tags)
    with torch.no_grad():
        expected = torch.sigmoid(tagger(batch).concept_logits).numpy()
    found = tagger.for_inference().concepts(features, [["summer", "unknown"], ["canon"]])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - tagger.for_inference().concepts(features)).max() > 1e-3
