"""How many instances there should be: demand, minvCpus and desiredvCpus, bounds, and idle ones."""

from __future__ import annotations

from typing import Any

import pytest
from plain_yard import HOST, NOW, PlainYard, exact

from batchyard.core.scheduling import LOOK_AHEAD, Plan, Rules, plan
from batchyard.model.capacity import Health, InstanceState, Resources, State

RULES = Rules(idle_s=60)


def starts(made: Plan) -> list[tuple[str, float, int, str]]:
    return [(s.environment, s.room.vcpus, s.room.memory_mib, s.launched_for) for s in made.starts]


def yard_with(**environment: Any) -> PlainYard:
    yard = PlainYard()
    yard.environment(**environment)
    yard.queue()
    return yard


# --- demand ---


def test_one_slice_for_several_waiting_jobs() -> None:
    yard = yard_with()
    for _ in range(3):
        yard.wait((1, 1000))
    assert starts(plan(yard, NOW, RULES)) == [("ce", 3, 3000, "q")]


def test_jobs_behind_the_head_count_as_demand() -> None:
    yard = yard_with()
    for _ in range(7):
        yard.wait((1, 1000))
    assert starts(plan(yard, NOW, RULES)) == [("ce", 4, 4000, "q"), ("ce", 3, 3000, "q")]


def test_so_many_behind_the_head_and_no_more() -> None:
    yard = PlainYard(host=None)
    yard.environment(max_vcpus=10_000)
    yard.queue()
    for _ in range(LOOK_AHEAD + 50):
        yard.wait((1, 10))
    assert sum(s.room.vcpus for s in plan(yard, NOW, RULES).starts) == LOOK_AHEAD + 1


def test_what_is_coming_is_not_started_twice() -> None:
    yard = yard_with()
    yard.instance("i-1", (2, 2000), state=InstanceState.PENDING, launched_for="q")
    yard.wait((1, 1000))
    yard.wait((1, 1000))
    assert starts(plan(yard, NOW, RULES)) == []
    yard.wait((1, 1000))
    assert starts(plan(yard, NOW, RULES)) == [("ce", 1, 1000, "q")]


@pytest.mark.parametrize("change", [{"launched_for": "other"}, {"generation": 1}, {"reclaim_at_ms": NOW}])
def test_what_is_coming_for_others_or_going_is_not_counted_on(change: dict[str, Any]) -> None:
    yard = yard_with()
    yard.queue("other")
    yard.instance("i-1", (2, 2000), **{"state": InstanceState.PENDING, "launched_for": "q", **change})
    yard.wait((1, 1000))
    assert len(starts(plan(yard, NOW, RULES))) == 1


def test_what_comes_for_the_minimum_is_for_everybody() -> None:
    yard = yard_with()
    yard.instance("i-1", (2, 2000), state=InstanceState.PENDING)
    yard.wait((1, 1000))
    assert starts(plan(yard, NOW, RULES)) == []


def test_never_above_maxvcpus_and_never_above_the_host() -> None:
    yard = yard_with(max_vcpus=5)
    for _ in range(9):
        yard.wait((1, 100))
    assert sum(s.room.vcpus for s in plan(yard, NOW, RULES).starts) == 5
    yard = yard_with(max_vcpus=500)
    for _ in range(9):
        yard.wait((3, 100))
    assert [s.room.vcpus for s in plan(yard, NOW, RULES).starts] == [3, 3]
    yard = yard_with()
    for _ in range(9):
        yard.wait((0.25, HOST.memory_mib // 3))
    assert sum(s.room.memory_mib for s in plan(yard, NOW, RULES).starts) <= HOST.memory_mib


def test_an_exact_host_fit() -> None:
    yard = yard_with(max_vcpus=8)
    yard.wait(HOST)
    assert starts(plan(yard, NOW, RULES)) == [("ce", HOST.vcpus, HOST.memory_mib, "q")]


def test_the_second_environment_when_the_first_is_full_or_too_small() -> None:
    yard = PlainYard(host=None)
    yard.environment("small", shapes=[exact("large", 2, 4096)], max_vcpus=2)
    yard.environment("big", shapes=[exact("xlarge", 4, 8192)])
    yard.queue(environments=("small", "big"))
    yard.wait((3, 100))
    assert starts(plan(yard, NOW, RULES)) == [("big", 4, 8192, "q")]
    yard.waiting["q"] = []
    yard.wait((2, 100))
    yard.wait((2, 100))
    assert starts(plan(yard, NOW, RULES)) == [("small", 2, 4096, "q"), ("big", 4, 8192, "q")]


@pytest.mark.parametrize("change", [{"state": State.DISABLED}, {"health": Health.INVALID}, {"health": Health.DELETING}])
def test_nothing_is_started_in_a_closed_environment(change: dict[str, Any]) -> None:
    yard = yard_with(**change)
    yard.wait((1, 100))
    assert starts(plan(yard, NOW, RULES)) == []


def test_on_demand_before_spot_among_equals() -> None:
    yard = PlainYard()
    yard.environment("spot", spot=True)
    yard.environment("ondemand")
    yard.queue("a", ("spot",), priority=1)
    yard.queue("b", ("ondemand",), priority=1)
    yard.wait((6, 100), "a")
    yard.wait((6, 100), "b")
    assert [s.environment for s in plan(yard, NOW, RULES).starts] == ["ondemand"]
    yard.queue("a", ("spot",), priority=2)
    assert [s.environment for s in plan(yard, NOW, RULES).starts] == ["spot"]


# --- minimum and desired ---


def test_minvcpus_are_started_without_a_job_and_share_the_hosts_memory() -> None:
    assert starts(plan(yard_with(min_vcpus=6), NOW, RULES)) == [("ce", 4, 8192, ""), ("ce", 2, 4096, "")]


def test_minvcpus_without_a_known_host() -> None:
    yard = PlainYard(host=None)
    yard.environment(min_vcpus=2)
    assert starts(plan(yard, NOW, RULES)) == [("ce", 2, 8192, "")]


def test_minvcpus_of_exact_types() -> None:
    yard = yard_with(shapes=[exact("xlarge", 4, 8192)], min_vcpus=2)
    assert starts(plan(yard, NOW, RULES)) == [("ce", 4, 8192, "")]
    yard = yard_with(shapes=[exact("r-large", 2, 12288)], min_vcpus=4)
    assert starts(plan(yard, NOW, RULES)) == [("ce", 2, 12288, "")], "more does not fit the host"


def test_minvcpus_count_what_stays_and_what_is_planned_for_jobs() -> None:
    yard = yard_with(min_vcpus=5)
    yard.instance("i-1", (1, 100))
    yard.instance("i-2", (1, 100), state=InstanceState.STOPPING)
    yard.instance("i-3", (1, 100), reclaim_at_ms=NOW)
    yard.wait((2, 200))
    assert starts(plan(yard, NOW, RULES))[0] == ("ce", 2, 200, "q")
    assert sum(s[1] for s in starts(plan(yard, NOW, RULES))) == 4


def test_the_minimum_takes_the_rest_of_the_host_and_not_slivers() -> None:
    yard = yard_with(min_vcpus=4)
    yard.environment("other")
    yard.instance("i-1", (5, 16384), "other", runs=[(5, 16384)])
    assert starts(plan(yard, NOW, RULES)) == [], "no memory is left"
    yard.instance("i-1", (5, 16000), "other", runs=[(5, 16000)])
    assert starts(plan(yard, NOW, RULES)) == [("ce", 3, 384, "")]


@pytest.mark.parametrize(
    ("change", "vcpus"),
    [
        ({"state": State.DISABLED}, 2),
        ({"health": Health.INVALID}, 0),
        ({"health": Health.DELETING}, 0),
        ({"kind": "UNMANAGED"}, 0),
        ({"max_vcpus": 1}, 1),
        ({"wanted_vcpus": 4}, 4),
        ({"wanted_vcpus": 4, "state": State.DISABLED}, 2),
        ({"wanted_vcpus": 9, "max_vcpus": 3}, 3),
    ],
)
def test_minimum_and_desired_by_state(change: dict[str, Any], vcpus: float) -> None:
    yard = yard_with(**{"min_vcpus": 2, **change})
    assert sum(s.room.vcpus for s in plan(yard, NOW, RULES).starts) == vcpus


# --- idle instances ---


def test_idle_instances_stop_after_their_time_and_tell_when() -> None:
    yard = yard_with()
    yard.instance("i-1", (1, 100), idle_since_ms=NOW - 20_000)
    yard.instance("i-2", (1, 100), idle_since_ms=NOW - 10_000)
    yard.instance("i-3", (1, 100))
    made = plan(yard, NOW, RULES)
    assert (made.stops, made.wake_at_ms) == ([], NOW + 40_000)
    made = plan(yard, NOW + 40_000, RULES)
    assert (made.stops, made.wake_at_ms) == (["i-1"], NOW + 50_000)


def test_an_environment_has_its_own_idle_time() -> None:
    yard = yard_with(idle_s=0.0)
    yard.instance("i-1", (1, 100))
    assert plan(yard, NOW, RULES).stops == ["i-1"]


def test_idle_instances_never_go_below_the_minimum() -> None:
    yard = yard_with(min_vcpus=3)
    for number in range(3):
        yard.instance(f"i-{number}", (2, 100), idle_since_ms=0)
    assert plan(yard, NOW, RULES).stops == ["i-0"]


def test_busy_and_newly_busy_instances_stay() -> None:
    yard = yard_with(idle_s=0.0)
    yard.instance("i-1", (1, 100), runs=[(1, 100)], idle_since_ms=0)
    yard.instance("i-2", (1, 100), idle_since_ms=0)
    yard.instance("i-3", (1, 100), state=InstanceState.PENDING)
    yard.wait((1, 100))
    made = plan(yard, NOW, RULES)
    assert [i for _, i in made.placements] == ["i-2"]
    assert made.stops == []


@pytest.mark.parametrize("state", [InstanceState.RUNNING, InstanceState.PENDING])
@pytest.mark.parametrize(
    ("environment", "instance"),
    [
        ({"health": Health.DELETING}, {}),
        ({"generation": 1}, {}),
        ({}, {"drained": True, "reclaim_at_ms": NOW + 1_800_000}),
        ({}, {"reclaim_at_ms": NOW + 120_000}),
    ],
)
def test_unwanted_ones_without_work_go_at_once(environment: dict[str, Any], instance: dict[str, Any], state: InstanceState) -> None:
    yard = yard_with(min_vcpus=1, **environment)
    yard.instance("i-1", (1, 100), state=state, idle_since_ms=NOW, **instance)
    yard.instance("i-2", (1, 100), state=InstanceState.STOPPING, **instance)
    yard.instance("i-3", (1, 100), runs=[(1, 1)], **instance)
    assert plan(yard, NOW, RULES).stops == ["i-1"]


def test_quarters_of_a_vcpu_share_a_slice() -> None:
    yard = yard_with(max_vcpus=1)
    for _ in range(9):
        yard.wait((0.25, 100))
    assert [s.room for s in plan(yard, NOW, RULES).starts] == [Resources(1, 400)]
