"""Job definitions (specification, sections 1.5, 1.8, 5.1-5.3, 5.8; clients.md 3.9)."""

from __future__ import annotations

from typing import Any

import pytest
from batch_bench import BATCH, CONTAINER, Bench

EMPTY = {"volumes": [], "environment": [], "mountPoints": [], "ulimits": [], "secrets": []}


def shown(bench: Bench, revision: str = "job:1") -> dict[str, Any]:
    (definition,) = bench.call("DescribeJobDefinitions", jobDefinitions=[revision])["jobDefinitions"]
    return dict(definition)


def _logging(options: dict[str, str]) -> dict[str, Any]:
    return {**CONTAINER, "logConfiguration": {"logDriver": "awslogs", "options": options}}


def refused(bench: Bench, **members: Any) -> str:
    return bench.refused(
        "RegisterJobDefinition", **{"jobDefinitionName": "job", "type": "container", "containerProperties": CONTAINER, **members}
    )


def test_register_and_describe(bench: Bench) -> None:
    register = {"jobDefinitionName": "job", "type": "container", "containerProperties": CONTAINER}
    assert bench.call("RegisterJobDefinition", **register) == {
        "jobDefinitionName": "job",
        "jobDefinitionArn": f"{BATCH}:job-definition/job:1",
        "revision": 1,
    }
    assert bench.call("RegisterJobDefinition", **register)["revision"] == 2
    assert bench.call("RegisterJobDefinition", **register)["revision"] == 3
    assert shown(bench, "job:3") == {
        "jobDefinitionName": "job",
        "jobDefinitionArn": f"{BATCH}:job-definition/job:3",
        "revision": 3,
        "status": "ACTIVE",
        "type": "container",
        "parameters": {},
        "containerProperties": {**CONTAINER, **EMPTY},
        "tags": {},
        "containerOrchestrationType": "ECS",
    }


def test_what_was_registered_is_shown_unchanged(bench: Bench) -> None:
    container = {
        "image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/tool:1.0@sha256:abc",
        "vcpus": 2,
        "memory": 4,
        "command": ["bash", "-c", "echo Ref::x"],
        "jobRoleArn": "arn:aws:iam::123456789012:role/job",
        "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
        "volumes": [{"name": "work", "host": {"sourcePath": "/work"}}, {"name": "empty", "host": {}}],
        "mountPoints": [{"sourceVolume": "work", "containerPath": "/work", "readOnly": False}],
        "environment": [{"name": "EMPTY", "value": ""}],
        "ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 2}],
        "privileged": False,
        "readonlyRootFilesystem": True,
        "user": "1000",
        "resourceRequirements": [],
        "linuxParameters": {},
        "logConfiguration": {"logDriver": "awslogs", "options": {}},
        "networkConfiguration": {},
    }
    members = {
        "type": "container",
        "containerProperties": container,
        "parameters": {"x": "1", "metaflow.run_id": "7"},
        "retryStrategy": {
            "attempts": 3,
            "evaluateOnExit": [{"action": "retry", "onStatusReason": "Host EC2*"}, {"action": "EXIT", "onReason": "*"}],
        },
        "timeout": {"attemptDurationSeconds": 86400},
        "propagateTags": True,
        "platformCapabilities": ["EC2"],
        "schedulingPriority": 5,
        "tags": {"k": "v"},
    }
    bench.call("RegisterJobDefinition", jobDefinitionName="job", **members)
    definition = shown(bench)
    for name, value in members.items():
        if name != "containerProperties":
            assert definition[name] == value
    assert definition["containerProperties"] == {**container, "secrets": []}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"image": "b"}, "Error executing request, Exception : vCPU is not provided., RequestId: request-1"),
        ({"image": "b", "vcpus": 1}, "Error executing request, Exception : Memory is not provided., RequestId: request-1"),
        (
            {"image": "b", "memory": 4, "resourceRequirements": [{"type": "VCPU", "value": "1.0"}]},
            "Error executing request, Exception : Value 1.0 for type VCPU in resourceRequirement is not valid. "
            "Please provide a numeric value.",
        ),
        ({**CONTAINER, "networkConfiguration": {"assignPublicIp": "ENABLED"}}, "networkConfiguration not applicable for EC2."),
        (
            {**CONTAINER, "fargatePlatformConfiguration": {"platformVersion": "LATEST"}},
            "fargatePlatformConfiguration not applicable for EC2.",
        ),
        ({**CONTAINER, "ephemeralStorage": {"sizeInGiB": 21}}, "ephemeralStorage not applicable for EC2."),
        ({**CONTAINER, "user": "Not Valid"}, "User 'Not Valid' does not match regex"),
        ({**CONTAINER, "image": ""}, "image is required"),
        ({**CONTAINER, "image": "has space"}, "image has space is not valid"),
        ({**CONTAINER, "image": "x" * 256}, "is not valid"),
        ({**CONTAINER, "command": [""]}, "empty strings"),
        ({**CONTAINER, "environment": [{"name": "AWS_BATCH_JOB_ID", "value": "1"}]}, "AWS_BATCH_JOB_ID"),
        ({**CONTAINER, "environment": [{"value": "1"}]}, "needs a name"),
        ({"image": "b", "vcpus": 1, "memory": 3}, "at least 4 MiB"),
        ({"image": "b", "memory": 4, "resourceRequirements": [{"type": "VCPU", "value": "0"}]}, "at least 1"),
        ({**CONTAINER, "resourceRequirements": [{"type": "TPU", "value": "1"}]}, "type TPU is not valid"),
        ({**CONTAINER, "resourceRequirements": [{"type": "VCPU", "value": "1"}] * 2}, "more than once"),
        ({**CONTAINER, "instanceType": "m5.large"}, "multi-node"),
        ({**CONTAINER, "mountPoints": [{"sourceVolume": "gone"}]}, "sourceVolume gone"),
        ({**CONTAINER, "volumes": [{"name": "a"}, {"name": "a"}]}, "stands there twice"),
        ({**CONTAINER, "volumes": [{"name": "a" * 256}]}, "255"),
        (_logging({"tag": "x"}), "logConfiguration.options: tag has no effect here"),
        (_logging({"awslogs-region": "us-west-2"}), "awslogs-region us-west-2 cannot be had"),
        (_logging({"awslogs-create-group": "maybe"}), "awslogs-create-group maybe is not valid"),
        (_logging({"mode": "sometimes"}), "mode sometimes is not valid"),
        (_logging({"mode": "non-blocking", "max-buffer-size": "lots"}), "max-buffer-size 'lots' cannot be used: a size looks like 4096"),
        (_logging({"awslogs-group": "lab results!"}), "awslogs-group 'lab results!' cannot be used: a log group has 1 to 512 of"),
        (_logging({"awslogs-stream-prefix": "a:b"}), "awslogs-stream-prefix 'a:b' cannot be used: the name of a log stream has no :"),
        (
            {**CONTAINER, "logConfiguration": {"logDriver": "json-file", "options": {"mode": "sometimes"}}},
            "logConfiguration.options: mode sometimes is not valid",
        ),
        (_logging({"awslogs-datetime-format": "%Q"}), "awslogs-datetime-format '%Q' cannot be used: %Q is not known"),
        (_logging({"awslogs-multiline-pattern": "(a+)+"}), "awslogs-multiline-pattern '(a+)+' cannot be used: a group is repeated"),
        ({**CONTAINER, "repositoryCredentials": {"credentialsParameter": ""}}, "repositoryCredentials needs a credentialsParameter"),
        ({**CONTAINER, "ulimits": [{"name": "odd", "softLimit": 1, "hardLimit": 1}]}, "ulimits: odd"),
        ({**CONTAINER, "linuxParameters": {"swappiness": 101}}, "swappiness"),
        ({**CONTAINER, "linuxParameters": {"maxSwap": -1}}, "maxSwap"),
        ({**CONTAINER, "linuxParameters": {"devices": [{"hostPath": "/dev/x", "permissions": ["EAT"]}]}}, "permission EAT"),
        ({**CONTAINER, "runtimePlatform": {"operatingSystemFamily": "BEOS"}}, "BEOS is not valid"),
        (
            {**CONTAINER, "runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}},
            "cannot run on this host, which runs Linux",
        ),
        ({**CONTAINER, "runtimePlatform": {"cpuArchitecture": "VAX"}}, "VAX is not valid"),
        (
            {**CONTAINER, "logConfiguration": {"logDriver": "awslogs", "secretOptions": [{"name": "a", "valueFrom": "b"}]}},
            "containerProperties.logConfiguration.secretOptions is not available",
        ),
        ({**CONTAINER, "logConfiguration": {"logDriver": "splunk"}}, "logDriver splunk is not available"),
        ({**CONTAINER, "enableExecuteCommand": True}, "enableExecuteCommand is not available"),
        (
            {**CONTAINER, "volumes": [{"name": "a"}, {"name": "e", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}]},
            "containerProperties.volumes[1].efsVolumeConfiguration is not available",
        ),
    ],
)
def test_containers_that_are_refused(bench: Bench, container: dict[str, Any], message: str) -> None:
    assert message in refused(bench, containerProperties=container)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"jobDefinitionName": "a:1"}, "jobDefinitionName should match valid pattern"),
        ({"type": "service"}, "type service is not valid"),
        ({"type": "multinode"}, "containerProperties is not for job definitions of type multinode"),
        ({"nodeProperties": {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": []}}, "only for job definitions of type multinode"),
        ({"ecsProperties": {"taskProperties": [{"containers": [{"image": "x"}]}]}}, "exactly one of containerProperties, ecsProperties"),
        ({"eksProperties": {"podProperties": {"containers": [{"image": "x"}]}}}, "has containerProperties and eksProperties"),
        ({"consumableResourceProperties": {"consumableResourceList": [{"consumableResource": "r"}]}}, "consumableResourceProperties"),
        ({"platformCapabilities": ["FARGATE"]}, "executionRoleArn is required for Fargate"),
        ({"platformCapabilities": ["MOON"]}, "platformCapabilities MOON is not valid"),
        ({"containerProperties": {}}, "Container properties should not be empty"),
        (
            {"retryStrategy": {"evaluateOnExit": [{"action": "EXIT"}]}},
            "Error executing request, Exception : RetryAttempts must be provided with retry strategy",
        ),
        ({"retryStrategy": {"attempts": 11}}, "between 1 and 10"),
        ({"timeout": {"attemptDurationSeconds": 59}}, "at least 60"),
        ({"schedulingPriority": 10000}, "between 0 and 9999"),
        ({"tags": {f"k{n}": "v" for n in range(51)}}, "50"),
    ],
)
def test_registrations_that_are_refused(bench: Bench, members: dict[str, Any], message: str) -> None:
    assert message in refused(bench, **members)


def test_container_properties_are_required(bench: Bench) -> None:
    assert bench.refused("RegisterJobDefinition", jobDefinitionName="j", type="container") == "Container properties should not be empty"


def test_an_empty_retry_strategy_is_none(bench: Bench) -> None:
    """The AWS CDK writes one into every definition, and AWS takes it."""
    for revision, empty in enumerate(({}, {"evaluateOnExit": []}), 1):
        bench.definition(retryStrategy=empty, timeout={})
        assert shown(bench, f"job:{revision}")["retryStrategy"] == empty and shown(bench, f"job:{revision}")["timeout"] == {}
    bench.definition(retryStrategy={"attempts": 2})
    assert shown(bench, "job:3")["retryStrategy"] == {"attempts": 2, "evaluateOnExit": []}


def test_devices_and_their_permissions(bench: Bench) -> None:
    parameters = {"devices": [{"hostPath": "/dev/a"}, {"hostPath": "/dev/b", "permissions": ["READ", "MKNOD"]}], "sharedMemorySize": 64}
    bench.definition(containerProperties={"linuxParameters": parameters})
    assert shown(bench)["containerProperties"]["linuxParameters"] == parameters


def test_deregister(bench: Bench) -> None:
    arn = bench.definition()
    bench.definition()
    for _ in range(2):
        assert bench.call("DeregisterJobDefinition", jobDefinition=arn) == {}
    assert shown(bench)["status"] == "INACTIVE" and shown(bench, "job:2")["status"] == "ACTIVE"
    assert "does not exist" in bench.refused("DeregisterJobDefinition", jobDefinition="job:9")
    for form in ("job", f"{BATCH}:job-definition/job", "job:x", "arn:aws:batch:us-east-1:1:job-definition/job:1"):
        assert "name:revision" in bench.refused("DeregisterJobDefinition", jobDefinition=form)
    bench.call("DeregisterJobDefinition", jobDefinition="job:2")
    assert bench.call("RegisterJobDefinition", jobDefinitionName="job", type="container", containerProperties=CONTAINER)["revision"] == 3


def revisions(answer: dict[str, Any]) -> list[str]:
    return [f"{d['jobDefinitionName']}:{d['revision']}" for d in answer["jobDefinitions"]]


def test_describe_forms(bench: Bench) -> None:
    for name in ("b", "a", "b", "b"):
        bench.definition(name)
    bench.call("DeregisterJobDefinition", jobDefinition="b:2")
    describe = "DescribeJobDefinitions"
    assert revisions(bench.call(describe)) == ["a:1", "b:3", "b:2", "b:1"]
    assert revisions(bench.call(describe, status="ACTIVE")) == ["a:1", "b:3", "b:1"]
    assert revisions(bench.call(describe, status="INACTIVE")) == ["b:2"]
    assert revisions(bench.call(describe, jobDefinitionName="b")) == ["b:3", "b:2", "b:1"]
    assert revisions(bench.call(describe, jobDefinitionName="b", status="ACTIVE")) == ["b:3", "b:1"]
    assert revisions(bench.call(describe, jobDefinitionName="gone")) == []
    assert revisions(bench.call(describe, jobDefinitions=["b:1", f"{BATCH}:job-definition/a:1", "b:9", "b"])) == ["b:1", "a:1"]
    assert "combined" in bench.refused(describe, jobDefinitions=["b:1"], status="ACTIVE")
    assert "status" in bench.refused(describe, status="ODD")
    assert "at most 100" in bench.refused(describe, jobDefinitions=["b:1"] * 101)

    first = bench.call(describe, jobDefinitionName="b", maxResults=2)
    assert revisions(first) == ["b:3", "b:2"]
    assert revisions(bench.call(describe, jobDefinitionName="b", maxResults=2, nextToken=first["nextToken"])) == ["b:1"]
    first = bench.call(describe, maxResults=3)
    last = bench.call(describe, maxResults=3, nextToken=first["nextToken"])
    assert revisions(first) + revisions(last) == ["a:1", "b:3", "b:2", "b:1"] and "nextToken" not in last
    assert "another request" in bench.refused(describe, jobDefinitionName="b", nextToken=first["nextToken"])
