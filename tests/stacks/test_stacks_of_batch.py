"""Stacks of Batch's resources on a real service, with boto3: blue and green under a live queue, revisions, and nothing left behind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from yard import Yard, until


def deploy(yard: Yard, name: str, template: dict[str, Any], act: str = "create", **options: Any) -> dict[str, Any]:
    """The stack once the operation is over."""
    client = yard.client("cloudformation")
    getattr(client, f"{act}_stack")(StackName=name, TemplateBody=json.dumps(template), **options)

    def over() -> dict[str, Any] | None:
        (stack,) = client.describe_stacks(StackName=name)["Stacks"]
        return None if stack["StackStatus"].endswith("_IN_PROGRESS") else stack

    return until(over, f"the {act} of {name}")


def outputs(stack: dict[str, Any]) -> dict[str, str]:
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def reasons(yard: Yard, name: str) -> str:
    events = yard.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    return "\n".join(one.get("ResourceStatusReason", "") for one in events)


def gone(yard: Yard, name: str) -> None:
    """Delete the stack, and wait until it is."""
    client = yard.client("cloudformation")
    arn = client.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    client.delete_stack(StackName=name)

    def over() -> dict[str, Any] | None:
        (stack,) = client.describe_stacks(StackName=arn)["Stacks"]
        return None if stack["StackStatus"].endswith("_IN_PROGRESS") else stack

    assert until(over, f"the deletion of {name}")["StackStatus"] == "DELETE_COMPLETE", reasons(yard, arn)


def environment(**more: Any) -> dict[str, Any]:
    resources = {
        "Type": "EC2",
        "AllocationStrategy": "BEST_FIT_PROGRESSIVE",
        "MinvCpus": 0,
        "MaxvCpus": 4,
        "InstanceTypes": ["optimal"],
        "Subnets": ["subnet-12345678"],
        "SecurityGroupIds": ["sg-12345678"],
        "InstanceRole": "ecsInstanceRole",
        **more,
    }
    return {"Type": "AWS::Batch::ComputeEnvironment", "Properties": {"Type": "MANAGED", "ComputeResources": resources}}


QUEUE = {
    "Type": "AWS::Batch::JobQueue",
    "Properties": {"Priority": 1, "ComputeEnvironmentOrder": [{"Order": 1, "ComputeEnvironment": {"Ref": "Environment"}}]},
}


def definition(*command: str, **more: Any) -> dict[str, Any]:
    needs = [{"Type": "VCPU", "Value": "1"}, {"Type": "MEMORY", "Value": "64"}]
    container = {"Image": "busybox", "Command": list(command), "ResourceRequirements": needs}
    return {"Type": "AWS::Batch::JobDefinition", "Properties": {"Type": "container", "ContainerProperties": container, **more}}


def template(**resources: dict[str, Any]) -> dict[str, Any]:
    return {"Resources": resources, "Outputs": {name: {"Value": {"Ref": name}} for name in resources}}


def test_a_stack_of_everything_comes_changes_and_goes(yard: Yard) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}},
        "Action": "s3:GetObject",
        "Resource": {"Fn::Sub": "${Results.Arn}/*"},
    }
    resources = {
        "Environment": environment(),
        "Policy": {"Type": "AWS::Batch::SchedulingPolicy", "Properties": {"FairsharePolicy": {"ShareDecaySeconds": 600}}},
        "Queue": {**QUEUE, "Properties": {**QUEUE["Properties"], "SchedulingPolicyArn": {"Ref": "Policy"}}},
        "Licence": {"Type": "AWS::Batch::ConsumableResource", "Properties": {"ResourceType": "REPLENISHABLE", "TotalQuantity": 3}},
        "Definition": definition(
            "true", ConsumableResourceProperties={"ConsumableResourceList": [{"ConsumableResource": {"Ref": "Licence"}, "Quantity": 1}]}
        ),
        "Results": {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}}},
        "Readers": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"Bucket": {"Ref": "Results"}, "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}},
        },
        "Group": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7}},
        "Failures": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventPattern": {"source": ["aws.batch"], "detail": {"jobQueue": [{"Ref": "Queue"}]}},
                "Targets": [{"Id": "log", "Arn": {"Fn::GetAtt": ["Group", "Arn"]}}],
            },
        },
    }
    whole = template(**resources)
    stack = deploy(yard, "whole", whole, Tags=[{"Key": "Team", "Value": "t"}])
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons(yard, "whole")
    made = outputs(stack)
    (queue,) = yard.batch.describe_job_queues(jobQueues=[made["Queue"]])["jobQueues"]
    assert queue["schedulingPolicyArn"] == made["Policy"] and queue["tags"] == {"Team": "t"}
    assert queue["computeEnvironmentOrder"] == [{"order": 1, "computeEnvironment": made["Environment"]}]
    assert made["Definition"].endswith(":1") and made["Results"].startswith("whole-results-")
    assert yard.client("events").list_targets_by_rule(Rule=made["Failures"])["Targets"][0]["Arn"].endswith(f"{made['Group']}:*")
    assert json.loads(yard.client("s3").get_bucket_policy(Bucket=made["Results"])["Policy"])["Statement"][0]["Action"] == "s3:GetObject"

    resources["Group"]["Properties"]["RetentionInDays"] = 30
    resources["Environment"]["Properties"]["ComputeResources"]["MaxvCpus"] = 8
    resources["Queue"]["Properties"]["Priority"] = 9
    resources["Licence"]["Properties"]["TotalQuantity"] = 4
    resources["Results"]["Properties"] = {"Tags": [{"Key": "a", "Value": "b"}]}
    stack = deploy(yard, "whole", whole, "update", Tags=[{"Key": "Team", "Value": "u"}])
    assert stack["StackStatus"] == "UPDATE_COMPLETE", reasons(yard, "whole")
    assert outputs(stack) == made  # all in place
    (queue,) = yard.batch.describe_job_queues(jobQueues=[made["Queue"]])["jobQueues"]
    assert queue["priority"] == 9 and queue["tags"] == {"Team": "u"}
    assert yard.client("s3").get_bucket_versioning(Bucket=made["Results"])["Status"] == "Suspended"

    gone(yard, "whole")
    assert yard.batch.describe_compute_environments()["computeEnvironments"] == []
    assert yard.batch.describe_job_queues()["jobQueues"] == []
    assert yard.batch.list_scheduling_policies()["schedulingPolicies"] == []
    assert yard.batch.list_consumable_resources()["consumableResources"] == []
    assert yard.batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"] == []
    assert yard.client("s3").list_buckets()["Buckets"] == []
    assert yard.client("logs").describe_log_groups(logGroupNamePrefix="whole")["logGroups"] == []
    assert yard.client("events").list_rules()["Rules"] == []


def test_an_environment_is_replaced_under_a_live_queue_and_every_job_runs_once(yard: Yard) -> None:
    stack = deploy(yard, "live", template(Environment=environment(), Queue=QUEUE, Definition=definition("sleep", "3")))
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons(yard, "live")
    before = outputs(stack)
    jobs = [yard.submit(before["Definition"], before["Queue"]) for _ in range(6)]
    yard.until(jobs[0], "RUNNING", "SUCCEEDED")
    new = template(Environment=environment(InstanceTypes=["m5", "c5"]), Queue=QUEUE, Definition=definition("sleep", "3"))
    stack = deploy(yard, "live", new, "update")
    assert stack["StackStatus"] == "UPDATE_COMPLETE", reasons(yard, "live")
    after = outputs(stack)
    assert after["Environment"] != before["Environment"] and after["Queue"] == before["Queue"]
    (left,) = yard.batch.describe_compute_environments()["computeEnvironments"]
    assert left["computeEnvironmentArn"] == after["Environment"]
    ended = [yard.until(job) for job in jobs]
    assert [job["status"] for job in ended] == ["SUCCEEDED"] * 6 and {len(job["attempts"]) for job in ended} == {1}
    said = reasons(yard, "live")
    assert "requires the creation of a new physical resource" in said and "relationship" not in said
    gone(yard, "live")


def test_a_failed_update_puts_the_former_environment_and_revision_back(yard: Yard) -> None:
    resources = {"Environment": environment(), "Queue": QUEUE, "Definition": definition("true")}
    before = outputs(deploy(yard, "back", template(**resources)))
    bad = {
        "Type": "AWS::Logs::LogGroup",
        "Properties": {"KmsKeyId": "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
        "DependsOn": ["Queue", "Definition"],
    }
    new = {"Environment": environment(InstanceTypes=["m5"]), "Queue": QUEUE, "Definition": definition("false"), "Bad": bad}
    stack = deploy(yard, "back", template(**new), "update")
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", reasons(yard, "back")
    assert outputs(stack) == before
    (left,) = yard.batch.describe_compute_environments()["computeEnvironments"]
    assert (left["computeEnvironmentArn"], left["state"], left["status"]) == (before["Environment"], "ENABLED", "VALID")
    (queue,) = yard.batch.describe_job_queues(jobQueues=[before["Queue"]])["jobQueues"]
    assert queue["computeEnvironmentOrder"][0]["computeEnvironment"] == before["Environment"]
    (active,) = yard.batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    assert active["jobDefinitionArn"] == before["Definition"]
    assert yard.until(yard.submit(before["Definition"], before["Queue"]))["status"] == "SUCCEEDED"
    gone(yard, "back")


def test_a_new_revision_takes_the_place_of_the_former_one(yard: Yard) -> None:
    stack = deploy(yard, "revisions", template(Definition=definition("true", JobDefinitionName="align")))
    assert outputs(stack)["Definition"].endswith(":job-definition/align:1")
    stack = deploy(yard, "revisions", template(Definition=definition("false", JobDefinitionName="align")), "update")
    assert outputs(stack)["Definition"].endswith(":job-definition/align:2")
    assert revisions(yard) == {1: "INACTIVE", 2: "ACTIVE"}
    staying = definition("echo", JobDefinitionName="align", ResourceRetentionPolicy={"SkipDeregisterOnUpdate": True})
    stack = deploy(yard, "revisions", template(Definition=staying), "update")
    assert stack["StackStatus"] == "UPDATE_COMPLETE", reasons(yard, "revisions")
    assert revisions(yard) == {1: "INACTIVE", 2: "ACTIVE", 3: "ACTIVE"}
    gone(yard, "revisions")
    assert revisions(yard) == {1: "INACTIVE", 2: "ACTIVE", 3: "INACTIVE"}
    yard.batch.deregister_job_definition(jobDefinition="align:2")  # which other tests would find


def revisions(yard: Yard) -> dict[int, str]:
    found = yard.batch.describe_job_definitions(jobDefinitionName="align")["jobDefinitions"]
    return {one["revision"]: one["status"] for one in found}


def test_an_environment_with_a_name_of_its_own_is_not_replaced(yard: Yard) -> None:
    named = environment()
    named["Properties"]["ComputeEnvironmentName"] = "own-name"
    assert deploy(yard, "named", template(Environment=named))["StackStatus"] == "CREATE_COMPLETE"
    named["Properties"]["ComputeResources"]["InstanceTypes"] = ["m5"]
    stack = deploy(yard, "named", template(Environment=named), "update")
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert (
        "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename own-name and update the stack again."
    ) in reasons(yard, "named")
    named["Properties"]["ReplaceComputeEnvironment"] = False
    stack = deploy(yard, "named", template(Environment=named), "update")
    assert stack["StackStatus"] == "UPDATE_COMPLETE", reasons(yard, "named")
    (left,) = yard.batch.describe_compute_environments()["computeEnvironments"]
    assert left["computeResources"]["instanceTypes"] == ["m5"]
    gone(yard, "named")


def test_a_bucket_with_objects_keeps_its_stack_from_going(yard: Yard) -> None:
    stack = deploy(yard, "full", template(Results={"Type": "AWS::S3::Bucket"}))
    bucket = outputs(stack)["Results"]
    s3, client = yard.client("s3"), yard.client("cloudformation")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    client.delete_stack(StackName="full")

    def over() -> dict[str, Any] | None:
        (found,) = client.describe_stacks(StackName="full")["Stacks"]
        return found if found["StackStatus"] == "DELETE_FAILED" else None

    until(over, "the deletion to fail")
    assert "The bucket you tried to delete is not empty" in reasons(yard, "full")
    s3.delete_object(Bucket=bucket, Key="k")
    gone(yard, "full")
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket=bucket)


def test_an_environment_that_is_to_end_its_jobs_does_and_they_are_tried_again(yard: Yard) -> None:
    policy = {"UpdatePolicy": {"TerminateJobsOnUpdate": True}}
    old, new = environment(), environment(InstanceTypes=["m5"])
    for one in (old, new):
        one["Properties"] |= policy
    script = "[ $AWS_BATCH_JOB_ATTEMPT = 2 ] || sleep 600"
    long = definition("sh", "-c", script, RetryStrategy={"Attempts": 2})
    before = outputs(deploy(yard, "ending", template(Environment=old, Queue=QUEUE, Definition=long)))
    job = yard.submit(before["Definition"], before["Queue"])
    yard.until(job, "RUNNING")
    stack = deploy(yard, "ending", template(Environment=new, Queue=QUEUE, Definition=long), "update")
    assert stack["StackStatus"] == "UPDATE_COMPLETE", reasons(yard, "ending")
    ended = yard.until(job)
    assert ended["status"] == "SUCCEEDED" and len(ended["attempts"]) == 2
    assert ended["attempts"][0]["statusReason"].startswith("Host EC2 (instance i-")
    gone(yard, "ending")


def test_a_stacks_tags_of_ours_go_where_they_are_for(yard: Yard) -> None:
    resources = {"Environment": environment(), "Queue": QUEUE, "Group": {"Type": "AWS::Logs::LogGroup"}}
    tags = {"batchyard:spill": "idle", "batchyard:inert": "allow", "Team": "t"}
    stack = deploy(yard, "tagged", template(**resources), Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons(yard, "tagged")
    made = outputs(stack)
    (queue,) = yard.batch.describe_job_queues(jobQueues=[made["Queue"]])["jobQueues"]
    (there,) = yard.batch.describe_compute_environments(computeEnvironments=[made["Environment"]])["computeEnvironments"]
    assert queue["tags"] == tags
    assert there["tags"] == {"batchyard:inert": "allow", "Team": "t"}
    stack = deploy(yard, "tagged", template(**resources), "update", Tags=[{"Key": "batchyard:spill", "Value": "scale"}])
    assert stack["StackStatus"] == "UPDATE_COMPLETE", reasons(yard, "tagged")
    (queue,) = yard.batch.describe_job_queues(jobQueues=[made["Queue"]])["jobQueues"]
    (there,) = yard.batch.describe_compute_environments(computeEnvironments=[made["Environment"]])["computeEnvironments"]
    assert (queue["tags"], there["tags"]) == ({"batchyard:spill": "scale"}, {})
    gone(yard, "tagged")


def test_what_the_cdk_writes(yard: Yard) -> None:
    """Its L2 constructs: empty objects, small letters, and no replacement of environments."""
    managed = environment(UpdateToLatestImageVersion=True)
    managed["Properties"] |= {"Type": "managed", "State": "ENABLED", "ReplaceComputeEnvironment": False, "UpdatePolicy": {}}
    fargate = {
        "Type": "AWS::Batch::ComputeEnvironment",
        "Properties": {
            "Type": "managed",
            "State": "ENABLED",
            "ReplaceComputeEnvironment": False,
            "UpdatePolicy": {},
            "ComputeResources": {
                "Type": "FARGATE",
                "MaxvCpus": 4,
                "Subnets": ["subnet-12345678"],
                "SecurityGroupIds": ["sg-12345678"],
                "UpdateToLatestImageVersion": True,
            },
        },
    }
    unmanaged = {
        "Type": "AWS::Batch::ComputeEnvironment",
        "Properties": {"Type": "unmanaged", "State": "ENABLED", "ServiceRole": "arn:aws:iam::123456789012:role/batch", "UnmanagedvCpus": 4},
    }
    job = definition("true", RetryStrategy={}, Timeout={}, PlatformCapabilities=["EC2"], SchedulingPriority=1)
    job["Properties"]["ContainerProperties"] |= {
        "Environment": [],
        "ReadonlyRootFilesystem": False,
        "LogConfiguration": {"LogDriver": "awslogs"},
    }
    queue = {**QUEUE, "Properties": {**QUEUE["Properties"], "State": "ENABLED"}}
    resources = {"Environment": managed, "Tasks": fargate, "Others": unmanaged, "Queue": queue, "Definition": job}
    stack = deploy(yard, "cdk", template(**resources))
    assert stack["StackStatus"] == "CREATE_COMPLETE", reasons(yard, "cdk")
    before = outputs(stack)
    managed["Properties"]["ComputeResources"] |= {"InstanceTypes": ["m5"], "MaxvCpus": 6}
    fargate["Properties"]["ComputeResources"] |= {"MaxvCpus": 8, "Subnets": ["subnet-87654321"]}
    unmanaged["Properties"]["UnmanagedvCpus"] = 8
    stack = deploy(yard, "cdk", template(**resources), "update")
    assert stack["StackStatus"] == "UPDATE_COMPLETE", reasons(yard, "cdk")
    assert outputs(stack) == before
    found = yard.batch.describe_compute_environments()["computeEnvironments"]
    settings = {one["computeEnvironmentArn"]: one.get("computeResources", {}) for one in found}
    assert settings[before["Environment"]]["instanceTypes"] == ["m5"]
    assert (settings[before["Tasks"]]["maxvCpus"], settings[before["Tasks"]]["subnets"]) == (8, ["subnet-87654321"])
    (others,) = [one for one in found if one["computeEnvironmentArn"] == before["Others"]]
    assert others["unmanagedvCpus"] == 8
    gone(yard, "cdk")
