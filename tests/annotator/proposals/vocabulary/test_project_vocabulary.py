import numpy as np
import pytest

from annotator.proposals.vocabulary.odds import EVERYDAY, LOG_SCORE, OTHER_FORM, SCORED, USED
from annotator.proposals.vocabulary.project_vocabulary import MAX_COMPLETIONS, Completion, ProjectVocabulary

WORDS = ["cat", "car", "castle", "traffic light", "light", "dog"]


def tags(completions: list[Completion]) -> list[str]:
    return [completion.tag for completion in completions]


def test_proposed_tags_come_by_score_then_tags_in_use_by_frequency_then_common_words() -> None:
    vocabulary = ProjectVocabulary(WORDS)
    vocabulary.count(["cave"], +1)
    vocabulary.count(["cabin"], +1)
    vocabulary.count(["cabin"], +1)
    completions = vocabulary.complete("ca", {"castle": 0.4, "cake": 0.95})
    assert completions == [
        Completion("cake", 0.95, "model"),
        Completion("castle", 0.4, "model"),
        Completion("cabin", None, "project"),
        Completion("cave", None, "project"),
        Completion("cat", None, "words"),
        Completion("car", None, "words"),
    ]


def test_the_word_typed_in_full_comes_first() -> None:
    vocabulary = ProjectVocabulary(WORDS)
    assert tags(vocabulary.complete("car", {"carnival": 0.99}))[:2] == ["car", "carnival"]


def test_a_tag_that_starts_with_the_text_goes_before_one_where_a_later_word_does() -> None:
    vocabulary = ProjectVocabulary(WORDS)
    assert tags(vocabulary.complete("li", {"traffic light": 0.1})) == ["light", "traffic light"]
    assert tags(vocabulary.complete("fic", {})) == []


def test_kept_tags_are_not_offered_in_any_spelling() -> None:
    vocabulary = ProjectVocabulary(WORDS)
    assert tags(vocabulary.complete("ca", {"CAT": 0.9}, exclude=["Cat", "\uff23\uff21\uff32"])) == ["castle"]


def test_at_most_eight_are_offered() -> None:
    vocabulary = ProjectVocabulary([f"word{number}" for number in range(20)])
    assert tags(vocabulary.complete("wo", {})) == [f"word{number}" for number in range(MAX_COMPLETIONS)]


@pytest.mark.parametrize("text", ["", "   ", "\t"])
def test_nothing_typed_gives_nothing(text: str) -> None:
    assert ProjectVocabulary(WORDS).complete(text, {"cat": 1.0}) == []


@pytest.mark.parametrize("text", ["CA", "\uff43\uff41", " ca"])
def test_case_width_and_outer_spaces_do_not_matter(text: str) -> None:
    assert tags(ProjectVocabulary(WORDS).complete(text, {}))[0] == "cat"


@pytest.mark.parametrize("text", ["(", "[a", "\\", "%", "\0", "x" * 10_000, "🐈", "ك"])
def test_odd_text_is_text(text: str) -> None:
    vocabulary = ProjectVocabulary(WORDS)
    assert vocabulary.complete(text, {}) == []
    vocabulary.count([f"{text}1"], +1)
    assert tags(vocabulary.complete(text, {})) == [f"{text}1"]


def test_a_tag_keeps_the_spelling_it_was_first_saved_with() -> None:
    vocabulary = ProjectVocabulary(WORDS)
    assert vocabulary.spelling("Paris") == "Paris"
    vocabulary.count(["Paris"], +1)
    assert vocabulary.spelling("PARIS") == "Paris"
    assert tags(vocabulary.complete("par", {"paris": 0.5})) == ["Paris"]
    vocabulary.count(["Cat"], +1)
    assert vocabulary.spelling("cat") == "Cat"


def test_a_tag_no_photo_carries_any_more_is_forgotten_with_its_spelling() -> None:
    vocabulary = ProjectVocabulary(WORDS)
    vocabulary.count(["zebrra"], +1)
    assert vocabulary.knows("Zebrra")
    vocabulary.count(["zebrra"], -1)
    assert not vocabulary.knows("zebrra")
    assert vocabulary.complete("zeb", {}) == []
    vocabulary.count(["ZEBRRA"], +1)
    assert vocabulary.spelling("zebrra") == "ZEBRRA"
    assert tags(vocabulary.complete("zeb", {})) == ["ZEBRRA"]


def test_the_words_may_be_any_iterable() -> None:
    assert tags(ProjectVocabulary(word for word in WORDS).complete("d", {})) == ["dog"]


def test_a_tag_in_use_comes_before_a_word_with_the_same_faint_score() -> None:
    completions = ProjectVocabulary(["skier", "sky", "skin"])
    completions.count(["skin"], +1)
    found = completions.complete("sk", {"sky": 0.012, "skin": 0.012, "skier": 0.003, "ski": 0.5})
    assert [(item.tag, item.source) for item in found] == [
        ("ski", "model"),
        ("skin", "project"),
        ("sky", "words"),
        ("skier", "words"),
    ]


def test_more_photos_make_a_tag_likelier() -> None:
    vocabulary = ProjectVocabulary([])
    for tag in ("sand", "sail", "sail", "salt"):
        vocabulary.count([tag], +1)
    assert tags(vocabulary.complete("sa", {})) == ["sail", "salt", "sand"]


def test_weighing_says_what_is_known_of_each_candidate() -> None:
    vocabulary = ProjectVocabulary(["cat", "castle"])
    vocabulary.count(["cave"], +1)
    found = vocabulary.candidates("ca", {"cake": 0.5, "cats": 0.1})
    assert found is not None
    features = dict(zip(found.keys, found.features, strict=True))
    assert set(features) == {"cat", "castle", "cave", "cake", "cats"}
    assert [key for key, row in features.items() if row[USED]] == ["cave"]
    assert {key for key, row in features.items() if row[SCORED]} == {"cake", "cats"}
    assert features["cake"][LOG_SCORE] == pytest.approx(np.log(0.5))
    assert [key for key, row in features.items() if row[OTHER_FORM]] == ["cat"]
    assert {key for key, row in features.items() if row[EVERYDAY]} == {"cat", "castle"}
    assert vocabulary.candidates("zz", {}) is None


def test_a_second_word_is_one_of_the_kept_tags_of_the_likely_ones_or_of_the_project() -> None:
    vocabulary = ProjectVocabulary(WORDS)
    vocabulary.count(["tomato sauce"], +1)
    assert tags(vocabulary.complete("chicken w", {}, ["Wings"], kept=["Wings"])) == ["chicken wings"]
    assert tags(vocabulary.complete("chicken w", {"wrap": 0.4, "well": 0.01})) == ["chicken wrap"]
    assert tags(vocabulary.complete("soy s", {})) == ["soy sauce"]
    assert vocabulary.complete("soy w", {}) == []
    vocabulary.count(["tomato sauce"], -1)
    assert vocabulary.complete("soy s", {}) == []


def test_after_a_space_the_likeliest_next_words_are_offered_and_not_the_word_before() -> None:
    vocabulary = ProjectVocabulary(WORDS)
    for tag in ("cheese", "cheese", "tomato sauce", "soy sauce"):
        vocabulary.count([tag], +1)
    offered = tags(vocabulary.complete("cheese ", {"bread": 0.1}))
    assert offered[0] == "cheese sauce"  # "sauce" ends two tags
    assert set(offered) == {"cheese sauce", "cheese bread", "cheese tomato", "cheese soy"}
    assert "cheese" in tags(vocabulary.complete("cheese", {}))


def test_a_tag_in_use_is_offered_once_where_its_last_word_would_continue_the_text_too() -> None:
    vocabulary = ProjectVocabulary(WORDS)
    vocabulary.count(["soy sauce", "sauce"], +1)
    assert tags(vocabulary.complete("soy s", {})) == ["soy sauce"]
