"""Where the nodes of a multi-node parallel job find room, what is started for them, and what is kept from whom."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from plain_yard import CARVED, HOST, NOW, PlainYard, exact

from batchyard.core import gang_reasons, gangs, packing, scheduling
from batchyard.core.scheduling import Plan, Rules
from batchyard.model.capacity import InstanceState, Platform, Resources, State
from batchyard.model.job import NodeGroup, Specification
from batchyard.model.view import Waiting

SMALL = Resources(1, 100)
LARGE = Resources(3, 300)


def wait(yard: PlainYard, *needs: Resources, queue: str = "q", name: str = "", instance_type: str = "") -> Specification:
    """A multi-node job at the end of a queue."""
    plain = yard.wait(needs[0], queue, name)
    nodes = tuple(NodeGroup(first=n, last=n, needs=one, instance_type=instance_type) for n, one in enumerate(needs))
    spec = replace(plain.spec, nodes=nodes)
    yard.waiting[queue][-1] = Waiting(plain.job_id, spec, None, 1)
    return spec


def plan(yard: PlainYard, **rules: Any) -> Plan:
    return scheduling.plan(yard, NOW, Rules(**rules))


def test_an_instance_each_where_there_are_enough_else_shared() -> None:
    rooms = {"a": Resources(4, 400), "b": Resources(1, 100), "c": Resources(1, 100)}
    assert sorted(gangs.seat([SMALL] * 3, rooms)[0]) == ["a", "b", "c"]
    seats, left = gangs.seat([SMALL] * 4, rooms)
    assert sorted(seats) == ["a", "a", "b", "c"] and left["a"] == Resources(2, 200)
    seats, _ = gangs.seat([SMALL, LARGE, LARGE], rooms)
    assert seats.count("") == 1, "one of the large ones finds no room"
    assert gangs.seat([SMALL, LARGE], {"a": LARGE, "b": SMALL})[0] == ["b", "a"], "large ones choose first"


def test_ways_to_start_instances() -> None:
    limits = packing.Limits(4, Resources(4, 1000))
    each, shared, *_ = gangs.starts(CARVED, [SMALL] * 3, limits)
    assert [room for _, room in each] == [SMALL] * 3
    assert [room for _, room in shared] == [Resources(3, 300)]
    (only,) = gangs.starts((exact("big", 4, 1000),), [SMALL] * 3, limits)
    assert [shape.name for shape, _ in only] == ["big"], "one each would be too much"
    assert gangs.starts(CARVED, [SMALL] * 5, limits) == []
    both = (exact("small", 2, 150), exact("big", 4, 1000))
    assert [[shape.name for shape, _ in way] for way in gangs.starts(both, [SMALL] * 3, limits)] == [["big"]], "small ones waste too much"


def test_all_or_none_are_placed() -> None:
    yard = PlainYard()
    yard.environment()
    yard.queue()
    job = wait(yard, SMALL, SMALL)
    yard.instance("i-1", SMALL)
    made = plan(yard)
    assert (made.gangs, made.kept, [(w.room, w.launched_for) for w in made.starts]) == ([], {"i-1": "q"}, [(SMALL, "q")])
    yard.instance("i-2", SMALL)
    made = plan(yard)
    ((waiting, instances),) = made.gangs
    assert (waiting.spec, sorted(instances), made.starts, made.stops) == (job, ["i-1", "i-2"], [], [])


def test_what_is_kept_is_neither_stopped_nor_given_to_those_behind() -> None:
    yard = PlainYard(Resources(2, 1000))
    yard.environment()
    yard.queue(priority=2)
    yard.queue("behind", priority=1)
    wait(yard, SMALL, SMALL)
    yard.wait(SMALL, "behind")
    yard.instance("i-1", SMALL, idle_since_ms=0)
    yard.instance("i-2", SMALL, runs=[SMALL])
    made = plan(yard, idle_s=0.0)
    assert (made.placements, made.stops, made.kept) == ([], [], {"i-1": "q"})


def test_a_queue_that_comes_first_takes_back_what_was_kept() -> None:
    yard = PlainYard(Resources(4, 1000))
    yard.environment()
    yard.environment("other")
    yard.queue("first", ("other",), priority=2)
    yard.queue(priority=1)
    yard.wait(Resources(3, 100), "first")
    wait(yard, SMALL, SMALL, SMALL)
    yard.instance("i-1", SMALL)
    yard.instance("i-2", SMALL)
    yard.instance("i-3", SMALL, "other", runs=[SMALL])
    made = plan(yard)
    assert set(made.kept) == {"i-1", "i-2"} and set(made.stops) == {"i-1", "i-2"}


def test_all_that_is_missing_is_started_or_nothing() -> None:
    yard = PlainYard(Resources(4, 1000))
    yard.environment()
    yard.queue()
    wait(yard, *[SMALL] * 4)
    yard.instance("i-1", LARGE, runs=[LARGE])
    assert plan(yard).starts == [], "one of four would fit"
    del yard.instances["i-1"], yard.running["i-1"]
    assert [wish.room for wish in plan(yard).starts] == [SMALL] * 4
    for n in range(3):
        yard.instance(f"i-{n}", SMALL, state=InstanceState.PENDING, launched_for="q")
    assert [wish.room for wish in plan(yard).starts] == [SMALL], "three are on their way"


@pytest.mark.parametrize(
    "unfit",
    [{"spot": True}, {"platform": Platform.FARGATE}, {"kind": "UNMANAGED"}, {"state": State.DISABLED}, {"max_vcpus": 1}],
    ids=lambda change: next(iter(change)),
)
def test_environments_that_cannot_take_nodes_are_passed_over(unfit: dict[str, Any]) -> None:
    yard = PlainYard()
    yard.environment("unfit", **unfit)
    yard.environment()
    queue = yard.queue(environments=("unfit", "ce"))
    spec = wait(yard, SMALL, SMALL)
    chosen = gangs.environment_of(yard, queue, spec)
    assert chosen is not None and chosen.name == "ce"
    assert {wish.environment for wish in plan(yard).starts} == {"ce"}
    named = [reason.environment for reason in gang_reasons.per_environment(yard, queue, spec, {})]
    assert named == ["unfit", "ce"]


def test_a_full_environment_is_not_passed_over() -> None:
    yard = PlainYard()
    yard.environment(max_vcpus=2)
    yard.environment("later")
    yard.queue(environments=("ce", "later"))
    wait(yard, SMALL, SMALL)
    yard.instance("i-1", SMALL, runs=[SMALL])
    made = plan(yard)
    assert (made.starts, made.blocked) == ([], {"q": "q-0"})


def test_a_named_type_and_what_stands_in_for_it() -> None:
    yard = PlainYard(Resources(16, 64000))
    yard.environment(shapes=(exact("m5.large", 2, 8192), exact("c5.large", 2, 4096)))
    yard.environment("cut")
    queue = yard.queue(environments=("ce",))
    spec = wait(yard, SMALL, SMALL, instance_type="c5.large")
    assert {wish.shape.name for wish in plan(yard).starts} == {"c5.large"}
    yard.instance("i-1", Resources(2, 8192), type_name="m5.large")
    assert plan(yard).kept == {}
    unknown = wait(yard, SMALL, instance_type="p4d.24xlarge")
    assert gangs.environment_of(yard, queue, unknown) is None
    assert gangs.environment_of(yard, yard.queue("q2", ("cut",)), unknown) is not None
    (reason,) = gang_reasons.per_environment(yard, queue, unknown, {})
    assert reason.shortfall == "has no instance type p4d.24xlarge" and spec.vcpus == 2


def test_a_job_that_cannot_be_lets_others_pass_only_in_profile_open() -> None:
    yard = PlainYard()
    yard.environment(max_vcpus=2)
    yard.queue()
    spec = wait(yard, *[SMALL] * 3)
    yard.wait(SMALL)
    yard.instance("i-1", SMALL)
    assert [w.job_id for w, _ in plan(yard).placements] == ["q-1"]
    assert plan(yard, pass_impossible=False).placements == []
    assert gang_reasons.aws_words(yard, yard.queues["q"], spec).startswith("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE")
    too_much = wait(yard, *[Resources(HOST.vcpus, 100)] * 2)
    yard.environment(max_vcpus=100)
    assert gang_reasons.aws_words(yard, yard.queues["q"], too_much).startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
