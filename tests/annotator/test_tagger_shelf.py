"""The shelf of taggers: what is offered, what proposes by default, what is refused."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from annotator.errors import CheckpointError, ConfigError
from annotator.models.backbone import Backbone
from annotator.tagger_shelf import COLD_START, TaggerShelf, default_tagger


@dataclass(frozen=True)
class OtherBackbone:
    name: str = "resnet50"
    version: str = "x"
    feature_size: int = 2048


def test_the_starter_proposes_by_default_where_it_was_taught_on_the_features(backbone: Backbone) -> None:
    assert default_tagger(backbone) == "starter/jvsp"
    assert default_tagger(OtherBackbone()) == COLD_START  # type: ignore[arg-type]


def test_the_starters_and_the_cold_start_are_offered(backbone: Backbone, tmp_path: Path) -> None:
    shelf = TaggerShelf(backbone, tmp_path, COLD_START)
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
    shelf = TaggerShelf(backbone, tmp_path, COLD_START)
    with pytest.raises(ConfigError, match="There is no tagger"):
        shelf.choose(str(tmp_path / "elsewhere"))
    assert shelf.chosen == COLD_START


def test_a_chosen_checkpoint_that_is_gone_is_an_error(backbone: Backbone, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        TaggerShelf(backbone, tmp_path, str(tmp_path / "gone"))
