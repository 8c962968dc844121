"""Job queues (specification, sections 1.5-1.9)."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import BATCH, Bench


def order(*names: str) -> list[dict[str, Any]]:
    return [{"order": number, "computeEnvironment": name} for number, name in enumerate(names)]


def shown(bench: Bench, name: str = "queue") -> dict[str, Any]:
    (queue,) = bench.call("DescribeJobQueues", jobQueues=[name])["jobQueues"]
    return dict(queue)


def test_create_and_describe(bench: Bench) -> None:
    bench.environment("one")
    two = bench.environment("two")
    answer = bench.call(
        "CreateJobQueue",
        jobQueueName="queue",
        priority=7,
        computeEnvironmentOrder=[{"order": 20, "computeEnvironment": "one"}, {"order": 3, "computeEnvironment": two}],
        tags={"batchyard:spill": "idle"},
    )
    assert answer == {"jobQueueName": "queue", "jobQueueArn": f"{BATCH}:job-queue/queue"}
    assert shown(bench) == {
        "jobQueueName": "queue",
        "jobQueueArn": f"{BATCH}:job-queue/queue",
        "state": "ENABLED",
        "status": "VALID",
        "statusReason": "JobQueue Healthy",
        "priority": 7,
        "computeEnvironmentOrder": [
            {"order": 3, "computeEnvironment": two},
            {"order": 20, "computeEnvironment": f"{BATCH}:compute-environment/one"},
        ],
        "serviceEnvironmentOrder": [],
        "jobQueueType": "ECS",
        "tags": {"batchyard:spill": "idle"},
        "jobStateTimeLimitActions": [],
    }
    assert bench.desk.read.queues[answer["jobQueueArn"]].spill_idle
    again = bench.refused("CreateJobQueue", jobQueueName="queue", priority=1, computeEnvironmentOrder=order("one"))
    assert again == "Object already exists"


@pytest.mark.parametrize(
    ("members", "part"),
    [
        ({"jobQueueName": "no/slash"}, "jobQueueName should match valid pattern"),
        ({"priority": -1}, "priority must be 0 or more"),
        ({"state": "ON"}, "state ON is not valid"),
        ({"computeEnvironmentOrder": []}, "computeEnvironmentOrder is required"),
        ({"computeEnvironmentOrder": order("gone")}, "gone does not exist"),
        ({"computeEnvironmentOrder": order("ce", "ce")}, "more than once"),
        ({"computeEnvironmentOrder": order("ce", "arm")}, "x86 and of ARM"),
        ({"schedulingPolicyArn": "arn:x"}, "SchedulingPolicy arn:x does not exist"),
        ({"serviceEnvironmentOrder": [{"order": 1, "serviceEnvironment": "s"}]}, "serviceEnvironmentOrder[0]"),
        ({"jobQueueType": "SAGEMAKER_TRAINING"}, "jobQueueType SAGEMAKER_TRAINING is not available"),
        ({"jobQueueType": "SOFA"}, "jobQueueType SOFA is not valid"),
        (
            {"jobStateTimeLimitActions": [{"reason": "r", "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"}]},
            "jobStateTimeLimitActions[0].reason r is not valid",
        ),
        ({"tags": {"batchyard:spill": "sometimes"}}, "Its values are: scale, idle"),
    ],
)
def test_creations_that_are_refused(bench: Bench, members: dict[str, Any], part: str) -> None:
    bench.environment()
    bench.environment("arm", instanceTypes=["default_arm64"])
    refusal = bench.refused("CreateJobQueue", **{"jobQueueName": "q", "priority": 1, "computeEnvironmentOrder": order("ce"), **members})
    assert part in refusal or part.removesuffix("[0]") in refusal


def test_an_environment_that_goes_takes_no_new_queue(bench: Bench) -> None:
    bench.environment()
    bench.queue()
    bench.definition()
    bench.start(bench.submit())
    bench.call("UpdateJobQueue", jobQueue="queue", computeEnvironmentOrder=order(bench.environment("other")))
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", state="DISABLED")
    bench.call("DeleteComputeEnvironment", computeEnvironment="ce")
    refusal = bench.refused("CreateJobQueue", jobQueueName="q2", priority=1, computeEnvironmentOrder=order("ce"))
    assert refusal == "ComputeEnvironment ce is not VALID: its status is DELETING."


def test_updates_change_only_what_is_sent(bench: Bench) -> None:
    bench.environment()
    bench.environment("two")
    arn = bench.queue()
    before = shown(bench)
    bench.call("UpdateJobQueue", jobQueue="queue")
    assert shown(bench) == before
    bench.call("UpdateJobQueue", jobQueue=arn, state="disabled", priority=9)
    assert shown(bench) == {**before, "state": "DISABLED", "priority": 9}
    bench.call("UpdateJobQueue", jobQueue="queue", computeEnvironmentOrder=order("two"))
    assert shown(bench)["computeEnvironmentOrder"] == [{"order": 0, "computeEnvironment": f"{BATCH}:compute-environment/two"}]
    assert "does not exist" in bench.refused("UpdateJobQueue", jobQueue="gone", state="ENABLED")
    empty = bench.refused("UpdateJobQueue", jobQueue="queue", computeEnvironmentOrder=[])
    assert empty == "computeEnvironmentOrder is required: name at least one compute environment."
    assert "gone does not exist" in bench.refused("UpdateJobQueue", jobQueue="queue", computeEnvironmentOrder=order("gone"))


def test_delete(bench: Bench) -> None:
    bench.environment()
    bench.queue()
    assert "does not exist" in bench.refused("DeleteJobQueue", jobQueue="gone")
    assert "must be disabled" in bench.refused("DeleteJobQueue", jobQueue="queue")
    bench.call("UpdateJobQueue", jobQueue="queue", state="DISABLED")
    assert bench.call("DeleteJobQueue", jobQueue="queue") == {}
    assert [q["status"] for q in bench.call("DescribeJobQueues")["jobQueues"]] in ([], ["DELETING"])


def test_pages(bench: Bench) -> None:
    bench.environment()
    for name in ("b", "a", "c"):
        bench.queue(name)
    first = bench.call("DescribeJobQueues", maxResults=1)
    assert [q["jobQueueName"] for q in first["jobQueues"]] == ["a"]
    rest = bench.call("DescribeJobQueues", nextToken=first["nextToken"])
    assert [q["jobQueueName"] for q in rest["jobQueues"]] == ["b", "c"] and "nextToken" not in rest
    found = bench.call("DescribeJobQueues", jobQueues=["c", "gone", f"{BATCH}:job-queue/a"])["jobQueues"]
    assert [q["jobQueueName"] for q in found] == ["c", "a"]
    assert "at most 100" in bench.refused("DescribeJobQueues", jobQueues=["x"] * 101)


def test_snapshot(ready: Bench) -> None:
    jobs = [ready.submit() for _ in range(3)]
    snapshot = ready.call("GetJobQueueSnapshot", jobQueue="queue")
    assert [job["jobArn"] for job in snapshot["frontOfQueue"]["jobs"]] == [f"{BATCH}:job/{job}" for job in jobs]
    assert all(job["earliestTimeAtPosition"] for job in snapshot["frontOfQueue"]["jobs"])
    assert snapshot["frontOfQueue"]["lastUpdatedAt"] == ready.world.now
    assert snapshot["queueUtilization"]["totalCapacityUsage"] == [{"capacityUnit": "VCPU", "quantity": 0.0}]
    ready.start(jobs[0])
    usage = ready.call("GetJobQueueSnapshot", jobQueue="queue")["queueUtilization"]["totalCapacityUsage"]
    assert usage[0]["quantity"] >= 1.0
    assert "does not exist" in ready.refused("GetJobQueueSnapshot", jobQueue="gone")
