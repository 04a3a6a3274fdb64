import numpy as np
import pytest
from project_head import ProjectHead
from project_memory import COLUMN, FEATURES, Going, Photo, ProjectMemory

from annotator.proposals.evidence import Evidence

SIZE = 12
TAUGHT = frozenset({"dog", "cat"})


def look(seed):
    return np.random.default_rng(seed).gamma(1.0, size=SIZE).astype(np.float32)


def memory_of(*lists, said=None):
    memory = ProjectMemory(ProjectHead(SIZE), TAUGHT)
    for number, tags in enumerate(lists):
        memory.remember(number, look(number), tags, said)
    return memory


def value(weighed, key, name):
    return weighed.features[weighed.keys.index(key), COLUMN[name]]


def test_a_source_that_is_silent_is_zero_and_a_surer_one_counts_more():
    memory = memory_of()
    said = [
        Evidence("Dog", "decoder", 0.9, ""),
        Evidence("cat", "decoder", 0.1, ""),
        Evidence("pond", "looks", 0.5, ""),
    ]
    weighed = memory.weigh(Photo(look(50)), said)
    assert weighed.keys == ["dog", "cat", "pond"]
    assert value(weighed, "dog", "model") > value(weighed, "cat", "model") > value(weighed, "pond", "model") == 0.0
    assert value(weighed, "dog", "model_first") == 1.0
    assert value(weighed, "cat", "model_first") == 0.5
    assert value(weighed, "pond", "looks") > 0.0
    assert value(weighed, "dog", "known") == 1.0
    assert value(weighed, "pond", "known") == 0.0
    assert not weighed.features[:, COLUMN["share"]].any()


def test_neighbours_and_habits_do_not_count_twice():
    said = [Evidence("dog", "neighbours", 0.9, ""), Evidence("x", "habits", 1.0, "")]
    weighed = memory_of().weigh(Photo(look(50)), said)
    assert weighed.keys == []
    assert weighed.features.shape == (0, len(FEATURES))


def test_tags_of_like_photos_gain():
    memory = memory_of(("soup",), ("cake",), ("cake",))
    weighed = memory.weigh(Photo(look(0) * 1.001), [])
    assert value(weighed, "soup", "gain") > 0.0 > value(weighed, "cake", "gain")
    assert value(weighed, "cake", "share") > value(weighed, "soup", "share") > 0.0


def test_gain_is_the_weighted_sum_over_the_lists():
    memory = memory_of(("soup", "bowl"), ("cake",), ("soup",))
    photo = look(60)
    found = memory.head.look(photo)
    weights = dict(zip(found.photo_ids.tolist(), found.weights.tolist(), strict=True))
    weighed = memory.weigh(Photo(photo), [Evidence(tag, "words", 0.5, "") for tag in ("soup", "bowl", "cake")])
    for tag, carriers in {"soup": {0, 2}, "bowl": {0}, "cake": {1}}.items():
        share = len(carriers) / 3
        gain = sum(weight * ((number in carriers) - share) for number, weight in weights.items())
        assert value(weighed, tag, "gain") == pytest.approx(gain)


def test_replacing_and_forgetting_is_as_never_having_saved():
    memory = memory_of(("soup",), ("cake", "plate"), ("cake",))
    memory.remember(1, look(1), ("tea",))
    memory.remember(2, look(2), ())
    memory.remember(0, look(0), ("bowl",))
    memory.remember(0, look(0), ("soup",))
    plain = memory_of(("soup",), ("tea",))
    said = [Evidence(tag, "words", 0.5, "") for tag in ("soup", "tea", "cake", "plate", "bowl")]
    one, other = memory.weigh(Photo(look(50)), said), plain.weigh(Photo(look(50)), said)
    assert one.keys == other.keys
    np.testing.assert_allclose(one.features, other.features, atol=1e-9)
    assert memory.num_photos("cake") == 0
    memory.forget(77)
    assert len(memory) == 2


def test_a_saved_photo_does_not_hear_its_own_list():
    seen = [Evidence("dog", "decoder", 0.8, ""), Evidence("pond", "looks", 0.4, "")]
    memory = memory_of(("soup", "dog"), ("cake",), ("dog",), said=seen)
    without = ProjectMemory(ProjectHead(SIZE), TAUGHT)
    without.remember(1, look(1), ("cake",), seen)
    without.remember(2, look(2), ("dog",), seen)
    own, other = memory.weigh(Photo(look(0), 0), seen), without.weigh(Photo(look(0)), seen)
    keys = [key for key in own.keys if key in other.keys]
    # These go by what is usual between the photos, in which the photo takes part.
    usual = ("subject", "subject_known", "lists", "gain_far", "trust_model", "trust_looks", "kind")
    names = [name for name in FEATURES if name not in usual]
    for key in keys:
        for name in names:
            assert value(own, key, name) == pytest.approx(value(other, key, name), abs=1e-9), (key, name)


def test_the_form_in_use_takes_the_word_of_another_form():
    memory = memory_of(("tomatoes",))
    weighed = memory.weigh(Photo(look(50)), [Evidence("tomato", "looks", 0.5, "")])
    assert "tomato" not in weighed.keys
    assert value(weighed, "tomatoes", "looks") > 0.0


def test_trust_falls_where_what_a_source_expects_is_not_used():
    seen = [Evidence("dog", "decoder", 0.8, ""), Evidence("pond", "looks", 0.4, "")]
    wrong = memory_of(*[("cake",)] * 6, said=seen).weigh(Photo(look(50)), seen)
    right = memory_of(*[("dog", "pond")] * 6, said=seen).weigh(Photo(look(50)), seen)
    for tag, name in (("dog", "trust_model"), ("pond", "trust_looks")):
        assert value(wrong, tag, name) < 0.0 < value(right, tag, name)
        assert value(wrong, tag, "ratio") < 0.0 < value(right, tag, "ratio")


def test_keywords_count_by_how_many_are_kept_here():
    kept, refused = (ProjectMemory(ProjectHead(SIZE)) for _ in range(2))
    for number in range(5):
        kept.remember(number, look(number), ("a", "b"), None, ("a", "b"))
        refused.remember(number, look(number), ("a", "b"), None, ("c", "d"))
    said = [Evidence("x", "keywords", 0.9, ""), Evidence("y", "words", 0.9, "")]
    photo = Photo(look(50), None, 0, 1)
    one, other = kept.weigh(photo, said), refused.weigh(photo, said)
    assert value(one, "x", "keyword_kept") > 0.0 > value(other, "x", "keyword_kept")
    assert value(one, "y", "keyword_given") == 1.0
    assert value(one, "x", "keyword_given") == 0.0


def test_habits_are_heard_once_something_is_settled():
    memory = memory_of(("soup", "bowl"))
    going = {"bowl": Going(0.5, 1.5, -0.2)}
    first = memory.weigh(Photo(look(50)), [], going)
    then = memory.weigh(Photo(look(50), None, 1), [], going, ["soup"])
    assert value(first, "bowl", "together") == 0.0
    assert value(then, "bowl", "together") == 1.5
    assert value(then, "bowl", "next") == 0.5
    assert then.keys == ["bowl"]


def test_without_features_the_frequencies_speak_alone():
    memory = ProjectMemory(ProjectHead(SIZE))
    memory.remember(1, None, ("soup",))
    weighed = memory.weigh(Photo(None), [])
    assert weighed.look is None
    assert value(weighed, "soup", "share") > 0.0
    assert value(weighed, "soup", "gain") == 0.0


def test_features_stay_finite_when_the_head_is_full():
    memory = ProjectMemory(ProjectHead(SIZE, max_photos=10), TAUGHT)
    rng = np.random.default_rng(0)
    for number in range(200):
        tags = [f"tag{place}" for place in rng.integers(30, size=4)]
        memory.remember(int(rng.integers(60)), look(number), tags, [Evidence("dog", "decoder", 0.5, "")])
        weighed = memory.weigh(Photo(look(number + 1)), [Evidence("dog", "decoder", 0.5, "")])
        assert np.isfinite(weighed.features).all()
    assert len(memory.head) == 10
    assert len(memory) > 40


def test_loading_is_as_remembering_one_by_one():
    lists = {1: ("soup", "bowl"), 2: ("cake",), 3: (), 4: ("soup",)}
    seen = [Evidence("dog", "decoder", 0.8, "")]
    loaded, one_by_one = (ProjectMemory(ProjectHead(SIZE), TAUGHT) for _ in range(2))
    loaded.remember(9, look(9), ("old",))
    assert loaded.load(lists, [1, 2, 3], lambda ids: np.stack([look(number) for number in ids])) == [1, 2]
    for number, tags in lists.items():
        one_by_one.remember(number, None if number == 4 else look(number), tags, seen if number < 3 else None)
        loaded.expect(number, seen)
    ours, theirs = loaded.weigh(Photo(look(50)), seen), one_by_one.weigh(Photo(look(50)), seen)
    assert ours.keys == theirs.keys
    np.testing.assert_allclose(ours.features, theirs.features, atol=1e-9)
    assert loaded.num_photos("old") == 0


def test_residual_is_what_goes_beyond_what_the_tagger_expected():
    seen = [Evidence("dog", "decoder", 0.8, "")]
    used = memory_of(*[("dog",)] * 4, said=seen).weigh(Photo(look(0) * 1.01), seen)
    unused = memory_of(*[("cake",)] * 4, said=seen).weigh(Photo(look(0) * 1.01), seen)
    assert value(used, "dog", "residual") > 0.0 > value(unused, "dog", "residual")
    assert value(unused, "cake", "elsewhere") > 0.0 == value(unused, "dog", "elsewhere")
