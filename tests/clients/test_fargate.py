"""A task of Fargate on a real service: its own slice, its environment, and the words of an interruption."""

from __future__ import annotations

import json
from typing import Any

from yard import Yard, until

ROLE = "arn:aws:iam::123456789012:role/execution"


def test_a_task_runs_in_a_slice_of_its_size_and_is_interrupted_as_spot(yard: Yard, name: str) -> None:
    resources = {"type": "FARGATE_SPOT", "maxvCpus": 2, "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}
    yard.batch.create_compute_environment(computeEnvironmentName=name, type="MANAGED", computeResources=resources)
    yard.queue_of(name, name, jobQueueType="ECS_FARGATE")
    container: dict[str, Any] = {
        "image": "busybox",
        "command": ["sh", "-c", 'echo "$AWS_EXECUTION_ENV $AWS_REGION"; [ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] || sleep 600'],
        "executionRoleArn": ROLE,
        "resourceRequirements": [{"type": "VCPU", "value": "0.5"}, {"type": "MEMORY", "value": "1024"}],
    }
    yard.batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        platformCapabilities=["FARGATE"],
        containerProperties=container,
        retryStrategy={"attempts": 2},
    )
    job = yard.submit(name, queue=name)
    yard.until(job, "RUNNING")
    until(lambda: yard.logs(yard.job(job)) or None, "the first line")
    instances = json.loads(yard.cli("compute", "--json", "--data", str(yard.data)).stdout)["instances"]
    (mine,) = [i for i in instances if i["environment"] == name]
    assert (mine["vcpus"], mine["memoryMiB"]) == (0.5, 1024)
    yard.cli("reclaim", mine["id"], "--notice", "0", "--data", str(yard.data))
    ended = yard.until(job)
    assert ended["status"] == "SUCCEEDED"
    assert [a["statusReason"] for a in ended["attempts"]] == ["Your Spot Task was interrupted.", "Essential container in task exited"]
    assert "exitCode" not in ended["attempts"][0]["container"]
    assert yard.logs(ended) == [f"AWS_ECS_FARGATE {yard.endpoint['region']}"]


def test_managed_instances_run_tasks_on_instances_cut_to_fit(yard: Yard, name: str) -> None:
    provider = {
        "infrastructureRoleArn": ROLE,
        "instanceLaunchTemplate": {
            "ec2InstanceProfileArn": ROLE,
            "networkConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]},
        },
        "infrastructureOptimization": {"scaleInAfter": 0},
    }
    resources = {"type": "ECS_MANAGED_INSTANCES", "maxvCpus": 2, "managedInstancesProvider": provider, "capacityTags": {"team": "x"}}
    insights = {"containerInsights": "ENABLED"}
    yard.batch.create_compute_environment(computeEnvironmentName=name, type="MANAGED", computeResources=resources, ecsSettings=insights)
    (shown,) = yard.batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
    assert resources.items() <= shown["computeResources"].items()
    assert shown["ecsSettings"] == insights
    yard.queue_of(name, name, jobQueueType="ECS_MANAGED_INSTANCES")
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
    task = {"containers": [{"name": "main", "image": "busybox", "command": ["true"], "resourceRequirements": needs}]}
    yard.batch.register_job_definition(
        jobDefinitionName=name, type="container", platformCapabilities=["MANAGED_INSTANCES"], ecsProperties={"taskProperties": [task]}
    )
    assert yard.until(yard.submit(name, queue=name))["status"] == "SUCCEEDED"
