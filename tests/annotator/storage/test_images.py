from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator.errors import StoreError, UnknownImageError
from annotator.storage.database import Store
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath

MakeStore = Callable[..., Store]


def entry(number: int) -> ImageEntry:
    return ImageEntry(f"{number:064x}", 640, 480, "JPEG")


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
entries = st.builds(
    ImageEntry,
    content_hash=st.just("f" * 64),
    width=st.integers(1, 2**31 - 1),
    height=st.integers(1, 2**31 - 1),
    format=texts,
    keywords=st.lists(texts, max_size=4).map(tuple),
    user_tags=st.lists(texts, max_size=4).map(tuple),
    path_words=st.lists(texts, max_size=4).map(tuple),
    caption=st.none() | texts,
    taken_at=st.none() | texts,
    camera=st.none() | texts,
    latitude=st.none() | st.floats(-90, 90),
    longitude=st.none() | st.floats(-180, 180),
    notes=st.lists(texts, max_size=2).map(tuple),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(image=entries)
def test_the_metadata_of_an_image_is_read_as_written(make_store: MakeStore, tmp_path: Path, image: ImageEntry) -> None:
    path = tmp_path / "round.duckdb"
    path.unlink(missing_ok=True)
    store = make_store(0, path)
    store.images.add(IngestedBatch(images=[(7, image)]))
    assert store.images.entry(7) == image
    store.close()


def test_an_unknown_image_is_named_in_the_error(make_store: MakeStore) -> None:
    with pytest.raises(UnknownImageError, match="no image 99"):
        make_store(1).images.entry(99)


def test_a_batch_is_committed_as_a_whole_or_not_at_all(make_store: MakeStore) -> None:
    store = make_store(1)
    root = store.images.root_id(Path("/photos"))
    with pytest.raises(StoreError):
        store.images.add(
            IngestedBatch(images=[(2, entry(2)), (1, entry(1))], paths=[SeenPath(root, "a.jpg", 1, 1, image_id=2)])
        )
    assert store.images.ids_by_hash() == {f"{1:064x}": 1}
    assert store.images.seen_paths(root) == {}


def test_a_path_seen_again_is_replaced(make_store: MakeStore) -> None:
    store = make_store(2)
    root = store.images.root_id(Path("/photos"))
    store.images.add(IngestedBatch(paths=[SeenPath(root, "a.jpg", 1, 1, reason="broken")]))
    store.images.add(IngestedBatch(paths=[SeenPath(root, "a.jpg", 2, 2, image_id=2)]))
    assert store.images.seen_paths(root) == {"a.jpg": SeenPath(root, "a.jpg", 2, 2, image_id=2)}
    assert store.images.unreadable() == (0, [])


def test_a_photo_folder_has_one_id(make_store: MakeStore) -> None:
    store = make_store(0)
    ids = [store.images.root_id(Path("/a")), store.images.root_id(Path("/b")), store.images.root_id(Path("/a"))]
    assert ids == [1, 2, 1]
    assert store.images.roots() == [(1, Path("/a")), (2, Path("/b"))]


def test_unreadable_files_come_page_by_page_with_their_full_path(make_store: MakeStore) -> None:
    store = make_store(0)
    root = store.images.root_id(Path("/photos"))
    names = [f"{number}.jpg" for number in range(5)]
    store.images.add(IngestedBatch(paths=[SeenPath(root, name, 0, 0, reason="broken") for name in names]))
    assert store.images.unreadable(offset=3, limit=10) == (
        5,
        [("/photos/3.jpg", "broken"), ("/photos/4.jpg", "broken")],
    )
    assert store.images.unreadable(limit=0) == (5, [])


def test_forgotten_paths_leave_their_images_and_the_last_known_name(make_store: MakeStore) -> None:
    store = make_store(1)
    root = store.images.root_id(Path("/photos"))
    store.images.add(IngestedBatch(paths=[SeenPath(root, "a.jpg", 1, 1, image_id=1)]))
    store.images.forget_paths(root, ["a.jpg"])
    assert store.images.paths(1) == []
    assert store.images.file_names() == {1: (f"{1:064x}", "a.jpg")}


@pytest.mark.parametrize("words", ["100%", "a_b", "'; DROP TABLE images; --", "é", "🐈", "\\"])
def test_a_search_takes_every_character_as_it_is(make_store: MakeStore, words: str) -> None:
    store = make_store(3)
    root = store.images.root_id(Path("/photos"))
    store.images.add(
        IngestedBatch(paths=[SeenPath(root, f"x{words}y.jpg", 1, 1, image_id=2), SeenPath(root, "z", 1, 1, image_id=3)])
    )
    assert store.images.find(words, "all") == [2]
    assert len(store.images.ids_by_hash()) == 3


def test_paths_are_read_again_after_an_ingest(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(1)
    before = store.images.paths(1)
    root_id = store.images.root_id(tmp_path)
    store.images.add(IngestedBatch(paths=[SeenPath(root_id, "moved.jpg", 1, 1, image_id=1)]))
    assert store.images.paths(1) == [*before, (tmp_path, "moved.jpg")]
    store.images.forget_paths(root_id, ["moved.jpg"])
    assert store.images.paths(1) == before


def test_an_image_is_found_after_it_was_added(make_store: MakeStore) -> None:
    store = make_store(1)
    with pytest.raises(UnknownImageError):
        store.images.entry(2)
    store.images.add(IngestedBatch(images=[(2, replace(store.images.entry(1), content_hash="other", width=7))]))
    assert store.images.entry(2).width == 7
