"""Families of taggers, and how the baselines take their settings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.datasets.record import Record
from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import ConfigError
from annotator.models import registry
from annotator.trainer.families import (
    Side,
    TrainingData,
    TrainingOptions,
    TrainingRequest,
    find_trainer,
    register_family,
)
from annotator.trainer.fit_settings import FitSettings


class ColourGrid:
    name, version, feature_size = "colour_grid", "1", 6


@pytest.fixture
def data() -> TrainingData:
    rng = np.random.default_rng(0)
    records = [Record(Path(f"/{row}.jpg"), ("cat",) if row % 2 else ("dog", "cat")) for row in range(20)]
    side = Side(records, rng.random((20, 6)).astype(np.float32))
    return TrainingData(Vocabulary(["cat", "dog"]), side, side, ColourGrid())


def train_baseline(tagger: str, data: TrainingData, **settings: Any) -> Any:
    request = TrainingRequest(tagger, settings=settings)
    return find_trainer("baseline")(request, data, TrainingOptions(Path("unused"))).tagger


def test_every_tagger_that_can_be_trained_has_a_family_with_a_trainer() -> None:
    for name in registry.all_names():
        assert callable(find_trainer(registry.family_of(name)))


def test_a_family_has_one_trainer() -> None:
    with pytest.raises(ValueError, match="registered twice"):
        register_family("baseline", "somewhere:else")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("tagger", "settings"),
    [("logistic", {"l2": 1, "epochs": 3}), ("knn", {"num_neighbours": 2}), ("kernel_ridge", {"gamma": 0.5})],
)
def test_a_baseline_takes_its_settings(tagger: str, settings: dict[str, Any], data: TrainingData) -> None:
    plain, other = (train_baseline(tagger, data, **chosen) for chosen in ({}, settings))
    assert not np.allclose(plain.scores(data.train.features), other.scores(data.train.features), atol=1e-4)


@pytest.mark.parametrize(
    ("tagger", "settings", "message"),
    [
        ("logistic", {"alpha": 1}, "baseline logistic has no setting 'alpha'. It has: l2, epochs"),
        ("logistic", {"l2": "much"}, "The setting l2 of logistic is 'much'; it must be like 0.03"),
        ("logistic", {"epochs": 2.5}, "it must be like 30"),
        ("logistic", {"epochs": 0}, "must be above 0"),
        ("tagprop", {"num_neighbours": True}, "it must be like 100"),
        ("kernel_ridge", {"decide": "luck"}, "decided by score or balanced"),
    ],
)
def test_a_wrong_setting_of_a_baseline_is_one_sentence(
    tagger: str, settings: dict[str, Any], message: str, data: TrainingData
) -> None:
    with pytest.raises(ConfigError, match=message):
        train_baseline(tagger, data, **settings)


@pytest.mark.parametrize(("order", "is_learnt"), [("given", True), ("rare_first", False)])
def test_what_people_name_first_is_learnt_from_their_own_order(
    order: Any, is_learnt: bool, data: TrainingData, tmp_path: Path
) -> None:
    data = replace(data, vocabulary=Vocabulary(["cat", "dog"], [20, 10]))
    request = TrainingRequest("ranked_lstm", order=order, fit=FitSettings(epochs=1))
    tagger = find_trainer("recurrent")(request, data, TrainingOptions(tmp_path)).tagger
    cat, dog = tagger.for_inference().weights["precedence"]
    assert dog > cat if is_learnt else dog == cat == 0
