import hashlib

import numpy as np
import pytest

from annotator.active_learning.random_sample import is_in_sample, probe_of, shuffle_key
from annotator.storage.stable_hash import hash_key

HASHES = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(10_000)]


@pytest.mark.parametrize("share", [0.03, 0.2, 0.7])
def test_the_sample_has_its_share_whatever_the_place_in_the_folder(share: float) -> None:
    drawn = np.array([is_in_sample(content_hash, share) for content_hash in HASHES])
    deviation = np.sqrt(share * (1 - share) / len(HASHES))
    assert abs(drawn.mean() - share) < 4 * deviation
    parts = drawn.reshape(10, 1000).mean(axis=1)
    assert np.abs(parts - share).max() < 4 * deviation * np.sqrt(10)


def test_a_larger_share_contains_the_smaller_one_and_another_seed_draws_another_sample() -> None:
    small = {content_hash for content_hash in HASHES if is_in_sample(content_hash, 0.1)}
    large = {content_hash for content_hash in HASHES if is_in_sample(content_hash, 0.3)}
    assert small < large
    other = {content_hash for content_hash in HASHES if is_in_sample(content_hash, 0.1, seed=1)}
    assert 40 < len(small & other) < 180  # 100 by chance


def test_probes_are_a_share_of_the_sample_half_of_each_kind() -> None:
    kinds = [probe_of(content_hash, 0.5, 0.2) for content_hash in HASHES]
    assert all(is_in_sample(h, 0.5) for h, kind in zip(HASHES, kinds, strict=True) if kind)
    assert abs(kinds.count("hidden") - 500) < 100
    assert abs(kinds.count("shuffled") - 500) < 100
    assert {probe_of(content_hash, 0.5, 0.0) for content_hash in HASHES} == {None}


def test_purposes_draw_independently() -> None:
    keys = np.array([[hash_key(purpose, content_hash) for purpose in ("order", "probe")] for content_hash in HASHES])
    assert abs(np.corrcoef(keys.T)[0, 1]) < 0.04
    tags = ["cat", "dog", "tree", "sea"]
    orders = {tuple(sorted(tags, key=lambda tag: shuffle_key(content_hash, tag))) for content_hash in HASHES[:500]}
    assert len(orders) == 24
