"""Fair share from outside: item 10 of the specification's checklist, with real jobs on a real service."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from yard import Yard, until


def policy(yard: Yard, name: str, weights: dict[str, float] | None = None, **members: Any) -> str:
    distribution = [{"shareIdentifier": share, "weightFactor": weight} for share, weight in (weights or {}).items()]
    fair = {"shareDistribution": distribution, **members}
    return str(yard.batch.create_scheduling_policy(name=name, fairsharePolicy=fair)["arn"])


def submit(yard: Yard, share: str, definition: str, priority: int = 1, **more: Any) -> str:
    return yard.submit(definition, "fair", shareIdentifier=share, schedulingPriorityOverride=priority, **more)


def utilization(yard: Yard) -> dict[str, float]:
    used = yard.batch.get_job_queue_snapshot(jobQueue="fair")["queueUtilization"]["fairshareUtilization"]["topCapacityUtilization"]
    return {one["shareIdentifier"]: one["capacityUsage"][0]["quantity"] for one in used}


def test_weights_of_1_and_a_half_get_vcpu_time_1_to_2(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "6", "--memory-mib", "4096")
    yard.environment_of("ce", max_vcpus=6)
    yard.queue_of("fair", "ce", schedulingPolicyArn=policy(yard, "p", {"one": 1.0, "half": 0.5}))
    yard.definition_of("work", "sleep", "0.3")
    # Both line up behind a job that takes all of the room, so that both have work from the first moment on.
    gate = submit(yard, "gate", yard.definition_of("gate", "sleep", "600", vcpus=6, memory_mib=384))
    yard.until(gate, "RUNNING")
    arrays = {share: submit(yard, share, "work", arrayProperties={"size": 60}) for share in ("one", "half")}
    yard.batch.terminate_job(jobId=gate, reason="both are there")
    # They compete until the last job of the one that gets more has begun: what is free from then on is the other's.
    yard.until(arrays["half"], patience_s=90)
    ended = {share: _children(yard, parent, "SUCCEEDED") for share, parent in arrays.items()}
    last_ms = max(job["startedAt"] for job in ended["half"])
    vcpu_ms = {
        share: sum(min(j["stoppedAt"], last_ms) - j["startedAt"] for j in jobs if j["startedAt"] < last_ms) for share, jobs in ended.items()
    }
    # A machine that halts for a moment gives its time to whatever runs just then; without shares it would be 1, the other way round 0.5.
    assert 1.5 <= vcpu_ms["half"] / vcpu_ms["one"] <= 2.7, vcpu_ms


def _children(yard: Yard, parent: str, status: str) -> list[dict[str, Any]]:
    pages = yard.batch.get_paginator("list_jobs").paginate(arrayJobId=parent, jobStatus=status)
    return [job for page in pages for job in page["jobSummaryList"]]


def test_half_reserved_leaves_half_idle_until_a_second_share_comes(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "8", "--memory-mib", "4096")
    yard.environment_of("ce", max_vcpus=8)
    arn = policy(yard, "p", computeReservation=50)
    yard.queue_of("fair", "ce", schedulingPolicyArn=arn)
    yard.definition_of("sleep", "sleep", "600")
    first = [submit(yard, "a", "sleep") for _ in range(8)]
    for job_id in first[:4]:
        yard.until(job_id, "RUNNING")
    assert utilization(yard) == {"a": 4.0}
    waiting = yard.job(first[4])
    assert waiting["status"] == "RUNNABLE"
    assert waiting["statusReason"].startswith("computeReservation keeps 4 of the queue's 8 vCPUs for share identifiers that are not active")
    told = json.loads(yard.cli("explain", first[4], "--json", "--data", str(yard.data)).stdout)
    assert told["summary"] == waiting["statusReason"] and told["position"] == 1
    assert "lower the scheduling policy's computeReservation" in yard.cli("explain", first[4], "--data", str(yard.data)).stdout
    second = [submit(yard, "b", "sleep") for _ in range(8)]
    yard.until(second[0], "RUNNING")
    until(lambda: sum(utilization(yard).values()) == 6 or None, "two active shares to hold three quarters")
    yard.batch.update_scheduling_policy(arn=arn, fairsharePolicy={})
    until(lambda: sum(utilization(yard).values()) == 8 or None, "all of it to be used")


def test_what_shares_have_used_and_who_is_next_outlives_a_killed_server(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "1", "--memory-mib", "1024")
    yard.environment_of("ce", max_vcpus=1)
    yard.queue_of("fair", "ce", schedulingPolicyArn=policy(yard, "p", {"light": 1.0, "heavy": 1.0}))
    yard.definition_of("short", "sleep", "0.2")
    yard.until(submit(yard, "heavy", "short"))
    gate = submit(yard, "light", yard.definition_of("gate", "sleep", "600"))
    yard.until(gate, "RUNNING")
    low, high = submit(yard, "heavy", "short", 1), submit(yard, "heavy", "short", 9)
    other = submit(yard, "other", "short")

    def front() -> list[str]:
        return [job["jobArn"].rpartition("/")[2] for job in yard.batch.get_job_queue_snapshot(jobQueue="fair")["frontOfQueue"]["jobs"]]

    assert front() == [other, high, low]
    yard.kill()
    yard.start()
    assert front() == [other, high, low]
    yard.batch.terminate_job(jobId=gate, reason="go on")
    order = sorted((yard.until(job_id) for job_id in (low, high, other)), key=lambda job: job["startedAt"])
    assert [job["jobId"] for job in order] == [other, high, low]


def test_the_life_of_a_policy_as_terraform_lives_it(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "1", "--memory-mib", "1024")
    yard.environment_of("ce", max_vcpus=1)
    arn = policy(yard, "p", {"A*": 0.5}, shareDecaySeconds=3600)
    yard.queue_of("fair", "ce", schedulingPolicyArn=arn)
    with pytest.raises(ClientError, match="found existing JobQueue relationship"):
        yard.batch.delete_scheduling_policy(arn=arn)
    yard.batch.tag_resource(resourceArn=arn, tags={"team": "blue"})
    (seen,) = yard.batch.describe_scheduling_policies(arns=[arn])["schedulingPolicies"]
    assert seen["tags"] == {"team": "blue"} == yard.batch.list_tags_for_resource(resourceArn=arn)["tags"]
    assert seen["fairsharePolicy"]["shareDistribution"] == [{"shareIdentifier": "A*", "weightFactor": 0.5}]
    pages = yard.batch.get_paginator("list_scheduling_policies").paginate()
    assert [one["arn"] for page in pages for one in page["schedulingPolicies"]] == [arn]
    yard.batch.update_job_queue(jobQueue="fair", state="DISABLED")
    yard.batch.delete_job_queue(jobQueue="fair")
    until(lambda: not yard.batch.describe_job_queues(jobQueues=["fair"])["jobQueues"] or None, "the queue to be gone")
    yard.batch.delete_scheduling_policy(arn=arn)
    assert yard.batch.describe_scheduling_policies(arns=[arn])["schedulingPolicies"] == []


def test_an_unmanaged_environment_waits_for_instances_that_others_bring(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "1", "--memory-mib", "1024")
    role = "arn:aws:iam::123456789012:role/batch"
    yard.batch.create_compute_environment(computeEnvironmentName="mine", type="UNMANAGED", unmanagedvCpus=16, serviceRole=role)
    yard.queue_of("queue", "mine")
    job_id = yard.submit(yard.definition_of("true", "true"))
    assert yard.job(job_id)["status"] == "RUNNABLE"
    assert "mine: is UNMANAGED: nothing is started for it" in yard.job(job_id)["statusReason"]
    shown = yard.cli("explain", job_id, "--data", str(yard.data)).stdout
    assert "register container instances" in shown
    listed = yard.cli("compute", "--data", str(yard.data)).stdout
    assert "UNMANAGED" in listed and "mine" in listed
    yard.environment_of("managed", max_vcpus=1)
    order = [{"order": n, "computeEnvironment": name} for n, name in enumerate(("mine", "managed"), 1)]
    yard.batch.update_job_queue(jobQueue="queue", computeEnvironmentOrder=order)
    assert yard.until(job_id)["status"] == "SUCCEEDED"


def test_shares_over_the_wire(new_yard: Callable[..., Yard]) -> None:
    yard = new_yard("--vcpus", "1", "--memory-mib", "1024")
    batch, refused = yard.batch, yard.batch.exceptions.ClientException
    yard.environment_of("ce", max_vcpus=1)
    arns = [batch.create_scheduling_policy(name=f"p{number}", tags={"n": str(number)})["arn"] for number in range(3)]
    batch.update_scheduling_policy(arn=arns[0], fairsharePolicy={"shareDecaySeconds": 60, "computeReservation": 5, "shareDistribution": []})
    (shown,) = batch.describe_scheduling_policies(arns=arns[:1])["schedulingPolicies"]
    assert shown["fairsharePolicy"] == {"shareDecaySeconds": 60, "computeReservation": 5, "shareDistribution": []}
    first = batch.list_scheduling_policies(maxResults=2)
    rest = batch.list_scheduling_policies(maxResults=2, nextToken=first["nextToken"])
    assert [one["arn"] for one in first["schedulingPolicies"] + rest["schedulingPolicies"]] == arns and "nextToken" not in rest
    quota = {"idleResourceAssignmentStrategy": "FIFO"}
    with pytest.raises(refused, match="quota shares cannot be used yet"):
        batch.create_scheduling_policy(name="q", quotaSharePolicy=quota)
    with pytest.raises(refused, match="quota shares cannot be used yet"):
        batch.update_scheduling_policy(arn=arns[0], quotaSharePolicy=quota)
    yard.queue_of("fair", "ce", schedulingPolicyArn=arns[1])
    yard.queue_of("plain", "ce")
    batch.update_job_queue(jobQueue="fair", schedulingPolicyArn=arns[2])
    assert batch.describe_job_queues(jobQueues=["fair"])["jobQueues"][0]["schedulingPolicyArn"] == arns[2]
    for queue, arn in (("fair", ""), ("plain", arns[0])):
        with pytest.raises(refused, match="schedulingPolicyArn"):
            batch.update_job_queue(jobQueue=queue, schedulingPolicyArn=arn)
    definition = yard.definition_of("ranked", "true", schedulingPriority=7)
    with pytest.raises(refused, match="shareIdentifier is required"):
        yard.submit(definition, "fair")
    with pytest.raises(refused, match="can onlybe submitted to job queue with fair share scheduling policy"):
        yard.submit(definition, "plain", shareIdentifier="a")
    job = yard.until(yard.submit(definition, "fair", shareIdentifier="UserA", schedulingPriorityOverride=9999))
    assert (job["shareIdentifier"], job["schedulingPriority"]) == ("UserA", 9999)
    filters = [{"name": "SHARE_IDENTIFIER", "values": ["UserA"]}]
    for status in ({}, {"jobStatus": "SUCCEEDED"}):
        (summary,) = batch.list_jobs(jobQueue="fair", filters=filters, **status)["jobSummaryList"]
        assert (summary["jobId"], summary["shareIdentifier"]) == (job["jobId"], "UserA")
    assert batch.list_jobs(jobQueue="fair", filters=filters, jobStatus="RUNNING")["jobSummaryList"] == []
    role = "arn:aws:iam::123456789012:role/batch"
    batch.create_compute_environment(computeEnvironmentName="mine", type="UNMANAGED", serviceRole=role, state="DISABLED", tags={"a": "b"})
    batch.update_compute_environment(computeEnvironment="mine", unmanagedvCpus=8)
    (mine,) = batch.describe_compute_environments(computeEnvironments=["mine"])["computeEnvironments"]
    assert (mine["type"], mine["unmanagedvCpus"], mine["tags"], mine["serviceRole"]) == ("UNMANAGED", 8, {"a": "b"}, role)
    batch.delete_compute_environment(computeEnvironment="mine")
