"""The lane against a sorted list, and ids that only rise."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.engine import lane as lanes
from batchyard.engine.lane import Key, Lane
from batchyard.engine.world import JobIds

KEYS = st.tuples(st.integers(0, 1), st.sampled_from([f"{n:02}" for n in range(30)]), st.integers(-1, 3))
STEPS = st.lists(st.tuples(st.booleans(), KEYS), max_size=200)


@settings(max_examples=60)
@given(STEPS, st.sampled_from([1, 2, 5, 1024]))
def test_against_a_sorted_list(steps: list[tuple[bool, Key]], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_CHUNK", chunk)
        lane, plain = Lane(), set[Key]()
        for adds, key in steps:
            (lane.add if adds else lane.discard)(key)
            (plain.add if adds else plain.discard)(key)
            assert len(lane) == len(plain)
            assert lane.first == min(plain, default=None)
            assert (key in lane) is adds
        assert list(lane) == sorted(plain)
        assert all(key in lane for key in plain)
        assert [lane.rank(key) for key in sorted(plain)] == list(range(len(plain)))
        filled = Lane()
        filled.fill(sorted(plain))
        assert list(filled) == sorted(plain) and len(filled) == len(plain)
        assert all(key in filled for key in plain)


@settings(max_examples=60)
@given(STEPS, st.sampled_from([1, 2, 5]), st.lists(st.sets(st.integers(-1, 3)), max_size=4))
def test_what_is_passed_over(steps: list[tuple[bool, Key]], chunk: int, passed: list[set[int]]) -> None:
    """Here the child says of what sort a key is. Nothing is left out that should come, and whole chunks are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_CHUNK", chunk)
        lane, plain = Lane(lambda key: key[2]), set[Key]()
        every = [set[int](), *passed]
        for number, (adds, key) in enumerate(steps):
            (lane.add if adds else lane.discard)(key)
            (plain.add if adds else plain.discard)(key)
            over = every[number % len(every)]
            found = list(lane.but_for(over.__contains__))
            assert [key for key in found if key[2] not in over] == sorted(key for key in plain if key[2] not in over)
        assert list(lane.but_for(lambda sort: True)) == [] and list(lane.but_for(lambda sort: False)) == sorted(plain)


def test_a_long_lane_from_both_ends() -> None:
    lane = Lane()
    keys = [(1, f"{n:06}", -1) for n in range(5000)]
    for key in keys:
        lane.add(key)
    for key in reversed(keys[:100]):
        lane.add((0, *key[1:]))
    assert list(lane) == [(0, *key[1:]) for key in keys[:100]] + keys
    for key in keys[::2]:
        lane.discard(key)
    assert len(lane) == 2600 and list(lane)[100:] == keys[1::2]
    assert (0, "x", -1) not in Lane()


# --- ids ---


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 2**62 - 1)), min_size=2, max_size=60))
def test_ids_rise_whatever_the_clock_does(calls: list[tuple[int, int]]) -> None:
    ids = JobIds()
    given_out = [ids.next(1_700_000_000_000 + ms, noise) for ms, noise in calls]
    assert all(a < b for a, b in pairwise(given_out))
    for id in given_out:
        parts = id.split("-")
        assert [len(p) for p in parts] == [8, 4, 4, 4, 12]
        assert parts[2][0] == "4" and parts[3][0] in "89ab"


def test_ids_rise_across_restarts_and_leaders() -> None:
    """Also when the clock was set back meanwhile."""
    ids = JobIds()
    last = [ids.next(1_700_000_000_000, 2**62 - 1) for _ in range(5000)][-1]
    assert JobIds(last).next(1_600_000_000_000, 0) > last
    assert JobIds(last).next(1_800_000_000_000, 0) > last


def test_noise_is_kept_whole() -> None:
    a, b = JobIds().next(5, 0b11), JobIds().next(5, 2**62 - 1)
    assert a[:14] == b[:14] and a[19] == "b" and b.endswith("fff-ffffffffffff")
