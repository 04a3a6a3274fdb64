"""Measures of sentences, on cases worked by hand."""

import math

import pytest

from annotator.trainer.evaluation.caption_metrics import bleu, cider, longest_common, ngrams, rouge_l

DOG = ["a", "dog", "sits", "on", "the", "grass"]
CAT = ["a", "cat", "on", "a", "red", "sofa"]


def test_a_sentence_like_its_reference_has_the_best_value() -> None:
    assert bleu([DOG, CAT], [[DOG], [CAT]]) == [pytest.approx(1)] * 4
    assert rouge_l([DOG, CAT], [[DOG], [CAT]]) == pytest.approx(1)
    assert cider([DOG, CAT], [[DOG], [CAT]]) == pytest.approx(10)


def test_bleu_worked_by_hand() -> None:
    # Unigrams: "the" counts twice at most; 3 of 4. Bigrams: "the cat" 1 of 3. No trigram is right.
    values = bleu([["the", "the", "the", "cat"]], [[["the", "cat", "sees", "the", "dog"]]])
    brevity = math.exp(1 - 5 / 4)
    assert values[0] == pytest.approx(brevity * 3 / 4)
    assert values[1] == pytest.approx(brevity * math.sqrt(3 / 4 * 1 / 3))
    assert values[2:] == [0, 0]


def test_bleu_takes_the_closest_length_and_the_most_of_any_reference() -> None:
    proposed, short, long = ["a", "a", "b"], ["a", "b"], ["a", "a", "c", "d"]
    values = bleu([proposed], [[long, short]])  # 2 and 4 are equally close to 3: the shorter, so no penalty
    assert values[0] == pytest.approx(3 / 3)
    assert values[1] == pytest.approx(math.sqrt(1 * 2 / 2))


def test_bleu_is_of_all_photos_together() -> None:
    values = bleu([["a"], ["b", "c", "d"]], [[["a"]], [["x", "y", "d"]]])
    assert values[0] == pytest.approx(2 / 4)  # not the mean of 1 and 1/3


def test_rouge_worked_by_hand() -> None:
    # "a dog on grass" of "a dog sits on the grass": 4 of 4 and 4 of 6.
    value = rouge_l([["a", "dog", "on", "grass"]], [[DOG]])
    assert value == pytest.approx((1 + 1.44) * 1 * (4 / 6) / (4 / 6 + 1.44))
    assert rouge_l([["x"]], [[DOG]]) == 0
    assert rouge_l([[]], [[DOG]]) == 0


def test_cider_worked_by_hand() -> None:
    # Of two photos "a" is in both, so its weight is log(2/2) = 0; "dog" and "cat" weigh log 2.
    values = cider([["a", "dog"], ["a", "dog"]], [[["a", "dog"]], [["a", "cat"]]])
    # Photo 1: alike in one- and two-word sequences, and has no longer ones. Photo 2: nothing shared that weighs.
    assert values == pytest.approx(10 * (1 + 1) / 4 / 2)


def test_cider_clips_repeats_and_punishes_other_lengths() -> None:
    others = [[["dog"]], [["cat"]]]
    once = cider([["dog"], ["cat"]], others)
    # min(2, 1) x 1 over the norms 2 and 1 is a half, with a penalty for one word more.
    repeated = cider([["dog", "dog"], ["cat"]], others)
    assert once == pytest.approx(10 / 4)
    assert repeated == pytest.approx((10 / 4 * 0.5 * math.exp(-1 / 72) + 10 / 4) / 2)


def test_the_longest_common_subsequence_agrees_with_trying_all() -> None:
    import itertools

    for one, other in ((DOG, CAT), (CAT, DOG), (["a", "b", "a"], ["b", "a", "a"])):
        found = max(
            len(chosen)
            for length in range(len(one) + 1)
            for chosen in itertools.combinations(one, length)
            if _is_within(chosen, other)
        )
        assert longest_common(one, other) == found


def _is_within(chosen: tuple[str, ...], words: list[str]) -> bool:
    rest = iter(words)
    return all(word in rest for word in chosen)


def test_sequences_of_words_are_counted() -> None:
    assert ngrams(["a", "b", "a", "b"], 2) == {("a", "b"): 2, ("b", "a"): 1}


@pytest.mark.parametrize("measure", [bleu, rouge_l, cider])
def test_a_photo_without_a_reference_is_refused(measure: object) -> None:
    assert callable(measure)
    for proposed, references in (([DOG], []), ([], []), ([DOG], [[]])):
        with pytest.raises(ValueError, match="each photo needs a reference"):
            measure(proposed, references)


def test_the_figures_are_those_of_the_coco_caption_program() -> None:
    """What pycocoevalcap 1.2 prints for the same words; its BLEU-4 adds 1e-15 to a count of 0."""
    proposed = ["a dog sits on the grass", "a cat on a sofa", "two people ride a horse on the beach"]
    references = [
        ["a brown dog sits in the grass", "a dog on grass"],
        ["a cat sleeps on a red sofa"],
        ["people ride horses on a beach", "two riders on the beach with a horse"],
    ]
    words = [sentence.split() for sentence in proposed]
    others = [[sentence.split() for sentence in own] for own in references]
    assert bleu(words, others)[:3] == pytest.approx([0.8539396655336466, 0.6404547491470749, 0.29979214201515936])
    assert bleu(words, others)[3] == 0
    assert rouge_l(words, others) == pytest.approx(0.773266484473381)
    assert cider(words, others) == pytest.approx(2.504807571645522)
