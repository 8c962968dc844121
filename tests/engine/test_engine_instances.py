"""Instances in the engine: starting, stopping, reclaiming, updates, deletion, and what time alone brings about."""

from __future__ import annotations

import pytest
from engine_bench import CE, Bench, Health, Q
from msgspec.structs import replace

from batchyard.model.capacity import InstanceState, Resources, State
from batchyard.model.fault import Fault
from batchyard.model.messages import InstanceUp
from batchyard.model.requests import Reclaim

SPOT, OD = "arn:ce/spot", "arn:ce/ondemand"


def idle_bench(idle_s: float = 60.0) -> tuple[Bench, str]:
    """A bench with one instance that has just become idle."""
    bench = Bench(idle_s=idle_s)
    job = bench.submit()
    bench.finish(job)
    return bench, bench.instances[0].id


def test_an_idle_instance_stops_after_its_time() -> None:
    bench, instance = idle_bench()
    assert bench.last.wake_at_ms == bench.world.now + 60_000
    bench.tick(59.9)
    assert bench.effects == [] and bench.last.wake_at_ms == bench.world.now + 100
    bench.tick(0.1)
    assert bench.effects == [f"StopInstance {instance}"]
    assert bench.instances[0].state is InstanceState.STOPPING
    assert bench.last.wake_at_ms is None
    bench.gone(instance)
    assert bench.instances == []


def test_work_in_between_starts_the_idle_time_anew() -> None:
    bench, _ = idle_bench()
    bench.tick(50)
    job = bench.submit()
    assert bench.status(job) == ["STARTING"] and bench.last.wake_at_ms is None
    bench.finish(job)
    assert bench.last.wake_at_ms == bench.world.now + 60_000


def test_time_alone_changes_nothing_twice() -> None:
    """A turn that finds nothing to do writes nothing and does not ask to be woken at once."""
    bench, _ = idle_bench(idle_s=0)
    for _ in range(3):
        bench.turn()
        assert not bench.last.changes and bench.last.wake_at_ms is None


def test_a_reclaim_with_a_notice_and_one_without() -> None:
    bench = Bench()
    job = bench.submit(attempts=2)
    bench.start(job)
    (instance,) = bench.instances
    noticed = bench.ask(Reclaim(instance.id))
    assert noticed.reclaim_at_ms == bench.world.now + 120_000 == bench.last.wake_at_ms
    assert bench.effects == [f"NoticeInstance {instance.id}"]
    other = bench.submit()
    assert bench.status(other) == ["RUNNABLE"], "no new jobs on it"
    bench.tick(120)
    assert f"StopInstance {instance.id}" in bench.effects
    with pytest.raises(Fault, match="does not exist"):
        bench.ask(Reclaim(instance.id))
    with pytest.raises(Fault, match="does not exist"):
        bench.ask(Reclaim("i-nobody"))
    bench.gone(instance.id)
    assert bench.job(job).attempts[0].status_reason == f"Host EC2 (instance {instance.id}) terminated."
    bench.up()
    assert bench.status(job, other) == ["STARTING", "STARTING"]
    (instance, *_) = bench.instances
    bench.ask(Reclaim(instance.id, 0))
    assert bench.effects == [f"StopInstance {instance.id}"]


def test_a_reclaimed_instance_without_work_goes_at_once() -> None:
    bench, instance = idle_bench()
    bench.ask(Reclaim(instance, 100))
    assert f"StopInstance {instance}" in bench.effects and bench.last.wake_at_ms is None


def test_on_demand_work_takes_the_room_of_spot_work() -> None:
    bench = Bench(bare=True)
    bench.environment(SPOT, spot=True)
    bench.environment(OD)
    bench.queue("cheap", (SPOT,))
    bench.queue("sure", (OD,))
    cheap = bench.submit(queue="cheap", needs=Resources(8, 100), attempts=3)
    bench.start(cheap)
    (spot,) = bench.instances
    sure = bench.submit(queue="sure", needs=Resources(8, 100))
    assert bench.effects == [f"NoticeInstance {spot.id}"]
    bench.tick(120)
    bench.gone(spot.id)
    assert bench.status(cheap, sure) == ["RUNNABLE", "RUNNABLE"]
    (ondemand,) = bench.instances
    assert ondemand.environment == OD, "the room is for whom it was made"
    bench.finish(sure)
    bench.tick(60)
    bench.gone(ondemand.id)
    bench.finish(cheap)
    assert bench.status(cheap, sure) == ["SUCCEEDED", "SUCCEEDED"]


def test_an_environment_that_is_deleted_goes_with_its_last_instance() -> None:
    bench, instance = idle_bench()
    bench.queue(Q, ())
    bench.put(replace(bench.engine.ledger.environments[CE], health=Health.DELETING, state=State.DISABLED))
    assert bench.effects == [f"StopInstance {instance}"]
    assert CE in bench.engine.ledger.environments
    bench.gone(instance)
    assert bench.engine.ledger.environments == {}
    bench.restart()
    assert bench.engine.ledger.environments == {}


def test_a_deleted_environment_does_not_wait_for_an_instance_that_never_comes() -> None:
    bench = Bench()
    bench.submit()
    (instance,) = bench.instances
    bench.put(replace(bench.engine.ledger.environments[CE], health=Health.DELETING))
    assert bench.effects == [f"StopInstance {instance.id}"]
    bench.report(InstanceUp(instance.id, bench.world.now))
    assert not bench.last.changes, "it came after all, and too late"
    bench.gone(instance.id)
    assert bench.engine.ledger.environments == {}


def test_a_deleted_environment_waits_for_its_running_jobs() -> None:
    bench = Bench()
    job = bench.submit()
    bench.start(job)
    bench.put(replace(bench.engine.ledger.environments[CE], health=Health.DELETING))
    assert bench.effects == []
    bench.end(job)
    assert bench.effects == [f"StopInstance {bench.instances[0].id}"]


@pytest.mark.parametrize(("policy", "minutes"), [({}, 30), ({"jobExecutionTimeoutMinutes": 2}, 2), ({"terminateJobsOnUpdate": True}, 0)])
def test_an_infrastructure_update_replaces_instances(policy: dict[str, object], minutes: int) -> None:
    bench = Bench()
    job = bench.submit(attempts=2, needs=Resources(4, 100))
    bench.start(job)
    waiting = bench.submit(needs=Resources(8, 100))
    idle = bench.submit()
    (old,) = bench.instances
    environment = bench.engine.ledger.environments[CE]
    bench.put(replace(environment, generation=1, update_policy=policy))
    if minutes:
        assert bench.effects == [] and bench.last.wake_at_ms == bench.world.now + minutes * 60_000
        bench.tick(minutes * 60)
    else:
        bench.turn()
    assert bench.effects == [f"StopInstance {old.id}"]
    bench.gone(old.id)
    assert all(i.generation == 1 for i in bench.instances)
    assert bench.status(job, waiting, idle) == ["RUNNABLE"] * 3


def test_an_infrastructure_update_takes_idle_and_pending_instances_at_once() -> None:
    bench, idle = idle_bench()
    bench.submit(needs=Resources(4, 100))
    pending = next(i.id for i in bench.instances if i.state is InstanceState.PENDING)
    bench.put(replace(bench.engine.ledger.environments[CE], generation=1))
    assert {f"StopInstance {idle}", f"StopInstance {pending}"} <= set(bench.effects)


def test_minvcpus_are_there_before_any_job_and_come_back() -> None:
    bench = Bench(bare=True)
    bench.environment(min_vcpus=2)
    (instance,) = bench.instances
    assert instance.launched_for == "" and instance.room.vcpus == 2
    bench.up()
    bench.tick(1000)
    assert bench.effects == []
    bench.gone(instance.id)
    assert [i.room.vcpus for i in bench.instances] == [2]


def test_desired_vcpus_are_started_once() -> None:
    bench = Bench(bare=True)
    bench.environment(wanted_vcpus=2)
    assert [i.room.vcpus for i in bench.instances] == [2]
    assert bench.engine.ledger.environments[CE].wanted_vcpus == 0
    bench.up()
    bench.tick(60)
    assert bench.effects == [f"StopInstance {bench.instances[0].id}"]


def test_an_instance_has_a_price_and_an_attempt_its_share() -> None:
    bench = Bench(bare=True)
    bench.environment(instance_types=("m5.large",))
    bench.queue()
    job = bench.submit(needs=Resources(1, 100))
    bench.up()
    (instance,) = bench.instances
    current = bench.job(job).current
    assert current is not None
    assert instance.type_name == "m5.large" and instance.price_per_hour > 0
    assert current.price_per_hour == instance.price_per_hour / 2


# --- instances that do not answer ---


def test_an_instance_that_does_not_come_up_is_given_up() -> None:
    """Else whatever waits for it waits for ever."""
    bench = Bench()
    job = bench.submit()
    (silent,) = bench.instances
    assert bench.last.wake_at_ms == bench.world.now + 600_000
    bench.tick(599)
    assert bench.effects == []
    bench.tick(1)
    assert f"StopInstance {silent.id}" in bench.effects
    bench.gone(silent.id)
    bench.up()
    assert bench.status(job) == ["STARTING"]
