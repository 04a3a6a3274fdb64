"""Passes the tagged photos of a project on to `ProjectEvidence`: all at its first use, then each change."""

import threading
from collections.abc import Iterable

from annotator.proposals.evidence import Words
from annotator.proposals.feature_source import FeatureSource
from annotator.proposals.project_evidence import ProjectEvidence
from annotator.proposals.tagged_photos import TaggedPhotos


class ProjectEvidenceUpdates:
    """Loads the tagged photos into a `ProjectEvidence` at its first use, then passes on each change.

    Args:
        evidence: Receives the lists.
        tagged_photos: The tagged photos: their saved tags, or the own keywords of a photo that was never saved.
        features: Features by image id.
    """

    def __init__(self, evidence: ProjectEvidence, tagged_photos: TaggedPhotos, features: FeatureSource) -> None:
        self._evidence = evidence
        self._tagged_photos = tagged_photos
        self._features = features
        self._lock = threading.Lock()
        self._is_loaded = False

    def load(self) -> None:
        """Load the tagged photos unless that is done; 100,000 lists take seconds, during which saves wait."""
        if self._is_loaded:
            return
        with self._lock:
            if self._is_loaded:
                return
            photos = dict(self._tagged_photos.add_listener(self))
            self._evidence.load(
                {image_id: self._tagged_photos.tags_of(image_id) for image_id in photos},
                {i: words.keywords for i, words in photos.items() if self._tagged_photos.is_saved(i)},
                [image_id for image_id in photos if image_id in self._features],
                self._features.vectors,
            )
            self._is_loaded = True

    def words_of(self, image_id: int) -> Words:
        """Return the words of a photo's metadata."""
        return self._tagged_photos.words_of(image_id)

    def newest_saved(self, num: int) -> list[int]:
        """Return saved photos, at most so many, those with the highest ids first."""
        return self._tagged_photos.newest_saved(num)

    def set_many(self, photos: Iterable[tuple[int, Words]]) -> None:
        """Take in new or changed lists, given as (image id, words of the metadata)."""
        with self._lock:
            for image_id, words in photos:
                features = self._features.vectors([image_id])[0] if image_id in self._features else None
                keywords = words.keywords if self._tagged_photos.is_saved(image_id) else ()
                self._evidence.set(image_id, features, self._tagged_photos.tags_of(image_id), keywords)

    def remove(self, image_id: int) -> None:
        """Remove a photo that has no tags any more."""
        with self._lock:
            self._evidence.set(image_id, None, ())
