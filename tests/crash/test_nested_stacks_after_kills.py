"""kill -9 at random moments of a stack with Batch's resources in an inner one and a function that makes a third: it ends as if nothing
had been."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from yard import Yard, quiet_port, serving, until

KILLS = 12
CODE = """
import cfnresponse, time

def handler(event, context):
    time.sleep(0.3)
    cfnresponse.send(event, context, cfnresponse.SUCCESS, {"Word": event["ResourceProperties"]["Queue"]}, "made-by-hand")
"""
TRUST = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}


def inner() -> str:
    resources = {
        "Type": "EC2",
        "AllocationStrategy": "BEST_FIT_PROGRESSIVE",
        "MinvCpus": 0,
        "MaxvCpus": 4,
        "InstanceTypes": ["optimal"],
        "Subnets": ["subnet-12345678"],
        "SecurityGroupIds": ["sg-12345678"],
        "InstanceRole": "ecsInstanceRole",
    }
    order = [{"Order": 1, "ComputeEnvironment": {"Ref": "Environment"}}]
    made = {
        "Environment": {"Type": "AWS::Batch::ComputeEnvironment", "Properties": {"Type": "MANAGED", "ComputeResources": resources}},
        "Queue": {"Type": "AWS::Batch::JobQueue", "Properties": {"Priority": 1, "ComputeEnvironmentOrder": order}},
    }
    return json.dumps({"Resources": made, "Outputs": {"Queue": {"Value": {"Ref": "Queue"}}}})


def outer() -> str:
    function = {
        "Runtime": "python3.12",
        "Handler": "index.handler",
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "Code": {"ZipFile": CODE},
        "Timeout": 30,
    }
    queue, arn = {"Fn::GetAtt": ["Inner", "Outputs.Queue"]}, {"Fn::GetAtt": ["Function", "Arn"]}
    made: dict[str, dict[str, Any]] = {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
        "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
        "Inner": {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": "https://templates.s3.amazonaws.com/inner.json"}},
        "Made": {"Type": "Custom::Hand", "Properties": {"ServiceToken": arn, "Queue": queue, "ServiceTimeout": 60}},
    }
    return json.dumps({"Resources": made, "Outputs": {"Word": {"Value": {"Fn::GetAtt": ["Made", "Word"]}}, "Queue": {"Value": queue}}})


def ask(yard: Yard, name: str) -> None:
    """Create the stack; the answer comes when it is there, so the server is killed before."""
    with contextlib.suppress(BotoCoreError, ClientError):
        yard.client("cloudformation").create_stack(StackName=name, TemplateBody=outer(), Capabilities=["CAPABILITY_IAM"])


def begun(yard: Yard, name: str) -> str:
    """The stack's ARN; it is asked for again where the request was cut off before anything of it was written down."""
    client = yard.client("cloudformation")
    found = [stack["StackId"] for stack in client.describe_stacks()["Stacks"] if stack["StackName"] == name]
    if found:
        return str(found[0])
    return str(client.create_stack(StackName=name, TemplateBody=outer(), Capabilities=["CAPABILITY_IAM"])["StackId"])


def rest(yard: Yard, arn: str) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        (stack,) = yard.client("cloudformation").describe_stacks(StackName=arn)["Stacks"]
        return None if stack["StackStatus"].endswith("_IN_PROGRESS") else stack

    return until(over, "the stack to come to rest", 120)


def test_stacks_within_stacks_survive_kills_at_any_time(tmp_path: Path) -> None:
    chance = random.Random(12)
    with serving(tmp_path / "yard", "--port", str(quiet_port())) as yard:  # functions under way answer to where they were asked from
        yard.client("s3").create_bucket(Bucket="templates")
        yard.client("s3").put_object(Bucket="templates", Key="inner.json", Body=inner().encode())
        killed = 0
        while killed < KILLS:
            name = f"killed-{killed}"
            asking = threading.Thread(target=ask, args=(yard, name))
            asking.start()
            for _ in range(3):
                time.sleep(chance.uniform(0.02, 0.6))
                yard.kill()
                yard.start()
                killed += 1
            asking.join(60)
            arn = begun(yard, name)
            stack = rest(yard, arn)
            events = yard.client("cloudformation").describe_stack_events(StackName=arn)["StackEvents"]
            assert stack["StackStatus"] == "CREATE_COMPLETE", [one.get("ResourceStatusReason") for one in events]
            said = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
            assert said["Word"] == said["Queue"]
            (queue,) = yard.batch.describe_job_queues()["jobQueues"]
            assert queue["jobQueueArn"] == said["Queue"] and queue["status"] == "VALID"
            assert len(yard.batch.describe_compute_environments()["computeEnvironments"]) == 1
            assert len(yard.client("cloudformation").describe_stacks()["Stacks"]) == 2

            yard.client("cloudformation").delete_stack(StackName=name)
            assert rest(yard, arn)["StackStatus"] == "DELETE_COMPLETE"
            assert yard.client("cloudformation").describe_stacks()["Stacks"] == []
            assert yard.batch.describe_compute_environments()["computeEnvironments"] == []
            assert yard.batch.describe_job_queues()["jobQueues"] == []
            assert yard.client("lambda").list_functions()["Functions"] == []
