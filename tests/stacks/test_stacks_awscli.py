"""Stacks by the real AWS CLI (`aws cloudformation deploy`, `package`, `wait`) and by boto3's waiters, on a real service."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from yard import Yard

PATIENCE_S = 200
pytestmark = pytest.mark.timeout(900)  # the waiters of the AWS CLI look every thirty seconds
QUEUE = """
Parameters:
  Vcpus: {Type: Number, Default: 4}
  Group: {Type: String}
Resources:
  Profile: {Type: 'AWS::IAM::InstanceProfile', Properties: {Roles: [!Ref Role]}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: 'sts:AssumeRole'}]
  Environment:
    Type: AWS::Batch::ComputeEnvironment
    Properties:
      Type: MANAGED
      ComputeResources:
        Type: EC2
        AllocationStrategy: BEST_FIT_PROGRESSIVE
        MinvCpus: 0
        MaxvCpus: !Ref Vcpus
        InstanceTypes: [optimal]
        InstanceRole: !GetAtt Profile.Arn
        Subnets: [subnet-12345678]
        SecurityGroupIds: [sg-12345678]
      Tags: {group: !Ref Group}
  Queue:
    Type: AWS::Batch::JobQueue
    Properties: {Priority: 1, ComputeEnvironmentOrder: [{Order: 1, ComputeEnvironment: !Ref Environment}]}
Outputs:
  Queue: {Value: !Ref Queue, Export: {Name: !Sub '${AWS::StackName}-queue'}}
"""


class Cli:
    """The AWS CLI in a folder."""

    def __init__(self, yard: Yard, folder: Path) -> None:
        self.folder = folder
        self._environment = {**yard.environment, "AWS_PAGER": ""}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "awscli", *arguments]
        return subprocess.run(command, cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=PATIENCE_S)

    def stacks(self, *arguments: str) -> str:
        """What `aws cloudformation ...` says when it succeeds."""
        done = self.run("cloudformation", *arguments)
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def asked(self, *arguments: str) -> Any:
        return json.loads(self.stacks(*arguments, "--output", "json"))


@pytest.fixture
def cli(yard: Yard, tmp_path: Path) -> Cli:
    return Cli(yard, tmp_path)


def vcpus(yard: Yard, stack: str) -> int:
    """How large the environment of a stack is."""
    name = yard.client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId="Environment")
    arn = name["StackResourceDetail"]["PhysicalResourceId"]
    (found,) = yard.batch.describe_compute_environments(computeEnvironments=[arn])["computeEnvironments"]
    return int(found["computeResources"]["maxvCpus"])


def test_deploy_creates_finds_nothing_to_do_updates_and_deletes(yard: Yard, cli: Cli) -> None:
    (cli.folder / "queue.yaml").write_text(QUEUE)
    deploy = ("deploy", "--stack-name", "cli-queue", "--template-file", "queue.yaml")

    refused = cli.run("cloudformation", *deploy, "--parameter-overrides", "Group=genomics")
    assert refused.returncode != 0
    assert "Requires capabilities : [CAPABILITY_IAM]" in refused.stderr

    deploy = (*deploy, "--capabilities", "CAPABILITY_IAM")
    assert "Successfully created/updated stack - cli-queue" in cli.stacks(*deploy, "--parameter-overrides", "Group=genomics", "Vcpus=6")
    assert vcpus(yard, "cli-queue") == 6

    assert "No changes to deploy. Stack cli-queue is up to date" in cli.stacks(*deploy, "--no-fail-on-empty-changeset")
    strict = cli.run("cloudformation", *deploy, "--fail-on-empty-changeset")
    assert strict.returncode != 0
    assert "No changes to deploy. Stack cli-queue is up to date" in strict.stderr + strict.stdout

    # What is not said again stays as it was: UsePreviousValue
    (cli.folder / "parameters.json").write_text(json.dumps(["Vcpus=12"]))
    assert "Successfully created/updated" in cli.stacks(*deploy, "--parameter-overrides", "file://parameters.json", "--tags", "lab=one")
    assert vcpus(yard, "cli-queue") == 12
    (stack,) = cli.asked("describe-stacks", "--stack-name", "cli-queue")["Stacks"]
    assert {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]} == {"Group": "genomics", "Vcpus": "12"}
    assert stack["Tags"] == [{"Key": "lab", "Value": "one"}]

    said = cli.stacks(*deploy, "--parameter-overrides", "Vcpus=2", "--tags", "lab=one", "--no-execute-changeset")
    assert "Changeset created successfully" in said
    arn = said.split()[-1]
    (change,) = cli.asked("describe-change-set", "--change-set-name", arn)["Changes"]
    assert (change["ResourceChange"]["LogicalResourceId"], change["ResourceChange"]["Replacement"]) == ("Environment", "False")
    assert vcpus(yard, "cli-queue") == 12
    cli.stacks("execute-change-set", "--change-set-name", arn)
    cli.stacks("wait", "stack-update-complete", "--stack-name", "cli-queue")
    assert vcpus(yard, "cli-queue") == 2

    (export,) = cli.asked("list-exports")["Exports"]
    assert (export["Name"], export["ExportingStackId"]) == ("cli-queue-queue", stack["StackId"])
    events = cli.asked("describe-stack-events", "--stack-name", "cli-queue")["StackEvents"]
    assert events[0]["ResourceStatus"] == "UPDATE_COMPLETE"
    assert [one["Timestamp"] for one in events] == sorted({one["Timestamp"] for one in events}, reverse=True)

    cli.stacks("delete-stack", "--stack-name", "cli-queue")
    cli.stacks("wait", "stack-delete-complete", "--stack-name", "cli-queue")
    assert yard.batch.describe_job_queues(jobQueues=[export["Value"]])["jobQueues"] == []


def test_a_deployment_that_fails_says_so_and_is_waited_for(yard: Yard, cli: Cli) -> None:
    (cli.folder / "queue.yaml").write_text(QUEUE.replace("ComputeEnvironment: !Ref Environment", "ComputeEnvironment: no"))
    failed = cli.run(
        *("cloudformation", "deploy", "--stack-name", "cli-failing", "--template-file", "queue.yaml"),
        *("--capabilities", "CAPABILITY_IAM", "--parameter-overrides", "Group=genomics"),
    )
    assert failed.returncode != 0
    assert "Failed to create/update the stack" in failed.stderr
    (stack,) = cli.asked("describe-stacks", "--stack-name", "cli-failing")["Stacks"]
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    cli.stacks("delete-stack", "--stack-name", "cli-failing")
    cli.stacks("wait", "stack-delete-complete", "--stack-name", "cli-failing")


def test_package_puts_what_is_local_into_a_bucket_and_the_result_deploys(yard: Yard, cli: Cli) -> None:
    yard.client("s3").create_bucket(Bucket="cli-artifacts")
    (cli.folder / "function").mkdir()
    (cli.folder / "function" / "index.py").write_text("def handler(event, context):\n    return {'reads': event['lines'] // 4}\n")
    (cli.folder / "parts").mkdir()
    (cli.folder / "parts" / "queue.yaml").write_text(QUEUE)
    (cli.folder / "whole.yaml").write_text(
        """
Resources:
  Part:
    Type: AWS::CloudFormation::Stack
    Properties: {TemplateURL: parts/queue.yaml, Parameters: {Group: genomics, Vcpus: 3}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: 'sts:AssumeRole'}]
      ManagedPolicyArns: ['arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole']
  Count:
    Type: AWS::Lambda::Function
    Properties: {Runtime: python3.12, Handler: index.handler, Code: function/, Role: !GetAtt Role.Arn}
Outputs:
  Queue: {Value: !GetAtt Part.Outputs.Queue}
  Function: {Value: !Ref Count}
"""
    )
    cli.stacks(
        *("package", "--template-file", "whole.yaml", "--s3-bucket", "cli-artifacts", "--s3-prefix", "packed"),
        *("--output-template-file", "packed.yaml"),
    )
    assert "packed/" in (cli.folder / "packed.yaml").read_text()
    named = ("--stack-name", "cli-packed", "--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")
    # The template goes by way of the bucket as well: it is larger than a request may be, say
    cli.stacks("deploy", *named, "--template-file", "packed.yaml", "--s3-bucket", "cli-artifacts", "--force-upload")

    (stack,) = cli.asked("describe-stacks", "--stack-name", "cli-packed")["Stacks"]
    made = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    assert yard.batch.describe_job_queues(jobQueues=[made["Queue"]])["jobQueues"][0]["status"] == "VALID"
    answer = yard.client("lambda").invoke(FunctionName=made["Function"], Payload=json.dumps({"lines": 400}))
    assert json.load(answer["Payload"]) == {"reads": 100}

    cli.stacks("delete-stack", "--stack-name", "cli-packed")
    cli.stacks("wait", "stack-delete-complete", "--stack-name", "cli-packed")
    assert yard.batch.describe_job_queues(jobQueues=[made["Queue"]])["jobQueues"] == []


NOTE = "Resources:\n  Note: {Type: 'AWS::SSM::Parameter', Properties: {Type: String, Value: %s}}\n"
BROKEN = (
    NOTE
    + """
  Queue:
    Type: AWS::Batch::JobQueue
    DependsOn: Note
    Properties: {Priority: 1, ComputeEnvironmentOrder: [{Order: 1, ComputeEnvironment: no}]}
"""
)


def test_the_waiters_of_boto3_see_each_end(yard: Yard) -> None:
    client = yard.client("cloudformation")

    def wait(name: str, **what: str) -> None:
        client.get_waiter(name).wait(**what, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    with pytest.raises(WaiterError):
        client.get_waiter("stack_exists").wait(StackName="waited", WaiterConfig={"Delay": 1, "MaxAttempts": 1})
    client.create_stack(StackName="waited", TemplateBody=NOTE % "one")
    wait("stack_exists", StackName="waited")
    wait("stack_create_complete", StackName="waited")
    client.update_stack(StackName="waited", TemplateBody=NOTE % "two")
    wait("stack_update_complete", StackName="waited")

    client.create_change_set(StackName="waited", ChangeSetName="third", TemplateBody=NOTE % "three")
    wait("change_set_create_complete", StackName="waited", ChangeSetName="third")
    client.create_change_set(StackName="waited", ChangeSetName="same", TemplateBody=NOTE % "two")
    with pytest.raises(WaiterError, match=r"terminal failure state.*FAILED"):
        wait("change_set_create_complete", StackName="waited", ChangeSetName="same")

    client.update_stack(StackName="waited", TemplateBody=BROKEN % "four")
    with pytest.raises(WaiterError, match="UPDATE_ROLLBACK_COMPLETE"):
        wait("stack_update_complete", StackName="waited")
    wait("stack_rollback_complete", StackName="waited")
    client.delete_stack(StackName="waited")
    wait("stack_delete_complete", StackName="waited")

    client.create_stack(StackName="waited-in-vain", TemplateBody=BROKEN % "one")
    with pytest.raises(WaiterError, match="ROLLBACK_"):
        wait("stack_create_complete", StackName="waited-in-vain")
    client.delete_stack(StackName="waited-in-vain")
    wait("stack_delete_complete", StackName="waited-in-vain")


def test_a_change_set_takes_over_nothing_and_says_what_is_there(yard: Yard) -> None:
    client = yard.client("cloudformation")
    yard.client("ssm").put_parameter(Name="/lab/there", Value="one", Type="String")
    template = """
Resources:
  There: {Type: 'AWS::SSM::Parameter', Properties: {Name: /lab/there, Type: String, Value: two}}
  New: {Type: 'AWS::IAM::Group', Properties: {GroupName: lab-of-imports}}
  Unnamed: {Type: 'AWS::SSM::Parameter', Properties: {Type: String, Value: two}}
"""
    asked = {
        "StackName": "imports",
        "ChangeSetName": "first",
        "ChangeSetType": "CREATE",
        "TemplateBody": template,
        "ImportExistingResources": True,
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
    }
    with pytest.raises(ClientError, match=r"ImportExistingResources cannot .*: There \(AWS::SSM::Parameter /lab/there\)\."):
        client.create_change_set(**asked)
    yard.client("ssm").delete_parameter(Name="/lab/there")
    client.create_change_set(**asked)
    shown = client.describe_change_set(StackName="imports", ChangeSetName="first")
    assert shown["ImportExistingResources"] is True
    assert {one["ResourceChange"]["Action"] for one in shown["Changes"]} == {"Add"}
    client.delete_stack(StackName="imports")
