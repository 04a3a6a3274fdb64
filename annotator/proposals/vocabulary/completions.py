"""Completions of typed text: by what is seen and what is used, then tags of similar meaning.

The served session and the promotion test both use it, so that a model is judged by the keys that it costs a user. Knows
nothing of the user interface.
"""

from collections.abc import Mapping, Sequence

from annotator.datasets.tags import tag_key
from annotator.models.tagger import Features, Tagger
from annotator.models.taggers.open_vocabulary import AddedWords
from annotator.proposals.vocabulary.project_vocabulary import (
    MAX_COMPLETIONS,
    Completion,
    ProjectVocabulary,
    WordScores,
    no_word_scores,
)
from annotator.proposals.vocabulary.similar_tags import SimilarTags


def completions_of(
    text: str,
    scores: Mapping[str, float],
    kept: Sequence[str],
    *,
    vocabulary: ProjectVocabulary,
    similar_tags: SimilarTags,
    tagger: Tagger,
    word_scores: WordScores = no_word_scores,
    never: Sequence[str] = (),
) -> list[Completion]:
    """Return completions of typed text, best first.

    Args:
        text: Typed text.
        scores: Tag -> score for this photo.
        kept: The kept tags, which are left out.
        vocabulary: Known words and the project's spellings.
        similar_tags: Finds tags of similar meaning.
        tagger: Its tags are searched for similar ones, beside those in use.
        word_scores: Scores words for this photo that are not in `scores`.
        never: Tags that are offered only when they are typed in full.
    """
    exclude = [*kept, *(tag for tag in never if tag_key(tag) != tag_key(text))]
    completions = vocabulary.complete(text, scores, exclude, word_scores, kept)
    if not vocabulary.is_used(text):
        vocabularies = (vocabulary.tags_in_use(), tuple(tagger.allowed_words()))
        near = similar_tags.near(text, vocabularies, [*exclude, *(item.tag for item in completions)])
        completions += [Completion(vocabulary.spelling(tag), None, "meaning") for tag in near]
    return completions[:MAX_COMPLETIONS]


def word_scores_of(added_words: AddedWords | None, features: Features) -> WordScores:
    """Return the scores that the open vocabulary gives to words for one photo.

    Args:
        added_words: The open vocabulary, once its word vectors are loaded; None: no scores.
        features: (B, D) float32 of the photo, B = 1; with B = 0, as of a photo without features, no scores.
    """
    if added_words is None or not added_words.is_loaded or features.shape != (1, added_words.tagger.feature_size):
        return no_word_scores
    tagger = added_words.tagger

    def scores(words: tuple[str, ...]) -> Mapping[str, float]:
        values, is_known = tagger.score_words(features, words)
        return {word: float(value) for word, value, known in zip(words, values[0], is_known, strict=True) if known}

    return scores
