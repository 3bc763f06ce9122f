"""A token bucket lets its rate in and its burst at once, and says exactly when the next one may."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnkeep_server.token_bucket import TokenBucket


def let_in(bucket: TokenBucket, arrivals: list[float]) -> list[float]:
    """When those came that were let in."""
    taken = []
    for now in arrivals:
        if not bucket.wait_seconds(now):
            bucket.take(now)
            taken.append(now)
    return taken


@given(
    st.floats(0.01, 1_000),
    st.integers(1, 50),
    st.lists(st.floats(0, 100), min_size=1, max_size=200).map(sorted),
)
def test_in_no_time_more_get_in_than_the_rate_and_the_burst(
    rate: float, burst: int, arrivals: list[float]
) -> None:
    taken = let_in(TokenBucket(rate, burst), arrivals)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            most = burst + rate * (taken[last] - taken[first])
            assert last - first + 1 <= most + 1e-6


def test_a_steady_flood_gets_the_rate_in() -> None:
    """Twenty times the rate for 10 s: a burst of 10, and 50 a second."""
    flood = [n / 1_000 for n in range(10_000)]
    assert len(let_in(TokenBucket(50, 10), flood)) in range(508, 512)


@pytest.mark.parametrize(("rate", "burst"), [(50, 1), (50, 10), (0.1, 3)])
def test_it_says_when_the_next_one_may_come(rate: float, burst: int) -> None:
    bucket = TokenBucket(rate, burst)
    for _ in range(burst):
        assert bucket.wait_seconds(7.0) == 0
        bucket.take(7.0)
    wait = bucket.wait_seconds(7.0)
    assert wait == pytest.approx(1 / rate)
    assert bucket.wait_seconds(7.0 + wait * 0.99)
    assert not bucket.wait_seconds(7.0 + wait + 1e-9)


def test_looking_takes_nothing() -> None:
    bucket = TokenBucket(1, 1)
    for _ in range(5):
        assert bucket.wait_seconds(0.0) == 0


def test_what_is_not_used_is_not_saved_up() -> None:
    """After an hour's rest there is the burst, and no more."""
    bucket = TokenBucket(10, 5)
    let_in(bucket, [0.0] * 5)
    assert not bucket.is_full(0.4)
    assert bucket.is_full(3_600.0)
    assert len(let_in(bucket, [3_600.0] * 50)) == 5


def test_one_at_a_time_is_evenly_spaced() -> None:
    taken = let_in(TokenBucket(10, 1), [n / 1_000 for n in range(1_000)])
    assert all(later - earlier >= 0.1 - 1e-9 for earlier, later in pairwise(taken))
