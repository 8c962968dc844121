"""Drift over the wire: what was changed behind a stack's back is found, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from yard import Yard, until

TEMPLATE = """
Parameters:
  Password: {Type: String, NoEcho: true, Default: hunter2}
Resources:
  Log:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: /drift/NAME, RetentionInDays: 7, Tags: [{Key: mine, Value: "1"}]}
  Shares:
    Type: AWS::Batch::SchedulingPolicy
    Properties: {Name: drift-NAME, FairsharePolicy: {ComputeReservation: "5"}}
  Network:
    Type: AWS::EC2::SecurityGroup
    Properties:
      GroupDescription: drift NAME
      SecurityGroupIngress: [{IpProtocol: tcp, FromPort: 80, ToPort: 80, CidrIp: 10.0.0.0/8}]
  Secret:
    Type: AWS::SSM::Parameter
    Properties: {Name: /drift/NAME, Type: String, Value: !Ref Password}
"""


def ended(yard: Yard, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        (found,) = yard.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        return None if found["StackStatus"].endswith("IN_PROGRESS") else dict(found)

    return until(look, f"end of {name}", patience_s=60)


def create(yard: Yard, name: str) -> dict[str, str]:
    """Logical id -> physical id of a stack of the template."""
    client = yard.client("cloudformation")
    tags = [{"Key": "team", "Value": "x"}]
    client.create_stack(StackName=name, TemplateBody=TEMPLATE.replace("NAME", name), Tags=tags)
    assert ended(yard, name)["StackStatus"] == "CREATE_COMPLETE"
    resources = client.describe_stack_resources(StackName=name)["StackResources"]
    return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}


def detect(yard: Yard, name: str) -> dict[str, Any]:
    client = yard.client("cloudformation")
    id = client.detect_stack_drift(StackName=name)["StackDriftDetectionId"]
    found: dict[str, Any] = client.describe_stack_drift_detection_status(StackDriftDetectionId=id)
    assert found["DetectionStatus"] == "DETECTION_COMPLETE"
    return found


def test_what_was_left_alone_is_in_sync(yard: Yard) -> None:
    create(yard, "alone")
    client = yard.client("cloudformation")
    (stack,) = client.describe_stacks(StackName="alone")["Stacks"]
    assert stack["DriftInformation"]["StackDriftStatus"] == "NOT_CHECKED"
    found = detect(yard, "alone")
    drifts = client.describe_stack_resource_drifts(StackName="alone")["StackResourceDrifts"]
    assert [one.get("PropertyDifferences") for one in drifts] == [None] * len(drifts)
    assert (found["StackDriftStatus"], found["DriftedStackResourceCount"]) == ("IN_SYNC", 0)
    assert {one["LogicalResourceId"]: one["StackResourceDriftStatus"] for one in drifts} == dict.fromkeys(
        ("Log", "Network", "Secret", "Shares"), "IN_SYNC"
    )
    assert "hunter2" not in json.dumps(drifts, default=str)


def test_what_was_changed_and_what_is_gone(yard: Yard) -> None:
    ids = create(yard, "moved")
    client = yard.client("cloudformation")
    yard.client("logs").put_retention_policy(logGroupName="/drift/moved", retentionInDays=30)
    yard.client("ec2").revoke_security_group_ingress(
        GroupId=ids["Network"],
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}],
    )
    yard.client("batch").delete_scheduling_policy(arn=ids["Shares"])
    yard.client("ssm").put_parameter(Name="/drift/moved", Value="hunter3", Type="String", Overwrite=True)
    found = detect(yard, "moved")
    assert (found["StackDriftStatus"], found["DriftedStackResourceCount"]) == ("DRIFTED", 4)
    drifts = {one["LogicalResourceId"]: one for one in client.describe_stack_resource_drifts(StackName="moved")["StackResourceDrifts"]}
    assert drifts["Shares"]["StackResourceDriftStatus"] == "DELETED"
    assert drifts["Log"]["PropertyDifferences"] == [
        {"PropertyPath": "/RetentionInDays", "ExpectedValue": "7", "ActualValue": "30", "DifferenceType": "NOT_EQUAL"}
    ]
    (rule,) = drifts["Network"]["PropertyDifferences"]
    assert (rule["PropertyPath"], rule["DifferenceType"], rule["ActualValue"]) == ("/SecurityGroupIngress/0", "REMOVE", "null")
    (value,) = drifts["Secret"]["PropertyDifferences"]
    assert (value["PropertyPath"], value["ExpectedValue"], value["ActualValue"]) == ("/Value", "****", "****")
    assert "hunter" not in json.dumps(drifts, default=str)
    only = client.describe_stack_resource_drifts(StackName="moved", StackResourceDriftStatusFilters=["DELETED"])["StackResourceDrifts"]
    assert [one["LogicalResourceId"] for one in only] == ["Shares"]
    (stack,) = client.describe_stacks(StackName="moved")["Stacks"]
    assert stack["DriftInformation"]["StackDriftStatus"] == "DRIFTED"


def test_one_resource_and_an_update_that_forgets(yard: Yard) -> None:
    create(yard, "single")
    client = yard.client("cloudformation")
    found = client.detect_stack_resource_drift(StackName="single", LogicalResourceId="Log")["StackResourceDrift"]
    assert found["StackResourceDriftStatus"] == "IN_SYNC"
    assert json.loads(found["ExpectedProperties"])["RetentionInDays"] == 7
    client.update_stack(
        StackName="single", TemplateBody=TEMPLATE.replace("NAME", "single").replace("RetentionInDays: 7", "RetentionInDays: 14")
    )
    assert ended(yard, "single")["StackStatus"] == "UPDATE_COMPLETE"
    assert client.describe_stack_resource_drifts(StackName="single")["StackResourceDrifts"] == []
    with pytest.raises(ClientError, match="does not exist for stack single"):
        client.detect_stack_resource_drift(StackName="single", LogicalResourceId="Nothing")
    with pytest.raises(ClientError, match="Drift detection nothing-that-is-one does not exist"):
        client.describe_stack_drift_detection_status(StackDriftDetectionId="nothing-that-is-one")
