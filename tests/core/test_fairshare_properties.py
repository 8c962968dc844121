"""What holds for fair share whatever the jobs: priorities within a share, room, the reservation, and in the long run the weights."""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from plain_yard import NOW, PlainYard

from batchyard.core import fairshare, scaling
from batchyard.core.scheduling import Rules, plan
from batchyard.model.capacity import Resources
from batchyard.model.fairshare import SchedulingPolicy, ShareUsage, Standing

SHARES = st.sampled_from(["a", "b", "c"])
NEEDS = st.tuples(st.sampled_from([0.25, 1, 2, 5, 9]), st.sampled_from([64, 1024, 9000]))


@st.composite
def yards(draw: st.DrawFn) -> PlainYard:
    """Two fair-share queues over environments that they share."""
    yard = PlainYard(Resources(8, 8192))
    for name in ("x", "y"):
        yard.environment(name, max_vcpus=draw(st.integers(6, 8)))
    for number in range(draw(st.integers(0, 3))):
        runs = [(1.0, 64)] if draw(st.booleans()) else []
        yard.instance(f"i-{number}", (2, 2048), draw(st.sampled_from(["x", "y"])), runs=runs)
    for queue in ("p", "q"):
        yard.queue(
            queue, draw(st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2, unique=True)), priority=draw(st.integers(1, 2))
        )
        yard.fair(queue, reservation=draw(st.sampled_from([0, 0, 25, 50, 99])))
        for share in "abc":
            yard.share(
                share,
                queue,
                weight=draw(st.sampled_from([0.0001, 0.5, 1.0, 999.0])),
                used=draw(st.floats(0, 1e6)),
                held=draw(st.sampled_from([0, 0.25, 2])),
                active=draw(st.booleans()),
            )
        for needs in draw(st.lists(NEEDS, max_size=8)):
            yard.wait(needs, queue, share=draw(SHARES), priority=draw(st.integers(0, 3)))
    return yard


@settings(max_examples=80)
@given(yards())
def test_every_job_comes_once_and_those_of_a_share_by_priority_then_submission(yard: PlainYard) -> None:
    for queue in ("p", "q"):
        jobs = list(yard.ready(queue))
        assert sorted(w.job_id for w in jobs) == sorted(w.job_id for w in yard.waiting.get(queue, []))
        by_share = defaultdict(list)
        for waiting in jobs:
            by_share[waiting.spec.share].append((-waiting.spec.priority, int(waiting.job_id[2:])))
        assert all(keys == sorted(keys) for keys in by_share.values())


@settings(max_examples=80)
@given(yards(), st.booleans())
def test_a_plan_keeps_to_the_room_the_reservation_and_the_order(yard: PlainYard, pass_impossible: bool) -> None:
    made = plan(yard, NOW, Rules(pass_impossible))
    free = {id: yard.free(id) for id in yard.instances}
    for waiting, id in made.placements:
        assert waiting.spec.needs.fits(free[id])
        free[id] = free[id].minus(waiting.spec.needs)
    for name, environment in yard.environments.items():
        starting = sum(s.room.vcpus for s in made.starts if s.environment == name)
        assert not starting or starting + sum(i.room.vcpus for i in yard.environment_instances(name).values()) <= environment.max_vcpus
    for queue in yard.queues.values():
        allowed = fairshare.allowance(yard, queue)
        placed = [w for w, _ in made.placements if w.spec.queue == queue.arn]
        assert not placed or sum(w.spec.needs.vcpus for w in placed) <= allowed.left_vcpus
        passed = {
            w.spec.needs
            for w in yard.waiting.get(queue.arn, [])
            if pass_impossible and (w.spec.needs.vcpus > allowed.most_vcpus or not scaling.is_possible(yard, queue, w.spec.needs))
        }
        order = [w.job_id for w in yard.ready(queue.arn, passed)]
        assert order[: len(placed)] == [w.job_id for w in placed]
        assert made.blocked.get(queue.arn) == (order[len(placed)] if len(order) > len(placed) else None)


@settings(max_examples=50)
@given(st.dictionaries(st.from_regex(r"[ab]{1,3}\*?", fullmatch=True), st.none(), max_size=6))
def test_identifiers_overlap_exactly_if_some_share_would_have_two_weights(distribution: dict[str, None]) -> None:
    shares = [a + b + c + d for a in "ab" for b in ("", "a", "b") for c in ("", "a", "b") for d in ("", "a")]

    def matches(entry: str, share: str) -> bool:
        return share == entry or (entry.endswith("*") and share.startswith(entry[:-1]))

    several = any(sum(matches(entry, share) for entry in distribution) > 1 for share in shares)
    assert (fairshare.overlapping(distribution) is not None) == several


# --- the long run ---


class Kind(NamedTuple):
    """What a share's jobs are like: it always has more of them."""

    weight: float
    vcpus: int
    run_s: int


KINDS = st.builds(Kind, st.sampled_from([0.25, 0.5, 1.0, 2.0]), st.sampled_from([1, 1, 2, 3]), st.sampled_from([1, 7, 20, 60]))
ROOM = 12


def long_run(kinds: dict[str, Kind], policy: SchedulingPolicy, for_s: int) -> tuple[dict[str, float], dict[str, int]]:
    """vCPU-seconds per share, and the longest time that each went without a job being started while it waited, in seconds."""
    window = fairshare.window_s(policy)
    usage = {name: ShareUsage(queue="q", share=name) for name in kinds}
    held, served, begun, longest = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
    running: list[tuple[int, str]] = []
    now_s = 0

    def burden(name: str) -> float:
        used = fairshare.used_by(usage[name], held[name], now_s * 1000, window)
        return fairshare.burden(Standing(name, kinds[name].weight, used, held[name], True, fairshare.expected_run_s(usage[name], window)))

    while now_s < for_s:
        while True:
            name = min((burden(n), n) for n in kinds)[1]
            if sum(held.values()) + kinds[name].vcpus > ROOM:
                break
            usage[name] = fairshare.changed(usage[name], held[name], kinds[name].vcpus, now_s * 1000, window)
            held[name] += kinds[name].vcpus
            longest[name] = max(longest[name], now_s - begun[name])
            begun[name] = now_s
            heapq.heappush(running, (now_s + kinds[name].run_s, name))
        now_s = running[0][0]
        while running and running[0][0] == now_s:
            name = heapq.heappop(running)[1]
            usage[name] = fairshare.changed(usage[name], held[name], -kinds[name].vcpus, now_s * 1000, window)
            usage[name] = fairshare.ran(usage[name], kinds[name].run_s)
            held[name] -= kinds[name].vcpus
            served[name] += kinds[name].vcpus * kinds[name].run_s
    return served, longest


@settings(max_examples=25, deadline=None)
@given(st.lists(KINDS, min_size=2, max_size=4), st.sampled_from([0, 3600]))
def test_in_the_long_run_vcpu_time_goes_by_weights_and_nobody_starves(kinds: list[Kind], decay_s: int) -> None:
    policy = SchedulingPolicy(arn="p", name="p", account="1", region="r", decay_s=decay_s)
    named = {f"s{number}": kind for number, kind in enumerate(kinds)}
    served, longest = long_run(named, policy, 6000)
    total, parts = sum(served.values()), sum(1 / kind.weight for kind in kinds)
    for name, kind in named.items():
        due = total / kind.weight / parts
        assert abs(served[name] - due) < 0.1 * due + 0.01 * total, (served, named)
        assert longest[name] <= 60 * 8 * kind.vcpus, "nobody waits much longer than others take to run"
