"""`batchyard stack ...` on a real service: nested templates, plans, events, failures, deletions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yard import Yard, serving

INNER = """\
Parameters:
  Size: {Type: Number}
Resources:
  Group:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: !Sub '/inner/${Size}', RetentionInDays: 7}
Outputs:
  Name: {Value: !Ref Group}
"""
OUTER = """\
Parameters:
  Size: {Type: Number, Default: 1}
Resources:
  Inner:
    Type: AWS::CloudFormation::Stack
    Properties:
      TemplateURL: ./parts/inner.yaml  # relative to this file
      Parameters: {Size: !Ref Size}
  Kept:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
Outputs:
  Group: {Value: !GetAtt Inner.Outputs.Name}
"""
CAPACITY = """\
Parameters:
  Most: {Type: Number, Default: 4}
  Types: {Type: CommaDelimitedList, Default: optimal}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement: {Effect: Allow, Principal: {Service: ecs-tasks.amazonaws.com}, Action: sts:AssumeRole}
      Policies:
        - PolicyName: read
          PolicyDocument:
            Version: '2012-10-17'
            Statement: {Effect: Allow, Action: s3:GetObject, Resource: '*'}
  Machines:
    Type: AWS::Batch::ComputeEnvironment
    Properties:
      Type: MANAGED
      ComputeResources:
        Type: EC2
        MinvCpus: 0
        MaxvCpus: !Ref Most
        InstanceTypes: !Ref Types
        Subnets: [subnet-12345678]
        SecurityGroupIds: [sg-12345678]
        InstanceRole: ecsInstanceRole
  Queue:
    Type: AWS::Batch::JobQueue
    Properties:
      Priority: 1
      ComputeEnvironmentOrder: [{Order: 1, ComputeEnvironment: !Ref Machines}]
"""
FAILS = """\
Resources:
  First: {Type: 'AWS::S3::Bucket'}
  Second:
    Type: AWS::Batch::JobQueue
    DependsOn: First
    Properties:
      Priority: 1
      ComputeEnvironmentOrder: [{Order: 1, ComputeEnvironment: nowhere}]
"""


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with serving(tmp_path_factory.mktemp("stack-commands") / "yard", "--vcpus", "4", "--memory-mib", "8192") as service:
        yield service


def stack(yard: Yard, *words: str) -> subprocess.CompletedProcess[str]:
    return yard.cli("stack", *words, "--data", str(yard.data), check=False)


def done(yard: Yard, *words: str) -> subprocess.CompletedProcess[str]:
    result = stack(yard, *words)
    assert result.returncode == 0, result.stderr + result.stdout
    return result


def shown(yard: Yard, *words: str) -> Any:
    return json.loads(done(yard, *words, "--json").stdout)


def test_nested_templates_beside_the_template_are_packaged(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "inner.yaml").write_text(INNER)
    (tmp_path / "outer.yaml").write_text(OUTER)
    outer = str(tmp_path / "outer.yaml")
    made = done(yard, "deploy", outer, "--stack-name", "outer", "--tag", "Project=x")
    assert made.stdout == "Group  /inner/1\n"
    assert "Inner/Group" in made.stderr, "resources of nested stacks are seen as they come"
    buckets = [each["Name"] for each in yard.client("s3").list_buckets()["Buckets"]]
    assert "batchyard-templates-000000000000-us-east-1" in buckets
    again = shown(yard, "deploy", outer, "--stack-name", "outer")
    assert (again["changed"], again["StackStatus"]) == (True, "UPDATE_COMPLETE"), "as on AWS, nested stacks are always looked into"
    assert again["Tags"] == [{"Key": "Project", "Value": "x"}]
    changed = shown(yard, "deploy", outer, "--stack-name", "outer", "--parameter", "Size=2")
    assert [each["OutputValue"] for each in changed["Outputs"]] == ["/inner/2"]
    assert "Group  /inner/2" in done(yard, "deploy", outer, "--stack-name", "outer").stdout, "a parameter keeps its value"

    planned = done(yard, "plan", outer, "--stack-name", "outer", "--parameter", "Size=3").stdout
    assert "The change set does not look into nested stacks: what Inner would change is not in what follows." in planned
    listed = done(yard, "list").stdout.splitlines()
    assert listed[1].startswith("outer  ")
    assert listed[2].startswith("  outer-Inner-"), "nested ones stand below"
    inner = shown(yard, "show", "outer")["Resources"][0]
    assert [each["PhysicalResourceId"] for each in inner["Resources"]] == ["/inner/2"]
    assert "│   └── Group  AWS::Logs::LogGroup" in done(yard, "show", "outer").stdout
    events = done(yard, "events", "outer").stdout
    assert "Inner/Group" in events
    assert "CREATE_COMPLETE" in done(yard, "events", "outer", "--follow").stdout, "what is at rest is not waited for"
    (bucket,) = [b for b in (e["Name"] for e in yard.client("s3").list_buckets()["Buckets"]) if b.startswith("outer-")]
    gone = done(yard, "delete", "outer", "--yes")
    assert f"stays, as its template says: AWS::S3::Bucket {bucket} (Kept)" in gone.stderr
    assert stack(yard, "show", "outer").returncode == 1


def test_a_failure_is_told_with_its_reason(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "fails.yaml").write_text(FAILS)
    failed = stack(yard, "deploy", str(tmp_path / "fails.yaml"), "--stack-name", "fails")
    assert failed.returncode == 1
    assert "fails is in ROLLBACK_COMPLETE." in failed.stderr
    assert "Second (AWS::Batch::JobQueue): " in failed.stderr
    again = stack(yard, "deploy", str(tmp_path / "fails.yaml"), "--stack-name", "fails")
    assert "Delete it first: batchyard stack delete fails" in again.stderr
    asked = stack(yard, "delete", "fails")
    assert asked.returncode == 2, "without a terminal nobody can say yes"
    assert shown(yard, "delete", "fails", "--yes")["StackStatus"] == "DELETE_COMPLETE"
    assert stack(yard, "delete", "fails", "--yes").returncode == 1


def test_a_plan_shows_all_that_would_be_done_and_does_nothing(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "capacity.yaml").write_text(CAPACITY)
    template = str(tmp_path / "capacity.yaml")
    yard.definition_of("small", "true")
    yard.definition_of("wide", "true", vcpus=8)
    first = shown(yard, "plan", template, "--stack-name", "capacity")
    assert first["isNew"]
    assert {each["LogicalResourceId"]: each["Action"] for each in first["changes"]} == dict.fromkeys(("Role", "Machines", "Queue"), "Add")
    assert any("allows s3:GetObject on *" in each["text"] for each in first["permissions"])
    assert first["cost"]["after"]["usdPerHour"][0] == 0 < first["cost"]["after"]["usdPerHour"][1]
    assert yard.client("cloudformation").list_stacks(StackStatusFilter=["REVIEW_IN_PROGRESS"])["StackSummaries"] == []
    (misfit,) = first["jobDefinitions"]["canNeverRun"]
    assert (misfit["jobDefinition"], misfit["needs"]) == ("wide:1", "8 vCPUs, 64 MiB")
    assert misfit["reasons"][0]["shortfall"] == "the job needs 8 vCPUs, 64 MiB and this machine has 4 vCPUs, 8192 MiB in all"

    refused = stack(yard, "deploy", template, "--stack-name", "capacity")
    assert refused.returncode == 1
    assert "--capabilities CAPABILITY_IAM" in refused.stderr
    done(yard, "deploy", template, "--stack-name", "capacity", "--capabilities", "CAPABILITY_IAM")
    said = done(yard, "plan", template, "--stack-name", "capacity", "--parameter", "Most=2").stdout
    assert "capacity: 1 to change" in said
    assert "ComputeResources.MaxvCpus: 4 -> 2  because of Most" in said
    assert "now: 0.00 to " in said
    assert "prices: " in said
    assert "1 of 2 definitions can never run in Machines\n" in said
    assert done(yard, "plan", template, "--stack-name", "capacity").stdout == "capacity: nothing to change\n"
    shape = done(yard, "plan", template, "--stack-name", "capacity", "--parameter", "Types=m5.large,c5.large").stdout
    assert "no instance type of m5.large, c5.large holds 8 vCPUs, 64 MiB; the largest has 2 vCPUs, 8192 MiB" in shape
    assert shown(yard, "show", "capacity")["StackStatus"] == "CREATE_COMPLETE"
    done(yard, "delete", "capacity", "--yes")


def test_wrong_words_are_refused_before_anything_is_asked(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("Resources:\n  A: {Type: 'AWS::S3::Bucket'}\n  A: {Type: 'AWS::S3::Bucket'}\n")
    twice = stack(yard, "deploy", str(tmp_path / "twice.yaml"), "--stack-name", "twice")
    assert (twice.returncode, "line 3" in twice.stderr) == (1, True)
    assert stack(yard, "deploy", "nowhere.yaml", "--stack-name", "x").stderr.startswith("Error: The template nowhere.yaml cannot be read")
    assert stack(yard, "deploy", "genomics", "--stack-name", "x", "--parameter", "VpcId").returncode == 2
    missing = stack(yard, "plan", "genomics", "--stack-name", "x")
    assert "Parameters: [VpcId, SubnetIds] must have values" in missing.stderr
    assert stack(yard, "list", "--target", "aws").returncode == 2, "--data and --target aws contradict each other"
