from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotator.active_learning.random_sample import is_in_sample, sample_key
from annotator.active_learning.scheduler import REFRESH_SAVES, QueueScheduler, shared_tags, tag_probabilities
from annotator.errors import ConfigError
from annotator.models.tagger import RankedTag
from annotator.session.edited_list import EditedList
from annotator.session.operations import answer
from annotator.session.session import Session
from annotator.storage.correction_log import Effort


class CertainOf:
    """A tagger with a given certainty for each photo, identified by its features."""

    def __init__(self, scores: dict[bytes, float], tags: tuple[str, ...] = ("cat", "dog")) -> None:
        self.scores, self.tags = scores, tags

    def allowed_words(self) -> list[str]:
        return list(self.tags)

    def probabilities(self, features: Any) -> None:
        return None

    def decode(self, features: Any, prefixes: Any, *, k: int = 20, **_: Any) -> list[list[RankedTag]]:
        return [[RankedTag(self.tags[0], self.scores[row.tobytes()])] for row in features]


class Catalog:
    """A catalog of taggers; the first one is chosen."""

    chosen = "first"

    def __init__(self, *taggers: Any) -> None:
        self.taggers, self._others = taggers[:1], list(taggers[1:])

    def others(self, num: int) -> list[Any]:
        return self._others[:num]


@pytest.fixture
def opened(open_project: Callable[..., Session], write_photos: Callable[..., Any], tmp_path: Path) -> Session:
    write_photos(tmp_path / "photos", range(1, 7))
    opened = open_project(tmp_path / "photos")
    opened.workspace.project.update_settings(random_share=0.0)
    return opened


@pytest.fixture
def session(opened: Session) -> Session:
    return opened


def use(opened: Session, scores: list[float], *others: list[float]) -> QueueScheduler:
    """Let the order be made by taggers that are this certain of photos 1, 2, ..."""
    rows = [row.tobytes() for row in opened.workspace.features.vectors(range(1, 7))]
    taggers = [CertainOf(dict(zip(rows, each, strict=True))) for each in (scores, *others)]
    order = opened.workspace.scheduler
    order._catalog = Catalog(*taggers)  # type: ignore[assignment]
    return order


def save(session: Session, image_id: int, user: str = "local") -> dict[str, Any]:
    photo = session.navigation.open(user, image_id)
    return session.tagging.save(user, EditedList(image_id, photo["revision"], ["cat"], [], Effort(seconds=5)))


UNSURE_OF_FIVE_THEN_THREE = [0.01, 0.02, 0.4, 0.1, 0.5, 0.95]


def test_the_strategy_decides_which_photo_is_next(opened: Session, session: Session) -> None:
    order = use(opened, UNSURE_OF_FIVE_THEN_THREE)
    session.administration.set_strategy("entropy", None, None)
    # Not computed yet: the folder's order, and that is said.
    assert session.navigation.open("local", None)["image_id"] == 1
    assert session.navigation.state("local")["queue"]["is_ready"] is False
    assert "order of the folder" in session.navigation.state("local")["queue"]["note"]
    session.navigation.leave("local", 1)
    order.refresh()
    queue = session.navigation.state("local")["queue"]
    assert (queue["strategy"], queue["is_ready"], queue["note"]) == ("entropy", True, "")
    assert session.navigation.open("local", None)["image_id"] == 5
    following = save(session, 5)["next"]["image_id"]
    assert following == 3
    assert session.navigation.skip("local", 3)["image_id"] == 4
    assert [save(session, image_id)["next"].get("image_id") for image_id in (4, 6, 2, 1, 3)] == [6, 2, 1, 3, None]


def test_a_photo_that_somebody_has_open_is_not_given_to_another(opened: Session, session: Session) -> None:
    use(opened, UNSURE_OF_FIVE_THEN_THREE)
    session.administration.set_strategy("entropy", None, None)
    session.workspace.scheduler.refresh()
    session.workspace.leases.take(5, "anna")
    assert session.navigation.open("local", None)["image_id"] == 3
    session.navigation.leave("local", 3)
    session.workspace.leases.take(3, "cora")
    session.workspace.assignments.assign([4], "anna")
    assert session.navigation.open("local", None)["image_id"] == 6
    session.workspace.leases.end(5)
    assert save(session, 6)["next"]["image_id"] == 5


def test_disagreement_asks_the_other_taggers_and_says_when_there_is_none(opened: Session, session: Session) -> None:
    order = use(opened, [0.5, 0.9, 0.1, 0.5, 0.5, 0.5], [0.5, 0.1, 0.1, 0.5, 0.5, 0.6])
    session.administration.set_strategy("disagreement", None, None)
    order.refresh()
    assert session.navigation.open("local", None)["image_id"] == 2
    session.navigation.leave("local", 2)
    alone = use(opened, UNSURE_OF_FIVE_THEN_THREE)
    alone._committee = ("", [])
    alone.refresh()
    queue = session.navigation.state("local")["queue"]
    assert queue["is_ready"] is False
    assert queue["note"].startswith("This strategy needs 2 taggers")
    assert session.navigation.open("ben", None)["image_id"] == 1


def test_the_random_sample_comes_up_among_the_others_and_is_marked(opened: Session, session: Session) -> None:
    use(opened, UNSURE_OF_FIVE_THEN_THREE)
    keys = {
        image_id: sample_key(opened.workspace.store.images.entry(image_id).content_hash) for image_id in range(1, 7)
    }
    first, second, *_ = sorted(keys, key=keys.__getitem__)
    share = (keys[second] + sorted(keys.values())[2]) / 2  # just these two are drawn
    session.administration.set_strategy("entropy", share, None)
    session.workspace.scheduler.refresh()
    order = [session.workspace.queue._order[place] for place in range(6)]
    assert [image_id for image_id in order if image_id in (first, second)] == [first, second]
    rest = [image_id for image_id in order if image_id not in (first, second)]
    assert rest == [image_id for image_id in (5, 3, 4, 6, 2, 1) if image_id not in (first, second)]
    marked = {image_id for image_id in range(1, 7) if session.navigation.open("local", image_id)["is_random_sample"]}
    assert marked == {first, second}
    save(session, first)
    save(session, rest[0])
    rows = opened.workspace.store.rows("SELECT strategy, is_random, probe FROM selections ORDER BY event_id")
    assert rows == [("entropy", True, None), ("entropy", False, None)]


def test_a_random_order_is_that_of_no_folder_and_always_the_same(opened: Session, session: Session) -> None:
    session.administration.set_strategy("random", 0.0, None)
    session.workspace.scheduler.refresh()
    order = session.workspace.queue._order
    assert sorted(order) == list(range(1, 7))
    session.workspace.scheduler.refresh()
    assert session.workspace.queue._order == order


def test_the_order_is_made_anew_after_some_saves_in_the_background(opened: Session, session: Session) -> None:
    order = session.workspace.scheduler
    order._refresh_requested.clear()
    for number in range(REFRESH_SAVES - 1):
        order.saved()
        assert not order._refresh_requested.is_set(), number
    order.saved()
    assert order._refresh_requested.is_set()
    use(opened, UNSURE_OF_FIVE_THEN_THREE)
    session.administration.set_strategy("entropy", None, None)
    order.start()
    while not session.navigation.state("local")["queue"]["is_ready"]:
        order._is_stopping.wait(0.01)
    order.stop()
    assert session.navigation.open("local", None)["image_id"] == 5


def test_what_goes_wrong_in_the_background_is_said_and_photos_go_on(
    opened: Session, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    order = use(opened, UNSURE_OF_FIVE_THEN_THREE)
    order._catalog.taggers[0].scores.clear()  # type: ignore[attr-defined]
    session.administration.set_strategy("entropy", None, None)
    order.start()
    while not session.navigation.state("local")["queue"]["note"].startswith("The order could not"):
        order._is_stopping.wait(0.01)
    order.stop()
    assert "KeyError" in caplog.text
    assert session.navigation.open("local", None)["image_id"] == 1


def test_a_strategy_is_kept_and_a_wrong_one_refused(opened: Session, session: Session) -> None:
    given = answer(session, "local", "set_strategy", {"strategy": "random", "random_share": 0.5})
    assert (given["queue"]["strategy"], given["queue"]["random_share"]) == ("random", 0.5)
    assert opened.workspace.project.settings.strategy == "random"
    with pytest.raises(ConfigError, match="no strategy 'best'"):
        session.administration.set_strategy("best", None, None)
    assert (
        "random_share"
        in answer(session, "local", "set_strategy", {"strategy": "random", "random_share": 2})["error"]["message"]
    )


def test_probabilities_are_those_of_the_tags_that_all_know() -> None:
    features = np.array([[1.0], [2.0]], np.float32)
    scores = {row.tobytes(): float(row[0]) / 4 for row in features}
    first, second = CertainOf(scores, ("Cat", "sea")), CertainOf(scores, ("tree", "cat"))
    assert shared_tags([first, second]) == ["cat"]  # type: ignore[list-item]
    assert tag_probabilities(first, features, ["cat"]).tolist() == [[0.25], [0.5]]  # type: ignore[arg-type]
    assert tag_probabilities(second, features, ["cat"]).tolist() == [[0.0], [0.0]]  # type: ignore[arg-type]


# Anchoring probes


def probed(opened: Session, kind: str) -> int:
    """Tag some photos, so that there is something to propose, then draw until another is a probe of this kind."""
    for image_id in range(1, 4):
        if opened.navigation.open("local", image_id)["revision"] == 0:
            opened.tagging.save("local", EditedList(image_id, 0, ["cat", "dog", "sea", "tree", "sky"], [], Effort()))
    for share in np.linspace(0.05, 1, 40):
        opened.workspace.project.update_settings(random_share=1.0, probe_share=float(share))
        for image_id in range(4, 7):
            if opened.navigation.open("local", image_id)["probe"] == kind:
                return image_id
    raise AssertionError(f"no photo is {kind}")


def test_a_probe_hides_proposals_until_the_save_and_the_log_keeps_what_they_were(
    opened: Session, session: Session
) -> None:
    image_id = probed(opened, "hidden")
    share = opened.workspace.project.settings.probe_share
    opened.workspace.project.update_settings(probe_share=0.0)
    tags = [item["tag"] for item in session.navigation.open("local", image_id)["proposals"]]
    opened.workspace.project.update_settings(probe_share=share)
    photo = session.navigation.open("local", image_id)
    assert tags
    assert photo["proposals"] == []
    assert not any(photo["neighbours"][name] for name in ("looks", "metadata", "model", "note"))
    assert session.tagging.propose("local", image_id, ["cat"], [], 0)["proposals"] == []
    save(session, image_id)
    rows = opened.workspace.store.rows("SELECT is_random, probe, proposals FROM selections WHERE probe IS NOT NULL")
    assert rows == [(True, "hidden", tags)]
    again = session.navigation.open("local", image_id)
    assert (again["probe"], bool(again["proposals"])) == (None, True)


def test_a_shuffled_probe_has_the_same_proposals_in_an_order_that_stays(opened: Session, session: Session) -> None:
    image_id = probed(opened, "shuffled")
    shown = [item["tag"] for item in session.navigation.open("local", image_id)["proposals"]]
    share = opened.workspace.project.settings.probe_share
    opened.workspace.project.update_settings(probe_share=0.0)
    plain = [item["tag"] for item in session.navigation.open("local", image_id)["proposals"]]
    opened.workspace.project.update_settings(probe_share=share)
    assert shown != plain
    assert sorted(shown) == sorted(plain)
    later = [item["tag"] for item in session.tagging.propose("local", image_id, [], [shown[0]], 0)["proposals"]]
    assert [tag for tag in later if tag in shown] == [tag for tag in shown if tag in later]
    assert is_in_sample(opened.workspace.store.images.entry(image_id).content_hash, 1.0)
