import numpy as np
import pytest

from annotator.models.fusion import FEATURES, Fusion, load_fusion
from annotator.proposals.evidence import Words
from annotator.proposals.forecast_mixture import (
    MAX_COUNTED,
    MAX_NOTED,
    RATE,
    SOURCE_FEATURES,
    ForecastMixture,
    forecasts_of,
)

KEYS = ["dog", "cat", "sofa"]
SURE_OF_DOG = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.4, 0.5, 0.1]])


def test_all_features_that_the_mixture_names_are_features_of_the_fusion() -> None:
    assert set(SOURCE_FEATURES) <= set(FEATURES)


def test_the_forecasts_are_with_the_tagged_photos_without_them_and_half_way() -> None:
    fusion = Fusion(-2.0, {"model": 1.0, "head": 2.0})
    features = np.zeros((1, len(FEATURES)))
    features[0, FEATURES.index("model")], features[0, FEATURES.index("head")] = 1.5, 1.0
    log_odds = np.log(forecasts_of(fusion, features) / (1 - forecasts_of(fusion, features)))
    assert log_odds[:, 0].tolist() == pytest.approx([1.5, 0.5, -0.5])


def test_without_tagged_photos_in_the_features_the_three_are_the_same() -> None:
    features = np.zeros((4, len(FEATURES)))
    features[:, FEATURES.index("model")] = [0, 1, 2, 4]
    forecasts = forecasts_of(load_fusion(), features)
    assert np.allclose(forecasts, forecasts[0])


def test_the_weights_are_those_of_the_log_losses_by_hand() -> None:
    saved = {1: ("Dog",)}
    mixture = ForecastMixture(lambda image_id: saved.get(image_id, ()))
    mixture.note(1, KEYS, SURE_OF_DOG)
    likelihoods = np.array([0.8 * 0.9 * 0.9, 0.6 * 0.7 * 0.9, 0.4 * 0.5 * 0.9])
    assert mixture.weights(2) == pytest.approx(likelihoods**RATE / (likelihoods**RATE).sum())
    assert mixture.weights(1).tolist() == pytest.approx([1 / 3] * 3)  # its own list does not count


def test_a_photo_counts_once_it_is_saved_with_its_newest_list_and_no_more_after_an_undo() -> None:
    saved: dict[int, tuple[str, ...]] = {}
    mixture = ForecastMixture(lambda image_id: saved.get(image_id, ()))
    mixture.note(1, KEYS, SURE_OF_DOG)
    equal = mixture.weights()
    assert not mixture.is_noted(1)
    saved[1] = ("cat",)
    mixture.set_many([(1, Words())])
    assert mixture.weights().argmax() == 2
    saved[1] = ("dog",)
    mixture.set_many([(1, Words())])
    assert mixture.weights().argmax() == 0
    del saved[1]
    mixture.remove(1)
    assert mixture.weights() == pytest.approx(equal)


def test_no_more_forecasts_are_held_than_the_limit_and_what_they_said_still_counts() -> None:
    mixture = ForecastMixture(lambda image_id: ("dog",) if image_id == 1 else ())
    for image_id in range(1, MAX_NOTED + 10):
        mixture.note(image_id, KEYS, SURE_OF_DOG)
    assert len(mixture._noted) == MAX_NOTED
    assert mixture.is_noted(1)
    assert mixture.weights(2)[0] > 1 / 3


def test_the_photos_that_were_saved_last_count() -> None:
    mixture = ForecastMixture(lambda image_id: ("dog",) if image_id <= 2 else ("cat",))
    for image_id in range(1, MAX_COUNTED + 2):
        mixture.note(image_id, KEYS, SURE_OF_DOG)
    assert mixture.weights(MAX_COUNTED + 1) == pytest.approx(mixture.weights(MAX_COUNTED))
    assert list(mixture.losses()) == list(range(1, MAX_COUNTED + 2))
    mixture.note(MAX_COUNTED + 2, KEYS, SURE_OF_DOG)
    assert 1 not in mixture.losses()


def test_weights_that_were_learnt_elsewhere_stay_as_they_are() -> None:
    learnt = ForecastMixture(lambda image_id: ("dog",))
    learnt.note(1, KEYS, SURE_OF_DOG)
    fixed = ForecastMixture(lambda image_id: ("cat",), learnt.losses())
    assert learnt.learns
    assert not fixed.learns
    fixed.note(2, KEYS, SURE_OF_DOG)
    assert fixed.weights(3) == pytest.approx(learnt.weights(3))
