"""The zero-shot tagger on small data: TaggerNet, near words, detector labels, and where each tag comes from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.datasets.vocabulary import Vocabulary
from annotator.errors import ConfigError
from annotator.models import checkpoint
from annotator.models.checkpoint import About
from annotator.models.tagger import RankedTag
from annotator.models.taggers.zero_shot import (
    ZeroShotConfig,
    ZeroShotTagger,
    _count_trust,
    first_of_each,
    is_inflection,
    nearest_words,
    root,
)

TAGS = ["man", "dog", "frisbee", "park", "tree"]
WORDS = ("dogs", "puppy", "wolf", "cat", "woman", "garden", "bush", "tractor", "dog show")
SIZE = 12
SPACE = {
    "man": (1.0, 0.0, 0.0),
    "woman": (0.9, 0.1, 0.0),
    "dog": (0.0, 1.0, 0.0),
    "dogs": (0.0, 1.0, 0.01),
    "dog show": (0.0, 1.0, 0.02),
    "puppy": (0.0, 0.9, 0.1),
    "wolf": (0.0, 0.8, 0.5),
    "cat": (0.0, 0.6, 0.7),
    "park": (0.0, 0.1, 1.0),
    "tree": (0.0, 0.0, 1.0),
    "garden": (0.0, 0.0, 0.9),
    "bush": (0.1, 0.0, 0.9),
}


class Space:
    """Three-dimensional word vectors made by hand; frisbee and tractor have none."""

    def matrix(self, tags: Sequence[str]) -> tuple[Any, Any]:
        rows = np.array([SPACE.get(tag, (0.0, 0.0, 0.0)) for tag in tags], np.float32)
        return rows.reshape(len(tags), 3), np.array([tag in SPACE for tag in tags])


CONFIG = ZeroShotConfig(hidden_size=16, epochs=15, words=WORDS, batch_size=32, learning_rate=0.01)


def make_data(num: int, seed: int = 0) -> tuple[Any, list[list[str]]]:
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(9).random((len(TAGS), SIZE)) * (np.random.default_rng(8).random(SIZE) > 0.3)
    features = 0.05 * rng.random((num, SIZE))
    given = []
    for row in range(num):
        tags = rng.permutation(len(TAGS))[: 1 + row % 2]
        features[row] += directions[tags].sum(axis=0)
        given.append([TAGS[tag] for tag in tags])
    return features.astype(np.float32), given


@pytest.fixture(scope="module")
def tagger() -> ZeroShotTagger:
    return ZeroShotTagger.fit(Vocabulary(TAGS), *make_data(240), CONFIG, vectors=Space())


def with_settings(tagger: ZeroShotTagger, **changes: Any) -> ZeroShotTagger:
    settings = dict(tagger.settings())
    config = {**settings["config"], **{k: v for k, v in changes.items() if k in settings["config"]}}
    settings |= {"config": config, **{k: v for k, v in changes.items() if k in settings}}
    return ZeroShotTagger.from_arrays(tagger.vocabulary, settings, tagger.arrays())


def test_it_finds_the_tags_of_new_photos(tagger: ZeroShotTagger) -> None:
    features, given = make_data(80, seed=1)
    first = [tags[0].tag for tags in tagger.decode(features, [()] * 80)]
    assert np.mean([tag in tags for tag, tags in zip(first, given, strict=True)]) > 0.8


def test_the_network_equals_a_plain_loop(tagger: ZeroShotTagger) -> None:
    features, _ = make_data(3, seed=2)
    arrays = tagger.arrays()
    for row, scores in zip(features, tagger.scores(features), strict=True):
        scaled = [
            (np.sqrt(value + 1e-6) - mean) * scale
            for value, mean, scale in zip(row, arrays["feature_mean"], arrays["feature_scale"], strict=True)
        ]
        hidden = [max(0.0, float(np.dot(scaled, arrays["hidden"][:, i]) + arrays["hidden_bias"][i])) for i in range(16)]
        for tag in range(len(TAGS)):
            logit = sum(h * float(w) for h, w in zip(hidden, arrays["output"][:, tag], strict=True))
            logit += float(arrays["output_bias"][tag])
            assert scores[tag] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)


def test_the_nearest_words_are_allowed_near_enough_and_no_form_of_the_tag() -> None:
    near = nearest_words(TAGS, WORDS, Space(), num=2, floor=0.5)
    assert [word for word, _ in near["dog"]] == ["puppy", "wolf"]  # neither dogs nor dog show
    assert near["dog"][0][1] == pytest.approx(0.9 / np.hypot(0.9, 0.1))
    assert near["man"] == [("woman", pytest.approx(0.9 / np.hypot(0.9, 0.1)))]  # the next is below the floor
    assert [word for word, _ in near["park"]] == ["garden", "bush"]
    assert near["frisbee"] == []
    assert nearest_words(["dog"], [], Space(), 2, 0.5) == nearest_words(["dog"], WORDS, Space(), 0, 0.5) == {"dog": []}


@pytest.mark.parametrize(
    ("word", "tag", "is_one"),
    [
        ("dogs", "dog", True),
        ("Dog", "dogs", True),
        ("babies", "baby", True),
        ("skiing", "ski", True),
        ("biking", "bike", True),
        ("running", "run", True),
        ("skier", "ski", True),
        ("knives", "knife", False),  # an irregular plural is another word here
        ("wolf", "dog", False),
        ("bus", "bush", False),
        ("hot dog", "dog", False),
    ],
)
def test_inflections(word: str, tag: str, is_one: bool) -> None:
    assert is_inflection(word, tag) is is_one


def test_a_word_has_its_best_tags_score_by_cosine_and_trust(tagger: ZeroShotTagger) -> None:
    features, _ = make_data(4, seed=1)
    scores = tagger.scores(features)
    word = tagger.vocabulary.index("garden")
    assert word >= tagger.num_trained == len(TAGS)
    near = {tag: dict(words)["garden"] for tag, words in tagger.near_words.items() if "garden" in dict(words)}
    assert set(near) == {"park", "tree"}
    for row in scores:
        best = max(row[TAGS.index(tag)] * cosine for tag, cosine in near.items())
        assert row[word] == pytest.approx(tagger.word_trust * best)


def test_the_trust_is_counted_by_hand() -> None:
    vocabulary = Vocabulary(["man", "woman", "dog"])
    labels = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 1, 0]], np.float32)
    near = {"man": [("woman", 0.9)], "woman": [("man", 0.9)], "dog": [("wolf", 0.8)]}
    # A woman in 1 of 3 photos of a man, a man in 1 of 2 of a woman: 2 where 3 x 0.9 + 2 x 0.9 would be for trust 1.
    assert _count_trust(near, vocabulary, labels) == pytest.approx(2 / (5 * 0.9))
    assert 0 < _count_trust({"dog": [("wolf", 0.8)]}, vocabulary, labels) < 0.2


def test_the_papers_order_appends_tags_words_and_labels_and_keeps_their_origin(tagger: ZeroShotTagger) -> None:
    tagger = with_settings(tagger, by="paper", threshold=0.5)
    tagger._weights = {**tagger.arrays(), "output": np.zeros((16, 5), np.float32)}
    tagger._weights["output_bias"] = np.array([2, 1, -1, -1, -2], np.float32)  # man, dog, then nothing sure
    (ranked,) = tagger.decode(
        np.ones((1, SIZE), np.float32), [()], free_length=True, labels=[[("Dog", 0.9), ("bench", 0.4), ("wolf", 0.3)]]
    )
    assert [item.tag for item in ranked] == ["man", "dog", "woman", "puppy", "wolf", "bench"]
    assert [item.evidence["from"] for item in ranked] == ["tagger_net"] * 2 + ["words"] * 3 + ["detector"]
    assert [item.evidence.get("of") for item in ranked] == [None, None, "man", "dog", "dog", None]
    assert ranked[1].score == pytest.approx(0.9)  # the detector is surer of the dog
    assert ranked[-1] == RankedTag("bench", 0.4, {"from": "detector"})


def test_ranked_by_score_the_list_falls_and_holds_every_tag_once(tagger: ZeroShotTagger) -> None:
    features, _ = make_data(5, seed=3)
    for ranked in tagger.decode(features, [()] * 5, k=100, labels=[[("kite", 0.5)]] * 5):
        assert [item.score for item in ranked] == sorted((item.score for item in ranked), reverse=True)
        assert sorted(item.tag for item in ranked) == sorted([*tagger.vocabulary.tags, "kite"])


def test_duplicates_keep_the_first_place_and_the_best_score() -> None:
    items = [RankedTag("dog", 0.5), RankedTag("cat", 0.9), RankedTag("DOG", 0.7), RankedTag("cat", 0.1)]
    assert first_of_each(items) == [RankedTag("dog", 0.7), RankedTag("cat", 0.9)]


def test_labels_of_another_number_of_photos_are_refused(tagger: ZeroShotTagger) -> None:
    with pytest.raises(ValueError, match="2 photos' labels"):
        tagger.decode(make_data(1)[0], [()], labels=[[], []])


def test_half_precision_changes_the_list_little(tagger: ZeroShotTagger, tmp_path: Path) -> None:
    checkpoint.save(tagger, tmp_path, About("test", "1", "given"), half=True)
    loaded: Any = checkpoint.load(tmp_path)
    features, _ = make_data(6, seed=4)
    np.testing.assert_allclose(loaded.scores(features), tagger.scores(features), atol=2e-2)
    assert loaded.near_words.keys() == tagger.near_words.keys()


def test_invalid_settings_are_refused() -> None:
    for bad in (
        {"hidden_size": 0},
        {"dropout": 1.0},
        {"cosine_floor": 1.0},
        {"num_words": -1},
        {"by": "luck"},
        {"learning_rate": 0.0},
    ):
        with pytest.raises(ValueError, match=next(iter(bad)) if "by" not in bad else "luck"):
            ZeroShotConfig(**bad)  # type: ignore[arg-type]


def test_the_square_root_keeps_the_sign() -> None:
    np.testing.assert_allclose(root(np.array([[-4.0, 0.0, 9.0]], np.float32)), [[-2, 0, 3]], atol=1e-2)


def test_vectors_without_any_of_the_tags_are_refused() -> None:
    features, _ = make_data(10)
    with pytest.raises(ConfigError, match="glove know none of the 2 tags"):
        ZeroShotTagger.fit(
            Vocabulary(["xyzzy", "plugh"]), features, [["xyzzy"], ["plugh"]] * 5, CONFIG, vectors=Space()
        )
