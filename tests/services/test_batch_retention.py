"""Finished jobs and definitions out of use are forgotten after their time: all that belongs to them, and nothing that somebody needs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from batch_bench import Bench

from batchyard.engine import retention
from batchyard.engine.retention import Retention
from batchyard.model.requests import Forget

DAY_S = 86_400


def run(bench: Bench, job: str) -> None:
    bench.start(job)
    bench.end(job)


def chore(bench: Bench, jobs_s: float | None = DAY_S, definitions_s: float | None = None) -> list[float]:
    """Steps of the chore until it wants to rest; the pauses that it asked for."""
    pauses: list[float] = []
    while not pauses or pauses[-1] == retention.PAUSE_S:
        pauses.append(asyncio.run(retention.run_once(bench.desk.ask, Retention(jobs_s, definitions_s), bench.world.now)))
        assert len(pauses) < 100
    return pauses


def described(bench: Bench, *jobs: str) -> list[str]:
    return [job["jobId"] for job in bench.call("DescribeJobs", jobs=list(jobs))["jobs"]]


def rows(bench: Bench, table: str) -> int:
    return int(next(iter(bench.engine.store._reader.execute(f"SELECT count(*) FROM {table}")))[0])


def test_after_its_time_and_not_before(ready: Bench) -> None:
    ready.call("CreateConsumableResource", consumableResourceName="licence", totalQuantity=1)
    wants = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 1}]}
    old = ready.submit(consumableResourcePropertiesOverride=wants)
    run(ready, old)
    ready.tick(DAY_S)
    chore(ready)
    assert described(ready, old) == [old], "a day has not passed yet"
    ready.tick(0.001)
    newer = ready.submit()
    assert chore(ready) == [retention.PAUSE_S, retention.EVERY_S]
    assert described(ready, old, newer) == [newer]
    assert ready.call("ListJobs", jobQueue="queue", jobStatus="SUCCEEDED")["jobSummaryList"] == []
    assert ready.call("ListJobsByConsumableResource", consumableResource="licence")["jobs"] == []
    assert (rows(ready, "specifications"), rows(ready, "consumers")) == (1, 0)
    ready.engine.rebuild()
    assert described(ready, old, newer) == [newer]


def test_whoever_waits_or_runs_stays_whatever_its_age(ready: Bench) -> None:
    running, waiting = ready.submit(), ready.submit(containerOverrides={"resourceRequirements": [{"type": "VCPU", "value": "99"}]})
    ready.start(running)
    after = ready.submit(dependsOn=[{"jobId": running}])
    ready.tick(999 * DAY_S)
    ready.submit()
    chore(ready)
    assert described(ready, running, waiting, after) == [running, waiting, after]


def test_one_that_waited_for_a_forgotten_job_runs_all_the_same(ready: Bench) -> None:
    first, slow = ready.submit(), ready.submit()
    run(ready, first)
    last = ready.submit(dependsOn=[{"jobId": first}, {"jobId": slow}])
    ready.tick(2 * DAY_S)
    chore(ready)
    assert described(ready, first, last) == [last]
    ready.engine.rebuild()
    run(ready, slow)
    run(ready, last)
    assert ready.job(last)["status"] == "SUCCEEDED"
    assert "does not exist" in ready.refused("SubmitJob", jobName="j", jobQueue="queue", jobDefinition="job", dependsOn=[{"jobId": first}])


def test_an_array_goes_as_a_whole_and_bit_by_bit(ready: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchyard.store.forgetting.CHILDREN", 2)
    array = ready.submit(arrayProperties={"size": 5})
    for index in range(5):
        run(ready, f"{array}:{index}")
    ready.submit()
    ready.tick(2 * DAY_S)
    ask = ready.desk.ask
    assert asyncio.run(ask(Forget(jobs_before_ms=ready.world.now))) == 1
    assert described(ready, array, f"{array}:3") == []
    assert rows(ready, "jobs") == 6, "out of sight, and not yet deleted"
    ready.engine.rebuild()
    chore(ready)
    assert (rows(ready, "jobs"), rows(ready, "leftovers")) == (1, 0)


def test_an_array_that_another_follows_stays_as_long_as_that_one(ready: Bench) -> None:
    """What became of a child that never ran follows from its namesake in the other array."""
    leader = ready.submit(arrayProperties={"size": 2})
    follower = ready.submit(arrayProperties={"size": 2}, dependsOn=[{"jobId": leader, "type": "N_TO_N"}])
    for index, code in ((0, 0), (1, 1)):
        ready.start(f"{leader}:{index}")
        ready.end(f"{leader}:{index}", exit_code=code)
    ready.tick(DAY_S)
    run(ready, f"{follower}:0")
    assert ready.job(follower)["status"] == "FAILED"
    ready.submit()
    ready.tick(1)
    chore(ready)
    assert described(ready, leader) == [leader], "its own time is over, its follower's is not"
    assert ready.job(f"{follower}:1")["statusReason"] == "Dependent Job failed"
    ready.tick(DAY_S)
    chore(ready)
    assert described(ready, leader, follower) == []
    assert rows(ready, "followers") == 0


def test_definitions_out_of_use(bench: Bench) -> None:
    for _ in range(3):
        bench.definition("job")
    for revision in (1, 3):
        bench.call("DeregisterJobDefinition", jobDefinition=f"job:{revision}")

    def revisions() -> list[int]:
        return [d["revision"] for d in bench.call("DescribeJobDefinitions", jobDefinitionName="job")["jobDefinitions"]]

    bench.tick(10)
    chore(bench, None, 10)
    assert revisions() == [3, 2, 1]
    bench.tick(0.001)
    chore(bench, None, 10)
    assert revisions() == [3, 2], "the newest stays, whatever its state: numbers are never given twice"
    bench.engine.rebuild()
    assert bench.definition("job").endswith(":4")


def test_without_a_time_nothing_goes(ready: Bench) -> None:
    job = ready.submit()
    run(ready, job)
    ready.submit()
    ready.tick(9999 * DAY_S)
    assert chore(ready, None) == [retention.EVERY_S]
    assert described(ready, job) == [job]


def test_the_chore_looks_more_often_where_times_are_short(ready: Bench) -> None:
    assert chore(ready, 20) == [2]
    assert chore(ready, 999 * DAY_S, 60) == [6]
    many: dict[str, Any] = {"most": 2}
    jobs = [ready.submit() for _ in range(5)]
    for job in jobs:
        run(ready, job)
    ready.tick(1)
    gone = [asyncio.run(ready.desk.ask(Forget(jobs_before_ms=ready.world.now, **many))) for _ in range(3)]
    assert gone == [2, 2, 0], "the newest submission stays: new ids go on from it"
