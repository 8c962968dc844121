"""Scratch space in the engine: what providers say of it, what is promised of it, and what is told to who asks."""

from __future__ import annotations

import json

import msgspec
import pytest
from engine_bench import Bench

from batchyard.core import scheduling
from batchyard.model.capacity import Resources, Scratch, TimeLimit
from batchyard.model.job import NodeGroup, Specification
from batchyard.model.messages import ScratchSeen, StopAttempt

GIB = 1024


def seen(bench: Bench, capacity_gib: int = 100, unpromised_gib: int = 0, why_not: str = "") -> None:
    bench.report(ScratchSeen("local", not why_not, why_not, capacity_gib * GIB, unpromised_gib * GIB, bench.world.now))


def asks(gib: float, vcpus: float = 1) -> Resources:
    return Resources(vcpus, 100, 0, int(gib * GIB))


def stands(bench: Bench) -> Scratch:
    found = bench.read.scratch
    assert found is not None
    return found


def test_two_that_together_ask_for_more_than_there_is_run_one_after_the_other() -> None:
    bench = Bench()
    seen(bench)
    first, second = bench.submit(needs=asks(60)), bench.submit(needs=asks(60))
    bench.start(first)
    assert bench.status(first, second) == ["RUNNING", "RUNNABLE"]
    assert stands(bench) == Scratch(True, "", 100 * GIB, 0, 60 * GIB)
    told = bench.read.explain(second)
    assert told is not None
    assert told.summary == (
        "ce: the job asks for 60 GiB of scratch space; of 100 GiB that can be promised, 60 GiB are promised to jobs that run, and 0 GiB are"
        " taken without a promise: 20 GiB short"
    )
    assert [r.fix for r in told.reasons] == ["wait for jobs to end, or ask for at most 40 GiB (batchyard:scratch-gib)"]
    assert told.aws_reason == ""
    assert bench.read.waiting_reason(bench.job(second), bench.job_spec(second)) == told.summary
    bench.end(first)
    bench.up()
    assert bench.status(first, second) == ["SUCCEEDED", "STARTING"]
    assert stands(bench).promised_mib == 60 * GIB


def test_what_is_promised_follows_from_the_jobs_also_after_a_restart() -> None:
    bench = Bench()
    seen(bench)
    job = bench.submit(needs=asks(30), attempts=2)
    bench.start(job)
    bench.restart()
    assert bench.read.scratch is None, "nobody has said anything yet"
    waits, goes = bench.submit(needs=asks(1)), bench.submit(needs=Resources(1, 100))
    bench.up()
    assert bench.status(waits, goes) == ["RUNNABLE", "RUNNABLE"], "the head waits, and the queue is in order"
    told = bench.read.explain(waits)
    assert told is not None and "has not said yet how much there is" in told.summary
    seen(bench, 31)
    bench.up()
    assert bench.status(job, waits, goes) == ["RUNNING", "STARTING", "STARTING"]
    assert stands(bench).free_mib == 0
    bench.end(job, exit_code=1)
    assert stands(bench).promised_mib == 31 * GIB, "it is tried again at once, with what it gave back"


def test_no_job_starts_while_it_is_not_healthy_and_all_go_on_after() -> None:
    bench = Bench()
    seen(bench, why_not="a device is lost")
    job = bench.submit()
    assert bench.instances == [], "nor is an instance started for it"
    assert bench.read.waiting_reason(bench.job(job), bench.job_spec(job)) == (
        "ce: this machine takes no job as long as its scratch space is not ready: a device is lost"
    )
    seen(bench)
    bench.up()
    assert bench.status(job) == ["STARTING"]


def test_what_was_said_last_holds_until_the_next_connection_says_it_anew() -> None:
    bench = Bench()
    seen(bench, why_not="a device is lost")
    bench.back()
    job = bench.submit()
    assert bench.instances == []
    bench.back((), (), ScratchSeen("local", True, "", 10, 0, bench.world.now))
    assert len(bench.instances) == 1 and bench.status(job) == ["RUNNABLE"]


def test_a_failed_write_does_not_forget_it() -> None:
    bench = Bench()
    seen(bench, 7)
    bench.engine.rebuild()
    assert stands(bench).capacity_mib == 7 * GIB


def test_the_same_said_again_is_no_reason_to_plan_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    seen(bench)
    plans: list[int] = []
    plan = scheduling.plan
    monkeypatch.setattr(scheduling, "plan", lambda *given: plans.append(1) or plan(*given))
    bench.world.now += 1000
    seen(bench)
    assert plans == []
    seen(bench, 99)
    assert plans == [1]


def test_more_than_there_is_says_so_in_words_of_ours() -> None:
    for open_profile in (True, False):
        bench = Bench(open_profile=open_profile)
        seen(bench)
        job, other = bench.submit(needs=asks(200)), bench.submit(needs=asks(1))
        bench.up()
        assert bench.status(job, other) == ["RUNNABLE", "STARTING" if open_profile else "RUNNABLE"]
        words = bench.read.waiting_reason(bench.job(job), bench.job_spec(job))
        assert words.startswith("MISCONFIGURATION:BATCHYARD_SCRATCH_SPACE - The job asks for 200 GiB of scratch space")
        told = bench.read.explain(job)
        assert told is not None and told.aws_reason == "", "AWS has no word for it"
        assert (
            told.summary
            == "ce: the job asks for 200 GiB of scratch space (batchyard:scratch-gib), and this machine can promise 100 GiB in all"
        )
        blocked = [words for _, _, words in bench.read.blocked()]
        assert bool(blocked) is not open_profile and all("BATCHYARD_SCRATCH_SPACE" in words for words in blocked)
        seen(bench, 200)
        bench.up()
        assert "STARTING" in bench.status(job, other)


def test_a_time_limit_for_requirements_that_cannot_be_met_ends_it() -> None:
    bench = Bench()
    seen(bench)
    bench.queue(time_limits=(TimeLimit("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", 600),))
    job = bench.submit(needs=asks(200))
    bench.tick(599)
    assert bench.status(job) == ["RUNNABLE"]
    bench.tick(2)
    assert bench.status(job) == ["FAILED"]
    assert bench.job(job).status_reason == ("Canceled by JobStateTimeLimit action due to reason: MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")


def test_children_of_an_array_are_promised_theirs_one_by_one() -> None:
    bench = Bench()
    seen(bench)
    array = bench.submit(needs=asks(40), size=5)
    bench.up()
    assert bench.children(array) == "SSRRR" and stands(bench).promised_mib == 80 * GIB
    bench.start(f"{array}:0")
    bench.end(f"{array}:0")
    bench.up()
    assert bench.children(array) == "+SSRR"
    told = bench.read.explain(array)
    assert told is not None and "20 GiB are" not in told.summary and "20 GiB short" in told.summary


def test_nodes_are_promised_theirs_together_and_give_it_back_one_by_one() -> None:
    bench = Bench()
    seen(bench)
    group = NodeGroup(first=0, last=2, needs=asks(30))
    job = bench.submit(needs=asks(30), nodes=(group,))
    other = bench.submit(needs=asks(20))
    bench.up()
    assert bench.status(job, other) == ["STARTING", "RUNNABLE"] and stands(bench).promised_mib == 90 * GIB
    bench.start(job)
    bench.start(f"{job}#1", f"{job}#2")
    bench.end(f"{job}#1")
    bench.up()
    assert stands(bench).promised_mib == 80 * GIB and bench.status(other) == ["STARTING"]


def test_what_is_free_is_kept_for_the_head_of_a_queue_that_comes_first() -> None:
    bench = Bench()
    seen(bench)
    bench.queue("arn:aws:batch:r:1:job-queue/high", priority=9)
    holder = bench.submit(needs=asks(50))
    bench.start(holder)
    big, small = bench.submit(needs=asks(60), queue="arn:aws:batch:r:1:job-queue/high"), bench.submit(needs=asks(5))
    bench.up()
    assert bench.status(big, small) == ["RUNNABLE", "RUNNABLE"]
    told = bench.read.explain(small)
    assert told is not None
    assert told.summary == "waits its turn: of 50 GiB of scratch space that are free, 60 GiB are kept for the job at the head of high"
    bench.terminate(big)
    bench.up()
    assert bench.status(small) == ["STARTING"]


def test_no_spot_work_is_taken_away_for_it() -> None:
    bench = Bench()
    seen(bench)
    bench.environment("arn:aws:batch:r:1:compute-environment/spot", spot=True)
    bench.queue("arn:aws:batch:r:1:job-queue/s", ["arn:aws:batch:r:1:compute-environment/spot"])
    holder = bench.submit(needs=asks(80, vcpus=2), queue="arn:aws:batch:r:1:job-queue/s", attempts=3)
    bench.start(holder)
    head = bench.submit(needs=asks(40, vcpus=8))
    assert bench.status(holder, head) == ["RUNNING", "RUNNABLE"]
    assert all(instance.reclaim_at_ms is None for instance in bench.instances)
    assert not any(isinstance(order.effect, StopAttempt) for order in bench.last.effects)


def test_a_record_of_before_is_read_as_asking_for_nothing() -> None:
    bench = Bench()
    stored = json.loads(msgspec.json.encode(bench.spec()))
    assert stored["needs"] == [1, 100, 0, 0]
    stored["needs"] = stored["needs"][:3]
    assert msgspec.json.decode(json.dumps(stored), type=Specification).needs == Resources(1, 100)


def test_what_an_attempt_used_stands_in_its_record() -> None:
    bench = Bench()
    job = bench.submit()
    bench.start(job)
    bench.end(job, read_mib=12.5, written_mib=300.25, disk_peak_mib=280.0, peak_memory_mib=5.0)
    bench.engine.rebuild()
    (attempt,) = bench.job(job).attempts
    assert (attempt.read_mib, attempt.written_mib, attempt.disk_peak_mib) == (12.5, 300.25, 280.0)
