import numpy as np
import pytest

from annotator.models.word_vectors.word_vector_files import Table
from annotator.models.word_vectors.word_vectors import WordVectors, load_word_vectors
from annotator.proposals.vocabulary.lexicon import Lexicon, shared_lexicon
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


def test_the_words_nearest_to_what_is_tagged_come_first(lexicon: Lexicon) -> None:
    assert lexicon.complete("par", lexicon.subject({"soup": 3}), 9) == ["parsley", "parking", "park"]
    assert lexicon.complete("par", lexicon.subject({"street": 3}), 9) == ["park", "parking", "parsley"]
    assert lexicon.complete("par", lexicon.subject({"soup": 3}), 1) == ["parsley"]


def test_nothing_is_offered_for_nothing_short_words_or_unknown_starts(lexicon: Lexicon) -> None:
    subject = lexicon.subject({"soup": 3})
    assert lexicon.complete("", subject, 9) == []
    assert lexicon.complete("zz", subject, 9) == []
    assert "pa" not in lexicon.complete("pa", subject, 9)
    assert "par3" not in lexicon.complete("pa", subject, 9)


def test_the_subject_is_the_mean_direction_of_the_tags_words_by_the_root_of_their_counts(lexicon: Lexicon) -> None:
    expected = 2 * np.array([1, 0.1]) / np.hypot(1, 0.1) + np.array([0, 1])
    expected += np.array([1, 0]) * 0  # a tag that no photo carries any more
    found = lexicon.subject({"soup": 4, "street": 1, "parsley": 0, "unheard of": 2})
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-5)
    assert not lexicon.subject({}).any()


def test_a_word_new_to_the_project_is_completed_behind_its_tags_and_before_everyday_words(lexicon: Lexicon) -> None:
    words = ProjectVocabulary(["parade", "park"])
    words.count(["soup"], +1)
    words.count(["parfait"], +1)
    assert [found.tag for found in words.complete("par", {})] == ["parfait", "parade", "park"]
    words.use_lexicon(lexicon)
    found = words.complete("par", {"parking": 0.5, "parade": 0.0001})
    assert [item.tag for item in found] == ["parking", "parfait", "parsley", "park", "parade"]
    assert [item.source for item in found] == ["model", "project", "words", "words", "words"]
    assert "parsley" not in [item.tag for item in words.complete("par", {}, exclude=["Parsley"])]


def test_the_last_of_several_words_is_completed(lexicon: Lexicon) -> None:
    words = ProjectVocabulary([])
    words.use_lexicon(lexicon)
    assert words.complete("green pars", {}) == []  # nothing is known of what is tagged here
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
    assert lexicon.complete("par", lexicon.subject({"soup": 3, "cheese": 2}), 1) == ["parmesan"]
