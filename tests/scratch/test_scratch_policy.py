"""The policy of scratch space: never above the cap, never full while more can be had, and no more than needed."""

from __future__ import annotations

import heapq
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from batchyard.scratch.policy import (
    GIB,
    MIB,
    Freeze,
    Grow,
    Limits,
    Nothing,
    Refuse,
    Shrink,
    State,
    Wait,
    decide,
    look_again_s,
    trigger_bytes,
)
from batchyard.scratch.rates import Meter

SIZES = st.integers(64 * MIB, 200 * GIB)


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    step = draw(st.integers(16 * MIB, 50 * GIB))
    return Limits(
        cap_bytes=draw(st.integers(64 * MIB, 4000 * GIB)),
        step_bytes=step,
        largest_bytes=max(step, draw(st.integers(GIB, 2000 * GIB))),
        volumes_max=draw(st.none() | st.integers(1, 16)),
        level=draw(st.floats(0.01, 0.9)),
        safety=draw(st.floats(1, 10)),
        calm_s=draw(st.floats(1, 1000)),
        can_shrink=draw(st.booleans()),
    )


@st.composite
def states(draw: st.DrawFn) -> State:
    volumes = tuple(draw(st.lists(SIZES, min_size=1, max_size=16)))
    capacity = sum(volumes)
    now_s = draw(st.floats(0, 1e6))
    return State(
        now_s=now_s,
        volumes=volumes,
        free_bytes=draw(st.integers(0, capacity)),
        metadata_free_bytes=draw(st.none() | st.integers(0, capacity)),
        inodes=draw(st.sampled_from([0, 1000])),
        inodes_free=draw(st.integers(0, 1000)),
        rate_bytes_s=draw(st.just(0.0) | st.floats(0, 5e9)),
        grow_s=draw(st.floats(0.001, 100)),
        look_s=draw(st.floats(0, 2)),
        quiet_s=draw(st.floats(0, 2000)),
        is_growing=draw(st.booleans()),
        retry_at_s=now_s + draw(st.floats(-100, 100)),
        room_bytes=draw(st.none() | st.integers(0, 5000 * GIB)),
    )


WEIGHT = {Shrink: 0, Nothing: 1, Freeze: 3, Grow: 3, Wait: 3, Refuse: 3}


@given(states(), limits())
def test_never_above_the_cap(state: State, allowed: Limits) -> None:
    decision = decide(state, allowed)
    if isinstance(decision, Grow):
        assert state.capacity_bytes + decision.bytes <= allowed.cap_bytes
        assert decision.bytes % 4096 == 0
        assert decision.bytes >= allowed.smallest_bytes
        assert state.room_bytes is None or decision.bytes <= state.room_bytes, "not more than is to be had below"
        assert allowed.volumes_max is None or len(state.volumes) < allowed.volumes_max
        assert not state.is_growing
        assert state.now_s >= state.retry_at_s


@given(states(), limits(), st.integers(0, 100 * GIB), st.floats(0, 1e9))
def test_monotone_less_room_or_a_higher_rate_never_leads_to_less(state: State, allowed: Limits, gone: int, faster: float) -> None:
    worse = replace(state, free_bytes=max(0, state.free_bytes - gone), rate_bytes_s=state.rate_bytes_s + faster)
    before, after = decide(state, allowed), decide(worse, allowed)
    assert WEIGHT[type(after)] >= WEIGHT[type(before)]
    if isinstance(before, Grow) and isinstance(after, Grow):
        assert after.freeze >= before.freeze
        assert after.bytes >= before.bytes
    assert trigger_bytes(worse, allowed) >= trigger_bytes(state, allowed)
    assert look_again_s(worse, allowed) <= look_again_s(state, allowed)


def test_at_the_cap_it_is_looked_seldom() -> None:
    """A full disk of a job that may have no more must not cost the others a processor; while it is still being made larger, it matters."""
    full = State(now_s=1.0, volumes=(GIB,), free_bytes=0, grow_s=0.1, look_s=0.01, rate_bytes_s=1e9)
    assert look_again_s(full, Limits(cap_bytes=GIB, step_bytes=64 * MIB)) == 0.1
    assert look_again_s(full, Limits(cap_bytes=2 * GIB - 1, step_bytes=64 * MIB, unit_bytes=GIB)) == 0.1
    assert look_again_s(replace(full, is_growing=True), Limits(cap_bytes=GIB, step_bytes=64 * MIB)) < 0.01
    assert look_again_s(full, Limits(cap_bytes=2 * GIB, step_bytes=64 * MIB)) < 0.01


@given(states(), limits())
def test_what_is_given_back_is_not_wanted_again_at_once(state: State, allowed: Limits) -> None:
    decision = decide(state, allowed)
    if not isinstance(decision, Shrink):
        return
    assert allowed.can_shrink
    assert decision.index > 0, "the first one stays"
    assert state.quiet_s >= allowed.calm_s
    size = state.volumes[decision.index]
    volumes = tuple(one for index, one in enumerate(state.volumes) if index != decision.index)
    metadata = None if state.metadata_free_bytes is None else state.metadata_free_bytes - size
    after = replace(state, volumes=volumes, free_bytes=state.free_bytes - size, metadata_free_bytes=metadata)
    assert after.free_bytes >= 0
    assert isinstance(decide(after, allowed), Nothing | Shrink)


@given(states(), limits(), st.integers(0, 100 * GIB))
def test_what_is_to_be_had_below_is_taken(state: State, allowed: Limits, room: int) -> None:
    """A full place grows by what there is, when it would rather have more; it says so where there is next to nothing."""
    state = replace(state, free_bytes=0, is_growing=False, retry_at_s=0.0, grows_left=None)
    wished = decide(replace(state, room_bytes=None), allowed)
    had = decide(replace(state, room_bytes=room), allowed)
    if isinstance(wished, Grow):
        if room >= allowed.smallest_bytes:
            assert isinstance(had, Grow) and had.bytes == min(wished.bytes, room // 4096 * 4096)
        else:
            assert isinstance(had, Refuse) and "no room" in had.reason


@given(states(), limits())
def test_the_cap_is_within_reach(state: State, allowed: Limits) -> None:
    """Growing again and again ends exactly at the cap (rounded down to a block), with no more volumes than there may be."""
    if state.capacity_bytes > allowed.cap_bytes or len(state.volumes) >= (allowed.volumes_max or 100):
        return
    state = replace(state, free_bytes=0, is_growing=False, retry_at_s=0.0, metadata_free_bytes=None, room_bytes=None)
    allowed = replace(allowed, largest_bytes=max(allowed.largest_bytes, allowed.cap_bytes // 8))
    for _ in range(100):
        decision = decide(state, allowed)
        if isinstance(decision, Refuse):
            break
        assert isinstance(decision, Grow)
        grown = (*state.volumes, decision.bytes) if allowed.volumes_max is not None else (state.capacity_bytes + decision.bytes,)
        state = replace(state, volumes=grown)
    assert allowed.cap_bytes - state.capacity_bytes < max(allowed.smallest_bytes, 4096)


@given(states(), limits(), st.integers(1, 65536))
def test_volumes_that_are_whole_gibibytes(state: State, allowed: Limits, most_gib: int) -> None:
    decision = decide(state, replace(allowed, unit_bytes=GIB, smallest_bytes=GIB, most_bytes=most_gib * GIB))
    if isinstance(decision, Grow):
        assert decision.bytes % GIB == 0
        assert GIB <= decision.bytes <= most_gib * GIB
        assert state.capacity_bytes + decision.bytes <= allowed.cap_bytes


def test_what_may_grow_only_so_often_reaches_its_cap_in_as_many_steps() -> None:
    allowed = Limits(cap_bytes=8000 * GIB, step_bytes=25 * GIB, volumes_max=None, unit_bytes=GIB)
    state = State(now_s=0, volumes=(100 * GIB,), free_bytes=0, grows_left=4)
    for left in (4, 3, 2, 1):
        decision = decide(replace(state, grows_left=left), allowed)
        assert isinstance(decision, Grow)
        state = replace(state, volumes=(state.capacity_bytes + decision.bytes,))
    assert state.capacity_bytes == 8000 * GIB
    refused = decide(replace(state, volumes=(100 * GIB,), grows_left=0), allowed)
    assert refused == Refuse("it has grown as often as it may for now")


def test_each_reason_to_grow_is_enough() -> None:
    allowed = Limits(cap_bytes=1000 * GIB, step_bytes=10 * GIB)
    calm = State(now_s=0, volumes=(100 * GIB,), free_bytes=60 * GIB, metadata_free_bytes=4 * GIB, inodes=1000, inodes_free=500)
    assert decide(calm, allowed) == Nothing()
    for one, word in (
        (replace(calm, free_bytes=19 * GIB), "level"),
        (replace(calm, rate_bytes_s=1e9, grow_s=30.0), "rate"),
        (replace(calm, metadata_free_bytes=3 * GIB // 2), "metadata"),
        (replace(calm, inodes_free=49), "inodes"),
    ):
        decision = decide(one, allowed)
        assert isinstance(decision, Grow)
        assert word in decision.why
        assert not decision.freeze


def test_writers_are_held_only_as_the_last_resort() -> None:
    allowed = Limits(cap_bytes=1000 * GIB, step_bytes=10 * GIB)
    late = State(now_s=0, volumes=(100 * GIB,), free_bytes=GIB, rate_bytes_s=1e9, look_s=1.0)
    decision = decide(late, allowed)
    assert isinstance(decision, Grow)
    assert decision.freeze
    assert decide(replace(late, is_growing=True), allowed) == Freeze()
    assert decide(replace(late, is_growing=True, free_bytes=50 * GIB), allowed) == Nothing()
    assert decide(replace(late, retry_at_s=5.0), allowed) == Wait(5.0, freeze=True)
    full = decide(replace(late, volumes=(1000 * GIB,)), allowed)
    assert isinstance(full, Refuse)
    assert "cap" in full.reason
    many = decide(replace(late, volumes=(1 * GIB,) * 16), allowed)
    assert isinstance(many, Refuse)
    assert "16 volumes" in many.reason


class FalseWorld:
    """A writer with a rate per phase, and a daemon whose looks come late and whose grows take their time."""

    def __init__(self, allowed: Limits, initial: int, phases: list[tuple[float, float]], grow_s: list[float], late_s: list[float]) -> None:
        self.allowed, self.phases, self.grow_s, self.late_s = allowed, phases, grow_s, late_s
        self.volumes = [initial]
        self.used = 0.0
        self.lost = 0.0  # bytes that met a full file system
        self.now_s = 0.0
        self.is_frozen = False

    def write(self, seconds: float) -> None:
        """Time passes; the writer writes, unless it is held."""
        end_s = self.now_s + seconds
        if not self.is_frozen:
            passed = 0.0
            for lasts_s, rate in self.phases:
                overlap = max(0.0, min(end_s, passed + lasts_s) - max(self.now_s, passed))
                self.used += overlap * rate
                passed += lasts_s
        over = self.used - sum(self.volumes)
        if over > 0 and self.allowed.cap_bytes - sum(self.volumes) >= self.allowed.smallest_bytes:
            self.lost += over
        self.used = min(self.used, sum(self.volumes))
        self.now_s = end_s

    def run(self) -> None:
        meter = Meter()
        measured, looked_s, number = 1.0, 0.0, 0
        pending: list[tuple[float, int, float]] = []
        end_s = sum(lasts_s for lasts_s, _ in self.phases)
        while self.now_s < end_s + 10:
            while pending and pending[0][0] <= self.now_s:
                _, size, took_s = heapq.heappop(pending)
                self.volumes.append(size)
                measured = took_s
            meter.add(self.now_s, int(self.used))
            state = State(
                now_s=self.now_s,
                volumes=(*self.volumes, *(size for _, size, _ in pending)),
                free_bytes=int(sum(self.volumes) - self.used),
                rate_bytes_s=meter.rate_bytes_s(self.now_s),
                grow_s=measured,
                look_s=self.now_s - looked_s,
                quiet_s=meter.quiet_s(self.now_s),
                is_growing=bool(pending),
            )
            looked_s = self.now_s
            decision = decide(state, self.allowed)
            if isinstance(decision, Grow):
                took_s = self.grow_s[number % len(self.grow_s)]
                heapq.heappush(pending, (self.now_s + took_s, decision.bytes, took_s))
                self.is_frozen = self.is_frozen or decision.freeze
            elif isinstance(decision, Freeze):
                self.is_frozen = True
            elif not pending:
                self.is_frozen = False
            assert sum(state.volumes) <= self.allowed.cap_bytes
            number += 1
            pause_s = min(look_again_s(state, self.allowed), 0.01 if pending else 1.0)
            self.write(pause_s + self.late_s[number % len(self.late_s)])


@settings(max_examples=60, deadline=None)
@given(
    initial=st.integers(16 * GIB, 200 * GIB),
    phases=st.lists(st.tuples(st.floats(0.5, 20), st.sampled_from([0.0, 1e7, 2e8, 1e9, 2e9])), min_size=1, max_size=4),
    grow_s=st.lists(st.floats(0.01, 40), min_size=1, max_size=5),
    late_s=st.lists(st.floats(0, 0.02), min_size=1, max_size=7),
    cap=st.integers(200 * GIB, 4000 * GIB),
)
def test_a_writer_never_meets_a_full_disk_while_a_volume_can_be_had(
    initial: int, phases: list[tuple[float, float]], grow_s: list[float], late_s: list[float], cap: int
) -> None:
    allowed = Limits(cap_bytes=max(cap, initial), step_bytes=GIB, reserve_bytes=256 * MIB, fastest_bytes_s=2e9, can_shrink=False)
    world = FalseWorld(allowed, initial, phases, grow_s, late_s)
    world.run()
    assert world.lost == 0


@given(st.lists(st.tuples(st.floats(0.001, 3), st.integers(-(10**9), 10**9)), max_size=60))
def test_the_rate_is_never_negative_and_removals_do_not_hide_writing(moves: list[tuple[float, int]]) -> None:
    plain, only_added = Meter(), Meter()
    now_s, used, added = 0.0, 10**12, 10**12
    for seconds, moved in moves:
        now_s += seconds
        used += moved
        added += max(0, moved)
        plain.add(now_s, used)
        only_added.add(now_s, added)
    assert plain.rate_bytes_s(now_s) >= 0
    assert plain.rate_bytes_s(now_s) == only_added.rate_bytes_s(now_s)


def test_a_burst_is_seen_at_once_and_remembered_for_a_while() -> None:
    meter = Meter()
    for tick in range(100):
        meter.add(tick * 0.1, 0)
    assert meter.rate_bytes_s(9.9) == 0
    meter.add(10.0, 100_000_000)
    assert meter.rate_bytes_s(10.0) > 400e6
    for tick in range(1, 100):
        meter.add(10.0 + tick * 0.1, 100_000_000)
    assert 100e6 < meter.rate_bytes_s(20.0) < 600e6
    assert meter.quiet_s(20.0) >= 9


def test_a_writer_who_has_only_begun_is_held_while_there_is_room_for_what_it_does_until_the_next_look() -> None:
    """At several GiB a second 128 MiB are gone before a mean over a tenth of a second tells of it; then a grow is under way, or begins."""
    limits = Limits(cap_bytes=100 * GIB, step_bytes=64 * MIB)
    seen = State(
        now_s=1.0,
        volumes=(300 * MIB,),
        free_bytes=128 * MIB,
        rate_bytes_s=float(GIB),
        burst_bytes_s=6.0 * GIB,
        grow_s=0.1,
        look_s=0.01,
    )
    assert isinstance(decided := decide(seen, limits), Grow) and decided.freeze
    assert isinstance(decide(replace(seen, is_growing=True), limits), Freeze)
    calm = replace(seen, burst_bytes_s=float(GIB))
    assert isinstance(decided := decide(calm, limits), Grow) and not decided.freeze
    roomy = replace(seen, free_bytes=40 * GIB, volumes=(60 * GIB,))
    assert decide(roomy, limits) == Nothing(), "a burst alone makes nobody grow"


def test_a_burst_is_what_was_written_between_two_looks() -> None:
    meter = Meter()
    assert meter.burst_bytes_s() == 0.0
    for at_s, used in ((0.0, 0), (1.0, 0), (1.01, 64 * MIB), (1.02, 64 * MIB)):
        meter.add(at_s, used)
        if at_s == 1.01:
            assert round(meter.burst_bytes_s() / MIB) == 6400
            assert meter.rate_bytes_s(at_s) < 1000 * MIB
    assert meter.burst_bytes_s() == 0.0
