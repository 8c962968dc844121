"""The main cycle: order among queues and in a queue, the order of environments, spill, and heads that block."""

from __future__ import annotations

from typing import Any

import pytest
from plain_yard import HOST, NOW, PlainYard

from batchyard.core import scheduling
from batchyard.core.scheduling import Plan, Rules, plan
from batchyard.model.capacity import Health, InstanceState, State

OPEN, AWS = Rules(pass_impossible=True), Rules(pass_impossible=False)


def placed(made: Plan) -> dict[str, str]:
    return {(w.job_id if w.child is None else f"{w.job_id}:{w.child}"): instance for w, instance in made.placements}


def test_nothing_to_do() -> None:
    made = plan(PlainYard(), NOW, OPEN)
    assert (made.placements, made.starts, made.stops, made.reclaims, made.blocked, made.wake_at_ms) == ([], [], [], [], {}, None)


def test_an_exact_fit_is_placed_and_one_mib_more_is_not() -> None:
    yard = PlainYard()
    yard.environment()
    yard.queue()
    yard.instance("i-1", (2, 1024))
    yard.wait((2, 1024))
    assert placed(plan(yard, NOW, OPEN)) == {"q-0": "i-1"}
    yard.waiting.clear()
    yard.wait((2, 1025))
    assert placed(plan(yard, NOW, OPEN)) == {}


def test_first_come_first_served_and_a_head_without_room_blocks() -> None:
    yard = PlainYard(host=None)
    yard.environment()
    yard.queue()
    yard.instance("i-1", (4, 4096))
    for vcpus in (2, 3, 1):
        yard.wait((vcpus, 100))
    made = plan(yard, NOW, OPEN)
    assert placed(made) == {"q-0": "i-1"}
    assert made.blocked == {"q": "q-1"}, "the third would fit, but it came later"


def test_children_of_an_array_are_named_one_by_one() -> None:
    yard = PlainYard()
    yard.environment()
    yard.queue()
    yard.instance("i-1", (1, 100))
    yard.wait((1, 100), name="array", child=3)
    yard.wait((1, 100), name="array", child=4)
    made = plan(yard, NOW, OPEN)
    assert placed(made) == {"array:3": "i-1"}
    assert made.blocked == {"q": "array:4"}


def test_queues_by_priority_and_a_blocked_one_does_not_hold_up_the_next() -> None:
    yard = PlainYard()
    yard.environment()
    yard.queue("low", priority=1)
    yard.queue("high", priority=9)
    yard.instance("i-1", (2, 100))
    yard.wait((2, 10), "low")
    yard.wait((2, 10), "high")
    assert placed(plan(yard, NOW, OPEN)) == {"high-0": "i-1"}
    yard.waiting["high"] = []
    yard.wait((4, 10), "high")
    made = plan(yard, NOW, OPEN)
    assert placed(made) == {"low-0": "i-1"}
    assert made.blocked == {"high": "high-0"}


def test_environments_in_the_order_of_the_queue() -> None:
    yard = PlainYard()
    yard.environment("first")
    yard.environment("second")
    yard.queue(environments=("first", "gone", "second"))
    yard.instance("i-2", (2, 100), "second")
    yard.instance("i-1", (2, 200), "first")
    yard.wait((1, 50))
    yard.wait((1, 50))
    yard.wait((1, 50))
    assert placed(plan(yard, NOW, OPEN)) == {"q-0": "i-1", "q-1": "i-1", "q-2": "i-2"}


@pytest.mark.parametrize(
    "change",
    [
        {"state": InstanceState.PENDING},
        {"state": InstanceState.STOPPING},
        {"reclaim_at_ms": NOW + 1},
        {"drained": True},
        {"generation": 3},
    ],
)
def test_instances_that_take_no_jobs(change: dict[str, Any]) -> None:
    yard = PlainYard()
    yard.environment()
    yard.queue()
    yard.instance("i-1", (2, 1024), **change)
    yard.wait((1, 100))
    assert placed(plan(yard, NOW, OPEN)) == {}


@pytest.mark.parametrize(
    ("change", "takes"),
    [
        ({"state": State.DISABLED}, False),
        ({"health": Health.INVALID}, False),
        ({"health": Health.DELETING}, False),
        ({"health": Health.UPDATING}, True),
    ],
)
def test_environments_that_take_no_jobs(change: dict[str, Any], takes: bool) -> None:
    yard = PlainYard()
    yard.environment(**change)
    yard.queue()
    yard.instance("i-1", (2, 1024))
    yard.wait((1, 100))
    assert bool(placed(plan(yard, NOW, OPEN))) is takes


def test_an_instance_whose_environment_is_gone_takes_no_jobs() -> None:
    yard = PlainYard()
    yard.environment()
    yard.environment("other")
    yard.queue()
    yard.instance("i-1", (2, 1024), "other")
    del yard.environments["other"]
    yard.wait((1, 100))
    assert placed(plan(yard, NOW, OPEN)) == {}


# --- jobs that can never run ---


def impossible_yard() -> PlainYard:
    yard = PlainYard()
    yard.environment()
    yard.queue()
    yard.instance("i-1", (2, 1024))
    yard.wait((HOST.vcpus + 1, 10))
    yard.wait((1, HOST.memory_mib + 1))
    yard.wait((HOST.vcpus + 1, 10))
    yard.wait((1, 10))
    return yard


def test_impossible_jobs_let_others_pass_in_profile_open() -> None:
    made = plan(impossible_yard(), NOW, OPEN)
    assert placed(made) == {"q-3": "i-1"}
    assert not made.blocked and not made.starts


def test_an_impossible_head_blocks_in_profile_aws() -> None:
    made = plan(impossible_yard(), NOW, AWS)
    assert placed(made) == {}
    assert made.blocked == {"q": "q-0"}
    assert not made.starts and not made.stops and not made.reclaims


def test_one_cycle_looks_past_so_many_kinds_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "MAX_PASSED", 1)
    yard = impossible_yard()
    assert placed(plan(yard, NOW, OPEN)) == {}
    del yard.waiting["q"][1]  # two are left, of one kind
    assert placed(plan(yard, NOW, OPEN)) == {"q-3": "i-1"}


def test_a_job_for_a_disabled_environment_is_possible_and_blocks() -> None:
    yard = PlainYard()
    yard.environment(state=State.DISABLED)
    yard.queue()
    yard.wait((1, 10))
    assert plan(yard, NOW, OPEN).blocked == {"q": "q-0"}


# --- spill ---


def spill_yard(**queue: Any) -> PlainYard:
    yard = PlainYard(host=None)
    yard.environment("spot", spot=True, max_vcpus=2)
    yard.environment("ondemand")
    yard.queue("q", ("spot", "ondemand"), priority=5, spill_idle=True)
    yard.queue("other", ("ondemand",), **queue)
    yard.wait((2, 10))
    yard.wait((2, 10))
    return yard


def test_spill_idle_takes_room_that_runs_but_starts_nothing_there() -> None:
    yard = spill_yard()
    made = plan(yard, NOW, OPEN)
    assert [s.environment for s in made.starts] == ["spot"]
    yard.instance("i-0", (2, 100), "spot", runs=[(2, 10)])
    yard.instance("i-1", (2, 100), "ondemand", launched_for="other")
    made = plan(yard, NOW, OPEN)
    assert placed(made) == {"q-0": "i-1"}
    assert not made.starts, "the spot environment is full, and the other is not scaled for this queue"


def test_spill_scale_starts_in_the_next_environment() -> None:
    yard = PlainYard(host=None)
    yard.environment("spot", spot=True, max_vcpus=2)
    yard.environment("ondemand")
    yard.queue("q", ("spot", "ondemand"))
    for _ in range(2):
        yard.wait((2, 10))
    made = plan(yard, NOW, OPEN)
    assert [(s.environment, s.room.vcpus) for s in made.starts] == [("spot", 2), ("ondemand", 2)]


@pytest.mark.parametrize("priority", [1, 9])
def test_spill_idle_leaves_an_instance_to_the_queue_that_waits_for_it(priority: int) -> None:
    """Whether that queue's turn in the cycle comes before or after."""
    yard = spill_yard(priority=priority)
    yard.wait((4, 10), "other")
    yard.instance("i-1", (3, 100), "ondemand", launched_for="other")
    assert placed(plan(yard, NOW, OPEN)) == {}
    yard.waiting["other"] = []
    assert placed(plan(yard, NOW, OPEN)) == {"q-0": "i-1"}


def test_spill_idle_takes_what_a_served_queue_leaves() -> None:
    yard = spill_yard(priority=9)
    yard.wait((1, 10), "other")
    yard.instance("i-1", (3, 100), "ondemand", launched_for="other")
    assert placed(plan(yard, NOW, OPEN)) == {"other-0": "i-1", "q-0": "i-1"}


@pytest.mark.parametrize("launched_for", ["", "q", "a queue that is gone"])
def test_spill_idle_takes_what_nobody_else_called_for(launched_for: str) -> None:
    yard = spill_yard()
    yard.instance("i-1", (2, 100), "ondemand", launched_for=launched_for)
    assert placed(plan(yard, NOW, OPEN)) == {"q-0": "i-1"}
