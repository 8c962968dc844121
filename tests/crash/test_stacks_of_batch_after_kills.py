"""kill -9 while a stack of Batch's resources comes, swaps its environment under a live queue, and goes: it ends as if nothing had been."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

from yard import Yard, serving, until

NAMES = ("Environment", "Queue", "Definition", "Policy", "Results", "Group", "Rule")


def template(types: list[str], command: str) -> str:
    resources = {
        "Type": "EC2",
        "AllocationStrategy": "BEST_FIT_PROGRESSIVE",
        "MinvCpus": 0,
        "MaxvCpus": 4,
        "InstanceTypes": types,
        "Subnets": ["subnet-12345678"],
        "SecurityGroupIds": ["sg-12345678"],
        "InstanceRole": "ecsInstanceRole",
    }
    order = [{"Order": 1, "ComputeEnvironment": {"Ref": "Environment"}}]
    needs = [{"Type": "VCPU", "Value": "1"}, {"Type": "MEMORY", "Value": "64"}]
    container = {"Image": "busybox", "Command": ["sleep", command], "ResourceRequirements": needs}
    made: dict[str, dict[str, Any]] = {
        "Environment": {"Type": "AWS::Batch::ComputeEnvironment", "Properties": {"Type": "MANAGED", "ComputeResources": resources}},
        "Queue": {
            "Type": "AWS::Batch::JobQueue",
            "Properties": {"Priority": 1, "JobQueueName": "own-queue", "ComputeEnvironmentOrder": order},
        },
        "Policy": {"Type": "AWS::Batch::SchedulingPolicy", "Properties": {"Name": "own-policy"}},
        "Definition": {"Type": "AWS::Batch::JobDefinition", "Properties": {"Type": "container", "ContainerProperties": container}},
        "Results": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "own-bucket"}},
        "Group": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "own-group", "RetentionInDays": 7}},
        "Rule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "Name": "own-rule",
                "EventPattern": {"source": ["aws.batch"]},
                "Targets": [{"Id": "log", "Arn": {"Fn::GetAtt": ["Group", "Arn"]}}],
            },
        },
    }
    return json.dumps({"Resources": made, "Outputs": {name: {"Value": {"Ref": name}} for name in NAMES}})


def through(yard: Yard, arn: str, kills: list[float]) -> dict[str, Any]:
    """Kill the server after each of these times, and start it again; the stack once its operation is over."""
    for pause_s in kills:
        time.sleep(pause_s)
        yard.kill()
        yard.start()

    def over() -> dict[str, Any] | None:
        (stack,) = yard.client("cloudformation").describe_stacks(StackName=arn)["Stacks"]
        return None if stack["StackStatus"].endswith("_IN_PROGRESS") else stack

    return until(over, "the stack to come to rest")


def test_a_stack_survives_kills_at_any_time(tmp_path: Path) -> None:
    chance = random.Random(4)
    with serving(tmp_path / "yard") as yard:
        client = yard.client("cloudformation")
        arn = client.create_stack(StackName="kills", TemplateBody=template(["optimal"], "2"))["StackId"]
        stack = through(yard, arn, [chance.uniform(0, 0.06) for _ in range(2)])
        events = yard.client("cloudformation").describe_stack_events(StackName=arn)["StackEvents"]
        assert stack["StackStatus"] == "CREATE_COMPLETE", [one.get("ResourceStatusReason") for one in events]
        before = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
        assert before["Definition"].endswith(":1")
        jobs = [yard.submit(before["Definition"], before["Queue"]) for _ in range(4)]
        yard.until(jobs[0], "RUNNING", "SUCCEEDED")

        yard.client("cloudformation").update_stack(StackName=arn, TemplateBody=template(["m5"], "1"))
        stack = through(yard, arn, [chance.uniform(0, 0.3) for _ in range(3)])
        assert stack["StackStatus"] == "UPDATE_COMPLETE"
        after = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
        (left,) = yard.batch.describe_compute_environments()["computeEnvironments"]
        assert left["computeEnvironmentArn"] == after["Environment"] != before["Environment"]
        (active,) = yard.batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
        assert active["jobDefinitionArn"] == after["Definition"] and after["Definition"].endswith(":2")
        ended = [yard.until(job) for job in jobs]
        assert [job["status"] for job in ended] == ["SUCCEEDED"] * 4 and {len(job["attempts"]) for job in ended} == {1}

        yard.client("cloudformation").delete_stack(StackName=arn)
        assert through(yard, arn, [chance.uniform(0, 0.1) for _ in range(2)])["StackStatus"] == "DELETE_COMPLETE"
        assert yard.batch.describe_compute_environments()["computeEnvironments"] == []
        assert yard.batch.describe_job_queues()["jobQueues"] == []
        assert yard.batch.list_scheduling_policies()["schedulingPolicies"] == []
        assert yard.batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"] == []
        assert yard.client("s3").list_buckets()["Buckets"] == []
        assert yard.client("logs").describe_log_groups(logGroupNamePrefix="own")["logGroups"] == []
        assert yard.client("events").list_rules()["Rules"] == []
