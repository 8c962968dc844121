"""Fair-share queues in the real engine: order, what is kept across restarts, arrays, retries, and who counts as active."""

from __future__ import annotations

from math import exp
from typing import Any

import pytest
from engine_bench import CE, Bench, Q, after
from msgspec.structs import replace

from batchyard.model.capacity import Health, Resources
from batchyard.model.fairshare import SchedulingPolicy, ShareWeight, Standing
from batchyard.model.fault import Fault
from batchyard.model.job import NodeGroup
from batchyard.model.requests import Edit

POLICY = "arn:aws:batch:r:1:scheduling-policy/p"


def put_policy(bench: Bench, **more: Any) -> None:
    policy = SchedulingPolicy(arn=POLICY, name="p", account="1", region="r", **more)
    bench.ask(Edit(lambda catalogue: catalogue.put(policy)))


def fair(max_vcpus: int = 1, **policy: Any) -> Bench:
    bench = Bench(bare=True)
    put_policy(bench, **policy)
    bench.environment(max_vcpus=max_vcpus)
    bench.queue(scheduling_policy=POLICY)
    return bench


def standing(bench: Bench, share: str) -> Standing:
    sharing = bench.engine.yard.sharing(Q)
    assert sharing is not None
    return next(s for s in sharing.standings if s.share == share)


def front(bench: Bench) -> list[str]:
    return [id for id, _ in bench.read.front(Q, 100)]


def run(bench: Bench, id: str, seconds: float, exit_code: int = 0) -> None:
    bench.start(id)
    bench.tick(seconds)
    bench.end(id, exit_code=exit_code)


def test_the_share_that_has_used_less_comes_first() -> None:
    bench = fair()
    first = [bench.submit(share="a") for _ in range(2)]
    other = [bench.submit(share="b") for _ in range(2)]
    assert front(bench) == [first[0], other[0], first[1], other[1]]
    run(bench, first[0], 60)
    assert bench.status(*first, *other) == ["SUCCEEDED", "RUNNABLE", "STARTING", "RUNNABLE"]
    run(bench, other[0], 5)
    assert bench.status(*other) == ["SUCCEEDED", "STARTING"], "b is still behind a"
    assert bench.read.explain(first[1]).summary.count("share") == 0, "nothing is blocked by another share"  # type: ignore[union-attr]


def test_a_job_of_another_share_that_should_come_first_does() -> None:
    """A queue with a blocked head is looked at again when the first job of another share comes."""
    bench = fair(max_vcpus=4)
    wide = bench.submit(share="a", needs=Resources(3, 100))
    bench.start(wide)
    waiting = bench.submit(share="a", needs=Resources(3, 100))
    assert bench.engine.blocked == {Q: waiting}
    small = bench.submit(share="b")
    bench.up()
    assert bench.status(small) == ["STARTING"]
    behind = bench.submit(share="a")
    told = bench.read.explain(behind)
    assert told is not None and told.summary.startswith(f"waits behind {waiting}") and "share" not in told.summary


def test_who_waits_behind_another_share_is_told_the_figures() -> None:
    bench = fair(max_vcpus=2, distribution=(ShareWeight("b", 0.5),))
    bench.start(bench.submit(share="a"))
    bench.tick(30)
    head = bench.submit(share="b", needs=Resources(2, 100))
    behind = bench.submit(share="a")
    told = bench.read.explain(behind)
    assert told is not None and told.position == 2
    assert told.summary == (
        f"waits behind {head}, which is at the head of queue q (share a has used 29 vCPU-seconds of late and holds 1 vCPUs (weight 1);"
        " share b has used 0 vCPU-seconds of late and holds 0 vCPUs (weight 0.5), and comes first) and finds no room yet"
    )
    assert bench.read.waiting_reason(bench.job(behind), bench.job_spec(behind)) == told.summary


@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_used_outlives_a_restart(restarts: bool) -> None:
    bench = fair(max_vcpus=2)
    done, running = bench.submit(share="a"), bench.submit(share="b")
    bench.start(done, running)
    bench.tick(100)
    bench.end(done)
    bench.tick(50)
    if restarts:
        bench.restart()
    bench.tick(50)
    a, b = standing(bench, "a"), standing(bench, "b")
    window = 600.0
    assert a.used_vcpu_s == pytest.approx(window * (1 - exp(-100 / window)) * exp(-100 / window))
    assert b.used_vcpu_s == pytest.approx(window * (1 - exp(-200 / window)))
    assert (a.held_vcpus, b.held_vcpus, a.run_s, b.run_s) == (0, 1, 100, 600)
    bench.end(running)
    assert standing(bench, "b").held_vcpus == 0 and standing(bench, "b").run_s == 200


def test_priorities_of_jobs_that_rest_outlive_a_restart() -> None:
    bench = fair()
    bench.start(bench.submit(share="z"))
    jobs = {(share, priority): bench.submit(share=share, priority=priority) for share in "ab" for priority in (1, 9, 5)}
    before = front(bench)
    assert before == [jobs[key] for key in (("a", 9), ("b", 9), ("a", 5), ("b", 5), ("a", 1), ("b", 1))]
    bench.restart()
    assert front(bench) == before
    assert bench.engine.yard.lanes.count(Q) == 6
    assert [bench.engine.yard.lanes.position(Q, id) for id in before] == [1, 2, 3, 4, 5, 6]
    assert {s.share: s.is_active for s in bench.engine.yard.sharing(Q).standings} == {"a": True, "b": True, "z": True}  # type: ignore[union-attr]


def test_children_and_retries_count_each() -> None:
    bench = fair(max_vcpus=4)
    array = bench.submit(share="a", size=2, attempts=2)
    other = bench.submit(share="b")
    bench.start(f"{array}:0", other, f"{array}:1")
    bench.tick(10)
    assert standing(bench, "a").used_vcpu_s == pytest.approx(2 * standing(bench, "b").used_vcpu_s)
    bench.end(f"{array}:0", exit_code=1)
    bench.start(f"{array}:0")
    bench.tick(10)
    assert standing(bench, "a").used_vcpu_s == pytest.approx(2 * standing(bench, "b").used_vcpu_s)
    bench.end(f"{array}:0", f"{array}:1", other)
    assert standing(bench, "a").held_vcpus == 0 and not bench.engine.yard.shares.is_live(Q, "a")


def test_a_job_that_is_tried_again_goes_first_within_its_priority_only() -> None:
    bench = fair()
    failing = bench.submit(share="a", priority=3, attempts=2)
    bench.start(failing)
    low, same, high = (bench.submit(share="a", priority=priority) for priority in (1, 3, 7))
    bench.end(failing, exit_code=1)
    assert bench.status(high, failing) == ["STARTING", "RUNNABLE"]
    assert front(bench) == [failing, same, low]


def test_shares_are_active_while_they_have_jobs_and_for_a_window_after() -> None:
    bench = fair(max_vcpus=2, decay_s=100)
    running, waiting = bench.submit(share="a"), bench.submit(share="b")
    held = bench.submit(share="c")
    bench.start(running, waiting)
    assert all(standing(bench, s).is_active for s in "abc")
    bench.end(running)
    bench.tick(99)
    bench.terminate(held)
    assert standing(bench, "a").is_active
    bench.tick(1)
    assert [standing(bench, s).is_active for s in "abc"] == [False, True, True]
    bench.restart()
    assert [standing(bench, s).is_active for s in "abc"] == [False, True, True]


def test_the_reservation_leaves_room_until_another_share_comes() -> None:
    bench = fair(max_vcpus=8, reservation=50)
    jobs = [bench.submit(share="a") for _ in range(8)]
    bench.up()
    assert bench.status(*jobs).count("STARTING") == 4
    assert sum(i.room.vcpus for i in bench.instances) == 4
    told = bench.read.explain(jobs[4])
    assert told is not None and told.summary.startswith("computeReservation keeps 4 of the queue's 8 vCPUs")
    never = bench.read.explain(bench.submit(share="a", needs=Resources(99, 100)))
    assert never is not None and "computeReservation" not in never.summary and "99 vCPUs" in never.summary
    other = bench.submit(share="b")
    bench.up()
    assert bench.status(other) == ["STARTING"]
    assert bench.status(*jobs).count("STARTING") == 5, "two active shares leave a quarter"
    put_policy(bench)
    bench.up()
    assert bench.status(*jobs).count("STARTING") == 7, "and a policy without a reservation nothing"


def test_a_share_that_comes_with_a_job_that_cannot_run_yet_makes_room_as_well() -> None:
    bench = fair(max_vcpus=4, reservation=50)
    jobs = [bench.submit(share="a") for _ in range(4)]
    bench.up()
    assert bench.status(*jobs).count("STARTING") == 2
    bench.submit(*after(jobs[0]), share="b")
    bench.up()
    assert bench.status(*jobs).count("STARTING") == 3


def test_a_new_window_counts_from_now_on() -> None:
    bench = fair(decay_s=100)
    job = bench.submit(share="a")
    bench.start(job)
    bench.tick(1000)
    used = standing(bench, "a").used_vcpu_s
    put_policy(bench, decay_s=10_000)
    assert standing(bench, "a").used_vcpu_s == pytest.approx(used) == pytest.approx(100, rel=0.01)
    bench.tick(10)
    assert standing(bench, "a").used_vcpu_s == pytest.approx(used + 10, rel=0.01)


def test_more_shares_than_may_be_active() -> None:
    bench = fair(max_vcpus=0)
    jobs = [bench.submit(share=f"s{number}") for number in range(500)]
    with pytest.raises(Fault, match="500 active share identifiers"):
        bench.submit(share="more")
    bench.submit(share="s7")
    bench.restart()
    with pytest.raises(Fault, match="500 active share identifiers"):
        bench.submit(share="more")
    bench.cancel(jobs[0])
    bench.tick(600)
    bench.submit(share="more")
    with pytest.raises(Fault, match="500 active"):
        bench.submit(share="s0")
    assert len(bench.store.load().shares) < 500


def test_a_queue_that_goes_takes_its_shares_with_it() -> None:
    bench = fair()
    run(bench, bench.submit(share="a"), 5)
    assert [u.share for u in bench.store.load().shares] == ["a"]
    bench.put(replace(bench.engine.yard.queues[Q], health=Health.DELETING))
    assert bench.store.load().shares == [] and bench.store.load().policies != []
    bench.queue(environments=(CE,), scheduling_policy=POLICY)
    bench.submit(share="a")
    assert standing(bench, "a").used_vcpu_s == 0


def test_shares_of_two_queues_have_nothing_to_do_with_one_another() -> None:
    bench = fair(max_vcpus=4)
    bench.queue("other", scheduling_policy=POLICY)
    bench.start(bench.submit(share="a"))
    bench.start(bench.submit(share="a", queue="other"))
    bench.tick(10)
    assert bench.read.share_usage(Q) == [("a", 1.0)] == bench.read.share_usage("other")
    assert bench.read.share_usage("nowhere") == []


def test_a_queue_without_a_policy_knows_no_shares() -> None:
    bench = Bench()
    bench.submit()
    assert bench.engine.yard.sharing(Q) is None and bench.read.share_usage(Q) == []
    assert bench.store.load().shares == []


def nodes(count: int, vcpus: float = 1) -> dict[str, Any]:
    needs = Resources(vcpus, 100)
    return {"nodes": (NodeGroup(first=0, last=count - 1, needs=needs),), "needs": needs}


def test_all_nodes_of_a_multi_node_job_count() -> None:
    bench = fair(max_vcpus=8, reservation=50)
    wide = bench.submit(share="a", **nodes(5))
    told = bench.read.explain(wide)
    assert told is not None and told.summary.startswith("computeReservation keeps 4 of the queue's 8 vCPUs")
    bench.cancel(wide)
    job = bench.submit(share="a", **nodes(3))
    bench.up()
    bench.start(job, f"{job}#1", f"{job}#2")
    assert bench.read.share_usage(Q) == [("a", 3.0)]
    bench.tick(10)
    assert standing(bench, "a").used_vcpu_s == pytest.approx(30, rel=0.02)
    bench.restart()
    assert bench.read.share_usage(Q) == [("a", 3.0)]
    bench.end(job)
    bench.end(f"{job}#1", f"{job}#2", exit_code=137, cause="stopped")
    assert bench.read.share_usage(Q) == [] and not bench.engine.yard.shares.is_live(Q, "a")


def test_a_multi_node_job_that_can_never_run_does_not_cost_its_share_its_turn() -> None:
    bench = fair(max_vcpus=2)
    gate = bench.submit(share="z", needs=Resources(2, 200))
    bench.start(gate)
    bench.submit(share="a", **nodes(5))
    mine = [bench.submit(share="a") for _ in range(2)]
    other = [bench.submit(share="b") for _ in range(2)]
    bench.end(gate)
    bench.up()
    assert bench.status(*mine, *other) == ["STARTING", "RUNNABLE", "STARTING", "RUNNABLE"]
