from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from annotator.errors import ConfigError
from annotator.trainer.evaluation.effort import Offer
from annotator.trainer.finetuning.corrections import Correction
from annotator.trainer.finetuning.promotion_test import PromotionRule, bootstrap, judge

RULE = PromotionRule(least_photos=4)
TAGS = ("dog", "man", "park")


@dataclass
class Fixed:
    """A model that proposes one list, whatever the photo; on some photos another one."""

    proposals: tuple[str, ...]
    others: dict[int, tuple[str, ...]] | None = None

    def propose(self, image_id: int, kept: Sequence[str], dropped: Sequence[str]) -> Offer:
        return Offer([tag for tag in (self.others or {}).get(image_id, self.proposals) if tag not in kept])

    def complete(self, image_id: int, text: str, kept: Sequence[str]) -> list[str]:
        return []


def corrections(start: int, num: int) -> list[Correction]:
    return [Correction(number, str(number), number, TAGS) for number in range(start, start + num)]


def test_a_candidate_that_saves_actions_on_every_photo_is_promoted() -> None:
    verdict = judge(Fixed(("park", "man", "dog")), Fixed(TAGS), corrections(0, 5), corrections(5, 5), RULE)
    assert verdict.is_promoted
    assert (verdict.num_gold, verdict.num_newest) == (5, 5)
    assert verdict.live is not None
    assert verdict.candidate is not None
    assert verdict.saved is not None
    assert verdict.live.actions_per_photo == 4  # all three by one key, two drags, save
    assert verdict.candidate.actions_per_photo == 2
    assert (verdict.saved.mean, verdict.saved.low, verdict.saved.high) == (2, 2, 2)
    assert verdict.candidate.ndcg == 1.0 > verdict.live.ndcg
    assert "2.00 actions a photo instead of 4.00 on 10 held-back photos" in verdict.sentence
    assert verdict.regressions == []


def test_the_same_model_is_not_promoted() -> None:
    verdict = judge(Fixed(TAGS), Fixed(TAGS), corrections(0, 5), corrections(5, 5), RULE)
    assert not verdict.is_promoted
    assert verdict.sentence == (
        "Not promoted: the new model takes 2.00 actions a photo as the present one does on 10 held-back photos "
        "(+0.00 saved, 90% interval +0.00 to +0.00); it would change nothing."
    )


def test_savings_that_may_be_chance_do_not_promote() -> None:
    better_on_one = Fixed(("park", "man", "dog"), {7: TAGS})
    verdict = judge(Fixed(("park", "man", "dog")), better_on_one, [], corrections(0, 10), RULE)
    assert verdict.saved is not None
    assert verdict.saved.mean == pytest.approx(0.2)
    assert verdict.saved.low == 0
    assert not verdict.is_promoted
    assert verdict.sentence.startswith("Not promoted: the new model takes 3.80 actions a photo instead of 4.00 on 10 ")
    assert verdict.sentence.endswith("; the saving may be chance.")


def test_a_loss_on_gold_beyond_the_margin_forbids_it() -> None:
    worse_on_gold = Fixed(TAGS, dict.fromkeys(range(3), ("park", "man", "dog")))
    live = Fixed(("man", "park", "dog"), dict.fromkeys(range(3), TAGS))
    verdict = judge(live, worse_on_gold, corrections(0, 3), corrections(3, 17), RULE)
    assert verdict.saved is not None
    assert verdict.saved.low > 0
    assert not verdict.is_promoted
    assert "gold" in verdict.sentence
    assert judge(live, worse_on_gold, corrections(0, 3), corrections(3, 17), replace(RULE, gold_margin=2)).is_promoted


def test_too_few_photos_decide_nothing() -> None:
    verdict = judge(Fixed(()), Fixed(TAGS), corrections(0, 1), corrections(1, 2), RULE)
    assert not verdict.is_promoted
    assert "3 held-back corrections are too few" in verdict.sentence
    assert verdict.to_json()["saved"] is None


def test_tags_that_cost_more_are_named_the_worst_first() -> None:
    verdict = judge(Fixed(TAGS), Fixed(("dog", "park")), [], corrections(0, 6), RULE)
    assert [change.tag for change in verdict.regressions] == ["man", "dog", "park"]
    assert verdict.sentence.endswith("; it would cost more.")
    assert verdict.regressions[0].num == 6
    assert verdict.regressions[0].candidate == 4  # "man", Enter


def test_the_bootstrap_agrees_with_the_normal_interval_on_many_photos() -> None:
    values = np.random.default_rng(1).normal(0.3, 1.0, 2000)
    interval = bootstrap(values, PromotionRule(confidence=0.9))
    half = 1.645 * values.std() / 2000**0.5
    assert interval.low == pytest.approx(values.mean() - half, abs=0.005)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.005)


@pytest.mark.parametrize("setting", [{"confidence": 1.0}, {"least_photos": 0}, {"gold_margin": float("nan")}])
def test_a_rule_that_cannot_be_is_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        PromotionRule(**setting)  # type: ignore[arg-type]
