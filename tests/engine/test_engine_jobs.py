"""The life of jobs in the engine: from submission to the end, through retries, stops, queues and tags."""

from __future__ import annotations

import pytest
from engine_bench import CE, HOST, Bench, Health, Q, RetryRule, Status, after
from msgspec.structs import replace

from batchyard.model.capacity import InstanceState, Resources, State
from batchyard.model.fault import Fault
from batchyard.model.job import Specification
from batchyard.model.messages import AttemptEnded, AttemptStarted, InstanceGone, InstanceUp
from batchyard.model.requests import Catalogue, Edit, EndAll, Submit, TagJob


def test_a_job_from_submission_to_its_end() -> None:
    bench = Bench()
    job = bench.submit()
    (instance,) = bench.instances
    assert (bench.status(job), bench.effects) == (["RUNNABLE"], [f"StartInstance {instance.id}"])
    bench.world.now += 1000
    bench.report(InstanceUp(instance.id, bench.world.now))
    assert (bench.status(job), bench.effects) == (["STARTING"], [f"Launch {job}"])
    placed_ms = bench.world.now
    bench.world.now += 500
    bench.start(job)
    assert bench.status(job) == ["RUNNING"] and bench.effects == []
    bench.world.now += 2000
    attempt = bench.attempt(job)
    bench.end(job)
    record = bench.job(job)
    assert (record.status, record.started_at_ms, record.stopped_at_ms) == (Status.SUCCEEDED, placed_ms + 500, placed_ms + 2500)
    assert [a.id for a in record.attempts] == bench.last.acknowledge == [attempt]
    assert record.attempts[0].log_stream == f"d/default/{attempt}"
    assert bench.engine.yard.jobs == {} and bench.engine.ledger.specifications == {}
    assert bench.engine.recent == {}


def test_a_batch_is_answered_in_order_and_one_refusal_harms_nobody() -> None:
    bench = Bench()
    good, bad, also = bench.spec(), bench.spec(queue="nowhere"), bench.spec()
    answers = bench.turn([Submit(good), Submit(bad), Submit(also)]).answers
    assert answers[0] is None and answers[2] is None
    assert isinstance(answers[1], Fault) and answers[1].message == "JobQueue nowhere not found."
    assert bench.status(good.id, also.id) == ["RUNNABLE", "RUNNABLE"]
    assert bench.read.job(bad.id) is None


def test_a_request_that_breaks_is_set_aside(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()

    def act(catalogue: Catalogue) -> None:
        raise ZeroDivisionError("our bug")

    answers = bench.turn([Edit(act), Submit(spec := bench.spec())]).answers
    assert isinstance(answers[0], Fault) and answers[0].code == "ServerException"
    assert "our bug" in caplog.text
    assert bench.status(spec.id) == ["RUNNABLE"]


def test_retried_jobs_go_first() -> None:
    bench = Bench(Resources(1, 8192))
    first, second = bench.submit(attempts=2), bench.submit()
    bench.start(first)
    bench.end(first, exit_code=1)
    assert bench.status(first, second) == ["STARTING", "RUNNABLE"]
    assert [a.number for a in (*bench.job(first).attempts, bench.engine.ledger.jobs[first].current)] == [1, 2]  # type: ignore[union-attr]
    bench.start(first)
    bench.end(first, exit_code=1)
    assert bench.status(first, second) == ["FAILED", "STARTING"]


def test_a_lost_host_fails_its_attempts_and_they_are_tried_again_elsewhere() -> None:
    bench = Bench()
    once, twice = bench.submit(), bench.submit(attempts=2, retry_rules=(RetryRule("RETRY", "Host EC2*"), RetryRule("EXIT", on_reason="*")))
    bench.up()
    bench.start(once, twice)
    host = bench.job(once).current.instance  # type: ignore[union-attr]
    for instance in bench.instances:
        bench.gone(instance.id)
    assert bench.job(once).status_reason == f"Host EC2 (instance {host}) terminated."
    assert bench.status(once, twice) == ["FAILED", "RUNNABLE"]
    assert all(i.state is InstanceState.PENDING for i in bench.instances)


def test_cancel_and_terminate() -> None:
    bench = Bench()
    waits, runs = bench.submit(needs=Resources(8, 100)), bench.submit()
    bench.cancel(waits)
    assert (bench.job(waits).status, bench.job(waits).status_reason) == (Status.FAILED, "enough")
    bench.up()
    bench.start(runs)
    bench.cancel(runs)
    assert bench.status(runs) == ["RUNNING"] and not bench.job(runs).is_cancelled
    bench.terminate(runs)
    assert bench.effects == [f"StopAttempt {bench.attempt(runs)}"]
    bench.terminate(runs, "again")
    assert bench.effects == [], "told once"
    bench.end(runs, exit_code=143, cause="stopped")
    assert (bench.job(runs).status, bench.job(runs).status_reason) == (Status.FAILED, "stop it")


@pytest.mark.parametrize("id", ["nobody", "nobody:1", ""])
def test_stopping_what_is_not_there_does_nothing(id: str) -> None:
    bench = Bench()
    bench.cancel(id)
    bench.terminate(id)
    assert not bench.last.changes


def test_stopping_a_finished_job_changes_nothing() -> None:
    bench = Bench()
    job = bench.submit()
    bench.finish(job)
    before = bench.job(job)
    bench.cancel(job)
    bench.terminate(job)
    assert bench.job(job) == before and not bench.last.changes


def test_end_all() -> None:
    bench = Bench()
    running = bench.submit()
    bench.start(running)
    array, waiting = bench.submit(size=3), bench.submit(*after(running))
    assert bench.ask(EndAll("down")) == 3
    assert bench.status(running, array, waiting) == ["RUNNING", "FAILED", "FAILED"]
    assert bench.job(f"{array}:1").status_reason == "down"
    bench.end(running, cause="stopped", exit_code=143)
    assert bench.engine.yard.jobs == {}


# --- tags ---


def test_tags_of_waiting_and_of_finished_jobs() -> None:
    bench = Bench()
    job = bench.submit()
    bench.ask(TagJob(replace(bench.job_spec(job), tags={"a": "1"})))
    assert bench.job_spec(job).tags == {"a": "1"}
    bench.finish(job)
    bench.ask(TagJob(replace(bench.job_spec(job), tags={"a": "2"})))
    assert bench.job_spec(job).tags == {"a": "2"}
    assert bench.engine.ledger.specifications == {}, "a finished job stays out of memory"
    bench.restart()
    assert bench.job_spec(job).tags == {"a": "2"}


# --- queues ---


def test_a_deleted_queue_ends_its_jobs_and_then_goes() -> None:
    bench = Bench()
    bench.queue("other")
    runs, waits = bench.submit(), bench.submit(needs=HOST)
    elsewhere = bench.submit(*after(waits), queue="other")
    array = bench.submit(size=4, needs=HOST)
    bench.up()
    bench.start(runs)
    bench.put(replace(bench.engine.ledger.queues[Q], health=Health.DELETING, state=State.DISABLED))
    assert bench.status(runs, waits, array) == ["RUNNING", "FAILED", "FAILED"]
    assert bench.job(waits).status_reason == bench.job(array).status_reason == bench.job(f"{array}:2").status_reason == "JobQueue deleted"
    assert bench.job(elsewhere).status_reason == "Dependent Job failed"
    assert Q in bench.engine.ledger.queues
    with pytest.raises(Fault, match="not found"):
        bench.submit()
    bench.end(runs, cause="stopped", exit_code=143)
    assert bench.job(runs).status_reason == "JobQueue deleted"
    assert set(bench.engine.ledger.queues) == {"other"}
    bench.restart()
    assert set(bench.engine.ledger.queues) == {"other"} and bench.status(array) == ["FAILED"]


def test_a_deleted_queue_with_an_array_whose_children_run() -> None:
    bench = Bench()
    array = bench.submit(size=3, needs=Resources(4, 100), attempts=3)
    bench.up()
    bench.start(f"{array}:0", f"{array}:1")
    bench.put(replace(bench.engine.ledger.queues[Q], health=Health.DELETING))
    assert bench.children(array) == "rr-"
    assert sorted(bench.effects) == sorted(f"StopAttempt {bench.attempt(f'{array}:{i}')}" for i in (0, 1))
    bench.restart()
    bench.end(f"{array}:0", cause="stopped", exit_code=143)
    bench.gone(bench.engine.ledger.jobs[f"{array}:1"].current.instance)  # type: ignore[union-attr]
    assert bench.children(array) == "---" and bench.job(array).status_reason == "JobQueue deleted"
    assert bench.engine.ledger.queues == {}


def test_a_queue_whose_environments_change() -> None:
    """Waiting jobs follow at once."""
    bench = Bench()
    bench.environment("other", max_vcpus=0)
    bench.queue(Q, ("other",))
    job = bench.submit()
    assert bench.status(job) == ["RUNNABLE"] and bench.instances == []
    bench.queue(Q, (CE,))
    bench.up()
    assert bench.status(job) == ["STARTING"]


# --- reports that concern nothing ---


def test_late_foreign_and_repeated_reports_are_dropped_counted_and_acknowledged() -> None:
    bench = Bench()
    job = bench.submit(attempts=2)
    bench.start(job)
    old = bench.attempt(job)
    bench.end(job, exit_code=1)
    bench.start(job)
    before = bench.job(job)
    end = AttemptEnded(old, bench.world.now, "exited", exit_code=0)
    bench.report(AttemptStarted(old, 1), end, InstanceUp("i-x", 1), InstanceGone("i-x", 1), InstanceUp(bench.instances[0].id, 1))
    assert bench.job(job) == before, "the second attempt runs on"
    assert bench.last.acknowledge == [old] and not bench.last.changes
    assert dict(bench.engine.observer.dropped) == {"started": 1, "ended": 1, "up": 2, "gone": 1}


def test_an_illegal_report_is_set_aside_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A hole in the table would be our bug: the log shouts, and the other reports of the turn are taken."""
    from batchyard.core import lifecycle

    bench = Bench()
    one, two = bench.submit(), bench.submit()
    bench.up()
    holed = {key: move for key, move in lifecycle.MOVES.items() if key != (Status.STARTING, lifecycle.Started)}
    monkeypatch.setattr(lifecycle, "MOVES", holed)  # a copy: taking a row out and putting it back would change the order
    bench.report(AttemptStarted(bench.attempt(one), 1), AttemptEnded(bench.attempt(two), bench.world.now, "exited", exit_code=0))
    assert bench.status(one, two) == ["STARTING", "SUCCEEDED"]
    assert bench.engine.observer.dropped["illegal"] == 1 and "set aside" in caplog.text


def test_a_start_that_was_told_twice_and_an_end_without_a_start() -> None:
    bench = Bench()
    one, two = bench.submit(), bench.submit()
    bench.up()
    bench.start(one)
    bench.start(one)
    assert not bench.last.changes
    bench.end(two, started_at_ms=bench.world.now)
    assert bench.job(two).started_at_ms == bench.world.now


# --- dependencies ---


def test_dependencies_release_and_doom() -> None:
    bench = Bench()
    first, second = bench.submit(), bench.submit()
    both, fails, chain = bench.submit(*after(first, second)), bench.submit(*after(second)), ""
    chain = bench.submit(*after(fails, both))
    assert bench.status(both, fails, chain) == ["PENDING"] * 3
    bench.finish(first)
    assert [d.job_id for d in bench.job(both).waits_for] == [second]
    bench.restart()
    bench.finish(second)
    assert bench.job(both).waits_for == ()
    bench.finish(fails, exit_code=1)
    assert bench.job(chain).status_reason == "Dependent Job failed"
    bench.finish(both)
    assert bench.status(chain) == ["FAILED"]


def test_dependencies_on_what_has_ended() -> None:
    bench = Bench()
    good, bad = bench.submit(), bench.submit()
    bench.finish(good)
    bench.finish(bad, exit_code=1)
    assert bench.status(bench.submit(*after(good)), bench.submit(*after(good, bad))) == ["STARTING", "FAILED"]


def test_a_dependency_that_ended_without_the_callers_knowing() -> None:
    """The caller looked before it ended; or never looked; or there is no such job."""
    bench = Bench()
    good = bench.submit()
    bench.finish(good)
    specs = [bench.spec(*after(good)), bench.spec(*after("nobody")), bench.spec(*after("nobody:7"))]
    bench.turn([Submit(s) for s in specs])
    assert bench.status(*(s.id for s in specs)) == ["STARTING", "FAILED", "FAILED"]


def test_a_dependency_that_ends_in_the_same_turn() -> None:
    bench = Bench()
    first = bench.submit(needs=Resources(9, 1))
    spec: Specification = bench.spec(*after(first))
    from batchyard.model.requests import Cancel

    bench.turn([Cancel(first, "no"), Submit(spec)])
    assert bench.job(spec.id).status_reason == "Dependent Job failed"


def test_a_cancelled_job_in_a_chain_dooms_what_follows_it_across_a_restart() -> None:
    bench = Bench()
    first = bench.submit()
    second = bench.submit(*after(first))
    third = bench.submit(*after(second))
    bench.restart()
    bench.cancel(second)
    assert bench.job(third).status_reason == "Dependent Job failed"
    bench.finish(first)
    assert bench.engine.yard.jobs == {}


def test_the_environment_variable_contract_sees_the_named_things() -> None:
    """A launch finds its environment and queue in what is committed."""
    bench = Bench()
    job = bench.submit()
    bench.up()
    order = bench.last.effects[0].effect
    assert order.attempt.environment in bench.engine.ledger.environments  # type: ignore[union-attr]
    assert bench.engine.ledger.jobs[job].current == order.attempt  # type: ignore[union-attr]
