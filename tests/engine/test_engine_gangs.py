"""Multi-node parallel jobs in the engine: all nodes or none, the main node decides, and nothing of a finished job runs."""

from __future__ import annotations

from typing import Any

import pytest
from engine_bench import CE, HOST, Bench, Q, RetryRule, Status, after

from batchyard.engine.dispatch import LaunchOrder
from batchyard.engine.launching import AttemptKeys, Launcher
from batchyard.model.capacity import InstanceState, Resources
from batchyard.model.job import NodeGroup
from batchyard.model.messages import AttemptEnded, AttemptStarted, InstanceUp
from batchyard.model.requests import Cancel, EndAll, Terminate
from batchyard.model.view import JobQuery

SMALL = Resources(1, 100)


def gang(count: int, needs: Resources = SMALL, main: int = 0, instance_type: str = "", **more: Any) -> dict[str, Any]:
    group = NodeGroup(first=0, last=count - 1, needs=needs, instance_type=instance_type)
    return {"nodes": (group,), "main_node": main, "needs": needs, **more}


def started(bench: Bench, count: int = 3, **more: Any) -> str:
    """A job whose nodes all run."""
    job = bench.submit(**gang(count, **more))
    bench.up()
    bench.start(job)
    bench.start(*(f"{job}#{n}" for n in range(1, count)))
    assert bench.status(job, *(f"{job}#{n}" for n in range(count))) == ["RUNNING"] * (count + 1)
    return job


def states(bench: Bench, job: str) -> str:
    """The states of the job and of its nodes, a letter each."""
    letters = {"PENDING": "P", "RUNNABLE": "R", "STARTING": "S", "RUNNING": "r", "SUCCEEDED": "+", "FAILED": "-"}
    count = bench.job_spec(job).num_nodes
    return " ".join("".join(letters[s] for s in bench.status(*ids)) for ids in ([job], [f"{job}#{n}" for n in range(count)]))


def test_from_submission_to_the_end() -> None:
    bench = Bench()
    job = bench.submit(**gang(3))
    assert states(bench, job) == "R RRR"
    assert len(bench.instances) == 3, "an instance for each node"
    bench.up()
    assert (states(bench, job), bench.effects) == ("S SRR", [f"Launch {job}"])
    assert {bench.job(f"{job}#{n}").current.instance for n in range(3)} == {i.id for i in bench.instances}  # type: ignore[union-attr]
    bench.start(job)
    assert (states(bench, job), bench.effects) == ("r rSS", [f"Launch {job}#1", f"Launch {job}#2"])
    bench.start(f"{job}#2", f"{job}#1")
    bench.end(f"{job}#2", exit_code=1)
    assert states(bench, job) == "r rr-", "a child that ends changes nothing"
    child = bench.attempt(f"{job}#1")
    bench.world.now += 1000
    bench.end(job)
    ended_ms = bench.world.now
    assert (states(bench, job), bench.effects) == ("r rr-", [f"StopAttempt {child}"])
    bench.world.now += 1000
    bench.end(f"{job}#1", cause="stopped", exit_code=143)
    assert states(bench, job) == "+ +--"
    record = bench.job(job)
    assert (record.stopped_at_ms, record.attempts[-1].exit_code) == (ended_ms, 0)
    assert bench.job(f"{job}#1").status_reason == "Main node has ended"
    assert bench.job(f"{job}#2").attempts[-1].exit_code == 1
    yard = bench.engine.yard
    assert (yard.jobs, yard.specifications, yard.attempts, yard.live_nodes, bench.engine.ledger.specifications) == ({}, {}, {}, {}, {})


def test_all_nodes_are_placed_together_or_none() -> None:
    bench = Bench(Resources(3, 8192))
    first = bench.submit()
    bench.up()
    bench.start(first)
    job = bench.submit(**gang(3))
    bench.up()
    assert (states(bench, job), len(bench.engine.yard.attempts)) == ("R RRR", 1)
    assert "nodes" in bench.read.waiting_reason(bench.job(job), bench.job_spec(job))
    bench.end(first)
    bench.up()
    bench.up()
    assert states(bench, job) == "S SRR"


def test_two_jobs_that_each_need_most_of_the_machine_do_not_wait_for_each_other() -> None:
    bench = Bench(Resources(4, 8192))
    bench.environment("other")
    bench.queue("q2", ("other",))
    one, two = bench.submit(**gang(3)), bench.submit(**gang(3), queue="q2")
    for _ in range(2):
        bench.up()
        running = [j for j in (one, two) if bench.job(j).status is Status.STARTING]
        assert len(running) == 1
        bench.start(running[0])
        bench.end(running[0])
        for n in (1, 2):
            if f"{running[0]}#{n}" in bench.engine.yard.jobs:
                bench.end(f"{running[0]}#{n}", cause="stopped", exit_code=143)
        assert bench.status(running[0]) == ["SUCCEEDED"]
        for instance in [i for i in bench.instances if i.state is InstanceState.STOPPING]:
            bench.gone(instance.id)
    assert bench.status(one, two) == ["SUCCEEDED", "SUCCEEDED"]


def test_small_jobs_of_a_queue_behind_do_not_take_the_room_that_was_found() -> None:
    bench = Bench(Resources(4, 8192))
    bench.queue("low", priority=0)
    bench.queue("high", priority=2)
    bench.environment(max_vcpus=4)
    busy = bench.submit(queue="high", needs=Resources(2, 100))
    bench.up()
    bench.start(busy)
    job = bench.submit(**gang(3))
    late = [bench.submit(queue="low") for _ in range(4)]
    for _ in range(3):
        bench.up()
        bench.tick(1)
    assert set(bench.status(*late)) == {"RUNNABLE"}
    bench.end(busy)
    bench.up()
    bench.tick(1)
    bench.up()
    assert states(bench, job) == "S SRR"


def test_nodes_share_where_there_is_no_room_for_an_instance_each() -> None:
    bench = Bench(Resources(2, 8192), bare=True)
    bench.environment(instance_types=("c5.large",))  # 2 vCPUs, 4 GiB
    bench.queue()
    job = bench.submit(**gang(2))
    bench.up()
    assert (states(bench, job), len(bench.instances)) == ("S SR", 1)


def test_a_named_instance_type_is_held_to() -> None:
    bench = Bench(bare=True)
    bench.environment(instance_types=("c5.large", "m5.large"))
    bench.queue()
    job = bench.submit(**gang(1, instance_type="m5.large"))
    bench.up()
    assert [i.type_name for i in bench.instances] == ["m5.large"]
    assert states(bench, job) == "S S"
    other = bench.submit(**gang(1, instance_type="p3dn.24xlarge"))
    assert "p3dn.24xlarge" in bench.read.explain(other).summary  # type: ignore[union-attr]


def test_not_on_spot_and_no_second_environment_while_the_first_is_full() -> None:
    bench = Bench(bare=True)
    bench.environment("spot", spot=True)
    bench.environment("small", max_vcpus=2)
    bench.environment("large")
    bench.queue(environments=("spot", "small", "large"))
    single = bench.submit(needs=Resources(1, 100))
    bench.up()
    assert [i.environment for i in bench.instances] == ["spot"]
    job, bigger = bench.submit(**gang(2)), bench.submit(**gang(3))
    bench.up()
    assert bench.status(single, job, bigger) == ["STARTING"] * 3
    where = {bench.job(j).current.environment for j in (f"{job}#0", f"{job}#1")}  # type: ignore[union-attr]
    assert where == {"small"}
    assert {bench.job(f"{bigger}#{n}").current.environment for n in range(3)} == {"large"}  # type: ignore[union-attr]
    waits = bench.submit(**gang(2))
    bench.up()
    assert bench.status(waits) == ["RUNNABLE"], "`small` is full; `large` has room and is not tried, as on AWS"
    told = bench.read.explain(waits)
    assert told is not None and [r.environment for r in told.reasons] == ["spot", "small"]


def test_what_can_never_run_lets_others_pass_and_says_why() -> None:
    bench = Bench(Resources(4, 8192))
    job = bench.submit(**gang(5))
    other = bench.submit()
    bench.up()
    assert bench.status(job, other) == ["RUNNABLE", "STARTING"]
    told = bench.read.explain(job)
    assert told is not None and "5 nodes need 5 vCPUs" in told.summary
    assert told.aws_reason.startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")


def test_a_failed_main_node_is_tried_again_with_all_nodes() -> None:
    bench = Bench()
    job = started(bench, attempts=2)
    bench.end(f"{job}#1", exit_code=7)
    assert states(bench, job) == "r rRr", "it may be needed again"
    bench.end(job, exit_code=3)
    assert states(bench, job) == "r rRr", "not before the other nodes have ended"
    bench.end(f"{job}#2", cause="stopped", exit_code=143)
    assert states(bench, job) == "S SRR"
    bench.start(job)
    bench.start(f"{job}#1", f"{job}#2")
    bench.end(f"{job}#1", f"{job}#2")
    bench.end(job, exit_code=0)
    assert states(bench, job) == "+ +++"
    assert [(a.number, a.exit_code) for a in bench.job(f"{job}#1").attempts] == [(1, 7), (2, 0)]
    assert [a.exit_code for a in bench.job(job).attempts] == [3, 0]


def test_a_host_that_is_lost_before_all_have_started_takes_the_attempt_with_it() -> None:
    bench = Bench()
    job = bench.submit(**gang(3, attempts=2, retry_rules=(RetryRule("RETRY", "Host EC2*"), RetryRule("EXIT", on_reason="*"))))
    bench.up()
    main, lost = bench.attempt(job), bench.job(f"{job}#2").current.instance  # type: ignore[union-attr]
    bench.gone(lost)
    assert (states(bench, job), f"StopAttempt {main}" in bench.effects) == ("S SRR", True)
    bench.report(AttemptStarted(main, bench.world.now))
    assert states(bench, job) == "r rRR", "nobody is called any more"
    bench.report(AttemptEnded(main, bench.world.now, "stopped", exit_code=143))
    first = bench.job(job).attempts[0]
    assert (first.status_reason, first.exit_code) == (f"Host EC2 (instance {lost}) terminated.", None)
    bench.up()
    assert states(bench, job) == "S SRR"
    assert bench.job(f"{job}#1").attempts == (), "what never started is no attempt"


def test_a_host_that_is_lost_later_is_the_childs_own_end_but_for_the_main_nodes() -> None:
    bench = Bench()
    job = started(bench)
    lost = bench.job(f"{job}#2").current.instance  # type: ignore[union-attr]
    bench.gone(lost)
    assert states(bench, job) == "r rr-"
    assert bench.job(f"{job}#2").status_reason == f"Host EC2 (instance {lost}) terminated."
    bench.gone(bench.job(job).current.instance)  # type: ignore[union-attr]
    bench.end(f"{job}#1", cause="stopped", exit_code=143)
    assert states(bench, job) == "- ---"
    assert bench.job(job).status_reason.startswith("Host EC2 (instance i-")


@pytest.mark.parametrize("stage", ["runnable", "starting", "running", "ending"])
def test_terminate_ends_all_nodes(stage: str) -> None:
    bench = Bench()
    job = bench.submit(**gang(2, attempts=3))
    if stage != "runnable":
        bench.up()
    if stage in ("running", "ending"):
        bench.start(job)
        bench.start(f"{job}#1")
    if stage == "ending":
        bench.end(job, exit_code=1)
    placed = dict(bench.engine.yard.attempts)
    bench.terminate(job)
    for attempt, id in placed.items():
        if id in bench.engine.yard.jobs and (stage != "starting" or id == job):
            bench.report(AttemptEnded(attempt, bench.world.now, "stopped", exit_code=143))
    assert states(bench, job) == "- --"
    assert {bench.job(id).status_reason for id in (job, f"{job}#1")} <= {"stop it", "Main node has ended"}
    assert bench.job(job).status_reason == "stop it" and bench.job(job).is_terminated


def test_after_its_main_node_has_succeeded_a_job_cannot_be_terminated_any_more() -> None:
    bench = Bench()
    job = started(bench, 2)
    bench.end(job)
    bench.terminate(job)
    bench.end(f"{job}#1", cause="stopped", exit_code=143)
    assert states(bench, job) == "+ +-"


def test_cancel_has_an_effect_until_the_job_starts_and_nodes_are_not_stopped_alone() -> None:
    bench = Bench()
    job = bench.submit(**gang(2))
    bench.ask(Cancel(f"{job}#1", "no"))
    assert states(bench, job) == "R RR"
    bench.cancel(job)
    assert states(bench, job) == "- --" and bench.job(f"{job}#1").status_reason == "enough"
    other = started(bench, 2)
    bench.cancel(other)
    bench.ask(Terminate(f"{other}#1", "no"))
    assert states(bench, other) == "r rr"
    bench.ask(EndAll("down"))
    assert len([e for e in bench.effects if e.startswith("StopAttempt")]) == 2


def test_a_timeout_is_the_whole_jobs_and_is_not_retried() -> None:
    bench = Bench()
    job = started(bench, 2, attempts=3, timeout_s=60)
    bench.end(job, cause="timeout", exit_code=137)
    bench.end(f"{job}#1", cause="stopped", exit_code=143)
    assert (states(bench, job), bench.job(job).status_reason) == ("- --", "Job attempt duration exceeded timeout")


def test_a_main_node_that_ends_before_the_others_start() -> None:
    bench = Bench()
    job = bench.submit(**gang(2))
    bench.up()
    attempt, now = bench.attempt(job), bench.world.now
    bench.report(AttemptStarted(attempt, now), AttemptEnded(attempt, now, "exited", exit_code=0))
    assert states(bench, job) == "+ +-"
    assert (bench.job(f"{job}#1").attempts, bench.job(f"{job}#1").status_reason) == ((), "Main node has ended")


def test_dependencies_on_the_job_and_on_its_nodes() -> None:
    bench = Bench()
    job = started(bench)
    whole, on_main, on_one, on_two = (bench.submit(*after(id)) for id in (job, f"{job}#0", f"{job}#1", f"{job}#2"))
    assert bench.status(whole, on_main, on_one, on_two) == ["PENDING"] * 4
    bench.end(f"{job}#1")
    assert bench.status(on_one) in (["STARTING"], ["RUNNABLE"])
    bench.end(job)
    assert bench.status(whole, on_main, on_two) == ["PENDING"] * 3
    bench.end(f"{job}#2", cause="stopped", exit_code=143)
    assert bench.status(on_two) == ["FAILED"]
    assert "PENDING" not in bench.status(whole, on_main) and "FAILED" not in bench.status(whole, on_main)
    late = [bench.submit(*after(id)) for id in (f"{job}#0", f"{job}#1", f"{job}#2")]
    assert [s == "FAILED" for s in bench.status(*late)] == [False, False, True]


def test_a_job_that_waits_for_others_has_waiting_nodes() -> None:
    bench = Bench()
    first = bench.submit()
    job = bench.submit(*after(first), **gang(2))
    waits_for_node = bench.submit(*after(f"{job}#1"))
    assert states(bench, job) == "P PP"
    bench.finish(first, exit_code=1)
    assert (states(bench, job), bench.status(waits_for_node)) == ("- --", ["FAILED"])
    assert bench.job(f"{job}#1").status_reason == "Dependent Job failed"


def test_after_a_crash_the_same_is_done_again() -> None:
    bench = Bench()
    job = bench.submit(**gang(2))
    pending = bench.instances
    turn = bench.engine.decide([], [InstanceUp(i.id, bench.world.now) for i in pending], bench.world.now)
    bench.store.stage(turn.changes)
    bench.store.commit()  # and the server dies before the launch
    bench.restart()
    assert states(bench, job) == "S SR"
    bench.back([i.id for i in pending])
    assert f"Launch {job}" in bench.effects and not any(f"{job}#1" in e for e in bench.effects)
    bench.start(job)
    bench.restart()
    bench.back([i.id for i in pending], [bench.attempt(job)], AttemptStarted(bench.attempt(job), bench.world.now))
    assert (states(bench, job), f"Launch {job}#1" in bench.effects) == ("r rS", True)
    bench.start(f"{job}#1")
    bench.end(job)
    bench.restart()
    assert states(bench, job) == "r rr"
    bench.back([i.id for i in pending], [bench.attempt(f"{job}#1")])
    assert f"StopAttempt {bench.attempt(f'{job}#1')}" in bench.effects
    bench.end(f"{job}#1", cause="stopped", exit_code=143)
    assert states(bench, job) == "+ +-"


def test_nodes_are_listed_with_and_without_records() -> None:
    bench = Bench()
    job = bench.submit(**gang(3, main=1))
    listed = bench.read.jobs(JobQuery(array=job, limit=2))
    assert [j.id for j, _ in listed.jobs] == [f"{job}#0", f"{job}#1"]
    assert [j.id for j, _ in bench.read.jobs(JobQuery(array=job, limit=2, cursor=listed.cursor)).jobs] == [f"{job}#2"]
    bench.up()
    bench.start(job)
    found = bench.read.jobs(JobQuery(array=job, status=Status.RUNNING)).jobs
    assert [(j.id, j.node) for j, _ in found] == [(f"{job}#1", 1)]
    assert bench.read.job(f"{job}#3") is None and bench.read.job(f"{job}#01") is None
    assert [j.id for j, _ in bench.read.jobs(JobQuery(queue=Q)).jobs] == [job]


def test_what_each_node_is_told() -> None:
    bench = Bench()
    job = bench.submit(**gang(2, main=1, timeout_s=60))
    bench.up()
    ledger = bench.engine.ledger
    launcher = Launcher({}, "http://x", lambda order: AttemptKeys("k", "s", "t"))

    def launch(id: str) -> Any:
        record = ledger.jobs[id]
        assert record.current is not None
        return launcher.launch(LaunchOrder(record, ledger.specifications[job], record.current), ledger.environments[CE], ledger.queues[Q])

    main, child = launch(job), launch(f"{job}#0")
    assert (main.job_id, child.job_id, main.timeout_s, child.timeout_s) == (f"{job}#1", f"{job}#0", 60, None)
    names = ("JOB_ID", "JOB_NODE_INDEX", "JOB_NUM_NODES", "JOB_MAIN_NODE_INDEX", "JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS", "JOB_ATTEMPT")
    told = [[one.environment.get(f"AWS_BATCH_{name}") for name in names] for one in (main, child)]
    assert told == [[f"{job}#1", "1", "2", "1", None, "1"], [f"{job}#0", "0", "2", "1", "127.0.0.1", "1"]]
    assert main.log_stream != child.log_stream
    assert HOST.vcpus == 8


def test_room_that_was_held_for_a_node_is_given_to_others_in_the_turn_that_frees_it() -> None:
    bench = Bench(Resources(2, 8192))
    job = bench.submit(**gang(2))
    bench.up()
    other = bench.submit()
    assert (states(bench, job), bench.status(other)) == ("S SR", ["RUNNABLE"])
    bench.terminate(job)
    assert (bench.status(job), bench.status(other)) == (["STARTING"], ["STARTING"]), "the main node is still being stopped"
