import hashlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from annotator.trainer.finetuning.corrections import Correction, divide, is_gold


def make_correction(number: int, event_id: int | None = None) -> Correction:
    content_hash = hashlib.sha256(str(number).encode()).hexdigest()
    return Correction(number, content_hash, number if event_id is None else event_id, ("dog",))


def test_a_correction_derives_swapped_refused_and_passed_over_tags() -> None:
    item = Correction(
        1, "a", 1, tags=("dog", "man", "park"), dropped=("cat", "Park"), shown=("Man", "cat", "tree", "dog", "park")
    )
    assert item.swapped == (("dog", "man"),)  # shown as man ... dog; park was after both
    assert item.refused == ("cat",)  # park was dropped and added again
    assert item.passed_over == ("tree",)


def test_a_tag_that_was_not_shown_is_in_no_swapped_pair() -> None:
    assert Correction(1, "a", 1, tags=("sofa", "dog"), shown=("dog", "cat")).swapped == ()
    assert Correction(1, "a", 1, tags=("dog", "sofa"), shown=("dog", "cat")).swapped == ()


def test_a_larger_gold_share_contains_a_smaller_one() -> None:
    golden = [{number for number in range(500) if is_gold(str(number), share)} for share in (0.0, 0.1, 0.2, 0.5, 1.0)]
    assert all(smaller < larger for smaller, larger in pairwise(golden))


def test_the_gold_share_is_about_what_was_asked_for() -> None:
    num = sum(is_gold(str(number), 0.15) for number in range(4000))
    assert 0.13 < num / 4000 < 0.17
    assert not any(is_gold(str(number), 0.0) for number in range(100))


def test_nobody_trains_on_what_is_held_back() -> None:
    corrections = [make_correction(number) for number in range(1, 201)]
    division = divide(corrections, {}, gold_share=0.2, newest_share=0.25)
    parts = [division.fresh, division.replay, division.gold, division.newest]
    hashes = [item.content_hash for part in parts for item in part]
    assert sorted(hashes) == sorted(item.content_hash for item in corrections)
    assert all(is_gold(item.content_hash, 0.2) for item in division.gold)
    assert not any(is_gold(item.content_hash, 0.2) for item in [*division.fresh, *division.newest])
    assert max(item.event_id for item in division.fresh) < min(item.event_id for item in division.newest)


def test_what_the_live_model_learnt_from_is_replayed_and_never_validation_data() -> None:
    corrections = [make_correction(number) for number in range(1, 101)]
    trained = {item.content_hash: item.event_id for item in corrections[:60]}
    division = divide(corrections, trained, gold_share=0.5, newest_share=0.2)
    assert not {item.content_hash for item in division.held_back} & set(trained)
    assert {item.content_hash for item in division.replay} <= set(trained)
    assert not {item.content_hash for item in division.fresh} & set(trained)


def test_a_photo_corrected_again_is_training_and_not_validation_data() -> None:
    again = make_correction(1, event_id=900)
    others = [make_correction(number) for number in range(2, 40)]
    division = divide([again, *others], {again.content_hash: 1}, gold_share=0.0, newest_share=0.2)
    assert again in division.fresh
    assert again not in division.held_back


def test_no_validation_photo_has_a_near_duplicate_that_is_learnt_from() -> None:
    rng = np.random.default_rng(0)
    scenes = rng.normal(size=(40, 64)).astype(np.float32)
    corrections = [
        replace(make_correction(number), features=scenes[number // 3] + 0.02 * rng.normal(size=64).astype(np.float32))
        for number in range(120)
    ]
    trained = {item.content_hash: item.event_id for item in corrections[:12]}
    division = divide(corrections, trained, gold_share=0.2, newest_share=0.25)
    learnt = {item.image_id // 3 for item in (*division.fresh, *division.replay)}
    assert division.held_back
    assert not {item.image_id // 3 for item in division.held_back} & learnt
    # Photos without near-duplicates stay in the validation splits.
    alone = [replace(item, features=rng.normal(size=64).astype(np.float32)) for item in corrections]
    assert len(divide(alone, trained, gold_share=0.2, newest_share=0.25).held_back) > len(division.held_back)


@pytest.mark.parametrize("num", [0, 1, 2])
def test_a_handful_of_corrections_is_divided_too(num: int) -> None:
    division = divide([make_correction(n) for n in range(num)], {}, gold_share=0.15, newest_share=0.2)
    assert len(division.fresh) + len(division.held_back) == num
