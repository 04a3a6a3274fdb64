"""Neighbourhoods of a data set against plain loops, and the settings taken from the training photos."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.datasets.record import Record
from annotator.errors import ConfigError, DataError, TagError
from annotator.models.context import VectorSums
from annotator.models.registry import configure
from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.trainer.neighbourhoods import Photos, find_context, learn_settings, vector_notes, with_target


class SmallVectors:
    """Vectors of ten words; "strange" words have none."""

    name, version, size = "small", "1", 4

    def matrix(self, tags: Any) -> Any:
        rows = np.zeros((len(tags), 4), np.float32)
        known = np.zeros(len(tags), bool)
        for place, tag in enumerate(tags):
            if tag.startswith("w"):
                rows[place] = np.random.default_rng(int(tag[1:])).normal(size=4)
                known[place] = True
        return rows, known


def make_photos(num: int, seed: int = 0, prefix: str = "p") -> Photos:
    rng = np.random.default_rng(seed)
    words = [tuple(f"w{word}" for word in rng.permutation(10)[: rng.integers(0, 5)]) for _ in range(num)]
    return Photos([f"{prefix}{row}" for row in range(num)], rng.normal(size=(num, 6)).astype(np.float32), words)


def cosine(one: Any, other: Any) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


def naive_neighbours(photos: Photos, pool: Photos, num: int, vectors: Any = None) -> list[list[int]]:
    """Eq. 5 or 7 for each pair; photos without shared words come last, by features."""
    rows = []
    for row, name in enumerate(photos.names):
        ranked = []
        for other, other_name in enumerate(pool.names):
            if name == other_name:
                continue
            own, its = set(photos.words[row]), set(pool.words[other])
            if vectors is None:
                similarity = len(own & its) / len(own | its) if own & its else 0.0
            else:
                sums = [sum((vectors.matrix([w])[0][0] for w in words), np.zeros(4)) for words in (own, its)]
                similarity = cosine(*sums)
            looks = cosine(photos.features[row], pool.features[other])
            ranked.append((similarity <= 1e-6, -similarity if similarity > 1e-6 else -looks, other))
        rows.append([other for _, _, other in sorted(ranked)[:num]])
    return rows


@pytest.mark.parametrize("vectors", [None, SmallVectors()])
def test_neighbours_agree_with_plain_loops(vectors: Any) -> None:
    photos, pool = make_photos(30, 1), make_photos(40, 2, "q")
    sums = None if vectors is None else VectorSums(vectors)
    found = find_context(photos, pool, 7, sums)
    assert found.neighbours.tolist() == naive_neighbours(photos, pool, 7, vectors)
    within = find_context(pool, pool, 7, sums)
    assert within.neighbours.tolist() == naive_neighbours(pool, pool, 7, vectors)


def test_neighbours_by_words_are_those_of_the_projects_index() -> None:
    pool = make_photos(60, 3)
    index = KeywordIndex()
    index.set_many(enumerate(pool.words))
    found = find_context(pool, pool, 5, None).neighbours
    for row, words in enumerate(pool.words):
        indexed = [item.image_id for item in index.search(words, 5, exclude=[row])] if words else []
        assert found[row].tolist()[: len(indexed)] == indexed


def test_a_photo_is_never_its_own_neighbour_nor_anothers_twice() -> None:
    for vectors in (None, VectorSums(SmallVectors())):
        pool = make_photos(9, 4)
        neighbours = find_context(pool, pool, 24, vectors).neighbours
        assert neighbours.shape == (9, 8)  # a small pool: all other photos
        for row, nearest in enumerate(neighbours.tolist()):
            assert sorted(nearest) == [other for other in range(9) if other != row]


def test_photos_without_metadata_get_those_that_look_alike() -> None:
    pool = make_photos(20, 5)
    asking = Photos(["new"], pool.features[3:4] * 2, [()])
    assert find_context(asking, pool, 1, None).neighbours.tolist() == [[3]]
    strange = Photos(["new"], pool.features[3:4] * 2, [("пес", "strange")])
    assert find_context(strange, pool, 1, VectorSums(SmallVectors())).neighbours.tolist() == [[3]]


def test_one_photo_has_no_neighbours() -> None:
    pool = make_photos(1)
    with pytest.raises(DataError, match="no photo to take as a neighbour"):
        find_context(pool, pool, 3, None)


def test_the_most_frequent_words_are_known() -> None:
    config = configure("ltwin", max_words=2)
    words = [("b", "a"), ("b",), ("c", "a"), ("b",)]
    assert learn_settings({"max_words": 2}, config, words)["known_words"] == ("b", "a")


def test_a_training_that_has_no_words_says_so() -> None:
    with pytest.raises(ConfigError, match="No training photo has any metadata word"):
        learn_settings({}, configure("ltwin"), [(), ()])
    with pytest.raises(ConfigError, match="known_words comes from the training photos"):
        learn_settings({"known_words": ["a"]}, configure("ltwin", known_words=["a"]), [("a",)])


def test_vectors_without_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.txt"
    path.write_text("2 3\nuno 1 0 0\ndos 0 1 0\n")
    settings = {"input": "w2v", "vectors": str(path)}
    with pytest.raises(ConfigError, match="know none of the training photos' metadata words"):
        learn_settings(settings, configure("ltwin", **settings), [("red",), ("green",)])
    learnt = learn_settings(settings, configure("ltwin", **settings), [("uno",), ("green",)])
    assert learnt["input_size"] == 3
    near: dict[str, Any] = {"neighbourhood": "w2v", "vectors": str(path)}
    config = configure("ltn", **near)
    with pytest.raises(ConfigError, match=r"metadata words\. Use neighbourhood=id"):
        learn_settings(near, config, [("red",), ("green",)], uses_metadata=False)
    words = [("uno",), ("green",)]
    learnt = learn_settings(near, config, words, uses_metadata=False)
    version = load_word_vectors(path).version
    assert learnt == {**near, "neighbourhood_version": version, "neighbourhood_size": 3}
    assert vector_notes(config, words, uses_metadata=False) == (
        "1 of 2 metadata words have no word vector in foreign: green.",
    )
    assert vector_notes(configure("ltn"), words, uses_metadata=True) == ()


def test_another_field_can_be_the_target() -> None:
    def record(name: str, **extra: Any) -> Record:
        return Record(Path(name), ("x",), extra=extra)

    records = [record("a", objects=["dog", "dog", " big  car "]), record("b", objects=[]), record("c")]
    found = with_target(records, "objects")
    assert [(item.image.name, item.tags) for item in found] == [("a", ("dog", "big car"))]
    assert with_target(records, "tags") == records
    with pytest.raises(DataError, match='No photo has a list "things"'):
        with_target(records, "things")
    with pytest.raises(DataError, match="not a list of strings"):
        with_target([record("a", objects="dog")], "objects")
    with pytest.raises(TagError):
        with_target([record("a", objects=[""])], "objects")
