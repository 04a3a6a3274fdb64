"""The catalog of taggers: its choices, its default and what it refuses."""

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
from annotator.proposals import tagger_catalog
from annotator.proposals.sources.taggers import tagger_evidence, trained_keys
from annotator.proposals.tagger_catalog import TaggerCatalog, default_tagger


@dataclass(frozen=True)
class OtherBackbone:
    name: str = "resnet50"
    version: str = "x"
    feature_size: int = 2048


def test_the_starter_proposes_by_default_where_it_was_trained_on_the_features(backbone: Backbone) -> None:
    assert default_tagger(backbone) == "starter/jvsp"
    assert default_tagger(OtherBackbone()) == COLD_START  # type: ignore[arg-type]


def test_the_starters_and_the_cold_start_are_offered(backbone: Backbone, tmp_path: Path) -> None:
    catalog = TaggerCatalog(backbone, tmp_path, COLD_START)
    assert [choice.name for choice in catalog.choices()] == [
        "starter/jvsp",
        "starter/open_vocabulary",
        "starter/ranked_lstm",
        "starter/scnn_rnn",
        "starter/zero_shot",
        COLD_START,
    ]
    catalog.choose("starter/scnn_rnn")
    assert [tagger.name for tagger in catalog.taggers] == ["scnn_rnn", "cold_start"]


def test_a_tagger_that_is_not_offered_is_refused_and_the_present_one_stays(backbone: Backbone, tmp_path: Path) -> None:
    catalog = TaggerCatalog(backbone, tmp_path, COLD_START)
    with pytest.raises(ConfigError, match="There is no tagger"):
        catalog.choose(str(tmp_path / "elsewhere"))
    assert catalog.chosen == COLD_START


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
    checkpoint.save(starter, folder, about, reranker=Reranker({"probability": 2.0}))
    third = TaggerCatalog(backbone, tmp_path, str(folder))
    assert third.taggers[0].version != first.taggers[0].version
    assert third.taggers[0].reranker.weights == {"probability": 2.0}  # type: ignore[attr-defined]


def test_a_shared_tagger_of_another_backbone_is_still_refused(backbone: Backbone, tmp_path: Path) -> None:
    catalog = TaggerCatalog(backbone, tmp_path, "starter/ranked_lstm")
    assert catalog.taggers[0].name == "ranked_lstm"
    with pytest.raises(CheckpointError, match="was trained on features of"):
        tagger_catalog._load_shared("starter/ranked_lstm", OtherBackbone())  # type: ignore[arg-type]


def test_rows_for_a_saved_tag_are_computed_with_the_next_proposal_not_during_the_save(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = TaggerCatalog(backbone, tmp_path, "starter/jvsp")
    catalog.use_word_vectors(load_word_vectors(), ["motorway"])
    assert "motorway" in catalog.taggers[0].allowed_words()
    monkeypatch.setattr(tagger_catalog, "extend", pytest.fail)
    catalog.add_tags(["motorway", "pony"])
    monkeypatch.undo()
    after = catalog.taggers
    assert {"motorway", "pony"} <= set(after[0].allowed_words())
    assert catalog.taggers is after


def test_a_tagger_with_neighbours_proposes_an_untrained_tag_and_says_so(
    backbone: Backbone, tmp_path: Path, write_context_checkpoint: Callable[..., Path]
) -> None:
    catalog = TaggerCatalog(backbone, tmp_path, str(write_context_checkpoint(tmp_path / "ltwin")))
    catalog.use_word_vectors(load_word_vectors(), ["zzyzx"])
    catalog.add_tags(["caffeine"])
    tagger = catalog.taggers[0]
    assert "zzyzx" not in tagger.allowed_words()
    features = np.random.default_rng(0).gamma(1, 1, (1, backbone.feature_size)).astype(np.float32)
    found = {item.tag: item for item in tagger_evidence([tagger], features, [], [])}
    assert found["caffeine"].source == "context"
    assert "the model never learnt it, but what is near in meaning (coffee" in found["caffeine"].text
    assert "caffeine" not in trained_keys(tagger)
    assert "coffee" in trained_keys(tagger)
