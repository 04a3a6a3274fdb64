"""Side information: user tags of a field, from the records to the checkpoint, to measuring and to the page."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.datasets.record import Record, tags_in_field
from annotator.errors import ConfigError, DataError
from annotator.models import checkpoint
from annotator.proposals.sources.taggers import tagger_evidence
from annotator.trainer.evaluation.evaluate import evaluate
from annotator.trainer.families import TrainingRequest
from annotator.trainer.fit_settings import FitSettings
from annotator.trainer.training import train

pytestmark = pytest.mark.integration  # trains

TAGS = ["cat", "dog", "car"]


class ColourGrid:
    name, version, feature_size = "colour_grid", "1", 6


def make_data(num: int = 60) -> tuple[list[Record], Any]:
    """Photos with uninformative features; their hashtags are informative."""
    rng = np.random.default_rng(0)
    records = [
        Record(Path(f"/photos/{row}.jpg"), (TAGS[row % 3],), extra={"hashtags": [f"#{TAGS[row % 3]}", "#photo"]})
        for row in range(num)
    ]
    return records, rng.random((num, 6)).astype(np.float32)


def request(**values: Any) -> TrainingRequest:
    fit = FitSettings(epochs=40, batch_size=8, learning_rate=0.01, concept_l2=0.0)
    sizes = {"embedding_size": 6, "hidden_size": 12, "side_size": 12}
    return TrainingRequest("scnn_rnn", **{"fit": fit, "settings": sizes, **values})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records, features = make_data()
    path = tmp_path_factory.mktemp("tagger")
    train(request(user_tags_field="hashtags"), records, features, ColourGrid(), path)
    return path


def test_the_checkpoint_keeps_which_user_tags_it_knows_and_from_where(folder: Path) -> None:
    info = checkpoint.read_info(folder)
    assert sorted(info.settings["user_tags"]) == ["#car", "#cat", "#dog", "#photo"]
    assert info.settings["user_tags"][0] == "#photo"  # the most frequent
    assert info.about.training["request"]["user_tags_field"] == "hashtags"


def test_measuring_uses_them(folder: Path) -> None:
    records, features = make_data()
    tagger = checkpoint.load(folder)
    given = [record.tags for record in records]
    own = [tags_in_field(record, "hashtags") for record in records]
    with_them = evaluate(tagger, features, given, user_tags=own)
    without = evaluate(tagger, features, given)
    assert with_them["first_tag_accuracy"] > 0.95
    assert without["first_tag_accuracy"] < 0.6  # chance is a third


def test_the_page_gives_a_photos_keywords_to_it(folder: Path) -> None:
    tagger = checkpoint.load(folder)
    features = make_data()[1][:1]
    for tag in TAGS:
        found = tagger_evidence([tagger], features, (), (), [f"#{tag.upper()}", "unknown"])
        assert max(found, key=lambda item: item.rank_score or 0).tag == tag


def test_only_so_many_are_known(tmp_path: Path) -> None:
    records, features = make_data()
    train(request(user_tags_field="hashtags", num_user_tags=2), records, features, ColourGrid(), tmp_path)
    assert len(checkpoint.read_info(tmp_path).settings["user_tags"]) == 2


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"user_tags_field": "tags"}, DataError, "cannot be side information to themselves"),
        ({"user_tags_field": "colour"}, DataError, "No training photo has a tag in its field 'colour'"),
        ({"user_tags_field": "hashtags", "tagger": "jvsp", "settings": {}}, ConfigError, "jvsp takes no user tags"),
        ({"settings": {"user_tags": ["a"]}, "tagger": "ria"}, ConfigError, "ria takes no user tags"),
        ({"user_tags_field": "hashtags", "settings": {"user_tags": ["a"]}}, ConfigError, "given twice"),
    ],
)
def test_side_information_that_cannot_be_used_is_one_sentence(
    values: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    records, features = make_data()
    chosen = {"tagger": "scnn_rnn", "settings": {}, **values}
    with pytest.raises(error, match=message):
        train(TrainingRequest(**chosen), records, features, ColourGrid(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="num_user_tags must be at least 1"):
        TrainingRequest("scnn_rnn", num_user_tags=0)


def test_a_field_that_holds_no_texts_is_one_sentence() -> None:
    with pytest.raises(DataError, match='"hashtags" must be a list of strings'):
        tags_in_field(Record(Path("/a.jpg"), ("cat",), extra={"hashtags": [1]}), "hashtags")
