import numpy as np
import pytest

from annotator.models.reranker import FEATURES, IDENTITY, Reranker


def test_the_probabilities_are_a_softmax_of_the_weighted_features_by_hand() -> None:
    features = np.zeros((2, len(FEATURES)))
    features[:, FEATURES.index("probability")] = [0.0, -1.0]
    features[:, FEATURES.index("next")] = [0.0, 1.5]
    values = np.exp([0.0, 2.0 * -1.0 + 1.5])
    assert Reranker({"probability": 2.0, "next": 1.0}).probabilities(features) == pytest.approx(values / values.sum())


def test_the_identity_keeps_the_order_of_the_joint_score() -> None:
    features = np.random.default_rng(0).normal(size=(30, len(FEATURES)))
    assert np.argsort(-IDENTITY.probabilities(features)).tolist() == np.argsort(-features[:, 0]).tolist()


def test_no_tags_have_no_probabilities() -> None:
    assert IDENTITY.probabilities(np.zeros((0, len(FEATURES)))).shape == (0,)


def test_weights_survive_json() -> None:
    reranker = Reranker({"probability": 0.25, "decoder": -1.5})
    assert Reranker.from_json(reranker.to_json()).vector.tolist() == reranker.vector.tolist()


@pytest.mark.parametrize(
    "values", [[], {"probability": "1"}, {"probability": True}, {"looms": 1.0}, {"probability": float("nan")}, None]
)
def test_values_other_than_known_finite_weights_are_refused(values: object) -> None:
    with pytest.raises(ValueError, match="re-ranker"):
        Reranker.from_json(values)


def test_a_reranker_of_the_former_joint_score_is_not_applied() -> None:
    assert Reranker.from_json({"joint": 0.4, "next": 2.0}) == IDENTITY
