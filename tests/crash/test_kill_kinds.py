"""One job of each kind, running and waiting, while the server is killed: all go on and end as if nothing had been."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yard import Yard, until

NEEDS = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]
FARGATE_NEEDS = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
NETWORK = {"subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}
WANTS = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 1}]}


def container(command: list[str], needs: list[dict[str, str]] = NEEDS, **more: Any) -> dict[str, Any]:
    return {"image": "busybox", "command": command, "resourceRequirements": needs, **more}


def prepare(service: Yard, go: Path) -> None:
    """Queues `queue`, `fair`, `eks` and `fargate`, a licence of two, and a definition of each kind that runs until there is a file `go`."""
    batch = service.batch
    wait = ["sh", "-c", f"until test -e {go}; do sleep 0.1; done"]
    service.environment_of("ce")
    pods = {"eksClusterArn": "arn:aws:eks:us-east-1:000000000000:cluster/c", "kubernetesNamespace": "genomes"}
    ec2: dict[str, Any] = {
        "type": "EC2",
        "minvCpus": 0,
        "maxvCpus": 4,
        "instanceTypes": ["optimal"],
        "instanceRole": "ecsInstanceRole",
        **NETWORK,
    }
    batch.create_compute_environment(computeEnvironmentName="eks", type="MANAGED", eksConfiguration=pods, computeResources=ec2)
    fargate: dict[str, Any] = {"type": "FARGATE", "maxvCpus": 4, **NETWORK}
    batch.create_compute_environment(computeEnvironmentName="fargate", type="MANAGED", computeResources=fargate)
    service.queue_of("queue", "ce")
    service.queue_of("fair", "ce", schedulingPolicyArn=batch.create_scheduling_policy(name="policy", fairsharePolicy={})["arn"])
    service.queue_of("eks", "eks")
    service.queue_of("fargate", "fargate")
    batch.create_consumable_resource(consumableResourceName="licence", totalQuantity=2)
    role = "arn:aws:iam::000000000000:role/execution"
    task = {"containers": [container(wait, name="main"), container(["sleep", "600"], name="side", essential=False)]}
    part: dict[str, Any] = {"image": "busybox", "resources": {"limits": {"cpu": "1", "memory": "64Mi"}}}
    pod = {"initContainers": [{"name": "before", "command": ["true"], **part}], "containers": [{"name": "main", "command": wait, **part}]}
    nodes = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [{"targetNodes": "0:", "container": container(wait)}]}
    kinds: dict[str, dict[str, Any]] = {
        "single": {"containerProperties": container(wait)},
        "quick": {"containerProperties": container(["true"])},
        "task": {"ecsProperties": {"taskProperties": [task]}, "consumableResourceProperties": WANTS},
        "pod": {"eksProperties": {"podProperties": pod}},
        "fargate": {
            "containerProperties": container(wait, FARGATE_NEEDS, executionRoleArn=role),
            "platformCapabilities": ["FARGATE"],
        },
        "nodes": {"nodeProperties": nodes, "type": "multinode"},
    }
    for name, members in kinds.items():
        batch.register_job_definition(**{"jobDefinitionName": name, "type": "container", **members})


def test_a_job_of_each_kind_outlives_the_server(new_yard: Callable[..., Yard], starts: Path) -> None:
    service, go = new_yard("--vcpus", "8", "--memory-mib", "4096"), starts.with_name("go")
    prepare(service, go)
    running = [
        service.submit("single"),
        service.submit("nodes"),
        service.submit("task"),
        service.submit("pod", "eks"),
        service.submit("fargate", "fargate"),
    ]
    array = service.submit("task", "fair", arrayProperties={"size": 3}, shareIdentifier="a", schedulingPriorityOverride=1)
    waiting = [
        service.submit("nodes", dependsOn=[{"jobId": running[0]}]),
        service.submit("task", dependsOn=[{"jobId": running[1]}]),
        service.submit("quick", arrayProperties={"size": 3}, dependsOn=[{"jobId": array, "type": "N_TO_N"}]),
    ]
    for job in running:
        service.until(job, "RUNNING")
    started = [service.job(job)["startedAt"] for job in running]
    service.kill()
    time.sleep(0.5)
    service.start()
    go.touch()
    for job in (*running, array, *waiting):
        ended = service.until(job)
        assert (ended["status"], len(ended["attempts"]) + len(ended.get("eksAttempts", ()))) == (
            "SUCCEEDED",
            0 if "size" in ended.get("arrayProperties", {}) else 1,
        )
    assert [service.job(job)["startedAt"] for job in running] == started  # the same attempts
    until(
        lambda: service.batch.describe_consumable_resource(consumableResource="licence")["inUseQuantity"] == 0 or None, "no licence in use"
    )
