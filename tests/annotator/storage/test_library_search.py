"""Searches and facets from arrays that are brought up to date, against a count of the lists themselves."""

import random
from collections import Counter
from pathlib import Path

import pytest

from annotator.storage.bulk_changes import BulkChanges
from annotator.storage.correction_log import CorrectionLog, ListChange
from annotator.storage.database import Store
from annotator.storage.images import ImageEntry, IngestedBatch, SeenPath
from annotator.storage.library_search import Facets, LibrarySearch

TAGS = ["cat", "Cat", "dog", "sea", "red car", "car park", "cars", "car wash", "carriage"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "project.duckdb")


def add(store: Store, first: int, number: int) -> None:
    root = store.images.root_id(Path("/photos"))
    ids = range(first, first + number)
    images = [(i, ImageEntry(f"{i:064x}", 1, 1, "PNG", taken_at=f"20{i % 3:02d}-05-01T00:00:00")) for i in ids]
    paths = [SeenPath(root, f"sea/{i % 2}/Photo {i}.png" if i % 4 else f"{i}.png", 1, 1, image_id=i) for i in ids]
    # The same photo a second time, in the same folder and in another one.
    paths += [SeenPath(root, f"{folder}/copy.png", 1, 1, image_id=first) for folder in ("other", "sea/1")]
    store.images.add(IngestedBatch(images=images, paths=paths))


def save(store: Store, image_id: int, tags: list[str], user: str) -> None:
    log = CorrectionLog(store)
    change = ListChange(log.annotation(image_id), tuple(tags), ())
    BulkChanges(store, log).save_lists("accepted", [change], "made", user)


def counted(store: Store, among: set[int]) -> Facets:
    """Return the facets, counted one by one."""
    lists = list(store.rows("SELECT image_id, tags, user_name FROM annotations WHERE is_saved"))
    paths = {(i, path.rpartition("/")[0]) for i, path in store.rows("SELECT image_id, path FROM paths") if i in among}
    parts = [folder.split("/") for _, folder in paths if folder]
    return Facets(
        Counter(tag for i, tags, _ in lists if i in among for tag in tags),
        Counter("/".join(part[: depth + 1]) for part in parts for depth in range(len(part))),
        Counter(f"20{i % 3:02d}" for i in among),
        Counter(user for i, _, user in lists if i in among),
    )


def test_lists_and_photos_that_are_added_later_are_found_and_counted(store: Store) -> None:
    draw = random.Random(0)
    search = LibrarySearch(store, lambda: store.images.count())
    num_photos = 0
    for round_ in range(12):
        if round_ % 5 == 0:
            add(store, num_photos + 1, 8)
            num_photos += 8
        for _ in range(draw.randrange(4)):
            tags = draw.sample(TAGS, draw.randrange(4))
            keys = {tag.lower(): tag for tag in tags}
            save(store, draw.randint(1, num_photos), list(keys.values()), draw.choice(["anna", "Bo"]))
        every = set(range(1, num_photos + 1))
        lists = dict(store.rows("SELECT image_id, tags FROM annotations"))
        assert search.facets(None) == counted(store, every)
        for words, wanted in {
            "tag:CAT": {i for i, tags in lists.items() if "cat" in [tag.lower() for tag in tags]},
            "first:dog": {i for i, tags in lists.items() if tags[:1] == ["dog"]},
            "car": {i for i, tags in lists.items() if "car" in " ".join(tags)},
            "photo": {i for i in every if i % 4},
            "folder:SEA/1": {i for i in every if i % 4 and i % 2} | {1, 9, 17} & every,
            "date:2001": {i for i in every if i % 3 == 1},
            "by:bo": {i for i, user in store.rows("SELECT image_id, user_name FROM annotations") if user == "Bo"},
            "-tag:dog sea": {i for i in every if "dog" not in lists.get(i, ())}
            & ({i for i, tags in lists.items() if "sea" in tags} | {i for i in every if i % 4} | {1, 9, 17} & every),
            "tag:dog OR NOT by:anna": every
            - {
                i for i, tags, user in store.rows("SELECT image_id, tags, user_name FROM annotations")
                if "dog" not in tags and user == "anna"
            },
        }.items():  # fmt: skip
            found = search.find(words, "all", lambda key: ())
            assert set(found.tolist()) == wanted, words
            assert search.facets(found) == counted(store, wanted), words
        empty = {i for i, tags in lists.items() if not tags}
        assert set(search.find("", "empty", lambda key: ()).tolist()) == empty
        assert set(search.find("", "unsaved", lambda key: ()).tolist()) == every - set(lists)


def test_a_list_that_is_removed_from_the_database_is_no_longer_counted(store: Store) -> None:
    add(store, 1, 4)
    search = LibrarySearch(store, lambda: 1)
    for image_id in (1, 2):
        save(store, image_id, ["cat"], "anna")
    assert search.facets(None).tags == {"cat": 2}
    with store.transaction() as cursor:
        cursor.execute("DELETE FROM annotations WHERE image_id = 1")
    assert search.facets(None).tags == {"cat": 1}


def test_names_stand_for_a_tag_only_if_no_list_has_it(store: Store) -> None:
    add(store, 1, 4)
    search = LibrarySearch(store, lambda: 1)
    assert search.find("tag:kitten", "all", lambda key: ["cat"]).tolist() == []
    save(store, 2, ["cat"], "anna")
    assert search.find("tag:kitten", "all", lambda key: ["cat"]).tolist() == [2]
    save(store, 3, ["kitten"], "anna")
    assert search.find("tag:kitten", "all", lambda key: ["cat"]).tolist() == [3]
    save(store, 3, [], "anna")
    assert search.find("tag:kitten", "all", lambda key: ["cat"]).tolist() == [2]
    assert search.find("NOT kitten", "all", lambda key: ["cat"]).tolist() == [1, 2, 3, 4]


def test_an_empty_project_has_nothing_to_find(store: Store) -> None:
    search = LibrarySearch(store, lambda: 0)
    assert search.find("cat -tag:dog folder:a by:anna first:b date:2001", "all", lambda key: ()).tolist() == []
    assert search.facets(None) == Facets(Counter(), Counter(), Counter(), Counter())
    assert not search.is_in_a_path("cat")
