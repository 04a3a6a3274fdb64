import pytest

from annotator.errors import ConfigError
from annotator.hosted.limits import MAX_KEYS, HostedLimits, RateLimiter


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_then_the_rate() -> None:
    clock = Clock()
    limiter = RateLimiter(rate=2.0, burst=3, clock=clock)
    assert [limiter.take("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert limiter.take("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert limiter.take("a") == 0.0
    assert limiter.take("a") > 0


def test_each_caller_has_a_bucket_of_their_own() -> None:
    limiter = RateLimiter(rate=1.0, burst=1, clock=Clock())
    assert limiter.take("a") == 0.0
    assert limiter.take("a") > 0
    assert limiter.take("b") == 0.0


def test_refused_calls_do_not_delay_the_next_one() -> None:
    clock = Clock()
    limiter = RateLimiter(rate=1.0, burst=1, clock=clock)
    limiter.take("a")
    for _ in range(50):
        assert limiter.take("a") == pytest.approx(1.0)
    clock.now += 1.0
    assert limiter.take("a") == 0.0


def test_the_limiter_does_not_grow_with_made_up_addresses() -> None:
    limiter = RateLimiter(rate=1.0, burst=1, clock=Clock())
    for number in range(MAX_KEYS + 10):
        limiter.take(str(number))
    assert len(limiter._buckets) == MAX_KEYS


@pytest.mark.parametrize("bad", [{"num_visitors": 0}, {"minutes": 0}, {"num_photos": 10**6}])
def test_a_limit_out_of_range_is_refused_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        HostedLimits(**bad)  # type: ignore[arg-type]
