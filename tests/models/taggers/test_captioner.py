"""The captioner's forms, its vocabulary, and its beam search against all sentences of a small vocabulary."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from annotator.models.taggers.captioner import (
    FORMS,
    UNKNOWN,
    Captioner,
    CaptionerConfig,
    vocabulary_of,
    words_of,
)

WORDS = ["a", "dog", "sits", UNKNOWN]


def make(form: str = "concepts", seed: int = 0, **settings: Any) -> Captioner:
    torch.manual_seed(seed)
    config = CaptionerConfig(form, **{"hidden_size": 8, "embedding_size": 6, "num_concepts": 2, **settings})
    captioner = Captioner(WORDS, 5, config)
    with torch.no_grad():
        for parameter in captioner.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return captioner.eval()


def log_probability(captioner: Captioner, features: torch.Tensor, ids: list[int]) -> float:
    """Of a sentence and its END, by one pass over all steps."""
    inputs = torch.tensor([[len(WORDS), *ids]])
    with torch.no_grad():
        logits, _ = captioner(features, inputs, torch.tensor([len(ids) + 1]))
        log_probs = torch.log_softmax(logits[0], dim=1)
    return sum(float(log_probs[step, word]) for step, word in enumerate([*ids, len(WORDS)]))


def test_words_are_in_lower_case_without_punctuation() -> None:
    assert words_of('A dog\'s toy, near "Main St." 2!') == ["a", "dog's", "toy", "near", "main", "st", "2"]
    assert words_of("...") == []


def test_the_vocabulary_holds_the_words_of_enough_sentences_by_frequency() -> None:
    sentences = [["a", "dog", "dog"], ["a", "cat"], ["a", "dog"], ["cat"]]
    assert vocabulary_of(sentences, 2) == ["a", "cat", "dog", UNKNOWN]
    assert vocabulary_of(sentences, 3) == ["a", UNKNOWN]


def test_a_word_outside_the_vocabulary_is_unknown_and_no_concept() -> None:
    captioner = make()
    assert captioner.encode(["dog", "zebra", "a"]) == [1, 3, 0]
    assert captioner.concepts_of([[1, 3, 1], [2]]).tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("form", FORMS)
def test_a_wide_beam_finds_the_likeliest_of_all_sentences(form: str) -> None:
    captioner = make(form, seed=3)
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32))
    for row in range(2):
        one = features[row : row + 1]
        every = [list(ids) for length in range(4) for ids in itertools.product(range(3), repeat=length)]
        best = max(every, key=lambda ids: log_probability(captioner, one, ids))
        assert captioner.propose(one, beam_width=40, max_length=3) == [[WORDS[word] for word in best]]


def test_a_sentence_has_no_unknown_word_and_at_most_so_many_words() -> None:
    captioner = make()
    with torch.no_grad():
        captioner.decoder.output.bias[3] += 20.0  # UNKNOWN is by far the likeliest
        captioner.decoder.output.bias[4] -= 20.0  # END by far the least likely
    (sentence,) = captioner.propose(torch.zeros(1, 5), max_length=4)
    assert len(sentence) == 4
    assert UNKNOWN not in sentence


def test_photos_do_not_depend_on_the_rest_of_the_batch() -> None:
    captioner = make("deep")
    features = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32))
    together = captioner.propose(features)
    assert together == [captioner.propose(features[row : row + 1])[0] for row in range(3)]


def test_only_the_form_of_concepts_starts_from_them() -> None:
    features, inputs, lengths = torch.ones(1, 5), torch.tensor([[4, 0]]), torch.tensor([2])
    for form in FORMS:
        captioner = make(form)
        with torch.no_grad():
            found, concepts = captioner(features, inputs, lengths)
            told, _ = captioner(features, inputs, lengths, torch.ones(1, 2))
        assert (concepts is None) == (form == "features")
        assert bool((found != told).any()) == (form == "concepts")


def test_forms_and_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="form must be one of concepts, deep, features"):
        CaptionerConfig("tags")
    with pytest.raises(ValueError, match="Sizes must be at least 1"):
        CaptionerConfig(hidden_size=0)
