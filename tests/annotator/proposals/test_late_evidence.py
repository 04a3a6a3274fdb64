import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annotator.ingest.vision_config import VisionConfig
from annotator.models.vision_language.endpoint import PROMPT
from annotator.proposals import proposer as proposer_module
from annotator.proposals.evidence import Evidence, Words
from annotator.proposals.late_evidence import (
    LARGEST_CHANGE,
    LONE_PROBABILITY,
    MAX_PHOTOS,
    SMALLEST_CHANGE,
    LateEvidence,
    NamedTag,
    Prior,
    fit,
)
from annotator.proposals.proposer import Exclusions
from annotator.proposals.sources.vision_language import VISION_LANGUAGE_PRIOR, VisionLanguageSource
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.session.workspace import Workspace
from annotator.storage.correction_log import Effort
from annotator.storage.vision_answers import VisionAnswer
from annotator.web.server import _workers

PRIOR = Prior(2.0, 1.0, 1.5)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


class Names:
    """A source that names tags as told."""

    def __init__(self, *tags: tuple[str, float], name: str = "vlm", prior: Prior = PRIOR) -> None:
        self.name, self.prior, self.tags = name, prior, tags

    def named(self, image_id: int) -> list[NamedTag]:
        return [NamedTag(tag, strength, "named") for tag, strength in self.tags]


def test_a_named_tag_rises_by_the_prior_by_hand() -> None:
    late = LateEvidence([Names(("dog", 1.0), ("cat", 0.5))])
    evidence = late.evidence(1)
    adjusted = late.adjust({"dog": 0.1, "cat": 0.2, "sofa": 0.3}, evidence)
    assert logit(adjusted["dog"]) == pytest.approx(logit(0.1) + 3.0)
    assert logit(adjusted["cat"]) == pytest.approx(logit(0.2) + 2.5)
    assert adjusted["sofa"] == 0.3
    assert logit(evidence[0].score) == pytest.approx(logit(LONE_PROBABILITY) + 3.0)
    assert [item.text for item in evidence] == ["named", "named"]


def test_without_late_sources_the_same_object_comes_back() -> None:
    probabilities = {"dog": 0.1}
    late = LateEvidence()
    assert not late
    assert late.evidence(1) == []
    assert late.adjust(probabilities, [Evidence("dog", "vlm", 0.5, "so", 1.0)]) is probabilities
    late.note(1, probabilities, [])
    assert not late.is_noted(1)


def test_evidence_that_was_left_out_changes_nothing() -> None:
    late = LateEvidence([Names(("dog", 1.0))])
    assert late.adjust({"dog": 0.1}, []) == {"dog": 0.1}


def test_another_form_of_a_word_counts_for_the_form_in_use() -> None:
    late = LateEvidence([Names(("dogs", 1.0))])
    assert late.adjust({"dog": 0.1}, late.evidence(1))["dog"] > 0.5
    both = late.adjust({"dog": 0.1, "dogs": 0.1}, late.evidence(1))
    assert (both["dog"], both["dogs"] > 0.5) == (0.1, True)


def saved_with(rate: float, num: int, tags: Sequence[tuple[str, float]] = (("dog", 1.0),)) -> LateEvidence:
    """A project in which the source's only tag was saved on a share of the photos."""
    lists = {image_id: ("dog",) if image_id <= rate * num else ("cat",) for image_id in range(1, num + 1)}
    late = LateEvidence([Names(*tags)], lambda image_id: lists.get(image_id, ()))
    for image_id in lists:
        late.note(image_id, {"dog": 0.1}, late.evidence(image_id))
        late.set_many([(image_id, Words())])
    return late


def test_a_source_whose_tags_are_saved_rises_and_one_whose_are_refused_falls() -> None:
    prior = sum(LateEvidence([Names()]).parameters("vlm"))
    assert sum(saved_with(1.0, 30).parameters("vlm")) > prior + 1
    never = saved_with(0.0, 60)
    assert sum(never.parameters("vlm")) < 0.3
    assert never.adjust({"dog": 0.1}, never.evidence(99))["dog"] < 0.15


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.75])
def test_the_probability_comes_to_the_rate_at_which_its_tags_are_saved(rate: float) -> None:
    late = saved_with(rate, 200)
    assert late.adjust({"dog": 0.1}, late.evidence(999))["dog"] == pytest.approx(rate, abs=0.03)


def test_the_reason_says_how_often_its_tags_were_saved() -> None:
    assert saved_with(0.5, 20).evidence(99)[0].text == "named; 10 of 20 tags that it named were saved here"


def test_an_undone_save_does_not_count() -> None:
    lists = {1: ("dog",)}
    late = LateEvidence([Names(("dog", 1.0))], lambda image_id: lists.get(image_id, ()))
    before = late.parameters("vlm")
    late.note(1, {"dog": 0.1}, late.evidence(1))
    after = late.parameters("vlm")
    assert after > before
    lists.clear()
    late.remove(1)
    assert late.parameters("vlm") == before


def test_each_source_has_parameters_of_its_own() -> None:
    lists = {1: ("dog",), 2: ("dog",)}
    late = LateEvidence([Names(("dog", 1.0)), Names(("cat", 1.0), name="text")], lambda i: lists.get(i, ()))
    for image_id in lists:
        late.note(image_id, {"dog": 0.1, "cat": 0.1}, late.evidence(image_id))
    assert sum(late.parameters("vlm")) > 3 > sum(late.parameters("text"))


def test_no_more_photos_are_held_than_the_limit() -> None:
    late = LateEvidence([Names(("dog", 1.0))])
    for image_id in range(MAX_PHOTOS + 10):
        late.note(image_id, {"dog": 0.1}, late.evidence(image_id))
    assert [late.is_noted(image_id) for image_id in (0, 9, 10, MAX_PHOTOS + 9)] == [False, False, True, True]


rows = st.lists(
    st.tuples(st.floats(-9, 9), st.floats(0, 1), st.sampled_from([0.0, 1.0])), max_size=40
)  # fmt: skip


@given(rows)
def test_the_fit_is_the_most_probable_one_that_is_not_falling(found: list[tuple[float, float, float]]) -> None:
    data = np.array(found).reshape(-1, 3)

    def loss(shift: float, slope: float) -> float:
        values = data[:, 0] + shift + slope * data[:, 1]
        likelihood = np.logaddexp(0, values).sum() - (data[:, 2] * values).sum()
        return float(likelihood + ((shift - 2) ** 2 + (slope - 1) ** 2) / (2 * 1.5**2))

    shift, slope = fit(data, PRIOR)
    assert slope >= 0
    if slope > 0:  # with a slope of 0 the shift alone is fitted
        for change in (1e-3, -1e-3):
            assert loss(shift, slope) <= loss(shift + change, slope) + 1e-9
            assert loss(shift, slope) <= loss(shift, slope + change) + 1e-9


@given(rows, st.floats(0.001, 0.999), st.floats(0, 1), st.floats(0, 1))
def test_more_strength_and_more_evidence_never_lower_a_tag(
    found: list[tuple[float, float, float]], p: float, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    late = LateEvidence([Names()])
    late._fits = {"vlm": fit(np.array(found).reshape(-1, 3), PRIOR)}
    values = [late.adjust({"a": p}, [Evidence("a", "vlm", 0, "", strength)])["a"] for strength in (low, high)]
    assert values[0] <= values[1] + 1e-12
    assert SMALLEST_CHANGE - 1e-6 <= logit(min(max(values[0], 1e-9), 1 - 1e-9)) - logit(p) <= LARGEST_CHANGE + 1e-6


def test_the_answers_of_a_model_have_the_strength_of_their_place() -> None:
    source = VisionLanguageSource("llava", {1: ("dog", "beach", "sea")}.__getitem__)
    named = source.named(1)
    assert [(item.tag, item.strength) for item in named] == [("dog", 1.0), ("beach", 0.5), ("sea", 1 / 3)]
    assert named[1].text == "the vision-language model llava names it 2nd"
    many = VisionLanguageSource("m", {1: [str(n) for n in range(22)]}.__getitem__).named(1)
    ends = [item.text.rpartition(" ")[2] for item in many]
    assert (ends[0], ends[2], ends[10], ends[12], ends[20]) == ("first", "3rd", "11th", "13th", "21st")
    assert source.prior is VISION_LANGUAGE_PRIOR


OpenProjectFactory = Callable[..., Session]


@pytest.fixture
def photos(demo_photos: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(1, 9):
        with Image.open(demo_photos / "coffee.png") as image:
            image.rotate(2 * number).save(folder / f"{number}.png")
    return folder


def test_an_answer_is_proposed_on_the_page_with_its_reason_and_can_be_left_out(
    open_project: OpenProjectFactory, photos: Path
) -> None:
    opened = open_project(photos, vlm="tiny")
    before = {item["tag"]: item["score"] for item in opened.navigation.open("local", 1)["proposals"]}
    opened.workspace.vision_answers.add(PROMPT, VisionAnswer(1, (), ("cappuccino", "saucer", "cup"), "", 9, 1.0))
    photo = opened.navigation.open("local", 1)
    after = {item["tag"]: item for item in photo["proposals"]}
    assert "cappuccino" not in before
    assert (after["cappuccino"]["source"], after["saucer"]["source"]) == ("vlm", "vlm")
    assert after["cappuccino"]["why"].startswith("The vision-language model tiny names it first")
    assert after["cappuccino"]["score"] > after["saucer"]["score"] > 0.05
    assert photo["neighbours"]["late_sources"] == ["vlm"]
    others = {tag: item["score"] for tag, item in after.items() if tag in before and tag != "cup"}
    assert others == {tag: score for tag, score in before.items() if tag in others}
    without = opened.tagging.propose("local", 1, [], [], 0, Exclusions(sources=frozenset({"vlm"})))
    assert {item["tag"]: item["score"] for item in without["proposals"]} == before
    assert without["neighbours"]["late_sources"] == ["vlm"]


def test_saves_teach_how_far_the_model_is_believed_here(open_project: OpenProjectFactory, photos: Path) -> None:
    opened = open_project(photos, vlm="tiny")
    for image_id in range(1, 9):
        opened.workspace.vision_answers.add(PROMPT, VisionAnswer(image_id, (), ("zarf", "wharf"), "", 9, 1.0))

    def score(image_id: int, tag: str) -> float:
        proposals = opened.navigation.open("local", image_id)["proposals"]
        return float(next((item["score"] for item in proposals if item["tag"] == tag), 0.0))

    first = score(8, "wharf")
    for image_id in range(1, 7):
        opened.navigation.open("local", image_id)
        opened.tagging.save("local", EditedList(image_id, 0, ["zarf"], [], Effort()))
    assert score(8, "zarf") > 0.8
    assert score(8, "wharf") < first
    reason = next(item for item in opened.navigation.open("local", 8)["proposals"] if item["tag"] == "wharf")["why"]
    assert "6 of 12 tags that it named were saved here" in reason


def test_saved_photos_are_looked_at_again_when_a_project_is_opened(
    open_project: OpenProjectFactory, photos: Path
) -> None:
    opened = open_project(photos, vlm="tiny")
    for image_id in range(1, 7):
        opened.workspace.vision_answers.add(PROMPT, VisionAnswer(image_id, (), ("zarf",), "", 9, 1.0))
        opened.tagging.save("local", EditedList(image_id, 0, ["spoon"], [], Effort()))
    late = opened.workspace.proposer._late
    opened.workspace.proposer.prepare()
    assert sum(late.parameters("vlm")) < 2.5
    assert all(late.is_noted(image_id) for image_id in range(1, 7))


def test_a_project_without_a_model_has_the_same_lists_to_the_last_bit(
    open_project: OpenProjectFactory, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_model = open_project(photos, vlm="tiny")
    with_model.workspace.vision_answers.add(PROMPT, VisionAnswer(3, (), ("zarf",), "", 9, 1.0))
    lists = [with_model.navigation.open("local", image_id)["proposals"] for image_id in (1, 2)]
    monkeypatch.setattr(proposer_module.LateEvidence, "_by_source", None)  # would fail if it were called
    without = open_project(photos, folder=photos.parent / "without")
    assert not without.workspace.proposer._late
    assert [without.navigation.open("local", image_id)["proposals"] for image_id in (1, 2)] == lists


def test_a_server_starts_no_thread_for_a_model_that_is_not_named(
    open_project: OpenProjectFactory, tmp_path: Path
) -> None:
    plain = open_project(folder=tmp_path / "plain").workspace
    assert [thread.name for thread in _workers(plain, [])] == ["ingest"]
    config = VisionConfig("http://127.0.0.1:9/v1", "tiny")
    asking = open_project(folder=tmp_path / "asking", vlm="tiny", vision=config).workspace
    assert [thread.name for thread in _workers(asking, [])] == ["ingest", "vision"]


def test_open_photos_come_first_and_every_fourth_question_is_about_a_saved_one(
    open_project: OpenProjectFactory, photos: Path
) -> None:
    opened = open_project(photos)
    for image_id in (2, 4):
        opened.tagging.save("local", EditedList(image_id, 0, ["spoon"], [], Effort()))
    assert list(opened.workspace._photos_to_ask_about()) == [1, 3, 5, 2, 6, 7, 8, 4]
    opened.workspace.queue.set_order([8, 7])
    assert list(opened.workspace._photos_to_ask_about()) == [8, 7, 1, 2, 3, 5, 6, 4]


@pytest.mark.integration
def test_a_workspace_asks_its_endpoint_and_proposes_what_it_says(
    open_project: OpenProjectFactory, photos: Path, vision: object
) -> None:
    with vision.running(vision.says({"tags": ["cappuccino"]})) as server:  # type: ignore[attr-defined]
        opened = open_project(photos, vlm="tiny", vision=VisionConfig(server.url, "tiny"))
        opened.tagging.save("local", EditedList(2, 0, ["Café"], [], Effort()))
        workspace: Workspace = opened.workspace
        workspace.vision_pass.run(waits=False)
        assert len(server.requests) == 8
        assert '"Café"' in server.text(0)
        state = opened.navigation.state("local")["vlm"]
        assert (state["model"], state["host"]) == ("tiny", server.url[7:-3])
        assert (state["num_asked"], state["error"]) == (8, None)
        proposals = opened.navigation.open("local", 1)["proposals"]
        assert "vlm" in [item["source"] for item in proposals if item["tag"] == "cappuccino"]
        assert workspace.proposer._late.is_noted(2)  # a saved photo teaches as soon as its answer is there
