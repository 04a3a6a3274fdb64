"""The contract that every registered recurrent tagger keeps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from annotator.errors import ConfigError
from annotator.models import checkpoint, registry
from annotator.models.checkpoint import About
from annotator.models.inference import Ranking
from annotator.models.trained_tagger import TrainedTagger

NAMES = registry.names()
ABOUT = About("colour_grid", "1", "given")


@pytest.fixture(params=NAMES)
def tagger(request: pytest.FixtureRequest, make_tagger: Callable[..., Any]) -> TrainedTagger:
    module: TrainedTagger = make_tagger(request.param)
    return module


@pytest.fixture(scope="module")
def features(make_tagged_features: Callable[..., Any]) -> Any:
    return make_tagged_features(6, 7)[0]


def test_logits_have_a_row_for_each_step_and_a_column_for_each_tag(
    tagger: TrainedTagger, make_small_batch: Callable[..., Any]
) -> None:
    batch = make_small_batch()
    logits = tagger(batch).logits
    assert logits.shape == (*batch.targets.shape, tagger.num_tags + tagger.has_end)


def test_gradients_reach_every_parameter(tagger: TrainedTagger, make_small_batch: Callable[..., Any]) -> None:
    for stage in tagger.stages:
        tagger.loss(make_small_batch(20), stage.name).backward()  # type: ignore[no-untyped-call]
    without = [
        name for name, parameter in tagger.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []


def test_padding_changes_no_loss(tagger: TrainedTagger, make_tagged_features: Callable[..., Any]) -> None:
    from annotator.models.trained_tagger import make_batch

    features, sequences = make_tagged_features(4, 1)
    with torch.no_grad():
        together = tagger.loss(make_batch(torch.from_numpy(features), sequences, tagger.num_tags)).item()
        alone = [
            tagger.loss(make_batch(torch.from_numpy(features[row : row + 1]), [tags], tagger.num_tags)).item()
            for row, tags in enumerate(sequences)
        ]
    assert together == pytest.approx(sum(alone) / 4, rel=1e-5)


@pytest.mark.parametrize("by", ["mixture", "sequence", "concept"])
def test_lists_hold_each_allowed_tag_once_with_a_score_in_range(tagger: TrainedTagger, features: Any, by: str) -> None:
    tagger.ranking = Ranking(by=by)
    prefixes = [[], ["dog"], ["DOG", "Park"], ["nothing known"], ["tree", "man", "bird"], []]
    dropped = [[], ["man"], [], ["bench"], [], list(tagger.vocabulary.tags)]
    lists = tagger.decode(features, prefixes, dropped=dropped, k=20)
    for ranked, prefix, refused in zip(lists, prefixes, dropped, strict=True):
        barred = {tag.lower() for tag in (*prefix, *refused)}
        assert sorted(item.tag for item in ranked) == sorted(set(tagger.vocabulary.tags) - barred)
        assert all(0 <= item.score <= 1 for item in ranked)


def test_k_cuts_the_list(tagger: TrainedTagger, features: Any) -> None:
    whole = tagger.decode(features, [()] * 6, k=7)
    assert [[item.tag for item in ranked] for ranked in tagger.decode(features, [()] * 6, k=3)] == [
        [item.tag for item in ranked[:3]] for ranked in whole
    ]
    assert tagger.decode(features, [()] * 6, k=0) == [[]] * 6


def test_one_image_is_decoded_as_in_a_batch(tagger: TrainedTagger, features: Any) -> None:
    prefixes = [["dog"], [], ["park", "tree"], [], ["man"], []]
    together = tagger.decode(features, prefixes, k=5)
    for row in range(6):
        alone = tagger.decode(features[row : row + 1], [prefixes[row]], k=5)[0]
        assert [item.tag for item in alone] == [item.tag for item in together[row]]
        np.testing.assert_allclose([i.score for i in alone], [i.score for i in together[row]], atol=1e-5)


def test_free_lists_have_no_tag_twice_and_keep_off_the_prefix(tagger: TrainedTagger, features: Any) -> None:
    for ranked in tagger.decode(features, [["dog"]] * 6, k=7, free_length=True):
        tags = [item.tag for item in ranked]
        assert len(set(tags)) == len(tags) <= 6
        assert "dog" not in tags
        assert [item.evidence["step"] for item in ranked] == list(range(1, len(tags) + 1))


def test_no_images_give_no_lists(tagger: TrainedTagger) -> None:
    assert tagger.decode(np.zeros((0, tagger.feature_size), np.float32), []) == []


def test_sizes_that_do_not_fit_are_refused(tagger: TrainedTagger, features: Any) -> None:
    with pytest.raises(ValueError, match="Features must be"):
        tagger.decode(features[:, :3], [()] * 6)
    with pytest.raises(ValueError, match="6 features, 2 prefixes"):
        tagger.decode(features, [(), ()])


@pytest.mark.parametrize("half", [False, True])
def test_a_saved_tagger_gives_the_same_lists(tagger: TrainedTagger, features: Any, tmp_path: Path, half: bool) -> None:
    tagger.ranking = Ranking(depth=2, calibration=(0.1, 0.4, 0.7))
    version = checkpoint.save(tagger, tmp_path, ABOUT, half=half)
    loaded = checkpoint.load(tmp_path)
    prefixes = [[], ["dog"], [], ["park", "tree"], [], ["man"]]
    for ranked, expected in zip(loaded.decode(features, prefixes), tagger.decode(features, prefixes), strict=True):
        assert [item.tag for item in ranked] == [item.tag for item in expected]
        found, wanted = [item.score for item in ranked], [item.score for item in expected]
        np.testing.assert_allclose(found, wanted, atol=2e-2 if half else 1e-6)
    assert (loaded.name, loaded.version, loaded.vocabulary) == (tagger.name, version, tagger.vocabulary)


def test_a_saved_tagger_can_be_trained_further(
    tagger: TrainedTagger, tmp_path: Path, make_small_batch: Callable[..., Any]
) -> None:
    checkpoint.save(tagger, tmp_path, ABOUT)
    again = checkpoint.load_module(tmp_path).eval()
    assert again.loss(make_small_batch()).item() == pytest.approx(tagger.loss(make_small_batch()).item())


@pytest.mark.integration
def test_eight_images_are_learnt_by_heart(tagger: TrainedTagger, make_tagged_features: Callable[..., Any]) -> None:
    from annotator.models.trained_tagger import make_batch

    features, sequences = make_tagged_features(8, 11)
    batch = make_batch(torch.from_numpy(features), sequences, tagger.num_tags)
    optimizer = torch.optim.Adam(tagger.parameters(), lr=0.02)
    for stage in tagger.stages:
        for _ in range(150):
            optimizer.zero_grad()
            tagger.loss(batch, stage.name).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    tagger.ranking = Ranking(by="sequence")
    lists = tagger.decode(features, [()] * 8, k=4)
    for ranked, tags in zip(lists, sequences, strict=True):
        assert [item.tag for item in ranked[: len(tags)]] == tagger.vocabulary.decode(tags)
    if tagger.has_end:
        free = tagger.decode(features, [()] * 8, k=7, free_length=True)
        assert [len(ranked) for ranked in free] == [len(tags) for tags in sequences]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ranked_lstm"])
def test_a_prefix_changes_what_follows(name: str, make_tagger: Callable[..., Any], features: Any) -> None:
    tagger = make_tagger(name).for_inference()
    one = tagger.judge(features, [["dog"]] * 6).places[:, 0]
    other = tagger.judge(features, [["park"]] * 6).places[:, 0]
    rest = [tagger.vocabulary.index(tag) for tag in ("man", "tree", "bench")]
    shares = [values[:, rest] / values[:, rest].sum(axis=1, keepdims=True) for values in (one, other)]
    assert np.abs(shares[0] - shares[1]).max() > 0.01


def test_unknown_taggers_and_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="no trained tagger 'jsvp'"):
        registry.create("jsvp", ["dog"], 4)
    with pytest.raises(ConfigError, match="no setting 'colour'"):
        registry.create("jvsp", ["dog"], 4, colour="red")
    with pytest.raises(ConfigError, match="dropout must lie"):
        registry.create("jvsp", ["dog"], 4, dropout=1.5)


@pytest.mark.parametrize("name", NAMES)
def test_one_photo_after_its_edits_is_judged_as_among_others(
    name: str, make_tagger: Callable[..., Any], features: Any
) -> None:
    tagger = make_tagger(name, concept_layer=True).for_inference()
    for prefix in ([], ["dog"], ["dog", "park"], ["dog"], ["park"]):
        together = tagger.judge(features, [prefix] * len(features))
        for row in (0, 1):
            alone = tagger.judge(features[row : row + 1], [prefix])
            np.testing.assert_allclose(alone.places[0], together.places[row], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_utilities_agree_with_plain_loops(name: str, make_tagger: Callable[..., Any], features: Any) -> None:
    tagger = make_tagger(name, concept_layer=True).for_inference()
    tagger.ranking = ranking = Ranking(depth=3, discount=0.5, concept_weight=0.3, concept_decay=0.2, rarity=0, head=0)
    prefixes = [[], ["dog"], ["dog", "park"], [], [], []]
    judgement = tagger.judge(features, prefixes)
    found = tagger.utilities(judgement)
    for row, prefix in enumerate(prefixes):
        going_on = sum(float(value) for value in judgement.places[row, 0])
        for tag in range(7):
            if tagger.vocabulary.tags[tag] in prefix:
                assert found[row, tag] == -1
                continue
            total = sum(0.5**place * float(judgement.places[row, place, tag]) for place in range(3)) / going_on
            total += ranking.concept_weight * 0.2 ** len(prefix) * float(judgement.concepts[row, tag])
            assert found[row, tag] == pytest.approx(total, rel=1e-4)
