import math

import numpy as np
import pytest

from annotator.models.reranker import FEATURES, IDENTITY, Reranker
from annotator.proposals import reranking
from annotator.proposals.evidence import Evidence
from annotator.proposals.fusion import merge
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
    evidence = [
        Evidence("dog", "context", 0.6, "seen", 0.5),
        Evidence("dog", "neighbours", 0.2, "alike"),
        Evidence("cat", "looks", 0.1, "seen"),
    ]
    proposals = merge(evidence, {"dog": 0.7, "cat": 0.1})
    dog, cat = features_of(proposals, statistics, ["beach"])
    assert dog[COLUMN["probability"]] == pytest.approx(math.log(0.7 + FLOOR))
    assert dog[COLUMN["decoder"]] == pytest.approx(math.log(0.5 + FLOOR) - math.log(FLOOR))
    assert dog[COLUMN["neighbours"]] == pytest.approx(math.log(0.2 + FLOOR) - math.log(FLOOR))
    assert dog[COLUMN["looks"]] == 0
    assert cat[COLUMN["looks"]] > 0
    assert dog[COLUMN["unused"]] == 1


def test_a_re_ranker_moves_a_tag_that_the_statistics_continue_with(statistics: OtherPhotosStatistics) -> None:
    evidence = [Evidence("dog", "decoder", 0.3, "seen"), *tag_statistics_evidence(statistics, ["beach"])]
    proposals = merge(evidence, {"dog": 0.3, "holiday": 0.1})
    assert [item.tag for item in rerank(proposals, statistics, ["beach"], IDENTITY)] == ["dog", "holiday"]
    first = rerank(proposals, statistics, ["beach"], Reranker({"probability": 1.0, "next": 9.0}))[0]
    assert (first.tag, first.source, first.score) == ("holiday", "habits", 0.1)
    assert first.why == "After “beach” it came next in 5 of 5 lists."


def test_only_the_first_are_re_ranked_and_nothing_is_lost(
    statistics: OtherPhotosStatistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reranking, "NUM_RERANKED", 3)
    scores = {tag: 0.9 - 0.1 * place for place, tag in enumerate("abcdef")}
    proposals = merge((Evidence(tag, "looks", score, "seen") for tag, score in scores.items()), scores)
    backwards = rerank(proposals, statistics, [], Reranker({"probability": -1.0}))
    assert [item.tag for item in backwards] == list("cbadef")
    assert np.all(np.diff([item.rank_score for item in backwards]) <= 0)
    assert rerank([], statistics, [], Reranker({"next": 1.0})) == []
