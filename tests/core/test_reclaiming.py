"""Room for a head: idle slices first, Spot only for on-demand work, only when it suffices, and kept for whom it was made."""

from __future__ import annotations

from plain_yard import NOW, PlainYard, exact

from batchyard.core.scheduling import Plan, Rules, plan
from batchyard.model.capacity import InstanceState, Resources, State

RULES = Rules(idle_s=600)


def two_pools(spot_priority: int = 1) -> PlainYard:
    """A host of 8 vCPUs with a Spot and an on-demand environment, a queue for each."""
    yard = PlainYard(Resources(8, 8000))
    yard.environment("spot", spot=True)
    yard.environment("ondemand")
    yard.queue("cheap", ("spot",), priority=spot_priority)
    yard.queue("sure", ("ondemand",), priority=1)
    return yard


def taken(made: Plan) -> tuple[list[str], list[str]]:
    return made.stops, made.reclaims


def test_idle_slices_go_for_a_job_that_needs_their_room() -> None:
    yard = two_pools()
    yard.instance("i-1", (2, 1000), "ondemand", runs=[(1, 10)])
    yard.instance("i-2", (3, 1000), "spot")
    yard.instance("i-3", (3, 1000), "ondemand")
    yard.wait((4, 10), "sure")
    assert taken(plan(yard, NOW, RULES)) == (["i-3", "i-2"], []), "the environment's own first"


def test_nothing_is_taken_if_all_of_it_would_not_do() -> None:
    yard = two_pools()
    yard.instance("i-1", (6, 1000), "ondemand", runs=[(1, 10)])
    yard.instance("i-2", (1, 1000), "ondemand")
    yard.instance("i-3", (1, 1000), "spot", runs=[(1, 10)])
    yard.wait((3, 10), "sure")
    assert taken(plan(yard, NOW, RULES)) == ([], [])


def test_spot_work_goes_for_on_demand_work_with_a_notice() -> None:
    yard = two_pools()
    yard.instance("i-1", (8, 1000), "spot", runs=[(8, 10)])
    yard.wait((1, 10), "sure")
    assert taken(plan(yard, NOW, RULES)) == ([], ["i-1"])


def test_spot_work_does_not_go_for_spot_work() -> None:
    yard = two_pools()
    yard.instance("i-1", (8, 1000), "spot", runs=[(8, 10)])
    yard.wait((1, 10), "cheap")
    assert taken(plan(yard, NOW, RULES)) == ([], [])


def test_spot_work_of_a_queue_that_comes_first_does_not_go() -> None:
    """It would take the room back at once, and die again and again."""
    yard = two_pools(spot_priority=2)
    yard.instance("i-1", (8, 1000), "spot", runs=[(8, 10)], launched_for="cheap")
    yard.wait((1, 10), "sure")
    assert taken(plan(yard, NOW, RULES)) == ([], [])
    yard.queue("cheap", ("spot",), priority=1)
    assert taken(plan(yard, NOW, RULES)) == ([], ["i-1"])


def test_retryable_work_first_then_the_youngest() -> None:
    yard = two_pools()
    yard.instance("i-1", (2, 10), "spot", runs=[(2, 10)], launched_at_ms=3, attempts=1)
    yard.instance("i-2", (2, 10), "spot", runs=[(2, 10)], launched_at_ms=1)
    yard.instance("i-3", (2, 10), "spot", runs=[(2, 10)], launched_at_ms=2)
    yard.instance("i-4", (2, 10), "spot", runs=[(2, 10)], launched_at_ms=4, attempts=1)
    yard.wait((6, 10), "sure")
    assert taken(plan(yard, NOW, RULES)) == ([], ["i-3", "i-2", "i-4"])


def test_no_more_is_taken_than_needed() -> None:
    yard = two_pools()
    for number in range(4):
        yard.instance(f"i-{number}", (2, 1000), "spot", runs=[(1, 10)], launched_at_ms=number)
    yard.wait((2, 10), "sure")
    assert taken(plan(yard, NOW, RULES)) == ([], ["i-3"])


def test_what_is_on_its_way_back_is_waited_for() -> None:
    for gone in ({"state": InstanceState.STOPPING}, {"reclaim_at_ms": NOW + 5}):
        yard = two_pools()
        yard.instance("i-1", (4, 1000), "spot", runs=[(4, 10)], **gone)
        yard.instance("i-2", (4, 1000), "spot", runs=[(4, 10)])
        yard.wait((4, 10), "sure")
        assert taken(plan(yard, NOW, RULES)) == ([], [])


def test_two_heads_do_not_count_on_the_same_room() -> None:
    yard = two_pools()
    yard.queue("sure too", ("ondemand",), priority=1)
    yard.instance("i-1", (4, 1000), "spot", runs=[(4, 10)], launched_at_ms=1)
    yard.instance("i-2", (4, 1000), "spot", runs=[(4, 10)], launched_at_ms=2)
    yard.wait((4, 10), "sure")
    yard.wait((4, 10), "sure too")
    assert taken(plan(yard, NOW, RULES)) == ([], ["i-2", "i-1"])


def test_room_that_is_being_made_is_kept_from_those_behind() -> None:
    """Else the head would wait for ever: the room shrinks whenever something comes back."""
    yard = two_pools()
    yard.queue("low", ("ondemand",), priority=0)
    yard.environment("warm", min_vcpus=2)
    yard.instance("i-1", (6, 1000), "spot", runs=[(4, 10)])
    yard.wait((8, 10), "sure")
    yard.wait((2, 10), "low")
    made = plan(yard, NOW, RULES)
    assert taken(made) == ([], ["i-1"])
    assert made.starts == []


def test_what_the_head_does_not_need_is_for_others() -> None:
    yard = two_pools()
    yard.queue("low", ("ondemand",), priority=0)
    yard.instance("i-1", (6, 1000), "spot", runs=[(4, 10)])
    yard.wait((6, 10), "sure")
    yard.wait((2, 10), "low")
    made = plan(yard, NOW, RULES)
    assert taken(made) == ([], ["i-1"])
    assert [s.launched_for for s in made.starts] == ["low"]


def test_the_environments_own_bound() -> None:
    """Only its own instances help when maxvCpus is short; the host has room."""
    yard = PlainYard(host=None)
    yard.environment("ondemand", max_vcpus=4)
    yard.environment("spot", spot=True)
    yard.queue("sure", ("ondemand",))
    yard.instance("i-0", (9, 9), "spot", runs=[(9, 9)])
    yard.instance("i-1", (2, 1000), "ondemand")
    yard.instance("i-2", (2, 1000), "ondemand")
    yard.wait((3, 10), "sure")
    assert taken(plan(yard, NOW, RULES)) == (["i-1", "i-2"], [])
    yard.instance("i-2", (2, 1000), "ondemand", runs=[(1, 1)])
    assert taken(plan(yard, NOW, RULES)) == ([], [])


def test_the_minimum_of_others_is_left_alone_and_the_own_is_not() -> None:
    yard = two_pools()
    yard.environment("warm", min_vcpus=4)
    yard.instance("i-1", (4, 1000), "warm")
    yard.instance("i-2", (4, 1000), "ondemand", runs=[(4, 1)])
    yard.wait((4, 10), "sure")
    assert taken(plan(yard, NOW, RULES)) == ([], [])
    yard.queue("w", ("warm",), priority=9)
    yard.wait((4, 2000), "w")
    made = plan(yard, NOW, RULES)
    assert taken(made) == (["i-1"], []), "too small for its own environment's job: a larger one comes instead"
    assert made.starts == [], "and the minimum does not take the room meanwhile"


def test_exact_types_need_the_room_of_the_type() -> None:
    """The job itself would fit what is left, but no instance type does."""
    yard = PlainYard(Resources(8, 8000))
    yard.environment("ondemand", shapes=[exact("2xlarge", 8, 8000), exact("xlarge", 4, 8000), exact("large", 4, 4000)])
    yard.environment("spot", spot=True)
    yard.queue("sure", ("ondemand",))
    yard.instance("i-1", (3, 3000), "spot", runs=[(1, 1)])
    yard.instance("i-2", (3, 3000), "spot", runs=[(1, 1)])
    yard.wait((1, 10), "sure")
    assert taken(plan(yard, NOW, RULES)) == ([], ["i-1"])


def test_the_next_environment_is_tried() -> None:
    yard = PlainYard(Resources(8, 8000))
    yard.environment("tiny", shapes=[exact("small", 1, 100)])
    yard.environment("first", max_vcpus=2)
    yard.environment("closed", state=State.DISABLED)
    yard.environment("second")
    yard.environment("spot", spot=True)
    yard.queue("sure", ("tiny", "first", "closed", "second"))
    yard.instance("i-0", (2, 10), "first", runs=[(1, 1)])
    yard.instance("i-1", (6, 10), "spot", runs=[(1, 1)])
    yard.wait((2, 10), "sure")
    assert taken(plan(yard, NOW, RULES)) == ([], ["i-1"])


def test_only_instances_of_the_same_provider_help() -> None:
    yard = PlainYard(Resources(8, 8000))
    yard.environment("ondemand")
    yard.environment("elsewhere", spot=True, provider="slurm")
    yard.queue("sure", ("ondemand",))
    yard.instance("i-0", (5, 10), "ondemand", runs=[(1, 1)])
    yard.instance("i-1", (8, 10), "elsewhere")
    yard.wait((8, 10), "sure")
    assert taken(plan(yard, NOW, RULES)) == ([], [])


def test_an_instance_that_was_just_given_work_is_not_taken_as_idle() -> None:
    yard = two_pools()
    yard.instance("i-1", (4, 1000), "spot")
    yard.wait((8, 10), "sure")
    yard.wait((4, 10), "cheap")
    made = plan(yard, NOW, RULES)
    assert [i for _, i in made.placements] == ["i-1"]
    assert taken(made) == ([], [])


def test_ten_rounds_end_with_the_head_placed() -> None:
    """The whole dance: notice, the host empties, the instance for the head is the only one that starts."""
    yard = two_pools()
    yard.instance("i-1", (8, 1000), "spot", runs=[(8, 10)], launched_for="cheap")
    yard.wait((8, 10), "sure")
    assert plan(yard, NOW, RULES).reclaims == ["i-1"]
    yard.instance("i-1", (8, 1000), "spot", launched_for="cheap", reclaim_at_ms=NOW + 9)
    assert plan(yard, NOW, RULES).reclaims == []
    del yard.instances["i-1"]
    yard.running.clear()
    yard.wait((8, 10), "cheap")
    assert [s.environment for s in plan(yard, NOW, RULES).starts] == ["ondemand"]
    yard.instance("i-2", (8, 10), "ondemand", launched_for="sure")
    made = plan(yard, NOW, RULES)
    assert [(w.job_id, i) for w, i in made.placements] == [("sure-0", "i-2")]
    assert made.reclaims == [] and made.stops == []
