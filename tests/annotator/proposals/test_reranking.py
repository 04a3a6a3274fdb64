import math

import numpy as np
import pytest

from annotator.models.reranker import FEATURES, IDENTITY, Reranker
from annotator.proposals import reranking
from annotator.proposals.evidence import Evidence
from annotator.proposals.fusion import merge, num_expected
from annotator.proposals.reranking import FLOOR, features_of, rerank, tag_statistics_evidence
from annotator.proposals.tag_statistics import OtherPhotosStatistics, TagStatistics

COLUMN = {name: place for place, name in enumerate(FEATURES)}


@pytest.fixture
def statistics() -> OtherPhotosStatistics:
    statistics = TagStatistics()
    for _ in range(5):
        statistics.note(["beach", "holiday"], +1)
    return OtherPhotosStatistics(statistics)


def test_the_features_by_hand(statistics: OtherPhotosStatistics) -> None:
    proposals = merge(
        [Evidence("dog", "context", 0.6, "seen", 0.5), Evidence("dog", "neighbours", 0.2, "alike"),
         Evidence("cat", "looks", 0.1, "seen")]
    )  # fmt: skip
    dog, cat = features_of(proposals, statistics, ["beach"])
    assert dog[COLUMN["joint"]] == pytest.approx(math.log(1 - 0.5 * 0.8 + FLOOR))
    assert dog[COLUMN["decoder"]] == pytest.approx(math.log(0.5 + FLOOR) - math.log(FLOOR))
    assert dog[COLUMN["neighbours"]] == pytest.approx(math.log(0.2 + FLOOR) - math.log(FLOOR))
    assert dog[COLUMN["looks"]] == 0
    assert cat[COLUMN["looks"]] > 0
    assert dog[COLUMN["unused"]] == 1


def test_a_tag_with_statistics_alone_is_last_until_the_re_ranker_weights_them(
    statistics: OtherPhotosStatistics,
) -> None:
    evidence = [Evidence("dog", "decoder", 0.3, "seen"), *tag_statistics_evidence(statistics, ["beach"])]
    proposals = [item for item in merge(evidence) if item.tag != "beach"]
    assert [item.tag for item in proposals] == ["dog", "holiday"]
    assert [item.tag for item in rerank(proposals, statistics, ["beach"], IDENTITY)] == ["dog", "holiday"]
    first = rerank(proposals, statistics, ["beach"], Reranker({"joint": 1.0, "next": 9.0}))[0]
    assert (first.tag, first.source) == ("holiday", "habits")
    assert first.why == "After “beach” it came next in 5 of 5 lists."


def test_tag_statistics_do_not_raise_the_score_of_other_evidence(statistics: OtherPhotosStatistics) -> None:
    seen = Evidence("holiday", "decoder", 0.3, "seen")
    proposal = next(
        item for item in merge([seen, *tag_statistics_evidence(statistics, ["beach"])]) if item.tag == "holiday"
    )
    assert (proposal.score, proposal.source) == (pytest.approx(0.3), "decoder")
    assert "it came next" in proposal.why


def test_only_the_first_are_re_ranked_and_nothing_is_lost(
    statistics: OtherPhotosStatistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranking, "NUM_RERANKED", 3)
    proposals = merge(Evidence(tag, "looks", 0.9 - 0.1 * place, "seen") for place, tag in enumerate("abcdef"))
    backwards = rerank(proposals, statistics, [], Reranker({"joint": -1.0}))
    assert [item.tag for item in backwards] == list("cbadef")
    assert np.all(np.diff([item.rank_score for item in backwards]) <= 0)
    assert rerank([], statistics, [], Reranker({"next": 1.0})) == []


def test_a_tag_with_statistics_alone_is_never_expected(statistics: OtherPhotosStatistics) -> None:
    proposals = merge([Evidence("holiday", "habits", 0.9, "usual", 0.0), Evidence("dog", "decoder", 0.8, "seen")])
    assert [item.tag for item in proposals] == ["dog", "holiday"]
    assert num_expected(proposals) == 1
