"""A bucket lets through what its rate says, whatever the pattern."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batchyard.core.quotas import PROFILES, Bucket


def test_a_burst_of_one_second_and_then_the_rate() -> None:
    bucket = Bucket(50, 0)
    assert [bucket.take(0) for _ in range(51)] == [True] * 50 + [False]
    assert not bucket.take(19)
    assert bucket.take(20), "one fiftieth of a second later there is one more"
    assert not bucket.take(20)
    assert sum(bucket.take(10_000) for _ in range(100)) == 50, "what was not used does not pile up"


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1, 1000)
    assert bucket.take(1000)
    assert not bucket.take(0)
    assert not bucket.take(1000)
    assert bucket.take(2000)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=200), st.integers(1, 60))
def test_never_more_than_the_rate_and_one_burst(pauses_ms: list[int], rate: int) -> None:
    bucket, now_ms, passed = Bucket(rate, 0), 0, 0
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        passed += bucket.take(now_ms)
    assert passed <= rate + now_ms * rate / 1000 + 1e-6


def test_the_open_profile_allows_at_least_what_aws_does() -> None:
    for name in PROFILES["aws"].__struct_fields__:
        ours, theirs = getattr(PROFILES["open"], name), getattr(PROFILES["aws"], name)
        assert ours is None or ours >= theirs, name
