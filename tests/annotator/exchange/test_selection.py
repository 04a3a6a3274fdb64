from collections.abc import Callable
from pathlib import Path

import pytest

from annotator.errors import ConfigError, TagError
from annotator.exchange.selection import Selection, select
from annotator.storage.correction_log import CorrectionLog, Effort
from annotator.storage.database import Store
from annotator.storage.images import IngestedBatch, SeenPath
from annotator.storage.photo_rows import PAGE, photo_name, photo_rows


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    store = make_store(5)
    root = store.images.root_id(Path("/photos"))
    store.images.add(IngestedBatch(paths=[SeenPath(root, f"sub/{i}.jpg", 1, 1, image_id=i) for i in range(1, 5)]))
    log = CorrectionLog(store)
    for image_id, tags in {1: ["Cat"], 2: ["cat", "sofa"], 3: [], 5: ["dog"]}.items():
        shown = [{"tag": "cat", "score": 0.5, "source": "looks"}, {"tag": "x", "score": None, "source": "typed"}]
        log.save(image_id, revision=0, tags=tags, dropped=[], user_name="ana", effort=Effort(shown=shown))
    return store


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, [1, 2, 3, 5]),
        ({"state": "all"}, [1, 2, 3, 4, 5]),
        ({"state": "unsaved"}, [4]),
        ({"state": "empty"}, [3]),
        ({"tag": "CAT"}, [1, 2]),
        ({"tag": "unknown"}, []),
        ({"query": "sofa"}, [2]),
        ({"query": "sub/1"}, [1]),
        ({"image_ids": (2, 4)}, [2]),
    ],
)
def test_photos_are_selected_by_text_tag_state_and_id(
    store: Store, selection: dict[str, object], expected: list[int]
) -> None:
    assert select(store, Selection(**selection)) == expected  # type: ignore[arg-type]


def test_a_bad_selection_is_named(store: Store) -> None:
    with pytest.raises(ConfigError, match="The state must be one of saved, unsaved, empty, all"):
        Selection(state="new")
    with pytest.raises(TagError):
        select(store, Selection(tag="x" * 101))


def test_a_row_has_name_size_and_scores(store: Store) -> None:
    first, *_, last = photo_rows(store, [1, 2, 3, 5])
    assert (first["name"], first["root"], first["width"], first["scores"]) == (
        "sub/1.jpg",
        "/photos",
        640,
        {"cat": 0.5},
    )
    assert (first["tags"], first["user"], first["revision"]) == (["Cat"], "ana", 1)
    assert (last["name"], last["root"], last["image"]) == ("", "", "")  # its file is gone
    (unsaved,) = photo_rows(store, [4])
    assert (unsaved["tags"], unsaved["saved_at"], unsaved["scores"]) == ([], "", {})


def test_a_row_has_the_first_of_several_paths(store: Store) -> None:
    root = store.images.root_id(Path("/photos"))
    store.images.add(IngestedBatch(paths=[SeenPath(root, "a.jpg", 1, 1, image_id=2)]))
    (row,) = photo_rows(store, [2])
    assert (row["image"], row["root"], row["tags"]) == ("a.jpg", "/photos", ["cat", "sofa"])


def test_rows_are_read_in_pages(make_store: Callable[..., Store], tmp_path: Path) -> None:
    store = make_store(PAGE + 1, tmp_path / "large.duckdb")
    ids = list(range(1, PAGE + 2))
    assert [row["image_id"] for row in photo_rows(store, ids)] == ids


@pytest.mark.parametrize(
    ("roots", "names"),
    [
        (["/p/a"], ["1.jpg"]),
        (["/p/a", "/p/b"], ["a/1.jpg", "b/1.jpg"]),
        (["/p/a", "/p/a/b"], ["1.jpg", "b/1.jpg"]),
        (["/p/a", "/q"], ["p/a/1.jpg", "q/1.jpg"]),
    ],
)
def test_the_names_of_an_export_are_unique_over_several_folders(roots: list[str], names: list[str]) -> None:
    paths = [Path(root) for root in roots]
    assert [photo_name(root, "1.jpg", paths) for root in paths] == names
