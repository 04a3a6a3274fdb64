"""The shelf of taggers: what is offered, what proposes by default, what is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from annotator.errors import CheckpointError, ConfigError
from annotator.models import checkpoint
from annotator.models.backbones.backbone import Backbone
from annotator.models.reranker import Reranker
from annotator.models.taggers.cold_start import COLD_START
from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.proposals import tagger_catalog as tagger_shelf
from annotator.proposals.sources.taggers import seen_evidence, taught_keys
from annotator.proposals.tagger_catalog import TaggerCatalog, default_tagger


@dataclass(frozen=True)
class OtherBackbone:
    name: str = "resnet50"
    version: str = "x"
    feature_size: int = 2048


def test_the_starter_proposes_by_default_where_it_was_taught_on_the_features(backbone: Backbone) -> None:
    assert default_tagger(backbone) == "starter/jvsp"
    assert default_tagger(OtherBackbone()) == COLD_START  # type: ignore[arg-type]


def test_the_starters_and_the_cold_start_are_offered(backbone: Backbone, tmp_path: Path) -> None:
    shelf = TaggerCatalog(backbone, tmp_path, COLD_START)
    assert [choice.name for choice in shelf.choices()] == [
        "starter/jvsp",
        "starter/open_vocabulary",
        "starter/ranked_lstm",
        "starter/scnn_rnn",
        "starter/zero_shot",
        COLD_START,
    ]
    shelf.choose("starter/scnn_rnn")
    assert [tagger.name for tagger in shelf.taggers] == ["scnn_rnn", "cold_start"]


def test_a_tagger_that_is_not_offered_is_refused_and_the_present_one_stays(backbone: Backbone, tmp_path: Path) -> None:
    shelf = TaggerCatalog(backbone, tmp_path, COLD_START)
    with pytest.raises(ConfigError, match="There is no tagger"):
        shelf.choose(str(tmp_path / "elsewhere"))
    assert shelf.chosen == COLD_START


def test_a_chosen_checkpoint_that_is_gone_is_an_error(backbone: Backbone, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        TaggerCatalog(backbone, tmp_path, str(tmp_path / "gone"))


def test_projects_share_a_tagger_until_its_checkpoint_changes(backbone: Backbone, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    starter = checkpoint.load("starter/ranked_lstm")
    about = checkpoint.read_info("starter/ranked_lstm").about
    checkpoint.save(starter, folder, about)
    first, second = (TaggerCatalog(backbone, tmp_path, str(folder)) for _ in range(2))
    assert first.taggers[0] is second.taggers[0]
    assert first.open_vocabulary is second.open_vocabulary
    checkpoint.save(starter, folder, about, reranker=Reranker({"joint": 2.0}))
    third = TaggerCatalog(backbone, tmp_path, str(folder))
    assert third.taggers[0].version != first.taggers[0].version
    assert third.taggers[0].reranker.weights == {"joint": 2.0}  # type: ignore[attr-defined]


def test_a_shared_tagger_of_another_backbone_is_still_refused(backbone: Backbone, tmp_path: Path) -> None:
    shelf = TaggerCatalog(backbone, tmp_path, "starter/ranked_lstm")
    assert shelf.taggers[0].name == "ranked_lstm"
    with pytest.raises(CheckpointError, match="was trained on features of"):
        tagger_shelf._load_shared("starter/ranked_lstm", OtherBackbone())  # type: ignore[arg-type]


def test_a_tag_that_was_saved_is_proposed_at_the_next_look_not_worked_out_while_saving(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = TaggerCatalog(backbone, tmp_path, "starter/jvsp")
    shelf.use_word_vectors(load_word_vectors(), ["motorway"])
    assert "motorway" in shelf.taggers[0].allowed_words()
    monkeypatch.setattr(tagger_shelf, "extend", pytest.fail)
    shelf.add_tags(["motorway", "pony"])
    monkeypatch.undo()
    after = shelf.taggers
    assert {"motorway", "pony"} <= set(after[0].allowed_words())
    assert shelf.taggers is after


def test_a_tagger_with_neighbours_proposes_a_tag_that_it_was_never_taught_and_says_so(
    backbone: Backbone, tmp_path: Path, write_context_checkpoint: Callable[..., Path]
) -> None:
    shelf = TaggerCatalog(backbone, tmp_path, str(write_context_checkpoint(tmp_path / "ltwin")))
    shelf.use_word_vectors(load_word_vectors(), ["zzyzx"])
    shelf.add_tags(["caffeine"])
    tagger = shelf.taggers[0]
    assert "zzyzx" not in tagger.allowed_words()
    features = np.random.default_rng(0).gamma(1, 1, (1, backbone.feature_size)).astype(np.float32)
    found = {item.tag: item for item in seen_evidence([tagger], features, [], [])}
    assert found["caffeine"].source == "context"
    assert "the model never learnt it, but what is near in meaning (coffee" in found["caffeine"].text
    assert "caffeine" not in taught_keys(tagger)
    assert "coffee" in taught_keys(tagger)
