import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from annotator.errors import ConfigError, TrainingError
from annotator.models import registry
from annotator.models.sequence.trained_tagger import Stage, TrainedTagger
from annotator.trainer import fit as fit_module
from annotator.trainer.examples import Examples
from annotator.trainer.fit import STATE_FILE, EpochReport, fit
from annotator.trainer.fit_settings import FitSettings

pytestmark = pytest.mark.integration  # trains

TAGS = ["man", "dog", "frisbee", "park", "tree", "bench"]
SIZES: dict[str, dict[str, Any]] = {
    "scnn_rnn": {"embedding_size": 6, "hidden_size": 16},
    "jvsp": {"size": 16},
    "ranked_lstm": {"image_size": 8, "hidden_size": 16},
}


def make_examples(num: int, seed: int) -> Examples:
    """Photos whose features determine their tags, which have one order."""
    rng = np.random.default_rng(seed)
    sequences = [sorted(rng.permutation(len(TAGS))[: 1 + row % 3].tolist()) for row in range(num)]
    features = rng.gamma(0.5, 0.5, (num, 10)).astype(np.float32)
    for row, tags in enumerate(sequences):
        features[row, tags] += 3
    return Examples(features, sequences)


def make_tagger(name: str = "scnn_rnn", seed: int = 0) -> TrainedTagger:
    torch.manual_seed(seed)
    return registry.create(name, TAGS, 10, **SIZES[name])


TRAIN, VALIDATION = make_examples(96, 0), make_examples(32, 1)
SHORT = FitSettings(epochs=3, batch_size=16, patience=3)


class KilledError(Exception):
    """Simulates kill -9 after an epoch."""


def kill_after(num_epochs: int) -> Callable[[EpochReport], None]:
    seen: list[EpochReport] = []

    def progress(report: EpochReport) -> None:
        seen.append(report)
        if len(seen) == num_epochs:
            raise KilledError

    return progress


@pytest.mark.parametrize("name", SIZES)
def test_training_lowers_the_validation_loss_and_learns_the_order(name: str) -> None:
    tagger = make_tagger(name)
    report = fit(tagger, TRAIN, VALIDATION, FitSettings(epochs=20, batch_size=16, learning_rate=0.01))
    first, last = report.epochs[0], report.epochs[-1]
    assert min(epoch.validation_loss for epoch in report.epochs if epoch.stage == last.stage) < first.validation_loss
    lists = tagger.decode(VALIDATION.features, [()] * 32, k=3)
    right = [ranked[0].tag == TAGS[tags[0]] for ranked, tags in zip(lists, VALIDATION.sequences, strict=True)]
    assert np.mean(right) > 0.6  # 0.17 by chance


@pytest.mark.parametrize(
    ("name", "num_epochs"), [("scnn_rnn", 1), ("scnn_rnn", 3), ("scnn_rnn", 4), ("jvsp", 2), ("ranked_lstm", 1)]
)
def test_a_killed_training_ends_with_the_weights_of_one_that_was_not(
    name: str, num_epochs: int, tmp_path: Path
) -> None:
    whole = make_tagger(name)
    expected = fit(whole, TRAIN, VALIDATION, SHORT)
    with pytest.raises(KilledError):
        fit(make_tagger(name), TRAIN, VALIDATION, SHORT, state_folder=tmp_path, progress=kill_after(num_epochs))
    resumed = make_tagger(name, seed=99)
    found = fit(resumed, TRAIN, VALIDATION, SHORT, state_folder=tmp_path)
    for key, values in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[key], values, rtol=0, atol=0)
    losses = [[(epoch.stage, epoch.train_loss) for epoch in report.epochs] for report in (found, expected)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(("min_epochs", "most", "expected"), [(0, 20, 3), (3, 20, 3), (5, 20, 5), (5, 4, 4)])
def test_a_stage_goes_on_for_its_least_epochs_though_the_loss_rises(
    min_epochs: int, most: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = make_tagger()
    stage = Stage("joint", "rmsprop", 1e-4, epochs=30, min_epochs=min_epochs)
    monkeypatch.setattr(type(tagger), "stages", (stage,))
    rising = iter(range(100))
    monkeypatch.setattr(fit_module._Run, "_validate", lambda *_: float(next(rising)))
    report = fit(tagger, TRAIN, VALIDATION, FitSettings(epochs=most, batch_size=16, patience=2))
    assert len(report.epochs) == expected


def test_the_state_of_another_training_is_not_gone_on_from(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        fit(make_tagger(), TRAIN, VALIDATION, SHORT, state_folder=tmp_path, progress=kill_after(2))
    report = fit(make_tagger(), make_examples(96, 5), VALIDATION, SHORT, state_folder=tmp_path)
    assert report.epochs[0].epoch == 1
    assert len([epoch for epoch in report.epochs if epoch.stage == "parallel"]) == 3


def test_a_damaged_state_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes(b"\x10\0\0\0\0\0\0\0not a safetensors file")
    with pytest.raises(TrainingError, match="Delete it to start again"):
        fit(make_tagger(), TRAIN, VALIDATION, SHORT, state_folder=tmp_path)


def break_loss(tagger: TrainedTagger, monkeypatch: pytest.MonkeyPatch, at_call: int) -> None:
    calls = []
    loss = tagger.loss

    def broken(*arguments: Any, **options: Any) -> torch.Tensor:
        if torch.is_grad_enabled():
            calls.append(1)
        return loss(*arguments, **options) * (math.nan if len(calls) == at_call else 1.0)

    monkeypatch.setattr(tagger, "loss", broken)


def test_a_loss_that_is_not_a_number_keeps_the_last_good_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    good = make_tagger("ranked_lstm")
    fit(good, TRAIN, VALIDATION, FitSettings(epochs=2, batch_size=16))
    tagger = make_tagger("ranked_lstm")
    break_loss(tagger, monkeypatch, at_call=15)  # 6 steps an epoch: in the third
    report = fit(tagger, TRAIN, VALIDATION, FitSettings(epochs=9, batch_size=16))
    assert report.problem is not None
    assert "step 15 (stage joint, epoch 3)" in report.problem
    for key, values in good.state_dict().items():
        torch.testing.assert_close(tagger.state_dict()[key], values, rtol=0, atol=0)


def test_a_loss_that_is_not_a_number_from_the_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tagger = make_tagger()
    break_loss(tagger, monkeypatch, at_call=1)
    with pytest.raises(TrainingError, match=r"step 1 .*Lower the learning rate"):
        fit(tagger, TRAIN, VALIDATION, SHORT)


def test_a_huge_learning_rate_ends_with_weights_that_are_numbers() -> None:
    tagger = make_tagger("ranked_lstm")
    fit(tagger, TRAIN, VALIDATION, FitSettings(epochs=3, batch_size=16, learning_rate=10.0))
    assert all(torch.isfinite(values).all() for values in tagger.state_dict().values())


def test_a_stage_ends_when_the_validation_loss_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module._Run, "_validate", lambda self, stage, train_loss: 1.0)
    report = fit(make_tagger("ranked_lstm"), TRAIN, VALIDATION, FitSettings(epochs=50, patience=2))
    assert [epoch.is_best for epoch in report.epochs] == [True, False, False]


def test_the_learning_rate_halves_on_a_plateau(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fit_module._Run, "_validate", lambda self, stage, train_loss: 1.0)
    fit(make_tagger("ranked_lstm"), TRAIN, VALIDATION, FitSettings(epochs=3, patience=9), state_folder=tmp_path)
    packed = (tmp_path / STATE_FILE).read_bytes()
    header = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])
    assert json.loads(header["__metadata__"]["about"])["place"]["rate_factor"] == 0.25


def test_without_validation_all_epochs_are_run_and_the_last_weights_kept() -> None:
    report = fit(make_tagger(), TRAIN, None, FitSettings(stage_epochs=(2, 3), batch_size=16))
    assert [(epoch.stage, epoch.epoch) for epoch in report.epochs] == [
        ("parallel", 1), ("parallel", 2), ("joint", 1), ("joint", 2), ("joint", 3)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [{"concept_loss": "asymmetric"}, {"sequence_loss": "list_wise"}, {"label_weights": "unmentioned"},
     {"concept_l2": 1.0}],
)  # fmt: skip
def test_each_loss_setting_changes_the_training(settings: dict[str, Any]) -> None:
    plain: Any = make_tagger()
    other: Any = make_tagger()
    fit(plain, TRAIN, VALIDATION, SHORT)
    report = fit(other, TRAIN, VALIDATION, FitSettings(**{**vars(SHORT), **settings}))
    assert all(math.isfinite(epoch.validation_loss) for epoch in report.epochs)
    assert not torch.equal(plain.concept.weight, other.concept.weight) or not torch.equal(
        plain.decoder.output.weight, other.decoder.output.weight
    )


COUNTED = np.repeat([1, 0], 48).astype(np.float32)


def test_a_photo_that_counts_nothing_teaches_nothing() -> None:
    half = Examples(TRAIN.features[:48], TRAIN.sequences[:48])
    mute = Examples(TRAIN.features, TRAIN.sequences, importance=COUNTED)
    tagger = make_tagger("ranked_lstm").eval()
    one_batch = fit_module.make_batch(torch.from_numpy(half.features), half.sequences, len(TAGS))
    alone = tagger.loss(one_batch)
    both = tagger.loss(fit_module.make_batch(torch.from_numpy(mute.features), mute.sequences, len(TAGS),
                                             importance=torch.from_numpy(COUNTED)))  # fmt: skip
    assert both.item() == pytest.approx(alone.item() / 2, rel=1e-5)  # the mean is over all 96
    plain, weighted = make_tagger(), make_tagger()
    fit(plain, TRAIN, None, FitSettings(stage_epochs=(1, 0), batch_size=96))
    fit(weighted, mute, None, FitSettings(stage_epochs=(1, 0), batch_size=96))
    assert not torch.equal(plain.decoder.output.weight, weighted.decoder.output.weight)  # type: ignore[union-attr]


def test_a_training_that_is_stopped_keeps_its_best_weights_and_goes_on_later(tmp_path: Path) -> None:
    whole = make_tagger("ranked_lstm")
    fit(whole, TRAIN, VALIDATION, SHORT)
    tagger, asked = make_tagger("ranked_lstm"), []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) == 9  # 6 steps an epoch: in the second

    report = fit(tagger, TRAIN, VALIDATION, SHORT, state_folder=tmp_path, should_stop=should_stop)
    assert (report.was_stopped, len(report.epochs), report.problem) == (True, 1, None)
    first = make_tagger("ranked_lstm")
    fit(first, TRAIN, VALIDATION, FitSettings(epochs=1, batch_size=16))
    torch.testing.assert_close(tagger.state_dict(), first.state_dict(), rtol=0, atol=0)
    later = make_tagger("ranked_lstm", seed=7)
    assert not fit(later, TRAIN, VALIDATION, SHORT, state_folder=tmp_path).was_stopped
    torch.testing.assert_close(later.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_a_trained_tagger_is_taught_further_from_its_own_weights() -> None:
    tagger: Any = make_tagger()
    fit(tagger, TRAIN, VALIDATION, SHORT)
    mean, bias = tagger.feature_mean.clone(), tagger.concept.bias.detach().clone()
    few = Examples(VALIDATION.features[:8] + 1, VALIDATION.sequences[:8])
    tiny = FitSettings(stage_epochs=(0, 1), batch_size=8, learning_rate=1e-6)
    fit(tagger, few, None, tiny, is_trained=True)
    torch.testing.assert_close(tagger.feature_mean, mean, rtol=0, atol=0)
    torch.testing.assert_close(tagger.concept.bias, bias, rtol=0, atol=1e-4)


def test_two_starting_points_are_two_trainings(tmp_path: Path) -> None:
    first, second = make_tagger(seed=1), make_tagger(seed=2)
    with pytest.raises(KilledError):
        fit(first, TRAIN, VALIDATION, SHORT, state_folder=tmp_path, is_trained=True, progress=kill_after(2))
    report = fit(second, TRAIN, VALIDATION, SHORT, state_folder=tmp_path, is_trained=True)
    alone = make_tagger(seed=2)
    expected = fit(alone, TRAIN, VALIDATION, SHORT, is_trained=True)
    assert [epoch.train_loss for epoch in report.epochs] == [epoch.train_loss for epoch in expected.epochs]


def test_the_score_is_calibrated_on_validation_photos() -> None:
    tagger = make_tagger()
    fit(tagger, TRAIN, VALIDATION, FitSettings(epochs=20, batch_size=16, learning_rate=0.01))
    running = tagger.for_inference()
    scores = running.scores(running.predict(VALIDATION.features, [()] * 32))
    assert scores.mean() == pytest.approx(VALIDATION.labels(len(TAGS)).mean(), abs=0.03)


def test_examples_that_cannot_be_learnt_from_are_refused() -> None:
    features = np.ones((2, 10), np.float32)
    with pytest.raises(TrainingError, match="without any tag"):
        Examples(features, [[0], []])
    with pytest.raises(TrainingError, match="2 photos and 1 lists"):
        Examples(features, [[0]])
    with pytest.raises(TrainingError, match="not finite"):
        Examples(features * np.float32(np.nan), [[0], [1]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size must lie"),
        ({"patience": 0}, "patience must lie"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate must lie"),
        ({"concept_loss": "hinge"}, "concept_loss is 'hinge'"),
        ({"stage_epochs": (1, -1)}, "none below 0"),
        ({"stage_epochs": (0, 0)}, "need at least 1 epoch together"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FitSettings(**settings)
