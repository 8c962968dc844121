"""Queues seen from outside: who may hold up whom, and that nobody is told a wrong reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from yard import Yard, until


def explain(yard: Yard, job_id: str) -> dict[str, Any]:
    return json.loads(yard.cli("explain", job_id, "--json", "--data", str(yard.data)).stdout)  # type: ignore[no-any-return]


def test_thousands_of_jobs_that_can_never_run_hold_up_nobody(yard: Yard) -> None:
    impossible = {"resourceRequirements": [{"type": "MEMORY", "value": "8000000"}]}
    large = yard.submit("true", arrayProperties={"size": 10_000}, containerOverrides=impossible)
    assert yard.until(yard.submit("true"))["status"] == "SUCCEEDED"
    assert yard.job(f"{large}:9999")["statusReason"].startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - ")
    yard.batch.terminate_job(jobId=large, reason="it cannot run")
    assert yard.until(large)["status"] == "FAILED"


def test_an_array_is_told_what_its_children_wait_for(yard: Yard) -> None:
    running, done = yard.submit("sleep"), yard.submit("true")
    yard.until(running, "RUNNING")
    yard.until(done)
    held = yard.submit("true", arrayProperties={"size": 3}, dependsOn=[{"jobId": running}, {"jobId": done}])
    for job_id, said in ((held, f"array of 3: 3 PENDING; waits for {running} (RUNNING)"), (f"{held}:1", f"waits for {running} (RUNNING)")):
        explained = explain(yard, job_id)
        assert (explained["summary"], explained["reasons"]) == (said, [])

    leader = yard.submit("sleep", arrayProperties={"size": 2})
    for child in range(2):
        yard.until(f"{leader}:{child}", "RUNNING")
    follower = yard.submit("true", arrayProperties={"size": 2}, dependsOn=[{"jobId": leader, "type": "N_TO_N"}, {"type": "SEQUENTIAL"}])
    for job_id, said in (
        (leader, "array of 2: 2 RUNNING"),
        (follower, f"array of 2: 2 PENDING; its children wait for those of {leader} (PENDING) and for one another"),
        (f"{follower}:0", f"waits for {leader}:0 (RUNNING)"),
        (f"{follower}:1", f"waits for {leader}:1 (RUNNING), {follower}:0 (PENDING)"),
    ):
        explained = explain(yard, job_id)
        assert (explained["summary"], explained["reasons"]) == (said, [])
    for job_id in (running, leader, follower, held):
        yard.batch.terminate_job(jobId=job_id, reason="seen")


def test_who_waits_behind_a_job_that_can_never_run_is_told_so_and_not_to_wait(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "2", "--memory-mib", "1024", "--profile", "aws")
    yard.with_queue()
    head = yard.submit(yard.definition_of("large", "true", memory_mib=4096))
    behind = yard.submit(yard.definition_of("small", "true"))
    assert yard.job(behind)["status"] == "RUNNABLE"
    explained = explain(yard, behind)
    assert explained["summary"] == (
        f"waits behind {head}, which is at the head of queue queue and cannot run as things are: `batchyard explain {head}` says why"
    )
    assert explained["reasons"] == []
    yard.batch.cancel_job(jobId=head, reason="too large")
    assert yard.until(behind)["status"] == "SUCCEEDED"


def test_a_lowered_maximum_holds_for_the_instances_that_run(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "8", "--memory-mib", "4096")
    yard.with_queue(max_vcpus=4)
    yard.definition_of("sleep", "sleep", "600")
    running = [yard.submit("sleep") for _ in range(4)]
    for job_id in running:
        yard.until(job_id, "RUNNING")
    yard.batch.update_compute_environment(computeEnvironment="environment", computeResources={"maxvCpus": 1})
    waiting = yard.submit("sleep")
    for job_id in running[1:]:
        yard.batch.terminate_job(jobId=job_id, reason="room")
        yard.until(job_id)
    assert yard.job(waiting)["status"] == "RUNNABLE", "one vCPU is all there may be, and it is taken"
    until(lambda: instances(yard) == [running[0]] or None, "the others to be gone")
    assert explain(yard, waiting)["reasons"][0]["shortfall"].startswith("1 of 1 vCPUs (maxvCpus) are taken; 1 short")
    yard.batch.terminate_job(jobId=running[0], reason="room")
    yard.until(waiting, "RUNNING")


def instances(yard: Yard) -> list[str]:
    """The jobs on each instance, one after another."""
    answer = json.loads(yard.cli("compute", "--json", "--data", str(yard.data)).stdout)
    return [",".join(instance["jobs"]) for instance in answer["instances"]]
