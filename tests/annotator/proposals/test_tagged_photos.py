import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from annotator.proposals.evidence import Words
from annotator.proposals.tag_statistics import TagStatistics
from annotator.proposals.tagged_photos import TaggedPhotos
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex, VectorIndexSettings
from annotator.storage.features import FeatureStore


@dataclass
class Parts:
    tagged_photos: TaggedPhotos
    features: FeatureStore
    vectors: VectorIndex
    keywords: KeywordIndex
    vocabulary: ProjectVocabulary

    def state(self) -> tuple[list[int], list[tuple[str, ...]], list[str]]:
        known = [image for image in range(1, 6) if self.keywords.words(image)]
        completions = [completion.tag for completion in self.vocabulary.complete("t", {})]
        return self.vectors.image_ids().tolist(), [self.keywords.words(image) for image in known], completions


@pytest.fixture
def make(tmp_path: Path) -> "type[Parts]":
    table = np.eye(5, dtype=np.float32) + 0.1

    def build() -> Parts:
        features = FeatureStore(tmp_path, "grid-1", 5)
        if not len(features):
            features.commit(zip(range(1, 6), features.append(table), strict=True))
        vectors = VectorIndex(5, VectorIndexSettings(), features.vectors, tag="grid-1")
        keywords, vocabulary = KeywordIndex(), ProjectVocabulary([])
        return Parts(TaggedPhotos(features, vectors, keywords, vocabulary), features, vectors, keywords, vocabulary)

    return build  # type: ignore[return-value]


def test_a_photos_tags_are_its_keywords_until_it_is_saved(make: type[Parts]) -> None:
    parts = make()  # type: ignore[call-arg]
    parts.tagged_photos.add_image(1, Words(("tree",), ("park",)))
    assert parts.tagged_photos.tags_of(1) == ("tree",)
    assert parts.tagged_photos.saved_tags(1) == ()
    assert parts.state() == ([1], [("park", "tree")], [])
    parts.tagged_photos.set_saved(1, ("Tower", "tram"))
    assert parts.tagged_photos.tags_of(1) == ("Tower", "tram")
    assert parts.state() == ([1], [("park", "tower", "tram", "tree")], ["Tower", "tram"])
    parts.tagged_photos.set_saved(1, None)
    assert parts.tagged_photos.tags_of(1) == ("tree",)
    assert parts.state() == ([1], [("park", "tree")], [])


def test_a_photo_without_tags_is_in_no_index(make: type[Parts]) -> None:
    parts = make()  # type: ignore[call-arg]
    parts.tagged_photos.add_image(1, Words((), ("park",)))
    parts.tagged_photos.add_image(2, Words(("tree",)))
    parts.tagged_photos.set_saved(2, ())  # saved as having none
    assert parts.state() == ([], [], [])
    parts.tagged_photos.set_saved(1, ("tram",))
    parts.tagged_photos.set_saved(1, None)
    assert parts.state() == ([], [], [])


def test_a_photo_saved_before_its_features_came_is_indexed_with_them(make: type[Parts], tmp_path: Path) -> None:
    parts = make()  # type: ignore[call-arg]
    parts.features._row_of.pop(3)
    parts.tagged_photos.set_saved(3, ("tram",))
    assert parts.vectors.image_ids().tolist() == []
    parts.features.commit([(3, 2)])
    parts.tagged_photos.add_image(3, Words())
    assert parts.vectors.image_ids().tolist() == [3]


def test_loading_at_once_gives_the_same_as_following_each_change(make: type[Parts]) -> None:
    own = {1: Words(("tree",), ("park",)), 2: Words((), ("park",)), 3: Words(("tent",)), 4: Words(("toy",))}
    saved = {2: ("tram",), 3: (), 5: ("tram", "tower")}
    followed, loaded = make(), make()  # type: ignore[call-arg]
    for image, words in own.items():
        followed.tagged_photos.add_image(image, words)
    for image, tags in saved.items():
        followed.tagged_photos.set_saved(image, ("typo",))
        followed.tagged_photos.set_saved(image, tags)
    loaded.tagged_photos.load(own, saved)
    assert followed.state() == loaded.state()
    assert loaded.state()[0] == [1, 2, 4, 5]
    assert followed.vocabulary.num_lists == loaded.vocabulary.num_lists == 3


def test_tag_statistics_include_lists_that_are_saved_while_they_are_counted(
    make: type[Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = make()  # type: ignore[call-arg]
    for image in (1, 2, 3):
        parts.tagged_photos.set_saved(image, ("sky", "sea"))
    note, is_told = TagStatistics.note, False

    def note_while_others_save(statistics: TagStatistics, tags: tuple[str, ...], change: int) -> None:
        nonlocal is_told
        if not is_told:
            is_told = True
            saving = threading.Thread(target=parts.tagged_photos.set_saved, args=(2, ("sky", "tram")))
            saving.start()
            saving.join(timeout=10)
            assert not saving.is_alive()  # it had not to wait for the count
        note(statistics, tags, change)

    monkeypatch.setattr(TagStatistics, "note", note_while_others_save)
    after_sky = parts.tagged_photos.tag_statistics(4).usual(["sky"])
    assert [(item.tag, item.text) for item in after_sky] == [
        ("sea", "after “sky” it came next in 2 of 3 lists"),
        ("tram", "after “sky” it came next in 1 of 3 lists"),
    ]
    parts.tagged_photos.set_saved(1, None)
    assert parts.tagged_photos.tag_statistics(4).usual(["sky"])[0].text == "after “sky” it came next in 1 of 2 lists"
