from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from annotator.errors import ConfigError, TrainingError
from annotator.models import checkpoint, registry
from annotator.models.sequence.trained_tagger import TrainedTagger
from annotator.trainer.examples import Examples
from annotator.trainer.finetuning import finetune as finetune_module
from annotator.trainer.finetuning.corrections import Correction
from annotator.trainer.finetuning.finetune import (
    FinetuneProgress,
    FinetuneSettings,
    TrainingCancelledError,
    finetune,
    fit_head,
    new_tags,
)
from annotator.trainer.fit import fit
from annotator.trainer.fit_settings import FitSettings

pytestmark = pytest.mark.integration  # trains

TAGS = ["man", "dog", "frisbee", "park", "tree", "bench"]
SIZES: dict[str, dict[str, Any]] = {
    "scnn_rnn": {"embedding_size": 6, "hidden_size": 16},
    "jvsp": {"size": 16},
    "ranked_lstm": {"image_size": 8, "hidden_size": 16, "concept_layer": True},
}
PLAIN = FinetuneSettings(
    base_rate=1.0,
    epochs=15,
    learning_rate=5e-3,
    l2_sp=0.0,
    ema_decay=0.0,
    replay_ratio=0.0,
    rehearsal_weight=0.0,
    pair_weight=0.0,
)
"""Naive fine-tuning."""


def features_with(tags: Sequence[int], rng: np.random.Generator) -> Any:
    row = rng.gamma(0.5, 0.5, 10).astype(np.float32)
    row[list(tags)] += 3
    return row


def make_corrections(num: int, tag_of: dict[int, str], seed: int, **fields: Any) -> list[Correction]:
    """Photos whose features determine their tags, in the order of the numbers."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(num):
        ids = sorted(rng.permutation(len(tag_of))[: 1 + number % 3].tolist())
        chosen = [list(tag_of)[at] for at in ids]
        row = features_with(chosen, rng)
        made.append(Correction(number, str(number), number, tuple(tag_of[at] for at in chosen), features=row, **fields))
    return made


@pytest.fixture(scope="module")
def live_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small taggers that know their six tags."""
    folders = {}
    corrections = make_corrections(96, dict(enumerate(TAGS)), 0)
    for name, sizes in SIZES.items():
        torch.manual_seed(0)
        tagger = registry.create(name, TAGS, 10, **sizes)
        sequences = [[TAGS.index(tag) for tag in item.tags] for item in corrections]
        examples = Examples(np.stack([item.features for item in corrections]), sequences)
        fit(tagger, examples, None, FitSettings(epochs=4, batch_size=16, learning_rate=5e-3))
        folders[name] = tmp_path_factory.mktemp("live") / name
        checkpoint.save(tagger, folders[name], checkpoint.About("test", "1", "given"))
    return folders


def first_tags(tagger: TrainedTagger, corrections: Sequence[Correction]) -> list[str]:
    features = np.stack([item.features for item in corrections])
    return [ranked[0].tag for ranked in tagger.decode(features, [[]] * len(features), k=1)]


def share_right(tagger: TrainedTagger, corrections: Sequence[Correction]) -> float:
    found = first_tags(tagger, corrections)
    return float(np.mean([tag == item.tags[0] for tag, item in zip(found, corrections, strict=True)]))


@pytest.mark.parametrize("name", SIZES)
def test_a_tagger_learns_the_new_order_and_the_live_checkpoint_stays(
    name: str, live_checkpoints: dict[str, Path]
) -> None:
    # The same photos, but now the person wants the last tag first.
    turned = [
        replace(item, tags=item.tags[::-1], shown=item.tags) for item in make_corrections(64, dict(enumerate(TAGS)), 1)
    ]
    unseen = [replace(item, tags=item.tags[::-1]) for item in make_corrections(40, dict(enumerate(TAGS)), 2)]
    before = {path.name: path.read_bytes() for path in live_checkpoints[name].iterdir()}
    live = checkpoint.load_module(live_checkpoints[name]).eval()
    candidate = finetune(live_checkpoints[name], turned, [], replace(PLAIN, learning_rate=2e-2))
    assert share_right(candidate, unseen) > share_right(live, unseen) + 0.2
    assert {path.name: path.read_bytes() for path in live_checkpoints[name].iterdir()} == before


@pytest.mark.parametrize("name", SIZES)
def test_a_tag_it_never_knew_is_learnt(name: str, live_checkpoints: dict[str, Path], tmp_path: Path) -> None:
    known = {9: "Kite", 0: "man", 1: "dog"}  # the kite is always first
    candidate = finetune(live_checkpoints[name], make_corrections(60, known, 3), [], replace(PLAIN, learning_rate=1e-2))
    rng = np.random.default_rng(9)
    with_kite = [Correction(n, str(n), n, ("Kite",), features=features_with([9], rng)) for n in range(20)]
    assert candidate.vocabulary.tags == (*checkpoint.load(live_checkpoints[name]).vocabulary.tags, "Kite")
    assert first_tags(candidate, with_kite).count("Kite") > 12
    version = checkpoint.save(candidate, tmp_path / "kept", checkpoint.About("test", "1", "given"), half=True)
    assert checkpoint.load(tmp_path / "kept").version == version


def test_a_tag_that_one_photo_alone_carries_waits() -> None:
    corrections = [
        Correction(n, str(n), n, tags) for n, tags in enumerate([("Dog", "kite"), ("KITE",), ("kite", "fog")])
    ]
    assert new_tags(["dog"], corrections, 2) == {"kite": 3}
    assert new_tags(["dog"], corrections, 1) == {"kite": 3, "fog": 1}


def test_replay_keeps_what_naive_training_forgets(live_checkpoints: dict[str, Path]) -> None:
    old = make_corrections(60, {3: "park", 4: "tree", 5: "bench"}, 4)
    fresh = [replace(item, tags=("man", "dog")) for item in make_corrections(60, {0: "man", 1: "dog"}, 5)]
    loose = replace(PLAIN, epochs=12, learning_rate=2e-2, unseen_weight=1.0)
    naive = finetune(live_checkpoints["jvsp"], fresh, old, loose)
    kept = finetune(live_checkpoints["jvsp"], fresh, old, replace(loose, replay_ratio=1.0))
    assert share_right(kept, old) > share_right(naive, old) + 0.1
    assert share_right(kept, fresh) > 0.9


def test_rehearsing_the_live_models_own_outputs_keeps_them_closer(live_checkpoints: dict[str, Path]) -> None:
    rehearsal = np.stack([item.features for item in make_corrections(60, {3: "park", 4: "tree", 5: "bench"}, 4)])
    fresh = [replace(item, tags=("man", "dog")) for item in make_corrections(60, {0: "man", 1: "dog"}, 5)]
    live = checkpoint.load(live_checkpoints["scnn_rnn"])
    loose = replace(PLAIN, unseen_weight=1.0, replay_ratio=1.0)
    distance = {}
    for weight in (0.0, 4.0):
        settings = replace(loose, rehearsal_weight=weight)
        candidate = finetune(live_checkpoints["scnn_rnn"], fresh, [], settings, rehearsal=rehearsal).for_inference()
        then, now = live.concepts(rehearsal), candidate.concepts(rehearsal)  # type: ignore[union-attr]
        assert then is not None
        assert now is not None
        distance[weight] = float(np.abs(then - now).mean())
    assert distance[4.0] < 0.7 * distance[0.0]


def test_l2_sp_and_the_average_keep_the_weights_near_the_live_ones(live_checkpoints: dict[str, Path]) -> None:
    live = checkpoint.load_module(live_checkpoints["jvsp"])
    corrections = make_corrections(48, dict(enumerate(TAGS)), 6)

    def moved(**settings: float) -> float:
        candidate = finetune(live_checkpoints["jvsp"], corrections, [], replace(PLAIN, **settings))  # type: ignore[arg-type]
        pairs = zip(live.parameters(), candidate.parameters(), strict=True)
        return float(sum((then - now).detach().square().sum().item() for then, now in pairs))

    plain = moved()
    assert moved(l2_sp=1.0) < 0.7 * plain
    assert moved(ema_decay=0.98) < 0.9 * plain


def test_a_dropped_tag_becomes_unlikely_and_one_never_shown_hardly_moves(live_checkpoints: dict[str, Path]) -> None:
    rng = np.random.default_rng(7)
    corrections = [
        Correction(
            n, str(n), n, ("man",), dropped=("dog",), shown=("dog", "man"), features=features_with([0, 1, 4], rng)
        )
        for n in range(40)
    ]
    features = np.stack([item.features for item in corrections])
    settings = replace(PLAIN, unseen_weight=0.0, epochs=10)
    live = checkpoint.load(live_checkpoints["jvsp"]).concepts(features)  # type: ignore[union-attr]
    taught = finetune(live_checkpoints["jvsp"], corrections, [], settings).for_inference().concepts(features)
    ids = {tag: TAGS.index(tag) for tag in ("dog", "tree")}
    assert live is not None
    assert taught is not None
    assert taught[:, ids["dog"]].mean() < 0.75 * live[:, ids["dog"]].mean()
    np.testing.assert_allclose(taught[:, ids["tree"]], live[:, ids["tree"]], atol=1e-6)


def test_the_parts_of_the_loss_are_what_they_say(live_checkpoints: dict[str, Path]) -> None:
    """Against plain loops over one correction."""
    rng = np.random.default_rng(8)
    item = Correction(
        1, "1", 1, ("dog", "man"), dropped=("park",), shown=("man", "tree", "dog"), features=features_with([0, 1], rng)
    )
    settings = replace(PLAIN, pair_weight=0.5, negative_weight=2.0, unseen_weight=0.25, passed_weight=0.5)
    live = checkpoint.load_module(live_checkpoints["jvsp"]).eval()
    run = finetune_module._Run(live, [item], [], [], [], [], live.num_tags, settings)
    run.tagger.eval()
    outputs = run.tagger(run._batch(run.fresh))
    logits = outputs.logits[0]
    man, dog, park, tree = (TAGS.index(tag) for tag in ("man", "dog", "park", "tree"))
    pair = -F.logsigmoid(logits[0, dog] - logits[0, man])
    assert run._pair_loss(outputs, run.fresh).item() == pytest.approx(0.5 * pair.item(), rel=1e-5)
    refusal = sum(-torch.log(1 - torch.softmax(logits[step], dim=0)[park]).item() for step in range(3))
    batch = run._batch(run.fresh)
    assert run._refusal_loss(outputs, batch, run.fresh).item() == pytest.approx(2 * refusal, rel=1e-4)
    seen = run._seen_logits(outputs.logits, run.fresh)[0]
    for tag in range(len(TAGS)):
        shift = 0.0 if tag in (man, dog, park, tree) else np.log(0.25)
        assert (seen[0, tag] - logits[0, tag]).item() == pytest.approx(shift, abs=1e-5)
    assert batch.weights[0].tolist() == [
        {man: 1.0, dog: 1.0, park: 2.0, tree: 0.5}.get(tag, 0.25) for tag in range(len(TAGS))
    ]


def test_progress_is_told_and_a_cancelled_training_ends_at_once(live_checkpoints: dict[str, Path]) -> None:
    corrections = make_corrections(40, dict(enumerate(TAGS)), 1)
    reported: list[FinetuneProgress] = []
    settings = replace(PLAIN, epochs=3)
    finetune(live_checkpoints["jvsp"], corrections, [], settings, progress=reported.append)
    assert [item.step for item in reported] == [1, 2, 3, 4, 5, 6]
    assert reported[-1].num_steps == 6
    assert reported[-1].seconds_left == 0
    asked = iter([False, False, True])
    reported.clear()
    with pytest.raises(TrainingCancelledError, match="cancelled"):
        finetune(
            live_checkpoints["jvsp"],
            corrections,
            [],
            settings,
            progress=reported.append,
            should_stop=lambda: next(asked),
        )
    assert len(reported) == 2


def test_the_same_seed_gives_the_same_candidate(live_checkpoints: dict[str, Path]) -> None:
    corrections = make_corrections(40, dict(enumerate(TAGS)), 1)
    settings = FinetuneSettings(epochs=2)
    first, second = (finetune(live_checkpoints["jvsp"], corrections[:30], corrections[30:], settings) for _ in range(2))
    for then, now in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(then, now, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_gives_no_candidate(
    live_checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    corrections = make_corrections(40, dict(enumerate(TAGS)), 1)
    monkeypatch.setattr(finetune_module, "list_wise_loss", lambda logits, *_: logits.sum() * float("nan"))
    with pytest.raises(TrainingError, match="not a finite number at step 1 of"):
        finetune(live_checkpoints["jvsp"], corrections, [], PLAIN)


def test_nothing_to_learn_and_features_that_do_not_fit_are_said(live_checkpoints: dict[str, Path]) -> None:
    folder = live_checkpoints["jvsp"]
    item = make_corrections(1, dict(enumerate(TAGS)), 1)[0]
    with pytest.raises(TrainingError, match="nothing to learn from"):
        finetune(folder, [replace(item, tags=())], [], PLAIN)
    with pytest.raises(TrainingError, match="nothing to learn yet"):
        finetune(folder, [replace(item, tags=("seen once",))], [], PLAIN)
    with pytest.raises(TrainingError, match="not 10 finite numbers"):
        finetune(folder, [replace(item, features=np.full(10, np.nan, np.float32))], [], PLAIN)
    with pytest.raises(TrainingError, match="not 10 finite numbers"):
        finetune(folder, [replace(item, features=np.zeros(9, np.float32))], [], PLAIN)


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "ema_decay", "unseen_weight"])
def test_a_setting_that_cannot_be_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        FinetuneSettings(**{name: float("nan")})  # type: ignore[arg-type]


def test_frozen_weights_stay_and_the_rows_of_new_tags_learn(live_checkpoints: dict[str, Path]) -> None:
    names = {**dict(enumerate(TAGS)), 0: "zebra"}
    corrections = make_corrections(40, names, 1)
    live = checkpoint.load_module(live_checkpoints["jvsp"])
    settings = replace(PLAIN, base_rate=0.0, epochs=3)
    taught = finetune(live_checkpoints["jvsp"], corrections, [], settings)
    num = len(TAGS)
    assert taught.vocabulary.tags[num:] == ("zebra",)
    for name, rows in (
        ("concept.weight", slice(0, num)),
        ("output.bias", slice(0, num)),
        ("cell.weight_hh", slice(None)),
    ):
        then, now = live.get_parameter(name)[rows], taught.get_parameter(name)[rows]
        torch.testing.assert_close(then, now, rtol=0, atol=1e-7)
    grown = finetune(live_checkpoints["jvsp"], corrections, [], replace(settings, epochs=1, learning_rate=1e-8))
    assert not torch.equal(grown.get_parameter("output.weight")[num], taught.get_parameter("output.weight")[num])


def test_a_new_tag_begins_as_a_logistic_regression(live_checkpoints: dict[str, Path]) -> None:
    """Against the condition of an optimum, worked out in plain numpy: the gradient is 0."""
    corrections = make_corrections(60, {**dict(enumerate(TAGS)), 0: "zebra", 1: "yak"}, 1)
    live = checkpoint.load_module(live_checkpoints["jvsp"]).eval()
    grown = finetune_module._with_new_tags(live, corrections, PLAIN, None).eval()
    before = grown.concept.weight.detach().clone()
    others = np.random.default_rng(5).random((7, 10), np.float32)
    fit_head(grown, corrections, others, len(TAGS), 0.3)
    assert torch.equal(before[: len(TAGS)], grown.concept.weight[: len(TAGS)])
    at = grown.vocabulary.tags.index("zebra")
    weight, bias = grown.concept.weight[at].detach().numpy(), grown.concept.bias[at].item()
    scale = lambda rows: grown.scale(torch.from_numpy(rows)).detach().numpy()  # noqa: E731
    x, o = scale(np.stack([item.features for item in corrections])), scale(others)
    y = np.array(["zebra" in item.tags for item in corrections])
    error = 1 / (1 + np.exp(-(x @ weight + bias))) - y
    false = 1 / (1 + np.exp(-(o @ weight + bias)))
    np.testing.assert_allclose(error @ x / len(x) + false @ o / len(o) + 0.3 * weight, 0, atol=2e-3)
    assert abs(error.mean() + false.mean()) < 2e-3


def test_exemplars_keep_new_tags_off_other_photos(live_checkpoints: dict[str, Path]) -> None:
    corrections = make_corrections(40, dict.fromkeys(range(len(TAGS)), "zebra"), 1)
    others = np.random.default_rng(5).random((20, 10), np.float32) * 3
    settings = replace(PLAIN, epochs=8, stand_in_weight=1.0)
    shares = []
    for exemplars in (None, others):
        taught = finetune(live_checkpoints["jvsp"], corrections, [], settings, exemplars=exemplars).for_inference()
        ranked = taught.decode(others, [()] * len(others), k=1)
        shares.append(np.mean([found[0].tag == "zebra" for found in ranked]))
        own = taught.decode(corrections[0].features[None], [()], k=1)[0][0].tag
        assert own == "zebra"
    assert shares[1] < shares[0]
