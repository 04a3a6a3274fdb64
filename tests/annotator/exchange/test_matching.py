import pytest

from annotator.datasets.formats.tagged_photo import TaggedPhoto
from annotator.exchange.matching import PhotoFinder

FILES = [
    (1, "h1", "/photos", "a.jpg"),
    (2, "h2", "/photos", "sub/b.JPG"),
    (3, "h3", "/photos", "sub/c.jpg"),
    (4, "h4", "/other", "c.jpg"),
    (5, "h5", "/photos", "d.jpg"),
    (6, "h6", "/photos", "d.png"),
    (7, "h7", "/photos", "caf\u00e9.jpg"),
    (1, "h1", "/photos", "copy of a.jpg"),
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", 1),
        ("copy of a.jpg", 1),
        ("/photos/a.jpg", 1),
        ("photos\\a.jpg", 1),
        ("A.JPG", 1),
        ("a", 1),
        ("sub/b", 2),
        ("b.jpg", 2),
        ("sub/c.jpg", 3),
        ("other/c.jpg", 4),
        ("c.jpg", "2 photos of the project are called so"),
        ("d.png", 6),
        ("d", "2 photos of the project are called so"),
        ("a.png", "the project has no such photo"),
        ("elsewhere/b.jpg", "the project has no such photo"),
        ("xa.jpg", "the project has no such photo"),
        ("cafe\u0301.jpg", 7),
        ("./sub//c.jpg", 3),
    ],
)
def test_a_photo_is_found_by_what_another_program_calls_it(name: str, expected: int | str) -> None:
    match = PhotoFinder(FILES).find(TaggedPhoto(name))
    assert (match.image_id or match.reason) == expected


def test_the_content_hash_comes_before_the_name() -> None:
    assert PhotoFinder(FILES).find(TaggedPhoto("a.jpg", content_hash="h3")).image_id == 3
    assert PhotoFinder(FILES).find(TaggedPhoto("a.jpg", content_hash="unknown")).image_id == 1
