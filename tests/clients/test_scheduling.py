"""What users of queues and environments are promised, seen from outside: order, spill, bounds, Spot, and why a job waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from yard import Yard, until

RETRY = {"attempts": 3}


def instances(yard: Yard) -> list[dict[str, Any]]:
    return json.loads(yard.cli("compute", "--json", "--data", str(yard.data)).stdout)["instances"]  # type: ignore[no-any-return]


def explain(yard: Yard, job_id: str) -> dict[str, Any]:
    return json.loads(yard.cli("explain", job_id, "--json", "--data", str(yard.data)).stdout)  # type: ignore[no-any-return]


def environment(yard: Yard, name: str) -> dict[str, Any]:
    return yard.batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"][0]  # type: ignore[no-any-return]


@pytest.fixture
def pair(new_yard: Callable[..., Yard]) -> Yard:
    """The genomics environment in small: Spot and on-demand, a default queue with spill idle, a high-priority queue."""
    yard = new_yard("--vcpus", "4", "--memory-mib", "4096", "--spot-notice", "1", "--idle", "3600")
    yard.environment_of("spot", kind="SPOT", max_vcpus=2)
    yard.environment_of("on-demand", max_vcpus=4)
    yard.queue_of("default", "spot", "on-demand", priority=1, tags={"batchyard:spill": "idle"})
    yard.queue_of("urgent", "on-demand", "spot", priority=100)
    yard.definition_of("sleep", "sleep", "600")
    yard.definition_of("true", "true")
    return yard


def test_spill_idle_never_scales_the_second_environment_but_uses_room_that_is_there(pair: Yard) -> None:
    jobs = [pair.submit("sleep", "default") for _ in range(3)]
    for job_id in jobs[:2]:
        pair.until(job_id, "RUNNING")
    third = pair.job(jobs[2])
    assert third["status"] == "RUNNABLE"
    assert environment(pair, "on-demand")["computeResources"]["desiredvCpus"] == 0
    why = {r["environment"]: r for r in explain(pair, jobs[2])["reasons"]}
    assert "2 of 2 vCPUs (maxvCpus) are taken; 1 short" in why["spot"]["shortfall"]
    assert "batchyard:spill=idle" in why["on-demand"]["shortfall"]
    # Work of the urgent queue brings an on-demand instance; once it is idle, it is room that is there.
    pair.until(pair.submit("true", "urgent"))
    spilled = pair.until(jobs[2], "RUNNING")
    placed_on = spilled["container"]["containerInstanceArn"].rpartition("/")[2]
    assert {i["id"]: i["environment"] for i in instances(pair)}[placed_on] == "on-demand"


def test_spill_scale_starts_the_second_environment(pair: Yard) -> None:
    jobs = [pair.submit("sleep", "urgent") for _ in range(4)]
    for job_id in jobs:
        pair.until(job_id, "RUNNING")
    assert environment(pair, "on-demand")["computeResources"]["desiredvCpus"] == 4
    extra = pair.submit("sleep", "urgent")
    until(lambda: pair.job(extra)["status"] == "RUNNABLE" or None, "the fifth to wait")
    assert "4 of 4 vCPUs (maxvCpus) are taken" in explain(pair, extra)["reasons"][0]["shortfall"]
    assert "this machine has 0 vCPUs" in explain(pair, extra)["reasons"][1]["shortfall"]


def test_on_demand_work_takes_the_room_of_spot_work_which_is_retried(pair: Yard) -> None:
    pair.batch.update_compute_environment(computeEnvironment="spot", computeResources={"maxvCpus": 4})
    cheap = [pair.submit("sleep", "default", retryStrategy=RETRY) for _ in range(4)]
    for job_id in cheap:
        pair.until(job_id, "RUNNING")
    urgent = pair.submit("sleep", "urgent")
    pair.until(urgent, "RUNNING")
    back = [j for j in (pair.job(c) for c in cheap) if j["attempts"]]
    assert back, "somebody had to go"
    for job in back:
        assert job["attempts"][0]["statusReason"].startswith("Host EC2 (instance i-")
        assert job["status"] in ("RUNNABLE", "STARTING", "RUNNING")


def test_queues_go_by_priority_and_jobs_by_submission(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "1", "--memory-mib", "1024")
    yard.environment_of("one", max_vcpus=1)
    yard.queue_of("low", "one", priority=1)
    yard.queue_of("high", "one", priority=2)
    yard.definition_of("quick", "sleep", "0.05")
    first = yard.submit(yard.definition_of("gate", "sleep", "600"), "low")
    yard.until(first, "RUNNING")
    low = [yard.submit("quick", "low") for _ in range(3)]
    high = [yard.submit("quick", "high") for _ in range(3)]
    snapshot = yard.batch.get_job_queue_snapshot(jobQueue="low")["frontOfQueue"]["jobs"]
    assert [j["jobArn"].rpartition("/")[2] for j in snapshot] == low
    yard.batch.terminate_job(jobId=first, reason="all are there")
    ended = [yard.until(j) for j in high + low]
    order = sorted(ended, key=lambda j: j["startedAt"])
    assert [j["jobId"] for j in order] == high + low


def test_minimum_vcpus_are_there_without_work_and_a_raised_maximum_lets_jobs_in(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "8", "--memory-mib", "8192", "--idle", "1")
    yard.with_queue("kept", min_vcpus=2, max_vcpus=2)
    yard.definition_of("sleep", "sleep", "600")
    until(lambda: environment(yard, "kept")["computeResources"]["desiredvCpus"] == 2 or None, "two vCPUs")
    until(lambda: [i for i in instances(yard) if i["state"] == "running"] or None, "an instance")
    jobs = [yard.submit("sleep") for _ in range(3)]
    until(lambda: yard.job(jobs[2])["status"] == "RUNNABLE" or None, "the third to wait")
    yard.batch.update_compute_environment(computeEnvironment="kept", computeResources={"maxvCpus": 4})
    yard.until(jobs[2], "RUNNING")
    for job_id in jobs:
        yard.batch.terminate_job(jobId=job_id, reason="enough")
    until(lambda: environment(yard, "kept")["computeResources"]["desiredvCpus"] == 2 or None, "back to the minimum")


def test_a_disabled_environment_takes_nothing_and_says_so(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "2", "--memory-mib", "1024")
    yard.with_queue("off")
    yard.definition_of("true", "true")
    yard.batch.update_compute_environment(computeEnvironment="off", state="DISABLED")
    job_id = yard.submit("true")
    assert yard.job(job_id)["status"] == "RUNNABLE"
    assert explain(yard, job_id)["reasons"][0]["shortfall"] == "is DISABLED"
    yard.batch.update_compute_environment(computeEnvironment="off", state="ENABLED")
    assert yard.until(job_id)["status"] == "SUCCEEDED"


def test_a_job_that_fits_the_machine_but_no_named_type_is_told_exactly_that(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "4", "--memory-mib", "2048")
    yard.with_queue(types=["m5.large"])
    yard.definition_of("true", "true")
    why = explain(yard, yard.submit("true"))["reasons"][0]
    assert "the job would fit this machine" in why["shortfall"]
    assert "m5.large" in why["shortfall"]
    assert "optimal" in why["fix"]


def test_a_head_that_can_never_run_says_so_in_awss_words(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "4", "--memory-mib", "2048")
    yard.with_queue(max_vcpus=2)
    wide = yard.submit(yard.definition_of("wide", "true", vcpus=3))
    assert yard.job(wide)["statusReason"] == (
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot meet the CPU requirement"
        " of the job."
    )
    large = yard.submit(yard.definition_of("large", "true", memory_mib=4096))
    assert yard.job(large)["statusReason"].startswith(
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU)"
    )
    assert yard.until(yard.submit(yard.definition_of("small", "true")))["status"] == "SUCCEEDED", "others pass in profile open"


def test_the_life_of_an_environment_and_its_queue(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "4", "--memory-mib", "2048")
    yard.environment_of("ce")
    yard.queue_of("jq", "ce")
    job_id = yard.submit(yard.definition_of("sleep", "sleep", "600"), "jq")
    yard.until(job_id, "RUNNING")
    yard.batch.update_compute_environment(computeEnvironment="ce", state="DISABLED")
    with pytest.raises(ClientError, match="Cannot delete, found existing JobQueue relationship"):
        yard.batch.delete_compute_environment(computeEnvironment="ce")
    yard.batch.update_job_queue(jobQueue="jq", state="DISABLED")
    yard.batch.delete_job_queue(jobQueue="jq")
    assert yard.until(job_id)["statusReason"] == "JobQueue deleted"
    until(lambda: not yard.batch.describe_job_queues(jobQueues=["jq"])["jobQueues"] or None, "the queue to be gone")
    yard.batch.delete_compute_environment(computeEnvironment="ce")
    until(lambda: not yard.batch.describe_compute_environments(computeEnvironments=["ce"])["computeEnvironments"] or None, "it to be gone")
    assert yard.job(job_id)["status"] == "FAILED", "finished jobs outlive their queue"


def test_children_of_an_array_are_listed_by_state_and_page_by_page(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "2", "--memory-mib", "1024")
    yard.with_queue(max_vcpus=2)
    yard.definition_of(
        "work", "sh", "-c", '[ "$AWS_BATCH_JOB_ARRAY_INDEX" -lt 6 ] || sleep 600; exit $((AWS_BATCH_JOB_ARRAY_INDEX % 3 == 2))'
    )
    parent = yard.submit("work", arrayProperties={"size": 2500})

    def listed(**question: Any) -> list[int]:
        pages = yard.batch.get_paginator("list_jobs").paginate(arrayJobId=parent, **question)
        return [j["arrayProperties"]["index"] for page in pages for j in page["jobSummaryList"]]

    until(lambda: listed() == [6, 7] or None, "the seventh and eighth to run")
    assert listed(jobStatus="SUCCEEDED") == [0, 1, 3, 4]
    assert listed(jobStatus="FAILED") == [2, 5]
    assert listed(jobStatus="RUNNABLE", PaginationConfig={"PageSize": 700}) == list(range(8, 2500))
    assert listed(jobStatus="PENDING") == []
    summary = yard.job(parent)["arrayProperties"]["statusSummary"]
    assert {s: n for s, n in summary.items() if n} == {"SUCCEEDED": 4, "FAILED": 2, "RUNNING": 2, "RUNNABLE": 2492}
    yard.batch.cancel_job(jobId=parent, reason="no more")
    assert yard.job(f"{parent}:2000")["statusReason"] == "no more"
    assert yard.job(f"{parent}:6")["status"] == "RUNNING", "cancel leaves what runs"
    yard.batch.terminate_job(jobId=parent, reason="the end")
    job = yard.until(parent)
    assert (job["status"], job["statusReason"]) == ("FAILED", "no more"), "the first word stays"
    assert yard.job(f"{parent}:6")["statusReason"] == "the end"
    assert len(listed(jobStatus="FAILED")) == 2496


def test_the_services_own_figures(yard: Yard) -> None:
    import urllib.request

    job_id = yard.submit("sleep")
    yard.until(job_id, "RUNNING")
    with urllib.request.urlopen(f"{yard.url}/metrics") as answer:
        figures = answer.read().decode()
    assert 'batchyard_jobs{queue="queue",status="RUNNING"}' in figures
    assert 'batchyard_requests_total{operation="SubmitJob",service="batch",status="200"}' in figures
    assert "batchyard_unexpected" not in figures or 'service="batch"' not in figures.partition("batchyard_unexpected")[2]
    with urllib.request.urlopen(f"{yard.url}/healthz") as answer:
        assert json.load(answer)["ready"] is True
    yard.batch.terminate_job(jobId=job_id, reason="seen")
