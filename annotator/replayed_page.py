"""What the page would show with a given model: all evidence rebuilt from a snapshot, for the replay gate.

Neighbours, metadata and the photos' own words speak as they do in the page, so that a model is judged by what it adds
to them. Only corrected photos count as neighbours. Knows nothing of processes or verdicts.
"""

from collections.abc import Sequence

from annotator.autocomplete import Autocomplete
from annotator.carried_tags import CarriedTags
from annotator.datasets.vocabulary import everyday_words
from annotator.feature_store import FeatureStore
from annotator.metadata_index import MetadataIndex
from annotator.models.cold_start import ColdStartTagger
from annotator.models.tagger import Tagger
from annotator.snapshot import Snapshot
from annotator.suggest import Suggester, Words
from annotator.trainer.effort import Offer
from annotator.visual_index import VisualIndex, VisualIndexSettings


class ReplayedEvidence:
    """The evidence that all models share.

    Args:
        snapshot: The corrections.
        features: Features by image id, of the corrected photos at least.
        cold_start: Speaks for words that a model lacks, as in the page.
    """

    def __init__(self, snapshot: Snapshot, features: FeatureStore, cold_start: ColdStartTagger) -> None:
        self._features = features
        self._words = snapshot.words
        self._cold_start = cold_start
        self._autocomplete = Autocomplete([*everyday_words(), *cold_start.allowed_words()])
        self._looks = VisualIndex(features.feature_size, VisualIndexSettings(), features.vectors, tag="replay")
        self._metadata = MetadataIndex()
        self._carried = CarriedTags(features, self._looks, self._metadata, self._autocomplete)
        self._carried.load(snapshot.words, {item.image_id: item.tags for item in snapshot.corrections})

    def page(self, tagger: Tagger) -> "ReplayedPage":
        """Return the page with one model."""
        taggers = (tagger, self._cold_start)
        suggester = Suggester(
            lambda: taggers, self._features, self._looks, self._metadata, self._carried.tags_of, self._autocomplete
        )
        return ReplayedPage(suggester, self._autocomplete, self._words)


class ReplayedPage:
    """The page with one model; a `Proposer` of trainer/replay_gate.py.

    Args:
        suggester: Joins all evidence.
        autocomplete: Completions.
        words: What each photo brought along.
    """

    def __init__(self, suggester: Suggester, autocomplete: Autocomplete, words: dict[int, Words]) -> None:
        self._suggester = suggester
        self._autocomplete = autocomplete
        self._words = words
        self._scored: tuple[tuple[int, tuple[str, ...]], dict[str, float]] | None = None

    def propose(self, image_id: int, kept: Sequence[str], dropped: Sequence[str]) -> Offer:
        """Return what the page shows after an edit."""
        found = self._suggester.propose(image_id, self._words[image_id], kept, dropped)
        return Offer([proposal.tag for proposal in found.proposals])

    def complete(self, image_id: int, text: str, kept: Sequence[str]) -> list[str]:
        """Return completions of typed text, best first."""
        key = (image_id, tuple(kept))
        if self._scored is None or self._scored[0] != key:  # asked for each character of one word
            self._scored = (key, self._suggester.scores(image_id, self._words[image_id], kept))
        return [completion.tag for completion in self._autocomplete.complete(text, self._scored[1], kept)]
