"""What the add box offers: completions by score and use, then tags that mean nearly what was typed.

The page and the promotion test both use it, so that a model is judged by the keys that it really costs.
Knows nothing of photos or pages.
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
    """Return completions of what is being typed: the model's, the project's, plain words, then by meaning.

    Args:
        text: What was typed so far.
        scores: Tag -> how likely it is for this photo.
        kept: The tags so far.
        vocabulary: Which words are known, and how they are spelled.
        similar_tags: The project's word vectors, if they are loaded.
        tagger: Whose tags are found by meaning, beside those in use.
    """
    completions = vocabulary.complete(text, scores, kept)
    if not vocabulary.is_used(text):
        vocabularies = (vocabulary.tags_in_use(), tuple(tagger.allowed_words()))
        near = similar_tags.near(text, vocabularies, [*kept, *(item.tag for item in completions)])
        completions += [Completion(vocabulary.spelling(tag), None, "meaning") for tag in near]
    return completions[:MAX_COMPLETIONS]
