import numpy as np
import pytest

from annotator.models.word_vectors.word_vector_files import Table
from annotator.models.word_vectors.word_vectors import WordVectors, load_word_vectors
from annotator.proposals.vocabulary.lexicon import Lexicon, is_inflected, shared_lexicon
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary

WORDS = {
    # word: (food, town), the most frequent first
    "the": (0.1, 0.1),
    "park": (0.0, 1.0),
    "parking": (0.1, 1.0),
    "parsley": (1.0, 0.0),
    "soup": (1.0, 0.1),
    "street": (0.0, 1.0),
    "pa": (1.0, 0.0),
    "par3": (1.0, 0.0),
    "bowl": (0.9, 0.1),
}


@pytest.fixture
def lexicon() -> Lexicon:
    table = Table(
        {word: row for row, word in enumerate(WORDS)}, list(WORDS), np.array(list(WORDS.values()), np.float32)
    )
    return Lexicon(WordVectors("toy", "1", table, only_latin=True))


def test_words_start_with_the_text_but_for_short_ones_and_those_with_digits(lexicon: Lexicon) -> None:
    assert lexicon.start_with("pa") == ["park", "parking", "parsley"]
    assert lexicon.start_with("") == []
    assert lexicon.start_with("zz") == []


def test_a_word_is_described_by_its_rarity_and_its_cosine_with_the_subject(lexicon: Lexicon) -> None:
    found = lexicon.describe(["parsley", "unheard of", "parking"], lexicon.subject({"street": 2}))
    np.testing.assert_allclose(found[:, 0], [np.log1p(3), 0, np.log1p(2)], rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], [0, 0, 1 / np.hypot(0.1, 1)], atol=1e-6)
    assert found[:, 2].tolist() == [0, 0, 1]  # "parking" beside "park"


@pytest.mark.parametrize(
    ("word", "inflected"),
    [
        ("baked", True), ("running", True), ("fried", True), ("apparently", True), ("walked", True), ("walking", True),
        ("bed", False), ("ring", False), ("wedding", False), ("belly", False), ("bake", False),
    ],
)  # fmt: skip
def test_pasts_participles_and_adverbs_of_known_words_are_inflected(word: str, inflected: bool) -> None:
    assert is_inflected(word, {"bake", "run", "fry", "apparent", "walk", "bed", "b", "r", "bel"}) is inflected


def test_the_subject_is_the_mean_direction_of_the_tags_words_by_the_root_of_their_counts(lexicon: Lexicon) -> None:
    expected = 2 * np.array([1, 0.1]) / np.hypot(1, 0.1) + np.array([0, 1])
    expected += np.array([1, 0]) * 0  # a tag that no photo carries any more
    found = lexicon.subject({"soup": 4, "street": 1, "parsley": 0, "unheard of": 2})
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-5)
    assert not lexicon.subject({}).any()


def test_what_is_seen_and_used_comes_first_then_words_of_the_subject(lexicon: Lexicon) -> None:
    words = ProjectVocabulary(["parade", "park"])
    words.count(["soup"], +1)
    for _ in range(3):
        words.count(["parfait"], +1)
    words.use_lexicon(lexicon)
    found = words.complete("par", {"parking": 0.5})
    assert [(item.tag, item.source) for item in found][:2] == [("parking", "model"), ("parfait", "project")]
    order = [item.tag for item in found]
    assert order.index("park") < order.index("parade")  # an everyday word that the lexicon knows to be of the subject
    assert {item.tag for item in found} == {"parking", "parfait", "parsley", "park", "parade"}
    assert "parsley" not in [item.tag for item in words.complete("par", {}, exclude=["Parsley"])]


def test_of_the_words_of_the_lexicon_that_which_is_seen_in_the_photo_comes_first(lexicon: Lexicon) -> None:
    words = ProjectVocabulary([])
    words.use_lexicon(lexicon)

    def seen(best: str) -> list[str]:
        scores = {"park": 0.001, "parking": 0.001, "parsley": 0.001, best: 0.6}
        asked: list[str] = []

        def word_scores(wanted: tuple[str, ...]) -> dict[str, float]:
            asked.extend(wanted)
            return scores

        found = [item.tag for item in words.complete("par", {}, word_scores=word_scores)]
        assert set(found) <= set(asked)
        return found

    assert seen("parsley")[0] == "parsley"
    assert seen("park")[0] == "park"


def test_an_unlikely_word_is_offered_only_when_it_is_typed_nearly_in_full(lexicon: Lexicon) -> None:
    words = ProjectVocabulary([])
    words.use_lexicon(lexicon)

    def unseen(wanted: tuple[str, ...]) -> dict[str, float]:
        return dict.fromkeys(wanted, 1e-4)

    assert words.complete("parsl", {}, word_scores=unseen) == []  # 5 of 7 letters
    assert [item.tag for item in words.complete("parsle", {}, word_scores=unseen)] == ["parsley"]


def test_a_plural_is_likely_where_its_singular_is_seen(lexicon: Lexicon) -> None:
    words = ProjectVocabulary(["bowls", "bowlers"])
    assert [item.tag for item in words.complete("bowl", {"bowl": 0.6})] == ["bowl", "bowls", "bowlers"]


def test_the_last_of_several_words_is_completed(lexicon: Lexicon) -> None:
    words = ProjectVocabulary([])
    words.use_lexicon(lexicon)
    words.count(["soup"], +1)
    assert [found.tag for found in words.complete("Green pars", {})] == ["green parsley"]
    assert [found.tag for found in words.complete("soup b", {})] == ["soup bowl"]


def test_the_subject_follows_the_saves(lexicon: Lexicon) -> None:
    words = ProjectVocabulary([])
    words.use_lexicon(lexicon)
    words.count(["soup"], +1)
    assert words.complete("par", {})[0].tag == "parsley"
    words.count(["soup"], -1)
    words.count(["street"], +1)
    assert words.complete("par", {})[0].tag == "park"


def test_one_lexicon_serves_all_who_use_the_same_words() -> None:
    def words(version: str) -> WordVectors:
        table = Table({"soup": 0}, ["soup"], np.ones((1, 2), np.float32))
        return WordVectors("toy", version, table, only_latin=True)

    first = shared_lexicon(words("1"))
    assert shared_lexicon(words("1")) is first
    assert shared_lexicon(words("2")) is not first


@pytest.mark.integration
def test_beside_wordnet_the_commonest_words_complete() -> None:
    table = Table({"parchment": 0}, ["parchment"], np.ones((1, 2), np.float32))
    lexicon = shared_lexicon(WordVectors("wordnet", "1", table, only_latin=True))
    assert lexicon is shared_lexicon(load_word_vectors("glove"))
    words = ProjectVocabulary([])
    words.use_lexicon(lexicon)
    for tag in ("soup", "cheese", "tomato"):
        words.count([tag], +1)
    offered = [item.tag for item in words.complete("parm", {})]
    assert offered[0] == "parmesan"
