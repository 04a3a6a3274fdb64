import gc
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annotator.datasets.tags import tag_key
from annotator.models.backbones.backbone import Backbone
from annotator.models.detectors.detector import Detection
from annotator.models.reranker import IDENTITY
from annotator.models.tagger import Capabilities, RankedTag
from annotator.models.taggers.cold_start import ColdStartTagger
from annotator.models.taggers.open_vocabulary import AddedWords, OpenVocabulary
from annotator.proposals import fusion
from annotator.proposals import proposer as proposer_module
from annotator.proposals.evidence import Evidence, Neighbour, Words
from annotator.proposals.fusion import Proposal, merge, without_kept
from annotator.proposals.sources import neighbours as neighbour_source
from annotator.proposals.sources import taggers as tagger_source
from annotator.proposals.sources.detector import detector_evidence
from annotator.proposals.sources.neighbours import metadata_evidence, neighbour_evidence
from annotator.proposals.sources.open_vocabulary import open_evidence
from annotator.proposals.sources.own_words import FEW_KEYWORDS, KEYWORD_SCORE, own_word_evidence
from annotator.proposals.sources.taggers import tagger_evidence
from annotator.proposals.tagger_catalog import load_open_vocabulary
from annotator.session.edited_list import EditedList
from annotator.session.session import Session
from annotator.storage.correction_log import Effort

OpenProjectFactory = Callable[..., Session]


def joined(evidence: Iterable[Evidence], **options: Any) -> list[Proposal]:
    """The proposals with the highest score of each tag as its probability."""
    items = list(evidence)
    scores = sorted((item.score, tag_key(item.tag)) for item in items)
    return merge(items, {key: score for score, key in scores}, **options)


def test_a_proposal_has_the_probability_of_its_tag_and_all_evidence() -> None:
    evidence = [
        Evidence("dog", "looks", 0.7, "seen"),
        Evidence("cat", "looks", 0.5, "seen"),
        Evidence("Cat", "neighbours", 0.6, "2 of 3 similar photos carry it"),
    ]
    first, second = merge(evidence, {"dog": 0.2, "cat": 0.35})
    assert (first.tag, first.score, first.rank_score, first.source) == ("Cat", 0.35, 0.35, "neighbours")
    assert first.why == "2 of 3 similar photos carry it; seen."
    assert (second.tag, second.score, second.source) == ("dog", 0.2, "looks")


def test_tags_below_the_least_probability_or_without_one_are_not_proposed() -> None:
    evidence = [Evidence(tag, "looks", 0.9, "seen") for tag in ("dog", "cat", "cow")]
    assert [item.tag for item in merge(evidence, {"dog": 0.04, "cat": 0.02}, least=0.03)] == ["dog"]


def test_equal_probabilities_are_in_alphabetical_order() -> None:
    assert [item.tag for item in joined(Evidence(tag, "looks", 0.5, "seen") for tag in "badc")] == list("abcd")


def test_a_tag_is_spelled_as_the_project_spells_it() -> None:
    spelling = {"paris": "Paris"}.__getitem__
    assert joined([Evidence("paris", "looks", 0.5, "seen")], spelling=spelling)[0].tag == "Paris"


def test_the_expected_line_stands_where_a_proposal_is_likelier_wrong_than_right() -> None:
    def expected(*scores: float) -> int:
        return fusion.num_expected([fusion.Proposal(str(n), s, "looks", (), 0.0) for n, s in enumerate(scores)])

    assert expected(0.9, 0.5, 0.4, 0.8) == 2  # by rank, so what stands below a doubtful one is not expected
    assert expected(0.4, 0.9) == 0
    assert expected(0.9, 0.8) == 2
    assert expected() == 0


evidence = st.builds(
    Evidence,
    tag=st.sampled_from(["cat", "Cat", "CAT", "\uff43\uff41\uff54", "dog", "é", "e\u0301"]),
    source=st.sampled_from(["looks", "neighbours", "metadata", "keywords", "folder"]),
    score=st.floats(-0.5, 1.5),
    text=st.just("so"),
    rank_score=st.none() | st.floats(0, 1),
)


@given(st.lists(evidence, max_size=12), st.floats(0, 1))
def test_joined_tags_are_unique_in_order_and_keep_all_evidence(items: list[Evidence], probability: float) -> None:
    keys = sorted({tag_key(item.tag) for item in items})
    probabilities = {key: probability / (place + 1) + 1e-6 for place, key in enumerate(keys)}
    proposals = merge(items, probabilities)
    assert {tag_key(proposal.tag): proposal.score for proposal in proposals} == probabilities
    assert sum(len(proposal.evidence) for proposal in proposals) == len(items)
    assert [p.rank_score for p in proposals] == sorted((p.rank_score for p in proposals), reverse=True)


def test_neighbours_vote_by_similarity_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_source, "UNRELATED_COSINE", 0.2)
    monkeypatch.setattr(neighbour_source, "PRIOR_WEIGHT", 0.5)
    neighbours = [Neighbour(1, 1.0, ("cat", "sofa")), Neighbour(2, 0.6, ("Cat",)), Neighbour(3, 0.1, ("dog",))]
    cat, sofa = neighbour_evidence(neighbours)
    assert (cat.tag, cat.score) == ("cat", pytest.approx(1.25 / 1.75))
    assert (sofa.tag, sofa.score) == ("sofa", pytest.approx(1 / 1.75))
    assert cat.text == "2 of 3 similar photos carry it"
    assert sofa.text == "1 of 3 similar photos carries it"
    assert cat.source == "neighbours"


def test_photos_with_the_same_words_vote_by_the_words_in_common_by_hand() -> None:
    (cat,) = metadata_evidence([Neighbour(1, 0.5, ("cat",), ("park",))])
    assert cat.score == pytest.approx(neighbour_source.METADATA_TRUST * 0.5 / (0.5 + neighbour_source.PRIOR_WEIGHT))
    assert cat.text == "1 of 1 photo with the same words carries it"
    assert metadata_evidence([]) == neighbour_evidence([]) == []


def test_one_similar_photo_gives_a_lower_score_than_many() -> None:
    one = neighbour_evidence([Neighbour(1, 0.9, ("cat",))])[0].score
    many = neighbour_evidence([Neighbour(number, 0.9, ("cat",)) for number in range(9)])[0].score
    assert one < many < 1


def test_keywords_are_always_evidence_and_names_only_when_they_are_known_words() -> None:
    words = Words(("Sommer 2024",), ("beach", "xqz"))
    keyword, name = own_word_evidence(words, {"beach"}.__contains__)
    assert (keyword.tag, keyword.source) == ("Sommer 2024", "keywords")
    assert (name.tag, name.source) == ("beach", "folder")
    assert keyword.score > name.score


def test_many_keywords_each_count_less() -> None:
    def keywords(num: int) -> list[Evidence]:
        return own_word_evidence(Words(tuple(f"tag {number}" for number in range(num))), lambda word: False)

    assert {item.score for item in keywords(FEW_KEYWORDS)} == {item.score for item in keywords(1)} == {KEYWORD_SCORE}
    assert keywords(4 * FEW_KEYWORDS)[0].score == pytest.approx(KEYWORD_SCORE / 2)


@pytest.mark.parametrize(("name", "tag"), [("cat.png", "cat"), ("coffee.png", "coffee"), ("rocket.jpg", "rocket")])
def test_the_first_word_for_a_real_photo_is_what_a_person_would_say(
    open_project: OpenProjectFactory, demo_photos: Path, tmp_path: Path, name: str, tag: str
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / f"1{Path(name).suffix}").write_bytes((demo_photos / name).read_bytes())
    photo = open_project(photos).navigation.open("local", None)
    assert photo["proposals"][0]["tag"] == tag
    assert photo["proposals"][0]["source"] == "looks"
    assert photo["proposals"][0]["why"].startswith("Seen in the picture with ")


def test_kept_and_dropped_tags_are_never_proposed(open_project: OpenProjectFactory, demo_photos: Path) -> None:
    session = open_project(demo_photos)
    cat = next(
        photo for photo in (session.navigation.open("local", i) for i in range(1, 7)) if photo["file_name"] == "cat.png"
    )
    tags = [proposal["tag"] for proposal in cat["proposals"]]
    answer = session.tagging.propose("local", cat["image_id"], [tags[0].upper()], [tags[1]], 0)
    after = {tag_key(proposal["tag"]) for proposal in answer["proposals"]}
    assert not {tag_key(tags[0]), tag_key(tags[1])} & after


def test_saved_tags_are_proposed_for_similar_photos(
    open_project: OpenProjectFactory, demo_photos: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    with Image.open(demo_photos / "cat.png") as cat:
        cat.save(photos / "1.png")
        cat.rotate(3).save(photos / "2.png")
    opened = open_project(photos)
    opened.tagging.save("local", EditedList(1, 0, ["my Tibbles"], [], Effort()))
    photo = opened.navigation.open("local", 2)
    proposal = next(item for item in photo["proposals"] if item["tag"] == "my Tibbles")
    assert proposal["source"] == "neighbours"
    assert photo["neighbours"]["looks"][0]["image_id"] == 1
    assert photo["neighbours"]["looks"][0]["tags"] == ["my Tibbles"]
    opened.tagging.undo("local")
    assert "my Tibbles" not in [item["tag"] for item in opened.navigation.open("local", 2)["proposals"]]


class Knows:
    """A first tagger that knows some words and proposes none of them."""

    name, version, capabilities, reranker = "knows", "1", Capabilities(), IDENTITY

    def __init__(self, words: list[str]) -> None:
        self._words = words

    def allowed_words(self) -> list[str]:
        return self._words

    trained_words = allowed_words

    def decode(self, features: np.ndarray, *_: object, **__: object) -> list[list[RankedTag]]:
        return [[] for _ in features]


@pytest.mark.parametrize("name", ["cat.png", "coffee.png", "china.jpg", "astronaut.png"])
def test_the_order_and_the_scores_of_the_tagger_pass_through(backbone: Backbone, demo_photos: Path, name: str) -> None:
    with Image.open(demo_photos / name) as photo:
        features = backbone.extract(np.stack([backbone.preprocess(photo)]))
    tagger = ColdStartTagger(backbone)
    ranked = tagger.decode(features, [[]], k=tagger_source.NUM_PROPOSALS)[0]
    assert len(ranked) > 1
    alone = tagger_evidence([tagger], features, (), ())
    assert [(item.tag, item.source, item.score) for item in alone] == [
        (item.tag, "looks", pytest.approx(item.score)) for item in ranked
    ]
    behind = tagger_evidence([Knows(["cat"]), tagger], features, (), ())
    assert [item.tag for item in behind] == [item.tag for item in ranked if item.tag != "cat"]
    assert max(item.rank_score or 0.0 for item in behind) <= tagger_source.SECOND_TAGGER_TRUST


def test_the_default_tagger_is_the_first_source(open_project: OpenProjectFactory, demo_photos: Path) -> None:
    opened = open_project(demo_photos, tagger="")
    cat = next(p for p in (opened.navigation.open("local", i) for i in range(1, 7)) if p["file_name"] == "cat.png")
    assert cat["proposals"][0]["tag"] == "cat"
    sources = {evidence["source"] for evidence in cat["proposals"][0]["evidence"]}
    assert sources & {"decoder", "looks"}


class Unsure:
    """A recurrent tagger that puts one tag next with .9, however unlikely it is to be right."""

    name, version, capabilities, reranker = "unsure", "1", Capabilities(is_sequential=True), IDENTITY

    def __init__(self, score: float) -> None:
        self._score = score

    def allowed_words(self) -> list[str]:
        return ["dog", "man"]

    def decode(self, features: np.ndarray, *_: object, **__: object) -> list[list[RankedTag]]:
        return [[RankedTag("dog", self._score, {"next": 0.9, "step": 1, "utility": 0.9})] for _ in features]


@pytest.mark.parametrize(
    ("score", "prefix", "rank_score"),
    [(0.8, [], 0.9), (0.3, [], 0.9), (0.15, [], 0.9 / 4), (0.15, ["sofa"], 0.9 / 4), (0.15, ["Man"], 0.9)],
)
def test_a_sequential_tagger_has_less_weight_on_a_photo_unlike_its_training_photos(
    score: float, prefix: list[str], rank_score: float
) -> None:
    (found,) = tagger_evidence([Unsure(score)], np.zeros((1, 4), np.float32), prefix, ())
    assert (found.tag, found.source, found.score) == ("dog", "decoder", score)
    assert found.rank_score == pytest.approx(rank_score)


def said(tag: str, source: str = "looks", score: float = 0.5) -> Evidence:
    return Evidence(tag, source, score, f"{source} says {tag}")


@pytest.mark.parametrize(
    ("used", "sources", "expected"),
    [
        ((), ("decoder", "neighbours"), ["car"]),
        ((), ("neighbours", "decoder"), ["cars"]),
        ((), ("looks", "neighbours"), ["cars"]),
        (("cars",), ("decoder", "neighbours"), ["cars"]),
        (("car",), ("neighbours", "decoder"), ["car"]),
        (("car", "cars"), ("decoder", "neighbours"), ["cars", "car"]),
    ],
)
def test_forms_of_one_tag_are_one_proposal_named_as_the_project_or_the_model_does(
    used: tuple[str, ...], sources: tuple[str, str], expected: list[str]
) -> None:
    evidence = [said("car", sources[0], 0.4), said("cars", sources[1], 0.6)]
    proposals = joined(evidence, is_used=used.__contains__)
    assert [proposal.tag for proposal in proposals] == expected
    if len(expected) == 1:
        assert proposals[0].score == 0.6
        assert {item.tag for item in proposals[0].evidence} == {"car", "cars"}


def test_one_source_with_two_forms_counts_once() -> None:
    (proposal,) = joined([said("traffic light", score=0.6), said("trafficlight", score=0.5)])
    assert (proposal.tag, proposal.score) == ("traffic light", pytest.approx(0.6))


def test_words_that_only_look_like_forms_stay_apart() -> None:
    assert len(joined([said("glass"), said("glasses"), said("bus"), said("bu")])) == 4


def test_another_form_of_a_kept_tag_is_not_proposed_unless_the_project_uses_it() -> None:
    evidence = [said("cars"), said("dog"), said("cats")]
    left = without_kept(evidence, ["car", "cat"], ["Dog"], {"cats"}.__contains__)
    assert [item.tag for item in left] == ["cats"]


def test_a_detection_is_proposed_under_the_plain_word_once() -> None:
    boxes = [Detection("tv", 0.75, (0.0, 0.0, 0.5, 0.5)), Detection("tv", 0.5, (0.0, 0.0, 1.0, 1.0))]
    (found,) = detector_evidence(boxes)
    assert (found.tag, found.source) == ("television", "detector")
    assert found.text == "the detector finds it with 75%, 2 times, the largest on 100% of the photo, in the middle"
    assert found.rank_score is not None
    assert 0 < found.rank_score < 1


def test_a_class_that_a_kept_tag_names_is_not_proposed_again() -> None:
    person = Detection("person", 0.75, (0.0, 0.0, 0.5, 0.5))
    assert [item.tag for item in detector_evidence([person])] == ["person"]
    assert detector_evidence([person], ["Man"]) == []


def test_without_detections_there_is_no_such_evidence() -> None:
    assert detector_evidence([]) == []


OWN_TAGS = ("zirconium", "polymorphism", "日本")


def test_the_open_vocabulary_scores_a_projects_own_tags_beside_its_words(
    open_project: OpenProjectFactory, demo_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposer_module, "MAX_OPEN_SCORES", 100_000)
    opened = open_project(demo_photos, tagger="starter/jvsp")
    proposer, catalog = opened.workspace.proposer, opened.workspace.catalog
    opened.tagging.save("local", EditedList(1, 0, list(OWN_TAGS), [], Effort()))
    assert set(OWN_TAGS).isdisjoint(proposer.scores(2, Words(), ["x"]))  # the vectors are not loaded yet
    opened.workspace.similar_tags.load()
    known = {tag for tagger in (*catalog.taggers, catalog.open_vocabulary) for tag in tagger.allowed_words()}  # type: ignore[union-attr]
    assert set(OWN_TAGS).isdisjoint(known)
    scores = proposer.scores(2, Words(), ["x"])
    assert set(OWN_TAGS) & set(scores) == {"zirconium", "polymorphism"}  # nothing is known of the third
    assert catalog.open_vocabulary is not None
    vector = opened.workspace.features.vectors([2])
    for tag in ("zirconium", "polymorphism"):
        assert catalog.open_vocabulary.score_words(vector, [tag])[0][0, 0] > 0
        assert 0 < scores[tag] < 1
    opened.tagging.save("local", EditedList(3, 0, ["jurisprudence"], [], Effort()))
    assert "jurisprudence" in proposer.scores(2, Words(), ["x"])


def test_the_best_of_the_projects_own_tags_come_into_the_list_as_words(
    open_project: OpenProjectFactory, demo_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_project(demo_photos, tagger="starter/jvsp")
    opened.tagging.save("local", EditedList(1, 0, ["polymorphism", "zirconium"], [], Effort()))
    opened.workspace.similar_tags.load()
    scores = AddedWords.scores

    def surely_polymorphism(self: AddedWords, features: Any, words: tuple[str, ...]) -> Any:
        known, chances = scores(self, features, words)
        return known, np.where([word == "polymorphism" for word in known], np.float32(0.9), chances * 0)

    monkeypatch.setattr(AddedWords, "scores", surely_polymorphism)
    proposals = opened.workspace.proposer.propose(2, Words()).proposals
    (found,) = [item for p in proposals if p.tag == "polymorphism" for item in p.evidence if item.source == "words"]
    assert found.score == pytest.approx(0.9)
    assert found.text == "what is seen is near it in meaning (90%)"


def test_no_cache_keeps_a_tagger_of_earlier_saves_alive(opened_vocabulary: OpenVocabulary) -> None:
    features = np.ones((1, opened_vocabulary.feature_size), np.float32)
    tagger = Knows(["cat"])
    assert tagger_source.known_keys(tagger) == {"cat"}
    assert tagger_source.trained_keys(tagger) == {"cat"}
    assert open_evidence(opened_vocabulary, [tagger], features, least=0.0)
    gone = weakref.ref(tagger)
    del tagger
    gc.collect()
    assert gone() is None


@pytest.fixture
def opened_vocabulary(backbone: Backbone) -> OpenVocabulary:
    found = load_open_vocabulary(backbone)
    assert found is not None
    return found
