"""Completions of typed text: by score and frequency, then tags of similar meaning.

The served session and the promotion test both use it, so that a model is judged by the keys that it costs a user. Knows
nothing of photos or the user interface.
"""

from collections.abc import Mapping, Sequence

from annotator.models.tagger import Tagger
from annotator.proposals.vocabulary.project_vocabulary import MAX_COMPLETIONS, Completion, ProjectVocabulary
from annotator.proposals.vocabulary.similar_tags import SimilarTags


def completions_of(
    text: str,
    scores: Mapping[str, float],
    kept: Sequence[str],
    *,
    vocabulary: ProjectVocabulary,
    similar_tags: SimilarTags,
    tagger: Tagger,
) -> list[Completion]:
    """Return completions of typed text, best first.

    Args:
        text: Typed text.
        scores: Tag -> score for this photo.
        kept: The kept tags, which are left out.
        vocabulary: Known words and the project's spellings.
        similar_tags: Finds tags of similar meaning.
        tagger: Its tags are searched for similar ones, beside those in use.
    """
    completions = vocabulary.complete(text, scores, kept)
    if not vocabulary.is_used(text):
        vocabularies = (vocabulary.tags_in_use(), tuple(tagger.allowed_words()))
        near = similar_tags.near(text, vocabularies, [*kept, *(item.tag for item in completions)])
        completions += [Completion(vocabulary.spelling(tag), None, "meaning") for tag in near]
    return completions[:MAX_COMPLETIONS]
