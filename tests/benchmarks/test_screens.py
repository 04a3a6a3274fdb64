"""What the comparison of screenshots finds, and the page that it writes."""

import importlib
import sys
from pathlib import Path

import pytest
from PIL import Image

GREY = (200, 200, 200)
DOTS = [(x, 4) for x in range(20)] + [(x, 5) for x in range(4)]


def shot(*dots: tuple[int, int], size: tuple[int, int] = (20, 10), colour: tuple[int, int, int] = (0, 0, 0)):
    picture = Image.new("RGB", size, GREY)
    for dot in dots:
        picture.putpixel(dot, colour)
    return picture


@pytest.fixture(scope="module")
def screens():
    """The script, imported by its bare name as when it is run; no name is left for other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("screens")
        for name in ("screens", "pictures"):
            sys.modules.pop(name, None)


def test_equal_pictures_are_no_change_and_an_unseen_difference_is_none(screens):
    assert screens.compare({"a": shot((3, 3))}, {"a": shot((3, 3))}) == []
    assert screens.num_different(shot(), shot((1, 1), colour=(205, 195, 200))) == 0
    assert screens.num_different(shot(), shot((1, 1), colour=(200, 200, 230))) == 1


def test_what_differs_is_new_or_is_missing_is_named(screens):
    changes = screens.compare(
        {"a": shot(), "b": shot(), "gone": shot()}, {"a": shot(*DOTS), "b": shot((1, 1)), "new": shot()}
    )
    assert [(change.name, change.num_pixels) for change in changes] == [("a", len(DOTS)), ("gone", -1), ("new", -1)]
    assert screens.num_different(shot(), shot(size=(20, 12))) == 240


def test_the_difference_is_marked(screens):
    before, after = shot(), shot((10, 5))
    assert screens.difference(before, after).getbbox() == (10, 5, 11, 6)
    picture = screens.marked(before, after)
    assert picture.getpixel((10, 5)) == screens.MARK
    assert picture.getpixel((0, 9)) not in (screens.MARK, GREY)


def test_the_page_has_before_after_and_difference_side_by_side(screens, tmp_path: Path):
    folder = tmp_path / "changes"
    screens.write_page(
        folder, [screens.Change("tags, <dark>", shot(), shot((1, 1)), 1), screens.Change("old", shot(), None, -1)], 3
    )
    text = (folder / "index.html").read_text()
    assert "2 of 3 screenshots changed." in text
    assert "tags, &lt;dark&gt;" in text
    assert "missing" in text
    names = {path.name for path in folder.glob("*.png")}
    assert names == {"tags-dark--before.png", "tags-dark--after.png", "tags-dark--difference.png", "old-before.png"}
    assert all(name in text for name in names)
    screens.write_page(folder, [], 3)
    assert [path.name for path in folder.iterdir()] == ["index.html"]


def test_a_set_that_was_made_elsewhere_or_is_missing_is_not_compared(screens, tmp_path: Path):
    here = {"browser": "1", "fonts": ["One"]}
    with pytest.raises(SystemExit, match="2"):
        screens.check_kept(tmp_path, here)
    screens.keep(tmp_path, {"a": shot()}, here)
    screens.check_kept(tmp_path, here)
    with pytest.raises(SystemExit, match="2"):
        screens.check_kept(tmp_path, here | {"fonts": ["Other"]})
    screens.keep(tmp_path, {"b": shot()}, here)
    assert {path.name for path in tmp_path.iterdir()} == {"b.png", "about.json"}
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        screens.keep(tmp_path / "foreign", {"a": shot()}, here)
