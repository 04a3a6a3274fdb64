"""What the add box offers: completions by score and use, then tags that mean nearly what was typed.

The page and the replay gate both ask here, so that a model is judged by the keys that it would really cost.
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
    autocomplete: ProjectVocabulary,
    meanings: SimilarTags,
    tagger: Tagger,
) -> list[Completion]:
    """Return completions of what is being typed: the model's, the project's, plain words, then by meaning.

    Args:
        text: What was typed so far.
        scores: Tag -> how likely it is for this photo.
        kept: Tags settled already.
        autocomplete: Which words are known, and how they are spelled.
        meanings: The project's word vectors, if they are loaded.
        tagger: Whose tags are found by meaning, beside those in use.
    """
    completions = autocomplete.complete(text, scores, kept)
    if not autocomplete.is_used(text):
        vocabularies = (autocomplete.tags_in_use(), tuple(tagger.allowed_words()))
        near = meanings.near(text, vocabularies, [*kept, *(item.tag for item in completions)])
        completions += [Completion(autocomplete.spelling(tag), None, "meaning") for tag in near]
    return completions[:MAX_COMPLETIONS]
