import numpy as np
import pytest
from scipy.optimize import check_grad  # type: ignore[import-untyped]

from annotator.errors import TrainingError
from annotator.models.reranker import FEATURES, IDENTITY, Reranker
from annotator.trainer.finetuning import reranker_fit
from annotator.trainer.finetuning.reranker_fit import Place, fit_reranker

TRUTH = Reranker({"probability": 1.2, "next": 2.0, "place": -0.7, "neighbours": 0.5})


def places_of(truth: Reranker, num: int, seed: int = 0) -> list[Place]:
    rng = np.random.default_rng(seed)
    places = []
    for _ in range(num):
        features = rng.normal(size=(int(rng.integers(2, 12)), len(FEATURES)))
        places.append(Place(features, int(rng.choice(len(features), p=truth.probabilities(features)))))
    return places


def log_likelihood(reranker: Reranker, places: list[Place]) -> float:
    return float(np.mean([np.log(reranker.probabilities(place.features)[place.chosen]) for place in places]))


def test_the_weights_behind_many_choices_are_found() -> None:
    assert fit_reranker(places_of(TRUTH, 4000), IDENTITY).vector == pytest.approx(TRUTH.vector, abs=0.12)


def test_unseen_choices_become_likelier() -> None:
    learnt = fit_reranker(places_of(TRUTH, 100), IDENTITY)
    unseen = places_of(TRUTH, 500, seed=1)
    assert log_likelihood(learnt, unseen) > log_likelihood(IDENTITY, unseen) + 0.1


def test_few_choices_change_little_and_none_nothing() -> None:
    few, many = (fit_reranker(places_of(TRUTH, num), IDENTITY).vector - IDENTITY.vector for num in (3, 1000))
    assert np.linalg.norm(few) < 0.5 * np.linalg.norm(many)
    assert fit_reranker([], TRUTH) is TRUTH


def test_it_ends_where_no_small_step_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient is the loss's: against finite differences, at random weights."""
    asked = []
    monkeypatch.setattr(
        reranker_fit, "minimize", lambda loss, centre, **_: asked.append(loss) or type("End", (), {"x": centre})
    )
    fit_reranker(places_of(TRUTH, 20), IDENTITY)
    weights = np.random.default_rng(3).normal(size=len(FEATURES))
    assert check_grad(lambda w: asked[0](w)[0], lambda w: asked[0](w)[1], weights) < 1e-3


def test_a_feature_that_is_no_number_is_refused() -> None:
    place = places_of(TRUTH, 1)[0]
    place.features[0, 0] = np.nan
    with pytest.raises(TrainingError, match="finite"):
        fit_reranker([place], IDENTITY)
