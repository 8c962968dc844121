"""Both meanings of spilling on a real service, as `docs/explanation/spilling.md` tells them: two small environments, through boto3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from yard import Yard, until


@pytest.fixture
def make(new_yard: Callable[..., Yard]) -> Callable[..., Yard]:
    def made(spill: str, kept_vcpus: int = 0) -> Yard:
        """Spot of 1 vCPU and on-demand of up to 2; the default queue spills as it is told to. Spot is full."""
        yard = new_yard("--vcpus", "4", "--memory-mib", "2048", "--idle", "3600")
        yard.environment_of("spot", kind="SPOT", max_vcpus=1)
        yard.environment_of("on-demand", max_vcpus=2, min_vcpus=kept_vcpus)
        yard.queue_of("default", "spot", "on-demand", priority=1, tags={"batchyard:spill": spill})
        yard.queue_of("urgent", "on-demand", "spot", priority=100)
        yard.definition_of("sleep", "sleep", "600")
        yard.definition_of("true", "true")
        return yard

    return made


def vcpus_of(yard: Yard, name: str) -> int:
    """What an environment has just now, as AWS says it."""
    (found,) = yard.batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    return int(found["computeResources"]["desiredvCpus"])


def cluster_of(job: dict[str, Any]) -> str:
    """The environment that a job runs in, from the ARN of its instance."""
    return str(job["container"]["containerInstanceArn"].split("/")[1])


def in_environment(yard: Yard, job_id: str, name: str) -> bool:
    (found,) = yard.batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    return cluster_of(yard.until(job_id, "RUNNING")) in found["ecsClusterArn"]


def fill_spot(yard: Yard) -> str:
    first = yard.submit("sleep", "default", "first")
    assert in_environment(yard, first, "spot")
    return first


def test_idle_with_an_idle_instance_moves_the_job_there(make: Callable[..., Yard]) -> None:
    yard = make("idle")
    fill_spot(yard)
    yard.until(yard.submit("true", "urgent"))  # leaves an instance behind
    assert vcpus_of(yard, "on-demand") == 1
    second = yard.submit("sleep", "default", "second")
    assert in_environment(yard, second, "on-demand")
    assert vcpus_of(yard, "on-demand") == 1


def test_idle_counts_what_minvcpus_keeps(make: Callable[..., Yard]) -> None:
    yard = make("idle", kept_vcpus=1)
    until(lambda: vcpus_of(yard, "on-demand") == 1 or None, "the instance that is kept")
    jobs = [yard.submit("sleep", "default", f"job-{n}") for n in range(3)]
    until(lambda: sum(yard.job(id)["status"] == "RUNNING" for id in jobs) == 2 or None, "one job in each environment")
    assert yard.job(jobs[2])["status"] == "RUNNABLE"
    assert (vcpus_of(yard, "spot"), vcpus_of(yard, "on-demand")) == (1, 1)


def test_idle_without_one_waits_with_its_reason_and_starts_nothing(make: Callable[..., Yard]) -> None:
    yard = make("idle")
    first = fill_spot(yard)
    second = yard.submit("sleep", "default", "second")
    reason = until(lambda: yard.job(second).get("statusReason"), "the reason")
    assert reason.startswith("spot: 1 of 1 vCPUs (maxvCpus) are taken; 1 short")
    assert "on-demand: takes this queue's jobs only into room that already runs (batchyard:spill=idle); no instance runs" in reason
    assert (yard.job(second)["status"], vcpus_of(yard, "on-demand")) == ("RUNNABLE", 0)
    yard.batch.terminate_job(jobId=first, reason="make room")
    assert in_environment(yard, second, "spot")
    assert vcpus_of(yard, "on-demand") == 0


def test_scale_grows(make: Callable[..., Yard]) -> None:
    yard = make("scale")
    fill_spot(yard)
    assert vcpus_of(yard, "on-demand") == 0
    second = yard.submit("sleep", "default", "second")
    assert in_environment(yard, second, "on-demand")
    assert vcpus_of(yard, "on-demand") == 1


def test_the_tag_changes_it_for_a_job_that_waits(make: Callable[..., Yard]) -> None:
    yard = make("idle")
    fill_spot(yard)
    second = yard.submit("sleep", "default", "second")
    until(lambda: yard.job(second)["status"] == "RUNNABLE" or None, "the job to wait")
    (queue,) = yard.batch.describe_job_queues(jobQueues=["default"])["jobQueues"]
    yard.batch.tag_resource(resourceArn=queue["jobQueueArn"], tags={"batchyard:spill": "scale"})
    assert in_environment(yard, second, "on-demand")
