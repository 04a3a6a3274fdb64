"""What a search in the browse view finds, and which spelling of a tag is saved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.models.word_vectors.word_vectors import load_word_vectors
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort

Open = Callable[..., Session]


@pytest.fixture
def session(open_project: Open, write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos" / "Café Nové", range(2))
    write_photos(tmp_path / "photos", range(2, 6))
    return open_project(tmp_path / "photos")


def save(session: Session, image_id: int, *tags: str, revision: int | None = None) -> Any:
    now = session.workspace.log.annotation(image_id).revision if revision is None else revision
    return session.tagging.save("local", EditedList(image_id, now, tags))


def found(session: Session, query: str) -> set[int]:
    return {item["image_id"] for item in session.navigation.browse("local", 0, 50, query, "all")["items"]}


@pytest.mark.parametrize(
    ("tag", "queries"),
    [
        ("Straße", ["strasse", "STRASSE", "straße", "tras"]),
        ("ΟΔΟΣ", ["οδος", "οδός", "Οδος"]),
        ("Šárka", ["sarka", "šarka", "SÁRKA"]),
        ("Łódź", ["lodz", "łódź"]),
        ("Smørrebrød", ["smorrebrod"]),
        ("\uff24\uff2f\uff27", ["dog"]),
        ("❤️ love", ["❤", "❤️", "LOVE"]),
        ("①", ["①", "1"]),
        ("zwan\u00adzig", ["zwanzig"]),
        ("İstanbul", ["istanbul"]),
        ("한국", ["한국"]),
    ],
)
def test_a_search_ignores_case_accents_and_what_is_invisible(session: Session, tag: str, queries: list[str]) -> None:
    save(session, 1, tag)
    save(session, 2, "nothing like it")
    for query in queries:
        assert found(session, query) >= {1}, query
        assert 2 not in found(session, query)


def test_words_of_a_search_may_be_in_different_tags_and_in_the_path(session: Session) -> None:
    cafes = {image_id for image_id, file in session.workspace.store.images.photo_files().items() if "Caf" in file.path}
    one, two = sorted(cafes)
    rest = sorted(set(session.workspace.queue.window(0, 9)) - cafes)
    save(session, one, "red car", "sea")
    save(session, two, "car", "a red house")
    save(session, rest[0], "sea")
    assert found(session, "red sea") == {one}
    assert found(session, "red car") == {one, two}
    assert found(session, '"red car"') == {one}
    assert found(session, "sea cafe") == {one}
    assert found(session, "cafe nove") == cafes
    assert found(session, "red nowhere") == set()


def test_a_search_finds_photos_by_the_former_name_of_their_tags(session: Session) -> None:
    save(session, 1, "kitty", "sofa")
    save(session, 2, "dog")
    session.tag_editing.change_tag("local", "rename", "kitty", "cat")
    session.tag_editing.change_tag("local", "alias", "hound", "dog")
    assert found(session, "kitty") == {1}
    assert found(session, "HOUND") == {2}
    assert found(session, "kitty sofa") == {1}


def test_a_word_that_is_nowhere_finds_tags_of_similar_meaning_and_says_which(session: Session, tmp_path: Path) -> None:
    (tmp_path / "tiny.txt").write_text("car 1 0 0\nautomobile 0.9 0.435 0\ncat 0 0 1\n")
    session.workspace.similar_tags.vectors = load_word_vectors(str(tmp_path / "tiny.txt"))
    save(session, 1, "car")
    save(session, 2, "cat")
    answer = session.navigation.browse("local", 0, 9, "Automobile", "all")
    assert ([item["image_id"] for item in answer["items"]], answer["meant"]) == ([1], ["car"])
    save(session, 3, "automobile")
    answer = session.navigation.browse("local", 0, 9, "automobile", "all")
    assert ([item["image_id"] for item in answer["items"]], answer["meant"]) == ([3], [])


def test_the_only_photo_with_a_tag_may_change_its_spelling(session: Session) -> None:
    assert save(session, 1, "praha")["respelled"] == []
    assert save(session, 1, "Praha")["respelled"] == []
    assert session.workspace.log.annotation(1).tags == ("Praha",)
    assert save(session, 2, "PRAHA")["respelled"] == [
        {"typed": "PRAHA", "saved": "Praha", "num_photos": 1, "was_saved": False}
    ]
    assert session.workspace.log.annotation(2).tags == ("Praha",)
    assert save(session, 1, "praha")["respelled"] == [
        {"typed": "praha", "saved": "Praha", "num_photos": 2, "was_saved": True}
    ]
    session.tag_editing.change_tag("local", "rename", "Praha", "PRAHA")
    assert [session.workspace.log.annotation(image_id).tags for image_id in (1, 2)] == [("PRAHA",)] * 2
    assert save(session, 3, "praha")["respelled"][0]["saved"] == "PRAHA"


def test_a_photo_that_comes_late_stands_where_its_name_belongs(
    open_project: Open, write_photos: Callable[..., Any], photo_bytes: Callable[..., bytes], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    for number, name in enumerate(("IMG_2.jpg", "IMG_10.jpg", "b/a.jpg", "b/c/x.jpg")):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(photo_bytes(number))
    session = open_project(photos)
    queue, names = session.workspace.queue, session.workspace.files.name
    session.workspace.log.save(2, revision=0, tags=["x"], dropped=(), user_name="local", effort=Effort())
    queue.mark(2, saved=True)
    for number, name in enumerate(("IMG_3.jpg", "a/z.jpg", "b/b.jpg", "IMG_1.jpg", "b/c/w.jpg", "b c/x.jpg"), 10):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(photo_bytes(number))
    session.workspace.ingest.run([photos])
    wanted = [
        "IMG_1.jpg", "IMG_2.jpg", "IMG_3.jpg", "IMG_10.jpg", "a/z.jpg", "b/a.jpg", "b/b.jpg", "b/c/w.jpg", "b/c/x.jpg",
        "b c/x.jpg",
    ]  # fmt: skip
    ordered = [names(image_id) for image_id in queue.window(0, 99)]
    assert ordered == wanted
    assert [queue.position(image_id) for image_id in queue.window(0, 99)] == list(range(10))
    assert (queue.is_saved(2), queue.num_saved) == (True, 1)
    listed = session.navigation.browse("local", 0, 99, "jpg", "all")["items"]
    assert [item["file_name"] for item in listed] == wanted
    session.close()
    again = open_project(photos)
    assert [again.workspace.files.name(image_id) for image_id in again.workspace.queue.window(0, 99)] == wanted
