"""Compute environments (specification, sections 1.4-1.7, 4.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from batch_bench import BATCH, RESOURCES, Bench

STRATEGY = {"allocationStrategy": "BEST_FIT_PROGRESSIVE"}


def create(bench: Bench, **members: Any) -> str:
    """The refusal of a CreateComputeEnvironment."""
    return bench.refused("CreateComputeEnvironment", **{"computeEnvironmentName": "ce", "type": "MANAGED", **members})


def update(bench: Bench, **members: Any) -> str:
    return bench.refused("UpdateComputeEnvironment", **{"computeEnvironment": "ce", **members})


def shown(bench: Bench, name: str = "ce") -> dict[str, Any]:
    (environment,) = bench.call("DescribeComputeEnvironments", computeEnvironments=[name])["computeEnvironments"]
    return dict(environment)


def test_create_and_describe(bench: Bench) -> None:
    answer = bench.call(
        "CreateComputeEnvironment", computeEnvironmentName="ce", type="managed", computeResources=RESOURCES, tags={"a": "b"}, context="c"
    )
    assert answer == {"computeEnvironmentName": "ce", "computeEnvironmentArn": f"{BATCH}:compute-environment/ce"}
    environment = shown(bench)
    uuid = environment.pop("uuid")
    assert environment == {
        "computeEnvironmentName": "ce",
        "computeEnvironmentArn": f"{BATCH}:compute-environment/ce",
        "ecsClusterArn": f"arn:aws:ecs:eu-central-1:123456789012:cluster/AWSBatch-ce-{uuid}",
        "tags": {"a": "b"},
        "type": "MANAGED",
        "state": "ENABLED",
        "status": "VALID",
        "statusReason": "ComputeEnvironment Healthy",
        "computeResources": {**RESOURCES, "desiredvCpus": 0, "ec2Configuration": [{"imageType": "ECS_AL2023"}]},
        "serviceRole": "arn:aws:iam::123456789012:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch",
        "containerOrchestrationType": "ECS",
        "context": "c",
    }
    assert create(bench, computeResources=RESOURCES) == "Object already exists"


@pytest.mark.parametrize(
    ("members", "part"),
    [
        ({"computeEnvironmentName": "a b", "computeResources": RESOURCES}, "computeEnvironmentName should match valid pattern"),
        ({"computeEnvironmentName": "x" * 129, "computeResources": RESOURCES}, "should match valid pattern"),
        ({}, "computeResources is required"),
        ({"computeResources": RESOURCES, "unmanagedvCpus": 4}, "unmanagedvCpus"),
        ({"computeResources": RESOURCES, "state": "MAYBE"}, "state MAYBE is not valid"),
        ({"computeResources": RESOURCES, "type": "ODD"}, "type ODD is not valid"),
        ({"type": "UNMANAGED"}, "serviceRole is required"),
        ({"type": "UNMANAGED", "serviceRole": "r", "computeResources": RESOURCES}, "computeResources is only for"),
        ({"type": "UNMANAGED", "serviceRole": "r", "unmanagedvCpus": -1}, "unmanagedvCpus must be 0 or more"),
        ({"computeResources": {**RESOURCES, "type": "FARGATE"}}, "minvCpus is not applicable for Fargate."),
        (
            {"computeResources": RESOURCES, "eksConfiguration": {"eksClusterArn": "a", "kubernetesNamespace": "b"}},
            "eksConfiguration.eksClusterArn a is not valid",
        ),
        ({"computeResources": RESOURCES, "tags": {"batchyard:provider": "moon"}}, "Its values are: local"),
        ({"computeResources": RESOURCES, "tags": {"batchyard:spill": "idle"}}, "not for a compute environment"),
    ],
)
def test_creations_that_are_refused(bench: Bench, members: dict[str, Any], part: str) -> None:
    assert part in create(bench, **members)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"instanceRole": None}, "Error executing request, Exception : Instance role is required., RequestId: request-1"),
        ({"minvCpus": None}, "Error executing request, Exception : Resource minvCpus is required."),
        ({"minvCpus": -1}, "minvCpus"),
        ({"minvCpus": 17}, "maxvCpus (16) must not be less than minvCpus (17)"),
        ({"desiredvCpus": 17}, "desiredvCpus (17)"),
        ({"subnets": []}, "subnets is required"),
        ({"securityGroupIds": []}, "securityGroupIds is required"),
        ({"instanceTypes": []}, "instanceTypes is required"),
        ({"instanceTypes": ["optimal", "z99.huge"]}, "z99.huge is not known"),
        ({"instanceTypes": ["m5.large", "m6g.large"]}, "x86 and of ARM"),
        ({"allocationStrategy": "SPOT_CAPACITY_OPTIMIZED"}, "only for compute environments of type SPOT"),
        ({"allocationStrategy": "WORST_FIT"}, "allocationStrategy WORST_FIT is not valid"),
        ({"allocationStrategy": "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED"}, "only for compute environments of type SPOT"),
        ({"type": "SPOT"}, "spotIamFleetRole is required"),
        ({"bidPercentage": 101}, "bidPercentage"),
        ({"scalingPolicy": {"minScaleDownDelayMinutes": 19}}, "minScaleDownDelayMinutes"),
        ({"scalingPolicy": {"minScaleDownDelayMinutes": 10081}}, "minScaleDownDelayMinutes"),
        ({"launchTemplate": {"version": "1"}}, "exactly one of launchTemplateId and launchTemplateName"),
        ({"launchTemplate": {"launchTemplateId": "lt-1", "launchTemplateName": "n"}}, "exactly one of"),
        (
            {
                "launchTemplate": {
                    "launchTemplateId": "lt-1",
                    "overrides": [{"launchTemplateId": "lt-2", "targetInstanceTypes": ["optimal"]}],
                }
            },
            "targetInstanceTypes: optimal",
        ),
        (
            {
                "launchTemplate": {
                    "launchTemplateId": "lt-1",
                    "overrides": [{"launchTemplateId": "lt-2", "targetInstanceTypes": ["m5.large"]}] * 2,
                }
            },
            "more than one override",
        ),
        ({"ec2Configuration": [{"imageType": "ECS_AL2"}] * 3}, "at most 2"),
        ({"type": ""}, "computeResources.type is required"),
        ({"minvCpus": -5, "maxvCpus": -1}, "minvCpus must be 0 or more"),
        ({"maxvCpus": -1}, "maxvCpus must be 0 or more"),
        (
            {"launchTemplate": {"launchTemplateId": "lt-1", "overrides": [{"launchTemplateId": "lt-2"}] * 11}},
            "at most 10",
        ),
    ],
)
def test_capacity_that_is_refused(bench: Bench, change: dict[str, Any], part: str) -> None:
    resources = {name: value for name, value in {**RESOURCES, **change}.items() if value is not None}
    assert part in create(bench, computeResources=resources)


def test_spot_and_launch_template_defaults(bench: Bench) -> None:
    bench.environment("spot", type="spot", allocationStrategy="spot_capacity_optimized", launchTemplate={"launchTemplateName": "lt"})
    resources = shown(bench, "spot")["computeResources"]
    assert (resources["type"], resources["allocationStrategy"]) == ("SPOT", "SPOT_CAPACITY_OPTIMIZED")
    assert resources["launchTemplate"] == {"launchTemplateName": "lt", "version": "$Default"}
    assert "bidPercentage" not in resources
    environment = bench.desk.read.environments[f"{BATCH}:compute-environment/spot"]
    assert environment.spot and environment.instance_types == ("optimal",) and environment.max_vcpus == 16


def test_describe_by_name_arn_and_in_pages(bench: Bench) -> None:
    for name in ("c", "a", "b"):
        bench.environment(name)
    names = [f"{BATCH}:compute-environment/b", "a", "gone", "b"]
    found = bench.call("DescribeComputeEnvironments", computeEnvironments=names)["computeEnvironments"]
    assert [e["computeEnvironmentName"] for e in found] == ["b", "a"]
    first = bench.call("DescribeComputeEnvironments", maxResults=2)
    assert [e["computeEnvironmentName"] for e in first["computeEnvironments"]] == ["a", "b"]
    second = bench.call("DescribeComputeEnvironments", maxResults=2, nextToken=first["nextToken"])
    assert [e["computeEnvironmentName"] for e in second["computeEnvironments"]] == ["c"] and "nextToken" not in second
    assert "nextToken" in bench.refused("DescribeComputeEnvironments", nextToken="rubbish")
    assert "another request" in bench.refused("DescribeJobQueues", nextToken=first["nextToken"])
    assert "maxResults" in bench.refused("DescribeComputeEnvironments", maxResults=0)
    assert "nextToken" not in bench.call("DescribeComputeEnvironments", nextToken="", maxResults=1000)


def test_partial_updates(bench: Bench) -> None:
    bench.environment(allocationStrategy="BEST_FIT_PROGRESSIVE", ec2KeyPair="key")
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", state="DISABLED")
    assert shown(bench)["state"] == "DISABLED"
    answer = bench.call(
        "UpdateComputeEnvironment",
        computeEnvironment=f"{BATCH}:compute-environment/ce",
        computeResources={"maxvCpus": 32, "minvCpus": 2},
        updatePolicy={"terminateJobsOnUpdate": True},
    )
    assert answer["computeEnvironmentName"] == "ce"
    environment = shown(bench)
    resources = environment["computeResources"]
    assert (resources["minvCpus"], resources["maxvCpus"], resources["desiredvCpus"]) == (2, 32, 2)
    assert environment["state"] == "DISABLED" and resources["instanceTypes"] == ["optimal"]
    assert environment["updatePolicy"] == {"terminateJobsOnUpdate": True, "jobExecutionTimeoutMinutes": 30}
    generation = bench.desk.read.environments[environment["computeEnvironmentArn"]].generation
    assert generation == 0

    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", computeResources={"instanceTypes": ["m5"], "ec2KeyPair": ""})
    record = bench.desk.read.environments[environment["computeEnvironmentArn"]]
    assert record.generation == 1 and record.instance_types == ("m5",) and "ec2KeyPair" not in shown(bench)["computeResources"]
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", computeResources={"instanceTypes": ["m5"]})
    assert bench.desk.read.environments[record.arn].generation == 1
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", computeResources={"updateToLatestImageVersion": True})
    assert bench.desk.read.environments[record.arn].generation == 2


def test_updates_that_are_refused(bench: Bench) -> None:
    assert "does not exist" in update(bench, state="ENABLED")
    bench.environment()
    nothing = "One of [state | compute-resources | service-role | unmanaged-vcpus] is required."
    assert update(bench) == nothing
    assert "BEST_FIT" in update(bench, computeResources={"allocationStrategy": "BEST_FIT"})
    assert "instanceTypes cannot be updated" in update(bench, computeResources={"instanceTypes": ["m5"]})
    assert "service-linked" in update(bench, serviceRole="arn:aws:iam::1:role/mine")
    assert "z99 is not known" in update(bench, computeResources={"instanceTypes": ["z99"]})
    assert "maxvCpus" in update(bench, computeResources={"minvCpus": 99})
    assert "must be between" in update(bench, computeResources={"desiredvCpus": 99})
    assert "unmanagedvCpus is only for" in update(bench, unmanagedvCpus=3)
    minutes = {"updatePolicy": {"jobExecutionTimeoutMinutes": 7201}, "state": "ENABLED"}
    with pytest.raises(Exception, match="jobExecutionTimeoutMinutes"):
        bench.call("UpdateComputeEnvironment", computeEnvironment="ce", **minutes)

    bench.call(
        "CreateComputeEnvironment",
        computeEnvironmentName="own-role",
        type="MANAGED",
        serviceRole="arn:aws:iam::1:role/mine",
        computeResources={**RESOURCES, **STRATEGY},
    )
    assert "service-linked role" in update(bench, computeEnvironment="own-role", computeResources={"imageId": "ami-1"})


def test_empty_members_take_values_away(bench: Bench) -> None:
    bench.environment(
        **STRATEGY,
        launchTemplate={"launchTemplateName": "lt", "overrides": [{"launchTemplateId": "lt-2", "targetInstanceTypes": ["m5.large"]}]},
        scalingPolicy={"minScaleDownDelayMinutes": 20},
    )
    record = bench.desk.read.environments[f"{BATCH}:compute-environment/ce"]
    assert record.idle_s == 1200.0
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", computeResources={"scalingPolicy": {"minScaleDownDelayMinutes": 0}})
    record = bench.desk.read.environments[record.arn]
    assert record.idle_s is None and record.generation == 0 and "scalingPolicy" not in shown(bench)["computeResources"]
    without_overrides = {"launchTemplateName": "lt", "overrides": []}
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", computeResources={"launchTemplate": without_overrides})
    assert shown(bench)["computeResources"]["launchTemplate"] == {"launchTemplateName": "lt", "version": "$Default"}
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", computeResources={"launchTemplate": {"launchTemplateName": ""}})
    assert "launchTemplate" not in shown(bench)["computeResources"]
    assert bench.desk.read.environments[record.arn].generation == 2
    bench.environment("empty", launchTemplate={}, scalingPolicy={"minScaleDownDelayMinutes": 0})
    assert "launchTemplate" not in shown(bench, "empty")["computeResources"]


def test_other_members_of_an_update(bench: Bench) -> None:
    bench.call(
        "CreateComputeEnvironment",
        computeEnvironmentName="ce",
        type="MANAGED",
        serviceRole="arn:aws:iam::1:role/one",
        computeResources={**RESOURCES, **STRATEGY, "spotIamFleetRole": "fleet"},
    )
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", serviceRole="arn:aws:iam::1:role/two", context="new")
    assert (shown(bench)["serviceRole"], shown(bench)["context"]) == ("arn:aws:iam::1:role/two", "new")
    bench.environment("managed", **STRATEGY)
    bench.call("UpdateComputeEnvironment", computeEnvironment="managed", computeResources={"type": "spot"})
    record = bench.desk.read.environments[f"{BATCH}:compute-environment/managed"]
    assert record.spot and record.generation == 1 and record.settings["type"] == "SPOT"
    assert "at most 100" in bench.refused("DescribeComputeEnvironments", computeEnvironments=["x"] * 101)


def test_a_wish_for_desired_vcpus_starts_them(bench: Bench) -> None:
    bench.environment(desiredvCpus=4)
    assert shown(bench)["computeResources"]["desiredvCpus"] == 4
    bench.instances_up()
    assert sum(instance.room.vcpus for instance in bench.desk.read.instances.values()) >= 4


def test_desired_vcpus_follow_what_runs(bench: Bench) -> None:
    bench.environment()
    bench.queue()
    bench.definition()
    bench.submit()
    bench.instances_up()
    running = shown(bench)["computeResources"]["desiredvCpus"]
    assert running >= 1
    message = (
        "Manually scaling down compute environment is not supported. "
        "Disconnecting job queues from compute environment will cause it to scale-down to minvCpus."
    )
    assert update(bench, computeResources={"desiredvCpus": running - 1}) == message
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", computeResources={"desiredvCpus": running})


def test_delete(bench: Bench) -> None:
    delete = "DeleteComputeEnvironment"
    assert "does not exist" in bench.refused(delete, computeEnvironment="ce")
    bench.environment()
    assert "must be disabled" in bench.refused(delete, computeEnvironment="ce")
    bench.queue()
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", state="DISABLED")
    assert bench.refused(delete, computeEnvironment="ce") == "Cannot delete, found existing JobQueue relationship"
    bench.call("UpdateJobQueue", jobQueue="queue", state="DISABLED")
    assert "relationship" in bench.refused(delete, computeEnvironment="ce")
    bench.call("DeleteJobQueue", jobQueue="queue")
    bench.call(delete, computeEnvironment="ce")
    assert [e["status"] for e in bench.call("DescribeComputeEnvironments")["computeEnvironments"]] in ([], ["DELETING"])
    bench.report()
    assert bench.call("DescribeComputeEnvironments", computeEnvironments=["ce"])["computeEnvironments"] == []


def test_an_environment_with_instances_is_deleting_until_they_are_gone(bench: Bench) -> None:
    bench.environment()
    bench.queue()
    bench.definition()
    job_id = bench.submit()
    bench.start(job_id)
    bench.call("UpdateJobQueue", jobQueue="queue", state="DISABLED")
    bench.call("DeleteJobQueue", jobQueue="queue")
    (queue,) = bench.call("DescribeJobQueues")["jobQueues"]
    assert queue["status"] == "DELETING"
    assert "being modified" in bench.refused("UpdateJobQueue", jobQueue="queue", state="ENABLED")
    assert "being modified" in bench.refused("DeleteJobQueue", jobQueue="queue")
    bench.call("UpdateComputeEnvironment", computeEnvironment="ce", state="DISABLED")
    assert "relationship" in bench.refused("DeleteComputeEnvironment", computeEnvironment="ce")
    bench.end(job_id, 143, cause="stopped")
    assert bench.job(job_id)["statusReason"] == "JobQueue deleted"
    assert bench.call("DescribeJobQueues")["jobQueues"] == []
    bench.call("DeleteComputeEnvironment", computeEnvironment="ce")
    assert shown(bench)["status"] == "DELETING"
    assert "being modified" in bench.refused("DeleteComputeEnvironment", computeEnvironment="ce")
    assert update(bench, state="ENABLED") == "Cannot update, resource is being modified."
    assert create(bench, computeResources=RESOURCES) == "Object already exists"


def test_another_account_does_not_see_it(bench: Bench) -> None:
    arn = bench.environment()
    stranger = replace(bench.caller, region="us-west-2")
    assert bench.call("DescribeComputeEnvironments", caller=stranger)["computeEnvironments"] == []
    assert bench.call("DescribeComputeEnvironments", caller=stranger, computeEnvironments=["ce", arn])["computeEnvironments"] == []
