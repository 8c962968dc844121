"""When a provider comes back: what it holds against what we believe, and what it is asked again."""

from __future__ import annotations

from engine_bench import CE, Bench, Status
from msgspec.structs import replace

from batchyard.model.capacity import Health, InstanceState, Resources
from batchyard.model.messages import AttemptEnded, InstanceGone, InstanceUp, StopAttempt


def running(bench: Bench, **more: object) -> tuple[str, str, str]:
    """A job that runs, its attempt and its instance."""
    job = bench.submit(**more)
    bench.start(job)
    attempt = bench.attempt(job)
    return job, attempt, bench.engine.ledger.jobs[job].current.instance  # type: ignore[union-attr]


def test_a_pending_instance_is_asked_for_again() -> None:
    bench = Bench()
    bench.submit()
    (instance,) = bench.instances
    bench.back()
    assert bench.effects == [f"StartInstance {instance.id}"]
    bench.back([instance.id])
    assert bench.effects == [f"StartInstance {instance.id}"], "so that it says again that it is up"


def test_an_attempt_that_never_arrived_is_launched_again() -> None:
    bench = Bench()
    job = bench.submit()
    bench.up()
    (instance,) = bench.instances
    attempt = bench.attempt(job)
    bench.back([instance.id])
    assert bench.effects == [f"Launch {job}"]
    assert bench.attempt(job) == attempt, "the same one: already there would count as done"
    bench.back([instance.id], [attempt])
    assert bench.effects == []


def test_a_running_attempt_that_is_missing_is_lost() -> None:
    bench = Bench()
    job, attempt, instance = running(bench, attempts=2)
    bench.back([instance], [attempt])
    assert bench.status(job) == ["RUNNING"]
    bench.back([instance])
    assert bench.job(job).attempts[0].status_reason.startswith("Host EC2")
    assert bench.status(job) == ["STARTING"]


def test_an_instance_that_is_missing_is_gone_with_its_attempts() -> None:
    bench = Bench()
    job, _, instance = running(bench)
    starting = bench.submit(needs=Resources(1, 1))
    bench.up()
    bench.back()
    assert bench.status(job, starting) == ["FAILED", "FAILED"]
    assert instance not in bench.engine.ledger.instances


def test_what_ended_while_we_were_away_is_not_lost_with_its_instance() -> None:
    """The report follows: it succeeded, and is not run again."""
    bench = Bench()
    job, attempt, instance = running(bench, attempts=2)
    ended = AttemptEnded(attempt, bench.world.now, "exited", exit_code=0)
    bench.back([], [attempt])
    assert bench.status(job) == ["RUNNING"]
    assert bench.effects == [f"StopInstance {instance}"]
    assert bench.engine.ledger.instances[instance].state is InstanceState.STOPPING
    bench.report(ended, InstanceGone(instance, bench.world.now))
    assert bench.status(job) == ["SUCCEEDED"]
    assert bench.instances == []


def test_the_same_within_one_turn() -> None:
    bench = Bench()
    job, attempt, instance = running(bench, attempts=2)
    lost, _, _ = running(bench)
    bench.back([], [attempt], AttemptEnded(attempt, bench.world.now, "exited", exit_code=3))
    assert bench.job(job).attempts[0].exit_code == 3
    assert bench.status(lost) == ["FAILED"]
    bench.gone(instance)
    assert bench.status(job) == ["RUNNABLE"]


def test_a_stopping_instance_is_told_again_and_forgotten_when_missing() -> None:
    bench = Bench(idle_s=0)
    job = bench.submit()
    bench.finish(job)
    (instance,) = bench.instances
    assert instance.state is InstanceState.STOPPING
    bench.back([instance.id])
    assert bench.effects == [f"StopInstance {instance.id}"]
    bench.back()
    assert bench.instances == []


def test_a_terminated_attempt_is_told_again() -> None:
    bench = Bench()
    job, attempt, instance = running(bench)
    bench.terminate(job)
    bench.back([instance], [attempt])
    assert bench.effects == [f"StopAttempt {attempt}"]


def test_a_notice_is_given_again() -> None:
    from batchyard.model.requests import Reclaim

    bench = Bench()
    _, attempt, instance = running(bench)
    bench.ask(Reclaim(instance))
    bench.back([instance], [attempt])
    assert bench.effects == [f"NoticeInstance {instance}"]


def test_what_nobody_here_knows_is_ended_there() -> None:
    """Attempts without a grace, and instances: they would hold room for ever."""
    bench = Bench()
    bench.back(["i-x", "i-y"], ["b", "a"])
    assert bench.effects == ["StopInstance i-x", "StopInstance i-y", "StopAttempt a", "StopAttempt b"]
    assert StopAttempt("a", 0.0) in [o.effect for o in bench.last.effects]


def test_only_what_is_of_this_provider_is_compared() -> None:
    bench = Bench(bare=True)
    bench.environment(provider="slurm")
    bench.queue()
    job, _, _ = running(bench)
    bench.back()
    assert bench.status(job) == ["RUNNING"]


def test_a_provider_comes_back_while_its_environment_is_deleted() -> None:
    bench = Bench()
    job, attempt, instance = running(bench)
    bench.put(replace(bench.engine.ledger.environments[CE], health=Health.DELETING))
    bench.restart()
    bench.back([instance], [attempt])
    assert bench.status(job) == ["RUNNING"]
    bench.end(job)
    bench.back()
    assert bench.engine.ledger.environments == {} and bench.instances == []


def test_what_is_asked_again_follows_from_how_the_turn_ends() -> None:
    """A provider comes back, and the same batch of reports takes away what would be asked of it."""
    bench = Bench()
    job = bench.submit()
    bench.up()
    (instance,) = bench.instances
    bench.put(replace(bench.engine.ledger.environments[CE], health=Health.DELETING))
    bench.back([instance.id], [], InstanceGone(instance.id, bench.world.now))
    assert bench.status(job) == ["FAILED"] and bench.engine.ledger.environments == {}
    assert bench.effects == [], "no launch into an environment that is gone"


def test_what_is_new_in_the_turn_is_told_once() -> None:
    bench = Bench()
    job = bench.submit()
    (instance,) = bench.instances
    bench.back([instance.id], [], InstanceUp(instance.id, bench.world.now))
    assert bench.effects == [f"Launch {job}"]


def test_a_crash_between_the_write_and_the_launch_repeats_and_does_not_double() -> None:
    bench = Bench()
    job = bench.submit()
    bench.up()
    attempt = bench.attempt(job)
    bench.restart()  # the effect is lost
    assert bench.effects == [], "nothing is assumed until the provider says what it holds"
    bench.back([bench.instances[0].id])
    assert bench.effects == [f"Launch {job}"] and bench.attempt(job) == attempt
    assert bench.job(job).status is Status.STARTING and bench.job(job).attempts == ()
