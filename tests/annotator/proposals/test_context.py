"""The context of a project's photos for taggers that use one, and what a user may exclude."""

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.models.context import VectorSums
from annotator.models.taggers.metadata_neighbours_numpy import NeighbourNetwork
from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.proposals import context as project_context
from annotator.proposals.context import ProjectContext, WordOverlapIndex, WordVectorIndex
from annotator.proposals.evidence import Words
from annotator.proposals.tagged_photos import TaggedPhotos
from annotator.proposals.vocabulary.project_vocabulary import ProjectVocabulary
from annotator.proposals.without_project import suggest_files
from annotator.retrieval.keyword_index import KeywordIndex
from annotator.retrieval.vector_index import VectorIndex, VectorIndexSettings
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort
from annotator.storage.features import FeatureStore

OpenProjectFactory = Callable[..., Session]

# As in the conftest's small tagger and its word vectors: the others mean what those it was trained with mean.
TAGS = {"cat", "coffee", "rocket", "building", "flower", "person"}
TRAINED_WORDS = ("kitty", "espresso", "space")
OTHER_WORDS = ("tomcat", "latte", "nasa")


@dataclass
class StubTagger:
    """The attributes of a tagger that the context reads."""

    metadata: str = "user_tags"
    num_candidates: int = 3
    neighbourhood: VectorSums | None = None


@dataclass
class Parts:
    """Six photos with features on an arc: each is most similar to the next."""

    context: ProjectContext
    tagged_photos: TaggedPhotos
    features: FeatureStore
    vectors: VectorIndex

    def gather(self, tagger: Any, image_id: int, words: Words = Words(), off: Any = ()) -> Any:  # noqa: B008
        return self.context.gather(tagger, image_id, self.features.vectors([image_id]), words, off)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    angles = np.arange(6) * 0.2
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    features = FeatureStore(tmp_path, "line-1", 2)
    features.commit(zip(range(1, 7), features.append(vectors), strict=True))
    index = VectorIndex(2, VectorIndexSettings(), features.vectors, tag="line-1")
    tagged_photos = TaggedPhotos(features, index, KeywordIndex(), ProjectVocabulary([]))
    return Parts(ProjectContext(features, index, tagged_photos), tagged_photos, features, index)


def seen(gathered: Any) -> list[tuple[int, str]]:
    return [(item.image_id, item.by) for item in gathered.neighbours]


def test_neighbours_are_the_tagged_photos_with_the_same_words_nearest_first(parts: Parts) -> None:
    for image_id, words in ((2, ("a",)), (3, ("A", "b")), (4, ("x",)), (5, ("a", "b", "c", "d"))):
        parts.tagged_photos.add_image(image_id, Words(words))
    gathered = parts.gather(StubTagger(), 1, Words(("a", "b")))
    assert seen(gathered) == [(3, "metadata"), (2, "metadata"), (5, "metadata")]
    assert [item.similarity for item in gathered.neighbours] == [1.0, 0.5, 0.5]
    assert [item.shared for item in gathered.neighbours] == [("a", "b"), ("a",), ("a", "b")]
    assert gathered.note == ""
    assert list(gathered.context.words) == [("a", "b")]
    assert list(gathered.context.pool.words) == [("a", "b"), ("a",), ("a", "b", "c", "d")]
    np.testing.assert_array_equal(gathered.context.pool.features, parts.features.vectors([3, 2, 5]))


def test_a_photo_is_never_its_own_neighbour_and_its_tags_are_never_in_the_context(parts: Parts) -> None:
    for image_id in range(1, 7):
        parts.tagged_photos.add_image(image_id, Words(("a",)))
        parts.tagged_photos.set_saved(image_id, ("answer",))
    for tagger in (StubTagger(), StubTagger(num_candidates=24)):
        gathered = parts.gather(tagger, 3, Words(("a",)))
        assert 3 not in [item.image_id for item in gathered.neighbours]
        assert {word for words in gathered.context.pool.words for word in words} == {"a"}
        assert list(gathered.context.words) == [("a",)]


def test_without_metadata_the_neighbours_are_similar_photos_and_a_note_says_so(parts: Parts) -> None:
    assert parts.gather(StubTagger(), 1).note == "No other photo is tagged yet, so the model looks at this one alone."
    for image_id in (2, 3, 4, 5, 6):
        parts.tagged_photos.add_image(image_id, Words((f"w{image_id}",)))
    gathered = parts.gather(StubTagger(), 1)
    assert seen(gathered) == [(2, "looks"), (3, "looks"), (4, "looks")]
    assert gathered.note == (
        "This photo has no keywords, or they are left out: the model's neighbours are tagged photos that look like it."
    )
    assert parts.gather(StubTagger("caption"), 1).note.startswith("This photo has no caption")
    assert parts.gather(StubTagger(), 1, Words(("z",))).note.startswith(
        "No tagged photo has anything in common with its"
    )
    some = parts.gather(StubTagger(), 1, Words(("w4",)))
    assert seen(some) == [(4, "metadata"), (2, "looks"), (3, "looks")]
    assert some.note == "Only 1 tagged photo has something in common with its keywords; the others look like it."
    assert parts.gather(StubTagger(num_candidates=0), 1).note == "This model looks at the photo alone."


def test_word_vectors_find_neighbours_of_the_same_meaning(
    parts: Parts, tmp_path: Path, write_vectors: Callable[[Path], Path]
) -> None:
    vectors = VectorSums(load_word_vectors(str(write_vectors(tmp_path / "v.txt"))))
    tagger = StubTagger(num_candidates=1, neighbourhood=vectors)
    parts.tagged_photos.add_image(2, Words(("space",)))
    parts.tagged_photos.add_image(6, Words(("kitty",)))
    assert seen(parts.gather(tagger, 1, Words(("tomcat",)))) == [(6, "metadata")]
    parts.tagged_photos.add_image(5, Words(("Tomcat",)))  # after the index was made
    gathered = parts.gather(tagger, 1, Words(("tomcat",)))
    assert seen(gathered) == [(5, "metadata")]
    assert gathered.neighbours[0].similarity == pytest.approx(1, abs=1e-5)
    unknown = parts.gather(tagger, 1, Words(("кот", "猫")))
    assert seen(unknown) == [(2, "looks")]
    assert unknown.note.startswith("Nothing is known of what its keywords mean")


def test_saves_and_undos_change_the_pool(parts: Parts, tmp_path: Path, write_vectors: Callable[[Path], Path]) -> None:
    vectors = VectorSums(load_word_vectors(str(write_vectors(tmp_path / "v.txt"))))
    taggers = [StubTagger("caption"), StubTagger("caption", neighbourhood=vectors)]
    parts.tagged_photos.add_image(2, Words(caption=("kitty",)))  # has no tags yet
    for tagger in taggers:
        assert seen(parts.gather(tagger, 1, Words(caption=("kitty",)))) == []
    parts.tagged_photos.set_saved(2, ("x",))
    for tagger in taggers:
        assert seen(parts.gather(tagger, 1, Words(caption=("kitty",)))) == [(2, "metadata")]
    parts.tagged_photos.set_saved(2, None)
    for tagger in taggers:
        assert seen(parts.gather(tagger, 1, Words(caption=("kitty",)))) == []


def test_many_photos_are_read_beside_saves_and_until_then_neighbours_come_from_features(
    parts: Parts, tmp_path: Path, write_vectors: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = VectorSums(load_word_vectors(str(write_vectors(tmp_path / "v.txt"))))
    parts.context = ProjectContext(parts.features, parts.vectors, parts.tagged_photos, max_at_once=2)
    for image_id in (2, 3, 4, 5, 6):
        parts.tagged_photos.add_image(image_id, Words(("space",)))
    parts.tagged_photos.set_saved(3, ("x",))
    reading, may_go_on = threading.Event(), threading.Event()
    set_many = WordVectorIndex.set_many

    def wait_first(index: WordVectorIndex, photos: Any) -> None:
        if not reading.is_set():
            reading.set()
            assert may_go_on.wait(timeout=60)
        set_many(index, photos)

    monkeypatch.setattr(WordVectorIndex, "set_many", wait_first)
    tagger = StubTagger(neighbourhood=sums)
    early = parts.gather(tagger, 1, Words(("space",)))
    assert early.note.startswith("The neighbours are being read")
    assert seen(early) == [(2, "looks"), (3, "looks"), (4, "looks")]
    assert reading.wait(timeout=60)
    # None of these has to wait for what is being read.
    parts.tagged_photos.add_image(2, Words(("kitty",)))
    parts.tagged_photos.add_image(2, Words(("espresso",)))
    parts.tagged_photos.set_saved(3, ())
    assert parts.gather(tagger, 1, Words(("space",))).note == early.note
    assert (
        parts.gather(StubTagger(num_candidates=0), 1, Words(("space",))).note == "This model looks at the photo alone."
    )
    may_go_on.set()
    for thread in parts.context._threads:
        thread.join(timeout=60)
    late = parts.gather(tagger, 1, Words(("space",)))
    assert sorted(seen(late)) == [(4, "metadata"), (5, "metadata"), (6, "metadata")]
    assert late.note == ""
    assert seen(parts.gather(StubTagger(neighbourhood=sums, num_candidates=1), 1, Words(("latte",)))) == [
        (2, "metadata")
    ]


def test_an_index_that_cannot_be_built_is_noted(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(index: WordOverlapIndex, photos: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(WordOverlapIndex, "set_many", fail)
    parts.context = ProjectContext(parts.features, parts.vectors, parts.tagged_photos, max_at_once=0)
    parts.tagged_photos.add_image(2, Words(("a",)))
    parts.gather(StubTagger(), 1, Words(("a",)))
    for thread in parts.context._threads:
        thread.join(timeout=60)
    found = parts.gather(StubTagger(), 1, Words(("a",)))
    assert found.note.startswith("The neighbours could not be read")
    assert seen(found) == [(2, "looks")]


def test_a_program_that_ends_does_not_wait_until_all_photos_are_read(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_context, "CHUNK_SIZE", 1)
    parts.context = ProjectContext(parts.features, parts.vectors, parts.tagged_photos, max_at_once=0)
    for image_id in (2, 3, 4):
        parts.tagged_photos.add_image(image_id, Words(("a",)))
    read: list[int] = []

    def stop_after_one(index: WordOverlapIndex, photos: Any) -> None:
        read.extend(image_id for image_id, _ in photos)
        parts.context._stopping.set()

    monkeypatch.setattr(WordOverlapIndex, "set_many", stop_after_one)
    parts.gather(StubTagger(), 1, Words(("a",)))
    assert parts.context._stopping.wait(60)
    parts.context.stop()
    assert read == [2]


def test_excluded_neighbours_are_shown_but_not_in_the_context(parts: Parts) -> None:
    for image_id in (2, 3, 4):
        parts.tagged_photos.add_image(image_id, Words(("a",)))
    gathered = parts.gather(StubTagger(), 1, Words(("a",)), off={3})
    assert [item.image_id for item in gathered.neighbours] == [2, 3, 4]
    np.testing.assert_array_equal(gathered.context.pool.features, parts.features.vectors([2, 4]))
    assert gathered.context.neighbours.tolist() == [[0, 1]]


# ---- In a project


@pytest.fixture
def open_described(
    open_project: OpenProjectFactory, demo_photos: Path, tmp_path: Path, write_context_checkpoint: Callable[..., Path]
) -> Callable[..., Session]:
    """Open the demo's photos with keywords in sidecars, and a small tagger with a context."""

    def make(words: Any = OTHER_WORDS, name: str = "ltwin", encoding: str = "w2v") -> Session:
        photos = tmp_path / f"photos {len(list(tmp_path.glob('photos *')))}"
        shutil.copytree(demo_photos, photos)
        for row, path in enumerate(sorted(photos.iterdir())):
            if words:
                path.with_suffix(".txt").write_text(words[row % len(words)])
        tagger = write_context_checkpoint(tmp_path / f"{name} {encoding}", name, encoding)
        session = open_project(photos, folder=photos.with_name(f"{photos.name} project"), tagger=str(tagger))
        session.workspace.project.update_settings(least_probability=0.0)
        return session

    return make


def model_scores(answer: Any) -> dict[str, float]:
    return {
        proposal["tag"]: item["score"]
        for proposal in answer["proposals"]
        for item in proposal["evidence"]
        if item["source"] == "context"
    }


def test_a_w2v_model_runs_unchanged_on_a_project_with_other_user_tags(
    open_described: Callable[..., Session],
) -> None:
    known = open_described(TRAINED_WORDS).navigation.open("local", 1)
    other = open_described(OTHER_WORDS).navigation.open("local", 1)
    without = open_described(())
    for image_id in range(2, 7):
        without.tagging.save("local", EditedList(image_id, 0, ["x"]))
    bare = without.navigation.open("local", 1)
    scores = [model_scores(answer) for answer in (known, other, bare)]
    assert all(set(values) <= TAGS and values for values in scores)
    tags = set.intersection(*(set(values) for values in scores))
    gap_words = sum(abs(scores[0][tag] - scores[1][tag]) for tag in tags)
    gap_bare = sum(abs(scores[0][tag] - scores[2][tag]) for tag in tags)
    assert gap_words < gap_bare / 2  # words of the same meaning say nearly the same
    assert other["neighbours"]["model"][0]["by"] == "metadata"
    assert other["neighbours"]["model"][0]["shared"] == [OTHER_WORDS[0]]
    assert bare["neighbours"]["note"].startswith("This photo has no keywords")
    assert {n["by"] for n in bare["neighbours"]["model"]} == {"looks"}


def test_the_panel_shows_exactly_the_neighbours_that_were_used(open_described: Callable[..., Session]) -> None:
    for name in ("ltn", "lzip", "visual_only"):
        opened = open_described(name=name, encoding="id")
        answer = opened.navigation.open("local", 1)
        shown = [neighbour["image_id"] for neighbour in answer["neighbours"]["model"]]
        assert len(shown) == (0 if name == "visual_only" else 3)
        before = model_scores(answer)
        for image_id in range(2, 7):
            after = model_scores(opened.tagging.propose("local", 1, [], [], 0, _without(neighbours=[image_id])))
            assert (after != before) == (image_id in shown), (name, image_id)


def _without(neighbours: Any = (), sources: Any = ()) -> Any:
    from annotator.proposals.proposer import Exclusions

    return Exclusions(frozenset(neighbours), frozenset(sources))


def test_leaving_a_field_out_changes_the_context(open_described: Callable[..., Session]) -> None:
    session = open_described()
    before = session.tagging.propose("local", 1, [], [], 0)
    after = session.tagging.propose("local", 1, [], [], 0, _without(sources=["keywords"]))
    assert {n["by"] for n in after["neighbours"]["model"]} == {"looks"}
    assert after["neighbours"]["note"].startswith("This photo has no keywords")
    assert model_scores(after) != model_scores(before)
    assert OTHER_WORDS[0] in [p["tag"] for p in before["proposals"]]
    assert OTHER_WORDS[0] not in {
        p["tag"] for p in after["proposals"] for item in p["evidence"] if item["source"] == "keywords"
    }
    silent = session.tagging.propose("local", 1, [], [], 0, _without(sources=["context"]))
    assert model_scores(silent) == {}
    assert [p["tag"] for p in silent["proposals"] if p["source"] == "looks"]  # ImageNet's words take its place


def test_the_explanation_gives_the_scores_without_neighbours_and_without_metadata(
    open_described: Callable[..., Session],
) -> None:
    session = open_described()
    (tag, reason), *_ = [
        (p["tag"], item["text"]) for p in session.navigation.open("local", 1)["proposals"] for item in p["evidence"]
        if item["source"] == "context"
    ]  # fmt: skip
    reason = f"{reason}; {session.tagging.explain('local', 1, tag.upper())['text']}"
    assert reason.startswith("the model sees it with ")
    assert "% without its neighbours; " in reason
    assert reason.endswith("% without its metadata")
    alone = session.tagging.explain("local", 1, tag, _without(range(2, 7), ["keywords"]))["text"]
    assert alone == ""  # nothing is left that could be taken away
    assert session.tagging.explain("local", 1, "no such tag")["text"] == ""


def test_a_proposal_asks_the_model_once_and_only_why_asks_it_again(
    open_described: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_described()
    contexts: list[Any] = []
    decode = NeighbourNetwork.decode

    def counted(self: NeighbourNetwork, *args: Any, **options: Any) -> Any:
        contexts.append(options["context"])
        return decode(self, *args, **options)

    monkeypatch.setattr(NeighbourNetwork, "decode", counted)
    session.navigation.open("local", 1)
    session.tagging.propose("local", 1, ["cat"], [], 0)
    assert len(contexts) == 2
    assert all(context.neighbours.size and context.words[0] for context in contexts)
    session.tagging.explain("local", 1, "cat")
    assert len(contexts) == 4


def test_ten_thousand_user_tags_and_other_scripts_do_no_harm(
    open_described: Callable[..., Session], tmp_path: Path
) -> None:
    words = ["\n".join(f"tag {number}" for number in range(10_000)), "кот", "猫\nnasa"]
    for encoding in ("w2v", "id"):
        session = open_described(words, encoding=encoding)
        for image_id in range(1, 7):
            answer = session.navigation.open("local", image_id)
            assert len(answer["neighbours"]["model"]) == 3
            assert answer["proposals"]
            json.dumps(answer, allow_nan=False)


def test_other_evidence_leaves_out_exclusions(
    open_project: OpenProjectFactory, demo_photos: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    with Image.open(demo_photos / "cat.png") as cat:
        cat.save(photos / "1.png")
        cat.rotate(3).save(photos / "2.png")
    session = open_project(photos)
    session.workspace.project.update_settings(least_probability=0.022)
    session.tagging.save("local", EditedList(2, 0, ["my Tibbles"], [], Effort()))

    def sources(**off: Any) -> set[str]:
        answer = session.tagging.propose("local", 1, [], [], 0, _without(**off))
        return {item["source"] for p in answer["proposals"] if p["tag"] == "my Tibbles" for item in p["evidence"]}

    assert sources() == {"neighbours", "habits"}
    assert sources(neighbours=[2]) == {"habits"}
    assert sources(sources=["neighbours"]) == {"habits"}
    assert sources(sources=["neighbours", "habits"]) == set()
    shown = session.tagging.propose("local", 1, [], [], 0, _without(neighbours=[2]))["neighbours"]["looks"]
    assert (shown[0]["image_id"], shown[0]["off"]) == (2, True)
    looks_off = session.tagging.propose("local", 1, [], [], 0, _without(sources=["looks"]))
    assert looks_off["proposals"]
    assert "looks" not in {item["source"] for p in looks_off["proposals"] for item in p["evidence"]}


def test_a_context_tagger_suggests_for_photos_outside_a_project(
    demo_photos: Path, tmp_path: Path, write_context_checkpoint: Callable[..., Path]
) -> None:
    photo = tmp_path / "cat.png"
    shutil.copy(demo_photos / "cat.png", photo)
    tagger = write_context_checkpoint(tmp_path / "tagger")
    photo.with_suffix(".txt").write_text("nasa")
    ((_, ranked),) = suggest_files([photo], 20, str(tagger))
    assert isinstance(ranked, list)
    assert "context" in {item["source"] for item in ranked}
