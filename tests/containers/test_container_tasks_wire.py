"""Jobs of several containers and pods at the wire, in their images, with boto3 and a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from containers.engines import IMAGE, Daemon
from yard import Yard, serving

SIZES = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "64"}]


@pytest.fixture
def yard(shared_daemon: Daemon, tmp_path: Path) -> Iterator[Yard]:
    with serving(tmp_path / "data", "--runtime", "container", "--container-socket", shared_daemon.socket) as service:
        yield service.with_queue()


def said(yard: Yard, stream: str) -> list[str]:
    events = yard.client("logs").get_log_events(logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True)["events"]
    return [event["message"] for event in events]


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], "resourceRequirements": SIZES, **more}


def test_a_task_and_a_pod_in_their_images(yard: Yard) -> None:
    mount = {"sourceVolume": "shared", "containerPath": "/shared"}
    after = [{"containerName": "prepare", "condition": "SUCCESS"}]
    task = {
        "volumes": [{"name": "shared"}],
        "containers": [
            container("prepare", "echo Ref::sample > /shared/x", essential=False, mountPoints=[mount]),
            container("work", "cat /shared/x; exit 4", mountPoints=[{**mount, "readOnly": True}], dependsOn=after),
        ],
    }
    yard.batch.register_job_definition(
        jobDefinitionName="task", type="container", parameters={"sample": "s1"}, ecsProperties={"taskProperties": [task]}
    )
    job = yard.until(yard.submit("task"), patience_s=90)
    (shown,) = job["ecsProperties"]["taskProperties"]
    assert job["status"] == "FAILED" and "runtimePlatform" not in shown
    work = next(one for one in shown["containers"] if one["name"] == "work")
    assert work["exitCode"] == 4 and said(yard, work["logStreamName"]) == ["s1"]

    region, account = yard.endpoint["region"], yard.client("sts").get_caller_identity()["Account"]
    yard.batch.create_compute_environment(
        computeEnvironmentName="eks",
        type="MANAGED",
        computeResources={
            "type": "EC2",
            "minvCpus": 0,
            "maxvCpus": 4,
            "instanceTypes": ["optimal"],
            "subnets": ["subnet-12345678"],
            "securityGroupIds": ["sg-12345678"],
            "instanceRole": "eksInstanceProfile",
        },
        eksConfiguration={"eksClusterArn": f"arn:aws:eks:{region}:{account}:cluster/c", "kubernetesNamespace": "batch"},
    )
    yard.queue_of("pods", "eks")
    work = {
        "image": IMAGE,
        "command": ["sh", "-c"],
        "args": ["cat /data/x; echo $(GREETING) $$HOME"],
        "env": [{"name": "GREETING", "value": "hello"}],
        "resources": {"limits": {"cpu": "0.5", "memory": "64Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    fetch = {**work, "name": "fetch", "args": ["echo fetched > /data/x"]}
    pod = {"initContainers": [fetch], "containers": [work], "volumes": [{"name": "data", "emptyDir": {}}]}
    yard.batch.register_job_definition(jobDefinitionName="pod", type="container", eksProperties={"podProperties": pod})
    job = yard.until(yard.submit("pod", queue="pods"), patience_s=90)
    assert job["status"] == "SUCCEEDED", job
    (attempt,) = job["eksAttempts"]
    assert attempt["containers"] == [{"name": "Default", "exitCode": 0}]
    pod_id = attempt["podName"].removeprefix("aws-batch.").replace("-", "")
    lines = said(yard, f"pod/Default/{pod_id}")
    assert lines[0] == "fetched" and lines[1].startswith("hello /")
