"""The photos that carry a tag, in any of its spellings."""

from collections.abc import Callable
from pathlib import Path

import pytest

from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.carriers import carriers, newest_carriers
from annotator.storage.correction_log import Effort


@pytest.fixture
def opened(open_project: Callable[..., Session], demo_photos: Path) -> Session:
    opened = open_project(demo_photos)
    for image_id, kept, dropped in ((1, ["street", "Café"], []), (2, ["CAFÉ"], []), (3, ["tree"], ["café"])):
        opened.tagging.save("ann", EditedList(image_id, 0, kept, dropped, Effort()))
    return opened


def test_kept_and_refused_tags_are_found_in_every_spelling(opened: Session) -> None:
    found = carriers(opened.workspace.store, "café")
    assert [(one.annotation.image_id, one.is_asked) for one in found] == [(1, False), (2, False), (3, False)]
    assert [one.annotation for one in found] == [opened.workspace.log.annotation(image_id) for image_id in (1, 2, 3)]
    assert [one.event_id for one in found] == [1, 2, 3]
    assert carriers(opened.workspace.store, "caf") == []


def test_examples_are_saved_photos_on_which_the_tag_ranks_high(opened: Session) -> None:
    assert newest_carriers(opened.workspace.store, "café", 6) == [2, 1]
    assert newest_carriers(opened.workspace.store, "café", 1) == [2]
    opened.review.ask("local", 2, [], [2], "", "all", 1.0, False)
    assert newest_carriers(opened.workspace.store, "café", 6) == [1]
